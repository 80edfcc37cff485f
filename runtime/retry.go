package runtime

import (
	"context"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// Retry lets a run go on that failed or was cancelled, from a step that it has been at; "" is the one that
// failed. At another revision it goes on only from a step that this has too. See store.RetryRun for what is refused.
func (e *Engine) Retry(ctx context.Context, by crm.Actor, id crm.RunID, how store.Retry) (run *crm.Run, err error) {
	err = e.store.Update(ctx, func(tx *store.Tx) error {
		again := how
		r, err := tx.Run(id)
		if err != nil {
			return err
		}
		if r != nil && r.Status.Finished() {
			def, err := e.definitionIn(tx, r.Account, r.Workflow, r.Revision)
			if err != nil {
				return err
			}
			if again.Step, err = retryFrom(tx, def, r, how.Step); err != nil {
				return err
			}
			if how.Revision != "" && how.Revision != r.Revision {
				now, err := e.definitionIn(tx, r.Account, r.Workflow, how.Revision)
				if err != nil {
					return err
				}
				if at, ok := now.Node(again.Step); !ok || now.Handler > 0 && at >= now.Handler {
					return crm.Errorf("retry a run", crm.CodeInvalid, "the revision %s has no step %s that a run could go on from", now.Short(), again.Step).
						WithHint("--from STEP names one that the run has been at and that both revisions have")
				}
			}
		}
		run, err = tx.RetryRun(by, id, again)
		return err
	})
	return run, err
}

// retryFrom gives the step from which a run goes on: the one that is asked for, if the run has been at it, or
// the last that failed. Those of the file's on_error are none.
func retryFrom(tx *store.Tx, def *workflow.Workflow, r *crm.Run, want string) (string, error) {
	const op = "retry a run"
	steps, err := tx.Steps(r.ID)
	if err != nil {
		return "", err
	}
	of := func(id string) bool {
		at, ok := def.Node(id)
		return ok && (def.Handler <= 0 || at < def.Handler)
	}
	failed, been := "", of(r.Step) && r.Step == want
	for _, s := range steps {
		if !of(s.Path) {
			continue
		}
		been = been || s.Path == want
		if s.Iteration == r.Iteration && (s.Status == store.StepFailed || s.Status == store.StepUnknown) {
			failed = s.Path
		}
	}
	switch at, ok := def.Node(r.Step); {
	case want != "" && been:
		return want, nil
	case want != "":
		return "", crm.Errorf(op, crm.CodeInvalid, "the run %s has been at no step of that name that it can go on from", r.ID).
			WithHint("reprieve run get %s shows its steps; those of on_error are none of them", r.ID)
	case failed != "":
		return failed, nil
	case of(r.Step) && !(ok && def.Nodes[at].Kind == workflow.Exit):
		return r.Step, nil
	}
	return "", crm.Errorf(op, crm.CodeInvalid, "no step of the run %s failed", r.ID).
		WithHint("its workflow ended it; --from STEP says where it goes on")
}
