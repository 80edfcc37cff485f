package bolt

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

func mark(tx row.Tx, name string) error {
	return tx.Marks().Write(ctx, []row.Change[row.Mark]{{New: &row.Mark{Name: name}}})
}

func has(t testing.TB, e *Engine, name string) (found bool) {
	t.Helper()
	err := e.View(ctx, func(tx row.Tx) error {
		rows, err := tx.Marks().Get(ctx, []string{name})
		found = rows[name] != nil
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// together runs functions as one group, as if they had all waited, and gives their outcomes.
func together(e *Engine, fns ...func(row.Tx) error) []error {
	var wg sync.WaitGroup
	jobs, errs := make([]*job, len(fns)), make([]error, len(fns))
	for i, fn := range fns {
		j := newJob(fn, fixed)
		jobs[i] = j
		wg.Go(func() {
			defer func() { _ = recover() }()
			errs[i] = j.wait()
		})
	}
	for len(jobs) > 0 { // a group that is rolled back leaves the rest to the next
		e.group(func() *job {
			if len(jobs) == 0 {
				return nil
			}
			j := jobs[0]
			jobs = jobs[1:]
			return j
		})
	}
	wg.Wait()
	return errs
}

func TestGroupIsOneCommit(t *testing.T) {
	t.Parallel()
	e := open(t, Options{NoSync: true})
	planned := errors.New("planned")
	var fns []func(row.Tx) error
	for i := range 40 {
		fns = append(fns, func(tx row.Tx) error {
			rows, err := tx.Marks().Get(ctx, []string{fmt.Sprint(i - 1), fmt.Sprint(i - 2)})
			if err != nil {
				return err
			}
			// The neighbour before is visible exactly if it did not fail.
			if i > 0 && (rows[fmt.Sprint(i-1)] != nil) != ((i-1)%5 < 3) {
				t.Errorf("function %d sees %v of its predecessor", i, rows)
			}
			err = mark(tx, fmt.Sprint(i))
			switch i % 5 {
			case 3:
				return planned
			case 4:
				panic("planned")
			}
			return err
		})
	}
	for i, err := range together(e, fns...) {
		if want := map[bool]error{true: planned}[i%5 == 3]; !errors.Is(err, want) {
			t.Errorf("function %d: %v", i, err)
		}
		if has(t, e, fmt.Sprint(i)) != (i%5 < 3) {
			t.Errorf("function %d: stored or not is wrong", i)
		}
	}
	if s := e.Stats(); s.Commits != 1 || s.Functions != 24 || s.LargestGroup != 24 || s.Reruns != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// TestUnflushableRunsSingly: the writes of one function cannot be flushed, so the group is rolled
// back and each runs alone; a neighbour that had relied on the rolled-back writes decides again.
func TestUnflushableRunsSingly(t *testing.T) {
	t.Parallel()
	e := open(t, Options{NoSync: true})
	runs := make([]int, 4)
	count := func(i int, fn func(row.Tx) error) func(row.Tx) error {
		return func(tx row.Tx) error { runs[i]++; return fn(tx) }
	}
	errs := together(e,
		count(0, func(tx row.Tx) error { return mark(tx, "first") }),
		count(1, func(row.Tx) error { return errors.New("planned") }),
		count(2, func(tx row.Tx) error { return errors.Join(mark(tx, "spoilt"), mark(tx, "")) }),
		count(3, func(tx row.Tx) error { return mark(tx, "last") }))
	if errs[0] != nil || errs[1] == nil || crm.CodeOf(errs[2]) != crm.CodeInvalid || errs[3] != nil {
		t.Errorf("outcomes: %v", errs)
	}
	if !has(t, e, "first") || has(t, e, "spoilt") || !has(t, e, "last") {
		t.Error("what is stored is not what was said")
	}
	if !slices.Equal(runs, []int{2, 2, 2, 1}) {
		t.Errorf("runs: %v", runs)
	}
	if s := e.Stats(); s.Reruns != 1 {
		t.Errorf("stats: %+v", s)
	}
}

// TestViewWaitsForDurability: a view that saw a commit whose fsync is under way must not hand it out
// before the outcome is known, and not at all if it failed.
func TestViewWaitsForDurability(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		e := open(t, Options{NoSync: true})
		e.durable.Store(0) // as if the last commit were under way
		e.commit.Lock()
		seen, done := make(chan struct{}), make(chan error)
		go func() {
			done <- e.View(ctx, func(row.Tx) error { close(seen); return nil })
		}()
		<-seen
		if fails {
			e.stop(errors.New("planned"))
		}
		e.commit.Unlock()
		if err := <-done; (crm.CodeOf(err) == crm.CodeStopped) != fails {
			t.Errorf("fails %v: the view says %v", fails, err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	var free uint64 = 10 << 20
	var broken error
	e := open(t, Options{NoSync: true, FreeBytes: func(string) (uint64, error) { return free, broken }})
	write := func(name string) error { return e.Update(ctx, func(tx row.Tx) error { return mark(tx, name) }) }
	if err := write("refused"); crm.CodeOf(err) != crm.CodeDiskFull {
		t.Errorf("with 10 MiB free: %v", err)
	}
	if has(t, e, "refused") {
		t.Error("a refused function wrote")
	}
	free = 100 << 20
	if err := write("taken"); err != nil || !has(t, e, "taken") {
		t.Errorf("with room again: %v", err)
	}
	free, broken = 0, errors.New("planned")
	if err := write("unknown"); err != nil {
		t.Errorf("with an unknown amount: %v", err)
	}
	if s := e.Stats(); s.Refused != 1 {
		t.Errorf("stats: %+v", s)
	}
}

// TestWriteSetAgainstMap compares a write set over a bucket with a plain map, range by range.
func TestWriteSetAgainstMap(t *testing.T) {
	t.Parallel()
	e := open(t, Options{NoSync: true})
	name := rapid.StringMatching(`[abc]{1,3}`)
	rapid.Check(t, func(rt *rapid.T) {
		model := map[string]uint64{}
		err := e.View(ctx, func(tx row.Tx) error {
			rows, err := tx.Marks().Range(ctx, "", "~", 0)
			for _, r := range rows {
				model[r.Name] = r.N
			}
			return err
		})
		if err != nil {
			rt.Fatal(err)
		}
		ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [3]any {
			return [3]any{rapid.IntRange(0, 2).Draw(t, "op"), name.Draw(t, "name"), name.Draw(t, "to")}
		}), 1, 30).Draw(rt, "ops")
		err = e.Update(ctx, func(tx row.Tx) error {
			for i, o := range ops {
				if err := applyMark(tx, model, o[0].(int), o[1].(string), o[2].(string), uint64(i+1)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func applyMark(tx row.Tx, model map[string]uint64, op int, name, to string, n uint64) error {
	switch op {
	case 0:
		model[name] = n
		return tx.Marks().Write(ctx, []row.Change[row.Mark]{{New: &row.Mark{Name: name, N: n}}})
	case 1:
		delete(model, name)
		return tx.Marks().Write(ctx, []row.Change[row.Mark]{{Old: &row.Mark{Name: name}}})
	}
	rows, err := tx.Marks().Range(ctx, name, to, 0)
	if err != nil {
		return err
	}
	var got, want []string
	for _, r := range rows {
		got = append(got, fmt.Sprint(r.Name, r.N))
	}
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if name <= k && k < to {
			want = append(want, fmt.Sprint(k, model[k]))
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("range %q to %q: got %v, want %v", name, to, got, want)
	}
	return nil
}

// TestSnapshotInChunks freezes more than one chunk holds, twice.
func TestSnapshotInChunks(t *testing.T) {
	t.Parallel()
	e := open(t, Options{NoSync: true})
	const n = 9000
	account := crm.AccountID{1}
	contactID := func(i int) (c crm.ContactID) { c[14], c[15] = byte(i>>8), byte(i); return c }
	err := e.Update(ctx, func(tx row.Tx) error {
		ch := make([]row.Change[crm.Contact], n)
		for i := range ch {
			ch[i].New = &crm.Contact{Account: account, ID: contactID(i)}
		}
		return tx.Contacts().Write(ctx, ch)
	})
	if err != nil {
		t.Fatal(err)
	}
	op := crm.OperationID{0xff, 15: 0xff}
	for _, odd := range []bool{false, true} {
		got, err := e.Snapshot(ctx, op, crm.Query{Account: account, State: crm.OnlyLive},
			func(c *crm.Contact, _ *crm.Life) bool { return !odd || c.ID[15]%2 == 1 })
		want := map[bool]int{false: n, true: n / 2}[odd]
		if err != nil || got != want {
			t.Fatalf("odd %v: %d, %v", odd, got, err)
		}
		err = e.View(ctx, func(tx row.Tx) error {
			end := crm.Key{Account: crm.AccountID{0xff}}
			rows, err := tx.Items().Range(ctx, row.ItemKey{Op: op}, row.ItemKey{Op: op, Contact: end}, 0)
			if len(rows) != want {
				t.Errorf("odd %v: %d rows, want %d", odd, len(rows), want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			e, err := Open(filepath.Join(b.TempDir(), "reprieve.db"), Options{Now: fixed})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			benchUpdate(b, e, callers)
		})
	}
}

// benchUpdate inserts contacts of some 300 bytes with increasing keys, one in each Update.
func benchUpdate(b *testing.B, e *Engine, callers int) {
	var wg sync.WaitGroup
	b.ReportAllocs()
	for c := range callers {
		wg.Go(func() {
			for i := c; i < b.N; i += callers {
				r := crm.Contact{Account: crm.AccountID{1}, Email: crm.Identity{Value: "somebody@example.org", Rev: 1}, Salt: [16]byte{1}}
				r.ID[12], r.ID[13], r.ID[14], r.ID[15] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
				for range 6 {
					r.Tags = append(r.Tags, crm.Tag{Name: "a tag of a contact in this benchmark", Rev: 1})
				}
				err := e.Update(ctx, func(tx row.Tx) error {
					return tx.Contacts().Write(ctx, []row.Change[crm.Contact]{{New: &r}})
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(e.Stats().LargestGroup), "largest-group")
}

func BenchmarkScan(b *testing.B) {
	e := open(b, Options{NoSync: true})
	account := crm.AccountID{1}
	err := e.Update(ctx, func(tx row.Tx) error {
		for i := range 20_000 {
			c := crm.Contact{Account: account, ID: crm.ContactID{14: byte(i >> 8), 15: byte(i)}}
			l := crm.Life{Account: account, Contact: c.ID, State: crm.Deleted, Epoch: 1}
			if err := tx.Contacts().Write(ctx, []row.Change[crm.Contact]{{New: &c}}); err != nil {
				return err
			}
			if i%10 == 0 {
				continue
			}
			if err := tx.Lives().Write(ctx, []row.Change[crm.Life]{{New: &l}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		q := crm.Query{Account: account, State: crm.OnlyLive, Budget: crm.Hour}
		err := e.View(ctx, func(tx row.Tx) error {
			_, err := tx.Scan(ctx, q, func(*crm.Contact, *crm.Life) bool { return true })
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
