package workflow

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/triggers"
)

// maxSize is how long a file may be, in bytes: what the YAML parser can be made to do grows with it.
const maxSize = 256 << 10

// maxSnippet is how long a line may be, in runes, to be shown below a message.
const maxSnippet = 1000

// file is a file's text for the eye: what a diagnostic can point at.
type file struct {
	name  string
	lines []string // without line ends
	runes [][]rune // the same, since columns count runes
}

// span is a stretch of one line: 1-based line and column, and a length in runes.
type span struct{ line, column, length int }

// newFile splits a text whose line ends are \n. What cannot be shown is not: a diagnostic must not do
// to a terminal what the file was refused for.
func newFile(name, text string) *file {
	text = strings.Map(func(r rune) rune {
		if r != utf8.RuneError && unreadable(r, utf8.RuneLen(r)) != "" {
			return '·'
		}
		return r
	}, text)
	f := &file{name: name, lines: strings.Split(text, "\n")}
	for _, l := range f.lines {
		f.runes = append(f.runes, []rune(l))
	}
	return f
}

// diagnostic makes a finding about s, which is moved to the nearest thing that is visible: the parser
// gives an absent value the place behind its key, which may be the end of the file.
func (f *file) diagnostic(severity, code string, s span, hint, format string, args ...any) *triggers.Diagnostic {
	d := &triggers.Diagnostic{File: f.name, Line: s.line, Column: s.column, Length: s.length,
		Severity: severity, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	f.place(d)
	return d
}

// place puts a diagnostic onto a visible character and its underline within one line.
func (f *file) place(d *triggers.Diagnostic) {
	s := f.visible(d.Line, d.Column)
	if s.line != d.Line || s.column != d.Column {
		d.Length = s.length
	}
	d.Line, d.Column, d.Snippet = s.line, s.column, f.lines[s.line-1]
	line := f.runes[s.line-1]
	if len(line) > maxSnippet {
		d.Snippet = ""
	}
	end := min(len(line), s.column-1+d.Length)
	for end > s.column && unicode.IsSpace(line[end-1]) {
		end--
	}
	d.Length = max(1, end-s.column+1)
}

// visible finds the character at a place or, if there is none to see, the nearest before it on its
// line, after it on its line, on an earlier line, on a later one. A blank file gives its first place.
func (f *file) visible(line, column int) span {
	line = min(max(line, 1), len(f.runes))
	l := f.runes[line-1]
	start := min(column, len(l)) - 1
	for c := start; c >= 0; c-- {
		if !unicode.IsSpace(l[c]) {
			return span{line, c + 1, 1}
		}
	}
	for c := max(start, 0); c < len(l); c++ {
		if !unicode.IsSpace(l[c]) {
			return span{line, c + 1, 1}
		}
	}
	shown := func(l []rune) bool {
		return slices.ContainsFunc(l, func(r rune) bool { return !unicode.IsSpace(r) })
	}
	for n := line - 1; n >= 1; n-- {
		if shown(f.runes[n-1]) {
			return f.visible(n, len(f.runes[n-1]))
		}
	}
	for n := line + 1; n <= len(f.runes); n++ {
		if shown(f.runes[n-1]) {
			return f.visible(n, 1)
		}
	}
	return span{1, 1, 1}
}

// firstWord gives the place of the first visible word of a line.
func (f *file) firstWord(line int) span {
	line = min(max(line, 1), len(f.runes))
	l := f.runes[line-1]
	from := slices.IndexFunc(l, func(r rune) bool { return !unicode.IsSpace(r) })
	if from < 0 {
		return span{line, 1, 1}
	}
	to := from
	for to < len(l) && !unicode.IsSpace(l[to]) {
		to++
	}
	return span{line, from + 1, to - from}
}

// from gives the beginning of what stands at a place.
func (f *file) from(line, column int) string {
	if line < 1 || line > len(f.runes) || column < 1 || column > len(f.runes[line-1]) {
		return ""
	}
	l := f.runes[line-1][column-1:]
	return string(l[:min(len(l), 8)])
}

// load turns a file's bytes into the text that is parsed: \n at line ends, no byte order mark. It
// refuses what makes a text look different from what it is, before any parser sees it.
func load(name string, src []byte) (*file, string, triggers.Diagnostics) {
	if len(src) > maxSize {
		f := newFile(name, "")
		return f, "", triggers.Diagnostics{f.diagnostic("error", codeSize, span{1, 1, 1},
			"split the workflow in two, or move long texts to where they are used",
			"the file has %d bytes; at most %d are read", len(src), maxSize)}
	}
	text := strings.ReplaceAll(string(bytes.TrimPrefix(src, []byte("\ufeff"))), "\r\n", "\n")
	f := newFile(name, strings.ToValidUTF8(text, "\ufffd"))
	var found triggers.Diagnostics
	line, column := 1, 1
	for rest := text; rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch why := unreadable(r, n); {
		case why != "":
			hint := "delete it; in a double-quoted text it can be written as an escape"
			if r == utf8.RuneError {
				hint = "save the file as UTF-8"
			}
			found = append(found, f.diagnostic("error", codeEncoding, span{line, column, 1}, hint, "%s", why))
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		rest = rest[n:]
		if len(found) == 20 { // not a text file at all
			break
		}
	}
	return f, text, found
}

// unreadable says why a character may not stand in a file, "" if it may. YAML takes some characters
// for line ends that no editor shows as one; the controls of writing direction can make a condition
// look like its opposite.
func unreadable(r rune, size int) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return "the file is not valid UTF-8"
	case r == '\n', r == '\t':
		return ""
	case r == '\r', r == '\u0085', r == '\u2028', r == '\u2029':
		return fmt.Sprintf("the character U+%04X ends a line for YAML, but not for an editor", r)
	case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return fmt.Sprintf("the character U+%04X changes the direction in which text is shown", r)
	case r < 0x20, r >= 0x7f && r < 0xa0, r == '\ufeff', r == 0xfffe, r == 0xffff:
		return fmt.Sprintf("the control character U+%04X cannot stand in a file", r)
	}
	return ""
}

// maxFindings is how many diagnostics are given: a file that is not meant to be a workflow has one a word.
const maxFindings = 200

// sortFindings orders diagnostics by place, then by code, and drops repetitions.
func sortFindings(ds triggers.Diagnostics) triggers.Diagnostics {
	slices.SortStableFunc(ds, func(a, b *triggers.Diagnostic) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, strings.Compare(a.Code, b.Code))
	})
	ds = slices.CompactFunc(ds, func(a, b *triggers.Diagnostic) bool { return *a == *b })
	return ds[:min(len(ds), maxFindings)]
}

// nearest gives the word that was probably meant, "" if none is near.
func nearest(word string, words []string) string {
	best, limit := "", max(1, len([]rune(word))/3)+1
	for _, w := range words {
		if d := distance([]rune(word), []rune(w)); d < limit {
			best, limit = w, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap to get from one word to the other.
func distance(a, b []rune) int {
	if len(a) > 64 || len(b) > 64 {
		return 1 << 20
	}
	var row [3][65]int
	for j := range len(b) + 1 {
		row[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev, cur := &row[(i-1)%3], &row[i%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			replace := 1
			if a[i-1] == b[j-1] {
				replace = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], row[(i-2)%3][j-2]+1)
			}
		}
	}
	return row[len(a)%3][len(b)]
}

// meant is the hint for a word that nobody knows.
func meant(word string, words []string) string {
	if w := nearest(word, words); w != "" {
		return fmt.Sprintf("did you mean %s?", w)
	}
	if len(words) == 0 {
		return ""
	}
	return "possible here: " + strings.Join(words, ", ")
}
