package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

var errPlanned = errors.New("planned")

func testOwnWrites(t *testing.T, e row.Engine) {
	names := func(tx row.Tx) string {
		rows, err := tx.Counters().Range(ctx, counterKey(""), counterKey("~"), 0)
		if err != nil {
			return err.Error()
		}
		var s []string
		for _, r := range rows {
			s = append(s, fmt.Sprint(r.Name, r.N))
		}
		return strings.Join(s, " ")
	}
	update(t, e, func(tx row.Tx) error { return insert(tx.Counters(), counter("b", 1), counter("d", 1), counter("f", 1)) })
	update(t, e, func(tx row.Tx) error {
		gone, old, changed := counter("d", 1), counter("f", 1), counter("f", 2)
		err := tx.Counters().Write(ctx, []row.Change[row.Counter]{{Old: &gone}, {Old: &old, New: &changed}})
		if err := errors.Join(err, insert(tx.Counters(), counter("g", 1)), insert(tx.Counters(), counter("a", 1), counter("c", 1))); err != nil {
			return err
		}
		if got, want := names(tx), "a1 b1 c1 f2 g1"; got != want {
			t.Errorf("range in the transaction: %s, want %s", got, want)
		}
		if err := insert(tx.Counters(), counter("d", 3)); err != nil { // comes back after its delete
			return err
		}
		if got, want := names(tx), "a1 b1 c1 d3 f2 g1"; got != want {
			t.Errorf("range after a second write: %s, want %s", got, want)
		}
		rows, err := tx.Counters().Get(ctx, []row.NameKey{counterKey("d"), counterKey("f"), counterKey("b"), counterKey("x")})
		if len(rows) != 3 || rows[counterKey("d")].N != 3 || rows[counterKey("f")].N != 2 || rows[counterKey("b")].N != 1 {
			t.Errorf("get in the transaction: %v", rows)
		}
		return err
	})
	view(t, e, func(tx row.Tx) error {
		if got, want := names(tx), "a1 b1 c1 d3 f2 g1"; got != want {
			t.Errorf("after the commit: %s, want %s", got, want)
		}
		return nil
	})
}

func testRange(t *testing.T, e row.Engine) {
	dues := []crm.Nanos{-1 << 63, -5, 0, 1, 255, 256, 1 << 40, 1<<63 - 1}
	update(t, e, func(tx row.Tx) error {
		for _, i := range []int{3, 0, 7, 1, 6, 2, 5, 4} {
			if err := insert(tx.Timers(), crm.Timer{Due: dues[i], Run: id[crm.RunID](9 - i)}); err != nil {
				return err
			}
		}
		return insert(tx.Marks(), row.Mark{Name: "a"}, row.Mark{Name: "b"})
	})
	at := func(due crm.Nanos) crm.TimerKey { return crm.TimerKey{Due: due} }
	check := func(tx row.Tx) error {
		for _, c := range []struct {
			from, to crm.TimerKey
			n        int
			want     []crm.Nanos
		}{
			{at(-1 << 63), crm.TimerKey{Due: 1<<63 - 1, Run: id[crm.RunID](1000)}, 0, dues},
			{at(-1 << 63), at(1<<63 - 1), -1, dues[:7]},
			{at(-1 << 63), at(0), 0, dues[:2]}, // to is not in it
			{at(0), at(256), 0, dues[2:5]},     // from is
			{at(2), at(256), 0, dues[4:5]},
			{at(0), at(1 << 62), 3, dues[2:5]},
			{at(256), at(0), 0, nil},
			{at(300), at(300), 0, nil},
			{crm.TimerKey{Due: 256, Run: id[crm.RunID](5)}, at(1 << 41), 0, dues[6:7]},
		} {
			rows, err := tx.Timers().Range(ctx, c.from, c.to, c.n)
			if err != nil {
				return err
			}
			var got []crm.Nanos
			for _, r := range rows {
				got = append(got, r.Due)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("range %v to %v, %d: got %v, want %v", c.from.Due, c.to.Due, c.n, got, c.want)
			}
		}
		marks, err := tx.Marks().Range(ctx, "", "", 0)
		if len(marks) != 0 {
			t.Errorf("an empty range gave %d rows", len(marks))
		}
		return err
	}
	view(t, e, check)
	update(t, e, check)
}

func testWriteOrder(t *testing.T, e row.Engine) {
	one, two := counter("n", 1), counter("n", 2)
	update(t, e, func(tx row.Tx) error {
		return tx.Counters().Write(ctx, []row.Change[row.Counter]{{New: &one}, {Old: &one}, {New: &one}, {Old: &one, New: &two}})
	})
	if got := total(t, e, "n"); got != 2 {
		t.Errorf("the last of four changes should win: %d", got)
	}
	update(t, e, func(tx row.Tx) error {
		return tx.Counters().Write(ctx, []row.Change[row.Counter]{{Old: &two, New: &one}, {Old: &one}})
	})
	if got := total(t, e, "n"); got != 0 {
		t.Errorf("a deleted row is still there: %d", got)
	}
}

func testBigRows(t *testing.T, e row.Engine) {
	for _, size := range []int{0, 1, 4 << 10, 300 << 10, 3 << 20} {
		source := slices.Repeat([]byte{7, 0, 255}, size/3+1)[:size]
		k := row.NameKey{Name: fmt.Sprint(size)}
		update(t, e, func(tx row.Tx) error {
			return errors.Join(insert(tx.Revisions(), row.Revision{Name: k.Name, Source: source}), tx.Append(ctx, "big", [][]byte{source}))
		})
		view(t, e, func(tx row.Tx) error {
			rows, err := tx.Revisions().Get(ctx, []row.NameKey{k})
			if r := rows[k]; r == nil || !slices.Equal(r.Source, source) {
				t.Errorf("%d bytes did not come back", size)
			}
			return err
		})
		if logged := logRows(t, e, "big"); logged[len(logged)-1] != string(source) {
			t.Errorf("%d bytes did not come back from the log", size)
		}
	}
	err := e.Update(ctx, func(tx row.Tx) error {
		return insert(tx.Revisions(), row.Revision{Name: "huge", Source: make([]byte, 9<<20)})
	})
	wantCode(t, "a row that is too large", err, crm.CodeInvalid)
}

func testMisuse(t *testing.T, e row.Engine) {
	a, b := counter("a", 1), counter("b", 1)
	wantCode(t, "a write in a view", e.View(ctx, func(tx row.Tx) error { return insert(tx.Counters(), a) }), crm.CodeInvalid)
	wantCode(t, "an append in a view", e.View(ctx, func(tx row.Tx) error { return tx.Append(ctx, "l", [][]byte{{1}}) }), crm.CodeInvalid)
	for name, ch := range map[string]row.Change[row.Counter]{"nothing": {}, "another key": {Old: &a, New: &b}} {
		err := e.Update(ctx, func(tx row.Tx) error {
			if err := insert(tx.Counters(), a); err != nil {
				return err
			}
			return tx.Counters().Write(ctx, []row.Change[row.Counter]{ch})
		})
		wantCode(t, name, err, crm.CodeInvalid)
	}
	if got := total(t, e, "a"); got != 0 {
		t.Errorf("a refused write left a trace")
	}
	// None of these is a write, so a scan may follow.
	update(t, e, func(tx row.Tx) error {
		if err := errors.Join(tx.Counters().Write(ctx, nil), tx.Append(ctx, "l", nil)); err != nil {
			return err
		}
		_, err := tx.Scan(ctx, crm.Query{State: crm.OnlyLive}, func(*crm.Contact, *crm.Life) bool { return true })
		return err
	})
}

// spoil writes to a table and a log and is meant to fail then.
func spoil(tx row.Tx) error {
	return errors.Join(add(tx, "spoilt", 1), tx.Append(ctx, "spoilt", [][]byte{[]byte("spoilt")}))
}

func wantUnspoilt(t testing.TB, e row.Engine) {
	t.Helper()
	if n, rows := total(t, e, "spoilt"), logRows(t, e, "spoilt"); n != 0 || len(rows) != 0 {
		t.Errorf("a function that failed left %d in a table and %d rows in a log", n, len(rows))
	}
}

func testFailing(t *testing.T, e row.Engine) {
	err := e.Update(ctx, func(tx row.Tx) error { return errors.Join(spoil(tx), errPlanned) })
	if !errors.Is(err, errPlanned) {
		t.Errorf("the function's error was lost: %v", err)
	}
	if err := e.View(ctx, func(row.Tx) error { return errPlanned }); !errors.Is(err, errPlanned) {
		t.Errorf("the view's error was lost: %v", err)
	}
	wantUnspoilt(t, e)
	update(t, e, func(tx row.Tx) error { return add(tx, "n", 1) })
}

// survive calls f and gives what it panicked with.
func survive(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}

func testPanic(t *testing.T, e row.Engine) {
	if p := survive(func() {
		_ = e.Update(ctx, func(tx row.Tx) error { _ = spoil(tx); panic("planned") })
	}); p != "planned" {
		t.Errorf("the caller of an update sees the panic %v", p)
	}
	if p := survive(func() { _ = e.View(ctx, func(row.Tx) error { panic("planned") }) }); p != "planned" {
		t.Errorf("the caller of a view sees the panic %v", p)
	}
	wantUnspoilt(t, e)
	update(t, e, func(tx row.Tx) error { return add(tx, "n", 1) })
}

// testGoexit is what t.Fatal inside a function does.
func testGoexit(t *testing.T, e row.Engine) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Update(ctx, func(tx row.Tx) error { _ = spoil(tx); runtime.Goexit(); return nil })
	}()
	<-done
	wantUnspoilt(t, e)
	update(t, e, func(tx row.Tx) error { return add(tx, "n", 1) })
}

func testUnstorable(t *testing.T, e row.Engine) {
	for name, r := range map[string]row.Mark{"an empty key": {}, "a long key": {Name: strings.Repeat("x", 40_000)}} {
		err := e.Update(ctx, func(tx row.Tx) error {
			return errors.Join(spoil(tx), insert(tx.Marks(), r))
		})
		wantCode(t, name, err, crm.CodeInvalid)
	}
	wantUnspoilt(t, e)
}

// testNeighbours lets 64 callers write, fail, panic, exit and be unstorable side by side, several
// times. What succeeded is there, once; of the others there is nothing.
func testNeighbours(t *testing.T, e row.Engine) {
	const callers, rounds = 64, 8
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for r := range rounds {
				neighbour(t, e, c, r)
			}
		})
	}
	wg.Wait()
	wantUnspoilt(t, e)
	good := 0
	for c := range callers {
		for r := range rounds {
			if (c+r)%8 > 4 {
				continue
			}
			good++
			if n := total(t, e, fmt.Sprint("own ", c, " ", r)); n != 1 {
				t.Errorf("update %d.%d is there %d times", c, r, n)
			}
		}
	}
	if n := total(t, e, "shared"); n != int64(good) {
		t.Errorf("the counter that all add to shows %d, want %d", n, good)
	}
	if rows := logRows(t, e, "shared"); len(rows) != good || len(slices.Compact(slices.Sorted(slices.Values(rows)))) != good {
		t.Errorf("the log has %d rows, want %d different ones", len(rows), good)
	}
}

func neighbour(t *testing.T, e row.Engine, c, r int) {
	name := fmt.Sprint("own ", c, " ", r)
	switch (c + r) % 8 {
	case 5:
		if err := e.Update(ctx, func(tx row.Tx) error { return errors.Join(spoil(tx), errPlanned) }); !errors.Is(err, errPlanned) {
			t.Errorf("%s: %v", name, err)
		}
	case 6:
		if p := survive(func() {
			_ = e.Update(ctx, func(tx row.Tx) error { _ = spoil(tx); panic("planned") })
		}); p != "planned" {
			t.Errorf("%s: panic %v", name, p)
		}
	case 7:
		err := e.Update(ctx, func(tx row.Tx) error { return errors.Join(spoil(tx), insert(tx.Marks(), row.Mark{})) })
		wantCode(t, name, err, crm.CodeInvalid)
	default:
		err := e.Update(ctx, func(tx row.Tx) error {
			return errors.Join(add(tx, name, 1), add(tx, "shared", 1), tx.Append(ctx, "shared", [][]byte{[]byte(name)}))
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testIsolation keeps a view open over an update: it sees nothing of it, also not what it reads only
// afterwards.
func testIsolation(t *testing.T, e row.Engine) {
	write := func() error {
		return e.Update(ctx, func(tx row.Tx) error {
			return errors.Join(add(tx, "n", 1), tx.Append(ctx, "n", [][]byte{{1}}), insert(tx.Contacts(), contact(1, int(total1(tx)))))
		})
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	view(t, e, func(tx row.Tx) error {
		done := make(chan error)
		go func() { done <- write() }()
		if err := <-done; err != nil {
			return err
		}
		rows, err := tx.Counters().Range(ctx, counterKey(""), counterKey("~"), 0)
		logged, _, lerr := tx.Next(ctx, "n", nil, 0)
		seen := 0
		var next []byte
		for first := true; first || next != nil; first = false {
			var serr error
			next, serr = tx.Scan(ctx, crm.Query{Account: id[crm.AccountID](1), State: crm.OnlyLive, After: next},
				func(*crm.Contact, *crm.Life) bool { seen++; return true })
			err = errors.Join(err, serr)
		}
		if len(rows) != 1 || rows[0].N != 1 || len(logged) != 1 || seen != 1 {
			t.Errorf("a view saw a later update: counter %v, %d log rows, %d contacts", rows, len(logged), seen)
		}
		return errors.Join(err, lerr)
	})
	if n := total(t, e, "n"); n != 2 {
		t.Errorf("a later view counts %d, want 2", n)
	}
}

// total1 reads the counter n within a transaction.
func total1(tx row.Tx) int64 {
	rows, _ := tx.Counters().Get(ctx, []row.NameKey{counterKey("n")})
	if r := rows[counterKey("n")]; r != nil {
		return r.N
	}
	return 0
}
