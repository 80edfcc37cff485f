package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
)

// failing adds the action shaky, which answers what it is told to, one answer a call and the last for ever,
// and tell, which keeps what it is given.
func (s *scene) failing(answers ...plugins.Outcome) (calls *int, told *[]string) {
	calls, told = new(int), new([]string)
	s.acts.add(plugins.Spec{Action: "shaky"}, func(context.Context, plugins.Item) plugins.Outcome {
		*calls++
		return answers[min(*calls, len(answers))-1]
	})
	s.acts.add(plugins.Spec{Action: "tell"}, func(_ context.Context, it plugins.Item) plugins.Outcome {
		var with struct{ Text string }
		_ = json.Unmarshal(it.Params, &with)
		*told = append(*told, with.Text)
		return plugins.Outcome{Status: plugins.Done}
	})
	return calls, told
}

func broken(code string) plugins.Outcome {
	return plugins.Outcome{Status: plugins.Fail, Code: code, Message: "it is " + code}
}

var fine = plugins.Outcome{Status: plugins.Done}

const shaky = `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: try, action: shaky%s}
  - {id: after, action: mark}
%s`

// What becomes of a run whose step fails is the file's to say: fail, go on, go through steps, for the step or
// for the whole run; a run that goes through on_error has failed all the same.
func TestOnError(t *testing.T) {
	t.Parallel()
	tell := func(text string) string { return `action: tell, with: {text: "` + text + `"}` }
	for name, c := range map[string]struct {
		step, whole string
		run         string
		journal     []string
		told        []string
	}{
		"fails":   {"", "", "w failed try step try: odd", []string{"try failed odd"}, nil},
		"in word": {", on_error: fail", "", "w failed try step try: odd", []string{"try failed odd"}, nil},
		"goes on": {", on_error: continue", "", "w completed after", []string{"try failed odd", "after done"}, nil},
		"through steps": {`, on_error: [{id: say, ` + tell("${ error.step } ${ error.code }: ${ error.message }") + `}]`, "",
			"w completed after", []string{"try failed odd", "say done", "after done"}, []string{"try odd: it is odd"}},
		"through an exit": {`, on_error: [{id: stop, exit: {status: skipped, reason: enough}}]`, "", "w skipped stop enough",
			[]string{"try failed odd", "stop done"}, nil},
		"the whole run": {"", `on_error: [{id: say, ` + tell("${ error.code }") + `}, {id: rest, wait: 1h}, {id: again, ` + tell("${ error.step }") + `}]`,
			"w failed again step try: odd", []string{"try failed odd", "say done", "rest done", "again done"}, []string{"odd", "try"}},
		"a handler that fails": {"", `on_error: [{id: say, action: shaky}]`, "w failed say step try: odd", []string{"try failed odd", "say failed odd"}, nil},
		"the step's before the run's": {", on_error: continue", `on_error: [{id: say, ` + tell("no") + `}]`, "w completed after",
			[]string{"try failed odd", "after done"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 90)
			_, told := s.failing(broken("odd"))
			s.workflow("w", fmt.Sprintf(shaky, c.step, c.whole))
			s.tag("go")
			s.settle()
			s.restart()
			s.pass(2 * time.Hour)
			if got := s.runs(s.k); len(got) != 1 || got[0] != c.run {
				t.Errorf("the run is %q, not %q", got, c.run)
			}
			s.expect("the journal", strings.Join(s.journal(s.k), "; "), strings.Join(c.journal, "; "))
			s.expect("told", strings.Join(*told, "; "), strings.Join(c.told, "; "))
		})
	}
}

// An effect that is refused fails its step, which the file may deal with too.
func TestOnErrorOfARefusal(t *testing.T) {
	t.Parallel()
	s := newScene(t, 91)
	_, told := s.failing(fine)
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: remove, action: contact.delete, on_error: [{id: say, action: tell, with: {text: "${ error.code }"}}]}
  - {id: after, action: mark}
`)
	s.apply(crm.Hold{Contact: s.k, On: true, Reason: "a matter"})
	s.tag("go")
	s.settle()
	s.expect("the run", s.runs(s.k), []string{"w completed after"})
	s.expect("told", *told, []string{crm.CodeHeld})
}

// A step is tried as often as it says, resting longer each time; failures only with the codes that it names.
func TestRetry(t *testing.T) {
	t.Parallel()
	again := plugins.Outcome{Status: plugins.Retry}
	for name, c := range map[string]struct {
		retry   string
		answers []plugins.Outcome
		calls   []int // after 0 s, 9 s, 10 s, 30 s, 1 h
		run     string
	}{
		"asks for another try": {"{attempts: 3, first: 10s, most: 1m}", []plugins.Outcome{again}, []int{1, 1, 2, 3, 3}, "w failed try step try: unavailable"},
		"succeeds in the end":  {"{attempts: 3, first: 10s}", []plugins.Outcome{again, again, fine}, []int{1, 1, 2, 3, 3}, "w completed after"},
		"a failure":            {"{attempts: 3, first: 10s}", []plugins.Outcome{broken("busy"), fine}, []int{1, 1, 1, 1, 1}, "w failed try step try: busy"},
		"one that it names":    {"{attempts: 3, first: 10s, on: [busy]}", []plugins.Outcome{broken("busy"), fine}, []int{1, 1, 2, 2, 2}, "w completed after"},
		"another than it names": {"{attempts: 3, first: 10s, on: [busy]}", []plugins.Outcome{broken("busy"), broken("odd"), fine}, []int{1, 1, 2, 2, 2},
			"w failed try step try: odd"},
		"once":         {"{attempts: 1}", []plugins.Outcome{again}, []int{1, 1, 1, 1, 1}, "w failed try step try: unavailable"},
		"the rest cap": {"{attempts: 4, first: 10s, most: 10s}", []plugins.Outcome{again}, []int{1, 1, 2, 4, 4}, "w failed try step try: unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 92)
			calls, _ := s.failing(c.answers...)
			s.workflow("w", fmt.Sprintf(shaky, ", retry: "+c.retry, ""))
			s.tag("go")
			s.settle()
			var got []int
			at := time.Duration(0)
			for _, until := range []time.Duration{0, 9 * time.Second, 10 * time.Second, 30 * time.Second, time.Hour} {
				for ; at < until; at += time.Second {
					s.pass(time.Second)
				}
				s.restart()
				got = append(got, *calls)
				if until == 30*time.Second {
					at = time.Hour - time.Second
				}
			}
			s.expect("calls", got, c.calls)
			s.expect("the run", s.runs(s.k), []string{c.run})
		})
	}
}

// A wait until an instant ends then, over restarts; one that has passed goes on at once; what is no instant
// fails the step.
func TestWaitUntil(t *testing.T) {
	t.Parallel()
	flow := `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: rest, wait: {until: %s}}
  - {id: act, action: mark}
`
	in := func(d time.Duration) string { return start.Add(d).UTC().Format(time.RFC3339) }
	for name, c := range map[string]struct {
		until, field    string
		soon, then, end string // at once, after 47 hours, after 49 hours
	}{
		"a date of the contact": {"date(contact.fields.ends)", in(48 * time.Hour), "w waiting rest", "w waiting rest", "w completed act"},
		"one that has passed":   {"date(contact.fields.ends)", in(-time.Hour), "w completed act", "w completed act", "w completed act"},
		"relative to the run":   {"run.started_at + duration('48h')", "", "w waiting rest", "w waiting rest", "w completed act"},
		"no date":               {"date(contact.fields.ends)", "soon", "w failed rest step rest: it cannot be decided until when it waits", "", ""},
		"no instant":            {"contact.fields.ends", "soon", "w failed rest step rest: it cannot be decided until when it waits", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 93)
			s.set("ends", c.field)
			s.workflow("w", fmt.Sprintf(flow, c.until))
			s.tag("go")
			s.settle()
			s.expect("at once", s.runs(s.k), []string{c.soon})
			if c.end == "" {
				return
			}
			s.set("ends", in(9000*time.Hour)) // it was decided when the run came there
			s.restart()
			s.pass(47 * time.Hour)
			s.expect("then", s.runs(s.k), []string{c.then})
			s.pass(2 * time.Hour)
			s.expect("in the end", s.runs(s.k), []string{c.end})
		})
	}
}
