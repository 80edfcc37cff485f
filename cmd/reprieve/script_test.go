package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"
)

// TestScripts runs testdata/*.txtar. A script has, beside the usual commands:
//
//	exits CODE COMMAND…         run it, which must exit with the code
//	eventually REGEXP COMMAND…  run it again and again until it succeeds and its output matches; . is any
//	take NAME REGEXP            put the first group of the last output into the environment
//	wellformed FORMAT           the last output is json, jsonl, yaml or csv, and not empty
//	mayfly DIR VERSION READ…    make a folder with a version of the plugin that dies
//
// $REPRIEVE_DATA is a fresh directory's name, $DEMO the example data, $PLUGIN the example of a plugin, $SDK this
// repository.
func TestScripts(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	var goEnv struct{ GOCACHE, GOMODCACHE, GOPROXY string } // a script has no home to find them in
	if raw, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY").Output(); err != nil || json.Unmarshal(raw, &goEnv) != nil {
		t.Fatalf("go env: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			tmp, err := os.MkdirTemp("/tmp", "rp-")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(tmp) })
			env.Setenv("TMPDIR", tmp) // short, for sockets
			env.Setenv("REPRIEVE_DATA", filepath.Join(tmp, "d"))
			env.Setenv("DEMO", filepath.Join(examples, "demo"))
			env.Setenv("PLUGIN", filepath.Join(examples, "plugin-go"))
			env.Setenv("SDK", filepath.Dir(examples))
			env.Setenv("GOCACHE", goEnv.GOCACHE)
			env.Setenv("GOMODCACHE", goEnv.GOMODCACHE)
			env.Setenv("GOPROXY", goEnv.GOPROXY)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "eventually": scriptEventually, "take": scriptTake, "wellformed": scriptWellFormed,
			"mayfly": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(makeMayfly(ts.MkAbs(args[0]), args[1], args[2:]...))
			},
		},
	})
}

func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit %d, wanted %d", got, want)
	}
}

func scriptEventually(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[0])
	for range 300 {
		if err := ts.Exec(args[1], args[2:]...); err == nil && (args[0] == "." || re.MatchString(ts.ReadFile("stdout"))) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("never: %s", re)
}

func scriptTake(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func scriptWellFormed(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	if strings.TrimSpace(text) == "" {
		ts.Fatalf("nothing was printed")
	}
	switch args[0] {
	case "json":
		var v map[string]any
		ts.Check(json.Unmarshal([]byte(text), &v))
	case "jsonl":
		for line := range strings.Lines(text) {
			var v map[string]any
			ts.Check(json.Unmarshal([]byte(line), &v))
		}
	case "yaml":
		var v map[string]any
		ts.Check(yaml.Unmarshal([]byte(text), &v))
	case "csv":
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll() // refuses rows of another width
		ts.Check(err)
		if len(rows) < 2 {
			ts.Fatalf("there is only a header")
		}
	default:
		ts.Fatalf("no format %s", args[0])
	}
}
