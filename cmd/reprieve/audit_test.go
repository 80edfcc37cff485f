package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/internal/fault"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
)

// TestRotateKeyThroughCrashes ends a rotation of the master key at each of its steps: the store opens after each
// with what lies there, nothing is lost, and the next rotation gets through. It is not parallel: points are global.
func TestRotateKeyThroughCrashes(t *testing.T) {
	for _, point := range []string{"rotate.begun", "rotate.written", "bolt.before_flush", "bolt.before_commit", "bolt.after_commit", "rotate.committed", "rotate.finished"} {
		t.Run(point, func(t *testing.T) {
			c := &cli{data: shortDir(t), in: bytes.NewReader(nil), out: io.Discard, err: io.Discard, format: "table"}
			if err := c.makeData(); err != nil {
				t.Fatal(err)
			}
			call := func(verb string, q, a any) {
				t.Helper()
				if err := c.call(t.Context(), verb, q, a, nil); err != nil {
					t.Fatalf("%s: %v", verb, err)
				}
			}
			call("account.create", server.AccountCreate{Name: "main"}, nil)
			call("contact.create", server.ContactCreate{Email: "ada@example.com", Tags: []string{"VIP"}}, nil)
			old, err := os.ReadFile(c.path(keyFile))
			if err != nil {
				t.Fatal(err)
			}
			crashed := crashAt(t, c, point)
			if !crashed {
				t.Fatal("the point was not passed")
			}
			var page server.AuditPage
			call("audit.list", server.AuditList{Kind: crm.ContactCreated, Limit: 1}, &page) // opens with either key
			call("contact.get", server.ContactID{ID: "ada@example.com"}, nil)
			if len(page.Entries) != 1 || page.Entries[0].Purged || page.Entries[0].Sealed {
				t.Errorf("what was sealed does not open: %+v", page.Entries)
			}
			if _, err := c.rotate(t.Context()); err != nil {
				t.Errorf("the next rotation: %v", err)
			}
			call("audit.verify", server.None{}, nil)
			if opensWith(t, c, old) {
				t.Error("the old key opens the store")
			}
		})
	}
}

// crashAt rotates the key up to a point. The process is taken to die there: nothing that it would do later is done.
// The engine's own points end in its own goroutine; there the rotation dies before or after by a copy of the files.
func crashAt(t *testing.T, c *cli, point string) (crashed bool) {
	t.Helper()
	at := t.TempDir()
	copyFiles := func(from, to string) {
		for _, name := range []string{storeFile, keyFile, nextKeyFile} {
			raw, err := os.ReadFile(filepath.Join(from, name))
			if os.IsNotExist(err) {
				_ = os.Remove(filepath.Join(to, name))
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(to, name), raw, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	fault.Activate(point, 1, func() { crashed = true; copyFiles(c.data, at) }) // what a kill would leave
	defer fault.Deactivate()
	if _, err := c.rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	copyFiles(at, c.data)
	return crashed
}

func opensWith(t *testing.T, c *cli, key []byte) bool {
	t.Helper()
	raw, err := hex.DecodeString(string(bytes.TrimSpace(key)))
	if err != nil {
		t.Fatal(err)
	}
	eng, err := bolt.Open(c.path(storeFile), bolt.Options{Now: func() crm.Nanos { return crm.At(clock.Wall{}.Now()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	_, err = store.New(t.Context(), eng, store.Options{Key: raw})
	return err == nil
}

// TestAuditFiles: the key is made once and only its owner's, its public part follows it, and heads are read but for
// one that broke off.
func TestAuditFiles(t *testing.T) {
	t.Parallel()
	a := newAuditFiles(t.TempDir())
	first, err := a.Signer()
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.Signer()
	if err != nil || second.Public().Key != first.Public().Key {
		t.Errorf("another key at the second need: %v", err)
	}
	key, pub := filepath.Join(a.dir, auditKey), filepath.Join(a.dir, auditPub)
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	next, err := a.Rotate(5)
	if err != nil || len(next.Public().Old) != 1 {
		t.Fatalf("%v", err)
	}
	want, err := os.ReadFile(pub)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := store.ParseKeys(want); err != nil || keys.Key != next.Public().Key || keys.Old[0].Key != first.Public().Key {
		t.Errorf("%+v, %v", keys, err)
	}
	if err := os.WriteFile(pub, []byte("{}"), 0o644); err != nil { // as after a crash between the two files
		t.Fatal(err)
	}
	if _, err := a.Signer(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(pub); err != nil || !bytes.Equal(got, want) {
		t.Error("the public part was not written anew")
	}
	for n := range uint64(3) {
		if err := a.Append(store.Head{Seq: n + 1, Signature: []byte{1}}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(a.heads)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(raw) {
		if err := os.WriteFile(a.heads, raw[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		heads, err := a.Heads()
		if whole := bytes.Count(raw[:cut], []byte("\n")); err != nil || len(heads) < whole || len(heads) > whole+1 {
			t.Fatalf("cut at %d: %d heads, %v", cut, len(heads), err)
		}
		if err := a.Append(store.Head{Seq: 9, Signature: []byte{1}}); err != nil {
			t.Fatal(err)
		}
		if last, err := a.Last(); err != nil || last.Seq != 9 {
			t.Fatalf("cut at %d: a head that was exported later cannot be read: %v", cut, err)
		}
	}
	if err := os.WriteFile(a.heads, append([]byte("{x\n"), raw...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Heads(); crm.CodeOf(err) != crm.CodeCorrupt {
		t.Errorf("a line that is none: %v", err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Signer(); crm.CodeOf(err) != crm.CodeDenied {
		t.Errorf("a key that others may read: %v", err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Signer(); crm.CodeOf(err) != crm.CodeNotFound {
		t.Errorf("a key that was lost: %v", err)
	}
}
