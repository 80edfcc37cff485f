package runtime

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
)

// only is the contact's one run.
func (s *scene) only(tx *store.Tx) *crm.Run {
	s.t.Helper()
	runs, err := tx.RunsOf(s.k)
	s.must(err)
	s.expect("one run", len(runs), 1)
	return &runs[0]
}

// nobodyListens says whether events would find a run.
func (s *scene) nobodyListens(but bool) {
	s.t.Helper()
	s.view(func(tx *store.Tx) error {
		all, err := tx.Listeners(s.k)
		s.expect("somebody listens", len(all) > 0, but)
		return err
	})
}

const approval = `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: ask, wait: {event: contact.tag_added, if: 'event.tag in ["yes", "no"]'%s}}
  - id: answer
    branch:
      - {if: 'steps.ask.output.event and steps.ask.output.tag == "yes"', steps: [{id: act, action: mark}]}
      - {if: steps.ask.output.event, steps: [{id: refused, exit: {status: skipped, reason: no}}]}
      - {else: true, steps: [{id: late, exit: {status: skipped, reason: nobody said anything}}]}
`

// A run that waits for an event goes on with it, and only with one that happened since it waits, in the
// order of the log, whatever the clock says and over restarts.
func TestWaitForEvent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout string
		do      func(s *scene)
		want    string
	}{
		"it comes":            {"", func(s *scene) { s.pass(day(300)); s.tag("yes"); s.settle() }, "w completed act"},
		"another answer":      {"", func(s *scene) { s.tag("no"); s.settle() }, "w skipped refused no"},
		"something else":      {"", func(s *scene) { s.tag("maybe"); s.pass(day(300)) }, "w waiting ask"},
		"nothing, for ever":   {"", func(s *scene) { s.pass(day(3000)) }, "w waiting ask"},
		"just before time":    {", timeout: 7d", func(s *scene) { s.pass(day(7) - 1); s.expect("still", s.runs(s.k), []string{"w waiting ask"}) }, "w waiting ask"},
		"time is up":          {", timeout: 7d", func(s *scene) { s.pass(day(7)) }, "w skipped late nobody said anything"},
		"in the last instant": {", timeout: 7d", func(s *scene) { s.clock.Advance(day(7) - 1); s.tag("yes"); s.clock.Advance(1); s.settle() }, "w completed act"},
		"both at once":        {", timeout: 7d", func(s *scene) { s.tag("yes"); s.tag("no"); s.settle() }, "w completed act"},
		"over a delete": {"", func(s *scene) {
			s.apply(crm.Delete{Contact: s.k})
			s.pass(day(1))
			s.apply(crm.Restore{Contact: s.k})
			s.tag("yes")
			s.settle()
			s.expect("suspended runs hear nothing", s.runs(s.k), []string{"w suspended ask"})
			s.untag("yes")
			s.expect("resumed", s.resume(crm.OverdueFire), "")
			s.settle()
			s.expect("nor what happened before they were resumed", s.runs(s.k), []string{"w waiting ask"})
			s.tag("yes")
			s.settle()
		}, "w completed act"},
		"cancelled": {"", func(s *scene) {
			s.update(func(tx *store.Tx) error { return tx.CancelRun(s.only(tx)) })
			s.tag("yes")
			s.settle()
		}, "w cancelled ask cancelled"},
		"paused, then on": {"", func(s *scene) { s.pause("w", true); s.tag("yes"); s.settle(); s.pause("w", false); s.settle() }, "w completed act"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 100)
			s.tag("yes") // before it waits: an answer to another question
			s.settle()
			s.untag("yes")
			s.workflow("w", fmt.Sprintf(approval, c.timeout))
			s.tag("go")
			s.settle()
			s.restart()
			s.expect("it waits", s.runs(s.k), []string{"w waiting ask"})
			s.untag("yes")
			c.do(s)
			s.restart()
			s.settle()
			s.expect("in the end", s.runs(s.k), []string{c.want})
			s.nobodyListens(c.want == "w waiting ask")
		})
	}
}

// What happened before a run began to wait is not what it waits for, although the dispatcher reads it after.
func TestEventsOfBeforeAreNotHeard(t *testing.T) {
	t.Parallel()
	s := newScene(t, 101)
	s.workflow("w", strings.Replace(fmt.Sprintf(approval, ""), "steps:\n", "steps:\n  - {id: first, wait: 1h}\n", 1))
	s.tag("go")
	s.settle()
	s.clock.Advance(time.Hour)
	// The run gets to its wait by hand of the engine's own parts, with an event of before yet to be dispatched.
	s.tag("yes")
	s.engine.dispatching.Lock() // a dispatcher that lags
	s.update(func(tx *store.Tx) error {
		r := s.only(tx)
		def, err := s.engine.definitionIn(tx, r.Account, r.Workflow, r.Revision)
		if err != nil {
			return err
		}
		turn := Advance(def, *r, Input{}, tx.Now())
		return tx.CommitRun(store.Advanced{Was: *r, Run: turn.Run, Steps: turn.Steps})
	})
	s.engine.dispatching.Unlock()
	s.settle()
	s.expect("it did not hear it", s.runs(s.k), []string{"w waiting ask"})
	s.untag("yes")
	s.tag("yes")
	s.settle()
	s.expect("it hears this one", s.runs(s.k), []string{"w completed act"})
}

// A run whose workflow has a cancel_on does not go on past an event that the dispatcher has not read: the
// delete that the event was to prevent is not committed, however late the dispatcher is.
func TestNoStepOvertakesAnEvent(t *testing.T) {
	t.Parallel()
	const flow = `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
run: {cancel_on: [{event: contact.tag_removed, if: 'event.tag == "go"', reason: came back}]}
steps:
  - {id: rest, wait: 14d}
  - {id: remove, action: contact.delete}
`
	t.Run("before the step", func(t *testing.T) {
		t.Parallel()
		s := newScene(t, 102)
		s.workflow("w", flow)
		s.tag("go")
		s.settle()
		s.clock.Advance(day(14))
		s.untag("go")
		if _, err := s.engine.advanceDue(s.ctx); err != nil { // this part of a pass alone, before the dispatcher's
			t.Fatal(err)
		}
		s.engine.batches.Wait()
		s.expect("it stands", s.runs(s.k), []string{"w waiting rest"})
		s.settle()
		s.expect("it ended", s.runs(s.k), []string{"w cancelled rest came back"})
		s.expect("the contact", s.state(s.k), crm.Live)
	})
	t.Run("while the plugin works", func(t *testing.T) {
		t.Parallel()
		s := newScene(t, 103)
		spec, act := s.acts.specs["contact.delete"], s.acts.act["contact.delete"]
		s.acts.add(spec, func(ctx context.Context, it plugins.Item) plugins.Outcome {
			s.untag("go")
			return act(ctx, it)
		})
		s.workflow("w", flow)
		s.tag("go")
		s.settle()
		s.pass(day(14))
		s.expect("it ended", s.runs(s.k), []string{"w cancelled rest came back"})
		s.expect("the contact", s.state(s.k), crm.Live)
	})
}

// A wait for a time of day ends when the window opens in its zone, at once if it is open.
func TestWaitForWindow(t *testing.T) {
	t.Parallel()
	for window, after := range map[string]time.Duration{ // it is Monday, 09:00 UTC
		`{from: "10:00", to: "12:00"}`:                                          time.Hour,
		`{from: "08:00", to: "09:01"}`:                                          0,
		`{from: "08:00", to: "09:00"}`:                                          23 * time.Hour,
		`{from: "09:00", to: "17:00", days: [sat, sun]}`:                        day(5),
		`{from: "10:30", to: "12:00", timezone: Europe/Berlin}`:                 30 * time.Minute,
		`{from: "22:00", to: "09:30", days: [sun]}`:                             0,
		`{from: "02:15", to: "02:45", timezone: Europe/Berlin, days: [sun]}`:    day(5) + 16*time.Hour + 15*time.Minute,
		`{from: "09:00", to: "09:01", timezone: America/New_York, days: [mon]}`: 5 * time.Hour,
	} {
		t.Run(window, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 104)
			s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: hours, wait: {window: `+window+`}}
  - {id: act, action: mark}
`)
			s.tag("go")
			s.settle()
			s.restart()
			if after > 0 {
				s.pass(after - 1)
				s.expect("a nanosecond before", s.runs(s.k), []string{"w waiting hours"})
				s.pass(1)
			}
			s.expect("then", s.runs(s.k), []string{"w completed act"})
		})
	}
}

// A set step's values are there for the steps behind it, in the same turn and after a restart; event.* is what
// started the run, whatever became of it since.
func TestSetAndEvent(t *testing.T) {
	t.Parallel()
	s := newScene(t, 105)
	_, told := s.failing(fine)
	s.set("plan", "gold")
	s.settle()
	s.workflow("w", `
triggers:
  - {id: tagged, event: contact.tag_added, if: 'event.tag startsWith "GO"'}
  - {id: plan, event: contact.field_changed, if: 'event.field == "plan"'}
steps:
  - {id: note, set: {plan: "${ contact.fields.plan }", who: {tag: "${ event.tag ?? \"none\" }", n: 3}}}
  - id: same
    branch:
      - {if: 'steps.note.output.plan == "gold"', steps: [{id: say, action: tell, with: {text: "${ steps.note.output.who.tag } ${ steps.note.output.who.n } ${ event.type }"}}]}
  - {id: rest, wait: 1d}
  - {id: again, action: tell, with: {text: "${ steps.note.output.plan } ${ event.tag ?? event.value } by ${ event.actor } at ${ event.at == run.started_at }"}}
`)
	s.tag("GO now")
	s.settle()
	s.untag("GO now")
	s.restart()
	s.pass(day(1))
	s.set("plan", "silver")
	s.settle()
	s.pass(day(1))
	s.expect("told", strings.Join(*told, "; "), "GO now 3 contact.tag_added; gold GO now by user:test at true; silver silver by user:test at true")
	s.apply(crm.Purge{Contact: s.k, Erasure: true})
	s.settle()
}

// An attempt that takes longer than its step's timeout has failed with that code, and is tried again as the
// step says.
func TestStepTimeout(t *testing.T) {
	t.Parallel()
	s := newScene(t, 106)
	calls, _ := s.failing(fine)
	spec := s.acts.specs["shaky"]
	s.acts.add(spec, func(ctx context.Context, it plugins.Item) plugins.Outcome {
		if *calls++; *calls < 3 {
			<-ctx.Done()
			return plugins.Outcome{}
		}
		return fine
	})
	s.workflow("w", fmt.Sprintf(shaky, ", timeout: 100ms, retry: {attempts: 2, first: 10s}, on_error: [{id: tell, action: tell, with: {text: '${ error.code }'}}]", ""))
	s.tag("go")
	s.settle()
	s.pass(10 * time.Second)
	s.expect("calls", *calls, 2)
	s.expect("the journal", s.journal(s.k)[0], "try failed "+CodeTimeout)
	s.expect("the run", s.runs(s.k), []string{"w completed after"})
}
