package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// ErrMoved says that facts changed between the snapshot that a decision was made on and its commit.
// The caller decides again on a fresh snapshot.
var ErrMoved = errors.New("store: the facts that the decision read have changed")

// ErrStale says that the run's epoch or token is no longer what the caller read: somebody else moved
// it, or its contact was deleted or restored. The result is dropped.
var ErrStale = errors.New("store: the run has moved on")

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
}

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
	if err != nil || c == nil || !s.Over.Has(life.State) || life.Epoch != epoch {
		return crm.Run{}, false, err
	}
	if !s.Filter.holds(c) {
		return crm.Run{}, false, ErrMoved
	}
	w, err := tx.workflows.get(tx.ctx, row.NameKey{Account: k.Account, Name: s.Workflow})
	switch {
	case err != nil || w == nil:
		return crm.Run{}, false, err
	case w.Active != s.Revision:
		return crm.Run{}, false, ErrMoved
	}
	key, free, err := tx.keyFree(k.Account, s.Workflow, s.KeyHash)
	if err != nil || !free {
		return crm.Run{}, false, err
	}
	id, err := tx.NewRunID()
	if err != nil {
		return crm.Run{}, false, err
	}
	run := crm.Run{
		ID: id, Account: k.Account, Contact: k.Contact, Workflow: s.Workflow, Revision: s.Revision, Trigger: s.Trigger,
		Epoch: epoch, Began: epoch, Entitled: rev, Status: crm.RunActive, Step: s.Step, Due: tx.now, Token: 1,
		Depth: s.Depth, StartedAt: tx.now, KeyHash: s.KeyHash,
	}
	tx.wrote = true
	return run, true, errors.Join(
		insert(tx.ctx, tx.row.Runs(), &run),
		tx.row.RunKeys().Write(tx.ctx, []row.Change[row.RunKey]{{Old: key, New: &row.RunKey{Account: k.Account, Workflow: s.Workflow, Hash: s.KeyHash, Run: id}}}),
		insert(tx.ctx, tx.row.Links(), runLink(run, crm.WorkflowRun)),
		insert(tx.ctx, tx.row.Timers(), timer(run)),
		tx.noteRun(run, life),
	)
}

func (tx *Tx) noteRun(run crm.Run, life crm.Life) error {
	ev := tx.event(crm.RunStarted, crm.Actor{ID: "workflow:" + run.Workflow, Role: crm.System},
		crm.Cause{Kind: crm.ByWorkflow, Workflow: run.Workflow, Run: run.ID, Depth: run.Depth}, life, run.Entitled,
		crm.EventData{Name: run.Trigger, Value: run.Revision})
	tx.note(ev)
	return nil
}

// keyFree says whether a run key is free: nobody holds it, or who holds it is over or suspended.
func (tx *Tx) keyFree(acc crm.AccountID, workflow string, hash [32]byte) (*row.RunKey, bool, error) {
	key, err := one(tx.ctx, tx.row.RunKeys(), row.RunKeyKey{Account: acc, Hash: hash, Workflow: workflow})
	if err != nil || key == nil {
		return nil, err == nil, err
	}
	holder, err := one(tx.ctx, tx.row.Runs(), key.Run)
	if err != nil || holder == nil {
		return key, err == nil, err
	}
	life, err := tx.Life(crm.Key{Account: holder.Account, Contact: holder.Contact})
	if err != nil {
		return nil, false, err
	}
	status := holder.StatusFor(life)
	return key, status.Finished() || status == crm.RunSuspended, nil
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
	by := crm.Actor{ID: "workflow:" + stored.Workflow, Role: crm.System}
	why := crm.Cause{Kind: crm.ByWorkflow, Workflow: stored.Workflow, Run: stored.ID, Depth: stored.Depth + 1}
	if _, err := tx.Apply(by, why, a.Effects...); err != nil {
		return err
	}
	if life, err = tx.Life(k); err != nil || life.State == crm.Purged {
		return err // its own purge took the run along, journal and all
	}
	for _, s := range a.Steps {
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
		is.Due = 0
		if is.EndedAt == 0 {
			is.EndedAt = tx.now
		}
	}
	var timers []row.Change[crm.Timer]
	if was.Due != 0 {
		timers = append(timers, row.Change[crm.Timer]{Old: timer(*was)})
	}
	if is.Due != 0 {
		timers = append(timers, row.Change[crm.Timer]{New: timer(*is)})
	}
	var links []row.Change[crm.Link]
	switch {
	case is.Status.Finished():
		links = []row.Change[crm.Link]{{Old: runLink(*was, crm.WorkflowRun)}, {New: runLink(*is, crm.FinishedRun)}}
		if err := tx.freeKey(is); err != nil {
			return err
		}
	case is.Epoch != was.Epoch:
		links = []row.Change[crm.Link]{{Old: runLink(*was, crm.WorkflowRun), New: runLink(*is, crm.WorkflowRun)}}
	}
	return errors.Join(
		tx.row.Timers().Write(tx.ctx, timers),
		tx.row.Links().Write(tx.ctx, links),
		tx.row.Runs().Write(tx.ctx, []row.Change[crm.Run]{{Old: was, New: is}}),
	)
}

func (tx *Tx) freeKey(r *crm.Run) error {
	key, err := one(tx.ctx, tx.row.RunKeys(), row.RunKeyKey{Account: r.Account, Hash: r.KeyHash, Workflow: r.Workflow})
	if err != nil || key == nil || key.Run != r.ID {
		return err
	}
	return remove(tx.ctx, tx.row.RunKeys(), []row.RunKey{*key})
}

// CommitStep journals a step once: false means that the journal already has it as finished, and the
// record is dropped. An intent may be followed by its result. The output is sealed.
func (tx *Tx) CommitStep(r crm.StepRecord) (first bool, err error) {
	old, err := one(tx.ctx, tx.row.Steps(), r.Key())
	if err != nil || old != nil && old.Status != StepIntent && old.Status != StepSuperseded {
		return false, err
	}
	if len(r.Output) > 0 {
		c, err := tx.contacts.get(tx.ctx, crm.Key{Account: r.Account, Contact: r.Contact})
		if err != nil {
			return false, err
		}
		if c == nil {
			r.Output = nil // purged by this very step: nobody may read it any more
		} else if r.Output, err = tx.s.seal(c, stepSeal(r), uint64(r.Iteration), r.Output); err != nil {
			return false, err
		}
	}
	tx.wrote = true
	return true, tx.row.Steps().Write(tx.ctx, []row.Change[crm.StepRecord]{{Old: old, New: &r}})
}

// stepSeal binds a sealed output to its line of the journal.
func stepSeal(r crm.StepRecord) string { return "step/" + r.Run.String() + "/" + r.Path }

// The statuses of a step in the journal.
const (
	StepIntent     = "intent" // an external call is about to be made
	StepDone       = "done"
	StepSkipped    = "skipped"
	StepFailed     = "failed"
	StepUnknown    = "unknown"    // an external call whose outcome cannot be known
	StepSuperseded = "superseded" // its result came after the contact's epoch had moved
)

// Intend journals that an external call is about to be made; false if that was journalled before for
// the same attempt, in which case the call may have been made. (A later attempt is only made once the
// one before has answered.)
func (tx *Tx) Intend(r crm.StepRecord) (first bool, err error) {
	old, err := one(tx.ctx, tx.row.Steps(), r.Key())
	if err != nil || old != nil && old.Attempt >= r.Attempt {
		return false, err
	}
	r.Status = StepIntent
	tx.wrote = true
	return true, tx.row.Steps().Write(tx.ctx, []row.Change[crm.StepRecord]{{Old: old, New: &r}})
}

// Supersede journals a result that came after the run's epoch had moved; if the run merely moved on
// by itself, or is gone, it does nothing.
func (tx *Tx) Supersede(was crm.Run, r crm.StepRecord) error {
	stored, err := tx.Run(was.ID)
	if err != nil || stored == nil || stored.Token != was.Token {
		return err
	}
	life, err := tx.Life(crm.Key{Account: was.Account, Contact: was.Contact})
	if err != nil || life.Epoch == stored.Epoch {
		return err
	}
	_, err = tx.CommitStep(r)
	return err
}

// Steps gives a run's journal in order of path, outputs opened where the contact still exists.
func (tx *Tx) Steps(run crm.RunID) ([]crm.StepRecord, error) {
	recs, err := tx.row.Steps().Range(tx.ctx, crm.StepKey{Run: run}, crm.StepKey{Run: run, Iteration: 1<<32 - 1}, 0)
	if err != nil {
		return nil, err
	}
	for i := range recs {
		r := &recs[i]
		if len(r.Output) == 0 {
			continue
		}
		c, err := tx.contacts.get(tx.ctx, crm.Key{Account: r.Account, Contact: r.Contact})
		if err != nil {
			return nil, err
		}
		sealed := r.Output
		if r.Output = nil; c != nil {
			if err := tx.s.open(c, stepSeal(*r), uint64(r.Iteration), sealed, &r.Output); err != nil {
				return nil, err
			}
		}
	}
	return recs, nil
}

// DueRuns gives a page of what is due at now, from a key on: the runs, and the timers that are stale,
// since their run is gone or its epoch is not its contact's any more. It looks at no more than n
// timers; next is where the following page begins, the zero key at the end.
func (tx *Tx) DueRuns(from crm.TimerKey, now crm.Nanos, n int) (runs []crm.Run, stale []crm.Timer, next crm.TimerKey, err error) {
	timers, err := tx.row.Timers().Range(tx.ctx, from, crm.TimerKey{Due: now + 1}, n+1)
	if err != nil || len(timers) == 0 {
		return nil, nil, next, err
	}
	if len(timers) > n {
		next = timers[n].Key()
		timers = timers[:n]
	}
	ids := make([]crm.RunID, len(timers))
	keys := make([]crm.Key, len(timers))
	for i, t := range timers {
		ids[i], keys[i] = t.Run, crm.Key{Account: t.Account, Contact: t.Contact}
	}
	if err := tx.lives.load(tx.ctx, keys...); err != nil {
		return nil, nil, next, err
	}
	got, err := tx.row.Runs().Get(tx.ctx, ids)
	if err != nil {
		return nil, nil, next, err
	}
	for i, t := range timers {
		life, err := tx.Life(keys[i])
		if err != nil {
			return nil, nil, next, err
		}
		r := got[t.Run]
		if staleTimer(t, r, life) {
			stale = append(stale, t)
		} else {
			runs = append(runs, *r)
		}
	}
	return runs, stale, next, nil
}

// FirstTimer is a key before every timer.
var FirstTimer = crm.TimerKey{Due: -1 << 63}

// NextTimer gives the instant of the earliest timer, 0 if there is none.
func (tx *Tx) NextTimer() (crm.Nanos, error) {
	first, err := tx.row.Timers().Range(tx.ctx, crm.TimerKey{Due: -1 << 63}, crm.TimerKey{Due: 1<<63 - 1}, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	return first[0].Due, nil
}

// staleTimer says whether a timer has nothing to wake: its run is gone, over, elsewhere by now, or of
// an epoch that is not its contact's any more.
func staleTimer(t crm.Timer, r *crm.Run, life crm.Life) bool {
	return r == nil || r.Due != t.Due || r.Status.Finished() || r.Epoch != life.Epoch
}

// DropTimers removes the timers that are still stale in this transaction. It leaves a suspended run as
// it is, and closes one that stood on a tombstone which is no more.
func (tx *Tx) DropTimers(timers []crm.Timer) error {
	for _, t := range timers {
		r, err := tx.Run(t.Run)
		if err != nil {
			return err
		}
		life, err := tx.Life(crm.Key{Account: t.Account, Contact: t.Contact})
		if err != nil {
			return err
		}
		there, err := one(tx.ctx, tx.row.Timers(), t.Key())
		if err != nil {
			return err
		}
		if there == nil || !staleTimer(t, r, life) {
			continue
		}
		tx.wrote = true
		if r != nil && r.Due == t.Due && r.StatusFor(life) == crm.RunCancelled && !r.Status.Finished() {
			over := *r
			over.Status, over.Reason, over.Token = crm.RunCancelled, crm.ReasonRestored, r.Token+1
			if err := tx.saveRun(r, &over); err != nil {
				return err
			}
			continue
		}
		if err := remove(tx.ctx, tx.row.Timers(), []crm.Timer{*there}); err != nil {
			return err
		}
	}
	return nil
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
	there, err := one(tx.ctx, tx.row.Timers(), timer(*r).Key())
	if err != nil {
		return err
	}
	if there != nil {
		if err := remove(tx.ctx, tx.row.Timers(), []crm.Timer{*there}); err != nil {
			return err
		}
	}
	if err := tx.freeKey(r); err != nil {
		return err
	}
	if err := removeRange(tx, tx.row.Steps(), crm.StepKey{Run: id}, crm.StepKey{Run: id, Iteration: 1<<32 - 1}); err != nil {
		return err
	}
	return remove(tx.ctx, tx.row.Runs(), []crm.Run{*r})
}

// Workflow gives a workflow's state, or an error that says there is none.
func (tx *Tx) Workflow(acc crm.AccountID, id string) (*Workflow, error) {
	w, err := tx.workflows.get(tx.ctx, row.NameKey{Account: acc, Name: id})
	if err == nil && w == nil {
		err = crm.Errorf("read a workflow", crm.CodeNotFound, "there is no workflow %q", id).WithHint("reprieve workflow list shows what is applied")
	}
	return w, err
}

// Workflows lists the workflows of an account.
func (tx *Tx) Workflows(acc crm.AccountID) ([]Workflow, error) {
	if err := tx.workflows.flush(tx.ctx); err != nil {
		return nil, err
	}
	return tx.row.Workflows().Range(tx.ctx, row.NameKey{Account: acc}, row.NameKey{Account: acc, Name: "\xff"}, 0)
}

// WorkflowSource gives the text of one revision of a workflow, nil if there is none.
func (tx *Tx) WorkflowSource(acc crm.AccountID, id, revision string) (*Revision, error) {
	return one(tx.ctx, tx.row.Revisions(), row.NameKey{Account: acc, Name: revisionName(id, revision)})
}

func revisionName(id, revision string) string { return fmt.Sprintf("%s@%s", id, revision) }

// ApplyWorkflow makes a revision the one that new runs start on, and adds grants to what the
// workflow's id was granted before. Runs under way stay on their revision, whose text is kept.
// It reports whether anything changed. Only a role that the policy lets apply workflows may.
func (tx *Tx) ApplyWorkflow(by crm.Actor, acc crm.AccountID, id, revision string, file string, source []byte, grants []string) (changed bool, err error) {
	a, err := tx.Account(acc)
	if err != nil {
		return false, err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed("apply a workflow", a, by, why, crm.VerbApply, crm.ContactID{}); err != nil {
		return false, err
	}
	k := row.NameKey{Account: acc, Name: id}
	old, err := tx.workflows.get(tx.ctx, k)
	if err != nil {
		return false, err
	}
	next := row.Workflow{Account: acc, ID: id, Active: revision, AppliedAt: tx.now, AppliedBy: by, Grants: grants}
	if old != nil {
		next.Grants = union(old.Grants, grants)
		if old.Active == revision && len(next.Grants) == len(old.Grants) {
			return false, nil
		}
	}
	tx.wrote = true
	tx.workflows.put(k, &next)
	rev := row.Revision{Account: acc, Name: revisionName(id, revision), Source: source, File: file}
	was, err := one(tx.ctx, tx.row.Revisions(), row.NameKey{Account: acc, Name: rev.Name})
	if err != nil {
		return false, err
	}
	if was == nil || !bytes.Equal(was.Source, source) {
		if err := tx.row.Revisions().Write(tx.ctx, []row.Change[row.Revision]{{Old: was, New: &rev}}); err != nil {
			return false, err
		}
	}
	tx.note(crm.Event{Kind: crm.WorkflowApplied, Account: acc, At: tx.now, By: by, Why: why,
		Data: crm.EventData{Name: id, Value: revision, Old: fmt.Sprint(next.Grants)}})
	return true, nil
}

func union(a, b []string) []string {
	out := append([]string{}, a...)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
