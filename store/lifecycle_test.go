package store_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// setPolicy changes the account's policy.
func (r *rig) setPolicy(change func(*crm.Policy)) {
	r.Helper()
	r.ok(func(tx *store.Tx) error {
		a, err := tx.Account(acc)
		if err != nil {
			return err
		}
		p := a.Policy.Clone()
		change(&p)
		_, err = tx.SetPolicy(admin, acc, p)
		return err
	})
}

// TestOptOutsSurviveAPurge: whoever takes up a purged address, by hand or by import, wants no more than
// its owner did.
func TestOptOutsSurviveAPurge(t *testing.T) {
	eachEngine(t, func(r *rig) {
		optedOut := func(n byte, c crm.Contact) crm.Key {
			c.Account, c.ID = acc, crm.ContactID{n}
			r.do(crm.Create{Contact: c})
			return c.Key()
		}
		email := crm.Identity{Value: "Ada@Example.org"}
		k := optedOut(1, crm.Contact{Email: email, Lists: []crm.Membership{{List: news, Status: crm.Unsubscribed}, {List: club, Status: crm.Subscribed}},
			DND: []crm.Channel{{Name: "sms", On: true}}})
		r.do(crm.Purge{Contact: k, Erasure: true})
		for row := range r.rows()["optout"] {
			if len(row) != 48 { // account and hash
				t.Errorf("an opt-out has the key %x", row)
			}
		}
		// by creating, subscribed to the list that was left
		k = optedOut(2, crm.Contact{Email: crm.Identity{Value: " ada@example.ORG"}, Lists: []crm.Membership{{List: news, Status: crm.Subscribed}}})
		if c := r.contact(k); c.Membership(news) == nil || c.Membership(news).Status != crm.Unsubscribed || !c.OnDND("sms") || c.Membership(club) != nil {
			t.Errorf("the new contact is on %+v, do-not-disturb %+v", c.Lists, c.DND)
		}
		if n := r.count(store.CountOf(news)); n != 1 {
			t.Errorf("the list counts %d", n)
		}
		// an import does not overrule it, a person does
		again := crm.SetMembership{Contact: k, List: news, Status: crm.Subscribed}
		if err := r.try(admin, crm.Cause{Kind: crm.ByImport}, again); err != nil || r.contact(k).Membership(news).Status != crm.Unsubscribed {
			t.Errorf("an import gave %v and %+v", err, r.contact(k).Lists)
		}
		r.do(again)
		if r.contact(k).Membership(news).Status != crm.Subscribed {
			t.Error("a person cannot subscribe somebody again")
		}
		// who wanted messages in the end leaves no opt-out of that list
		r.do(crm.SetDND{Contact: k, Channel: "sms"}, crm.Purge{Contact: k, Erasure: true})
		if n := len(r.rows()["optout"]); n != 0 {
			t.Errorf("%d opt-outs are left", n)
		}
		// by changing the address of somebody else
		k = optedOut(3, crm.Contact{Email: email, DND: []crm.Channel{{Name: "email", On: true}}})
		r.do(crm.Purge{Contact: k, Erasure: true})
		k = optedOut(4, crm.Contact{Email: crm.Identity{Value: "bob@example.org"}})
		r.do(crm.SetIdentity{Contact: k, Name: "email", Value: "ada@example.org"})
		if !r.contact(k).OnDND("email") {
			t.Error("a changed address takes no opt-out along")
		}
		// and not at all if the policy says so
		r.setPolicy(func(p *crm.Policy) { p.Suppression.KeepUnsubscribed = false })
		r.do(crm.Purge{Contact: k, Erasure: true})
		if n := len(r.rows()["optout"]); n != 0 {
			t.Errorf("%d opt-outs are kept against the policy", n)
		}
	})
}

// TestPartialRestore: what the policy leaves behind is hidden at once, in no manifest of a later delete,
// and removed at the deadline that the delete had stamped, not a nanosecond before, nor under a hold.
func TestPartialRestore(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.fullLife(1)
		r.setPolicy(func(p *crm.Policy) {
			for kind := range p.Restore.Associated {
				p.Restore.Associated[kind] = kind == crm.Note
			}
			p.Restore.Enrollments = crm.None
		})
		r.do(crm.Delete{Contact: k})
		until := r.life(k).RestorableUntil
		r.do(crm.Restore{Contact: k})
		rec := r.receipt(k)
		for _, kind := range crm.RecordKinds {
			want := "skipped policy"
			if kind == crm.Note {
				want = "restored"
			}
			for _, it := range rec.Items {
				if it.Kind == kind && outcome(rec, kind, it.ID) != want {
					t.Errorf("%s: %s", kind, outcome(rec, kind, it.ID))
				}
			}
		}
		shown := func() (kinds []crm.ItemKind) {
			r.see(func(tx *store.Tx) error {
				records, err := tx.Records(k)
				for _, rec := range records {
					kinds = append(kinds, rec.Kind)
				}
				links, lerr := tx.Links(k)
				for _, l := range links {
					kinds = append(kinds, l.Kind)
				}
				if lerr != nil {
					return lerr
				}
				return err
			})
			return kinds
		}
		if kinds := shown(); !slices.Equal(kinds, []crm.ItemKind{crm.Note, crm.FinishedRun}) {
			t.Errorf("after the restore it has %v", kinds)
		}
		for _, l := range r.contact(k).Lists {
			if !l.Status.OptedOut() {
				t.Errorf("it is on %+v", l)
			}
		}
		r.clock += crm.Second
		r.do(crm.Delete{Contact: k})
		epoch := r.life(k).Epoch
		r.see(func(tx *store.Tx) error {
			m, err := tx.Manifest(k, epoch)
			for _, it := range m.Items {
				if it.Kind != crm.Note && it.Kind != crm.TagItem && it.Kind != crm.List {
					t.Errorf("the later manifest has a %s", it.Kind)
				}
			}
			return err
		})
		r.do(crm.Restore{Contact: k})
		sweeper, why := crm.Actor{ID: "system:sweep", Role: crm.System}, crm.Cause{Kind: crm.ByRetention}
		l := r.life(k)
		if first := l.NextDiscard(); first != until {
			t.Errorf("what the first restore left behind goes at %s, not at %s", first, until)
		}
		r.clock = until - 1
		if err := r.try(sweeper, why, crm.Discard{Contact: k}); crm.CodeOf(err) != crm.CodeWindowOpen {
			t.Errorf("discarding a nanosecond early: %v", err)
		}
		before := len(r.receipt(k).Items)
		r.clock = until
		r.do(crm.Hold{Contact: k, On: true, Reason: "a matter"})
		if err := r.try(sweeper, why, crm.Discard{Contact: k}); crm.CodeOf(err) != crm.CodeHeld {
			t.Errorf("discarding under a hold: %v", err)
		}
		r.do(crm.Hold{Contact: k})
		if err := r.try(sweeper, why, crm.Discard{Contact: k}); err != nil {
			t.Error(err)
		}
		if n := len(r.rows()["record"]); n != 1 {
			t.Errorf("%d records are left", n)
		}
		if n := len(r.receipt(k).Items); n != before {
			t.Errorf("the receipt had %d items and has %d", before, n)
		}
		if n := len(r.rows()["deadline"]); n != 1 {
			t.Errorf("%d deadlines are left", n)
		}
		if l := r.life(k); l.NextDiscard() != until+crm.Second {
			t.Errorf("the life is %+v", l)
		}
	})
}

// TestDroppedIdentifier: a contact comes back without an address that is taken, under that policy.
func TestDroppedIdentifier(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.fullLife(1)
		was := r.contact(k)
		r.do(crm.Delete{Contact: k}, crm.Create{Contact: crm.Contact{Account: acc, ID: crm.ContactID{9}, Email: was.Email}})
		if err := r.try(admin, byPerson, crm.Restore{Contact: k}); crm.CodeOf(err) != crm.CodeConflict {
			t.Errorf("the restore gave %v", err)
		}
		r.setPolicy(func(p *crm.Policy) { p.Restore.Conflict = crm.DropIdentifier })
		r.do(crm.Restore{Contact: k})
		c, rec := r.contact(k), r.receipt(k)
		if c.Email.Value != "" || c.Phone.Value != was.Phone.Value {
			t.Errorf("it came back with %+v", c)
		}
		i := slices.IndexFunc(rec.Items, func(it crm.ReceiptItem) bool { return it.Kind == crm.IdentityItem })
		if i < 0 || rec.Items[i].Name != "email" || rec.Items[i].Reason != crm.SkipConflict {
			t.Errorf("the receipt has %+v", rec.Items)
		}
		r.see(func(tx *store.Tx) error {
			keys, err := tx.Find(acc, "email", was.Email.Value, crm.LiveOrDead)
			if len(keys) != 1 {
				t.Errorf("%d contacts are found by the address", len(keys))
			}
			return err
		})
	})
}

// TestHistory: every change of a contact, in order, with its actor and cause; of a purged one what stands
// in the open.
func TestHistory(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, other := r.fullLife(1), r.fullLife(2)
		r.do(crm.AddTag{Contact: other, Tag: "between"}, crm.AddTag{Contact: k, Tag: "one"})
		r.do(crm.Delete{Contact: k}, crm.AddTag{Contact: other, Tag: "again"}, crm.Restore{Contact: k}, crm.Hold{Contact: k, On: true, Reason: "a matter"}, crm.Hold{Contact: k})
		r.do(crm.RemoveTag{Contact: k, Tag: "one"}, crm.Archive{Contact: k, On: true})
		kinds := func(n int) (out []crm.EventKind) {
			var before uint64
			for {
				var page []store.Logged
				r.see(func(tx *store.Tx) (err error) { page, err = tx.History(k, before, n); return err })
				if len(page) == 0 {
					return out
				}
				for _, l := range page {
					if l.Event.Contact != k.Contact || l.Event.By.ID == "" || l.Event.At == 0 {
						t.Errorf("an entry is %+v", l.Event)
					}
					out = append(out, l.Event.Kind)
				}
				before = page[len(page)-1].Seq
			}
		}
		var want []crm.EventKind // from the log itself
		r.see(func(tx *store.Tx) error {
			all, _, err := tx.Events(nil, 0)
			for _, l := range all {
				if l.Event.Contact == k.Contact && l.Event.Kind != crm.RunStarted {
					want = append(want, l.Event.Kind)
				}
			}
			return err
		})
		slices.Reverse(want)
		for _, n := range []int{1, 3, 100} {
			if got := kinds(n); !slices.Equal(got, want) {
				t.Errorf("in pages of %d the history is\n%v, not\n%v", n, got, want)
			}
		}
		r.do(crm.Purge{Contact: k, Erasure: true, Reason: "request 7"})
		if got := kinds(100); !slices.Equal(got, append([]crm.EventKind{crm.ContactPurged}, want...)) {
			t.Errorf("after the purge it is %v", got)
		}
		r.see(func(tx *store.Tx) error {
			page, err := tx.History(k, 0, 100)
			for _, l := range page {
				if l.Event.After != nil || l.Event.Kind == crm.ContactTagAdded && !l.Unreadable {
					t.Errorf("after the purge an entry still says %+v", l.Event)
				}
			}
			return err
		})
	})
}

// TestLedger: each purge is on the ledger once it is written, a kill in between at worst writes a line
// twice, and a store that came from an older backup erases again what it says, whatever it knew.
func TestLedger(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, held, deleted, live := r.fullLife(1), r.fullLife(2), r.fullLife(3), r.fullLife(4)
		r.do(crm.Purge{Contact: k, Erasure: true}, crm.Purge{Contact: held, Erasure: true}, crm.Delete{Contact: deleted})
		var lines []crm.Erasure
		write := func(e []crm.Erasure) error { lines = append(lines, e...); return nil }
		if _, err := r.s.LedgerTail(ctx, func([]crm.Erasure) error { return crm.Errorf("write", crm.CodeFailed, "no") }); err == nil {
			t.Error("a failed write passes")
		}
		for range 2 {
			if _, err := r.s.LedgerTail(ctx, write); err != nil {
				t.Fatal(err)
			}
		}
		if len(lines) != 2 || lines[0].Contact == lines[1].Contact || lines[0].Deleted {
			t.Fatalf("the ledger has %+v", lines)
		}
		if n := len(r.rows()["erasure"]); n != 0 {
			t.Errorf("%d lines wait still", n)
		}
		r.ok(func(tx *store.Tx) error { return tx.SetHIPAA(admin, acc) })
		r.do(crm.Delete{Contact: live})
		if _, err := r.s.LedgerTail(ctx, write); err != nil || len(lines) != 4 || !lines[2].HIPAA || !lines[3].Deleted {
			t.Fatalf("after a HIPAA delete the ledger has %+v (%v)", lines, err)
		}
		// the backup: another store in which they still live, one of them under a hold
		older := &rig{T: r.T, clock: begin}
		older.eng = storetest.NewMemory(storetest.MemoryOptions{Now: func() crm.Nanos { return older.clock }, Seed: 5})
		older.reopen()
		older.furnish()
		for n := byte(1); n <= 4; n++ {
			older.fullLife(n)
		}
		older.do(crm.Hold{Contact: held, On: true, Reason: "a matter"}) // lifted before the purge
		for range 2 {
			older.ok(func(tx *store.Tx) error {
				for _, e := range lines {
					if _, err := tx.Replay(admin, e); err != nil {
						return err
					}
				}
				return nil
			})
		}
		var states []crm.State
		for _, c := range []crm.Key{k, held, deleted, live} {
			states = append(states, older.life(c).State)
		}
		older.see(func(tx *store.Tx) error {
			if a, err := tx.Account(acc); err != nil || !a.HIPAA {
				t.Error("the backup's account is none of HIPAA")
			}
			return nil
		})
		if want := []crm.State{crm.Purged, crm.Purged, crm.Live, crm.Deleted}; !reflect.DeepEqual(states, want) {
			t.Errorf("after the replay they are %v, not %v", states, want)
		}
	})
}
