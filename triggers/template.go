package triggers

import (
	"errors"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// maxTemplate bounds the text of a template, in bytes, and maxHoles the expressions in it.
const (
	maxTemplate = 64 << 10
	maxHoles    = 100
)

// Template is a text with expressions in it: "unsubscribed ${ run.started_at }".
type Template struct {
	pieces []piece
	typed  bool // the text is one expression and nothing else: its value keeps its type
	braces Diagnostics
}

// piece is literal text or an expression.
type piece struct {
	text string
	expr *Expr
}

// CompileTemplate compiles literal text with ${ expression } in it; $${ is a literal ${. A text that
// is one ${ } and nothing else keeps the type of its value; else each value is shown as text: nothing
// for what is missing, instants as RFC 3339. Its error is a *Diagnostic or Diagnostics.
func CompileTemplate(src Source) (*Template, error) {
	if len(src.Text) > maxTemplate {
		return nil, src.fail(codeSize, 0, 1, "the text is longer than 64 KiB", "shorten it")
	}
	t := &Template{}
	var ds Diagnostics
	var literal strings.Builder
	holes := 0
	for text, at := []rune(src.Text), 0; at < len(text); {
		switch rest := text[at:]; {
		case begins(rest, "$${"):
			literal.WriteString("${")
			at += 3
		case begins(rest, "${"):
			n := hole(rest[2:])
			if n < 0 {
				ds = append(ds, src.fail(codeTemplate, at, at+2, "this ${ is not closed", "close it with }, or write $${ for the two characters"))
				return nil, ds.err()
			}
			if holes++; holes > maxHoles {
				return nil, src.fail(codeSize, at, at+2, "there are more than 100 expressions in one text", "split it")
			}
			e, err := src.hole(string(rest[2:2+n]), at)
			ds = append(ds, Findings(err)...)
			t.literal(&literal)
			t.pieces = append(t.pieces, piece{expr: e})
			at += 2 + n + 1
		default:
			if d := src.braces(rest, at); d != nil {
				t.braces = append(t.braces, d)
			}
			literal.WriteRune(text[at])
			at++
		}
	}
	t.literal(&literal)
	t.typed = len(t.pieces) == 1 && t.pieces[0].expr != nil
	if len(ds) > 0 {
		return nil, ds.err()
	}
	return t, nil
}

func begins(text []rune, with string) bool {
	return len(text) >= len(with) && string(text[:len(with)]) == with
}

// literal ends a stretch of literal text.
func (t *Template) literal(b *strings.Builder) {
	if b.Len() > 0 {
		t.pieces = append(t.pieces, piece{text: b.String()})
		b.Reset()
	}
}

// Braces gives a warning for each {{ }}, by which other products write what is ${ } here: it is text like any
// other.
func (t *Template) Braces(code string) (ds Diagnostics) {
	for _, d := range t.braces {
		with := *d
		with.Code = code
		ds = append(ds, &with)
	}
	return ds
}

func (s Source) braces(rest []rune, at int) *Diagnostic {
	if !begins(rest, "{{") {
		return nil
	}
	inner, _, closed := strings.Cut(string(rest[2:]), "}}")
	name := strings.TrimSpace(inner)
	if !closed || name == "" || strings.ContainsAny(inner, "{}\n") {
		return nil
	}
	hint := "an expression stands in ${ }, as in ${ contact.first_name }"
	if _, err := CompileExpr(s.part(name, at), Any); err == nil {
		hint = "write ${ " + name + " }"
	}
	d := s.fail("", at, at+4+len([]rune(inner)), "{{"+clip(inner)+"}} is no expression: it is written as it stands", hint)
	d.Severity = "warning"
	return d
}

// hole compiles the expression of the ${ at a rune offset.
func (s Source) hole(text string, at int) (*Expr, error) {
	if strings.TrimSpace(text) == "" {
		return nil, s.fail(codeTemplate, at, at+3+len([]rune(text)), "this ${ } is empty", "name a value, for example ${ contact.first_name }")
	}
	e, err := CompileExpr(s.part(text, at+2), Any)
	if inner, is := strings.CutPrefix(strings.TrimSpace(text), "{"); is && err != nil {
		if inner, is = strings.CutSuffix(inner, "}"); is { // as GitHub's workflows write it
			for _, d := range Findings(err) {
				d.Hint = "one pair of braces: ${ " + strings.TrimSpace(inner) + " }"
			}
		}
	}
	return e, err
}

// hole gives the number of runes before the } that closes a ${, -1 if there is none. Braces in quotes
// do not count.
func hole(text []rune) int {
	depth := 0
	var quote rune
	for i := 0; i < len(text); i++ {
		r := text[i]
		switch {
		case quote != 0:
			if r == '\\' && quote != '`' {
				i++
			} else if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'' || r == '`':
			quote = r
		case r == '{':
			depth++
		case r == '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// Literal gives the text of a template without any expression; false if there is one.
func (t *Template) Literal() (string, bool) {
	switch {
	case len(t.pieces) == 0:
		return "", true
	case len(t.pieces) == 1 && !t.typed:
		return t.pieces[0].text, true
	}
	return "", false
}

// Eval gives the value of a template that is one expression, else its text of at most 64 KiB.
func (t *Template) Eval(env Env) (any, error) {
	if t.typed {
		v, err := t.pieces[0].expr.Eval(env)
		return t.pieces[0].named(v, err)
	}
	var b strings.Builder
	for _, p := range t.pieces {
		text := p.text
		if p.expr != nil {
			v, err := p.expr.Eval(env)
			if v, err = p.named(v, err); err != nil {
				return nil, err
			}
			if text, err = render(v); err != nil {
				return nil, p.expr.src.say(0, err)
			}
		}
		if b.Len()+len(text) > maxText {
			return nil, crm.Errorf("evaluate a template", crm.CodeInvalid, "the text is longer than 64 KiB").WithHint("use shorter values")
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// named puts the expression's own text in the place of a value that nobody knows yet.
func (p piece) named(v any, err error) (any, error) {
	if u := (*Unknown)(nil); errors.As(err, &u) {
		return "‹" + strings.TrimSpace(p.expr.String()) + "›", nil
	}
	return v, err
}

// Reads gives the facts of the contact that the template reads, sorted.
func (t *Template) Reads() []crm.Fact {
	var facts []crm.Fact
	for _, p := range t.pieces {
		if p.expr != nil {
			facts = append(facts, p.expr.reads...)
		}
	}
	return tidy(facts)
}

// Uses says whether an expression of the template uses a name, as Expr.Uses does.
func (t *Template) Uses(name string) bool {
	for _, p := range t.pieces {
		if p.expr != nil && p.expr.Uses(name) {
			return true
		}
	}
	return false
}
