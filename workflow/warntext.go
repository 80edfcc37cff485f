package workflow

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

// warnBraces warns of {{ }}, by which other products mark an expression.
func (r *reader) warnBraces(n *Node) {
	all := n.With.templates()
	if n.ExitReason != nil {
		all = append(all, n.ExitReason)
	}
	for _, t := range all {
		for _, d := range t.Braces(warnBraces) {
			r.keep(d)
		}
	}
}

// warnOutput warns of what a step reads of another's output and is not there: of a set, and of a wait for an event,
// the file says what there is.
func (r *reader) warnOutput(n, of *Node) {
	for _, reading := range n.readings("steps." + of.ID + ".output") {
		if len(reading.Keys) == 0 {
			continue
		}
		key, names := reading.Keys[0], of.gives()
		if slices.Contains(names, key) {
			continue
		}
		hint := "it gives " + strings.Join(names, ", ")
		if near := nearest(key, names); near != "" {
			hint = fmt.Sprintf("did you mean steps.%s.output.%s?", of.ID, near)
		}
		r.keep(reading.Warn(warnRead, fmt.Sprintf("%s gives no %s, so it is always missing", of.ID, key), hint))
	}
}

// gives names what is under the output of a set, or of a wait for an event.
func (n *Node) gives() (names []string) {
	if n.Kind == Set && n.With != nil && n.With.kind == yaml.MappingNode {
		for _, p := range n.With.pairs {
			names = append(names, p.key)
		}
	}
	if n.Hears != nil {
		names = append(names, "event", "type", "actor", "at")
		for _, f := range crm.TriggerKinds[n.HearsKind] {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readings gives each place where the step reads below a name.
func (n *Node) readings(name string) (all []triggers.Reading) {
	for _, e := range n.texts() {
		all = append(all, e.Readings(name)...)
	}
	if n.ExitReason != nil {
		all = append(all, n.ExitReason.Readings(name)...)
	}
	for _, t := range n.With.templates() {
		all = append(all, t.Readings(name)...)
	}
	return all
}

// insteadOf says how a value is written that was given without its key, as in guard: 5%; "" if that cannot be told.
func insteadOf(key, value string) string {
	switch key {
	case "guard":
		if n, percent := strings.CutSuffix(strings.TrimSpace(value), "%"); percent && numeralForm.MatchString(n) {
			return "write guard: {max_percent: " + n + "}"
		} else if numeralForm.MatchString(n) {
			return "write guard: {max_items: " + n + "}"
		}
	case "misfire":
		words := map[string]string{"skip": "none", "ignore": "none", "run": "last", "once": "last", "catch_up": "all", "catchup": "all"}
		for _, is := range []string{"last", "all", "none"} {
			words[is] = is
		}
		if is, ok := words[value]; ok {
			return "write misfire: {policy: " + is + "}"
		}
		if near := nearest(value, slices.Sorted(maps.Keys(words))); near != "" {
			return "write misfire: {policy: " + words[near] + "}"
		}
	}
	return ""
}
