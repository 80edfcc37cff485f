package plugins

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// hands is a clock that a test turns.
type hands struct {
	mu sync.Mutex
	at time.Time
}

func (c *hands) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *hands) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// byHand gives a plugin of a host whose clock the test turns.
func byHand(h *Host, name string) (*plugin, *hands) {
	c := &hands{at: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	p := h.plugins[name]
	p.launch.now = c.now
	return p, c
}

// A process that went bad while nothing was asked of it is found out before it is given a batch: the batch
// goes to its successor, and no call is lost. One that was just used is not asked.
func TestIdleIsAsked(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	p, clock := byHand(h, "test.a")
	if _, err := h.Execute(t.Context(), "test.a", batch("echo", live(1))); err != nil {
		t.Fatal(err)
	}
	sick := h.Processes()[0].PID
	if err := syscall.Kill(sick, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	gotten := make(chan struct{})
	go func() { // while it is not idle nobody asks: the call hangs, as it would without the question
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := h.Execute(ctx, "test.a", batch("echo", live(1)))
		if crm.CodeOf(err) != crm.CodeUnavailable {
			t.Errorf("a frozen process answered: %v", err)
		}
		close(gotten)
	}()
	<-gotten
	clock.turn(idleAfter)
	out, err := h.Execute(t.Context(), "test.a", batch("echo", live(1)))
	if err != nil || out[0].Status != Done {
		t.Fatalf("%+v, %v", out, err)
	}
	if s := h.Processes()[0]; s.PID == sick || s.PID == 0 || s.Restarts != 1 {
		t.Errorf("%+v", s)
	}
	gone(t, sick)
	well := h.Processes()[0].PID
	clock.turn(time.Hour)
	if out, err := h.Execute(t.Context(), "test.a", batch("echo", live(1))); err != nil || out[0].Status != Done || h.Processes()[0].PID != well {
		t.Errorf("one that is well was replaced: %+v, %v", out, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaths > 1 {
		t.Errorf("%d deaths", p.deaths)
	}
}

// Five quick deaths open the breaker, which is shown. After its time one batch is let through: when that
// one is answered the breaker closes, and one more quick death opens it again.
func TestBreaker(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	_, clock := byHand(h, "test.a")
	ask := func(mode string) error {
		_, err := h.Execute(t.Context(), "test.a", batch(mode, live(1)))
		return err
	}
	is := func(when string, b Breaker, deaths int) {
		t.Helper()
		if s := h.Processes()[0]; s.Breaker != b || s.Deaths != deaths || (b == BreakerOpen) != (s.RetryAt.Equal(clock.now().Add(backoff(maxDeaths)))) {
			t.Errorf("%s: %+v", when, s)
		}
	}
	is("at first", BreakerClosed, 0)
	for n := range maxDeaths {
		is("before a death", BreakerClosed, n)
		if err := ask("exit"); crm.CodeOf(err) != crm.CodeUnavailable {
			t.Fatal(err)
		}
		if n < maxDeaths-1 {
			clock.turn(time.Second)
		}
	}
	is("after five", BreakerOpen, maxDeaths)
	if err := ask("echo"); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("it was asked all the same: %v", err)
	}
	clock.turn(backoff(maxDeaths))
	is("half a minute later", BreakerHalfOpen, maxDeaths)
	if err := ask("exit"); crm.CodeOf(err) != crm.CodeUnavailable || strings.Contains(err.Error(), "left alone") {
		t.Error(err)
	}
	is("the probe died", BreakerOpen, maxDeaths+1)
	clock.turn(backoff(maxDeaths))
	if err := ask("echo"); err != nil {
		t.Error(err)
	}
	is("the probe was answered", BreakerClosed, maxDeaths-1)
	if err := ask("exit"); crm.CodeOf(err) != crm.CodeUnavailable {
		t.Error(err)
	}
	is("one more death", BreakerOpen, maxDeaths)
	s := h.Processes()[0]
	if s.Calls != 8 || s.Failures != 8 || s.LastError == "" || !s.LastErrorAt.Equal(clock.now()) {
		t.Errorf("%+v", s)
	}
}

// While one batch is the probe, others wait for how it fares; they are not sent along.
func TestOneProbe(t *testing.T) {
	t.Parallel()
	p := newPlugin("x", nil, launch{}, nil)
	c := &hands{at: time.Unix(1000, 0)}
	p.launch.now = c.now
	for _, alive := range []bool{true, false} {
		p.deaths, p.notBefore = maxDeaths, c.now()
		proved, err := p.admit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.admit(ended); crm.CodeOf(err) != crm.CodeUnavailable {
			t.Errorf("a second one was let through: %v", err)
		}
		waits := make(chan error)
		go func() {
			done, err := p.admit(t.Context())
			if err == nil {
				done(false)
			}
			waits <- err
		}()
		if !alive {
			p.mu.Lock()
			p.died(0)
			p.mu.Unlock()
		}
		proved(alive)
		if err := <-waits; err != nil {
			t.Error(err)
		}
		want := BreakerOpen
		if alive {
			want = BreakerClosed
		}
		if got := p.breakerNow(); got != want {
			t.Errorf("alive %t: the breaker is %s", alive, got)
		}
	}
}
