package server

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/triggers"
)

const approving = `version: 1
id: asking
triggers:
  - {id: moved, event: contact.tag_added, if: 'event.tag in ["Candidate", "Spare"]'}
steps:
  - {id: worth, set: {value: "${ float(contact.fields.value ?? 0) }", why: "${ event.tag }"}}
  - id: small
    branch:
      - {if: steps.worth.output.value < 1000, steps: [{id: cheap, exit: {status: completed, reason: "cheap ${ event.tag }"}}]}
      - {if: event.tag == "Spare", steps: [{id: spared, exit: {status: skipped, reason: "${ steps.worth.output.why }"}}]}
  - {id: answer, wait: {event: contact.tag_added, if: 'event.tag in ["Yes", "No"]', timeout: 7d}}
  - id: decide
    branch:
      - {if: not steps.answer.output.event, steps: [{id: silence, exit: {status: skipped, reason: silence}}]}
      - {if: 'steps.answer.output.tag == "No" and "No" in contact.tags', steps: [{id: kept, exit: {status: skipped, reason: kept}}]}
  - {id: gone, exit: {status: failed, reason: "agreed by ${ steps.answer.output.tag }"}}
end: true
`

// A simulation decides what the run then decides: on what set made, on the event that it began with, and on what a
// wait heard or did not. It fails if one of them is null in a simulation, as each once was.
func TestSimulateSetsEventsAndWaits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		value, tag, answer string // the answer: a tag, "" for none
		want               string
	}{
		"set":     {"20", "Candidate", "", "completed cheap Candidate"},
		"event":   {"5000", "Spare", "", "skipped Spare"},
		"timeout": {"5000", "Candidate", "", "skipped silence"},
		"no":      {"5000", "Candidate", "No", "skipped kept"},
		"yes":     {"5000", "Candidate", "Yes", "failed agreed by Yes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.account()
			if v := ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "asking.yaml", Content: []byte(approving)}}}); len(v.Diagnostics) > 0 {
				t.Fatal(v.Diagnostics[0].Render())
			}
			id := ask[ContactView](r, "contact.create", ContactCreate{Email: "ada@example.com", Fields: map[string]string{"value": tt.value}}).ID.String()
			q := WorkflowSimulate{ID: "asking", Contact: id, Event: crm.ContactTagAdded, Name: tt.tag}
			if tt.answer != "" {
				q.Answers = map[string]string{"answer": `{"tag": "` + tt.answer + `"}`}
			}
			s := ask[runtime.Simulation](r, "workflow.simulate", q)
			last := s.Path[len(s.Path)-1]
			if got := string(s.Status) + " " + last.Decided; got != tt.want || s.Depends != "" {
				raw, _ := json.Marshal(s)
				t.Errorf("simulated: %s\n%s", got, raw)
			}
			ask[ContactView](r, "contact.tag", ContactTag{ID: id, Add: []string{tt.tag}})
			r.settle()
			if tt.answer != "" {
				r.clock.Advance(24 * time.Hour)
				ask[ContactView](r, "contact.tag", ContactTag{ID: id, Add: []string{tt.answer}})
			}
			r.settle()
			r.clock.Advance(8 * 24 * time.Hour)
			r.settle()
			run := ask[RunPage](r, "run.list", RunList{}).Runs[0]
			if status, _, _ := strings.Cut(tt.want, " "); string(run.Status) != status || run.Step != last.Step {
				t.Errorf("the run is %s at %s, the simulation %s at %s", run.Status, run.Step, s.Status, last.Step)
			}
		})
	}
}

// unsure is a workflow of which a simulation cannot know all.
const unsure = `version: 1
id: unsure
triggers: [{id: new, event: contact.tag_added}, {id: other, event: contact.created}]
steps:
  - {id: ask, action: http.request, with: {method: GET, url: "https://example.com/${ contact.fields.score }", headers: {by: "${ run.trigger }"}}}
  - {id: keep, set: {open: "${ steps.ask.output.body.open }", plain: "${ 2 + 3 }"}}
  - {id: known, branch: [{if: steps.keep.output.plain == 4, steps: [{id: never, exit: {status: failed}}]}]}
  - id: open
    branch:
      - {if: contact.email != "" and steps.keep.output.open == true, steps: [{id: busy, exit: {status: skipped, reason: busy}}]}
  - {id: heard, wait: {event: contact.tag_added}}
  - {id: which, branch: [{if: steps.heard.output.tag == "x", steps: []}]}
end: true
`

// What an action gives, and what an event says that was only assumed, is not null: nothing is decided on it, and the
// way ends there, unless an answer says what it is.
func TestSimulateUnknowns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	id := ask[ContactView](r, "contact.create", ContactCreate{Email: "ada@example.com", Fields: map[string]string{"score": "7"}}).ID.String()
	q := WorkflowSimulate{File: &File{Name: "u.yaml", Content: []byte(unsure)}, Contact: id}
	sim := func(answers map[string]string) *runtime.Simulation {
		q.Answers = answers
		s := ask[runtime.Simulation](r, "workflow.simulate", q)
		return &s
	}
	s := sim(nil)
	last := s.Path[len(s.Path)-1]
	if s.Depends != "what ask (http.request) gives" || s.Status != "" || last.Step != "open" || last.Problem != "" || len(last.Parts) != 2 ||
		last.Parts[0].Result != "true" || last.Parts[1].Result != "unknown" {
		t.Errorf("%+v", s)
	}
	if got := string(s.Path[0].Params); !strings.Contains(got, "/7") || !strings.Contains(got, "‹run.trigger›") {
		t.Errorf("sent: %s", got)
	}
	if got := string(s.Path[1].Output); got != `{"open":"‹steps.ask.output.body.open›","plain":5}` {
		t.Errorf("set: %s", got)
	}
	for _, tt := range []struct {
		answers         map[string]string
		depends, status string
		step            string
	}{
		{map[string]string{"ask": `{"body": {"open": true}}`}, "", "skipped", "busy"},
		{map[string]string{"ask": `{"body": {"open": false}}`}, "the event that heard waits for", "", "which"},
		{map[string]string{"ask": `{"body": {}}`, "heard": `{"tag": "x"}`}, "", "completed", "which"},
		{map[string]string{"ask": "skip"}, "", "failed", "keep"},
		{map[string]string{"ask": "fail"}, "", "failed", "ask"},
	} {
		s := sim(tt.answers)
		if last := s.Path[len(s.Path)-1]; s.Depends != tt.depends || string(s.Status) != tt.status || last.Step != tt.step {
			t.Errorf("%v: %q, %s at %s", tt.answers, s.Depends, s.Status, last.Step)
		}
	}
	for step, answer := range map[string]string{"ask": "perhaps", "heard": "timeout", "nobody": "done", "keep": "done", "which": "event"} {
		q.Answers = map[string]string{step: answer}
		r.refused("workflow.simulate", q, crm.CodeInvalid)
	}
	q.Answers = map[string]string{"ask": `{"body": {}}`, "heard": `{"list": "x"}`}
	r.refused("workflow.simulate", q, crm.CodeInvalid)
}

const failing = `version: 1
id: failing
triggers: [{id: new, event: contact.field_changed}]
steps:
`

// A step that fails says so in a line of its own, with the values that decided: a branch, a wait, a set and an action.
func TestSimulateFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	id := ask[ContactView](r, "contact.create", ContactCreate{Email: "ada@example.com"}).ID.String()
	for kind, step := range map[string]string{
		"branch": `  - {id: s, branch: [{if: contact.fields.score > 3, steps: []}]}`,
		"wait":   `  - {id: s, wait: {until: date(contact.fields.score)}}`,
		"set":    `  - {id: s, set: {n: "${ contact.fields.score + 1 }"}}`,
		"action": `  - {id: s, action: log.write, with: {text: "${ lower(contact.fields.other) } ${ contact.fields.score - 1 }"}}`,
	} {
		q := WorkflowSimulate{File: &File{Name: "f.yaml", Content: []byte(failing + step + "\nend: true\n")}, Contact: id,
			Event: crm.ContactFieldChanged, Name: "score", Value: "lots"}
		s := ask[runtime.Simulation](r, "workflow.simulate", q)
		if len(s.Path) != 1 || s.Path[0].Kind != kind || s.Path[0].Problem == "" || s.Status != crm.RunFailed || strings.Contains(s.Path[0].Problem, "lots") {
			t.Errorf("%s: %+v", kind, s.Path)
			continue
		}
		parts := s.Path[0].Parts
		if len(parts) == 0 || !strings.Contains(parts[len(parts)-1].Error, "contact.fields.score") && kind != "action" || !holds(parts, "lots") && kind != "action" {
			t.Errorf("%s: %+v", kind, parts)
		}
		q.Value = 4.0
		if s := ask[runtime.Simulation](r, "workflow.simulate", q); kind == "branch" && s.Status != crm.RunCompleted {
			t.Errorf("a number is text: %+v", s.Path)
		}
	}
}

func holds(parts []triggers.Part, text string) bool {
	raw, _ := json.Marshal(parts)
	return strings.Contains(string(raw), text)
}

// A request to a webhook can be imagined too: about the contact, and no other.
func TestSimulateWebhook(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hooked()
	ada := r.contact("ada@example.com").ID.String()
	r.contact("bob@example.com")
	before, _ := r.counted()
	q := WorkflowSimulate{ID: "hooked", Contact: ada, Event: crm.WebhookReceived, Name: "form", Body: []byte(`{"email": "ada@example.com", "label": "Asked"}`)}
	s := ask[runtime.Simulation](r, "workflow.simulate", q)
	if last := s.Path[len(s.Path)-1]; !s.Starts || s.Status != crm.RunExited || last.Decided != "Asked" {
		t.Errorf("%+v", s)
	}
	for name, body := range map[string]string{"form": `{"email": "bob@example.com"}`, "": `{"email": "ada@example.com"}`, "none": `{}`, "other": `{"customer": {}}`} {
		q.Name, q.Body = name, []byte(body)
		r.refused("workflow.simulate", q, crm.CodeInvalid)
	}
	if after, runs := r.counted(); after != before || runs != 0 {
		t.Error("a simulation is no request")
	}
}
