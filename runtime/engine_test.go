package runtime

import (
	"context"
	"errors"
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
	r.workflow("w", replaced(atOnce, "two")+"  - {id: rest, wait: 1d}\n")
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

func replaced(body, action string) string { return strings.ReplaceAll(body, "ACTION", action) }
