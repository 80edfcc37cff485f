package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/workflow"
)

// The workflows: one that waits, for runs that hang on the contacts, and one that deletes at once.
const (
	waiting = `version: 1
id: nurture
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Nurture"}
steps:
  - {id: pause, wait: 14d}
  - {id: mark, action: contact.tag, with: {add: [Nurtured]}}
end: true
`
	deleting = `version: 1
id: cleanup
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Unsubscribed"}
steps:
  - {id: remove, action: contact.delete, with: {reason: unsubscribed}}
end: true
`
)

var (
	admin  = crm.Actor{ID: "user:bench", Role: crm.Admin}
	person = crm.Cause{Kind: crm.ByPerson}
	master = bytes.Repeat([]byte{7}, 32)
)

// base is a store's file with contacts, which each round starts from a copy of.
type base struct {
	path     string
	acc      crm.AccountID
	list     crm.ItemID
	contacts []crm.Key // in the order of their ids
}

// subject is the store under test.
type subject struct {
	*store.Store
	eng   *bolt.Engine
	ahead atomic.Int64 // how far its clock is ahead of the wall's
}

// openStore opens a file as the product does; a still clock gives the same instant always.
func openStore(ctx context.Context, path string, noSync bool, rnd *rand.ChaCha8) (_ *subject, err error) {
	s := &subject{}
	s.eng, err = bolt.Open(path, bolt.Options{NoSync: noSync, Now: func() crm.Nanos {
		return crm.At(time.Now()) + crm.Nanos(s.ahead.Load())
	}})
	if err != nil {
		return nil, err
	}
	o := store.Options{Key: master}
	if rnd != nil {
		o.Rand = rnd
	}
	if s.Store, err = store.New(ctx, s.eng, o); err != nil {
		return nil, errors.Join(err, s.eng.Close())
	}
	return s, nil
}

// makeBase makes a store of n contacts with three tags and a list each; every second one has a run
// that waits for 14 days if runs is set.
func makeBase(ctx context.Context, path string, n int, runs bool) (_ *base, err error) {
	rnd := rand.NewChaCha8([32]byte{1})
	s, err := openStore(ctx, path, true, rnd)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b := &base{path: path}
	if err := s.Update(ctx, func(tx *store.Tx) error { return b.account(tx, rnd) }); err != nil {
		return nil, err
	}
	for i := 0; i < n; i += 1000 {
		err := s.Update(ctx, func(tx *store.Tx) error {
			b.contacts = b.contacts[:i]
			return b.people(tx, min(1000, n-i), runs)
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(b.contacts, func(a, b crm.Key) int { return bytes.Compare(a.Contact[:], b.Contact[:]) })
	return b, nil
}

func (b *base) account(tx *store.Tx, rnd *rand.ChaCha8) error {
	id, err := crm.NewID[crm.AccountKind](tx.Now(), rnd)
	if err != nil {
		return err
	}
	b.acc = id
	if b.list, err = tx.NewItemID(); err != nil {
		return err
	}
	policy := crm.DefaultPolicy()
	policy.Delete.Limits = crm.Limits{} // a bench deletes more than anybody should
	if err := tx.PutAccount(crm.Account{ID: b.acc, Name: "bench", CreatedAt: tx.Now(), Policy: policy}); err != nil {
		return err
	}
	if err := tx.PutObject(crm.Actor{ID: "user:bench", Role: crm.Admin}, crm.Cause{Kind: crm.ByPerson}, crm.Object{Account: b.acc, Kind: crm.List, ID: b.list, Name: "News"}); err != nil {
		return err
	}
	for _, src := range []string{waiting, deleting} {
		def, err := workflow.Parse("bench.yaml", []byte(src))
		if err != nil {
			return err
		}
		if _, err := tx.ApplyWorkflow(admin, b.acc, def.ID, def.Revision, def.File, def.Source, []string{"contact.delete"}); err != nil {
			return err
		}
	}
	return nil
}

// people makes contacts, in the order in which their ids sort.
func (b *base) people(tx *store.Tx, n int, runs bool) error {
	for range n {
		i := len(b.contacts)
		id, err := tx.NewContactID()
		if err != nil {
			return err
		}
		c := crm.Contact{
			Account: b.acc, ID: id,
			Email: crm.Identity{Value: fmt.Sprintf("person%d@example.org", i)}, Phone: crm.Identity{Value: fmt.Sprintf("+1555%07d", i)},
			Tags:  []crm.Tag{{Name: "Customer"}, {Name: "Newsletter"}, {Name: fmt.Sprintf("Batch %d", i%50)}},
			Lists: []crm.Membership{{List: b.list, Status: crm.Subscribed}},
			Fields: []crm.Field{
				{Name: "company", Value: crm.Text("Example and Sons")}, {Name: "first_name", Value: crm.Text("Alex")},
				{Name: "last_name", Value: crm.Text(fmt.Sprintf("Person %d", i))}, {Name: "source", Value: crm.Text("import")},
			},
		}
		events, err := tx.Apply(admin, person, crm.Create{Contact: c})
		if err != nil {
			return err
		}
		b.contacts = append(b.contacts, c.Key())
		if runs && i%2 == 0 {
			if err := b.wait(tx, events[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait starts a run that the event entitles to, and has it wait.
func (b *base) wait(tx *store.Tx, ev crm.Event) error {
	entitled, ok := ev.Trigger(crm.Life{Account: ev.Account, Contact: ev.Contact})
	w, err := tx.Workflow(b.acc, "nurture")
	if !ok || err != nil {
		return errors.Join(errors.New("bench: a new contact entitles nothing"), err)
	}
	r, started, err := tx.StartRun(store.Start{Entitled: entitled, Over: crm.OnlyLive, Workflow: w.ID, Revision: w.Active,
		Trigger: "tagged", KeyHash: [32]byte(append(ev.Contact[:], ev.Contact[:]...)), Step: "pause"})
	if err != nil || !started {
		return errors.Join(errors.New("bench: a run did not start"), err)
	}
	next := r
	next.Status, next.Due = crm.RunWaiting, tx.Now()+14*crm.Day
	return tx.CommitRun(store.Advanced{Was: r, Run: next})
}

// sizes gives the numbers of contacts whose lives were moved by one transaction each, in order.
func (s *subject) sizes(ctx context.Context, contacts []crm.Key) (sizes []int, err error) {
	at := map[crm.Nanos]int{}
	err = s.View(ctx, func(tx *store.Tx) error {
		for _, k := range contacts {
			l, err := tx.Life(k)
			if err != nil {
				return err
			}
			at[l.Since]++
		}
		return nil
	})
	var instants []crm.Nanos
	for t := range at {
		instants = append(instants, t)
	}
	slices.Sort(instants)
	for _, t := range instants {
		sizes = append(sizes, at[t])
	}
	return sizes, err
}

// count checks that work was done: a counter of the account is what it must be.
func (s *subject) count(ctx context.Context, acc crm.AccountID, name string, want int) error {
	return s.View(ctx, func(tx *store.Tx) error {
		n, err := tx.Counter(acc, name)
		if err == nil && n != int64(want) {
			err = fmt.Errorf("bench: %s is %d, not %d: the measured work was not done", name, n, want)
		}
		return err
	})
}
