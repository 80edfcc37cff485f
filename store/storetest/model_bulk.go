package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// sweep purges, or discards, whatever the store calls expired; while a bulk restore runs it gets nowhere.
func (p *program) sweep() error {
	var after *crm.Deadline
	for pages := 0; ; pages++ {
		if pages > 2*len(p.contacts) {
			return p.violation(Agrees, "the sweep does not come to an end")
		}
		var due []crm.Deadline
		if err := p.view(func(tx *store.Tx) (err error) {
			due, err = tx.Expired(tx.Now(), after, 2)
			return err
		}); err != nil {
			return err
		}
		if len(due) == 0 {
			break
		}
		for i := range due {
			after = &due[i]
			k := crm.Key{Account: after.Account, Contact: after.Contact}
			var mut crm.Mutation = crm.Discard{Contact: k}
			if c := p.of(k); c.state == "deleted" && c.until == after.Until {
				mut = crm.Purge{Contact: k}
			}
			if err := p.mutate(sweeper, bySweep, mut); err != nil {
				return err
			}
		}
	}
	for _, c := range p.contacts {
		if c.held || p.restoring() > 0 {
			continue
		}
		if c.state == "deleted" && p.now() >= c.until || c.leftUntil() != 0 && p.now() >= c.leftUntil() {
			return p.violation(Agrees, "the sweep missed %s", c.key.Contact)
		}
	}
	return nil
}

// work takes a bulk restore on by a chunk, or asks for a new one.
func (p *program) work() error {
	var b *mBulk
	for _, o := range p.bulks {
		if !o.ended {
			b = o
			break
		}
	}
	if b == nil || p.choose(5) == 0 {
		return p.accept()
	}
	n := 1 + p.choose(3)
	items := b.items[b.next:min(len(b.items), b.next+n)]
	err := p.update(func(tx *store.Tx) error {
		_, err := tx.Work(b.id, n)
		return err
	})
	p.note("work on %s, %d of %d: %v", b.id, len(items), len(b.items), err)
	if err != nil {
		return err
	}
	why := crm.Cause{Kind: crm.ByPerson, Operation: b.id}
	for _, it := range items {
		b.next++
		restore := crm.Restore{Contact: it.c.key}
		codes := p.predict(why, restore)
		switch {
		case it.c.state == "deleted" && it.c.moved != it.moved: // deleted again since it was chosen
			b.refused[it.c.key.Contact] = "stale"
		case len(codes) > 0:
			b.refused[it.c.key.Contact] = codes[0]
		default:
			p.absorb(restore, why)
		}
	}
	b.ended = len(items) < n
	return nil
}

// accept freezes a selection of contacts, most of them deleted, and asks for a bulk restore of them.
func (p *program) accept() error {
	b := &mBulk{id: p.newID(), refused: map[crm.ContactID]string{}}
	for _, c := range p.contacts {
		if c.state == "deleted" && p.choose(4) > 0 {
			b.items = append(b.items, mChosen{c, c.moved})
		}
	}
	slices.SortFunc(b.items, func(x, y mChosen) int { return bytes.Compare(x.c.key.Contact[:], y.c.key.Contact[:]) })
	frozen := make([]store.FrozenItem, len(b.items))
	for i, it := range b.items {
		frozen[i] = store.FrozenItem{Contact: it.c.key, Epoch: it.c.epoch}
	}
	if err := p.foreseeConflicts(b, frozen); err != nil {
		return err
	}
	want := p.mayAccept()
	err := p.update(func(tx *store.Tx) error {
		if err := tx.Freeze(b.id, frozen); err != nil {
			return err
		}
		_, err := tx.AcceptRestore(boss, tenant, b.id, len(frozen), "r")
		return err
	})
	p.note("accept a restore of %d: %v", len(frozen), crm.CodeOf(err))
	if got := crm.CodeOf(err); err != nil && got == "" || got != want {
		return p.violation(Agrees, "a bulk restore was answered with %v, not %q", err, want)
	}
	if err == nil {
		b.accepted = p.high
		p.bulks = append(p.bulks, b)
	}
	return nil
}

// foreseeConflicts compares which contacts of a selection would meet who holds their address by then.
func (p *program) foreseeConflicts(b *mBulk, frozen []store.FrozenItem) error {
	want, seen := []crm.ContactID(nil), map[string]bool{}
	for _, it := range b.items {
		conflict := false
		for _, name := range []string{"email", "phone"} {
			if address := it.c.has(name); address != "" {
				conflict = conflict || seen[name+address] || p.taken(name, address, it.c)
				seen[name+address] = true
			}
		}
		if conflict {
			want = append(want, it.c.key.Contact)
		}
	}
	return p.view(func(tx *store.Tx) error {
		got, err := tx.ForeseeConflicts(frozen, map[[16]byte]bool{}, 100)
		if err != nil || !slices.Equal(got, want) {
			return p.violation(Foreseen, "the conflicts of a selection are %v, not %v (%v)", got, want, err)
		}
		return nil
	})
}

// untag deletes a tag of the account, or takes one that was deleted off some of those who carry it.
func (p *program) untag() error {
	leaving := slices.DeleteFunc(slices.Sorted(maps.Keys(p.tags)), func(name string) bool { return !p.tags[name].leaving })
	if len(leaving) == 0 || p.choose(6) == 0 {
		return p.deleteTag(oneOf(p, "Unsubscribed", "vip"))
	}
	name := leaving[0]
	var page []crm.Key
	n, done := 1+p.choose(3), false
	err := p.view(func(tx *store.Tx) error {
		q := crm.Query{Account: tenant, State: crm.OnlyLive, Where: crm.Filter{Op: crm.FilterTag, Name: name}}
		return tx.ScanAll(q, func(c *crm.Contact, _ *crm.Life) bool {
			page = append(page, c.Key())
			return len(page) < n
		})
	})
	if done = len(page) < n; err != nil {
		return err
	}
	if err := p.meanwhile(); err != nil {
		return err
	}
	err = p.update(func(tx *store.Tx) error {
		return tx.Untag(engine, tenant, store.TagID(tenant, name), p.tags[name].since, page, done)
	})
	p.note("the tag %s is taken off %v, done %v: %v", name, page, done, err)
	if err != nil {
		return err
	}
	for _, k := range page {
		if c := p.of(k); c.state == "live" {
			p.absorb(crm.RemoveTag{Contact: k, Tag: name}, crm.Cause{Kind: crm.ByAccount})
		}
	}
	if done {
		p.tags[name] = &mTag{gone: p.high, since: p.tags[name].since}
		for _, c := range p.contacts {
			if c.state == "live" && c.has("tag/"+name) != "" {
				return p.violation(Agrees, "%s still carries %s, which is gone", c.key.Contact, name)
			}
		}
	}
	return nil
}

func (p *program) deleteTag(name string) error {
	want := ""
	if p.tag(name).leaving {
		want = "running"
	}
	err := p.update(func(tx *store.Tx) error { return tx.DeleteTag(boss, byHand, tenant, name) })
	p.note("the tag %s is deleted: %v", name, err)
	if got := crm.CodeOf(err); got != want || err != nil && got == "" {
		return p.violation(Agrees, "deleting the tag %s gave %v, not %q", name, err, want)
	}
	if err == nil {
		*p.tag(name) = mTag{leaving: true, gone: p.high, since: p.high}
	}
	return nil
}

// receive has a message come in for an address of a contact.
func (p *program) receive(c *mContact) error {
	from := crm.NamedIdentity{Name: oneOf(p, "email", "email", "phone")}
	if from.Value = c.has(from.Name); from.Value == "" {
		return nil
	}
	r := crm.Record{ID: p.newID(), Kind: crm.Conversation, Title: "in", Body: "b"}
	if p.choose(2) == 0 {
		r.Kind, r.Parent = crm.Message, p.someConversation(c)
	}
	if n := len(c.queued); n > 0 && p.choose(4) == 0 { // the same again, or one of a conversation that waits too
		last := c.queued[n-1]
		if r.ID, r.Kind, r.Parent = last.ID, last.Kind, last.Parent; last.Kind == crm.Conversation && p.choose(2) == 0 {
			r.ID, r.Kind, r.Parent = p.newID(), crm.Message, last.ID
		}
	}
	var got store.Received
	var who crm.ContactID
	err := p.update(func(tx *store.Tx) (err error) {
		got, who, err = tx.Receive(boss, tenant, from, r)
		return err
	})
	p.note("a message %s of %s from %s: %s %s %v", r.ID, r.Parent, from.Value, got, who, crm.CodeOf(err))
	return p.received(from, r, got, who, err)
}

// received holds what became of a message against what had to.
func (p *program) received(from crm.NamedIdentity, r crm.Record, got store.Received, who crm.ContactID, err error) error {
	to, want, code, again := p.addressee(from), "", "", false
	switch {
	case to == nil:
		code = "not_found"
	case to.state == "live":
		r.Account, r.Contact, want = tenant, to.key.Contact, "delivered"
		if there := to.record(r.Kind, r.ID); there != nil && !there.left {
			again = true // the same message has no second effect
			break
		}
		code = p.mayChange(to, crm.PutRecord{Record: r})
	default:
		want = map[crm.InboundRule]string{"drop": "dropped", "queue": "queued", "new_contact": "new_contact"}[p.policy.Inbound]
		if p.hipaa && want == "queued" {
			want = "dropped"
		}
	}
	if crm.CodeOf(err) != code || err != nil && code == "" || err == nil && (string(got) != want || to.key.Contact != who && want != "new_contact") {
		return p.violation(Agrees, "a message was %s by %s (%v), not %s (%q)", got, who, err, want, code)
	}
	if err != nil || again {
		return nil
	}
	switch want {
	case "delivered":
		p.absorb(crm.PutRecord{Record: r}, byHand)
	case "dropped":
		p.tell(to, "inbound.dropped", crm.Cause{Kind: crm.ByInbound})
	case "queued":
		in := crm.Inbound{Account: tenant, Contact: who, ID: r.ID, At: p.high, Kind: r.Kind, Title: r.Title, Body: r.Body, Parent: r.Parent}
		if !slices.ContainsFunc(to.queued, func(q crm.Inbound) bool { return q.ID == r.ID && q.Kind == r.Kind }) {
			to.queued = append(to.queued, in)
			p.tell(to, "inbound.queued", crm.Cause{Kind: crm.ByInbound})
		}
	case "new_contact": // who starts with a conversation of its own
		n := crm.Contact{Account: tenant, ID: who}
		if from.Name == "email" {
			n.Email.Value = from.Value
		} else {
			n.Phone.Value = from.Value
		}
		p.absorb(crm.Create{Contact: n}, byHand)
		r.Account, r.Contact, r.Kind, r.Parent = tenant, who, crm.Conversation, crm.ItemID{}
		p.absorb(crm.PutRecord{Record: r}, byHand)
	}
	return nil
}

// addressee is the live contact that has an address, else the youngest deleted one.
func (p *program) addressee(from crm.NamedIdentity) (to *mContact) {
	for _, c := range p.contacts {
		switch {
		case c.has(from.Name) != from.Value || c.state == "purged":
		case c.state == "live":
			return c
		case to == nil || bytes.Compare(c.key.Contact[:], to.key.Contact[:]) > 0:
			to = c
		}
	}
	return to
}

// deliver gives a contact that is live again what came while it was deleted. A message whose conversation
// is gone becomes one of its own.
func (p *program) deliver(c *mContact) error {
	err := p.update(func(tx *store.Tx) error { return tx.Deliver(engine, c.key) })
	p.note("%d messages are delivered to %s: %v", len(c.queued), c.key.Contact, err)
	if err != nil {
		return p.violation(Agrees, "the delivery to %s gave %v", c.key.Contact, err)
	}
	if c.state != "live" {
		return nil
	}
	slices.SortFunc(c.queued, func(a, b crm.Inbound) int {
		return strings.Compare(fmt.Sprintf("%02d%x", a.Kind, a.ID), fmt.Sprintf("%02d%x", b.Kind, b.ID))
	})
	for _, in := range c.queued {
		put := crm.PutRecord{Record: crm.Record{Account: tenant, Contact: in.Contact, Kind: in.Kind, ID: in.ID, Title: in.Title, Body: in.Body, Parent: in.Parent}}
		if p.mayChange(c, put) == "not_found" {
			put.Record.Kind, put.Record.Parent = crm.Conversation, crm.ItemID{}
		}
		if p.mayChange(c, put) == "" {
			p.absorb(put, crm.Cause{Kind: crm.ByInbound})
		}
	}
	c.queued = nil
	return nil
}
