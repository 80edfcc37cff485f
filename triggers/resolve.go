package triggers

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"
)

// resolver replaces the names of an expression by flat ones ("contact.email", one identifier, which
// nobody can write), so that evaluation reads just what is used, and refuses what is not allowed. It
// sees the tree before expr's checker does, and thus finds the better words for a wrong name.
type resolver struct {
	src   Source
	names map[string]name // by flat name
	uses  map[string]bool // what was written, "contact.tags"
	paths []path
	ds    Diagnostics
	depth int // of predicates
}

func (r *resolver) fail(code string, at file.Location, hint, format string, args ...any) {
	r.ds = append(r.ds, r.src.fail(code, at.From, at.To, fmt.Sprintf(format, args...), hint))
}

// use makes the identifier of a flat name.
func (r *resolver) use(flat string, n name, from, to int) ast.Node {
	r.names[flat] = n
	id := &ast.IdentifierNode{Value: flat}
	id.SetLocation(file.Location{From: from, To: to})
	return id
}

// node resolves a node and what is below it, in place.
func (r *resolver) node(p *ast.Node) {
	switch n := (*p).(type) {
	case *ast.IdentifierNode, *ast.MemberNode, *ast.ChainNode:
		r.path(p)
	case *ast.BuiltinNode:
		r.builtin(n)
	case *ast.PredicateNode:
		if r.depth++; r.depth > 1 {
			r.fail(codeForbidden, n.Location(), "ask one list at a time; their work multiplies", "any, all, filter and so on cannot stand inside one another")
		} else {
			r.node(&n.Node)
		}
		r.depth--
	case *ast.CallNode:
		r.call(p, n)
	case *ast.BinaryNode:
		r.binary(p, n)
	case *ast.PointerNode:
		if n.Name != "" {
			r.fail(codeName, n.Location(), "# alone is the element", "#%s does not exist", n.Name)
		}
	case *ast.SequenceNode:
		r.fail(codeForbidden, n.Location(), "write one expression", "; is not allowed")
	case *ast.VariableDeclaratorNode:
		r.fail(codeForbidden, n.Location(), "write the value where it is needed, or use a set step", "let is not allowed")
	case *ast.BytesNode:
		r.fail(codeForbidden, n.Location(), "leave out the b", "bytes are not allowed")
	default:
		for _, child := range children(*p) {
			r.node(child)
		}
	}
}

// children gives the places of the nodes directly below a node.
func children(n ast.Node) []*ast.Node {
	var all []*ast.Node
	list := func(nodes []ast.Node) []*ast.Node {
		for i := range nodes {
			all = append(all, &nodes[i])
		}
		return all
	}
	switch n := n.(type) {
	case *ast.UnaryNode:
		return []*ast.Node{&n.Node}
	case *ast.BinaryNode:
		return []*ast.Node{&n.Left, &n.Right}
	case *ast.ChainNode:
		return []*ast.Node{&n.Node}
	case *ast.MemberNode:
		return []*ast.Node{&n.Node, &n.Property}
	case *ast.SliceNode:
		all = append(all, &n.Node)
		if n.From != nil {
			all = append(all, &n.From)
		}
		if n.To != nil {
			all = append(all, &n.To)
		}
		return all
	case *ast.CallNode:
		return list(n.Arguments)
	case *ast.BuiltinNode:
		return list(n.Arguments)
	case *ast.PredicateNode:
		return []*ast.Node{&n.Node}
	case *ast.ConditionalNode:
		return []*ast.Node{&n.Cond, &n.Exp1, &n.Exp2}
	case *ast.ArrayNode:
		return list(n.Nodes)
	case *ast.MapNode:
		return list(n.Pairs)
	case *ast.PairNode:
		return []*ast.Node{&n.Key, &n.Value}
	}
	return nil
}

func (r *resolver) builtin(n *ast.BuiltinNode) {
	if !predicates[n.Name] {
		r.fail(codeForbidden, n.Location(), "there is "+strings.Join(functionNames, ", "), "%s is not available in expressions", n.Name)
		return
	}
	for i := range n.Arguments {
		r.node(&n.Arguments[i])
	}
}

func (r *resolver) call(p *ast.Node, n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		r.fail(codeForbidden, n.Location(), "there is "+strings.Join(functionNames, ", "), "methods are not allowed")
		return
	}
	if _, ok := functions[callee.Value]; !ok {
		hint := "there is " + strings.Join(functionNames, ", ")
		if _, known := builtin.Index[callee.Value]; known {
			if callee.Value == "now" {
				hint = "now is a name: leave out the parentheses"
			}
			r.fail(codeForbidden, callee.Location(), hint, "%s is not available in expressions", callee.Value)
			return
		}
		if near := nearest(callee.Value, functionNames); near != "" {
			hint = "did you mean " + near + "?"
		}
		r.fail(codeName, callee.Location(), hint, "there is no function %s", clip(callee.Value))
		return
	}
	for i := range n.Arguments {
		r.node(&n.Arguments[i])
	}
	r.constant(p, n, callee.Value)
}

// constant reads the text of duration("14d") and date("2026-01-01") now instead of at each evaluation.
func (r *resolver) constant(p *ast.Node, n *ast.CallNode, function string) {
	if function != "duration" && function != "date" || len(n.Arguments) != 1 {
		return
	}
	arg, ok := n.Arguments[0].(*ast.StringNode)
	if !ok {
		return
	}
	v, err := functions[function].call(&meter{maxWork}, []any{arg.Value})
	if err != nil {
		r.fail(codeConstant, arg.Location(), functions[function].hint, "%q is not a %s", clip(arg.Value), function)
		return
	}
	ast.Patch(p, &ast.ConstantNode{Value: v})
}

func (r *resolver) binary(p *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "..":
		r.fail(codeForbidden, n.Location(), "compare with < and >", "ranges are not allowed")
		return
	case "matches":
		r.pattern(n)
	case "in":
		if of, span, ok := r.collection(n.Right); ok {
			if key, ok := n.Left.(*ast.StringNode); ok {
				r.uses["contact."+of] = true
				*p = r.use("contact."+of+" has "+strconv.Quote(key.Value), holds(of, key.Value), key.Location().From, span.To)
				return
			}
		}
	}
	r.node(&n.Left)
	r.node(&n.Right)
	r.presence(n)
}

// presence refuses to ask whether something is missing that never is: an empty name is "".
func (r *resolver) presence(n *ast.BinaryNode) {
	_, nilRight := n.Right.(*ast.NilNode)
	if n.Operator != "??" && !(nilRight && (n.Operator == "==" || n.Operator == "!=")) {
		return
	}
	if id, ok := n.Left.(*ast.IdentifierNode); ok {
		if def, ok := r.names[id.Value]; ok && !def.maybe && def.typ == textType {
			r.fail(codeType, id.Location(), fmt.Sprintf("ask %s == \"\"", id.Value), "%s is never missing; without a value it is empty", id.Value)
		}
	}
}
