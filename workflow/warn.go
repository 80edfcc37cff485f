package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

// warnings looks for what can be run and was hardly meant.
func (r *reader) warnings(w *Workflow, cat Catalogue) {
	r.warnConditions(w)
	r.warnWaits(w)
	r.warnReads(w)
	for i := range w.Nodes {
		n := &w.Nodes[i]
		r.warnBraces(n)
		switch n.Kind {
		case Action:
			r.warnAction(n, cat[n.Action])
		case Branch:
			r.warnArms(n)
		}
	}
}

// keep takes a warning that package triggers made.
func (r *reader) keep(d *triggers.Diagnostic) {
	if d != nil {
		d.File = r.name
		r.place(d)
		r.found = append(r.found, d)
	}
}

const constantHint = "write what it is meant to ask, or delete it"

// warnConditions warns of conditions outside steps that are the same for every contact.
func (r *reader) warnConditions(w *Workflow) {
	say := func(what string, e *triggers.Expr, v *triggers.Verdict) {
		switch {
		case v == nil || v.Holds && v.Plain:
		case v.Holds:
			r.keep(e.Warn(v, warnConstant, fmt.Sprintf("%s always holds: %s", what, v.Why), constantHint))
		default:
			r.keep(e.Warn(v, warnConstant, fmt.Sprintf("%s never holds: %s", what, v.Why), constantHint))
		}
	}
	if w.Filter != nil {
		say("the filter", w.Filter, w.Filter.Verdict())
	}
	for i := range w.Triggers {
		t := &w.Triggers[i]
		e, v := t.Event.Verdict()
		say("the condition of "+t.ID, e, v)
		e, v = t.Where.Verdict()
		say("the condition of "+t.ID, e, v)
	}
	for i := range w.CancelOn {
		e, v := w.CancelOn[i].Event.Verdict()
		say("the condition", e, v)
	}
	for i := range w.Nodes {
		e, v := w.Nodes[i].Hears.Verdict()
		say("what "+w.Nodes[i].ID+" waits for", e, v)
	}
}

// warnArms warns of arms that no run takes.
func (r *reader) warnArms(n *Node) {
	seen := map[string]int{} // a condition's text to the arm that has it
	taken := 0               // the arm that takes every run, counted from 1
	for i, a := range n.Arms {
		if a.If == nil {
			if taken > 0 {
				r.warn(warnArm, n.at, "delete it, or the condition of that arm", "no run takes the else: arm %d always holds", taken)
			}
			return
		}
		v := a.If.Verdict()
		whole := &triggers.Verdict{}
		switch first := seen[a.If.Normal()]; {
		case taken > 0:
			r.keep(a.If.Warn(whole, warnArm, fmt.Sprintf("no run takes this arm: arm %d always holds", taken), "put it before that arm, or delete it"))
		case first > 0:
			r.keep(a.If.Warn(whole, warnArm, fmt.Sprintf("no run takes this arm: arm %d has the same condition", first), "delete it, or write the condition that was meant"))
		case v == nil:
		case !v.Holds:
			r.keep(a.If.Warn(v, warnConstant, "no run takes this arm: "+v.Why, constantHint))
		case !v.Plain:
			r.keep(a.If.Warn(v, warnConstant, "every run takes this arm: "+v.Why, "write else: true if that is meant"))
			fallthrough
		default:
			taken = i + 1
		}
		if seen[a.If.Normal()] == 0 {
			seen[a.If.Normal()] = i + 1
		}
	}
}

// warnAction warns of what an action's step says and does not get.
func (r *reader) warnAction(n *Node, info ActionInfo) {
	if slices.Contains(info.Effects, string(crm.VerbPurge)) {
		r.warn(warnPurge, n.at, "delete instead where you can: the sweep purges whoever is past the recovery window anyway", "%s purges: nothing brings back what it takes", n.ID)
	}
	if n.OnError == -1 {
		r.warn(warnContinue, n.at, "leave on_error out, and the run shows the failure",
			"no step follows %s, so on_error: continue only lets the run end as completed although it failed", n.ID)
	}
	retry := n.Retry
	switch asked := retry.Attempts > 1 || retry.First > 0 || retry.Most > 0 || len(retry.On) > 0; {
	case retry.Attempts == 1 && (retry.First > 0 || retry.Most > 0 || len(retry.On) > 0):
		r.warn(warnRetry, n.at, "leave the rest of retry out, or let it have more attempts", "%s has one attempt, so it is never tried again", n.ID)
	case asked && info.External && !info.Idempotent:
		r.warn(warnRetry, n.at, "an unknown outcome fails the step: catch it with on_error",
			"%s calls the outside world and is not idempotent, so it is tried again only if it asks for that itself", n.Action)
	}
}

// warnWaits warns of waits at whose end the run is over: every way there takes as long as it may.
func (r *reader) warnWaits(w *Workflow) {
	if w.Timeout == 0 || len(w.Nodes) == 0 {
		return
	}
	const never = crm.Nanos(1<<63 - 1)
	soonest := make([]crm.Nanos, len(w.Nodes)) // after the start of the run
	for i := range soonest[1:] {
		soonest[i+1] = never
	}
	for i := range w.Nodes { // links go forward only
		n := &w.Nodes[i]
		if soonest[i] >= w.Timeout {
			continue // not reached, or said already
		}
		end := soonest[i]
		if n.Kind == Wait && n.Hears == nil {
			end = min(end, never-n.Wait) + n.Wait
		}
		if end >= w.Timeout {
			r.warn(warnTimeout, n.at, "make run.timeout longer than all the waits of a run together",
				"no run gets through %s: by then run.timeout has ended it", n.ID)
		}
		for _, to := range w.after(i) {
			soonest[to] = min(soonest[to], end)
		}
	}
}

// after gives the nodes that can be next.
func (w *Workflow) after(i int) (next []int) {
	n := &w.Nodes[i]
	to := func(j int) {
		if j >= 0 {
			next = append(next, j)
		}
	}
	otherwise := false
	for _, a := range n.Arms {
		to(a.First)
		otherwise = otherwise || a.If == nil
	}
	if n.Kind != Exit && !otherwise {
		to(n.Next)
	}
	if j, caught := n.Caught(); caught {
		to(j)
	} else if w.Handler > i {
		to(w.Handler)
	}
	return next
}

// warnReads warns of steps.ID where that step is never over, or never has an output.
func (r *reader) warnReads(w *Workflow) {
	before := make([][]bool, len(w.Nodes))
	for i := range w.Nodes {
		if before[i] == nil {
			before[i] = make([]bool, len(w.Nodes))
		}
		for _, flat := range w.Nodes[i].reads() {
			r.warnRead(w, &w.Nodes[i], flat, before[i])
		}
		for _, to := range w.after(i) {
			if before[to] == nil {
				before[to] = make([]bool, len(w.Nodes))
			}
			before[to][i] = true
			for j, is := range before[i] {
				before[to][j] = before[to][j] || is
			}
		}
		before[i] = nil
	}
}

// warnRead looks at one name, steps.ID.output say, that a step reads. Before are the steps that can be over by then.
func (r *reader) warnRead(w *Workflow, n *Node, flat string, before []bool) {
	id, field, _ := strings.Cut(strings.TrimPrefix(flat, "steps."), ".")
	j, ok := w.index[id]
	if !ok {
		return
	}
	of := &w.Nodes[j]
	silent := of.Kind == Branch || of.Kind == Exit || of.Kind == Wait && of.Hears == nil
	switch {
	case !before[j]:
		r.keep(n.mentions(flat, warnRead, "no run that gets here has been through "+id, "read a step that every way here goes through"))
	case field == "output" && !silent && of.Kind != Action:
		r.warnOutput(n, of)
	case silent && field == "output":
		r.keep(n.mentions(flat, warnRead, fmt.Sprintf("a %s has no output, so it is always missing", of.Kind), "actions have one, set, and waits for an event"))
	}
}

// texts gives the expressions of a step that are no templates.
func (n *Node) texts() (all []*triggers.Expr) {
	if n.Until != nil {
		all = append(all, n.Until)
	}
	for _, a := range n.Arms {
		if a.If != nil {
			all = append(all, a.If)
		}
	}
	if e, _ := n.Hears.Verdict(); e != nil {
		all = append(all, e)
	}
	return all
}

// templates gives the texts below a value.
func (v *Value) templates() (all []*triggers.Template) {
	if v == nil {
		return nil
	}
	if v.text != nil {
		all = append(all, v.text)
	}
	for _, item := range v.list {
		all = append(all, item.templates()...)
	}
	for _, p := range v.pairs {
		all = append(all, p.val.templates()...)
	}
	return all
}

// reads gives what a step reads of others: steps.mail.output and so on.
func (n *Node) reads() (flats []string) {
	for _, e := range n.texts() {
		flats = append(flats, e.Under("steps")...)
	}
	if n.ExitReason != nil {
		flats = append(flats, n.ExitReason.Under("steps")...)
	}
	for _, t := range n.With.templates() {
		flats = append(flats, t.Under("steps")...)
	}
	slices.Sort(flats)
	return slices.Compact(flats)
}

func (n *Node) mentions(flat, code, message, hint string) *triggers.Diagnostic {
	for _, e := range n.texts() {
		if d := e.Mentions(flat, code, message, hint); d != nil {
			return d
		}
	}
	if n.ExitReason != nil {
		if d := n.ExitReason.Mentions(flat, code, message, hint); d != nil {
			return d
		}
	}
	for _, t := range n.With.templates() {
		if d := t.Mentions(flat, code, message, hint); d != nil {
			return d
		}
	}
	return nil
}

// Unset warns of the secrets of a workflow that cannot be read: the steps would wait for them. Why says so.
func Unset(w *Workflow, why func(name string) error) triggers.Diagnostics {
	r := &reader{file: w.file}
	for i := range w.Nodes {
		for _, s := range w.Nodes[i].Secrets() {
			if err := why(s.Name); err != nil {
				r.warn(warnSecret, s.at, "the operator sets it in actions.yaml, under secrets and the account's name", "the step would wait for the secret %s: %v", s.Name, err)
			}
		}
	}
	return sortFindings(r.found)
}

// Ungranted warns of the steps of a workflow whose actions need a verb that it has not been granted.
func Ungranted(w *Workflow, cat Catalogue, granted func(crm.Verb) bool) triggers.Diagnostics {
	r := &reader{file: w.file}
	for i := range w.Nodes {
		n := &w.Nodes[i]
		for _, e := range cat[n.Action].Effects {
			if v := crm.Verb(e); slices.Contains(w.Needs(cat), v) && !granted(v) {
				r.warn(warnGrant, n.at, "an admin gives it: reprieve workflow apply FILE --grant "+string(v), "%s has not been granted %s", w.ID, v)
			}
		}
	}
	return sortFindings(r.found)
}
