package store_test

import (
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// What a review of the whole lifecycle found. The reference model knows most of it by now; these are the
// shortest stories.

// A contact that was swept late does not forget the opt-out that a younger owner of its address left.
func TestOptOutOutlivesALateSweep(t *testing.T) {
	eachEngine(t, func(r *rig) {
		email := crm.Identity{Value: "ada@example.org"}
		a, b, c := crm.Key{Account: acc, Contact: crm.ContactID{1}}, crm.Key{Account: acc, Contact: crm.ContactID{2}}, crm.ContactID{3}
		r.do(crm.Create{Contact: crm.Contact{Account: acc, ID: a.Contact, Email: email}}, crm.Delete{Contact: a})
		until := r.life(a).RestorableUntil
		r.clock += crm.Second
		r.do(crm.Create{Contact: crm.Contact{Account: acc, ID: b.Contact, Email: email}}, crm.SetDND{Contact: b, Channel: "email", On: true})
		r.clock += crm.Second
		r.do(crm.Purge{Contact: b, Erasure: true})
		r.clock = until
		if err := r.try(sweeper, byRetention, crm.Purge{Contact: a}); err != nil {
			r.Fatal(err)
		}
		r.do(crm.Create{Contact: crm.Contact{Account: acc, ID: c, Email: email}})
		if !r.contact(crm.Key{Account: acc, Contact: c}).OnDND("email") {
			r.Error("who imports the address again can mail it")
		}
	})
}

// The erasure ledger is not asked for what the policy says by now.
func TestLedgerIsReplayedUnderEveryPolicy(t *testing.T) {
	for name, change := range map[string]func(*crm.Policy){
		"export": func(p *crm.Policy) { p.Delete.ExportBefore = crm.Required },
		"enrolled": func(p *crm.Policy) {
			p.Delete.WhenEnrolled = crm.Block
		},
		"notes": func(p *crm.Policy) { p.Delete.Associated[crm.Note] = crm.Block },
	} {
		t.Run(name, func(t *testing.T) {
			eachEngine(t, func(r *rig) {
				k := r.fullLife(1)
				r.ok(func(tx *store.Tx) error { return tx.SetHIPAA(admin, acc) })
				r.setPolicy(change)
				line := crm.Erasure{Account: acc, Contact: k.Contact, Epoch: r.life(k).Epoch + 1, Deleted: true}
				r.ok(func(tx *store.Tx) error { _, err := tx.Replay(admin, line); return err })
				if r.life(k).State != crm.Deleted {
					r.Error("a backup undoes a delete")
				}
			})
		})
	}
}

// What each restore left behind goes at its own deadline, however often the contact is restored.
func TestEachLossHasItsDeadline(t *testing.T) {
	eachEngine(t, func(r *rig) {
		r.setPolicy(func(p *crm.Policy) { p.Restore.Associated[crm.Note] = false })
		k := r.fullLife(1)
		var first crm.Nanos
		for i := range 5 {
			r.clock += 40 * crm.Day
			if first != 0 && r.clock >= first {
				if err := r.try(sweeper, byRetention, crm.Discard{Contact: k}); err != nil {
					r.Fatal(err)
				}
				for _, note := range r.rows()["record"] {
					if strings.Contains(note, "first note") {
						r.Fatal("a note outlives its deadline")
					}
				}
			}
			if i == 0 {
				r.do(crm.PutRecord{Record: crm.Record{Account: acc, Contact: k.Contact, Kind: crm.Note, ID: crm.ItemID{9}, Title: "first note"}})
			}
			r.do(crm.Delete{Contact: k})
			if i == 0 {
				first = r.life(k).RestorableUntil
			}
			r.do(crm.Restore{Contact: k})
		}
	})
}

// The hash of an export does not stay in the log in the open.
func TestExportedHashIsSealed(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, sum := r.fullLife(1), strings.Repeat("ab", 32)
		r.do(crm.Delete{Contact: k, Exported: sum})
		for _, line := range r.rows()["log"] {
			if strings.Contains(line, sum) {
				r.Error("it is in the log")
			}
		}
		r.see(func(tx *store.Tx) error {
			h, err := tx.History(k, 0, 1)
			if len(h) != 1 || h[0].Event.Data.Value != sum || h[0].Event.Data.Until != r.clock+60*crm.Day {
				r.Errorf("sealed is %+v", h)
			}
			return err
		})
	})
}

// Somebody who takes a tag off for an earlier deletion does not end a later one.
func TestUntagIsAboutOneDeletion(t *testing.T) {
	eachEngine(t, func(r *rig) {
		janitor := crm.Actor{ID: "system:account", Role: crm.System}
		k, tag, first := r.fullLife(1), store.TagID(acc, "Lead"), r.clock
		r.do(crm.AddTag{Contact: k, Tag: "Lead"})
		untag := func(from []crm.Key, done bool) {
			r.ok(func(tx *store.Tx) error { return tx.Untag(janitor, acc, tag, first, from, done) })
		}
		remove := func() {
			r.ok(func(tx *store.Tx) error { return tx.DeleteTag(admin, byPerson, acc, "Lead") })
		}
		remove()
		untag([]crm.Key{k}, false)
		untag(nil, true)
		r.clock += crm.Second
		r.do(crm.AddTag{Contact: k, Tag: "Lead"})
		remove()
		untag(nil, true) // of the first deletion, by somebody slow
		r.see(func(tx *store.Tx) error {
			a, err := tx.Account(acc)
			if len(a.Leaving) != 1 {
				r.Error("a tag that a live contact carries counts as taken off")
			}
			return err
		})
	})
}

// A damaged contact is passed over and does not keep a bulk restore from its end.
func TestPassOver(t *testing.T) {
	eachEngine(t, func(r *rig) {
		a, b := r.fullLife(1), r.fullLife(2)
		r.do(crm.Delete{Contact: a}, crm.Delete{Contact: b})
		op := crm.OperationID{1}
		r.ok(func(tx *store.Tx) error {
			if err := tx.Freeze(op, []store.FrozenItem{{Contact: a, Epoch: r.life(a).Epoch}, {Contact: b, Epoch: r.life(b).Epoch}}); err != nil {
				return err
			}
			_, err := tx.AcceptRestore(admin, acc, op, 2, "")
			return err
		})
		r.ok(func(tx *store.Tx) error { return tx.PassOver(op, crm.CodeCorrupt) })
		var o *crm.Operation
		r.ok(func(tx *store.Tx) (err error) { o, err = tx.Work(op, 10); return err })
		if o.State != crm.OperationErrors || o.Done != 1 || o.Refused != 1 || r.life(b).State != crm.Live || r.life(a).State != crm.Deleted {
			r.Errorf("the operation is %+v", o)
		}
		r.see(func(tx *store.Tx) error {
			left, err := tx.RefusedItems(o, crm.ContactID{}, 10)
			if len(left) != 1 || left[0].Contact != a.Contact || left[0].Code != crm.CodeCorrupt || len(r.rows()["item"]) != 1 {
				r.Errorf("refused are %+v", left)
			}
			return err
		})
	})
}
