package plugins

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
)

// animal is one way for a plugin to be bad, and what the host is to make of it.
type animal struct {
	name   string
	code   string        // of the error of a call
	item   string        // where there is none: of the first item's outcome; "" is Done
	within time.Duration // the host's patience at the start; 0 is 10 s
	// escapes: a descendant leaves the process group, and only a pid namespace gets hold of it. Where there is
	// none it stays, which is what `reprieve doctor` then says.
	escapes bool
	calls   int // how often it is called; 0 is once
	change  func(folder string) error
	also    func(z *zooRun) error // looked at before the host is closed
}

// A start that hangs is given up after this.
const hangs = 700 * time.Millisecond

// The zoo: what is written after a row is what only that row would find.
var zoo = []animal{
	{name: "hang at start", code: crm.CodeUnavailable, within: hangs},
	{name: "crash at start", code: crm.CodeUnavailable},
	{name: "exit 0 at once", code: crm.CodeUnavailable},
	{name: "garbage", code: crm.CodeUnavailable, within: hangs},
	{name: "half a handshake", code: crm.CodeUnavailable, within: hangs},
	{name: "a tcp address", code: crm.CodeUnavailable, within: hangs, also: said("only unix sockets are taken")},
	{name: "a path outside", code: crm.CodeUnavailable, within: hangs, also: said("outside the directory")},
	{name: "a path with dots", code: crm.CodeUnavailable, within: hangs, also: said("outside the directory")},
	{name: "an abstract one", code: crm.CodeUnavailable, within: hangs, also: said("outside the directory")},
	{name: "another's socket", code: crm.CodeUnavailable, within: hangs, also: said("outside the directory")},
	{name: "a linked socket", code: crm.CodeUnavailable, within: hangs, also: said("not a socket")},
	{name: "a wrong version", code: crm.CodeUnavailable, within: hangs},
	{name: "deaf", code: crm.CodeUnavailable, within: hangs},
	{name: "a line at start", code: crm.CodeUnavailable, within: hangs},
	{name: "children at start", code: crm.CodeUnavailable, within: hangs},
	{name: "mute", code: crm.CodeUnavailable, within: hangs},
	{name: "wants more", code: crm.CodeDenied},
	{name: "wants other facts", code: crm.CodeDenied},
	{name: "is somebody else", code: crm.CodeDenied},
	{name: "other action", code: crm.CodeDenied},
	{name: "a name with dots", code: crm.CodeDenied},
	{name: "an action outside", code: crm.CodeDenied},
	{name: "ten thousand", code: crm.CodeDenied},
	{name: "a swapped binary", code: crm.CodeDenied, change: func(dir string) error { return os.WriteFile(filepath.Join(dir, "zoo"), []byte("#!/bin/true\n"), 0o700) }},
	{name: "an added file", code: crm.CodeDenied, change: func(dir string) error { return os.WriteFile(filepath.Join(dir, "zoo.so"), nil, 0o600) }},
	{name: "a linked binary", code: crm.CodeUnavailable, change: func(dir string) error {
		return errors.Join(os.Remove(filepath.Join(dir, "zoo")), os.Symlink("/bin/true", filepath.Join(dir, "zoo")))
	}},
	{name: "hang in a call", code: crm.CodeUnavailable},
	{name: "crash in a call", code: crm.CodeUnavailable},
	{name: "half a reply", code: crm.CodeUnavailable},
	{name: "crash after reply"},
	{name: "closes up", code: crm.CodeUnavailable},
	{name: "burns", code: crm.CodeUnavailable},
	{name: "stops itself", code: crm.CodeUnavailable},
	{name: "eats memory", code: crm.CodeUnavailable},
	{name: "opens files", calls: 2},
	{name: "kills its host", calls: 2},
	{name: "removes its dir", calls: 2},
	{name: "holds the pipes"},
	{name: "leaves its group"},
	{name: "fork storm"},
	{name: "storm and hang", code: crm.CodeUnavailable},
	{name: "daemon", escapes: true},
	{name: "runaway", escapes: true},
	{name: "a gigabyte of log", also: quiet},
	{name: "a line of 10 MB", calls: 2, also: quiet},
	{name: "@message", calls: 2},
	{name: "dirty log", also: quiet},
	{name: "a huge reply", code: crm.CodeInvalid},
	{name: "answers twice", item: CodeProtocol},
	{name: "leaves out", item: CodeProtocol},
	{name: "answers others", code: crm.CodeInvalid},
	{name: "undeclared", item: CodeUndeclared},
	{name: "a target outside", item: CodeBadTarget},
	{name: "no json", item: CodeBadOutput},
	{name: "no result", item: CodeNoResult},
	{name: "hang at stop"},
	{name: "crash at stop"},
	{name: "ignores signals"},
	{name: "log at stop"},
}

// said wants the host's reason to be this one, and not that it waited in vain.
func said(why string) func(*zooRun) error {
	return func(z *zooRun) error {
		if z.err == nil || !strings.Contains(z.err.Error(), why) {
			return fmt.Errorf("the host said %v, wanted: %s", z.err, why)
		}
		return nil
	}
}

// quiet wants the log to be short, without a byte that a terminal obeys, and the host to be small.
func quiet(z *zooRun) error {
	_ = z.host.Close(context.Background()) // what was written is in the log then
	text := z.log.String()
	if len(text) > 4<<20 {
		return fmt.Errorf("the log has %d bytes", len(text))
	}
	for line := range strings.Lines(text) {
		if len(line) > 128<<10 {
			return fmt.Errorf("the log has a line of %d bytes", len(line))
		}
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("the log has the control character %q", text[i])
	}
	if !strings.Contains(text, `"stream":"stderr"`) {
		return errors.New("nothing of what it wrote is in the log")
	}
	if mib := peak(); mib > 150 {
		return fmt.Errorf("the host grew to %d MiB", mib)
	}
	return nil
}

// peak gives the most memory that this process has used, in MiB.
func peak() int {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(n)[0])
			return kib >> 10
		}
	}
	return 0
}

// TestZoo keeps each bad plugin beside a good one. Whatever it does: the good one answers all the time, the
// bad one and all that it left behind are gone within three seconds after the host gave up on it or was
// closed, and the host has as many goroutines, descriptors, processes and files as before. Each row is a
// process of its own, so that they can be counted.
func TestZoo(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("it looks for processes in /proc")
	}
	t.Parallel()
	folder, err := buildZoo()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for i, a := range zoo {
		if names[a.name] {
			t.Errorf("%s is there twice", a.name)
		}
		names[a.name] = true
		if testing.Short() && i%4 != 0 { // the race detector makes each host slow
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // for a host that hangs with it
			defer cancel()
			cmd := exec.CommandContext(ctx, "/proc/self/exe", "zoo", a.name)
			cmd.Env = append(os.Environ(), "ZOO="+folder)
			out, err := cmd.CombinedOutput()
			if len(out) > 8<<10 {
				out = append(out[:8<<10:8<<10], "…"...)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			} else if len(out) > 0 {
				t.Logf("%s", out)
			}
		})
	}
	if len(zoo) < 25 {
		t.Errorf("there are %d animals", len(zoo))
	}
}

// buildZoo builds the binary once; it is gone with the test process's temporary files.
var buildZoo = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "zoo")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) })
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "zoo"), "./testdata/zoo")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return dir, nil
})

// cleanups run when all tests are done.
var cleanups []func()

// zooRun is one row under way, in a process of its own.
type zooRun struct {
	animal
	marker, run, folder string
	host                *Host
	log                 *testLog
	err                 error // of the last call
	good                atomic.Int64
	faults              []string
}

// keepAnimal runs one row and says what is wrong.
func keepAnimal(name string) []string {
	i := slices.IndexFunc(zoo, func(a animal) bool { return a.name == name })
	if i < 0 {
		return []string{"there is no such animal"}
	}
	tmp, err := os.MkdirTemp("", "rp")
	if err != nil {
		return []string{err.Error()}
	}
	defer os.RemoveAll(tmp)
	z := &zooRun{animal: zoo[i], marker: "zoo-" + rand.Text(), run: filepath.Join(tmp, "r"), folder: filepath.Join(tmp, "p")}
	if z.also == nil { // else memory is looked at
		debug.SetGCPercent(-1) // it would close the descriptors that the host forgets
	}
	z.keep()
	z.hunt(syscall.SIGKILL) // whatever is left, it has been told of
	return z.faults
}

func (z *zooRun) fault(format string, args ...any) {
	z.faults = append(z.faults, fmt.Sprintf(format, args...))
}

func (z *zooRun) keep() {
	if err := z.open(nil); err != nil { // what a first host leaves for good is no leak
		z.fault("warm up: %v", err)
		return
	}
	z.callGood()
	z.close()
	before := z.count()
	bad := &z.animal
	if err := z.open(bad); err != nil {
		z.fault("open: %v", err)
		return
	}
	z.callGood()
	ctx, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() { // somebody else's steps
		for ctx.Err() == nil {
			z.callGood()
			time.Sleep(2 * time.Millisecond)
		}
	})
	had := z.good.Load()
	for range max(1, bad.calls) {
		z.callBad()
	}
	gaveUp := z.alive() == 0
	if gaveUp {
		z.extinct("the host gave up on it")
	}
	for n := z.good.Load() + 2; z.good.Load() < n && len(z.faults) == 0; { // a whole call after it
		time.Sleep(time.Millisecond)
	}
	if z.good.Load() <= had {
		z.fault("the good plugin was not called meanwhile")
	}
	stop()
	others.Wait()
	if bad.also != nil {
		if err := bad.also(z); err != nil {
			z.fault("%v", err)
		}
	}
	z.close()
	z.extinct("the host was closed")
	z.compare(before)
}

// open makes a host with the good plugin, and the bad one if there is one, as they would be once installed.
func (z *zooRun) open(bad *animal) error {
	z.log = &testLog{}
	h, err := New(Options{RunDir: z.run, KillTimeout: time.Second, Memory: 256 << 20, Log: zerolog.New(z.log)})
	if err != nil {
		return err
	}
	z.host = h
	if _, err := z.settle("good", "good"); err != nil || bad == nil {
		return err
	}
	p, err := z.settle("zoo", bad.name)
	if err != nil {
		return err
	}
	if bad.within > 0 {
		p.launch.timeout = bad.within
	}
	if bad.change != nil {
		return bad.change(filepath.Join(z.folder, "zoo"))
	}
	return nil
}

// settle installs the binary under a name, to behave like an animal.
func (z *zooRun) settle(name, how string) (*plugin, error) {
	folder := filepath.Join(z.folder, name)
	if err := os.RemoveAll(folder); err != nil {
		return nil, err
	}
	if err := copyFolder(folder, os.Getenv("ZOO")); err != nil {
		return nil, err
	}
	files, err := sums(folder)
	if err != nil {
		return nil, err
	}
	spec := Spec{Action: name + ".run", Plugin: name, Version: "1.0.0", Reads: []string{"tags"}, Effects: []EffectKind{EffectAddTag}, Network: []string{}, Timeout: 20 * time.Second}
	if slices.Contains([]string{"hang in a call", "burns", "stops itself", "storm and hang"}, how) {
		spec.Timeout = time.Second
	}
	m := Manifest{Name: name, Version: "1.0.0", Actions: []Spec{spec}}
	p := newPlugin(name, []string{name + ".run"}, z.host.launch(name, image{argv: []string{z.marker, how}, folder: folder, file: "zoo", files: files}), expectManifest(m))
	z.host.mu.Lock()
	defer z.host.mu.Unlock()
	z.host.add(p)
	return p, nil
}

func (z *zooRun) callGood() {
	out, err := z.host.Execute(context.Background(), "good.run", batch("", live(1), live(2)))
	if err != nil || len(out) != 2 || out[0].Status != Done || out[1].Status != Done {
		z.fault("the good plugin: %+v, %v", out, err)
	}
	z.good.Add(1)
}

func (z *zooRun) callBad() {
	var out []Outcome
	out, z.err = z.host.Execute(context.Background(), "zoo.run", batch("", live(1), live(2)))
	switch {
	case crm.CodeOf(z.err) != z.code:
		z.fault("the call ended with %v, wanted the code %q", z.err, z.code)
	case z.err != nil:
	case len(out) != 2 || out[1].Status != Done:
		z.fault("the other item: %+v", out)
	case out[0].Code != z.item || (z.item == "") != (out[0].Status == Done) || len(out[0].Effects) > 0:
		z.fault("the item: %+v, wanted the code %q", out[0], z.item)
	}
}

// alive gives the bad plugin's process, 0 if the host has none.
func (z *zooRun) alive() int {
	for _, p := range z.host.Processes() {
		if p.Plugin == "zoo" {
			return p.PID
		}
	}
	return 0
}

// held says whether the bad plugin was kept in a pid namespace.
func (z *zooRun) held() bool {
	for _, p := range z.host.Processes() {
		if p.Plugin == "zoo" {
			return slices.Contains(p.Contained.InForce, pidSpace)
		}
	}
	return false
}

func (z *zooRun) close() {
	if err := z.host.Close(context.Background()); err != nil {
		z.fault("close: %v", err)
	}
	if left, _ := os.ReadDir(z.run); len(left) > 0 {
		z.fault("the host left %v", left)
	}
}

// extinct wants nothing of the bad plugin's to be there within three seconds.
func (z *zooRun) extinct(since string) {
	end := time.Now().Add(3 * time.Second)
	var left []string
	for {
		if left = z.hunt(0); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if z.escapes && !z.held() && !namespaces() {
		fmt.Printf("without a pid namespace this stays: %v\n", left)
		return
	}
	z.fault("three seconds after %s there are still %v", since, left)
}

// hunt finds the processes with the marker, but for the good plugin, and sends them a signal.
func (z *zooRun) hunt(signal syscall.Signal) (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		text, err := os.ReadFile(dir + "/cmdline")
		args := strings.Split(string(text), "\x00")
		if err != nil || !slices.Contains(args, z.marker) || slices.Contains(args, "good") && signal == 0 {
			continue
		}
		found = append(found, filepath.Base(dir)+" "+strings.Join(args[1:], " "))
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && signal != 0 {
			_ = syscall.Kill(pid, signal)
		}
	}
	return found
}

// census is what a host must give back.
type census struct {
	goroutines, children int
	files                map[string]int // open ones by kind
}

func (z *zooRun) count() census {
	c := census{goroutines: goruntime.NumGoroutine(), files: map[string]int{}}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			kind, _, _ := strings.Cut(to, ":")
			c.files[kind]++
		}
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, t := range tasks {
		text, _ := os.ReadFile(t)
		c.children += len(bytes.Fields(text))
	}
	return c
}

// compare wants to find what was there before, after a moment for what is on its way out.
func (z *zooRun) compare(before census) {
	var now census
	for range 300 {
		now = z.count()
		if now.goroutines <= before.goroutines && now.children <= before.children && now.openFiles() <= before.openFiles() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	z.fault("before: %+v\nafter: %+v\n%s", before, now, stacks[:goruntime.Stack(stacks, true)])
}

func (c census) openFiles() (n int) {
	for _, k := range c.files {
		n += k
	}
	return n
}

// serveZoo is TestMain's: one row, its faults printed.
func serveZoo(name string) {
	faults := keepAnimal(name)
	for _, f := range faults {
		fmt.Println(f)
	}
	os.Exit(cmp.Compare(len(faults), 0))
}
