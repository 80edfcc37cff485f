package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// Change is what somebody does to the catalogue.
type Change struct {
	Act             string // install, trust, use or remove
	Plugin, Version string
	Was             string   // the version in use before
	Current         string   // the version in use from now on; "" if the plugin goes
	Wants           []string // what Version may do beyond Was
}

// Consent is how far whoever changes the catalogue goes, and where it is written down.
type Consent struct {
	// Trust accepts at once what a new version wants beyond the one in use.
	Trust bool
	// Note is called before the change takes effect, once it is certain that it can; an error of it keeps the
	// change from being made. nil: nothing is written down.
	Note func(Change) error
}

func (c Consent) note(ch Change) error {
	if c.Note == nil {
		return nil
	}
	return c.Note(ch)
}

// Installed is a version with how it stands to the one in use.
type Installed struct {
	Manifest
	Current bool     `json:"current"`         // it is in use
	Was     string   `json:"was,omitempty"`   // the version that was in use before
	Wants   []string `json:"wants,omitempty"` // what it may do beyond that one
}

// addInstalled makes known what the lock file lists and what lies in the folder unlisted.
func (h *Host) addInstalled() error {
	if h.o.Dir == "" {
		return nil
	}
	lock, err := ReadLock(h.o.Lock)
	if err != nil {
		return err
	}
	h.lock = lock
	for _, p := range lock.Plugins {
		for _, m := range p.Versions {
			if err := h.admissible(m); err != nil {
				return crm.Errorf("read plugins.lock", crm.CodeInvalid, "plugin %s: %w", clean(m.Name), err).
					WithHint("it is written by `reprieve plugin install` alone; take it from a backup or install the plugin again")
			}
		}
		if len(p.Versions) > 0 {
			h.add(h.installed(p))
		}
	}
	entries, err := os.ReadDir(h.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return crm.Errorf("read the plugins' folder", crm.CodeInvalid, "%w", err)
	}
	for _, e := range entries {
		if e.IsDir() && pluginName.MatchString(e.Name()) && h.plugins[e.Name()] == nil {
			p := newPlugin(e.Name(), nil, launch{}, nil)
			p.refused = unlisted(e.Name())
			h.add(p)
		}
	}
	return nil
}

func unlisted(name string) error {
	return crm.Errorf("run plugin "+name, crm.CodeDenied, "it is not in plugins.lock").
		WithHint("`reprieve plugin install FOLDER` installs it")
}

func tampered(m Manifest, what string) error {
	return crm.Errorf("run plugin "+m.Name, crm.CodeDenied, "%s", what).
		WithHint("plugins.lock is written by `reprieve plugin install` alone; take it from a backup or install the plugin again")
}

// installed makes the plugin of the version in use. One that cannot be is known all the same, and refused.
func (h *Host) installed(l Locked) *plugin {
	m := l.inUse()
	if m == nil {
		last := l.Versions[len(l.Versions)-1]
		p := newPlugin(l.Name, actionNames(last.Actions), launch{}, nil)
		p.refused = tampered(last, fmt.Sprintf("plugins.lock says that %s is in use, which is not installed and trusted", clean(l.Current)))
		return p
	}
	return h.version(*m)
}

func (h *Host) version(m Manifest) *plugin {
	l := h.launch(m.Name, m.image(h.folder(h.lock.Format, m)))
	l.network = m.Network()
	p := newPlugin(m.Name, actionNames(m.Actions), l, expectManifest(m))
	p.version = m.Version
	if l.image.file == "" {
		p.refused = tampered(m, m.Command.nowhere().Error())
	}
	return p
}

// Install is InstallAs without a word on trust.
func (h *Host) Install(from string) (Installed, error) { return h.InstallAs(from, Consent{}) }

// InstallAs copies a plugin's folder or unpacks its archive, starts it once to see what it is, and writes
// it into the lock file beside its other versions. It comes into use at once if it wants no more than the
// version in use, or none is; its predecessor ends once it has answered what it is at. One that wants more
// waits until it is trusted. What it may do is in what is given back; whoever calls shows it.
func (h *Host) InstallAs(from string, c Consent) (Installed, error) {
	h.installing.Lock()
	defer h.installing.Unlock()
	in, err := h.install(from, c)
	return in, h.wrong("install a plugin", err)
}

// wrong gives each error a code and a hint.
func (h *Host) wrong(op string, err error) error {
	var e *crm.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return crm.Errorf(op, crm.CodeInvalid, "%w", err).
		WithHint("a plugin is a folder, or a .tar.gz or .zip of one, with %s (name, version, protocol, command) and what the command needs", manifestFile)
}

func (h *Host) install(from string, c Consent) (Installed, error) {
	if h.o.Dir == "" {
		return Installed{}, errors.New("this host has no folder for plugins")
	}
	if err := os.MkdirAll(h.o.Dir, 0o700); err != nil {
		return Installed{}, err
	}
	h.sweepLeftovers()
	staged, err := os.MkdirTemp(h.o.Dir, ".installing-")
	if err != nil {
		return Installed{}, err
	}
	defer os.RemoveAll(staged)
	folder, err := stage(staged, from)
	if err != nil {
		return Installed{}, err
	}
	m, err := readManifest(folder)
	if err == nil {
		err = h.admissible(m)
	}
	if err == nil {
		err = h.examine(&m, folder)
	}
	if err != nil {
		return Installed{}, err
	}
	return h.adopt(m, folder, c)
}

// stage brings a plugin into a directory of ours, and says in which folder below it plugin.yaml lies.
func stage(into, from string) (string, error) {
	info, err := os.Stat(from)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return into, copyFolder(into, from)
	}
	if err := unpack(into, from, bounds{maxFolder, maxFiles}); err != nil {
		return "", err
	}
	return root(into)
}

// sweepLeftovers removes what installs that were killed have left.
func (h *Host) sweepLeftovers() {
	patterns := []string{".installing-*"}
	if h.leaving.Load() == 0 { // nobody drains out of one
		patterns = append(patterns, ".replaced-*")
	}
	for _, p := range patterns {
		left, _ := filepath.Glob(filepath.Join(h.o.Dir, p))
		for _, path := range left {
			_ = os.RemoveAll(path)
		}
	}
}

// examine starts the copy and completes the manifest with what it is. For this it gets no network.
func (h *Host) examine(m *Manifest, folder string) error {
	var err error
	if m.Files, err = sums(folder); err != nil {
		return err
	}
	if m.Runs, err = findInterpreter(m.Interpreter); err != nil {
		return err
	}
	m.SHA256 = map[string]string{}
	for platform := range m.Command {
		path := m.Command.on(platform)
		if m.SHA256[platform] = m.Files[path]; m.Files[path] == "" {
			return fmt.Errorf("its command %s is not there", clean(path))
		}
	}
	im := m.image(folder)
	if im.file == "" {
		return m.Command.nowhere()
	}
	l := h.launch(m.Name, im)
	l.trial = true // what the operator has set for the one in use is not for a stranger
	trial := newPlugin(m.Name, nil, l, func(specs map[string]Spec) error {
		for _, s := range specs {
			if s.Plugin != m.Name || s.Version != m.Version {
				return fmt.Errorf("it calls itself %s %s and its %s says %s %s", s.Plugin, s.Version, manifestFile, m.Name, m.Version)
			}
		}
		m.Actions = granted(slices.Collect(maps.Values(specs)))
		return h.admissible(*m)
	})
	_, err = trial.ready(context.Background())
	if e := trial.stop(context.Background()); err == nil {
		err = e
	}
	return err
}

// adopt moves the copy to its place, puts it to work if it may, and writes the lock file. Whatever goes
// wrong on the way, the version in use stays in use. A crash in between leaves a folder that the lock file
// does not list, or lists otherwise: it is refused, and installed again.
func (h *Host) adopt(m Manifest, staged string, c Consent) (in Installed, err error) {
	lock, err := ReadLock(h.o.Lock)
	if err == nil {
		lock, err = h.migrate(lock)
	}
	if err != nil {
		return in, err
	}
	is := lock.plugin(m.Name)
	if is != nil {
		for _, o := range is.Versions {
			if o.Version != m.Version && strings.EqualFold(o.Version, m.Version) {
				return in, fmt.Errorf("the version %s is installed, which differs in upper and lower case alone", o.Version)
			}
		}
	}
	cur, old := is.inUse(), is.version(m.Version)
	in.Current = cur == nil || c.Trust
	if cur != nil {
		in.Was, in.Wants = cur.Version, wider(cur.Actions, m.Actions)
		in.Current = in.Current || len(in.Wants) == 0 || old != nil && old.Trusted && maps.Equal(old.Files, m.Files) && len(wider(old.Actions, m.Actions)) == 0
		if cur.Version == m.Version && !in.Current {
			return in, crm.Errorf("install a plugin", crm.CodeConflict, "%s %s is in use, and this one of the same version wants more: %s", m.Name, m.Version, strings.Join(in.Wants, "; ")).
				WithHint("give it another version, or accept what it wants with --trust")
		}
	}
	m.Trusted = in.Current
	in.Manifest = m
	final := filepath.Join(h.o.Dir, m.Name, m.Version)
	replaced, err := place(final, staged, h.o.Dir)
	if err != nil {
		return in, err
	}
	ch := Change{Act: "install", Plugin: m.Name, Version: m.Version, Was: in.Was, Current: in.Was, Wants: in.Wants}
	if in.Current {
		ch.Current = m.Version
	}
	if err := h.enact(lock.with(m, in.Current), ch, c, replaced); err != nil {
		_ = os.RemoveAll(final)
		if replaced != "" {
			_ = os.Rename(replaced, final)
		}
		_ = os.Remove(filepath.Dir(final)) // if nothing else is in it
		return Installed{}, err
	}
	return in, nil
}

// place moves a folder to its place and says where what was there went.
func place(final, staged, dir string) (replaced string, err error) {
	if err := os.MkdirAll(filepath.Dir(final), 0o700); err != nil {
		return "", err
	}
	if _, err := os.Lstat(final); err == nil {
		aside, err := os.MkdirTemp(dir, ".replaced-")
		if err != nil {
			return "", err
		}
		replaced = filepath.Join(aside, "old")
		if err := os.Rename(final, replaced); err != nil {
			return "", err
		}
	}
	return replaced, os.Rename(staged, final)
}

// enact makes a change: a version that comes into use is started first, and only when it stands there
// and the change is written down, the lock file is written and calls go to it.
func (h *Host) enact(lock Lock, ch Change, c Consent, leftover string) error {
	var next *plugin
	if ch.Current != "" && (ch.Current != ch.Was || ch.Version == ch.Current) {
		next = h.version(*lock.plugin(ch.Plugin).version(ch.Current))
		if _, err := next.ready(context.Background()); err != nil {
			_ = next.stop(context.Background())
			return fmt.Errorf("%s %s does not start, so nothing was changed: %w", ch.Plugin, ch.Current, err)
		}
	}
	err := c.note(ch)
	if err == nil {
		err = h.save(lock)
	}
	if err != nil {
		if next != nil {
			_ = next.stop(context.Background())
		}
		return err
	}
	if next != nil {
		h.swap(next, func() {
			if leftover != "" {
				_ = os.RemoveAll(filepath.Dir(leftover))
			}
		})
	} else if leftover != "" {
		_ = os.RemoveAll(filepath.Dir(leftover))
	}
	return nil
}

// swap puts a plugin to work in the place of another of its name, if there is one. New calls go to it at
// once, also those that wait; the other ends when it has answered what it is at, which its timeouts bound.
func (h *Host) swap(next *plugin, after func()) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		_ = next.stop(context.Background())
		return
	}
	old := h.add(next)
	h.drain(old, after)
	h.mu.Unlock()
}

// drain ends a plugin that no call goes to any more, beside everything else; the caller holds mu.
func (h *Host) drain(old *plugin, after func()) {
	h.leaving.Add(1)
	h.drains.Go(func() {
		defer h.leaving.Add(-1)
		if old != nil {
			_ = old.stop(h.cut)
		}
		if after != nil {
			after()
		}
	})
}
