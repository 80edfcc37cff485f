package plugins

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// full is a contact whose facts all hold a canary that names the word by which it may be read.
func full() Target {
	c := &crm.Contact{
		Account: crm.AccountID{1}, ID: crm.ContactID{2}, Rev: 9, CreatedAt: 0x0102030405060708,
		Email: crm.Identity{Value: "<email>"}, Phone: crm.Identity{Value: "<phone>"}, External: crm.Identity{Value: "<external_id>"},
		Tags:   []crm.Tag{{Name: "<tags>"}, {Name: "<never>", Absent: true}},
		Lists:  []crm.Membership{{List: crm.ItemID{1}, Status: "<lists>"}, {List: crm.ItemID{2}, Status: "<never>", Absent: true}},
		Fields: []crm.Field{{Name: "age", Value: crm.Text("<fields.age>")}, {Name: "Plan", Value: crm.Text("<fields.plan>")}, {Name: "x", Value: crm.Text("<never>"), Absent: true}},
		DND:    []crm.Channel{{Name: "<dnd>", On: true}},
		Salt:   [16]byte([]byte("<never>012345678")),
	}
	return Target{Contact: c, Life: crm.Life{Account: c.Account, Contact: c.ID, State: crm.Deleted, Epoch: 1},
		Tombstone: &crm.Manifest{At: 5, By: crm.Actor{ID: "<tombstone>"}, Reason: "<tombstone>"}}
}

func TestProjectionProperty(t *testing.T) {
	t.Parallel()
	words := append([]string{"fields.age", "fields.plan"}, actionv1.ReadWords...)
	rapid.Check(t, func(t *rapid.T) {
		reads := rapid.SliceOfDistinct(rapid.SampledFrom(words), rapid.ID).Draw(t, "reads")
		target := full()
		b, err := proto.Marshal(projectionOf(Spec{Reads: reads}).item(Item{Key: "k", Targets: []Target{target}}))
		if err != nil {
			t.Fatal(err)
		}
		has := func(w string) bool {
			for _, r := range reads {
				if r == w || r == "fields" && strings.HasPrefix(w, "fields.") {
					return true
				}
			}
			return false
		}
		for _, w := range append(words, "never") {
			if w == "fields" || w == "created_at" {
				continue
			}
			if got := strings.Contains(string(b), "<"+w+">"); got != has(w) {
				t.Fatalf("reading %v, sent %s: %t", reads, w, got)
			}
		}
		var it actionv1.Item
		if err := proto.Unmarshal(b, &it); err != nil || (it.GetTargets()[0].GetContact().GetCreatedAt() != 0) != has("created_at") {
			t.Fatalf("reading %v: %v, %v", reads, &it, err)
		}
	})
}

func TestProjectionByState(t *testing.T) {
	t.Parallel()
	p := projectionOf(Spec{Reads: actionv1.ReadWords})
	target := full()
	target.Life.State = crm.Purged
	if w := p.target(target); w.GetContact() != nil || w.GetTombstone() != nil || w.GetState() != actionv1.State_STATE_PURGED {
		t.Errorf("of a purged contact %v was sent", w)
	}
	target.Life.State = crm.Live
	if w := p.target(target); w.GetTombstone() != nil || w.GetContact() == nil || w.GetState() != actionv1.State_STATE_LIVE {
		t.Errorf("of a live contact %v was sent", w)
	}
}

func TestValuesCross(t *testing.T) {
	t.Parallel()
	values := []crm.Value{{}, crm.Text("a"), crm.Number(1.5), {Kind: crm.BoolValue, Bool: true},
		{Kind: crm.InstantValue, At: 1<<60 + 1}, {Kind: crm.ListValue, List: []string{"a", "b"}}}
	for _, v := range values {
		if got := fromWire(toWire(v)); !got.Equal(v) {
			t.Errorf("%+v became %+v", v, got)
		}
	}
}

// Whatever a plugin answers, what comes out keeps the rules.
func FuzzSettle(f *testing.F) {
	add := func(o ...*actionv1.Outcome) {
		b, err := proto.Marshal(&actionv1.ExecuteResponse{Outcomes: o})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(0), uint8(1))
	}
	add()
	add(&actionv1.Outcome{IdempotencyKey: "a"})
	add(&actionv1.Outcome{IdempotencyKey: "b", Result: &actionv1.Outcome_Done{Done: &actionv1.Done{Effects: []*actionv1.Effect{
		{Kind: &actionv1.Effect_AddTag{AddTag: &actionv1.AddTag{Target: 0, Tag: "x"}}},
		{Kind: &actionv1.Effect_DeleteContact{DeleteContact: &actionv1.DeleteContact{Target: 1}}},
		{Kind: &actionv1.Effect_SetField{SetField: &actionv1.SetField{Target: 1 << 31, Name: "x"}}}, {},
	}}}}, &actionv1.Outcome{IdempotencyKey: "a", Result: &actionv1.Outcome_Retry{Retry: &actionv1.Retry{AfterNanos: -5}}})
	for _, e := range everyEffect(1, crm.Key{}) {
		add(&actionv1.Outcome{IdempotencyKey: "a", Result: &actionv1.Outcome_Done{Done: &actionv1.Done{Effects: []*actionv1.Effect{e.wire, e.wire}}}})
	}
	f.Fuzz(func(t *testing.T, b []byte, s0, s1 uint8) {
		var reply actionv1.ExecuteResponse
		if proto.Unmarshal(b, &reply) != nil {
			return
		}
		spec := Spec{Action: "x.y", Plugin: "x", Effects: []EffectKind{EffectAddTag, EffectDelete, EffectRestore, EffectSetField,
			EffectAddToList, EffectCreateTask, EffectAddToWorkflow, EffectArchive}}
		targets := []Target{inState(1, crm.State(s0%3)), inState(2, crm.State(s1%3))}
		items := []Item{{Key: "a", Targets: targets}, {Key: "b", Targets: targets}}
		out, err := settle(spec, items, reply.GetOutcomes())
		if err != nil {
			if out != nil {
				t.Fatal("an offence has outcomes")
			}
			return
		}
		if len(out) != len(items) {
			t.Fatalf("%d outcomes", len(out))
		}
		for _, o := range out {
			if o.Status == NoOutcome || o.After < 0 || o.Status == Fail && o.Code == "" || o.Status != Done && len(o.Effects) > 0 {
				t.Fatalf("%+v", o)
			}
			state := []crm.State{targets[0].Life.State, targets[1].Life.State}
			for _, e := range o.Effects {
				if !spec.Allows(e.Kind) || e.Target < 0 || e.Target > 1 || state[e.Target] == crm.Purged ||
					state[e.Target] == crm.Deleted && e.Kind != EffectRestore {
					t.Fatalf("%+v on %s", e, state[e.Target])
				}
				state[e.Target] = after(state[e.Target], e.Kind)
				if _, err := e.Mutation(targets[e.Target], knows{}); err != nil && crm.CodeOf(err) != crm.CodeNotFound {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestMutations(t *testing.T) {
	t.Parallel()
	target := live(1)
	k := target.Contact.Key()
	tests := map[crm.Mutation]Effect{
		crm.Delete{Contact: k, Reason: "r"}:  {Kind: EffectDelete, Reason: "r"},
		crm.Restore{Contact: k, Reason: "r"}: {Kind: EffectRestore, Reason: "r"},
		crm.Purge{Contact: k, Reason: "r"}:   {Kind: EffectPurge, Reason: "r"},
		crm.AddTag{Contact: k, Tag: "x"}:     {Kind: EffectAddTag, Tag: "x"},
		crm.RemoveTag{Contact: k, Tag: "x"}:  {Kind: EffectRemoveTag, Tag: "x"},
	}
	for want, e := range tests {
		if got, err := e.Mutation(target, knows{}); err != nil || got != want {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
	}
	if m, err := (Effect{Kind: EffectSetField, Field: "f", Value: crm.Text("v")}).Mutation(target, knows{}); err != nil || m.(crm.SetField).Value.Text != "v" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := (Effect{Kind: "x"}).Mutation(target, knows{}); err == nil {
		t.Error("an unknown effect became a mutation")
	}
	if _, err := (Effect{Kind: EffectDelete}).Mutation(Target{}, knows{}); err == nil {
		t.Error("an effect on nobody became a mutation")
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	got := Spec{Reads: []string{"created_at", "dnd", "email", "fields", "fields.plan", "lists", "tags", "tombstone"}}.Facts()
	want := []crm.Fact{{Kind: crm.FactDND}, {Kind: crm.FactIdentity, Name: "email"}, {Kind: crm.FactField},
		{Kind: crm.FactField, Name: "plan"}, {Kind: crm.FactList}, {Kind: crm.FactTag}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	own, outside := filepath.Join(dir, "own"), filepath.Join(dir, "outside.sock")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(own, "s")
	for _, path := range []string{good, outside} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	put(t, filepath.Join(own, "file"), nil)
	_ = os.Symlink(outside, filepath.Join(own, "link"))
	c := &child{dir: own}
	if _, addr, err := c.PluginToHost("unix", good); err != nil || addr != good {
		t.Errorf("the plugin's own socket was refused: %v", err)
	}
	for _, a := range [][2]string{{"tcp", "127.0.0.1:22"}, {"tcp", good}, {"unix", outside}, {"unix", own + "/../outside.sock"},
		{"unix", own + "/link"}, {"unix", own + "/file"}, {"unix", own + "/none"}, {"unix", own}, {"unix", "s"}, {"unix", ""}, {"", good}} {
		if _, _, err := c.PluginToHost(a[0], a[1]); err == nil {
			t.Errorf("%v was taken", a)
		}
	}
	if _, _, err := c.HostToPlugin("unix", good); err == nil {
		t.Error("an address of the host's was offered")
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := clean(string(rapid.SliceOf(rapid.Byte()).Draw(t, "s")) + strings.Repeat("é", rapid.IntRange(0, 400).Draw(t, "n")))
		if s != text(s) || len(s) > maxText+len("…") || strings.ContainsAny(s, "\x00\x1b\n\u202e") {
			t.Fatalf("%q", s)
		}
	})
}
