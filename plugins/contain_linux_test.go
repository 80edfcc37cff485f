package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// all are the containments of a third party's process that needs no network.
var all = []string{ownGroup, emptyEnv, privateSocket, diesWithHost, sealedImage, noNewPrivs, noWrites, noStore, noTCP, noSignals,
	userSpace, pidSpace, netSpace, limitCore, limitFiles, limitSize, limitMemory, limitProcs, limitsAtOnce}

// namespaces says whether this kernel has them for this user, without asking the host's code.
func namespaces() bool {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET}
	return cmd.Run() == nil
}

// accounts wants each containment in force or missing with a reason, and none in both.
func accounts(t *testing.T, c Containment, want []string) {
	t.Helper()
	got := slices.Clone(c.InForce)
	for _, g := range c.Missing {
		if got = append(got, g.What); g.Why == "" {
			t.Errorf("nothing says why there is no %s", g.What)
		}
	}
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("accounted for are %v\nwanted %v", got, want)
	}
}

// What is said to be in force withstands a process that tries; what every kernel has is in force.
func TestProbe(t *testing.T) {
	t.Parallel()
	hidden := t.TempDir()
	put(t, filepath.Join(hidden, "master.key"), []byte("canary"))
	c, err := Probe(t.Context(), []string{"/proc/self/exe", "probe"}, hidden)
	if err != nil {
		t.Fatal(err)
	}
	accounts(t, c, all)
	for _, g := range c.Missing {
		if strings.Contains(g.Why, "got through") {
			t.Errorf("%s: %s", g.What, g.Why)
		}
		t.Logf("missing: %s: %s", g.What, g.Why)
	}
	must := []string{ownGroup, emptyEnv, privateSocket, diesWithHost, sealedImage, noNewPrivs, limitCore, limitFiles, limitSize, limitMemory}
	if namespaces() {
		must = append(must, userSpace, pidSpace, netSpace)
	}
	for _, what := range must {
		if !slices.Contains(c.InForce, what) {
			t.Errorf("%s is not in force", what)
		}
	}
}

// A trial that gets through is told, whatever the kernel said.
func TestNotBorneOut(t *testing.T) {
	t.Parallel()
	c := Containment{InForce: []string{"a", "b", "c"}, Missing: []Gap{{"d", "why"}}}.borneOut(map[string]bool{"a": true, "b": false, "d": true})
	if fmt.Sprint(c.InForce) != "[a c]" || len(c.Missing) != 2 || c.Missing[0].What != "b" || c.Missing[0].Why == "" || c.Missing[1].What != "d" {
		t.Errorf("%+v", c)
	}
}

// The network is there for who declares that it needs it, and for nobody else; what is built in may write.
func TestContained(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		conf confine
		lack []string // of all
	}{
		{confine{}, []string{noStore, limitMemory}},
		{confine{hidden: "/proc/self", memory: 1 << 30}, nil},
		{confine{network: true}, []string{noTCP, noStore, limitMemory}},
		{confine{trusted: true}, []string{noWrites, noStore, limitMemory, limitSize, limitProcs}},
		{confine{trusted: true, network: true}, []string{noWrites, noStore, noTCP, limitMemory, limitSize, limitProcs}},
	} {
		tt.conf.private = t.TempDir()
		held, out, err := probe(t.Context(), exec.Command("/bin/true"), tt.conf)
		if err != nil {
			t.Fatal(string(out), err)
		}
		accounts(t, held, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == sealedImage || slices.Contains(tt.lack, s) }))
		if tt.conf.network && slices.Contains(held.InForce, netSpace) {
			t.Errorf("%+v is cut off", tt.conf)
		}
	}
	h, _ := newHost(t, Options{}, "test.a", "test.b")
	h.plugins["test.b"].launch.network = true
	pidOf(t, h, "test.a")
	pidOf(t, h, "test.b")
	for _, p := range h.Processes() {
		own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.PID))
		if cut := own != namespace("net"); own != "" && cut != (p.Plugin == "test.a") && slices.Contains(p.Contained.InForce, pidSpace) {
			t.Errorf("%s: cut off from the network is %v", p.Plugin, cut)
		}
	}
}

// beside lists all but the way to the directory.
func TestBeside(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	for _, f := range []string{"a/data/x", "a/b", "a/c/d", "e"} {
		put(t, filepath.Join(top, f), nil)
	}
	if err := os.Symlink("a/data", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	got, err := beside(filepath.Join(top, "link"))
	if err != nil {
		t.Fatal(err)
	}
	var below []string
	for _, p := range got {
		if rel, err := filepath.Rel(top, p); err == nil && filepath.IsLocal(rel) {
			below = append(below, rel)
		}
		if rel, err := filepath.Rel(p, filepath.Join(top, "a/data")); err == nil && filepath.IsLocal(rel) {
			t.Errorf("%s holds the directory", p)
		}
	}
	if fmt.Sprint(below) != "[a/b a/c e link]" {
		t.Errorf("%v", below)
	}
}

// refuse makes the kernel refuse this process what containers usually do: namespaces, tracing, landlock.
func refuse() error {
	const load, jump, set, give = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	deny := unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW}
	filter := []unix.SockFilter{{Code: load}} // the number of the call
	for _, call := range []uint32{unix.SYS_PTRACE, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_UNSHARE} {
		filter = append(filter, unix.SockFilter{Code: jump, K: call, Jf: 1}, deny)
	}
	filter = append(filter, unix.SockFilter{Code: jump, K: unix.SYS_CLONE, Jt: 1}, allow,
		unix.SockFilter{Code: load, K: 16}, unix.SockFilter{Code: set, K: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET, Jf: 1}, deny, allow)
	goruntime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 || r != 0 {
		return errors.Join(errno, fmt.Errorf("thread %d", r))
	}
	return nil
}

// serveRefused runs a plugin where the kernel refuses, and says how it is contained.
func serveRefused(dir string) {
	if err := refuse(); err != nil {
		panic(err)
	}
	h, err := New(Options{RunDir: dir, Builtin: testArgv, BuiltinNames: []string{"test.a"}, KillTimeout: time.Second})
	if err != nil {
		panic(err)
	}
	var children []string
	for _, mode := range []string{"grandchild", "daemon"} {
		out, err := h.Execute(context.Background(), "test.a", batch(mode, live(1)))
		if err != nil || out[0].Status != Done {
			panic(fmt.Sprint(out, err))
		}
		children = append(children, string(out[0].Output))
	}
	text, err := json.Marshal(h.Processes()[0].Contained)
	if err != nil {
		panic(err)
	}
	if err := h.Close(context.Background()); err != nil {
		panic(err)
	}
	fmt.Printf("%s\n%s\n", strings.Join(children, "\n"), text)
}

// Where the kernel refuses, plugins run all the same, in a group that is killed, and what is missing is told. A
// daemon that has left the group stays; the host does not wait for it, though it holds the plugin's pipes.
func TestRefused(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // for a host that hangs
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "refused", tempDir(t))
	cmd.WaitDelay = time.Second
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v %s", err, stderr.Bytes())
	}
	var pid, daemon int
	var c Containment
	d := json.NewDecoder(bytes.NewReader(text))
	if err := errors.Join(d.Decode(&pid), d.Decode(&daemon), d.Decode(&c)); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	gone(t, pid)
	if err := unix.Kill(daemon, unix.SIGKILL); err != nil {
		t.Errorf("the daemon: %v", err)
	}
	accounts(t, c, []string{ownGroup, emptyEnv, privateSocket, diesWithHost, noNewPrivs, noTCP, noSignals, userSpace, pidSpace, netSpace, limitCore, limitFiles, limitsAtOnce})
	for _, what := range []string{noTCP, noSignals, userSpace, pidSpace, netSpace, limitsAtOnce} {
		if slices.Contains(c.InForce, what) {
			t.Errorf("%s is said to be in force", what)
		}
	}
}

// A process that does not end when it is killed is given up, and its pipes are let go.
func TestUnkillable(t *testing.T) {
	t.Parallel()
	c := newChild(exec.Command("/bin/sleep", "1000"), confine{private: t.TempDir()}, io.Discard)
	c.patience = 10 * time.Millisecond
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	pid := c.pid
	c.pid = 1 << 30 // what is sent to it reaches nobody
	c.mu.Unlock()
	_ = c.Kill(t.Context())
	<-c.exited
	_ = c.Wait(t.Context())
	_ = unix.Kill(pid, unix.SIGKILL)
	gone(t, pid)
}
