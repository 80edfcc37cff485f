package triggers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/reprieve-run/reprieve/crm"
)

// Diagnostic is a finding in a file, at a place, with what to do about it.
type Diagnostic struct {
	File     string `json:"file"`
	Line     int    `json:"line"`     // 1-based
	Column   int    `json:"column"`   // 1-based, in runes
	Length   int    `json:"length"`   // runes to underline
	Severity string `json:"severity"` // "error" or "warning"
	Code     string `json:"code"`     // a key of Codes, or one of package workflow's
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	Snippet  string `json:"snippet,omitempty"` // the source line
}

// Diagnostics are several findings at once.
type Diagnostics []*Diagnostic

// Codes are the stable codes of this package's diagnostics with what each means.
var Codes = map[string]string{
	codeSyntax:    "the expression cannot be parsed",
	codeName:      "nothing has that name",
	codeType:      "an operator or a function was given values of the wrong type",
	codeField:     "that name has no such field",
	codeResult:    "the expression has to give another type of result, as a rule true or false",
	codeSize:      "the expression is too long, too deep or has too many parts",
	codeForbidden: "the construct is not allowed in expressions",
	codeScope:     "the name exists, but not here",
	codeConstant:  "a constant cannot be read: a pattern, a duration or a date",
	codeTemplate:  "a ${ is not closed, or holds nothing",
	codeEvent:     "no trigger can name that kind of event",
	codeEdge:      "the condition of becomes reads nothing that can change",
	codeCron:      "the cron schedule cannot be parsed",
	codeZone:      "the time zone is not known",
	codeOption:    "a schedule's option has a value that it cannot have",
}

const (
	codeSyntax    = "E101"
	codeName      = "E102"
	codeType      = "E103"
	codeField     = "E104"
	codeResult    = "E105"
	codeSize      = "E106"
	codeForbidden = "E107"
	codeScope     = "E108"
	codeConstant  = "E109"
	codeTemplate  = "E110"
	codeEvent     = "E111"
	codeEdge      = "E112"
	codeCron      = "E121"
	codeZone      = "E123"
	codeOption    = "E124"
)

// MarshalJSON adds the column behind the runes in question as "end".
func (d *Diagnostic) MarshalJSON() ([]byte, error) {
	type plain Diagnostic
	return json.Marshal(struct {
		*plain
		End int `json:"end"`
	}{(*plain)(d), d.Column + max(d.Length, 1)})
}

// Error gives the finding on one line: file:line:col: error[E104]: message.
func (d *Diagnostic) Error() string {
	at := fmt.Sprintf("%d:%d: ", d.Line, d.Column)
	if d.File != "" {
		at = d.File + ":" + at
	}
	return dotted(at + d.Severity + "[" + d.Code + "]: " + d.Message)
}

// dotted shows what a terminal might obey as a dot, rune for rune, so that a caret stays under its
// token. A tab stays: it is what the caret's line is indented by.
func dotted(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '·'
		}
		return r
	}, s)
}

// Unwrap gives the finding as the product's error, so that crm.CodeOf answers "invalid".
func (d *Diagnostic) Unwrap() error {
	return &crm.Error{Op: "read an expression", Code: crm.CodeInvalid, Err: errors.New(d.Message), Hint: d.Hint}
}

// Render gives Error's line, the source line, a caret line under the runes in question, and the hint.
func (d *Diagnostic) Render() string {
	var b strings.Builder
	b.WriteString(d.Error() + "\n")
	if d.Snippet != "" {
		number := fmt.Sprint(d.Line)
		margin := strings.Repeat(" ", len(number))
		fmt.Fprintf(&b, " %s | %s\n", number, dotted(d.Snippet))
		fmt.Fprintf(&b, " %s | %s%s\n", margin, indent(d.Snippet, d.Column-1), strings.Repeat("^", max(d.Length, 1)))
	}
	if d.Hint != "" {
		b.WriteString("   hint: " + dotted(d.Hint) + "\n")
	}
	return b.String()
}

// indent is as wide as the first n runes of a line: a tab stays a tab, so that the caret stands under
// its token whatever width tabs are shown in; a wide character takes two columns.
func indent(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n--; n < 0 {
			break
		}
		switch {
		case r == '\t':
			b.WriteByte('\t')
		case wide(r):
			b.WriteString("  ")
		default:
			b.WriteByte(' ')
		}
	}
	if n > 0 {
		b.WriteString(strings.Repeat(" ", n))
	}
	return b.String()
}

// wide says whether terminals give a character two columns: the East Asian and emoji blocks.
func wide(r rune) bool {
	return r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
		r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd
}

// Error joins the findings, one a line.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the findings one by one.
func (ds Diagnostics) Unwrap() []error {
	errs := make([]error, len(ds))
	for i, d := range ds {
		errs[i] = d
	}
	return errs
}

// err is nil, the only finding, or all of them.
func (ds Diagnostics) err() error {
	switch len(ds) {
	case 0:
		return nil
	case 1:
		return ds[0]
	}
	return ds
}

// Findings gives the diagnostics in an error of this package, however many they are.
func Findings(err error) Diagnostics {
	var all Diagnostics
	if errors.As(err, &all) {
		return all
	}
	var one *Diagnostic
	if errors.As(err, &one) {
		return Diagnostics{one}
	}
	return nil
}
