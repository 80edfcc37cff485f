package runtime

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
	"github.com/reprieve-run/reprieve/workflow"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// rig is an engine over the hostile memory engine, with actions that decide as the built-in ones do.
type rig struct {
	t      testing.TB
	ctx    context.Context
	clock  *clock.Virtual
	store  *store.Store
	engine *Engine
	acts   *fakeActions
	acc    crm.AccountID
	by     crm.Actor
	random *rand.ChaCha8

	secrets Secrets
}

func newRig(t testing.TB, o storetest.MemoryOptions) *rig {
	t.Helper()
	r := &rig{t: t, ctx: context.Background(), clock: clock.NewVirtual(start), acts: newFakeActions(),
		by: crm.Actor{ID: "user:test", Role: crm.Admin}, random: rand.NewChaCha8([32]byte{byte(o.Seed)})}
	o.Now = func() crm.Nanos { return crm.At(r.clock.Now()) }
	var err error
	r.store, err = store.New(r.ctx, storetest.NewMemory(o), store.Options{Key: make([]byte, 32), Rand: &lockedRand{r: r.random}})
	r.must(err)
	t.Cleanup(func() { r.must(r.store.Close()) })
	r.restart()
	r.update(func(tx *store.Tx) error {
		id, err := crm.NewID[crm.AccountKind](tx.Now(), r.random)
		r.acc = id
		return first(err, tx.PutAccount(crm.Account{ID: id, Name: "test", CreatedAt: tx.Now(), Policy: crm.DefaultPolicy()}))
	})
	return r
}

type lockedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (l *lockedRand) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// restart throws the engine's memory away, as a kill would.
func (r *rig) restart() {
	var err error
	r.engine, err = New(Options{Store: r.store, Actions: r.acts, Clock: r.clock, Log: zerolog.Nop(), Secrets: r.secrets})
	r.must(err)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) update(fn func(*store.Tx) error) {
	r.t.Helper()
	r.must(r.store.Update(r.ctx, fn))
}

func (r *rig) view(fn func(*store.Tx) error) {
	r.t.Helper()
	r.must(r.store.View(r.ctx, fn))
}

func (r *rig) settle() {
	r.t.Helper()
	r.must(r.engine.Settle(r.ctx))
}

// pass moves the clock and settles.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	r.clock.Advance(d)
	r.settle()
}

func (r *rig) try(m ...crm.Mutation) error {
	return r.store.Update(r.ctx, func(tx *store.Tx) error {
		_, err := tx.Apply(r.by, crm.Cause{Kind: crm.ByPerson}, m...)
		return err
	})
}

func (r *rig) apply(m ...crm.Mutation) {
	r.t.Helper()
	r.must(r.try(m...))
}

// person makes a contact with tags.
func (r *rig) person(tags ...string) crm.Key {
	r.t.Helper()
	var k crm.Key
	r.update(func(tx *store.Tx) error {
		id, err := tx.NewContactID()
		if err != nil {
			return err
		}
		c := crm.Contact{Account: r.acc, ID: id}
		for _, t := range tags {
			c.Tags = append(c.Tags, crm.Tag{Name: t})
		}
		k = c.Key()
		_, err = tx.Apply(r.by, crm.Cause{Kind: crm.ByImport}, crm.Create{Contact: c})
		return err
	})
	return k
}

// workflow applies a workflow with grants for everything.
func (r *rig) workflow(id, body string) {
	r.t.Helper()
	src := []byte("version: 1\nid: " + id + "\n" + body)
	def, err := workflow.Parse(id+".yaml", src)
	r.must(err)
	r.update(func(tx *store.Tx) error {
		_, err := tx.ApplyWorkflow(r.by, r.acc, def.ID, def.Revision, def.File, src, []string{"contact.delete", "contact.restore"})
		return err
	})
}

func (r *rig) state(k crm.Key) crm.State {
	var s crm.State
	r.view(func(tx *store.Tx) error {
		l, err := tx.Life(k)
		s = l.State
		return err
	})
	return s
}

// runs gives a contact's runs as "workflow status step" with their reasons.
func (r *rig) runs(k crm.Key) []string {
	var out []string
	r.view(func(tx *store.Tx) error {
		out = nil
		life, err := tx.Life(k)
		if err != nil {
			return err
		}
		runs, err := tx.RunsOf(k)
		for _, run := range runs {
			reason := run.Reason
			if steps, err := tx.Steps(run.ID); err == nil && len(steps) > 0 && run.Status == crm.RunExited {
				reason = steps[len(steps)-1].Message
			}
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", run.Workflow, run.StatusFor(life), run.Step, reason)))
		}
		slices.Sort(out)
		return err
	})
	return out
}

// journal gives the lines of all journals of a contact's runs as "step status code".
func (r *rig) journal(k crm.Key) []string {
	var out []string
	r.view(func(tx *store.Tx) error {
		out = nil
		runs, err := tx.RunsOf(k)
		if err != nil {
			return err
		}
		for _, run := range runs {
			steps, err := tx.Steps(run.ID)
			if err != nil {
				return err
			}
			for _, s := range steps {
				out = append(out, strings.TrimSpace(s.Path+" "+s.Status+" "+s.Code))
			}
		}
		return nil
	})
	return out
}

func (r *rig) expect(what string, got, want any) {
	r.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// fakeActions decides in process what the built-in actions decide, and what a test adds.
type fakeActions struct {
	mu    sync.Mutex
	specs map[string]plugins.Spec
	act   map[string]func(context.Context, plugins.Item) plugins.Outcome
	fail  map[string]error // the whole call fails
	keys  []string         // idempotency keys, in order of the calls
}

func newFakeActions() *fakeActions {
	f := &fakeActions{specs: map[string]plugins.Spec{}, act: map[string]func(context.Context, plugins.Item) plugins.Outcome{}, fail: map[string]error{}}
	one := func(kind plugins.EffectKind) func(context.Context, plugins.Item) plugins.Outcome {
		return func(_ context.Context, it plugins.Item) plugins.Outcome {
			want := crm.Live
			if kind == plugins.EffectRestore {
				want = crm.Deleted
			}
			if it.Targets[0].Life.State != want {
				return plugins.Outcome{Status: plugins.Skip, Message: "nothing to do"}
			}
			return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: kind, Tag: "marked"}}}
		}
	}
	f.add(plugins.Spec{Action: "contact.delete", Effects: []plugins.EffectKind{plugins.EffectDelete}}, one(plugins.EffectDelete))
	f.add(plugins.Spec{Action: "contact.restore", Effects: []plugins.EffectKind{plugins.EffectRestore}}, one(plugins.EffectRestore))
	f.add(plugins.Spec{Action: "mark", Effects: []plugins.EffectKind{plugins.EffectAddTag}}, one(plugins.EffectAddTag))
	return f
}

func (f *fakeActions) add(s plugins.Spec, act func(context.Context, plugins.Item) plugins.Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.specs[s.Action], f.act[s.Action] = s, act
}

func (f *fakeActions) Spec(_ context.Context, action string) (plugins.Spec, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.specs[action]
	if !ok {
		return s, crm.Errorf("execute an action", crm.CodeNotFound, "no plugin provides %q", action)
	}
	return s, s.Broken
}

func (f *fakeActions) Execute(ctx context.Context, action string, b plugins.Batch) ([]plugins.Outcome, error) {
	f.mu.Lock()
	act, fail := f.act[action], f.fail[action]
	for _, it := range b.Items {
		f.keys = append(f.keys, it.Key)
	}
	f.mu.Unlock()
	out := make([]plugins.Outcome, len(b.Items))
	if fail != nil {
		return out, fail // sent, and nobody knows
	}
	for i, it := range b.Items {
		out[i] = act(ctx, it)
	}
	return out, nil
}
