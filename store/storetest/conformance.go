package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Conformance checks an engine against each sentence of its contract. open gives a new empty store
// each time and closes it at the test's end.
func Conformance(t *testing.T, open func(t *testing.T) row.Engine) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, e row.Engine)
	}{
		{"tables", testTables},
		{"an update is visible when it has returned", testCommitted},
		{"own writes are visible", testOwnWrites},
		{"range order and bounds", testRange},
		{"writes are carried out in order", testWriteOrder},
		{"big rows", testBigRows},
		{"misuse", testMisuse},
		{"a failing function leaves no trace", testFailing},
		{"a panic leaves no trace", testPanic},
		{"a goexit leaves no trace", testGoexit},
		{"an unstorable row fails alone", testUnstorable},
		{"a neighbour's failure is nobody's", testNeighbours},
		{"views are isolated", testIsolation},
		{"a transaction ends with its function", testOver},
		{"context", testContext},
		{"close", testClose},
		{"the clock stands still in a transaction", testNow},
		{"identities", testIdentities},
		{"scan states", testScanStates},
		{"scan lists", testScanLists},
		{"scan filter and yield", testScanYield},
		{"scan yields the caller's own", testScanOwn},
		{"scan after a write", testScanAfterWrite},
		{"logs", testLogs},
		{"snapshot", testSnapshot},
		{"agrees with the model engine", testAgreement},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open(t))
		})
	}
}

var ctx = context.Background()

// update and view fail the test on an error; they may be called from its own goroutine only.
func update(t testing.TB, e row.Engine, fn func(tx row.Tx) error) {
	t.Helper()
	if err := e.Update(ctx, fn); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t testing.TB, e row.Engine, fn func(tx row.Tx) error) {
	t.Helper()
	if err := e.View(ctx, fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// id makes an id that sorts by n.
func id[I ~[16]byte](n int) I {
	var i I
	i[6], i[7], i[13], i[14], i[15] = 0x70, 0x01, byte(n>>16), byte(n>>8), byte(n)
	return i
}

func key(account, n int) crm.Key {
	return crm.Key{Account: id[crm.AccountID](account), Contact: id[crm.ContactID](n)}
}

// insert puts rows into a table.
func insert[K comparable, R any](t row.Table[K, R], rows ...R) error {
	ch := make([]row.Change[R], len(rows))
	for i := range rows {
		ch[i].New = &rows[i]
	}
	return t.Write(ctx, ch)
}

func counter(name string, n int64) row.Counter {
	return row.Counter{Account: id[crm.AccountID](1), Name: name, N: n}
}

func counterKey(name string) row.NameKey {
	return row.NameKey{Account: id[crm.AccountID](1), Name: name}
}

// add adds to a counter, as a function that reads what it writes.
func add(tx row.Tx, name string, n int64) error {
	rows, err := tx.Counters().Get(ctx, []row.NameKey{counterKey(name)})
	if err != nil {
		return err
	}
	old := rows[counterKey(name)]
	fresh := counter(name, n)
	if old != nil {
		fresh.N += old.N
	}
	return tx.Counters().Write(ctx, []row.Change[row.Counter]{{Old: old, New: &fresh}})
}

// total reads a counter; 0 if there is none.
func total(t testing.TB, e row.Engine, name string) (n int64) {
	t.Helper()
	view(t, e, func(tx row.Tx) error {
		rows, err := tx.Counters().Get(ctx, []row.NameKey{counterKey(name)})
		if r := rows[counterKey(name)]; r != nil {
			n = r.N
		}
		return err
	})
	return n
}

func logRows(t testing.TB, e row.Engine, log string) (all []string) {
	t.Helper()
	view(t, e, func(tx row.Tx) error {
		rows, _, err := tx.Next(ctx, log, nil, 0)
		for _, r := range rows {
			all = append(all, string(r))
		}
		return err
	})
	return all
}

func wantCode(t testing.TB, what string, err error, code string) {
	t.Helper()
	if crm.CodeOf(err) != code {
		t.Errorf("%s: error %v has the code %q, want %q", what, err, crm.CodeOf(err), code)
	}
}

func testCommitted(t *testing.T, e row.Engine) {
	for i := range 20 {
		update(t, e, func(tx row.Tx) error { return add(tx, "n", 1) })
		if got := total(t, e, "n"); got != int64(i+1) {
			t.Fatalf("after %d updates a view counts %d", i+1, got)
		}
	}
}

func testNow(t *testing.T, e row.Engine) {
	steady := func(tx row.Tx) error {
		now := tx.Now()
		for range 1000 {
			if tx.Now() != now {
				return errors.New("the clock moved")
			}
		}
		if now == 0 {
			return errors.New("the clock shows nothing")
		}
		return nil
	}
	view(t, e, steady)
	update(t, e, steady)
}

func testOver(t *testing.T, e row.Engine) {
	var kept row.Tx
	use := func() error {
		if _, err := kept.Counters().Get(ctx, []row.NameKey{counterKey("n")}); err == nil {
			return errors.New("a read after the end went through")
		}
		if err := kept.Append(ctx, "log", [][]byte{{1}}); err == nil {
			return errors.New("a write after the end went through")
		}
		return nil
	}
	for name, run := range map[string]func(context.Context, func(row.Tx) error) error{"view": e.View, "update": e.Update} {
		if err := run(ctx, func(tx row.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := use(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testContext(t *testing.T, e row.Engine) {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	refuse := func(row.Tx) error { t.Error("a function ran under a context that was over"); return nil }
	if err := e.View(gone, refuse); !errors.Is(err, context.Canceled) {
		t.Errorf("view: %v", err)
	}
	if err := e.Update(gone, refuse); !errors.Is(err, context.Canceled) {
		t.Errorf("update: %v", err)
	}
	// Cancelled at any moment, an update either says so and wrote nothing, or says nil and wrote.
	want := int64(0)
	for i := range 50 {
		soon, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); cancel() }()
		err := e.Update(soon, func(tx row.Tx) error {
			if i%2 == 0 {
				cancel() // inside the function: its writes count all the same
			}
			return add(tx, "n", 1)
		})
		<-done
		if err == nil {
			want++
		} else if !errors.Is(err, context.Canceled) {
			t.Fatalf("update: %v", err)
		}
	}
	if got := total(t, e, "n"); got != want {
		t.Errorf("%d updates said nil, %d are there", want, got)
	}
}

// testClose closes an engine while one function runs and others wait for their turn.
func testClose(t *testing.T, e row.Engine) {
	const callers = 16
	got, release, running := make(chan error, callers), make(chan struct{}), make(chan struct{}, 3)
	linger := func() { // so that others come as far as they can; how far decides nothing
		for range 1000 {
			runtime.Gosched()
		}
	}
	for i := range callers {
		go func() {
			got <- e.Update(ctx, func(tx row.Tx) error {
				if i == 0 {
					running <- struct{}{}
					<-release
				}
				return add(tx, "n", 1)
			})
		}()
		if i == 0 {
			<-running
		}
	}
	linger()
	closed := make(chan error)
	go func() { closed <- e.Close() }()
	linger()
	close(release)
	for range callers {
		if err := <-got; err != nil && crm.CodeOf(err) != crm.CodeStopped {
			t.Errorf("an update beside a close: %v", err)
		}
	}
	if err := <-closed; err != nil {
		t.Fatalf("close: %v", err)
	}
	nothing := func(row.Tx) error { return nil }
	wantCode(t, "update after close", e.Update(ctx, nothing), crm.CodeStopped)
	wantCode(t, "view after close", e.View(ctx, nothing), crm.CodeStopped)
	if err := e.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}

func testIdentities(t *testing.T, e row.Engine) {
	hash := func(b byte) (h [32]byte) { h[0], h[31] = b, b; return h }
	carrier := func(b byte, account, n int) row.Identity {
		k := key(account, n)
		return row.Identity{Hash: hash(b), Account: k.Account, Contact: k.Contact}
	}
	ask := func(tx row.Tx) (string, error) {
		m, err := tx.ByIdentity(ctx, [][32]byte{hash(1), hash(255), hash(9), hash(1)})
		return fmt.Sprint(len(m), len(m[hash(1)]), len(m[hash(255)]), m[hash(1)], m[hash(255)]), err
	}
	update(t, e, func(tx row.Tx) error {
		return insert(tx.Identities(), carrier(1, 1, 2), carrier(1, 1, 1), carrier(2, 1, 1), carrier(255, 2, 7))
	})
	view(t, e, func(tx row.Tx) error {
		got, err := ask(tx)
		if want := fmt.Sprint(2, 2, 1, []crm.Key{key(1, 1), key(1, 2)}, []crm.Key{key(2, 7)}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		return err
	})
	update(t, e, func(tx row.Tx) error {
		gone := carrier(1, 1, 1)
		if err := tx.Identities().Write(ctx, []row.Change[row.Identity]{{Old: &gone}}); err != nil {
			return err
		}
		if err := insert(tx.Identities(), carrier(1, 3, 1)); err != nil {
			return err
		}
		got, err := ask(tx)
		if want := fmt.Sprint(2, 2, 1, []crm.Key{key(1, 2), key(3, 1)}, []crm.Key{key(2, 7)}); got != want {
			t.Errorf("with own writes: got %s, want %s", got, want)
		}
		return err
	})
}
