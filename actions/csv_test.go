package actions

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

func exportTo(t testing.TB, dir string) sdk.Action {
	t.Helper()
	a := csvExport()
	raw, _ := json.Marshal(map[string]string{"dir": dir})
	if err := a.Configure(raw); err != nil {
		t.Fatal(err)
	}
	return a
}

func row(key, file string, columns []string, c sdk.Contact) step {
	params, _ := json.Marshal(csvParams{file, columns})
	return step{sdk.Call{Key: key, Now: noon, Targets: []sdk.Target{{ID: "con_x", State: sdk.Live, Contact: c}}}, params}
}

func code(err error) string {
	var f *sdk.FailError
	var r *sdk.RetryError
	switch {
	case errors.As(err, &f):
		return f.Code
	case errors.As(err, &r):
		return "retry"
	case err != nil:
		return err.Error()
	}
	return ""
}

func TestExport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := exportTo(t, dir)
	columns := []string{"id", "created_at", "email", "phone", "external_id", "tags", "fields.note", "fields.n", "fields.none"}
	in := row("k1", "out.csv", columns, sdk.Contact{CreatedAt: noon, Email: "ada@example.com", Phone: "+4915112345678", ExternalID: "=1+1",
		Tags: []string{"a", "b"}, Fields: map[string]any{"note": "@SUM(\"a\",\nb)", "n": -1.5}})
	in.DryRun = true
	if r, err := decide(a, in); err != nil || r.Skipped != "dry run" {
		t.Fatal(r, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "out.csv")); err == nil {
		t.Fatal("a dry run made the file")
	}
	in.DryRun = false
	for i := range 3 { // the second by the same process, the third by one that was started anew
		if i == 2 {
			a = exportTo(t, dir)
		}
		if r, err := decide(a, in); err != nil || (r.Skipped == "") != (i == 0) {
			t.Fatal(i, r, err)
		}
	}
	rows := read(t, filepath.Join(dir, "out.csv"))
	want := "con_x|2026-05-04T12:00:00Z|ada@example.com|+4915112345678|'=1+1|a, b|'@SUM(\"a\", b)|'-1.5|"
	if len(rows) != 2 || strings.Join(rows[0], "|") != strings.Join(columns, "|")+"|_key" || strings.Join(rows[1][:9], "|") != want || len(rows[1][9]) != 32 {
		t.Errorf("%q", rows)
	}
	if _, err := decide(a, row("k2", "out.csv", []string{"id"}, sdk.Contact{})); code(err) != "other_columns" {
		t.Error(err)
	}
}

func read(t interface{ Fatal(...any) }, file string) [][]string {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Names that lead out of the folder, links too, are not followed; nothing outside is made or changed.
func TestExportStaysInItsFolder(t *testing.T) {
	t.Parallel()
	outer := t.TempDir()
	dir := filepath.Join(outer, "in")
	victim := filepath.Join(outer, "victim.csv")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(victim, []byte("x\n"), 0o600), os.Symlink(victim, filepath.Join(dir, "link.csv")),
		os.Symlink("../victim.csv", filepath.Join(dir, "rel.csv")), os.Mkdir(filepath.Join(dir, "folder.csv"), 0o700)); err != nil {
		t.Fatal(err)
	}
	a := exportTo(t, dir)
	for _, name := range []string{"", ".csv", "../victim.csv", "..", "/etc/x.csv", victim, "a/b.csv", `a\b.csv`, "x.txt", "x.csv\x00", "-x.csv", "x.csv ", strings.Repeat("x", 200) + ".csv"} {
		if _, err := decide(a, row("k", name, []string{"id"}, sdk.Contact{})); code(err) != "invalid_params" {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"link.csv", "rel.csv", "folder.csv"} {
		if _, err := decide(a, row("k", name, []string{"id"}, sdk.Contact{})); code(err) != "retry" {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, columns := range [][]string{nil, {"password"}, {"id", "id"}, {"fields."}, {"_key"}} {
		if _, err := decide(a, row("k", "x.csv", columns, sdk.Contact{})); code(err) != "invalid_params" {
			t.Errorf("%q: %v", columns, err)
		}
	}
	if b, _ := os.ReadFile(victim); string(b) != "x\n" {
		t.Errorf("the file outside is %q", b)
	}
	if all, _ := os.ReadDir(outer); len(all) != 2 {
		t.Errorf("%v", all)
	}
	if _, err := decide(csvExport(), row("k", "x.csv", []string{"id"}, sdk.Contact{})); code(err) != "not_configured" {
		t.Errorf("without a folder: %v", err)
	}
	for _, c := range []string{`{"dir":"relative"}`, `{"dir":"/no/such/folder"}`, `{"folder":"/tmp"}`, `[]`} {
		x := csvExport()
		if x.Configure([]byte(c)) == nil {
			t.Errorf("%s was taken", c)
		}
	}
}

// Whatever a kill left of the file, each step's row is there once after it was tried again, and no row that
// was whole is lost. The file is cut where it may be after a kill: anywhere behind what was whole before.
func TestExportAfterAKill(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "export")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "x.csv")
		a, n := exportTo(t, dir), 0
		want := map[string]bool{}
		rt.Repeat(map[string]func(*rapid.T){
			"kill": func(rt *rapid.T) {
				before, _ := os.ReadFile(file)
				n++
				in := row(fmt.Sprint("key", n), "x.csv", []string{"fields.a", "fields.n"}, sdk.Contact{Fields: map[string]any{
					"a": rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\"", "a\nb", "=x", "\r\n", ",", "é", ""})).Draw(rt, "a"), "n": fmt.Sprint(n)}})
				want[fmt.Sprint(n)] = true
				if _, err := decide(a, in); err != nil {
					rt.Fatal(err)
				}
				after, _ := os.ReadFile(file)
				cut := rapid.IntRange(len(before), len(after)).Draw(rt, "cut")
				if err := os.Truncate(file, int64(cut)); err != nil {
					rt.Fatal(err)
				}
				if rapid.Bool().Draw(rt, "restart") {
					a = exportTo(t, dir)
				}
				if _, err := decide(a, in); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				if len(want) == 0 {
					return
				}
				rows := read(rt, file)
				seen := map[string]bool{}
				for _, r := range rows[1:] {
					if len(r) != 3 || seen[r[1]] || !want[r[1]] || r[0] != "" && strings.ContainsAny(r[0][:1], "=+-@\t\r\n") {
						rt.Fatalf("%q", r)
					}
					seen[r[1]] = true
				}
				if len(seen) != len(want) {
					rt.Fatalf("%d rows of %d", len(seen), len(want))
				}
			},
		})
	})
}
