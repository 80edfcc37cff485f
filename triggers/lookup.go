package triggers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"

	"github.com/reprieve-run/reprieve/crm"
)

// segment is one .name or [key] of a path.
type segment struct {
	member *ast.MemberNode
	key    string
	fixed  bool // key is a constant
	at     file.Location
}

// segments takes a path apart: contact.fields["plan"] is contact, fields, plan. The root is nil if
// the path does not begin with a name.
func segments(n ast.Node) (root *ast.IdentifierNode, path []segment) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n, nil
	case *ast.ChainNode:
		return segments(n.Node)
	case *ast.MemberNode:
		root, path = segments(n.Node)
		key, fixed := n.Property.(*ast.StringNode)
		s := segment{member: n, fixed: fixed, at: n.Property.Location()}
		if fixed {
			s.key = key.Value
		}
		return root, append(path, s)
	}
	return nil, nil
}

// collection says whether the node is contact.tags, .lists, .fields or .dnd as a whole.
func (r *resolver) collection(n ast.Node) (of string, at file.Location, ok bool) {
	root, path := segments(n)
	if root == nil || root.Value != "contact" || len(path) != 1 || r.src.Scope&ScopeContact == 0 {
		return "", at, false
	}
	switch path[0].key {
	case "tags", "lists", "fields", "dnd":
		return path[0].key, path[0].at, true
	}
	return "", at, false
}

// path resolves a name with what is behind it.
func (r *resolver) path(p *ast.Node) {
	root, path := segments(*p)
	if root == nil {
		for _, child := range children(*p) {
			r.node(child)
		}
		return
	}
	flat, n, taken := r.lookup(root, path)
	if taken < 0 {
		return // reported
	}
	for _, s := range path[taken:] {
		if !s.fixed {
			r.node(&s.member.Property)
		}
	}
	r.uses[strings.Join(append([]string{root.Value}, keysIn(path[:min(taken, 1)])...), ".")] = true
	to := root.Location().To
	if taken > 0 {
		to = path[taken-1].at.To
	}
	r.reads(flat, root.Value, n, path[taken:], root.Location().From, to)
	id := r.use(flat, n, root.Location().From, to)
	if taken == len(path) {
		*p = id
		return
	}
	path[taken].member.Node = id
}

func keysIn(path []segment) []string {
	keys := make([]string, len(path))
	for i, s := range path {
		keys[i] = s.key
	}
	return keys
}

// lookup finds the name that a path begins with and how many segments it takes; -1 if it reported.
func (r *resolver) lookup(root *ast.IdentifierNode, path []segment) (flat string, n name, taken int) {
	scope, known := r.src.scopeOf(root.Value)
	if !known {
		r.unknownRoot(root)
		return "", n, -1
	}
	if scope&^r.src.Scope != 0 {
		r.fail(codeScope, root.Location(), "here there is "+strings.Join(r.rootsHere(), ", "), "%s cannot be used here", root.Value)
		return "", n, -1
	}
	if root.Value == "now" {
		return "now", now, 0
	}
	if len(path) == 0 {
		r.fail(codeField, root.Location(), r.inside(root.Value), "%s is not a value by itself", root.Value)
		return "", n, -1
	}
	if !path[0].fixed {
		r.fail(codeForbidden, path[0].at, r.inside(root.Value), "%s[…] needs a constant name", root.Value)
		return "", n, -1
	}
	if root.Value == "steps" {
		return r.step(path)
	}
	n, ok := r.src.fieldsOf(root.Value)[path[0].key]
	if !ok {
		r.unknownField(root.Value, path[0])
		return "", n, -1
	}
	flat, taken = root.Value+"."+path[0].key, 1
	if root.Value == "contact" && len(path) > 1 && path[1].fixed {
		switch key := path[0].key; key {
		case "fields", "lists", "dnd":
			return flat + "." + path[1].key, keyed(key, path[1].key), 2
		}
	}
	return flat, n, taken
}

func (r *resolver) step(path []segment) (flat string, n name, taken int) {
	id := path[0]
	if r.src.Steps != nil && !slices.Contains(r.src.Steps, id.key) {
		hint := "there is no step that could have run before this one"
		if near := nearest(id.key, r.src.Steps); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
			if strings.Contains(near, "-") {
				hint = fmt.Sprintf("did you mean steps[%q]?", near)
			}
		} else if len(r.src.Steps) > 0 {
			known := slices.Compact(slices.Sorted(slices.Values(r.src.Steps[:min(len(r.src.Steps), maxNear)])))
			if hint = "there is " + strings.Join(known, ", "); len(r.src.Steps) > maxNear {
				hint += ", …"
			}
		}
		r.fail(codeField, id.at, hint, "there is no step %s here", clip(id.key))
		return "", n, -1
	}
	if len(path) == 1 || path[1].key != "status" && path[1].key != "output" {
		at := id.at
		if len(path) > 1 {
			at = path[1].at
		}
		r.fail(codeField, at, "there is status and output", "that is not known of a step")
		return "", n, -1
	}
	return "steps." + id.key + "." + path[1].key, stepName(id.key, path[1].key), 2
}

func (r *resolver) unknownRoot(root *ast.IdentifierNode) {
	here := r.rootsHere()
	hint := "there is " + strings.Join(here, ", ")
	if near := nearest(root.Value, here); near != "" {
		hint = "did you mean " + near + "?"
	} else {
		for _, h := range here {
			if _, ok := r.src.fieldsOf(h)[root.Value]; ok {
				hint = "did you mean " + h + "." + root.Value + "?"
				break
			}
		}
	}
	if root.Value == "secrets" {
		hint = "a secret stands alone, in a parameter of an action: token: ${ secrets.crm_token }"
	}
	if root.Value == "$env" {
		r.fail(codeForbidden, root.Location(), hint, "$env is not allowed")
		return
	}
	r.fail(codeName, root.Location(), hint, "there is nothing called %s", clip(root.Value))
}

func (r *resolver) unknownField(root string, s segment) {
	fields := r.src.fieldsOf(root)
	hint := r.inside(root)
	if near := nearest(s.key, keysOf(fields)); near != "" {
		hint = "did you mean " + root + "." + near + "?"
	} else if root == "contact" {
		hint = "a field of the account's own is contact.fields." + clip(s.key)
	}
	if root == "event" {
		for _, names := range crm.TriggerKinds {
			for _, f := range names {
				if f.Name == s.key {
					of := string(r.src.Event)
					if of == "" {
						of = "what starts the workflow"
					}
					r.fail(codeScope, s.at, r.inside(root), "%s has no event.%s; events of other kinds do", of, s.key)
					return
				}
			}
		}
	}
	r.fail(codeField, s.at, hint, "%s has no field %s", root, clip(s.key))
}

// rootsHere gives the first names that exist in the source's scope.
func (r *resolver) rootsHere() []string {
	var here []string
	for _, root := range keysOf(roots) {
		if scope, _ := r.src.scopeOf(root); scope&^r.src.Scope == 0 {
			here = append(here, root)
		}
	}
	return here
}

func (r *resolver) inside(root string) string {
	if root == "steps" {
		return "write steps.ID.status or steps.ID.output"
	}
	return root + " has " + strings.Join(keysOf(r.src.fieldsOf(root)), ", ")
}

// clip keeps what somebody wrote short in a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
