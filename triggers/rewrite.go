package triggers

import (
	"reflect"

	"github.com/expr-lang/expr/ast"

	"github.com/reprieve-run/reprieve/crm"
)

// rewriter makes the checked tree compare tags folded and do its work under a meter. It runs after
// the types are known and before the bytecode is made, so that no error speaks of its additions.
type rewriter struct {
	names map[string]name
	elems []bool // for each predicate around: whether its elements are tags
}

// foldedSuffix marks the flat name of a tag-like text in its folded form.
const foldedSuffix = " folded"

func (w *rewriter) call(function string, at ast.Node, args ...ast.Node) ast.Node {
	node := func(n ast.Node) ast.Node {
		n.SetLocation(at.Location())
		return n
	}
	args = append([]ast.Node{node(&ast.IdentifierNode{Value: meterName})}, args...)
	return node(&ast.CallNode{Callee: node(&ast.IdentifierNode{Value: function}), Arguments: args})
}

func (w *rewriter) node(p *ast.Node) {
	switch n := (*p).(type) {
	case *ast.BinaryNode:
		w.binary(p, n)
		return
	case *ast.BuiltinNode:
		tags := w.tags(n.Arguments[0])
		w.node(&n.Arguments[0])
		n.Arguments[0] = w.call("·list", n.Arguments[0], n.Arguments[0])
		w.elems = append(w.elems, tags)
		for i := range n.Arguments[1:] {
			w.node(&n.Arguments[1+i])
		}
		w.elems = w.elems[:len(w.elems)-1]
		return
	}
	for _, child := range children(*p) {
		w.node(child)
	}
	switch n := (*p).(type) {
	case *ast.MemberNode:
		if foldedMap(n.Node) {
			n.Property = w.fold(n.Property)
		}
	case *ast.CallNode:
		*p = w.call("·"+n.Callee.(*ast.IdentifierNode).Value, n, n.Arguments...)
	}
}

func (w *rewriter) binary(p *ast.Node, n *ast.BinaryNode) {
	tag := w.tag(n.Left) || w.tag(n.Right)
	tags, keys := w.tags(n.Right), foldedMap(n.Right)
	textual := !measured(n.Left) && !measured(n.Right)
	simple := plain(n.Left) || plain(n.Right)
	w.node(&n.Left)
	w.node(&n.Right)
	switch n.Operator {
	case "==", "!=":
		switch {
		case tag:
			n.Left, n.Right = w.fold(n.Left), w.fold(n.Right)
		case !simple:
			eq := w.call("·equal", n, n.Left, n.Right)
			if n.Operator == "!=" {
				ast.Patch(p, &ast.UnaryNode{Operator: "not", Node: eq})
			} else {
				*p = eq
			}
		}
	case "in":
		w.in(p, n, tag || tags || keys, tags)
	case "matches":
		*p = w.call("·matches", n, n.Left, &ast.ConstantNode{Value: compilePattern(n.Right.(*ast.StringNode).Value)})
	case "contains":
		*p = w.call("·contains", n, n.Left, n.Right)
	case "+":
		if textual {
			*p = w.call("·plus", n, n.Left, n.Right)
		}
	}
}

// in rewrites the operator in; fold says that texts are compared folded, tags that the right side is
// a list of tags.
func (w *rewriter) in(p *ast.Node, n *ast.BinaryNode, fold, tags bool) {
	if fold {
		n.Left = w.fold(n.Left)
	}
	array, written := n.Right.(*ast.ArrayNode)
	if !written {
		function := "·in"
		if tags {
			function = "·has"
		}
		*p = w.call(function, n, n.Left, n.Right)
		return
	}
	set := make(map[string]bool, len(array.Nodes))
	for i := range array.Nodes {
		if fold {
			array.Nodes[i] = w.fold(array.Nodes[i])
		}
		if s, ok := array.Nodes[i].(*ast.StringNode); ok {
			set[s.Value] = true
		}
	}
	if constant(array.Nodes) {
		*p = w.call("·oneOf", n, n.Left, &ast.ConstantNode{Value: set})
	}
}

// constant says whether the nodes are texts written out.
func constant(nodes []ast.Node) bool {
	for _, n := range nodes {
		if _, ok := n.(*ast.StringNode); !ok {
			return false
		}
	}
	return true
}

// fold makes a node's text folded: a constant now, a name of the event by reading it so.
func (w *rewriter) fold(n ast.Node) ast.Node {
	switch n := n.(type) {
	case *ast.StringNode:
		s := &ast.StringNode{Value: crm.Fold(n.Value)}
		s.SetLocation(n.Location())
		return s
	case *ast.IdentifierNode:
		if def, ok := w.names[n.Value]; ok && def.tag {
			get := def.get
			def.get = func(e *Env) any {
				s, _ := get(e).(string)
				return crm.Fold(s)
			}
			w.names[n.Value+foldedSuffix] = def
			id := &ast.IdentifierNode{Value: n.Value + foldedSuffix}
			id.SetLocation(n.Location())
			return id
		}
	}
	return w.call("·fold", n, n)
}

// tag says whether the node is one tag, list name or channel.
func (w *rewriter) tag(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		def, ok := w.names[n.Value]
		return ok && def.tag && def.typ == textType
	case *ast.PointerNode:
		return len(w.elems) > 0 && w.elems[len(w.elems)-1]
	case *ast.MemberNode:
		return w.tags(n.Node)
	case *ast.ChainNode:
		return w.tag(n.Node)
	case *ast.BuiltinNode:
		return n.Name == "find" && w.tags(n.Arguments[0])
	case *ast.ConditionalNode:
		return w.tag(n.Exp1) || w.tag(n.Exp2)
	case *ast.BinaryNode:
		return n.Operator == "??" && (w.tag(n.Left) || w.tag(n.Right))
	}
	return false
}

// tags says whether the node is a list of tags.
func (w *rewriter) tags(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		def, ok := w.names[n.Value]
		return ok && def.tag && def.typ == textsType
	case *ast.BuiltinNode:
		return n.Name == "filter" && w.tags(n.Arguments[0])
	case *ast.SliceNode:
		return w.tags(n.Node)
	case *ast.ChainNode:
		return w.tags(n.Node)
	case *ast.ConditionalNode:
		return w.tags(n.Exp1) || w.tags(n.Exp2)
	case *ast.BinaryNode:
		return n.Operator == "??" && (w.tags(n.Left) || w.tags(n.Right))
	}
	return false
}

// foldedMap says whether the node is a map whose keys are folded.
func foldedMap(n ast.Node) bool {
	id, ok := n.(*ast.IdentifierNode)
	return ok && (id.Value == "contact.lists" || id.Value == "contact.dnd")
}

// measured says whether the node is a number, an instant or a duration for sure, so that adding to it
// cannot make a text longer.
func measured(n ast.Node) bool {
	switch n.Type().Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64, reflect.Struct:
		return true
	}
	return false
}

// plain says whether comparing with the node takes little work for sure.
func plain(n ast.Node) bool {
	switch n.(type) {
	case *ast.NilNode, *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return true
	}
	switch n.Type().Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64, reflect.String, reflect.Struct:
		return true
	}
	return false
}
