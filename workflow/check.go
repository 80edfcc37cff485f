package workflow

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

// Catalogue holds the actions that exist, by name. The caller fills it from the plugin host.
type Catalogue map[string]ActionInfo

// ActionInfo is what Check must know of an action.
type ActionInfo struct {
	Effects    []string // what it may ask the host to change: contact.delete and so on
	Schema     []byte   // the JSON Schema of its parameters; nil: nothing is known of them
	External   bool     // it calls the outside world
	Idempotent bool     // if it does: the same call again has no second effect
	Plugin     string   // name@version, for people
	Summary    string   // what it does, in a line, for people
}

// Check holds a workflow that Parse made against the actions that exist. Errors forbid to apply it,
// warnings do not.
func Check(w *Workflow, cat Catalogue) triggers.Diagnostics {
	r := &reader{file: w.file}
	if w.unended != nil {
		r.found = append(r.found, w.unended)
	}
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
	r.warnings(w, cat)
	return sortFindings(r.found)
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
		case Wait, Set:
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
