// Package plugintest tests plugins: whether one keeps what the protocol promises, as functions in a test or as the
// program that is shipped. `reprieve plugin test` is made of it.
//
// It plays the host's part and must never be one: it starts what it is given with the rights of whoever runs the
// test, commits nothing, and knows nothing of the product beyond the protocol.
package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// Plugin is what is tested: Actions in this process, or a Command.
type Plugin struct {
	Name, Version string       // as plugin.yaml has them; of a Command "" takes what it says
	Actions       []sdk.Action // tested in this process
	Command       []string     // started as a host starts it: no environment, no input
	Dir           string       // the Command's working directory: the plugin's folder
	Config        json.RawMessage
	// Params are parameters by action with which it has something to do. Without them the schema is asked, which
	// is good enough where any text will do.
	Params map[string]json.RawMessage
	// Outside counts what has happened in the outside world, if the test can see it. The kit itself watches Dir,
	// and gives a server of its own to each parameter that is called url.
	Outside func() int
	// Live lets external actions run for real. Without it they are only asked to show what they would do.
	Live bool

	// For tests of the kit:
	server  actionv1.ActionPluginServer // instead of Actions
	without []string                    // checks that are left out
}

// Status is how a check ended.
type Status string

// The statuses. A check is skipped where the plugin gives no occasion for it.
const (
	Pass    Status = "pass"
	Failed  Status = "fail"
	Skipped Status = "skip"
)

// Result is one check.
type Result struct {
	Check  string        `json:"check"`
	Status Status        `json:"status"`
	Detail string        `json:"detail,omitempty"` // what was seen
	Hint   string        `json:"hint,omitempty"`   // what to do, if it failed
	Took   time.Duration `json:"took_nanos"`
}

// skipped is why a check has no occasion.
type skipped string

// Error implements error.
func (s skipped) Error() string { return string(s) }

func problem(format string, args ...any) error { return fmt.Errorf(format, args...) }

// check is one promise.
type check struct {
	name string
	what string // in words
	hint string
	run  func(k *kit, ctx context.Context) error
}

// Check runs all checks and gives their results in a fixed order. It ends by itself, also if the plugin hangs; the
// error is about ctx or this machine alone.
func Check(ctx context.Context, p Plugin) ([]Result, error) {
	if p.server == nil && (len(p.Actions) > 0) == (len(p.Command) > 0) {
		return nil, errors.New("test either actions or a command")
	}
	k, err := newKit(p)
	if err != nil {
		return nil, err
	}
	defer k.close()
	var out []Result
	dead := ""
	for _, c := range checks() {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		began := time.Now()
		r := Result{Check: c.name, Status: Pass}
		var err error = skipped(dead)
		if slices.Contains(p.without, c.name) {
			err = skipped("left out")
		} else if dead == "" {
			err = c.run(k, ctx)
		}
		var skip skipped
		switch {
		case errors.As(err, &skip):
			r.Status, r.Detail = Skipped, string(skip)
		case err != nil:
			r.Status, r.Detail, r.Hint = Failed, oneLine(err.Error()), c.hint
			if c.name == "start" || c.name == "describe" {
				dead = "it does not get that far"
			}
		}
		r.Took = time.Since(began)
		out = append(out, r)
	}
	return out, nil
}

// Describe lists the checks, each with what it looks at.
func Describe() [][2]string {
	var out [][2]string
	for _, c := range checks() {
		out = append(out, [2]string{c.name, c.what})
	}
	return out
}

// TB is what Run needs of a *testing.T.
type TB interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Run runs all checks as a test.
func Run(t TB, p Plugin) {
	t.Helper()
	results, err := Check(t.Context(), p)
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, r := range results {
		switch r.Status {
		case Failed:
			t.Errorf("%s: %s\n  help: %s", r.Check, r.Detail, r.Hint)
		case Skipped:
			t.Logf("%s: skipped: %s", r.Check, r.Detail)
		}
	}
}

// Call gives what a host would call a function with, for tests of the function itself: the targets, a key, a clock
// that stands still, a log that is thrown away.
func Call(targets ...sdk.Target) sdk.Call {
	return sdk.Call{Targets: targets, Key: "run/step/0", Attempt: 1, Now: now, Log: slog.New(slog.DiscardHandler),
		Run: sdk.RunInfo{ID: "run_1", Workflow: "workflow", Step: "step", StartedAt: now}}
}

// Live gives a target for Call: a contact with the given facts.
func Live(c sdk.Contact) sdk.Target { return sdk.Target{ID: "con_1", State: sdk.Live, Contact: c} }

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// oneLine keeps what a plugin said from writing over a table or a terminal.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 400 {
		s = strings.ToValidUTF8(s[:400], "") + "…"
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
