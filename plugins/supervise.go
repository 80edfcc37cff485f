package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
)

// inFlight is how many batches one plugin gets at a time: the commit of one overlaps the next.
const inFlight = 2

// quickLife is below which a life counts as a quick death.
const quickLife = 10 * time.Second

// backoff says how long to wait after so many quick deaths in a row: a single one costs nothing,
// and after the fifth the plugin is left alone for half a minute.
func backoff(deaths int) time.Duration {
	switch {
	case deaths <= 1:
		return 0
	case deaths < 5:
		return 100 * time.Millisecond << (deaths - 2)
	}
	return 30 * time.Second
}

// plugin supervises the processes of one plugin, one at a time: it starts one when it is needed and
// another when that one has died. Nothing restarts a plugin that nobody calls.
type plugin struct {
	name   string
	launch launch
	expect func(map[string]Spec) error // refuses a description that is not what was agreed
	log    zerolog.Logger

	turn    chan struct{} // whose turn it is to start a process; holds one
	slots   chan struct{} // batches in flight
	probing chan struct{} // whose turn it is to try a plugin that kept dying; holds one
	refused error         // why it is never started; nil if it may be

	mu        sync.Mutex
	actions   []string
	specs     map[string]Spec // as described last; nil before
	version   string
	proc      *process
	held      Containment // of the last process
	broken    error       // why the last start failed
	restarts  int
	deaths    int // quick ones in a row
	notBefore time.Time
	retired   bool
	tally     tally
}

func newPlugin(name string, actions []string, l launch, expect func(map[string]Spec) error) *plugin {
	l.log = l.log.With().Str("plugin", name).Logger()
	return &plugin{name: name, actions: actions, launch: l, expect: expect, log: l.log,
		turn: make(chan struct{}, 1), slots: make(chan struct{}, inFlight), probing: make(chan struct{}, 1)}
}

// ready gives a living process, starting one if need be. The start itself is not given up when ctx
// is: others may be waiting for it.
func (p *plugin) ready(ctx context.Context) (*process, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, p.unavailable(ctx.Err())
	}
	if proc, err := p.current(); proc != nil || err != nil {
		return proc, err
	}
	proc, specs, err := p.start()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
	if err != nil {
		if crm.CodeOf(err) != crm.CodeDenied { // what is refused stays refused: nothing was run in vain
			p.died(0)
		}
		p.log.Error().Err(err).Msg("the plugin does not start")
		return nil, err
	}
	if p.specs != nil {
		p.restarts++
	}
	proc.used = p.launch.now()
	p.proc, p.specs, p.version, p.held = proc, specs, clean(proc.desc.GetVersion()), proc.child.contained()
	p.actions = slices.Sorted(maps.Keys(specs))
	p.log.Info().Int("pid", proc.pid()).Str("version", p.version).Strs("not_contained_by", p.held.gaps()).Msg("the plugin has started")
	go p.watch(proc)
	return proc, nil
}

// current gives the living process; neither a process nor an error means that one must be started.
func (p *plugin) current() (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return nil, p.refused
	}
	if p.retired {
		return nil, p.unavailable(errRetired)
	}
	if p.proc != nil && p.proc.alive() {
		return p.proc, nil
	}
	if wait := p.notBefore.Sub(p.launch.now()); wait > 0 {
		why := p.broken
		if why == nil {
			why = errors.New("it keeps dying")
		}
		return nil, p.unavailable(fmt.Errorf("it is left alone for another %s: %w", wait.Round(time.Millisecond), why))
	}
	return nil, nil
}

func (p *plugin) start() (*process, map[string]Spec, error) {
	proc, err := p.launch.start()
	if err != nil {
		var e *crm.Error
		if errors.As(err, &e) {
			return nil, nil, e
		}
		return nil, nil, p.unavailable(errors.New(clean(err.Error())))
	}
	specs, err := specsOf(proc.desc)
	if err == nil {
		err = p.expect(specs)
	}
	if err != nil {
		proc.end(0)
		var e *crm.Error
		if !errors.As(err, &e) {
			err = crm.Errorf("start plugin "+p.name, crm.CodeDenied, "%w", err).WithHint("report this to the plugin's author")
		}
		return nil, nil, err
	}
	return proc, specs, nil
}

// watch outlives the process and buries it.
func (p *plugin) watch(proc *process) {
	<-proc.child.exited
	p.bury(proc)
}

// bury ends a process that has died or must, cleans up after it and counts its death, once. When it
// returns, the next call gets another process.
func (p *plugin) bury(proc *process) {
	_ = proc.child.Kill(context.Background())
	<-proc.child.exited
	proc.end(0)
	proc.noteOnce.Do(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.proc == proc {
			p.proc = nil
		}
		if !p.retired {
			lived := p.launch.now().Sub(proc.began)
			p.died(lived)
			p.log.Warn().Int("pid", proc.pid()).Dur("lived", lived).Int("deaths", p.deaths).Msg("the plugin has died")
		}
	})
}

// died counts; the caller holds mu.
func (p *plugin) died(lived time.Duration) {
	if lived >= quickLife {
		p.deaths = 0
	}
	p.deaths++
	p.notBefore = p.launch.now().Add(backoff(p.deaths))
}

// stop ends the plugin for good. Calls in flight are waited for until ctx ends, and then cut off.
func (p *plugin) stop(ctx context.Context) error {
	p.mu.Lock()
	p.retired = true
	p.mu.Unlock()
	var err error
	for range inFlight {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }() // whoever still comes finds it retired
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	p.turn <- struct{}{} // a start that is under way ends by its own timeout
	defer func() { <-p.turn }()
	p.mu.Lock()
	proc := p.proc
	p.mu.Unlock()
	if proc != nil {
		grace := p.launch.kill
		if err != nil {
			grace = 0
		}
		proc.end(grace)
		p.bury(proc)
	}
	return err
}

func (p *plugin) unavailable(why error) *crm.Error {
	return crm.Errorf("run plugin "+p.name, crm.CodeUnavailable, "%w", why).
		WithHint("it is tried again by itself; `reprieve plugin list` shows how it is")
}

// expectActions refuses a description that lacks or adds an action: a built-in process serves what it was started for.
func expectActions(network bool, names ...string) func(map[string]Spec) error {
	return func(specs map[string]Spec) error {
		for _, s := range specs {
			if len(s.Network) > 0 && !network {
				return fmt.Errorf("%s needs the network, which the host does not give it", s.Action)
			}
		}
		if got := slices.Sorted(maps.Keys(specs)); !slices.Equal(got, names) {
			return fmt.Errorf("it has the actions %v instead of %v", got, names)
		}
		return nil
	}
}

// expectManifest refuses a description that differs from the lock file in anything that matters.
func expectManifest(m Manifest) func(map[string]Spec) error {
	return func(specs map[string]Spec) error {
		for _, s := range specs {
			if s.Plugin != m.Name || s.Version != m.Version {
				return fmt.Errorf("it calls itself %s %s, but %s %s is installed", s.Plugin, s.Version, m.Name, m.Version)
			}
		}
		if what := differs(m.Actions, slices.Collect(maps.Values(specs))); what != "" {
			return crm.Errorf("start plugin "+m.Name, crm.CodeDenied, "it declares other things than were installed: %s", what).
				WithHint("look at what it wants now: `reprieve plugin install FOLDER` shows it")
		}
		return nil
	}
}

// grants gives what actions may do, in a form that can be compared and kept.
func grants(specs []Spec) string {
	b, err := json.Marshal(granted(specs))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// granted strips actions of what is only shown, in name order.
func granted(specs []Spec) []Spec {
	out := slices.Clone(specs)
	for i := range out {
		out[i].Summary, out[i].Plugin, out[i].Version, out[i].Schema, out[i].Broken = "", "", "", nil, nil
	}
	slices.SortFunc(out, func(a, b Spec) int {
		if a.Action < b.Action {
			return -1
		}
		return 1
	})
	return out
}
