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
	"github.com/reprieve-run/reprieve/store"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{`{"to":"ada","api_key":"k1","nested":[{"Authorization":"Bearer x"},{"my-Access-Token":{"deep":"x"}}]}`,
			`{"api_key":"[redacted]","nested":[{"Authorization":"[redacted]"},{"my-Access-Token":"[redacted]"}],"to":"ada"}`},
		{`{"headers":[{"name":"X-Api-Key","value":"k2"},{"name":"Accept","value":"text/html"}]}`,
			`{"headers":[{"name":"X-Api-Key","value":"[redacted]"},{"name":"Accept","value":"text/html"}]}`},
		{`{"url":"https://x.example/a?q=1&access_token=k3&b=2"}`, `{"url":"https://x.example/a?q=1\u0026access_token=[redacted]\u0026b=2"}`},
		{`{"text":"the word is SESAME, twice: SESAME"}`, `{"text":"the word is [redacted], twice: [redacted]"}`},
		{`{"n":12345678901234567890,"yes":true,"none":null}`, `{"n":12345678901234567890,"none":null,"yes":true}`},
		{`{"password":["a","b"]}`, `{"password":"[redacted]"}`},
		{`no JSON`, ``},
	} {
		if got := string(Redact([]byte(c.in), "SESAME", "")); got != c.want {
			t.Errorf("%s\n is %s\nnot %s", c.in, got, c.want)
		}
	}
}

// What is kept of parameters is JSON of at most 4 KiB, also where quoting makes it longer and a letter has
// several bytes; and a secret that a cut would split is not in it.
func TestTracedIsBounded(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"plain": "a", "quotes": `"`, "letters": "é", "control": "\x01", "emoji": "\U0001F600"} {
		params, err := json.Marshal(map[string]string{"body": strings.Repeat(text, 5000), "token": "s3cret", "a_token": strings.Repeat("s3cret", 2000)})
		if err != nil {
			t.Fatal(err)
		}
		input, cut := traced(params)
		var head string
		if err := json.Unmarshal(input, &head); err != nil || !cut || len(input) > maxInput || len(head) < 100 || strings.Contains(head, "s3cret") {
			t.Errorf("%s: %d bytes, cut %v, %v", name, len(input), cut, err)
		}
	}
	if input, cut := traced([]byte(`{"a":1}`)); string(input) != `{"a":1}` || cut {
		t.Errorf("a short one: %s, %v", input, cut)
	}
	if input, _ := traced([]byte(`{}`)); input != nil {
		t.Errorf("nothing was sent, and kept: %s", input)
	}
}

// line gives the last line of the journal of the contact's one run about a step.
func (s *scene) line(step string) (line crm.StepRecord) {
	s.t.Helper()
	s.view(func(tx *store.Tx) error {
		steps, err := tx.Steps(s.only(tx).ID)
		for _, r := range steps {
			if r.Path == step {
				line = r
			}
		}
		return err
	})
	return line
}

// A line of the journal keeps what was sent, without secrets, and each attempt with what it came to: the last
// one only would be what there was before.
func TestTrace(t *testing.T) {
	t.Parallel()
	s := newScene(t, 130)
	answers := []plugins.Outcome{{Status: plugins.Retry, Code: "busy", Message: "one"}, {Status: plugins.Retry, Code: "away", Message: "two: https://x.example/?token=k9&a=1"},
		{Status: plugins.Done, Output: []byte(`{"id":7}`)}}
	s.failing(answers...)
	s.workflow("w", fmt.Sprintf(shaky, ", with: {text: 'for ${ contact.id }', api_key: k1}", ""))
	s.tag("go")
	for range 3 {
		s.pass(time.Minute)
		s.restart()
	}
	is := s.line("try")
	s.expect("the line", []any{is.Status, is.Attempt, string(is.Output)}, []any{"done", 3, `{"id":7}`})
	s.expect("what was sent", string(is.Input), `{"api_key":"[redacted]","text":"for `+s.k.Contact.String()+`"}`)
	var tries []string
	for _, try := range is.Tries {
		tries = append(tries, fmt.Sprint(try.Attempt, " ", try.Code, " ", try.Message))
	}
	s.expect("the attempts before", tries, []string{"1 busy one", "2 away two: https://x.example/?token=[redacted]&a=1"})
	s.expect("in order", is.Tries[0].At < is.Tries[1].At && is.Tries[1].At < is.At, true)
}

// However often a step is tried, its line keeps ten attempts, and the input.
func TestTriesAreBounded(t *testing.T) {
	t.Parallel()
	s := newScene(t, 131)
	s.failing(plugins.Outcome{Status: plugins.Retry, Code: "busy"})
	s.workflow("w", fmt.Sprintf(shaky, ", with: {text: x}, retry: {attempts: 15, first: 1s, most: 1s}", ""))
	s.tag("go")
	for range 16 {
		s.pass(time.Minute)
	}
	is := s.line("try")
	s.expect("the run", s.runs(s.k), []string{"w failed try step try: busy"})
	s.expect("attempts kept", []any{len(is.Tries), is.Tries[0].Attempt, is.Tries[8].Attempt, is.Attempt, string(is.Input)}, []any{9, 6, 14, 15, `{"text":"x"}`})
}

// An external call whose outcome is unknown has what was sent all the same: the intent keeps it.
func TestTraceOfACallThatNobodyKnowsOf(t *testing.T) {
	t.Parallel()
	s := newScene(t, 132)
	s.acts.add(plugins.Spec{Action: "mail", External: true}, nil)
	s.acts.fail["mail"] = fmt.Errorf("it died")
	s.workflow("w", replaced(atOnce, "mail, with: {to: you}"))
	s.tag("go")
	s.settle()
	is := s.line("act")
	s.expect("the line", []any{is.Status, string(is.Input), is.OpenCall()}, []any{"unknown", `{"to":"you"}`, true})
}

// An answer that comes after its run has ended is journalled with the true reason, whoever ended it; before it
// was dropped without a word.
func TestSupersededSaysWhy(t *testing.T) {
	t.Parallel()
	cancelOn := "run: {cancel_on: [{event: contact.tag_added, if: event.tag == \"stop\", reason: they said stop}]}\n"
	restart := "run: {mode: restart}\n"
	for name, c := range map[string]struct {
		run  string
		end  func(s *scene)
		want string
	}{
		"by hand": {"", func(s *scene) { s.update(func(tx *store.Tx) error { return tx.CancelRun(s.only(tx)) }) }, "the run had been ended meanwhile: cancelled"},
		"cancel_on": {cancelOn, func(s *scene) {
			s.tag("stop")
			_, err := s.engine.dispatch(s.ctx)
			s.must(err)
		}, "the run had been ended meanwhile: they said stop"},
		"restart": {restart, func(s *scene) {
			s.untag("go")
			s.tag("go")
			_, err := s.engine.dispatch(s.ctx)
			s.must(err)
		}, "the run had been ended meanwhile: restarted"},
		"and retried since": {"", func(s *scene) {
			s.update(func(tx *store.Tx) error { return tx.CancelRun(s.only(tx)) })
			s.expect("retried", s.retry(store.Retry{Force: true}), "")
		}, "the run had been ended meanwhile"},
		"deleted": {"", func(s *scene) { s.apply(crm.Delete{Contact: s.k}) }, "the contact was deleted, restored or archived meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 133)
			calls := 0
			s.acts.add(plugins.Spec{Action: "mail", External: true}, func(context.Context, plugins.Item) plugins.Outcome {
				if calls++; calls == 1 {
					c.end(s)
				}
				return plugins.Outcome{Status: plugins.Done, Output: []byte(`{"sent":true}`)}
			})
			s.workflow("w", c.run+replaced(atOnce, "mail"))
			s.tag("go")
			s.settle()
			var lines []string
			s.view(func(tx *store.Tx) error {
				runs, err := tx.RunsOf(s.k)
				for _, r := range runs {
					steps, err := tx.Steps(r.ID)
					s.must(err)
					for _, line := range steps {
						if line.Status == store.StepSuperseded {
							lines = append(lines, line.Message+fmt.Sprint(" ", len(line.Output)))
						}
					}
				}
				return err
			})
			s.expect("the answer", lines, []string{c.want + "; the answer was done 0"})
		})
	}
}
