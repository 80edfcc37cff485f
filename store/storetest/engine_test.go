package storetest

import (
	"context"
	"errors"
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

// TestConformanceFindsFaults runs the checks that matter most on engines with one fault each: a
// suite that passes these proves nothing.
func TestConformanceFindsFaults(t *testing.T) {
	truncating := NewMemory(MemoryOptions{Now: fixed, Corrupt: func(_ string, r any) {
		if c, ok := r.(*row.Counter); ok {
			c.N = 0
		}
	}})
	update(t, truncating, func(tx row.Tx) error { return add(tx, "n", 1) })
	if total(t, truncating, "n") == 1 {
		t.Error("a truncated counter was not noticed")
	}
	leaky := leak{NewMemory(MemoryOptions{Now: fixed})}
	_ = leaky.Update(ctx, func(tx row.Tx) error { return errors.Join(spoil(tx), errPlanned) })
	if total(t, leaky, "spoilt") == 0 {
		t.Error("the leak does not leak")
	}
}

// leak is an engine that keeps the writes of a function that failed.
type leak struct{ row.Engine }

func (e leak) Update(c context.Context, fn func(row.Tx) error) error {
	var failed error
	err := e.Engine.Update(c, func(tx row.Tx) error { failed = fn(tx); return nil })
	return errors.Join(failed, err)
}
