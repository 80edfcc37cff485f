package crm

import (
	"fmt"
	"testing"
)

// TestTriggerTruthTable goes through every kind of event, cause, state, epoch and revision, and says
// in its own words what may start a run.
func TestTriggerTruthTable(t *testing.T) {
	t.Parallel()
	kinds := []EventKind{"contact.nonsense", ContactDeleted, ContactRestored, ContactPurged, ContactHeld, ContactReleased, ContactLinked, RunStarted, WorkflowApplied}
	starting := map[EventKind]bool{}
	for k := range TriggerKinds {
		kinds = append(kinds, k)
		starting[k] = true
	}
	for _, k := range []EventKind{WorkflowEntered, WebhookReceived} { // which no file can name, and which start what they name
		kinds = append(kinds, k)
		starting[k] = true
	}
	causes := map[CauseKind]bool{ByPerson: true, ByWorkflow: true, ByImport: false, ByRestore: false, ByInbound: false, ByRetention: false}
	for _, kind := range kinds {
		for cause, starts := range causes {
			for _, state := range []State{Live, Deleted, Purged} {
				for _, epoch := range []uint64{0, 2, 4} {
					for _, quiet := range []uint64{0, 6, 7, 8} {
						for _, depth := range []uint8{0, MaxDepth - 1, MaxDepth, 255} {
							for _, after := range []*Contact{nil, {}} {
								ev := Event{Kind: kind, Epoch: epoch, Rev: 7, Why: Cause{Kind: cause, Depth: depth}, After: after}
								life := Life{State: state, Epoch: 2, QuietRev: quiet}
								want := starting[kind] && starts && state == Live && epoch == 2 && (quiet == 0 || 7 > quiet) && depth < 8 && after != nil
								te, ok := ev.Trigger(life)
								if ok != want || te.Valid() != want || (ev.Refusal(life) == NotRefused) != want {
									t.Fatalf("%+v beside %+v: %v, want %v", ev, life, ok, want)
								}
							}
						}
					}
				}
			}
		}
	}
}

func TestRefusalSaysWhy(t *testing.T) {
	t.Parallel()
	good := Event{Kind: ContactTagAdded, Epoch: 2, Rev: 7, Why: Cause{Kind: ByPerson}, After: &Contact{}}
	for want, change := range map[Refusal]func(e *Event, l *Life){
		NotRefused:     func(*Event, *Life) {},
		RefusedKind:    func(e *Event, _ *Life) { e.Kind = ContactRestored },
		RefusedCause:   func(e *Event, _ *Life) { e.Why.Kind = ByRestore },
		RefusedState:   func(_ *Event, l *Life) { l.State = Deleted },
		RefusedEpoch:   func(_ *Event, l *Life) { l.Epoch = 4 },
		RefusedQuiet:   func(_ *Event, l *Life) { l.QuietRev = 7 },
		RefusedDepth:   func(e *Event, _ *Life) { e.Why.Depth = MaxDepth },
		RefusedUnknown: func(e *Event, _ *Life) { e.After = nil },
	} {
		e, l := good, Life{Epoch: 2, QuietRev: 6}
		change(&e, &l)
		if got := e.Refusal(l); got != want {
			t.Errorf("refused as %q, want %q", got, want)
		}
	}
}

func TestNothingEntitlesByItself(t *testing.T) {
	t.Parallel()
	for _, e := range []Entitled{TriggerEvent{}, Selectable{}} {
		if k, epoch, rev, ok := e.Entitlement(); ok || k != (Key{}) || epoch != 0 || rev != 0 {
			t.Errorf("the zero %T entitles", e)
		}
	}
	if (TriggerEvent{}).Valid() {
		t.Error("the zero TriggerEvent is valid")
	}
}

func TestSelectable(t *testing.T) {
	t.Parallel()
	c := Contact{Account: AccountID{1}, ID: ContactID{2}, Rev: 9, Tags: []Tag{{Name: "a", Rev: 5}, {Name: "b", Rev: 6, Absent: true}, {Name: "c", Rev: 8}}}
	tag := func(names ...string) (f []Fact) {
		for _, n := range names {
			f = append(f, Fact{FactTag, n})
		}
		return f
	}
	for _, tc := range []struct {
		life  Life
		reads []Fact
		rev   uint64
		want  bool
	}{
		{Life{}, nil, 0, true},
		{Life{}, tag("nowhere"), 0, true},
		{Life{Epoch: 2, QuietRev: 5}, nil, 0, false}, // reads nothing: never again after a restore
		{Life{Epoch: 2, QuietRev: 5}, tag("a"), 5, false},
		{Life{Epoch: 2, QuietRev: 4}, tag("A"), 5, true},
		{Life{Epoch: 2, QuietRev: 5}, tag("b"), 6, true}, // taken off since
		{Life{Epoch: 2, QuietRev: 6}, tag("b"), 6, false},
		{Life{Epoch: 2, QuietRev: 6}, tag("a", "c"), 8, true},
		{Life{Epoch: 2, QuietRev: 7}, tag(""), 8, true}, // all tags
		{Life{Epoch: 2, QuietRev: 8}, tag(""), 8, false},
		{Life{Epoch: 2, QuietRev: 8}, []Fact{{FactField, ""}}, 0, false},
		{Life{State: Deleted, Epoch: 3, QuietRev: 8}, nil, 0, true}, // over deleted contacts
		{Life{State: Purged, Epoch: 4}, tag("c"), 8, false},
	} {
		sel, ok := c.Selectable(tc.life, tc.reads)
		k, epoch, rev, entitles := sel.Entitlement()
		if ok != tc.want || entitles != ok || ok && (k != c.Key() || epoch != tc.life.Epoch || rev != tc.rev) {
			t.Errorf("%+v reading %v: %v, %d (%s)", tc.life, tc.reads, ok, rev, fmt.Sprint(tc.want))
		}
	}
}

func TestLifeAtItsDeadline(t *testing.T) {
	t.Parallel()
	const until = 60*Day + 1
	for _, state := range []State{Live, Deleted, Purged} {
		for _, held := range []bool{false, true} {
			for now, past := range map[Nanos]bool{until - 1: false, until: true, until + 1: true} {
				l := Life{State: state, RestorableUntil: until, Held: held}
				if got, want := l.Restorable(now), state == Deleted && !past; got != want {
					t.Errorf("%s at %d: restorable %v", state, now-until, got)
				}
				if got, want := l.Purgeable(now), state == Deleted && past && !held; got != want {
					t.Errorf("%s, held %v, at %d: purgeable %v", state, held, now-until, got)
				}
			}
		}
	}
}
