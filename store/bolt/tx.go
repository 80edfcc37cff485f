package bolt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// txn is one run of one function. In an Update it buffers what the function writes; the writer
// flushes it if the function gave nil.
type txn struct {
	bolt     *bbolt.Tx
	now      crm.Nanos
	writable bool
	wrote    bool
	over     bool // the function has returned
	buckets  map[string]*bbolt.Bucket
	sets     map[string]*writeSet
	logs     []appended
	trims    map[string]uint64 // up to which row each log is trimmed
}

type appended struct {
	log string
	row []byte
}

func (tx *txn) Now() crm.Nanos { return tx.now }

func (tx *txn) Accounts() row.Table[crm.AccountID, crm.Account] { return in(tx, &row.Accounts) }
func (tx *txn) Contacts() row.Table[crm.Key, crm.Contact]       { return in(tx, &row.Contacts) }
func (tx *txn) Lives() row.Table[crm.Key, crm.Life]             { return in(tx, &row.Lives) }
func (tx *txn) Identities() row.Table[row.IdentityKey, row.Identity] {
	return in(tx, &row.Identities)
}
func (tx *txn) Members() row.Table[row.MemberKey, row.Member]       { return in(tx, &row.Members) }
func (tx *txn) Deadlines() row.Table[crm.DeadlineKey, crm.Deadline] { return in(tx, &row.Deadlines) }
func (tx *txn) Manifests() row.Table[crm.EpochKey, crm.Manifest]    { return in(tx, &row.Manifests) }
func (tx *txn) Receipts() row.Table[crm.EpochKey, crm.Receipt]      { return in(tx, &row.Receipts) }
func (tx *txn) Suppressed() row.Table[crm.SuppressedKey, crm.Suppressed] {
	return in(tx, &row.Suppressed)
}
func (tx *txn) Records() row.Table[crm.ItemKey, crm.Record]     { return in(tx, &row.Records) }
func (tx *txn) Links() row.Table[crm.ItemKey, crm.Link]         { return in(tx, &row.Links) }
func (tx *txn) Objects() row.Table[crm.ObjectKey, crm.Object]   { return in(tx, &row.Objects) }
func (tx *txn) Workflows() row.Table[row.NameKey, row.Workflow] { return in(tx, &row.Workflows) }
func (tx *txn) Revisions() row.Table[row.NameKey, row.Revision] { return in(tx, &row.Revisions) }
func (tx *txn) Schedules() row.Table[row.NameKey, row.Schedule] { return in(tx, &row.Schedules) }
func (tx *txn) Runs() row.Table[crm.RunID, crm.Run]             { return in(tx, &row.Runs) }
func (tx *txn) RunKeys() row.Table[row.RunKeyKey, row.RunKey]   { return in(tx, &row.RunKeys) }
func (tx *txn) Timers() row.Table[crm.TimerKey, crm.Timer]      { return in(tx, &row.Timers) }
func (tx *txn) Listeners() row.Table[crm.ItemKey, row.Listener] { return in(tx, &row.Listeners) }
func (tx *txn) Parked() row.Table[row.ParkedKey, row.Parked]    { return in(tx, &row.Parkeds) }
func (tx *txn) Ended() row.Table[row.EndedKey, row.Ended]       { return in(tx, &row.Endeds) }
func (tx *txn) Steps() row.Table[crm.StepKey, crm.StepRecord]   { return in(tx, &row.Steps) }
func (tx *txn) Items() row.Table[row.ItemKey, row.Item]         { return in(tx, &row.Items) }
func (tx *txn) Operations() row.Table[crm.OperationID, crm.Operation] {
	return in(tx, &row.Operations)
}
func (tx *txn) OptOuts() row.Table[crm.OptOutKey, crm.OptOut]  { return in(tx, &row.OptOuts) }
func (tx *txn) Erasures() row.Table[crm.EpochKey, crm.Erasure] { return in(tx, &row.Erasures) }
func (tx *txn) Inbounds() row.Table[crm.ItemKey, crm.Inbound]  { return in(tx, &row.Inbounds) }
func (tx *txn) Deliveries() row.Table[row.DeliveryKey, row.Delivery] {
	return in(tx, &row.Deliveries)
}
func (tx *txn) Counters() row.Table[row.NameKey, row.Counter] { return in(tx, &row.Counters) }
func (tx *txn) Marks() row.Table[string, row.Mark]            { return in(tx, &row.Marks) }

// table is one table within one transaction.
type table[K comparable, R any] struct {
	tx  *txn
	def *row.Def[K, R]
}

func in[K comparable, R any](tx *txn, def *row.Def[K, R]) row.Table[K, R] {
	return table[K, R]{tx, def}
}

// Get implements row.Table.
func (t table[K, R]) Get(ctx context.Context, keys []K) (rows map[K]*R, err error) {
	if err := t.tx.usable(ctx); err != nil {
		return nil, err
	}
	defer guard(&err)
	rows = make(map[K]*R, len(keys))
	var key []byte
	for _, k := range keys {
		key = t.def.Enc(key[:0], k)
		v := t.tx.get(t.def.Name, key)
		if v == nil {
			continue
		}
		r, err := decode[R](t.def.Name, key, v)
		if err != nil {
			return nil, err
		}
		rows[k] = r
	}
	return rows, nil
}

// Range implements row.Table.
func (t table[K, R]) Range(ctx context.Context, from, to K, n int) (rows []R, err error) {
	if err := t.tx.usable(ctx); err != nil {
		return nil, err
	}
	defer guard(&err)
	lo, hi := t.def.Enc(nil, from), t.def.Enc([]byte{}, to) // never nil, which would be no bound
	for k, v := range t.tx.merged(t.def.Name, lo, hi) {
		r, err := decode[R](t.def.Name, k, v)
		if err != nil {
			return nil, err
		}
		if rows = append(rows, *r); n > 0 && len(rows) == n {
			break
		}
	}
	return rows, nil
}

// Write implements row.Table. It takes Old's word for what the table holds.
func (t table[K, R]) Write(ctx context.Context, ch []row.Change[R]) error {
	if err := t.tx.mayWrite(ctx); err != nil || len(ch) == 0 {
		return err
	}
	t.tx.wrote = true
	set := t.tx.set(t.def.Name)
	var key []byte
	for _, c := range ch {
		switch {
		case c.New == nil && c.Old == nil:
			return misuse("a change of nothing to nothing in table %s", t.def.Name)
		case c.New == nil:
			key = t.def.Enc(key[:0], t.def.Key(c.Old))
			set.put(key, nil)
			continue
		case c.Old != nil && t.def.Key(c.Old) != t.def.Key(c.New):
			return misuse("a change of a row's key in table %s", t.def.Name)
		}
		v, err := codec.Marshal(c.New)
		if err != nil {
			return err
		}
		key = t.def.Enc(key[:0], t.def.Key(c.New))
		set.put(key, v)
	}
	return nil
}

// ByIdentity implements row.Tx. The writer is alone, so there is nothing to lock.
func (tx *txn) ByIdentity(ctx context.Context, hashes [][32]byte) (keys map[[32]byte][]crm.Key, err error) {
	if err := tx.usable(ctx); err != nil {
		return nil, err
	}
	defer guard(&err)
	const table = "identity"
	keys = make(map[[32]byte][]crm.Key, len(hashes))
	for _, h := range hashes {
		if _, done := keys[h]; done {
			continue
		}
		for k, v := range tx.merged(table, h[:], prefixEnd(h[:])) {
			r, err := decode[row.Identity](table, k, v)
			if err != nil {
				return nil, err
			}
			keys[h] = append(keys[h], crm.Key{Account: r.Account, Contact: r.Contact})
		}
	}
	return keys, nil
}

// usable refuses a transaction that is over. In a view a context ends the work; in an Update it
// counts no longer once the function runs.
func (tx *txn) usable(ctx context.Context) error {
	if tx.over {
		return misuse("a transaction that is over")
	}
	if tx.writable {
		return nil
	}
	return ctx.Err()
}

func (tx *txn) mayWrite(ctx context.Context) error {
	if err := tx.usable(ctx); err != nil {
		return err
	}
	if !tx.writable {
		return misuse("a write in a view")
	}
	return nil
}

// mayScan is for what would not see the transaction's own writes.
func (tx *txn) mayScan(ctx context.Context) error {
	if err := tx.usable(ctx); err != nil {
		return err
	}
	if tx.wrote {
		return row.ErrScanAfterWrite
	}
	return nil
}

// get gives a row's bytes, nil if there is none. They are the store's own.
func (tx *txn) get(table string, key []byte) []byte {
	if set := tx.sets[table]; set != nil {
		if v, ok := set.rows[string(key)]; ok {
			return v
		}
	}
	return tx.bucket(table).Get(key)
}

// bucket gives a table's bucket; Open made them all. In buckets whose keys only grow, pages are
// filled to nine tenths before they split, which halves the file.
func (tx *txn) bucket(table string) *bbolt.Bucket {
	b := tx.buckets[table]
	if b == nil {
		if b = tx.bolt.Bucket([]byte(table)); b == nil {
			panic("the table " + table + " is missing")
		}
		if slices.Contains([]string{"item", "manifest", "receipt", "step"}, table) {
			b.FillPercent = 0.9
		}
		if tx.buckets == nil {
			tx.buckets = make(map[string]*bbolt.Bucket, 8)
		}
		tx.buckets[table] = b
	}
	return b
}

func (tx *txn) set(table string) *writeSet {
	s := tx.sets[table]
	if s == nil {
		if tx.sets == nil {
			tx.sets = make(map[string]*writeSet, 8)
		}
		s = &writeSet{rows: make(map[string][]byte)}
		tx.sets[table] = s
	}
	return s
}

// decode gives a fresh copy of a row. An error names table and key, which hold no personal data.
func decode[R any](table string, key, v []byte) (*R, error) {
	r := new(R)
	if err := codec.Unmarshal(v, r); err != nil {
		var e *crm.Error
		if errors.As(err, &e) {
			e.Err = fmt.Errorf("table %s, key %s: %w", table, hex.EncodeToString(key), e.Err)
		}
		return nil, err
	}
	return r, nil
}

// prefixEnd gives the first key behind all that begin with p; nil when there is none.
func prefixEnd(p []byte) []byte {
	end := bytes.Clone(p)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
