package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// The workflows that sleep: one ends when it wakes up, the other makes a value and sleeps again.
const (
	once = `version: 1
id: once
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Once"}
steps:
  - {id: nap, wait: 14d}
  - {id: over, exit: {status: completed, reason: it is over}}
end: true
`
	again = `version: 1
id: again
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Again"}
steps:
  - {id: nap, wait: 14d}
  - {id: greet, set: {text: "Dear ${ contact.first_name }"}}
  - {id: sleep, wait: 30d}
end: true
`
)

// waits measures the engine carrying on many runs that become due at one instant, beside the bare write of
// the rows that it leaves, in transactions for as many runs.
type waits struct {
	r     *run
	sides []*waking
}

// waking is a store full of runs of one workflow, none of which may be due before its time.
type waking struct {
	name string
	path string
	due  crm.Nanos
	runs []crm.RunID // in the order of their timers
	step string      // where they stand afterwards
	rows rows
}

func newWaits(ctx context.Context, r *run) (scenario, error) {
	w := &waits{r: r}
	b, err := makeBase(ctx, filepath.Join(r.dir, "waits"), r.o.Waits, false)
	if err != nil {
		return nil, err
	}
	defer os.Remove(b.path)
	for _, side := range []struct{ name, source, step string }{{"wait → exit", once, "over"}, {"wait → set → wait", again, "sleep"}} {
		k := &waking{name: side.name, step: side.step, path: fmt.Sprintf("%s-%s", b.path, side.step), due: crm.At(time.Now()) + crm.Day}
		if err := duplicate(b.path, k.path); err != nil {
			return nil, err
		}
		ids, err := sleep(ctx, b, k.path, side.source, 1, func(int) crm.Nanos { return k.due })
		if err != nil {
			return nil, err
		}
		w.sides = append(w.sides, k)
		k.runs = slices.SortedFunc(slices.Values(ids), func(a, b crm.RunID) int { return bytes.Compare(a[:], b[:]) })
		if err := k.record(ctx, b, ids); err != nil {
			return nil, err
		}
		n, size := k.rows.size()
		r.report.note(side.name+": rows different afterwards, per run", float64(n)/float64(len(k.runs)))
		r.report.note(side.name+": bytes of them, per run", float64(size)/float64(len(k.runs)))
	}
	return w, nil
}

// sleep starts runs of a workflow for all contacts of a store, as many for each, puts them to sleep at the
// workflow's first step, and has the engine read the log, so that nothing is left to do before they wake.
func sleep(ctx context.Context, b *base, path, source string, each int, due func(i int) crm.Nanos) (ids []crm.RunID, err error) {
	s, err := openStore(ctx, path, true, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	def, err := workflow.Parse("bench.yaml", []byte(source))
	if err != nil {
		return nil, err
	}
	if err := s.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ApplyWorkflow(admin, b.acc, def.ID, def.Revision, def.File, def.Source, nil)
		return err
	}); err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(b.contacts, 1000) {
		before := len(ids)
		if err := s.Update(ctx, func(tx *store.Tx) error {
			ids = ids[:before]
			if err := tx.Prefetch(chunk); err != nil {
				return err
			}
			for _, k := range chunk {
				for n := range each {
					id, err := nap(tx, k, def, n, due(len(ids)))
					if err != nil {
						return err
					}
					ids = append(ids, id)
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	e, err := engineOn(s)
	if err != nil {
		return nil, err
	}
	return ids, e.Settle(ctx)
}

// nap starts the n-th run of a contact and has it sleep.
func nap(tx *store.Tx, k crm.Key, def *workflow.Workflow, n int, due crm.Nanos) (crm.RunID, error) {
	c, life, err := tx.Contact(k, crm.OnlyLive)
	if err != nil {
		return crm.RunID{}, err
	}
	entitled, ok := c.Selectable(life, nil)
	if !ok {
		return crm.RunID{}, errors.New("bench: a new contact entitles nothing")
	}
	r, started, err := tx.StartRun(store.Start{Entitled: entitled, Over: crm.OnlyLive, Workflow: def.ID, Revision: def.Revision,
		Trigger: "tagged", KeyHash: keyHash(k, n), Step: def.Nodes[0].ID})
	if err != nil || !started {
		return r.ID, errors.Join(errors.New("bench: a run did not start"), err)
	}
	next := r
	next.Status, next.Due = crm.RunWaiting, due
	return r.ID, tx.CommitRun(store.Advanced{Was: r, Run: next})
}

// keyHash lies anywhere, as the keys of runs do.
func keyHash(k crm.Key, n int) [32]byte {
	return sha256.Sum256(append(append(k.Account[:], k.Contact[:]...), byte(n)))
}

func engineOn(s *subject) (*runtime.Engine, error) {
	return runtime.New(runtime.Options{Store: s.Store, Actions: nobody{}, Clock: clock.Wall{}, Log: zerolog.Nop()})
}

// wake moves the clock to where all are due and has the engine carry them on; it gives how many went in one
// transaction, in order.
func (k *waking) wake(ctx context.Context, path string, noSync bool, settle func(func() error) error) (sizes []int, err error) {
	s, err := openStore(ctx, path, noSync, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.ahead.Store(int64(k.due - crm.At(time.Now()) + crm.Minute))
	e, err := engineOn(s)
	if err != nil {
		return nil, err
	}
	if err := settle(func() error { return e.Settle(ctx) }); err != nil {
		return nil, err
	}
	return k.woken(ctx, s)
}

// woken checks that every run went on, once.
func (k *waking) woken(ctx context.Context, s *subject) (sizes []int, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		var last crm.Nanos
		for _, id := range k.runs {
			r, err := tx.Run(id)
			if err != nil {
				return err
			}
			steps, err := tx.Steps(id)
			if err != nil || len(steps) == 0 || r.Step != k.step || !r.Status.Finished() && r.Due <= k.due {
				return errors.Join(fmt.Errorf("bench: a run stands at %s with %d lines: the measured work was not done", r.Step, len(steps)), err)
			}
			if len(sizes) == 0 || steps[0].At != last {
				sizes = append(sizes, 0)
			}
			last = steps[0].At
			sizes[len(sizes)-1]++
		}
		return nil
	})
	return sizes, err
}

// record finds out what it writes. The ids are those of the contacts' runs.
func (k *waking) record(ctx context.Context, b *base, ids []crm.RunID) error {
	path := k.path + "-record"
	defer os.Remove(path)
	if err := duplicate(k.path, path); err != nil {
		return err
	}
	_, err := k.wake(ctx, path, true, func(f func() error) error { return f() })
	if err != nil {
		return err
	}
	if k.rows, err = changed(k.path, path); err != nil {
		return err
	}
	order := map[[16]byte]int{}
	for i, id := range k.runs {
		order[id] = i
	}
	for i, c := range b.contacts {
		hash := keyHash(c, 0)
		order[c.Contact], order[[16]byte(hash[:16])] = order[ids[i]], order[ids[i]]
	}
	k.rows.inOrder(order)
	return nil
}

// inOrder puts the rows of each bucket into the order of what their keys name, so that a plan keeps together
// what is written together.
func (r rows) inOrder(order map[[16]byte]int) {
	at := func(key []byte) int {
		for i := 0; i+16 <= len(key); i++ {
			if n, ok := order[[16]byte(key[i:i+16])]; ok {
				return n
			}
		}
		return -1
	}
	for bucket, puts := range r {
		found := make([]struct {
			put
			at int
		}, len(puts))
		for i, p := range puts {
			found[i].put, found[i].at = p, at(p.key)
		}
		slices.SortStableFunc(found, func(a, b struct {
			put
			at int
		}) int {
			return a.at - b.at
		})
		for i := range found {
			r[bucket][i] = found[i].put
		}
	}
}

func (w *waits) round(ctx context.Context, _ int) error {
	for _, k := range w.sides {
		if err := w.compare(ctx, k); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

func (w *waits) compare(ctx context.Context, k *waking) error {
	paths := []string{k.path + "-ours", k.path + "-floor"}
	for _, path := range paths {
		defer os.Remove(path)
		if err := duplicate(k.path, path); err != nil {
			return err
		}
	}
	var took spent
	sizes, err := k.wake(ctx, paths[0], false, func(f func() error) (err error) {
		took, err = w.r.contestant("due "+k.step, f)
		return err
	})
	if err != nil {
		return err
	}
	f, err := openBare(paths[1], false)
	if err != nil {
		return err
	}
	defer f.Close()
	plan := k.rows.plan(sizes)
	least, err := timed(func() error { return f.write(plan) })
	if err != nil {
		return err
	}
	n := len(k.runs)
	w.r.report.add(Row{Contest: fmt.Sprintf("%d due waits, %s", n, k.name), Floor: "bare write of all rows that it writes", Cost: true}, took.each(n), least.each(n))
	w.r.report.note(k.name+": runs in a transaction", float64(n)/float64(len(sizes)))
	w.r.report.note(k.name+": seconds for all", took.wall.Seconds())
	return nil
}

func (w *waits) close() error { return nil }
