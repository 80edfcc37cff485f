package runtime

import (
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

func TestSweepIsNeverEarly(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 21})
	r.clock.Advance(123456789) // deadlines with a fraction of a second
	k, held, restored := r.person(), r.person(), r.person()
	for _, k := range []crm.Key{k, held, restored} {
		r.apply(crm.Delete{Contact: k})
	}
	r.apply(crm.Hold{Contact: held, On: true})
	r.pass(60*day(1) - 1)
	_, err := r.engine.Sweep(r.ctx)
	r.must(err)
	r.expect("a nanosecond early", r.state(k), crm.Deleted)
	r.apply(crm.Restore{Contact: restored})
	r.clock.Advance(1)
	rep, err := r.engine.Sweep(r.ctx)
	r.must(err)
	r.expect("purged and held", []int{rep.Due, rep.Purged, rep.Held}, []int{2, 1, 1})
	r.expect("at its deadline", r.state(k), crm.Purged)
	r.expect("under a hold", r.state(held), crm.Deleted)
	r.expect("restored at the last instant", r.state(restored), crm.Live)
	r.apply(crm.Hold{Contact: held, On: false})
	r.pass(time.Minute)
	r.expect("after the hold, by the schedule", r.state(held), crm.Purged)
}

func TestSweepHoldsWhileTheClockIsBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 22})
	k := r.person()
	r.apply(crm.Delete{Contact: k})
	r.pass(day(60) - time.Hour)
	r.apply(crm.AddTag{Contact: r.person(), Tag: "x"}) // raises the high-water mark
	r.clock.Advance(-time.Hour)
	_, err := r.engine.Sweep(r.ctx)
	r.expect("code", crm.CodeOf(err), crm.CodeHeldClock)
	r.clock.Advance(2 * time.Hour)
	_, err = r.engine.Sweep(r.ctx)
	r.must(err)
	r.expect("state", r.state(k), crm.Purged)
}

// What a sweep missed while nothing ran is purged late, at once, and the fire is not repeated.
func TestMissedSweep(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 23})
	k := r.person()
	r.apply(crm.Delete{Contact: k})
	r.settle()
	r.clock.Advance(day(400))
	r.restart()
	r.settle()
	r.expect("state", r.state(k), crm.Purged)
}

const winback = `
triggers: [{id: daily, cron: "0 6 * * *", over: contacts.deleted, where: 'tombstone.reason == "mistake"'}]
steps: [{id: back, action: contact.restore}, {id: mark, action: mark}]
`

func TestScheduleOverDeletedContacts(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 24})
	r.workflow("winback", winback)
	r.settle()
	k, meant, first := r.person(), r.person(), r.person()
	r.apply(crm.Delete{Contact: k, Reason: "mistake"})
	r.apply(crm.Delete{Contact: first, Reason: "mistake"})
	r.apply(crm.Delete{Contact: meant, Reason: "meant"})
	r.pass(day(1))
	r.expect("restored", r.state(k), crm.Live)
	r.expect("left", r.state(meant), crm.Deleted)
	r.expect("its run", r.runs(k), []string{"winback completed mark"})
	r.view(func(tx *store.Tx) error {
		c, _, err := tx.Contact(k, crm.OnlyLive)
		if err == nil && !c.HasTag("marked") {
			t.Error("the run did not go on after its own restore")
		}
		rec, err := tx.LatestReceipt(k)
		if err == nil && (rec.TimersArmed != 0 || rec.RunsStarted != 0) {
			t.Errorf("receipt: %+v", rec)
		}
		return err
	})
}

// A run that stands on a tombstone ends when somebody else restores the contact.
func TestRunOnATombstoneEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 25})
	r.workflow("w", "triggers: [{id: t, event: contact.tag_added, if: event.tag == \"go\"}]\nsteps: [{id: del, action: contact.delete}, {id: rest, wait: 5d}, {id: more, action: mark}]\n")
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	r.expect("it goes on after its own delete", r.runs(k), []string{"w waiting rest"})
	r.apply(crm.Restore{Contact: k})
	r.expect("status", r.runs(k), []string{"w cancelled rest"})
	r.pass(day(6))
	r.expect("closed", r.runs(k), []string{"w cancelled rest " + crm.ReasonRestored})
	r.expect("journal", r.journal(k), []string{"del done"})
}

// A fire that is broken off goes on with a new engine, and starts each run once.
func TestFireGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 26})
	r.workflow("w", "triggers: [{id: t, cron: \"0 2 * * *\", over: contacts, where: '\"x\" in contact.tags'}]\nsteps: [{id: rest, wait: 5d}]\n")
	r.settle()
	var ks []crm.Key
	for range 40 {
		ks = append(ks, r.person("x"))
	}
	r.clock.Advance(day(1))
	r.engine.starts.n = 16
	a := r.engine.defs.crons[0]
	s, _, err := r.engine.beginFire(r.ctx, a)
	r.must(err)
	r.restart()
	r.must(r.engine.refresh(r.ctx))
	s, err = r.engine.freeze(r.ctx, a, s)
	r.must(err)
	late := r.person("x") // not there when the selection was frozen
	r.restart()
	r.settle()
	r.restart()
	r.settle()
	for _, k := range ks {
		r.expect("runs", r.runs(k), []string{"w waiting rest"})
	}
	r.expect("who came later", r.runs(late), []string{})
	r.pass(day(1))
	r.expect("the next night", r.runs(late), []string{"w waiting rest"})
	_ = s
}

// Nights that were missed while nothing ran are one night.
func TestMissedFires(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 27})
	r.workflow("w", "triggers: [{id: t, cron: \"0 2 * * *\", over: contacts, where: '\"x\" in contact.tags'}]\nsteps: [{id: act, action: mark}]\n")
	k := r.person("x")
	r.settle()
	r.expect("not at once", r.runs(k), []string{})
	r.pass(day(5))
	r.expect("after five nights", r.runs(k), []string{"w completed act"})
	r.pass(0)
	r.pass(time.Hour)
	r.expect("no more until the night", r.runs(k), []string{"w completed act"})
}
