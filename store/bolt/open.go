package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/reprieve-run/reprieve/crm"
)

// storeFormat numbers the set of buckets and what their keys mean. A higher one is refused.
const storeFormat = 1

var (
	metaBucket = []byte("reprieve") // says that a bbolt file is a store of ours
	formatKey  = []byte("format")
)

// initialMap is reserved address space, not memory. bbolt cannot enlarge the mapping while a view
// runs, so until the file outgrows it no view keeps the writer waiting.
const initialMap = 1 << 30

// Open opens the store at path, or makes one if there is no file. Its errors are crm.CodeLocked when
// another process has it, crm.CodeCorrupt when the file is damaged or none of ours, crm.CodeNewer
// when a newer version wrote it, and crm.CodeUnavailable for the rest. A file that it refuses stays
// as it is.
func Open(path string, o Options) (*Engine, error) {
	if o.Now == nil {
		return nil, misuse("Options.Now is missing")
	}
	o = o.withDefaults()
	if err := existing(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path, o.Timeout); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	db, err := openFile(path, o.Timeout, bbolt.Options{NoSync: o.NoSync, InitialMmapSize: initialMap})
	if err != nil {
		return nil, err
	}
	e := &Engine{db: db, o: o, path: path, queue: make(chan *job), ended: make(chan struct{})}
	if err := e.prepare(); err != nil {
		_ = db.Close()
		return nil, err
	}
	if err := os.WriteFile(pidPath(path), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		_ = db.Close()
		return nil, wrap("open the store", err)
	}
	go e.write()
	return e, nil
}

// existing says what is wrong with the path before anything is opened; os.ErrNotExist if only the
// file is missing.
func existing(path string) error {
	if path == "" {
		return crm.Errorf("open the store", crm.CodeInvalid, "no path was given").WithHint("name the store's file")
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return crm.Errorf("open the store", crm.CodeUnavailable, "its directory is missing").
			WithHint("run reprieve init, or name the data directory with --data")
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return os.ErrNotExist
	} else if err != nil {
		return wrap("open the store", err)
	}
	if !info.Mode().IsRegular() {
		return corrupt("it is not a regular file")
	}
	return nil
}

// create makes a store under another name and renames it when it is complete, so that an empty or
// short file at path is always damage and never taken for a new store.
func create(path string, timeout time.Duration) error {
	draft := path + ".new"
	f, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return wrap("create the store", err)
	}
	defer f.Close()
	if err := lock(f, lockExclusive, timeout); err != nil {
		return lockError(path, err)
	}
	if _, err := os.Stat(path); err == nil {
		return nil // somebody else made it while we waited; the draft that we hold is that file
	}
	if err := f.Truncate(0); err != nil { // left over from a crash
		return wrap("create the store", err)
	}
	db, err := bbolt.Open(draft, 0o600, &bbolt.Options{OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil }})
	if err != nil {
		return wrap("create the store", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return b.Put(formatKey, binary.BigEndian.AppendUint64(nil, storeFormat))
	})
	if err == nil {
		err = os.Rename(draft, path) // while we hold the lock
	}
	if err := errors.Join(err, db.Close(), syncDir(filepath.Dir(path))); err != nil {
		return wrap("create the store", err)
	}
	return nil
}

// openFile opens an existing file with bbolt, but looks at it first and under the lock: bbolt itself
// would crash on some damaged files and would make a database of an empty one.
func openFile(path string, timeout time.Duration, o bbolt.Options) (db *bbolt.DB, err error) {
	flag, how := os.O_RDWR, lockExclusive
	if o.ReadOnly {
		flag, how = os.O_RDONLY, lockShared
	}
	// The free list is kept in the file. Leaving it out saves writing it at each commit, which
	// matters after a mass purge, but compaction follows a purge; and Open would have to walk the
	// whole tree, in a goroutine of bbolt's that ends the process if a page is damaged.
	o.FreelistType = bbolt.FreelistMapType
	o.Timeout = timeout
	var f *os.File
	o.OpenFile = func(name string, _ int, _ os.FileMode) (_ *os.File, err error) {
		if f, err = os.OpenFile(name, flag, 0); err != nil {
			return nil, err
		}
		if err = lock(f, how, timeout); err == nil {
			err = lookAt(f)
		}
		return f, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	err = caught(func() (err error) {
		db, err = bbolt.Open(path, 0, &o)
		return err
	})
	if err == nil {
		return db, nil
	}
	if f != nil {
		_ = f.Close() // lets go of the lock; bbolt has closed it already unless it panicked
	}
	var own *crm.Error
	switch {
	case errors.As(err, &own):
		return nil, own
	case errors.Is(err, errLocked), errors.Is(err, bolterrors.ErrTimeout):
		return nil, lockError(path, errLocked)
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist):
		return nil, wrap("open the store", err)
	}
	return nil, corrupt("%w", err)
}

func lookAt(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return preflight(f, uint64(info.Size()))
}

// prepare checks the store's format and adds the tables that it lacks.
func (e *Engine) prepare() error {
	missing := false
	err := caught(func() error {
		return e.db.View(func(tx *bbolt.Tx) error {
			e.durable.Store(uint64(tx.ID()))
			for _, t := range tables {
				missing = missing || tx.Bucket([]byte(t.name)) == nil
			}
			return checkFormat(tx)
		})
	})
	if err == nil && missing {
		err = caught(func() error { return e.db.Update(makeTables) })
		e.durable.Add(1)
	}
	var own *crm.Error
	if err != nil && !errors.As(err, &own) {
		return corrupt("%w", err)
	}
	return err
}

func makeTables(tx *bbolt.Tx) error {
	for _, t := range tables {
		if _, err := tx.CreateBucketIfNotExists([]byte(t.name)); err != nil {
			return err
		}
	}
	return nil
}

// checkFormat says whether the file is a store of ours, of a format that we know.
func checkFormat(tx *bbolt.Tx) error {
	b := tx.Bucket(metaBucket)
	if b == nil {
		return corrupt("it is a bbolt file, but not a store of Reprieve")
	}
	v := b.Get(formatKey)
	if len(v) != 8 {
		return corrupt("its format number is missing")
	}
	if f := binary.BigEndian.Uint64(v); f > storeFormat {
		return crm.Errorf("open the store", crm.CodeNewer, "its format %d is newer than %d", f, storeFormat).
			WithHint("use the version of Reprieve that wrote it, or a later one")
	}
	return nil
}

// lockError says who has the store, as far as that is known.
func lockError(path string, err error) error {
	if !errors.Is(err, errLocked) {
		return wrap("open the store", err)
	}
	holder := "another process"
	if b, err := os.ReadFile(pidPath(path)); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			holder = fmt.Sprintf("process %d", pid)
		}
	}
	return crm.Errorf("open the store", crm.CodeLocked, "it is open in %s", holder).
		WithHint("use that server through its socket, or stop it first")
}

// pidPath names the file that says which process has the store; the lock itself is on the store.
func pidPath(path string) string { return path + ".pid" }

func removePID(path string) { _ = os.Remove(pidPath(path)) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
