package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// manifestFile is what a plugin's folder must hold; maxManifest bounds it, in bytes.
const (
	manifestFile = "plugin.yaml"
	maxManifest  = 64 << 10
)

// Manifest is what is known of an installed plugin: its plugin.yaml, and what was found when it was
// installed. The second part lives in plugins.lock and is what each start is held to.
type Manifest struct {
	Name        string   `json:"name" yaml:"name"`
	Version     string   `json:"version" yaml:"version"`
	Description string   `json:"description,omitempty" yaml:"description"`
	Protocol    int      `json:"protocol" yaml:"protocol"`
	Command     string   `json:"command" yaml:"command"` // the binary, below the folder
	Args        []string `json:"args,omitempty" yaml:"args"`

	SHA256  string            `json:"sha256" yaml:"-"` // of the binary
	Files   map[string]string `json:"files" yaml:"-"`  // sha256 of each file below the folder
	Actions []Spec            `json:"actions" yaml:"-"`
}

// lockFile is plugins.lock.
type lockFile struct {
	Version int        `json:"version"`
	Plugins []Manifest `json:"plugins"` // in name order
}

// addInstalled makes known what the lock file lists and what lies in the folder unlisted.
func (h *Host) addInstalled() error {
	if h.o.Dir == "" {
		return nil
	}
	lock, err := readLock(h.o.Lock)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, m := range lock.Plugins {
		if err := h.admissible(m); err != nil {
			return crm.Errorf("read plugins.lock", crm.CodeInvalid, "plugin %s: %w", clean(m.Name), err)
		}
		listed[m.Name] = true
		h.add(h.installed(m))
	}
	entries, err := os.ReadDir(h.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return crm.Errorf("read the plugins' folder", crm.CodeInvalid, "%w", err)
	}
	for _, e := range entries {
		if e.IsDir() && pluginName.MatchString(e.Name()) && !listed[e.Name()] && h.plugins[e.Name()] == nil {
			p := newPlugin(e.Name(), nil, launch{}, nil)
			p.retired, p.broken = true, crm.Errorf("run plugin "+e.Name(), crm.CodeDenied, "it is not in plugins.lock").
				WithHint("`reprieve plugin install FOLDER` installs it")
			h.add(p)
		}
	}
	return nil
}

func (h *Host) installed(m Manifest) *plugin {
	p := newPlugin(m.Name, actionNames(m.Actions), h.launch(m.Name, m.image(filepath.Join(h.o.Dir, m.Name))), expectManifest(m))
	p.version = m.Version
	return p
}

func (m Manifest) image(folder string) image {
	return image{argv: m.Args, folder: folder, file: filepath.ToSlash(filepath.Clean(m.Command)), files: m.Files}
}

func actionNames(specs []Spec) []string {
	var names []string
	for _, s := range specs {
		names = append(names, s.Action)
	}
	slices.Sort(names)
	return names
}

// admissible says whether a plugin may be here: its name is free, and its actions lie below its
// name, so that no two plugins can ever claim the same one.
func (h *Host) admissible(m Manifest) error {
	switch {
	case !pluginName.MatchString(m.Name):
		return errors.New("a name is lower-case letters, digits and _")
	case m.Version == "" || m.Version != clean(m.Version):
		return errors.New("it has no version")
	case m.Protocol != actionv1.ProtocolVersion:
		return fmt.Errorf("it speaks protocol %d and this host speaks %d", m.Protocol, actionv1.ProtocolVersion)
	case m.Command == "" || !filepath.IsLocal(m.Command):
		return errors.New("its command is not a path inside its folder")
	}
	for _, b := range append([]string{builtinGroup}, strings.Split(strings.Join(h.o.BuiltinNames, ","), ",")...) {
		if first, _, _ := strings.Cut(b, "."); first == m.Name {
			return fmt.Errorf("the name %s is taken by built-in actions", m.Name)
		}
	}
	for _, a := range m.Actions {
		if !strings.HasPrefix(a.Action, m.Name+".") {
			return fmt.Errorf("its action %s does not begin with %s.", a.Action, m.Name)
		}
	}
	return nil
}

// Install copies a plugin's folder, starts it once to see what it is, and writes it into the lock
// file: from then on it runs, and only as it is now. It replaces an installed version of the same
// name. What it may do is in the manifest that is given back; whoever calls shows it.
func (h *Host) Install(from string) (Manifest, error) {
	h.installing.Lock()
	defer h.installing.Unlock()
	m, err := h.install(from)
	if err != nil {
		var e *crm.Error
		if !errors.As(err, &e) {
			err = crm.Errorf("install a plugin", crm.CodeInvalid, "%w", err).
				WithHint("a plugin is a folder with %s (name, version, protocol, command) and what the command needs", manifestFile)
		}
		return Manifest{}, err
	}
	return m, nil
}

func (h *Host) install(from string) (Manifest, error) {
	if h.o.Dir == "" {
		return Manifest{}, errors.New("this host has no folder for plugins")
	}
	m, err := readManifest(from)
	if err == nil {
		err = h.admissible(m)
	}
	if err != nil {
		return m, err
	}
	if err := os.MkdirAll(h.o.Dir, 0o700); err != nil {
		return m, err
	}
	staged, err := os.MkdirTemp(h.o.Dir, ".installing-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(staged)
	if err := copyFolder(staged, from); err != nil {
		return m, err
	}
	if err := h.examine(&m, staged); err != nil {
		return m, err
	}
	return m, h.adopt(m, staged)
}

// examine starts the copy and completes the manifest with what it is.
func (h *Host) examine(m *Manifest, folder string) error {
	var err error
	if m.Files, err = sums(folder); err != nil {
		return err
	}
	im := m.image(folder)
	if m.SHA256 = m.Files[im.file]; m.SHA256 == "" {
		return fmt.Errorf("its command %s is not there", clean(m.Command))
	}
	trial := newPlugin(m.Name, nil, h.launch(m.Name, im), func(specs map[string]Spec) error {
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

// adopt moves the copy to its place, writes the lock file and puts the plugin to work. A crash in
// between leaves a folder that is not what the lock file says: it is refused, and installed again.
func (h *Host) adopt(m Manifest, staged string) error {
	lock, err := readLock(h.o.Lock)
	if err != nil {
		return err
	}
	lock.Plugins = slices.DeleteFunc(lock.Plugins, func(o Manifest) bool { return o.Name == m.Name })
	lock.Plugins = append(lock.Plugins, m)
	slices.SortFunc(lock.Plugins, func(a, b Manifest) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.MarshalIndent(lock, "", "  ")
	if err != nil {
		return err
	}
	final := filepath.Join(h.o.Dir, m.Name)
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := os.Rename(staged, final); err != nil {
		return err
	}
	if err := writeAtomic(h.o.Lock, append(text, '\n')); err != nil {
		return err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	old := h.add(h.installed(m))
	h.mu.Unlock()
	if old != nil {
		return old.stop(context.Background())
	}
	return nil
}

func readManifest(folder string) (m Manifest, err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return m, err
	}
	defer root.Close()
	f, err := root.Open(manifestFile)
	if err != nil {
		return m, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return m, err
	}
	return parseManifest(text)
}

// parseManifest reads plugin.yaml: one document, no name that it does not know.
func parseManifest(text []byte) (m Manifest, err error) {
	if len(text) > maxManifest {
		return m, fmt.Errorf("%s is over 64 KiB", manifestFile)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Manifest{}, fmt.Errorf("%s holds a second document", manifestFile)
	}
	m.Description = clean(m.Description)
	return m, nil
}

// readLock reads plugins.lock; none is an empty one.
func readLock(path string) (lock lockFile, err error) {
	lock.Version = 1
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lock, nil
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		err = d.Decode(&lock)
	}
	if err == nil && lock.Version != 1 {
		err = fmt.Errorf("it has format %d", lock.Version)
	}
	if err != nil {
		return lockFile{}, crm.Errorf("read plugins.lock", crm.CodeInvalid, "%w", err).
			WithHint("it is written by `reprieve plugin install`; take it from a backup or install the plugins again")
	}
	return lock, nil
}
