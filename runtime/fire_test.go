package runtime

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// hourly applies a schedule with limits; each of its runs rests for long.
func (r *rig) hourly(limits string) {
	r.t.Helper()
	r.workflow("w", fmt.Sprintf(`triggers:
  - {id: t, cron: "0 * * * *", over: contacts, where: '"Due" in contact.tags', %s}
steps:
  - {id: rest, wait: 300d}
`, limits))
	r.settle()
}

func (r *rig) schedule() (s store.Schedule) {
	r.view(func(tx *store.Tx) error {
		p, err := tx.Schedule(r.acc, "w/t")
		if p != nil {
			s = *p
		}
		return err
	})
	return s
}

func (r *rig) crowd(n int, tags ...string) (all []crm.Key) {
	for range n {
		all = append(all, r.person(tags...))
	}
	return all
}

// started counts the runs of each contact.
func (r *rig) started(all []crm.Key) (n int) {
	r.t.Helper()
	for _, k := range all {
		switch runs := len(r.runs(k)); runs {
		case 0, 1:
			n += runs
		default:
			r.t.Errorf("%s has %d runs", k.Contact, runs)
		}
	}
	return n
}

// A fire starts its batch, the next one those behind it, and after the last comes the first again: nobody waits
// for ever while others are due anew each time. A batch that is not counted in the transaction of its starts, or
// that begins at the front each time, starts somebody twice or somebody never.
func TestBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 1})
	all := r.crowd(7, "Due")
	r.hourly("batch: 3")
	for fire, want := range []int{3, 6, 7, 7} {
		r.restart()
		r.pass(time.Hour)
		if got := r.started(all); got != want {
			t.Fatalf("%d runs after fire %d, want %d", got, fire, want)
		}
		if l := r.schedule().Last; l.Selected != 7 || fire == 0 && l.Result != store.FireBatch || l.Started > 3 {
			t.Errorf("fire %d: %+v", fire, l)
		}
	}
}

// Who is due at each fire has a turn as often as anybody else.
func TestBatchGoesRound(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 6})
	all := r.crowd(7, "Due")
	r.workflow("w", `triggers:
  - {id: t, cron: "0 * * * *", over: contacts, where: '"Due" in contact.tags', batch: 3}
steps:
  - {id: over, exit: {status: completed}}
`)
	r.settle()
	for range 7 {
		r.restart()
		r.pass(time.Hour)
	}
	for i, k := range all {
		if n := len(r.runs(k)); n != 3 {
			t.Errorf("contact %d has %d runs, not 3", i, n)
		}
	}
}

// A rate is kept in every stretch of its length, wherever it begins, whatever restarts there are between.
func TestRate(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 2})
	all := r.crowd(25, "Due")
	r.hourly("rate: 10/h")
	r.clock.Advance(time.Hour)
	last, counts := 0, []int{}
	for range 5 * 12 { // five hours, by five minutes
		r.restart() // what it has let through is in the store
		r.settle()
		n := r.started(all)
		counts = append(counts, n-last)
		last = n
		in := 0
		for _, c := range counts[max(0, len(counts)-12):] {
			in += c
		}
		if in > 10 {
			t.Fatalf("%d starts within an hour: %v", in, counts)
		}
		r.clock.Advance(5 * time.Minute)
	}
	if last != 25 {
		t.Fatalf("%d of 25 were started: %v", last, counts)
	}
}

// A guard looks at the whole selection before anything starts; a fire that is over it starts nothing, says so,
// and the next one tries anew.
func TestGuard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		guard    string
		due, not int
		result   string
	}{
		{"{max_items: 5}", 6, 0, store.FireItems}, {"{max_items: 6}", 6, 0, store.FireDone}, {"{max_items: 0}", 1, 9, store.FireItems},
		{"{max_percent: 50}", 6, 5, store.FirePercent}, {"{max_percent: 50}", 5, 5, store.FireDone}, {"{max_percent: 0.5}", 1, 198, store.FirePercent},
		{"{max_percent: 0.5}", 1, 199, store.FireDone}, {"{max_items: 2, max_percent: 100}", 3, 0, store.FireItems}, {"{max_percent: 0}", 1, 3, store.FirePercent},
		{"{max_items: 0}", 0, 3, store.FireDone},
	} {
		t.Run(fmt.Sprint(c.guard, c.due, c.not), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, storetest.MemoryOptions{Seed: 3})
			due := r.crowd(c.due, "Due")
			r.crowd(c.not)
			r.hourly("batch: 1000, guard: " + c.guard)
			r.pass(time.Hour)
			s := r.schedule()
			want := c.due
			if c.result != store.FireDone {
				want = 0
			}
			if n := r.started(due); n != want || s.Last.Result != c.result || s.Last.Started != want || s.Last.Selected != c.due || s.Last.Of != c.due+c.not || s.Firing != 0 {
				t.Fatalf("%d runs, %+v", n, s.Last)
			}
			if (s.Guarded == 1) != (want == 0 && c.due > 0) {
				t.Errorf("%d fires were guarded", s.Guarded)
			}
			if c.due == 0 || want != 0 {
				return
			}
			for _, k := range due[1:] { // fewer are due: the next fire starts what is left, if that may be
				r.apply(crm.RemoveTag{Contact: k, Tag: "Due"})
			}
			r.pass(time.Hour)
			over := strings.Contains(c.guard, ": 0}") || strings.Contains(c.guard, "0.5")
			if n := r.started(due); (n == 1) == over {
				t.Errorf("%d runs after the next fire, %+v", n, r.schedule().Last)
			}
		})
	}
}

// Whoever goes on after a kill, wherever it struck, starts neither twice nor what a guard kept back, and neither
// batch nor rate is lifted.
func TestLimitsOutliveKills(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		for _, c := range []struct {
			limits string
			most   int
		}{{"batch: 4", 4}, {"rate: 4/h", 4}, {"guard: {max_items: 8}", 0}, {"guard: {max_items: 9}", 9}} {
			t.Run(fmt.Sprint(c.limits, seed), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, storetest.MemoryOptions{Seed: seed})
				all := r.crowd(9, "Due")
				r.hourly(c.limits)
				r.engine.starts.n = 2
				r.clock.Advance(time.Hour)
				for range 10 { // each pass may be the last of its process
					if _, err := r.engine.Pass(r.ctx); err != nil {
						t.Fatal(err)
					}
					if seed%2 == 0 {
						r.restart()
						r.engine.starts.n = 1 + int(seed)%3
					}
				}
				r.clock.Advance(time.Minute)
				r.settle()
				if n := r.started(all); n > c.most || c.most == 9 && n != 9 || c.most == 4 && n == 0 {
					t.Errorf("%d runs, at most %d", n, c.most)
				}
			})
		}
	}
}

// While a fire is carried out, held back by its rate for hours, others come due. They wait; once it is over they are
// looked at like what came due while nothing ran: misfire chooses, and counts the rest.
func TestFiresDoNotOverlap(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]struct {
		last   crm.Nanos // the latest fire that was carried out
		missed uint32
	}{"last": {4 * crm.Hour, 2}, "all": {4 * crm.Hour, 0}, "none": {crm.Hour, 3}} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, storetest.MemoryOptions{Seed: 4})
			all := r.crowd(7, "Due")
			r.hourly("rate: 2/h, misfire: {policy: " + policy + "}")
			r.pass(time.Hour)
			for range 35 { // nearly three hours, in which the first fire is at it
				if s := r.schedule(); s.Firing != crm.At(start)+crm.Hour || s.Missed != 0 {
					t.Fatalf("%+v", s)
				}
				r.pass(5 * time.Minute)
			}
			r.pass(12 * time.Minute) // it starts the last, and is over
			if n := r.started(all); n != 7 {
				t.Fatalf("%d runs", n)
			}
			for _, k := range all {
				r.apply(crm.RemoveTag{Contact: k, Tag: "Due"}) // the others have nobody to start
			}
			r.pass(35 * time.Minute)
			if s := r.schedule(); s.Last.At != crm.At(start)+want.last || s.Missed != want.missed || s.Firing != 0 {
				t.Errorf("the last fire was for %s, %d missed: %+v", s.Last.At, s.Missed, s)
			}
		})
	}
}
