package store_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

func (r *rig) grant(verbs ...string) {
	r.ok(func(tx *store.Tx) error {
		_, err := tx.ApplyWorkflow(admin, acc, "w", "r1", "", nil, verbs)
		return err
	})
}

// startAs tries to start a run and says whether one began.
func (r *rig) startAs(s store.Start) (began bool, err error) {
	err = r.s.Update(ctx, func(tx *store.Tx) (err error) {
		_, began, err = tx.StartRun(s)
		return err
	})
	return began, err
}

func TestOneRunForEachKey(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		run := r.start(k)
		s := order(k, r.entitled(k))
		if began, err := r.startAs(s); began || err != nil {
			r.Errorf("a second run with the same key: %v (%v)", began, err)
		}
		s.KeyHash[1] = 1
		r.ok(func(tx *store.Tx) error { // twice within one transaction
			_, first, err := tx.StartRun(s)
			_, second, err2 := tx.StartRun(s)
			if !first || second {
				r.Errorf("in one transaction: %v, %v", first, second)
			}
			return errors.Join(err, err2)
		})
		done := run
		done.Status = crm.RunCompleted
		r.ok(func(tx *store.Tx) error { return tx.CommitRun(store.Advanced{Was: run, Run: done}) })
		if began, err := r.startAs(order(k, r.entitled(k))); !began || err != nil {
			r.Errorf("after the first is over: %v (%v)", began, err)
		}
		if _, err := r.startAs(order(k, crm.TriggerEvent{})); crm.CodeOf(err) != crm.CodeInvalid {
			r.Errorf("with no entitlement: %v", err)
		}
		if _, err := r.startAs(order(k, crm.Selectable{})); crm.CodeOf(err) != crm.CodeInvalid {
			r.Errorf("with no selection: %v", err)
		}
	})
}

func TestStartChecksAgain(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		s := order(k, r.entitled(k))
		s.Filter = store.See(r.contact(k), []crm.Fact{{Kind: crm.FactTag}})
		old := s
		old.Revision = "r0"
		if began, err := r.startAs(old); began || !errors.Is(err, store.ErrMoved) {
			r.Errorf("with another revision: %v (%v)", began, err)
		}
		r.do(crm.RemoveTag{Contact: k, Tag: "canarytag"})
		if began, err := r.startAs(s); began || !errors.Is(err, store.ErrMoved) {
			r.Errorf("with a tag gone: %v (%v)", began, err)
		}
		s.Filter = store.See(r.contact(k), s.Filter.Facts)
		r.do(crm.Delete{Contact: k})
		if began, err := r.startAs(s); began || err != nil {
			r.Errorf("for a deleted contact: %v (%v)", began, err)
		}
		r.do(crm.Restore{Contact: k})
		if began, err := r.startAs(s); began || err != nil {
			r.Errorf("by an entitlement of before the restore: %v (%v)", began, err)
		}
	})
}

// TestSeenNoticesEveryChange changes one of several facts that a decision read: also one that is
// removed without a trace and was not the youngest.
func TestSeenNoticesEveryChange(t *testing.T) {
	eachEngine(t, func(r *rig) {
		reads := []crm.Fact{{Kind: crm.FactTag, Name: "old"}, {Kind: crm.FactTag, Name: "young"}, {Kind: crm.FactField, Name: "f"}}
		n := byte(0)
		for name, change := range map[string]func(k crm.Key) crm.Mutation{
			"remove the older": func(k crm.Key) crm.Mutation { return crm.RemoveTag{Contact: k, Tag: "old"} },
			"remove the young": func(k crm.Key) crm.Mutation { return crm.RemoveTag{Contact: k, Tag: "young"} },
			"clear a field":    func(k crm.Key) crm.Mutation { return crm.SetField{Contact: k, Name: "f"} },
			"set a field":      func(k crm.Key) crm.Mutation { return crm.SetField{Contact: k, Name: "f", Value: crm.Text("y")} },
		} {
			for _, restored := range []bool{false, true} {
				n++
				k := r.enter(n)
				r.do(crm.SetField{Contact: k, Name: "f", Value: crm.Text("x")}, crm.AddTag{Contact: k, Tag: "old"}, crm.AddTag{Contact: k, Tag: "young"})
				if restored {
					r.do(crm.Delete{Contact: k}, crm.Restore{Contact: k})
				}
				run := r.start(k)
				a := store.Advanced{Was: run, Run: run, Seen: store.See(r.contact(k), reads)}
				r.do(crm.AddTag{Contact: k, Tag: "unrelated"})
				a.Run.Status = crm.RunWaiting
				r.ok(func(tx *store.Tx) error { return tx.CommitRun(a) })
				a.Was = r.run(run.ID)
				r.do(change(k))
				if err := r.s.Update(ctx, func(tx *store.Tx) error { return tx.CommitRun(a) }); !errors.Is(err, store.ErrMoved) {
					r.Errorf("%s, restored %v: %v", name, restored, err)
				}
			}
		}
	})
}

func TestCommitRunRefusesTheStale(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		run := r.start(k)
		commit := func(was crm.Run, m ...crm.Mutation) error {
			next := was
			next.Due = r.clock + crm.Hour
			return r.s.Update(ctx, func(tx *store.Tx) error {
				return tx.CommitRun(store.Advanced{Was: was, Run: next, Effects: m})
			})
		}
		if err := commit(run, crm.AddTag{Contact: k, Tag: "done"}); err != nil {
			r.Fatal(err)
		}
		if err := commit(run); !errors.Is(err, store.ErrStale) {
			r.Errorf("an old token: %v", err)
		}
		r.do(crm.Delete{Contact: k})
		if err := commit(r.run(run.ID), crm.AddTag{Contact: k, Tag: "late"}); !errors.Is(err, store.ErrStale) {
			r.Errorf("a deleted contact: %v", err)
		}
		r.do(crm.Restore{Contact: k})
		if err := commit(r.run(run.ID), crm.AddTag{Contact: k, Tag: "late"}); !errors.Is(err, store.ErrStale) {
			r.Errorf("a restored contact: %v", err)
		}
		if c := r.contact(k); !c.HasTag("done") || c.HasTag("late") {
			r.Errorf("the tags are %v", c.TagNames())
		}
		was := r.run(run.ID)
		late := crm.StepRecord{Run: run.ID, Path: "p", Status: store.StepSuperseded, Account: acc, Contact: k.Contact, At: r.clock}
		r.ok(func(tx *store.Tx) error { return tx.Supersede(was, late) })
		r.do(crm.Purge{Contact: k, Erasure: true})
		if err := commit(was); !errors.Is(err, store.ErrStale) {
			r.Errorf("a purged contact: %v", err)
		}
		r.ok(func(tx *store.Tx) error { return tx.Supersede(was, late) })
		if len(r.rows()["step"]) != 0 {
			r.Error("a late result was journalled for a purged contact")
		}
	})
}

// TestRunAdoptsItsOwnDelete lets a run delete its contact and go on, until it restores or purges it.
func TestRunAdoptsItsOwnDelete(t *testing.T) {
	eachEngine(t, func(r *rig) {
		for i, end := range []func(k crm.Key) crm.Mutation{
			func(k crm.Key) crm.Mutation { return crm.Restore{Contact: k} },
			func(k crm.Key) crm.Mutation { return crm.Purge{Contact: k} },
		} {
			k := r.enter(byte(i + 1))
			run := r.start(k)
			turn := func(m crm.Mutation) error {
				was := r.run(run.ID)
				next := was
				next.Status, next.Due = crm.RunWaiting, r.clock+61*crm.Day
				step := crm.StepRecord{Run: run.ID, Path: "s", Iteration: uint32(was.Token), Status: store.StepDone, Account: acc, Contact: k.Contact, At: r.clock}
				return r.s.Update(ctx, func(tx *store.Tx) error {
					return tx.CommitRun(store.Advanced{Was: was, Run: next, Effects: []crm.Mutation{m}, Steps: []crm.StepRecord{step}})
				})
			}
			if i == 0 {
				if err := turn(crm.Delete{Contact: k}); crm.CodeOf(err) != crm.CodeNoGrant {
					r.Errorf("without a grant: %v", err)
				}
			}
			r.grant("contact.delete", "contact.restore", "contact.purge")
			if err := turn(crm.Delete{Contact: k}); err != nil {
				r.Fatal(err)
			}
			if got := r.run(run.ID); got.Epoch != 1 || got.Began != 0 || got.StatusFor(r.life(k)) != crm.RunWaiting {
				r.Errorf("after its delete the run is %+v", got)
			}
			if err := turn(crm.AddTag{Contact: k, Tag: "x"}); crm.CodeOf(err) != crm.CodeDeleted {
				r.Errorf("an effect on the tombstone: %v", err)
			}
			if i == 1 {
				if err := turn(end(k)); crm.CodeOf(err) != crm.CodeWindowOpen {
					r.Errorf("an early purge: %v", err)
				}
				r.clock += 60 * crm.Day
			}
			if err := turn(end(k)); err != nil {
				r.Fatalf("%T: %v", end(k), err)
			}
			if i == 0 {
				if rec := r.receipt(k); r.run(run.ID).Epoch != 2 || rec.TimersArmed != 0 || rec.RunsStarted != 0 {
					r.Errorf("after its restore the run is %+v, the receipt %+v", r.run(run.ID), rec)
				}
			}
		}
		for table, want := range map[string]int{"run": 1, "timer": 1, "step": 2} { // the purged run left nothing
			if got := len(r.rows()[table]); got != want {
				r.Errorf("the table %s has %d rows, want %d", table, got, want)
			}
		}
	})
}

func TestOthersRestoreEndsARunOnATombstone(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		r.grant("contact.delete")
		run := r.start(k)
		next := run
		next.Due = r.clock + crm.Day
		r.ok(func(tx *store.Tx) error {
			return tx.CommitRun(store.Advanced{Was: run, Run: next, Effects: []crm.Mutation{crm.Delete{Contact: k}}})
		})
		r.do(crm.Restore{Contact: k})
		if got := r.run(run.ID); got.StatusFor(r.life(k)) != crm.RunCancelled {
			r.Errorf("the run is %s", got.StatusFor(r.life(k)))
		}
		r.ok(func(tx *store.Tx) error {
			_, stale, _, err := tx.DueRuns(store.FirstTimer, r.clock+2*crm.Day, 10)
			return errors.Join(err, tx.DropTimers(stale))
		})
		if got := r.run(run.ID); got.Status != crm.RunCancelled || got.Reason != crm.ReasonRestored || len(r.rows()["timer"]) != 0 {
			r.Errorf("the run is %+v", got)
		}
	})
}

func TestStepIsJournalledOnce(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		a := r.start(k)
		rec := crm.StepRecord{Run: a.ID, Path: "p", Status: store.StepDone, Attempt: 1, Account: acc, Contact: k.Contact, At: r.clock, Output: []byte(`"CanaryOutput"`)}
		commit := func(s crm.StepRecord) (first bool) {
			r.ok(func(tx *store.Tx) (err error) { first, err = tx.CommitStep(s); return err })
			return first
		}
		intend := func(s crm.StepRecord) (first bool) {
			r.ok(func(tx *store.Tx) (err error) { first, err = tx.Intend(a, s); return err })
			return first
		}
		if !intend(rec) || intend(rec) || !commit(rec) || commit(rec) {
			r.Error("not: intent, no second intent, result, no second result")
		}
		again := rec
		again.Attempt, again.Iteration = 2, 1
		if !intend(again) || !commit(again) {
			r.Error("another iteration is another step")
		}
		r.see(func(tx *store.Tx) error {
			got, err := tx.Steps(a.ID)
			if err != nil || len(got) != 2 || string(got[0].Output) != `"CanaryOutput"` {
				r.Errorf("the journal is %v (%v)", got, err)
			}
			return nil
		})
	})
}

// TestSealedOutputStaysWhereItWasWritten moves a sealed output to another run's line of the journal.
func TestSealedOutputStaysWhereItWasWritten(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		rec := crm.StepRecord{Run: crm.RunID{1}, Path: "p", Status: store.StepDone, Account: acc, Contact: k.Contact, At: r.clock, Output: []byte(`1`)}
		r.ok(func(tx *store.Tx) error { _, err := tx.CommitStep(rec); return err })
		err := r.eng.Update(ctx, func(tx row.Tx) error {
			got, err := tx.Steps().Get(ctx, []crm.StepKey{rec.Key()})
			if err != nil {
				return err
			}
			moved := *got[rec.Key()]
			moved.Run = crm.RunID{2}
			return tx.Steps().Write(ctx, []row.Change[crm.StepRecord]{{New: &moved}})
		})
		if err != nil {
			r.Fatal(err)
		}
		err = r.s.View(ctx, func(tx *store.Tx) error { _, err := tx.Steps(crm.RunID{2}); return err })
		if crm.CodeOf(err) != crm.CodeCorrupt {
			r.Errorf("a moved output gave %v", err)
		}
	})
}

func TestCursorMovesOnce(t *testing.T) {
	eachEngine(t, func(r *rig) {
		r.enter(1)
		var next []byte
		r.see(func(tx *store.Tx) (err error) { _, next, err = tx.Events(nil, 2); return err })
		move := func(from, to []byte) error {
			return r.s.Update(ctx, func(tx *store.Tx) error { return tx.MoveCursor("x", from, to, 0) })
		}
		if err := move(nil, next); err != nil {
			r.Fatal(err)
		}
		for _, from := range [][]byte{nil, {1}} {
			if err := move(from, next); crm.CodeOf(err) != crm.CodeStale {
				r.Errorf("from %v: %v", from, err)
			}
		}
		r.see(func(tx *store.Tx) error {
			got, err := tx.Cursor("x")
			rest, _, err2 := tx.Events(got, 0)
			if !slices.Equal(got, next) || rest[0].Seq != 3 {
				r.Errorf("the cursor is %v, the next entry %d", got, rest[0].Seq)
			}
			return errors.Join(err, err2)
		})
	})
}
