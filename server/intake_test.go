package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/reprieve-run/reprieve/crm"
)

// rowsOf reads a CSV of contacts to its end, one byte a read, which no split may notice.
func rowsOf(t *testing.T, file string) ([]intakeContact, []Reject) {
	t.Helper()
	rows, rejects, err := tryRows(file)
	if err != nil {
		t.Fatalf("readContacts: %v", err)
	}
	return rows, rejects
}

func tryRows(file string) (rows []intakeContact, rejects []Reject, err error) {
	err = readContacts(iotest.OneByteReader(strings.NewReader(file)), func([]string) {},
		func(c intakeContact) error { c.Row = nil; rows = append(rows, c); return nil },
		func(r Reject) { rejects = append(rejects, r) })
	return rows, rejects, err
}

func tryItems(file string) (items []intakeItem, rejects []Reject, err error) {
	err = readAssociated(strings.NewReader(file), func([]string) {},
		func(it intakeItem) error { it.Row = nil; items = append(items, it); return nil },
		func(r Reject) { rejects = append(rejects, r) })
	return items, rejects, err
}

// spoken is what a reject says where people and logs may see it: all but the row itself.
func spoken(rejects []Reject) string {
	var b strings.Builder
	for _, r := range rejects {
		r.Row = nil
		text, _ := json.Marshal(r)
		b.Write(append(text, '\n'))
	}
	return b.String()
}

// codes lists line and code of each reject.
func codes(rejects []Reject) string {
	var out []string
	for _, r := range rejects {
		out = append(out, fmt.Sprintf("%d %s", r.Line, r.Code))
	}
	return strings.Join(out, ", ")
}

func TestIntakeDate(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"":                          "",
		"2026-01-31":                "2026-01-31T00:00:00Z",
		"2026-01-31 14:05:06":       "2026-01-31T14:05:06Z",
		"01/31/2026":                "2026-01-31T00:00:00Z",
		"1/3/2026":                  "2026-01-03T00:00:00Z",
		"2026/01/31":                "2026-01-31T00:00:00Z",
		"2026-01-31T14:05:06.5Z":    "2026-01-31T14:05:06.5Z",
		"2026-01-31T14:05:06-05:00": "2026-01-31T19:05:06Z",
		" 2026-01-31 ":              "2026-01-31T00:00:00Z",
	}
	for in, want := range good {
		if at, ok := intakeDate(in); !ok || at.String() != want {
			t.Errorf("intakeDate(%q) = %v %v, want %s", in, at, ok, want)
		}
	}
	// A year that an instant cannot hold would come back as another one.
	for _, in := range []string{"31/12/2026", "2026-02-30", "soon", "0001-01-01", "9999-12-31", "20260131", "2026-01-31 25:00:00"} {
		if at, ok := intakeDate(in); ok {
			t.Errorf("intakeDate(%q) = %v, want it refused", in, at)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"ann@example.com": true, "a.b+c@sub.example.org": true, "ÿ@example.com": true,
		"ann": false, "ann@localhost": false, "ann@example.com.": false, "Ann <ann@example.com>": false, "a b@example.com": false,
		"ann@[192.0.2.1]": false, "ann@example.com, bob@example.com": false, "@example.com": false, "a@.com": false,
		strings.Repeat("a", 250) + "@example.com": false,
	} {
		if got := validEmail(in); got != want {
			t.Errorf("validEmail(%q) = %v, want %v", in, got, want)
		}
	}
	for in, want := range map[string]bool{
		"+15550100": true, "+1 (555) 010-0199": true, "555.010.0199": true, "0049/30/1234567": true, "123456789012345": true,
		"555010": false, "1234567890123456": false, "555-0100 x22": false, "1.5555E+10": false, "(+49) 30 123456": false, "call me": false, "+": false,
	} {
		if got := validPhone(in); got != want {
			t.Errorf("validPhone(%q) = %v, want %v", in, got, want)
		}
	}
}

// A file that cannot be used is one error with a hint, and no row of it is taken.
func TestUnusableFiles(t *testing.T) {
	t.Parallel()
	utf16 := func(s string) string { return "\xff\xfe" + strings.Join(strings.Split(s, ""), "\x00") + "\x00" }
	for name, file := range map[string]string{
		"empty":               "",
		"only empty lines":    "\r\n\n",
		"no header":           "Ann,Lee,ann@example.com\nBob,Lee,bob@example.com\n",
		"no identity":         "Tags,Source\nvip,web\n",
		"utf-16":              utf16("Email\na@example.com\n"),
		"utf-16 without mark": utf16("Email\na@example.com\n")[2:],
		"latin-1 header":      "Email,Stra\xdfe\na@example.com,x\n",
		"old macintosh":       "Email,Name\ra@example.com,Ann\r",
		"broken header":       "Email,\"Name\nann@example.com,Ann\n",
		"too many columns":    "Email" + strings.Repeat(",x", intakeColumns) + "\n",
		"endless header":      "Email," + strings.Repeat("x", intakeRecord) + "\n",
	} {
		rows, _, err := tryRows(file)
		var e *crm.Error
		if !errors.As(err, &e) || e.Code != crm.CodeInvalid || e.Hint == "" || len(rows) > 0 {
			t.Errorf("%s: %d rows, error %v, want an invalid one with a hint", name, len(rows), err)
		} else if strings.Contains(e.Error()+e.Hint, "example.com") || strings.Contains(e.Error(), "Ann") {
			t.Errorf("%s: the error repeats the file: %v", name, e)
		}
	}
	if _, _, err := tryItems(utf16("{}")); crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("utf-16 lines: %v, want invalid", err)
	}
}

// What the caller says ends the reading; a file that breaks off says so.
func TestErrorsInBetween(t *testing.T) {
	t.Parallel()
	stop := errors.New("enough")
	n := 0
	count := func(intakeContact) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	}
	none := func(r Reject) { t.Errorf("reject %+v", r) }
	if err := readContacts(strings.NewReader("Name\na\nb\nc\n"), func([]string) {}, count, none); !errors.Is(err, stop) || n != 2 {
		t.Errorf("got %v after %d rows, want the caller's error after 2", err, n)
	}
	cut := errors.New("line cut")
	for name, read := range map[string]func(io.Reader) error{
		"contacts": func(r io.Reader) error { n = -9; return readContacts(r, func([]string) {}, count, none) },
		"associated": func(r io.Reader) error {
			return readAssociated(r, func([]string) {}, func(intakeItem) error { return nil }, none)
		},
	} {
		file := io.MultiReader(strings.NewReader("{\"kind\":\"company\",\"id\":\"1\",\"name\":\"id\"}\n{\"ki"), iotest.ErrReader(cut))
		if name == "contacts" {
			file = io.MultiReader(strings.NewReader("Name\na\nb"), iotest.ErrReader(cut))
		}
		if err := read(file); !errors.Is(err, cut) || crm.CodeOf(err) != crm.CodeInvalid {
			t.Errorf("%s: %v, want the reader's error", name, err)
		}
	}
}

// endless gives the same bytes for ever; it fails the test that reads too much of them.
type endless struct {
	t    *testing.T
	line string
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left -= len(p); e.left < 0 {
		return 0, io.EOF
	}
	return copy(p, bytes.Repeat([]byte(e.line), len(p)/len(e.line)+1)), nil
}

// A line without an end is skipped, not gathered: what is held never exceeds the limit.
func TestLongLines(t *testing.T) {
	t.Parallel()
	long := io.MultiReader(strings.NewReader("{\"kind\":\""), &endless{t: t, line: "x", left: 8 << 20}, strings.NewReader("\n{\"kind\":\"company\",\"id\":\"1\",\"name\":\"n\"}\n"))
	lines, err := newIntakeLines("test", long, intakeField)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lines.next()
	if err != nil || !l.long || cap(l.text) > 0 {
		t.Errorf("long line: long %v, holds %d bytes, %v", l.long, cap(l.text), err)
	}
	if l, err = lines.next(); err != nil || l.num != 2 || l.long || len(l.text) == 0 {
		t.Errorf("the line after it: %+v, %v", l.num, err)
	}
}

// The example data comes in whole, and of the broken table exactly the broken rows stay out.
func TestExampleData(t *testing.T) {
	t.Parallel()
	file := func(name string) string {
		b, err := os.ReadFile("../examples/demo/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	rows, rejects := rowsOf(t, file("contacts.csv"))
	if len(rows) != 5200 || len(rejects) > 0 {
		t.Errorf("contacts.csv: %d rows, rejects %s", len(rows), codes(rejects))
	}
	ids := map[string]bool{}
	for _, r := range rows {
		ids[r.Contact.External.Value] = true
	}
	items, rejects, err := tryItems(file("associated.jsonl"))
	if err != nil || len(rejects) > 0 {
		t.Errorf("associated.jsonl: %v, rejects %s", err, codes(rejects))
	}
	for _, it := range items {
		for _, c := range it.Contacts {
			if !ids[c] {
				t.Errorf("line %d names the contact %s, who is not in contacts.csv", it.Line, c)
			}
		}
	}
	rows, rejects = rowsOf(t, file("broken.csv"))
	if got, want := codes(rejects), "3 bad_email, 5 bad_phone, 7 quoting, 9 bad_list, 11 columns"; len(rows) != 7 || got != want {
		t.Errorf("broken.csv: %d rows, rejects %s, want 7 and %s", len(rows), got, want)
	}
}
