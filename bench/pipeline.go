package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

// pipeline measures the whole way: contacts are tagged in one transaction, the event matches, a run
// starts, the plugin's process decides, and the delete is committed.
type pipeline struct {
	r    *run
	b    *base
	host *plugins.Host
	rows rows // life, deadline, manifest and the log's entry of each delete
	all  rows // everything that is different afterwards
}

func newPipeline(ctx context.Context, r *run) (_ scenario, err error) {
	p := &pipeline{r: r}
	if p.b, err = makeBase(ctx, filepath.Join(r.dir, "pipeline"), r.o.Tagged, false); err != nil {
		return nil, err
	}
	p.host, err = plugins.New(plugins.Options{RunDir: filepath.Join(r.dir, "run"), Builtin: r.o.Builtin,
		BuiltinNames: []string{"contact.delete", "contact.tag"}, Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	if err := p.record(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// record has the engine look at the import first, once for all rounds, and starts the plugin; then
// it finds out what the way from tag to delete changes.
func (p *pipeline) record(ctx context.Context) error {
	path := p.b.path + "-record"
	defer os.Remove(path)
	if err := p.with(ctx, p.b.path, true, func(_ *subject, e *runtime.Engine) error { return e.Settle(ctx) }); err != nil {
		return err
	}
	if err := duplicate(p.b.path, path); err != nil {
		return err
	}
	err := p.with(ctx, path, true, func(s *subject, e *runtime.Engine) error { return p.through(ctx, s, e) })
	if err != nil {
		return err
	}
	if p.all, err = changed(p.b.path, path); err != nil {
		return err
	}
	p.rows = p.all.only("life", "deadline", "manifest")
	for _, entry := range p.all["log/log"] {
		if bytes.Contains(entry.value, []byte(crm.ContactDeleted)) {
			p.rows["log/log"] = append(p.rows["log/log"], entry)
		}
	}
	if n, _ := p.rows.size(); n != 4*len(p.b.contacts) {
		return fmt.Errorf("bench: %d deletes left %d rows, not four each", len(p.b.contacts), n)
	}
	n, size := p.all.size()
	p.r.report.note("tag to delete: rows different afterwards, per contact", float64(n)/float64(len(p.b.contacts)))
	p.r.report.note("tag to delete: bytes of them, per contact", float64(size)/float64(len(p.b.contacts)))
	return nil
}

// with opens a file and an engine on it.
func (p *pipeline) with(ctx context.Context, path string, noSync bool, f func(*subject, *runtime.Engine) error) error {
	return p.using(ctx, path, noSync, p.host, f)
}

func (p *pipeline) using(ctx context.Context, path string, noSync bool, x runtime.Executor, f func(*subject, *runtime.Engine) error) (err error) {
	s, err := openStore(ctx, path, noSync, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	e, err := runtime.New(runtime.Options{Store: s.Store, Actions: x, Clock: clock.Wall{}, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	return f(s, e)
}

// through tags every contact in one transaction and waits until all are deleted.
func (p *pipeline) through(ctx context.Context, s *subject, e *runtime.Engine) error {
	err := s.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Prefetch(p.b.contacts); err != nil {
			return err
		}
		for _, k := range p.b.contacts {
			if _, err := tx.Apply(admin, person, crm.AddTag{Contact: k, Tag: "Unsubscribed"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.Settle(ctx)
}

func (p *pipeline) round(ctx context.Context, _ int) error {
	ours, floor := p.b.path+"-ours", p.b.path+"-floor"
	defer os.Remove(ours)
	defer os.Remove(floor)
	for _, path := range []string{ours, floor} {
		if err := duplicate(p.b.path, path); err != nil {
			return err
		}
	}
	n := len(p.b.contacts)
	x := &watched{Host: p.host}
	var took spent
	var sizes []int
	var commits uint64
	err := p.using(ctx, ours, false, x, func(s *subject, e *runtime.Engine) (err error) {
		before := s.eng.Stats().Commits
		if took, err = p.r.contestant("tag to delete", func() error { return p.through(ctx, s, e) }); err != nil {
			return err
		}
		commits = s.eng.Stats().Commits - before
		if err := s.count(ctx, p.b.acc, store.CountDeleted, len(p.b.contacts)); err != nil {
			return err
		}
		sizes, err = s.sizes(ctx, p.b.contacts)
		return err
	})
	if err != nil {
		return err
	}
	f, err := openBare(floor, false)
	if err != nil {
		return err
	}
	defer f.Close()
	plan := p.rows.plan(sizes)
	least, err := timed(func() error { return f.write(plan) })
	if err != nil {
		return err
	}
	what := fmt.Sprintf("tag → matched → plugin → deleted, %d contacts", n)
	p.r.report.add(Row{Contest: what, Floor: "bare write of life, deadline, manifest and log entry", Cost: true}, took.each(n), least.each(n))
	p.r.report.note("tag to delete: commits", float64(commits))
	p.r.report.note("tag to delete: contacts in a deleting transaction", float64(n)/float64(len(sizes)))
	p.r.report.note("tag to delete: calls of the plugin", float64(x.calls.Load()))
	p.r.report.note("tag to delete: part of the time with a call under way, %", 100*float64(x.took.Load())/float64(took.wall))
	return nil
}

func (p *pipeline) close() error { return p.host.Close(context.Background()) }

// watched notes how long calls of plugins take, sockets and the plugin's own work included.
type watched struct {
	*plugins.Host
	calls, took atomic.Int64
}

func (w *watched) Execute(ctx context.Context, action string, b plugins.Batch) ([]plugins.Outcome, error) {
	began := time.Now()
	defer func() {
		w.calls.Add(1)
		w.took.Add(int64(time.Since(began)))
	}()
	return w.Host.Execute(ctx, action, b)
}
