package store

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Parked is a timer that came due while its workflow was paused.
type Parked = row.Parked

func parked(r *crm.Run) *row.Parked {
	return &row.Parked{Account: r.Account, Workflow: r.Workflow, Due: r.Due, Run: r.ID, Contact: r.Contact}
}

// disarm removes what would wake a run: its timer, where it was put aside to, or nothing, if it was dropped.
func (tx *Tx) disarm(r *crm.Run) error {
	if r.Due == 0 {
		return nil
	}
	there, err := one(tx.ctx, tx.row.Timers(), timer(*r).Key())
	if err != nil {
		return err
	}
	if there != nil {
		return remove(tx.ctx, tx.row.Timers(), []crm.Timer{*there})
	}
	aside, err := one(tx.ctx, tx.row.Parked(), row.Parkeds.Key(parked(r)))
	if err != nil || aside == nil {
		return err
	}
	return remove(tx.ctx, tx.row.Parked(), []row.Parked{*aside})
}

// park puts the timer of a run aside if its workflow is paused, so that nobody looks at it at each pass.
// The run itself stays as it is.
func (tx *Tx) park(t crm.Timer, r *crm.Run) error {
	paused, err := tx.WorkflowPaused(r.Account, r.Workflow)
	if err != nil || !paused {
		return err
	}
	if err := remove(tx.ctx, tx.row.Timers(), []crm.Timer{t}); err != nil {
		return err
	}
	tx.wrote = true
	return insert(tx.ctx, tx.row.Parked(), parked(r))
}

// Released gives timers that were put aside of workflows that are paused no more, at most n. It looks
// at one row of each workflow that has any.
func (tx *Tx) Released(n int) (free []Parked, err error) {
	var last row.ParkedKey
	for i := range last.Account {
		last.Account[i] = 0xff
	}
	for from := (row.ParkedKey{Due: -1 << 63}); ; {
		first, err := tx.row.Parked().Range(tx.ctx, from, last, 1)
		if err != nil || len(first) == 0 {
			return nil, err
		}
		paused, err := tx.WorkflowPaused(first[0].Account, first[0].Workflow)
		if err != nil {
			return nil, err
		}
		behind := row.ParkedKey{Account: first[0].Account, Workflow: first[0].Workflow, Due: 1<<63 - 1}
		for i := range behind.Run {
			behind.Run[i] = 0xff
		}
		if !paused {
			return tx.row.Parked().Range(tx.ctx, row.Parkeds.Key(&first[0]), behind, n)
		}
		from = behind
	}
}

// Unpark brings timers back that were put aside, unless their workflow is paused again, and gives how many.
// A run that has moved on meanwhile took its own along.
func (tx *Tx) Unpark(rows []Parked) (n int, err error) {
	for _, p := range slices.Clone(rows) {
		paused, err := tx.WorkflowPaused(p.Account, p.Workflow)
		if err != nil {
			return n, err
		}
		there, err := one(tx.ctx, tx.row.Parked(), row.Parkeds.Key(&p))
		if err != nil {
			return n, err
		}
		if there == nil || paused {
			continue
		}
		tx.wrote = true
		n++
		t := crm.Timer{Due: p.Due, Run: p.Run, Account: p.Account, Contact: p.Contact}
		if err := remove(tx.ctx, tx.row.Parked(), []row.Parked{*there}); err != nil {
			return n, err
		}
		if err := insert(tx.ctx, tx.row.Timers(), &t); err != nil {
			return n, err
		}
	}
	return n, nil
}
