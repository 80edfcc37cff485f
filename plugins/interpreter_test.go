package plugins

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// scriptFolder makes a plugin that is a shell script around the test binary, and its own copy of the shell.
func scriptFolder(t *testing.T, words string) (folder, shell string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	dir := t.TempDir()
	folder, shell = filepath.Join(dir, "test"), filepath.Join(dir, "shell")
	put(t, shell, text)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "start.sh"), []byte("exec "+self+" action test.do\n"))
	put(t, filepath.Join(folder, "plugin.yaml"), fmt.Appendf(nil,
		"name: test\nversion: 1.2.3\nprotocol: 1\ninterpreter: %q\ncommand: start.sh\n", strings.ReplaceAll(words, "SHELL", shell)))
	return folder, shell
}

// A script is run by the interpreter that was found at the install, and by no other: were the sum not compared
// at each start, the swapped shell would be run.
func TestInterpreterIsPinned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder, shell := scriptFolder(t, "SHELL -e")
	h, _ := newHost(t, Options{Dir: dir})
	m, err := h.Install(folder)
	if err != nil {
		t.Fatal(err)
	}
	if m.Runs.Path != shell || len(m.Runs.SHA256) != 64 || len(m.Runs.Args) != 1 {
		t.Errorf("found %+v", m.Runs)
	}
	if out, err := h.Execute(t.Context(), "test.do", batch("echo", live(1))); err != nil || out[0].Status != Done {
		t.Fatal(out, err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(shell)
	if err != nil {
		t.Fatal(err)
	}
	put(t, shell, append(text, 0))
	again, _ := newHost(t, Options{Dir: dir})
	if _, err := again.Execute(t.Context(), "test.do", batch("echo", live(1))); crm.CodeOf(err) != crm.CodeDenied || !strings.Contains(err.Error(), shell) {
		t.Errorf("with another interpreter: %v", err)
	}
	put(t, shell, text)
	lock := filepath.Join(dir, "plugins.lock")
	was, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	put(t, lock, []byte(strings.Replace(string(was), `"-e"`, `"-x"`, 1)))
	third, _ := newHost(t, Options{Dir: dir})
	if _, err := third.Execute(t.Context(), "test.do", batch("echo", live(1))); crm.CodeOf(err) != crm.CodeDenied {
		t.Errorf("with other flags in the lock file than in plugin.yaml: %v", err)
	}
}

// A script may name its interpreter itself; then it is executed from memory like any binary.
func TestScriptOfItsOwn(t *testing.T) {
	t.Parallel()
	folder, shell := scriptFolder(t, "SHELL")
	text, err := os.ReadFile(filepath.Join(folder, "start.sh"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "start.sh"), append([]byte("#!"+shell+"\n"), text...))
	put(t, filepath.Join(folder, "plugin.yaml"), []byte("name: test\nversion: 1.2.3\nprotocol: 1\ncommand: start.sh\n"))
	h, _ := newHost(t, Options{Dir: t.TempDir()})
	if _, err := h.Install(folder); err != nil {
		t.Fatal(err)
	}
	if out, err := h.Execute(t.Context(), "test.do", batch("echo", live(1))); err != nil || out[0].Status != Done {
		t.Fatal(out, err)
	}
}

func TestFindInterpreter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	loose := filepath.Join(dir, "loose")
	put(t, loose, []byte("#!/bin/sh\n"))
	if err := os.Chmod(loose, 0o777); err != nil {
		t.Fatal(err)
	}
	for words, why := range map[string]string{
		"no-such-interpreter-here": "not installed",
		"./python3":                "neither a name nor an absolute path",
		"bin/python3":              "neither a name nor an absolute path",
		"/bin/../bin/sh":           "neither a name nor an absolute path",
		"\x1b[31msh":               "no proper name",
		" ":                        "no proper name",
		loose + " -x":              "others than its owner can write",
		dir:                        "not installed",
	} {
		if in, err := findInterpreter(words); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %+v, %v", words, in, err)
		}
	}
	if in, err := findInterpreter(""); err != nil || in.Path != "" {
		t.Errorf("none: %+v, %v", in, err)
	}
	in, err := findInterpreter("sh  -e -u")
	if err != nil || !filepath.IsAbs(in.Path) || len(in.Args) != 2 || in.words("sh") != "sh -e -u" || in.words("/x") != in.Path+" -e -u" {
		t.Errorf("sh: %+v, %v", in, err)
	}
}
