package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

const nurture = `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps: [{id: month, wait: 14d}, {id: act, action: mark}]
`

// resume resumes the contact's suspended run and gives the code of the refusal, "" if it was none.
func (s *scene) resume(overdue crm.Overdue) string {
	s.t.Helper()
	var id crm.RunID
	s.view(func(tx *store.Tx) error {
		life, err := tx.Life(s.k)
		if err != nil {
			return err
		}
		runs, err := tx.RunsOf(s.k)
		for _, r := range runs {
			if r.StatusFor(life) == crm.RunSuspended {
				id = r.ID
			}
		}
		return err
	})
	return crm.CodeOf(s.store.Update(s.ctx, func(tx *store.Tx) error {
		_, err := tx.ResumeRun(s.by, id, overdue)
		return err
	}))
}

// ends passes until the contact's run is over, and gives the day since its start in which it ended and
// what it came to.
func (s *scene) ends(since time.Time) string {
	s.t.Helper()
	for range 60 {
		s.settle()
		if all := s.runs(s.k); !slices.ContainsFunc(all, func(r string) bool { return r == "w waiting month" || r == "w suspended month" }) {
			return fmt.Sprint("day ", int(s.clock.Now().Sub(since)/day(1)), ": ", all)
		}
		s.pass(day(1) - 1)
		if again := s.runs(s.k); slices.Contains(again, "w completed act") {
			return fmt.Sprint("early: ", again)
		}
		s.clock.Advance(1)
	}
	return "never"
}

// A wait of 14 days, deleted on the third and restored on the tenth: what resuming makes of it.
func TestResumedRunsGoOn(t *testing.T) {
	t.Parallel()
	done := "[w completed act]"
	for _, c := range []struct {
		resumed float64 // the day
		overdue crm.Overdue
		ends    string
	}{
		{10, crm.OverdueShift, "day 21: " + done}, // 11 days were left, and are again
		{10, crm.OverdueFire, "day 14: " + done},  // nothing is overdue: at its own time
		{10, crm.OverdueSkip, "day 14: " + done},
		{12, crm.OverdueShift, "day 23: " + done},
		{20, crm.OverdueShift, "day 31: " + done},
		{20, crm.OverdueFire, "day 20: " + done}, // at once
		{20, crm.OverdueSkip, "day 20: [w cancelled month past_due]"},
		{14, crm.OverdueFire, "day 14: " + done}, // due in this instant is overdue
		{14, crm.OverdueSkip, "day 14: [w cancelled month past_due]"},
	} {
		t.Run(fmt.Sprintf("%s on day %v", c.overdue, c.resumed), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 64)
			s.workflow("w", nurture)
			s.tag("go")
			s.settle()
			began := s.clock.Now()
			s.pass(day(3))
			s.apply(crm.Delete{Contact: s.k})
			s.pass(day(7))
			s.apply(crm.Restore{Contact: s.k})
			s.pass(day(c.resumed - 10))
			s.expect("restored", s.runs(s.k), []string{"w suspended month"})
			s.proven()
			s.expect("no such way", s.resume("later"), crm.CodeInvalid)
			s.expect("resumed", s.resume(c.overdue), "")
			s.expect("its end", s.ends(began), c.ends)
			s.expect("resumed again", s.resume(c.overdue), crm.CodeNotFound)
			s.proven()
		})
	}
}

// Nobody but an admin resumes, and nobody what is not suspended.
func TestOnlyWhatIsSuspendedIsResumed(t *testing.T) {
	t.Parallel()
	s := newScene(t, 65)
	s.workflow("w", nurture)
	s.tag("go")
	s.settle()
	var id crm.RunID
	s.view(func(tx *store.Tx) error {
		runs, err := tx.RunsOf(s.k)
		id = runs[0].ID
		return err
	})
	resume := func(role crm.Role) string {
		return crm.CodeOf(s.store.Update(s.ctx, func(tx *store.Tx) error {
			_, err := tx.ResumeRun(crm.Actor{ID: "user:x", Role: role}, id, crm.OverdueFire)
			return err
		}))
	}
	s.expect("live", resume(crm.Admin), crm.CodeInvalid)
	s.apply(crm.Delete{Contact: s.k})
	s.expect("deleted", resume(crm.Admin), crm.CodeDeleted)
	s.apply(crm.Restore{Contact: s.k})
	for _, role := range []crm.Role{crm.Operator, crm.Agent, crm.Viewer, crm.System} {
		s.expect(string(role), resume(role), crm.CodeDenied)
	}
	s.apply(crm.Archive{Contact: s.k, On: true})
	s.expect("archived", resume(crm.Admin), crm.CodeInvalid)
	s.apply(crm.Archive{Contact: s.k})
	s.expect("restored", resume(crm.Admin), "")
	s.pass(day(14))
	s.expect("in the end", s.runs(s.k), []string{"w completed act"})
}

// The step at which a run stood when its contact was deleted is done after the resuming, once.
func TestResumedAtAnAction(t *testing.T) {
	t.Parallel()
	for _, overdue := range []crm.Overdue{crm.OverdueSkip, crm.OverdueShift, crm.OverdueFire} {
		s := newScene(t, 66)
		calls := 0
		s.acts.add(plugins.Spec{Action: "slow"}, func(context.Context, plugins.Item) plugins.Outcome {
			if calls++; calls == 1 {
				if err := s.try(crm.Delete{Contact: s.k}); err != nil {
					t.Error(err)
				}
			}
			return plugins.Outcome{Status: plugins.Done}
		})
		s.workflow("w", replaced(atOnce, "slow"))
		s.tag("go")
		s.pass(0)
		s.pass(day(1))
		s.apply(crm.Restore{Contact: s.k})
		s.pass(day(1))
		s.expect("calls before", calls, 1)
		s.expect("resumed", s.resume(overdue), "")
		s.pass(day(40))
		s.expect("calls", calls, 2)
		s.expect("the run", s.runs(s.k), []string{"w completed act"})
	}
}

// A suspended run holds no key: who took it meanwhile keeps it, and the suspended one waits for its end.
func TestKeyTakenMeanwhile(t *testing.T) {
	t.Parallel()
	s := newScene(t, 67)
	s.workflow("w", nurture)
	s.tag("go")
	s.settle()
	s.apply(crm.Delete{Contact: s.k}, crm.Restore{Contact: s.k})
	s.untag("go")
	s.tag("go")
	s.settle()
	s.expect("two", s.runs(s.k), []string{"w suspended month", "w waiting month"})
	s.expect("while the key is taken", s.resume(crm.OverdueFire), crm.CodeConflict)
	s.pass(day(14))
	s.expect("the other has ended", s.runs(s.k), []string{"w completed act", "w suspended month"})
	s.expect("resumed", s.resume(crm.OverdueFire), "")
	s.untag("go")
	s.tag("go")
	s.settle()
	s.expect("the resumed one holds the key", len(s.runs(s.k)), 2)
	s.expect("both have ended", s.runs(s.k), []string{"w completed act", "w completed act"})
}

// The time that a run stood still is counted from when it was interrupted first, also when it was an
// archiving that did, and a deletion came on top.
func TestShiftCountsTheWholeStandstill(t *testing.T) {
	t.Parallel()
	for name, interrupt := range map[string]func(*scene){
		"archived": func(s *scene) {
			s.apply(crm.Archive{Contact: s.k, On: true})
			s.pass(day(7))
			s.apply(crm.Archive{Contact: s.k})
		},
		"deleted twice": func(s *scene) {
			s.apply(crm.Delete{Contact: s.k}, crm.Restore{Contact: s.k})
			s.pass(day(3))
			s.apply(crm.Delete{Contact: s.k})
			s.pass(day(4))
			s.apply(crm.Restore{Contact: s.k})
		},
		"deleted, then archived": func(s *scene) {
			s.apply(crm.Delete{Contact: s.k}, crm.Restore{Contact: s.k})
			s.pass(day(3))
			s.apply(crm.Archive{Contact: s.k, On: true})
			s.pass(day(4))
			s.apply(crm.Archive{Contact: s.k})
		},
		"archived, then deleted": func(s *scene) {
			s.apply(crm.Archive{Contact: s.k, On: true}, crm.Archive{Contact: s.k})
			s.pass(day(3))
			s.apply(crm.Delete{Contact: s.k})
			s.pass(day(4))
			s.apply(crm.Restore{Contact: s.k})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 68)
			s.workflow("w", nurture)
			s.tag("go")
			s.settle()
			began := s.clock.Now()
			s.pass(day(3))
			interrupt(s)
			s.expect("on the tenth day", s.resume(crm.OverdueShift), "")
			s.expect("its end", s.ends(began), "day 21: [w completed act]")
		})
	}
}

// The unfinished runs of a deleted workflow end when they would go on; a suspended one is not resumed. One
// that a restore finds without its workflow is over for good.
func TestDeletedWorkflowsRunsEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t, 69)
	s.workflow("w", nurture)
	other := s.person()
	s.tag("go")
	s.apply(crm.AddTag{Contact: other, Tag: "go"})
	s.settle()
	late := s.person()
	s.apply(crm.AddTag{Contact: late, Tag: "go"})
	s.settle()
	s.apply(crm.Delete{Contact: s.k})
	s.apply(crm.Restore{Contact: s.k})
	s.apply(crm.Delete{Contact: late})
	gone := func() error {
		return s.store.Update(s.ctx, func(tx *store.Tx) error { return tx.DeleteWorkflow(s.by, s.acc, "w") })
	}
	s.must(gone())
	s.expect("again", crm.CodeOf(gone()), crm.CodeNotFound)
	s.apply(crm.Restore{Contact: late})
	s.settle()
	s.expect("restored without its workflow", s.runs(late), []string{"w cancelled month " + crm.ReasonGone})
	s.expect("waiting on", s.runs(other), []string{"w waiting month"})
	s.expect("resumed", s.resume(crm.OverdueFire), crm.CodeNotFound)
	s.pass(day(14))
	s.expect("when it would go on", s.runs(other), []string{"w cancelled month " + crm.ReasonGone})
	s.expect("its journal", s.journal(other), []string{})
	s.untag("go")
	s.tag("go")
	s.settle()
	s.expect("nothing starts", s.runs(s.k), []string{"w suspended month"})
	s.workflow("w", nurture) // applied again
	s.expect("resumed", s.resume(crm.OverdueFire), "")
	s.pass(0)
	s.expect("in the end", s.runs(s.k), []string{"w completed act"})
	s.expect("and that one", s.runs(late), []string{"w cancelled month " + crm.ReasonGone})
}

// A workflow deletes so many contacts an hour; what becomes of the others is the policy's to say.
func TestBreaker(t *testing.T) {
	t.Parallel()
	for _, rule := range []crm.Rule{crm.Pause, crm.Refuse} {
		for _, limit := range []string{"workflow_per_hour", "workflow_percent_per_day"} {
			t.Run(string(rule)+" "+limit, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, storetest.MemoryOptions{Seed: 70})
				knobs := map[string]any{"delete.limits.workflow_per_hour": 0, "delete.limits.workflow_percent_per_day": 0, "delete.limits.percent_from": 2, "delete.limits.on_exceed": string(rule)}
				knobs["delete.limits."+limit] = map[string]int{"workflow_per_hour": 2, "workflow_percent_per_day": 50}[limit]
				r.knobs(knobs)
				r.workflow("w", replaced(atOnce, "contact.delete")+"  - {id: rest, wait: 400d}\n")
				var ks []crm.Key
				for range 5 {
					ks = append(ks, r.person())
				}
				for _, k := range ks {
					r.apply(crm.AddTag{Contact: k, Tag: "go"})
				}
				r.pass(10 * time.Minute)
				states := func() (n [2]int, others map[string]int) {
					others = map[string]int{}
					for _, k := range ks {
						if s := r.state(k); s == crm.Deleted {
							n[1]++
						} else {
							n[0]++
							others[r.runs(k)[0]]++
						}
					}
					return n, others
				}
				n, others := states()
				r.expect("live and deleted", n, [2]int{3, 2})
				period := map[string]time.Duration{"workflow_per_hour": time.Hour, "workflow_percent_per_day": day(1)}[limit]
				if rule == crm.Refuse {
					r.expect("their runs", others, map[string]int{"w failed act step act: limited": 3})
					r.pass(2 * period)
					n, _ = states()
					r.expect("later", n, [2]int{3, 2})
					return
				}
				r.expect("their runs", others, map[string]int{"w active act waits: limited": 3})
				r.restart()
				r.clock.Set(start.Truncate(period).Add(period - 1)) // the period is one of UTC
				r.settle()
				n, _ = states()
				r.expect("a nanosecond before the next period", n, [2]int{3, 2})
				r.apply(crm.Delete{Contact: ks[slices.IndexFunc(ks, func(k crm.Key) bool { return r.state(k) == crm.Live })]}) // a person is not limited
				r.pass(1)
				n, _ = states()
				r.expect("in the next period", n, map[string][2]int{"workflow_per_hour": {0, 5}, "workflow_percent_per_day": {0, 5}}[limit])
			})
		}
	}
}

// What the policy does not bring back stays away, or is seen as over for that reason, also when the
// instant comes at which it would have gone on; its deadline takes it, and nobody resumes it.
func TestWhatIsLeftBehindStaysThere(t *testing.T) {
	t.Parallel()
	for rule, want := range map[crm.Rule][]string{crm.None: {}, crm.HistoryOnly: {"w cancelled month"}} {
		t.Run(string(rule), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 75)
			s.knobs(map[string]any{"restore.enrollments": string(rule)})
			s.workflow("w", nurture)
			s.tag("go")
			s.settle()
			s.pass(day(3))
			s.apply(crm.Delete{Contact: s.k})
			s.pass(day(1))
			s.apply(crm.Restore{Contact: s.k})
			s.pass(0)
			reasons := func() (all []string) {
				s.view(func(tx *store.Tx) error {
					runs, err := tx.Runs(crm.RunID{}, 0)
					all = nil
					for i := range runs {
						life, err := tx.Life(s.k)
						if err != nil {
							return err
						}
						reason := runs[i].Reason
						if reason == "" && runs[i].StatusFor(life) == crm.RunCancelled {
							reason = runs[i].WhyCancelled()
						}
						all = append(all, reason)
					}
					return err
				})
				return all
			}
			status := func() (all []string) {
				for _, r := range s.runs(s.k) {
					all = append(all, strings.TrimSpace(strings.TrimSuffix(r, crm.ReasonLeft)))
				}
				return all
			}
			s.expect("restored", status(), want)
			s.expect("why", reasons(), []string{crm.ReasonLeft})
			s.pass(day(11))
			s.expect("on the day it would have gone on", status(), want)
			s.expect("why", reasons(), []string{crm.ReasonLeft})
			s.expect("a mark", s.journal(s.k), []string{})
			s.proven()
			s.untag("go")
			s.tag("go")
			s.settle()
			s.pass(day(50)) // past the deadline of what was left behind
			s.expect("in the end", len(s.runs(s.k)), len(want)+1)
			s.expect("in the store", len(reasons()), len(want)+1)
		})
	}
}
