package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/store/internal/row"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// The size of a race. The window is so short that deadlines pass between the turns of a client.
const (
	racers      = 4
	raceTurns   = 30
	raceRounds  = 12
	raceWindow  = crm.Nanos(8)
	racePlanted = 40 // races that a planted bug may take to show
)

// raceContacts are what everybody is after.
var raceContacts = []crm.Key{con(1), con(2), con(3)}

// What a racer does to a contact.
const (
	doDelete = iota
	doRestore
	doSweep // a purge past the deadline
	doErase // a purge at any time
	doHold
	doLift
	doTag
	doUntag
	doLook
)

var doNames = [...]string{"delete", "restore", "sweep", "erase", "hold", "lift", "tag", "untag", "look"}

// chances is how often each of them is done.
var chances = [...]int{doDelete: 28, doRestore: 28, doSweep: 8, doErase: 2, doHold: 3, doLift: 8, doTag: 6, doUntag: 5, doLook: 14}

// asked is what a racer asks for, and answered what it is told: the code of a refusal, the instant of
// its transaction, the epoch that it began, or what it saw. Of a look, which is no commit, the instant
// is none.
type (
	asked struct {
		contact, do, tag int
	}
	answered struct {
		code  string
		at    crm.Nanos
		epoch uint64
		seen  aLife
	}
)

// aLife is one contact's life as the sequential model has it. Nothing here is taken from the code that
// it judges.
type aLife struct {
	state crm.State
	epoch uint64
	until crm.Nanos
	held  bool
	tags  uint8
	at    crm.Nanos // of the last commit: time does not go back
}

// after says whether a life may answer a request so, and what it is then.
func (l aLife) after(q asked, a answered) (bool, aLife) {
	if q.do == doLook {
		seen := l
		seen.at = 0
		return a.code == "" && a.seen == seen, l
	}
	if a.at < l.at {
		return false, l
	}
	next, code := l.done(q, a.at)
	if code != "" {
		return a.code == code, l
	}
	next.at = a.at
	return a.code == "" && (a.epoch == 0 || a.epoch == next.epoch), next
}

// done gives the code of the refusal, or the life after it.
func (l aLife) done(q asked, at crm.Nanos) (aLife, string) {
	dead := l.state == crm.Deleted
	switch {
	case l.state == crm.Purged:
		return l, crm.CodePurged
	case dead && (q.do == doDelete || q.do == doTag || q.do == doUntag):
		return l, crm.CodeDeleted
	case !dead && (q.do == doRestore || q.do == doSweep):
		return l, crm.CodeNotDeleted
	case l.held && (q.do == doDelete || q.do == doSweep || q.do == doErase):
		return l, crm.CodeHeld
	case q.do == doRestore && at >= l.until:
		return l, crm.CodeWindowPassed
	case q.do == doSweep && at < l.until:
		return l, crm.CodeWindowOpen
	}
	switch q.do {
	case doDelete:
		l.state, l.until = crm.Deleted, at+raceWindow
		l.epoch++
	case doRestore:
		l.state, l.until = crm.Live, 0
		l.epoch++
	case doSweep, doErase:
		l = aLife{state: crm.Purged, epoch: l.epoch + 1}
	case doHold, doLift:
		l.held = q.do == doHold
	case doTag:
		l.tags |= 1 << q.tag
	case doUntag:
		l.tags &^= 1 << q.tag
	}
	return l, ""
}

// lifeModel is what porcupine holds a race against: each contact for itself.
var lifeModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, len(raceContacts))
		for _, op := range history {
			i := op.Input.(asked).contact
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return aLife{} },
	Step: func(state, in, out any) (bool, any) {
		return state.(aLife).after(in.(asked), out.(answered))
	},
}

// race is one store, its clock, and who does something on it: the store, or a bug before it.
type race struct {
	testing.TB
	s     *store.Store
	clock atomic.Int64
	do    func(asked) answered
}

func newRace(t testing.TB, open func(now func() crm.Nanos) (row.Engine, error)) *race {
	r := &race{TB: t}
	r.clock.Store(int64(begin))
	eng, err := open(func() crm.Nanos { return crm.Nanos(r.clock.Load()) })
	if err != nil {
		t.Fatal(err)
	}
	if r.s, err = store.New(ctx, eng, store.Options{Key: bytes.Repeat([]byte{9}, 32)}); err != nil {
		t.Fatal(err)
	}
	policy := crm.DefaultPolicy()
	policy.Retention.Window = raceWindow
	if err := r.s.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PutAccount(crm.Account{ID: acc, Policy: policy}); err != nil {
			return err
		}
		for i, k := range raceContacts {
			c := crm.Contact{Account: acc, ID: k.Contact, Email: crm.Identity{Value: fmt.Sprintf("canary%d@example.com", i)}}
			if _, err := tx.Apply(admin, byPerson, crm.Create{Contact: c}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.do = r.really
	return r
}

func onHostile(seed uint64, plant func(string, any)) func(func() crm.Nanos) (row.Engine, error) {
	return func(now func() crm.Nanos) (row.Engine, error) {
		return storetest.NewMemory(storetest.MemoryOptions{Now: now, Seed: seed, Corrupt: plant}), nil
	}
}

func tagOf(n int) string { return fmt.Sprintf("tag-%d", n) }

// really asks the store.
func (r *race) really(q asked) (a answered) {
	k := raceContacts[q.contact]
	if q.do == doLook {
		if err := r.s.View(ctx, func(tx *store.Tx) (err error) { a.seen, err = look(tx, k); return err }); err != nil {
			r.Errorf("a look: %v", err)
		}
		return a
	}
	by, why := admin, byPerson
	if q.do == doSweep {
		by, why = sweeper, byRetention
	}
	m := [...]crm.Mutation{
		doDelete: crm.Delete{Contact: k}, doRestore: crm.Restore{Contact: k}, doSweep: crm.Purge{Contact: k}, doErase: crm.Purge{Contact: k, Erasure: true},
		doHold: crm.Hold{Contact: k, On: true, Reason: "a matter"}, doLift: crm.Hold{Contact: k},
		doTag: crm.AddTag{Contact: k, Tag: tagOf(q.tag)}, doUntag: crm.RemoveTag{Contact: k, Tag: tagOf(q.tag)},
	}[q.do]
	err := r.s.Update(ctx, func(tx *store.Tx) error {
		a = answered{at: tx.Now()}
		evs, err := tx.Apply(by, why, m)
		if len(evs) > 0 {
			a.epoch = evs[0].Epoch
		}
		return err
	})
	if a.code = crm.CodeOf(err); err != nil && a.code == "" {
		r.Errorf("%s: %v", doNames[q.do], err)
	}
	return a
}

func look(tx *store.Tx, k crm.Key) (l aLife, err error) {
	c, life, err := tx.Peek(k)
	l = aLife{state: life.State, epoch: life.Epoch, until: life.RestorableUntil, held: life.Held}
	for n := range 8 {
		if c != nil && c.HasTag(tagOf(n)) {
			l.tags |= 1 << n
		}
	}
	return l, err
}

// run lets everybody race and gives the history: who asked for what and was told what, from when to
// when. The clock moves on while they do.
func (r *race) run(seed uint64) []porcupine.Operation {
	var turn atomic.Int64
	var all sync.WaitGroup
	histories := make([][]porcupine.Operation, racers)
	for client := range racers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for range raceTurns {
				r.clock.Add(rnd.Int64N(2))
				q := asked{contact: rnd.IntN(len(raceContacts)), do: draw(rnd), tag: rnd.IntN(3)}
				op := porcupine.Operation{ClientId: client, Input: q, Call: turn.Add(1)}
				op.Output = r.do(q)
				op.Return = turn.Add(1)
				histories[client] = append(histories[client], op)
			}
		})
	}
	all.Wait()
	var history []porcupine.Operation
	for _, h := range histories {
		history = append(history, h...)
	}
	return history
}

func draw(rnd *rand.Rand) int {
	sum := 0
	for _, c := range chances {
		sum += c
	}
	n := rnd.IntN(sum)
	for do, c := range chances {
		if n -= c; n < 0 {
			return do
		}
	}
	return doLook
}

// raceSeed gives the seed of what is asked for; REPRIEVE_SEED gives it again. In which order it comes,
// the scheduler decides anew each time.
func raceSeed(t testing.TB) uint64 {
	seed, err := strconv.ParseUint(os.Getenv("REPRIEVE_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("REPRIEVE_SEED=%d", seed)
	return seed
}

// TestRace has clients delete, restore, purge, hold and tag the same contacts at once, over a clock
// that moves: there must be an order, one contact at a time, in which one after the other would have
// been told the same.
func TestRace(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T, seed uint64) func(func() crm.Nanos) (row.Engine, error){
		"memory": func(_ *testing.T, seed uint64) func(func() crm.Nanos) (row.Engine, error) {
			return onHostile(seed, nil)
		},
		"bolt": func(t *testing.T, _ uint64) func(func() crm.Nanos) (row.Engine, error) {
			return func(now func() crm.Nanos) (row.Engine, error) {
				return bolt.Open(filepath.Join(t.TempDir(), "reprieve.db"), bolt.Options{Now: now, NoSync: true})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := raceSeed(t)
			told := map[string]int{}
			for round := range uint64(raceRounds) {
				r := newRace(t, open(t, seed+round))
				history := r.run(seed + round)
				if !porcupine.CheckOperations(lifeModel, history) {
					t.Errorf("round %d: no order explains what the racers were told", round)
				}
				r.tally(told, history)
				r.atRest()
				if err := r.s.Close(); err != nil {
					t.Error(err)
				}
			}
			for _, must := range []string{"delete ", "restore ", "sweep ", "erase ", "restore window_passed", "sweep window_open", "delete held", "tag deleted"} {
				if told[must] == 0 {
					t.Errorf("no racer was told %q: the race proves nothing about it; %v", must, told)
				}
			}
		})
	}
}

// tally counts what racers were told.
func (r *race) tally(told map[string]int, history []porcupine.Operation) {
	for _, op := range history {
		told[doNames[op.Input.(asked).do]+" "+op.Output.(answered).code]++
	}
}

// atRest holds the counters and the log to what the contacts are in the end.
func (r *race) atRest() {
	r.Helper()
	want := map[crm.State]int64{}
	if err := r.s.View(ctx, func(tx *store.Tx) error {
		for _, k := range raceContacts {
			life, err := tx.Life(k)
			if err != nil {
				return err
			}
			want[life.State]++
		}
		for state, name := range map[crm.State]string{crm.Live: store.CountLive, crm.Deleted: store.CountDeleted, crm.Purged: store.CountPurged} {
			if n, err := tx.Counter(acc, name); err != nil || n != want[state] {
				r.Errorf("%s is %d, not %d (%v)", name, n, want[state], err)
			}
		}
		return nil
	}); err != nil {
		r.Error(err)
	}
	if _, _, err := r.s.VerifyLog(ctx); err != nil {
		r.Error(err)
	}
}
