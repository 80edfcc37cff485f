package workflow

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// mark is one rune of a scalar's value with its 0-based place in the file.
type mark struct {
	r            rune
	line, column int
}

// marks reads a scalar once more from the file, as the YAML parser did, and keeps where each rune of
// the value came from: quoting, escapes and folding make that impossible to compute from the value.
// A result whose runes differ from the parser's value is dropped, so that a caret is never under a
// wrong token: it is then under the scalar's first character.
func (f *file) marks(n *yaml.Node) []mark {
	w := &walker{lines: f.runes, line: n.Line - 1, column: n.Column - 1}
	if w.line < 0 || w.line >= len(w.lines) || w.column >= len(w.lines[w.line]) {
		return nil
	}
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.DoubleQuotedStyle:
		w.column++
		w.double()
	case yaml.SingleQuotedStyle:
		w.column++
		w.single()
	case yaml.LiteralStyle:
		w.block(true)
	case yaml.FoldedStyle:
		w.block(false)
	default:
		w.plain(len([]rune(n.Value)))
	}
	var b strings.Builder
	for _, m := range w.out {
		b.WriteRune(m.r)
	}
	if b.String() != n.Value {
		return nil
	}
	return w.out
}

// at gives the function that triggers.Source wants: rune offset in the value to line and column.
func (f *file) at(n *yaml.Node) func(int) (int, int) {
	var ms []mark
	read := false
	return func(offset int) (int, int) {
		if !read {
			ms, read = f.marks(n), true
		}
		switch {
		case len(ms) == 0:
			return n.Line, n.Column
		case offset < len(ms):
			m := ms[max(offset, 0)]
			return m.line + 1, m.column + 1
		}
		last := ms[len(ms)-1]
		return last.line + 1, last.column + 2
	}
}

// walker reads a scalar's text rune by rune.
type walker struct {
	lines        [][]rune
	line, column int
	out          []mark
}

func (w *walker) emit(r rune) { w.out = append(w.out, mark{r, w.line, w.column}) }

// rest is what is left of the line.
func (w *walker) rest() []rune {
	l := w.lines[w.line]
	return l[min(w.column, len(l)):]
}

// gap says whether the walker stands at the end of its line's text, where folding begins. Blanks that
// are not at the end are read here, all at once: looking ahead from each of them would be quadratic.
func (w *walker) gap() bool {
	rest := w.rest()
	n := 0
	for n < len(rest) && isBlank(rest[n]) {
		n++
	}
	if n == len(rest) {
		return true
	}
	for _, r := range rest[:n] {
		w.emit(r)
		w.column++
	}
	return false
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

func allBlank(rs []rune) bool {
	for _, r := range rs {
		if !isBlank(r) {
			return false
		}
	}
	return true
}

// fold goes over the end of a line and the blank lines behind it to the next text: one line end is a
// space, and of more all but the first are kept. After an escaped line end all that follow are kept.
// It reports false at the end of the file.
func (w *walker) fold(escaped bool) bool {
	from := mark{' ', w.line, w.column}
	breaks := 0
	for {
		if w.line+1 >= len(w.lines) {
			return false
		}
		w.line, w.column = w.line+1, 0
		if !allBlank(w.rest()) {
			break
		}
		breaks++
	}
	switch {
	case breaks > 0:
		for i := range breaks {
			w.out = append(w.out, mark{'\n', from.line + 1 + i, 0})
		}
	case !escaped:
		w.out = append(w.out, from)
	}
	for isBlank(w.rest()[0]) {
		w.column++
	}
	return true
}

// plain reads an unquoted scalar of n runes; what follows it (a comment, a comma) is not its own.
func (w *walker) plain(n int) {
	for len(w.out) < n {
		if w.gap() {
			if !w.fold(false) {
				return
			}
			continue
		}
		w.emit(w.rest()[0])
		w.column++
	}
}

func (w *walker) single() {
	for {
		end := w.gap()
		rest := w.rest()
		switch {
		case end:
			if !w.fold(false) {
				return
			}
		case rest[0] != '\'':
			w.emit(rest[0])
			w.column++
		case len(rest) > 1 && rest[1] == '\'':
			w.emit('\'')
			w.column += 2
		default:
			return
		}
	}
}

func (w *walker) double() {
	for {
		end := w.gap()
		rest := w.rest()
		switch {
		case end:
			if !w.fold(false) {
				return
			}
		case rest[0] == '"':
			return
		case rest[0] != '\\':
			w.emit(rest[0])
			w.column++
		case len(rest) == 1:
			if !w.fold(true) {
				return
			}
		default:
			w.escape(rest)
		}
	}
}

var escapes = map[rune]rune{'0': 0, 'a': 7, 'b': 8, 't': 9, '\t': 9, 'n': 10, 'v': 11, 'f': 12, 'r': 13,
	'e': 27, 'N': 0x85, '_': 0xa0, 'L': 0x2028, 'P': 0x2029}

// escape reads one escape of at least two runes.
func (w *walker) escape(rest []rune) {
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[rest[1]]
	r, known := escapes[rest[1]]
	if !known {
		r = rest[1] // \" \\ \/ and the like
	}
	if digits > 0 {
		r = 0
		for _, d := range rest[2:min(2+digits, len(rest))] {
			r = r<<4 | rune(strings.IndexRune("0123456789abcdef", d|0x20))
		}
	}
	w.emit(r)
	w.column += 2 + digits
}

// block reads a block scalar, literal (|) or folded (>), from its header on. The indentation is that
// of the first line with text, or of a longer blank one before it.
func (w *walker) block(literal bool) {
	header := string(w.rest())
	strip, keep := strings.HasPrefix(header[1:], "-"), strings.HasPrefix(header[1:], "+")
	var pending []mark // line ends of which it is not yet known what they become
	width, moreBefore := 0, false
	for first := true; w.line+1 < len(w.lines); {
		w.line, w.column = w.line+1, 0
		line := w.lines[w.line]
		spaces := 0
		for spaces < len(line) && line[spaces] == ' ' {
			spaces++
		}
		end := mark{'\n', w.line, len(line)}
		if spaces == len(line) && (first || spaces <= width) {
			if first {
				width = max(width, spaces)
			}
			if w.line+1 < len(w.lines) {
				pending = append(pending, end)
			}
			continue
		}
		if first {
			width = max(width, spaces)
		}
		if spaces < width || width == 0 {
			break
		}
		more := isBlank(line[width])
		w.join(pending, first || literal || more || moreBefore)
		first, moreBefore = false, more
		for w.column = width; w.column < len(line); w.column++ {
			w.emit(line[w.column])
		}
		pending = pending[:0]
		if w.line+1 < len(w.lines) {
			pending = append(pending, end)
		}
	}
	w.chomp(pending, strip, keep)
}

// join appends the line ends between two lines of a block scalar. Where they are folded, the first
// one is a space if it is alone and nothing otherwise.
func (w *walker) join(ends []mark, as bool) {
	switch {
	case as:
		w.out = append(w.out, ends...)
	case len(ends) == 1:
		w.out = append(w.out, mark{' ', ends[0].line, ends[0].column})
	case len(ends) > 1:
		w.out = append(w.out, ends[1:]...)
	}
}

// chomp appends the line ends behind the last line: one of them, none (-), or all (+). A block
// without text has only what + keeps.
func (w *walker) chomp(ends []mark, strip, keep bool) {
	switch {
	case keep:
		w.out = append(w.out, ends...)
	case !strip && len(ends) > 0 && len(w.out) > 0:
		w.out = append(w.out, ends[0])
	}
}
