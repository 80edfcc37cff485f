package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// fake is a version of the plugin acme that declares and does what it is told: this binary, with an
// argument that holds it.
type fake struct {
	Version    string
	Reads      []string `json:",omitempty"`
	Effects    []string `json:",omitempty"`
	Network    []string `json:",omitempty"`
	External   bool     `json:",omitempty"`
	Idempotent bool     `json:",omitempty"`
	Timeout    time.Duration
	How        string `json:",omitempty"` // slow, dead, fickle
}

// folder makes the folder of a version.
func (f fake) folder(t *testing.T) string {
	t.Helper()
	how, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	args, _ := json.Marshal([]string{"action", "acme." + string(how)})
	dir := t.TempDir()
	put(t, filepath.Join(dir, manifestFile), fmt.Appendf(nil, "name: acme\nversion: %s\nprotocol: 1\ncommand: ./bin/acme\nargs: %s\n", f.Version, args))
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := self()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, filepath.Join(dir, "bin", "acme")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// self is a copy of this binary that others can link to.
var self = sync.OnceValues(func() (string, error) {
	raw, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "rp")
	if err != nil {
		return "", err
	}
	selfDir = dir
	path := filepath.Join(dir, "acme")
	return path, os.WriteFile(path, raw, 0o755)
})

var selfDir string

func init() { cleanups = append(cleanups, func() { _ = os.RemoveAll(selfDir) }) }

type fakePlugin struct {
	rogue
	fake
}

func (f fakePlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	actionv1.RegisterActionPluginServer(s, f)
	return nil
}

func serveFake(how string) {
	var f fake
	if err := json.Unmarshal([]byte(how), &f); err != nil {
		panic(err)
	}
	if f.How == "dead" {
		if _, err := os.Stat(manifestFile); err != nil || strings.Contains(workdir(), ".installing-") { // only where it is installed for good
			f.How = ""
		} else {
			os.Exit(3)
		}
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: actionv1.CookieKey, MagicCookieValue: actionv1.CookieValue},
		Plugins:         goplugin.PluginSet{actionv1.PluginName: fakePlugin{rogue{name: "acme.flag"}, f}},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

func workdir() string {
	dir, _ := os.Getwd()
	return dir
}

func (f fakePlugin) Describe(context.Context, *actionv1.DescribeRequest) (*actionv1.DescribeResponse, error) {
	a := &actionv1.ActionSpec{Action: "acme.flag", Reads: f.Reads, Effects: f.Effects, Network: f.Network,
		External: f.External, Idempotent: f.Idempotent, TimeoutNanos: int64(f.Timeout)}
	if f.How == "fickle" && !strings.Contains(workdir(), ".installing-") { // it shows its true face once it is installed
		a.Reads = append(a.Reads, "phone")
	}
	return &actionv1.DescribeResponse{Name: "acme", Version: f.Version, Actions: []*actionv1.ActionSpec{a}}, nil
}

func (f fakePlugin) Execute(_ context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	out := &actionv1.ExecuteResponse{}
	var line strings.Builder
	line.WriteString("ran")
	if f.How == "slow" {
		time.Sleep(5 * time.Millisecond)
	}
	for _, it := range req.GetItems() {
		said, _ := json.Marshal(map[string]any{"version": f.Version})
		out.Outcomes = append(out.Outcomes, &actionv1.Outcome{IdempotencyKey: it.GetIdempotencyKey(),
			Result: &actionv1.Outcome_Done{Done: &actionv1.Done{OutputJson: said}}})
		line.WriteString(" <" + it.GetIdempotencyKey() + ">")
	}
	_, _ = syscall.Write(2, []byte(line.String()+"\n"))
	return out, nil
}

// answers gives the version that answers a call now, and its process.
func answers(t *testing.T, h *Host) (version string, pid int) {
	t.Helper()
	out, err := h.Execute(t.Context(), "acme.flag", batch("", live(1)))
	if err != nil || out[0].Status != Done {
		t.Fatalf("%+v, %v", out, err)
	}
	var said struct{ Version string }
	if err := json.Unmarshal(out[0].Output, &said); err != nil {
		t.Fatal(err)
	}
	return said.Version, pidNow(h, "acme")
}

// pidNow is the process of a plugin, as the host sees it: in a namespace of its own it has another number.
func pidNow(h *Host, name string) int {
	for _, p := range h.Processes() {
		if p.Plugin == name {
			return p.PID
		}
	}
	return 0
}

func versionsOf(h *Host, name string) string {
	var words []string
	for _, p := range h.Processes() {
		if p.Plugin == name {
			for _, v := range p.Versions {
				w := v.Version
				if v.Current {
					w += "*"
				}
				if !v.Trusted {
					w += "?"
				}
				words = append(words, w)
			}
		}
	}
	return strings.Join(words, " ")
}

// Each way in which a version can want more: it is installed, waits, and is told; the one in use stays until
// somebody trusts the other. What wants the same or less comes into use at once.
func TestWideningWaits(t *testing.T) {
	t.Parallel()
	base := fake{Version: "1.0.0", Reads: []string{"fields.plan", "tags"}, Effects: []string{"tag.add"}, Network: []string{"a.example.com"},
		External: true, Idempotent: true, Timeout: 10 * time.Second}
	tests := []struct {
		name   string
		change func(f *fake)
		wants  string // "" is nothing more
	}{
		{"the same", func(*fake) {}, ""},
		{"less of everything", func(f *fake) { *f = fake{Version: f.Version, Timeout: time.Second} }, ""},
		{"the same field in capitals", func(f *fake) { f.Reads[0] = "fields.PLAN" }, ""},
		{"a read", func(f *fake) { f.Reads = append(f.Reads, "email") }, "acme.flag reads email"},
		{"another field", func(f *fake) { f.Reads = append(f.Reads, "fields.age") }, "acme.flag reads fields.age"},
		{"all fields", func(f *fake) { f.Reads[0] = "fields" }, "acme.flag reads fields"},
		{"an effect", func(f *fake) { f.Effects = append(f.Effects, "contact.delete") }, "acme.flag asks for contact.delete"},
		{"a host", func(f *fake) { f.Network = append(f.Network, "b.example.com") }, "acme.flag talks to b.example.com"},
		{"no key any more", func(f *fake) { f.Idempotent = false }, "acme.flag is not idempotent"},
		{"more time", func(f *fake) { f.Timeout = time.Minute }, "acme.flag may take 1m0s a call"},
	}
	plugins := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: plugins})
	if in, err := h.Install(base.folder(t)); err != nil || !in.Current || in.Was != "" || len(in.Wants) > 0 {
		t.Fatalf("%+v, %v", in, err)
	}
	was, err := h.Spec(t.Context(), "acme.flag")
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		next := base
		next.Reads, next.Effects, next.Network = slices.Clone(base.Reads), slices.Clone(base.Effects), slices.Clone(base.Network)
		next.Version = fmt.Sprintf("1.%d.0", i+1)
		tt.change(&next)
		if got := strings.Join(wider([]Spec{was}, []Spec{next.spec(t)}), "; "); got != tt.wants {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.wants)
		}
		if i != 1 && i != 4 && i != 9 { // the others only by the rule: an install takes its time
			continue
		}
		in, err := h.Install(next.folder(t))
		if err != nil || strings.Join(in.Wants, "; ") != tt.wants || in.Current != (tt.wants == "") || in.Was != "1.0.0" {
			t.Errorf("%s: %+v, %v", tt.name, in, err)
		}
		if tt.wants == "" {
			if v, _ := answers(t, h); v != next.Version {
				t.Errorf("%s: %s answers", tt.name, v)
			}
			if _, err := h.Use("acme", "1.0.0", nil); err != nil {
				t.Errorf("%s: back: %v", tt.name, err)
			}
		} else if _, err := h.Use("acme", next.Version, nil); crm.CodeOf(err) != crm.CodeDenied || !strings.Contains(err.Error(), tt.wants) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if v, _ := answers(t, h); v != "1.0.0" {
			t.Errorf("%s: %s answers in the end", tt.name, v)
		}
	}
	other, _ := newHost(t, Options{Dir: plugins})
	if v, _ := answers(t, other); v != "1.0.0" {
		t.Errorf("%s answers on another host", v)
	}
	if got := versionsOf(h, "acme"); got != "1.0.0* 1.2.0 1.5.0? 1.10.0?" {
		t.Errorf("the versions are %s", got)
	}
}

// spec is the version's action as a host understands it.
func (f fake) spec(t *testing.T) Spec {
	t.Helper()
	d, err := fakePlugin{fake: f}.Describe(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	specs, err := specsOf(d)
	if err != nil {
		t.Fatal(err)
	}
	return specs["acme.flag"]
}

// From external: false to true, and a whole new action.
func TestWiderOutside(t *testing.T) {
	t.Parallel()
	was := []Spec{{Action: "a.b", Timeout: time.Second}}
	for _, tt := range []struct {
		is   Spec
		want string
	}{
		{Spec{Action: "a.b", External: true, Idempotent: true}, "a.b touches the outside world"},
		{Spec{Action: "a.b", External: true}, "a.b touches the outside world; a.b is not idempotent"},
		{Spec{Action: "a.c", Timeout: time.Minute}, ""},
		{Spec{Action: "a.c", Reads: []string{"email"}}, "a.c reads email"},
	} {
		if got := strings.Join(wider(was, []Spec{tt.is}), "; "); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.is, got, tt.want)
		}
	}
	if got := differs(was, append(slices.Clone(was), Spec{Action: "a.c"})); got == "" {
		t.Error("an action more is no difference")
	}
}

// Trust, use and roll back: each is written down before it takes effect, and when it cannot be, nothing changes.
func TestTrustAndUse(t *testing.T) {
	t.Parallel()
	plugins := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: plugins})
	var log []string
	note := func(ch Change) error {
		log = append(log, fmt.Sprintf("%s %s %s>%s %d", ch.Act, ch.Version, ch.Was, ch.Current, len(ch.Wants)))
		return nil
	}
	refuse := func(Change) error { return errors.New("the log is full") }
	one, two := fake{Version: "1.0.0"}, fake{Version: "2.0.0", Reads: []string{"email"}}
	install := func(f fake, c Consent) Installed {
		t.Helper()
		in, err := h.InstallAs(f.folder(t), c)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	if _, err := h.InstallAs(one.folder(t), Consent{Note: refuse}); err == nil {
		t.Error("it was installed although that could not be written down")
	}
	if left, _ := os.ReadDir(plugins); len(left) != 0 || versionsOf(h, "acme") != "" {
		t.Errorf("the refused install left %v", left)
	}
	install(one, Consent{Note: note})
	install(two, Consent{Note: note})
	if _, err := h.Trust("acme", "2.0.0", refuse); err == nil {
		t.Error("it was trusted although that could not be written down")
	}
	if v, _ := answers(t, h); v != "1.0.0" {
		t.Errorf("%s answers", v)
	}
	_, old := answers(t, h)
	if in, err := h.Trust("acme", "2.0.0", note); err != nil || !in.Current || in.Was != "1.0.0" || len(in.Wants) != 1 {
		t.Errorf("%+v, %v", in, err)
	}
	gone(t, old)
	for _, turn := range []string{"1.0.0", "2.0.0", "2.0.0"} { // what was trusted once needs no second word
		if _, err := h.Use("acme", turn, note); err != nil {
			t.Error(err)
		}
		if v, _ := answers(t, h); v != turn {
			t.Errorf("%s answers instead of %s", v, turn)
		}
	}
	for act, err := range map[string]error{
		"use": second(h.Use("acme", "9", nil)), "trust": second(h.Trust("acme", "9", nil)), "nobody": second(h.Use("nobody", "1", nil)), "remove": h.Remove("acme", "9", nil),
	} {
		if crm.CodeOf(err) != crm.CodeNotFound {
			t.Errorf("%s: %v", act, err)
		}
	}
	if err := h.Remove("acme", "2.0.0", note); crm.CodeOf(err) != crm.CodeConflict {
		t.Errorf("the version in use was removed: %v", err)
	}
	if err := h.Remove("acme", "1.0.0", note); err != nil || versionsOf(h, "acme") != "2.0.0*" {
		t.Errorf("%v, %s", err, versionsOf(h, "acme"))
	}
	_, pid := answers(t, h)
	if err := h.Remove("acme", "", note); err != nil || len(h.Processes()) != 0 {
		t.Errorf("%v, %+v", err, h.Processes())
	}
	gone(t, pid)
	if _, err := h.Execute(t.Context(), "acme.flag", batch("", live(1))); crm.CodeOf(err) != crm.CodeNotFound {
		t.Error(err)
	}
	if left, _ := os.ReadDir(plugins); len(left) != 1 || left[0].Name() != lockName {
		t.Errorf("the remove left %v", left)
	}
	want := []string{"install 1.0.0 >1.0.0 0", "install 2.0.0 1.0.0>1.0.0 1", "trust 2.0.0 1.0.0>2.0.0 1", "use 1.0.0 2.0.0>1.0.0 0",
		"use 2.0.0 1.0.0>2.0.0 1", "remove 1.0.0 2.0.0>2.0.0 0", "remove  2.0.0> 0"}
	if !slices.Equal(log, want) {
		t.Errorf("written down was\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
}

func second[T any](_ T, err error) error { return err }

// The same version with other content: one that wants no more takes its place, one that wants more does not.
func TestSameVersionAgain(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{Dir: filepath.Join(t.TempDir(), "plugins")})
	if _, err := h.Install(fake{Version: "1.0.0", Reads: []string{"tags"}}.folder(t)); err != nil {
		t.Fatal(err)
	}
	_, old := answers(t, h)
	if in, err := h.Install(fake{Version: "1.0.0"}.folder(t)); err != nil || !in.Current {
		t.Fatalf("%+v, %v", in, err)
	}
	gone(t, old)
	wide := fake{Version: "1.0.0", Reads: []string{"email"}}
	if _, err := h.Install(wide.folder(t)); crm.CodeOf(err) != crm.CodeConflict || !strings.Contains(err.Error(), "reads email") {
		t.Errorf("%v", err)
	}
	if all, err := h.Catalogue(t.Context()); err != nil || len(all["acme.flag"].Reads) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if in, err := h.InstallAs(wide.folder(t), Consent{Trust: true}); err != nil || !in.Current {
		t.Errorf("%+v, %v", in, err)
	}
	if all, err := h.Catalogue(t.Context()); err != nil || len(all["acme.flag"].Reads) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

// A version that does not start where it is installed for good, or declares more there than it did: the one
// in use stays, with its process, and nothing of the other is left.
func TestBadVersionChangesNothing(t *testing.T) {
	t.Parallel()
	plugins := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: plugins})
	if _, err := h.Install(fake{Version: "1.0.0"}.folder(t)); err != nil {
		t.Fatal(err)
	}
	_, pid := answers(t, h)
	lock, _ := os.ReadFile(filepath.Join(plugins, lockName))
	for _, how := range []string{"dead", "fickle"} {
		for _, version := range []string{"2.0.0", "1.0.0"} {
			if in, err := h.Install(fake{Version: version, How: how}.folder(t)); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("%s %s: %+v, %v", how, version, in, err)
			}
			if v, now := answers(t, h); v != "1.0.0" || now != pid {
				t.Errorf("%s %s: %s answers, from process %d", how, version, v, now)
			}
			if left, _ := os.ReadDir(filepath.Join(plugins, "acme")); len(left) != 1 {
				t.Errorf("%s %s left %v", how, version, left)
			}
			if is, _ := os.ReadFile(filepath.Join(plugins, lockName)); string(is) != string(lock) {
				t.Errorf("%s %s changed plugins.lock", how, version)
			}
			if found, err := h.Verify(""); err != nil || len(found) != 1 || found[0].Problem != "" {
				t.Errorf("%s %s: %+v, %v", how, version, found, err)
			}
		}
	}
}

// Versions come and go while calls are made without a pause: each call is answered, each key is executed
// exactly once, by whichever version, and of the old processes none is left.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	plugins := filepath.Join(t.TempDir(), "plugins")
	h, log := newHost(t, Options{Dir: plugins})
	version := func(v string) fake { return fake{Version: v, How: "slow", Reads: []string{"tags"}} }
	if _, err := h.Install(version("1.0.0").folder(t)); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var mu sync.Mutex
	sent, by, pids := []string{}, map[string]int{}, map[int]bool{}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				b := batch("", live(1), live(2), live(3))
				for i := range b.Items {
					b.Items[i].Key = fmt.Sprintf("%d-%d-%d", w, n, i)
				}
				out, err := h.Execute(context.Background(), "acme.flag", b)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i, o := range out {
					var said struct{ Version string }
					if o.Status != Done || json.Unmarshal(o.Output, &said) != nil {
						t.Errorf("%s: %+v", b.Items[i].Key, o)
					}
					sent = append(sent, b.Items[i].Key)
					by[said.Version]++
				}
				mu.Unlock()
			}
		})
	}
	for _, step := range []func() error{
		func() error { return second(h.Install(version("1.1.0").folder(t))) },
		func() error { return second(h.Use("acme", "1.0.0", nil)) },
		func() error {
			if h.second(version("1.2.0"), "dead", t) == nil {
				return errors.New("a dead version was installed")
			}
			return nil
		},
		func() error { return second(h.Install(version("1.1.0").folder(t))) },
		func() error { return second(h.Install(version("1.3.0").folder(t))) },
		func() error { return h.Remove("acme", "1.0.0", nil) },
	} {
		pids[pidNow(h, "acme")] = true
		mu.Lock()
		before := len(sent)
		mu.Unlock()
		if err := step(); err != nil {
			t.Error(err)
		}
		for range 500 { // calls are made between the steps too
			mu.Lock()
			more := len(sent) > before+12
			mu.Unlock()
			if more || t.Failed() {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	stop.Store(true)
	wg.Wait()
	_, pid := answers(t, h)
	delete(pids, pid)
	for old := range pids {
		gone(t, old)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := log.String()
	for _, key := range sent {
		if n := strings.Count(said, "<"+key+">"); n != 1 {
			t.Errorf("%s was executed %d times", key, n)
		}
	}
	if len(by) != 3 || len(sent) < 36 {
		t.Errorf("%d items, executed by %v", len(sent), by)
	}
}

// second installs a version in another way of behaving.
func (h *Host) second(f fake, how string, t *testing.T) error {
	f.How = how
	_, err := h.Install(f.folder(t))
	return err
}

// A call that was prepared for one version is not sent to another that declares other things: what was
// written down before the call would not be true of it.
func TestPreparedForAnotherVersion(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{Dir: filepath.Join(t.TempDir(), "plugins")})
	if _, err := h.Install(fake{Version: "1.0.0"}.folder(t)); err != nil {
		t.Fatal(err)
	}
	was, err := h.Spec(t.Context(), "acme.flag")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.InstallAs(fake{Version: "2.0.0", External: true}.folder(t), Consent{Trust: true}); err != nil {
		t.Fatal(err)
	}
	b := batch("", live(1))
	b.As = &was
	if out, err := h.Execute(t.Context(), "acme.flag", b); crm.CodeOf(err) != crm.CodeUnavailable || out[0].Code != CodeNotSent {
		t.Errorf("%+v, %v", out, err)
	}
	is, err := h.Spec(t.Context(), "acme.flag")
	if b.As = &is; err != nil || !is.External {
		t.Fatalf("%+v, %v", is, err)
	}
	if out, err := h.Execute(t.Context(), "acme.flag", b); err != nil || out[0].Status != Done {
		t.Errorf("%+v, %v", out, err)
	}
}
