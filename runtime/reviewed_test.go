package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// What a hostile review found.

func secretScene(t *testing.T, seed uint64, secret string, o func() plugins.Outcome, effects ...plugins.EffectKind) *scene {
	s := newScene(t, seed)
	s.secrets = func(_, name string) (string, error) { return secret, nil }
	s.acts.add(plugins.Spec{Action: "say", Effects: effects}, func(context.Context, plugins.Item) plugins.Outcome { return o() })
	s.restart()
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: one, action: say, with: {token: "${ secrets.crm }"}}
  - {id: two, set: {had: "${ steps.one.output.n }"}}
`)
	s.tag("go")
	s.settle()
	return s
}

// a token of a-z0-9 as the code of a failure is kept in the open: run.Reason, run.Code, the index of what ended.

func TestReviewedSecretAsCode(t *testing.T) {
	t.Parallel()
	const secret = "4f3adeadbeef00112233"
	s := secretScene(t, 900, secret, func() plugins.Outcome { return plugins.Outcome{Status: plugins.Fail, Code: secret, Message: secret} })
	s.view(func(tx *store.Tx) error {
		if r := s.only(tx); strings.Contains(r.Reason+r.Code, secret) {
			t.Errorf("the run's header has it: reason %q code %q", r.Reason, r.Code)
		}
		return nil
	})
}

// & < > are written \u0026 by Go and & by everybody else.

func TestReviewedSecretAmp(t *testing.T) {
	t.Parallel()
	const secret = "a&b<c>d-hush"
	s := secretScene(t, 901, secret, func() plugins.Outcome {
		return plugins.Outcome{Status: plugins.Done, Output: []byte(`{"n":"` + secret + `"}`)}
	})
	s.view(func(tx *store.Tx) error {
		steps, err := tx.Steps(s.only(tx).ID)
		for _, st := range steps {
			if bytes.Contains(st.Output, []byte("hush")) {
				t.Errorf("the journal of %s has it: %s", st.Path, st.Output)
			}
		}
		return err
	})
}

// other texts of effects.

func TestReviewedSecretInEffect(t *testing.T) {
	t.Parallel()
	const secret = "hush123"
	s := secretScene(t, 902, secret, func() plugins.Outcome {
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectSetField, Field: "f_" + secret, Value: crm.Text("x")}, {Kind: plugins.EffectSetDND, Channel: secret, On: true}}}
	}, plugins.EffectSetField, plugins.EffectSetDND)
	s.view(func(tx *store.Tx) error {
		c, _, err := tx.Peek(s.k)
		for _, f := range c.Fields {
			if strings.Contains(f.Name, "hush") {
				t.Errorf("the contact has a field %s", f.Name)
			}
		}
		for _, d := range c.DND {
			if strings.Contains(d.Name, "hush") {
				t.Errorf("the contact has a channel %s", d.Name)
			}
		}
		return err
	})
}

// a secret of digits makes the output no JSON.

func TestReviewedSecretDigits(t *testing.T) {
	t.Parallel()
	s := secretScene(t, 903, "4711", func() plugins.Outcome {
		return plugins.Outcome{Status: plugins.Done, Output: []byte(`{"n":47110,"ok":true}`)}
	})
	s.view(func(tx *store.Tx) error {
		steps, err := tx.Steps(s.only(tx).ID)
		for _, st := range steps {
			if len(st.Output) > 0 && !json.Valid(st.Output) {
				t.Errorf("the output of %s is no JSON: %s", st.Path, st.Output)
			}
		}
		return err
	})
}

// retry of two runs of one key, mode parallel.

func TestReviewedParallelRetry(t *testing.T) {
	t.Parallel()
	s := newScene(t, 904)
	bad := true
	s.acts.add(plugins.Spec{Action: "shaky"}, func(context.Context, plugins.Item) plugins.Outcome {
		if bad {
			return broken("bad")
		}
		return fine
	})
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
run: {mode: parallel, max: 5}
steps: [{id: try, action: shaky}, {id: rest, wait: 14d}]
`)
	for range 2 {
		s.tag("go")
		s.untag("go")
	}
	s.settle()
	s.expect("failed", s.runs(s.k), []string{"w failed try step try: bad", "w failed try step try: bad"})
	bad = false
	var ids []crm.RunID
	s.view(func(tx *store.Tx) error {
		runs, err := tx.RunsOf(s.k)
		for _, r := range runs {
			ids = append(ids, r.ID)
		}
		return err
	})
	for _, id := range ids {
		if _, err := s.engine.Retry(s.ctx, s.by, id, store.Retry{}); err != nil {
			t.Errorf("retry %s: %v", id, err)
		}
	}
}

// runs stay on their revision; so should what cancels them.

func TestReviewedCancelOnOfTheRunsRevision(t *testing.T) {
	t.Parallel()
	s := newScene(t, 905)
	body := `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
%s
steps: [{id: month, wait: 14d}, {id: gone, action: contact.delete}]
`
	s.workflow("w", fmt.Sprintf(body, `run: {cancel_on: [{event: contact.tag_added, if: 'event.tag == "back"', reason: came back}]}`))
	s.tag("go")
	s.settle()
	s.workflow("w", fmt.Sprintf(body, "")) // a new revision without it
	s.settle()
	s.tag("back")
	s.settle()
	s.pass(day(15))
	if s.state(s.k) != crm.Live {
		t.Errorf("the run of the old revision went past its cancel_on and deleted the contact: %q", s.runs(s.k))
	}
}

// simulate against what really happens.

// what happens while the call that provokes it is under way.

func TestReviewedEventDuringTheCall(t *testing.T) {
	t.Parallel()
	s := newScene(t, 907)
	s.acts.add(plugins.Spec{Action: "ask", External: true, Idempotent: true}, func(context.Context, plugins.Item) plugins.Outcome {
		s.tag("answered") // the other side answers before the call returns
		return fine
	})
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps: [{id: ask, action: ask}, {id: hear, wait: {event: contact.tag_added, if: 'event.tag == "answered"'}}, {id: done, action: mark}]
`)
	s.tag("go")
	s.settle()
	s.pass(day(30))
	s.expect("heard", s.runs(s.k), []string{"w completed done"})
}

// what a restore ends without a timer never ends in the store.

func TestReviewedListeningOnATombstone(t *testing.T) {
	t.Parallel()
	s := newScene(t, 908)
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps: [{id: gone, action: contact.delete}, {id: hear, wait: {event: contact.tag_added}}]
`)
	s.tag("go")
	s.settle()
	s.apply(crm.Restore{Contact: s.k})
	s.settle()
	s.pass(day(1))
	if got := s.runs(s.k)[0]; !strings.HasPrefix(got, "w cancelled hear") {
		t.Fatal(got)
	}
	s.view(func(tx *store.Tx) error {
		if r := s.only(tx); !r.Status.Finished() {
			t.Errorf("it is %s in the store, with a listener %v: retention never gets it", r.Status, r.Listening)
		}
		return nil
	})
}

// the timeout of a step is of one attempt, not of all that are due at once.

type sequential struct{ *fakeActions }

func (q sequential) Execute(ctx context.Context, action string, b plugins.Batch) ([]plugins.Outcome, error) {
	out := make([]plugins.Outcome, len(b.Items))
	for i := range out {
		out[i] = plugins.Outcome{Status: plugins.Retry, Code: plugins.CodeNotSent}
	}
	for i := range b.Items { // as Host.executeAll: call after call, what was not sent is handed back
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
		out[i] = fine
	}
	return out, nil
}

func TestReviewedTimeoutOfABatch(t *testing.T) {
	t.Parallel()
	s := newScene(t, 909)
	s.acts.add(plugins.Spec{Action: "slow"}, nil)
	s.engine.actions = sequential{s.acts}
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps: [{id: try, action: slow, timeout: 100ms, retry: {attempts: 2, first: 1s}}]
`)
	var all []crm.Key
	for range 30 {
		all = append(all, s.person())
	}
	for _, k := range all {
		s.apply(crm.AddTag{Contact: k, Tag: "go"})
	}
	s.settle()
	s.pass(time.Minute)
	failed := 0
	for _, k := range all {
		if r := s.runs(k); !strings.HasPrefix(r[0], "w completed") {
			failed++
			if failed == 1 {
				t.Log(r, s.journal(k))
			}
		}
	}
	if failed > 0 {
		t.Errorf("%d of 30 runs failed by a timeout although each attempt takes 20 ms of its 100", failed)
	}
}

// the rate: changing when a schedule fires lifts it; and within a slice it is no rate.

func TestReviewedRateAfterApply(t *testing.T) {
	t.Parallel()
	s := newScene(t, 910)
	all := s.crowd(20, "Due")
	body := `triggers:
  - {id: t, cron: "%s", over: contacts, where: '"Due" in contact.tags', rate: 1/d}
steps:
  - {id: rest, wait: 300d}
`
	s.workflow("w", fmt.Sprintf(body, "* * * * *"))
	s.settle()
	s.pass(time.Minute)
	s.expect("one", s.started(all), 1)
	for i := range 4 {
		s.workflow("w", fmt.Sprintf(body, []string{"*/1 * * * *", "0-59 * * * *", "*/1 */1 * * *", "* */1 * * *"}[i]))
		s.settle()
		s.pass(time.Minute)
		s.pass(time.Minute)
	}
	s.expect("1/d", s.started(all), 1)
}

// a queued run is over at its timeout.

const warnThenDelete = `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "Unsubscribed"}]
run: {cancel_on: [{event: contact.tag_removed, if: 'event.tag == "Unsubscribed"'}, {event: contact.tag_added, if: 'event.tag == "VIP"'}]}
steps: [{id: month, wait: 14d}, {id: gone, action: contact.delete}]
`

// A fact that an import brings ends nothing.

func TestReviewedCancelOnImport(t *testing.T) {
	t.Parallel()
	s := newScene(t, 920)
	s.workflow("w", warnThenDelete)
	s.tag("Unsubscribed")
	s.settle()
	s.update(func(tx *store.Tx) error {
		_, err := tx.Apply(s.by, crm.Cause{Kind: crm.ByImport}, crm.AddTag{Contact: s.k, Tag: "VIP"})
		return err
	})
	s.settle()
	s.pass(day(15))
	if s.state(s.k) != crm.Live {
		t.Errorf("deleted although VIP: %q", s.runs(s.k))
	}
}

// Nor the tag's end in the account.

func TestReviewedCancelOnTagGone(t *testing.T) {
	t.Parallel()
	s := newScene(t, 921)
	s.workflow("w", warnThenDelete)
	s.tag("Unsubscribed")
	s.settle()
	s.update(func(tx *store.Tx) error {
		_, err := tx.Apply(crm.Actor{ID: "system:account", Role: crm.System}, crm.Cause{Kind: crm.ByAccount}, crm.RemoveTag{Contact: s.k, Tag: "Unsubscribed"})
		return err
	})
	s.settle()
	s.pass(day(15))
	if s.state(s.k) != crm.Live {
		t.Errorf("deleted although the tag was taken off: %q", s.runs(s.k))
	}
}

// What run get hides, simulate shows.

// A retried run goes on under run.reenter and the key of others.

func TestReviewedRetryWithReenter(t *testing.T) {
	t.Parallel()
	s := newScene(t, 923)
	bad := true
	s.acts.add(plugins.Spec{Action: "shaky"}, func(context.Context, plugins.Item) plugins.Outcome {
		if bad {
			return broken("bad")
		}
		return fine
	})
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
run: {reenter: {after: 30d}}
steps: [{id: try, action: shaky}, {id: rest, wait: 60d}]
`)
	s.tag("go")
	s.untag("go")
	s.settle()
	bad = false
	var id crm.RunID
	s.view(func(tx *store.Tx) error { id = s.only(tx).ID; return nil })
	s.pass(day(29))
	_, err := s.engine.Retry(s.ctx, s.by, id, store.Retry{})
	s.must(err)
	s.settle()
	s.pass(day(5))
	s.tag("go")
	s.settle()
	s.expect("single", s.runs(s.k), []string{"w waiting rest"})
}

// docs: "how many runs are started in any stretch of that length".

func TestReviewedRateOverOneASecond(t *testing.T) {
	t.Parallel()
	for _, rate := range []workflow.Rate{{Runs: 10, Per: crm.Second}, {Runs: 7200, Per: crm.Hour}, {Runs: 90, Per: crm.Minute}} {
		var s store.Schedule
		var starts []crm.Nanos
		take := func(at crm.Nanos, most int) {
			for range most {
				r := roomFor(workflow.Limits{Rate: rate, MaxItems: -1, MaxPercent: -1}, &s, at)
				if r.runs == 0 {
					return
				}
				r.take(&s)
				starts = append(starts, at)
			}
		}
		at := crm.Nanos(1000 * crm.Hour)
		for i := range 3*int(rate.Per/crm.Second) + 3 {
			if i == 1 { // the first page has one who can start, the second, a little later, more
				take(at, 1)
				take(at+crm.Second*99/100, 1000)
			} else {
				take(at, 1000)
			}
			at += crm.Second
		}
		most, from := 0, 0
		for i := range starts {
			for starts[i]-starts[from] >= rate.Per {
				from++
			}
			most = max(most, i-from+1)
		}
		if most > rate.Runs {
			t.Errorf("%d runs in a stretch of %v at the rate %s", most, rate.Per, rate)
		}
	}
}
