package runtime

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"pgregory.net/rapid"
)

// queueLook is how long a run in the queue may need to see that nobody holds it up any more.
const queueLook = time.Minute

// later passes the time in one leap, without the looks of every minute on the way.
func (s *scene) later(d time.Duration) {
	s.clock.Advance(d)
	s.settle()
	s.pass(queueLook)
}

// keyIsFree shows that nobody holds the key any more: a new run goes to work at once.
func (s *scene) keyIsFree(k crm.Key) {
	s.t.Helper()
	s.apply(crm.RemoveTag{Contact: k, Tag: "go"}, crm.AddTag{Contact: k, Tag: "go"})
	s.settle()
	if runs := s.runs(k); !slices.Contains(runs, "w waiting month") {
		s.t.Fatalf("somebody still holds the key: %q", runs)
	}
}

// Runs of a key that queue go one after the other, in the order of their starts; more than max do not start.
func TestQueuedMode(t *testing.T) {
	t.Parallel()
	s := newScene(t, 110)
	s.workflow("w", blocked("mode: queued, max: 3"))
	for range 5 {
		s.tag("go")
		s.untag("go")
	}
	s.settle()
	s.restart()
	s.expect("three", s.runs(s.k), []string{"w queued month", "w queued month", "w waiting month"})
	s.pass(day(14))
	s.expect("the second", s.runs(s.k), []string{"w completed act", "w queued month", "w waiting month"})
	s.restart()
	s.pass(day(14) - 1)
	s.expect("from its own start", s.runs(s.k), []string{"w completed act", "w queued month", "w waiting month"})
	s.pass(1)
	s.expect("the third", s.runs(s.k), []string{"w completed act", "w completed act", "w waiting month"})
	s.pass(day(14))
	s.expect("all", s.runs(s.k), []string{"w completed act", "w completed act", "w completed act"})
	s.keyIsFree(s.k)
}

// Runs of a key go beside each other, no more than max at once; one that is over makes room.
func TestParallelMode(t *testing.T) {
	t.Parallel()
	s := newScene(t, 111)
	s.workflow("w", blocked("mode: parallel, max: 2"))
	again := func() {
		s.tag("go")
		s.untag("go")
		s.settle()
	}
	again()
	s.pass(day(10))
	again()
	again()
	s.restart()
	s.expect("two", s.runs(s.k), []string{"w waiting month", "w waiting month"})
	s.pass(day(4))
	s.expect("the first is over", s.runs(s.k), []string{"w completed act", "w waiting month"})
	again()
	again()
	s.expect("there is room for one", s.runs(s.k), []string{"w completed act", "w waiting month", "w waiting month"})
	s.pass(day(28))
	s.expect("all", s.runs(s.k), []string{"w completed act", "w completed act", "w completed act"})
	s.keyIsFree(s.k)
}

// A run in the queue whose contact is deleted lets those behind it go first; one that is suspended at the head
// keeps nobody waiting, whose ever contact it is; resumed runs queue anew.
func TestQueueAcrossContacts(t *testing.T) {
	t.Parallel()
	s := newScene(t, 112)
	s.workflow("w", blocked(`key: '"one for all"', mode: queued`))
	a, b, c := s.person(), s.person(), s.person()
	for _, k := range []crm.Key{a, b, c} {
		s.apply(crm.AddTag{Contact: k, Tag: "go"})
	}
	s.settle()
	state := func() string { return fmt.Sprint(s.runs(a), s.runs(b), s.runs(c)) }
	s.expect("a goes first", state(), "[w waiting month] [w queued month] [w queued month]")
	s.apply(crm.Delete{Contact: a}) // nobody tells b
	s.pass(queueLook)
	s.expect("b is next", state(), "[w suspended month] [w waiting month] [w queued month]")
	s.apply(crm.Restore{Contact: a}, crm.Delete{Contact: c})
	s.restart()
	s.later(day(14))
	s.expect("c cannot go", state(), "[w suspended month] [w completed act] [w suspended month]")
	s.apply(crm.Restore{Contact: c})
	for _, k := range []crm.Key{a, c} {
		s.update(func(tx *store.Tx) error {
			runs, err := tx.RunsOf(k)
			if err != nil {
				return err
			}
			_, err = tx.ResumeRun(s.by, runs[0].ID, crm.OverdueShift)
			return err
		})
	}
	s.settle()
	s.expect("a goes on, c queues", state(), "[w waiting month] [w completed act] [w queued month]")
	s.later(day(14))
	s.expect("then c", state(), "[w completed act] [w completed act] [w waiting month]")
	s.later(day(14))
	s.keyIsFree(b)
}

// TestModesKeepTheirPromise starts, deletes, restores, resumes, cancels and passes time at random: a key never
// has more unfinished runs at work than its mode allows, queues are served in order, and in the end nobody is
// left in a queue that nobody holds up, over restarts at any point.
func TestModesKeepTheirPromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		mode := rapid.SampledFrom([]string{"single", "restart", "queued", "parallel"}).Draw(rt, "mode")
		most, block := 1, "mode: "+mode
		if mode == "queued" || mode == "parallel" {
			most = rapid.IntRange(2, 4).Draw(rt, "max")
			block += fmt.Sprintf(", max: %d", most)
		}
		shared := rapid.Bool().Draw(rt, "shared")
		if shared {
			block += `, key: '"all"'`
		}
		s := newScene(t, 113)
		s.workflow("w", blocked(block))
		who := []crm.Key{s.person(), s.person()}
		works := most
		if mode == "queued" {
			works = 1
		}
		check := func() {
			active, queued := map[string]int{}, map[string]int{}
			for i, k := range who {
				key := fmt.Sprint(i)
				if shared {
					key = ""
				}
				for _, r := range s.runs(k) {
					switch r {
					case "w queued month":
						queued[key]++
					case "w waiting month", "w active act", "w active month":
						active[key]++
					}
				}
			}
			for key, n := range active {
				if n > works || n+queued[key] > most {
					rt.Fatalf("%d runs at work and %d in the queue", n, queued[key])
				}
			}
			for key, n := range queued {
				if n > 0 && active[key] == 0 {
					rt.Fatalf("%d runs queue behind nobody", n)
				}
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			k := rapid.SampledFrom(who).Draw(rt, "who")
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2, 3:
				_ = s.try(crm.AddTag{Contact: k, Tag: "go"}, crm.RemoveTag{Contact: k, Tag: "go"})
			case 4:
				_ = s.try(crm.Delete{Contact: k})
			case 5:
				_ = s.try(crm.Restore{Contact: k})
			case 6, 7:
				_ = s.store.Update(s.ctx, func(tx *store.Tx) error {
					runs, err := tx.RunsOf(k)
					if err != nil || len(runs) == 0 {
						return err
					}
					r := runs[rapid.IntRange(0, len(runs)-1).Draw(rt, "run")]
					if rapid.Bool().Draw(rt, "cancel") {
						return tx.CancelRun(&r)
					}
					_, err = tx.ResumeRun(s.by, r.ID, rapid.SampledFrom([]crm.Overdue{crm.OverdueFire, crm.OverdueShift, crm.OverdueSkip}).Draw(rt, "overdue"))
					return err
				})
			case 8:
				s.clock.Advance(day(float64(rapid.IntRange(1, 40).Draw(rt, "days"))))
			case 9:
				s.restart()
			}
			if rapid.Bool().Draw(rt, "settle") {
				s.settle()
				s.pass(queueLook) // whoever looks after his turn has had the time
				check()
			}
		}
		left := func() (n int) {
			for _, k := range who {
				for _, r := range s.runs(k) {
					if r == "w queued month" || r == "w waiting month" {
						n++
					}
				}
			}
			return n
		}
		for range 40 {
			if left() == 0 {
				break
			}
			s.later(day(14))
		}
		check()
		if n := left(); n > 0 {
			rt.Fatalf("in the end %d runs still wait", n)
		}
	})
}
