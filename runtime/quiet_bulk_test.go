package runtime

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// people makes contacts with a tag, in one transaction.
func (r *rig) people(n int, tag string) (ks []crm.Key) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error {
		ks = nil
		for range n {
			id, err := tx.NewContactID()
			if err != nil {
				return err
			}
			c := crm.Contact{Account: r.acc, ID: id, Tags: []crm.Tag{{Name: tag}}}
			ks = append(ks, c.Key())
			if _, err := tx.Apply(r.by, crm.Cause{Kind: crm.ByImport}, crm.Create{Contact: c}); err != nil {
				return err
			}
		}
		return nil
	})
	return ks
}

// bulkRestore accepts a restore of contacts in the deletion that they are in.
func (r *rig) bulkRestore(ks []crm.Key) (id crm.OperationID) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error {
		var items []store.FrozenItem
		for _, k := range ks {
			l, err := tx.Life(k)
			if err != nil {
				return err
			}
			items = append(items, store.FrozenItem{Contact: k, Epoch: l.Epoch})
		}
		var err error
		if id, err = tx.NewOperationID(); err != nil {
			return err
		}
		if err := tx.Freeze(id, items); err != nil {
			return err
		}
		_, err = tx.AcceptRestore(r.by, r.acc, id, len(ks), "by mistake")
		return err
	})
	return id
}

func (r *rig) operation(id crm.OperationID) (op *crm.Operation) {
	r.t.Helper()
	r.view(func(tx *store.Tx) (err error) {
		op, err = tx.Operation(id)
		return err
	})
	return op
}

const nightlyCleanup = `
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Unsubscribed"}
  - {id: nightly, cron: "0 2 * * *", over: contacts, where: '"Unsubscribed" in contact.tags'}
steps: [{id: remove, action: contact.delete}]
`

// A bulk restore that was accepted in time brings everybody back, although its passes come after the
// deadline: sweeps hold until it has ended, and go on then. Nothing starts by it, at once or at night.
func TestBulkRestoreAcrossPasses(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 71})
	ks := r.people(1100, "Unsubscribed") // more than a pass deals with when it begins with one at a time
	all := append(slices.Clone(ks), r.people(3, "Unsubscribed")...)
	for chunk := range slices.Chunk(all, 400) {
		r.update(func(tx *store.Tx) error {
			for _, k := range chunk {
				if _, err := tx.Apply(r.by, crm.Cause{Kind: crm.ByPerson}, crm.Delete{Contact: k}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	r.settle()
	r.workflow("w", nightlyCleanup)
	r.settle()
	moved, missing := all[len(ks)], all[len(ks)+1]
	r.clock.Advance(day(60) - 1)
	id := r.bulkRestore(append(slices.Clone(ks), moved))
	r.apply(crm.Restore{Contact: moved}, crm.Delete{Contact: moved}) // in another deletion by now, which is not what was selected
	r.clock.Advance(1)
	r.engine.works.n = 1
	_, err := r.engine.Pass(r.ctx)
	r.must(err)
	op := r.operation(id)
	if op.State != crm.OperationRunning || op.Done == 0 {
		t.Fatalf("after a pass: %+v", op)
	}
	for range 2 {
		report, err := r.engine.Sweep(r.ctx)
		r.must(err)
		left := op.Total - op.Done - op.Refused
		r.expect("purged, waiting", []int{report.Purged, report.Waiting, report.Failed}, []int{0, report.Due, 0})
		if op.Refused == 0 {
			left-- // the moved one has another deadline
		}
		r.expect("past the deadline", report.Due, left+2) // and two that nobody restores
	}
	r.expect("erased by an admin meanwhile", r.try(crm.Purge{Contact: missing, Erasure: true, Reason: "a request"}), nil)
	r.restart()
	r.engine.works.n = 1
	r.settle()
	op = r.operation(id)
	r.expect("in the end", []any{op.State, op.Done, op.Refused}, []any{crm.OperationErrors, len(ks), 1})
	r.view(func(tx *store.Tx) error {
		refused, err := tx.RefusedItems(op, crm.ContactID{}, 10)
		r.expect("refused", refused, []store.RefusedItem{{Contact: moved.Contact, Code: crm.CodeStale}})
		return err
	})
	r.pass(time.Minute)
	for _, k := range ks {
		if r.state(k) != crm.Live {
			t.Fatalf("%s is %s", k.Contact, r.state(k))
		}
	}
	r.expect("who nobody restored, moved, was erased", []crm.State{r.state(all[len(ks)+2]), r.state(moved), r.state(missing)}, []crm.State{crm.Purged, crm.Deleted, crm.Purged})
	r.pass(day(3))
	for _, k := range []crm.Key{ks[0], ks[550], ks[1099]} {
		r.expect("three nights later", []any{r.state(k), r.runs(k)}, []any{crm.Live, []string{}})
	}
	again := ks[0]
	r.apply(crm.RemoveTag{Contact: again, Tag: "unsubscribed"}, crm.AddTag{Contact: again, Tag: "Unsubscribed"})
	r.settle()
	r.expect("tagged by a person", r.state(again), crm.Deleted)
}

// A tag is deleted while 500 carry it. Whoever is restored while the engine takes it off, or after, does
// not get it back, wherever the engine is; taking it off starts nothing.
func TestTagDeletedWhileRestoring(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 72})
	ks := r.people(500, "Lead")
	slices.SortFunc(ks, func(a, b crm.Key) int { return slices.Compare(a.Contact[:], b.Contact[:]) }) // as a scan meets them
	r.settle()
	r.workflow("w", `
triggers:
  - {id: off, event: contact.tag_removed}
  - {id: missing, cron: "0 2 * * *", over: contacts, where: 'not ("Lead" in contact.tags) and "kept" in contact.tags'}
steps: [{id: rest, wait: 1h}]
`)
	early, late, after := ks[10], ks[490], ks[250]
	for _, k := range []crm.Key{early, late, after} {
		r.apply(crm.Delete{Contact: k})
	}
	r.settle()
	r.clock.Advance(time.Hour)
	r.update(func(tx *store.Tx) error { return tx.DeleteTag(r.by, crm.Cause{Kind: crm.ByPerson}, r.acc, "lead") })
	untag := func(from []crm.Key) {
		r.update(func(tx *store.Tx) error {
			return tx.Untag(janitor, r.acc, store.TagID(r.acc, "Lead"), r.tagDeleted("Lead"), from, false)
		})
	}
	untag(ks[:100])
	r.expect("who tags meanwhile", crm.CodeOf(r.try(crm.AddTag{Contact: ks[0], Tag: "LEAD"})), crm.CodeRunning)
	r.expect("deleted twice", crm.CodeOf(r.store.Update(r.ctx, func(tx *store.Tx) error {
		return tx.DeleteTag(r.by, crm.Cause{Kind: crm.ByPerson}, r.acc, "Lead")
	})), crm.CodeRunning)
	for _, k := range []crm.Key{early, late} { // where the engine has been, and where it has not
		r.apply(crm.Restore{Contact: k})
		r.expect("restored meanwhile", r.tagBack(k), "skipped tag_gone")
		r.expect("carries", r.carries(k), false)
	}
	r.clock.Advance(time.Hour)
	behind := ks[400]
	r.apply(crm.Delete{Contact: behind}) // with the tag still on it
	untag(ks[100:200])
	r.restart()
	r.clock.Advance(time.Hour)
	r.settle() // the engine does the rest
	for _, k := range ks {
		if r.state(k) == crm.Live && r.carries(k) {
			t.Fatalf("%s still carries the tag", k.Contact)
		}
	}
	r.view(func(tx *store.Tx) error {
		acc, err := tx.Account(r.acc)
		r.expect("left to do", len(acc.Leaving), 0)
		return err
	})
	r.clock.Advance(time.Hour)
	r.apply(crm.AddTag{Contact: ks[0], Tag: "Lead"}) // one of the same name is another tag
	for _, k := range []crm.Key{after, behind} {
		r.apply(crm.Restore{Contact: k})
		r.expect("restored afterwards", r.tagBack(k), "skipped tag_gone")
		r.expect("carries", r.carries(k), false)
	}
	r.apply(crm.Delete{Contact: ks[0]}, crm.Restore{Contact: ks[0]})
	r.expect("the new one comes back", r.carries(ks[0]), true)
	r.pass(day(2))
	for _, k := range []crm.Key{ks[0], early, late, after, behind, ks[499]} {
		r.expect("runs", r.runs(k), []string{})
	}
}

// The same with the engine and restores racing: the outcome does not depend on who comes first.
func TestTagDeletedInARace(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 73})
	ks := r.people(500, "Lead")
	for i := range 10 {
		r.apply(crm.Delete{Contact: ks[i*50]})
	}
	r.settle()
	r.clock.Advance(time.Hour)
	r.update(func(tx *store.Tx) error { return tx.DeleteTag(r.by, crm.Cause{Kind: crm.ByPerson}, r.acc, "Lead") })
	r.engine.works.n = 16
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.engine.Untag(r.ctx, r.acc, store.TagID(r.acc, "Lead"), 0); err != nil {
			t.Error(err)
		}
	})
	for i := range 10 {
		r.apply(crm.Restore{Contact: ks[i*50]})
		r.expect("the receipt", r.tagBack(ks[i*50]), "skipped tag_gone")
	}
	wg.Wait()
	r.settle()
	for _, k := range ks {
		if r.carries(k) {
			t.Fatalf("%s carries the tag", k.Contact)
		}
	}
}

func (r *rig) carries(k crm.Key) (yes bool) {
	r.t.Helper()
	r.view(func(tx *store.Tx) error {
		c, _, err := tx.Contact(k, crm.LiveOrDead)
		if err == nil {
			yes = c.HasTag("Lead")
		}
		return err
	})
	return yes
}

// tagBack is what a contact's last receipt says of a tag.
func (r *rig) tagBack(k crm.Key) (said string) {
	r.t.Helper()
	r.view(func(tx *store.Tx) error {
		rec, err := tx.LatestReceipt(k)
		said = "nothing"
		for _, it := range rec.Items {
			if it.Kind == crm.TagItem {
				said = string(it.Outcome) + " " + string(it.Reason)
			}
		}
		return err
	})
	return said
}

// knobs changes the policy.
func (r *rig) knobs(changes map[string]any) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error {
		acc, err := tx.Account(r.acc)
		if err != nil {
			return err
		}
		next, err := acc.Policy.With(changes)
		if err != nil {
			return err
		}
		_, err = tx.SetPolicy(r.by, r.acc, next)
		return err
	})
}

// tagDeleted gives the instant at which a tag was deleted.
func (r *rig) tagDeleted(name string) (at crm.Nanos) {
	r.t.Helper()
	err := r.store.View(r.ctx, func(tx *store.Tx) error {
		o, err := tx.Object(crm.ObjectKey{Account: r.acc, Kind: crm.TagItem, ID: store.TagID(r.acc, name)})
		if err == nil {
			at = o.Deleted.At
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return at
}
