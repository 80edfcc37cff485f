package storetest

import (
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// triggerKinds are the kinds of event that the model knows to be able to start runs.
var triggerKinds = []crm.EventKind{
	"contact.created", "contact.tag_added", "contact.tag_removed", "contact.field_changed",
	"contact.identity_changed", "contact.list_changed", "contact.dnd_changed", "contact.archived_changed",
	"record.created", "record.changed", "record.deleted", "campaign.enrolled", "campaign.left",
}

// absorb does to the model what the store has done.
func (m *model) absorb(mut crm.Mutation, why crm.Cause) {
	m.high = m.now()
	m.step++
	if create, ok := mut.(crm.Create); ok {
		m.create(create.Contact, why)
		return
	}
	c := m.of(mut.Target())
	switch mut := mut.(type) {
	case crm.PutRecord, crm.ChangeRecord, crm.DeleteRecord:
		m.changeRecord(c, why, mut)
	case crm.Connect:
		m.connect(c, why, mut)
	case crm.Disconnect:
		m.disconnect(c, why, mut)
	case crm.Activity:
		m.messages[mut.Campaign.String()+"/"+string(mut.What)]++
		if mut.What == "sent" {
			l := c.link(crm.Campaign, mut.Campaign)
			l.next, l.due = l.next+1, mut.Next
		}
		m.tell(c, "campaign.activity", why)
	case crm.ResumeEnrollment:
		m.resumeEnrollment(c, why, mut)
	case crm.Delete:
		m.delete(c, why)
	case crm.Restore:
		m.restore(c, why)
	case crm.Purge:
		m.purge(c, why)
	case crm.Discard:
		m.discard(c, why)
	case crm.Hold:
		if c.held != mut.On {
			m.tell(c, map[bool]crm.EventKind{true: "contact.held", false: "contact.released"}[mut.On], why)
		}
		c.held = mut.On
	default:
		m.changeFact(c, why, mut)
	}
}

// tell notes an event: in the contact's history, and for triggers if they may name it.
func (m *model) tell(c *mContact, kind crm.EventKind, why crm.Cause) {
	c.history = append(c.history, kind)
	if slices.Contains(triggerKinds, kind) {
		silent := why.Kind != "person" && why.Kind != "workflow"
		m.outbox = append(m.outbox, mEvent{c, m.step, silent, c.archived(), why.Depth})
	}
}

func (m *model) create(from crm.Contact, why crm.Cause) {
	c := &mContact{key: from.Key(), state: "live", made: m.now(), facts: map[string]mFact{}}
	m.contacts = append(m.contacts, c)
	put := func(fact, is string) {
		if is != "" {
			c.facts[fact] = mFact{is: is, step: m.step}
		}
	}
	put("email", from.Email.Value)
	put("phone", from.Phone.Value)
	put("archived", onOff(from.Archived.On))
	for _, t := range from.Tags {
		put("tag/"+strings.ToLower(t.Name), "on")
	}
	for _, l := range from.Lists {
		put("list/"+l.List.String(), string(l.Status))
	}
	for _, d := range from.DND {
		put("dnd/"+d.Name, onOff(d.On))
	}
	m.takeUp(c, "email")
	m.takeUp(c, "phone")
	m.tell(c, "contact.created", why)
}

// takeUp gives a contact that takes up an address the opt-outs that were kept of it: on a list that its
// owner left it is as that left it, and do-not-disturb is on.
func (m *model) takeUp(c *mContact, name string) {
	if c.has(name) == "" {
		return
	}
	owners := []mOptOut{m.optOuts[name+":"+c.has(name)]}
	for _, o := range m.contacts {
		if o.state == "deleted" && o.has(name) == c.has(name) {
			owners = append(owners, m.optedOut(o))
		}
	}
	for _, kept := range owners {
		for list, status := range kept.lists {
			if fact := "list/" + list.String(); m.lives(crm.List, list) && !optedOutOf(c.has(fact)) {
				c.facts[fact] = mFact{is: status, step: m.step}
			}
		}
		for _, ch := range kept.channels {
			if c.has("dnd/"+ch) == "" {
				c.facts["dnd/"+ch] = mFact{is: "on", step: m.step}
			}
		}
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return ""
}

// changeFact changes one fact; a fact that is so already is no event. An import does not overrule who
// opted out of a list.
func (m *model) changeFact(c *mContact, why crm.Cause, mut crm.Mutation) {
	var fact, to string
	var kind crm.EventKind
	switch mut := mut.(type) {
	case crm.AddTag:
		fact, to, kind = "tag/"+strings.ToLower(mut.Tag), "on", "contact.tag_added"
	case crm.RemoveTag:
		fact, to, kind = "tag/"+strings.ToLower(mut.Tag), "", "contact.tag_removed"
	case crm.SetField:
		fact, to, kind = "field/"+mut.Name, mut.Value.Text, "contact.field_changed"
	case crm.SetIdentity:
		fact, to, kind = mut.Name, mut.Value, "contact.identity_changed"
	case crm.SetDND:
		fact, to, kind = "dnd/"+mut.Channel, onOff(mut.On), "contact.dnd_changed"
	case crm.Archive:
		fact, to, kind = "archived", onOff(mut.On), "contact.archived_changed"
	case crm.SetMembership:
		fact, to, kind = "list/"+mut.List.String(), string(mut.Status), "contact.list_changed"
		out := map[string]bool{"unsubscribed": true, "bounced": true}
		if why.Kind == "import" && out[c.has(fact)] && !out[to] {
			return
		}
	}
	if c.has(fact) == to {
		return
	}
	c.facts[fact] = mFact{to, m.step, why.Kind == "late_inbound" || why.Kind == "account"}
	switch {
	case fact == "email" || fact == "phone":
		m.takeUp(c, fact)
	case fact == "archived" && to != "":
		m.moves(c, 2)
	}
	m.tell(c, kind, why)
}

func (m *model) changeRecord(c *mContact, why crm.Cause, mut crm.Mutation) {
	switch mut := mut.(type) {
	case crm.PutRecord:
		r := mut.Record
		if old := c.record(r.Kind, r.ID); old != nil {
			old.removed = true // it was left behind, and its id is taken again
		}
		c.records = append(c.records, &mRecord{kind: r.Kind, id: r.ID, parent: r.Parent, title: r.Title, body: r.Body, status: r.Status, due: r.Due})
		m.tell(c, "record.created", why)
	case crm.ChangeRecord:
		r := c.record(mut.Record.Kind, mut.Record.ID)
		was := *r
		for to, is := range map[*string]*string{&r.title: mut.Title, &r.body: mut.Body, &r.status: mut.Status} {
			if is != nil {
				*to = *is
			}
		}
		if mut.Due != nil {
			r.due = *mut.Due
		}
		if *r != was {
			m.tell(c, "record.changed", why)
		}
	case crm.DeleteRecord:
		c.record(mut.Record.Kind, mut.Record.ID).deleted = true
		m.tell(c, "record.deleted", why)
	}
}

// connect links a contact to an object, or makes it an opportunity's primary. Who enters a campaign in
// which its old place is suspended begins anew.
func (m *model) connect(c *mContact, why crm.Cause, mut crm.Connect) {
	o, l := m.object(mut.Kind, mut.Object), c.linked(mut.Kind, mut.Object)
	there := l != nil && (mut.Kind != crm.Campaign || c.runnable(&l.mStanding))
	makePrimary := mut.Kind == crm.Opportunity && mut.Primary && o.primary != c
	if there && !makePrimary {
		return
	}
	if !there {
		c.unlink(c.link(mut.Kind, mut.Object))
		c.links = append(c.links, &mLink{kind: mut.Kind, id: mut.Object, mStanding: mStanding{life: c.moved, due: mut.Due}})
	}
	if mut.Kind == crm.Opportunity {
		if mut.Primary || len(o.contacts) == 0 {
			o.primary = c
		}
		if !slices.Contains(o.contacts, c) {
			o.contacts = append(o.contacts, c)
		}
	}
	m.tell(c, map[bool]crm.EventKind{true: "campaign.enrolled", false: "contact.linked"}[mut.Kind == crm.Campaign], why)
}

func (m *model) disconnect(c *mContact, why crm.Cause, mut crm.Disconnect) {
	c.unlink(c.link(mut.Kind, mut.Object))
	if mut.Kind == crm.Opportunity {
		m.leave(m.object(mut.Kind, mut.Object), c)
	}
	m.tell(c, map[bool]crm.EventKind{true: "campaign.left", false: "contact.unlinked"}[mut.Kind == crm.Campaign], why)
}

// resumeEnrollment lets a place in a campaign go on, its overdue message left out, put off or sent.
func (m *model) resumeEnrollment(c *mContact, why crm.Cause, mut crm.ResumeEnrollment) {
	l, now := c.link(crm.Campaign, mut.Campaign), m.now()
	late := l.due != 0 && l.due <= now
	if late && mut.Overdue == "skip" {
		l.next, l.due = l.next+1, 0
	} else {
		l.due = l.goesOn(now, late, mut.Overdue)
	}
	l.life = c.moved
	m.tell(c, "campaign.resumed", why)
}

// goesOn gives the instant at which what is resumed goes on: put off by as long as it stood still, or
// at once if it is late.
func (s *mStanding) goesOn(now crm.Nanos, late bool, overdue crm.Overdue) crm.Nanos {
	switch {
	case overdue == "shift" && s.due > s.stopped:
		return s.due + now - s.stopped
	case late:
		return now
	}
	return s.due
}

// resumeRun is the same for a run; one whose wait is over ends if what is overdue is skipped.
func (m *model) resumeRun(c *mContact, r *mRun, overdue crm.Overdue) {
	m.high = m.now()
	m.step++
	m.tell(c, "run.resumed", crm.Cause{Kind: crm.ByPerson})
	now, late := m.high, r.due <= m.high
	r.life = c.moved
	if r.waiting && late && overdue == "skip" {
		r.done = "cancelled"
		return
	}
	r.due = r.goesOn(now, late, overdue)
}
