package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
)

// What stands in a data directory.
const (
	storeFile    = "reprieve.db"
	keyFile      = "master.key"
	socketFile   = "reprieve.sock"
	pluginsDir   = "plugins"
	settingsFile = "actions.yaml"   // what the operator has set for actions and plugins
	ledgerFile   = "erasures.jsonl" // keep it with the backups: what it names must not come back with one
	auditKey     = "audit.key"      // signs what is exported of the log
	auditPub     = "audit.pub"      // by which that is verified
	headsFile    = "audit-heads.jsonl"
)

func (c *cli) path(name string) string { return filepath.Join(c.data, name) }

// opened is a data directory that this process has open.
type opened struct {
	app   *server.App
	host  *plugins.Host
	close func() error
}

// place says where the parts of a product are that is opened in this process.
type place struct {
	dir    string
	key    []byte
	next   []byte       // the key that a rotation was about to bring; nil: none
	finish func() error // called when it was that key that opened the store
	heads  string       // when heads of the log are exported, as cron
	audit  *auditFiles  // nil: those of the directory
	clock  clock.Clock
	log    zerolog.Logger
	sweep  string
	rand   io.Reader // nil: the system's
	noSync bool
	free   func(dir string) (uint64, error) // bytes free on the disk; nil asks the file system
}

// open opens a data directory in this process: store, plugin host, engine. Nothing runs yet.
func open(ctx context.Context, p place) (*opened, error) {
	fail := func(err error, closers ...func() error) (*opened, error) {
		for _, c := range closers {
			err = errors.Join(err, c())
		}
		return nil, err
	}
	file := filepath.Join(p.dir, storeFile)
	eng, err := bolt.Open(file,
		bolt.Options{Now: func() crm.Nanos { return crm.At(p.clock.Now()) }, NoSync: p.noSync, FreeBytes: p.free})
	if err != nil {
		return fail(storeError(file, err))
	}
	opts := store.Options{Key: p.key, Next: p.next, Rand: p.rand}
	if _, wall := p.clock.(clock.Wall); wall {
		opts.Mono = clock.Passed()
	}
	st, err := store.New(ctx, eng, opts)
	if err != nil {
		return fail(storeError(file, err), eng.Close)
	}
	if st.UsedNext() && p.finish != nil {
		if err := p.finish(); err != nil {
			return fail(err, st.Close)
		}
	}
	if p.audit == nil {
		p.audit = newAuditFiles(p.dir)
	}
	host, err := newHost(p.dir, p.log)
	if err != nil {
		return fail(err, st.Close)
	}
	engine, err := runtime.New(runtime.Options{Store: st, Actions: host, Clock: p.clock, Log: p.log, Sweep: p.sweep, Ledger: ledger(filepath.Join(p.dir, ledgerFile)),
		Secrets: secrets(filepath.Join(p.dir, settingsFile)), Audit: p.audit.runtime(p.heads)})
	if err != nil {
		return fail(err, func() error { return host.Close(ctx) }, st.Close)
	}
	return &opened{
		app: &server.App{Store: st, Engine: engine, Host: host, Log: p.log, Audit: p.audit}, host: host,
		close: sync.OnceValue(func() error {
			ctx := context.WithoutCancel(ctx)
			return errors.Join(engine.WriteLedger(ctx), host.Close(ctx), st.Close())
		}),
	}, nil
}

// ledger appends lines to the erasure ledger, durably.
func ledger(file string) func([]crm.Erasure) error {
	return func(lines []crm.Erasure) error {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return crm.Errorf("write the erasure ledger", crm.CodeFailed, "%w", err).WithHint("make the file writable; until then its lines wait in the store")
		}
		enc := json.NewEncoder(f)
		for _, l := range lines {
			err = errors.Join(err, enc.Encode(l))
		}
		return errors.Join(err, f.Sync(), f.Close())
	}
}

// storeError names the file in what was said about a store that is locked or damaged, and says what an
// empty file means.
func storeError(file string, err error) error {
	var e *crm.Error
	if !errors.As(err, &e) || e.Code != crm.CodeLocked && e.Code != crm.CodeCorrupt && e.Code != crm.CodeNewer {
		return err
	}
	named := *e
	named.Err = fmt.Errorf("%s: %w", file, e.Err)
	if info, err := os.Stat(file); err == nil && info.Size() == 0 && e.Code == crm.CodeCorrupt {
		named.Hint = "the file is empty. If nothing was ever in this store, remove the file and run reprieve init; else go back to a backup"
	}
	return &named
}

// newHost makes a plugin host: the built-in actions are this binary, started again. Its sockets are
// below the system's temporary directory, where a host removes what one that was killed has left.
func newHost(dir string, log zerolog.Logger) (*plugins.Host, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	run := os.TempDir()
	if len(run) > 40 { // as on macOS: a socket's path would get too long
		run = "/tmp"
	}
	return plugins.New(plugins.Options{
		RunDir: run, Builtin: []string{exe, "action"}, BuiltinNames: actions.Processes(),
		BuiltinNetwork: []string{"http.request"}, Hidden: dir,
		Config: settings(filepath.Join(dir, settingsFile)),
		Dir:    filepath.Join(dir, pluginsDir), Log: log,
	})
}

// session is a caller with what there is to do when it is no longer needed.
type session struct {
	server.Caller
	local *opened // nil: a server answers
	cli   *cli
}

// readOnly says whether a verb only looks.
func readOnly(verb string) bool {
	_, act, _ := strings.Cut(verb, ".")
	return slices.Contains([]string{"list", "get", "show", "status", "check", "receipt", "verify", "preview", "history", "export", "key", "knobs", "simulate", "explain", "manifest"}, act)
}

// open gives a caller: a running server's socket if one listens, else the data directory in this
// process.
func (c *cli) open(ctx context.Context) (*session, error) {
	if client, err := server.Dial(c.path(socketFile)); err == nil {
		return &session{Caller: client, cli: c}, nil
	}
	if _, err := os.Stat(c.path(storeFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, crm.Errorf("open the data directory", crm.CodeNotFound, "there is no store in %s", c.data).
			WithHint("reprieve init makes one, or name another: --data DIR")
	}
	keys, err := c.masterKeys()
	if err != nil {
		return nil, err
	}
	o, err := open(ctx, place{dir: c.data, key: keys.key, next: keys.next, finish: func() error { return c.finish(keys) }, clock: clock.Wall{}, log: c.logger(zerolog.WarnLevel)})
	if err != nil {
		return nil, err
	}
	by := crm.Actor{ID: fmt.Sprintf("user:%d", os.Getuid()), Role: crm.Admin}
	return &session{Caller: o.app.As(by), local: o, cli: c}, nil
}

// Close closes what was opened here, after saying that events wait which no server is there to look
// at.
func (s *session) Close(ctx context.Context, wrote bool) error {
	if s.local == nil {
		return nil
	}
	var st server.EventStatus
	if !wrote {
		return s.local.close()
	}
	if err := s.Call(ctx, "event.status", server.None{}, &st, nil); err == nil && st.Waiting > 0 {
		n := plural(st.Waiting, "event")
		if st.Waiting > 1000 {
			n = "over 1000 events"
		}
		fmt.Fprintf(s.cli.err, "%s in the log not yet looked at by triggers; start reprieve serve\n", n)
	}
	return s.local.close()
}

// call opens a session for one verb.
func (c *cli) call(ctx context.Context, verb string, request, answer any, in io.Reader) error {
	return c.session(ctx, !readOnly(verb), func(s *session) error { return s.Call(ctx, verb, request, answer, in) })
}

// session opens a session for several verbs; writes says whether they change anything.
func (c *cli) session(ctx context.Context, writes bool, use func(*session) error) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	err = use(s)
	if s.local != nil {
		err = storeError(c.path(storeFile), err)
	}
	return errors.Join(err, s.Close(ctx, err == nil && writes))
}

// logger writes for people on a terminal and JSON elsewhere, to standard error.
func (c *cli) logger(level zerolog.Level) zerolog.Logger {
	var w io.Writer = c.err
	if isTerminal(c.err) {
		w = zerolog.ConsoleWriter{Out: c.err, NoColor: os.Getenv("NO_COLOR") != "", TimeFormat: "15:04:05"}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}
