package runtime

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
)

// retry retries the contact's one run and gives the code of the refusal.
func (s *scene) retry(how store.Retry) string {
	s.t.Helper()
	var id crm.RunID
	s.view(func(tx *store.Tx) error { id = s.only(tx).ID; return nil })
	_, err := s.engine.Retry(s.ctx, s.by, id, how)
	return crm.CodeOf(err)
}

const threeSteps = `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: one, action: one}
  - {id: two, action: two}
  - {id: end, branch: [{if: steps.one.output.n > 0, steps: [{id: three, action: mark}]}]}
`

// steps gives actions one and two, of which the latter fails as often as it is told to.
func (s *scene) steps(fails int, spec plugins.Spec) (calls *[]string, keys *[]string) {
	calls, keys = new([]string), new([]string)
	s.acts.add(plugins.Spec{Action: "one"}, func(_ context.Context, it plugins.Item) plugins.Outcome {
		*calls, *keys = append(*calls, "one"), append(*keys, it.Key)
		return plugins.Outcome{Status: plugins.Done, Output: []byte(`{"n":1}`)}
	})
	spec.Action = "two"
	s.acts.add(spec, func(_ context.Context, it plugins.Item) plugins.Outcome {
		*calls, *keys = append(*calls, "two"), append(*keys, it.Key)
		if fails--; fails >= 0 {
			return plugins.Outcome{Status: plugins.Fail, Code: "odd"}
		}
		return plugins.Outcome{Status: plugins.Done}
	})
	return calls, keys
}

// A failed run goes on from the step that failed, or an earlier one, on its revision, with what came out of the
// steps before; each step that is made again bears a new key, and the journal keeps what was before.
func TestRetryARun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from    string
		calls   []string
		journal []string
	}{
		"the step that failed": {"", []string{"one", "two", "two"}, []string{"one done", "two failed odd", "two done", "end done", "three done"}},
		"an earlier step":      {"one", []string{"one", "two", "one", "two"}, []string{"one done", "two failed odd", "one done", "two done", "end done", "three done"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 140)
			calls, keys := s.steps(1, plugins.Spec{})
			s.workflow("w", threeSteps)
			s.tag("go")
			s.settle()
			s.expect("it failed", s.runs(s.k), []string{"w failed two step two: odd"})
			s.workflow("w", "triggers: [{id: never, event: contact.tag_added, if: event.tag == \"never\"}]\nsteps: [{id: other, wait: 1d}]\n") // another revision
			s.expect("retried", s.retry(store.Retry{Step: c.from}), "")
			s.expect("twice at once", s.retry(store.Retry{Step: c.from}), crm.CodeInvalid)
			s.restart()
			s.settle()
			s.expect("the run", s.runs(s.k), []string{"w completed three"})
			s.expect("the calls", *calls, c.calls)
			s.expect("the journal", s.journal(s.k), c.journal)
			s.expect("keys that are the same", len(*keys)-len(slices.Compact(slices.Sorted(slices.Values(*keys)))), 0)
			s.expect("once it is completed", s.retry(store.Retry{}), crm.CodeInvalid)
			s.expect("in the log", s.events(crm.RunRetried), 1)
			s.expect("it started nothing", s.events(crm.RunStarted), 1)
		})
	}
}

// events counts the entries of the log of a kind.
func (s *scene) events(kind crm.EventKind) (n int) {
	s.t.Helper()
	s.view(func(tx *store.Tx) error {
		all, _, err := tx.Events(nil, 0)
		for _, e := range all {
			if e.Event.Kind == kind {
				n++
			}
		}
		return err
	})
	return n
}

// All attempts of one time that a step is retried bear the same key, and each time has its own; over a kill too.
func TestRetriedKeys(t *testing.T) {
	t.Parallel()
	s := newScene(t, 141)
	answers := []plugins.Outcome{broken("odd"), {Status: plugins.Retry}, {Status: plugins.Retry}, broken("odd"), fine}
	var keys []string
	s.acts.add(plugins.Spec{Action: "act"}, func(_ context.Context, it plugins.Item) plugins.Outcome {
		keys = append(keys, it.Key)
		return answers[len(keys)-1]
	})
	s.workflow("w", replaced(atOnce, "act"))
	s.tag("go")
	s.settle()
	s.expect("retried", s.retry(store.Retry{}), "")
	for range 3 {
		s.pass(time.Hour)
		s.restart()
	}
	s.expect("retried again", s.retry(store.Retry{}), "")
	s.settle()
	s.expect("the run", s.runs(s.k), []string{"w completed act"})
	s.expect("calls", len(keys), 5)
	a, b, c := keys[0], keys[1], keys[4]
	if a == b || b == c || a == c || keys[2] != b || keys[3] != b {
		t.Errorf("the keys are %v", keys)
	}
}

// A call of which nobody knows whether it was made is made again only if somebody insists, and then under the key
// that it had, so that who got it can tell; one that may be called twice needs no word. Were the key a new one, a
// mail would be sent twice.
func TestRetryOfAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{false, true} {
		s := newScene(t, 142)
		s.acts.add(plugins.Spec{Action: "mail", External: true, Idempotent: idempotent}, func(context.Context, plugins.Item) plugins.Outcome { return fine })
		s.acts.fail["mail"] = errors.New("it died")
		s.workflow("w", replaced(atOnce, "mail"))
		s.tag("go")
		for range maxAttempts + 1 {
			s.pass(time.Hour)
		}
		first := s.acts.keys[len(s.acts.keys)-1]
		if delete(s.acts.fail, "mail"); idempotent {
			s.expect("retried", s.retry(store.Retry{}), "")
		} else {
			s.expect("it failed", s.runs(s.k), []string{"w failed act step act: unknown"})
			s.expect("without a word", s.retry(store.Retry{}), crm.CodeConfirm)
			s.expect("by force", s.retry(store.Retry{Force: true}), "")
		}
		s.settle()
		s.expect("the run", s.runs(s.k), []string{"w completed act"})
		s.expect("the key of the call", s.acts.keys[len(s.acts.keys)-1], first)
	}
}

// What may not go on is refused, whatever is asked for, and stays as it is.
func TestRetryIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(s *scene)
		how  store.Retry
		want string
	}{
		"deleted contact": {func(s *scene) { s.apply(crm.Delete{Contact: s.k}) }, store.Retry{}, crm.CodeDeleted},
		"restored since": {func(s *scene) {
			s.apply(crm.Delete{Contact: s.k})
			s.apply(crm.Restore{Contact: s.k})
		}, store.Retry{}, crm.CodeStale},
		"archived":          {func(s *scene) { s.apply(crm.Archive{Contact: s.k, On: true}) }, store.Retry{}, crm.CodeStale},
		"paused workflow":   {func(s *scene) { s.pause("w", true) }, store.Retry{}, crm.CodeConflict},
		"deleted workflow":  {func(s *scene) { s.update(func(tx *store.Tx) error { return tx.DeleteWorkflow(s.by, s.acc, "w") }) }, store.Retry{}, crm.CodeNotFound},
		"no such step":      {func(*scene) {}, store.Retry{Step: "nope"}, crm.CodeInvalid},
		"a step of later":   {func(*scene) {}, store.Retry{Step: "three"}, crm.CodeInvalid},
		"somebody else":     {func(s *scene) { s.by.Role = crm.Viewer }, store.Retry{Force: true}, crm.CodeDenied},
		"journal forgotten": {func(s *scene) { s.clock.Advance(day(90)); _, err := s.engine.Sweep(s.ctx); s.must(err) }, store.Retry{}, crm.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 143)
			s.steps(1, plugins.Spec{})
			s.workflow("w", threeSteps)
			s.tag("go")
			s.settle()
			var id crm.RunID
			s.view(func(tx *store.Tx) error { id = s.only(tx).ID; return nil })
			c.do(s)
			_, err := s.engine.Retry(s.ctx, s.by, id, c.how)
			var e *crm.Error
			if crm.CodeOf(err) != c.want || errors.As(err, &e) && e.Hint == "" {
				t.Errorf("%v has the code %q, wanted %q, with a hint", err, crm.CodeOf(err), c.want)
			}
			s.expect("the log", s.events(crm.RunRetried), 0)
		})
	}
}

// A run whose key another one holds by now is not retried beside it, and is once that one is over.
func TestRetryWaitsForTheKey(t *testing.T) {
	t.Parallel()
	s := newScene(t, 144)
	s.steps(1, plugins.Spec{})
	s.workflow("w", threeSteps[:len(threeSteps)-1]+"\n  - {id: rest, wait: 1d}\n")
	s.tag("go")
	s.settle()
	var failed crm.RunID
	s.view(func(tx *store.Tx) error { failed = s.only(tx).ID; return nil })
	s.untag("go")
	s.tag("go")
	s.settle()
	s.expect("another one", s.runs(s.k), []string{"w failed two step two: odd", "w waiting rest"})
	_, err := s.engine.Retry(s.ctx, s.by, failed, store.Retry{})
	s.expect("beside it", crm.CodeOf(err), crm.CodeConflict)
	s.pass(day(1))
	_, err = s.engine.Retry(s.ctx, s.by, failed, store.Retry{})
	s.expect("after it", crm.CodeOf(err), "")
	s.untag("go")
	s.tag("go")
	s.settle()
	s.expect("it holds the key", s.runs(s.k), []string{"w completed rest", "w waiting rest"})
}

// A timeout of the whole run is counted anew from the retry; and a cancelled run goes on where it stood.
func TestRetryAfterATimeout(t *testing.T) {
	t.Parallel()
	s := newScene(t, 145)
	s.workflow("w", "run: {timeout: 2d}\ntriggers: [{id: tagged, event: contact.tag_added, if: event.tag == \"go\"}]\nsteps: [{id: rest, wait: 36h}, {id: more, wait: 36h}]\n")
	s.tag("go")
	s.pass(0)
	s.pass(36 * time.Hour)
	s.pass(12 * time.Hour)
	s.expect("it timed out", s.runs(s.k), []string{"w cancelled more timeout"})
	s.expect("retried", s.retry(store.Retry{}), "")
	s.settle()
	s.expect("it goes on", s.runs(s.k), []string{"w waiting more"})
	s.pass(36 * time.Hour)
	s.expect("and ends", s.runs(s.k), []string{"w completed more"})
}
