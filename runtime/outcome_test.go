package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

func TestExternalCalls(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{false, true} {
		r := newRig(t, storetest.MemoryOptions{Seed: 14})
		calls := 0
		r.acts.add(plugins.Spec{Action: "mail", External: true, Idempotent: idempotent}, func(context.Context, plugins.Item) plugins.Outcome {
			calls++
			return plugins.Outcome{Status: plugins.Done}
		})
		r.workflow("w", replaced(atOnce, "mail"))
		k, again := r.person(), r.person()
		r.apply(crm.AddTag{Contact: k, Tag: "go"})
		r.settle()
		r.expect("journal", r.journal(k), []string{"act done"})
		// A kill after the intent of a call: nobody knows whether it was made.
		r.apply(crm.AddTag{Contact: again, Tag: "go"})
		_, err := r.engine.dispatch(r.ctx)
		r.must(err)
		r.update(func(tx *store.Tx) error {
			runs, err := tx.RunsOf(again)
			if err != nil {
				return err
			}
			_, err = tx.Intend(runs[0], crm.StepRecord{Run: runs[0].ID, Account: again.Account, Contact: again.Contact, Path: "act", Attempt: 1, At: tx.Now()})
			return err
		})
		r.restart()
		r.settle()
		if idempotent {
			r.expect("calls", calls, 2)
			r.expect("journal", r.journal(again), []string{"act done"})
		} else {
			r.expect("calls", calls, 1)
			r.expect("journal", r.journal(again), []string{"act unknown unknown"})
			r.expect("run", r.runs(again), []string{"w failed act step act: unknown"})
		}
	}
}

// An action that asks for another try is not taken for one whose outcome is unknown.
func TestExternalRetryIsKnown(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 15})
	calls := 0
	r.acts.add(plugins.Spec{Action: "mail", External: true}, func(context.Context, plugins.Item) plugins.Outcome {
		if calls++; calls < 3 {
			return plugins.Outcome{Status: plugins.Retry, After: crm.Hour}
		}
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("w", replaced(atOnce, "mail"))
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.pass(0)
	r.pass(time.Hour)
	r.pass(time.Hour)
	r.expect("calls", calls, 3)
	r.expect("run", r.runs(k), []string{"w completed act"})
}

// A plugin that hangs costs its own step only.
func TestHangingPluginHidesNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 16})
	free := make(chan struct{})
	r.acts.add(plugins.Spec{Action: "hang"}, func(context.Context, plugins.Item) plugins.Outcome {
		<-free
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("stuck", replaced(atOnce, "hang"))
	r.workflow("fine", "triggers: [{id: t, event: contact.tag_added, if: event.tag == \"fine\"}]\nsteps: [{id: act, action: contact.delete}]\n")
	var stuck []crm.Key
	for range 3*maxBusy + 1 {
		k := r.person()
		stuck = append(stuck, k)
		r.apply(crm.AddTag{Contact: k, Tag: "go"})
		_, err := r.engine.Pass(r.ctx)
		r.must(err)
	}
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "fine"})
	for i := 0; r.state(k) != crm.Deleted; i++ {
		if _, err := r.engine.Pass(r.ctx); err != nil || i > 10_000 {
			t.Fatalf("the other workflow does not get on: %v", err)
		}
	}
	close(free)
	r.settle()
	for _, k := range stuck {
		r.expect("a stuck run", r.runs(k), []string{"stuck completed act"})
	}
}

// A contact that is deleted between the decision and the intent is not called about.
func TestNoCallForAContactDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 17})
	calls := 0
	r.acts.add(plugins.Spec{Action: "mail", External: true}, func(context.Context, plugins.Item) plugins.Outcome {
		calls++
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("w", replaced(atOnce, "mail"))
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.must(r.engine.refresh(r.ctx))
	_, err := r.engine.dispatch(r.ctx)
	r.must(err)
	due, _, _, err := r.engine.claim(r.ctx, store.FirstTimer, nil)
	r.must(err)
	turns, err := r.engine.decide(r.ctx, due)
	r.must(err)
	r.apply(crm.Delete{Contact: k})
	r.must(r.engine.work(r.ctx, turns))
	r.settle()
	r.expect("calls", calls, 0)
	r.expect("journal", r.journal(k), []string{})
}

// An answer stands although a fact changes while it is given: another try stays another try, at its
// time and counted.
func TestRetryStandsWhenFactsMove(t *testing.T) {
	t.Parallel()
	for _, external := range []bool{false, true} {
		r := newRig(t, storetest.MemoryOptions{Seed: 18})
		k := r.person()
		calls := 0
		r.acts.add(plugins.Spec{Action: "mail", External: external, Reads: []string{"tags"}}, func(context.Context, plugins.Item) plugins.Outcome {
			if calls++; calls > 2 {
				return plugins.Outcome{Status: plugins.Done}
			}
			if err := r.try(crm.AddTag{Contact: k, Tag: fmt.Sprint("other", calls)}); err != nil {
				t.Error(err)
			}
			return plugins.Outcome{Status: plugins.Retry, After: crm.Hour}
		})
		r.workflow("w", replaced(atOnce, "mail"))
		r.apply(crm.AddTag{Contact: k, Tag: "go"})
		r.settle()
		r.expect("calls at once", calls, 1)
		r.pass(time.Hour)
		r.expect("calls an hour later", calls, 2)
		r.pass(time.Hour)
		r.expect("run", r.runs(k), []string{"w completed act"})
	}
}

// What an external call did stays in the journal, also when the decision to call is taken back.
func TestExternalResultIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 19})
	k := r.person()
	r.acts.add(plugins.Spec{Action: "mail", External: true}, func(context.Context, plugins.Item) plugins.Outcome {
		if err := r.try(crm.RemoveTag{Contact: k, Tag: "Unsubscribed"}); err != nil {
			t.Error(err)
		}
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectAddTag, Tag: "mailed"}}}
	})
	r.workflow("cleanup", strings.ReplaceAll(cleanup, "contact.delete", "mail"))
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.settle()
	r.pass(day(14))
	r.expect("run", r.runs(k), []string{"cleanup skipped done no longer unsubscribed"})
	r.expect("journal", r.journal(k), []string{"remove done", "cool_off done", "recheck done", "done done"})
	r.view(func(tx *store.Tx) error {
		c, _, err := tx.Contact(k, crm.OnlyLive)
		if err == nil && c.HasTag("mailed") {
			t.Error("an effect of a decision that was taken back was committed")
		}
		return err
	})
}

// What an action may do is asked for each batch: a plugin that was installed anew is not treated as
// the old one.
func TestSpecIsNotRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 20})
	calls := 0
	act := func(context.Context, plugins.Item) plugins.Outcome {
		calls++
		return plugins.Outcome{Status: plugins.Done}
	}
	r.acts.add(plugins.Spec{Action: "mail"}, act)
	r.workflow("w", replaced(atOnce, "mail"))
	r.apply(crm.AddTag{Contact: r.person(), Tag: "go"})
	r.settle()
	r.acts.add(plugins.Spec{Action: "mail", External: true}, act)
	r.acts.fail["mail"] = errors.New("it died")
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	for range 5 {
		r.pass(time.Hour)
	}
	r.expect("journal", r.journal(k), []string{"act unknown unknown"})
	r.expect("keys", len(r.acts.keys), 2)
}

// A wait is not late because an earlier run is still inside its plugin.
func TestIdleLooksPastTheOverdue(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 28})
	free := make(chan struct{})
	r.acts.add(plugins.Spec{Action: "hang"}, func(context.Context, plugins.Item) plugins.Outcome {
		<-free
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("stuck", replaced(atOnce, "hang"))
	r.workflow("fine", "triggers: [{id: t, event: contact.tag_added, if: event.tag == \"fine\"}]\nsteps: [{id: w, wait: 2s}]\n")
	r.apply(crm.AddTag{Contact: r.person(), Tag: "go"})
	r.apply(crm.AddTag{Contact: r.person(), Tag: "fine"})
	for range 3 {
		_, err := r.engine.Pass(r.ctx)
		r.must(err)
	}
	pause, err := r.engine.idle(r.ctx)
	r.must(err)
	if pause > 2*time.Second {
		t.Errorf("it would sleep %s", pause)
	}
	close(free)
	r.settle()
}

// A flood of events does not keep the other parts of a pass waiting.
func TestFloodOfEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 29})
	r.workflow("w", replaced(atOnce, "contact.delete"))
	k := r.person()
	for range maxChunks + 2 {
		r.update(func(tx *store.Tx) error {
			for i := range 500 {
				if _, err := tx.Apply(r.by, crm.Cause{Kind: crm.ByImport}, crm.SetField{Contact: k, Name: "n", Value: crm.Number(float64(i))}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	_, err := r.engine.Pass(r.ctx)
	r.must(err)
	r.view(func(tx *store.Tx) error {
		n, err := r.engine.Backlog(tx)
		if err == nil && n == 0 {
			t.Error("one pass read the whole log")
		}
		return err
	})
	r.settle()
}

// A fire whose workflow is gone leaves nothing behind.
func TestAbandonedFire(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 30})
	const night = "triggers: [{id: NAME, cron: \"0 2 * * *\", over: contacts, where: '\"x\" in contact.tags'}]\nsteps: [{id: rest, wait: 5d}]\n"
	r.workflow("w", strings.ReplaceAll(night, "NAME", "one"))
	r.settle()
	for range 40 {
		r.person("x")
	}
	r.clock.Advance(day(1))
	s, _, err := r.engine.beginFire(r.ctx, r.engine.defs.crons[0])
	r.must(err)
	_, err = r.engine.freeze(r.ctx, r.engine.defs.crons[0], s)
	r.must(err)
	r.workflow("w", strings.ReplaceAll(night, "NAME", "other"))
	r.restart()
	r.settle()
	r.view(func(tx *store.Tx) error {
		items, err := tx.Frozen(s.Op, crm.Key{}, 10)
		if err == nil && len(items) > 0 {
			t.Errorf("%d items are left", len(items))
		}
		return err
	})
}
