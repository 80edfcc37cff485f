package triggers

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

var update = flag.Bool("update", false, "write the golden files")

// Each of these is wrong in one way; the golden file shows where the caret stands.
var wrong = []string{
	`contact.emial == "x"`,
	`contcat.email == "x"`,
	`contact.nickname == "x"`,
	`email == "x"`,
	`contact.email == 5`,
	`contact.email = "x"`,
	`contact.tags contains "VIP"`,
	`not "VIP" in contact.tags`,
	`"é" == contact.nmae`,
	`"漢字" == contact.nmae`,
	"\tcontact.nmae == \"x\"",
	`contact.created_at > "2026-01-01"`,
	`now - contact.created_at > 14`,
	`now - contact.created_at > duration("14 days")`,
	`event.tagg == "x"`,
	`event.status == "x"`,
	`tombstone.reason == "x"`,
	`steps.gte.status == "done"`,
	`steps.my.status == "done"`,
	`steps.get.rows == 1`,
	`contact == nil`,
	`contact.email`,
	`contact.email ?? "x" == "y"`,
	`contact.email and event.tag == "x"`,
	`event.tag == "x" and (contact.email == "y"`,
	`event.tag == "x`,
	`now() > contact.created_at`,
	`lowr(contact.email) == "x"`,
	`any(contact.tags, any(contact.tags, true))`,
	`contact.email matches "("`,
	`contact.tags == ["x"]`,
	`contact.email == "x" AND true`,
	`contact.email == "x" && contact.emial == "y" && contcat.x`,
	"contact.email == \"x\"\n  and contact.emial == \"y\"",
}

func TestDiagnosticsGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, text := range wrong {
		src := everything(text)
		src.Scope &^= ScopeTombstone
		_, err := CompileExpr(src, Bool)
		if err == nil {
			t.Errorf("%s compiles", text)
		}
		for _, d := range Findings(err) {
			if Codes[d.Code] == "" {
				t.Errorf("%s: the code %s is not published", text, d.Code)
			}
			b.WriteString(d.Render() + "\n")
		}
	}
	golden(t, "diagnostics.golden", b.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test -run %s -update writes it anew\n%s", file, t.Name(), got)
	}
}

// The caret stands under the token itself, not only where it stood when the file was written.
func TestPositions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, token string }{
		{`"é漢" == contact.nmae`, "nmae"},
		{`contcat.email == "x"`, "contcat"},
		{"true and\n\tcontact.nmae == \"\"", "nmae"},
		{`any(contact.tags, # == foo)`, "foo"},
		{`contact.fields.a > 1 and contact.lists.x == nmae`, "nmae"},
		{`contact.email matches "("`, `"("`},
		{`now - duration("x") < now`, `"x"`},
		{`[1, nope][0] == 1`, "nope"},
		{`{"a": nope}.a == 1`, "nope"},
		{`true ? nope : false`, "nope"},
		{`contact.tags[nope] == ""`, "nope"},
		{`contact.tags[1:nope][0] == ""`, "nope"},
		{`contact.fields[nope] == ""`, "nope"},
		{`not nope`, "nope"},
	} {
		_, err := CompileExpr(everything(c.text), Bool)
		ds := Findings(err)
		if len(ds) != 1 {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		line := []rune(strings.Split(c.text, "\n")[ds[0].Line-1])
		if got := string(line[ds[0].Column-1 : ds[0].Column-1+ds[0].Length]); got != c.token {
			t.Errorf("%s: the caret is under %q, not %q", c.text, got, c.token)
		}
	}
}

// The reader of a file knows where each rune stands; nothing else is believed.
func TestMappedPositions(t *testing.T) {
	t.Parallel()
	lines := strings.Split("triggers:\n  - event: x\n    if: contact.nmae == 1\n", "\n")
	src := Source{File: "w.yaml", Text: "contact.nmae == 1", Scope: ScopeContact, Lines: lines,
		At: func(r int) (int, int) { return 3, 9 + r }}
	_, err := CompileExpr(src, Bool)
	want := "w.yaml:3:17: error[E104]: contact has no field nmae\n" +
		" 3 |     if: contact.nmae == 1\n" +
		"   |                 ^^^^\n" +
		"   hint: did you mean contact.name?\n"
	if ds := Findings(err); len(ds) != 1 || ds[0].Render() != want {
		t.Errorf("%v\n%s", err, ds[0].Render())
	}
	src.Text, src.Lines[2] = "a ${ now } ${ contact.nmae }", "    if: a ${ now } ${ contact.nmae }"
	_, err = CompileTemplate(src)
	if err == nil || !strings.HasPrefix(err.Error(), "w.yaml:3:31: error[E104]") {
		t.Errorf("%v", err)
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	_, err := CompileExpr(everything(`contcat.x == 1 and contact.emial == ""`), Bool)
	if ds := Findings(err); len(ds) != 2 || ds[0].Code != "E102" || ds[1].Code != "E104" {
		t.Errorf("%v", err)
	}
	if crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("the product's code is %q", crm.CodeOf(err))
	}
	if Findings(errors.New("x")) != nil || Findings(nil) != nil {
		t.Error("findings in what is none")
	}
	if len(strings.Split(err.Error(), "\n")) != 2 {
		t.Errorf("%q", err.Error())
	}
}

// What a file or an expression holds must not reach a terminal that would obey it, and the caret must
// stay under its token.
func TestRenderIsHarmless(t *testing.T) {
	t.Parallel()
	d := &Diagnostic{File: "a\x1b[2J.yaml", Line: 1, Column: 7, Length: 2, Severity: "error", Code: "E102",
		Message: "\u202enothing\nhas\r that\u0085name", Hint: "\x07did you mean\u2066 this?", Snippet: "\ta\x1b[\u2028=xy"}
	want := "a·[2J.yaml:1:7: error[E102]: ·nothing·has· that·name\n" +
		" 1 | \ta·[·=xy\n" +
		"   | \t     ^^\n" +
		"   hint: ·did you mean· this?\n"
	if got := d.Render(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if got := d.Error(); got+"\n" != want[:len(got)+1] {
		t.Errorf("got %q", got)
	}
}
