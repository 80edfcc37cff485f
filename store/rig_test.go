package store_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
	"github.com/reprieve-run/reprieve/store/storetest"
)

var (
	ctx     = context.Background()
	acc     = crm.AccountID{1}
	admin   = crm.Actor{ID: "user:1", Role: crm.Admin}
	sweeper = crm.Actor{ID: "system:sweep", Role: crm.System}
	robot   = crm.Actor{ID: "workflow:w", Role: crm.System}

	byPerson    = crm.Cause{Kind: crm.ByPerson}
	byRetention = crm.Cause{Kind: crm.ByRetention}
	byWorkflow  = crm.Cause{Kind: crm.ByWorkflow, Workflow: "w", Depth: 1}

	news, club         = crm.ItemID{20, 1}, crm.ItemID{20, 2}
	drip, acme         = crm.ItemID{18, 1}, crm.ItemID{17, 1}
	soleDeal, joinDeal = crm.ItemID{16, 1}, crm.ItemID{16, 2}
)

// begin is when every rig's clock starts; it has a fraction, which no deadline may lose.
const begin = 1_700_000_000*crm.Second + 123_456_789

type ctxt = context.Context

// rig is a store on one engine, with an account, its objects, a workflow and a clock.
type rig struct {
	*testing.T
	eng   row.Engine
	s     *store.Store
	clock crm.Nanos
}

// eachEngine runs a test on the hostile engine and on the embedded one.
func eachEngine(t *testing.T, fn func(r *rig)) {
	t.Helper()
	t.Parallel()
	for name, open := range map[string]func(t *testing.T, now func() crm.Nanos) (row.Engine, error){
		"memory": func(_ *testing.T, now func() crm.Nanos) (row.Engine, error) {
			return storetest.NewMemory(storetest.MemoryOptions{Now: now, Seed: 5}), nil
		},
		"bolt": func(t *testing.T, now func() crm.Nanos) (row.Engine, error) {
			return bolt.Open(filepath.Join(t.TempDir(), "reprieve.db"), bolt.Options{Now: now, NoSync: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig{T: t, clock: begin}
			eng, err := open(t, func() crm.Nanos { return r.clock })
			if err != nil {
				t.Fatal(err)
			}
			r.eng = eng
			r.reopen()
			t.Cleanup(func() { _ = r.s.Close() })
			r.furnish()
			fn(r)
		})
	}
}

// reopen puts a new store on the engine, as a restart does.
func (r *rig) reopen() {
	s, err := store.New(ctx, r.eng, store.Options{Key: bytes.Repeat([]byte{9}, 32)})
	if err != nil {
		r.Fatal(err)
	}
	r.s = s
}

func (r *rig) furnish() {
	r.ok(func(tx *store.Tx) error {
		if err := tx.PutAccount(crm.Account{ID: acc, Policy: crm.DefaultPolicy()}); err != nil {
			return err
		}
		for _, o := range []crm.Object{
			{Kind: crm.List, ID: news, Name: "news"}, {Kind: crm.List, ID: club, Name: "club"}, {Kind: crm.Campaign, ID: drip, Name: "drip"},
			{Kind: crm.Company, ID: acme, Name: "acme"}, {Kind: crm.Opportunity, ID: soleDeal}, {Kind: crm.Opportunity, ID: joinDeal},
		} {
			o.Account = acc
			if err := tx.PutObject(admin, byPerson, o); err != nil {
				return err
			}
		}
		_, err := tx.ApplyWorkflow(admin, acc, "w", "r1", "w.yaml", []byte("x"), nil)
		return err
	})
}

func (r *rig) ok(fn func(tx *store.Tx) error) {
	r.Helper()
	if err := r.s.Update(ctx, fn); err != nil {
		r.Fatalf("update: %v", err)
	}
}

func (r *rig) see(fn func(tx *store.Tx) error) {
	r.Helper()
	if err := r.s.View(ctx, fn); err != nil {
		r.Fatalf("view: %v", err)
	}
}

// try applies mutations in one transaction.
func (r *rig) try(by crm.Actor, why crm.Cause, m ...crm.Mutation) error {
	return r.s.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Apply(by, why, m...)
		return err
	})
}

func (r *rig) do(m ...crm.Mutation) {
	r.Helper()
	if err := r.try(admin, byPerson, m...); err != nil {
		r.Fatalf("%T: %v", m[0], err)
	}
}

func (r *rig) refused(code string, by crm.Actor, why crm.Cause, m ...crm.Mutation) error {
	r.Helper()
	err := r.try(by, why, m...)
	if crm.CodeOf(err) != code {
		r.Errorf("%T by %s %s: %v has the code %q, not %q", m[len(m)-1], by.Role, why.Kind, err, crm.CodeOf(err), code)
	}
	return err
}

func con(n byte) crm.Key {
	return crm.Key{Account: acc, Contact: crm.ContactID{0xc0, 0xff, 0xee, 15: n}}
}

func note(k crm.Key, n byte) crm.ItemKey {
	return crm.ItemKey{Account: acc, Contact: k.Contact, Kind: crm.Note, ID: crm.ItemID{99, n}}
}

// enter makes a contact with one of everything.
func (r *rig) enter(n byte) crm.Key {
	r.Helper()
	k := con(n)
	r.do(crm.Create{Contact: crm.Contact{
		Account: acc, ID: k.Contact, Email: crm.Identity{Value: fmt.Sprintf("canary%d@example.com", n)},
		Phone: crm.Identity{Value: fmt.Sprintf("+49555000%03d", n)}, Tags: []crm.Tag{{Name: "CanaryTag"}},
		Fields: []crm.Field{{Name: "first_name", Value: crm.Text("CanaryName")}, {Name: "company", Value: crm.Text("CanaryFirm")}},
		Lists:  []crm.Membership{{List: news, Status: crm.Unsubscribed}, {List: club, Status: crm.Bounced}},
	}})
	r.do(crm.Connect{Contact: k, Kind: crm.Campaign, Object: drip}, crm.Connect{Contact: k, Kind: crm.Company, Object: acme},
		crm.Connect{Contact: k, Kind: crm.Opportunity, Object: joinDeal})
	for i, kind := range crm.RecordKinds {
		rec := crm.Record{Account: acc, Contact: k.Contact, Kind: kind, ID: crm.ItemID{byte(kind), n, byte(i)}, Title: "CanaryTitle"}
		if kind == crm.Message {
			rec.Parent = crm.ItemID{byte(crm.Conversation), n, byte(i - 1)}
		}
		r.do(crm.PutRecord{Record: rec})
	}
	return k
}

func (r *rig) life(k crm.Key) (l crm.Life) {
	r.Helper()
	r.see(func(tx *store.Tx) (err error) { l, err = tx.Life(k); return err })
	return l
}

func (r *rig) contact(k crm.Key) (c *crm.Contact) {
	r.Helper()
	r.see(func(tx *store.Tx) (err error) { c, _, err = tx.Peek(k); return err })
	return c
}

func (r *rig) count(name string) (n int64) {
	r.Helper()
	r.see(func(tx *store.Tx) (err error) { n, err = tx.Counter(acc, name); return err })
	return n
}

func (r *rig) receipt(k crm.Key) (rec *crm.Receipt) {
	r.Helper()
	r.see(func(tx *store.Tx) (err error) { rec, err = tx.LatestReceipt(k); return err })
	if rec == nil {
		r.Fatal("there is no receipt")
	}
	return rec
}

func outcome(rec *crm.Receipt, kind crm.ItemKind, id crm.ItemID) string {
	for _, it := range rec.Items {
		if it.Kind == kind && it.ID == id {
			return strings.TrimSpace(string(it.Outcome) + " " + string(it.Reason))
		}
	}
	return "missing"
}

// rows gives everything that is stored, table by table; the log is among the tables.
func (r *rig) rows() map[string]map[string]string {
	r.Helper()
	all := map[string]map[string]string{}
	err := r.eng.View(ctx, func(tx row.Tx) error {
		for _, s := range storetest.Subjects() {
			last := s.New()
			fill(reflect.ValueOf(last).Elem())
			got, err := s.Range(tx, s.New(), last, 0)
			if err != nil {
				return err
			}
			all[s.Name] = map[string]string{}
			for _, g := range got {
				b, err := codec.Marshal(g)
				if err != nil {
					return err
				}
				all[s.Name][s.Key(g)] = string(b)
			}
		}
		lines, _, err := tx.Next(ctx, "log", nil, 0)
		all["log"] = map[string]string{}
		for i, l := range lines {
			all["log"][fmt.Sprint(i)] = string(l)
		}
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return all
}

// fill sets what keys are made of to the highest there is.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(1<<v.Type().Bits() - 1)
	case reflect.Int64:
		v.SetInt(1<<63 - 1)
	case reflect.String:
		v.SetString("\xff\xff")
	}
}

// start starts a run of w for a contact by the last event of the log that may start one for it.
func (r *rig) start(k crm.Key) crm.Run {
	r.Helper()
	r.do(crm.SetField{Contact: k, Name: "go", Value: crm.Text(fmt.Sprint(r.clock, r.contact(k).Rev))})
	var run crm.Run
	entitled := r.entitled(k)
	r.ok(func(tx *store.Tx) (err error) {
		var ok bool
		if run, ok, err = tx.StartRun(order(k, entitled)); !ok {
			r.Error("no run started")
		}
		return err
	})
	return run
}

func order(k crm.Key, by crm.Entitled) store.Start {
	return store.Start{Entitled: by, Over: crm.OnlyLive, Workflow: "w", Revision: "r1", Trigger: "t", KeyHash: [32]byte{k.Contact[15]}, Step: "first"}
}

// entitled gives the last event of the log that may start a run for the contact now.
func (r *rig) entitled(k crm.Key) (te crm.TriggerEvent) {
	r.Helper()
	r.see(func(tx *store.Tx) error {
		events, _, err := tx.Events(nil, 0)
		if err != nil {
			return err
		}
		life, err := tx.Life(k)
		for _, e := range events {
			if ev, ok := e.Event.Trigger(life); ok && e.Event.Contact == k.Contact {
				te = ev
			}
		}
		return err
	})
	return te
}

// wait commits a turn of a run that leaves it waiting until the given instant.
func (r *rig) wait(run crm.Run, until crm.Nanos) crm.Run {
	r.Helper()
	next := run
	next.Status, next.Due = crm.RunWaiting, until
	r.ok(func(tx *store.Tx) error { return tx.CommitRun(store.Advanced{Was: run, Run: next}) })
	return r.run(run.ID)
}

func (r *rig) run(id crm.RunID) (run crm.Run) {
	r.Helper()
	r.see(func(tx *store.Tx) error {
		got, err := tx.Run(id)
		if got != nil {
			run = *got
		}
		return err
	})
	return run
}
