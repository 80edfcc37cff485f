package store

import (
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Retry says how a run is to go on.
type Retry struct {
	Step  string // from which step; the caller knows that the run's revision has it
	Force bool   // also if a call of which nobody knows the outcome, and which may not be made twice, is made again
	// Revision is the one that is applied, if the run is to go on there and leave its own; the caller knows that it has
	// the step.
	Revision string
}

// RetryRun lets a run go on that failed or was cancelled: the act of somebody who may, from one of its steps.
// It stays on its revision unless somebody says otherwise, and what its journal says of the times before stays there: the lines of this time
// have an iteration of their own. It is refused to a run whose contact is not live in the run's epoch, whose
// workflow is deleted or paused, whose key another run holds, or whose journal retention has removed. It starts
// nothing else.
func (tx *Tx) RetryRun(by crm.Actor, id crm.RunID, how Retry) (*crm.Run, error) {
	const op = "retry a run"
	r, err := tx.Run(id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, crm.Errorf(op, crm.CodeNotFound, "there is no run %s", id).WithHint("reprieve run list --status failed shows those that can be retried")
	}
	acc, err := tx.Account(r.Account)
	if err != nil {
		return nil, err
	}
	why := crm.Cause{Kind: crm.ByPerson, Workflow: r.Workflow, Run: r.ID}
	if err := tx.allowed(op, acc, by, why, crm.VerbResume, r.Contact); err != nil {
		return nil, err
	}
	if r.Status != crm.RunFailed && r.Status != crm.RunCancelled {
		return nil, crm.Errorf(op, crm.CodeInvalid, "the run %s is %s", r.ID, r.Status).WithHint("only a failed or cancelled run is retried")
	}
	c, life, err := tx.load(op, crm.Key{Account: r.Account, Contact: r.Contact}, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	if err := tx.mayRetry(op, c, r, life); err != nil {
		return nil, err
	}
	if err := tx.mayCallAgain(op, r, how); err != nil {
		return nil, err
	}
	there, err := one(tx.ctx, tx.row.Ended(), row.Endeds.Key(ended(r)))
	if err != nil {
		return nil, err
	}
	if there == nil {
		return nil, crm.Errorf(op, crm.CodeNotFound, "the journal of the run %s is gone: it ended at %s", r.ID, r.EndedAt).
			WithHint("runs.keep_finished of the policy says how long it is kept")
	}
	if err := tx.takeKey(op, r); err != nil {
		return nil, err
	}
	next, moved := *r, ""
	if how.Revision != "" && how.Revision != r.Revision {
		if w, err := tx.Workflow(r.Account, r.Workflow); err != nil || w.Active != how.Revision {
			return nil, errors.Join(err, crm.Errorf(op, crm.CodeStale, "the workflow %q was applied anew meanwhile", r.Workflow).WithHint("try again"))
		}
		next.Revision, moved = how.Revision, how.Revision
	}
	next.Status, next.Step, next.Due, next.EndedAt, next.Retried = crm.RunActive, how.Step, tx.now, 0, tx.now
	next.Reason, next.Code, next.Attempt, next.State = "", "", 0, nil
	next.Token, next.Iteration = r.Token+1, r.Iteration+1
	tx.wrote = true
	return &next, errors.Join(
		remove(tx.ctx, tx.row.Ended(), []row.Ended{*there}),
		insert(tx.ctx, tx.row.Timers(), timer(next)),
		tx.row.Links().Write(tx.ctx, []row.Change[crm.Link]{{Old: runLink(*r, crm.FinishedRun)}, {New: runLink(next, crm.WorkflowRun)}}),
		tx.row.Runs().Write(tx.ctx, []row.Change[crm.Run]{{Old: r, New: &next}}),
		tx.noteOf(tx.event(crm.RunRetried, by, why, life, c.Rev, crm.EventData{Name: how.Step, On: how.Force, Value: moved}), c, life),
	)
}

// mayRetry refuses what cannot go on.
func (tx *Tx) mayRetry(op string, c *crm.Contact, r *crm.Run, life crm.Life) error {
	if r.Epoch != life.Epoch {
		return crm.Errorf(op, crm.CodeStale, "its contact was deleted and restored, or archived, since the run %s ended", r.ID).
			WithHint("a run goes on only in the life of its contact in which it ended; what triggers it starts a new one")
	}
	if err := tx.mayGoOn(op, c, r); err != nil {
		return err
	}
	paused, err := tx.WorkflowPaused(r.Account, r.Workflow)
	if err != nil {
		return err
	}
	if paused {
		return crm.Errorf(op, crm.CodeConflict, "the workflow %q is paused", r.Workflow).WithHint("reprieve workflow resume %s first", r.Workflow)
	}
	return nil
}

// mayCallAgain refuses to make a call anew of which nobody knows whether it was carried out, unless its action
// says that it may be called again under the same key, or somebody insists. Such a call may be any that was
// made at the step to begin with, or after it.
func (tx *Tx) mayCallAgain(op string, r *crm.Run, how Retry) error {
	if how.Force {
		return nil
	}
	first, last, err := tx.lines(r.ID)
	if err != nil {
		return err
	}
	for path, s := range last {
		after := path == how.Step
		if f, been := first[how.Step]; been && s.Seq >= f.Seq {
			after = true
		}
		if s.OpenCall() && !s.Twice && after {
			return crm.Errorf(op, crm.CodeConfirm, "nobody knows whether %s was carried out at the step %s, and it may not be called twice", s.Action, path).
				WithHint("look whether it was; --force calls it again all the same")
		}
	}
	return nil
}

// lines gives the first and the latest line of each step of a run's journal, sealed as they are.
func (tx *Tx) lines(run crm.RunID) (first, last map[string]crm.StepRecord, err error) {
	recs, err := tx.row.Steps().Range(tx.ctx, crm.StepKey{Run: run}, crm.StepKey{Run: run, Iteration: 1<<32 - 1}, 0)
	first, last = map[string]crm.StepRecord{}, map[string]crm.StepRecord{}
	for _, s := range recs { // in the order of the iterations
		if _, been := first[s.Path]; !been {
			first[s.Path] = s
		}
		last[s.Path] = s
	}
	return first, last, err
}

// CallKey gives the iteration whose idempotency key a call at a step bears: that of the run, unless what became
// of the last call is not known; then it is that call once more.
func (tx *Tx) CallKey(r crm.Run, step string) (uint32, error) {
	if r.Iteration == 0 {
		return 0, nil
	}
	_, last, err := tx.lines(r.ID)
	if err != nil {
		return 0, err
	}
	s, ok := last[step]
	if ok && (s.Iteration == r.Iteration || s.OpenCall()) {
		return s.Keyed, nil // all attempts of one time bear the same
	}
	return r.Iteration, nil
}
