package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

var (
	updateGolden = flag.Bool("update", false, "write golden files")

	bg       = context.Background()
	theAcc   = crm.AccountID{1}
	theAdmin = crm.Actor{ID: "user:1", Role: crm.Admin}
)

// victim is a store whose log is attacked, with what an attacker finds in it.
type victim struct {
	*testing.T
	s     *Store
	eng   row.Engine
	path  string
	clock crm.Nanos
	rows  [][]byte
	head  row.Mark
	ids   []crm.Key
	by    *Signer
}

func fixedRand(n byte) io.Reader { return mathrand.NewChaCha8([32]byte{n}) }

// newVictim makes a store with some entries of two contacts, whose clock and random bytes are fixed.
func newVictim(t *testing.T) *victim {
	v := &victim{T: t, clock: 1_700_000_000*crm.Second + 123_456_789, path: filepath.Join(t.TempDir(), "s.db")}
	eng, err := bolt.Open(v.path, bolt.Options{Now: func() crm.Nanos { return v.clock }, NoSync: true})
	v.must(err)
	v.eng = eng
	t.Cleanup(func() { _ = eng.Close() })
	v.s, err = New(bg, eng, Options{Key: bytes.Repeat([]byte{9}, 32), Rand: fixedRand(1)})
	v.must(err)
	v.by, err = NewSigner(fixedRand(2), v.clock)
	v.must(err)
	v.do(func(tx *Tx) error { return tx.PutAccount(crm.Account{ID: theAcc, Policy: crm.DefaultPolicy()}) })
	for n := range byte(2) {
		k := crm.Key{Account: theAcc, Contact: crm.ContactID{0xc0, 15: n + 1}}
		v.ids = append(v.ids, k)
		v.apply(crm.Create{Contact: crm.Contact{Account: theAcc, ID: k.Contact, Email: crm.Identity{Value: fmt.Sprintf("canary%d@example.com", n)}}})
		v.apply(crm.AddTag{Contact: k, Tag: "CanaryTag"})
		v.apply(crm.Delete{Contact: k})
		v.apply(crm.Restore{Contact: k})
		v.apply(crm.RemoveTag{Contact: k, Tag: "CanaryTag"})
	}
	v.look()
	return v
}

func (v *victim) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

func (v *victim) do(fn func(*Tx) error) { v.Helper(); v.must(v.s.Update(bg, fn)) }

func (v *victim) apply(m crm.Mutation) {
	v.Helper()
	v.clock += crm.Second
	v.do(func(tx *Tx) error { _, err := tx.Apply(theAdmin, crm.Cause{Kind: crm.ByPerson}, m); return err })
}

// look reads the log as it lies there.
func (v *victim) look() {
	v.Helper()
	v.must(v.eng.View(bg, func(tx row.Tx) (err error) {
		if v.rows, _, err = tx.Next(bg, logName, nil, 0); err == nil {
			var m *row.Mark
			m, err = one(bg, tx.Marks(), markHead)
			v.head = *m
		}
		return err
	}))
}

// changedEngine shows another log and another end of it than there are.
type changedEngine struct {
	row.Engine
	rows [][]byte
	head row.Mark
}

func (f changedEngine) View(c context.Context, fn func(row.Tx) error) error {
	return f.Engine.View(c, func(tx row.Tx) error { return fn(changedTx{tx, f}) })
}

type changedTx struct {
	row.Tx
	f changedEngine
}

func (t changedTx) Next(_ context.Context, _ string, after []byte, _ int) ([][]byte, []byte, error) {
	if after != nil {
		return nil, after, nil
	}
	return t.f.rows, []byte("end"), nil
}

func (t changedTx) Nth(_ context.Context, _ string, n uint64) ([]byte, error) {
	if n == 0 || n > uint64(len(t.f.rows)) {
		return nil, nil
	}
	return t.f.rows[n-1], nil
}

func (t changedTx) Marks() row.Table[string, row.Mark] { return changedMarks{t.Tx.Marks(), t.f.head} }

type changedMarks struct {
	row.Table[string, row.Mark]
	head row.Mark
}

func (m changedMarks) Get(c context.Context, keys []string) (map[string]*row.Mark, error) {
	got, err := m.Table.Get(c, keys)
	if got[markHead] != nil {
		head := m.head
		got[markHead] = &head
	}
	return got, err
}

// as opens the store with another log.
func (v *victim) as(rows [][]byte, head row.Mark) *Store {
	v.Helper()
	s, err := New(bg, changedEngine{v.eng, rows, head}, Options{Key: bytes.Repeat([]byte{9}, 32)})
	v.must(err)
	return s
}

// rehashed makes a chain of rows, as one who has no key can: numbers, hashes and the end.
func rehashed(rows [][]byte, change func(i int, e *entry)) ([][]byte, row.Mark) {
	var prev [32]byte
	out := make([][]byte, len(rows))
	for i, b := range rows {
		var e entry
		if err := codec.Unmarshal(b, &e); err != nil {
			panic(err)
		}
		change(i, &e)
		e.Seq, e.Prev = uint64(i+1), prev
		out[i], _ = codec.Marshal(&e)
		prev = sha256.Sum256(out[i])
	}
	return out, row.Mark{Name: markHead, N: uint64(len(rows)), Bytes: prev[:]}
}

// names says whether an error is of damage and names an entry.
func names(err error, n int) bool {
	return crm.CodeOf(err) == crm.CodeCorrupt && regexp.MustCompile(fmt.Sprintf(`\bentr(y|ies) %d\b|\bto %d\b|\band %d\b`, n, n, n)).MatchString(err.Error())
}

// accuses says whether an error is of damage and the first entry that it names is the one.
func accuses(err error, n int) bool {
	return crm.CodeOf(err) == crm.CodeCorrupt && regexp.MustCompile(`\d+`).FindString(err.Error()) == fmt.Sprint(n)
}

// TestEveryFlippedByteIsNamed flips a byte of the stored log, at any place, with or without the checksum set right.
func TestEveryFlippedByteIsNamed(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	flip := func(i, at int, with byte, checksum bool) error {
		rows := slices.Clone(v.rows)
		b := bytes.Clone(rows[i])
		b[at] ^= with
		if checksum {
			b, _ = codec.Wrap(b[5:])
		}
		if rows[i] = b; bytes.Equal(b, v.rows[i]) {
			return errNothing
		}
		_, _, err := v.as(rows, v.head).VerifyLog(bg)
		return err
	}
	for i := range v.rows { // every byte of every entry
		for at := range v.rows[i] {
			for _, checksum := range []bool{false, true} {
				if err := flip(i, at, 0x01, checksum); !errors.Is(err, errNothing) && !accuses(err, i+1) {
					t.Fatalf("byte %d of entry %d, checksum right %t: %v", at, i+1, checksum, err)
				}
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.IntRange(0, len(v.rows)-1).Draw(rt, "entry")
		at := rapid.IntRange(0, len(v.rows[i])-1).Draw(rt, "byte")
		with := rapid.Uint8Range(1, 255).Draw(rt, "with")
		if err := flip(i, at, with, rapid.Bool().Draw(rt, "checksum")); !errors.Is(err, errNothing) && !accuses(err, i+1) {
			rt.Fatal(err)
		}
	})
}

var errNothing = errors.New("nothing was changed")

// TestAttacksOnTheLog: what one who may write the store does is found, and the entry named. What needs the exported
// heads is not found without them; that is said in docs/guarantees.md, and shown here.
func TestAttacksOnTheLog(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	n := len(v.rows)
	heads := v.headsOf(v.rows, 4, n)
	other := newVictimOf(t, 7)
	type attack struct {
		rows  [][]byte
		head  row.Mark
		named int  // the entry that has to be named
		alone bool // found without the exported heads too
	}
	clone := func() [][]byte { return slices.Clone(v.rows) }
	headOf := func(rows [][]byte) row.Mark {
		sum := sha256.Sum256(rows[len(rows)-1])
		return row.Mark{Name: markHead, N: uint64(len(rows)), Bytes: sum[:]}
	}
	attacks := map[string]attack{
		"the tail dropped":                   {v.rows[:n-2], v.head, n - 1, true},
		"the tail dropped, and the end":      {v.rows[:n-2], headOf(v.rows[:n-2]), n - 1, false},
		"an old file played back":            {v.rows[:4], headOf(v.rows[:4]), 5, false},
		"one left out":                       {slices.Delete(clone(), 3, 4), v.head, 4, true},
		"several left out":                   {slices.Delete(clone(), 3, 6), v.head, 4, true},
		"two swapped":                        {swap(clone(), 3, 4), v.head, 4, true},
		"two far ones swapped":               {swap(clone(), 2, 6), v.head, 3, true},
		"one put in":                         {slices.Insert(clone(), 5, v.rows[2]), v.head, 6, true},
		"one put in the place of another":    {replace(clone(), 5, v.rows[2]), v.head, 6, true},
		"one put behind the end":             {append(clone(), v.rows[n-1]), v.head, n + 1, true},
		"another store's log":                {other.rows, other.head, 4, false},
		"everything gone, and the end stays": {nil, v.head, 1, true},
	}
	rewritten := func(name string, entry int, change func(i int, e *entry)) {
		rows, head := rehashed(v.rows, change)
		attacks[name] = attack{rows, head, entry, false}
	}
	rewritten("an open field changed, and all hashed anew", n, // the last head that fits is that of entry 4: one from 5 to n
		func(i int, e *entry) {
			if i == 7 {
				e.By.ID = "user:somebody-else"
			}
		})
	rewritten("an instant changed, and all hashed anew", 4, func(i int, e *entry) {
		if i == 2 {
			e.At--
		}
	})
	rewritten("sealed payloads swapped, and all hashed anew", n, func(i int, e *entry) {
		var two [2]entry
		for j, at := range []int{5, 6} {
			if err := codec.Unmarshal(v.rows[at], &two[j]); err != nil {
				panic(err)
			}
		}
		switch i {
		case 5:
			e.Sealed = two[1].Sealed
		case 6:
			e.Sealed = two[0].Sealed
		}
	})
	for name, a := range attacks {
		s := v.as(a.rows, a.head)
		_, _, alone := s.VerifyLog(bg)
		if found := alone != nil; found != a.alone {
			t.Errorf("%s: without the exported heads: %v", name, alone)
		}
		_, err := s.Verify(bg, v.by.Public(), heads)
		if !names(err, a.named) {
			t.Errorf("%s: %v, which does not name entry %d", name, err, a.named)
		}
	}
	if got, err := v.s.Verify(bg, v.by.Public(), heads); err != nil || got.Heads != 2 || got.Entries != uint64(n) {
		t.Errorf("what nobody touched: %+v, %v", got, err)
	}
}

func swap(rows [][]byte, i, j int) [][]byte { rows[i], rows[j] = rows[j], rows[i]; return rows }

func replace(rows [][]byte, i int, with []byte) [][]byte { rows[i] = with; return rows }

// headsOf gives signed heads of a log at some entries.
func (v *victim) headsOf(rows [][]byte, at ...int) (heads []Head) {
	for _, n := range at {
		h := Head{Store: v.s.ID(), Seq: uint64(n), Hash: sha256.Sum256(rows[n-1]), At: v.clock}
		h.sign(v.by, forHead)
		heads = append(heads, h)
	}
	return heads
}

// newVictimOf is a store with the same keys in which other things were done.
func newVictimOf(t *testing.T, more int) *victim {
	v := newVictim(t)
	rows, head := rehashed(v.rows, func(i int, e *entry) { e.At += crm.Nanos(more) })
	v.rows, v.head = rows, head
	return v
}

// TestHeadsAreChecked: a head that was changed, is another store's, or is signed by a key that nobody trusts, or that
// was replaced before it signed, is no witness.
func TestHeadsAreChecked(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	good := v.headsOf(v.rows, 5)[0]
	thief, err := NewSigner(rand.Reader, 1)
	v.must(err)
	next, err := v.by.Rotate(rand.Reader, v.clock)
	v.must(err)
	for name, c := range map[string]struct {
		change func(h *Head)
		keys   *Keys
		ok     bool
	}{
		"as it was":                         {func(*Head) {}, v.by.Public(), true},
		"by a key that was replaced since":  {func(*Head) {}, next.Public(), true},
		"another number":                    {func(h *Head) { h.Seq++ }, v.by.Public(), false},
		"another hash":                      {func(h *Head) { h.Hash[0]++ }, v.by.Public(), false},
		"another instant":                   {func(h *Head) { h.At++ }, v.by.Public(), false},
		"another store":                     {func(h *Head) { h.Store[0]++; h.sign(v.by, forHead) }, v.by.Public(), false},
		"no signature":                      {func(h *Head) { h.Signature = nil }, v.by.Public(), false},
		"signed for another purpose":        {func(h *Head) { h.sign(v.by, forCut) }, v.by.Public(), false},
		"signed by somebody":                {func(h *Head) { h.sign(thief, forHead) }, v.by.Public(), false},
		"signed after the key was replaced": {func(h *Head) { h.At++; h.sign(v.by, forHead) }, next.Public(), false},
	} {
		h := good
		c.change(&h)
		if _, err := v.s.Verify(bg, c.keys, []Head{h}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := next.Public().Key.MarshalText()
	v.must(err)
	if k, err := ParseKeys(text); err != nil || k.Key != next.Public().Key {
		t.Errorf("a key in hex: %v", err)
	}
	forged := *next.Public()
	forged.Old = append(slices.Clone(forged.Old), OldKey{Key: thief.Public().Key, Until: 1 << 60, Signature: make([]byte, 64)})
	raw, _ := lineOf(forged)
	if _, err := ParseKeys(raw); crm.CodeOf(err) != crm.CodeCorrupt {
		t.Errorf("a list with a key that the present one did not sign: %v", err)
	}
}

// export gives a whole export.
func (v *victim) export() []byte {
	v.Helper()
	p, err := v.s.Export(bg, v.by, 0, 0, 0)
	v.must(err)
	if p.Next != 0 {
		v.Fatal("it is in parts")
	}
	return p.Lines
}

// TestExportForm holds the form of an export against a file that was written once.
func TestExportForm(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	file := filepath.Join("testdata", "audit-export.golden")
	if *updateGolden {
		v.must(os.WriteFile(file, v.export(), 0o644))
	}
	want, err := os.ReadFile(file)
	v.must(err)
	if !bytes.Equal(v.export(), want) {
		t.Error("an export has another form than it had: old ones would not verify any more. Give it another number, and read both")
	}
	if got, err := VerifyExport(bytes.NewReader(want), v.by.Public()); err != nil || got.Entries != uint64(len(v.rows)) || !got.Trusted {
		t.Errorf("%+v, %v", got, err)
	}
	for _, canary := range []string{"canary", "Canary", "example.com"} {
		if bytes.Contains(want, []byte(canary)) {
			t.Errorf("it holds %q", canary)
		}
	}
}

// TestExportsInParts: the parts one after the other are the export, however small they are.
func TestExportsInParts(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	first, last := uint64(3), uint64(8)
	p, err := v.s.Export(bg, v.by, first, last, 0)
	v.must(err)
	whole := p.Lines
	if got, err := VerifyExport(bytes.NewReader(whole), nil); err != nil || got.First != 3 || got.Last != 8 || got.Trusted {
		t.Errorf("%+v, %v", got, err)
	}
	tail, err := v.s.Export(bg, v.by, first, last, 6)
	v.must(err)
	if !bytes.HasSuffix(whole, tail.Lines) || bytes.Count(tail.Lines, []byte("\n")) != 4 {
		t.Error("a part is not the end of the whole")
	}
	for name, q := range map[string][3]uint64{"behind the end": {1, 99, 0}, "the wrong way round": {8, 3, 0}, "outside": {3, 8, 9}} {
		if _, err := v.s.Export(bg, v.by, q[0], q[1], q[2]); err == nil {
			t.Errorf("%s: it was exported", name)
		}
	}
}

// TestExportsAreProof: whatever is changed in an export is found, without the store and the master key.
func TestExportsAreProof(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	good, keys := v.export(), v.by.Public()
	for at := range good { // any byte, in any line
		bad := bytes.Clone(good)
		bad[at] ^= 0x01
		if _, err := VerifyExport(bytes.NewReader(bad), keys); err == nil {
			t.Fatalf("byte %d was flipped, and nobody noticed", at)
		}
	}
	for cut := range good {
		if _, err := VerifyExport(bytes.NewReader(good[:cut]), keys); crm.CodeOf(err) != crm.CodeCorrupt {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	lines = lines[:len(lines)-1]
	n := len(v.rows)
	join := func(l [][]byte) []byte { return bytes.Join(l, nil) }
	relined := func(i int, change func(e *entry)) [][]byte { // an entry changed with its line, and nothing else
		l := slices.Clone(lines)
		var e entry
		v.must(codec.Unmarshal(v.rows[i], &e))
		change(&e)
		raw, _ := codec.Marshal(&e)
		l[i+1], _ = lineOf(ExportLine{Seq: e.Seq, Open: openOf(&e), Entry: raw})
		return l
	}
	for name, a := range map[string]struct {
		file  []byte
		entry int
	}{
		"one left out":         {join(slices.Delete(slices.Clone(lines), 4, 5)), 4},
		"two swapped":          {join(swap(slices.Clone(lines), 4, 5)), 4},
		"one put in":           {join(slices.Insert(slices.Clone(lines), 5, lines[2])), 5},
		"the last left out":    {join(slices.Delete(slices.Clone(lines), n, n+1)), n},
		"the footer left out":  {join(lines[:n+1]), n},
		"an entry changed":     {join(relined(4, func(e *entry) { e.By.ID = "user:2" })), 5},
		"the last one changed": {join(relined(n-1, func(e *entry) { e.By.ID = "user:2" })), n},
		"what stands in the open changed": {bytes.Replace(good, []byte(`"event":"contact.deleted"`), []byte(`"event":"contact.created"`), 1),
			3},
		"spaces":           {bytes.Replace(good, []byte(`{"n":3,`), []byte(`{"n": 3,`), 1), 3},
		"something behind": {append(bytes.Clone(good), '\n'), -1},
	} {
		_, err := VerifyExport(bytes.NewReader(a.file), keys)
		if crm.CodeOf(err) != crm.CodeCorrupt || a.entry >= 0 && !names(err, a.entry) {
			t.Errorf("%s: %v, which does not name entry %d", name, err, a.entry)
		}
	}
	// One who has no signing key writes the whole file anew, with a key of his own.
	rows, head := rehashed(v.rows, func(i int, e *entry) { e.By.ID = "user:nobody" })
	thief, err := NewSigner(rand.Reader, 1)
	v.must(err)
	p, err := v.as(rows, head).Export(bg, thief, 0, 0, 0)
	v.must(err)
	if got, err := VerifyExport(bytes.NewReader(p.Lines), nil); err != nil || got.Trusted {
		t.Errorf("without a trusted key a file proves only itself: %+v, %v", got, err)
	}
	if _, err := VerifyExport(bytes.NewReader(p.Lines), keys); crm.CodeOf(err) != crm.CodeCorrupt {
		t.Errorf("with the trusted key: %v", err)
	}
}

// FuzzAuditExport: no file makes the reader panic, and of all files only those verify that the key has signed.
func FuzzAuditExport(f *testing.F) {
	good, err := os.ReadFile(filepath.Join("testdata", "audit-export.golden"))
	if err != nil {
		f.Fatal(err)
	}
	by, err := NewSigner(fixedRand(2), 0)
	if err != nil {
		f.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	f.Add(good)
	f.Add(lines[0])
	f.Add(bytes.Join([][]byte{lines[0], lines[2], lines[1]}, nil))
	f.Add([]byte(`{"reprieve_audit":1,"first":1,"last":18446744073709551615}` + "\n"))
	f.Add([]byte("{}\n{}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, err := VerifyExport(bytes.NewReader(file), by.Public()); err == nil && !bytes.Equal(file, good) {
			t.Error("it verifies, and nobody has signed it")
		}
		_, _ = VerifyExport(bytes.NewReader(file), nil)
	})
}
