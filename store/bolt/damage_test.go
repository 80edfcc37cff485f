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

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// TestBadFiles: whatever is at the path, Open says what is wrong, does not crash, and leaves the file
// as it is.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(filled(t, 1000))
	if err != nil {
		t.Fatal(err)
	}
	m := current(good)
	good = good[:m.pages*m.pageSize]
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
	// Also when the page that is cut off is one that Open does not look at.
	if err := preflight(bytes.NewReader(good), uint64(len(good)-1)); crm.CodeOf(err) != crm.CodeCorrupt {
		t.Errorf("an ordinary page cut short: %v", err)
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

// current gives the meta record of a good file that counts.
func current(b []byte) meta {
	m, _ := currentMeta(bytes.NewReader(b), uint64(len(b)))
	return m
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

func FuzzPreflight(f *testing.F) {
	good, err := os.ReadFile(filled(f, 10))
	if err != nil {
		f.Fatal(err)
	}
	good = good[:current(good).pages*uint64(os.Getpagesize())]
	f.Add(good, uint(0), byte(0))
	f.Add(good, uint(16+40), byte(7))
	f.Add(good, uint(os.Getpagesize()+16+32), byte(1))
	f.Add(good[:100], uint(0), byte(0))
	f.Add([]byte{}, uint(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint, v byte) {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[at%uint(len(b))] = v
		}
		_ = preflight(bytes.NewReader(b), uint64(len(b))) // must not panic
	})
}
