package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// A Violation is a promise that the store broke, as the reference model sees it.
type Violation struct {
	Promise string // StartsNothing, NeverEarly or Agrees
	Step    int    // of the program
	What    string
}

// The promises that the model holds the store to.
const (
	StartsNothing = "no run starts by a fact that has not changed since the restore"
	NeverEarly    = "nothing is purged before its window is over, or under a hold"
	Agrees        = "the store and the model agree"
)

// Error says which promise was broken, and how.
func (v *Violation) Error() string {
	return fmt.Sprintf("step %d: %s, which breaks: %s", v.Step, v.What, v.Promise)
}

// window is how long the model's deletions can be undone. It has a fraction, since a deadline that
// loses its fraction is an early purge.
const window = 100*crm.Second + 437_000_001

// model is the life of contacts told once more, from first principles and without a rule of crm or
// store: facts and the step at which each changed, and what follows from the order of the steps.
type model struct {
	step     int
	clock    crm.Nanos // on the wall; may go back
	high     crm.Nanos // the latest instant at which something was committed
	contacts []*mContact
	lists    []crm.ItemID
	outbox   []mEvent
}

type mContact struct {
	key      crm.Key
	email    string
	state    string // live, deleted or purged
	held     bool
	epoch    uint64
	moved    int // the step of its last delete, restore or purge; 0: never
	restored int // the step of its last restore; 0: never
	until    crm.Nanos
	facts    map[string]mFact // tag/NAME, field/NAME, list/N
	records  map[crm.ItemID]bool
	runs     []*mRun
}

// mFact is a fact as it is: empty is off or absent.
type mFact struct {
	is    string
	step  int  // of its last change
	quiet bool // that change was late inbound
}

type mRun struct {
	id       crm.RunID
	workflow string
	epoch    uint64
	depth    uint8
	done     bool
	dead     bool // its last turn left the contact deleted
}

// mEvent is a change that a trigger may name.
type mEvent struct {
	c      *mContact
	step   int
	silent bool // by an import, a restore or late inbound
	depth  uint8
}

// now is what the store should take for the present: the wall clock, but never before an instant
// that something was stamped with.
func (m *model) now() crm.Nanos { return max(m.clock, m.high) }

func (m *model) of(k crm.Key) *mContact {
	for _, c := range m.contacts {
		if c.key == k {
			return c
		}
	}
	return nil
}

// runnable says whether a run goes on: it has not ended and belongs to the contact's present life.
func (c *mContact) runnable(r *mRun) bool {
	return !r.done && r.epoch == c.epoch && c.state != "purged"
}

// shows gives how a run is shown: what was interrupted waits for somebody to resume it, but what
// stood on a tombstone is over once that is gone.
func (c *mContact) shows(r *mRun) string {
	switch {
	case r.done:
		return "completed"
	case c.runnable(r):
		return "under way"
	case r.dead:
		return "cancelled"
	}
	return "suspended"
}

// busy says whether a runnable run of the workflow is under way: the run key is the contact.
func (c *mContact) busy(workflow string) bool {
	return slices.ContainsFunc(c.runs, func(r *mRun) bool { return r.workflow == workflow && c.runnable(r) })
}

// fresh says whether a fact entitles a scheduled selection: it changed after the last restore, and
// somebody changed it, rather than an old message arriving late.
func (c *mContact) fresh(fact string) bool {
	f := c.facts[fact]
	return c.restored == 0 || f.step > c.restored && !f.quiet
}

// starts says whether an event may start a run now: its contact is live, and nothing happened to its
// life since the event.
func (e mEvent) starts() bool {
	return e.c.state == "live" && e.step > e.c.moved && !e.silent && e.depth < 8
}

// predict gives the code with which the store must refuse a mutation, empty if it must not.
func (m *model) predict(mut crm.Mutation) string {
	if create, ok := mut.(crm.Create); ok {
		if m.taken(create.Contact.Email.Value, nil) {
			return "conflict"
		}
		return ""
	}
	c := m.of(mut.Target())
	erasure := false
	if p, ok := mut.(crm.Purge); ok {
		erasure = p.Erasure
	}
	if c.state == "purged" {
		return "purged"
	}
	switch mut := mut.(type) {
	case crm.Hold:
		return ""
	case crm.Restore:
		switch {
		case c.state == "live":
			return "not_deleted"
		case m.now() >= c.until:
			return "window_passed"
		case m.taken(c.email, c):
			return "conflict"
		}
		return ""
	case crm.Purge:
		switch {
		case c.state == "live" && !erasure:
			return "not_deleted"
		case c.held:
			return "held"
		case !erasure && m.now() < c.until:
			return "window_open"
		}
		return ""
	default:
		if c.state == "deleted" {
			return "deleted"
		}
		if _, isDelete := mut.(crm.Delete); isDelete && c.held {
			return "held"
		}
		if del, ok := mut.(crm.DeleteRecord); ok && !c.records[del.Record.ID] {
			return "not_found"
		}
		return ""
	}
}

func (m *model) taken(email string, except *mContact) bool {
	return slices.ContainsFunc(m.contacts, func(c *mContact) bool {
		return c != except && c.state == "live" && c.email == email
	})
}

// absorb does to the model what the store has done.
func (m *model) absorb(mut crm.Mutation, why crm.Cause) {
	now := m.now()
	m.high = now
	m.step++
	if create, ok := mut.(crm.Create); ok {
		m.create(create.Contact, why)
		return
	}
	c := m.of(mut.Target())
	switch mut := mut.(type) {
	case crm.AddTag:
		m.set(c, "tag/"+strings.ToLower(mut.Tag), "on", why)
	case crm.RemoveTag:
		m.set(c, "tag/"+strings.ToLower(mut.Tag), "", why)
	case crm.SetField:
		m.set(c, "field/"+mut.Name, mut.Value.Text, why)
	case crm.SetMembership:
		m.set(c, "list/"+mut.List.String(), string(mut.Status), why)
	case crm.PutRecord:
		c.records[mut.Record.ID] = true
		m.tell(c, why)
	case crm.DeleteRecord:
		c.records[mut.Record.ID] = false
		m.tell(c, why)
	case crm.Delete:
		c.state, c.until = "deleted", now+window
		c.epoch, c.moved = c.epoch+1, m.step
	case crm.Restore:
		c.state, c.restored = "live", m.step
		c.epoch, c.moved = c.epoch+1, m.step
	case crm.Purge:
		c.state, c.held = "purged", false
		c.epoch, c.moved = c.epoch+1, m.step
	case crm.Hold:
		c.held = mut.On
	}
}

func (m *model) create(from crm.Contact, why crm.Cause) {
	c := &mContact{key: from.Key(), email: from.Email.Value, state: "live", facts: map[string]mFact{}, records: map[crm.ItemID]bool{}}
	for _, t := range from.Tags {
		c.facts["tag/"+strings.ToLower(t.Name)] = mFact{is: "on", step: m.step}
	}
	for _, l := range from.Lists {
		c.facts["list/"+l.List.String()] = mFact{is: string(l.Status), step: m.step}
	}
	m.contacts = append(m.contacts, c)
	m.tell(c, why)
}

func (m *model) set(c *mContact, fact, to string, why crm.Cause) {
	if c.facts[fact].is == to {
		return
	}
	c.facts[fact] = mFact{to, m.step, why.Kind == "late_inbound"}
	m.tell(c, why)
}

func (m *model) tell(c *mContact, why crm.Cause) {
	silent := why.Kind != "person" && why.Kind != "workflow"
	m.outbox = append(m.outbox, mEvent{c, m.step, silent, why.Depth})
}
