package server

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

// RetentionStatus says what waits for the sweep.
type RetentionStatus struct {
	Now     crm.Nanos `json:"now"`
	Deleted int64     `json:"deleted"`
	Due     int       `json:"due"`            // past their deadline; counted up to 10,000
	Held    int       `json:"held"`           // of those, kept by a legal hold
	Next    crm.Nanos `json:"next,omitzero"`  // the earliest deadline
	Hold    string    `json:"hold,omitempty"` // why sweeps wait, if they do
}

func retentionStatus(c *call, _ None) (RetentionStatus, error) {
	var v RetentionStatus
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		v = RetentionStatus{Now: tx.Now()}
		if err := tx.ClockHeld(); err != nil {
			v.Hold = err.Error()
		}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if v.Deleted, err = tx.Counter(acc.ID, store.CountDeleted); err != nil {
			return err
		}
		if v.Next, err = tx.NextDeadline(); err != nil {
			return err
		}
		due, err := tx.Expired(tx.Now(), nil, 10_000)
		if err != nil {
			return err
		}
		for _, d := range due {
			life, err := tx.Life(crm.Key{Account: d.Account, Contact: d.Contact})
			if err != nil {
				return err
			}
			v.Due++
			if life.Held {
				v.Held++
			}
		}
		return nil
	})
	return v, err
}

// RetentionSweep runs a sweep now. Without the word PURGE it only says what it would do.
type RetentionSweep struct {
	Confirm string `json:"confirm,omitempty"`
}

// Swept is what a sweep did, or with Shown would do.
type Swept struct {
	runtime.SweepReport
	Shown bool `json:"shown_only"`
}

func retentionSweep(c *call, q RetentionSweep) (Swept, error) {
	if q.Confirm == "PURGE" {
		if err := c.Store.View(c.ctx, func(tx *store.Tx) error {
			acc, err := theAccount(tx)
			if err != nil {
				return err
			}
			return c.allow(acc, "sweep", crm.VerbPurge)
		}); err != nil {
			return Swept{}, err
		}
		report, err := c.Engine.Sweep(c.ctx)
		return Swept{SweepReport: report}, err
	}
	if q.Confirm != "" {
		return Swept{}, crm.Errorf("sweep", crm.CodeConfirm, "the word is PURGE").WithHint("--confirm PURGE")
	}
	s, err := retentionStatus(c, None{})
	return Swept{SweepReport: runtime.SweepReport{At: s.Now, Due: s.Due, Held: s.Held}, Shown: true}, err
}

// retentionGo is an admin's word that the clock is right although it jumped; sweeps go on.
func retentionGo(c *call, _ None) (RetentionStatus, error) {
	var acc crm.AccountID
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		a, err := theAccount(tx)
		if err == nil {
			acc = a.ID
		}
		return err
	})
	if err != nil {
		return RetentionStatus{}, err
	}
	if err := c.Store.ConfirmClock(c.ctx, c.by, acc); err != nil {
		return RetentionStatus{}, err
	}
	return retentionStatus(c, None{})
}

// RetentionReplay does again what the erasure ledger says. Without the word PURGE it only counts what it
// would do.
type RetentionReplay struct {
	Confirm string `json:"confirm,omitempty"`
}

// Replayed is what the erasure ledger came to, or with Shown would come to.
type Replayed struct {
	Lines   int             `json:"lines"`
	Purged  int             `json:"purged_again"`
	Deleted int             `json:"deleted_again"`
	HIPAA   bool            `json:"hipaa,omitempty"` // the account became a HIPAA account again
	Refused []crm.ContactID `json:"refused"`         // a hold that is younger than the line, say
	Shown   bool            `json:"shown_only"`
}

// errShown undoes what was only to be counted.
var errShown = errors.New("server: only shown")

// retentionReplay is for a store that was restored from a backup, before it serves.
func retentionReplay(c *call, q RetentionReplay) (Replayed, error) {
	const op = "replay the erasure ledger"
	v := Replayed{Refused: []crm.ContactID{}, Shown: q.Confirm != "PURGE"}
	if err := c.admin(op); err != nil {
		return v, err
	}
	switch {
	case c.in == nil:
		return v, crm.Errorf(op, crm.CodeInvalid, "there is no ledger to read").WithHint("it is the request's stream: reprieve retention replay FILE")
	case q.Confirm != "PURGE" && q.Confirm != "":
		return v, crm.Errorf(op, crm.CodeConfirm, "the word is PURGE").WithHint("--confirm PURGE")
	}
	dec := json.NewDecoder(c.in)
	dec.DisallowUnknownFields()
	for {
		var chunk []crm.Erasure
		for len(chunk) < 200 {
			var e crm.Erasure
			err := dec.Decode(&e)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || e.Account.IsZero() || e.Contact.IsZero() != e.HIPAA {
				return v, crm.Errorf(op, crm.CodeInvalid, "line %d is none of an erasure ledger", v.Lines+len(chunk)+1).
					WithHint("it is the file erasures.jsonl of the data directory that the backup is of; the lines before that one were done")
			}
			chunk = append(chunk, e)
		}
		if len(chunk) == 0 {
			return v, nil
		}
		if err := c.replayChunk(&v, chunk); err != nil {
			return v, err
		}
	}
}

func (c *call) replayChunk(v *Replayed, chunk []crm.Erasure) error {
	var next Replayed
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		next = *v
		for _, e := range chunk {
			done, err := tx.Replay(c.by, e)
			switch {
			case crm.CodeOf(err) == crm.CodeNotFound:
				return err // the ledger of another store
			case crm.IsRefusal(err): // the others must not wait for it
				next.Refused = append(next.Refused, e.Contact)
			case err != nil:
				return err
			}
			switch done {
			case store.ReplayedPurge:
				next.Purged++
			case store.ReplayedDelete:
				next.Deleted++
			case store.ReplayedHIPAA:
				next.HIPAA = true
			}
		}
		if v.Shown {
			return errShown
		}
		return nil
	})
	if err == nil || errors.Is(err, errShown) {
		next.Lines += len(chunk)
		*v, err = next, nil
	}
	return err
}
