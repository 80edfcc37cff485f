// Package bolt is the embedded engine: row.Engine on one bbolt file, opened by one process.
//
// One writer groups the functions that wait into one commit; each runs on its own buffered write
// set, so that one that fails or panics leaves no trace and costs its neighbours nothing. A commit
// that fails stops the engine, because nobody can know what is on the disk.
//
// It must never acknowledge what a crash could lose, never show what is not yet durable, never
// retry a commit, never write into a file that is not a Reprieve store, and know no rule of the
// lifecycle.
package bolt

import (
	"context"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Engine is an open store. It is safe for use by several goroutines. A View inside an Update is
// allowed and sees what was committed before; an Update inside a View or an Update is not: the
// writer may wait for the view to end.
type Engine struct {
	db    *bbolt.DB
	o     Options
	path  string
	queue chan *job
	ended chan struct{} // closed when the writer has returned

	gate   sync.RWMutex // guards closed against entering
	closed bool
	inside sync.WaitGroup // calls between enter and leave

	stopped atomic.Pointer[crm.Error]
	wedged  bool          // a failed transaction could not be closed; only the writer sets it
	durable atomic.Uint64 // the last transaction whose commit returned
	commit  sync.RWMutex  // held while a commit is under way

	commits, functions, largest, reruns, refused atomic.Uint64
	views                                        atomic.Int64
}

var _ row.Engine = (*Engine)(nil)

// View runs fn on a consistent snapshot, in the caller's goroutine. Other views and the writer go on
// meanwhile, but the file cannot reuse pages that the view may see: keep it short.
func (e *Engine) View(ctx context.Context, fn func(row.Tx) error) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.inside.Done()
	e.views.Add(1)
	defer e.views.Add(-1)
	seen, err := e.view(fn)
	if stopped := e.settle(seen); stopped != nil {
		return stopped
	}
	return err
}

func (e *Engine) view(fn func(row.Tx) error) (seen uint64, err error) {
	// A damaged file can send bbolt to an address outside the mapping; as a panic it becomes an
	// error (see txn.guard), else it would end the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	b, err := e.db.Begin(false)
	if err != nil {
		return 0, wrap("read the store", err)
	}
	tx := &txn{bolt: b, now: e.o.Now()}
	defer func() {
		tx.over = true
		_ = b.Rollback() // of a read transaction: it only closes
	}()
	return uint64(b.ID()), fn(tx)
}

// settle keeps a view from handing out what it saw before that is durable. bbolt shows a new meta
// page to readers before its fsync has returned; such a view waits for the commit's outcome.
func (e *Engine) settle(seen uint64) error {
	if seen <= e.durable.Load() {
		return nil
	}
	e.commit.RLock()
	defer e.commit.RUnlock()
	return e.refusal()
}

// Update runs fn in the caller's goroutine when the writer gives it the turn, and returns when the
// commit of its group has: nil means durable. It may run fn again, alone, when the writes of its
// group could not be flushed together. A panic of fn unwinds through the caller as if it had called
// fn itself. The context counts until the writer has taken fn, and not after.
func (e *Engine) Update(ctx context.Context, fn func(row.Tx) error) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.inside.Done()
	j := newJob(fn, e.o.Now)
	select {
	case e.queue <- j:
		return j.wait()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter admits a call unless the engine is closed or stopped; the caller then owes inside.Done.
func (e *Engine) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.refusal(); err != nil {
		return err
	}
	e.gate.RLock()
	defer e.gate.RUnlock()
	if e.closed {
		return crm.Errorf("use the store", crm.CodeStopped, "the store is closed")
	}
	e.inside.Add(1)
	return nil
}

// refusal gives the error of a stopped engine, nil while it runs. Each caller gets its own copy,
// since errors are changed on their way up.
func (e *Engine) refusal() error {
	if s := e.stopped.Load(); s != nil {
		own := *s
		return &own
	}
	return nil
}

// stop ends all use of the store after a failed commit. What is on the disk is unknown until the
// file is opened again, and the pages in memory may show what is not on the disk.
func (e *Engine) stop(cause error) {
	e.stopped.CompareAndSwap(nil, crm.Errorf("use the store", crm.CodeStopped,
		"it stopped itself after a failed commit: %w", cause).
		WithHint("check the disk's health and free space, then restart: what was acknowledged is on the disk"))
}

// Close waits for what was queued and for running views, and releases the file. It gives no error
// when it was closed before.
func (e *Engine) Close() error {
	e.gate.Lock()
	if e.closed {
		e.gate.Unlock()
		<-e.ended
		return nil
	}
	e.closed = true
	e.gate.Unlock()
	e.inside.Wait()
	close(e.queue)
	<-e.ended
	removePID(e.path)
	if e.wedged {
		return nil // bbolt would wait for ever for a transaction that cannot be closed
	}
	return wrap("close the store", e.db.Close())
}

// Stats gives figures about the store so far.
func (e *Engine) Stats() Stats {
	s := Stats{
		Commits: e.commits.Load(), Functions: e.functions.Load(), LargestGroup: e.largest.Load(),
		Reruns: e.reruns.Load(), Refused: e.refused.Load(), OpenViews: int(e.views.Load()),
	}
	b := e.db.Stats()
	s.FreeBytes = int64(b.FreeAlloc)
	s.FileBytes = fileSize(e.path)
	return s
}

// roomLeft refuses new work before the disk is full: a commit that runs out of space half-way would
// stop the engine. An amount that cannot be read refuses nothing.
func (e *Engine) roomLeft() error {
	free, err := e.o.FreeBytes(filepath.Dir(e.path))
	if err != nil || free >= e.o.MinFree {
		return nil
	}
	return crm.Errorf("write to the store", crm.CodeDiskFull, "%d MiB are free on its disk, %d are needed",
		free>>20, e.o.MinFree>>20).WithHint("free space on the disk; reads go on, and writes will by themselves")
}
