package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func TestS2_18_DeletedIsOutOfListsCampaignsAndSearches(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, other := r.enter(1), r.enter(2)
		r.do(crm.Delete{Contact: k})
		for name, want := range map[string]int64{
			store.CountOf(news): 1, store.CountOf(club): 1, store.CountOf(drip): 1, store.CountLive: 1, store.CountDeleted: 1,
		} {
			if got := r.count(name); got != want {
				r.Errorf("%s counts %d, want %d", name, got, want)
			}
		}
		r.see(func(tx *store.Tx) error {
			if _, _, err := tx.Contact(k, crm.OnlyLive); crm.CodeOf(err) != crm.CodeDeleted {
				r.Errorf("a read of a deleted contact: %v", err)
			}
			for _, q := range []crm.Query{{}, {List: news}, {Where: crm.Filter{Op: crm.FilterTag, Name: "canarytag"}}} {
				q.Account, q.State = acc, crm.OnlyLive
				var seen []crm.Key
				err := tx.ScanAll(q, func(c *crm.Contact, _ *crm.Life) bool { seen = append(seen, c.Key()); return true })
				if err != nil || !slices.Equal(seen, []crm.Key{other}) {
					r.Errorf("%+v shows %v (%v)", q, seen, err)
				}
			}
			keys, err := tx.Find(acc, "email", " CANARY1@example.com", crm.OnlyLive)
			if len(keys) != 0 {
				r.Error("a deleted contact is found by its address")
			}
			if keys, _ = tx.Find(acc, "phone", "+49 555 000-001", crm.OnlyDeleted); !slices.Equal(keys, []crm.Key{k}) {
				r.Errorf("among the deleted, %v is found", keys)
			}
			return err
		})
		for _, m := range []crm.Mutation{crm.AddTag{Contact: k, Tag: "x"}, crm.Delete{Contact: k},
			crm.PutRecord{Record: crm.Record{Account: acc, Contact: k.Contact, Kind: crm.Note, ID: crm.ItemID{9}}},
			crm.DeleteRecord{Record: note(k, 1)}, crm.Connect{Contact: k, Kind: crm.Company, Object: acme}} {
			r.refused(crm.CodeDeleted, admin, byPerson, m)
		}
	})
}

// TestDeleteTouchesLittle holds a delete to what it may write, byte for byte, whatever hangs on the contact.
func TestDeleteTouchesLittle(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		r.wait(r.start(k), r.clock+crm.Day)
		r.clock += crm.Minute
		before := r.rows()
		r.do(crm.Delete{Contact: k})
		after := r.rows()
		may := []string{"life", "deadline", "manifest", "counter", "mark", "log"}
		for table := range after {
			if changed := !maps.Equal(before[table], after[table]); changed != slices.Contains(may, table) {
				r.Errorf("the table %s has changed: %v", table, changed)
			}
		}
		if n := len(after["log"]) - len(before["log"]); n != 1 {
			r.Errorf("%d lines were logged", n)
		}
	})
}

func TestManifestListsExactlyWhatWasTaken(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, other := r.enter(1), r.enter(2)
		run := r.start(k)
		r.do(crm.Connect{Contact: k, Kind: crm.Opportunity, Object: soleDeal})
		r.do(crm.PutRecord{Record: crm.Record{Account: acc, Contact: k.Contact, Kind: crm.Note, ID: note(k, 7).ID, Title: "gone"}})
		r.do(crm.DeleteRecord{Record: note(k, 7)})
		r.do(crm.Delete{Contact: k, Reason: "clean-up"})
		want := map[string]bool{
			"list/news/detached": true, "list/club/detached": true, "campaign/drip/interrupted": true, "company/acme/detached": true,
			"workflow_run/w/interrupted": true, "opportunity//detached": true, "opportunity//taken": true,
		}
		for _, kind := range crm.RecordKinds {
			want[kind.String()+"/CanaryTitle/taken"] = true
		}
		r.see(func(tx *store.Tx) error {
			m, err := tx.Manifest(k, 1)
			if err != nil {
				return err
			}
			got := map[string]bool{}
			for _, it := range m.Items {
				got[fmt.Sprintf("%s/%s/%s", it.Kind, it.Name, it.Fate)] = true
				if it.Kind == crm.WorkflowRun && crm.RunID(it.ID) != run.ID {
					r.Error("another run is in the manifest")
				}
			}
			if !maps.Equal(got, want) || len(m.Items) != len(want) {
				r.Errorf("the manifest has\n%v, want\n%v", got, want)
			}
			if m.By != admin || m.Reason != "clean-up" || m.At != r.clock || m.RestorableUntil != r.clock+60*crm.Day {
				r.Errorf("the manifest says %+v", m)
			}
			if none, err := tx.Manifest(other, 1); none != nil || err != nil {
				r.Errorf("a live contact has a manifest %v (%v)", none, err)
			}
			return err
		})
	})
}

func TestS3_16_OpportunitiesFollowTheirContacts(t *testing.T) {
	eachEngine(t, func(r *rig) {
		a, b := r.enter(1), r.enter(2)
		r.do(crm.Connect{Contact: a, Kind: crm.Opportunity, Object: soleDeal, Primary: true})
		live := func(sole, joint bool) {
			r.Helper()
			r.see(func(tx *store.Tx) error {
				for id, want := range map[crm.ItemID]bool{soleDeal: sole, joinDeal: joint} {
					o, err := tx.Object(crm.ObjectKey{Account: acc, Kind: crm.Opportunity, ID: id})
					if err != nil {
						return err
					}
					if got, err := tx.OpportunityLive(o); err != nil || got != want {
						r.Errorf("%s is live: %v, want %v (%v)", id, got, want, err)
					}
				}
				return nil
			})
		}
		live(true, true)
		r.do(crm.Delete{Contact: a})
		live(false, true)
		r.do(crm.Delete{Contact: b})
		live(false, false)
		r.do(crm.Restore{Contact: b})
		live(false, true)
		r.do(crm.Restore{Contact: a})
		live(true, true)
		for k, deal := range map[crm.Key]crm.ItemID{a: soleDeal, b: joinDeal} {
			if got := outcome(r.receipt(k), crm.Opportunity, deal); got != "restored" {
				r.Errorf("the receipt says %s", got)
			}
		}
		r.do(crm.Purge{Contact: a, Erasure: true})
		r.see(func(tx *store.Tx) error {
			gone, err := tx.Object(crm.ObjectKey{Account: acc, Kind: crm.Opportunity, ID: soleDeal})
			kept, err2 := tx.Object(crm.ObjectKey{Account: acc, Kind: crm.Opportunity, ID: joinDeal})
			if err != nil || err2 != nil || gone != nil || !slices.Equal(kept.Contacts, []crm.ContactID{b.Contact}) {
				r.Errorf("after the purge: %v, %v", gone, kept)
			}
			return nil
		})
	})
}

var errTried = errors.New("only tried")

func TestHoldForbids(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		r.do(crm.Hold{Contact: k, On: true})
		r.refused(crm.CodeHeld, admin, byPerson, crm.Delete{Contact: k})
		r.refused(crm.CodeHeld, admin, byPerson, crm.Purge{Contact: k, Erasure: true})
		r.do(crm.Hold{Contact: k})
		r.do(crm.Delete{Contact: k})
		r.do(crm.Hold{Contact: k, On: true})
		r.clock = r.life(k).RestorableUntil
		r.refused(crm.CodeHeld, sweeper, byRetention, crm.Purge{Contact: k})
		r.refused(crm.CodeHeld, admin, byPerson, crm.Purge{Contact: k, Erasure: true})
		r.do(crm.Hold{Contact: k})
		if err := r.try(sweeper, byRetention, crm.Purge{Contact: k}); err != nil {
			r.Error(err)
		}
		r.refused(crm.CodePurged, admin, byPerson, crm.Hold{Contact: k, On: true})
	})
}

// TestS2_1_OnlyWhoMay goes through every role and every verb.
func TestS2_1_OnlyWhoMay(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k, gone := r.enter(1), r.enter(2)
		r.do(crm.Delete{Contact: gone})
		verbs := map[string]crm.Mutation{
			"delete": crm.Delete{Contact: k}, "restore": crm.Restore{Contact: gone}, "purge": crm.Purge{Contact: gone},
			"erase": crm.Purge{Contact: k, Erasure: true}, "hold": crm.Hold{Contact: k, On: true}, "write": crm.AddTag{Contact: k, Tag: "x"},
		}
		all := []string{"delete", "restore", "purge", "erase", "hold", "write"}
		for _, c := range []struct {
			by     crm.Actor
			why    crm.Cause
			grants []string
			may    []string
		}{
			{admin, byPerson, nil, all},
			{crm.Actor{ID: "o", Role: crm.Operator}, byPerson, nil, []string{"write"}},
			{crm.Actor{ID: "a", Role: crm.Agent}, byPerson, nil, []string{"write"}},
			{crm.Actor{ID: "v", Role: crm.Viewer}, byPerson, nil, nil},
			{crm.Actor{ID: "n"}, byPerson, nil, nil},
			{crm.Actor{ID: "o", Role: crm.Operator}, byRetention, nil, []string{"write"}},
			{sweeper, byRetention, nil, []string{"purge"}},
			{sweeper, byPerson, nil, nil},
			{robot, byWorkflow, nil, []string{"write"}},
			{robot, byWorkflow, []string{"contact.delete", "contact.purge"}, []string{"write", "delete", "purge"}},
			{robot, byWorkflow, []string{"contact.purge:erasure", "contact.restore", "contact.hold"}, all},
		} {
			r.ok(func(tx *store.Tx) error {
				_, err := tx.ApplyWorkflow(admin, acc, "w", "r1", "", nil, c.grants)
				return err
			})
			for name, m := range verbs {
				err := r.s.Update(ctx, func(tx *store.Tx) error {
					_, err := tx.Apply(c.by, c.why, m)
					return errors.Join(err, errTried) // so that nothing is committed
				})
				want := slices.Contains(c.may, name)
				if denied := crm.CodeOf(err) == crm.CodeDenied || crm.CodeOf(err) == crm.CodeNoGrant; denied == want {
					r.Errorf("%s, %s, %v: %s gave %v", c.by.Role, c.why.Kind, c.grants, name, err)
				}
			}
		}
	})
}

func TestOneRefusedOfSeveralCommitsNothing(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.enter(1)
		before := r.rows()
		r.refused(crm.CodeDeleted, admin, byPerson, crm.AddTag{Contact: k, Tag: "x"}, crm.Delete{Contact: k}, crm.AddTag{Contact: k, Tag: "y"})
		err := r.s.Update(ctx, func(tx *store.Tx) error { // and a caller that goes on all the same
			_, _ = tx.Apply(admin, byPerson, crm.AddTag{Contact: k, Tag: "x"}, crm.Restore{Contact: k})
			_, _ = tx.Apply(admin, byPerson, crm.AddTag{Contact: k, Tag: "z"})
			return nil
		})
		if crm.CodeOf(err) != crm.CodeNotDeleted {
			r.Errorf("a broken transaction gave %v", err)
		}
		for table, was := range r.rows() {
			if !maps.Equal(was, before[table]) {
				r.Errorf("the table %s has changed", table)
			}
		}
		r.ok(func(tx *store.Tx) error { // one refused alone leaves the transaction usable
			if _, err := tx.Apply(admin, byPerson, crm.Restore{Contact: k}); crm.CodeOf(err) != crm.CodeNotDeleted {
				r.Errorf("a refused restore gave %v", err)
			}
			_, err := tx.Apply(admin, byPerson, crm.AddTag{Contact: k, Tag: "z"})
			return err
		})
		if !r.contact(k).HasTag("z") {
			r.Error("the tag is missing")
		}
	})
}

// TestCreateKeepsOneForm creates from what an import may bring and reads it as later writes would.
func TestCreateKeepsOneForm(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := con(1)
		r.do(crm.Create{Contact: crm.Contact{Account: acc, ID: k.Contact, CreatedAt: 5, Rev: 99, Email: crm.Identity{Value: " a@b.c "},
			Tags:   []crm.Tag{{Name: "VIP", Rev: 7}, {Name: " vip "}, {Name: ""}},
			Fields: []crm.Field{{Name: "zip", Value: crm.Text("1")}, {Name: "age", Value: crm.Number(2)}, {Name: "zip", Value: crm.Text("3")}},
			Lists:  []crm.Membership{{List: news, Status: crm.Subscribed, Since: 3}, {List: news, Status: crm.Subscribed}},
			DND:    []crm.Channel{{Name: "SMS", On: true}}}})
		c := r.contact(k)
		if c.Field("zip").Text != "3" || c.Field("age").Number != 2 || len(c.Fields) != 2 {
			r.Errorf("the fields are %v", c.Fields)
		}
		if len(c.Tags) != 1 || c.Tags[0] != (crm.Tag{Name: "VIP", Rev: 1}) || c.Rev != 1 || c.CreatedAt != 5 || c.Email != (crm.Identity{Value: "a@b.c", Rev: 1}) {
			r.Errorf("the contact is %+v", c)
		}
		if m := c.Membership(news); m == nil || m.Since != 3 || r.count(store.CountOf(news)) != 1 || !c.OnDND("sms") {
			r.Errorf("the membership is %v, news counts %d", m, r.count(store.CountOf(news)))
		}
		for _, status := range []crm.Status{"member"} {
			r.refused(crm.CodeInvalid, admin, byPerson, crm.Create{Contact: crm.Contact{Account: acc, ID: con(2).Contact, Lists: []crm.Membership{{List: news, Status: status}}}})
		}
		r.refused(crm.CodeNotFound, admin, byPerson, crm.Create{Contact: crm.Contact{Account: acc, ID: con(2).Contact, Lists: []crm.Membership{{List: drip, Status: crm.Subscribed}}}})
		r.refused(crm.CodeConflict, admin, byPerson, crm.Create{Contact: crm.Contact{Account: acc, ID: con(2).Contact, Email: crm.Identity{Value: "A@B.C"}}})
		r.refused(crm.CodeConflict, admin, byPerson, crm.Create{Contact: crm.Contact{Account: acc, ID: k.Contact}})
	})
}
