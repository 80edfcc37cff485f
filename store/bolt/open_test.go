package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// filled makes a closed store with some content and gives its path.
func filled(t testing.TB, marks int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "reprieve.db")
	e, err := Open(path, Options{Now: fixed, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for part := range 10 {
		err := e.Update(ctx, func(tx row.Tx) error {
			for i := range marks / 10 {
				m := row.Mark{Name: fmt.Sprintf("mark %d.%05d", part, i), Bytes: bytes.Repeat([]byte{byte(i)}, 100)}
				if err := tx.Marks().Write(ctx, []row.Change[row.Mark]{{New: &m}}); err != nil {
					return err
				}
			}
			return tx.Append(ctx, "log", [][]byte{[]byte("a line")})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReopen(t *testing.T) {
	t.Parallel()
	path := filled(t, 1000)
	e, err := Open(path, Options{Now: fixed, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if e.db.NoFreelistSync {
		t.Error("the free list is not kept, so Open walks the tree in a goroutine that nobody can guard")
	}
	if !has(t, e, "mark 9.00099") {
		t.Error("a row is missing after the reopening")
	}
	if s := e.Stats(); s.FileBytes == 0 || s.OpenViews != 0 {
		t.Errorf("stats: %+v", s)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := Check(path); err != nil {
		t.Errorf("a good store: %v", err)
	}
	for _, left := range []string{".pid", ".new"} {
		if _, err := os.Stat(path + left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file %s was left behind", left)
		}
	}
}

// TestCommitsAreSynced: killing a process cannot show a missing fsync, so this looks at the switch.
func TestCommitsAreSynced(t *testing.T) {
	t.Parallel()
	for _, noSync := range []bool{false, true} {
		if e := open(t, Options{NoSync: noSync}); e.db.NoSync != noSync {
			t.Errorf("NoSync is %v, want %v", e.db.NoSync, noSync)
		}
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	path := filled(t, 10)
	o := Options{Now: fixed, Timeout: 50 * time.Millisecond}
	e, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	_, second := Open(path, o)
	for name, err := range map[string]error{"open": second, "check": Check(path), "compact": Compact(path, path+".copy")} {
		if crm.CodeOf(err) != crm.CodeLocked || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// A pid file that a crash left behind locks nothing.
	if err := os.WriteFile(path+".pid", []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err = Open(path, o); err != nil {
		t.Fatal(err)
	}
	_ = e.Close()
}

// TestOpenedByMany: several openers of a store that does not exist yet make one store, and none
// undoes what another wrote.
func TestOpenedByMany(t *testing.T) {
	t.Parallel()
	const openers = 8
	path := filepath.Join(t.TempDir(), "reprieve.db")
	use := func(fn func(e *Engine)) {
		e, err := Open(path, Options{Now: fixed, NoSync: true, Timeout: time.Minute})
		if err != nil {
			t.Error(err)
			return
		}
		fn(e)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for i := range openers {
		wg.Go(func() {
			use(func(e *Engine) {
				if err := e.Update(ctx, func(tx row.Tx) error { return mark(tx, fmt.Sprint(i)) }); err != nil {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
	use(func(e *Engine) {
		for i := range openers {
			if !has(t, e, fmt.Sprint(i)) {
				t.Errorf("what opener %d wrote is gone", i)
			}
		}
	})
}

func TestWrongPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ path, open, check string }{
		"no path":               {"", crm.CodeInvalid, crm.CodeInvalid},
		"no directory":          {filepath.Join(dir, "none", "x.db"), crm.CodeUnavailable, crm.CodeUnavailable},
		"a directory":           {dir, crm.CodeCorrupt, crm.CodeCorrupt},
		"a file as a directory": {filepath.Join(filled(t, 0), "x.db"), crm.CodeUnavailable, crm.CodeUnavailable},
		"no file":               {filepath.Join(dir, "new.db"), "", crm.CodeNotFound},
	} {
		if err := Check(c.path); crm.CodeOf(err) != c.check {
			t.Errorf("check, %s: %v", name, err)
		}
		e, err := Open(c.path, Options{Now: fixed})
		if crm.CodeOf(err) != c.open {
			t.Errorf("open, %s: %v", name, err)
		}
		if err == nil {
			_ = e.Close()
		}
	}
	if _, err := Open(filepath.Join(dir, "x.db"), Options{}); crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("no clock: %v", err)
	}
}

// edit changes a closed store through bbolt itself.
func edit(t *testing.T, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	edit(t, foreign, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
	newer := filled(t, 10)
	edit(t, newer, func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(formatKey, binary.BigEndian.AppendUint64(nil, storeFormat+1))
	})
	numberless := filled(t, 10)
	edit(t, numberless, func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Delete(formatKey) })
	for path, code := range map[string]string{foreign: crm.CodeCorrupt, newer: crm.CodeNewer, numberless: crm.CodeCorrupt} {
		before, _ := os.ReadFile(path)
		_, err := Open(path, Options{Now: fixed})
		for what, err := range map[string]error{"open": err, "check": Check(path), "compact": Compact(path, path+".copy")} {
			if crm.CodeOf(err) != code {
				t.Errorf("%s: %v, want the code %s", what, err, code)
			}
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Error("a refused store was changed")
		}
	}
	older := filled(t, 10) // a version with fewer tables wrote it
	edit(t, older, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(row.Suppressed.Name)) })
	e, err := Open(older, Options{Now: fixed})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Update(ctx, func(tx row.Tx) error { return mark(tx, "more") }); err != nil {
		t.Error(err)
	}
	_ = e.Close()
}

func TestCompact(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "reprieve.db")
	e, err := Open(path, Options{Now: fixed, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	secret := row.Mark{Name: "secret", Bytes: bytes.Repeat([]byte("purged for good "), 20)}
	steps := []func(tx row.Tx) error{
		func(tx row.Tx) error { return tx.Marks().Write(ctx, []row.Change[row.Mark]{{New: &secret}}) },
		func(tx row.Tx) error { return errors.Join(mark(tx, "kept"), tx.Append(ctx, "log", [][]byte{{1}, {2}})) },
		func(tx row.Tx) error { return tx.Marks().Write(ctx, []row.Change[row.Mark]{{Old: &secret}}) },
	}
	for _, fn := range steps {
		if err := e.Update(ctx, fn); err != nil {
			t.Fatal(err)
		}
	}
	_ = e.Close()
	if b, _ := os.ReadFile(path); !bytes.Contains(b, []byte("purged for good")) {
		t.Error("bbolt cleans its free pages by now: Compact's promise can be simpler")
	}
	dst := path + ".compact"
	if err := Compact(path, dst); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(dst); bytes.Contains(b, []byte("purged for good")) {
		t.Error("the compacted store still holds a deleted row")
	}
	if err := Compact(path, dst); crm.CodeOf(err) != crm.CodeConflict {
		t.Errorf("an existing destination: %v", err)
	}
	if err := Check(dst); err != nil {
		t.Error(err)
	}
	if e, err = Open(dst, Options{Now: fixed}); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	// The log goes on behind its last row.
	err = e.Update(ctx, func(tx row.Tx) error { return tx.Append(ctx, "log", [][]byte{{3}}) })
	_ = e.View(ctx, func(tx row.Tx) error {
		rows, _, err := tx.Next(ctx, "log", nil, 0)
		if err != nil || len(rows) != 3 || rows[2][0] != 3 {
			t.Errorf("log: %v, %v", rows, err)
		}
		return nil
	})
	if err != nil || !has(t, e, "kept") {
		t.Errorf("after the compaction: %v", err)
	}
}

// TestEveryTableIsListed: Check and Open know each table that the contract has.
func TestEveryTableIsListed(t *testing.T) {
	path := filled(t, 0)
	edit(t, path, func(tx *bbolt.Tx) error {
		for _, info := range tables {
			if tx.Bucket([]byte(info.name)) == nil {
				t.Errorf("table %s is missing", info.name)
			}
			if b, _ := codec.Marshal(struct{}{}); info.verify([]byte("x"), b) == nil {
				t.Errorf("table %s takes any key", info.name)
			}
		}
		return nil
	})
}
