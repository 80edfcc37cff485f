package runtime

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// An answer that arrives while the engine is being stopped is committed: a call to the outside world
// that was answered is no unknown one.
func TestStopKeepsTheAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 41})
	k := r.person()
	calls := 0
	ctx, stop := context.WithCancel(r.ctx)
	r.acts.add(plugins.Spec{Action: "mail", External: true}, func(call context.Context, _ plugins.Item) plugins.Outcome {
		calls++
		stop()
		if call.Err() != nil {
			t.Error("the call was cut off")
		}
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("w", replaced(atOnce, "mail"))
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.must(r.engine.Run(ctx))
	r.restart()
	r.settle()
	r.expect("calls", calls, 1)
	r.expect("run", r.runs(k), []string{"w completed act"})
}

// Another try is counted from the answer, not from the question.
func TestRetryIsCountedFromTheAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 42})
	calls := 0
	r.acts.add(plugins.Spec{Action: "slow"}, func(context.Context, plugins.Item) plugins.Outcome {
		calls++
		r.clock.Advance(time.Minute)
		return plugins.Outcome{Status: plugins.Retry, After: 30 * crm.Second}
	})
	r.workflow("w", replaced(atOnce, "slow"))
	r.apply(crm.AddTag{Contact: r.person(), Tag: "go"})
	r.settle()
	r.expect("calls", calls, 1)
}

// A plugin cannot put a run off for ever.
func TestRetryIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 43})
	calls := 0
	r.acts.add(plugins.Spec{Action: "slow"}, func(context.Context, plugins.Item) plugins.Outcome {
		calls++
		return plugins.Outcome{Status: plugins.Retry, After: 1<<63 - 1}
	})
	r.workflow("w", replaced(atOnce, "slow"))
	r.apply(crm.AddTag{Contact: r.person(), Tag: "go"})
	r.settle()
	r.expect("calls", calls, 1)
	r.pass(day(1))
	r.expect("calls a day later", calls, 2)
}

// An answer survives however often its decision is made again, also when it is taken back in between.
func TestAnswerSurvivesEveryDecision(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 44})
	k := r.person()
	calls := 0
	r.acts.add(plugins.Spec{Action: "mail", External: true}, func(context.Context, plugins.Item) plugins.Outcome {
		calls++
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("cleanup", strings.ReplaceAll(cleanup, "contact.delete", "mail"))
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.settle()
	r.clock.Advance(day(14))
	due, _, _, err := r.engine.claim(r.ctx, store.FirstTimer, nil)
	r.must(err)
	ps, err := r.engine.decide(r.ctx, due)
	r.must(err)
	p := ps[0]
	p.spec, err = r.acts.Spec(r.ctx, "mail")
	r.must(err)
	batch, err := r.engine.intend(r.ctx, ps)
	r.must(err)
	r.engine.execute(r.ctx, p.spec, batch)
	r.apply(crm.RemoveTag{Contact: k, Tag: "Unsubscribed"})
	r.must(r.engine.again(r.ctx, p))
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.must(r.engine.settle(r.ctx, p))
	r.settle()
	r.expect("calls", calls, 1)
	r.expect("journal", r.journal(k), []string{"cool_off done", "recheck done", "remove done"})
}

// The journal is in the order in which things happened, what came too late included.
func TestSupersededComesLast(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 45})
	k := r.person()
	r.acts.add(plugins.Spec{Action: "slow"}, func(context.Context, plugins.Item) plugins.Outcome {
		if err := r.try(crm.Delete{Contact: k}); err != nil {
			t.Error(err)
		}
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("w", "triggers: [{id: t, event: contact.tag_added, if: event.tag == \"go\"}]\nsteps: [{id: first, action: mark}, {id: act, action: slow}]\n")
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	r.expect("journal", r.journal(k), []string{"first done", "act superseded"})
}

// A damaged row costs its own run only.
func TestDamageStopsItsOwnRunOnly(t *testing.T) {
	t.Parallel()
	var damage atomic.Bool
	r := newRig(t, storetest.MemoryOptions{Seed: 46, Corrupt: func(_ string, row any) {
		if s, ok := row.(*crm.StepRecord); ok && damage.Load() && len(s.Output) > 0 {
			s.Output[len(s.Output)-1] ^= 1
		}
	}})
	r.acts.add(plugins.Spec{Action: "out"}, func(context.Context, plugins.Item) plugins.Outcome {
		return plugins.Outcome{Status: plugins.Done, Output: []byte(`{"a":1}`)}
	})
	r.workflow("w", `
triggers: [{id: t, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: first, action: out}
  - id: look
    branch:
      - if: 'steps.first.status == "done"'
        steps: [{id: act, action: mark}]
`)
	hurt, fine := r.person(), r.person()
	damage.Store(true)
	r.apply(crm.AddTag{Contact: hurt, Tag: "go"})
	r.settle()
	damage.Store(false)
	r.apply(crm.AddTag{Contact: fine, Tag: "go"})
	r.settle()
	r.expect("the damaged one", r.runs(hurt), []string{"w active look"})
	r.expect("its neighbour", r.runs(fine), []string{"w completed act"})
}

// A damaged contact costs its own events only.
func TestDamageStopsItsOwnEventsOnly(t *testing.T) {
	t.Parallel()
	var bad crm.ContactID
	r := newRig(t, storetest.MemoryOptions{Seed: 49, Corrupt: func(_ string, row any) {
		if c, ok := row.(*crm.Contact); ok && c.ID == bad {
			c.Salt[0] ^= 1 // what was sealed cannot be opened any more
		}
	}})
	r.workflow("w", replaced(atOnce, "mark"))
	hurt, fine := r.person(), r.person()
	bad = hurt.Contact
	r.apply(crm.AddTag{Contact: hurt, Tag: "go"})
	r.apply(crm.AddTag{Contact: fine, Tag: "go"})
	r.settle()
	r.expect("the damaged one", r.runs(hurt), []string{})
	r.expect("its neighbour", r.runs(fine), []string{"w completed act"})
}

// A batch that cannot be committed is not tried again at once, and the complaint is made once.
func TestRefusedBatchRests(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 47})
	full := errors.New("the disk is full")
	for n, want := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		r.engine.rest("mail", full)
		if got := r.engine.resting["mail"].pause; got != want {
			t.Errorf("rest %d is %s", n+1, got)
		}
	}
	for range 20 {
		r.engine.rest("mail", full)
	}
	r.expect("the longest rest", r.engine.resting["mail"].pause, 10*time.Second)
	k := r.person()
	calls := 0
	r.acts.add(plugins.Spec{Action: "mail"}, func(context.Context, plugins.Item) plugins.Outcome {
		calls++
		return plugins.Outcome{Status: plugins.Done}
	})
	r.workflow("w", replaced(atOnce, "mail"))
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	r.expect("calls while it rests", calls, 0)
	pause, err := r.engine.idle(r.ctx)
	r.must(err)
	if pause > 10*time.Second {
		t.Errorf("it would sleep %s", pause)
	}
	r.pass(10 * time.Second)
	r.expect("calls afterwards", calls, 1)
	r.expect("rests left", len(r.engine.resting), 0)
}

// A held clock is a state, not a failure: the rest of the engine goes on as ever.
func TestHeldClockStopsOnlyTheSweep(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 48})
	k := r.person()
	r.apply(crm.Delete{Contact: k})
	r.pass(day(60) - time.Hour)
	r.clock.Advance(-time.Hour)
	r.workflow("w", replaced(atOnce, "mark"))
	live := r.person()
	r.apply(crm.AddTag{Contact: live, Tag: "go"})
	r.settle()
	r.expect("run", r.runs(live), []string{"w completed act"})
	_, err := r.engine.Sweep(r.ctx)
	r.expect("a sweep by hand", crm.CodeOf(err), crm.CodeHeldClock)
}
