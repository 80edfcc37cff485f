package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// TestBadFiles: whatever is at the path, Open says what is wrong, does not crash, and leaves the file
// as it is.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(filled(t, 1000))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := metaIn(good, 0)
	if other, valid := metaIn(good, os.Getpagesize()); !ok || valid && other.txid > m.txid {
		m = other
	}
	size := int(m.pageSize)
	change := func(f func(b []byte)) []byte { b := bytes.Clone(good); f(b); return b }
	both := func(b []byte, at int, v byte) { b[16+at], b[size+16+at] = v, v }
	cases := map[string][]byte{
		"empty":            {},
		"one byte":         {1},
		"text":             []byte("this is no database, whatever its name says\n"),
		"zeros":            make([]byte, 64<<10),
		"only a header":    good[:16],
		"one page":         good[:size],
		"one and a half":   good[:size*3/2],
		"two pages":        good[:2*size],
		"half":             good[:m.pages/2*m.pageSize],
		"a page short":     good[:(m.pages-1)*m.pageSize],
		"a byte short":     good[:m.pages*m.pageSize-1],
		"magic":            change(func(b []byte) { both(b, 0, 0) }),
		"version":          change(func(b []byte) { both(b, 4, 9) }),
		"a checksum":       change(func(b []byte) { both(b, 40, b[16+40]^1); both(b, 41, 0x55) }),
		"the root zeroed":  change(func(b []byte) { clear(b[m.root*m.pageSize:][:size]) }),
		"the free list":    change(func(b []byte) { b[m.freelist*m.pageSize+8] = flagLeaf }),
		"a free list long": change(func(b []byte) { b[m.freelist*m.pageSize+10], b[m.freelist*m.pageSize+11] = 0xFE, 0xFF }),
		"a free page":      change(func(b []byte) { binary.NativeEndian.PutUint64(b[m.freelist*m.pageSize+16:], 1<<40) }),
		"the first page swapped": change(func(b []byte) {
			copy(b[m.root*m.pageSize:][:16], b[m.freelist*m.pageSize:][:16])
		}),
	}
	for name, b := range cases {
		path := filepath.Join(t.TempDir(), "reprieve.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, Options{Now: fixed})
		if crm.CodeOf(err) != crm.CodeCorrupt {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(path); crm.CodeOf(err) != crm.CodeCorrupt {
			t.Errorf("check, %s: %v", name, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, b) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func metaIn(b []byte, at int) (meta, bool) {
	f, err := os.CreateTemp("", "meta")
	if err != nil {
		return meta{}, false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	_, _ = f.Write(b)
	return readMeta(f, uint64(at))
}

// TestOneMetaIsEnough: a crash can tear the newer of the two meta pages; the older one counts then.
func TestOneMetaIsEnough(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		path := filled(t, 100)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, 2048), at); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		e, err := Open(path, Options{Now: fixed})
		if err != nil {
			t.Errorf("the meta page at %d torn: %v", at, err)
			continue
		}
		if !has(t, e, "mark 5.00001") {
			t.Error("a row is missing")
		}
		_ = e.Close()
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

func TestDamagedRows(t *testing.T) {
	t.Parallel()
	const name = "mark 3.00002"
	flip := func(b []byte) []byte { c := bytes.Clone(b); c[len(c)-1] ^= 1; return c }
	for what, fn := range map[string]func(tx *bbolt.Tx) error{
		"a row": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("mark"))
			return b.Put([]byte(name), flip(b.Get([]byte(name))))
		},
		"a row under another key": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("mark"))
			return b.Put([]byte(name), b.Get([]byte("mark 3.00001")))
		},
		"a line of a log": func(tx *bbolt.Tx) error {
			b := tx.Bucket(logBucket("log"))
			return b.Put(binary.BigEndian.AppendUint64(nil, 3), flip(b.Get(binary.BigEndian.AppendUint64(nil, 3))))
		},
		"a strange table": func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("strange")); return err },
	} {
		path := filled(t, 100)
		edit(t, path, fn)
		err := Check(path)
		if crm.CodeOf(err) != crm.CodeCorrupt {
			t.Errorf("%s: %v", what, err)
		}
		if what == "a row" && !strings.Contains(err.Error(), fmt.Sprintf("table mark, key %x", name)) {
			t.Errorf("%s: the error does not say which: %v", what, err)
		}
	}
	path := filled(t, 100)
	edit(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("mark"))
		return b.Put([]byte(name), flip(b.Get([]byte(name))))
	})
	e, err := Open(path, Options{Now: fixed})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	err = e.View(ctx, func(tx row.Tx) error { _, err := tx.Marks().Get(ctx, []string{name}); return err })
	if crm.CodeOf(err) != crm.CodeCorrupt {
		t.Errorf("a damaged row was read: %v", err)
	}
	if !has(t, e, "mark 3.00001") {
		t.Error("its neighbour cannot be read")
	}
}

// TestDamagedPage: a zeroed page in the middle of an open store is an error to those who read it,
// not the end of the process.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	path := filled(t, 3000)
	var victim uint64
	edit(t, path, func(tx *bbolt.Tx) error {
		for id := 2; ; id++ {
			info, err := tx.Page(id)
			if err != nil || info == nil {
				return errors.New("no full leaf")
			}
			if info.Type == "leaf" && info.Count > 10 && info.Count != len(tables)+2 {
				victim = uint64(id)
				return nil
			}
		}
	})
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, os.Getpagesize()), int64(victim)*int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	e, err := Open(path, Options{Now: fixed})
	if err != nil {
		t.Fatal(err)
	}
	all := func(tx row.Tx) error { _, err := tx.Marks().Range(ctx, "", "~", 0); return err }
	for what, err := range map[string]error{"view": e.View(ctx, all), "update": e.Update(ctx, all)} {
		if crm.CodeOf(err) != crm.CodeCorrupt {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
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

func FuzzPreflight(f *testing.F) {
	good, err := os.ReadFile(filled(f, 10))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:16<<10], uint(0), byte(0))
	f.Add(good, uint(16+40), byte(7))
	f.Add(good, uint(os.Getpagesize()+16+32), byte(1))
	f.Add([]byte{}, uint(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint, v byte) {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[at%uint(len(b))] = v
		}
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Skip()
		}
		f, err := os.Open(path)
		if err != nil {
			t.Skip()
		}
		defer f.Close()
		_ = preflight(f) // must neither panic nor read beyond the file
	})
}
