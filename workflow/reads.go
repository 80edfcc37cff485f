package workflow

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

// Reads gives the facts that the value's templates read.
func (v *Value) Reads() []crm.Fact {
	if v == nil {
		return nil
	}
	var facts []crm.Fact
	if v.text != nil {
		facts = v.text.Reads()
	}
	for _, item := range v.list {
		facts = append(facts, item.Reads()...)
	}
	for _, p := range v.pairs {
		facts = append(facts, p.val.Reads()...)
	}
	return facts
}

func (v *Value) uses(name string) bool {
	if v == nil {
		return false
	}
	return v.text != nil && v.text.Uses(name) ||
		slices.ContainsFunc(v.list, func(item *Value) bool { return item.uses(name) }) ||
		slices.ContainsFunc(v.pairs, func(p pair) bool { return p.val.uses(name) })
}

// Uses says whether a step of the workflow names something, steps say, so that a caller may spare
// itself reading it.
func (w *Workflow) Uses(name string) bool {
	return slices.ContainsFunc(w.Nodes, func(n Node) bool {
		return n.With.uses(name) || n.Until != nil && n.Until.Uses(name) || n.ExitReason != nil && n.ExitReason.Uses(name) ||
			slices.ContainsFunc(n.Arms, func(a Arm) bool { return a.If != nil && a.If.Uses(name) })
	})
}

// Paths gives what the value reads of its run, as triggers.Template.Paths does;
// with keys only what is under them.
func (v *Value) Paths(keys []string) (all []string) {
	for v != nil && len(keys) > 0 && len(v.pairs) > 0 {
		at := slices.IndexFunc(v.pairs, func(p pair) bool { return p.key == keys[0] })
		if at < 0 {
			return nil
		}
		v, keys = v.pairs[at].val, keys[1:]
	}
	for _, t := range v.templates() {
		all = append(all, t.Paths()...)
	}
	return all
}

// Explain tells of the expressions below the value that give nothing why, and what they read: values of the contact.
func (v *Value) Explain(env triggers.Env) (all []triggers.Part) {
	for _, t := range v.templates() {
		all = append(all, t.Explain(env)...)
	}
	return all
}
