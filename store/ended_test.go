package store_test

import (
	"fmt"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// end ends a run in a status, with a line of the journal that failed.
func (r *rig) end(run crm.Run, status crm.RunStatus) crm.Run {
	r.Helper()
	run = r.run(run.ID)
	next := run
	next.Status, next.Step, next.Code = status, "first", "odd"
	r.ok(func(tx *store.Tx) error {
		return tx.CommitRun(store.Advanced{Was: run, Run: next, Steps: []crm.StepRecord{{Run: run.ID, Iteration: run.Iteration, Path: "first",
			Action: "a", Status: store.StepFailed, Code: "odd", Account: acc, Contact: run.Contact}}})
	})
	return r.run(run.ID)
}

func (r *rig) ended() (rows []store.Ended) {
	r.Helper()
	r.see(func(tx *store.Tx) (err error) { rows, err = tx.EndedRuns(acc, -1<<63, nil, 1<<63-1, 100); return err })
	return rows
}

func (r *rig) forget(e store.Ended) (what store.Forgotten) {
	r.Helper()
	r.ok(func(tx *store.Tx) (err error) { what, err = tx.Forget(e); return err })
	return what
}

// Whether a run may be forgotten is decided where it is done, whatever the caller believes: not a nanosecond early,
// not when it was retried since, not under a hold, and nothing for a policy that keeps all.
func TestForgetDecidesItself(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, other := r.enter(1), r.enter(2)
		run := r.end(r.start(k), crm.RunFailed)
		r.clock += crm.Second
		later := r.end(r.start(other), crm.RunFailed)
		rows := r.ended()
		if len(rows) != 2 || rows[0].Run != run.ID || rows[1].Run != later.ID || rows[0].Code != "odd" || rows[0].At != run.EndedAt {
			r.Fatalf("the index is %+v", rows)
		}
		r.clock = run.EndedAt + 90*crm.Day - 1
		if got := r.forget(rows[0]); got != store.NotForgotten || r.run(run.ID).ID != run.ID {
			r.Errorf("a nanosecond early: %v", got)
		}
		r.clock++
		r.setPolicy(func(p *crm.Policy) { p.Runs.KeepFinished = 0 })
		if got := r.forget(rows[0]); got != store.NotForgotten {
			r.Errorf("although all is kept: %v", got)
		}
		r.setPolicy(func(p *crm.Policy) { p.Runs.KeepFinished = 90 * crm.Day })
		r.do(crm.Hold{Contact: k, On: true, Reason: "a matter"})
		if got := r.forget(rows[0]); got != store.UnderHold {
			r.Errorf("under a hold: %v", got)
		}
		r.do(crm.Hold{Contact: k})
		before := r.rows()
		if got := r.forget(rows[0]); got != store.WholeRun {
			r.Errorf("at its time: %v", got)
		}
		if got := r.forget(rows[0]); got != store.NotForgotten {
			r.Errorf("twice: %v", got)
		}
		after := r.rows()
		for _, table := range []string{"run", "step", "ended"} {
			if len(before[table]) != 2 || len(after[table]) != 1 {
				r.Errorf("of the table %s %d of %d are left", table, len(after[table]), len(before[table]))
			}
		}
		if n := len(before["link"]) - len(after["link"]); n != 1 {
			r.Errorf("%d links went", n)
		}
		r.clock += crm.Second
		if _, err := r.retry(admin, later.ID, store.Retry{Step: "first"}); err != nil {
			r.Fatal(err)
		}
		if got := r.forget(rows[1]); got != store.NotForgotten || r.run(later.ID).Status != crm.RunActive {
			r.Errorf("one that was retried: %v", got)
		}
	})
}

func (r *rig) retry(by crm.Actor, id crm.RunID, how store.Retry) (run *crm.Run, err error) {
	err = r.s.Update(ctx, func(tx *store.Tx) (err error) { run, err = tx.RetryRun(by, id, how); return err })
	return run, err
}

// A retry takes the run's place in every index in the one transaction: if it failed half way, nothing of it is
// there; and two at once are one.
func TestRetryIsOneTransaction(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		run := r.end(r.start(k), crm.RunFailed)
		before := fmt.Sprint(r.rows())
		if err := r.s.Update(ctx, func(tx *store.Tx) error {
			if _, err := tx.RetryRun(admin, run.ID, store.Retry{Step: "first"}); err != nil {
				return err
			}
			return crm.Errorf("test", crm.CodeStopped, "killed")
		}); crm.CodeOf(err) != crm.CodeStopped || fmt.Sprint(r.rows()) != before {
			r.Errorf("half a retry: %v", err)
		}
		for _, role := range []crm.Role{crm.Viewer, crm.Agent, crm.Operator, crm.System} {
			if _, err := r.retry(crm.Actor{ID: "user:2", Role: role}, run.ID, store.Retry{Step: "first", Force: true}); crm.CodeOf(err) != crm.CodeDenied {
				r.Errorf("by %s: %v", role, err)
			}
		}
		if fmt.Sprint(r.rows()) != before {
			r.Error("a refusal wrote something")
		}
		if _, err := r.retry(admin, run.ID, store.Retry{Step: "first", Revision: "not the one that is applied"}); crm.CodeOf(err) != crm.CodeStale {
			t.Errorf("at a revision that is not applied: %v", err)
		}
		got, err := r.retry(admin, run.ID, store.Retry{Step: "first"})
		if err != nil || got.Status != crm.RunActive || got.Iteration != 1 || got.Revision != run.Revision || got.Due != r.clock || len(r.ended()) != 0 {
			r.Errorf("retried: %+v, %v", got, err)
		}
		if _, err := r.retry(admin, run.ID, store.Retry{Step: "first"}); crm.CodeOf(err) != crm.CodeInvalid {
			r.Errorf("twice: %v", err)
		}
		if began, err := r.startAs(order(k, r.entitled(k))); began || err != nil {
			r.Errorf("another one with its key: %v, %v", began, err)
		}
		r.reopen()
		r.end(*got, crm.RunFailed)
		r.see(func(tx *store.Tx) error {
			steps, err := tx.Steps(run.ID)
			if err != nil || len(steps) != 2 || steps[0].Iteration != 0 || steps[1].Iteration != 1 || len(r.ended()) != 1 {
				r.Errorf("the journal is %+v (%v)", steps, err)
			}
			return nil
		})
	})
}

// The key of a call is that of its time, unless nobody knows what became of the last one.
func TestCallKey(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		run := r.start(k)
		run.Iteration = 3
		for i, c := range []struct {
			line crm.StepRecord
			want uint32
		}{
			{crm.StepRecord{Status: store.StepFailed, Iteration: 2, Keyed: 2}, 3},
			{crm.StepRecord{Status: store.StepUnknown, Iteration: 2, Keyed: 1}, 1},
			{crm.StepRecord{Status: store.StepIntent, Iteration: 2, Keyed: 2}, 2},
			{crm.StepRecord{Status: store.StepSuperseded, Iteration: 1, Unsure: true}, 0},
			{crm.StepRecord{Status: store.StepRetry, Iteration: 3, Keyed: 1}, 1},
			{crm.StepRecord{Status: store.StepDone, Iteration: 2, Keyed: 2}, 3},
		} {
			step := fmt.Sprint("s", i)
			c.line.Run, c.line.Path, c.line.Action, c.line.Account, c.line.Contact = run.ID, step, "a", acc, k.Contact
			r.ok(func(tx *store.Tx) error { _, err := tx.CommitStep(c.line); return err })
			r.see(func(tx *store.Tx) error {
				if got, err := tx.CallKey(run, step); err != nil || got != c.want {
					r.Errorf("after %s in iteration %d: %d, %v, not %d", c.line.Status, c.line.Iteration, got, err, c.want)
				}
				return nil
			})
		}
	})
}
