package plugins

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// Use puts another installed version to work. One that was never trusted and wants more than the one in
// use is refused.
func (h *Host) Use(name, version string, note func(Change) error) (Installed, error) {
	return h.turnTo("use", name, version, Consent{Note: note})
}

// Trust accepts what a version may do, and puts it to work.
func (h *Host) Trust(name, version string, note func(Change) error) (Installed, error) {
	return h.turnTo("trust", name, version, Consent{Trust: true, Note: note})
}

func (h *Host) turnTo(act, name, version string, c Consent) (in Installed, err error) {
	op := act + " a plugin's version"
	h.installing.Lock()
	defer h.installing.Unlock()
	lock, p, err := h.locked(op, name)
	if err != nil {
		return in, err
	}
	m := p.version(version)
	if m == nil {
		return in, crm.Errorf(op, crm.CodeNotFound, "%s %s is not installed", p.Name, clean(version)).
			WithHint("`reprieve plugin show %s` lists the versions that are", p.Name)
	}
	in.Manifest, in.Current = *m, true
	if cur := p.inUse(); cur != nil {
		in.Was, in.Wants = cur.Version, wider(cur.Actions, m.Actions)
	}
	switch {
	case in.Was == m.Version && m.Trusted:
		return in, nil // it is in use
	case !m.Trusted && !c.Trust && len(in.Wants) > 0:
		return in, crm.Errorf(op, crm.CodeDenied, "%s %s wants more than %s may: %s", p.Name, m.Version, in.Was, strings.Join(in.Wants, "; ")).
			WithHint("if it may have that: `reprieve plugin trust %s@%s`", p.Name, m.Version)
	}
	if lock, err = h.migrate(lock); err != nil {
		return in, h.wrong(op, err)
	}
	in.Trusted = true
	ch := Change{Act: act, Plugin: p.Name, Version: m.Version, Was: in.Was, Current: m.Version, Wants: in.Wants}
	return in, h.wrong(op, h.enact(lock.with(in.Manifest, true), ch, c, ""))
}

// locked reads the lock file for a plugin that must be in it.
func (h *Host) locked(op, name string) (Lock, *Locked, error) {
	lock, err := ReadLock(h.o.Lock)
	if err != nil {
		return lock, nil, err
	}
	p := lock.plugin(name)
	if p == nil {
		return lock, nil, crm.Errorf(op, crm.CodeNotFound, "no plugin %s is installed", clean(name)).
			WithHint("`reprieve plugin list` shows what is; the built-in actions are no plugins of their own")
	}
	return lock, p, nil
}

// Remove takes a version away, or with version "" the whole plugin. The version in use goes only with the
// whole plugin. What it is at is waited for; steps that need it later wait until it is installed again.
func (h *Host) Remove(name, version string, note func(Change) error) error {
	const op = "remove a plugin"
	h.installing.Lock()
	defer h.installing.Unlock()
	lock, p, err := h.locked(op, name)
	if err != nil {
		return err
	}
	ch := Change{Act: "remove", Plugin: p.Name, Version: version, Was: p.Current, Current: p.Current}
	switch {
	case version != "" && p.version(version) == nil:
		return crm.Errorf(op, crm.CodeNotFound, "%s %s is not installed", p.Name, clean(version)).
			WithHint("`reprieve plugin show %s` lists the versions that are", p.Name)
	case version == "" || len(p.Versions) == 1:
		ch.Current = ""
	case version == p.Current:
		return crm.Errorf(op, crm.CodeConflict, "%s %s is in use", p.Name, version).
			WithHint("`reprieve plugin use %s@VERSION` turns to another first; `reprieve plugin remove %s` removes all", p.Name, p.Name)
	}
	if lock, err = h.migrate(lock); err != nil {
		return h.wrong(op, err)
	}
	gone, next := filepath.Join(h.o.Dir, p.Name), lock
	if ch.Current == "" {
		for _, m := range p.Versions {
			next = next.without(p.Name, m.Version)
		}
	} else {
		next, gone = next.without(p.Name, version), filepath.Join(gone, version)
	}
	c := Consent{Note: note}
	if err = c.note(ch); err == nil {
		err = h.save(next)
	}
	if err != nil {
		return h.wrong(op, err)
	}
	if ch.Current == "" {
		_ = h.drop(p.Name).stop(h.cut)
	}
	return h.wrong(op, os.RemoveAll(gone))
}

// drop forgets a plugin, so that no call goes to it.
func (h *Host) drop(name string) *plugin {
	h.mu.Lock()
	defer h.mu.Unlock()
	none := newPlugin(name, nil, launch{}, nil)
	old := h.add(none)
	delete(h.plugins, name)
	if old == nil {
		return none
	}
	return old
}
