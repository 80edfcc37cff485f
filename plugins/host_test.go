package plugins

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
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
	for _, want := range []string{`"Tags":["VIP"]`, `"Fields":{"plan":4}`, `"Key":"run/step/0"`, `"Attempt":1`, `"Workflow":"w"`, `"State":"live"`, target.Contact.ID.String()} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "canary") || strings.Contains(got, "old") {
		t.Errorf("the plugin saw %s", got)
	}
	m, err := out[0].Effects[0].Mutation(target, nil)
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
	h, log := newHost(t, Options{}, actions.Processes()...)
	all, err := h.Catalogue(t.Context())
	if err != nil || len(all) != len(actions.Names()) {
		t.Fatal(all, err)
	}
	for name, s := range all {
		if s.Broken != nil || s.Plugin != "reprieve" || !json.Valid(s.Schema) || s.Timeout <= 0 {
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

// A host of another make may send more than gRPC's own 4 MiB.
func TestPluginReceivesLargeRequests(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	proc, err := h.plugins["test.a"].ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := batch("pid", live(1))
	b.Items[0].Targets[0].Contact.Tags = []crm.Tag{{Name: strings.Repeat("x", 6<<20)}}
	it := projectionOf(Spec{Reads: []string{"tags"}}).item(b.Items[0])
	if _, err := proc.rpc.Execute(t.Context(), &actionv1.ExecuteRequest{Action: "test.a", Items: []*actionv1.Item{it}}); err != nil {
		t.Error(err)
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
