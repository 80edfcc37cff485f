package triggers

import (
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/reprieve-run/reprieve/crm"
)

// lower gives the filter that passes every contact for which the condition is true. exact says that
// it passes no other contact for which the condition can be evaluated: only then does its opposite
// pass every contact for which the condition is false.
func lower(n ast.Node, names map[string]name) (f crm.Filter, exact bool) {
	switch n := n.(type) {
	case *ast.BoolNode:
		if n.Value {
			return crm.Filter{}, true
		}
		return crm.Filter{Op: crm.FilterNone}, true
	case *ast.IdentifierNode:
		switch def := names[n.Value]; {
		case def.tagged != "":
			return crm.Filter{Op: crm.FilterTag, Name: def.tagged}, true
		case def.field != "":
			return crm.Filter{Op: crm.FilterField, Name: def.field, Value: crm.Value{Kind: crm.BoolValue, Bool: true}}, true
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return opposite(lower(n.Node, names))
		}
	case *ast.BinaryNode:
		return lowerBinary(n, names)
	}
	return crm.Filter{}, false
}

func opposite(f crm.Filter, exact bool) (crm.Filter, bool) {
	if !exact {
		return crm.Filter{}, false
	}
	return crm.Filter{Op: crm.FilterNot, Of: []crm.Filter{f}}, true
}

func lowerBinary(n *ast.BinaryNode, names map[string]name) (crm.Filter, bool) {
	switch n.Operator {
	case "and", "&&", "or", "||":
		l, el := lower(n.Left, names)
		r, er := lower(n.Right, names)
		if n.Operator == "and" || n.Operator == "&&" {
			return allOf([]crm.Filter{l, r}), el && er
		}
		if l.Op == crm.FilterAll || r.Op == crm.FilterAll {
			return crm.Filter{}, el && er
		}
		return crm.Filter{Op: crm.FilterOr, Of: []crm.Filter{l, r}}, el && er
	case "==":
		return lowerEqual(n.Left, n.Right, names)
	case "!=":
		return opposite(lowerEqual(n.Left, n.Right, names))
	case "in":
		array, ok := n.Right.(*ast.ArrayNode)
		if !ok {
			return crm.Filter{}, false
		}
		any := crm.Filter{Op: crm.FilterOr}
		for _, e := range array.Nodes {
			f, exact := lowerEqual(n.Left, e, names)
			if !exact {
				return crm.Filter{}, false
			}
			any.Of = append(any.Of, f)
		}
		return any, true
	}
	return crm.Filter{}, false
}

// lowerEqual lowers the comparison of a field with a constant, on whichever side.
func lowerEqual(a, b ast.Node, names map[string]name) (crm.Filter, bool) {
	id, ok := a.(*ast.IdentifierNode)
	if !ok {
		a, b = b, a
		if id, ok = a.(*ast.IdentifierNode); !ok {
			return crm.Filter{}, false
		}
	}
	def := names[id.Value]
	v, ok := constantValue(b)
	// A name of its own, such as first_name, is "" also when the field is missing or no text.
	if def.field == "" || !ok || def.typ == textType && (v.Kind != crm.TextValue || v.Text == "") {
		return crm.Filter{}, false
	}
	return crm.Filter{Op: crm.FilterField, Name: def.field, Value: v}, true
}

// constantValue gives the field value that equals a constant, if there is just one.
func constantValue(n ast.Node) (crm.Value, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return crm.Text(n.Value), true
	case *ast.IntegerNode:
		return crm.Number(float64(n.Value)), true
	case *ast.FloatNode:
		return crm.Number(n.Value), true
	case *ast.BoolNode:
		return crm.Value{Kind: crm.BoolValue, Bool: n.Value}, true
	case *ast.UnaryNode:
		if v, ok := constantValue(n.Node); ok && n.Operator == "-" && v.Kind == crm.NumberValue {
			return crm.Number(-v.Number), true
		}
	}
	return crm.Value{}, false
}

// allOf is the filter that passes what passes each; what passes everything is left out.
func allOf(fs []crm.Filter) crm.Filter {
	all := crm.Filter{Op: crm.FilterAnd}
	for _, f := range fs {
		switch f.Op {
		case crm.FilterAll:
		case crm.FilterAnd:
			all.Of = append(all.Of, f.Of...)
		default:
			all.Of = append(all.Of, f)
		}
	}
	switch len(all.Of) {
	case 0:
		return crm.Filter{}
	case 1:
		return all.Of[0]
	}
	return all
}

// keySet says that a condition can only hold if one of a few texts is there: a field of the event is one of them,
// event.tag in ["a", "b"], or the contact after the event has one of them, as a tag or in a field. Values of
// the event, and tags, are folded whether or not the comparison is, so the index may offer a rule too many but
// never misses one. Without a field nothing is known.
type keySet struct {
	of     keyKind
	field  string
	values []string
}

// keyKind says where the texts of a keySet stand.
type keyKind uint8

const (
	ofEvent keyKind = iota // the field of the event's data
	ofTags                 // the contact's tags
	ofField                // the text in the contact's field of that name
)

// keysOfFilter gives what a contact must have to pass a filter, in every way in which that is a few texts.
func keysOfFilter(f crm.Filter) (all []keySet) {
	switch f.Op {
	case crm.FilterTag:
		return []keySet{{ofTags, "tags", []string{crm.Fold(f.Name)}}}
	case crm.FilterField:
		if f.Value.Kind == crm.TextValue {
			return []keySet{{ofField, f.Name, []string{f.Value.Text}}}
		}
	case crm.FilterAnd:
		for _, g := range f.Of {
			all = append(all, keysOfFilter(g)...)
		}
	case crm.FilterOr:
		var one keySet
		for i, g := range f.Of {
			keys := keysOfFilter(g)
			if len(keys) != 1 || i > 0 && (keys[0].of != one.of || keys[0].field != one.field) {
				return nil
			}
			one = keySet{keys[0].of, keys[0].field, append(one.values, keys[0].values...)}
		}
		if one.field != "" {
			return []keySet{one}
		}
	}
	return all
}

// narrower is what is known when both hold.
func narrower(a, b keySet) keySet {
	if a.field == "" || b.field != "" && len(b.values) < len(a.values) {
		return b
	}
	return a
}

func keysFrom(n ast.Node) keySet {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return keySet{}
	}
	switch b.Operator {
	case "and", "&&":
		return narrower(keysFrom(b.Left), keysFrom(b.Right))
	case "or", "||":
		l, r := keysFrom(b.Left), keysFrom(b.Right)
		if l.field == "" || l.field != r.field {
			return keySet{}
		}
		return keySet{ofEvent, l.field, append(l.values, r.values...)}
	case "==":
		k := keySet{ofEvent, eventField(b.Left), texts([]ast.Node{b.Right})}
		if k.field == "" {
			k = keySet{ofEvent, eventField(b.Right), texts([]ast.Node{b.Left})}
		}
		if k.field == "" || k.values == nil {
			return keySet{}
		}
		return k
	case "in":
		field := eventField(b.Left)
		if array, ok := b.Right.(*ast.ArrayNode); ok && field != "" && constant(array.Nodes) {
			return keySet{ofEvent, field, texts(array.Nodes)}
		}
	}
	return keySet{}
}

// eventField gives the name of a text of the event's data, "" for anything else.
func eventField(n ast.Node) string {
	id, ok := n.(*ast.IdentifierNode)
	if !ok {
		return ""
	}
	field, ok := strings.CutPrefix(id.Value, "event.")
	if _, text := (crm.EventData{}).Field(field).(string); !ok || !text {
		return ""
	}
	return field
}

func texts(nodes []ast.Node) []string {
	if !constant(nodes) {
		return nil
	}
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = crm.Fold(n.(*ast.StringNode).Value)
	}
	return all
}
