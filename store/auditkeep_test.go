package store

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// keep sets audit.keep, with a recovery window that is not longer.
func (v *victim) keep(d crm.Nanos) {
	v.Helper()
	v.do(func(tx *Tx) error {
		p := crm.DefaultPolicy()
		p.Audit.Keep, p.Retention.Window = d, crm.Hour
		_, err := tx.SetPolicy(theAdmin, theAcc, p)
		return err
	})
	v.look()
}

// seen moves the dispatcher's cursor, or another reader's, behind an entry.
func (v *victim) seen(name string, seq uint64) {
	v.Helper()
	v.do(func(tx *Tx) error {
		from, err := tx.Cursor(name)
		if err != nil {
			return err
		}
		return tx.MoveCursor(name, from, []byte{byte(seq)}, seq)
	})
}

func (v *victim) trim(most int) (n int, more bool) {
	v.Helper()
	n, more, err := v.s.TrimLog(bg, "dispatch", most, v.by)
	v.must(err)
	return n, more
}

func (v *victim) start() (n uint64) {
	v.Helper()
	v.must(v.s.View(bg, func(tx *Tx) (err error) { n, err = tx.LogStart(); return err }))
	return n
}

// when gives when an entry was written.
func (v *victim) when(seq int) crm.Nanos {
	var e entry
	v.must(codec.Unmarshal(v.rows[seq-1], &e))
	return e.At
}

// TestAuditKeepIsExact: an entry goes at the end of audit.keep, not a nanosecond before it.
func TestAuditKeepIsExact(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.keep(crm.Day)
	v.seen("dispatch", uint64(len(v.rows)))
	at := v.when(4) + crm.Day
	for _, step := range []struct {
		now   crm.Nanos
		start uint64
	}{{v.when(1) + crm.Day - 1, 1}, {at - 1, 4}, {at, 5}, {at + 1, 5}} {
		v.clock = step.now
		v.trim(100)
		if got := v.start(); got != step.start {
			t.Errorf("at %d nanoseconds from the end of entry 4 the log begins at %d, want %d", step.now-at, got, step.start)
		}
	}
	if got, err := v.s.Verify(bg, v.by.Public(), v.headsOf(v.rows, 2, 6)); err != nil || got.First != 5 || got.Entries != uint64(len(v.rows)-4) || got.Heads != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAuditKeepKeeps: nothing goes that somebody has to see, that the policy keeps, or that is the last.
func TestAuditKeepKeeps(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.clock += 1000 * crm.Day
	check := func(what string, want uint64) {
		t.Helper()
		v.trim(1000)
		if got := v.start(); got != want {
			t.Errorf("%s: the log begins at %d, want %d", what, got, want)
		}
	}
	check("it is kept for ever", 1)
	v.keep(crm.Day)
	n := uint64(len(v.rows))
	v.clock += 2 * crm.Day
	check("nobody has seen anything", 1)
	v.seen("elsewhere", 3)
	check("the dispatcher has seen nothing", 1)
	v.seen("dispatch", n)
	check("another has seen 3", 4)
	v.seen("elsewhere", n)
	check("the last stays", n)
	v.apply(crm.AddTag{Contact: v.ids[0], Tag: "x"})
	v.do(func(tx *Tx) error { // the recovery window is longer
		p := crm.DefaultPolicy()
		p.Audit.Keep, p.Retention.Window = crm.Second, 60*crm.Day
		_, err := tx.SetPolicy(theAdmin, theAcc, p)
		return err
	})
	v.look()
	last := uint64(len(v.rows)) + n - 1 // the log begins at n
	v.seen("dispatch", last)
	v.seen("elsewhere", last)
	v.clock += 59 * crm.Day
	check("the recovery window is longer", n+1) // n itself is older than that
	v.clock += 2 * crm.Day
	check("it is over", last)
	v.clock -= crm.Day
	if _, _, err := v.s.TrimLog(bg, "dispatch", 10, v.by); crm.CodeOf(err) != crm.CodeHeldClock {
		t.Errorf("while the clock is behind: %v", err)
	}
}

// TestCutLog: a log that lost its front is whole from there on: it verifies by its checkpoint, which cannot be forged,
// it is exported, listed and appended to, and a history says that it was cut.
func TestCutLog(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	whole := v.export()
	v.keep(crm.Day)
	v.seen("dispatch", uint64(len(v.rows)))
	v.clock = v.when(3) + crm.Day
	if n, more := v.trim(2); n != 2 || !more {
		t.Errorf("%d at a time, more %t", n, more)
	}
	v.trim(2)
	v.apply(crm.AddTag{Contact: v.ids[0], Tag: "later"})
	if got, err := v.s.Verify(bg, v.by.Public(), nil); err != nil || got.First != 4 {
		t.Errorf("%+v, %v", got, err)
	}
	file := v.export()
	if got, err := VerifyExport(bytes.NewReader(file), v.by.Public()); err != nil || got.First != 4 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := VerifyExport(bytes.NewReader(whole), v.by.Public()); err != nil || got.First != 1 {
		t.Errorf("the export from before: %+v, %v", got, err)
	}
	v.must(v.s.View(bg, func(tx *Tx) error {
		h, err := tx.History(v.ids[0], 0, 100)
		if len(h) != 3 || h[2].Before == 0 || h[2].Before > 3 {
			t.Errorf("the history of a contact has %d entries", len(h))
		}
		gone, err2 := tx.Entry(2)
		if gone != nil || err2 != nil {
			t.Errorf("entry 2: %v, %v", gone, err2)
		}
		list, next, err3 := tx.Audit(&crm.Account{ID: theAcc}, AuditQuery{Until: v.clock}, 0, 100, 1000, true)
		if len(list) == 0 || next != 0 || list[len(list)-1].Seq != 4 {
			t.Errorf("%d are listed", len(list))
		}
		return errorsOf(err, err3)
	}))
	if p, err := v.s.VerifyReceipt(bg, v.ids[0], 2); err != nil || p.From != 4 {
		t.Errorf("a receipt whose entry is there: %+v, %v", p, err)
	}

	forge := func(change func(m *row.Mark)) error {
		var was *row.Mark
		v.must(v.eng.Update(bg, func(tx row.Tx) (err error) {
			if was, err = one(bg, tx.Marks(), markCut); err != nil {
				return err
			}
			next := *was
			next.Bytes = slices.Clone(was.Bytes)
			change(&next)
			return tx.Marks().Write(bg, []row.Change[row.Mark]{{Old: was, New: &next}})
		}))
		_, err := v.s.Verify(bg, v.by.Public(), nil)
		v.must(v.eng.Update(bg, func(tx row.Tx) error {
			now, err := one(bg, tx.Marks(), markCut)
			if err != nil {
				return err
			}
			return tx.Marks().Write(bg, []row.Change[row.Mark]{{Old: now, New: was}})
		}))
		return err
	}
	thief, err := NewSigner(rand.Reader, 1)
	v.must(err)
	for name, change := range map[string]func(m *row.Mark){
		"its hash": func(m *row.Mark) { m.Bytes[1]++ }, "its key": func(m *row.Mark) { m.Bytes[40]++ },
		"its signature": func(m *row.Mark) { m.Bytes[90]++ }, "its length": func(m *row.Mark) { m.Bytes = m.Bytes[:80] },
		"its instant": func(m *row.Mark) { m.At++ },
		"by somebody": func(m *row.Mark) {
			h := Head{Store: v.s.ID(), Seq: m.N, Hash: Hash(m.Bytes[:32]), At: m.At}
			h.sign(thief, forCut)
			m.Bytes = slices.Concat(h.Hash[:], h.Key[:], h.Signature)
		},
	} {
		if err := forge(change); !names(err, 4) {
			t.Errorf("%s was changed in the checkpoint: %v", name, err)
		}
	}
	if err := forge(func(m *row.Mark) { m.N++ }); !names(err, 5) {
		t.Errorf("its number was changed in the checkpoint: %v", err)
	}
	v = newVictim(t) // and a front that somebody else dropped
	if _, _, err = v.as(v.rows[3:], v.head).VerifyLog(bg); !names(err, 3) {
		t.Errorf("a front that was dropped without a checkpoint: %v", err)
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestAPurgeTouchesNoEntry: the log is as it was, byte for byte, with what the purge adds.
func TestAPurgeTouchesNoEntry(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	before := v.export()
	was := slices.Clone(v.rows)
	v.apply(crm.Purge{Contact: v.ids[0], Reason: "a request", Erasure: true})
	v.look()
	if len(v.rows) != len(was)+1 {
		t.Errorf("%d entries, there were %d", len(v.rows), len(was))
	}
	for i := range was {
		if !bytes.Equal(was[i], v.rows[i]) {
			t.Errorf("entry %d is another", i+1)
		}
	}
	if _, err := VerifyExport(bytes.NewReader(before), v.by.Public()); err != nil {
		t.Errorf("the export from before: %v", err)
	}
	// Neither the store nor the export from before opens what was sealed; that of the other contact it does.
	open := func(k crm.Key) (n int) {
		v.must(v.s.View(bg, func(tx *Tx) error {
			for _, b := range was {
				var e entry
				if err := codec.Unmarshal(b, &e); err != nil {
					return err
				}
				if e.Contact != k.Contact || len(e.Sealed) == 0 || !bytes.Contains(before, mustLine(v, b)) {
					continue
				}
				l, err := tx.opened(&e)
				if err != nil {
					return err
				}
				if l.Event.After != nil {
					n++
				}
			}
			return nil
		}))
		return n
	}
	if open(v.ids[0]) != 0 || open(v.ids[1]) == 0 {
		t.Errorf("%d entries of the purged one can be opened, %d of the other", open(v.ids[0]), open(v.ids[1]))
	}
}

func mustLine(v *victim, raw []byte) []byte {
	var e entry
	v.must(codec.Unmarshal(raw, &e))
	line, err := lineOf(ExportLine{Seq: e.Seq, Open: openOf(&e), Entry: raw})
	v.must(err)
	return line
}

// TestSealsHold: what is sealed opens for its contact, its purpose and its entry, whole, and for nothing else; no nonce
// is used twice, and the test notices one that is.
func TestSealsHold(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	salt := func(n byte) (s [16]byte) { s[0] = n; return s }
	ada, bob := &crm.Contact{ID: v.ids[0].Contact, Salt: salt(1)}, &crm.Contact{ID: v.ids[1].Contact, Salt: salt(2)}
	data := payload{Data: crm.EventData{Name: "Canary"}}
	sealed, err := v.s.seal(ada, "log", 7, &data)
	v.must(err)
	twin := *ada
	twin.ID = bob.ID
	emptied := *ada
	emptied.Salt = [16]byte{}
	for name, try := range map[string]struct {
		c       *crm.Contact
		purpose string
		n       uint64
		ok      bool
	}{
		"as it was sealed": {ada, "log", 7, true}, "another contact": {bob, "log", 7, false}, "another with the same salt": {&twin, "log", 7, false},
		"another entry": {ada, "log", 8, false}, "another purpose": {ada, "step", 7, false}, "a part of the purpose": {ada, "lo", 7, false},
		"no salt, as after a purge": {&emptied, "log", 7, false},
	} {
		var p payload
		if err := v.s.open(try.c, try.purpose, try.n, sealed, &p); (err == nil) != try.ok || err != nil && p.Data.Name != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for cut := range sealed {
		var p payload
		if v.s.open(ada, "log", 7, sealed[:cut], &p) == nil {
			t.Errorf("%d of %d bytes open", cut, len(sealed))
		}
		bad := bytes.Clone(sealed)
		bad[cut] ^= 1
		if v.s.open(ada, "log", 7, bad, &p) == nil {
			t.Errorf("with byte %d changed it opens", cut)
		}
	}
	twice := func(s *Store) (n int) {
		seen := map[string]bool{}
		for range 20_000 {
			b, err := s.seal(ada, "log", 7, &data)
			v.must(err)
			if seen[string(b[:12])] {
				n++
			}
			seen[string(b[:12])] = true
		}
		return n
	}
	if n := twice(v.s); n > 0 {
		t.Errorf("%d nonces were used twice", n)
	}
	if s := (&Store{keys: v.s.keys, rand: zeros{}}); twice(s) == 0 {
		t.Error("a source of nothing but zeros was not noticed")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestRotatedMasterKey: the new key opens the store and all that was sealed, the old one nothing, and after a
// compaction not even by what lay in free pages.
func TestRotatedMasterKey(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	old, next := bytes.Repeat([]byte{9}, 32), bytes.Repeat([]byte{8}, 32)
	wrapped := func() []byte {
		var m *row.Mark
		v.must(v.eng.View(bg, func(tx row.Tx) (err error) { m, err = one(bg, tx.Marks(), markData); return err }))
		return m.Bytes
	}
	before := wrapped()
	id := v.s.ID()
	if _, err := v.s.RotateKey(bg, crm.Actor{ID: "user:2", Role: crm.Operator}, theAcc, next); crm.CodeOf(err) != crm.CodeDenied {
		t.Errorf("an operator: %v", err)
	}
	done, err := v.s.RotateKey(bg, theAdmin, theAcc, next)
	if err != nil || done.Old {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := New(bg, v.eng, Options{Key: old}); crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("the old key: %v", err)
	}
	for name, o := range map[string]Options{"the new key": {Key: next}, "the old key, and the new as the next": {Key: old, Next: next}} {
		s, err := New(bg, v.eng, o)
		if err != nil || s.ID() != id || s.UsedNext() != (o.Next != nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v.s = s
		v.apply(crm.AddTag{Contact: v.ids[0], Tag: name})
		v.must(s.View(bg, func(tx *Tx) error {
			h, err := tx.History(v.ids[0], 0, 100)
			if err == nil && (h[len(h)-1].Event.After == nil || len(h) < 6) {
				t.Errorf("%s does not open what was sealed under the old one", name)
			}
			return err
		}))
	}
	if _, err := v.s.Verify(bg, nil, nil); err != nil {
		t.Error(err)
	}
	v.must(v.eng.Close())
	compact := filepath.Join(t.TempDir(), "c.db")
	v.must(bolt.Compact(v.path, compact))
	raw, err := os.ReadFile(compact)
	v.must(err)
	if bytes.Contains(raw, before) {
		t.Error("what the old key opens is still in the compacted file")
	}
	if open(old, before) == nil {
		t.Error("the old key does not open the old row: the test proves nothing")
	}
}

// TestStoreOfOld: a store whose data key is its master key goes on with it, and wraps it at its first rotation.
func TestStoreOfOld(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	old, next := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	eng, err := bolt.Open(filepath.Join(t.TempDir(), "old.db"), bolt.Options{Now: func() crm.Nanos { return v.clock }, NoSync: true})
	v.must(err)
	defer eng.Close()
	keys, err := newKeyring(old)
	v.must(err)
	v.must(eng.Update(bg, func(tx row.Tx) error {
		return insert(bg, tx.Marks(), &row.Mark{Name: markKey, Bytes: keys.fingerprint()})
	}))
	s, err := New(bg, eng, Options{Key: old})
	v.must(err)
	if !bytes.Equal(s.keys.data, old) {
		t.Error("its data key is another")
	}
	if _, err := New(bg, eng, Options{Key: next}); crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("another key: %v", err)
	}
	if done, err := s.RotateKey(bg, theAdmin, theAcc, next); err != nil || !done.Old {
		t.Errorf("%+v, %v: it has to be said that the first key opens it for ever", done, err)
	}
	if s, err = New(bg, eng, Options{Key: next}); err != nil || !bytes.Equal(s.keys.data, old) {
		t.Errorf("after the rotation: %v", err)
	}
	if done, err := s.RotateKey(bg, theAdmin, theAcc, old); err != nil || !done.Old {
		t.Errorf("the second rotation: %+v, %v", done, err)
	}
}
