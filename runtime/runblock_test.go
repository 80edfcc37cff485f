package runtime

import (
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// blocked is the nurture workflow with a run: block.
func blocked(block string) string {
	return strings.Replace(nurture, "steps:", "run: {"+block+"}\nsteps:", 1)
}

// An event that a workflow names ends its unfinished runs, those that a restore left suspended too; the
// same event may begin a new one.
func TestCancelOn(t *testing.T) {
	t.Parallel()
	s := newScene(t, 80)
	s.workflow("w", blocked(`cancel_on: [{event: contact.tag_removed, if: 'event.tag == "go"', reason: came back}]`))
	s.tag("go")
	s.settle()
	s.expect("it waits", s.runs(s.k), []string{"w waiting month"})
	s.untag("other")
	s.settle()
	s.expect("another tag", s.runs(s.k), []string{"w waiting month"})
	s.untag("go")
	s.tag("go") // both before anybody looks: the first run ends, and a second begins
	s.settle()
	s.expect("in the order of the events", s.runs(s.k), []string{"w cancelled month came back", "w waiting month"})
	s.apply(crm.Delete{Contact: s.k})
	s.apply(crm.Restore{Contact: s.k})
	s.settle()
	s.expect("a restore ends nothing", s.runs(s.k), []string{"w cancelled month came back", "w suspended month"})
	s.untag("go")
	s.settle()
	s.expect("a suspended one", s.runs(s.k), []string{"w cancelled month came back", "w cancelled month came back"})
	s.pass(day(60))
	s.expect("nothing goes on", s.runs(s.k), []string{"w cancelled month came back", "w cancelled month came back"})
	s.restart()
	s.proven()
}

// A key has another run only as the workflow says, over restarts, and whatever became of the last one.
func TestReenter(t *testing.T) {
	t.Parallel()
	for block, want := range map[string][]int{ // runs on the days 0, 20, 31 and 80
		"reenter: always":       {1, 2, 2, 3}, // on day 31 the second still waits
		"reenter: never":        {1, 1, 1, 1},
		"reenter: {after: 30d}": {1, 1, 2, 3},
	} {
		t.Run(block, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 81)
			s.workflow("w", blocked(block))
			at := 0
			for i, on := range []int{0, 20, 31, 80} {
				s.pass(day(float64(on - at)))
				at = on
				s.untag("go")
				s.tag("go")
				s.settle()
				s.restart()
				if n := len(s.runs(s.k)); n != want[i] {
					t.Errorf("on day %d there are %d runs, not %d", on, n, want[i])
				}
			}
			s.apply(crm.Purge{Contact: s.k, Erasure: true})
			s.settle()
		})
	}
}

// A new run of a key takes the place of the one that holds it.
func TestRestartMode(t *testing.T) {
	t.Parallel()
	s := newScene(t, 83)
	s.workflow("w", blocked("mode: restart"))
	s.tag("go")
	s.settle()
	s.pass(day(10))
	s.untag("go")
	s.tag("go")
	s.settle()
	s.restart()
	s.expect("the second", s.runs(s.k), []string{"w cancelled month " + crm.ReasonRestart, "w waiting month"})
	s.pass(day(13))
	s.expect("from its own start", s.runs(s.k), []string{"w cancelled month " + crm.ReasonRestart, "w waiting month"})
	s.pass(day(1))
	s.expect("in the end", s.runs(s.k), []string{"w cancelled month " + crm.ReasonRestart, "w completed act"})
	s.untag("go")
	s.tag("go") // nobody holds the key any more
	s.settle()
	s.apply(crm.Delete{Contact: s.k})
	s.apply(crm.Restore{Contact: s.k})
	s.untag("go")
	s.tag("go") // a suspended run does not hold it, and is left alone
	s.settle()
	s.expect("beside a suspended one", s.runs(s.k)[2:], []string{"w suspended month", "w waiting month"})
}

// A run that takes longer than its workflow lets it ends when its time is up, not when its wait is.
func TestRunTimeout(t *testing.T) {
	t.Parallel()
	s := newScene(t, 82)
	s.workflow("w", blocked("timeout: 10d"))
	s.tag("go")
	s.settle()
	s.pass(day(10) - 1)
	s.expect("a nanosecond before", s.runs(s.k), []string{"w waiting month"})
	s.pass(1)
	s.expect("then", s.runs(s.k), []string{"w cancelled month " + crm.ReasonTimeout})
}
