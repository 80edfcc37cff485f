package runtime

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// witness takes heads, or fails to.
type witness struct {
	signer *store.Signer
	heads  []store.Head
	fail   error
}

func (w *witness) audit(t *testing.T) *Audit {
	t.Helper()
	var err error
	if w.signer, err = store.NewSigner(rand.Reader, 1); err != nil {
		t.Fatal(err)
	}
	return &Audit{
		Signer: func() (*store.Signer, error) { return w.signer, nil },
		Append: func(h store.Head) error {
			if w.fail == nil {
				w.heads = append(w.heads, h)
			}
			return w.fail
		},
		Last: func() (*store.Head, error) {
			if len(w.heads) == 0 {
				return nil, nil
			}
			return &w.heads[len(w.heads)-1], nil
		},
	}
}

// watch makes an engine that exports heads by a schedule.
func (r *rig) watch(a *Audit, cron string) {
	r.t.Helper()
	var err error
	a.Cron = cron
	r.engine, err = New(Options{Store: r.store, Actions: r.acts, Clock: r.clock, Log: zerolog.Nop(), Audit: a})
	r.must(err)
}

// TestHeadsAreExported: one at the start, then when the schedule says so and there is something new, not before; one
// that could not be written is tried again; each of them is in the log.
func TestHeadsAreExported(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 3})
	w := &witness{}
	r.watch(w.audit(t), "") // every hour; it is 09:00
	r.person("VIP")
	count := func(what string, want int) {
		t.Helper()
		if r.settle(); len(w.heads) != want {
			t.Errorf("%s: %d heads, want %d", what, len(w.heads), want)
		}
	}
	count("at the start", 1)
	r.person()
	r.clock.Advance(time.Hour - 1)
	count("a nanosecond before the hour", 1)
	r.clock.Advance(1)
	count("at the hour", 2)
	r.clock.Advance(time.Hour)
	count("nothing new", 2)
	r.person()
	w.fail = errors.New("the disk is full")
	r.clock.Advance(time.Hour)
	count("it cannot be written", 2)
	w.fail = nil
	r.clock.Advance(time.Hour)
	count("an hour later", 3)
	r.person()
	r.must(r.engine.ExportHead(r.ctx))
	count("at the stop", 4)
	if v, err := r.store.Verify(r.ctx, w.signer.Public(), w.heads); err != nil || v.Heads != 4 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := New(Options{Store: r.store, Actions: r.acts, Clock: r.clock, Log: zerolog.Nop(), Audit: &Audit{Cron: "31 2"}}); err == nil {
		t.Error("a schedule that is none was taken")
	}
}

// TestSweepTrimsTheLog: the sweep removes what audit.keep no longer keeps, all of it and to the nanosecond, and nothing
// where nobody signs.
func TestSweepTrimsTheLog(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 4})
	r.update(func(tx *store.Tx) error {
		p := crm.DefaultPolicy()
		p.Audit.Keep, p.Retention.Window = crm.Day, crm.Hour
		_, err := tx.SetPolicy(r.by, r.acc, p)
		return err
	})
	for range 700 { // more than a chunk
		r.person()
	}
	begin := func() (n uint64) {
		r.view(func(tx *store.Tx) (err error) { n, err = tx.LogStart(); return err })
		return n
	}
	r.settle() // everything is dispatched
	w := &witness{}
	a := w.audit(t)
	r.clock.Advance(24*time.Hour - 1)
	r.watch(a, "")
	if s, err := r.engine.Sweep(r.ctx); err != nil || s.Entries != 0 {
		t.Errorf("a nanosecond early: %+v, %v", s, err)
	}
	r.clock.Advance(1)
	r.restart()
	if s, err := r.engine.Sweep(r.ctx); err != nil || s.Entries != 0 || begin() != 1 {
		t.Errorf("without a signing key: %+v, %v", s, err)
	}
	r.watch(a, "")
	s, err := r.engine.Sweep(r.ctx)
	if err != nil || s.Entries < 700 || begin() != uint64(s.Entries)+1 {
		t.Errorf("%+v, the log begins at %d: %v", s, begin(), err)
	}
	r.person()
	r.settle()
	if v, err := r.store.Verify(r.ctx, w.signer.Public(), w.heads); err != nil || v.First != begin() || v.Entries == 0 {
		t.Errorf("%+v, %v", v, err)
	}
}
