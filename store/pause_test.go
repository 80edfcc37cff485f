package store_test

import (
	"errors"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func (r *rig) pause(by crm.Actor, id string, on bool) error {
	return r.s.Update(ctx, func(tx *store.Tx) error { return tx.PauseWorkflow(by, acc, id, on) })
}

func TestPausedStartsAndChangesNothing(t *testing.T) {
	eachEngine(t, func(r *rig) {
		r.grant("contact.delete")
		k, other := r.enter(1), r.enter(2)
		run := r.start(k)
		if err := r.pause(admin, "w", true); err != nil {
			r.Fatal(err)
		}
		if began, err := r.startAs(order(other, r.entitled(other))); began || err != nil {
			r.Errorf("a paused workflow started a run: %v, %v", began, err)
		}
		commit := func(m ...crm.Mutation) error {
			is := r.run(run.ID)
			next := is
			next.Due = r.clock + crm.Hour
			return r.s.Update(ctx, func(tx *store.Tx) error {
				return tx.CommitRun(store.Advanced{Was: is, Run: next, Effects: m, Steps: []crm.StepRecord{{Run: run.ID, Path: "p", Account: acc,
					Contact: k.Contact, Status: store.StepDone}}})
			})
		}
		call := crm.StepRecord{Run: run.ID, Account: acc, Contact: k.Contact, Path: "p", Attempt: 1}
		if err := r.s.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Intend(run, call)
			return err
		}); !errors.Is(err, store.ErrStale) {
			r.Errorf("a paused workflow calls the outside world: %v", err)
		}
		if err := commit(crm.AddTag{Contact: k, Tag: "late"}); !errors.Is(err, store.ErrStale) || r.contact(k).HasTag("late") {
			r.Errorf("a paused workflow changed a contact: %v", err)
		}
		why := crm.Cause{Kind: crm.ByWorkflow, Workflow: "w", Run: run.ID}
		r.refused(crm.CodeNoGrant, crm.Actor{ID: "workflow:w", Role: crm.System}, why, crm.Delete{Contact: k})

		// What was called before the pause has happened, so its answer counts.
		if err := r.pause(admin, "w", false); err != nil {
			r.Fatal(err)
		}
		r.ok(func(tx *store.Tx) error {
			_, err := tx.Intend(run, call)
			return err
		})
		if err := r.pause(admin, "w", true); err != nil {
			r.Fatal(err)
		}
		if err := commit(crm.AddTag{Contact: k, Tag: "called"}); err != nil || !r.contact(k).HasTag("called") {
			r.Errorf("the answer to a call was dropped: %v", err)
		}
	})
}

func TestPauseSaysWhatIs(t *testing.T) {
	eachEngine(t, func(r *rig) {
		viewer := crm.Actor{ID: "user:v", Role: crm.Viewer}
		for _, is := range []struct {
			what string
			by   crm.Actor
			id   string
			on   bool
			code string
		}{
			{"resume what runs", admin, "w", false, crm.CodeConflict},
			{"pause what is not there", admin, "nope", true, crm.CodeNotFound},
			{"pause as a viewer", viewer, "w", true, crm.CodeDenied},
			{"pause", admin, "w", true, ""},
			{"pause again", admin, "w", true, crm.CodeConflict},
			{"resume as a viewer", viewer, "w", false, crm.CodeDenied},
		} {
			if err := r.pause(is.by, is.id, is.on); crm.CodeOf(err) != is.code {
				r.Errorf("%s: %v, wanted the code %q", is.what, err, is.code)
			}
		}
		paused := func() (is bool) {
			r.see(func(tx *store.Tx) (err error) {
				is, err = tx.WorkflowPaused(acc, "w")
				return err
			})
			return is
		}
		apply := func(revision string) {
			r.ok(func(tx *store.Tx) error {
				_, err := tx.ApplyWorkflow(admin, acc, "w", revision, "w.yaml", []byte(revision), nil)
				return err
			})
		}
		apply("r2")
		r.reopen()
		if !paused() {
			r.Error("an apply resumed it")
		}
		r.ok(func(tx *store.Tx) error { return tx.DeleteWorkflow(admin, acc, "w") })
		if err := r.pause(admin, "w", false); crm.CodeOf(err) != crm.CodeNotFound {
			r.Errorf("resume what was deleted: %v", err)
		}
		apply("r3")
		if paused() {
			r.Error("a workflow that was deleted comes back paused")
		}
	})
}
