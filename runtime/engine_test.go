package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

const cleanup = `
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Unsubscribed"}
  - {id: nightly, cron: "0 2 * * *", over: contacts, where: '"Unsubscribed" in contact.tags'}
filter: not ("VIP" in contact.tags)
steps:
  - {id: cool_off, wait: 14d}
  - id: recheck
    branch:
      - if: '"Unsubscribed" in contact.tags'
        steps: [{id: remove, action: contact.delete}]
      - else: true
        steps: [{id: done, exit: {status: skipped, reason: no longer unsubscribed}}]
`

const atOnce = `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: act, action: ACTION}
`

func day(n float64) time.Duration { return time.Duration(n * 24 * float64(time.Hour)) }

func TestTagWaitDelete(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 1})
	r.workflow("cleanup", cleanup)
	lower, vip, changed, other := r.person(), r.person("vip"), r.person(), r.person()
	for _, k := range []crm.Key{lower, vip, changed} {
		r.apply(crm.AddTag{Contact: k, Tag: "unsubscribed"}) // as an import writes it
	}
	r.apply(crm.AddTag{Contact: other, Tag: "subscribed"})
	r.settle()
	r.expect("runs of the filtered", r.runs(vip), []string{})
	r.expect("runs of the unmatched", r.runs(other), []string{})
	r.expect("runs of the matched", r.runs(lower), []string{"cleanup waiting cool_off"})
	r.pass(day(14) - 1)
	r.expect("a nanosecond early", r.state(lower), crm.Live)
	r.apply(crm.RemoveTag{Contact: changed, Tag: "UNSUBSCRIBED"})
	r.restart()
	r.pass(1)
	r.expect("after 14 days", r.state(lower), crm.Deleted)
	r.expect("its run", r.runs(lower), []string{"cleanup completed remove"})
	r.expect("its journal", r.journal(lower), []string{"cool_off done", "recheck done", "remove done"})
	r.expect("who took the tag off", r.runs(changed), []string{"cleanup skipped done no longer unsubscribed"})
}

func TestRestoreStartsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 2})
	r.workflow("cleanup", cleanup)
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.settle()
	r.pass(day(14))
	r.expect("state", r.state(k), crm.Deleted)
	r.apply(crm.Restore{Contact: k})
	for range 10 {
		r.pass(day(1))
	}
	r.expect("ten nights later", r.state(k), crm.Live)
	r.expect("runs", len(r.runs(k)), 1)
	r.apply(crm.AddTag{Contact: k, Tag: "seen"}) // an unrelated edit entitles nothing
	r.pass(day(1))
	r.expect("runs after an unrelated edit", len(r.runs(k)), 1)
	r.view(func(tx *store.Tx) error {
		rec, err := tx.LatestReceipt(k)
		if err != nil {
			return err
		}
		var names []string
		for _, s := range rec.Suppressed {
			names = append(names, s.Trigger+" "+string(s.Refusal))
		}
		slices.Sort(names)
		r.expect("suppressed", names, []string{"cleanup/nightly before_restore", "cleanup/tagged cause"})
		r.expect("started, armed, sent", []int{rec.RunsStarted, rec.TimersArmed, rec.Sends}, []int{0, 0, 0})
		return nil
	})
	// A person who takes the tag off and puts it on again means it.
	r.apply(crm.RemoveTag{Contact: k, Tag: "Unsubscribed"})
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.settle()
	r.pass(day(14))
	r.expect("after tagging anew", r.state(k), crm.Deleted)
}

// An event from before the delete that is only looked at after the restore starts nothing.
func TestLateDispatchIsSuppressed(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 3})
	r.workflow("cleanup", cleanup)
	r.settle()
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.apply(crm.Delete{Contact: k})
	r.apply(crm.Restore{Contact: k})
	r.settle()
	r.expect("runs", r.runs(k), []string{})
	r.view(func(tx *store.Tx) error {
		rec, err := tx.LatestReceipt(k)
		if err == nil && (len(rec.Suppressed) != 1 || rec.Suppressed[0].Refusal != crm.RefusedEpoch) {
			t.Errorf("suppressed: %+v", rec.Suppressed)
		}
		return err
	})
}

func TestSingleHoldsItsKeyUntilOverOrSuspended(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 4})
	r.workflow("cleanup", cleanup)
	k := r.person()
	tag := func() {
		r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
		r.settle()
		r.apply(crm.RemoveTag{Contact: k, Tag: "Unsubscribed"})
	}
	tag()
	tag()
	r.expect("two edges, one run", r.runs(k), []string{"cleanup waiting cool_off"})
	r.apply(crm.Delete{Contact: k})
	r.apply(crm.Restore{Contact: k})
	r.expect("after the restore", r.runs(k), []string{"cleanup suspended cool_off"})
	tag()
	r.expect("a suspended run holds no key", r.runs(k), []string{"cleanup suspended cool_off", "cleanup waiting cool_off"})
	r.pass(day(20))
	r.expect("the suspended one never wakes", r.runs(k), []string{"cleanup skipped done no longer unsubscribed", "cleanup suspended cool_off"})
}

func TestChainOfWorkflowsEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 5})
	var n atomic.Int64
	flip := func(add, remove string) func(context.Context, plugins.Item) plugins.Outcome {
		return func(context.Context, plugins.Item) plugins.Outcome {
			n.Add(1)
			return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectRemoveTag, Tag: remove}, {Kind: plugins.EffectAddTag, Tag: add}}}
		}
	}
	r.acts.add(plugins.Spec{Action: "ping"}, flip("b", "a"))
	r.acts.add(plugins.Spec{Action: "pong"}, flip("a", "b"))
	for id, on := range map[string][2]string{"one": {"a", "ping"}, "two": {"b", "pong"}} {
		r.workflow(id, "triggers: [{id: t, event: contact.tag_added, if: event.tag == \""+on[0]+"\"}]\nsteps: [{id: s, action: "+on[1]+"}]\n")
	}
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "a"})
	r.settle()
	r.expect("links of the chain", n.Load(), crm.MaxDepth)
}

// A result that comes back for a contact that was deleted meanwhile is dropped and journalled.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 6})
	k := r.person()
	r.acts.add(plugins.Spec{Action: "slow"}, func(context.Context, plugins.Item) plugins.Outcome {
		if err := r.try(crm.Delete{Contact: k}); err != nil {
			t.Error(err)
		}
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectAddTag, Tag: "late"}}}
	})
	r.workflow("w", replaced(atOnce, "slow"))
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	r.expect("journal", r.journal(k), []string{"act superseded"})
	r.apply(crm.Restore{Contact: k})
	r.settle()
	r.expect("run", r.runs(k), []string{"w suspended act"})
	r.view(func(tx *store.Tx) error {
		c, _, err := tx.Contact(k, crm.OnlyLive)
		if err == nil && c.HasTag("late") {
			t.Error("the late result was written")
		}
		return err
	})
}

// A decision whose facts change while its plugin works is made again; the outcome goes with it.
func TestDecisionIsMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 7})
	k := r.person()
	r.acts.add(plugins.Spec{Action: "contact.delete"}, func(context.Context, plugins.Item) plugins.Outcome {
		if err := r.try(crm.RemoveTag{Contact: k, Tag: "Unsubscribed"}); err != nil {
			t.Error(err)
		}
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectDelete}}}
	})
	r.workflow("cleanup", cleanup)
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.settle()
	r.pass(day(14))
	r.expect("state", r.state(k), crm.Live)
	r.expect("run", r.runs(k), []string{"cleanup skipped done no longer unsubscribed"})
	r.expect("journal", r.journal(k), []string{"cool_off done", "recheck done", "done done"})
}

// An unrelated change while the plugin works keeps the outcome: the plugin is not called again.
func TestOutcomeIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 8})
	k := r.person()
	calls := 0
	r.acts.add(plugins.Spec{Action: "contact.delete", Reads: []string{"tags"}}, func(context.Context, plugins.Item) plugins.Outcome {
		calls++
		if err := r.try(crm.AddTag{Contact: k, Tag: "other"}); err != nil {
			t.Error(err)
		}
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectDelete}}}
	})
	r.workflow("cleanup", cleanup)
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.settle()
	r.pass(day(14))
	r.expect("state", r.state(k), crm.Deleted)
	r.expect("calls", calls, 1)
}

func TestPluginComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 9})
	r.workflow("w", replaced(atOnce, "contact.delete"))
	k := r.person()
	r.acts.fail["contact.delete"] = errors.New("it died")
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	r.pass(time.Second)
	delete(r.acts.fail, "contact.delete")
	r.expect("while it is down", r.runs(k), []string{"w active act"})
	r.pass(time.Minute)
	r.expect("after", r.state(k), crm.Deleted)
	r.expect("the keys are the same", len(slices.Compact(slices.Clone(r.acts.keys))), 1)
	r.expect("attempts", len(r.acts.keys), 3)
}

func TestPluginNeverComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 10})
	r.workflow("w", replaced(atOnce, "contact.delete"))
	k := r.person()
	r.acts.fail["contact.delete"] = errors.New("it died")
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	for range 2 * maxAttempts {
		r.pass(10 * time.Minute)
	}
	r.expect("run", r.runs(k), []string{"w failed act step act: unavailable"})
	r.expect("attempts", len(r.acts.keys), maxAttempts)
	r.expect("state", r.state(k), crm.Live)
}

func TestMissingPluginIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 11})
	r.workflow("w", replaced(atOnce, "acme.late"))
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	for range 3 * maxAttempts { // waiting is no attempt at the step
		r.pass(time.Hour)
	}
	r.expect("run", r.runs(k), []string{"w active act waits for a plugin that provides acme.late"})
	r.acts.add(plugins.Spec{Action: "acme.late"}, func(context.Context, plugins.Item) plugins.Outcome { return plugins.Outcome{Status: plugins.Done} })
	r.pass(time.Hour)
	r.expect("run", r.runs(k), []string{"w completed act"})
}

// One refused effect fails its own step and none of its batch.
func TestRefusedEffectFailsItsStepAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 12})
	r.acts.add(plugins.Spec{Action: "two"}, func(context.Context, plugins.Item) plugins.Outcome {
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectAddTag, Tag: "half"}, {Kind: plugins.EffectDelete}}}
	})
	r.workflow("w", replaced(atOnce, "two"))
	var ks []crm.Key
	for range 5 {
		ks = append(ks, r.person())
	}
	r.apply(crm.Hold{Contact: ks[2], On: true})
	for _, k := range ks {
		r.apply(crm.AddTag{Contact: k, Tag: "go"})
	}
	r.settle()
	for i, k := range ks {
		if i == 2 {
			r.expect("the held one", r.runs(k), []string{"w failed act step act: held"})
			r.view(func(tx *store.Tx) error {
				c, _, err := tx.Contact(k, crm.OnlyLive)
				if err == nil && c.HasTag("half") {
					t.Error("half of a refused step was committed")
				}
				return err
			})
			continue
		}
		r.expect("a neighbour", r.state(k), crm.Deleted)
	}
}

func TestGrantIsAskedAtEachCommit(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 13})
	r.acts.add(plugins.Spec{Action: "purge"}, func(context.Context, plugins.Item) plugins.Outcome {
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectPurge}}}
	})
	r.workflow("w", replaced(atOnce, "purge"))
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	r.expect("run", r.runs(k), []string{"w failed act step act: no_grant"})
}

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

func replaced(body, action string) string { return strings.ReplaceAll(body, "ACTION", action) }

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
