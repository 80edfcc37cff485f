package runtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// Input is what Advance decides on: a snapshot, and, once an action was executed, its outcome.
type Input struct {
	Env     triggers.Env
	Outcome *plugins.Outcome // nil: the run's timer was due
	Plugin  string           // with Outcome: name@version of what gave it
	Heard   *crm.Event       // the event that the step waits for; nil: the run's timer was due
}

// Turn is what a run comes to: its next header and what is to be committed with it. When Call is
// set the turn is not over: the action has to be executed first and Advance called again with its
// outcome.
type Turn struct {
	Run     crm.Run
	Call    *Call
	Steps   []crm.StepRecord
	Effects []plugins.Effect
	Reads   []crm.Fact // what the decisions of the turn read
}

// Call is an action to be executed.
type Call struct {
	Node   int
	Step   string
	Action string
	Params []byte // JSON
}

// Retries of an action that asks for another try, or whose plugin could not be reached.
const (
	maxAttempts = 10
	firstRetry  = crm.Second
	maxRetry    = 5 * crm.Minute
	maxAfter    = crm.Day  // what an action may ask for
	maxSet      = 16 << 10 // bytes of what a set step makes
	maxTurn     = 1000     // steps in one turn; a workflow has no loops, so no file of 256 KiB reaches it
)

// Advance says what becomes of a run. It is pure: no input or output, no clock, the same answer for
// the same arguments. The same code serves every store and every test.
func Advance(def *workflow.Workflow, run crm.Run, in Input, now crm.Nanos) Turn {
	run.Reason, run.Listening = "", false
	until := crm.Nanos(0)
	if def.Timeout > 0 {
		until = max(run.StartedAt, run.Retried) + def.Timeout
	}
	if until != 0 && now >= until && in.Outcome == nil && in.Heard == nil { // what an action has come to is not thrown away
		run.Status, run.Reason, run.Due, run.EndedAt = crm.RunCancelled, crm.ReasonTimeout, 0, now
		return Turn{Run: run}
	}
	t := advance(def, run, in, now)
	if until != 0 && !t.Run.Status.Finished() {
		if t.Run.Due == 0 || t.Run.Due > until {
			t.Run.Due = until
		}
	}
	return t
}

// advance is Advance for a run that has time.
func advance(def *workflow.Workflow, run crm.Run, in Input, now crm.Nanos) Turn {
	t := &turn{Turn: Turn{Run: run}, def: def, in: in, now: now}
	at, ok := def.Node(run.Step)
	if !ok {
		t.fail(fmt.Sprintf("the revision has no step %q", run.Step))
		return t.Turn
	}
	if in.Outcome != nil {
		t.outcome(at, *in.Outcome)
		return t.Turn
	}
	if in.Heard != nil {
		n := &def.Nodes[at]
		t.journal(n, crm.StepRecord{Status: store.StepDone, Output: t.heard()})
		t.goTo(n.Next)
		return t.Turn
	}
	for range maxTurn {
		if at < 0 {
			t.finish(crm.RunCompleted, "")
			return t.Turn
		}
		next, more := t.step(at)
		if !more {
			return t.Turn
		}
		at = next
	}
	t.fail("it goes round in circles")
	return t.Turn
}

type turn struct {
	Turn
	def *workflow.Workflow
	in  Input
	now crm.Nanos
}

// step goes through one node; more is false when the turn ends there.
func (t *turn) step(at int) (next int, more bool) {
	n := &t.def.Nodes[at]
	arrived := t.Run.Step != n.ID || t.Run.Status != crm.RunWaiting
	switch n.Kind {
	case workflow.Wait:
		if arrived {
			due, ok := t.until(n)
			if !ok {
				return 0, false
			}
			t.Run.Step, t.Run.Status, t.Run.Due, t.Run.Listening = n.ID, crm.RunWaiting, due, n.Hears != nil
			if !t.Run.Listening {
				t.Run.Since = 0
			}
			return 0, false
		}
		t.Run.Status = crm.RunActive
		rec := crm.StepRecord{Status: store.StepDone}
		if n.Hears != nil {
			rec.Output = t.heard()
		}
		t.journal(n, rec)
		return n.Next, true
	case workflow.Set:
		return t.set(n)
	case workflow.Branch:
		return t.branch(n)
	case workflow.Exit:
		t.exit(n)
		return 0, false
	}
	t.call(at, n)
	return 0, false
}

// until gives the instant at which a wait ends; one that has passed is now. An expression that gives none
// fails the step.
func (t *turn) until(n *workflow.Node) (crm.Nanos, bool) {
	switch {
	case n.Window != nil:
		if at := n.Window.Next(t.now); at != 0 {
			return at, true
		}
		t.Run.Step = n.ID
		t.journal(n, crm.StepRecord{Status: store.StepFailed, Code: "window", Message: "the window does not open within two weeks"})
		t.failAt(t.index(n), fmt.Sprintf("step %s: its window never opens", n.ID))
		return 0, false
	case n.Hears != nil && n.Wait == 0:
		return 0, true
	case n.Until == nil:
		return t.now + n.Wait, true
	}
	t.Reads = append(t.Reads, n.Until.Reads()...)
	v, err := n.Until.Eval(t.in.Env)
	if at, ok := v.(time.Time); ok && err == nil {
		return max(crm.At(at), t.now), true
	}
	message := "it gives no instant"
	if err != nil {
		message = err.Error()
	}
	t.Run.Step = n.ID
	t.journal(n, crm.StepRecord{Status: store.StepFailed, Code: "expression", Message: message})
	t.failAt(t.index(n), fmt.Sprintf("step %s: it cannot be decided until when it waits", n.ID))
	return 0, false
}

// heard is the output of a wait for an event: whether it came, and what it said.
func (t *turn) heard() []byte {
	out := map[string]any{}
	if t.in.Heard != nil {
		out = triggers.Started(t.in.Heard)
	}
	out["event"] = t.in.Heard != nil
	b, err := json.Marshal(out)
	if err != nil { // it was made of what JSON knows
		return []byte(`{"event": true}`)
	}
	return b
}

// set makes values for later steps, those of the same turn too.
func (t *turn) set(n *workflow.Node) (int, bool) {
	t.Reads = append(t.Reads, n.With.Reads()...)
	v, err := n.With.Eval(t.in.Env)
	var out []byte
	if err == nil {
		if out, err = json.Marshal(v); err == nil && len(out) > maxSet {
			err = crm.Errorf("evaluate set", crm.CodeInvalid, "the values are longer than %d KiB", maxSet>>10)
		}
	}
	if err != nil {
		t.Run.Step = n.ID
		t.journal(n, crm.StepRecord{Status: store.StepFailed, Code: "expression", Message: err.Error()})
		t.failAt(t.index(n), fmt.Sprintf("step %s: its values cannot be made", n.ID))
		return 0, false
	}
	t.journal(n, crm.StepRecord{Status: store.StepDone, Output: out})
	return n.Next, true
}

func (t *turn) branch(n *workflow.Node) (int, bool) {
	for i, arm := range n.Arms {
		yes := arm.If == nil
		if !yes {
			t.Reads = append(t.Reads, arm.If.Reads()...)
			var err error
			if yes, err = arm.If.Bool(t.in.Env); err != nil {
				t.Run.Step = n.ID
				t.journal(n, crm.StepRecord{Status: store.StepFailed, Code: "expression", Message: err.Error()})
				t.failAt(t.index(n), fmt.Sprintf("step %s: its condition cannot be decided", n.ID))
				return 0, false
			}
		}
		if yes {
			t.journal(n, crm.StepRecord{Status: store.StepDone, Message: fmt.Sprintf("arm %d", i+1)})
			return arm.First, true
		}
	}
	t.journal(n, crm.StepRecord{Status: store.StepDone, Message: "no arm"})
	return n.Next, true
}

func (t *turn) index(n *workflow.Node) int {
	at, _ := t.def.Node(n.ID)
	return at
}

func (t *turn) exit(n *workflow.Node) {
	t.Run.Step = n.ID
	reason := ""
	if n.ExitReason != nil {
		t.Reads = append(t.Reads, n.ExitReason.Reads()...)
		if v, err := n.ExitReason.Eval(t.in.Env); err == nil {
			reason = fmt.Sprint(v)
		}
	}
	status := crm.RunCompleted
	switch n.ExitStatus {
	case "skipped":
		status = crm.RunExited
	case "failed":
		status = crm.RunFailed
	}
	// The reason may name the contact: it stays in the journal, which is sealed, not on the run.
	t.journal(n, crm.StepRecord{Status: store.StepDone, Message: reason})
	t.finish(status, "")
}

func (t *turn) call(at int, n *workflow.Node) {
	if t.Run.Step != n.ID || t.Run.Attempt == 0 {
		t.Run.Attempt = 1
	}
	t.Run.Step, t.Run.Status = n.ID, crm.RunActive
	params := []byte("{}")
	if n.With != nil {
		t.Reads = append(t.Reads, n.With.Reads()...)
		v, err := n.With.Eval(t.in.Env)
		if err == nil {
			params, err = json.Marshal(v)
		}
		if err != nil {
			t.journal(n, crm.StepRecord{Action: n.Action, Status: store.StepFailed, Code: "expression", Message: err.Error()})
			t.failAt(at, fmt.Sprintf("step %s: its parameters cannot be made", n.ID))
			return
		}
	}
	t.Call = &Call{Node: at, Step: n.ID, Action: n.Action, Params: params}
}

// outcome takes in what an action came to. The turn ends with it: what comes after has to see the
// contact as the effects leave it.
func (t *turn) outcome(at int, o plugins.Outcome) {
	n := &t.def.Nodes[at]
	rec := crm.StepRecord{Action: n.Action, Attempt: t.Run.Attempt, Plugin: t.in.Plugin, Code: o.Code, Message: o.Message}
	switch o.Status {
	case plugins.Done:
		rec.Status, rec.Output = store.StepDone, o.Output
		t.Effects = o.Effects
	case plugins.Skip:
		rec.Status = store.StepSkipped
	case plugins.Retry:
		if rec.Status = store.StepRetry; t.again(n, o) {
			t.journal(n, rec)
			return
		}
		rec.Status, rec.Message = store.StepFailed, fmt.Sprintf("after %d attempts: %s", t.Run.Attempt, o.Message)
		if rec.Code == "" {
			rec.Code = crm.CodeUnavailable
		}
	case plugins.Fail:
		if rec.Status = store.StepRetry; slices.Contains(n.Retry.On, o.Code) && t.again(n, o) {
			t.journal(n, rec)
			return
		}
		rec.Status = store.StepFailed
	default:
		rec.Status, rec.Code = store.StepUnknown, crm.CodeUnknown
	}
	t.journal(n, rec)
	t.Run.Attempt = 0
	if rec.Status == store.StepFailed || rec.Status == store.StepUnknown {
		t.failAt(at, fmt.Sprintf("step %s: %s", n.ID, rec.Code))
		return
	}
	t.goTo(n.Next)
}

// goTo has the run go on at a node with its next turn, or end.
func (t *turn) goTo(node int) {
	if node < 0 {
		t.finish(crm.RunCompleted, "")
		return
	}
	t.Run.Step, t.Run.Status, t.Run.Due = t.def.Nodes[node].ID, crm.RunActive, t.now
}

// failAt fails a step: the run goes on as its on_error says, or fails. Then it goes through the workflow's on_error first, if it has one and is not in it
// already. What it fails for is kept meanwhile: those are words of the engine.
func (t *turn) failAt(at int, reason string) {
	if to, caught := t.def.Nodes[at].Caught(); caught {
		t.goTo(to)
		return
	}
	if h := t.def.Handler; h > 0 && at < h && len(t.Run.State) == 0 {
		t.Run.State = []byte(reason)
		t.goTo(h)
		return
	}
	t.fail(reason)
}

// again has a step tried once more, if it may be.
func (t *turn) again(n *workflow.Node, o plugins.Outcome) bool {
	attempts, first, most := n.Retry.Attempts, n.Retry.First, n.Retry.Most
	if attempts == 0 {
		attempts = maxAttempts
	}
	if first == 0 {
		first = firstRetry
	}
	if most == 0 {
		most = max(maxRetry, first)
	}
	if t.Run.Attempt >= attempts {
		return false
	}
	rest := first
	for i := uint32(1); i < t.Run.Attempt && rest < most; i++ {
		rest *= 2
	}
	rest = min(rest, most)
	t.Run.Due = t.now + min(max(o.After, rest), maxAfter)
	t.Run.Attempt++
	return true
}

func (t *turn) journal(n *workflow.Node, r crm.StepRecord) {
	r.Run, r.Account, r.Contact, r.Path, r.At, r.Iteration = t.Run.ID, t.Run.Account, t.Run.Contact, n.ID, t.now, t.Run.Iteration
	if (r.Status == store.StepFailed || r.Status == store.StepUnknown) && len(t.Run.State) == 0 {
		t.Run.Code = r.Code // of what it fails for, if it does; not of what fails in its on_error
	}
	t.Steps = append(t.Steps, r)
	if t.in.Env.Steps != nil { // later steps of the turn see it
		steps := maps.Clone(t.in.Env.Steps)
		steps[n.ID] = stepInfo(&r)
		t.in.Env.Steps = steps
	}
}

// journaled has the expressions of later turns see a line of the journal.
func journaled(env *triggers.Env, r *crm.StepRecord) {
	env.Steps[r.Path] = stepInfo(r)
	if r.Status == store.StepFailed || r.Status == store.StepUnknown {
		env.Error = triggers.ErrorInfo{Step: r.Path, Code: r.Code, Message: r.Message}
	}
}

// stepInfo is what expressions see of a line of the journal.
func stepInfo(r *crm.StepRecord) triggers.StepInfo {
	info := triggers.StepInfo{Status: r.Status}
	if len(r.Output) > 0 {
		_ = json.Unmarshal(r.Output, &info.Output) // checked when it came; a condition on nothing says so
	}
	return info
}

func (t *turn) finish(s crm.RunStatus, reason string) {
	if len(t.Run.State) > 0 { // a run that went through on_error has failed all the same
		s, reason = crm.RunFailed, string(t.Run.State)
	}
	t.Run.Status, t.Run.Reason, t.Run.Due, t.Run.EndedAt = s, reason, 0, t.now
}

func (t *turn) fail(reason string) { t.finish(crm.RunFailed, reason) }
