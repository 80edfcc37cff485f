package runtime

import (
	"fmt"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// keepFinished sets runs.keep_finished.
func (r *rig) keepFinished(d crm.Nanos) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error {
		acc, err := tx.Account(r.acc)
		if err != nil {
			return err
		}
		p := acc.Policy
		p.Runs.KeepFinished = d
		_, err = tx.SetPolicy(r.by, r.acc, p)
		return err
	})
}

func (r *rig) sweep() int {
	r.t.Helper()
	report, err := r.engine.Sweep(r.ctx)
	r.must(err)
	return report.Runs
}

const brief = "triggers: [{id: tagged, event: contact.tag_added, if: event.tag == \"go\"}]\nsteps: [{id: act, action: mark}]\n"

// A finished run is there a nanosecond before its time and gone at it; with 0, never. Unfinished and suspended
// runs stay, however old, and one under a legal hold.
func TestFinishedRunsAreForgotten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keep, age crm.Nanos
		gone      bool
	}{
		{90 * crm.Day, 90*crm.Day - 1, false}, {90 * crm.Day, 90 * crm.Day, true}, {90 * crm.Day, 90*crm.Day + 1, true},
		{crm.Second, crm.Second - 1, false}, {crm.Second, crm.Second, true}, {0, 3650 * crm.Day, false},
	} {
		t.Run(fmt.Sprint(c.keep, c.age), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 150)
			s.clock.Advance(123456789) // a fraction of a second
			s.keepFinished(c.keep)
			s.workflow("w", brief)
			s.workflow("long", "triggers: [{id: tagged, event: contact.tag_added, if: event.tag == \"go\"}]\nsteps: [{id: ask, wait: {event: contact.tag_added, if: event.tag == \"yes\"}}]\n")
			held, stood := s.person(), s.person()
			s.tag("go")
			s.apply(crm.AddTag{Contact: held, Tag: "go"}, crm.AddTag{Contact: stood, Tag: "go"})
			s.settle()
			s.apply(crm.Hold{Contact: held, On: true, Reason: "a matter"}, crm.Delete{Contact: stood}, crm.Restore{Contact: stood})
			s.clock.Advance(time.Duration(c.age))
			want := []string{"long waiting ask", "w completed act"}
			lines := 1
			if c.gone {
				want, lines = want[:1], 0
			}
			forgotten := s.sweep()
			s.expect("the runs", s.runs(s.k), want)
			s.expect("the journal", len(s.journal(s.k)), lines)
			s.expect("under a hold", s.runs(held), []string{"long waiting ask", "w completed act"})
			s.expect("suspended", s.runs(stood)[0], "long suspended ask")
			s.expect("the report", forgotten, 2*(1-lines))
			s.apply(crm.Hold{Contact: held})
			s.sweep()
			s.expect("after the hold", s.runs(held), want)
			s.expect("again", s.sweep(), 0)
		})
	}
}

// The key of a run keeps others out for as long as its workflow says, whatever retention has removed: else
// run.reenter would let somebody in twice. Its journal goes all the same, and the rest with the key.
func TestForgettingKeepsTheKey(t *testing.T) {
	t.Parallel()
	for reenter, until := range map[string]int{"{after: 30d}": 30, "{after: 200d}": 200, "never": 3000} {
		t.Run(reenter, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 151)
			s.workflow("w", "run: {reenter: "+reenter+"}\n"+brief)
			s.tag("go")
			s.settle()
			again := func() int {
				s.untag("go")
				s.tag("go")
				s.settle()
				return s.events(crm.RunStarted)
			}
			for _, d := range []int{29, 90, 199, 2999} {
				s.clock.Advance(day(float64(d)) - s.clock.Now().Sub(start))
				s.sweep()
				if d >= 90 {
					s.expect("the journal", s.journal(s.k), []string{})
				}
				if d < until {
					s.expect(fmt.Sprint("the starts on day ", d), again(), 1)
				}
			}
			if reenter == "never" {
				return
			}
			s.sweep()
			s.expect("with its key", s.runs(s.k), []string{})
			s.expect("at last", again(), 2)
		})
	}
}

// A purge takes along a run that has lost its journal and is kept for its key; what is left of it in the index
// goes at its time, and the sweep does not trip over it.
func TestPurgeOfAForgottenRun(t *testing.T) {
	t.Parallel()
	s := newScene(t, 152)
	s.workflow("w", "run: {reenter: {after: 200d}}\n"+brief)
	s.tag("go")
	s.settle()
	s.clock.Advance(day(90))
	s.expect("its journal", s.sweep(), 1)
	s.apply(crm.Delete{Contact: s.k})
	s.clock.Advance(day(60))
	s.sweep()
	s.expect("the contact", s.state(s.k), crm.Purged)
	s.clock.Advance(day(300))
	s.expect("nothing to forget", s.sweep(), 0)
	s.view(func(tx *store.Tx) error {
		left, err := tx.EndedRuns(s.acc, -1<<63, nil, 1<<63-1, 10)
		s.expect("rows of the index", len(left), 0)
		return err
	})
}

// Many are forgotten in chunks that hold the writer briefly, in the order in which they ended, and over kills;
// a retried run is not, although it ended once.
func TestForgettingGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 153})
	r.workflow("w", brief)
	var ks []crm.Key
	for range 60 {
		k := r.person()
		ks = append(ks, k)
		r.apply(crm.AddTag{Contact: k, Tag: "go"})
		r.pass(time.Second)
	}
	r.clock.Advance(day(90))
	left := func() (n int) {
		for i, k := range ks {
			there := len(r.runs(k)) > 0
			if there {
				n++
			} else if n > 0 {
				t.Fatalf("the run of contact %d went before that of an older one", i)
			}
		}
		return n
	}
	r.engine.purges = pace{n: 8}
	var at *forgetting
	runs, more, err := r.engine.forgetSome(r.ctx, &at, 2)
	r.must(err)
	r.expect("two chunks", []any{runs > 0, runs < 60, more, left()}, []any{true, true, true, 60 - runs})
	r.restart()
	r.settle()
	r.pass(time.Minute)
	r.expect("in the end, by the schedule", left(), 0)
}
