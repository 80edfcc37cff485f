package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "action" { // started again by the plugin host
		if err := actions.Serve(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "idle" { // started again to be weighed
		if err := Idle(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "plugin" { // started again as a plugin, or as one of its floors
		if err := ServePlugin(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "echo" {
		serveEcho()
		return
	}
	os.Exit(m.Run())
}

func tiny(t testing.TB) Options {
	return Options{Contacts: 60, Tagged: 40, Rounds: 2, Slice: 10 * time.Millisecond, Rules: []int{120}, Waits: 50, Sleepers: 50, Cases: 5, Starts: 1,
		Dir: t.TempDir(), Builtin: []string{os.Args[0], "action"}, Idle: []string{os.Args[0], "idle"},
		Plugin: []string{os.Args[0], "plugin"}}
}

// TestRun: every contest is run in every round against every floor, and does its work, which each
// scenario checks itself.
func TestRun(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	begun := map[string]int{}
	o.Around = func(contest string) func() { begun[contest]++; return func() {} }
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 29 {
		t.Errorf("%d rows, not 29", len(r.Rows))
	}
	for _, row := range r.Rows {
		if len(row.Ratios) != o.Rounds || len(row.CPU) != o.Rounds || row.Median() <= 0 {
			t.Errorf("%s beside %s: ratios %v, of processor time %v", row.Contest, row.Floor, row.Ratios, row.CPU)
		}
	}
	for contest, n := range begun {
		if want := o.Rounds; n != want {
			t.Errorf("%q began %d times, not %d", contest, n, want)
		}
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil || strings.Count(b.String(), "\n| ") != len(r.Rows) {
		t.Errorf("%v, and the table is\n%s", err, &b)
	}
	left, err := os.ReadDir(o.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%d files were left (%v)", len(left), err)
	}
}

func TestOnly(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	o.Rounds, o.Only = 1, regexp.MustCompile("life")
	r, err := Run(context.Background(), o)
	if err != nil || len(r.Rows) != 6 {
		t.Fatalf("%d rows (%v)", len(r.Rows), err)
	}
}

// TestFloorWritesAStore: the rows that the floor writes are all that the store wrote. Written into a
// copy of the contacts' file, they make a store in which every contact is purged and whose log's
// chain is whole.
func TestFloorWritesAStore(t *testing.T) {
	t.Parallel()
	ctx, o := context.Background(), tiny(t)
	s, err := newLife(ctx, &run{o: o, dir: o.Dir, report: &Report{}})
	if err != nil {
		t.Fatal(err)
	}
	l, path := s.(*life), filepath.Join(o.Dir, "floor")
	if err := duplicate(l.b.path, path); err != nil {
		t.Fatal(err)
	}
	made := entries(t, path)
	f, err := openBare(path, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range l.phases {
		if err := f.write(p.rows.plan([]int{7, 20, 1, 32})); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := openStore(ctx, path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if err := got.count(ctx, l.b.acc, store.CountPurged, o.Contacts); err != nil {
		t.Error(err)
	}
	if n, _, err := got.VerifyLog(ctx); err != nil || n != made+4*uint64(o.Contacts) {
		t.Errorf("the log has %d entries, and had %d (%v)", n, made, err)
	}
}

// entries counts the entries of a closed store's log.
func entries(t *testing.T, path string) uint64 {
	s, err := openStore(context.Background(), path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n, _, err := s.VerifyLog(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestChanged: the rows in which two files differ, written into the first, give the second.
func TestChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := rapid.MapOf(rapid.StringMatching("[a-d]{1,3}"), rapid.StringMatching("[x-z]{1,2}"))
	tries := 0
	rapid.Check(t, func(rt *rapid.T) {
		if tries++; tries > 25 {
			return // each makes files
		}
		was, is := content.Draw(rt, "was"), content.Draw(rt, "is")
		a, b := filepath.Join(dir, fmt.Sprint(tries, "a")), filepath.Join(dir, fmt.Sprint(tries, "b"))
		fill(rt, a, was)
		fill(rt, b, is)
		rows, err := changed(a, b)
		if err != nil {
			rt.Fatal(err)
		}
		f, err := openBare(a, false)
		if err != nil {
			rt.Fatal(err)
		}
		if err := f.write(rows.plan([]int{1, 2})); err != nil {
			rt.Fatal(err)
		}
		if err := f.Close(); err != nil {
			rt.Fatal(err)
		}
		if left, err := changed(a, b); err != nil || len(left) > 0 {
			rt.Fatalf("%v are different still (%v)", left, err)
		}
	})
}

func fill(t rapid.TB, path string, content map[string]string) {
	f, err := openBare(path, false)
	if err != nil {
		t.Fatal(err)
	}
	f.NoSync = true
	err = f.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("t"))
		for k, v := range content {
			if err == nil {
				err = b.Put([]byte(k), []byte(v))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPlan: whatever the sizes, each row is written once, but those of each transaction by each.
func TestPlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "rows")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 8).Draw(t, "sizes")
		r := rows{"life": nil, "mark": {{key: []byte("log")}}}
		for i := range n {
			r["life"] = append(r["life"], put{key: []byte{byte(i)}})
		}
		seen := map[byte]int{}
		for _, chunk := range r.plan(sizes) {
			for _, p := range chunk["life"] {
				seen[p.key[0]]++
			}
			if len(chunk["mark"]) != 1 {
				t.Fatal("a transaction without its mark")
			}
		}
		for i := range n {
			if seen[byte(i)] != 1 {
				t.Fatalf("row %d was written %d times", i, seen[byte(i)])
			}
		}
	})
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		goal  Goal
		cost  bool
		ours  []time.Duration // beside floors of 10 ns
		want  string
		ratio float64
	}{
		{Goal{AtLeast: 0.5}, false, []time.Duration{10, 20, 40}, "≥ 0.5: met", 0.5},
		{Goal{AtLeast: 0.5}, false, []time.Duration{10, 40, 40}, "≥ 0.5: **missed**", 0.25},
		{Goal{AtMost: 3}, true, []time.Duration{30, 20, 90}, "≤ 3 ×: met", 3},
		{Goal{AtMost: 3}, true, []time.Duration{40, 20}, "≤ 3 ×: met", 3},
		{Goal{AtMost: 3}, true, []time.Duration{50, 40}, "≤ 3 ×: **missed**", 4.5},
		{Goal{}, true, []time.Duration{50}, "", 5},
	} {
		r := &Report{}
		for _, d := range c.ours {
			r.add(Row{Contest: "c", Floor: "f", Goal: c.goal, Cost: c.cost}, spent{d, d}, spent{10, 10})
		}
		if row := r.Rows[0]; len(r.Rows) != 1 || row.verdict() != c.want || row.Median() != c.ratio {
			t.Errorf("%v: %q with %g, want %q with %g", c.ours, row.verdict(), row.Median(), c.want, c.ratio)
		}
	}
}

// BenchmarkApply is for profiles and for counting what is allocated, which no neighbour disturbs:
// without fsync, 250 contacts a transaction.
func BenchmarkApply(b *testing.B) {
	ctx := context.Background()
	base, err := makeBase(ctx, filepath.Join(b.TempDir(), "b"), 250, true)
	if err != nil {
		b.Fatal(err)
	}
	s, err := openStore(ctx, base.path, true, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	apply := func(f func(k crm.Key) crm.Mutation) {
		err := s.Update(ctx, func(tx *store.Tx) error {
			if err := tx.Prefetch(base.contacts); err != nil {
				return err
			}
			for _, k := range base.contacts {
				if _, err := tx.Apply(admin, person, f(k)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("tag and untag", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			apply(func(k crm.Key) crm.Mutation { return crm.AddTag{Contact: k, Tag: "Again"} })
			apply(func(k crm.Key) crm.Mutation { return crm.RemoveTag{Contact: k, Tag: "Again"} })
		}
	})
	b.Run("delete and restore", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			apply(func(k crm.Key) crm.Mutation { return crm.Delete{Contact: k} })
			apply(func(k crm.Key) crm.Mutation { return crm.Restore{Contact: k} })
		}
	})
}
