package flowtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/workflow"
)

// begin is when a case begins that does not say: a Monday morning.
var begin = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

// sweep is when it is looked for what is past its deadline. Every minute, as a server does it, would have
// a case spend its time on counting minutes.
const sweep = "0 * * * *"

// maxStops is how often time may stop on the way of one case, so that a schedule of every minute cannot
// keep a test busy for years.
const maxStops = 100_000

// person is who does what a case says.
var person = crm.Actor{ID: "user:test", Role: crm.Admin}

// bench is one case being run.
type bench struct {
	ctx  context.Context
	def  *workflow.Workflow
	test *workflow.Test
	file string
	acts *executor

	start   crm.Nanos
	clock   *clock.Virtual
	store   *store.Store
	engine  *runtime.Engine
	log     lines
	account crm.AccountID
	others  []*workflow.Workflow
	people  map[string]crm.Key
	objects map[string]crm.ItemID // "list name" and "campaign name", folded
	stops   int
	trace   []line
	failed  []Failure
}

// line is a line of a trace.
type line struct {
	at   crm.Nanos
	text string
}

// errWrong ends a case whose item could not be carried out; what was wrong has been noted.
var errWrong = errors.New("the case cannot go on")

func (b *bench) run() (Result, error) {
	began := time.Now()
	r := Result{File: b.def.File, Line: b.test.Line, Workflow: b.def.ID, Name: b.test.Name}
	err := b.open()
	for i := 0; err == nil && i < len(b.test.Do); i++ {
		err = b.do(&b.test.Do[i])
	}
	if errors.Is(err, errWrong) {
		err = nil
	}
	if err == nil && len(b.failed) > 0 {
		r.Trace, err = b.traced()
	}
	if b.store != nil {
		err = errors.Join(err, b.store.Close(), os.Remove(b.file))
	}
	r.Failures, r.Passed, r.Took = b.failed, len(b.failed) == 0 && err == nil, time.Since(began)
	return r, err
}

func (b *bench) open() error {
	b.start = crm.At(begin)
	if b.test.Now != 0 {
		b.start = b.test.Now
	}
	b.clock = clock.NewVirtual(b.start.Time())
	eng, err := bolt.Open(b.file, bolt.Options{Now: b.now, NoSync: true})
	if err != nil {
		return err
	}
	if b.store, err = store.New(b.ctx, eng, store.Options{Key: make([]byte, 32), Rand: &source{r: rand.NewChaCha8([32]byte{1})}}); err != nil {
		return errors.Join(err, eng.Close())
	}
	b.engine, err = runtime.New(runtime.Options{Store: b.store, Actions: b.acts, Clock: b.clock, Sweep: sweep, Log: zerolog.New(&b.log).Level(zerolog.WarnLevel),
		Secrets: func(_, name string) (string, error) { return "the secret " + name, nil }})
	if err != nil {
		return err
	}
	if err := b.store.Update(b.ctx, b.prepare); err != nil {
		return err
	}
	for _, def := range append(b.others, b.def) {
		b.engine.Know(b.account, def)
	}
	return b.engine.Settle(b.ctx)
}

func (b *bench) now() crm.Nanos { return crm.At(b.clock.Now()) }

// source is randomness that is the same for every case.
type source struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

// lines keeps what the engine had to say.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// do carries out one item and whatever is due by then.
func (b *bench) do(it *workflow.TestItem) error {
	switch {
	case it.Expect != nil:
		return b.expect(it)
	case it.Advance > 0:
		b.note("advance %s", it.Advance.Days())
		return b.advance(it)
	case it.Send != nil:
		b.note("send %s %s", it.Send.Event, strings.TrimSpace(it.Send.Name+" "+it.Contact))
		if err := b.apply(it, b.send); err != nil {
			return err
		}
	case it.Delete:
		b.note("delete %s", it.Contact)
		if err := b.apply(it, func(*store.Tx, *workflow.TestItem, crm.Key) (crm.Mutation, error) {
			return crm.Delete{Contact: b.people[it.Contact], Reason: it.Reason}, nil
		}); err != nil {
			return err
		}
	case it.Restore:
		b.note("restore %s", it.Contact)
		if err := b.apply(it, func(*store.Tx, *workflow.TestItem, crm.Key) (crm.Mutation, error) {
			return crm.Restore{Contact: b.people[it.Contact], Reason: "test"}, nil
		}); err != nil {
			return err
		}
	}
	return b.engine.Settle(b.ctx)
}

// advance lets time pass, from one instant at which something is due to the next.
func (b *bench) advance(it *workflow.TestItem) error {
	until := b.now() + it.Advance
	for {
		next, err := b.engine.NextDue(b.ctx)
		if err != nil {
			return err
		}
		if next == 0 || next > until {
			b.clock.Set(until.Time())
			return b.engine.Settle(b.ctx)
		}
		if b.stops++; b.stops > maxStops {
			return b.wrong(it, "advance", fmt.Sprintf("something was due more than %d times", maxStops))
		}
		b.clock.Set(next.Time())
		if err := b.engine.Settle(b.ctx); err != nil {
			return err
		}
	}
}

func (b *bench) note(format string, args ...any) {
	b.trace = append(b.trace, line{b.now(), fmt.Sprintf(format, args...)})
}

// wrong notes why an item could not be carried out.
func (b *bench) wrong(it *workflow.TestItem, what, got string) error {
	b.failed = append(b.failed, Failure{Line: it.Line, What: what, Got: got})
	return errWrong
}

// said gives what the engine complained of, a line each.
func (b *bench) said() (out []string) {
	for d := json.NewDecoder(io.Reader(&b.log.buf)); d.More(); {
		var m map[string]any
		if d.Decode(&m) != nil {
			break
		}
		text := fmt.Sprint(m["message"])
		if e, ok := m["error"]; ok {
			text += ": " + fmt.Sprint(e)
		}
		out = append(out, "the engine said: "+text)
	}
	return out
}
