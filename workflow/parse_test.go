package workflow

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

var update = flag.Bool("update", false, "write the golden files")

func files(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files for %s", pattern)
	}
	out := map[string][]byte{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[n] = b
	}
	return out
}

// golden compares with a file, or writes it under -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update if that is right\n--- got\n%s--- want\n%s", name, got, want)
	}
}

// failer is what testing.T and rapid.T have in common.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func render(ds triggers.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.Render())
	}
	return b.String()
}

// ours replaces the words of package triggers by those of its table of codes: what it says, and to
// which hint, is tested there; here it matters where.
func ours(ds triggers.Diagnostics) triggers.Diagnostics {
	out := slices.Clone(ds)
	for i, d := range ds {
		if what := triggers.Codes[d.Code]; what != "" {
			e := *d
			e.Message = what
			if e.Hint != eventHint {
				e.Hint = ""
			}
			out[i] = &e
		}
	}
	return out
}

// placed checks what every diagnostic promises: it stands in the file, under something visible, it
// does not reach beyond its line, its code is documented, and it says something.
func placed(t failer, src []byte, ds triggers.Diagnostics) {
	t.Helper()
	text := strings.TrimPrefix(strings.ToValidUTF8(string(src), "\ufffd"), "\ufeff")
	lines := newFile("", strings.ReplaceAll(text, "\r\n", "\n")).lines
	blank := strings.TrimSpace(text) == "" || len(src) > maxSize
	for _, d := range ds {
		if _, ours := Codes[d.Code]; !ours && triggers.Codes[d.Code] == "" {
			t.Errorf("%v: the code is in no table", d)
		}
		if d.Message == "" || d.File == "" || d.Severity != "error" && d.Severity != "warning" {
			t.Errorf("%+v lacks something", *d)
		}
		if blank {
			continue
		}
		if d.Line < 1 || d.Line > len(lines) {
			t.Errorf("%v: no such line", d)
			continue
		}
		line := []rune(lines[d.Line-1])
		switch {
		case d.Column < 1 || d.Column+d.Length-1 > len(line) || d.Length < 1:
			t.Errorf("%v: column %d, length %d are not within %q", d, d.Column, d.Length, string(line))
		case unicode.IsSpace(line[d.Column-1]) || unicode.IsSpace(line[d.Column+d.Length-2]):
			t.Errorf("%v: the caret stands under a space of %q", d, string(line))
		case d.Snippet != string(line) && (len(line) <= maxSnippet || d.Snippet != ""):
			t.Errorf("%v: the snippet %q is not the line %q", d, d.Snippet, string(line))
		}
	}
}

// check parses and checks what holds for any input.
func check(t failer, src []byte) (*Workflow, triggers.Diagnostics) {
	t.Helper()
	w, err := Parse("file.yaml", src)
	ds := triggers.Findings(err)
	switch {
	case err == nil && w == nil, err != nil && w != nil:
		t.Fatalf("a workflow (%v) and an error (%v) exclude each other", w != nil, err)
	case err != nil && (len(ds) == 0 || crm.CodeOf(err) != crm.CodeInvalid):
		t.Fatalf("%v (%T) has no findings, or not the code invalid", err, err)
	case err == nil && (len(w.Nodes) == 0 || len(w.Triggers) == 0 || w.ID == "" || w.Key == nil):
		t.Fatalf("accepted without its parts: %v", w.ID)
	}
	placed(t, src, ds)
	if w != nil {
		wellLinked(t, w)
	}
	return w, ds
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	bad := files(t, "testdata/bad/*.yaml")
	if len(bad) < 80 {
		t.Fatalf("only %d bad files", len(bad))
	}
	for name, src := range bad {
		w, ds := check(t, src)
		if w != nil {
			t.Errorf("%s was accepted", name)
		}
		got := render(ours(ds))
		if !utf8.ValidString(got) {
			t.Errorf("%s: the diagnostics are not text", name)
		}
		golden(t, strings.TrimSuffix(name, ".yaml")+".golden", got)
	}
}

// TestCodes holds the table against what is really said.
func TestCodes(t *testing.T) {
	t.Parallel()
	_, ds := check(t, bytes.Repeat([]byte("# long\n"), maxSize/7+1))
	said := render(ds)
	for _, src := range files(t, "testdata/bad/*.yaml") {
		_, ds := check(t, src)
		said += render(ds)
	}
	for _, b := range files(t, "testdata/check/*.golden") {
		said += string(b)
	}
	said += "[" + codeSameID + "]" // TestTogether has it
	for code, what := range Codes {
		if !strings.Contains(said, "["+code+"]") && code != codeSchedule {
			t.Errorf("no test has %s: %s", code, what)
		}
	}
	for code, what := range triggers.Codes {
		if Codes[code] != "" {
			t.Errorf("%s is in two tables", code)
		}
		if !strings.Contains(said, "["+code+"]") && code != "E111" { // E205 says it first
			t.Errorf("no test has %s: %s", code, what)
		}
	}
}

func TestGoodFiles(t *testing.T) {
	t.Parallel()
	for name, src := range files(t, "testdata/good/*.yaml") {
		w, ds := check(t, src)
		if w == nil {
			t.Errorf("%s is refused:\n%s", name, render(ds))
			continue
		}
		crlf, ds := check(t, []byte("\ufeff"+strings.ReplaceAll(string(src), "\n", "\r\n")))
		if crlf == nil || len(crlf.Nodes) != len(w.Nodes) || crlf.Name != w.Name {
			t.Errorf("%s differs with other line ends:\n%s", name, render(ds))
		}
	}
}

func TestUnsubscribed(t *testing.T) {
	t.Parallel()
	src := files(t, "testdata/good/unsubscribed.yaml")["testdata/good/unsubscribed.yaml"]
	w, ds := check(t, src)
	if w == nil {
		t.Fatal(render(ds))
	}
	if w.ID != "unsubscribed-cleanup" || w.Name != "Delete contacts 14 days after they unsubscribe" || !bytes.Equal(w.Source, src) ||
		len(w.Revision) != 64 || w.Short() != w.Revision[:12] || w.Filter == nil || w.Key.String() != "contact.id" {
		t.Errorf("%v", w.ID)
	}
	if tr := w.Triggers[0]; tr.ID != "tagged" || tr.EventKind != crm.ContactTagAdded || tr.Event == nil || tr.Schedule != nil || tr.Line != 6 || tr.Column != 5 {
		t.Errorf("%+v", tr)
	}
	type row struct {
		id     string
		kind   NodeKind
		next   int
		line   int
		column int
	}
	want := []row{{"cool_off", Wait, 1, 14, 5}, {"recheck", Branch, -1, 16, 5}, {"remove", Action, -1, 20, 13}, {"done", Exit, -1, 24, 17}}
	for i, n := range w.Nodes {
		if got := (row{n.ID, n.Kind, n.Next, n.Line, n.Column}); got != want[i] {
			t.Errorf("node %d: %v, want %v", i, got, want[i])
		}
	}
	if w.Nodes[0].Wait != 14*crm.Day || w.Nodes[2].Action != "contact.delete" || w.Nodes[3].ExitStatus != "skipped" {
		t.Errorf("%+v", w.Nodes)
	}
	arms := w.Nodes[1].Arms
	if len(arms) != 2 || arms[0].If == nil || arms[0].First != 2 || arms[1].If != nil || arms[1].First != 3 {
		t.Errorf("%+v", arms)
	}
	if i, ok := w.Node("remove"); i != 2 || !ok {
		t.Error("remove is not found")
	}
	if _, ok := w.Node("nothing"); ok {
		t.Error("nothing is found")
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	w, ds := check(t, files(t, "testdata/good/sweep.yaml")["testdata/good/sweep.yaml"])
	if w == nil {
		t.Fatal(render(ds))
	}
	want := triggers.ScheduleSpec{Cron: "15 2 * * *", Zone: "Europe/Berlin", Gap: "next", Overlap: "first", Misfire: "last", Within: crm.Day}
	if a := w.Triggers[0]; a.Spec != want || a.Over != crm.OnlyDeleted || a.Schedule == nil || a.Event != nil || !a.Where.NeedsTombstone {
		t.Errorf("%+v", a)
	}
	b := w.Triggers[1]
	if b.Spec != (triggers.ScheduleSpec{Cron: "0 4 * * 0"}) || b.Over != crm.OnlyLive || len(b.Where.Reads) != 0 {
		t.Errorf("%+v", b)
	}
	if !b.Where.Keep(&crm.Contact{}, &crm.Life{}, nil, 0) {
		t.Error("without where, a schedule goes over every contact")
	}
}

// TestPrefixes cuts good files after every byte: a file that was cut is no crash, and what is said
// about it has a place. That a cut file can be a valid shorter one is why only complete content is
// ever applied; nothing here can know.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	for _, src := range files(t, "testdata/good/*.yaml") {
		for i := range src {
			check(t, src[:i])
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	good := files(t, "testdata/good/unsubscribed.yaml")["testdata/good/unsubscribed.yaml"]
	for _, c := range []struct {
		size int
		ok   bool
	}{{maxSize, true}, {maxSize + 1, false}} {
		src := append(append([]byte{}, good...), bytes.Repeat([]byte("#"), c.size-len(good))...)
		if w, _ := check(t, src); (w != nil) != c.ok {
			t.Errorf("%d bytes: accepted %v", c.size, w != nil)
		}
	}
}

// TestHostile feeds shapes that YAML parsers are known to choke on.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{
		"brackets": "[", "braces": "{", "braces and keys": "{a: ", "dashes": "- ", "questions": "? ", "anchors": "&a ", "aliases": "*a ",
		"tags": "!a ", "comments": "#\n", "documents": "---\n", "keys": "a: 1\n", "items": "- a\n", "quotes": "'", "blocks": "|\n", "spaces": " ",
	} {
		if w, _ := check(t, []byte(strings.Repeat(part, 32<<10/len(part)))); w != nil {
			t.Errorf("%s were accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, src := range files(f, pattern) {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) { check(t, src) })
}
