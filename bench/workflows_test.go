package bench

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// TestWaitsFloorWritesAStore: the rows that the floor writes for runs that wake up are all that the engine wrote,
// whatever the transactions: a store is found in them in which every run went on, once.
func TestWaitsFloorWritesAStore(t *testing.T) {
	t.Parallel()
	ctx, o := context.Background(), tiny(t)
	s, err := newWaits(ctx, &run{o: o, dir: o.Dir, report: &Report{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.(*waits).sides {
		path := filepath.Join(o.Dir, "floor")
		if err := duplicate(k.path, path); err != nil {
			t.Fatal(err)
		}
		f, err := openBare(path, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.write(k.rows.plan([]int{7, 20, 1, o.Waits - 28})); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := openStore(ctx, path, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.woken(ctx, got); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
		if err := got.Close(); err != nil {
			t.Fatal(err)
		}
		early, err := openStore(ctx, k.path, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.woken(ctx, early); err == nil {
			t.Errorf("%s: runs that still sleep pass for woken ones", k.name)
		}
		if err := early.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInOrder: rows of one thing stand together, in the order of the things, whatever their keys begin with.
func TestInOrder(t *testing.T) {
	t.Parallel()
	a, b := [16]byte{1}, [16]byte{2}
	r := rows{"timer": {{key: append([]byte("early"), b[:]...)}, {key: append([]byte("early"), a[:]...)},
		{key: append([]byte("late"), b[:]...)}, {key: append([]byte("late"), a[:]...)}}}
	r.inOrder(map[[16]byte]int{a: 0, b: 1})
	var got []string
	for _, p := range r["timer"] {
		got = append(got, fmt.Sprintf("%s%d", bytes.TrimRight(p.key[:len(p.key)-16], "\x00"), p.key[len(p.key)-16]))
	}
	if strings.Join(got, " ") != "early1 late1 early2 late2" {
		t.Errorf("%v", got)
	}
}

// compilations counts what f makes the compilers of expressions and workflows allocate. A compiler that runs
// allocates, and its name stands in the stack.
func compilations(f func()) (n int64) {
	before := compiled()
	f()
	return compiled() - before
}

func compiled() (n int64) {
	for range 3 { // a profile lags by two collections
		goruntime.GC()
	}
	records := make([]goruntime.MemProfileRecord, 100_000)
	got, ok := goruntime.MemProfile(records, true)
	if !ok {
		panic("more records than expected")
	}
	for _, r := range records[:got] {
		for frames := goruntime.CallersFrames(r.Stack()); ; {
			f, more := frames.Next()
			if strings.HasSuffix(f.Function, "triggers.CompileExpr") || strings.HasSuffix(f.Function, "workflow.Parse") {
				n += r.AllocObjects
				break
			}
			if !more {
				break
			}
		}
	}
	return n
}

// TestNothingCompilesPerEvent: events that are dispatched, runs that start, wait and go on compile nothing: a
// revision is compiled when it is applied or first met. Not parallel: others compile.
func TestNothingCompilesPerEvent(t *testing.T) {
	rate := goruntime.MemProfileRate
	goruntime.MemProfileRate = 1
	defer func() { goruntime.MemProfileRate = rate }()
	ctx := context.Background()
	b, err := makeBase(ctx, filepath.Join(t.TempDir(), "store"), 5, false)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStore(ctx, b.path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := engineOn(s)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(n int) func() {
		return func() {
			for i := range n {
				src := strings.Replace(strings.Replace(again, "id: again", fmt.Sprintf("id: again-%d-%d", n, i), 1), "sleep, wait: 30d", "sleep, wait: 1s", 1)
				def, err := workflow.Parse("w.yaml", []byte(src))
				if err != nil {
					t.Fatal(err)
				}
				update(t, s, func(tx *store.Tx) error {
					_, err := tx.ApplyWorkflow(admin, b.acc, def.ID, def.Revision, def.File, def.Source, nil)
					return err
				})
			}
			if err := e.Settle(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := compilations(apply(6)); n == 0 {
		t.Fatal("what an applied workflow compiles is not counted: the test sees nothing")
	}
	ran := 0
	if n := compilations(func() {
		for _, k := range b.contacts {
			update(t, s, func(tx *store.Tx) error {
				_, err := tx.Apply(admin, person, crm.AddTag{Contact: k, Tag: "Again"})
				return err
			})
		}
		for range 2 {
			if err := e.Settle(ctx); err != nil {
				t.Fatal(err)
			}
			s.ahead.Add(int64(15 * crm.Day))
		}
		if err := s.View(ctx, func(tx *store.Tx) error {
			for _, k := range b.contacts {
				runs, err := tx.RunsOf(k)
				if err != nil {
					return err
				}
				for _, r := range runs {
					if r.Step == "sleep" {
						ran++
					}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("events and runs have the compilers allocate %d objects", n)
	}
	if ran != 6*len(b.contacts) {
		t.Errorf("%d runs went on, not %d: nothing was looked at", ran, 6*len(b.contacts))
	}
	rules, err := makeRules(rand.New(rand.NewPCG(1, 1)), 60)
	if err != nil {
		t.Fatal(err)
	}
	c := somebody(rand.New(rand.NewPCG(2, 2)))
	if n := compilations(func() {
		for _, kind := range matchKinds {
			ev := crm.Event{Kind: kind, Account: c.Account, Contact: c.ID, Rev: 1, Data: someData(rand.New(rand.NewPCG(5, 5)), kind), After: c}
			te, _ := ev.Trigger(crm.Life{Account: c.Account, Contact: c.ID})
			matches(rules.all, te)
		}
	}); n != 0 {
		t.Errorf("matching has the compilers allocate %d objects", n)
	}
}

func update(t *testing.T, s *subject, f func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}
