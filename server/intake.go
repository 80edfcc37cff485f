package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/mail"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// The readers of imports turn a file into rows and say of each line that they did not take why. They
// hold one record at a time, and of the rows before it only a hash of each identity; they know no
// store: whether a row meets a contact that exists is for the caller to find out.

// The limits of an import. They are far above what a contact needs and keep a hostile file from
// filling memory.
const (
	intakeField   = 1 << 20 // bytes of a cell, and of a line of associated records
	intakeRecord  = 4 << 20 // bytes of a record of a CSV, quoted line breaks included
	intakeColumns = 500
	intakeShown   = 16 << 10 // bytes of a row that its reject repeats
	intakeNames   = 200      // tags, lists or campaigns of a row
)

// intakeContact is one good row.
type intakeContact struct {
	Line      int         // where the record starts, from 1
	Contact   crm.Contact // facts only: no account, id, salt or revision, and no lists
	Lists     []intakeMembership
	Campaigns []string // by name, in the order of the file
	Row       []string // what the file said, for a reject
}

// intakeMembership is a place on a list that is known by name only.
type intakeMembership struct {
	Name   string
	Status crm.Status
}

// intakeItem is one good line of associated records: Record is set for the kinds of record, Object
// for an opportunity and a company. Ids of contacts are those of the system that the file is from.
type intakeItem struct {
	Line     int
	Kind     crm.ItemKind
	ID       string     // in the other system
	Contacts []string   // one for a record
	Primary  string     // an opportunity's, empty or one of Contacts
	Record   crm.Record // Kind, Title, Body, Status, CreatedAt, Due
	Object   crm.Object // Kind, Name, Stage, Status, Cents
	Row      []string   // the line, for a reject

	Conversation string // a message's, in the other system
}

// Reject is a row that was not taken. Row is the only member that holds what the file said, so that
// a person can mend it; it must not be logged. Of a row whose cells could not be told apart it is the
// line in one piece; it is empty if the row is larger than 16 KiB, so that many rejects may be kept.
type Reject struct {
	Line   int      `json:"line"` // where the record starts, from 1
	Code   string   `json:"code"` // stable
	Reason string   `json:"reason"`
	Row    []string `json:"row,omitempty"`
}

// The stable codes of rejects.
const (
	rejectColumns   = "columns"
	rejectQuoting   = "quoting"
	rejectTooLarge  = "too_large"
	rejectEncoding  = "encoding"
	rejectEmail     = "bad_email"
	rejectPhone     = "bad_phone"
	rejectList      = "bad_list"
	rejectDate      = "bad_date"
	rejectDND       = "bad_dnd"
	rejectNobody    = "no_identity"
	rejectDuplicate = "duplicate"
	rejectTag       = "bad_tag"
	rejectTags      = "too_many_tags"
	rejectCampaigns = "too_many_campaigns"
	rejectJSON      = "bad_json"
	rejectKey       = "unknown_key"
	rejectKind      = "unknown_kind"
	rejectMissing   = "missing"
	rejectValue     = "bad_value"
)

// rowError is why a row is not taken. Its text is a constant of the program, but for numbers and the
// names of columns: what a cell says never gets into it.
type rowError struct{ code, reason string }

func (e *rowError) Error() string { return e.reason }

// reject says that the row at a line is not taken.
func (e *rowError) reject(line int, row []string) Reject {
	return Reject{Line: line, Code: e.code, Reason: e.reason, Row: shown(row)}
}

// shown gives a row if it is small enough to be kept.
func shown(row []string) []string {
	size := 0
	for _, cell := range row {
		size += len(cell)
	}
	if size > intakeShown {
		return nil
	}
	return row
}

// intakeLine is a line with its terminator.
type intakeLine struct {
	text []byte
	num  int
	long bool // more than the limit; text is empty then
}

// intakeLines reads lines of up to max bytes and skips what is longer.
type intakeLines struct {
	from *bufio.Reader
	max  int
	num  int
}

// newIntakeLines skips a byte order mark, and refuses a file that is UTF-16.
func newIntakeLines(op string, r io.Reader, maxLine int) (*intakeLines, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, crm.Errorf(op, crm.CodeInvalid, "the file cannot be read: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err = br.Discard(3)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")), bytes.IndexByte(head, 0) >= 0:
		return nil, crm.Errorf(op, crm.CodeInvalid, "the file is not UTF-8 text; it looks like UTF-16 or binary data").
			WithHint("save it as UTF-8; in a spreadsheet: Save as, CSV UTF-8")
	default:
		err = nil
	}
	return &intakeLines{from: br, max: maxLine}, err
}

// next gives the next line; io.EOF after the last.
func (l *intakeLines) next() (intakeLine, error) {
	line := intakeLine{num: l.num + 1}
	for {
		part, err := l.from.ReadSlice('\n')
		switch {
		case line.long || len(part) == 0:
		case len(line.text)+len(part) > l.max:
			line.long, line.text = true, nil
		default:
			line.text = append(line.text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || line.text == nil && !line.long):
			return intakeLine{}, err
		}
		l.num++
		return line, nil
	}
}

// blank says whether the line holds nothing.
func (l intakeLine) blank() bool { return !l.long && len(bytes.TrimRight(l.text, "\r\n")) == 0 }

// unread turns what a reader said into the error of an import; nil at the end of the file.
func unread(op string, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return crm.Errorf(op, crm.CodeInvalid, "the file cannot be read to its end: %w", err).
		WithHint("what came before that was taken; import the whole file again when it can be read")
}

// intakeSeen remembers where an identity was met first. It keeps half a SHA-256 of each, so that a
// file's addresses do not pile up in memory and no two are ever mixed up.
type intakeSeen map[[16]byte]int

func (s intakeSeen) key(kind, value string) [16]byte {
	sum := sha256.Sum256([]byte(kind + "\x00" + value))
	return [16]byte(sum[:16])
}

// intakeDate reads the dates that exports write. One without a zone is UTC. Years are those that an
// instant can hold with room for a retention.
func intakeDate(s string) (crm.Nanos, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, true
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly, "1/2/2006", "2006/1/2"} {
		if t, err := time.Parse(layout, s); err == nil {
			return crm.At(t), t.Year() >= 1900 && t.Year() <= 2200
		}
	}
	return 0, false
}

// validEmail wants a bare address with a dot in its domain, as every public one has.
func validEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 {
		return false
	}
	domain := s[strings.LastIndexByte(s, '@')+1:]
	return strings.Contains(domain, ".") && !strings.ContainsAny(domain, "[]") && !strings.HasSuffix(domain, ".")
}

// validPhone wants 7 to 15 digits. Letters are refused instead of skipped: the digits of an
// extension, or of a number that a spreadsheet rounded, would make another number.
func validPhone(s string) bool {
	strange := func(r rune) bool { return !strings.ContainsRune("0123456789 -().+/", r) }
	if strings.ContainsFunc(s, strange) || strings.LastIndexByte(s, '+') > 0 {
		return false
	}
	n := len(strings.TrimPrefix(crm.NormalIdentity("phone", s), "+"))
	return n >= 7 && n <= 15
}
