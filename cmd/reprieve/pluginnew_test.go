package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/plugins/plugintest"
)

// A new plugin in Python or Node, under its own name, keeps every promise where the interpreter and its packages are.
func TestNewInOtherLanguages(t *testing.T) {
	t.Parallel()
	for lang, prepare := range map[string]func(t *testing.T, dir string) (interpreter string){"python": pythonHere, "node": nodeHere} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "mine")
			var out, errs bytes.Buffer
			if code := run([]string{"plugin", "new", "--lang", lang, "mine", dir}, strings.NewReader(""), &out, &errs); code != exitOK {
				t.Fatal(code, errs.String())
			}
			interpreter := prepare(t, dir)
			p, name, err := trialOf(dir)
			if err != nil || name != "mine" {
				t.Fatal(name, err)
			}
			p.Command[0] = interpreter
			plugintest.Run(t, p)
		})
	}
}

func pythonHere(t *testing.T, _ string) string {
	t.Helper()
	for _, name := range []string{os.Getenv("REPRIEVE_PYTHON"), "python3", "/usr/bin/python3"} {
		if path, err := exec.LookPath(name); name != "" && err == nil && exec.CommandContext(t.Context(), path, "-c", "import grpc, google.protobuf, cryptography").Run() == nil {
			return path
		}
	}
	t.Skip("no python3 with grpcio, protobuf and cryptography; REPRIEVE_PYTHON names one")
	return ""
}

func nodeHere(t *testing.T, dir string) string {
	t.Helper()
	path, err := exec.LookPath("node")
	modules := os.Getenv("REPRIEVE_NODE_MODULES")
	if err != nil || modules == "" {
		t.Skip("no node, or REPRIEVE_NODE_MODULES names no folder with its packages")
	}
	if err := os.CopyFS(filepath.Join(dir, "node_modules"), os.DirFS(modules)); err != nil {
		t.Fatal(err)
	}
	return path
}
