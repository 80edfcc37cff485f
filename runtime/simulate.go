package runtime

import (
	"encoding/json"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// Simulation is what a workflow would do for a contact if it were asked now. Nothing of it has happened. It holds
// values of the contact.
type Simulation struct {
	Workflow string        `json:"workflow"`
	Revision string        `json:"revision"`
	Starts   bool          `json:"starts"` // one of the triggers says so
	Triggers []Verdict     `json:"triggers"`
	Path     []SimStep     `json:"path"`             // what a run would do that began now, whether or not one would
	Status   crm.RunStatus `json:"status,omitempty"` // missing: it was not followed to its end
	Reason   string        `json:"reason,omitempty"`
	Depends  string        `json:"depends,omitempty"` // what nobody knows yet: the path ends where it matters
	Notes    []string      `json:"notes,omitempty"`
}

// SimStep is a step on the path.
type SimStep struct {
	Step    string          `json:"step"`
	Kind    string          `json:"kind"`
	At      crm.Nanos       `json:"at"`           // when the run gets there
	Due     crm.Nanos       `json:"due,omitzero"` // of a wait: until when
	Action  string          `json:"action,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`  // of a set: the values; ‹ › is around the names of those that nobody knows yet
	Assumed string          `json:"assumed,omitempty"` // of a wait for an event, and of an action that was answered for
	Decided string          `json:"decided,omitempty"` // of a branch or an exit
	Parts   []triggers.Part `json:"parts,omitempty"`   // the condition of each arm that was asked, or what a failed step read
	Problem string          `json:"problem,omitempty"`
}

// maxSimulated is how many turns a simulated run takes at most.
const maxSimulated = 2000

// Question is what a simulation is about.
type Question struct {
	Contact crm.Key
	Event   *crm.Event // that has not happened; nil: only schedules are asked
	// Answers say by step what a wait for an event or an action comes to: "event", "timeout", "done", "skip", "fail",
	// or a JSON object with what the event says, or JSON that is the action's output.
	Answers map[string]string
}

// Simulate asks a workflow, applied or not, about a contact: its schedules about the contact as it is, and its other
// triggers about an event, if there is one. Actions are assumed to be done, without effect and with an output that
// nobody knows; a wait for an event that has a timeout to hear nothing, and one that has none to hear it at once.
func (e *Engine) Simulate(tx *store.Tx, def *workflow.Workflow, q Question) (*Simulation, error) {
	a, err := e.ask(tx, q.Contact)
	if err != nil {
		return nil, err
	}
	ev := q.Event
	if ev != nil && ev.After != nil {
		a.c = ev.After
	}
	w := &walker{s: &Simulation{Workflow: def.ID, Revision: def.Short(), Triggers: []Verdict{}, Path: []SimStep{}}, a: a, def: def}
	if w.supposed, err = suppose(def, q.Answers); err != nil {
		return nil, err
	}
	var by *workflow.Trigger
	for i := range def.Triggers {
		t := &def.Triggers[i]
		v := verdict(def, t)
		switch {
		case t.Event == nil:
			v, err = a.schedule(def, t)
		case ev == nil:
			v.Answer, v.Condition = AnsweredNoEvent, t.Event.Condition()
		default:
			v, err = a.event(def, t, ev)
		}
		if err != nil {
			return nil, err
		}
		if v.Answer == AnsweredYes && (by == nil || by.Event == nil && t.Event != nil) { // the event was asked for, if there is one
			by = t
		}
		w.s.Triggers = append(w.s.Triggers, v)
	}
	w.s.Starts = by != nil
	if len(def.Nodes) == 0 {
		return w.s, nil
	}
	return w.s, w.walk(by, ev)
}
