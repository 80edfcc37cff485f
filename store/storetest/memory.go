package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// MemoryOptions says how a hostile engine behaves.
type MemoryOptions struct {
	// Now is the clock that transactions show. Required.
	Now func() crm.Nanos
	// Seed decides how often functions are run again and how short pages are. The same seed and
	// the same calls give the same behaviour.
	Seed uint64
	// Corrupt is called with a copy (a *crm.Life, say) of each row before it is stored, and may
	// change it: this is how a test plants a bug that a suite must find. While it is set, Write
	// does not compare Old with what the table holds.
	Corrupt func(table string, row any)
	// Die, if set, is asked what becomes of each commit that writes; not of those that came while the
	// program under test made up its mind. It is how a test kills a process between any two commits.
	Die func() Fate
}

// Fate is what becomes of a commit.
type Fate uint8

// The fates. An Update that dies gives ErrDied.
const (
	Lives Fate = iota
	Lost       // the process died before its commit: nothing is there
	Kept       // the process died after its commit, before it heard of it: all is there
	Torn       // half of it is there; a store that does this is broken, and a suite has to notice
)

// ErrDied says that the process would be gone by now.
var ErrDied = errors.New("the process died")

// Memory is a row.Engine that does everything a contract allows and a caller may not expect: it runs
// each function of an Update at least twice and keeps only the last run, gives rows as fresh copies
// decoded from bytes, hands out short pages of scans with cursors that mean nothing to others, and
// refuses a Change whose Old is not what the table holds. It loses everything when it is closed.
type Memory struct {
	o      MemoryOptions
	salt   uint64
	state  atomic.Pointer[state] // never changed, only replaced
	closed atomic.Bool

	writer sync.Mutex
	chance sync.Mutex // guards rnd
	rnd    *rand.Rand
}

var _ row.Engine = (*Memory)(nil)

// state is all that is committed: tables as entries in key order, and logs.
type state struct {
	tables map[string][]entry
	logs   map[string][][]byte
	cut    map[string]uint64 // how many rows a log has lost at its front
}

type entry struct {
	key string
	val []byte
}

func byKey(e entry, key string) int { return strings.Compare(e.key, key) }

// NewMemory makes an empty engine.
func NewMemory(o MemoryOptions) *Memory {
	e := &Memory{o: o, rnd: rand.New(rand.NewPCG(o.Seed, 0x5eed))}
	e.salt = e.rnd.Uint64()
	e.state.Store(&state{})
	return e
}

// View implements row.Engine.
func (e *Memory) View(ctx context.Context, fn func(row.Tx) error) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	tx := &memTx{e: e, base: e.state.Load(), now: e.o.Now(), short: e.draw(4)}
	defer func() { tx.over = true }()
	return fn(tx)
}

// Update implements row.Engine: each function runs two or three times, on the same snapshot, and
// the last run counts.
func (e *Memory) Update(ctx context.Context, fn func(row.Tx) error) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	e.writer.Lock()
	defer e.writer.Unlock()
	for again := 1 + e.draw(4)/3; ; again-- {
		tx := &memTx{e: e, base: e.state.Load(), now: e.o.Now(), short: e.draw(4), writable: true}
		err := runOnce(tx, fn)
		switch {
		case again > 0:
			continue
		case err == nil:
			return e.commit(tx)
		}
		return err
	}
}

func (e *Memory) commit(tx *memTx) error {
	fate := Lives
	if e.o.Die != nil && tx.wrote {
		fate = e.o.Die()
	}
	next := tx.applied()
	switch fate {
	case Lives:
		e.state.Store(next)
		return nil
	case Kept:
		e.state.Store(next)
	case Torn:
		next.logs, next.cut = e.state.Load().logs, e.state.Load().cut
		next.tables[row.Timers.Name] = e.state.Load().tables[row.Timers.Name]
		e.state.Store(next)
	}
	return ErrDied
}

func runOnce(tx *memTx, fn func(row.Tx) error) error {
	defer func() { tx.over = true }()
	return fn(tx)
}

// Snapshot implements row.Engine, a few rows at a time.
func (e *Memory) Snapshot(ctx context.Context, op crm.OperationID, q crm.Query, keep func(*crm.Contact, *crm.Life) bool) (int, error) {
	var old, fresh []row.Change[row.Item]
	err := e.View(ctx, func(tx row.Tx) (err error) {
		for {
			q.After, err = tx.Scan(ctx, q, func(c *crm.Contact, l *crm.Life) bool {
				if keep == nil || keep(c, l) {
					fresh = append(fresh, row.Change[row.Item]{New: &row.Item{Op: op, Account: c.Account, Contact: c.ID, Epoch: l.Epoch}})
				}
				return true
			})
			if err != nil || q.After == nil {
				break
			}
		}
		items := entriesBetween(tx.(*memTx).base.tables[row.Items.Name], op[:], nil)
		for _, it := range items {
			if r, _ := decode[row.Item](it.val); r != nil && r.Op == op {
				old = append(old, row.Change[row.Item]{Old: r})
			}
		}
		return err
	})
	for _, changes := range [][]row.Change[row.Item]{old, fresh} {
		for part := range slices.Chunk(changes, 7) {
			if err == nil {
				err = e.Update(ctx, func(tx row.Tx) error { return tx.Items().Write(ctx, part) })
			}
		}
	}
	return len(fresh), err
}

// Close implements row.Engine.
func (e *Memory) Close() error {
	e.writer.Lock()
	defer e.writer.Unlock()
	e.closed.Store(true)
	return nil
}

func (e *Memory) ready(ctx context.Context) error {
	if e.closed.Load() {
		return crm.Errorf("use the store", crm.CodeStopped, "the store is closed")
	}
	return ctx.Err()
}

func (e *Memory) draw(n int) int {
	e.chance.Lock()
	defer e.chance.Unlock()
	return e.rnd.IntN(n)
}

// Scan implements row.Tx: a page ends after a handful of contacts.
func (tx *memTx) Scan(ctx context.Context, q crm.Query, yield func(*crm.Contact, *crm.Life) bool) ([]byte, error) {
	if err := tx.mayScan(ctx); err != nil {
		return nil, err
	}
	after, err := tx.e.unmask(q.After, len(crm.ContactID{}))
	if err != nil {
		return nil, err
	}
	from := row.Contacts.Enc(nil, crm.Key{Account: q.Account, Contact: crm.ContactID(append(after, make([]byte, 16)...)[:16])})
	for n, c := range entriesBetween(tx.base.tables[row.Contacts.Name], from, nil) {
		id := []byte(c.key[16:])
		if !strings.HasPrefix(c.key, string(q.Account[:])) {
			return nil, nil
		}
		if after != nil && bytes.Equal(id, after) {
			continue
		}
		contact, life, err := tx.candidate(q, c)
		if err != nil {
			return nil, err
		}
		if contact != nil && !yield(contact, life) || n > tx.short {
			return tx.e.mask(id), nil
		}
	}
	return nil, nil
}

// candidate gives the contact and its life if the query asks for them.
func (tx *memTx) candidate(q crm.Query, e entry) (*crm.Contact, *crm.Life, error) {
	c, err := decode[crm.Contact](e.val)
	if err != nil {
		return nil, nil, err
	}
	l := &crm.Life{Account: c.Account, Contact: c.ID}
	if b := tx.get(row.Lives.Name, e.key); b != nil {
		if l, err = decode[crm.Life](b); err != nil {
			return nil, nil, err
		}
	}
	member := row.Members.Enc(nil, row.MemberKey{Account: q.Account, List: q.List, Contact: c.ID})
	if !q.State.Has(l.State) || !q.List.IsZero() && tx.get(row.Members.Name, string(member)) == nil || !q.Where.Match(c) {
		return nil, nil, nil
	}
	return c, l, nil
}

// Append implements row.Tx.
func (tx *memTx) Append(ctx context.Context, log string, rows [][]byte) error {
	if err := tx.mayWrite(ctx); err != nil || len(rows) == 0 {
		return err
	}
	tx.wrote = true
	if tx.logs == nil {
		tx.logs = map[string][][]byte{}
	}
	for _, r := range rows {
		tx.logs[log] = append(tx.logs[log], bytes.Clone(r))
	}
	return nil
}

// Nth implements row.Tx.
func (tx *memTx) Nth(ctx context.Context, log string, n uint64) ([]byte, error) {
	if err := tx.mayScan(ctx); err != nil {
		return nil, err
	}
	all, cut := tx.base.logs[log], tx.base.cut[log]
	if n > cut && n-cut <= uint64(len(all)) {
		return bytes.Clone(all[n-cut-1]), nil
	}
	return nil, nil
}

// Trim implements row.Tx.
func (tx *memTx) Trim(ctx context.Context, log string, n uint64) error {
	if err := tx.mayWrite(ctx); err != nil {
		return err
	}
	tx.wrote = true
	if tx.trims == nil {
		tx.trims = map[string]uint64{}
	}
	tx.trims[log] = max(tx.trims[log], n)
	return nil
}

// Next implements row.Tx.
func (tx *memTx) Next(ctx context.Context, log string, after []byte, n int) (rows [][]byte, cursor []byte, err error) {
	if err := tx.mayScan(ctx); err != nil {
		return nil, nil, err
	}
	at, err := tx.e.unmask(after, 8)
	if err != nil {
		return nil, nil, err
	}
	var from uint64
	if at != nil {
		from = binary.BigEndian.Uint64(at)
	}
	all := tx.base.logs[log]
	from = max(from, tx.base.cut[log])
	rest := all[min(from-tx.base.cut[log], uint64(len(all))):]
	if n > 0 && n < len(rest) {
		rest = rest[:n]
	}
	if len(rest) == 0 {
		return nil, after, nil
	}
	for _, r := range rest {
		rows = append(rows, bytes.Clone(r))
	}
	return rows, tx.e.mask(binary.BigEndian.AppendUint64(nil, from+uint64(len(rest)))), nil
}

// mask turns a position into a cursor that nobody else can read; unmask turns it back.
func (e *Memory) mask(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= byte(e.salt >> (8 * (i % 8)))
	}
	return out
}

func (e *Memory) unmask(cursor []byte, size int) ([]byte, error) {
	switch len(cursor) {
	case 0:
		return nil, nil
	case size:
		return e.mask(cursor), nil
	}
	return nil, &crm.Error{Op: "go on from a cursor", Code: crm.CodeInvalid, Err: errors.New("the cursor is not one")}
}

// applied gives the state with the transaction's writes.
func (tx *memTx) applied() *state {
	if !tx.wrote {
		return tx.base
	}
	s := &state{tables: maps.Clone(tx.base.tables), logs: maps.Clone(tx.base.logs), cut: tx.base.cut}
	if s.tables == nil {
		s.tables, s.logs = map[string][]entry{}, map[string][][]byte{}
	}
	for table := range tx.sets {
		s.tables[table] = tx.merged(table, nil, nil)
	}
	for log, rows := range tx.logs {
		s.logs[log] = append(slices.Clip(s.logs[log]), rows...)
	}
	for log, n := range tx.trims {
		cut := s.cut[log]
		if n = min(n, cut+uint64(len(s.logs[log]))); n <= cut {
			continue
		}
		if s.cut = maps.Clone(s.cut); s.cut == nil {
			s.cut = map[string]uint64{}
		}
		s.logs[log], s.cut[log] = s.logs[log][n-cut:], n
	}
	return s
}
