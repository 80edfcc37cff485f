// Package fault gives names to the places where a crash would hurt most, so that a test can crash
// there and nowhere else.
//
// It must never cost anything in a product that runs: a point that nobody activated is one atomic
// load. Only tests activate points, and one at a time; that single plan is the one piece of global
// state here, because a crash is a matter of the whole process.
package fault

import "sync/atomic"

type plan struct {
	name string
	left atomic.Int64
	do   func()
}

var active atomic.Pointer[plan]

// Point marks a place. It does nothing unless a test activated the name.
func Point(name string) {
	if p := active.Load(); p != nil {
		p.pass(name)
	}
}

// Activate makes the after-th pass of the point (1 is the next) call do, once. It replaces what was
// active before. Only tests call it.
func Activate(name string, after int, do func()) {
	p := &plan{name: name, do: do}
	p.left.Store(int64(after))
	active.Store(p)
}

// Deactivate switches all points off. Only tests call it.
func Deactivate() { active.Store(nil) }

// pass counts one pass and acts on the last; it is apart from Point so that Point can be inlined.
func (p *plan) pass(name string) {
	if name == p.name && p.left.Add(-1) == 0 {
		p.do()
	}
}
