package runtime

import (
	"context"
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// sweepName is what the sweep's schedule is called; it belongs to no account.
const sweepName = "retention/sweep"

// SweepReport says what a sweep did.
type SweepReport struct {
	At     crm.Nanos `json:"at"`
	Due    int       `json:"due"`    // past their deadline
	Purged int       `json:"purged"` // gone for good
	Held   int       `json:"held"`   // kept by a legal hold
	// Discarded are contacts that lost what an earlier restore had left behind, at its deadline.
	Discarded int `json:"discarded"`
	Waiting   int `json:"waiting"` // for a bulk restore on their account to end
	Failed    int `json:"failed"`  // refused for another reason; see the log
	// Runs are finished runs whose journal went, at the end of runs.keep_finished.
	Runs int `json:"runs"`
	// Entries are those that the log lost at its front, at the end of audit.keep.
	Entries int `json:"entries,omitempty"`
}

func (r *SweepReport) add(o SweepReport) {
	r.Purged += o.Purged
	r.Held += o.Held
	r.Discarded += o.Discarded
	r.Waiting += o.Waiting
	r.Failed += o.Failed
	r.Runs += o.Runs
	r.Entries += o.Entries
}

var sweeper = crm.Actor{ID: "system:sweep", Role: crm.System}

// sweepDue runs the sweep when its schedule says so. The schedule only wakes it: whether a contact is
// purged is decided by the deadline that its delete stamped, inside the purging transaction. A sweep
// that was missed makes a purge later, never earlier.
func (e *Engine) sweepDue(ctx context.Context) (bool, error) {
	var old *store.Schedule
	var now crm.Nanos
	var due bool
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		due = false
		if held := tx.ClockHeld(); held != nil { // a state, not a failure: it lasts until somebody sets it right
			e.complain(held, "sweeps hold")
			return nil
		}
		now = tx.Now()
		if old, err = tx.Schedule(crm.AccountID{}, sweepName); err != nil {
			return err
		}
		if old == nil {
			due = true
			return nil
		}
		fires, missed := e.sweep.Due(old.LastFire, now)
		due = len(fires)+missed > 0
		return nil
	})
	if err != nil || !due {
		return false, err
	}
	report, more, err := e.sweepSome(ctx, &e.swept, maxChunks)
	if err != nil || more {
		return more || report.Purged+report.Discarded > 0, err
	}
	runs, more, err := e.forgetSome(ctx, &e.forgot, maxChunks)
	if err != nil || more {
		return more || runs > 0, err
	}
	entries, more, err := e.trimSome(ctx, maxChunks)
	if err != nil || more {
		return more || entries > 0, err
	}
	next := store.Schedule{Name: sweepName, LastFire: now}
	err = e.store.Update(ctx, func(tx *store.Tx) error { return tx.PutSchedule(old, &next) })
	if errors.Is(err, store.ErrStale) {
		err = nil
	}
	return report.Purged+report.Discarded+runs > 0, err
}

// Sweep purges all that is past its deadline and forgets the runs whose time is up, in chunks that hold the
// writer briefly. It refuses to run while the clock is behind the store's high-water mark.
func (e *Engine) Sweep(ctx context.Context) (SweepReport, error) {
	var after *crm.Deadline
	report, _, err := e.sweepSome(ctx, &after, 0)
	if err == nil {
		var at *forgetting
		report.Runs, _, err = e.forgetSome(ctx, &at, 0)
	}
	if err == nil {
		report.Entries, _, err = e.trimSome(ctx, 0)
	}
	return report, err
}

// sweepSome purges up to so many chunks (0: all) behind a deadline, which it moves; at the end it sets
// it back and reports that there is no more.
func (e *Engine) sweepSome(ctx context.Context, after **crm.Deadline, chunks int) (report SweepReport, more bool, err error) {
	for n := 0; chunks == 0 || n < chunks; n++ {
		var chunk []crm.Deadline
		err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			if err := tx.ClockHeld(); err != nil {
				return err
			}
			report.At = tx.Now()
			chunk, err = tx.Expired(report.At, *after, e.purges.size())
			return err
		})
		if err == nil && len(chunk) > 0 && *after != nil && chunk[len(chunk)-1] == **after {
			err = crm.Errorf("sweep", crm.CodeCorrupt, "the deadlines are out of order").WithHint("reprieve store check")
		}
		if err != nil || len(chunk) == 0 {
			*after = nil
			return report, false, err
		}
		began := e.clock.Now()
		done, err := e.purgeChunk(ctx, chunk)
		if crm.CodeOf(err) == crm.CodeCorrupt && len(chunk) > 1 {
			done, err = e.purgeSingly(ctx, chunk)
		}
		if err != nil {
			*after = nil
			return report, false, err
		}
		e.purges.took(len(chunk), e.clock.Now().Sub(began))
		report.Due += len(chunk)
		report.add(done)
		*after = &chunk[len(chunk)-1]
	}
	return report, true, nil
}

// purgeSingly goes round a damaged row: one contact that cannot be read must not keep all others from
// their purge.
func (e *Engine) purgeSingly(ctx context.Context, chunk []crm.Deadline) (SweepReport, error) {
	var report SweepReport
	for i, d := range chunk {
		done, err := e.purgeChunk(ctx, chunk[i:i+1])
		switch {
		case crm.CodeOf(err) == crm.CodeCorrupt:
			report.Failed++
			e.log.Error().Str("contact", d.Contact.String()).Err(err).Msg("the sweep cannot purge a contact; reprieve store check says more")
		case err != nil:
			return report, err
		}
		report.add(done)
	}
	return report, nil
}

func (e *Engine) purgeChunk(ctx context.Context, chunk []crm.Deadline) (SweepReport, error) {
	var report SweepReport
	why := crm.Cause{Kind: crm.ByRetention}
	err := e.store.Update(ctx, func(tx *store.Tx) error {
		report = SweepReport{}
		for _, d := range chunk {
			k := crm.Key{Account: d.Account, Contact: d.Contact}
			life, err := tx.Life(k)
			if err != nil {
				return err
			}
			var done []crm.Event
			purged := life.State == crm.Deleted && life.RestorableUntil == d.Until
			if purged {
				done, err = tx.Apply(sweeper, why, crm.Purge{Contact: k, Reason: "retention"})
			} else { // the deadline is that of what a restore left behind
				done, err = tx.Apply(sweeper, why, crm.Discard{Contact: k})
			}
			switch {
			case err == nil && len(done) == 0: // restored since it was read
			case err == nil && purged:
				report.Purged++
			case err == nil:
				report.Discarded++
			case crm.CodeOf(err) == crm.CodeRunning:
				report.Waiting++
			case crm.CodeOf(err) == crm.CodeHeld:
				report.Held++
			case crm.IsRefusal(err): // restored, or purged by another sweep, since it was read
				report.Failed++
				e.log.Warn().Str("contact", d.Contact.String()).Str("code", crm.CodeOf(err)).Msg("the sweep left a contact")
			default:
				return err
			}
		}
		return nil
	})
	return report, err
}

// WriteLedger writes what waits for the erasure ledger: for a process in which no engine runs.
func (e *Engine) WriteLedger(ctx context.Context) error {
	_, err := e.writeLedger(ctx)
	return err
}

func (e *Engine) writeLedger(ctx context.Context) (bool, error) {
	if e.ledger == nil {
		return false, nil
	}
	n, err := e.store.LedgerTail(ctx, e.ledger)
	return n > 0, err
}
