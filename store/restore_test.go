package store_test

import (
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func TestS1_21_DeletedSeparatelyStaysDeleted(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		put := func(n byte) {
			r.do(crm.PutRecord{Record: crm.Record{Account: acc, Contact: k.Contact, Kind: crm.Note, ID: note(k, n).ID}})
		}
		put(1)
		put(2)
		r.do(crm.DeleteRecord{Record: note(k, 1)})
		r.do(crm.Delete{Contact: k})
		r.do(crm.Restore{Contact: k})
		put(3)
		r.do(crm.DeleteRecord{Record: note(k, 2)}) // after the restore: its receipt still says restored
		rec := r.receipt(k)
		for n, want := range map[byte]string{1: "skipped deleted_separately", 2: "restored", 3: "missing"} {
			if got := outcome(rec, crm.Note, note(k, n).ID); got != want {
				r.Errorf("note %d: %s, want %s", n, got, want)
			}
		}
		r.do(crm.Delete{Contact: k})
		r.do(crm.Restore{Contact: k})
		rec = r.receipt(k)
		for n, want := range map[byte]string{1: "skipped deleted_separately", 2: "skipped deleted_separately", 3: "restored"} {
			if got := outcome(rec, crm.Note, note(k, n).ID); got != want {
				r.Errorf("the second time, note %d: %s, want %s", n, got, want)
			}
		}
		r.see(func(tx *store.Tx) error {
			all, err := tx.Records(k)
			for _, rec := range all {
				if gone := rec.ID == note(k, 1).ID || rec.ID == note(k, 2).ID; rec.Deleted.IsSet() != gone {
					r.Errorf("%s is marked: %v", rec.ID, rec.Deleted)
				}
			}
			return err
		})
		r.refused(crm.CodeNotFound, admin, byPerson, crm.DeleteRecord{Record: note(k, 1)})
	})
}

func TestS3_4_RestoreStartsNothing(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		run := r.wait(r.start(k), r.clock+crm.Day)
		r.do(crm.Delete{Contact: k})
		r.do(crm.Restore{Contact: k})
		r.clock += 2 * crm.Day
		rec := r.receipt(k)
		if rec.RunsStarted+rec.TimersArmed+rec.Sends != 0 {
			r.Errorf("the receipt counts %+v", rec)
		}
		if got := outcome(rec, crm.WorkflowRun, crm.ItemID(run.ID)); got != "suspended" {
			r.Errorf("the run is %s", got)
		}
		if got := outcome(rec, crm.Campaign, drip); got != "suspended" {
			r.Errorf("the enrollment is %s", got)
		}
		if got := r.run(run.ID); got.StatusFor(r.life(k)) != crm.RunSuspended || got.Due != run.Due {
			r.Errorf("the run is shown as %s, due %s", got.StatusFor(r.life(k)), got.Due)
		}
		r.ok(func(tx *store.Tx) error {
			runs, stale, _, err := tx.DueRuns(store.FirstTimer, tx.Now(), 10)
			if err != nil || len(runs) != 0 || len(stale) != 1 {
				r.Errorf("%d runs are due, %d timers stale (%v)", len(runs), len(stale), err)
			}
			return tx.DropTimers(append(stale, crm.Timer{Due: 1, Run: run.ID, Account: acc, Contact: k.Contact}))
		})
		if r.run(run.ID).Token != run.Token {
			r.Error("dropping a timer touched the run")
		}
		if r.entitled(k).Valid() {
			r.Error("an event of before the restore may start runs")
		}
		c, reads := r.contact(k), []crm.Fact{{Kind: crm.FactTag}}
		if _, ok := c.Selectable(r.life(k), reads); ok {
			r.Error("the restored contact is selectable")
		}
		if r.count(store.CountOf(drip)) != 0 || r.count(store.CountOf(news)) != 1 {
			r.Error("the campaign counts a suspended enrollment, or the list does not count its member")
		}
		// A suspended run does not hold its key, and a change made since does start one.
		again := r.start(k)
		if again.Epoch != 2 || again.Entitled <= rec.QuietRev || r.receipt(k).RunsStarted != 0 {
			r.Errorf("the new run is %+v", again)
		}
		r.do(crm.AddTag{Contact: k, Tag: "new"})
		if _, ok := r.contact(k).Selectable(r.life(k), reads); !ok {
			r.Error("a contact that got a tag since the restore is not selectable")
		}
	})
}

func TestS3_13_ListStatusUnlessTheListIsGone(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		was := r.contact(k)
		r.do(crm.Delete{Contact: k})
		r.ok(func(tx *store.Tx) error {
			for _, o := range []crm.Object{{Kind: crm.List, ID: club}, {Kind: crm.Company, ID: acme}, {Kind: crm.Campaign, ID: drip}, {Kind: crm.Opportunity, ID: joinDeal}} {
				o.Account, o.Deleted = acc, crm.Mark{At: r.clock}
				if err := tx.PutObject(admin, byPerson, o); err != nil {
					return err
				}
			}
			return nil
		})
		r.do(crm.Restore{Contact: k})
		c, rec := r.contact(k), r.receipt(k)
		if m := c.Membership(news); m == nil || *m != *was.Membership(news) {
			r.Errorf("news: %v, was %v", m, was.Membership(news))
		}
		if c.Membership(club) != nil || c.Rev != was.Rev || c.Rev != r.life(k).QuietRev {
			r.Errorf("club: %v, revision %d was %d", c.Membership(club), c.Rev, was.Rev)
		}
		for id, want := range map[crm.ItemID]string{club: "skipped list_gone", acme: "skipped company_gone", drip: "skipped campaign_gone", joinDeal: "skipped deleted_separately", news: "restored"} {
			kind := map[crm.ItemID]crm.ItemKind{club: crm.List, news: crm.List, acme: crm.Company, drip: crm.Campaign, joinDeal: crm.Opportunity}[id]
			if got := outcome(rec, kind, id); got != want {
				r.Errorf("%s: %s, want %s", kind, got, want)
			}
		}
		if r.count(store.CountOf(club)) != 0 || r.count(store.CountOf(news)) != 1 || len(r.rows()["member"]) != 1 {
			r.Error("the lists count wrong")
		}
		if _, ok := c.Selectable(r.life(k), []crm.Fact{{Kind: crm.FactList}}); ok {
			r.Error("leaving a list that is gone made the contact selectable")
		}
	})
}

func TestS1_9_WindowIsExact(t *testing.T) {
	eachEngine(t, func(r *rig) {
		a, b := r.enter(1), r.enter(2)
		created := r.contact(a).CreatedAt
		r.clock += 12345
		r.do(crm.Delete{Contact: a})
		r.do(crm.Delete{Contact: b})
		until := r.life(a).RestorableUntil
		if until != r.clock+60*24*3600*crm.Second {
			r.Errorf("restorable until %s", until)
		}
		r.clock = until - 1
		r.refused(crm.CodeWindowOpen, sweeper, byRetention, crm.Purge{Contact: a})
		r.refused(crm.CodeWindowOpen, admin, byPerson, crm.Purge{Contact: a})
		r.see(func(tx *store.Tx) error {
			due, err := tx.Expired(r.clock, nil, 10)
			if len(due) != 0 {
				r.Error("something expired early")
			}
			return err
		})
		r.do(crm.Restore{Contact: a})
		if got := r.contact(a).CreatedAt; got != created { // S3.18
			r.Errorf("created at %s, was %s", got, created)
		}
		r.clock = until
		r.refused(crm.CodeWindowPassed, admin, byPerson, crm.Restore{Contact: b})
		r.see(func(tx *store.Tx) error {
			due, err := tx.Expired(r.clock, nil, 10)
			if len(due) != 1 || due[0].Contact != b.Contact {
				r.Errorf("expired: %v", due)
			}
			return err
		})
		if err := r.try(sweeper, byRetention, crm.Purge{Contact: b}); err != nil {
			r.Error(err)
		}
	})
}

func TestS1_8_HIPAANeverRestores(t *testing.T) {
	eachEngine(t, func(r *rig) {
		strict := crm.AccountID{2}
		r.ok(func(tx *store.Tx) error {
			return tx.PutAccount(crm.Account{ID: strict, HIPAA: true, Policy: crm.DefaultPolicy()})
		})
		k := crm.Key{Account: strict, Contact: con(1).Contact}
		r.do(crm.Create{Contact: crm.Contact{Account: strict, ID: k.Contact}})
		r.do(crm.Delete{Contact: k})
		r.refused(crm.CodeHIPAA, admin, byPerson, crm.Restore{Contact: k})
		r.clock = r.life(k).RestorableUntil
		r.do(crm.Purge{Contact: k})
	})
}

func TestAddressOfADeletedContactIsFree(t *testing.T) {
	eachEngine(t, func(r *rig) {
		a := r.enter(1)
		r.do(crm.Delete{Contact: a})
		b := con(2)
		r.do(crm.Create{Contact: crm.Contact{Account: acc, ID: b.Contact, Email: crm.Identity{Value: "Canary1@Example.com"}}})
		err := r.refused(crm.CodeConflict, admin, byPerson, crm.Restore{Contact: a})
		text := err.Error() + err.(*crm.Error).Hint
		if !strings.Contains(text, b.Contact.String()) || strings.Contains(strings.ToLower(text), "canary1") {
			r.Errorf("the refusal says %q", text)
		}
		r.do(crm.SetIdentity{Contact: b, Name: "email", Value: "other@example.com"})
		r.do(crm.Restore{Contact: a})
		r.refused(crm.CodeConflict, admin, byPerson, crm.SetIdentity{Contact: b, Name: "email", Value: " CANARY1@example.com "})
		r.refused(crm.CodeConflict, admin, byPerson, crm.SetIdentity{Contact: b, Name: "phone", Value: "+49 (555) 000 001"})
	})
}

func TestEpochsGoUp(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		for i, m := range []crm.Mutation{crm.Delete{Contact: k}, crm.Restore{Contact: k}, crm.Delete{Contact: k}, crm.Restore{Contact: k}, crm.Delete{Contact: k}} {
			r.clock += crm.Hour
			r.do(m)
			l := r.life(k)
			if l.Epoch != uint64(i+1) || (l.State == crm.Deleted) != (i%2 == 0) || l.Since != r.clock || l.State == crm.Live && l.RestorableUntil != 0 {
				r.Errorf("after step %d: %+v", i, l)
			}
		}
		if l := r.life(k); l.RestorableUntil != r.clock+60*crm.Day || len(r.rows()["deadline"]) != 1 || len(r.rows()["manifest"]) != 3 || len(r.rows()["receipt"]) != 2 {
			r.Errorf("at last %+v, with %d deadlines", l, len(r.rows()["deadline"]))
		}
		for range 3 { // none of these makes sense now
			r.refused(crm.CodeDeleted, admin, byPerson, crm.Delete{Contact: k})
		}
		r.do(crm.Restore{Contact: k})
		r.refused(crm.CodeNotDeleted, admin, byPerson, crm.Restore{Contact: k})
		r.refused(crm.CodeNotDeleted, sweeper, byRetention, crm.Purge{Contact: k})
		r.refused(crm.CodeNotFound, admin, byPerson, crm.Delete{Contact: con(99)})
	})
}

func TestClockNeverGoesBack(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, late := r.enter(1), r.enter(2)
		r.clock += crm.Day + 999
		r.do(crm.AddTag{Contact: k, Tag: "x"})
		r.clock += crm.Second / 3 // sooner than the mark of the clock is stored again
		r.do(crm.AddTag{Contact: k, Tag: "y"})
		high := r.clock
		for i, back := range []crm.Nanos{1, crm.Second / 2, 4 * crm.Minute, crm.Hour} {
			r.clock = high - back
			if i%2 == 1 {
				r.reopen()
			}
			r.see(func(tx *store.Tx) error {
				if tx.Now() != high {
					r.Errorf("with the wall clock %d back the store's is %d back", back, high-tx.Now())
				}
				if err := tx.ClockHeld(); (crm.CodeOf(err) == crm.CodeHeldClock) != (back > 5*crm.Minute) {
					r.Errorf("with the wall clock %d back, ClockHeld says %v", back, err)
				}
				return nil
			})
		}
		r.do(crm.Delete{Contact: late})
		if got := r.life(late).RestorableUntil; got != high+60*crm.Day {
			r.Errorf("the deadline is %d early", high+60*crm.Day-got)
		}
	})
}
