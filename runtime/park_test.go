package runtime

import (
	"context"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// due counts what a pass looks at: timers that are due now.
func (r *rig) due() (n int) {
	r.t.Helper()
	r.view(func(tx *store.Tx) error {
		runs, stale, _, err := tx.DueRuns(store.FirstTimer, tx.Now(), 1<<20)
		n = len(runs) + len(stale)
		return err
	})
	return n
}

const napping = "triggers: [{id: tagged, event: contact.tag_added, if: event.tag == \"go\"}]\nsteps: [{id: nap, wait: 1d}, {id: act, action: act}]\n"

// napper is a rig with so many runs that wait a day and then act, and how often each contact's did.
func napper(t *testing.T, seed uint64, n int) (r *rig, ks []crm.Key, acts map[crm.ContactID]int) {
	r, acts = newRig(t, storetest.MemoryOptions{Seed: seed}), map[crm.ContactID]int{}
	r.acts.add(plugins.Spec{Action: "act"}, func(_ context.Context, it plugins.Item) plugins.Outcome {
		acts[it.Targets[0].Contact.ID]++
		return fine
	})
	r.workflow("w", napping)
	for range n {
		k := r.person()
		ks = append(ks, k)
		r.apply(crm.AddTag{Contact: k, Tag: "go"})
	}
	r.settle()
	return r, ks, acts
}

// What is due of a paused workflow is looked at once, and then by no pass: without it each pass would read all of
// it again, for as long as the pause lasts. The engine finds nothing to do, and other workflows go on.
func TestPausedRunsCostNothing(t *testing.T) {
	t.Parallel()
	r, ks, acts := napper(t, 160, 300)
	r.workflow("other", "triggers: [{id: tagged, event: contact.tag_added, if: event.tag == \"other\"}]\nsteps: [{id: act, action: mark}]\n")
	r.pause("w", true)
	r.clock.Advance(day(2))
	r.expect("due", r.due(), 300)
	r.settle()
	r.expect("what a pass looks at", r.due(), 0)
	worked, err := r.engine.Pass(r.ctx)
	r.must(err)
	r.expect("a pass has something to do", worked, false)
	r.apply(crm.AddTag{Contact: ks[0], Tag: "other"})
	r.settle()
	r.expect("another workflow", r.runs(ks[0]), []string{"other completed act", "w waiting nap"})
	r.restart()
	r.pass(day(30))
	r.expect("after a restart", []int{r.due(), len(acts)}, []int{0, 0})
	r.pause("w", false)
	r.settle()
	for _, k := range ks {
		if acts[k.Contact] != 1 {
			t.Fatalf("a run acted %d times", acts[k.Contact])
		}
	}
	r.expect("acted", len(acts), 300)
}

// However often it is killed between two transactions, paused again or its contacts are dealt with meanwhile, each
// run goes on once, or not at all if it is over. One that was lost would stand for ever.
func TestNoTimerIsLostByAPause(t *testing.T) {
	t.Parallel()
	r, ks, acts := napper(t, 161, 64)
	r.pause("w", true)
	r.clock.Advance(day(2))
	_, stale, _, err := r.engine.claim(r.ctx, store.FirstTimer, map[position]bool{})
	r.must(err)
	r.expect("to be put aside", len(stale), 64)
	r.update(func(tx *store.Tx) error { return tx.DropTimers(stale[:20]) })
	r.restart() // killed half way
	r.update(func(tx *store.Tx) error { return tx.DropTimers(stale) })
	r.settle()
	r.expect("put aside", r.due(), 0)
	cancelled, deleted, restored, purged := ks[0], ks[1], ks[2], ks[3]
	r.update(func(tx *store.Tx) error {
		runs, err := tx.RunsOf(cancelled)
		if err != nil {
			return err
		}
		return tx.CancelRun(&runs[0])
	})
	r.apply(crm.Delete{Contact: deleted}, crm.Delete{Contact: restored}, crm.Delete{Contact: purged})
	r.apply(crm.Restore{Contact: restored}, crm.Purge{Contact: purged, Reason: "a request", Erasure: true})
	r.pause("w", false)
	r.view(func(tx *store.Tx) error {
		free, err := tx.Released(100)
		r.expect("to be brought back, without what ended or was purged", len(free), 62)
		return err
	})
	var free []store.Parked
	r.view(func(tx *store.Tx) (err error) { free, err = tx.Released(24); return err })
	r.update(func(tx *store.Tx) error { _, err := tx.Unpark(free); return err })
	r.view(func(tx *store.Tx) (err error) { free, err = tx.Released(24); return err })
	r.restart()
	r.pause("w", true) // half of them are back
	r.update(func(tx *store.Tx) error {
		n, err := tx.Unpark(free) // by one who did not know
		r.expect("brought back while it is paused", n, 0)
		return err
	})
	r.settle()
	r.expect("all aside again", []int{r.due(), len(acts)}, []int{0, 0})
	r.restart()
	r.pause("w", false)
	r.settle()
	for i, k := range ks {
		if want := min(1, max(0, i-3)); acts[k.Contact] != want {
			t.Errorf("the run of contact %d acted %d times, not %d", i, acts[k.Contact], want)
		}
	}
	r.expect("cancelled", r.runs(cancelled), []string{"w cancelled nap cancelled"})
	r.expect("of a deleted contact", r.runs(deleted), []string{"w suspended nap"})
	r.expect("of a restored one", r.runs(restored), []string{"w suspended nap"})
	r.view(func(tx *store.Tx) error {
		left, err := tx.Released(10)
		r.expect("left aside", len(left), 0)
		return err
	})
	r.update(func(tx *store.Tx) error { // what stood aside when its contact was deleted can be resumed like any other
		runs, err := tx.RunsOf(restored)
		if err != nil {
			return err
		}
		_, err = tx.ResumeRun(r.by, runs[0].ID, crm.OverdueFire)
		return err
	})
	r.settle()
	r.expect("resumed", acts[restored.Contact], 1)
}

// The runs of a workflow that is deleted while it is paused end, those put aside too.
func TestDeletedWhilePaused(t *testing.T) {
	t.Parallel()
	r, ks, acts := napper(t, 162, 5)
	r.pause("w", true)
	r.pass(2 * 24 * time.Hour)
	r.update(func(tx *store.Tx) error { return tx.DeleteWorkflow(r.by, r.acc, "w") })
	r.settle()
	for _, k := range ks {
		r.expect("the run", r.runs(k), []string{"w cancelled nap " + crm.ReasonGone})
	}
	r.expect("acted", len(acts), 0)
}
