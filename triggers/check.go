package triggers

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// parse reads the text of an expression into expr's tree.
func parse(src Source) (ast.Node, *Diagnostic) {
	if strings.TrimSpace(src.Text) == "" {
		return nil, src.fail(codeSyntax, 0, 1, "the expression is empty", "write a condition, or leave the key out")
	}
	if len(src.Text) > maxSource {
		return nil, src.fail(codeSize, 0, 1, fmt.Sprintf("the expression is longer than %d bytes", maxSource), "split it over several steps")
	}
	tree, err := parser.ParseWithConfig(src.Text, withEnv(types.Map{}))
	if err == nil {
		return tree.Node, nil
	}
	var fe *file.Error
	if !errors.As(err, &fe) {
		return nil, src.fail(codeSyntax, 0, 1, "the expression cannot be read", "")
	}
	if strings.Contains(fe.Message, "maximum allowed nodes") {
		return nil, src.fail(codeSize, 0, 1, fmt.Sprintf("the expression has more than %d parts", maxNodes), "split it over several steps")
	}
	from, to := fe.From, fe.To
	runes := []rune(src.Text)
	from = max(0, min(from, len(runes)))
	return nil, src.fail(codeSyntax, from, to, plainSyntax(fe.Message), syntaxHint(fe.Message, runes, from))
}

var tokenName = regexp.MustCompile(`(?:Operator|Identifier|Bracket|Number|String)\(("(?:[^"\\]|\\.)*")\)`)

// plainSyntax says what the parser says without its names for tokens.
func plainSyntax(message string) string {
	message = strings.ReplaceAll(tokenName.ReplaceAllString(message, "$1"), "token EOF", "end of the expression")
	if strings.Contains(message, "coalesce") {
		return "?? cannot stand beside another operator"
	}
	return strings.ReplaceAll(message, "unexpected token", "unexpected")
}

// syntaxHint knows the mistakes that people bring along from other languages.
func syntaxHint(message string, text []rune, at int) string {
	rest, before := string(text[at:]), string(text[:at])
	whole := strings.TrimSpace(string(text))
	switch {
	case strings.HasPrefix(whole, "${"), strings.HasPrefix(whole, "{{"):
		return "leave the braces out: here an expression stands alone"
	case strings.Contains(message, "coalesce"):
		return "put parentheses around the part with ??"
	case strings.Contains(message, "literal not terminated"):
		return "close the quotes"
	case strings.Contains(message, "token EOF"):
		if strings.Count(string(text), "(") > strings.Count(string(text), ")") {
			return "close the parenthesis"
		}
		return "something is missing at the end"
	case strings.HasPrefix(rest, "="), strings.HasPrefix(rest, "is "):
		return "compare with =="
	case strings.HasPrefix(rest, "&"), strings.HasSuffix(before, "&"):
		return "write and, or &&"
	case strings.HasPrefix(rest, "AND"), strings.HasPrefix(rest, "OR"), strings.HasPrefix(rest, "NOT"):
		return "write and, or, not in small letters"
	}
	return ""
}

// check finds the type of a resolved tree.
func check(src Source, node ast.Node, names map[string]name) (reflect.Type, *Diagnostic) {
	env := types.Map{}
	for flat, n := range names {
		env[flat] = n.typ
	}
	c := withEnv(env)
	if _, err := checker.Check(treeOf(src, node), c); err != nil {
		var fe *file.Error
		if !errors.As(err, &fe) {
			return nil, src.fail(codeType, 0, 1, "the types do not fit", "")
		}
		return nil, src.typeError(fe, node)
	}
	if node.Nature().Nil {
		return nil, nil
	}
	return node.Type(), nil
}

func treeOf(src Source, node ast.Node) *parser.Tree {
	return &parser.Tree{Node: node, Source: file.NewSource(src.Text)}
}

// build turns a checked tree into a program.
func build(src Source, node ast.Node, names map[string]name) (*vm.Program, error) {
	w := &rewriter{names: names}
	w.node(&node)
	env := types.Map{meterName: types.Any}
	for flat, n := range names {
		env[flat] = n.typ
		if _, isMap := n.typ.(types.Map); isMap || n.maybe {
			env[flat] = types.Any // what can be missing must not be compared as if it never were
		}
	}
	c := withEnv(env)
	tree := treeOf(src, node)
	if _, err := checker.Check(tree, c); err != nil {
		return nil, err
	}
	return compiler.Compile(tree, c)
}

var typeWords = []struct {
	is   *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`map\[string\](?:interface \{\}|\w+)|Map\{[^}]*\}`), "a map"},
	{regexp.MustCompile(`\[\]string`), "a list of texts"},
	{regexp.MustCompile(`\[\](?:interface \{\}|any|\w+)`), "a list"},
	{regexp.MustCompile(`interface \{\}`), "any"},
	{regexp.MustCompile(`\bstring\b`), "text"},
	{regexp.MustCompile(`\b(?:int|float64)\b`), "a number"},
	{regexp.MustCompile(`\btime\.Time\b`), "an instant"},
	{regexp.MustCompile(`\btime\.Duration\b`), "a duration"},
	{regexp.MustCompile(`\bbool\b`), "true or false"},
}

func plainType(s string) string {
	for _, w := range typeWords {
		s = w.is.ReplaceAllString(s, w.word)
	}
	return s
}

var mismatch = regexp.MustCompile(`^invalid operation: (\S+) \(mismatched types? (.*?)(?: and (.*))?\)$`)

// typeError words a finding of expr's checker.
func (s Source) typeError(fe *file.Error, node ast.Node) *Diagnostic {
	code, message, hint := codeType, fe.Message, ""
	if m := mismatch.FindStringSubmatch(message); m != nil {
		op, left, right := m[1], m[2], m[3]
		hint = typeHint(op, left, right)
		message = fmt.Sprintf("%s does not work on %s", op, plainType(left))
		if right != "" {
			message = fmt.Sprintf("%s does not work between %s and %s", op, plainType(left), plainType(right))
		}
	} else {
		switch {
		case strings.HasPrefix(message, "unknown field"), strings.Contains(message, "has no field"):
			code, hint = codeField, "a text, a number or an instant has nothing under it"
		case strings.Contains(message, "pointer accessor"):
			hint = "# is the element inside any(list, …)"
		}
		message = plainType(strings.TrimSpace(message))
	}
	from, to := fe.From, fe.To
	if to <= from {
		from, to = span(node)
	}
	return s.fail(code, from, to, message, hint)
}

func typeHint(op, left, right string) string {
	either := func(t string) bool { return left == t || right == t }
	switch {
	case op == "contains" && strings.HasPrefix(left, "[]"):
		return `contains is for texts: write "VIP" in contact.tags`
	case (op == "==" || op == "!=") && strings.HasPrefix(left, "[]"):
		return `ask whether it is among them: "VIP" in contact.tags`
	case either("time.Time") && either("string"):
		return `write the instant as date("2026-03-01")`
	case either("time.Duration"):
		return `write the duration as duration("14d")`
	case either("time.Time"):
		return `compare instants with instants: now - duration("14d")`
	case op == "not" || op == "!":
		return `put parentheses around what not is about: not ("VIP" in contact.tags)`
	case op == "and" || op == "or" || op == "&&" || op == "||":
		return "both sides have to be conditions"
	case either("string") && (either("int") || either("float64")):
		return `numbers go without quotes, texts with; int("5") makes a number of a text`
	}
	return ""
}

// span gives the runes that a tree covers, as far as its nodes know.
func span(n ast.Node) (from, to int) {
	from, to = n.Location().From, n.Location().To
	for _, child := range children(n) {
		f, t := span(*child)
		if t > f {
			from, to = min(from, f), max(to, t)
		}
	}
	return from, to
}
