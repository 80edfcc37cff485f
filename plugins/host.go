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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
)

// Options says where a host finds plugins and how long it waits for them.
type Options struct {
	// RunDir is for sockets; it is made with mode 0700. A socket's path is short: where RunDir is over
	// about 40 bytes the host uses a private directory below the system's temporary one instead.
	RunDir  string
	Builtin []string // argv that serves a built-in action once its name is appended; nil: none
	// BuiltinNames are the built-in actions, each a process. One entry may have several, in order and joined by
	// commas: they share a process, whose plugin is called reprieve.
	BuiltinNames []string
	Dir          string // installed third-party plugins: a folder of folders; "": none
	Lock         string // path of plugins.lock; "": in Dir
	Log          zerolog.Logger
	// Config gives what the operator has set for a plugin, a JSON object; a built-in one is called as its
	// action. It is asked at each start; nil: nothing is set.
	Config       func(plugin string) ([]byte, error)
	StartTimeout time.Duration // until a plugin has described itself; 0 is 10 s
	KillTimeout  time.Duration // for a plugin to end by itself; 0 is 3 s
	// BuiltinNetwork are those of BuiltinNames that may use the network. The others are cut off from it where the
	// system allows, like a third party's plugin that declares no network, and any that is only being installed.
	BuiltinNetwork []string
	Hidden         string // the data directory, which a third party's process must not read; "": none
	Memory         int64  // bytes that a third party's process may use; 0 is 1 GiB, less is no limit
}

// Host runs plugins. It is safe for concurrent use.
type Host struct {
	o   Options
	dir string // private to this host: mode 0700, gone after Close
	now func() time.Time

	installing sync.Mutex
	calls      sync.WaitGroup // Executes under way
	drains     sync.WaitGroup // plugins that were replaced and answer what they are at,
	leaving    atomic.Int32   // so many of them
	cut        context.Context
	cutOff     context.CancelFunc // ends them at once

	mu      sync.Mutex
	plugins map[string]*plugin // by name; a built-in one has its action's
	actions map[string]*plugin
	lock    Lock // as it was read or written last
	closed  bool
}

const builtinGroup = "reprieve"

// New makes a host. It starts nothing: a plugin is started when it is first needed. A plugin that
// cannot run is no error here; Catalogue and Processes say what is wrong with it.
func New(o Options) (*Host, error) {
	if o.StartTimeout <= 0 {
		o.StartTimeout = 10 * time.Second
	}
	if o.KillTimeout <= 0 {
		o.KillTimeout = 3 * time.Second
	}
	if o.Lock == "" && o.Dir != "" {
		o.Lock = filepath.Join(o.Dir, lockName)
	}
	h := &Host{o: o, now: time.Now, plugins: map[string]*plugin{}, actions: map[string]*plugin{}, lock: Lock{Format: lockFormat}}
	h.cut, h.cutOff = context.WithCancel(context.Background())
	var err error
	if h.dir, err = privateDir(o.RunDir); err != nil {
		return nil, crm.Errorf("make the directory for plugin sockets", crm.CodeInvalid, "%w", err)
	}
	if o.Builtin != nil {
		for _, word := range o.BuiltinNames {
			name, names := word, strings.Split(word, ",")
			if len(names) > 1 {
				name = builtinGroup
			}
			l := h.launch(name, image{argv: append(slices.Clone(o.Builtin), word)})
			l.network = slices.Contains(o.BuiltinNetwork, word)
			h.add(newPlugin(name, names, l, expectActions(l.network, names...)))
		}
	}
	if err := h.addInstalled(); err != nil {
		_ = os.RemoveAll(h.dir)
		return nil, err
	}
	return h, nil
}

func (h *Host) launch(name string, im image) launch {
	conf := confine{trusted: im.folder == "", hidden: h.o.Hidden, memory: uint64(max(0, h.o.Memory))}
	if h.o.Memory == 0 {
		conf.memory = defaultMemory
	}
	return launch{plugin: name, settings: h.o.Config, image: im, conf: conf, private: h.dir, log: h.o.Log, timeout: h.o.StartTimeout, kill: h.o.KillTimeout, now: h.now}
}

// add makes a plugin known; the caller holds mu or is New. What it replaces is given back.
func (h *Host) add(p *plugin) (old *plugin) {
	old = h.plugins[p.name]
	if old != nil {
		maps.DeleteFunc(h.actions, func(_ string, q *plugin) bool { return q == old })
	}
	h.plugins[p.name] = p
	for _, a := range p.actions {
		h.actions[a] = p
	}
	return old
}

// Catalogue gives all actions by name, starting what has not described itself yet. An action that
// cannot run has Broken set. The error is about ctx or the host alone.
func (h *Host) Catalogue(ctx context.Context) (map[string]Spec, error) {
	out := map[string]Spec{}
	for _, p := range h.all() {
		if err := h.describe(ctx, p, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Spec gives one action, starting its plugin if it has not described itself yet. The error is that no
// plugin has the action, or that it cannot run now.
func (h *Host) Spec(ctx context.Context, action string) (Spec, error) {
	for {
		p, err := h.enter(action)
		if err != nil {
			return Spec{}, err
		}
		specs := map[string]Spec{}
		err = h.describe(ctx, p, specs)
		h.calls.Done()
		if err != nil {
			return Spec{}, err
		}
		if s := specs[action]; !errors.Is(s.Broken, errRetired) || !h.replaced(action, p) {
			return s, s.Broken
		}
	}
}

// replaced says whether calls of the action go to another plugin by now.
func (h *Host) replaced(action string, p *plugin) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.actions[action] != p
}

func (h *Host) describe(ctx context.Context, p *plugin, into map[string]Spec) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return errClosing()
	}
	h.calls.Add(1)
	h.mu.Unlock()
	defer h.calls.Done()
	p.mu.Lock()
	known := p.specs != nil
	p.mu.Unlock()
	var broken error
	if !known {
		_, broken = p.ready(ctx)
	}
	if err := ctx.Err(); err != nil {
		return crm.Errorf("list the actions", crm.CodeUnavailable, "%w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.actions {
		s, ok := p.specs[a]
		if !ok {
			s = Spec{Action: a, Plugin: p.name, Broken: broken}
		}
		into[a] = s
	}
	return nil
}

// all gives the plugins in name order.
func (h *Host) all() []*plugin {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*plugin
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		out = append(out, h.plugins[name])
	}
	return out
}

// enter finds the plugin of an action and counts the call, which the caller must end.
func (h *Host) enter(action string) (*plugin, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosing()
	}
	p := h.actions[action]
	if p == nil {
		return nil, noAction(action)
	}
	h.calls.Add(1)
	return p, nil
}

func noAction(action string) error {
	name, _, _ := strings.Cut(action, ".")
	return crm.Errorf("run "+clean(action), crm.CodeNotFound, "no plugin has this action").
		WithHint("`reprieve action list` shows what there is; install a plugin %s with `reprieve plugin install FOLDER`", clean(name))
}

func errClosing() error {
	return crm.Errorf("run a plugin", crm.CodeUnavailable, "the host is closing")
}

// Close ends all plugins: calls under way are waited for until ctx ends, and then cut off, which is
// the error. It returns when no process is left, and may be called again.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	again := h.closed
	h.closed = true
	h.mu.Unlock()
	if again {
		return nil
	}
	stop := context.AfterFunc(ctx, h.cutOff)
	defer stop()
	defer h.cutOff()
	all := h.all()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { errs[i] = p.stop(ctx) })
	}
	wg.Wait()
	h.calls.Wait()
	h.installing.Lock() // an install under way ends by its own timeout
	defer h.installing.Unlock()
	h.drains.Wait()
	if err := errors.Join(errs...); err != nil {
		_ = removeAll(h.dir)
		return crm.Errorf("stop the plugins", crm.CodeUnavailable, "calls were cut off: %w", ctx.Err())
	}
	return removeAll(h.dir)
}

// removeAll is os.RemoveAll for what a plugin could write in: it may have locked a folder against its owner.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// Sockets are addressed by paths of at most 107 bytes; below the host's directory go-plugin needs
// up to 38 for its own.
const maxDir = 107 - 38

// privateDir makes this host's directory below base, and removes those of hosts that were killed.
func privateDir(base string) (string, error) {
	if base == "" || len(base)+len("/reprieve-4194304-4294967295") > maxDir {
		base = os.TempDir()
	} else if err := os.MkdirAll(base, 0o700); err != nil {
		return "", err
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	left, _ := filepath.Glob(filepath.Join(base, "reprieve-*-*"))
	for _, path := range left {
		if abandoned(path) {
			_ = removeAll(path)
		}
	}
	dir, err := os.MkdirTemp(base, fmt.Sprintf("reprieve-%d-", os.Getpid()))
	if err == nil && len(dir) > maxDir {
		_ = os.Remove(dir)
		err = errors.New("its path is too long for a socket; set a shorter one")
	}
	return dir, err
}

// abandoned says whether a directory is ours and its host is gone.
func abandoned(path string) bool {
	parts := strings.Split(filepath.Base(path), "-")
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || len(parts) != 3 {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	owner, ok := info.Sys().(*syscall.Stat_t)
	return err == nil && pid > 0 && ok && int(owner.Uid) == os.Getuid() && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
