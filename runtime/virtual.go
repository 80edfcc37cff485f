package runtime

import (
	"context"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// Know hands the engine a compiled revision, which it then does not read from the store: for tests of
// workflows, where one revision runs in many stores.
func (e *Engine) Know(acc crm.AccountID, def *workflow.Workflow) {
	e.defs.mu.Lock()
	defer e.defs.mu.Unlock()
	e.defs.compiled[revision{acc, def.ID, def.Revision}] = def
}

// NextDue gives the next instant after now at which there is something to do: for virtual clocks, which
// stop at each on their way. 0: nothing will ever be due. A sweep counts only if a deadline has passed
// by then.
func (e *Engine) NextDue(ctx context.Context) (next crm.Nanos, err error) {
	if err := e.refresh(ctx); err != nil {
		return 0, err
	}
	sooner := func(at crm.Nanos) {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	err = e.store.View(ctx, func(tx *store.Tx) error {
		next = 0
		now := tx.Now()
		timer, err := tx.NextTimer(now)
		if err != nil {
			return err
		}
		sooner(timer)
		e.defs.mu.Lock()
		for _, a := range e.defs.crons {
			sooner(a.trigger.Schedule.Next(now))
			sooner(e.defs.held[a.schedule()])
		}
		e.defs.mu.Unlock()
		deadline, err := tx.NextDeadline()
		switch {
		case err != nil:
			return err
		case deadline > now:
			sooner(e.sweep.Next(deadline - 1))
		case deadline != 0: // under a hold, or refused: it is looked at again
			sooner(now + crm.Day)
		}
		return nil
	})
	return next, err
}
