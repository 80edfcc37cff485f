package plugins

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

func TestDeathIsTransient(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"exit", "panic", "kill"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h, _ := newHost(t, Options{}, "test.a")
			before := pidOf(t, h, "test.a")
			out, err := h.Execute(t.Context(), "test.a", batch(mode, live(1), live(2)))
			if crm.CodeOf(err) != crm.CodeUnavailable || len(out) != 2 || out[0].Status != NoOutcome {
				t.Fatalf("%+v, %v", out, err)
			}
			if after := pidOf(t, h, "test.a"); after == before {
				t.Error("the dead process answered")
			}
			if p := h.Processes()[0]; p.Restarts != 1 {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestHangIsKilled(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.slow")
	p := h.plugins["test.slow"]
	for _, mode := range []string{"hang", "stop"} {
		before, err := p.ready(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Execute(t.Context(), "test.slow", batch(mode, live(1)))
		if crm.CodeOf(err) != crm.CodeUnavailable || !strings.Contains(err.Error(), "has not answered") {
			t.Fatal(err)
		}
		gone(t, before.pid())
		p.forgive()
	}
	if _, err := p.ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// forgive lifts the backoff, so that a test need not wait for it.
func (p *plugin) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaths, p.notBefore = 0, time.Time{}
}

func TestCircuit(t *testing.T) {
	t.Parallel()
	want := []time.Duration{0, 0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 30 * time.Second, 30 * time.Second}
	for n, d := range want {
		if backoff(n) != d {
			t.Errorf("after %d deaths: %s, want %s", n, backoff(n), d)
		}
	}
	h, _ := newHost(t, Options{}, "raw.exit")
	p := h.plugins["raw.exit"]
	now := time.Now()
	p.launch.now = func() time.Time { return now }
	starts := 0
	for range 9 {
		if _, err := h.Execute(t.Context(), "raw.exit", batch("", live(1))); crm.CodeOf(err) != crm.CodeUnavailable {
			t.Fatal(err)
		} else if !strings.Contains(err.Error(), "left alone") {
			starts++
			now = now.Add(time.Second)
		}
	}
	if starts != 5 {
		t.Errorf("it was started %d times before it was left alone", starts)
	}
	now = now.Add(30 * time.Second)
	if _, err := h.Execute(t.Context(), "raw.exit", batch("", live(1))); err == nil || strings.Contains(err.Error(), "left alone") {
		t.Errorf("it was not tried again: %v", err)
	}
	if h.Processes()[0].Broken == nil {
		t.Error("nothing says that it is broken")
	}
}

func TestNoPlugins(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"garbage", "tcp", "foreign", "dots", "symlink", "netrpc", "version", "deaf", "long", "exit", "silent"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			h, _ := newHost(t, Options{StartTimeout: 1500 * time.Millisecond}, "raw."+how)
			all, err := h.Catalogue(t.Context())
			if err != nil || crm.CodeOf(all["raw."+how].Broken) != crm.CodeUnavailable {
				t.Fatalf("%+v, %v", all, err)
			}
			if h.Processes()[0].PID != 0 {
				t.Error("a process is left")
			}
		})
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	h, log := newHost(t, Options{}, "test.a")
	for range 2 { // the second call finds the plugin and the host alive
		if out, err := h.Execute(t.Context(), "test.a", batch("noise", live(1))); err != nil || out[0].Status != Done {
			t.Fatal(out, err)
		}
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := log.String(); !strings.Contains(s, "printed by the plugin") || !strings.Contains(s, "@message") || len(s) > 200<<10 {
		t.Errorf("the log has %d bytes", len(s))
	}
}

func TestDescendants(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a", "test.b")
	var pids []int
	for action, mode := range map[string]string{"test.a": "grandchild", "test.b": "daemon"} {
		out, err := h.Execute(t.Context(), action, batch(mode, live(1)))
		if err != nil || out[0].Status != Done {
			t.Fatal(out, err)
		}
		pid, _ := strconv.Atoi(string(out[0].Output))
		if mode == "daemon" { // it left the group; a pid namespace would get it
			defer func() {
				if p, err := os.FindProcess(pid); err == nil {
					_ = p.Kill()
				}
			}()
			continue
		}
		pids = append(pids, pid)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		gone(t, pid)
	}
}

func TestSurroundings(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	out, err := h.Execute(t.Context(), "test.a", batch("surroundings", live(1)))
	if err != nil || out[0].Status != Done {
		t.Fatal(out, err)
	}
	var got struct {
		Env   []string
		Dir   string
		Stdin int
		Group bool
	}
	if err := json.Unmarshal(out[0].Output, &got); err != nil {
		t.Fatal(err)
	}
	for _, v := range got.Env {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "PLUGIN_") && name != actionv1.CookieKey {
			t.Errorf("the plugin's environment has %s", name)
		}
	}
	if got.Dir != "/" || got.Stdin != 0 || !got.Group {
		t.Errorf("%+v", got)
	}
}

func TestPluginDiesWithHost(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	cmd := exec.Command("/proc/self/exe", "host", dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(firstLine(t, bufio.NewReader(stdout)))
	if err != nil || pid == cmd.Process.Pid {
		t.Fatal(pid, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	gone(t, pid)
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("expected the killed host's directory, got %v", left)
	}
	h, err := New(Options{RunDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Close(t.Context())
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the next host left %v of the killed one", left)
	}
}

func TestTwoInFlight(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	p := h.plugins["test.a"]
	for range inFlight {
		p.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := h.Execute(ctx, "test.a", batch("pid", live(1)))
	if crm.CodeOf(err) != crm.CodeUnavailable || out[0].Code != CodeNotSent || h.Processes()[0].PID != 0 {
		t.Errorf("a third batch got through: %+v, %v", out, err)
	}
	for range inFlight {
		<-p.slots
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if out, err := h.Execute(t.Context(), "test.a", batch("pid", live(1))); err != nil || out[0].Status != Done {
				t.Error(out, err)
			}
		})
	}
	wg.Wait()
	if h.Processes()[0].Restarts != 0 {
		t.Error("it was started more than once")
	}
}

func TestCloseCutsOff(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	pid := pidOf(t, h, "test.a")
	done := make(chan error)
	go func() {
		_, err := h.Execute(context.Background(), "test.a", batch("hang", live(1)))
		done <- err
	}()
	for len(h.plugins["test.a"].slots) == 0 {
		goruntime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Close(ctx); crm.CodeOf(err) != crm.CodeUnavailable {
		t.Error(err)
	}
	if err := <-done; crm.CodeOf(err) != crm.CodeUnavailable {
		t.Error(err)
	}
	gone(t, pid)
	if _, err := h.Execute(t.Context(), "test.a", batch("pid", live(1))); crm.CodeOf(err) != crm.CodeUnavailable {
		t.Error(err)
	}
}

// Not parallel: it counts the goroutines of the whole process.
func TestNoGoroutineLeaks(t *testing.T) {
	before := goruntime.NumGoroutine()
	h, err := New(Options{RunDir: tempDir(t), Builtin: testArgv, BuiltinNames: []string{"test.a", "raw.garbage", "raw.exit", "raw.deaf"}})
	if err != nil {
		t.Fatal(err)
	}
	h.plugins["raw.deaf"].launch.timeout = time.Second
	_, _ = h.Catalogue(t.Context())
	_, _ = h.Execute(t.Context(), "test.a", batch("exit", live(1)))
	pidOf(t, h, "test.a")
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if goruntime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines are left:\n%s", goruntime.NumGoroutine()-before, stacks[:goruntime.Stack(stacks, true)])
}
