package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// A Violation is a promise that the store broke, as the reference model sees it.
type Violation struct {
	Promise string   // one of the promises below
	Step    int      // of the program
	What    string   // happened instead
	Acts    []string // what the program did until then
}

// The promises that the model holds the store to.
const (
	StartsNothing = "no run starts by a fact that has not changed since the restore"
	NeverEarly    = "nothing is purged or discarded before its window is over, or under a hold"
	StaysLost     = "what a restore left behind does not come back"
	Foreseen      = "a preview agrees with the deed"
	Agrees        = "the store and the model agree"
)

// Error says which promise was broken, and how.
func (v *Violation) Error() string {
	return fmt.Sprintf("step %d: %s, which breaks: %s", v.Step, v.What, v.Promise)
}

// model is the life of contacts told once more, from first principles and without a rule of crm or
// store: facts and the step at which each changed, and what follows from the order of the steps. Where
// the store hides by epoch, the model marks each thing that is left behind; where the store computes
// what a delete took, the model writes it down when it happens.
//
// The rooms: here the account and its contacts, in model_things.go what hangs on them, in
// model_may.go what the store must refuse, in model_does.go what each act changes, in model_life.go
// delete, restore, purge and discard. The programs that drive model and store side by side begin in
// model_run.go; model_sees.go and model_sums.go compare the two.
type model struct {
	step   int
	clock  crm.Nanos // on the wall; may go back
	high   crm.Nanos // the latest instant at which something was committed
	policy crm.Policy
	hipaa  bool

	contacts  []*mContact
	objects   []*mObject
	tags      map[string]*mTag // by name, in lower case
	workflows map[string]*mWorkflow
	bulks     []*mBulk
	optOuts   map[string]mOptOut // by "email:ada@example.com"
	messages  map[string]int64   // of campaigns, by "ID/sent"
	outbox    []mEvent
}

type mContact struct {
	key      crm.Key
	state    string // live, deleted or purged
	held     bool
	epoch    uint64
	moved    int // the step at which its life last changed: delete, restore, purge, archiving; 0: never
	restored int // the step of its last restore; 0: never
	until    crm.Nanos
	made     crm.Nanos
	// losses are the deadlines of what restores left behind, whether or not there is anything of it.
	losses    []crm.Nanos
	facts     map[string]mFact // email, phone, archived, tag/NAME, field/NAME, list/ID, dnd/NAME
	records   []*mRecord
	links     []*mLink
	runs      []*mRun
	queued    []crm.Inbound
	manifests []*mManifest
	receipts  []*mReceipt
	history   []crm.EventKind
	seen      int // how much of it there was when the last manifest and receipt were compared
}

// mFact is a fact as it is: empty is off or absent.
type mFact struct {
	is    string
	step  int  // of its last change
	quiet bool // that change was late inbound, or the loss of a tag
}

// mTag is a tag of the account.
type mTag struct {
	leaving bool      // deleted, and still being taken off contacts
	since   crm.Nanos // the last deletion
	gone    crm.Nanos // when it was last deleted, or had been taken off everybody
}

// mWorkflow is a workflow of the account.
type mWorkflow struct {
	gone, granted bool
	deletes       []crm.Nanos // when it deleted a contact
}

// mOptOut is what the owner of an address wanted no more of.
type mOptOut struct {
	at       crm.Nanos
	lists    map[crm.ItemID]string
	channels []string
}

// mBulk is a bulk restore.
type mBulk struct {
	id       crm.OperationID
	items    []mChosen
	next     int // how many were dealt with
	accepted crm.Nanos
	ended    bool
	refused  map[crm.ContactID]string
}

// mChosen is a contact of a bulk restore, and the deletion that was to be undone.
type mChosen struct {
	c     *mContact
	moved int
}

// mEvent is a change that a trigger may name.
type mEvent struct {
	c        *mContact
	step     int
	silent   bool // by an import, a restore, late inbound or the loss of a tag
	archived bool // the contact was, after it
	depth    uint8
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

// has gives a fact of a contact, empty if it has none.
func (c *mContact) has(fact string) string { return c.facts[fact].is }

// archived says whether the contact is out of every list, campaign and workflow.
func (c *mContact) archived() bool { return c.has("archived") != "" }

// on gives the names of the facts of a kind that the contact has, in order: on("tag/").
func (c *mContact) on(kind string) (names []string) {
	for name, f := range c.facts {
		if rest, ok := strings.CutPrefix(name, kind); ok && f.is != "" {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
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
	return e.c.state == "live" && e.step > e.c.moved && !e.silent && !e.archived && e.depth < 8
}

// taken says whether a live contact other than c has the address.
func (m *model) taken(name, value string, c *mContact) bool {
	return value != "" && slices.ContainsFunc(m.contacts, func(o *mContact) bool {
		return o != c && o.state == "live" && o.has(name) == value
	})
}

// restoring says whether a bulk restore runs.
func (m *model) restoring() int {
	n := 0
	for _, b := range m.bulks {
		if !b.ended {
			n++
		}
	}
	return n
}

func (m *model) bulk(id crm.OperationID) *mBulk {
	for _, b := range m.bulks {
		if b.id == id {
			return b
		}
	}
	return nil
}

// tag gives what is known of a tag of the account.
func (m *model) tag(name string) *mTag {
	name = strings.ToLower(name)
	if m.tags[name] == nil {
		m.tags[name] = &mTag{}
	}
	return m.tags[name]
}

// deletesSince counts what a workflow deleted in the hour, or the day, that has begun.
func (w *mWorkflow) deletesSince(begin crm.Nanos) (n int) {
	for _, at := range w.deletes {
		if at >= begin {
			n++
		}
	}
	return n
}
