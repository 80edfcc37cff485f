package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// history is what was asked of a service that kept being killed, and what its store says of it. The
// checker looks at nothing else, so that a test can doctor it.
type history struct {
	calls    []asked
	log      []store.Logged
	contacts map[crm.ContactID]*ending
	counts   map[string]int64 // the account's counters, by name
	due      []crm.Run        // still due at the end
	waiting  int              // entries of the log that no trigger has looked at
	window   crm.Nanos        // the recovery window
}

// outcome is how a call ended for its caller.
type outcome int

const (
	unanswered outcome = iota // it may have been done or not
	acknowledged
	refused
)

// asked is one call of the driver.
type asked struct {
	verb    string // add, remove, delete or restore
	contact crm.ContactID
	tags    []string // of add, always one that nobody used before, and of remove
	outcome outcome
	code    string // of a refusal
	rev     uint64 // add: the contact's revision in the answer
	epoch   uint64 // delete, restore: the epoch in the answer
}

// ending is a contact at the end.
type ending struct {
	contact  *crm.Contact // nil once purged
	life     crm.Life
	receipts []crm.Receipt
	runs     []ended
}

type ended struct {
	run   crm.Run
	steps []crm.StepRecord
}

// readHistory reads the store's side of a history. Its log entries and runs are all in memory.
func readHistory(ctx context.Context, st *store.Store, acc crm.AccountID, h *history) error {
	return st.View(ctx, func(tx *store.Tx) error {
		h.log, h.contacts, h.counts = nil, map[crm.ContactID]*ending{}, map[string]int64{}
		for cursor := []byte(nil); ; {
			entries, next, err := tx.Events(cursor, 1000)
			if err != nil {
				return err
			}
			if len(entries) == 0 {
				break
			}
			h.log, cursor = append(h.log, entries...), next
		}
		for _, l := range h.log {
			if id := l.Event.Contact; !id.IsZero() && h.contacts[id] == nil {
				end, err := readEnding(tx, crm.Key{Account: acc, Contact: id})
				if err != nil {
					return err
				}
				h.contacts[id] = end
			}
		}
		for _, name := range []string{store.CountLive, store.CountDeleted, store.CountPurged} {
			n, err := tx.Counter(acc, name)
			if err != nil {
				return err
			}
			h.counts[name] = n
		}
		a, err := tx.Account(acc)
		if err != nil {
			return err
		}
		h.window = a.Policy.Retention.Window
		h.due, _, _, err = tx.DueRuns(store.FirstTimer, tx.Now(), 10_000)
		return err
	})
}

func readEnding(tx *store.Tx, k crm.Key) (*ending, error) {
	e := &ending{}
	var err error
	if e.contact, e.life, err = tx.Peek(k); err != nil {
		return nil, err
	}
	for epoch := range e.life.Epoch + 1 {
		r, err := tx.Receipt(k, epoch)
		if err != nil {
			return nil, err
		}
		if r != nil {
			e.receipts = append(e.receipts, *r)
		}
	}
	runs, err := tx.RunsOf(k)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		steps, err := tx.Steps(r.ID)
		if err != nil {
			return nil, err
		}
		e.runs = append(e.runs, ended{r, steps})
	}
	return e, nil
}

// checker goes through a history and notes what must not be.
type checker struct {
	*history
	found  []string
	lives  map[crm.ContactID]*folded
	runs   map[crm.RunID]crm.Event // run.started, by run
	starts map[string]int          // how many runs an entitlement started
	grants map[string]string       // workflow → what it was granted so far
	didRun map[crm.RunID]map[string]int
	last   map[crm.RunID]crm.Nanos // when a run had its last effect
	seq    int                     // of the entry that is being looked at
	seen   []int                   // by number of an entry: the last event that had started a run before it
}

// folded is a contact as the log alone tells it.
type folded struct {
	state    crm.State
	epoch    uint64
	quiet    uint64 // 0: never restored
	rev      uint64
	until    crm.Nanos
	tags     map[string]bool
	events   map[uint64]crm.Event // of facts, by revision
	seqs     map[uint64]int       // the numbers of their entries
	ends     map[uint64]int       // epoch → number of the entry that ended it
	byPeople map[string][]uint64  // delete, restore → epochs that people began
}

func (c *checker) bad(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// check gives everything that is wrong with a history; nothing if it keeps every promise.
func check(h *history) []string {
	c := &checker{history: h, lives: map[crm.ContactID]*folded{}, runs: map[crm.RunID]crm.Event{},
		starts: map[string]int{}, grants: map[string]string{}, didRun: map[crm.RunID]map[string]int{},
		last: map[crm.RunID]crm.Nanos{}}
	c.seen = make([]int, len(h.log)+2)
	for i, l := range h.log {
		if c.seq = i + 1; l.Seq != uint64(c.seq) {
			c.bad("entry %d of the log has number %d", c.seq, l.Seq)
		}
		c.seen[c.seq+1] = c.seen[c.seq]
		c.entry(l.Event)
	}
	for key, n := range c.starts {
		if n > 1 {
			c.bad("%d runs were started by the one entitlement %s", n, key)
		}
	}
	for i := range h.calls {
		c.call(&h.calls[i])
	}
	count := map[crm.State]int64{}
	for id, f := range c.lives {
		count[f.state]++
		c.ending(id, f)
	}
	for name, st := range map[string]crm.State{store.CountLive: crm.Live, store.CountDeleted: crm.Deleted, store.CountPurged: crm.Purged} {
		if h.counts[name] != count[st] {
			c.bad("the counter %s says %d, the log says %d", name, h.counts[name], count[st])
		}
	}
	for _, r := range h.due {
		c.bad("run %s is still due", r.ID)
	}
	if h.waiting != 0 {
		c.bad("%d entries wait for the triggers", h.waiting)
	}
	slices.Sort(c.found)
	return c.found
}

// entry takes one entry of the log in.
func (c *checker) entry(ev crm.Event) {
	if ev.Kind == crm.WorkflowApplied {
		c.grants[ev.Data.Name] = ev.Data.Old
		return
	}
	f := c.lives[ev.Contact]
	if f == nil {
		f = &folded{tags: map[string]bool{}, events: map[uint64]crm.Event{}, seqs: map[uint64]int{}, ends: map[uint64]int{}, byPeople: map[string][]uint64{}}
		c.lives[ev.Contact] = f
		if ev.Kind != crm.ContactCreated {
			c.bad("%s begins with %s", ev.Contact, ev.Kind)
		}
	}
	if !ev.Why.Run.IsZero() && ev.Kind != crm.RunStarted {
		c.effect(ev)
	}
	switch ev.Kind {
	case crm.ContactDeleted:
		c.moves(f, ev, crm.Live, crm.Deleted)
		c.cause(ev)
		if f.until = ev.Data.Until; f.until != ev.At+c.window {
			c.bad("the delete of %s at epoch %d stamped %s", ev.Contact, ev.Epoch, f.until)
		}
	case crm.ContactRestored:
		if ev.At >= f.until {
			c.bad("%s was restored after its recovery window", ev.Contact)
		}
		c.moves(f, ev, crm.Deleted, crm.Live)
		f.quiet = ev.Rev
	case crm.ContactPurged:
		if ev.At < f.until {
			c.bad("%s was purged %d ns early", ev.Contact, f.until-ev.At)
		}
		c.moves(f, ev, crm.Deleted, crm.Purged)
	case crm.RunStarted:
		c.started(f, ev)
	default:
		c.fact(f, ev)
	}
}

// moves takes in an event that moves a life: each epoch is begun once.
func (c *checker) moves(f *folded, ev crm.Event, from, to crm.State) {
	if f.state != from || ev.Epoch != f.epoch+1 {
		c.bad("%s of %s begins epoch %d, but it was %s in epoch %d", ev.Kind, ev.Contact, ev.Epoch, f.state, f.epoch)
	}
	f.ends[f.epoch] = c.seq
	f.state, f.epoch = to, ev.Epoch
	if strings.HasPrefix(ev.By.ID, "user:") {
		f.byPeople[string(ev.Kind)] = append(f.byPeople[string(ev.Kind)], ev.Epoch)
	}
}

// cause wants a delete to be a person's, or that of a run of a workflow that was granted it.
func (c *checker) cause(ev crm.Event) {
	start, ran := c.runs[ev.Why.Run]
	switch {
	case ev.Why.Kind == crm.ByPerson && ev.By.Role == crm.Admin:
	case ev.Why.Kind != crm.ByWorkflow || !strings.Contains(c.grants[ev.Why.Workflow], string(crm.VerbDelete)):
		c.bad("%s was deleted without a grant, by %s", ev.Contact, ev.By.ID)
	case !ran || start.Contact != ev.Contact || start.Epoch != ev.Epoch-1 || start.Why.Workflow != ev.Why.Workflow:
		c.bad("%s was deleted at epoch %d by a run that was not started for it", ev.Contact, ev.Epoch)
	}
}

// effect counts what a run did: no step of these workflows has the same effect twice.
func (c *checker) effect(ev crm.Event) {
	c.last[ev.Why.Run] = ev.At
	if e := c.contacts[ev.Contact]; e.contact == nil && ev.Kind != crm.ContactDeleted && ev.Kind != crm.ContactRestored {
		return // purged: nobody can read what it was
	}
	if c.didRun[ev.Why.Run] == nil {
		c.didRun[ev.Why.Run] = map[string]int{}
	}
	what := string(ev.Kind) + " " + ev.Data.Name
	if c.didRun[ev.Why.Run][what]++; c.didRun[ev.Why.Run][what] > 1 {
		c.bad("run %s did %q twice", ev.Why.Run, what)
	}
}

// started holds the start of a run against the log before it: the fact that entitles it must be
// younger than the last restore.
func (c *checker) started(f *folded, ev crm.Event) {
	if ev.Epoch != f.epoch || f.state == crm.Purged {
		c.bad("run %s was started in epoch %d of %s, which was in epoch %d", ev.Why.Run, ev.Epoch, ev.Contact, f.epoch)
	}
	if f.state == crm.Live && f.quiet > 0 && ev.Rev <= f.quiet {
		c.bad("run %s of %s is entitled by revision %d, at or below the quiet revision %d", ev.Why.Run, ev.Contact, ev.Rev, f.quiet)
	}
	c.runs[ev.Why.Run] = ev
	if _, byEvent := wantTags[ev.Why.Workflow]; byEvent {
		c.seen[c.seq+1] = max(c.seen[c.seq], f.seqs[ev.Rev])
	}
	c.starts[fmt.Sprintf("%s/%s %s epoch %d revision %d", ev.Why.Workflow, ev.Data.Name, ev.Contact, ev.Epoch, ev.Rev)]++
}

// fact takes in the change of a fact: revisions are gapless, and only a live contact changes.
func (c *checker) fact(f *folded, ev crm.Event) {
	if ev.Rev != f.rev+1 {
		c.bad("%s has revision %d after %d", ev.Contact, ev.Rev, f.rev)
	}
	if f.state != crm.Live || ev.Epoch != f.epoch {
		c.bad("%s of %s in epoch %d, while it was %s in epoch %d", ev.Kind, ev.Contact, ev.Epoch, f.state, f.epoch)
	}
	f.rev, f.events[ev.Rev], f.seqs[ev.Rev] = ev.Rev, ev, c.seq
	switch ev.Kind {
	case crm.ContactCreated:
		if ev.After != nil {
			for _, t := range ev.After.TagNames() {
				f.tags[t] = true
			}
		}
	case crm.ContactTagAdded:
		f.tags[ev.Data.Name] = true
	case crm.ContactTagRemoved:
		delete(f.tags, ev.Data.Name)
	}
}
