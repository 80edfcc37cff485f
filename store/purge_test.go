package store_test

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/store/internal/row"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// fullLife gives a contact a row in as many tables as it can have one.
func (r *rig) fullLife(n byte) crm.Key {
	k := r.enter(n)
	r.do(crm.Connect{Contact: k, Kind: crm.Opportunity, Object: soleDeal})
	r.wait(r.start(k), r.clock+crm.Day)
	r.do(crm.Delete{Contact: k}, crm.Restore{Contact: k})
	run := r.start(k)
	done := run
	done.Status = crm.RunCompleted
	r.ok(func(tx *store.Tx) error {
		return tx.CommitRun(store.Advanced{Was: run, Run: done, Steps: []crm.StepRecord{
			{Run: run.ID, Path: "first", Status: store.StepDone, At: r.clock, Output: []byte(`"CanaryOutput"`), Input: []byte(`"CanaryInput"`),
				Message: "CanaryMessage", Contact: k.Contact, Account: acc}}})
	})
	r.wait(r.start(k), r.clock+crm.Day)
	r.ok(func(tx *store.Tx) error {
		return tx.Suppress(crm.Suppressed{Account: acc, Contact: k.Contact, Epoch: 2, Trigger: "w/t", Refusal: crm.RefusedQuiet, At: r.clock})
	})
	return k
}

// TestS1_10_PurgeLeavesNothing walks through every table for the contact's id.
func TestS1_10_PurgeLeavesNothing(t *testing.T) {
	eachEngine(t, func(r *rig) {
		other := r.enter(2)
		before := r.rows()
		k := r.fullLife(1)
		id, there := string(k.Contact[:]), []string{"contact", "life", "identity", "member", "manifest", "receipt", "suppressed", "record", "link", "object", "run", "runkey", "timer", "step"}
		mentions := func() (tables []string) {
			for table, rows := range r.rows() {
				for key, val := range rows {
					if strings.Contains(key+val, id) || table == "step" || table == "runkey" {
						tables = append(tables, table)
						break
					}
				}
			}
			return tables
		}
		got := mentions()
		for _, table := range there {
			if !slices.Contains(got, table) {
				r.Errorf("the test proves nothing for the table %s", table)
			}
		}
		r.do(crm.Delete{Contact: k})
		r.clock = r.life(k).RestorableUntil
		if err := r.try(sweeper, byRetention, crm.Purge{Contact: k}); err != nil {
			r.Fatal(err)
		}
		r.ok(func(tx *store.Tx) error { // what comes too late
			return tx.Suppress(crm.Suppressed{Account: acc, Contact: k.Contact, Epoch: 5, Trigger: "w/t"})
		})
		if _, err := r.s.LedgerTail(ctx, func([]crm.Erasure) error { return nil }); err != nil { // else the line waits in the store
			r.Fatal(err)
		}
		got = mentions()
		slices.Sort(got)
		if !slices.Equal(got, []string{"life", "log"}) {
			r.Errorf("the purged contact is still in %v", got)
		}
		if l := r.life(k); l.Last == 0 || !reflect.DeepEqual(l, crm.Life{Account: acc, Contact: k.Contact, State: crm.Purged, Epoch: 4, Since: r.clock, Last: l.Last}) {
			r.Errorf("the life is %+v", l)
		}
		after := r.rows()
		for _, table := range []string{"contact", "identity", "member", "record", "link", "object"} {
			if table == "object" { // the sole opportunity went, the joint one has its other contact
				if len(after[table]) != len(before[table])-1 {
					r.Errorf("%d objects, there were %d", len(after[table]), len(before[table]))
				}
			} else if !maps.Equal(after[table], before[table]) {
				r.Errorf("the table %s is not as it was before the contact came", table)
			}
		}
		if r.count(store.CountLive) != 1 || r.count(store.CountDeleted) != 0 || r.count(store.CountPurged) != 1 || r.count(store.CountOf(news)) != 1 || r.count(store.CountOf(drip)) != 1 {
			r.Error("the counters are wrong")
		}
		if r.contact(other) == nil {
			r.Error("the other contact is gone")
		}
		r.refused(crm.CodePurged, admin, byPerson, crm.Create{Contact: crm.Contact{Account: acc, ID: k.Contact}})
		r.refused(crm.CodePurged, admin, byPerson, crm.Restore{Contact: k})
	})
}

func TestPurgedPayloadsAreUnreadableAndTheChainHolds(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.fullLife(1)
		images := func() (n int) {
			r.see(func(tx *store.Tx) error {
				events, _, err := tx.Events(nil, 0)
				for _, e := range events {
					if e.Event.Contact == k.Contact && e.Event.After != nil {
						n++
					}
				}
				return err
			})
			return n
		}
		if images() == 0 {
			r.Error("no image can be read of a live contact")
		}
		r.do(crm.Purge{Contact: k, Erasure: true})
		if n := images(); n != 0 {
			r.Errorf("%d images can still be read", n)
		}
		n, _, err := r.s.VerifyLog(ctx)
		if err != nil || int(n) != len(r.rows()["log"]) {
			r.Errorf("%d entries: %v", n, err)
		}
	})
}

func TestErasureOfALiveContact(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.fullLife(1)
		r.do(crm.Purge{Contact: k, Erasure: true})
		for _, name := range []string{store.CountLive, store.CountDeleted, store.CountOf(news), store.CountOf(club), store.CountOf(drip)} {
			if n := r.count(name); n != 0 {
				r.Errorf("%s counts %d", name, n)
			}
		}
		if l := r.life(k); l.State != crm.Purged || l.Epoch != 3 {
			r.Errorf("the life is %+v", l)
		}
	})
}

var canaries = []string{"canary", "Canary", "CANARY", "555000", "clean-up"}

// TestNoPersonalDataOutside looks for what is personal in every row but those that may hold it.
func TestNoPersonalDataOutside(t *testing.T) {
	eachEngine(t, func(r *rig) {
		k := r.fullLife(1)
		r.do(crm.AddTag{Contact: k, Tag: "CanaryTwo"}, crm.SetDND{Contact: k, Channel: "canaries", On: true}, crm.SetIdentity{Contact: k, Name: "email", Value: "CANARY9@x.y"})
		r.do(crm.Delete{Contact: k}, crm.Restore{Contact: k}, crm.Hold{Contact: k, On: true, Reason: "Canary v. Canary"}, crm.Hold{Contact: k}, crm.Delete{Contact: k})
		r.do(crm.Hold{Contact: k, On: true, Reason: "Canary v. Canary"})
		r.ok(func(tx *store.Tx) error {
			_, _, err := tx.Receive(admin, acc, crm.NamedIdentity{Name: "email", Value: "canary9@x.y"}, crm.Record{Kind: crm.Conversation, ID: crm.ItemID{77}, Title: "Canary"})
			return err
		})
		for table, rows := range r.rows() {
			found := false
			for key, val := range rows {
				for _, c := range canaries {
					found = found || strings.Contains(key+val, c)
				}
			}
			if may := table == "contact" || table == "record" || table == "inbound"; found != may {
				r.Errorf("the table %s holds personal data: %v", table, found)
			}
		}
	})
}

func TestLogAndIndexesSurviveARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "reprieve.db")
	r := &rig{T: t, clock: begin}
	open := func() {
		eng, err := bolt.Open(path, bolt.Options{Now: func() crm.Nanos { return r.clock }})
		if err != nil {
			t.Fatal(err)
		}
		r.eng = eng
		r.reopen()
	}
	open()
	r.furnish()
	k := r.fullLife(1)
	want := r.rows()
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
	open()
	defer r.s.Close()
	for table, rows := range r.rows() {
		if !maps.Equal(rows, want[table]) {
			t.Errorf("the table %s is not what it was", table)
		}
	}
	if !r.entitled(k).Valid() || r.contact(k).Email.Value != "canary1@example.com" {
		t.Error("sealed payloads or identities cannot be read after a restart")
	}
	if _, err := store.New(ctx, r.eng, store.Options{Key: make([]byte, 32)}); crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("another master key gave %v", err)
	}
}

// TestTamperingIsFound changes one line of the log at a time, on its way to the engine, and the end.
func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]func([][]byte) [][]byte{
		"a changed bit":      func(l [][]byte) [][]byte { l[3][len(l[3])/2] ^= 1; return l },
		"a line left out":    func(l [][]byte) [][]byte { return slices.Delete(l, 3, 4) },
		"lines swapped":      func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l },
		"the end cut off":    func(l [][]byte) [][]byte { return l[:len(l)-1] },
		"a line added":       func(l [][]byte) [][]byte { return append(l, l[0]) },
		"a line of another":  func(l [][]byte) [][]byte { l[3] = l[2]; return l },
		"everything is gone": func([][]byte) [][]byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig{T: t, clock: begin}
			r.eng = storetest.NewMemory(storetest.MemoryOptions{Now: func() crm.Nanos { return r.clock }})
			r.reopen()
			r.furnish()
			r.enter(1)
			if _, _, err := r.s.VerifyLog(ctx); err != nil {
				t.Fatal(err)
			}
			r.eng = forged{r.eng, tamper}
			r.reopen()
			if _, _, err := r.s.VerifyLog(ctx); crm.CodeOf(err) != crm.CodeCorrupt {
				t.Errorf("verify says %v", err)
			}
		})
	}
}

// forged is an engine whose log was changed behind the store's back.
type forged struct {
	row.Engine
	tamper func([][]byte) [][]byte
}

func (f forged) View(c ctxt, fn func(row.Tx) error) error {
	return f.Engine.View(c, func(tx row.Tx) error { return fn(forgedTx{tx, f.tamper}) })
}

type forgedTx struct {
	row.Tx
	tamper func([][]byte) [][]byte
}

func (f forgedTx) Next(c ctxt, log string, after []byte, n int) ([][]byte, []byte, error) {
	if after != nil {
		return nil, after, nil
	}
	rows, cursor, err := f.Tx.Next(c, log, nil, 0)
	return f.tamper(rows), cursor, err
}
