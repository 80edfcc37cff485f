package plugins

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// Verdict is what comparing an installed version with plugins.lock found.
type Verdict struct {
	Plugin  string `json:"plugin"`
	Version string `json:"version"`
	Current bool   `json:"current"`
	Trusted bool   `json:"trusted"`
	Files   int    `json:"files"`
	Problem string `json:"problem,omitempty"` // the first difference; "" if there is none
	Hint    string `json:"hint,omitempty"`
}

// Verify compares each file of an installed plugin, or with name "" of all, with plugins.lock. Nothing is
// started. What lies in the plugins' folder unlisted is in the answer too.
func (h *Host) Verify(name string) ([]Verdict, error) {
	h.installing.Lock()
	defer h.installing.Unlock()
	found, err := verify(h, name)
	if err == nil && name != "" && len(found) == 0 {
		return nil, crm.Errorf("verify a plugin", crm.CodeNotFound, "no plugin %s is installed", clean(name)).
			WithHint("`reprieve plugin list` shows what is; the built-in actions are in the product itself")
	}
	return found, err
}

func verify(h *Host, name string) ([]Verdict, error) {
	out := []Verdict{}
	if h.o.Dir == "" {
		return out, nil
	}
	lock, err := ReadLock(h.o.Lock)
	if err != nil {
		return nil, err
	}
	for _, p := range lock.Plugins {
		for _, m := range p.Versions {
			if name != "" && name != m.Name {
				continue
			}
			v := Verdict{Plugin: m.Name, Version: m.Version, Current: m.Version == p.Current, Trusted: m.Trusted, Files: len(m.Files)}
			err := h.admissible(m)
			if err == nil {
				im := m.image(h.folder(lock.Format, m))
				if err = im.unchanged(); err == nil {
					err = im.agrees()
				}
			}
			v.says(err)
			out = append(out, v)
		}
		if p.inUse() == nil && (name == "" || name == p.Name) {
			v := Verdict{Plugin: p.Name, Version: p.Current, Current: true}
			v.says(tampered(Manifest{Name: p.Name}, "plugins.lock says that it is in use, and it is not installed and trusted"))
			out = append(out, v)
		}
	}
	return h.strays(lock, name, out)
}

// strays finds what lies beside the versions that the lock file lists.
func (h *Host) strays(lock Lock, name string, out []Verdict) ([]Verdict, error) {
	entries, err := os.ReadDir(h.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	for _, e := range entries {
		p := lock.plugin(e.Name())
		switch {
		case !e.IsDir() || strings.HasPrefix(e.Name(), ".") || name != "" && name != e.Name():
		case p == nil:
			v := Verdict{Plugin: e.Name()}
			v.says(unlisted(e.Name()))
			out = append(out, v)
		case lock.Format == lockFormat:
			below, err := os.ReadDir(filepath.Join(h.o.Dir, e.Name()))
			if err != nil {
				return out, err
			}
			for _, b := range below {
				if p.version(b.Name()) == nil {
					v := Verdict{Plugin: p.Name, Version: clean(b.Name())}
					v.says(unlisted(p.Name))
					out = append(out, v)
				}
			}
		}
	}
	return out, err
}

func (v *Verdict) says(err error) {
	if err == nil {
		return
	}
	v.Problem = clean(err.Error())
	var e *crm.Error
	if errors.As(err, &e) {
		v.Problem, v.Hint = clean(e.Err.Error()), e.Hint
	}
}

// CheckLock compares a folder of plugins with its lock file and starts nothing, for a machine on which no
// host runs. Beyond what Verify finds it says when the file is not as a host writes it.
func CheckLock(dir, path string) ([]Verdict, error) {
	h := &Host{o: Options{Dir: dir, Lock: path}}
	found, err := verify(h, "")
	if err != nil {
		return nil, err
	}
	is, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	lock, err := parseLock(is)
	if err != nil {
		return nil, err
	}
	if text, err := lock.text(); err != nil || lock.Format == lockFormat && !bytes.Equal(text, is) {
		v := Verdict{Plugin: lockName}
		v.says(tampered(Manifest{Name: lockName}, "it is not as it is written by `reprieve plugin install`"))
		found = append(found, v)
	}
	return found, nil
}
