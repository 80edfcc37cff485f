package plugins

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// wider says in words what actions may do beyond what others may, in the order of the actions; nothing
// if they may do the same or less. An action that is new is compared with one that may do nothing.
func wider(had, wants []Spec) (more []string) {
	for _, w := range granted(wants) {
		i := slices.IndexFunc(had, func(s Spec) bool { return s.Action == w.Action })
		before := Spec{Action: w.Action, Idempotent: true, Timeout: maxTimeout}
		if i >= 0 {
			before = had[i]
		}
		more = append(more, before.more(w)...)
	}
	return more
}

// more says in words what an action may do beyond what s may.
func (s Spec) more(w Spec) (more []string) {
	say := func(format string, args ...any) { more = append(more, w.Action+" "+fmt.Sprintf(format, args...)) }
	for _, r := range w.Reads {
		if !s.covers(r) {
			say("reads %s", r)
		}
	}
	for _, e := range w.Effects {
		if !s.Allows(e) {
			say("asks for %s", e)
		}
	}
	for _, n := range w.Network {
		if !slices.Contains(s.Network, n) {
			say("talks to %s", n)
		}
	}
	if w.External && !s.External {
		say("touches the outside world")
	}
	if w.External && !w.Idempotent && (s.Idempotent || !s.External) {
		say("is not idempotent")
	}
	if w.Timeout > s.Timeout {
		say("may take %s a call", w.Timeout.Round(time.Millisecond))
	}
	return more
}

// covers says whether a read is among the action's, or within one of them.
func (s Spec) covers(read string) bool {
	if slices.Contains(s.Reads, read) {
		return true
	}
	name, field := strings.CutPrefix(read, "fields.")
	return field && slices.ContainsFunc(s.Reads, func(has string) bool {
		other, one := strings.CutPrefix(has, "fields.")
		return has == "fields" || one && crm.Fold(other) == crm.Fold(name)
	})
}

// differs names the first thing in which what a plugin declares is not what was installed; "" if nothing is.
func differs(installed, declared []Spec) string {
	if more := wider(installed, declared); len(more) > 0 {
		return more[0] + ", which was not installed"
	}
	if less := wider(declared, installed); len(less) > 0 {
		return "it no longer says that " + less[0]
	}
	if was, is := actionNames(installed), actionNames(declared); !slices.Equal(was, is) {
		return fmt.Sprintf("it has the actions %s instead of %s", strings.Join(is, ", "), strings.Join(was, ", "))
	}
	if grants(installed) != grants(declared) {
		return "it declares the same in other words"
	}
	return ""
}

// same says whether an action may do what another may, no more and no less.
func (s Spec) same(o Spec) bool {
	return slices.Equal(s.Reads, o.Reads) && slices.Equal(s.Effects, o.Effects) && slices.Equal(s.Network, o.Network) &&
		s.External == o.External && s.Idempotent == o.Idempotent
}
