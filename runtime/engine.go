package runtime

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
)

// Executor has actions executed; the plugin host is one. Both methods may take as long as a plugin
// takes to start; they are called beside the passes only.
type Executor interface {
	// Spec says what an action may do, as its plugin is now; it is asked for each batch.
	Spec(ctx context.Context, action string) (plugins.Spec, error)
	Execute(ctx context.Context, action string, b plugins.Batch) ([]plugins.Outcome, error)
}

// Options are what an Engine needs.
type Options struct {
	Store   *store.Store
	Actions Executor
	Clock   clock.Clock // only for waiting; instants come from the store's transactions
	Log     zerolog.Logger
	Sweep   string // cron of the retention sweep, in UTC; "" is every minute
	// Ledger makes lines of the erasure ledger durable outside of the store; nil leaves them in it.
	Ledger func([]crm.Erasure) error
	// Secrets reads what steps are sent by reference; nil: there are none.
	Secrets Secrets
	// Audit is where signed heads of the log go; nil: nowhere, and nothing is removed from the log.
	Audit *Audit
}

// Engine runs workflows and sweeps over one store. Its state is all in the store; what it keeps in
// memory is compiled text and which runs are inside a plugin right now.
type Engine struct {
	store   *store.Store
	actions Executor
	clock   clock.Clock
	log     zerolog.Logger
	sweep   *triggers.Schedule
	ledger  func([]crm.Erasure) error
	secrets Secrets
	audit   *Audit
	heads   heading
	defs    *definitions

	dispatching sync.Mutex // held by whoever reads the log: a pass, or a batch whose run has to hear of something

	mu       sync.Mutex
	inflight map[crm.RunID]bool
	busy     map[string]int // batches inside a plugin, by action
	resting  map[string]rest
	said     map[string]time.Time // complaints, by their text
	untags   map[crm.ItemID]untagging
	batches  sync.WaitGroup
	done     chan struct{} // receives when a batch came back; a hint, like Store.Wake
	turns    pace          // how many turns a commit takes
	starts   pace
	purges   pace
	parks    pace
	trims    pace          // entries of the log
	works    pace          // of operations over selections
	swept    *crm.Deadline // how far the sweep under way has come
	forgot   *forgetting   // and the one over finished runs
}

// rest is how long an action is kept back after a batch that could not be committed.
type rest struct {
	until time.Time
	pause time.Duration
}

// maxBusy is how many batches of one action may be inside its plugin at once: while one is being
// committed the next is decided.
const maxBusy = 2

// New makes an engine. It does nothing until Pass or Run.
func New(o Options) (*Engine, error) {
	if o.Sweep == "" {
		o.Sweep = "* * * * *"
	}
	sweep, err := triggers.ParseSchedule(triggers.ScheduleSpec{Cron: o.Sweep, Zone: "UTC", Misfire: "last", Within: 31 * crm.Day})
	if err != nil {
		return nil, err
	}
	heads, err := newHeading(o.Audit)
	if err != nil {
		return nil, err
	}
	return &Engine{
		audit: o.Audit, heads: heads, trims: pace{n: 256},
		store: o.Store, actions: o.Actions, clock: o.Clock, log: o.Log, sweep: sweep, ledger: o.Ledger, secrets: o.Secrets, defs: newDefinitions(),
		inflight: map[crm.RunID]bool{}, busy: map[string]int{}, resting: map[string]rest{}, said: map[string]time.Time{}, untags: map[crm.ItemID]untagging{}, done: make(chan struct{}, 1),
		turns: pace{n: 256}, starts: pace{n: 256}, purges: pace{n: 128}, works: pace{n: 128}, parks: pace{n: 256},
	}, nil
}

// Run works until ctx ends, then waits for the batches that are inside plugins. Errors of a pass are
// logged and the pass tried again; an error that stopped the store ends Run.
func (e *Engine) Run(ctx context.Context) error {
	defer e.batches.Wait()
	var failing time.Duration // grows from pass to pass while a part of them fails
	for ctx.Err() == nil {
		worked, err := e.Pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case crm.CodeOf(err) == crm.CodeStopped:
			return err
		case err != nil:
			failing = min(max(2*failing, 100*time.Millisecond), 10*time.Second)
			e.complain(err, "a part of a pass failed; it will be tried again")
		default:
			failing = 0
		}
		if worked {
			continue // also when a part failed: the others must not wait for it
		}
		pause, err := e.idle(ctx)
		if err != nil {
			pause = time.Second
		}
		if failing > 0 {
			pause = min(pause, failing)
		}
		select {
		case <-ctx.Done():
		case <-e.store.Wake():
		case <-e.done:
		case <-e.clock.After(pause):
		}
	}
	return nil
}

// idle says how long nothing is due: until the next timer or schedule, at most 30 seconds, since a
// machine that slept wakes up late.
func (e *Engine) idle(ctx context.Context) (time.Duration, error) {
	var wait crm.Nanos = 30 * crm.Second
	err := e.store.View(ctx, func(tx *store.Tx) error {
		now := tx.Now()
		next, err := tx.NextTimer(now) // what is overdue is inside a plugin, or was looked at just now
		if err != nil {
			return err
		}
		if next != 0 {
			wait = min(wait, next-now)
		}
		for _, at := range e.nextFires(now) {
			wait = min(wait, max(at-now, crm.Second/100))
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, r := range e.resting {
			wait = min(wait, max(crm.Nanos(r.until.Sub(e.clock.Now())), crm.Second/100))
		}
		return nil
	})
	return time.Duration(wait), err
}

// complain logs an error, the same one once a minute: a full disk must not be filled up by saying so.
func (e *Engine) complain(err error, msg string) {
	now, text := e.clock.Now(), msg+err.Error()
	e.mu.Lock()
	last, told := e.said[text]
	if len(e.said) > 1000 {
		clear(e.said)
	}
	if !told || now.Sub(last) >= time.Minute {
		e.said[text], told = now, false
	}
	e.mu.Unlock()
	if !told {
		e.log.Error().Str("code", crm.CodeOf(err)).Err(err).Msg(msg)
	}
}

// Settle passes until nothing is left to do at this instant and no plugin is working: for virtual
// clocks, where time stands still in between.
func (e *Engine) Settle(ctx context.Context) error {
	defer e.batches.Wait() // also after an error: nothing goes on behind the caller's back
	for {
		worked, err := e.Pass(ctx)
		if err != nil {
			return err
		}
		e.batches.Wait()
		if worked {
			continue
		}
		if worked, err = e.Pass(ctx); err != nil || !worked {
			return err
		}
	}
}

// Pass does once what is to be done now: dispatch, schedules, due runs, operations, the sweep. It reports whether
// there was anything. Each part goes on although another failed, and none takes more than a few
// chunks of work, so that a flood of one kind does not keep the others waiting.
func (e *Engine) Pass(ctx context.Context) (worked bool, err error) {
	if err := e.refresh(ctx); err != nil {
		return false, err
	}
	var errs []error
	for _, part := range []func(context.Context) (bool, error){e.dispatch, e.fire, e.unpark, e.advanceDue, e.operate, e.sweepDue, e.writeLedger, e.headDue} {
		did, err := part(ctx)
		worked = worked || did
		if err != nil {
			errs = append(errs, err)
		}
	}
	return worked, errors.Join(errs...)
}

// pace sizes chunks so that one holds the writer for about 20 of the 25 milliseconds that long work
// may hold it, commit included, from what the last one took.
type pace struct {
	mu sync.Mutex
	n  int
}

const hold = 20 * time.Millisecond

// maxChunks is how many chunks of work a part of a pass takes on.
const maxChunks = 10

// size gives how many items the next chunk takes.
func (p *pace) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// took tells the pace how long n items took.
func (p *pace) took(n int, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < p.n/2 || n == 0 {
		return // a small chunk says nothing about large ones
	}
	fit := int(float64(n) * float64(hold) / float64(max(d, time.Microsecond)))
	p.n = min(max(fit, p.n/2, 16), p.n*2, 4000)
}
