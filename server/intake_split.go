package server

import (
	"bytes"
	"errors"
	"io"
)

// csvSplitter cuts a file into records as RFC 4180 quotes them. The standard reader takes a quote
// that nobody closes for the rest of the file; this one goes back and on with the next line, so that
// one bad row costs one row. What it looks ahead is at most a record.
type csvSplitter struct {
	lines *intakeLines
	ahead []intakeLine
	err   error // what came after the last line of ahead
	sep   byte
	cut   int // lines cut so far, for the test that the work is linear
}

// csvRecord is a record, or why there is none, with the line as the only cell: every line of the file is in exactly one, first to
// last, but for empty ones.
type csvRecord struct {
	first, last int
	cells       []string
	bad         *rowError
}

// peek gives the i-th line from here.
func (s *csvSplitter) peek(i int) (intakeLine, error) {
	for len(s.ahead) <= i && s.err == nil {
		var l intakeLine
		if l, s.err = s.lines.next(); s.err == nil {
			s.ahead = append(s.ahead, l)
		}
	}
	if len(s.ahead) <= i {
		return intakeLine{}, s.err
	}
	return s.ahead[i], nil
}

// skipBlank gives the first line that is not empty.
func (s *csvSplitter) skipBlank() (intakeLine, error) {
	for {
		l, err := s.peek(0)
		if err != nil || !l.blank() {
			return l, err
		}
		s.ahead = s.ahead[1:]
	}
}

// next gives the next record; io.EOF after the last.
func (s *csvSplitter) next() (csvRecord, error) {
	start, err := s.skipBlank()
	if err != nil {
		return csvRecord{}, err
	}
	// Going back costs little: a line that could open a quote of its own would have closed the one
	// that it was read in, so no line is looked at by more than two records that fail.
	bad := func(code, reason string) (csvRecord, error) {
		s.ahead = s.ahead[1:]
		line := []string{string(trimEOL(start.text))}
		return csvRecord{first: start.num, last: start.num, cells: line, bad: &rowError{code, reason}}, nil
	}
	cut := csvCut{sep: s.sep}
	for i, size := 0, 0; ; i++ {
		l, err := s.peek(i)
		switch {
		case errors.Is(err, io.EOF):
			return bad(rejectQuoting, "a quote is opened and never closed")
		case err != nil:
			return csvRecord{}, err
		}
		if size += len(l.text); l.long || size > intakeRecord {
			return bad(rejectTooLarge, "the record is larger than 4 MiB, or a quote in it is never closed")
		}
		s.cut++
		switch cut.line(l.text) {
		case cutBroken:
			return bad(rejectQuoting, `a quote stands where none may: quote the whole cell, and write a quote in it as ""`)
		case cutDone:
			s.ahead = s.ahead[i+1:]
			return csvRecord{first: start.num, last: l.num, cells: cut.cells}, nil
		}
	}
}

// csvCut cuts the lines of one record into cells.
type csvCut struct {
	sep    byte
	cells  []string
	cell   []byte
	quoted bool
}

type cutState int

const (
	cutOpen cutState = iota // inside quotes: the record goes on with the next line
	cutDone
	cutBroken
)

// line takes a line with its terminator.
func (c *csvCut) line(rest []byte) cutState {
	for {
		if !c.quoted && len(rest) > 0 && rest[0] == '"' {
			c.quoted, rest = true, rest[1:]
		}
		if !c.quoted {
			end := bytes.IndexByte(rest, c.sep)
			cell := rest
			if end < 0 {
				cell = trimEOL(rest)
			} else {
				cell = rest[:end]
			}
			if bytes.IndexByte(cell, '"') >= 0 {
				return cutBroken
			}
			c.cell = append(c.cell, cell...)
			c.push()
			if end < 0 {
				return cutDone
			}
			rest = rest[end+1:]
			continue
		}
		state, after := c.inQuotes(rest)
		if state != cutDone {
			return state
		}
		c.quoted = false
		c.push()
		if len(trimEOL(after)) == 0 {
			return cutDone
		}
		rest = after[1:]
	}
}

// inQuotes reads to the closing quote and gives what follows it: a separator or the end of the line.
func (c *csvCut) inQuotes(rest []byte) (cutState, []byte) {
	for {
		i := bytes.IndexByte(rest, '"')
		if i < 0 {
			c.cell = append(c.cell, rest...)
			return cutOpen, nil
		}
		c.cell = append(c.cell, rest[:i]...)
		rest = rest[i+1:]
		switch {
		case len(rest) > 0 && rest[0] == '"':
			c.cell, rest = append(c.cell, '"'), rest[1:]
		case len(trimEOL(rest)) == 0 || rest[0] == c.sep:
			return cutDone, rest
		default:
			return cutBroken, nil
		}
	}
}

// push ends a cell. Cells beyond what any header may have are dropped; their number is wrong anyway.
func (c *csvCut) push() {
	if len(c.cells) <= intakeColumns {
		c.cells = append(c.cells, string(c.cell))
	}
	c.cell = c.cell[:0]
}

func trimEOL(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// separator guesses what separates the cells of a header: spreadsheets of half of Europe write ;.
func separator(header []byte) byte {
	best, most, quoted := byte(','), 0, false
	count := map[byte]int{}
	for _, b := range header {
		quoted = quoted != (b == '"')
		if !quoted {
			count[b]++
		}
	}
	for _, sep := range []byte{',', ';', '\t'} {
		if count[sep] > most {
			best, most = sep, count[sep]
		}
	}
	return best
}
