package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// At a terminal a delete and a restore look the contact up, say whom they will hit, and do nothing
// without the word.
func TestPrompts(t *testing.T) {
	dir := shortDir(t)
	var out, errs bytes.Buffer
	say := func(want int, typed string, args ...string) string {
		t.Helper()
		out.Reset()
		errs.Reset()
		c := &cli{in: strings.NewReader(typed + "\n"), out: &out, err: &errs, tty: true}
		if code := c.run(t.Context(), append(args, "--data", dir)); code != want {
			t.Fatalf("%v with %q: exit %d, wanted %d\n%s%s", args, typed, code, want, &out, &errs)
		}
		return errs.String()
	}
	say(exitOK, "", "init")
	say(exitOK, "", "contact", "create", "--email", "ada@example.com", "--field", "first_name=Ada\x1b[2J")
	id := "con_" + strings.Fields(out.String()[strings.Index(out.String(), "con_")+4:])[0]
	if _, err := crm.ParseID[crm.ContactKind](id); err != nil {
		t.Fatal(err)
	}
	asks := func(said string) {
		t.Helper()
		if !strings.Contains(said, id+" (Ada·[2J)") || strings.Contains(said, "\x1b") {
			t.Errorf("it asks %q", said)
		}
	}
	asks(say(exitUsage, "no", "contact", "delete", "ada@example.com"))
	asks(say(exitUsage, "delete", "contact", "delete", "ada@example.com"))
	if said := say(exitNotFound, "DELETE", "contact", "delete", "bob@example.com"); strings.Contains(said, "Type DELETE") {
		t.Errorf("it asks about nobody: %s", said)
	}
	if said := say(exitConflict, "y", "contact", "restore", "ada@example.com"); strings.Contains(said, "[y/N]") {
		t.Errorf("it asks about one that is live: %s", said)
	}
	asks(say(exitOK, "DELETE", "contact", "delete", "ada@example.com"))
	asks(say(exitUsage, "n", "contact", "restore", "ada@example.com"))
	asks(say(exitOK, "y", "contact", "restore", "ada@example.com"))
}

// What is written for a spreadsheet reads back as what there was: an import takes one quote off.
func TestGuarded(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "a": "a", "=1": "'=1", "'=1": "''=1", "''-": "'''-", "'a": "'a", "-": "'-", "@x": "'@x", "\tx": "'\tx",
		"+12025550199": "+12025550199", "'+12025550199": "''+12025550199", "+1 202": "'+1 202",
	} {
		if got := guarded([]string{in})[0]; got != want {
			t.Errorf("%q is written as %q, wanted %q", in, got, want)
		}
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		t    table
		want string
	}{
		"empty columns go": {table{{"id", "due_at", "name"}, {"1", "", "Ada"}, {"22", "", ""}}, "ID  NAME\n1   Ada\n22\n"},
		"without rows":     {table{{"id", "name"}}, "ID  NAME\n"},
		"controls":         {table{{"id"}, {"a\x1b[2J\u202e\n\u0085b"}}, "ID\na·[2J···b\n"},
	} {
		var out bytes.Buffer
		if err := (&cli{out: &out}).columns(c.t); err != nil || out.String() != c.want {
			t.Errorf("%s: %q, %v", name, &out, err)
		}
	}
}
