package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

// life measures what happens to all contacts of a store: delete, restore, delete again, purge. Each
// phase has two floors: the least rows that could tell what happened, and the rows that the store
// really keeps.
type life struct {
	r      *run
	b      *base
	phases []phase
}

type phase struct {
	name  string // "" is not timed
	least []string
	goal  Goal
	work  func(*life, context.Context, *subject) error
	state string // the counter that all contacts are in afterwards
	rows  rows
}

func newLife(ctx context.Context, r *run) (scenario, error) {
	b, err := makeBase(ctx, filepath.Join(r.dir, "life"), r.o.Contacts, true)
	if err != nil {
		return nil, err
	}
	l := &life{r: r, b: b, phases: []phase{
		{name: "delete", least: []string{"life", "deadline"}, goal: Goal{AtMost: 3}, work: (*life).delete, state: store.CountDeleted},
		{name: "restore", least: []string{"life", "deadline"}, work: (*life).restore, state: store.CountLive},
		{work: (*life).delete, state: store.CountDeleted},
		{name: "sweep purge", least: []string{"contact", "life", "deadline"}, work: (*life).sweep, state: store.CountPurged},
	}}
	return l, l.record(ctx)
}

// record goes through the phases once, untimed, and keeps what each of them changed in the file.
func (l *life) record(ctx context.Context) error {
	path, before := l.b.path+"-record", l.b.path+"-before"
	defer os.Remove(path)
	defer os.Remove(before)
	if err := duplicate(l.b.path, path); err != nil {
		return err
	}
	var ahead int64
	for i := range l.phases {
		p := &l.phases[i]
		if err := duplicate(path, before); err != nil {
			return err
		}
		s, err := openStore(ctx, path, true, nil)
		if err != nil {
			return err
		}
		s.ahead.Store(ahead)
		err = l.through(ctx, p, s)
		ahead = s.ahead.Load()
		if err = errors.Join(err, s.Close()); err != nil {
			return err
		}
		if p.rows, err = changed(before, path); err != nil {
			return err
		}
		p.rows.byContact("identity")
		if p.name != "" {
			n, size := p.rows.size()
			l.r.report.note(fmt.Sprintf("%s: rows written per contact", p.name), float64(n)/float64(len(l.b.contacts)))
			l.r.report.note(fmt.Sprintf("%s: bytes written per contact", p.name), float64(size)/float64(len(l.b.contacts)))
		}
	}
	return nil
}

// through does one phase and checks that it was done.
func (l *life) through(ctx context.Context, p *phase, s *subject) error {
	if err := p.work(l, ctx, s); err != nil {
		return err
	}
	return s.count(ctx, l.b.acc, p.state, len(l.b.contacts))
}

func (l *life) round(ctx context.Context, _ int) (err error) {
	names := []string{"-ours", "-least", "-same"}
	for i, n := range names {
		names[i] = l.b.path + n
		defer os.Remove(names[i])
		if err := duplicate(l.b.path, names[i]); err != nil {
			return err
		}
	}
	s, err := openStore(ctx, names[0], false, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var floors []bare
	for _, path := range names[1:] {
		f, err := openBare(path, false)
		if err != nil {
			return err
		}
		defer f.Close()
		floors = append(floors, f)
	}
	for i := range l.phases {
		if err := l.compare(ctx, &l.phases[i], s, floors[0], floors[1]); err != nil {
			return err
		}
	}
	return nil
}

// compare has the store and both floors do one phase.
func (l *life) compare(ctx context.Context, p *phase, s *subject, least, same bare) error {
	ours, err := l.r.contestant(p.name, func() error { return p.work(l, ctx, s) })
	if err != nil {
		return err
	}
	if err := s.count(ctx, l.b.acc, p.state, len(l.b.contacts)); err != nil {
		return err
	}
	sizes, err := s.sizes(ctx, l.b.contacts)
	if err != nil {
		return err
	}
	fewest, every := p.rows.only(p.least...).plan(sizes), p.rows.plan(sizes)
	few, err := timed(func() error { return least.write(fewest) })
	if err != nil {
		return err
	}
	all, err := timed(func() error { return same.write(every) })
	if err != nil || p.name == "" {
		return err
	}
	n := len(l.b.contacts)
	what := fmt.Sprintf("%s of %d contacts", p.name, n)
	floor := fmt.Sprintf("bare write of %s", strings.Join(p.least, ", "))
	l.r.report.add(Row{Contest: what, Floor: floor, Cost: true, Goal: p.goal}, ours.each(n), few.each(n))
	l.r.report.add(Row{Contest: what, Floor: "bare write of all rows that it writes", Cost: true}, ours.each(n), all.each(n))
	l.r.report.note(p.name+": contacts in a transaction", float64(n)/float64(len(sizes)))
	return nil
}

func (l *life) close() error { return nil }

// inChunks works through the contacts in transactions that hold the writer for about 20 of 25 ms,
// each sized by what the one before took, as the engine does.
func (l *life) inChunks(ctx context.Context, s *subject, f func(*store.Tx, crm.Key) error) error {
	const hold = 20 * time.Millisecond
	left := l.b.contacts
	for n := 256; len(left) > 0; {
		chunk := left[:min(n, len(left))]
		took, err := timed(func() error {
			return s.Update(ctx, func(tx *store.Tx) error {
				if err := tx.Prefetch(chunk); err != nil {
					return err
				}
				for _, k := range chunk {
					if err := f(tx, k); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
		left = left[len(chunk):]
		fit := int(float64(len(chunk)) * float64(hold) / float64(took.wall))
		n = min(max(fit, n/2, 16), n*2, 4000)
	}
	return nil
}

func (l *life) delete(ctx context.Context, s *subject) error {
	return l.inChunks(ctx, s, func(tx *store.Tx, k crm.Key) error {
		_, err := tx.Apply(admin, person, crm.Delete{Contact: k, Reason: "unsubscribed"})
		return err
	})
}

func (l *life) restore(ctx context.Context, s *subject) error {
	return l.inChunks(ctx, s, func(tx *store.Tx, k crm.Key) error {
		_, err := tx.Apply(admin, person, crm.Restore{Contact: k, Reason: "by mistake"})
		return err
	})
}

// sweep moves the clock behind every deadline and has the engine purge.
func (l *life) sweep(ctx context.Context, s *subject) error {
	s.ahead.Add(int64(61 * crm.Day))
	e, err := runtime.New(runtime.Options{Store: s.Store, Actions: nobody{}, Clock: clock.Wall{}, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	_, err = e.Sweep(ctx)
	return err
}

// nobody executes no action: a sweep needs none.
type nobody struct{}

func (nobody) Execute(context.Context, string, plugins.Batch) ([]plugins.Outcome, error) {
	return nil, errors.New("bench: no action is expected here")
}

func (nobody) Spec(context.Context, string) (plugins.Spec, error) {
	return plugins.Spec{}, errors.New("bench: no action is expected here")
}
