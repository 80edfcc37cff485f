package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// ingest measures durable tags, one contact each, from many callers at once, beside a bare group
// commit that writes as many bytes in as many puts.
type ingest struct {
	r     *run
	b     *base
	s     *subject
	group *grouper
	plain bare
	turn  []int // the order in which contacts have their turn: as good as random
	puts  []bucketPut
	seq   uint64 // of the last row in the floor's log
	next  map[string]*atomic.Int64
}

type bucketPut struct {
	bucket string
	put
}

func newIngest(ctx context.Context, r *run) (_ scenario, err error) {
	n := min(r.o.Contacts, 20_000)
	g := &ingest{r: r, turn: rand.New(rand.NewPCG(1, 2)).Perm(n), next: map[string]*atomic.Int64{}}
	if g.b, err = makeBase(ctx, filepath.Join(r.dir, "ingest"), n, false); err != nil {
		return nil, err
	}
	if err := g.record(ctx); err != nil {
		return nil, err
	}
	paths := []string{g.b.path + "-ours", g.b.path + "-group", g.b.path + "-plain"}
	for _, p := range paths {
		if err := duplicate(g.b.path, p); err != nil {
			return nil, err
		}
		g.next[p] = &atomic.Int64{}
	}
	if g.s, err = openStore(ctx, paths[0], false, nil); err != nil {
		return nil, err
	}
	db, err := openBare(paths[1], false)
	if err != nil {
		return nil, err
	}
	g.group = newGrouper(db)
	g.plain, err = openBare(paths[2], false)
	return g, err
}

// record finds out what one tag writes.
func (g *ingest) record(ctx context.Context) error {
	path, before := g.b.path+"-record", g.b.path+"-before"
	defer os.Remove(path)
	defer os.Remove(before)
	for _, p := range []string{path, before} {
		if err := duplicate(g.b.path, p); err != nil {
			return err
		}
	}
	s, err := openStore(ctx, path, true, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(g.tag(ctx, s, 0), s.Close()); err != nil {
		return err
	}
	r, err := changed(before, path)
	if err != nil {
		return err
	}
	for _, bucket := range []string{"contact", "mark", "log/log"} {
		for _, p := range r[bucket] {
			if bucket == "mark" && string(p.key) == "clock" {
				continue // once a second, not once a tag
			}
			g.puts = append(g.puts, bucketPut{bucket, p})
			if strings.HasPrefix(bucket, "log/") {
				g.seq = binary.BigEndian.Uint64(p.key)
			}
			delete(r, bucket)
		}
	}
	if len(r) > 0 || len(g.puts) != 3 {
		return fmt.Errorf("bench: a tag writes %d rows and others, not the three that the floor writes", len(g.puts))
	}
	size := 0
	for _, p := range g.puts {
		size += len(p.key) + len(p.value)
	}
	g.r.report.note("ingest: puts per tag", float64(len(g.puts)))
	g.r.report.note("ingest: bytes per tag", float64(size))
	return nil
}

// tag is the contestant's i-th operation.
func (g *ingest) tag(ctx context.Context, s *subject, i int64) error {
	n := int64(len(g.turn))
	m := crm.AddTag{Contact: g.b.contacts[g.turn[i%n]], Tag: fmt.Sprintf("Unsubscribed %d", i/n)}
	return s.Update(ctx, func(tx *store.Tx) error {
		events, err := tx.Apply(admin, person, m)
		if err == nil && len(events) != 1 {
			err = errors.New("bench: a tag was there already")
		}
		return err
	})
}

// same is the floor's i-th operation: the recorded puts for another contact, at the log's end.
func (g *ingest) same(tx *bbolt.Tx, i int64, seq uint64) error {
	k := g.b.contacts[g.turn[i%int64(len(g.turn))]]
	for _, p := range g.puts {
		key := p.key
		switch p.bucket {
		case "contact":
			key = slices.Concat(k.Account[:], k.Contact[:])
		case "mark":
		default:
			key = binary.BigEndian.AppendUint64(nil, seq)
		}
		if err := putAll(tx, p.bucket, []put{{key, p.value}}); err != nil {
			return err
		}
	}
	return nil
}

func (g *ingest) round(ctx context.Context, n int) error {
	for _, callers := range []int{1, 64, 512} {
		what := fmt.Sprintf("ingest: durable tags, %d callers", callers)
		if callers == 1 {
			what = "ingest: durable tags, 1 caller"
		}
		var ours, group, plain spent
		contestants := []func() error{
			func() (err error) {
				_, cerr := g.r.contestant(what, func() error {
					ours, err = g.slice("-ours", callers, func(i int64) error { return g.tag(ctx, g.s, i) })
					return err
				})
				return cerr
			},
			func() (err error) {
				group, err = g.slice("-group", callers, func(i int64) error {
					return g.group.do(func(tx *bbolt.Tx) error {
						g.seq++ // only the one writer of the group runs this
						return g.same(tx, i, g.seq)
					})
				})
				return err
			},
		}
		if callers == 1 {
			contestants = append(contestants, func() (err error) {
				plain, err = g.slice("-plain", callers, func(i int64) error {
					return g.plain.Update(func(tx *bbolt.Tx) error { return g.same(tx, i, 1<<32+uint64(i)) })
				})
				return err
			})
		}
		for i := range contestants { // each begins in turn
			if err := contestants[(i+n)%len(contestants)](); err != nil {
				return err
			}
		}
		goal := Goal{AtLeast: 0.5}
		if callers == 1 {
			g.r.report.add(Row{Contest: what, Floor: "bare Update", Goal: Goal{AtLeast: 0.8}}, ours, plain)
			goal = Goal{}
		}
		g.r.report.add(Row{Contest: what, Floor: "bare group commit", Goal: goal}, ours, group)
	}
	return nil
}

// slice has callers repeat op for the slice's time and gives what one op took: of the whole, not of
// one caller.
func (g *ingest) slice(file string, callers int, op func(i int64) error) (spent, error) {
	next := g.next[g.b.path+file]
	first := next.Load()
	errs := make([]error, callers)
	all, err := timed(func() error {
		began := time.Now()
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for errs[c] == nil && time.Since(began) < g.r.o.Slice {
					errs[c] = op(next.Add(1) - 1)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	return all.each(int(next.Load() - first)), err
}

func (g *ingest) close() error {
	g.group.stop()
	return errors.Join(g.s.Close(), g.group.db.Close(), g.plain.Close())
}

// grouper is the bare group commit: one writer that drains what waits, and one commit for it.
type grouper struct {
	db    bare
	queue chan *bareJob
	ended chan struct{}
}

type bareJob struct {
	fn   func(*bbolt.Tx) error
	done chan error
}

func newGrouper(db bare) *grouper {
	g := &grouper{db: db, queue: make(chan *bareJob), ended: make(chan struct{})}
	go g.write()
	return g
}

// do returns when fn's writes are durable.
func (g *grouper) do(fn func(*bbolt.Tx) error) error {
	j := &bareJob{fn, make(chan error, 1)}
	g.queue <- j
	return <-j.done
}

func (g *grouper) write() {
	defer close(g.ended)
	for first := range g.queue {
		jobs := []*bareJob{}
		err := g.db.Update(func(tx *bbolt.Tx) error {
			for j := first; j != nil; {
				jobs = append(jobs, j)
				if err := j.fn(tx); err != nil {
					return err
				}
				select {
				case j = <-g.queue: // nil when closed
				default:
					j = nil
				}
			}
			return nil
		})
		for _, j := range jobs {
			j.done <- err
		}
	}
}

func (g *grouper) stop() {
	close(g.queue)
	<-g.ended
}
