package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// CheckModel runs random programs on fresh stores and compares each with the model after every step.
// The number of programs is rapid's; a long campaign is, say,
//
//	go test ./store -run Model -rapid.checks=20000 -rapid.nofailfile
func CheckModel(t *testing.T, open func(now func() crm.Nanos) *store.Store) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.IntRange(1, 60).Draw(rt, "steps")
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "choice") }
		if err := RunModel(choose, steps, open); err != nil {
			rt.Fatal(err)
		}
	})
}

// Seeded gives the choices of one random program, the same for the same seed.
func Seeded(seed uint64) func(n int) int { return rand.New(rand.NewPCG(seed, 0x0de1)).IntN }

// program is a model, a store beside it, and the choices that drive both.
type program struct {
	model
	choose func(n int) int
	s      *store.Store
	cursor []byte
	told   int // events of the outbox that were dispatched
	ids    uint64
	at     int // the step of the program
}

var (
	boss     = crm.Actor{ID: "user:1", Role: crm.Admin}
	sweeper  = crm.Actor{ID: "system:sweep", Role: crm.System}
	byHand   = crm.Cause{Kind: crm.ByPerson}
	bySweep  = crm.Cause{Kind: crm.ByRetention}
	tenant   = id[crm.AccountID](1)
	granted  = []string{"contact.delete", "contact.restore", "contact.purge"}
	revision = "r1"
)

// RunModel runs one program of so many steps on a fresh store that shows the clock that open is
// given. choose(n) decides with a number below n. It returns the first *Violation, or an error of the
// store itself.
func RunModel(choose func(n int) int, steps int, open func(now func() crm.Nanos) *store.Store) error {
	p := &program{choose: choose}
	p.clock = 1_000_000*crm.Second + crm.Nanos(choose(1_000_000_000))
	p.s = open(func() crm.Nanos { return p.clock })
	if err := p.setUp(); err != nil {
		return err
	}
	for p.at = 1; p.at <= steps; p.at++ {
		if err := p.act(); err != nil {
			return err
		}
		if err := p.compare(); err != nil {
			return err
		}
	}
	_, _, err := p.s.VerifyLog(context.Background())
	return err
}

func (p *program) setUp() error {
	p.lists = []crm.ItemID{id[crm.ItemID](1), id[crm.ItemID](2)}
	return p.update(func(tx *store.Tx) error {
		policy := crm.DefaultPolicy()
		policy.Retention.Window = window
		err := tx.PutAccount(crm.Account{ID: tenant, Policy: policy})
		for _, l := range p.lists {
			err = errors.Join(err, tx.PutObject(boss, byHand, crm.Object{Account: tenant, Kind: crm.List, ID: l, Name: "list"}))
		}
		for _, w := range []string{"every", "nightly", "missing", "blind"} {
			_, werr := tx.ApplyWorkflow(boss, tenant, w, revision, "", nil, granted)
			err = errors.Join(err, werr)
		}
		return err
	})
}

func (p *program) update(fn func(*store.Tx) error) error {
	err := p.s.Update(context.Background(), fn)
	if err == nil {
		p.high = p.now()
	}
	return err
}

func (p *program) view(fn func(*store.Tx) error) error { return p.s.View(context.Background(), fn) }

func (p *program) violation(promise, format string, args ...any) error {
	return &Violation{promise, p.at, fmt.Sprintf(format, args...)}
}

// act takes one step.
func (p *program) act() error {
	if len(p.contacts) == 0 {
		return p.enter()
	}
	c := p.contacts[p.choose(len(p.contacts))]
	switch n := p.choose(40); {
	case n < 3:
		return p.enter()
	case n < 12:
		return p.change(c)
	case n < 17:
		return p.mutate(boss, byHand, crm.Delete{Contact: c.key})
	case n < 21:
		return p.mutate(boss, byHand, crm.Restore{Contact: c.key})
	case n < 22:
		return p.mutate(boss, byHand, crm.Purge{Contact: c.key, Erasure: p.choose(3) == 0})
	case n < 24:
		return p.mutate(boss, byHand, crm.Hold{Contact: c.key, On: p.choose(3) == 0})
	case n < 27:
		return p.moveClock(c)
	case n < 30:
		return p.sweep()
	case n < 33:
		return p.dispatch()
	case n < 36:
		return p.nightly()
	}
	return p.turn(c)
}

// mutate lets the store do something and holds the outcome against the model's.
func (p *program) mutate(by crm.Actor, why crm.Cause, mut crm.Mutation) error {
	want := p.predict(mut)
	err := p.update(func(tx *store.Tx) error {
		_, err := tx.Apply(by, why, mut)
		return err
	})
	return p.judge(mut, why, want, err)
}

func (p *program) judge(mut crm.Mutation, why crm.Cause, want string, err error) error {
	got := crm.CodeOf(err)
	switch _, purge := mut.(crm.Purge); {
	case err != nil && got == "":
		return err
	case got == want && err != nil:
		return nil
	case got == want:
		p.absorb(mut, why)
		return nil
	case purge && err == nil && (want == "window_open" || want == "held"):
		c := p.of(mut.Target())
		return p.violation(NeverEarly, "%s was purged at %s, deleted until %s, held %v", c.key.Contact, p.now(), c.until, c.held)
	}
	return p.violation(Agrees, "%T gave %q, not %q (%v)", mut, got, want, err)
}

func (p *program) newID() [16]byte {
	p.ids++
	return id[[16]byte](int(p.ids))
}

// enter makes a contact, by hand or as an import does.
func (p *program) enter() error {
	if len(p.contacts) >= 7 {
		return nil
	}
	c := crm.Contact{Account: tenant, ID: p.newID(), Email: crm.Identity{Value: fmt.Sprintf("p%d@example.com", p.choose(5))}}
	for _, tag := range []string{"Unsubscribed", "vip"} {
		if p.choose(2) == 0 {
			c.Tags = append(c.Tags, crm.Tag{Name: tag})
		}
	}
	for _, l := range p.lists {
		if p.choose(2) == 0 {
			c.Lists = append(c.Lists, crm.Membership{List: l, Status: crm.Subscribed})
		}
	}
	why := byHand
	if p.choose(2) == 0 {
		why.Kind = crm.ByImport
	}
	return p.mutate(boss, why, crm.Create{Contact: c})
}

// change changes a fact, or a record. What arrives late is for those who have been restored.
func (p *program) change(c *mContact) error {
	why := byHand
	if c.restored > 0 && c.state == "live" && p.choose(4) == 0 {
		why.Kind = crm.ByInbound
	}
	tag := []string{"unsubscribed", "Unsubscribed", "VIP"}[p.choose(3)]
	item := crm.ItemKey{Account: tenant, Contact: c.key.Contact, Kind: crm.Note, ID: p.newID()}
	muts := []crm.Mutation{
		crm.AddTag{Contact: c.key, Tag: tag},
		crm.RemoveTag{Contact: c.key, Tag: tag},
		crm.SetField{Contact: c.key, Name: "plan", Value: []crm.Value{{}, crm.Text("a"), crm.Text("b")}[p.choose(3)]},
		crm.SetMembership{Contact: c.key, List: p.lists[p.choose(2)], Status: []crm.Status{"", crm.Subscribed, crm.Unsubscribed}[p.choose(3)]},
		crm.PutRecord{Record: crm.Record{Account: tenant, Contact: item.Contact, Kind: item.Kind, ID: item.ID}},
		crm.DeleteRecord{Record: p.someRecord(c, item)},
	}
	return p.mutate(boss, why, muts[p.choose(len(muts))])
}

func (p *program) someRecord(c *mContact, otherwise crm.ItemKey) crm.ItemKey {
	var last crm.ItemID
	for r := range c.records {
		if string(r[:]) > string(last[:]) {
			last = r
		}
	}
	if !last.IsZero() {
		otherwise.ID = last
	}
	return otherwise
}

// moveClock moves the wall clock: mostly on, to just before, at, just after a deadline or inside its
// last second, and now and then back.
func (p *program) moveClock(c *mContact) error {
	until := c.until
	to := []crm.Nanos{
		until - 1, until, until + 1, until - until%crm.Second, until - crm.Nanos(p.choose(1_000_000_000)),
		p.now() + crm.Nanos(p.choose(2_000_000_000)), p.now() + 30*crm.Second,
	}[p.choose(7)]
	switch {
	case p.choose(8) == 0:
		p.clock -= crm.Nanos(p.choose(400)) * crm.Second / 4
	case to > p.now():
		p.clock = to
	}
	return nil
}

// sweep purges whatever the store calls expired.
func (p *program) sweep() error {
	var after *crm.Deadline
	for pages := 0; ; pages++ {
		if pages > len(p.contacts) {
			return p.violation(Agrees, "the sweep does not come to an end")
		}
		var due []crm.Deadline
		if err := p.view(func(tx *store.Tx) (err error) {
			due, err = tx.Expired(tx.Now(), after, 2)
			return err
		}); err != nil {
			return err
		}
		if len(due) == 0 {
			break
		}
		for i := range due {
			after = &due[i]
			k := crm.Key{Account: after.Account, Contact: after.Contact}
			if err := p.mutate(sweeper, bySweep, crm.Purge{Contact: k}); err != nil {
				return err
			}
		}
	}
	for _, c := range p.contacts {
		if c.state == "deleted" && !c.held && p.now() >= c.until {
			return p.violation(Agrees, "the sweep missed %s", c.key.Contact)
		}
	}
	return nil
}

func keyHash(k crm.Key) [32]byte { return sha256.Sum256(k.Contact[:]) }
