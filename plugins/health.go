package plugins

import (
	"context"
	"errors"
	"slices"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// errRetired is why a plugin takes no more calls; nothing of the call was sent.
var errRetired = errors.New("it is being stopped or replaced")

// idleAfter is how long a process does nothing before it is asked how it is, ahead of its next batch; and
// healthTime is how long it may take to answer.
const (
	idleAfter  = 30 * time.Second
	healthTime = 2 * time.Second
)

// Breaker is how a plugin that keeps dying is kept from being started again and again.
type Breaker string

// The states of a breaker. After maxDeaths quick deaths in a row it is open, and nothing is started for a
// while. Then it is half open: one batch is tried, and the others wait for how that one fares.
const (
	BreakerClosed   Breaker = "closed"
	BreakerOpen     Breaker = "open"
	BreakerHalfOpen Breaker = "half_open"
)

const maxDeaths = 5

// breaker gives the state; the caller holds mu.
func (p *plugin) breaker() Breaker {
	switch {
	case p.deaths < maxDeaths:
		return BreakerClosed
	case p.launch.now != nil && p.launch.now().Before(p.notBefore):
		return BreakerOpen
	}
	return BreakerHalfOpen
}

// admit lets a batch pass the breaker; while that is half open, one at a time. The caller says with proved
// whether the plugin has answered, which closes the breaker, though the next quick death opens it again.
func (p *plugin) admit(ctx context.Context) (proved func(bool), err error) {
	for {
		if p.breakerNow() != BreakerHalfOpen {
			return func(bool) {}, nil // an open one is refused when a process is asked for
		}
		select {
		case p.probing <- struct{}{}:
		case <-ctx.Done():
			return nil, p.unavailable(ctx.Err())
		}
		if p.breakerNow() == BreakerHalfOpen {
			return func(alive bool) {
				if alive {
					p.mu.Lock()
					p.deaths = maxDeaths - 1
					p.mu.Unlock()
				}
				<-p.probing
			}, nil
		}
		<-p.probing
	}
}

func (p *plugin) breakerNow() Breaker {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.breaker()
}

// fit gives a living process that is well, and counts the call, which the caller must end by leave. One
// that has been idle is asked first: what has gone bad meanwhile is found out before a batch depends on it.
func (p *plugin) fit(ctx context.Context) (*process, error) {
	for {
		proc, err := p.ready(ctx)
		if err != nil {
			return nil, err
		}
		if p.enter(ctx, proc) {
			return proc, nil
		}
		p.log.Warn().Int("pid", proc.pid()).Msg("the plugin does not say that it is well, and is ended")
		p.bury(proc)
	}
}

// enter counts a call of a process, unless it has been idle and is not well. Calls wait while one asks: a
// plugin that does one thing at a time could not answer otherwise.
func (p *plugin) enter(ctx context.Context, proc *process) bool {
	proc.using.Lock()
	defer proc.using.Unlock()
	if proc.calls == 0 && p.launch.now().Sub(proc.used) >= idleAfter && !proc.well(ctx) {
		return false
	}
	proc.calls++
	proc.used = p.launch.now()
	return true
}

func (p *plugin) leave(proc *process) {
	proc.using.Lock()
	proc.calls--
	proc.used = p.launch.now()
	proc.using.Unlock()
	p.mu.Lock()
	p.tally.calls++
	p.mu.Unlock()
}

// well asks the process how it is. One that does not know the question has answered.
func (proc *process) well(ctx context.Context) bool {
	if proc.health == nil {
		return true
	}
	timed, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	is, err := proc.health.Check(timed, &healthpb.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	switch {
	case ctx.Err() != nil: // the caller gave up; that says nothing of the plugin
		return true
	case err != nil:
		return status.Code(err) == codes.Unimplemented
	}
	return is.GetStatus() == healthpb.HealthCheckResponse_SERVING
}

// tally is what is counted of a plugin, by its mu.
type tally struct {
	calls  int
	failed int
	last   string // the last error of a call or a start
	lastAt time.Time
}

// failed counts an error.
func (p *plugin) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.failed++
	p.tally.last = clean(err.Error())
	if p.launch.now != nil {
		p.tally.lastAt = p.launch.now()
	}
}

// Process is how one plugin is.
type Process struct {
	Plugin, Version string
	PID             int       // 0: not running
	Since           time.Time // when it was started
	Restarts        int
	Actions         []string
	Broken          error // why it did not start the last time; nil if it did or was not needed yet
	Breaker         Breaker
	RetryAt         time.Time // of an open breaker
	Deaths          int       // quick ones in a row
	Calls, Failures int       // calls made, and calls and starts that failed, since the host began
	LastError       string
	LastErrorAt     time.Time
	Network         bool        // an action has declared a host to talk to
	Contained       Containment // of the running process, or the last one
	Versions        []VersionState
}

// VersionState is how an installed version stands to the one in use.
type VersionState struct {
	Version          string
	Current, Trusted bool
	Wants            []string // what it may do beyond the one in use
}

// Processes gives how each plugin is, in name order.
func (h *Host) Processes() []Process {
	h.mu.Lock()
	lock := h.lock
	h.mu.Unlock()
	var out []Process
	for _, p := range h.all() {
		s := p.state()
		if l := lock.plugin(p.name); l != nil {
			cur := l.inUse()
			for _, m := range l.Versions {
				v := VersionState{Version: m.Version, Current: m.Version == l.Current, Trusted: m.Trusted}
				if cur != nil {
					v.Wants = wider(cur.Actions, m.Actions)
				}
				s.Versions = append(s.Versions, v)
			}
		}
		out = append(out, s)
	}
	return out
}

func (p *plugin) state() Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Process{Plugin: p.name, Version: p.version, Restarts: p.restarts, Actions: slices.Clone(p.actions), Broken: p.broken,
		Breaker: p.breaker(), Deaths: p.deaths, Calls: p.tally.calls, Failures: p.tally.failed, LastError: p.tally.last,
		LastErrorAt: p.tally.lastAt, Network: p.launch.network, Contained: p.held}
	if p.refused != nil {
		s.Broken = p.refused
	}
	if s.Breaker == BreakerOpen {
		s.RetryAt = p.notBefore
	}
	if p.proc != nil && p.proc.alive() {
		s.PID, s.Since = p.proc.pid(), p.proc.began
	}
	return s
}
