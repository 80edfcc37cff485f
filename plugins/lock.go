package plugins

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// The name and the format of the lock file. Format 1 had one version of each plugin, in a folder of the
// plugin's name; format 2 has the versions side by side, in folders below it.
const (
	lockName   = "plugins.lock"
	lockFormat = 2
)

// Lock is plugins.lock: which versions are installed, byte for byte, and which is in use. It is written
// by the host alone.
type Lock struct {
	Format  int      `json:"version"`
	Plugins []Locked `json:"plugins"` // in name order
}

// Locked is a plugin with its versions.
type Locked struct {
	Name     string     `json:"name"`
	Current  string     `json:"current"`
	Versions []Manifest `json:"versions"` // in version order
}

// version gives a version, nil if it is not installed.
func (l *Locked) version(v string) *Manifest {
	if l != nil {
		for i := range l.Versions {
			if l.Versions[i].Version == v {
				return &l.Versions[i]
			}
		}
	}
	return nil
}

// inUse gives the version in use; nil if the lock file names none that is installed and trusted.
func (l *Locked) inUse() *Manifest {
	if l == nil {
		return nil
	}
	if m := l.version(l.Current); m != nil && m.Trusted {
		return m
	}
	return nil
}

// plugin gives a plugin, nil if it is not installed.
func (l *Lock) plugin(name string) *Locked {
	for i := range l.Plugins {
		if l.Plugins[i].Name == name {
			return &l.Plugins[i]
		}
	}
	return nil
}

// with gives the lock file with a version put in, and in use if it is to be.
func (l Lock) with(m Manifest, current bool) Lock {
	next := l.clone()
	p := next.plugin(m.Name)
	if p == nil {
		next.Plugins = append(next.Plugins, Locked{Name: m.Name})
		slices.SortFunc(next.Plugins, func(a, b Locked) int { return strings.Compare(a.Name, b.Name) })
		p = next.plugin(m.Name)
	}
	p.Versions = slices.DeleteFunc(p.Versions, func(o Manifest) bool { return o.Version == m.Version })
	p.Versions = append(p.Versions, m)
	slices.SortFunc(p.Versions, func(a, b Manifest) int { return compareVersions(a.Version, b.Version) })
	if current {
		p.Current = m.Version
	}
	return next
}

// without gives the lock file without a version, and without the plugin if that was its last one.
func (l Lock) without(name, version string) Lock {
	next := l.clone()
	p := next.plugin(name)
	p.Versions = slices.DeleteFunc(p.Versions, func(o Manifest) bool { return o.Version == version })
	if len(p.Versions) == 0 {
		next.Plugins = slices.DeleteFunc(next.Plugins, func(o Locked) bool { return o.Name == name })
	}
	return next
}

func (l Lock) clone() Lock {
	l.Plugins = slices.Clone(l.Plugins)
	for i := range l.Plugins {
		l.Plugins[i].Versions = slices.Clone(l.Plugins[i].Versions)
	}
	return l
}

// text is the file as the host writes it.
func (l Lock) text() ([]byte, error) {
	text, err := json.MarshalIndent(l, "", "  ")
	return append(text, '\n'), err
}

// ReadLock reads a lock file of either format; none is an empty one.
func ReadLock(path string) (Lock, error) {
	lock := Lock{Format: lockFormat}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lock, nil
	}
	if err == nil {
		lock, err = parseLock(text)
	}
	if err != nil {
		return Lock{}, crm.Errorf("read plugins.lock", crm.CodeInvalid, "%w", err).
			WithHint("it is written by `reprieve plugin install` alone; take it from a backup or install the plugins again")
	}
	return lock, nil
}

func parseLock(text []byte) (Lock, error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return Lock{}, err
	}
	var lock Lock
	switch head.Version {
	case 1:
		var old struct {
			Version int     `json:"version"`
			Plugins []entry `json:"plugins"`
		}
		if err := strictly(text, &old); err != nil {
			return Lock{}, err
		}
		lock.Format = 1
		for _, e := range old.Plugins {
			m := e.manifest()
			lock.Plugins = append(lock.Plugins, Locked{Name: m.Name, Current: m.Version, Versions: []Manifest{m}})
		}
	case lockFormat:
		if err := strictly(text, &lock); err != nil {
			return Lock{}, err
		}
	default:
		return Lock{}, fmt.Errorf("it has format %d", head.Version)
	}
	return lock, lock.flaw()
}

// entry is a plugin in format 1.
type entry struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	Description string            `json:"description"`
	Protocol    int               `json:"protocol"`
	Command     string            `json:"command"`
	Args        []string          `json:"args"`
	SHA256      string            `json:"sha256"`
	Files       map[string]string `json:"files"`
	Actions     []Spec            `json:"actions"`
	Runs        Interpreter       `json:"interpreter"`
}

func (e entry) manifest() Manifest {
	return Manifest{Name: e.Name, Version: e.Version, Description: e.Description, Protocol: e.Protocol, Command: Command{anywhere: e.Command},
		Args: e.Args, Trusted: true, SHA256: map[string]string{anywhere: e.SHA256}, Files: e.Files, Actions: e.Actions, Runs: e.Runs}
}

func strictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// flaw says what of the lock file contradicts itself. What each version is, is compared with its folder
// at each start.
func (l Lock) flaw() error {
	seen := map[string]bool{}
	for _, p := range l.Plugins {
		if seen[p.Name] {
			return fmt.Errorf("the plugin %s is there twice", clean(p.Name))
		}
		seen[p.Name] = true
		for _, m := range p.Versions {
			if id := p.Name + "@" + m.Version; m.Name != p.Name || seen[id] {
				return fmt.Errorf("the plugin %s has another's version, or %s twice", clean(p.Name), clean(m.Version))
			} else {
				seen[id] = true
			}
		}
	}
	return nil
}

// compareVersions orders versions so that 1.10 comes after 1.9: runs of digits count as numbers.
func compareVersions(a, b string) int {
	split := func(s string) (head string, digits bool, rest string) {
		digits = s[0] >= '0' && s[0] <= '9'
		n := 0
		for n < len(s) && (s[n] >= '0' && s[n] <= '9') == digits {
			n++
		}
		return s[:n], digits, s[n:]
	}
	x, y := a, b
	for x != "" && y != "" {
		hx, dx, rx := split(x)
		hy, dy, ry := split(y)
		c := strings.Compare(hx, hy)
		if dx && dy {
			nx, _ := strconv.ParseUint(hx, 10, 64)
			ny, _ := strconv.ParseUint(hy, 10, 64)
			c = cmp.Compare(nx, ny)
		}
		if c != 0 {
			return c
		}
		x, y = rx, ry
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// folder says where a version's files lie. In format 1 they may have been moved already by a host that
// was killed before it had written the lock file.
func (h *Host) folder(format int, m Manifest) string {
	at := filepath.Join(h.o.Dir, m.Name, m.Version)
	if format == 1 {
		for _, path := range []string{filepath.Join(h.o.Dir, m.Name), h.moving(m.Name)} {
			if _, err := os.Lstat(filepath.Join(path, manifestFile)); err == nil {
				return path
			}
		}
	}
	return at
}

func (h *Host) moving(name string) string { return filepath.Join(h.o.Dir, ".moving-"+name) }

// migrate takes a lock file of format 1 to the present one: each folder moves to its place. It may be
// broken off anywhere and begun again; until the lock file is written, readers look in all three places.
func (h *Host) migrate(lock Lock) (Lock, error) {
	if lock.Format == lockFormat {
		return lock, nil
	}
	for _, p := range lock.Plugins {
		m := p.Versions[0]
		is, temp, at := h.folder(1, m), h.moving(m.Name), filepath.Join(h.o.Dir, m.Name, m.Version)
		if is == filepath.Join(h.o.Dir, m.Name) {
			if err := os.Rename(is, temp); err != nil {
				return lock, err
			}
			is = temp
		}
		if is == temp {
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				return lock, err
			}
			if err := os.Rename(temp, at); err != nil {
				return lock, err
			}
		}
	}
	lock.Format = lockFormat
	if err := h.save(lock); err != nil {
		return lock, err
	}
	for _, p := range lock.Plugins {
		h.swap(h.installed(p), nil)
	}
	return lock, nil
}

// save writes the lock file as a whole, or not at all.
func (h *Host) save(lock Lock) error {
	text, err := lock.text()
	if err == nil {
		err = writeAtomic(h.o.Lock, text)
	}
	if err == nil {
		h.mu.Lock()
		h.lock = lock
		h.mu.Unlock()
	}
	return err
}
