package store

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Ended is the index row of a run that is over.
type Ended = row.Ended

func ended(r *crm.Run) *row.Ended {
	e := &row.Ended{Account: r.Account, At: r.EndedAt, Run: r.ID, Workflow: r.Workflow, Status: r.Status}
	switch {
	case r.Status == crm.RunFailed:
		e.Code = r.Code
	case r.Status == crm.RunCancelled && r.Reason == crm.ReasonTimeout:
		e.Code = r.Reason
	}
	return e
}

// noteEnded notes when a run ended, for retention and for whoever looks for what failed.
func (tx *Tx) noteEnded(r *crm.Run) error { return insert(tx.ctx, tx.row.Ended(), ended(r)) }

// dropEnded removes a run's row of the index; false if there is none, since retention has been there.
func (tx *Tx) dropEnded(r *crm.Run) (bool, error) {
	e, err := one(tx.ctx, tx.row.Ended(), row.Endeds.Key(ended(r)))
	if err != nil || e == nil {
		return false, err
	}
	return true, remove(tx.ctx, tx.row.Ended(), []row.Ended{*e})
}

// EndedRuns gives a page of the runs of an account that are over, in the order in which they ended: from an
// instant on, behind a row (nil: from the start), before an instant, at most n.
func (tx *Tx) EndedRuns(acc crm.AccountID, since crm.Nanos, after *Ended, before crm.Nanos, n int) ([]Ended, error) {
	from := row.EndedKey{Account: acc, At: since}
	if after != nil {
		from = row.Endeds.Key(after)
	}
	got, err := tx.row.Ended().Range(tx.ctx, from, row.EndedKey{Account: acc, At: before}, n+1)
	if err == nil && after != nil && len(got) > 0 && row.Endeds.Key(&got[0]) == from {
		got = got[1:]
	}
	return got[:min(n, len(got))], err
}

// Forgotten is what became of a finished run whose time is up.
type Forgotten int

// The ways in which a finished run is forgotten.
const (
	NotForgotten Forgotten = iota // it was retried, purged or forgotten meanwhile, or its time is not up
	WholeRun                      // with its journal
	JournalOnly                   // its header stays for as long as its key keeps others out
	UnderHold                     // nothing: its contact is under a legal hold
)

// Forget removes what is left of a run that ended longer ago than the policy keeps finished runs. It decides
// in this transaction: nothing goes early, nor under a legal hold. A run whose key still keeps others out
// (run.reenter) loses its journal only; the key's row is its contact's to take along, or time's.
func (tx *Tx) Forget(e Ended) (Forgotten, error) {
	there, err := one(tx.ctx, tx.row.Ended(), row.Endeds.Key(&e))
	if err != nil || there == nil {
		return NotForgotten, err
	}
	acc, err := tx.Account(e.Account)
	if err != nil {
		return NotForgotten, err
	}
	r, err := tx.Run(e.Run)
	if err != nil {
		return NotForgotten, err
	}
	keep := acc.Policy.Runs.KeepFinished
	if r == nil { // purged, after it had lost its journal
		tx.wrote = true
		return NotForgotten, remove(tx.ctx, tx.row.Ended(), []row.Ended{*there})
	}
	if !r.Status.Finished() || keep <= 0 || tx.now < there.At+keep {
		return NotForgotten, nil
	}
	k := crm.Key{Account: r.Account, Contact: r.Contact}
	switch life, err := tx.Life(k); {
	case err != nil:
		return NotForgotten, err
	case life.Held:
		return UnderHold, nil
	}
	tx.wrote = true
	key, err := one(tx.ctx, tx.row.RunKeys(), row.RunKeyKey{Account: r.Account, Hash: r.KeyHash, Workflow: r.Workflow})
	if err != nil {
		return NotForgotten, err
	}
	if key != nil && key.Run == r.ID && len(key.Others) == 0 && key.Until > tx.now {
		return JournalOnly, tx.forgetJournal(r, there, key.Until, keep)
	}
	if err := remove(tx.ctx, tx.row.Ended(), []row.Ended{*there}); err != nil {
		return NotForgotten, err
	}
	link, err := one(tx.ctx, tx.row.Links(), crm.ItemKey{Account: r.Account, Contact: r.Contact, Kind: crm.FinishedRun, ID: crm.ItemID(r.ID)})
	if err != nil {
		return NotForgotten, err
	}
	if link != nil {
		if err := remove(tx.ctx, tx.row.Links(), []crm.Link{*link}); err != nil {
			return NotForgotten, err
		}
	}
	return WholeRun, tx.eraseRun(r.ID)
}

// forgetJournal removes a run's journal. The run is looked at again when its key lets others in, if it
// ever does.
func (tx *Tx) forgetJournal(r *crm.Run, e *row.Ended, until, keep crm.Nanos) error {
	if err := removeRange(tx, tx.row.Steps(), crm.StepKey{Run: r.ID}, crm.StepKey{Run: r.ID, Iteration: 1<<32 - 1}); err != nil {
		return err
	}
	ch := row.Change[row.Ended]{Old: e}
	if until < 1<<63-1 {
		next := *e
		next.At, next.Bare = until-keep, true // later than it was: the key is still kept
		ch.New = &next
	}
	return tx.moveEnded(ch)
}

// moveEnded writes a row of the index whose key may change.
func (tx *Tx) moveEnded(ch row.Change[row.Ended]) error {
	if ch.New == nil || row.Endeds.Key(ch.New) == row.Endeds.Key(ch.Old) {
		return tx.row.Ended().Write(tx.ctx, []row.Change[row.Ended]{ch})
	}
	return tx.row.Ended().Write(tx.ctx, []row.Change[row.Ended]{{Old: ch.Old}, {New: ch.New}})
}
