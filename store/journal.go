package store

import (
	"cmp"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// CommitStep journals a step once: false means that the journal already has it as finished, and the
// record is dropped. An intent may be followed by its result. Output and message are sealed: both may
// be a plugin's words about the contact.
func (tx *Tx) CommitStep(r crm.StepRecord) (first bool, err error) {
	old, err := one(tx.ctx, tx.row.Steps(), r.Key())
	if err != nil || old != nil && old.Status != StepIntent && old.Status != StepSuperseded {
		return false, err
	}
	if words := (said{r.Output, r.Message}); len(r.Output) > 0 || r.Message != "" {
		r.Output, r.Message = nil, ""
		c, err := tx.contacts.get(tx.ctx, crm.Key{Account: r.Account, Contact: r.Contact})
		if err != nil {
			return false, err
		}
		if c != nil { // if not, this very step purged it: nobody may read it any more
			if r.Output, err = tx.s.seal(c, stepSeal(r), uint64(r.Iteration), words); err != nil {
				return false, err
			}
		}
	}
	tx.wrote = true
	return true, tx.row.Steps().Write(tx.ctx, []row.Change[crm.StepRecord]{{Old: old, New: &r}})
}

// said is the sealed part of a line of a journal.
type said struct {
	Output  []byte `cbor:"1,keyasint,omitempty"`
	Message string `cbor:"2,keyasint,omitempty"`
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

// Intend journals that an external call is about to be made for a run as the caller read it; false if
// that was journalled before for the same attempt, in which case the call may have been made. (A later
// attempt is only made once the one before has answered.) It fails with ErrStale when the run is not
// where the caller saw it, its contact was deleted or restored, or its workflow is paused: then the call
// must not be made.
func (tx *Tx) Intend(was crm.Run, r crm.StepRecord) (first bool, err error) {
	stored, err := tx.Run(was.ID)
	if err != nil {
		return false, err
	}
	life, err := tx.Life(crm.Key{Account: was.Account, Contact: was.Contact})
	if err != nil {
		return false, err
	}
	if stored == nil || stored.Token != was.Token || stored.Epoch != life.Epoch {
		return false, ErrStale
	}
	switch paused, err := tx.WorkflowPaused(was.Account, was.Workflow); {
	case err != nil:
		return false, err
	case paused:
		return false, ErrStale
	}
	old, err := one(tx.ctx, tx.row.Steps(), r.Key())
	if err != nil || old != nil && old.Attempt >= r.Attempt {
		return false, err
	}
	r.Status, r.At, r.Seq = StepIntent, tx.now, stored.Token<<16
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
	r.At, r.Seq = tx.now, stored.Token<<16
	_, err = tx.CommitStep(r)
	return err
}

// Steps gives a run's journal in the order in which it was written, outputs and messages opened where
// the contact still exists.
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
			var s said
			if err := tx.s.open(c, stepSeal(*r), uint64(r.Iteration), sealed, &s); err != nil {
				return nil, err
			}
			r.Output, r.Message = s.Output, s.Message
		}
	}
	slices.SortStableFunc(recs, func(a, b crm.StepRecord) int { return cmp.Compare(a.Seq, b.Seq) })
	return recs, nil
}
