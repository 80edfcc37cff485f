package plugins

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// old turns what is installed into what the first hosts left: a lock file of format 1 and one folder.
func old(t *testing.T, dir string) {
	t.Helper()
	lock, err := ReadLock(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	entries := []entry{}
	for _, p := range lock.Plugins {
		m := p.Versions[0]
		entries = append(entries, entry{Name: m.Name, Version: m.Version, Protocol: m.Protocol, Command: m.Command[anywhere], Args: m.Args,
			SHA256: m.SHA256[anywhere], Files: m.Files, Actions: m.Actions})
		if err := os.Rename(filepath.Join(dir, m.Name, m.Version), filepath.Join(dir, "temp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, m.Name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "temp"), filepath.Join(dir, m.Name)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"version": 1, "plugins": entries})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, lockName), text)
}

// What an older host installed is used where it lies, and moved when the catalogue changes; wherever the
// move was broken off, it is used all the same, and the move goes on.
func TestFormerLayout(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plugins")
	first, _ := newHost(t, Options{Dir: dir})
	if _, err := first.Install(fake{Version: "1.0.0"}.folder(t)); err != nil {
		t.Fatal(err)
	}
	old(t, dir)
	before, _ := os.ReadFile(filepath.Join(dir, lockName))
	next := fake{Version: "1.1.0"}.folder(t)
	for i, broken := range [][2]string{{}, {"acme", ".moving-acme"}, {".moving-acme", filepath.Join("acme", "1.0.0")}} {
		if i > 0 {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, broken[1])), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, broken[0]), filepath.Join(dir, broken[1])); err != nil {
				t.Fatal(err)
			}
		}
		h, _ := newHost(t, Options{Dir: dir})
		if v, _ := answers(t, h); v != "1.0.0" {
			t.Errorf("%d: %s answers", i, v)
		}
		if found, err := h.Verify(""); err != nil || len(found) != 1 || found[0].Problem != "" {
			t.Errorf("%d: %+v, %v", i, found, err)
		}
		if is, _ := os.ReadFile(filepath.Join(dir, lockName)); string(is) != string(before) {
			t.Errorf("%d: looking changed plugins.lock", i)
		}
		if i == 2 {
			if in, err := h.Install(next); err != nil || in.Was != "1.0.0" || !in.Current {
				t.Fatalf("%+v, %v", in, err)
			}
			if _, err := h.Use("acme", "1.0.0", nil); err != nil {
				t.Error(err)
			}
		}
	}
	h, _ := newHost(t, Options{Dir: dir})
	if v, _ := answers(t, h); v != "1.0.0" || versionsOf(h, "acme") != "1.0.0* 1.1.0" {
		t.Errorf("%s answers of %s", v, versionsOf(h, "acme"))
	}
	if found, err := CheckLock(dir, filepath.Join(dir, lockName)); err != nil || len(found) != 2 || found[0].Problem+found[1].Problem != "" {
		t.Errorf("%+v, %v", found, err)
	}
}

// Each difference between the lock file and what there is is named, by the host that would run it, by verify
// and by the check of the lock file.
func TestLockDifferences(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: dir})
	if _, err := h.Install(fake{Version: "1.0.0", Reads: []string{"tags"}}.folder(t)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, lockName)
	good, _ := os.ReadFile(file)
	folder := filepath.Join(dir, "acme", "1.0.0")
	edit := func(from, to string) func() {
		return func() {
			if !strings.Contains(string(good), from) {
				t.Errorf("there is no %s", from)
			}
			put(t, file, []byte(strings.Replace(string(good), from, to, 1)))
		}
	}
	tests := []struct {
		name, says string
		change     func()
		onlyStart  bool // only a start can show it
	}{
		{"none", "", func() {}, false},
		{"a file more", `"bin/more" is not what was installed: it was added`, func() { put(t, filepath.Join(folder, "bin", "more"), nil) }, false},
		{"another byte", `"bin/more" is not what was installed: it was added`, func() { put(t, filepath.Join(folder, "bin", "more"), []byte("x")) }, false},
		{"a file less", `"plugin.yaml" was installed and is gone`, func() { os.Rename(filepath.Join(folder, manifestFile), filepath.Join(dir, ".aside")) }, false},
		{"the current one", "0.9.0 is in use, which is not installed and trusted", edit(`"current": "1.0.0"`, `"current": "0.9.0"`), false},
		{"trust", "1.0.0 is in use, which is not installed and trusted", edit(`"trusted": true`, `"trusted": false`), false},
		{"the arguments", "plugins.lock has the args", edit(`"args": [`, `"args": ["x",`), false},
		{"the command", "plugins.lock has the command", edit(`"any": "./bin/acme"`, `"any": "bin/acme"`), false},
		{"the description", "plugins.lock has the description x", edit(`"protocol"`, `"description": "x", "protocol"`), false},
		{"the sum of a binary", "plugins.lock has another sum", edit(`"sha256": {`, `"sha256": {"linux/arm64": "x",`), false},
		{"a read more", "it no longer says that acme.flag reads email", edit(`"tags"`, `"email", "tags"`), true},
		{"a read less", "acme.flag reads tags, which was not installed", edit(`"tags"`, ``), true},
		{"more time", "it no longer says that acme.flag may take", edit(`"timeout_nanos": 30000000000`, `"timeout_nanos": 40000000000`), true},
	}
	for _, tt := range tests {
		tt.change()
		host, _ := newHost(t, Options{Dir: dir})
		_, err := host.Execute(t.Context(), "acme.flag", batch("", live(1)))
		if tt.says == "" && err != nil || tt.says != "" && (crm.CodeOf(err) != crm.CodeDenied || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: the start says %v", tt.name, err)
		}
		var e *crm.Error
		if tt.says != "" && (!asError(err, &e) || e.Hint == "") {
			t.Errorf("%s: nothing says what to do: %v", tt.name, err)
		}
		if err := host.Close(t.Context()); err != nil {
			t.Error(err)
		}
		found, err := CheckLock(dir, file)
		wrong := slices.ContainsFunc(found, func(v Verdict) bool { return v.Problem != "" })
		if err != nil || wrong != (tt.says != "") && !tt.onlyStart {
			t.Errorf("%s: the check says %+v, %v", tt.name, found, err)
		}
		if found, err = h.Verify("acme"); err != nil || slices.ContainsFunc(found, func(v Verdict) bool { return v.Problem != "" }) != (tt.says != "" && !tt.onlyStart) {
			t.Errorf("%s: verify says %+v, %v", tt.name, found, err)
		}
		put(t, file, good)
		_ = os.Remove(filepath.Join(folder, "bin", "more"))
		_ = os.Rename(filepath.Join(dir, ".aside"), filepath.Join(folder, manifestFile))
	}
	put(t, filepath.Join(dir, "acme", "2.0.0", manifestFile), nil)
	if found, err := h.Verify(""); err != nil || len(found) != 2 || found[1].Version != "2.0.0" || found[1].Problem == "" {
		t.Errorf("%+v, %v", found, err)
	}
}

// A plugin may bring a binary for each platform; all are pinned, and one without ours is refused.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: dir})
	from := fake{Version: "1.0.0"}.folder(t)
	text, _ := os.ReadFile(filepath.Join(from, manifestFile))
	command := func(yaml string) {
		put(t, filepath.Join(from, manifestFile), []byte(strings.Replace(string(text), "command: ./bin/acme", "command: "+yaml, 1)))
	}
	put(t, filepath.Join(from, "bin", "other"), []byte("for another machine"))
	command("{plan9/arm: bin/other}")
	if _, err := h.Install(from); err == nil || !strings.Contains(err.Error(), "plan9/arm") || !strings.Contains(err.Error(), here) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"{}", "{" + here + ": ../x}", "{Linux: x}", "{" + here + ": bin/acme, plan9/arm: bin/none}", "[x]"} {
		command(bad)
		if _, err := h.Install(from); crm.CodeOf(err) != crm.CodeInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
	command("{" + here + ": ./bin/acme, plan9/arm: bin/other}")
	in, err := h.Install(from)
	if err != nil || len(in.SHA256) != 2 || in.SHA256[here] == in.SHA256["plan9/arm"] {
		t.Fatalf("%+v, %v", in, err)
	}
	if v, _ := answers(t, h); v != "1.0.0" {
		t.Errorf("%s answers", v)
	}
	// the other platform's binary is pinned too
	put(t, filepath.Join(dir, "acme", "1.0.0", "bin", "other"), []byte("swapped"))
	if found, err := h.Verify(""); err != nil || !strings.Contains(found[0].Problem, "bin/other") {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestVersionOrder(t *testing.T) {
	t.Parallel()
	want := []string{"0.9", "1.2.0", "1.9.0", "1.10.0", "1.10.0-rc1", "2", "a"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareVersions)
	if !slices.Equal(got, want) {
		t.Error(got)
	}
	for _, bad := range []string{"", ".", "..", ".hidden", "a/b", `a\b`, "a b", "1.0.0\n", strings.Repeat("1", 65), "1:0"} {
		if (&Host{}).admissible(Manifest{Name: "acme", Version: bad, Protocol: 1, Command: Command{anywhere: "x"}}) == nil {
			t.Errorf("%q is a version", bad)
		}
	}
}

func asError(err error, e **crm.Error) bool {
	is, ok := err.(*crm.Error)
	*e = is
	return ok
}
