package store

import (
	"cmp"
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// ErrMoved says that facts changed between the snapshot that a decision was made on and its commit.
// The caller decides again on a fresh snapshot.
var ErrMoved = errors.New("store: the facts that the decision read have changed")

// ErrStale says that the run's epoch or token is no longer what the caller read: somebody else moved
// it, or its contact was deleted or restored. The result is dropped.
var ErrStale = errors.New("store: the run has moved on")

// ErrUnheard says that something happened to the contact which the run should hear of first: an event that
// may end it, or that it waits for. The caller decides again once it was dispatched.
var ErrUnheard = errors.New("store: an event of the contact is yet to be dispatched")

// Seen is what a decision read: facts, their highest revision and their number at the time. The
// number tells that a fact was removed which was not the youngest of them.
type Seen struct {
	Facts []crm.Fact
	Rev   uint64
	N     int
}

// See notes the revision of the facts that a decision reads.
func See(c *crm.Contact, facts []crm.Fact) Seen {
	if c == nil {
		return Seen{}
	}
	return Seen{facts, c.HighestRev(facts), c.CountFacts(facts)}
}

// holds says whether the facts are as they were.
func (s Seen) holds(c *crm.Contact) bool {
	return len(s.Facts) == 0 || c != nil && c.HighestRev(s.Facts) == s.Rev && c.CountFacts(s.Facts) == s.N
}

// Start is a run to be started.
type Start struct {
	Entitled crm.Entitled // a TriggerEvent or a Selectable: nothing else starts a run
	Over     crm.StateSet // the states in which the workflow's trigger wants its contacts
	Filter   Seen         // what the workflow's filter read
	Workflow string
	Revision string
	Trigger  string
	KeyHash  [32]byte
	Depth    uint8
	Step     string // the first step
	// Again is how long from the start the key may have no other run, whatever becomes of this one: 0, as long
	// as it is not over; below 0, for ever.
	Again crm.Nanos
	Mode  crm.RunMode
	Max   int // how many may hold the key or wait for it, of the modes that have several
	// Event is what event.* is in the steps of the run, as JSON; nil if none of them asks.
	Event []byte
}

// StartPath names the line of a run's journal that keeps the event that started it. No step has that id.
func StartPath(trigger string) string { return "trigger:" + trigger }

// StartRun starts a run if, in this transaction, the entitlement still holds: the contact is in a
// wanted state and in the epoch of the entitlement, the facts that the filter read are unchanged and
// the workflow is still on this revision (else ErrMoved), and no other runnable run holds the key.
// It reports false when one of these says no.
func (tx *Tx) StartRun(s Start) (crm.Run, bool, error) {
	k, epoch, rev, ok := s.Entitled.Entitlement()
	if !ok {
		return crm.Run{}, false, crm.Errorf("start a run", crm.CodeInvalid, "nothing entitles it")
	}
	life, err := tx.Life(k)
	if err != nil {
		return crm.Run{}, false, err
	}
	c, err := tx.contacts.get(tx.ctx, k)
	if err != nil || c == nil || !s.Over.Has(life.State) || life.Epoch != epoch || life.State == crm.Live && c.Archived.On {
		return crm.Run{}, false, err
	}
	if !s.Filter.holds(c) {
		return crm.Run{}, false, ErrMoved
	}
	w, err := tx.workflows.get(tx.ctx, row.NameKey{Account: k.Account, Name: s.Workflow})
	switch {
	case err != nil || w == nil || w.Paused:
		return crm.Run{}, false, err
	case w.Active != s.Revision:
		return crm.Run{}, false, ErrMoved
	}
	held, err := tx.holders(k.Account, s.Workflow, s.KeyHash)
	if err != nil {
		return crm.Run{}, false, err
	}
	start, queue := held.admits(s.Mode, s.Max, tx.now)
	if !start {
		return crm.Run{}, false, nil
	}
	if s.Mode == crm.RestartMode {
		for _, r := range held.runs {
			if err := tx.endRunAt(r, crm.ReasonRestart, false); err != nil {
				return crm.Run{}, false, err
			}
		}
		held.runs = nil
	}
	id, err := tx.NewRunID()
	if err != nil {
		return crm.Run{}, false, err
	}
	run := crm.Run{
		ID: id, Account: k.Account, Contact: k.Contact, Workflow: s.Workflow, Revision: s.Revision, Trigger: s.Trigger,
		Epoch: epoch, Began: epoch, Entitled: rev, Status: crm.RunActive, Step: s.Step, Due: tx.now, Token: 1,
		Depth: s.Depth, StartedAt: tx.now, KeyHash: s.KeyHash, Mode: s.Mode, Max: uint32(s.Max),
	}
	if held.runs = append(held.runs, &run); queue {
		run.Status, run.Due = crm.RunQueued, held.pollOf(&run, tx.now)
	}
	key := row.RunKey{Account: k.Account, Workflow: s.Workflow, Hash: s.KeyHash, Mode: s.Mode, Max: uint32(s.Max)}
	switch {
	case s.Again < 0:
		key.Until = 1<<63 - 1
	case s.Again > 0:
		key.Until = tx.now + s.Again
	}
	ids := make([]crm.RunID, len(held.runs))
	for i, r := range held.runs {
		ids[i] = r.ID
	}
	tx.wrote = true
	err = errors.Join(
		insert(tx.ctx, tx.row.Runs(), &run),
		tx.setHolders(held.key, key, ids),
		insert(tx.ctx, tx.row.Links(), runLink(run, crm.WorkflowRun)),
		tx.noteRun(run, life),
	)
	if err == nil && run.Due != 0 {
		err = insert(tx.ctx, tx.row.Timers(), timer(run))
	}
	if err == nil && len(s.Event) > 0 {
		_, err = tx.CommitStep(crm.StepRecord{Run: id, Account: k.Account, Contact: k.Contact, Path: StartPath(s.Trigger), Status: StepDone,
			At: tx.now, Output: s.Event})
	}
	return run, true, err
}

func (tx *Tx) noteRun(run crm.Run, life crm.Life) error {
	ev := tx.event(crm.RunStarted, crm.Actor{ID: "workflow:" + run.Workflow, Role: crm.System},
		crm.Cause{Kind: crm.ByWorkflow, Workflow: run.Workflow, Run: run.ID, Depth: run.Depth}, life, run.Entitled,
		crm.EventData{Name: run.Trigger, Value: run.Revision})
	return tx.note(ev)
}

func runLink(r crm.Run, kind crm.ItemKind) *crm.Link {
	return &crm.Link{Account: r.Account, Contact: r.Contact, Kind: kind, ID: crm.ItemID(r.ID), Epoch: r.Epoch, Since: r.StartedAt}
}

func timer(r crm.Run) *crm.Timer {
	return &crm.Timer{Due: r.Due, Run: r.ID, Account: r.Account, Contact: r.Contact}
}

// Advanced is what one turn of a run came to.
type Advanced struct {
	Was     crm.Run // as read
	Run     crm.Run // as it should be; the token and the epoch are the store's
	Seen    Seen    // what the turn's decisions read
	Steps   []crm.StepRecord
	Effects []crm.Mutation
	Hears   string // the cursor that has to be behind all that happened to the contact; "": none
}

// CommitRun commits one turn of a run: journal, effects, next timer, in one go. Each step is journalled
// once, whatever was executed twice. It fails with ErrStale when the run is not where the caller saw
// it or its epoch is not its contact's, with ErrMoved when what was read has changed, and with the
// refusal of an effect as a *crm.Error; in each case the turn has written nothing, or the
// transaction is broken and writes nothing.
//
// An effect that moves the contact's epoch (its own delete or restore) takes the run along: it adopts
// the new epoch.
func (tx *Tx) CommitRun(a Advanced) error {
	stored, err := one(tx.ctx, tx.row.Runs(), a.Was.ID)
	if err != nil {
		return err
	}
	k := crm.Key{Account: a.Was.Account, Contact: a.Was.Contact}
	life, err := tx.Life(k)
	if err != nil {
		return err
	}
	c, err := tx.contacts.get(tx.ctx, k)
	switch {
	case err != nil:
		return err
	case stored == nil || stored.Token != a.Was.Token || stored.Epoch != life.Epoch || c == nil:
		return ErrStale
	case !a.Seen.holds(c):
		return ErrMoved
	}
	if a.Hears != "" {
		if heard, err := tx.Heard(a.Hears, k); err != nil || !heard {
			return cmp.Or(err, ErrUnheard)
		}
	}
	if err := tx.goesOn(a); err != nil {
		return err
	}
	by := crm.Actor{ID: "workflow:" + stored.Workflow, Role: crm.System}
	why := crm.Cause{Kind: crm.ByWorkflow, Workflow: stored.Workflow, Run: stored.ID, Depth: stored.Depth + 1}
	if _, err := tx.Apply(by, why, a.Effects...); err != nil {
		return err
	}
	if life, err = tx.Life(k); err != nil || life.State == crm.Purged {
		return err // its own purge took the run along, journal and all
	}
	for i, s := range a.Steps {
		s.At = tx.now // when it happened, which is now, not when it was decided
		s.Seq = stored.Token<<16 | uint64(i)
		if _, err := tx.CommitStep(s); err != nil {
			tx.broken = err
			return err
		}
	}
	next := a.Run
	next.Token, next.Epoch = stored.Token+1, life.Epoch
	if err := tx.saveRun(stored, &next); err != nil {
		tx.broken = err
		return err
	}
	return nil
}

// saveRun writes a run's header and moves its timer, link and key with it.
func (tx *Tx) saveRun(was, is *crm.Run) error {
	tx.wrote = true
	if len(is.State) > 16<<10 {
		return crm.Errorf("save a run", crm.CodeInvalid, "the state of %s has more than 16 KiB", is.ID)
	}
	if is.Status.Finished() {
		is.Due, is.EndedAt = 0, tx.now
	}
	if err := tx.disarm(was); err != nil {
		return err
	}
	var timers []row.Change[crm.Timer]
	if is.Due != 0 {
		timers = append(timers, row.Change[crm.Timer]{New: timer(*is)})
	}
	var links []row.Change[crm.Link]
	switch {
	case is.Status.Finished():
		links = []row.Change[crm.Link]{{Old: runLink(*was, crm.WorkflowRun)}, {New: runLink(*is, crm.FinishedRun)}}
		if err := tx.noteEnded(is); err != nil {
			return err
		}
		is.Listening = false
		if err := tx.leaveKey(is, tx.now); err != nil {
			return err
		}
	case is.Epoch != was.Epoch:
		links = []row.Change[crm.Link]{{Old: runLink(*was, crm.WorkflowRun), New: runLink(*is, crm.WorkflowRun)}}
	}
	return errors.Join(
		tx.listen(was, is),
		tx.row.Timers().Write(tx.ctx, timers),
		tx.row.Links().Write(tx.ctx, links),
		tx.row.Runs().Write(tx.ctx, []row.Change[crm.Run]{{Old: was, New: is}}),
	)
}

// CancelRuns ends the unfinished runs of a workflow for a contact, those that stand still too, for a reason of the
// workflow's own.
func (tx *Tx) CancelRuns(k crm.Key, workflow, revision, reason string) error {
	runs, err := tx.RunsOf(k)
	if err != nil {
		return err
	}
	for i := range runs {
		if r := &runs[i]; r.Workflow == workflow && r.Revision == revision && !r.Status.Finished() {
			if err := tx.endRun(r, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// CancelRun ends an unfinished run. The caller has asked who may.
func (tx *Tx) CancelRun(r *crm.Run) error {
	if r.Status.Finished() {
		return crm.Errorf("cancel a run", crm.CodeInvalid, "the run %s is %s", r.ID, r.Status).WithHint("there is nothing to cancel")
	}
	tx.wrote = true
	return tx.endRun(r, crm.ReasonByHand)
}

// endRun ends a run that stands still, whose timer may have been dropped.
func (tx *Tx) endRun(r *crm.Run, reason string) error { return tx.endRunAt(r, reason, true) }

// endRunAt is endRun; a run whose key is about to be given to another leaves it as it is.
func (tx *Tx) endRunAt(r *crm.Run, reason string, leave bool) error {
	r, err := tx.Run(r.ID) // ending one of several lets the next in the queue go on, which may be this one
	if err != nil || r == nil || r.Status.Finished() {
		return err
	}
	tx.wrote = true
	if err := tx.disarm(r); err != nil {
		return err
	}
	if leave {
		if err := tx.leaveKey(r, tx.now); err != nil {
			return err
		}
	}
	over := *r
	over.Status, over.Reason, over.Token, over.Due, over.EndedAt, over.Listening = crm.RunCancelled, reason, r.Token+1, 0, tx.now, false
	return errors.Join(tx.listen(r, &over), tx.noteEnded(&over),
		tx.row.Links().Write(tx.ctx, []row.Change[crm.Link]{{Old: runLink(*r, crm.WorkflowRun)}, {New: runLink(over, crm.FinishedRun)}}),
		tx.row.Runs().Write(tx.ctx, []row.Change[crm.Run]{{Old: r, New: &over}}))
}

// Run gives a run's header, nil if there is none.
func (tx *Tx) Run(id crm.RunID) (*crm.Run, error) { return one(tx.ctx, tx.row.Runs(), id) }

// RunsOf lists the runs of a contact, finished ones included.
func (tx *Tx) RunsOf(k crm.Key) ([]crm.Run, error) {
	links, err := tx.Links(k)
	if err != nil {
		return nil, err
	}
	var runs []crm.Run
	for _, l := range links {
		if l.Kind != crm.WorkflowRun && l.Kind != crm.FinishedRun {
			continue
		}
		r, err := tx.Run(crm.RunID(l.ID))
		if err != nil {
			return nil, err
		}
		if r != nil {
			runs = append(runs, *r)
		}
	}
	return runs, nil
}

// Runs lists runs in order of their start, after an id, at most n.
func (tx *Tx) Runs(after crm.RunID, n int) ([]crm.Run, error) {
	from := after
	if !after.IsZero() {
		for i := len(from) - 1; i >= 0; i-- {
			if from[i]++; from[i] != 0 {
				break
			}
		}
	}
	var to crm.RunID
	for i := range to {
		to[i] = 0xff
	}
	return tx.row.Runs().Range(tx.ctx, from, to, n)
}

// eraseRun removes a run with its timer, key and journal.
func (tx *Tx) eraseRun(id crm.RunID) error {
	r, err := tx.Run(id)
	if err != nil || r == nil {
		return err
	}
	if err := tx.disarm(r); err != nil {
		return err
	}
	if _, err := tx.dropEnded(r); err != nil {
		return err
	}
	if err := tx.leaveKey(r, 1<<63-1); err != nil {
		return err
	}
	silent := *r
	silent.Listening = false
	if err := tx.listen(r, &silent); err != nil {
		return err
	}
	if err := removeRange(tx, tx.row.Steps(), crm.StepKey{Run: id}, crm.StepKey{Run: id, Iteration: 1<<32 - 1}); err != nil {
		return err
	}
	return remove(tx.ctx, tx.row.Runs(), []crm.Run{*r})
}
