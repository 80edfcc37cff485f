package bolt

import (
	"errors"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/fault"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// A group takes no more functions when it holds maxGroup, or once groupTime has passed since its
// begin, so that the first of them does not wait long for its commit.
const (
	maxGroup  = 4096
	groupTime = 25 * time.Millisecond
)

// job is one call of Update. The writer and the caller pass the turn back and forth: the function
// runs in its caller's goroutine, so that a panic or a Goexit there is the caller's own and carries
// its stack, and cannot take the writer with it.
type job struct {
	fn   func(row.Tx) error
	now  func() crm.Nanos
	turn chan turn // to the caller: run now, or the end
	back chan ran  // to the writer: has run
	err  error     // what fn said last
}

type turn struct {
	tx  *txn // nil: it is over, with err
	err error
}

type ran struct {
	err       error
	abandoned bool // fn panicked or ended its goroutine; nobody waits for the outcome
}

func newJob(fn func(row.Tx) error, now func() crm.Nanos) *job {
	return &job{fn: fn, now: now, turn: make(chan turn, 1), back: make(chan ran, 1)}
}

// wait is the caller's side: it takes the turns that the writer gives until it says how it ended.
func (j *job) wait() error {
	for {
		t := <-j.turn
		if t.tx == nil {
			return t.err
		}
		j.run(t.tx)
	}
}

// run takes one turn.
func (j *job) run(tx *txn) {
	r := ran{abandoned: true}
	defer func() {
		tx.over = true
		j.back <- r
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx.now = j.now()
	r.err = j.fn(tx)
	r.abandoned = false
}

// finish ends the job; only the writer calls it, once.
func (j *job) finish(err error) { j.turn <- turn{err: err} }

// write is the writer. It ends when the queue is closed.
func (e *Engine) write() {
	defer close(e.ended)
	debug.SetPanicOnFault(true)
	for first := range e.queue {
		if err := e.refusal(); err != nil {
			first.finish(err)
			continue
		}
		if err := e.roomLeft(); err != nil {
			e.refused.Add(1)
			first.finish(err)
			continue
		}
		begun, taken := time.Now(), 0
		e.group(func() *job {
			if taken++; taken == 1 {
				return first
			}
			if taken > maxGroup || time.Since(begun) > groupTime {
				return nil
			}
			select {
			case j := <-e.queue: // nil when closed
				return j
			default:
				return nil // nobody waits: no delay in the hope of more
			}
		})
	}
}

// group runs the jobs that next gives in one transaction and commits it. Outcomes are told after
// the commit, those of failed functions too: they may be due to a neighbour's uncommitted write.
func (e *Engine) group(next func() *job) {
	b, err := e.db.Begin(true)
	if err != nil {
		err = e.halt(nil, err)
	}
	var jobs []*job
	wrote := uint64(0)
	for j := next(); j != nil; j = next() {
		if err != nil {
			j.finish(err)
			continue
		}
		flushed, gone, ferr := e.try(b, j)
		if gone {
			continue
		}
		jobs = append(jobs, j)
		if flushed {
			wrote++
		}
		if ferr != nil {
			e.singly(b, jobs, ferr)
			return
		}
	}
	if err == nil {
		e.finish(b, jobs, wrote)
	}
}

// try gives one job its turn and flushes what it wrote.
func (e *Engine) try(b *bbolt.Tx, j *job) (flushed, gone bool, err error) {
	tx := &txn{bolt: b, writable: true}
	j.turn <- turn{tx: tx}
	r := <-j.back
	if r.abandoned {
		return false, true, nil
	}
	if j.err = r.err; r.err != nil || !tx.wrote {
		return false, false, nil
	}
	fault.Point("bolt.before_flush")
	return true, false, tx.flush()
}

// finish commits the group, or rolls it back when nobody wrote, and tells the outcomes.
func (e *Engine) finish(b *bbolt.Tx, jobs []*job, wrote uint64) {
	var err error
	if wrote == 0 {
		_ = b.Rollback()
	} else if err = e.durably(b); err == nil {
		e.commits.Add(1)
		e.functions.Add(wrote)
		e.largest.Store(max(e.largest.Load(), wrote))
	}
	for _, j := range jobs {
		if err != nil {
			j.err = e.refusal()
		}
		j.finish(j.err)
	}
}

// durably commits. An error stops the engine before any view can learn of the transaction.
func (e *Engine) durably(b *bbolt.Tx) (err error) {
	id := uint64(b.ID())
	e.commit.Lock()
	defer e.commit.Unlock()
	fault.Point("bolt.before_commit")
	if err := caught(b.Commit); err != nil {
		return e.halt(b, err)
	}
	e.durable.Store(id)
	fault.Point("bolt.after_commit")
	return nil
}

// halt stops the engine and closes what it can of a transaction that failed in an unknown state.
func (e *Engine) halt(b *bbolt.Tx, cause error) error {
	e.stop(cause)
	if b != nil {
		if err := caught(b.Rollback); err != nil && !errors.Is(err, bbolt.ErrTxClosed) {
			e.wedged = true
		}
	}
	return e.refusal()
}

// singly rolls a group back whose writes could not be flushed and runs each job again on its own,
// so that only the one at fault fails.
func (e *Engine) singly(b *bbolt.Tx, jobs []*job, cause error) {
	if err := caught(b.Rollback); err != nil {
		cause = e.halt(b, err)
	}
	if stopped := e.refusal(); stopped != nil || len(jobs) == 1 {
		for _, j := range jobs {
			j.finish(cause)
		}
		return
	}
	e.reruns.Add(1)
	for i := range jobs {
		one := jobs[i : i+1]
		e.group(func() *job {
			if len(one) == 0 {
				return nil
			}
			j := one[0]
			one = nil
			return j
		})
	}
}
