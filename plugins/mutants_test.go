package plugins

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are bugs that could be made here, and the tests that would find them on Linux.
var mutants = []struct{ bug, file, is, was, tests string }{
	{"the group is not killed", "image_linux.go", "_ = unix.Kill(-pid, unix.SIGKILL)", "", "TestRefused"},
	{"the pipes of what is left are waited for", "runner.go", "deadline := time.Now().Add(drain)", "deadline := time.Time{}", "TestRefused"},
	{"descriptors stay open", "runner.go", "	c.stdout.Close()\n	c.stderr.Close()\n	return nil\n", "	return nil\n", "TestZoo/^crash_in_a_call$"},
	{"no pid namespace", "contain_linux.go", "unix.CLONE_NEWUSER|unix.CLONE_NEWPID|net)", "unix.CLONE_NEWUSER|net)", "TestZoo/^(daemon|runaway)$"},
	{"no network namespace", "contain_linux.go", "[]uintptr{unix.CLONE_NEWNET, 0}", "[]uintptr{0}", "TestProbe"},
	{"it outlives its host", "contain_linux.go", "Pdeathsig: syscall.SIGKILL", "Pdeathsig: 0", "TestPluginDiesWithHost"},
	{"landlock is only claimed", "landlock_linux.go", "unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset)", "unix.SYS_GETPID, uintptr(ruleset)", "TestProbe"},
	{"the data directory can be read", "landlock_linux.go", "if e.Name() != filepath.Base(dir) {", "if true {", "TestProbe|TestBeside"},
	{"limits are only claimed", "contain_linux.go", "&unix.Rlimit{Cur: most, Max: most}, nil)", "nil, nil)", "TestProbe|TestZoo/^eats_memory$"},
	{"tcp is taken", "runner.go", `if network != "unix" {`, "if false {", "TestZoo/^a_tcp_address$"},
	{"any socket is taken", "runner.go", "if filepath.Clean(addr) != addr || filepath.Dir(addr) != filepath.Clean(c.dir) {", "if false {", "TestZoo/^(a_path_outside|another's_socket)$"},
	{"lines have no end", "../internal/pluginlog/pluginlog.go", "MaxLine   = 16 << 10", "MaxLine   = 16 << 30", "TestZoo/^a_line_of_10_MB$"},
	{"replies have no end", "process.go", "grpc.MaxCallRecvMsgSize(actionv1.MaxReply)", "grpc.MaxCallRecvMsgSize(1 << 30)", "TestZoo/^a_huge_reply$"},
	{"any effect is taken", "check.go", "case !s.Allows(e.Kind):", "case false:", "TestZoo/^undeclared$"},
	{"any answer is taken", "check.go", "case out[i].Status != NoOutcome:", "case false:", "TestZoo/^answers_twice$"},
	{"a folder is not compared", "image.go", "slices.Sorted(maps.Keys(all))", "slices.Sorted(maps.Keys(im.files))", "TestZoo/^an_added_file$"},
	{"a hang is waited for", "execute.go", "context.WithTimeout(ctx, spec.Timeout)", "context.WithTimeout(ctx, 1000*spec.Timeout)", "TestZoo/^hang_in_a_call$"},
}

// TestMutants holds the list to the sources; with REPRIEVE_MUTANTS=1, or the name of a bug, it also plants each in a build of its
// own and wants the tests to fail, which takes some minutes.
func TestMutants(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, m := range mutants {
		source, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), m.is); n != 1 {
			t.Errorf("%s: %s has %q %d times", m.bug, m.file, m.is, n)
			continue
		}
		if plant := os.Getenv("REPRIEVE_MUTANTS"); plant == "" || plant != "1" && plant != m.bug {
			continue
		}
		path, err := filepath.Abs(m.file)
		if err != nil {
			t.Fatal(err)
		}
		planted, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
		put(t, planted, []byte(strings.Replace(string(source), m.is, m.was, 1)))
		text, err := json.Marshal(map[string]map[string]string{"Replace": {path: planted}})
		if err != nil {
			t.Fatal(err)
		}
		put(t, overlay, text)
		binary := filepath.Join(dir, "mutant.test")
		build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, ".")
		if out, err := build.CombinedOutput(); err != nil {
			t.Errorf("%s does not build: %s", m.bug, out)
			continue
		}
		out, err := exec.Command(binary, "-test.run", m.tests, "-test.timeout", "60s").CombinedOutput()
		if found := err != nil && strings.Contains(string(out), "FAIL"); !found {
			t.Errorf("%s: %s does not find it\n%s", m.bug, m.tests, out)
		} else {
			t.Logf("%d of %d: %s is found by %s", i+1, len(mutants), m.bug, m.tests)
		}
	}
}
