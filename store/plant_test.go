package store_test

import (
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/reprieve-run/reprieve/crm"
)

// racePlants are bugs that a race must show: in the store's rows, or between it and who asks.
var racePlants = []struct {
	bug   string
	rows  func(table string, row any)
	asked func(r *race)
}{
	{bug: "a restore succeeds twice: its life is not kept", rows: func(_ string, row any) {
		if l, ok := row.(*crm.Life); ok && l.State == crm.Live && l.Epoch > 0 {
			l.State, l.Epoch, l.RestorableUntil = crm.Deleted, l.Epoch-1, l.Since+raceWindow
		}
	}},
	{bug: "a delete forgets the hold that came before it", rows: func(_ string, row any) {
		if l, ok := row.(*crm.Life); ok && l.State == crm.Deleted {
			l.Held = false
		}
	}},
	{bug: "a deadline is a nanosecond early", rows: func(_ string, row any) {
		if l, ok := row.(*crm.Life); ok && l.State == crm.Deleted {
			l.RestorableUntil--
		}
	}},
	{bug: "a tag is lost", rows: func(_ string, row any) {
		if c, ok := row.(*crm.Contact); ok && len(c.Tags) > 1 {
			c.Tags = c.Tags[1:]
		}
	}},
	{bug: "a look is stale", asked: func(r *race) {
		var mu sync.Mutex
		last := map[int]answered{}
		r.do = func(q asked) answered {
			a := r.really(q)
			if q.do != doLook {
				return a
			}
			mu.Lock()
			defer mu.Unlock()
			old, ok := last[q.contact]
			if last[q.contact] = a; ok {
				return old
			}
			return a
		}
	}},
	{bug: "an outcome is lost: a restore is acknowledged and was never tried", asked: func(r *race) {
		r.do = func(q asked) answered {
			if q.do == doRestore {
				q.do = doLook
				if seen := r.really(q).seen; seen.state == crm.Deleted && crm.Nanos(r.clock.Load()) < seen.until {
					return answered{at: crm.Nanos(r.clock.Load()), epoch: seen.epoch + 1}
				}
				q.do = doRestore
			}
			return r.really(q)
		}
	}},
	{bug: "an outcome is invented: a delete is refused and was carried out", asked: func(r *race) {
		r.do = func(q asked) answered {
			a := r.really(q)
			if q.do == doDelete && a.code == "" {
				a.code = crm.CodeHeld
			}
			return a
		}
	}},
	{bug: "two racers are told of one delete", asked: func(r *race) {
		r.do = func(q asked) answered {
			a := r.really(q)
			if q.do == doDelete && a.code == crm.CodeDeleted {
				a.code = ""
			}
			return a
		}
	}},
}

// TestRaceFindsPlantedBugs plants bugs that a race must show. A checker that lets them pass proves
// nothing about the store.
func TestRaceFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for _, p := range racePlants {
		t.Run(p.bug, func(t *testing.T) {
			t.Parallel()
			seed := raceSeed(t)
			for round := range uint64(racePlanted) {
				r := newRace(t, onHostile(seed+round, p.rows))
				if p.asked != nil {
					p.asked(r)
				}
				if !porcupine.CheckOperations(lifeModel, r.run(seed+round)) {
					return
				}
			}
			t.Errorf("%d races did not show that %s", racePlanted, p.bug)
		})
	}
}
