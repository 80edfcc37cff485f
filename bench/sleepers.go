package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// sleepers weighs a store with many runs that sleep for months, beside a store with the same contacts and
// none: a process of its own opens each and idles with the engine running.
type sleepers struct {
	r     *run
	n     int
	paths [2]string // without runs, with them
	used  [2]int64  // bytes of the file that are not free
}

// perContact is how many of the runs each contact has.
const perContact = 10

func newSleepers(ctx context.Context, r *run) (scenario, error) {
	contacts := max(1, r.o.Sleepers/perContact)
	b, err := makeBase(ctx, filepath.Join(r.dir, "sleepers"), contacts, false)
	if err != nil {
		return nil, err
	}
	w := &sleepers{r: r, n: contacts * perContact, paths: [2]string{b.path, b.path + "-asleep"}}
	if err := duplicate(b.path, w.paths[1]); err != nil {
		return nil, err
	}
	began := time.Now()
	first := crm.At(began) + 30*crm.Day
	_, err = sleep(ctx, b, w.paths[1], once, perContact, func(i int) crm.Nanos { return first + crm.Nanos(i%86_400)*crm.Second })
	if err != nil {
		return nil, err
	}
	r.report.note("sleeping runs: seconds to make a million", time.Since(began).Seconds()/float64(w.n)*1e6)
	if _, err := sleep(ctx, b, w.paths[0], once, 0, nil); err != nil { // it has read the log, too
		return nil, err
	}
	return w, w.size(ctx)
}

// size notes what the runs take on the disk.
func (w *sleepers) size(ctx context.Context) error {
	for i, path := range w.paths {
		s, err := openStore(ctx, path, true, nil)
		if err != nil {
			return err
		}
		st := s.eng.Stats()
		w.used[i] = st.FileBytes - st.FreeBytes
		if err := s.Close(); err != nil {
			return err
		}
	}
	w.r.report.note("sleeping runs: bytes of the file for each", float64(w.used[1]-w.used[0])/float64(w.n))
	kept, err := changed(w.paths[0], w.paths[1])
	if err != nil {
		return err
	}
	n, size := kept.size()
	w.r.report.note("sleeping runs: rows of each", float64(n)/float64(w.n))
	w.r.report.note("sleeping runs: bytes of the rows of each", float64(size)/float64(w.n))
	_, history := kept.only("log/log").size()
	w.r.report.note("sleeping runs: of them in the log", float64(history)/float64(w.n))
	return nil
}

// idled is what a process that idled says of itself.
type idled struct {
	Open, First, Pass time.Duration // the store opened, the engine's first pass, one with nothing to do
	OpenCPU, PassCPU  time.Duration
	Anonymous, Mapped int64 // resident bytes: the process's own, and pages of files, the store's above all
}

// Idle opens a store, has an engine run on it for half a second and writes what that took and takes, for Options.Idle.
func Idle(path string, out io.Writer) (err error) {
	debug.SetGCPercent(400) // as serve does
	ctx := context.Background()
	var w idled
	var s *subject
	took, err := timed(func() (err error) {
		s, err = openStore(ctx, path, false, nil)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w.Open, w.OpenCPU = took.wall, took.cpu
	e, err := engineOn(s)
	if err != nil {
		return err
	}
	if took, err = timed(func() error { return e.Settle(ctx) }); err != nil {
		return err
	}
	w.First = took.wall
	running, stop := context.WithTimeout(ctx, time.Second/2)
	defer stop()
	if err := e.Run(running); err != nil {
		return err
	}
	if w.Anonymous, w.Mapped, err = resident(); err != nil {
		return err
	}
	const passes = 200
	took, err = timed(func() error {
		for range passes {
			if _, err := e.Pass(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	w.Pass, w.PassCPU = took.each(passes).wall, took.each(passes).cpu
	return errors.Join(err, json.NewEncoder(out).Encode(w))
}

// resident reads how much of this process is in memory.
func resident() (anonymous, mapped int64, err error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kib); n == 1 {
			anonymous = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "RssFile: %d kB", &kib); n == 1 {
			mapped = kib << 10
		}
	}
	return anonymous, mapped, nil
}

func (w *sleepers) round(ctx context.Context, n int) error {
	var found [2]idled
	for i := range 2 {
		side := (i + n) % 2
		if len(w.r.o.Idle) == 0 {
			return errors.New("bench: Options.Idle is missing")
		}
		argv := append(slices.Clone(w.r.o.Idle), w.paths[side])
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("bench: %s: %w", strings.Join(w.r.o.Idle, " "), err)
		}
		if err := json.Unmarshal(out, &found[side]); err != nil {
			return err
		}
	}
	none, with := found[0], found[1]
	floor := "the same contacts, no runs"
	w.r.report.add(Row{Contest: fmt.Sprintf("open a store with %d sleeping runs", w.n), Floor: floor, Cost: true},
		spent{with.Open, with.OpenCPU}, spent{none.Open, none.OpenCPU})
	w.r.report.add(Row{Contest: fmt.Sprintf("idle pass over %d sleeping runs", w.n), Floor: floor, Cost: true},
		spent{with.Pass, with.PassCPU}, spent{none.Pass, none.PassCPU})
	const mb = 1 << 20
	for _, note := range []struct {
		what string
		v    float64
	}{
		{"MiB of the process's own, idling", float64(with.Anonymous) / mb},
		{"the same without runs", float64(none.Anonymous) / mb},
		{"MiB of mapped files in memory, idling", float64(with.Mapped) / mb},
		{"the same without runs, mapped", float64(none.Mapped) / mb},
		{"resident bytes for each, over the store without", float64(with.Anonymous+with.Mapped-none.Anonymous-none.Mapped) / float64(w.n)},
		{"ms to open", float64(with.Open) / float64(time.Millisecond)},
		{"ms of the engine's first pass", float64(with.First) / float64(time.Millisecond)},
		{"µs of an idle pass", float64(with.Pass) / float64(time.Microsecond)},
	} {
		w.r.report.note("sleeping runs: "+note.what, note.v)
	}
	return nil
}

func (w *sleepers) close() error { return nil }
