package storetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

func fixed() crm.Nanos { return 42 }

func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	Conformance(t, func(t *testing.T) row.Engine { return NewMemory(MemoryOptions{Now: fixed, Seed: 7}) })
}

func TestMemoryRunsFunctionsAgain(t *testing.T) {
	e := NewMemory(MemoryOptions{Now: fixed})
	runs := 0
	update(t, e, func(tx row.Tx) error { runs++; return add(tx, "n", 1) })
	if runs < 2 || total(t, e, "n") != 1 {
		t.Errorf("%d runs counted %d", runs, total(t, e, "n"))
	}
}

func TestMemoryRefusesAWrongOld(t *testing.T) {
	e := NewMemory(MemoryOptions{Now: fixed})
	one, two := counter("n", 1), counter("n", 2)
	update(t, e, func(tx row.Tx) error { return insert(tx.Counters(), one) })
	for name, c := range map[string]row.Change[row.Counter]{
		"an insert of what is there": {New: &two}, "another Old": {Old: &two, New: &one}, "a delete of another": {Old: &two},
	} {
		err := e.Update(ctx, func(tx row.Tx) error { return tx.Counters().Write(ctx, []row.Change[row.Counter]{c}) })
		wantCode(t, name, err, crm.CodeInvalid)
	}
}

func TestMemoryPlantsWhatItIsTold(t *testing.T) {
	e := NewMemory(MemoryOptions{Now: fixed, Corrupt: func(table string, r any) {
		if l, ok := r.(*crm.Life); ok && table == "life" {
			l.RestorableUntil -= l.RestorableUntil % crm.Second
		}
	}})
	l := life(1, 1, crm.Deleted)
	l.RestorableUntil = crm.Day - 1
	update(t, e, func(tx row.Tx) error { return insert(tx.Lives(), l) })
	view(t, e, func(tx row.Tx) error {
		rows, err := tx.Lives().Get(ctx, []crm.Key{l.Key()})
		if got := rows[l.Key()]; got == nil || got.RestorableUntil != crm.Day-crm.Second || l.RestorableUntil != crm.Day-1 {
			t.Errorf("planted: %+v, the caller's row: %+v", got, l)
		}
		return err
	})
}

// envFault names the fault of the engine that TestFaulty runs the suite on.
const envFault = "REPRIEVE_TEST_FAULT"

// TestConformanceFindsFaults runs the suite on engines with one fault each, in a child, since a test
// cannot fail and be content. A suite that passes one of them would prove nothing about a good one.
func TestConformanceFindsFaults(t *testing.T) {
	if os.Getenv(envFault) != "" {
		t.Skip("in the child")
	}
	for name := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestFaulty$", "-rapid.nofailfile", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), envFault+"="+name)
			out, err := cmd.CombinedOutput()
			if (err == nil) != (name == "none") || !bytes.Contains(out, []byte("FAIL")) != (name == "none") {
				t.Errorf("the suite ended with %v on the fault %q:\n%s", err, name, out)
			}
		})
	}
}

func TestFaulty(t *testing.T) {
	name := os.Getenv(envFault)
	if name == "" {
		t.Skip("only as a child")
	}
	Conformance(t, func(t *testing.T) row.Engine {
		return &faulty{NewMemory(MemoryOptions{Now: fixed, Seed: 7, Corrupt: plant(name)}), faults[name]}
	})
}

// plant is for faults in what is stored; the rows decide them, not the engine.
func plant(name string) func(string, any) {
	switch name {
	case "quiet revision dropped":
		return func(_ string, r any) {
			if l, ok := r.(*crm.Life); ok {
				l.QuietRev = 0
			}
		}
	case "deadline in seconds":
		return func(_ string, r any) {
			if l, ok := r.(*crm.Life); ok {
				l.RestorableUntil -= l.RestorableUntil % crm.Second
			}
		}
	}
	return nil
}

// A fault changes how one call of an engine works.
type fault struct {
	update func(e row.Engine, c context.Context, fn func(row.Tx) error) error
	view   func(e row.Engine, c context.Context, fn func(row.Tx) error) error
	tx     func(tx row.Tx) row.Tx
}

var faults = map[string]fault{
	"none":                   {},
	"quiet revision dropped": {},
	"deadline in seconds":    {},
	"a failure is committed": {update: func(e row.Engine, c context.Context, fn func(row.Tx) error) error {
		var failed error
		return errors.Join(e.Update(c, func(tx row.Tx) error { failed = fn(tx); return nil }), failed)
	}},
	"a panic is swallowed": {update: func(e row.Engine, c context.Context, fn func(row.Tx) error) error {
		return e.Update(c, func(tx row.Tx) error { defer func() { _ = recover() }(); return fn(tx) })
	}},
	"a cancelled context runs": {update: func(e row.Engine, c context.Context, fn func(row.Tx) error) error {
		err := e.Update(context.WithoutCancel(c), fn)
		return errors.Join(err, c.Err())
	}},
	"an update is not committed": {update: func(e row.Engine, c context.Context, fn func(row.Tx) error) error {
		err := e.Update(c, func(tx row.Tx) error { return errors.Join(fn(tx), errPlanned) })
		if err != nil && err.Error() == errPlanned.Error() {
			return nil
		}
		return err
	}},
	"a view moves on": {view: func(e row.Engine, c context.Context, fn func(row.Tx) error) error {
		return e.View(c, func(tx row.Tx) error { return fn(moving{tx, e}) })
	}},
	"the clock runs":          {tx: func(tx row.Tx) row.Tx { return &ticking{Tx: tx} }},
	"a scan ignores states":   {tx: func(tx row.Tx) row.Tx { return stateless{tx} }},
	"a page repeats its last": {tx: func(tx row.Tx) row.Tx { return forgetful{tx} }},
	"a log loses a row":       {tx: func(tx row.Tx) row.Tx { return lossy{tx} }},
	"a trim takes one more":   {tx: func(tx row.Tx) row.Tx { return greedy{tx} }},
	"identities miss one":     {tx: func(tx row.Tx) row.Tx { return narrow{tx} }},
}

type faulty struct {
	row.Engine
	f fault
}

func (e *faulty) Update(c context.Context, fn func(row.Tx) error) error {
	if e.f.update != nil {
		return e.f.update(e.Engine, c, fn)
	}
	return e.Engine.Update(c, e.wrap(fn))
}

func (e *faulty) View(c context.Context, fn func(row.Tx) error) error {
	if e.f.view != nil {
		return e.f.view(e.Engine, c, fn)
	}
	return e.Engine.View(c, e.wrap(fn))
}

func (e *faulty) wrap(fn func(row.Tx) error) func(row.Tx) error {
	if e.f.tx == nil {
		return fn
	}
	return func(tx row.Tx) error { return fn(e.f.tx(tx)) }
}

type (
	ticking struct {
		row.Tx
		n crm.Nanos
	}
	stateless struct{ row.Tx }
	forgetful struct{ row.Tx }
	lossy     struct{ row.Tx }
	narrow    struct{ row.Tx }
	greedy    struct{ row.Tx }
	moving    struct {
		row.Tx
		e row.Engine
	}
)

func (tx *ticking) Now() crm.Nanos { tx.n++; return tx.n }

func (tx stateless) Scan(c context.Context, q crm.Query, yield func(*crm.Contact, *crm.Life) bool) ([]byte, error) {
	q.State = crm.LiveOrDead
	return tx.Tx.Scan(c, q, yield)
}

// Scan gives one contact more when a page is cut short.
func (tx forgetful) Scan(c context.Context, q crm.Query, yield func(*crm.Contact, *crm.Life) bool) ([]byte, error) {
	var last *crm.Contact
	var life *crm.Life
	next, err := tx.Tx.Scan(c, q, func(c *crm.Contact, l *crm.Life) bool { last, life = c, l; return yield(c, l) })
	if next != nil && last != nil {
		yield(last, life)
	}
	return next, err
}

func (tx lossy) Append(c context.Context, log string, rows [][]byte) error {
	return tx.Tx.Append(c, log, rows[:min(len(rows), 1)])
}

func (tx greedy) Trim(c context.Context, log string, n uint64) error {
	return tx.Tx.Trim(c, log, n+1)
}

func (tx narrow) ByIdentity(c context.Context, hashes [][32]byte) (map[[32]byte][]crm.Key, error) {
	m, err := tx.Tx.ByIdentity(c, hashes)
	for h, keys := range m {
		m[h] = keys[:1]
	}
	return m, err
}

// Next reads from a newer view than the one that it belongs to.
func (tx moving) Next(c context.Context, log string, after []byte, n int) (rows [][]byte, cursor []byte, err error) {
	err = tx.e.View(c, func(newer row.Tx) (err error) {
		rows, cursor, err = newer.Next(c, log, after, n)
		return err
	})
	return rows, cursor, err
}
