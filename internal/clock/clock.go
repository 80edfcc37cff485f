// Package clock makes time a parameter: the wall clock for a service, a virtual one for demos and
// tests. Nothing below cmd reads the wall clock in any other way, and a virtual clock never moves by
// itself.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time and waits for it.
type Clock interface {
	Now() time.Time
	// After gives a channel that receives once d has passed.
	After(d time.Duration) <-chan time.Time
}

// Wall is the clock on the wall.
type Wall struct{}

// Now implements Clock.
func (Wall) Now() time.Time { return time.Now() }

// After implements Clock.
func (Wall) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Virtual is a clock that moves only when it is told to. The zero value stands at the zero time.
type Virtual struct {
	mu    sync.Mutex
	now   time.Time
	waits []wait
}

type wait struct {
	until time.Time
	ch    chan time.Time
}

// NewVirtual makes a clock that stands at t.
func NewVirtual(t time.Time) *Virtual { return &Virtual{now: t} }

// Now implements Clock.
func (v *Virtual) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// After implements Clock: the channel receives when Set has moved the clock far enough.
func (v *Virtual) After(d time.Duration) <-chan time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	ch := make(chan time.Time, 1)
	v.waits = append(v.waits, wait{v.now.Add(d), ch})
	v.release()
	return ch
}

// Set moves the clock to t, forward or back.
func (v *Virtual) Set(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = t
	v.release()
}

// Advance moves the clock by d.
func (v *Virtual) Advance(d time.Duration) { v.Set(v.Now().Add(d)) }

func (v *Virtual) release() {
	left := v.waits[:0]
	for _, w := range v.waits {
		if w.until.After(v.now) {
			left = append(left, w)
		} else {
			w.ch <- v.now
		}
	}
	v.waits = left
}

// Passed gives a function that says how much time has passed since this call, whatever is done to the
// clock on the wall.
func Passed() func() time.Duration {
	start := time.Now() // carries a monotonic reading, which Since compares
	return func() time.Duration { return time.Since(start) }
}
