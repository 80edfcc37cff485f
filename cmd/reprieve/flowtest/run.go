// Package flowtest runs the tests: of workflow files: each case in a store of its own, with the real
// engine and the real built-in actions, in virtual time and without a data directory.
//
// It must never open anybody's store, start a process or read the clock on the wall for anything but
// how long a case took.
package flowtest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/plugins/sdk"
	"github.com/reprieve-run/reprieve/workflow"
)

// Result is what one case came to.
type Result struct {
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Workflow string        `json:"workflow"`
	Name     string        `json:"name"`
	Passed   bool          `json:"passed"`
	Took     time.Duration `json:"took_nanos"` // on the wall
	Failures []Failure     `json:"failures,omitempty"`
	Trace    []string      `json:"trace,omitempty"` // of a case that failed: what happened, and when from its start
}

// Failure is one thing that did not hold.
type Failure struct {
	Line     int    `json:"line"`
	What     string `json:"what"`
	Expected string `json:"expected,omitempty"`
	Got      string `json:"got"`
}

// Builtin gives the built-in actions in this process.
func Builtin(ctx context.Context) (*plugins.InProcess, error) {
	server, err := sdk.Local("reprieve", "test", slog.New(slog.DiscardHandler), actions.All()...)
	if err != nil {
		return nil, err
	}
	return plugins.NewInProcess(ctx, server)
}

// Run runs every case of the workflows, in their order, on as many cores as there are. An error is one of
// this machine; what is wrong with a case stands in its result.
func Run(ctx context.Context, defs []*workflow.Workflow) ([]Result, error) {
	builtin, err := Builtin(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "reprieve-test-")
	if err != nil {
		return nil, err
	}
	var cases []bench
	for _, def := range defs {
		for i := range def.Tests {
			file := filepath.Join(dir, strconv.Itoa(len(cases))+".db")
			cases = append(cases, bench{ctx: ctx, def: def, test: &def.Tests[i], file: file, acts: newExecutor(builtin, def.Tests[i].Mocks)})
		}
	}
	results, errs := make([]Result, len(cases)), make([]error, len(cases))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(goruntime.GOMAXPROCS(0), len(cases)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(cases) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				results[i], errs[i] = cases[i].run()
			}
		})
	}
	workers.Wait()
	return results, errors.Join(errors.Join(errs...), ctx.Err(), os.RemoveAll(dir))
}
