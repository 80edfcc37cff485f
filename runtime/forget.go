package runtime

import (
	"bytes"
	"context"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// forgetting is how far a sweep over finished runs has come.
type forgetting struct {
	acc   crm.AccountID
	after *store.Ended
}

// forgetSome forgets finished runs whose time is up, up to so many chunks (0: all), in the order of accounts and
// of when the runs ended. It moves at; at the end it sets it back and reports that there is no more. Whether a run
// may go is decided in the transaction that removes it.
func (e *Engine) forgetSome(ctx context.Context, at **forgetting, chunks int) (runs int, more bool, err error) {
	for n := 0; chunks == 0 || n < chunks; n++ {
		chunk, next, err := e.expiredRuns(ctx, *at)
		if err != nil || next == nil {
			*at = nil
			return runs, false, err
		}
		began := e.clock.Now()
		done, err := e.forgetChunk(ctx, chunk)
		if crm.CodeOf(err) == crm.CodeCorrupt && len(chunk) > 1 {
			done, err = e.forgetSingly(ctx, chunk)
		}
		if err != nil {
			*at = nil
			return runs, false, err
		}
		e.purges.took(len(chunk), e.clock.Now().Sub(began))
		runs += done
		*at = next
	}
	return runs, true, nil
}

// expiredRuns gives the next page of runs whose time is up, and where the one after it begins; nil at the end.
func (e *Engine) expiredRuns(ctx context.Context, at *forgetting) (chunk []store.Ended, next *forgetting, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) error {
		chunk, next = nil, nil
		if err := tx.ClockHeld(); err != nil {
			return err
		}
		accounts, err := tx.Accounts()
		if err != nil {
			return err
		}
		for _, acc := range accounts {
			var after *store.Ended
			if at != nil {
				switch bytes.Compare(acc.ID[:], at.acc[:]) {
				case -1:
					continue
				case 0:
					after = at.after
				}
			}
			keep := acc.Policy.Runs.KeepFinished
			if keep <= 0 {
				continue
			}
			if chunk, err = tx.EndedRuns(acc.ID, -1<<63, after, tx.Now()-keep+1, e.purges.size()); err != nil {
				return err
			}
			if len(chunk) > 0 {
				next = &forgetting{acc.ID, &chunk[len(chunk)-1]}
				return nil
			}
		}
		return nil
	})
	return chunk, next, err
}

func (e *Engine) forgetChunk(ctx context.Context, chunk []store.Ended) (runs int, err error) {
	err = e.store.Update(ctx, func(tx *store.Tx) error {
		runs = 0
		for _, row := range chunk {
			switch what, err := tx.Forget(row); {
			case err != nil:
				return err
			case what == store.WholeRun || what == store.JournalOnly:
				runs++
			}
		}
		return nil
	})
	return runs, err
}

// forgetSingly goes round a damaged row, as purgeSingly does.
func (e *Engine) forgetSingly(ctx context.Context, chunk []store.Ended) (runs int, err error) {
	for i := range chunk {
		done, err := e.forgetChunk(ctx, chunk[i:i+1])
		switch {
		case crm.CodeOf(err) == crm.CodeCorrupt:
			e.complain(err, "a finished run cannot be forgotten; reprieve store check says more")
		case err != nil:
			return runs, err
		}
		runs += done
	}
	return runs, nil
}
