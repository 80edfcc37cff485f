package runtime

import (
	"encoding/json"
	"fmt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// Simulation is what a workflow would do for a contact if it were asked now. Nothing of it has happened.
type Simulation struct {
	Workflow string        `json:"workflow"`
	Revision string        `json:"revision"`
	Starts   bool          `json:"starts"` // one of the triggers says so
	Triggers []Verdict     `json:"triggers"`
	Path     []SimStep     `json:"path"` // what a run would do that began now, whether or not one would
	Status   crm.RunStatus `json:"status"`
	Reason   string        `json:"reason,omitempty"`
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
	Decided string          `json:"decided,omitempty"` // of a branch or an exit
	Parts   []triggers.Part `json:"parts,omitempty"`   // of a branch: the condition of each arm that was asked
	Problem string          `json:"problem,omitempty"`
}

// maxSimulated is how many turns a simulated run takes at most.
const maxSimulated = 2000

// Simulate asks a workflow, applied or not, about a contact: its schedules about the contact as it is, and
// its other triggers about an event, if there is one. Actions are assumed to be done, with no output and
// no effect.
func (e *Engine) Simulate(tx *store.Tx, def *workflow.Workflow, k crm.Key, ev *crm.Event) (*Simulation, error) {
	a, err := e.ask(tx, k)
	if err != nil {
		return nil, err
	}
	if ev != nil && ev.After != nil {
		a.c = ev.After
	}
	s := &Simulation{Workflow: def.ID, Revision: def.Short(), Triggers: []Verdict{}, Path: []SimStep{}}
	by := ""
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
		if v.Answer == AnsweredYes && by == "" {
			by, s.Starts = t.ID, true
		}
		s.Triggers = append(s.Triggers, v)
	}
	if len(def.Nodes) == 0 {
		return s, nil
	}
	s.walk(a, def, by)
	return s, nil
}

// walk goes the way of a run that begins now, by Advance, the same code that runs it.
func (s *Simulation) walk(a *asker, def *workflow.Workflow, trigger string) {
	now := a.tx.Now()
	run := crm.Run{Account: a.c.Account, Contact: a.c.ID, Workflow: def.ID, Revision: def.Revision, Trigger: trigger, Epoch: a.life.Epoch,
		Began: a.life.Epoch, Status: crm.RunActive, Step: def.Nodes[0].ID, Due: now, Token: 1, StartedAt: now}
	env := triggers.Env{Contact: a.c, Life: a.life, Tombstone: a.tomb, ListName: a.names, Steps: map[string]triggers.StepInfo{},
		Run: triggers.RunInfo{Workflow: def.ID, Trigger: trigger, StartedAt: now}}
	for range maxSimulated {
		env.Now = now
		turn := Advance(def, run, Input{Env: env}, now)
		s.steps(def, turn.Steps, env)
		if c := turn.Call; c != nil {
			s.Path = append(s.Path, SimStep{Step: c.Step, Kind: workflow.Action.String(), At: now, Action: c.Action, Params: c.Params})
			turn = Advance(def, turn.Run, Input{Env: env, Outcome: &plugins.Outcome{Status: plugins.Done}}, now)
			env.Steps[c.Step] = triggers.StepInfo{Status: store.StepDone}
		}
		run = turn.Run
		if run.Status.Finished() {
			s.Status, s.Reason = run.Status, run.Reason
			return
		}
		if run.Status == crm.RunWaiting {
			s.Path = append(s.Path, SimStep{Step: run.Step, Kind: workflow.Wait.String(), At: now, Due: run.Due})
		}
		now = max(now, run.Due)
	}
	s.Status = run.Status
	s.Notes = append(s.Notes, fmt.Sprintf("it was not followed further than %d turns", maxSimulated))
}

// steps notes what a turn's journal says. Waits and actions have been noted when the run got there.
func (s *Simulation) steps(def *workflow.Workflow, records []crm.StepRecord, env triggers.Env) {
	for _, rec := range records {
		at, ok := def.Node(rec.Path)
		if !ok {
			continue
		}
		n := &def.Nodes[at]
		if n.Kind == workflow.Wait {
			continue
		}
		step := SimStep{Step: n.ID, Kind: n.Kind.String(), At: env.Now, Action: rec.Action, Decided: rec.Message}
		if rec.Status == store.StepFailed {
			step.Decided, step.Problem = "", rec.Message
		}
		for _, arm := range n.Arms {
			if arm.If == nil {
				break
			}
			parts := arm.If.Explain(env)
			if step.Parts = append(step.Parts, parts...); triggers.Held(parts) {
				break
			}
		}
		s.Path = append(s.Path, step)
		env.Steps[n.ID] = triggers.StepInfo{Status: rec.Status}
	}
}
