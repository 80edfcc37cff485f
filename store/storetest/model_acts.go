package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// oneOf chooses.
func oneOf[T any](p *program, of ...T) T { return of[p.choose(len(of))] }

// some chooses a thing that is there, or gives one that is not.
func (p *program) some(kind crm.ItemKind) crm.ItemID {
	var ids []crm.ItemID
	for _, o := range p.objects {
		if o.kind == kind {
			ids = append(ids, o.id)
		}
	}
	if len(ids) == 0 || p.choose(12) == 0 {
		return crm.ItemID{15: 1}
	}
	return ids[p.choose(len(ids))]
}

func (p *program) email() string { return fmt.Sprintf("p%d@example.com", p.choose(5)) }
func (p *program) phone() string { return oneOf(p, "", "", "+4955500", "+4955501") }

// present counts the contacts that are not purged.
func (p *program) present() (n int) {
	for _, c := range p.contacts {
		if c.state != "purged" {
			n++
		}
	}
	return n
}

// enter makes a contact, by hand or as an import does.
func (p *program) enter() error {
	if p.present() >= 6 || len(p.contacts) >= 14 {
		return nil
	}
	c := crm.Contact{Account: tenant, ID: p.newID(), Email: crm.Identity{Value: p.email()}, Phone: crm.Identity{Value: p.phone()}}
	for _, tag := range []string{"Unsubscribed", "vip"} {
		if p.choose(2) == 0 {
			c.Tags = append(c.Tags, crm.Tag{Name: tag})
		}
	}
	if p.choose(3) > 0 {
		c.Lists = append(c.Lists, crm.Membership{List: p.some(crm.List), Status: oneOf(p, crm.Subscribed, crm.Subscribed, crm.Unsubscribed, crm.Bounced)})
	}
	c.Archived.On = p.choose(15) == 0
	why := byHand
	if p.choose(2) == 0 {
		why.Kind = crm.ByImport
	}
	for _, channel := range []string{"sms", "email"} {
		c.DND = append(c.DND, crm.Channel{Name: channel, On: p.choose(4) == 0})
	}
	if err := p.mutate(boss, why, crm.Create{Contact: c}); err != nil || p.of(c.Key()) == nil {
		return err
	}
	return p.furnish(c.Key())
}

// furnish gives a new contact something to lose.
func (p *program) furnish(k crm.Key) error {
	talk := crm.Record{Account: tenant, Contact: k.Contact, Kind: crm.Conversation, ID: p.newID()}
	said := crm.Record{Account: tenant, Contact: k.Contact, Kind: crm.Message, ID: p.newID(), Parent: talk.ID}
	for _, mut := range []crm.Mutation{
		crm.PutRecord{Record: talk}, crm.PutRecord{Record: said},
		crm.Connect{Contact: k, Kind: crm.Opportunity, Object: p.some(crm.Opportunity), Primary: p.choose(2) == 0},
		crm.Connect{Contact: k, Kind: crm.Campaign, Object: p.some(crm.Campaign), Due: p.someDue()},
		crm.Connect{Contact: k, Kind: crm.Company, Object: p.some(crm.Company)},
	} {
		if p.choose(3) > 0 {
			if err := p.mutate(boss, byHand, mut); err != nil {
				return err
			}
		}
	}
	return nil
}

// change changes a fact. What arrives late is for those who have been restored.
func (p *program) change(c *mContact) error {
	why := byHand
	if n := p.choose(8); n < 2 && c.restored > 0 && c.state == "live" {
		why.Kind = crm.ByInbound
	} else if n == 7 {
		why.Kind = crm.ByImport
	}
	tag := oneOf(p, "unsubscribed", "Unsubscribed", "VIP")
	return p.mutate(boss, why, oneOf[crm.Mutation](p,
		crm.AddTag{Contact: c.key, Tag: tag},
		crm.AddTag{Contact: c.key, Tag: tag},
		crm.RemoveTag{Contact: c.key, Tag: tag},
		crm.SetField{Contact: c.key, Name: "plan", Value: oneOf(p, crm.Value{}, crm.Text("a"), crm.Text("b"))},
		crm.SetMembership{Contact: c.key, List: p.some(crm.List), Status: oneOf(p, "", crm.Subscribed, crm.Unsubscribed, crm.Unconfirmed, crm.Bounced)},
		crm.SetMembership{Contact: c.key, List: p.some(crm.List), Status: oneOf(p, crm.Subscribed, crm.Unsubscribed)},
		crm.SetDND{Contact: c.key, Channel: oneOf(p, "sms", "email"), On: p.choose(3) > 0},
		crm.SetIdentity{Contact: c.key, Name: "email", Value: oneOf(p, p.email(), p.email(), "")},
		crm.SetIdentity{Contact: c.key, Name: "phone", Value: p.phone()},
		crm.Archive{Contact: c.key, On: p.choose(2) == 0},
	))
}

// changeThing changes what hangs on a contact.
func (p *program) changeThing(c *mContact) error {
	kind := oneOf(p, crm.Company, crm.Opportunity, crm.Opportunity, crm.Campaign, crm.Campaign)
	object, campaign := p.some(kind), p.some(crm.Campaign)
	if mine := p.someLink(c, crm.Campaign); mine != nil && p.choose(4) > 0 {
		campaign = mine.id
	}
	leave := crm.Disconnect{Contact: c.key, Kind: kind, Object: object}
	if mine := p.someLink(c, kind); mine != nil && p.choose(3) > 0 {
		leave.Object = mine.id
	}
	record := p.someRecord(c)
	why := byHand
	if c.restored > 0 && c.state == "live" && p.choose(8) == 0 {
		why.Kind = crm.ByInbound
	}
	return p.mutate(boss, why, oneOf[crm.Mutation](p,
		crm.PutRecord{Record: p.newRecord(c)},
		crm.PutRecord{Record: p.newRecord(c)},
		crm.PutRecord{Record: p.newRecord(c)},
		crm.DeleteRecord{Record: record},
		crm.ChangeRecord{Record: record, Title: oneOf(p, nil, pointer("new"), pointer("newer")), Due: oneOf(p, nil, pointer(p.now()))},
		crm.Connect{Contact: c.key, Kind: kind, Object: object, Primary: p.choose(3) == 0, Due: p.someDue()},
		crm.Connect{Contact: c.key, Kind: kind, Object: object, Primary: p.choose(3) == 0, Due: p.someDue()},
		crm.Connect{Contact: c.key, Kind: kind, Object: object, Primary: p.choose(3) == 0, Due: p.someDue()},
		leave,
		crm.Activity{Contact: c.key, Campaign: campaign, What: oneOf(p, crm.MessageSent, crm.MessageOpened, crm.MessageClicked), Next: p.someDue()},
		crm.Activity{Contact: c.key, Campaign: campaign, What: crm.MessageSent, Next: p.someDue()},
	))
}

func pointer[T any](v T) *T { return &v }

// someDue is when a message is due: never, at once, soon or later.
func (p *program) someDue() crm.Nanos {
	return oneOf(p, 0, p.now(), p.now()+crm.Nanos(p.choose(2_000_000_000)), p.now()+40*crm.Second)
}

func (p *program) someLink(c *mContact, kind crm.ItemKind) *mLink {
	of := slices.DeleteFunc(slices.Clone(c.links), func(l *mLink) bool { return l.kind != kind })
	if len(of) == 0 {
		return nil
	}
	return of[p.choose(len(of))]
}

// newRecord is a record with a new id, or with that of one which a restore left behind.
func (p *program) newRecord(c *mContact) crm.Record {
	r := crm.Record{Account: tenant, Contact: c.key.Contact, ID: p.newID(), Title: "t", Body: "b", Status: "open",
		Kind: oneOf(p, crm.Conversation, crm.Message, crm.Message, crm.Note, crm.Task, crm.Appointment, crm.ManualAction)}
	if r.Kind == crm.Message {
		r.Parent = p.someConversation(c)
	}
	if old := p.someRecord(c); p.choose(6) == 0 && old.Kind != crm.Conversation && old.Kind != crm.Message {
		r.Kind, r.ID = old.Kind, old.ID
	}
	return r
}

func (p *program) someConversation(c *mContact) crm.ItemID {
	var ids []crm.ItemID
	for _, r := range c.records {
		if r.kind == crm.Conversation && !r.removed {
			ids = append(ids, r.id)
		}
	}
	if len(ids) == 0 {
		return crm.ItemID{15: 1}
	}
	return ids[p.choose(len(ids))]
}

func (p *program) someRecord(c *mContact) crm.ItemKey {
	k := crm.ItemKey{Account: tenant, Contact: c.key.Contact, Kind: crm.Note, ID: crm.ItemID{15: 1}}
	if n := len(c.records); n > 0 {
		r := c.records[p.choose(n)]
		k.Kind, k.ID = r.kind, r.id
	}
	return k
}

func (p *program) someDelete(c *mContact) crm.Delete {
	return crm.Delete{Contact: c.key, Reason: "r", Exported: oneOf(p, "", strings.Repeat("0f", 32))}
}

// moveClock moves the wall clock: mostly on, to just before, at, just after a deadline or inside its
// last second, and now and then back.
func (p *program) moveClock(c *mContact) error {
	until := c.until
	if at := c.leftUntil(); at != 0 && p.choose(2) == 0 {
		until = at
	}
	to := oneOf(p, until-1, until, until+1, until-until%crm.Second, until-crm.Nanos(p.choose(1_000_000_000)),
		p.now()+crm.Nanos(p.choose(2_000_000_000)), p.now()+30*crm.Second, p.now()+30*crm.Second)
	switch n := p.choose(40); {
	case n < 5:
		p.clock -= crm.Nanos(p.choose(400)) * crm.Second / 4
	case n == 5:
		p.clock = p.now() + crm.Hour
	case to > p.now():
		p.clock = to
	}
	p.note("the clock shows %s", p.clock)
	return nil
}

// makeObject makes a list, a campaign, a company or an opportunity.
func (p *program) makeObject(kind crm.ItemKind) error {
	o := &mObject{kind: kind, id: p.newID()}
	p.objects = append(p.objects, o)
	return p.putObject(o)
}

func (p *program) putObject(o *mObject) error {
	row := crm.Object{Account: tenant, Kind: o.kind, ID: o.id, Name: "name"}
	if o.deleted {
		row.Deleted = crm.Mark{At: p.now(), By: boss.ID}
	}
	p.note("the %s %s is there: %v", o.kind, o.id, !o.deleted)
	return p.update(func(tx *store.Tx) error { return tx.PutObject(boss, byHand, row) })
}

// changeObject makes a new object, or deletes one that contacts are linked to.
func (p *program) changeObject() error {
	kind := oneOf(p, crm.List, crm.Campaign, crm.Company, crm.Opportunity)
	live := 0
	for _, o := range p.objects {
		if o.kind == kind && !o.deleted {
			live++
		}
	}
	o := p.object(kind, p.some(kind))
	if l := p.someLink(p.pick(func(c *mContact) bool { return c.state == "deleted" }), kind); l != nil && p.choose(2) == 0 {
		o = p.object(kind, l.id)
	}
	if live < 2 || o == nil || o.deleted {
		return p.makeObject(kind)
	}
	o.deleted = true
	return p.putObject(o)
}

// changePolicy sets another policy, in some programs HIPAA: there is no way back from that.
func (p *program) changePolicy() error {
	if p.choose(12) == 0 {
		p.hipaa = true
		p.note("HIPAA")
		return p.update(func(tx *store.Tx) error { return tx.SetHIPAA(boss, tenant) })
	}
	p.policy = p.somePolicy()
	p.note("policy %+v", p.policy)
	return p.update(func(tx *store.Tx) error {
		_, err := tx.SetPolicy(boss, tenant, p.policy)
		return err
	})
}

// changeWorkflow deletes a workflow or applies it again, which grants nothing that is not named.
func (p *program) changeWorkflow() error {
	name := oneOf(p, "every", "nightly", "missing", "blind")
	w := p.workflows[name]
	p.note("the workflow %s is gone: %v", name, !w.gone)
	if !w.gone && p.choose(2) == 0 {
		w.gone, w.granted = true, false
		return p.update(func(tx *store.Tx) error { return tx.DeleteWorkflow(boss, tenant, name) })
	}
	var grants []string
	if p.choose(3) > 0 {
		grants = granted
	}
	w.gone, w.granted = false, w.granted || grants != nil
	return p.update(func(tx *store.Tx) error {
		_, err := tx.ApplyWorkflow(boss, tenant, name, revision, "", nil, grants)
		return err
	})
}
