package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
	at     int      // the step of the program
	acts   []string // for whoever reads what went wrong
}

var (
	boss     = crm.Actor{ID: "user:1", Role: crm.Admin}
	sweeper  = crm.Actor{ID: "system:sweep", Role: crm.System}
	engine   = crm.Actor{ID: "system:account", Role: crm.System}
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
	p.tags, p.workflows = map[string]*mTag{}, map[string]*mWorkflow{}
	p.optOuts, p.messages = map[string]mOptOut{}, map[string]int64{}
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
	return p.verify()
}

func (p *program) setUp() error {
	p.policy = p.somePolicy()
	err := p.update(func(tx *store.Tx) error {
		err := tx.PutAccount(crm.Account{ID: tenant, Policy: p.policy})
		for _, w := range []string{"every", "nightly", "missing", "blind"} {
			_, werr := tx.ApplyWorkflow(boss, tenant, w, revision, "", nil, granted)
			err = errors.Join(err, werr)
			p.workflows[w] = &mWorkflow{granted: true}
		}
		return err
	})
	for _, kind := range []crm.ItemKind{crm.List, crm.List, crm.Campaign, crm.Company, crm.Opportunity, crm.Opportunity} {
		err = errors.Join(err, p.makeObject(kind))
	}
	return err
}

func (p *program) update(fn func(*store.Tx) error) error {
	err := p.s.Update(context.Background(), fn)
	if err == nil {
		p.high = p.now()
	}
	return err
}

func (p *program) view(fn func(*store.Tx) error) error { return p.s.View(context.Background(), fn) }

func (p *program) note(format string, args ...any) {
	p.acts = append(p.acts, fmt.Sprintf("%3d %s ", p.at, p.now())+fmt.Sprintf(format, args...))
}

func (p *program) violation(promise, format string, args ...any) error {
	return &Violation{promise, p.at, fmt.Sprintf(format, args...), p.acts}
}

func (p *program) newID() [16]byte {
	p.ids++
	return id[[16]byte](int(p.ids))
}

// act takes one step. Weights are in parts of the sum.
func (p *program) act() error {
	if n := p.present(); n == 0 || n < 4 && p.choose(4) == 0 {
		return p.enter()
	}
	any := p.pick(func(c *mContact) bool { return c.state != "purged" })
	live := p.pick(func(c *mContact) bool { return c.state == "live" && !c.held })
	dead := p.pick(func(c *mContact) bool { return c.state == "deleted" })
	runs := p.pick(func(c *mContact) bool { return slices.ContainsFunc(c.runs, c.underway) })
	acts := []struct {
		weight int
		act    func() error
	}{
		{6, p.enter},
		{16, func() error { return p.change(live) }},
		{12, func() error { return p.changeThing(live) }},
		{11, func() error { return p.mutate(boss, byHand, p.someDelete(live)) }},
		{12, func() error { return p.mutate(boss, byHand, crm.Restore{Contact: dead.key}) }},
		{3, func() error { return p.mutate(boss, byHand, crm.Purge{Contact: any.key, Erasure: p.choose(2) == 0}) }},
		{1, func() error { return p.mutate(boss, byHand, crm.Discard{Contact: any.key}) }},
		{3, func() error {
			return p.mutate(boss, byHand, crm.Hold{Contact: any.key, On: p.choose(4) == 0, Reason: "x"})
		}},
		{9, func() error { return p.moveClock(dead) }},
		{6, p.sweep},
		{12, p.dispatch},
		{8, p.nightly},
		{20, func() error { return p.turn(runs) }},
		{9, p.resume},
		{4, p.dropTimers},
		{2, p.changePolicy},
		{3, p.changeWorkflow},
		{4, p.changeObject},
		{4, p.untag},
		{6, func() error { return p.receive(dead) }},
		{4, func() error {
			return p.deliver(p.pick(func(c *mContact) bool { return len(c.queued) > 0 && c.state == "live" }))
		}},
		{6, p.work},
	}
	sum := 0
	for _, a := range acts {
		sum += a.weight
	}
	n := p.choose(sum)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			return a.act()
		}
	}
	return nil
}

// pick chooses a contact, mostly one of which something is so, since programs that are refused everything
// show little.
func (p *program) pick(so func(*mContact) bool) *mContact {
	if of := slices.DeleteFunc(slices.Clone(p.contacts), func(c *mContact) bool { return !so(c) }); len(of) > 0 && p.choose(8) > 0 {
		return of[p.choose(len(of))]
	}
	return p.contacts[p.choose(len(p.contacts))]
}

// mutate lets the store do something and holds the outcome against the model's; now and then it has the
// store foresee it first.
func (p *program) mutate(by crm.Actor, why crm.Cause, mut crm.Mutation) error {
	want := p.predict(why, mut)
	preview := ""
	if lifecycle(mut) && p.choose(3) == 0 {
		var err error
		if preview, err = p.preview(by, why, mut, want); err != nil {
			return err
		}
	}
	err := p.update(func(tx *store.Tx) error {
		_, err := tx.Apply(by, why, mut)
		return err
	})
	p.note("%s by %s: %v", show(mut), why.Kind, crm.CodeOf(err))
	if jerr := p.judge(mut, why, want, err); jerr != nil || err != nil || preview == "" {
		return jerr
	}
	return p.view(func(tx *store.Tx) error {
		if did, err := p.came(tx, mut); err != nil || did != preview {
			return p.violation(Foreseen, "%s was foreseen as %s and came to %s (%v)", show(mut), preview, did, err)
		}
		return nil
	})
}

// preview has the store foresee a deed. What stands in its way must be what the model says, all of it
// and in that order; it gives what the deed would come to.
func (p *program) preview(by crm.Actor, why crm.Cause, mut crm.Mutation, want []string) (seen string, err error) {
	obstacles, err := p.s.Preview(context.Background(), by, why, mut, func(tx *store.Tx, _ crm.Event) (err error) {
		seen, err = p.came(tx, mut)
		return err
	})
	var got []string
	for _, o := range obstacles {
		got = append(got, crm.CodeOf(o))
	}
	if err != nil {
		got = append(got, crm.CodeOf(err))
	}
	if !slices.Equal(got, want) {
		return "", p.violation(Foreseen, "what stands in the way of %s was foreseen as %v, not %v (%v)", show(mut), got, want, err)
	}
	return seen, nil
}

// came gives what a delete or a restore came to, item by item.
func (p *program) came(tx *store.Tx, mut crm.Mutation) (string, error) {
	life, err := tx.Life(mut.Target())
	if err != nil {
		return "", err
	}
	state := fmt.Sprintf("%s in epoch %d until %s, left until %s: ", life.State, life.Epoch, life.RestorableUntil, life.NextDiscard())
	switch mut.(type) {
	case crm.Delete:
		m, err := tx.Manifest(mut.Target(), life.Epoch)
		if err != nil || m == nil {
			return "", errors.Join(err, errors.New("there is no manifest"))
		}
		return state + strings.Join(p.manifestItems(m), ", "), nil
	case crm.Restore:
		r, err := tx.Receipt(mut.Target(), life.Epoch)
		if err != nil || r == nil {
			return "", errors.Join(err, errors.New("there is no receipt"))
		}
		return state + strings.Join(p.receiptItems(r), ", "), nil
	}
	return state, nil
}

func (p *program) judge(mut crm.Mutation, why crm.Cause, wants []string, err error) error {
	got, want := crm.CodeOf(err), ""
	if len(wants) > 0 {
		want = wants[0]
	}
	early := want == "window_open" || want == "held" || want == "running"
	switch mut.(type) {
	case crm.Purge, crm.Discard:
	default:
		early = false
	}
	switch {
	case err != nil && got == "":
		return err
	case got == want && err != nil:
		return nil
	case got == want:
		p.absorb(mut, why)
		return nil
	case early && err == nil:
		c := p.of(mut.Target())
		return p.violation(NeverEarly, "%s at %s, deleted until %s, left until %s, held %v", show(mut), p.now(), c.until, c.leftUntil(), c.held)
	}
	return p.violation(Agrees, "%s gave %q, not %v (%v)", show(mut), got, wants, err)
}

// show names a mutation for whoever reads what went wrong.
func show(mut crm.Mutation) string {
	return strings.NewReplacer("Account:"+tenant.String()+" ", "", "crm.", "").Replace(fmt.Sprintf("%T%+v", mut, mut))
}
