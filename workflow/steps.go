package workflow

import (
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

// stepScope is what expressions in steps see. A live contact's tombstone has only zero values.
const stepScope = triggers.ScopeContact | triggers.ScopeTombstone | triggers.ScopeRun

// step is a step as the file nests it.
type step struct {
	node    Node
	arms    [][]step // of a branch: node.Arms' steps
	caught  bool     // it has an on_error
	handler []step   // the steps of it; none: it goes on
}

// size counts the nodes that a step becomes.
func (s step) size() int {
	n := 1
	for _, arm := range s.arms {
		for _, t := range arm {
			n += t.size()
		}
	}
	for _, t := range s.handler {
		n += t.size()
	}
	return n
}

// flatten appends the nodes of steps in the order of the file; after is the index of what follows the
// last of them. An arm's last step goes on where its branch goes on.
func flatten(nodes []Node, steps []step, after int) []Node {
	for i, s := range steps {
		at, next := len(nodes), len(nodes)+s.size()
		if i == len(steps)-1 {
			next = after
		}
		nodes = append(nodes, s.node)
		nodes[at].Next = next
		if s.node.Kind == Exit {
			nodes[at].Next = -1
		}
		for j, arm := range s.arms {
			nodes[at].Arms[j].First = next
			if len(arm) > 0 {
				nodes[at].Arms[j].First = len(nodes)
			}
			nodes = flatten(nodes, arm, next)
		}
		if s.caught {
			to := next
			if len(s.handler) > 0 {
				to = len(nodes)
			}
			if nodes[at].OnError = to + 1; to < 0 {
				nodes[at].OnError = -1
			}
			nodes = flatten(nodes, s.handler, next)
		}
	}
	return nodes
}

// stepReader reads steps. Visible are the steps that may have run when a step does: those before it,
// but not those in other arms of the branch that it is in.
type stepReader struct {
	*reader
	lines   map[string]int // id to line, of the whole file
	visible []string
	failing bool            // these steps are for a failure: they see error.*
	starts  []crm.EventKind // what may start a run; "" is a schedule
}

func (r *stepReader) steps(e entry) []step {
	var out []step
	for _, n := range r.list(e) {
		if s, ok := r.step(n); ok {
			out = append(out, s)
		}
	}
	return out
}

var stepKeys = keys{"id": "", "action": "", "with": "", "wait": "", "branch": "", "exit": "",
	"set": "", "for_each": later, "parallel": later, "call": later, "timeout": "", "retry": "", "on_error": "",
	"if": "put the step into a branch: its arms have an if"}

var stepKinds = []string{"action", "wait", "branch", "set", "exit"}

func (r *stepReader) step(n *yaml.Node) (step, bool) {
	got := r.fields(n, "a step", stepKeys)
	if got == nil {
		return step{}, false
	}
	at := r.span(n)
	s := step{node: Node{Line: at.line, Column: at.column, at: at}}
	r.need(n, "a step", got, "id")
	if e, ok := got["id"]; ok {
		s.node.ID = r.ownID(e, r.lines, "step", "give each step of the file its own id, also in other branches")
	}
	var kinds []entry
	for _, k := range stepKinds {
		if e, ok := got[k]; ok {
			kinds = append(kinds, e)
		}
	}
	r.oneKind(n, at, kinds)
	r.body(&s, got)
	if s.node.ID != "" {
		r.visible = append(r.visible, s.node.ID)
	}
	return s, true
}

// oneKind wants one of the keys that say what a step does; one that is not built yet or misspelt was
// reported.
func (r *stepReader) oneKind(n *yaml.Node, at span, kinds []entry) {
	reported := slices.ContainsFunc([]string{"for_each", "parallel", "call"}, func(k string) bool { return r.hasKey(n, k) }) ||
		slices.ContainsFunc(r.typos[n], func(k string) bool { return slices.Contains(stepKinds, k) })
	switch {
	case len(kinds) == 0 && !reported:
		r.fail(codeOneOf, at, "add one of action, wait, branch, set and exit", "the step does nothing")
	case len(kinds) > 1:
		slices.SortFunc(kinds, func(a, b entry) int { return a.key.Line<<20 + a.key.Column - b.key.Line<<20 - b.key.Column })
		r.fail(codeOneOf, r.span(kinds[1].key), "make a step of its own of it", "a step that has %s cannot have %s",
			kinds[0].key.Value, kinds[1].key.Value)
	}
}

// body reads what a step does.
func (r *stepReader) body(s *step, got map[string]entry) {
	if e, ok := got["wait"]; ok {
		s.node.Kind = Wait
		if e.val.Kind == yaml.MappingNode {
			r.wait(&s.node, e)
		} else {
			s.node.Wait = r.duration(e)
		}
	}
	if e, ok := got["exit"]; ok {
		s.node.Kind = Exit
		r.exit(&s.node, e)
	}
	if e, ok := got["action"]; ok {
		s.node.Kind = Action
		if name, ok := r.text(e); ok {
			s.node.Action, s.node.at = name, r.span(e.val)
		}
	}
	if e, ok := got["with"]; ok {
		switch _, is := got["action"]; {
		case !is:
			r.fail(codeKey, r.span(e.key), "remove it, or add the action that it is for", "with goes with an action")
		case e.val.Kind != yaml.MappingNode:
			r.fields(e.val, "with", nil)
		default:
			s.node.With = r.value(e.val)
		}
	}
	if e, ok := got["branch"]; ok {
		s.node.Kind = Branch
		r.branch(s, e)
	}
	if e, ok := got["set"]; ok {
		s.node.Kind = Set
		r.set(&s.node, e)
	}
	for _, k := range []string{"retry", "on_error", "timeout"} {
		if e, ok := got[k]; ok && s.node.Kind != Action {
			r.fail(codeKey, r.span(e.key), "only an action fails and is tried again", "%s goes with an action", k)
		}
	}
	if e, ok := got["retry"]; ok {
		r.retry(&s.node.Retry, e)
	}
	if e, ok := got["timeout"]; ok {
		if s.node.Limit = r.positive(e); s.node.Limit > crm.Hour || s.node.Limit != 0 && s.node.Limit < crm.Second/10 {
			r.fail(codeDuration, r.span(e.val), "from 100ms to 1h: it is how long one attempt may take", "timeout cannot be %s", e.val.Value)
		}
	}
	if e, ok := got["on_error"]; ok {
		r.onError(s, e)
	}
}

// retry reads how often a step is tried.
func (r *stepReader) retry(n *Retry, e entry) {
	got := r.fields(e.val, "retry", keys{"attempts": "", "first": "", "most": "", "on": ""})
	if a, ok := got["attempts"]; ok {
		n.Attempts = uint32(r.whole(a, 1, 100))
	}
	if d, ok := got["first"]; ok {
		if n.First = r.positive(d); n.First > crm.Day {
			r.fail(codeDuration, r.span(d.val), "at most 1d", "first cannot be %s", d.val.Value)
		}
	}
	if d, ok := got["most"]; ok {
		if n.Most = r.positive(d); n.Most > crm.Day || n.Most < n.First {
			r.fail(codeDuration, r.span(d.val), "at most 1d, and not shorter than first", "most cannot be %s", d.val.Value)
		}
	}
	if on, ok := got["on"]; ok {
		for _, item := range r.list(on) {
			if code := (entry{on.key, item}); r.scalar(code) {
				n.On = append(n.On, item.Value)
			}
		}
	}
}

// onError reads what becomes of a run whose step fails: fail, continue, or steps that it goes through first.
func (r *stepReader) onError(s *step, e entry) {
	if e.val.Kind == yaml.ScalarNode {
		s.caught = r.oneOf(e, "fail", "continue") == "continue"
		return
	}
	if e.val.Kind == yaml.SequenceNode && len(e.val.Content) == 0 {
		r.fail(codeMissing, r.span(e.key), "add a step, or write on_error: continue", "on_error needs at least one step")
	}
	before := r.visible
	was := r.failing
	r.failing = true
	s.caught, s.handler = true, r.steps(e)
	r.failing = was
	r.visible = append(slices.Clip(before), r.visible[len(before):]...)
}

func (r *stepReader) exit(n *Node, e entry) {
	got := r.fields(e.val, "exit", keys{"status": "", "reason": ""})
	if got == nil {
		return
	}
	r.need(e.val, "exit", got, "status")
	if st, ok := got["status"]; ok {
		n.ExitStatus = r.oneOf(st, "completed", "skipped", "failed")
	}
	if why, ok := got["reason"]; ok && r.scalar(why) {
		n.ExitReason = r.template(why.val)
	}
}

func (r *stepReader) branch(s *step, e entry) {
	arms := r.list(e)
	if len(arms) == 0 && e.val.Kind == yaml.SequenceNode {
		r.fail(codeMissing, r.span(e.key), "add one: - {if: 'true', steps: []}", "a branch needs at least one arm")
	}
	before := r.visible
	after := before
	otherwise := 0 // the line of the else
	for _, n := range arms {
		r.visible = slices.Clip(before)
		got := r.fields(n, "an arm of a branch", keys{"if": "", "else": "", "steps": ""})
		if got == nil {
			continue
		}
		if otherwise > 0 {
			r.fail(codeElse, r.span(n), "put it before the else", "no run gets here: the else on line %d takes all", otherwise)
		}
		s.node.Arms = append(s.node.Arms, Arm{If: r.condition(n, got)})
		if els, ok := got["else"]; ok {
			otherwise = els.key.Line
		}
		r.need(n, "an arm of a branch", got, "steps")
		s.arms = append(s.arms, r.steps(got["steps"]))
		after = append(slices.Clip(after), r.visible[len(before):]...)
	}
	r.visible = after
}

// condition reads an arm's if; nil for an else.
func (r *stepReader) condition(n *yaml.Node, got map[string]entry) *triggers.Expr {
	cond, hasIf := got["if"]
	els, hasElse := got["else"]
	switch {
	case hasIf && hasElse:
		r.fail(codeOneOf, r.span(els.key), "make two arms of it", "an arm has either if or else")
	case hasElse && r.scalar(els) && (els.val.Value != "true" || els.val.Tag != "!!bool"):
		r.fail(codeElse, r.span(els.val), "write else: true, and the steps under steps:", "else must be true")
	case hasIf && r.scalar(cond):
		e, err := triggers.CompileExpr(r.stepSource(cond.val), triggers.Bool)
		r.takeStep(err, cond.val)
		return e
	case !hasIf && !hasElse:
		r.fail(codeOneOf, r.span(n), "add if: with a condition, or else: true", "an arm needs if or else")
	}
	return nil
}

func (r *stepReader) stepSource(n *yaml.Node) triggers.Source {
	scope := stepScope
	if r.failing {
		scope |= triggers.ScopeError
	}
	if len(r.starts) > 0 {
		scope |= triggers.ScopeStart
	}
	src := r.source(n, scope)
	src.Steps, src.Starts = slices.Clip(r.visible), r.starts
	return src
}

func (r *stepReader) template(n *yaml.Node) *triggers.Template {
	t, err := triggers.CompileTemplate(r.stepSource(n))
	r.takeStep(err, n)
	return t
}

const eventHint = "no event starts a run of this workflow"

// takeStep is take with a word on event.*, which people expect here.
func (r *stepReader) takeStep(err error, n *yaml.Node) {
	for _, d := range triggers.Findings(err) {
		if len(r.starts) == 0 && strings.HasPrefix(r.from(d.Line, d.Column), "event") {
			d.Hint = eventHint
		}
	}
	r.take(err, r.span(n))
}

// Needs gives the verbs that an admin must grant the workflow before its actions may have their
// effects, sorted. Effects that need no grant and unknown actions are left out.
func (w *Workflow) Needs(cat Catalogue) []crm.Verb {
	var need []crm.Verb
	for _, n := range w.Nodes {
		for _, e := range cat[n.Action].Effects {
			switch v := crm.Verb(e); v {
			case crm.VerbDelete, crm.VerbRestore, crm.VerbPurge:
				need = append(need, v)
			}
		}
	}
	slices.Sort(need)
	return slices.Compact(need)
}
