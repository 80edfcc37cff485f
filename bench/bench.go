// Package bench measures what the store and the engine cost beside the least that could be written:
// each contestant is run next to a floor, a bare bbolt file that takes the same rows in transactions
// of the same sizes, in the same run, turn by turn.
//
// Only ratios within one round are worth quoting: on a shared machine absolute figures move several
// times between runs. The package must never assert a time, never measure work that it has not
// checked to be done, and never give the contestant a disk, a file or an fsync that the floor lacks.
package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"syscall"
	"time"
)

// Options say how much is measured.
type Options struct {
	Contacts int           // in the life of a contact: deleted, restored, purged
	Tagged   int           // from a tag to a delete, in one round
	Rounds   int           // at least five, or a median says little
	Slice    time.Duration // of one contestant of the ingest in one round
	Rules    []int         // how many an event is held up to
	Waits    int           // runs that become due at one instant
	Sleepers int           // runs that sleep in one store
	Cases    int           // of tests of workflows
	Starts   int           // of a plugin, of each kind in one round; half as many, rounded up, are killed
	Only     *regexp.Regexp
	Dir      string    // where the files go; "" is the system's temporary directory
	Builtin  []string  // argv that serves a built-in action once its name is appended
	Idle     []string  // argv that calls Idle once the path of a store is appended
	Plugin   []string  // argv that calls ServePlugin once its argument is appended
	Progress io.Writer // a line for each round; nil: none
	// Around is called when a contestant that is not a floor begins, with the name of the contest;
	// what it gives is called at the end. For profiles; may be nil.
	Around func(contest string) func()
}

// Full is what docs/performance.md quotes: some minutes.
func Full() Options {
	return Options{Contacts: 100_000, Tagged: 2000, Rounds: 5, Slice: time.Second,
		Rules: []int{100, 1000, 10_000}, Waits: 100_000, Sleepers: 200_000, Cases: 1000, Starts: 5}
}

// Short takes about a minute.
func Short() Options {
	return Options{Contacts: 5000, Tagged: 1000, Rounds: 5, Slice: 200 * time.Millisecond,
		Rules: []int{100, 1000, 10_000}, Waits: 5000, Sleepers: 10_000, Cases: 200, Starts: 5}
}

// scenario is one or several contests that share their files.
type scenario interface {
	round(ctx context.Context, n int) error
	close() error
}

// run is what the scenarios of one run share.
type run struct {
	o      Options
	dir    string
	report *Report
}

// Run measures. All scenarios have their turn in each round, so that a slow minute of the machine
// falls on contestants and floors alike.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	dir, err := os.MkdirTemp(o.Dir, "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &run{o: o, dir: dir, report: &Report{}}
	var all []scenario
	defer func() {
		for _, s := range all {
			if cerr := s.close(); err == nil {
				err = cerr
			}
		}
	}()
	for _, make := range []struct {
		name string
		new  func(context.Context, *run) (scenario, error)
	}{{"ingest", newIngest}, {"pipeline", newPipeline}, {"life", newLife}, {"weight", newWeight},
		{"workflows/match", newMatch}, {"workflows/waits", newWaits}, {"workflows/sleepers", newSleepers}, {"workflows/tests", newCases},
		{"plugins", newPlugins}} {
		if o.Only != nil && !o.Only.MatchString(make.name) {
			continue
		}
		began := time.Now()
		s, err := make.new(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", make.name, err)
		}
		all = append(all, s)
		r.say("%s prepared in %.1f s", make.name, time.Since(began).Seconds())
	}
	for n := range o.Rounds {
		began := time.Now()
		for _, s := range all {
			if err := s.round(ctx, n); err != nil {
				return nil, err
			}
		}
		if err := r.probe(); err != nil {
			return nil, err
		}
		r.say("round %d of %d: %.1f s", n+1, o.Rounds, time.Since(began).Seconds())
	}
	return r.report, nil
}

func (r *run) say(format string, args ...any) {
	if r.o.Progress != nil {
		fmt.Fprintf(r.o.Progress, format+"\n", args...)
	}
}

// spent is what something took: on the wall, and of the process's own processor time, user and
// system. On a shared machine the second is the steadier one; it leaves out the wait for the disk and
// what the processes of plugins use.
type spent struct{ wall, cpu time.Duration }

// each gives the share of one of n items.
func (s spent) each(n int) spent {
	d := time.Duration(max(n, 1))
	return spent{s.wall / d, s.cpu / d}
}

// timed gives what f took. Only one contestant runs at a time, so the process's time is its own.
func timed(f func() error) (spent, error) {
	took := stopwatch()
	err := f()
	return took(), err
}

// stopwatch starts now, and gives what has been spent since.
func stopwatch() func() spent {
	began, used := time.Now(), processorTime()
	return func() spent { return spent{time.Since(began), processorTime() - used} }
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// contestant is timed for what is measured and announced to Options.Around.
func (r *run) contestant(contest string, f func() error) (spent, error) {
	if r.o.Around != nil && contest != "" {
		defer r.o.Around(contest)()
	}
	return timed(f)
}
