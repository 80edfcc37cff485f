package runtime

import (
	"context"

	"github.com/reprieve-run/reprieve/store"
)

// unpark brings back the timers of workflows that are paused no more. While a workflow is paused, those of
// its runs that come due are put aside in the store, so that a long pause costs no pass anything; each is
// moved in a transaction, so that none is lost, nor there twice, whatever happens.
func (e *Engine) unpark(ctx context.Context) (worked bool, err error) {
	for range maxChunks {
		var free []store.Parked
		if err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			free, err = tx.Released(e.parks.size())
			return err
		}); err != nil || len(free) == 0 {
			return worked, err
		}
		began, n := e.clock.Now(), 0
		if err := e.store.Update(ctx, func(tx *store.Tx) (err error) {
			n, err = tx.Unpark(free)
			return err
		}); err != nil {
			return worked, err
		}
		e.parks.took(len(free), e.clock.Now().Sub(began))
		worked = worked || n > 0
	}
	return worked, nil
}
