package runtime

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// The property, with real workflows on the hostile engine: whatever happens in whatever order, a
// restore starts nothing and no purge is early. The judge reads nothing but the log and what the test
// did itself: for each contact, when its tag last changed by a person, when it was restored, when it
// was deleted.
//
// REPRIEVE_SEED replays one program; REPRIEVE_PROGRAMS runs so many (default 25).
func TestRestoreStartsNothingWhateverHappens(t *testing.T) {
	t.Parallel()
	programs, _ := strconv.Atoi(os.Getenv("REPRIEVE_PROGRAMS"))
	if programs == 0 {
		programs = 25
	}
	from := uint64(1)
	if s, err := strconv.ParseUint(os.Getenv("REPRIEVE_SEED"), 10, 64); err == nil {
		from, programs = s, 1
	}
	for seed := from; seed < from+uint64(programs); seed++ {
		if err := playProgram(t, seed, nil); err != nil {
			t.Fatalf("REPRIEVE_SEED=%d: %v", seed, err)
		}
	}
}

// The planted bugs: a life row that loses its quiet revision, as an older version that rewrites it
// would have it, and one whose deadline loses its fraction of a second, as an encoding would have it.
func TestPlantedBugsAreFound(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(table string, row any){
		"a restore forgets the quiet revision": func(_ string, row any) {
			if l, ok := row.(*crm.Life); ok {
				l.QuietRev = 0
			}
		},
		"a deadline loses its fraction": func(_ string, row any) {
			switch r := row.(type) {
			case *crm.Life:
				r.RestorableUntil -= r.RestorableUntil % crm.Second
			case *crm.Deadline:
				r.Until -= r.Until % crm.Second
			}
		},
	} {
		found := false
		for seed := uint64(1); seed <= 60 && !found; seed++ {
			found = playProgram(t, seed, plant) != nil
		}
		if !found {
			t.Errorf("planted and not found: %s", name)
		}
	}
}

// known is what the test knows of a contact from what it did itself.
type known struct {
	key       crm.Key
	tagged    bool
	tagRev    int // the act at which a person last changed the tag
	restored  int // the act of the last restore, 0 for never
	deletedAt crm.Nanos
	state     crm.State
}

type program struct {
	*rig
	rnd   *rand.Rand
	all   []*known
	act   int
	runs  map[crm.RunID]bool
	wrong error
}

const always = `
triggers:
  - {id: made, event: contact.created}
  - {id: on, event: contact.tag_added, if: event.tag == "Unsubscribed"}
  - {id: off, event: contact.tag_removed, if: event.tag == "Unsubscribed"}
  - {id: nightly, cron: "0 2 * * *", over: contacts, where: '"Unsubscribed" in contact.tags'}
  - {id: missing, cron: "0 3 * * *", over: contacts, where: 'not ("Unsubscribed" in contact.tags)'}
run: {key: contact.id}
steps: [{id: rest, wait: 1h}, {id: look, action: nothing}]
`

func playProgram(t *testing.T, seed uint64, plant func(string, any)) error {
	t.Helper()
	p := &program{rig: newRig(t, storetest.MemoryOptions{Seed: seed, Corrupt: plant}), rnd: rand.New(rand.NewPCG(seed, 1)), runs: map[crm.RunID]bool{}}
	p.acts.add(plugins.Spec{Action: "nothing"}, p.acts.act["contact.restore"])
	p.workflow("always", always)
	p.clock.Advance(time.Duration(p.rnd.IntN(1e9)))
	for p.act = 1; p.act <= 60; p.act++ {
		if err := p.step(); err != nil {
			return fmt.Errorf("act %d: %w", p.act, err)
		}
		if p.rnd.IntN(3) > 0 {
			if err := p.engine.Settle(p.ctx); err != nil {
				return fmt.Errorf("act %d: %w", p.act, err)
			}
		}
		if err := p.judge(); err != nil {
			return fmt.Errorf("act %d: %w", p.act, err)
		}
	}
	return nil
}

func (p *program) step() error {
	if len(p.all) < 3 {
		p.all = append(p.all, &known{key: p.person()})
		return nil
	}
	k := p.all[p.rnd.IntN(len(p.all))]
	live := k.state == crm.Live
	switch n := p.rnd.IntN(10); {
	case n < 2 && live:
		if k.tagged {
			p.apply(crm.RemoveTag{Contact: k.key, Tag: "unsubscribed"})
		} else {
			p.apply(crm.AddTag{Contact: k.key, Tag: "Unsubscribed"})
		}
		k.tagged, k.tagRev = !k.tagged, p.act
	case n == 2 && live:
		p.apply(crm.SetField{Contact: k.key, Name: "plan", Value: crm.Number(float64(p.act))})
	case n == 3 && live:
		p.apply(crm.Delete{Contact: k.key})
		k.state, k.deletedAt = crm.Deleted, crm.At(p.clock.Now())
	case n < 6 && k.state == crm.Deleted:
		err := p.try(crm.Restore{Contact: k.key})
		open := crm.At(p.clock.Now()) < k.deletedAt+60*crm.Day
		if (err == nil) != open {
			return fmt.Errorf("a restore with the window open=%v: %w", open, errors.Join(err, errors.New("the window is not where it must be")))
		}
		if err == nil {
			k.state, k.restored = crm.Live, p.act
		}
	case n == 6:
		p.restart()
	case n == 7 && k.state == crm.Deleted: // to the edge of a window
		edge := (k.deletedAt + 60*crm.Day).Time().Add(time.Duration(p.rnd.IntN(3) - 1))
		if edge.After(p.clock.Now()) {
			p.clock.Set(edge)
		}
		_, err := p.engine.Sweep(p.ctx)
		return err
	case n == 8 && k.state == crm.Deleted: // into the second of the deadline, before it
		edge := (k.deletedAt + 60*crm.Day).Time().Truncate(time.Second)
		if edge.After(p.clock.Now()) {
			p.clock.Set(edge)
		}
		_, err := p.engine.Sweep(p.ctx)
		return err
	default:
		p.clock.Advance(time.Duration(p.rnd.IntN(36)) * time.Hour)
	}
	return nil
}

// judge looks at every run that is new, and at every contact that is gone.
func (p *program) judge() error {
	var wrong error
	p.view(func(tx *store.Tx) error {
		wrong = nil
		for _, k := range p.all {
			life, err := tx.Life(k.key)
			if err != nil {
				return err
			}
			if life.State == crm.Purged && k.state != crm.Purged {
				if k.state != crm.Deleted || tx.Now() < k.deletedAt+60*crm.Day {
					wrong = fmt.Errorf("%s was purged %s before its deadline", k.key.Contact, time.Duration(k.deletedAt+60*crm.Day-tx.Now()))
				}
				k.state = crm.Purged
			}
			runs, err := tx.RunsOf(k.key)
			if err != nil {
				return err
			}
			for _, r := range runs {
				if p.runs[r.ID] {
					continue
				}
				p.runs[r.ID] = true
				// The only facts that these triggers read are the tag and the contact's creation.
				if k.restored > 0 && r.Began == life.Epoch && k.tagRev <= k.restored {
					wrong = fmt.Errorf("%s was started by %s for %s, restored in act %d, whose tag last changed in act %d",
						r.ID, r.Trigger, r.Contact, k.restored, k.tagRev)
				}
			}
		}
		return nil
	})
	return wrong
}
