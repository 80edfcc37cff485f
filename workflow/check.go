package workflow

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

// Catalogue holds the actions that exist, by name. The caller fills it from the plugin host.
type Catalogue map[string]ActionInfo

// ActionInfo is what Check must know of an action.
type ActionInfo struct {
	Effects  []string // what it may ask the host to change: contact.delete and so on
	Schema   []byte   // the JSON Schema of its parameters; nil: nothing is known of them
	External bool     // it calls the outside world
	Plugin   string   // name@version, for people
	Summary  string   // what it does, in a line, for people
}

// Check holds a workflow that Parse made against the actions that exist. Errors forbid to apply it,
// warnings do not.
func Check(w *Workflow, cat Catalogue) triggers.Diagnostics {
	r := &reader{file: w.file}
	names := slices.Sorted(maps.Keys(cat))
	for i := range w.Nodes {
		n := &w.Nodes[i]
		if n.Kind != Action {
			continue
		}
		info, ok := cat[n.Action]
		if !ok {
			hint := "install its plugin with `reprieve plugin install`"
			if near := nearest(n.Action, names); near != "" {
				hint = fmt.Sprintf("did you mean %s? Otherwise %s", near, hint)
			}
			r.fail(codeAction, n.at, hint, "no installed plugin has the action %s", n.Action)
			continue
		}
		r.params(n, info)
	}
	r.paths(w, cat)
	return sortFindings(r.found)
}

// schema is the part of a JSON Schema that Check understands; the plugin host checks the rest.
type schema struct {
	Type       json.RawMessage    `json:"type"`
	Enum       []any              `json:"enum"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Additional json.RawMessage    `json:"additionalProperties"`
}

// types gives the types that a value may have; none means any.
func (s *schema) types() []string {
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(s.Type, &many) != nil {
		return nil
	}
	return many
}

// open says whether keys that are not in Properties are welcome.
func (s *schema) open() bool {
	a := string(s.Additional)
	return a != "" && a != "false" || a == "" && len(s.Properties) == 0
}

func (r *reader) params(n *Node, info ActionInfo) {
	var s schema
	if len(info.Schema) == 0 || json.Unmarshal(info.Schema, &s) != nil {
		return
	}
	var pairs []pair
	if n.With != nil {
		pairs = n.With.pairs
	}
	known := slices.Sorted(maps.Keys(s.Properties))
	given := map[string]bool{}
	for _, p := range pairs {
		given[p.key] = true
		switch want := s.Properties[p.key]; {
		case want != nil:
			r.param(p, want)
		case !s.open():
			r.fail(codeParam, p.at, meant(p.key, known), "%s has no parameter %q", n.Action, p.key)
		}
	}
	for _, name := range s.Required {
		if !given[name] {
			r.fail(codeNeedsParam, n.at, fmt.Sprintf("add with: {%s: ...}", name), "%s needs the parameter %q", n.Action, name)
		}
	}
}

// param checks a literal; what a template gives is only known when the step runs.
func (r *reader) param(p pair, want *schema) {
	have := p.val.jsonType()
	types := want.types()
	fits := have == "" || len(types) == 0 || slices.Contains(types, have) || have == "integer" && slices.Contains(types, "number")
	if !fits {
		words := make([]string, len(types))
		for i, t := range types {
			words[i] = jsonWords[t]
		}
		r.fail(codeParamType, p.val.at, typeHint(types[0], have), "%s must be %s, not %s", p.key, strings.Join(words, " or "), jsonWords[have])
		return
	}
	if p.val.text == nil || len(want.Enum) == 0 {
		return
	}
	text, literal := p.val.text.Literal()
	if !literal || slices.Contains(want.Enum, any(text)) {
		return
	}
	var words []string
	for _, e := range want.Enum {
		words = append(words, fmt.Sprint(e))
	}
	r.fail(codeParamValue, p.val.at, meant(text, words), "%s cannot be %q", p.key, text)
}

// jsonWords are JSON Schema's types in plain words.
var jsonWords = map[string]string{"array": "a list", "object": "a mapping", "string": "text", "integer": "a whole number",
	"number": "a number", "boolean": "true or false", "null": "nothing"}

// typeHint says how the type that is wanted is written.
func typeHint(want, have string) string {
	switch {
	case want == "string":
		return "put the value in quotes"
	case have == "string" && want != "array" && want != "object":
		return "write it without quotes, or as nothing but ${ }"
	case want == "array":
		return "write a list, as in [one, two]"
	case want == "object":
		return "write a mapping, as in {key: value}"
	}
	return ""
}

// jsonType names the type of a value as JSON Schema does, "" if only the run knows it.
func (v *Value) jsonType() string {
	switch {
	case v.text != nil:
		if _, literal := v.text.Literal(); literal || v.mixed {
			return "string"
		}
		return ""
	case v.kind == yaml.SequenceNode:
		return "array"
	case v.kind == yaml.MappingNode:
		return "object"
	}
	switch v.plain.(type) {
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case float64:
		return "number"
	}
	return "null"
}

// lives is a set of what the contact can be when a step begins.
type lives uint8

const (
	live lives = 1 << iota
	deleted
)

// after gives what the contact can be once an action is through.
func (l lives) after(effects []string) lives {
	var to lives
	for _, e := range effects {
		switch crm.Verb(e) {
		case crm.VerbDelete, crm.VerbPurge:
			to |= deleted
		case crm.VerbRestore:
			to |= live
		}
	}
	if to == 0 {
		return l
	}
	return to
}

// paths follows every way through the steps and warns of steps that none reaches, and of effects on
// a contact that is deleted by then: only a restore and a purge are possible there.
func (r *reader) paths(w *Workflow, cat Catalogue) {
	seen := make([]lives, len(w.Nodes))
	type state struct {
		node int
		is   lives
	}
	var todo []state
	push := func(node int, is lives) {
		if node >= 0 && node < len(seen) && seen[node]&is != is {
			seen[node] |= is
			todo = append(todo, state{node, is})
		}
	}
	for _, t := range w.Triggers {
		if t.Over == crm.OnlyDeleted {
			push(0, deleted)
		} else {
			push(0, live)
		}
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n := &w.Nodes[s.node]
		switch n.Kind {
		case Action:
			push(n.Next, s.is.after(cat[n.Action].Effects))
			if to, caught := n.Caught(); caught {
				push(to, s.is)
			} else if w.Handler > 0 && s.node < w.Handler {
				push(w.Handler, s.is)
			}
		case Wait:
			push(n.Next, s.is)
		case Branch:
			otherwise := false
			for _, a := range n.Arms {
				push(a.First, s.is)
				otherwise = otherwise || a.If == nil
			}
			if !otherwise {
				push(n.Next, s.is)
			}
		}
	}
	r.warnPaths(w, cat, seen)
}

func (r *reader) warnPaths(w *Workflow, cat Catalogue, seen []lives) {
	for i := range w.Nodes {
		n := &w.Nodes[i]
		switch effects := cat[n.Action].Effects; {
		case seen[i] == 0 && (i == 0 || seen[i-1] != 0): // once for a stretch of them
			r.warn(warnUnreachable, span{n.Line, n.Column, 1}, "every way to it ends in an exit: move it before the exit, or delete it",
				"no path leads to the step %s", n.ID)
		case seen[i]&deleted != 0 && n.Kind == Action && len(effects) > 0 && !restores(effects):
			message := "the contact is deleted when %s runs, so its effect will be refused"
			if seen[i]&live != 0 {
				message = "the contact may be deleted when %s runs, and then its effect will be refused"
			}
			r.warn(warnDeleted, n.at, "a deleted contact can only be restored or purged: put the step before the delete or behind a restore",
				message, n.ID)
		}
	}
}

func restores(effects []string) bool {
	return slices.Contains(effects, string(crm.VerbRestore)) || slices.Contains(effects, string(crm.VerbPurge))
}

func (r *reader) warn(code string, s span, hint, format string, args ...any) {
	r.found = append(r.found, r.diagnostic("warning", code, s, hint, format, args...))
}

// Together reports workflows that are to be applied together and have the same id: each but the first.
func Together(ws []*Workflow) triggers.Diagnostics {
	var found triggers.Diagnostics
	first := map[string]*Workflow{}
	for _, w := range ws {
		if other := first[w.ID]; other != nil {
			lines := strings.Split(string(w.Source), "\n")
			d := &triggers.Diagnostic{File: w.File, Line: 1, Column: 1, Length: 1, Severity: "error", Code: codeSameID,
				Message: fmt.Sprintf("%s is also the id of the workflow in %s", w.ID, other.File), Hint: "give each workflow an id of its own"}
			if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "id:") }); i >= 0 {
				d.Line, d.Column, d.Length = i+1, 1+strings.Index(lines[i], w.ID), len(w.ID)
			}
			d.Snippet = strings.TrimRight(lines[d.Line-1], "\r")
			found = append(found, d)
			continue
		}
		first[w.ID] = w
	}
	return found
}
