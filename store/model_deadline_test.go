package store_test

import (
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// around are the two sides of a deadline, to the nanosecond.
var around = []struct {
	off  crm.Nanos
	over bool
}{{-crm.Second, false}, {-1, false}, {0, true}, {1, true}, {crm.Second, true}}

// TestDeadlines holds every deed that a deadline decides against the instant just before it, that instant
// itself and the one after. A deadline has a fraction of a second, which none may lose.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	type act = func(*rig, crm.Key) error
	swept := func(m func(crm.Key) crm.Mutation) act {
		return func(r *rig, k crm.Key) error { return r.try(sweeper, byRetention, m(k)) }
	}
	byHand := func(m func(crm.Key) crm.Mutation) act {
		return func(r *rig, k crm.Key) error { return r.try(admin, byPerson, m(k)) }
	}
	purge := func(k crm.Key) crm.Mutation { return crm.Purge{Contact: k} }
	erase := func(k crm.Key) crm.Mutation { return crm.Purge{Contact: k, Erasure: true} }
	discard := func(k crm.Key) crm.Mutation { return crm.Discard{Contact: k} }
	restore := func(k crm.Key) crm.Mutation { return crm.Restore{Contact: k} }
	hold := byHand(func(k crm.Key) crm.Mutation { return crm.Hold{Contact: k, On: true} })
	policy := func(change func(*crm.Policy)) act {
		return func(r *rig, _ crm.Key) error { return r.policy(change) }
	}
	leave := policy(func(p *crm.Policy) { p.Restore.Associated[crm.Note] = false })
	work := func(r *rig, k crm.Key) error {
		return r.s.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Work(crm.OperationID(k.Contact), 10)
			return err
		})
	}
	for _, c := range []struct {
		name      string
		meanwhile []act  // after the delete
		deed      act    // at the deadline
		yet, over string // what it is refused for before the deadline, and from it on
		leaves    crm.State
	}{
		{"restore", nil, byHand(restore), "", crm.CodeWindowPassed, crm.Live},
		{"restore until purged", []act{policy(func(p *crm.Policy) { p.Retention.AfterWindow = crm.AllowUntilPurged })}, byHand(restore), "", "", crm.Live},
		{"bulk restore, accepted before", []act{(*rig).accept}, work, "", "", crm.Live},
		{"purge by the sweep", nil, swept(purge), crm.CodeWindowOpen, "", crm.Purged},
		{"purge by hand", nil, byHand(purge), crm.CodeWindowOpen, "", crm.Purged},
		{"purge, the policy shortened meanwhile", []act{policy(func(p *crm.Policy) { p.Retention.Window = crm.Day })}, swept(purge), crm.CodeWindowOpen, "", crm.Purged},
		{"purge under a hold", []act{hold}, swept(purge), crm.CodeHeld, crm.CodeHeld, crm.Deleted},
		{"purge while a bulk restore runs", []act{(*rig).accept}, swept(purge), crm.CodeWindowOpen, crm.CodeRunning, crm.Deleted},
		{"erasure", nil, byHand(erase), "", "", crm.Purged},
		{"erasure under a hold", []act{hold}, byHand(erase), crm.CodeHeld, crm.CodeHeld, crm.Deleted},
		{"discard by the sweep", []act{leave, byHand(restore)}, swept(discard), crm.CodeWindowOpen, "", crm.Live},
		{"discard by hand", []act{leave, byHand(restore)}, byHand(discard), crm.CodeWindowOpen, "", crm.Live},
		{"discard under a hold", []act{leave, byHand(restore), hold}, swept(discard), crm.CodeHeld, crm.CodeHeld, crm.Live},
		{"discard of nothing", []act{byHand(restore)}, swept(discard), "", "", crm.Live},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachEngine(t, func(r *rig) {
				r.enter(99) // with whom what is shared stays there
				for i, at := range around {
					r.clock += crm.Day
					k := r.enter(byte(i + 1))
					r.do(crm.Delete{Contact: k})
					until, start := r.life(k).RestorableUntil, r.clock
					if want := start + 60*crm.Day; until != want {
						r.Fatalf("deleted until %s, not %s", until, want)
					}
					for _, m := range c.meanwhile {
						if err := m(r, k); err != nil {
							r.Fatal(err)
						}
					}
					r.expires(k, until+at.off, c.leaves != crm.Live || c.yet != "" || c.over != "", at.over)
					r.clock = until + at.off
					want := c.yet
					if at.over {
						want = c.over
					}
					if err := c.deed(r, k); crm.CodeOf(err) != want || err != nil && want == "" {
						r.Errorf("%d ns from the deadline: %v, not %q", int64(at.off), err, want)
					}
					if s := r.life(k).State; want == "" && s != c.leaves {
						r.Errorf("%d ns from the deadline: it is %s, not %s", int64(at.off), s, c.leaves)
					}
					if err := r.policy(func(p *crm.Policy) { *p = crm.DefaultPolicy() }); err != nil {
						r.Fatal(err)
					}
					if err := work(r, k); err != nil { // so that the next can be accepted
						r.Fatal(err)
					}
				}
			})
		})
	}
}

// policy changes the account's policy.
func (r *rig) policy(change func(*crm.Policy)) error {
	return r.s.Update(ctx, func(tx *store.Tx) error {
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

// accept accepts a bulk restore of one contact, under an id like its own.
func (r *rig) accept(k crm.Key) error {
	return r.s.Update(ctx, func(tx *store.Tx) error {
		life, err := tx.Life(k)
		if err != nil {
			return err
		}
		op := crm.OperationID(k.Contact)
		if err := tx.Freeze(op, []store.FrozenItem{{Contact: k, Epoch: life.Epoch}}); err != nil {
			return err
		}
		_, err = tx.AcceptRestore(admin, acc, op, 1, "r")
		return err
	})
}

// expires checks whether a sweep at an instant finds the contact; one that waits for nothing it never finds.
func (r *rig) expires(k crm.Key, at crm.Nanos, waits, over bool) {
	r.Helper()
	r.see(func(tx *store.Tx) error {
		due, err := tx.Expired(at, nil, 1000)
		found := slices.ContainsFunc(due, func(d crm.Deadline) bool { return d.Contact == k.Contact })
		if found && !over || !found && over && waits {
			r.Errorf("a sweep finds it: %v, past its deadline: %v", found, over)
		}
		return err
	})
}
