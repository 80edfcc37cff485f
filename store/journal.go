package store

import (
	"cmp"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// maxTries is how many attempts at a step its line keeps, the last one included.
const maxTries = 10

// CommitStep journals a step once: false means that the journal already has it as finished, and the
// record is dropped. An intent may be followed by its result, and an attempt by the next, which keeps it.
func (tx *Tx) CommitStep(r crm.StepRecord) (first bool, err error) {
	old, err := one(tx.ctx, tx.row.Steps(), r.Key())
	if err != nil || old != nil && old.Status != StepIntent && old.Status != StepRetry && old.Status != StepSuperseded {
		return false, err
	}
	return true, tx.putStep(old, r)
}

// putStep writes a line of a journal over that of the attempt before. What may be a plugin's words about
// the contact, or speak of it, is sealed.
func (tx *Tx) putStep(old *crm.StepRecord, r crm.StepRecord) error {
	c, err := tx.contacts.get(tx.ctx, crm.Key{Account: r.Account, Contact: r.Contact})
	if err != nil {
		return err
	}
	if old != nil && c != nil {
		before := *old
		if err := tx.openStep(c, &before); err != nil {
			return err
		}
		if r.Tries = before.Tries; before.Status == StepRetry {
			r.Tries = append(r.Tries, crm.Try{Attempt: before.Attempt, At: before.At, Code: before.Code, Message: before.Message, Plugin: before.Plugin})
		}
		r.Tries = r.Tries[max(0, len(r.Tries)-maxTries+1):]
		if r.Input == nil {
			r.Input, r.Cut = before.Input, before.Cut
		}
	}
	words := said{r.Output, r.Message, r.Input, r.Cut, r.Tries}
	r.Output, r.Message, r.Input, r.Cut, r.Tries = nil, "", nil, false, nil
	if !words.empty() && c != nil { // if not, this very step purged it: nobody may read it any more
		if r.Output, err = tx.s.seal(c, stepSeal(r), uint64(r.Iteration), words); err != nil {
			return err
		}
	}
	tx.wrote = true
	return tx.row.Steps().Write(tx.ctx, []row.Change[crm.StepRecord]{{Old: old, New: &r}})
}

// openStep opens what is sealed in a line as it is stored.
func (tx *Tx) openStep(c *crm.Contact, r *crm.StepRecord) error {
	if len(r.Output) == 0 {
		return nil
	}
	var s said
	err := tx.s.open(c, stepSeal(*r), uint64(r.Iteration), r.Output, &s)
	r.Output, r.Message, r.Input, r.Cut, r.Tries = s.Output, s.Message, s.Input, s.Cut, s.Tries
	return err
}

// said is the sealed part of a line of a journal.
type said struct {
	Output  []byte    `cbor:"1,keyasint,omitempty"`
	Message string    `cbor:"2,keyasint,omitempty"`
	Input   []byte    `cbor:"3,keyasint,omitempty"`
	Cut     bool      `cbor:"4,keyasint,omitempty"`
	Tries   []crm.Try `cbor:"5,keyasint,omitempty"`
}

func (s said) empty() bool {
	return len(s.Output) == 0 && s.Message == "" && len(s.Input) == 0 && len(s.Tries) == 0
}

// stepSeal binds a sealed output to its line of the journal.
func stepSeal(r crm.StepRecord) string { return "step/" + r.Run.String() + "/" + r.Path }

// The statuses of a step in the journal.
const (
	StepIntent     = "intent" // an external call is about to be made
	StepRetry      = "retry"  // it is tried again
	StepDone       = "done"
	StepSkipped    = "skipped"
	StepFailed     = "failed"
	StepUnknown    = "unknown"    // an external call whose outcome cannot be known
	StepSuperseded = "superseded" // its result came after the contact's epoch had moved, or the run had ended
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
	return true, tx.putStep(old, r)
}

// Supersede journals a result that came too late, with the reason: its contact was deleted, restored or
// archived meanwhile, or the run was ended where it stood, by hand say. If the run merely moved on by
// itself, or is gone, it does nothing.
func (tx *Tx) Supersede(was crm.Run, r crm.StepRecord) error {
	stored, err := tx.Run(was.ID)
	if err != nil || stored == nil {
		return err
	}
	life, err := tx.Life(crm.Key{Account: was.Account, Contact: was.Contact})
	if err != nil {
		return err
	}
	switch {
	case stored.Token == was.Token && life.Epoch != stored.Epoch:
		r.Message = "the contact was deleted, restored or archived meanwhile"
	case stored.Status == crm.RunCancelled && stored.Token == was.Token+1:
		r.Message = "the run had been ended meanwhile: " + stored.Reason
	case stored.Iteration > was.Iteration: // and retried since
		r.Message = "the run had been ended meanwhile"
	default:
		return nil
	}
	r.Message += "; the answer was " + r.Status
	r.Unsure = r.Unsure || r.Status == StepUnknown
	r.Status, r.Output, r.At, r.Seq = StepSuperseded, nil, tx.now, was.Token<<16
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
		switch {
		case err != nil:
			return nil, err
		case c == nil:
			r.Output = nil
		default:
			if err := tx.openStep(c, r); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(recs, func(a, b crm.StepRecord) int { return cmp.Compare(a.Seq, b.Seq) })
	return recs, nil
}
