// Package store holds the rules of a contact's life and everything durable, over the small row
// interface that an engine implements.
//
// Apply is the only way to change a contact. What a mutation does, the entry in the hash-chained log
// that proves it and the event that triggers read are written in one transaction or not at all. The
// package must never start anything by itself, never evaluate a condition, never let a purge through
// before the deadline that the delete stamped, and never write personal data outside the contact's
// own rows unless it is sealed with that contact's salt.
package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// The rows of the engine's own tables that callers of this package see.
type (
	Workflow = row.Workflow
	Revision = row.Revision
	Schedule = row.Schedule
	NameKey  = row.NameKey
)

// Options are what a Store needs besides its engine.
type Options struct {
	Key  []byte    // the master key: 32 bytes, kept in a file of its own
	Next []byte    // the master key that a rotation was about to bring, if there is one: it is tried as well
	Rand io.Reader // nil: crypto/rand; salts, nonces and the data key come from it
	// Mono is time that only passes, from any beginning: the clock on the wall is held against it. Nil
	// for a virtual clock, which may jump as it likes.
	Mono func() time.Duration
}

// Store is the lifecycle over one engine. It is safe for use by many goroutines.
type Store struct {
	eng  row.Engine
	keys keyring
	own  bool // the data key is no master key of old
	next bool // it was Options.Next that opened the store
	rand io.Reader
	mark atomic.Int64 // the clock's high-water mark
	mono func() time.Duration
	base atomic.Pointer[baseline]
	kept atomic.Int64 // as far as it is known to be stored
	wake chan struct{}
}

// New puts the lifecycle on an open engine. The engine is closed by Close.
func New(ctx context.Context, eng row.Engine, o Options) (*Store, error) {
	if err := checkMaster(o.Key); err != nil {
		return nil, err
	}
	s := &Store{eng: eng, rand: o.Rand, mono: o.Mono, wake: make(chan struct{}, 1)}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	err := eng.View(ctx, func(tx row.Tx) error {
		s.trust(tx.Now())
		marks, err := tx.Marks().Get(ctx, []string{markClock, markHead})
		for _, m := range marks {
			raise(&s.mark, m.At)
			raise(&s.kept, m.At)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, s.unlock(ctx, o)
}

// Close closes the engine.
func (s *Store) Close() error { return s.eng.Close() }

// Wake gives a channel that receives after commits; one receive may stand for many. It is a hint:
// missing one costs time, never truth.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// Rand is where the store takes its random bytes from.
func (s *Store) Rand() io.Reader { return s.rand }

// View runs fn on a consistent snapshot.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	return s.eng.View(ctx, func(r row.Tx) error { return fn(s.begin(ctx, r)) })
}

// Update runs fn and commits what it did. fn may run more than once, so it must not leak results of
// an earlier try: assign, do not append.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	var last *Tx
	err := s.eng.Update(ctx, func(r row.Tx) error {
		tx := s.begin(ctx, r)
		if err := fn(tx); err != nil {
			return err
		}
		last = tx
		return tx.flush()
	})
	if err == nil {
		if last.marked {
			raise(&s.kept, last.now)
		}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return err
}

// Snapshot freezes a selection under an operation; see row.Engine.
func (s *Store) Snapshot(ctx context.Context, op crm.OperationID, q crm.Query, keep func(*crm.Contact, *crm.Life) bool) (int, error) {
	return s.eng.Snapshot(ctx, op, q, keep)
}

// Tx is one transaction. It is not for use by several goroutines and not after its function returned.
type Tx struct {
	s   *Store
	ctx context.Context
	row row.Tx
	now crm.Nanos

	contacts  slots[crm.Key, crm.Contact]
	lives     slots[crm.Key, crm.Life]
	objects   slots[crm.ObjectKey, crm.Object]
	accounts  slots[crm.AccountID, crm.Account]
	workflows slots[row.NameKey, row.Workflow]
	counts    map[row.NameKey]int64
	entries   []entry
	head      *row.Mark // of the log, once something was staged
	obstacles *[]error  // of a preview: what the deed would be refused for
	wrote     bool
	replaying bool // the erasure ledger
	marked    bool // flushMark wrote the mark
	broken    error
}

func (s *Store) begin(ctx context.Context, r row.Tx) *Tx {
	return &Tx{
		s: s, ctx: ctx, row: r, now: s.instant(r.Now()),
		contacts: newSlots(r.Contacts()), lives: newSlots(r.Lives()), objects: newSlots(r.Objects()),
		accounts: newSlots(r.Accounts()), workflows: newSlots(r.Workflows()),
		counts: map[row.NameKey]int64{},
	}
}

// Now is the transaction's instant. It never precedes an instant that an earlier transaction was
// stamped with, whatever the clock on the wall does, so no deadline is stamped early.
func (tx *Tx) Now() crm.Nanos { return tx.now }

// flush writes what the transaction staged: rows that changed, counters once, the log's new entries.
func (tx *Tx) flush() error {
	if tx.broken != nil {
		return tx.broken
	}
	for _, write := range []func(context.Context) error{
		tx.contacts.flush, tx.lives.flush, tx.objects.flush, tx.accounts.flush, tx.workflows.flush,
		tx.flushCounts, tx.flushLog, tx.flushMark,
	} {
		if err := write(tx.ctx); err != nil {
			return err
		}
	}
	return nil
}

// NewItemID, NewRunID and NewOperationID make ids at the transaction's instant.
func (tx *Tx) NewItemID() (crm.ItemID, error) { return newID[crm.ItemID](tx) }

// NewRunID makes an id for a run.
func (tx *Tx) NewRunID() (crm.RunID, error) { return newID[crm.RunID](tx) }

// NewOperationID makes an id for an operation.
func (tx *Tx) NewOperationID() (crm.OperationID, error) { return newID[crm.OperationID](tx) }

// NewContactID makes an id for a contact.
func (tx *Tx) NewContactID() (crm.ContactID, error) { return newID[crm.ContactID](tx) }

func newID[I ~[16]byte](tx *Tx) (I, error) {
	id, err := crm.NewID[crm.AnyKind](tx.now, tx.s.rand)
	return I(id), err
}

// slots keeps the rows of one table that a transaction looked at: as the table holds them and as
// they should be. A row is read once and written once, however often it changes in between.
type slots[K comparable, R any] struct {
	table row.Table[K, R]
	rows  map[K]*slot[R]
	order []K
}

type slot[R any] struct{ old, cur *R }

func newSlots[K comparable, R any](t row.Table[K, R]) slots[K, R] {
	return slots[K, R]{table: t, rows: map[K]*slot[R]{}}
}

// load reads the rows that are not yet there.
func (s *slots[K, R]) load(ctx context.Context, keys ...K) error {
	var missing []K
	for _, k := range keys {
		if _, ok := s.rows[k]; !ok {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	got, err := s.table.Get(ctx, missing)
	if err != nil {
		return err
	}
	for _, k := range missing {
		if _, ok := s.rows[k]; !ok {
			s.rows[k] = &slot[R]{got[k], got[k]}
			s.order = append(s.order, k)
		}
	}
	return nil
}

// get gives the row as it should be, nil if there is none. It must not be changed: put a copy.
func (s *slots[K, R]) get(ctx context.Context, k K) (*R, error) {
	if err := s.load(ctx, k); err != nil {
		return nil, err
	}
	return s.rows[k].cur, nil
}

// put stages a row, or its deletion when r is nil; the row must have been loaded.
func (s *slots[K, R]) put(k K, r *R) { s.rows[k].cur = r }

func (s *slots[K, R]) flush(ctx context.Context) error {
	var changes []row.Change[R]
	for _, k := range s.order {
		if sl := s.rows[k]; sl.old != sl.cur {
			changes = append(changes, row.Change[R]{Old: sl.old, New: sl.cur})
			sl.old = sl.cur
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return s.table.Write(ctx, changes)
}

// one reads a single row, nil if there is none.
func one[K comparable, R any](ctx context.Context, t row.Table[K, R], k K) (*R, error) {
	got, err := t.Get(ctx, []K{k})
	if err != nil {
		return nil, err
	}
	return got[k], nil
}

func insert[K comparable, R any](ctx context.Context, t row.Table[K, R], r *R) error {
	return t.Write(ctx, []row.Change[R]{{New: r}})
}

func remove[K comparable, R any](ctx context.Context, t row.Table[K, R], rows []R) error {
	if len(rows) == 0 {
		return nil
	}
	ch := make([]row.Change[R], len(rows))
	for i := range rows {
		ch[i].Old = &rows[i]
	}
	return t.Write(ctx, ch)
}

// count moves a counter; the counters of a transaction are written once, at its end.
func (tx *Tx) count(acc crm.AccountID, name string, d int64) {
	tx.counts[row.NameKey{Account: acc, Name: name}] += d
}

func (tx *Tx) flushCounts(ctx context.Context) error {
	var keys []row.NameKey
	for k, d := range tx.counts {
		if d != 0 {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	old, err := tx.row.Counters().Get(ctx, keys)
	if err != nil {
		return err
	}
	changes := make([]row.Change[row.Counter], len(keys))
	for i, k := range keys {
		next := row.Counter{Account: k.Account, Name: k.Name, N: tx.counts[k]}
		if was := old[k]; was != nil {
			changes[i].Old = was
			next.N += was.N
		}
		changes[i].New = &next
	}
	tx.counts = map[row.NameKey]int64{}
	return tx.row.Counters().Write(ctx, changes)
}

// The names of marks.
const (
	markClock = "clock" // the high-water mark of the clock
	markHead  = "log"   // the last sequence number and hash of the log
	markKey   = "key"   // the fingerprint of the data key
	markData  = "data"  // the data key, wrapped by the master key; none in a store of old, where they are the same
	markCut   = "cut"   // the signed checkpoint of a log that lost its first entries
)

// Cursor reads a named cursor of a reader of the log; nil is the start.
func (tx *Tx) Cursor(name string) ([]byte, error) {
	m, err := one(tx.ctx, tx.row.Marks(), "cursor/"+name)
	if m == nil {
		return nil, err
	}
	return m.Bytes, nil
}

// MoveCursor moves a named cursor from where the caller read it, behind the entry with the number seq. A
// cursor that moved meanwhile is an error: somebody else did the work.
func (tx *Tx) MoveCursor(name string, from, to []byte, seq uint64) error {
	m, err := one(tx.ctx, tx.row.Marks(), "cursor/"+name)
	if err != nil {
		return err
	}
	if m == nil && from != nil || m != nil && string(m.Bytes) != string(from) {
		return crm.Errorf("read the log", crm.CodeStale, "the cursor %q moved meanwhile", name)
	}
	tx.wrote = true
	return tx.row.Marks().Write(tx.ctx, []row.Change[row.Mark]{{Old: m, New: &row.Mark{Name: "cursor/" + name, Bytes: to, N: seq}}})
}

// Heard says whether a named cursor is behind everything that has happened to a contact.
func (tx *Tx) Heard(name string, k crm.Key) (bool, error) {
	m, err := one(tx.ctx, tx.row.Marks(), "cursor/"+name)
	if err != nil {
		return false, err
	}
	life, err := tx.Life(k)
	if err != nil {
		return false, err
	}
	c, err := tx.contacts.get(tx.ctx, k)
	if err != nil || c == nil {
		return err == nil, err
	}
	return m != nil && max(c.Last, life.Last) <= m.N, nil
}

// Counter reads a counter.
func (tx *Tx) Counter(acc crm.AccountID, name string) (int64, error) {
	c, err := one(tx.ctx, tx.row.Counters(), row.NameKey{Account: acc, Name: name})
	if c == nil {
		return tx.counts[row.NameKey{Account: acc, Name: name}], err
	}
	return c.N + tx.counts[row.NameKey{Account: acc, Name: name}], nil
}

// The names of counters; lists and campaigns have one each, of live contacts and of runnable
// enrollments.
const (
	CountLive    = "contacts/live"
	CountDeleted = "contacts/deleted"
	CountPurged  = "contacts/purged"
)

// CountOf names the counter of a list or a campaign.
func CountOf(id crm.ItemID) string { return fmt.Sprintf("members/%s", id) }

// CountOfActivity names the counter of a campaign's messages that were sent, opened or clicked. It only
// ever grows.
func CountOfActivity(campaign crm.ItemID, what crm.ActivityKind) string {
	return fmt.Sprintf("campaign/%s/%s", campaign, what)
}
