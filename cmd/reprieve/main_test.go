package main

import (
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins/sdk"
	"github.com/reprieve-run/reprieve/server"
)

// asReprieve in the environment makes the test binary the product. Its actions cannot be told so,
// since plugins get an empty environment: they are known by their arguments.
const asReprieve = "REPRIEVE_TEST_AS_REPRIEVE"

// The test binary is also the product, each of its actions, and the third-party plugin mayfly.
func TestMain(m *testing.M) {
	product := func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
	switch {
	case len(os.Args) == 3 && os.Args[1] == "action", os.Getenv(asReprieve) != "":
		product()
	case len(os.Args) >= 3 && os.Args[1] == mayflyArg:
		serveMayfly(os.Args[2], os.Args[3:])
	}
	testscript.Main(m, map[string]func(){"reprieve": product})
}

// mayflyArg is the argument by which the test binary knows that it is the plugin mayfly.
const mayflyArg = "as-mayfly"

type mayflyParams struct {
	Lives int `json:"lives" jsonschema:"how many attempts at a step die"`
}

// serveMayfly serves a plugin that dies in its calls as often as it is told to, and then works.
func serveMayfly(version string, reads []string) {
	sdk.Serve("mayfly", version, sdk.Action{
		Name: "mayfly.tag", Summary: "Die, or tag the contact.", Effects: []sdk.EffectKind{sdk.TagAdd}, Reads: reads,
		Run: sdk.Func(func(_ context.Context, call sdk.Call, p mayflyParams) (sdk.Effects, error) {
			if call.Attempt <= p.Lives { // as badly as it can: in the middle of a line, a child holding its pipes
				pipes := []*os.File{nil, os.NewFile(1, "stdout"), os.NewFile(2, "stderr")}
				_, _ = os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{Files: pipes, Sys: &syscall.SysProcAttr{Setpgid: true}})
				_, _ = pipes[2].WriteString("{\"@message\": 5}\n" + strings.Repeat("x", 1<<20))
				os.Exit(137)
			}
			return sdk.Effects{sdk.AddTag(0, "survived "+call.Run.ID)}, nil
		}),
	})
}

// shortDir gives a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

var admin = crm.Actor{ID: "user:test", Role: crm.Admin}

// inProcess opens a data directory here, on a clock that stands until it is moved.
func inProcess(t *testing.T, dir string, p place) (*opened, *clock.Virtual, server.Caller) {
	t.Helper()
	v := clock.NewVirtual(demoStart)
	p.dir, p.key, p.clock, p.log, p.noSync = dir, testKey, v, zerolog.Nop(), true
	o, err := open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
	return o, v, o.app.As(admin)
}

// must calls a verb that has to succeed.
func must[A any](t *testing.T, c server.Caller, verb string, q any) A {
	t.Helper()
	var a A
	if err := c.Call(t.Context(), verb, q, &a, nil); err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	return a
}

// reprieve makes a command that runs this binary as the product, with its temporary files in tmp.
func reprieve(t *testing.T, tmp string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = []string{asReprieve + "=1", "TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH")}
	return cmd
}

// writeKey puts the master key of the tests into a data directory.
func writeKey(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(hex.EncodeToString(testKey)), 0o600); err != nil {
		t.Fatal(err)
	}
}
