package runtime

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// walker follows a simulated run: Advance, which runs the real ones, decides each turn, and here is only what the
// world would have said meanwhile.
type walker struct {
	s        *Simulation
	a        *asker
	def      *workflow.Workflow
	supposed map[string]supposed
	env      triggers.Env
	no       bool // there is no event that starts it, though there has to be one
}

// supposed is what a step is assumed to come to.
type supposed struct {
	word   string // event, timeout, done, skip or fail
	said   map[string]any
	output json.RawMessage
}

// suppose reads the answers.
func suppose(def *workflow.Workflow, answers map[string]string) (map[string]supposed, error) {
	const op = "simulate a workflow"
	all := map[string]supposed{}
	for id, text := range answers {
		at, ok := def.Node(id)
		if !ok {
			return nil, crm.Errorf(op, crm.CodeInvalid, "there is no step %q to answer for", id).WithHint("the ids of the file's steps count")
		}
		n, s := &def.Nodes[at], supposed{word: text}
		words := []string{"event", "timeout"}
		switch {
		case n.Kind == workflow.Action:
			if words = []string{"done", "skip", "fail"}; json.Valid([]byte(text)) {
				s = supposed{word: "done", output: json.RawMessage(text)}
			}
		case n.Hears == nil:
			return nil, crm.Errorf(op, crm.CodeInvalid, "the step %q cannot be answered for", id).WithHint("actions and waits for an event can")
		case n.Wait == 0:
			words = words[:1]
			fallthrough
		default:
			if json.Unmarshal([]byte(text), &s.said) == nil && s.said != nil {
				s.word = "event"
			}
		}
		if !slices.Contains(words, s.word) {
			return nil, crm.Errorf(op, crm.CodeInvalid, "%q is no answer for the step %q", text, id).WithHint("it is %s, or JSON", strings.Join(words, ", "))
		}
		all[id] = s
	}
	return all, nil
}

// walk goes the way of a run that begins now.
func (w *walker) walk(by *workflow.Trigger, ev *crm.Event) error {
	a, now := w.a, w.a.tx.Now()
	run := crm.Run{Account: a.c.Account, Contact: a.c.ID, Workflow: w.def.ID, Revision: w.def.Revision, Epoch: a.life.Epoch,
		Began: a.life.Epoch, Status: crm.RunActive, Step: w.def.Nodes[0].ID, Due: now, Token: 1, StartedAt: now}
	if by != nil {
		run.Trigger = by.ID
	} else if len(w.def.Triggers) == 1 {
		run.Trigger = w.def.Triggers[0].ID
	}
	w.env = triggers.Env{Contact: a.c, Life: a.life, Tombstone: a.tomb, ListName: a.names, Steps: map[string]triggers.StepInfo{}, Unknown: w.unknown,
		Run: triggers.RunInfo{Workflow: w.def.ID, Trigger: run.Trigger, StartedAt: now}}
	w.no = ev == nil && by == nil
	if ev != nil && (by == nil || by.Event != nil) { // as it would be stored with the run
		raw, err := json.Marshal(triggers.Started(ev))
		if err != nil {
			return err
		}
		_ = json.Unmarshal(raw, &w.env.Started)
	}
	var heard *crm.Event
	for range maxSimulated {
		w.env.Now = now
		turn := Advance(w.def, run, Input{Env: w.env, Heard: heard}, now)
		heard = nil
		if w.steps(turn.Steps); w.s.Depends != "" {
			return nil
		}
		if turn.Call != nil {
			turn = w.call(turn)
		}
		run = turn.Run
		switch {
		case run.Status.Finished():
			w.s.Status, w.s.Reason = run.Status, run.Reason
			return nil
		case run.Status == crm.RunWaiting:
			var err error
			if heard, err = w.wait(run); err != nil {
				return err
			}
		}
		if heard == nil {
			now = max(now, run.Due)
		}
	}
	w.s.Notes = append(w.s.Notes, fmt.Sprintf("it was not followed further than %d turns", maxSimulated))
	return nil
}

// call takes an action's outcome from the answers; unless they say otherwise it is done.
func (w *walker) call(turn Turn) Turn {
	c, s := turn.Call, w.supposed[turn.Call.Step]
	step := SimStep{Step: c.Step, Kind: workflow.Action.String(), At: w.env.Now, Action: c.Action, Params: c.Params}
	o := plugins.Outcome{Status: plugins.Done, Output: s.output}
	switch {
	case s.word == "fail":
		o = plugins.Outcome{Status: plugins.Fail, Code: crm.CodeFailed}
		step.Assumed = "it fails"
	case s.word == "skip":
		o = plugins.Outcome{Status: plugins.Skip}
		step.Assumed = "it does nothing and is skipped"
	case s.output != nil:
		step.Assumed = "it gives " + string(s.output)
	}
	w.s.Path = append(w.s.Path, step)
	turn = Advance(w.def, turn.Run, Input{Env: w.env, Outcome: &o}, w.env.Now)
	for i := range turn.Steps {
		journaled(&w.env, &turn.Steps[i])
	}
	return turn
}

// wait notes a wait, and gives the event that ends it unless that is time.
func (w *walker) wait(run crm.Run) (*crm.Event, error) {
	at, _ := w.def.Node(run.Step)
	n := &w.def.Nodes[at]
	step := SimStep{Step: run.Step, Kind: workflow.Wait.String(), At: w.env.Now, Due: run.Due}
	defer func() { w.s.Path = append(w.s.Path, step) }()
	if n.Hears == nil {
		return nil, nil
	}
	s, given := w.supposed[n.ID]
	kind := n.Hears.Events()[0]
	if s.word == "timeout" || !given && n.Wait > 0 {
		step.Assumed = fmt.Sprintf("no %s comes in time that it waits for", kind)
		return nil, nil
	}
	step.Assumed = fmt.Sprintf("the %s comes at once", kind)
	if len(s.said) == 0 {
		step.Assumed += "; what it says and changes is not known"
		return &crm.Event{Kind: kind, At: w.env.Now, After: w.env.Contact}, nil
	}
	data, value, err := said(kind, n.ID, s.said)
	if err != nil {
		return nil, err
	}
	ev, _, err := Imagine(w.a.tx, w.env.Contact, w.a.life, kind, data, value)
	if err != nil {
		return nil, err
	}
	ev.At, w.env.Contact = w.env.Now, ev.After
	if matched, why, _ := n.Hears.Explain(*ev, w.env.Now, w.a.names); !matched {
		return nil, crm.Errorf("simulate a workflow", crm.CodeInvalid, "such an event would not end the wait %q: %s", n.ID, why).
			WithHint("the answer says of the event what its condition asks for")
	}
	return ev, nil
}

// said reads what an answer says of an event.
func said(kind crm.EventKind, step string, said map[string]any) (data crm.EventData, value crm.Value, err error) {
	var names []string
	for _, f := range crm.TriggerKinds[kind] {
		names = append(names, f.Name)
	}
	data.On = true
	for name, v := range said {
		text := fmt.Sprint(v)
		switch on, is := v.(bool); {
		case !slices.Contains(names, name):
			return data, value, crm.Errorf("simulate a workflow", crm.CodeInvalid, "the answer for %q: %s has no %q", step, kind, name).
				WithHint("it has %s", strings.Join(names, ", "))
		case name == "on":
			data.On = is && on
		case name == "kind":
			data.Kind, _ = crm.ParseItemKind(text)
		case name == "value" || name == "status":
			data.Value = text
			if value = crm.Text(text); is {
				value = crm.Value{Kind: crm.BoolValue, Bool: on}
			} else if f, number := v.(float64); number {
				value = crm.Number(f)
				data.Value = value.String()
			}
		case name == "old_value" || name == "old_status":
			data.Old = text
		default:
			data.Name = text
		}
	}
	return data, value, nil
}

// unknown says what a path depends on that nobody knows before it happens: what an action gives, what an event says,
// and what was made of either.
func (w *walker) unknown(e *triggers.Env, path string) string {
	keys := strings.Split(path, ".")
	switch {
	case keys[0] == "event" && w.no:
		return "the event that starts it"
	case path == "run.trigger" && w.env.Run.Trigger == "":
		return "which trigger starts it"
	case path == "run.id":
		return "the id of the run"
	}
	if len(keys) < 3 || keys[0] != "steps" || keys[2] != "output" {
		return ""
	}
	at, ok := w.def.Node(keys[1])
	info, ran := e.Steps[keys[1]]
	if !ok || !ran {
		return ""
	}
	n, s, below := &w.def.Nodes[at], w.supposed[keys[1]], keys[3:]
	switch {
	case n.Kind == workflow.Action && info.Status == store.StepDone && s.output == nil:
		return fmt.Sprintf("what %s (%s) gives", n.ID, n.Action)
	case n.Kind == workflow.Set:
		for _, p := range n.With.Paths(below) {
			if on := w.unknown(e, p); on != "" {
				return on
			}
		}
	case n.Hears != nil:
		out, _ := info.Output.(map[string]any)
		said := func(k string) bool { _, is := s.said[k]; return is }
		if out["event"] == true && (len(below) == 0 || !slices.Contains([]string{"event", "type", "at"}, below[0]) && !said(below[0])) {
			return "the event that " + n.ID + " waits for"
		}
	}
	return ""
}

// steps notes what a turn's journal says. Waits and actions have been noted when the run got there, unless they failed.
func (w *walker) steps(records []crm.StepRecord) {
	for i := range records {
		rec := &records[i]
		at, ok := w.def.Node(rec.Path)
		if !ok {
			continue
		}
		n := &w.def.Nodes[at]
		failed := rec.Status == store.StepFailed
		if n.Kind == workflow.Wait && !failed {
			journaled(&w.env, rec)
			continue
		}
		step := SimStep{Step: n.ID, Kind: n.Kind.String(), At: w.env.Now, Action: n.Action, Output: rec.Output, Decided: rec.Message}
		if failed {
			step.Decided, step.Problem = "", rec.Message
			step.Parts = n.With.Explain(w.env)
		}
		step.Parts = append(step.Parts, w.asked(n, failed)...)
		if last := len(step.Parts) - 1; failed && last >= 0 && step.Parts[last].Result == "unknown" {
			w.s.Depends, step.Problem = step.Parts[last].Error, ""
		}
		w.s.Path = append(w.s.Path, step)
		journaled(&w.env, rec)
		if w.s.Depends != "" {
			return
		}
	}
}

// asked explains the conditions of a branch up to the one that decided, or the instant that a wait could not be given.
func (w *walker) asked(n *workflow.Node, failed bool) (all []triggers.Part) {
	if n.Until != nil && failed {
		return n.Until.Explain(w.env)
	}
	for _, arm := range n.Arms {
		if arm.If == nil {
			break
		}
		parts := arm.If.Explain(w.env)
		all = append(all, parts...)
		if triggers.Held(parts) {
			break
		}
		i := slices.IndexFunc(parts, func(p triggers.Part) bool { return p.Result == "error" || p.Result == "unknown" })
		if i >= 0 { // the branch ends there
			return all[:len(all)-len(parts)+i+1]
		}
	}
	return all
}
