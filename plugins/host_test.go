package plugins

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	target := live(1)
	target.Contact.Tags = []crm.Tag{{Name: "VIP"}, {Name: "old", Absent: true}}
	target.Contact.Fields = []crm.Field{{Name: "plan", Value: crm.Number(4)}, {Name: "salary", Value: crm.Text("canary")}}
	target.Contact.Email.Value = "canary@example.com"
	out, err := h.Execute(t.Context(), "test.a", batch("echo", target))
	if err != nil || len(out) != 1 || out[0].Status != Done {
		t.Fatal(out, err)
	}
	if len(out[0].Effects) != 1 || out[0].Effects[0].Kind != EffectAddTag || out[0].Effects[0].Tag != "seen" {
		t.Errorf("effects %+v", out[0].Effects)
	}
	got := string(out[0].Output)
	for _, want := range []string{`"Tags":["VIP"]`, `"Fields":{"plan":4}`, `"IdempotencyKey":"run/step/0"`, `"Attempt":1`, `"Workflow":"w"`, `"State":"live"`, target.Contact.ID.String()} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "canary") || strings.Contains(got, "old") {
		t.Errorf("the plugin saw %s", got)
	}
	m, err := out[0].Effects[0].Mutation(target)
	if want := (crm.AddTag{Contact: target.Contact.Key(), Tag: "seen"}); err != nil || m != want {
		t.Errorf("the mutation is %+v, %v", m, err)
	}
	procs := h.Processes()
	if len(procs) != 1 || procs[0].PID == 0 || procs[0].PID == os.Getpid() || procs[0].Version != "1.2.3" {
		t.Errorf("processes %+v", procs)
	}
}

// What was not declared is not in the bytes, not even under another name.
func TestProjectionInBytes(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "rogue.bytes")
	target := inState(1, crm.Deleted)
	c := target.Contact
	c.Tags = []crm.Tag{{Name: "VIP"}}
	c.Email.Value, c.Phone.Value, c.External.Value = "canary1", "canary2", "canary3"
	c.Fields = []crm.Field{{Name: "canary4", Value: crm.Text("canary5")}}
	c.DND = []crm.Channel{{Name: "canary6"}}
	c.Salt = [16]byte([]byte("canary7_canary7_"))
	target.Tombstone = &crm.Manifest{Reason: "canary8", By: crm.Actor{ID: "canary9"}}
	out, err := h.Execute(t.Context(), "rogue.bytes", batch("echo", target))
	if err != nil || out[0].Status != Done {
		t.Fatal(out, err)
	}
	var text string
	_ = json.Unmarshal(out[0].Output, &text)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !strings.Contains(string(raw), "VIP") {
		t.Fatalf("the plugin saw %q, %v", raw, err)
	}
	if strings.Contains(string(raw), "canary") {
		t.Errorf("the plugin saw %q", raw)
	}
}

func TestBuiltins(t *testing.T) {
	t.Parallel()
	h, log := newHost(t, Options{}, actions.Names()...)
	all, err := h.Catalogue(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	for name, s := range all {
		if s.Broken != nil || s.Plugin != "reprieve" || !json.Valid(s.Schema) || s.Timeout != defaultTimeout || len(s.Reads) > 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	b := batch("", live(1), inState(2, crm.Deleted))
	for i := range b.Items {
		b.Items[i].Params = []byte(`{"reason":"asked"}`)
	}
	out, err := h.Execute(t.Context(), "contact.delete", b)
	if err != nil || len(out[0].Effects) != 1 || out[0].Effects[0].Reason != "asked" || out[1].Status != Skip {
		t.Errorf("%+v, %v", out, err)
	}
	b.Items = b.Items[:1]
	b.Items[0].Params = []byte(`{"level":"warn","text":"hello from a workflow"}`)
	if out, err := h.Execute(t.Context(), "log.write", b); err != nil || out[0].Status != Done {
		t.Errorf("%+v, %v", out, err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s := log.String(); !strings.Contains(s, `"level":"warn"`) || !strings.Contains(s, "hello from a workflow") {
		t.Errorf("the log is %s", s)
	}
}

func TestThousand(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	var targets []Target
	for i := range 2500 { // three calls
		target := live(1)
		target.Contact.ID = crm.ContactID{1, byte(i >> 8), byte(i)}
		targets = append(targets, target)
	}
	b := batch("echo", targets...)
	out, err := h.Execute(t.Context(), "test.a", b)
	if err != nil || len(out) != len(targets) {
		t.Fatal(len(out), err)
	}
	for i, o := range out {
		if o.Status != Done || !strings.Contains(string(o.Output), targets[i].Contact.ID.String()) {
			t.Fatalf("item %d got %+v", i, o)
		}
	}
}

func TestSplitBySize(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	b := batch("pid", live(1), live(2), live(3), live(4), live(5))
	for i := range b.Items {
		b.Items[i].Targets[0].Contact.Tags = []crm.Tag{{Name: strings.Repeat("x", 400<<10)}}
	}
	b.Items[2].Targets[0].Contact.Tags[0].Name = strings.Repeat("x", 1<<20)
	out, err := h.Execute(t.Context(), "test.a", b)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		if i == 2 && (o.Status != Fail || o.Code != CodeTooLarge) || i != 2 && o.Status != Done {
			t.Errorf("item %d: %+v", i, o)
		}
	}
	spec := Spec{Reads: []string{"tags"}}
	if req, n := request(spec, b, 0); n != 2 || len(req.Items) != 2 {
		t.Errorf("the first call has %d items", n)
	}
	if req, n := request(spec, b, 2); n != 1 || len(req.Items) != 0 {
		t.Errorf("an item over 1 MiB was put in: %d", n)
	}
}

func TestRefusedEffects(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	tests := []struct {
		mode   string
		target Target
		code   string
	}{
		{"undeclared", live(1), CodeUndeclared},
		{"bad target", live(1), CodeBadTarget},
		{"twice deleted", live(1), CodeDeadTarget},
		{"echo", inState(1, crm.Deleted), CodeDeadTarget},
		{"echo", inState(1, crm.Purged), CodeDeadTarget},
	}
	for _, tt := range tests {
		b := batch(tt.mode, tt.target, live(9))
		b.Items[1].Params = []byte(`{"mode":"echo"}`)
		out, err := h.Execute(t.Context(), "test.a", b)
		if err != nil || out[0].Status != Fail || out[0].Code != tt.code || len(out[0].Effects) > 0 {
			t.Errorf("%s: %+v, %v", tt.mode, out, err)
		}
		if out[1].Status != Done {
			t.Errorf("%s took another item along: %+v", tt.mode, out[1])
		}
	}
}

func TestRogues(t *testing.T) {
	t.Parallel()
	tests := []struct{ how, code, item string }{ // an error's code, or the first item's
		{"missing", "", CodeProtocol},
		{"twice", "", CodeProtocol},
		{"empty", "", CodeNoResult},
		{"nojson", "", CodeBadOutput},
		{"unknown", crm.CodeInvalid, ""},
		{"huge", crm.CodeInvalid, ""},
		{"refuse", crm.CodeInvalid, ""},
		{"othername", crm.CodeDenied, ""},
		{"badread", crm.CodeDenied, ""},
		{"mute", crm.CodeUnavailable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			var o Options
			if tt.how == "mute" {
				o.StartTimeout = 2 * time.Second
			}
			h, _ := newHost(t, o, "rogue."+tt.how)
			out, err := h.Execute(t.Context(), "rogue."+tt.how, batch("", live(1), live(2)))
			if crm.CodeOf(err) != tt.code {
				t.Fatalf("%+v, %v", out, err)
			}
			if err != nil {
				if strings.Contains(err.Error(), "canary") {
					t.Errorf("the plugin's text came through: %v", err)
				}
				return
			}
			if out[0].Status != Fail || out[0].Code != tt.item || out[1].Status != Done {
				t.Errorf("%+v", out)
			}
		})
	}
}

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

// What is known, what may have run and what was never sent can be told apart.
func TestPartialOutcomes(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	var targets []Target
	for range 2100 {
		targets = append(targets, live(1))
	}
	b := batch("pid", targets...)
	b.Items[1500].Params = []byte(`{"mode":"exit"}`)
	out, err := h.Execute(t.Context(), "test.a", b)
	if crm.CodeOf(err) != crm.CodeUnavailable {
		t.Fatal(err)
	}
	for i, o := range out {
		switch {
		case i < 1000 && o.Status != Done, i >= 1000 && i < 2000 && o.Status != NoOutcome,
			i >= 2000 && (o.Status != Retry || o.Code != CodeNotSent):
			t.Fatalf("item %d: %+v", i, o)
		}
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

func TestRequestErrors(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	if _, err := h.Execute(t.Context(), "acme.flag", batch("", live(1))); crm.CodeOf(err) != crm.CodeNotFound {
		t.Error(err)
	} else if e, ok := err.(*crm.Error); !ok || !strings.Contains(e.Hint, "plugin install") {
		t.Errorf("the hint is %+v", err)
	}
	bad := map[string]Batch{
		"no key":     {Items: []Item{{}}},
		"same key":   {Items: []Item{{Key: "a"}, {Key: "a"}}},
		"no contact": {Items: []Item{{Key: "a", Targets: []Target{{}}}}},
	}
	for name, b := range bad {
		if out, err := h.Execute(t.Context(), "test.a", b); crm.CodeOf(err) != crm.CodeInvalid || out != nil {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	if out, err := h.Execute(t.Context(), "test.a", Batch{}); err != nil || len(out) != 0 {
		t.Error(out, err)
	}
	if h.Processes()[0].PID != 0 {
		t.Error("it was started for nothing")
	}
}

// Not parallel: it counts the goroutines of the whole process.
func TestNoGoroutineLeaks(t *testing.T) {
	before := goruntime.NumGoroutine()
	h, err := New(Options{RunDir: tempDir(t), StartTimeout: 2 * time.Second,
		Builtin: testArgv, BuiltinNames: []string{"test.a", "raw.garbage", "raw.exit", "raw.deaf"}})
	if err != nil {
		t.Fatal(err)
	}
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

func pidOf(t *testing.T, h *Host, action string) int {
	t.Helper()
	out, err := h.Execute(t.Context(), action, batch("pid", live(1)))
	if err != nil || out[0].Status != Done {
		t.Fatal(out, err)
	}
	pid, err := strconv.Atoi(string(out[0].Output))
	if err != nil || !slices.ContainsFunc(h.Processes(), func(p Process) bool { return p.PID == pid }) {
		t.Fatal(fmt.Sprint(pid), err, h.Processes())
	}
	return pid
}
