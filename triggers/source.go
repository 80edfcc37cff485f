package triggers

import (
	"strings"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
)

// Source is an expression or a template with the place where it stands.
type Source struct {
	File string
	Text string
	// At maps a rune offset in Text to the 1-based line and column of File. Nil: the text stands at
	// line 1, column 1. Quoting and folding shift columns, so only the reader of the file can know.
	At    func(rune int) (line, column int)
	Lines []string // the file's lines, for the snippet; nil: those of Text
	Scope Scope
	Event crm.EventKind // with ScopeEvent: which event.* names exist
	// Starts are, with ScopeStart, the kinds of event that may have started the run; "" is a schedule.
	Starts []crm.EventKind
	Steps  []string // with ScopeRun: the ids of the steps that steps.ID may name; nil: any
}

// Scope says which names an expression may use; now is always there.
type Scope uint8

// The scopes, to be combined.
const (
	ScopeEvent     Scope = 1 << iota // event.*, of the kind Source.Event
	ScopeContact                     // contact.*
	ScopeTombstone                   // tombstone.*
	ScopeRun                         // run.*, steps.*
	ScopeError                       // error.*
	ScopeStart                       // event.* of what started the run, which is over: in place of ScopeEvent
)

// part is a stretch of the source as a source of its own, from a rune offset on.
func (s Source) part(text string, offset int) Source {
	whole := s
	s.Text = text
	s.At = func(r int) (int, int) { return whole.position(offset + r) }
	if s.Lines == nil {
		s.Lines = strings.Split(whole.Text, "\n")
	}
	return s
}

// position gives the line and column of a rune offset in the text.
func (s Source) position(offset int) (line, column int) {
	if s.At != nil {
		return s.At(offset)
	}
	line, column = 1, 1
	for _, r := range s.Text {
		if offset == 0 {
			break
		}
		offset--
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column + offset
}

// snippet gives a line of the file, "" if it is not known.
func (s Source) snippet(line int) string {
	lines := s.Lines
	if lines == nil {
		lines = strings.Split(s.Text, "\n")
	}
	if line < 1 || line > len(lines) {
		return ""
	}
	return strings.TrimRight(lines[line-1], "\r\n")
}

// fail makes the diagnostic for the runes [from, to) of the text.
func (s Source) fail(code string, from, to int, message, hint string) *Diagnostic {
	line, column := s.position(from)
	d := &Diagnostic{File: s.File, Line: line, Column: column, Length: max(to-from, 1), Severity: "error",
		Code: code, Message: message, Hint: hint, Snippet: s.snippet(line)}
	if d.Snippet != "" { // a line ends before its carriage return
		d.Column = min(d.Column, utf8.RuneCountInString(d.Snippet)+1)
	}
	if end, _ := s.position(max(to-1, from)); end != line { // the rest is on other lines
		d.Length = max(utf8.RuneCountInString(d.Snippet)-d.Column+1, 1)
	}
	return d
}
