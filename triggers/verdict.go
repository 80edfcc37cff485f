package triggers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"

	"github.com/reprieve-run/reprieve/crm"
)

// Verdict says that a condition is the same for every contact, which nobody writes on purpose.
type Verdict struct {
	Holds bool   // always; else never
	Plain bool   // it is written as a constant: true, say
	Why   string // "contact.lists.news is subscribed, …, never subscribd"
	at    [2]int
}

// claim is what a condition that holds says of one name: that it is a value, or that it is not.
type claim struct {
	name, value string
	not         bool
	shown       string
	at          [2]int
}

// words are the values that a text can have, where there are only some. What is none of them is as a rule
// a slip of the pen: steps have the status done, not completed.
func words(flat string) []string {
	statuses := []string{string(crm.Subscribed), string(crm.Unsubscribed), string(crm.Unconfirmed), string(crm.Bounced)}
	switch {
	case strings.HasPrefix(flat, "contact.lists."):
		return statuses
	case flat == "event.status", flat == "event.old_status":
		return append(statuses, "", "none")
	case strings.HasPrefix(flat, "steps.") && strings.HasSuffix(flat, ".status"):
		return []string{"done", "skipped", "failed", "unknown", "superseded"}
	}
	return nil
}

// judge works out whether a checked conjunct can be decided without looking at any contact; nil: it cannot.
func judge(n ast.Node, names map[string]name) *Verdict {
	at := [2]int{}
	at[0], at[1] = span(n)
	switch n := n.(type) {
	case *ast.BoolNode:
		return &Verdict{Holds: n.Value, Plain: true, Why: fmt.Sprintf("it is %t", n.Value), at: at}
	case *ast.UnaryNode:
		if v := judge(n.Node, names); v != nil && (n.Operator == "not" || n.Operator == "!") {
			return &Verdict{!v.Holds, v.Plain, v.Why, at}
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			l, r := judge(n.Left, names), judge(n.Right, names)
			decides := n.Operator == "or" || n.Operator == "||" // the value of one side that decides
			for _, v := range []*Verdict{l, r} {
				if v != nil && v.Holds == decides {
					return v
				}
			}
			if l != nil && r != nil {
				return r
			}
		case "==", "!=":
			if v := compared(n, names); v != nil {
				v.Holds, v.at = v.Holds == (n.Operator == "=="), at
				return v
			}
		}
	}
	return nil
}

// compared says whether the two sides of == are equal whatever they are.
func compared(n *ast.BinaryNode, names map[string]name) *Verdict {
	l, lok := literal(n.Left)
	r, rok := literal(n.Right)
	if lok && rok {
		return &Verdict{Holds: l == r, Why: fmt.Sprintf("both sides of %s are constants", n.Operator)}
	}
	id, is := n.Left.(*ast.IdentifierNode)
	other := n.Right
	if !is {
		if id, is = n.Right.(*ast.IdentifierNode); !is {
			return nil
		}
		other = n.Left
	}
	def := names[id.Value]
	switch other := other.(type) {
	case *ast.NilNode:
		if !def.maybe && def.typ != nil && def.typ != types.Any {
			return &Verdict{Why: id.Value + " is never missing"}
		}
	case *ast.StringNode:
		if can := words(id.Value); can != nil && !slices.Contains(can, other.Value) {
			can = slices.DeleteFunc(can, func(w string) bool { return w == "" })
			return &Verdict{Why: fmt.Sprintf("%s is one of %s", id.Value, strings.Join(can, ", "))}
		}
	}
	return nil
}

// literal gives a literal in a form that can be compared.
func literal(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return strconv.Quote(n.Value), true
	case *ast.IntegerNode:
		return fmt.Sprint(float64(n.Value)), true
	case *ast.FloatNode:
		return fmt.Sprint(n.Value), true
	case *ast.BoolNode:
		return fmt.Sprint(n.Value), true
	}
	return "", false
}

// claims gives what a conjunct says of single names.
func claims(n ast.Node, names map[string]name) []claim {
	at := [2]int{}
	at[0], at[1] = span(n)
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return []claim{{folded(n.Value), "true", false, n.Value, at}}
	case *ast.UnaryNode:
		if inner := claims(n.Node, names); len(inner) == 1 && (n.Operator == "not" || n.Operator == "!") {
			inner[0].not, inner[0].at = !inner[0].not, at
			return inner
		}
	case *ast.BinaryNode:
		id, value := n.Left, n.Right
		if _, is := id.(*ast.IdentifierNode); !is {
			id, value = value, id
		}
		flat, is := id.(*ast.IdentifierNode)
		text, fixed := literal(value)
		if !is || !fixed || n.Operator != "==" && n.Operator != "!=" {
			return nil
		}
		if names[flat.Value].tag {
			text = crm.Fold(text)
		}
		return []claim{{folded(flat.Value), text, n.Operator == "!=", flat.Value, at}}
	}
	return nil
}

// folded brings the spellings of one tag, list or channel together. Fields keep theirs.
func folded(flat string) string {
	if strings.HasPrefix(flat, "contact.fields.") {
		return flat
	}
	if of, key, is := strings.Cut(flat, " has "); is {
		if text, err := strconv.Unquote(key); err == nil {
			return of + " has " + crm.Fold(text)
		}
	}
	return crm.Fold(flat)
}

// contradiction finds two conjuncts of which only one can be true.
func contradiction(all []claim) *Verdict {
	for i, b := range all {
		for _, a := range all[:i] {
			if a.name != b.name || a.not && b.not {
				continue
			}
			if (a.value == b.value) == (a.not != b.not) { // x and not x; x == 1 and x == 2
				return &Verdict{Why: "it says two things of " + shown(b.shown) + " that cannot both be true", at: b.at}
			}
		}
	}
	return nil
}

// shown writes a flat name as people do.
func shown(flat string) string {
	if of, key, is := strings.Cut(flat, " has "); is {
		return key + " in " + of
	}
	return flat
}

// Verdict says whether the condition is the same for every contact; nil: as far as its text tells, it is not.
func (e *Expr) Verdict() *Verdict { return e.verdict }

// Warn makes a warning about the part of the condition that a verdict is about.
func (e *Expr) Warn(v *Verdict, code, message, hint string) *Diagnostic {
	from, to := v.at[0], v.at[1]
	if to == 0 { // about all of it
		to = utf8.RuneCountInString(e.src.Text)
	}
	d := e.src.fail(code, from, to, message, hint)
	d.Severity = "warning"
	return d
}

// conclude joins what is known of the conjuncts. One that never holds decides.
func conclude(parts []*Verdict, all []claim) *Verdict {
	holds := len(parts) > 0
	for _, v := range parts {
		if v != nil && !v.Holds {
			return v
		}
		holds = holds && v != nil
	}
	if v := contradiction(all); v != nil || !holds {
		return v
	}
	return parts[0]
}

// Normal gives the condition as it is whatever its spaces and parentheses are, to compare two.
func (e *Expr) Normal() string {
	var parts []string
	for _, p := range e.parts {
		parts = append(parts, p.text)
	}
	return strings.Join(parts, " and ")
}

// Under gives the names below a root that the expression reads, "steps.mail.output" say.
func (e *Expr) Under(root string) (flats []string) {
	for _, p := range e.parts {
		for _, s := range p.slots {
			if strings.HasPrefix(s.flat, root+".") {
				flats = append(flats, s.flat)
			}
		}
	}
	return flats
}

// Under is that of the expressions in the template.
func (t *Template) Under(root string) (flats []string) {
	for _, p := range t.pieces {
		if p.expr != nil {
			flats = append(flats, p.expr.Under(root)...)
		}
	}
	return flats
}

// Mentions makes a warning under the first place where the expression reads a name, "steps.mail.output" say; nil if it
// does not.
func (e *Expr) Mentions(flat, code, message, hint string) *Diagnostic {
	for _, p := range e.parts {
		for _, s := range p.slots {
			if s.flat == flat {
				d := e.src.fail(code, s.at, s.at+len([]rune(flat)), message, hint)
				d.Severity = "warning"
				return d
			}
		}
	}
	return nil
}

// Mentions is that of the expressions in the template.
func (t *Template) Mentions(flat, code, message, hint string) *Diagnostic {
	for _, p := range t.pieces {
		if p.expr != nil {
			if d := p.expr.Mentions(flat, code, message, hint); d != nil {
				return d
			}
		}
	}
	return nil
}

// Verdict is that of the trigger's condition; nil too if it has none.
func (t *Trigger) Verdict() (*Expr, *Verdict) {
	if t == nil || t.cond == nil {
		return nil, nil
	}
	return t.cond, t.cond.verdict
}

// Verdict is that of the selection's condition; nil too if it has none.
func (s Selection) Verdict() (*Expr, *Verdict) {
	if s.expr == nil {
		return nil, nil
	}
	return s.expr, s.expr.verdict
}
