package storetest

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// memTx is one run of one function on a snapshot, with what it wrote.
type memTx struct {
	e        *Memory
	base     *state
	now      crm.Nanos
	short    int // how short a page of a scan is
	writable bool
	wrote    bool
	over     bool
	sets     map[string]map[string][]byte // nil bytes: deleted
	logs     map[string][][]byte
	trims    map[string]uint64
}

func (tx *memTx) Now() crm.Nanos { return tx.now }

func (tx *memTx) Accounts() row.Table[crm.AccountID, crm.Account] { return of(tx, &row.Accounts) }
func (tx *memTx) Contacts() row.Table[crm.Key, crm.Contact]       { return of(tx, &row.Contacts) }
func (tx *memTx) Lives() row.Table[crm.Key, crm.Life]             { return of(tx, &row.Lives) }
func (tx *memTx) Identities() row.Table[row.IdentityKey, row.Identity] {
	return of(tx, &row.Identities)
}
func (tx *memTx) Members() row.Table[row.MemberKey, row.Member]       { return of(tx, &row.Members) }
func (tx *memTx) Deadlines() row.Table[crm.DeadlineKey, crm.Deadline] { return of(tx, &row.Deadlines) }
func (tx *memTx) Manifests() row.Table[crm.EpochKey, crm.Manifest]    { return of(tx, &row.Manifests) }
func (tx *memTx) Receipts() row.Table[crm.EpochKey, crm.Receipt]      { return of(tx, &row.Receipts) }
func (tx *memTx) Suppressed() row.Table[crm.SuppressedKey, crm.Suppressed] {
	return of(tx, &row.Suppressed)
}
func (tx *memTx) Records() row.Table[crm.ItemKey, crm.Record]     { return of(tx, &row.Records) }
func (tx *memTx) Links() row.Table[crm.ItemKey, crm.Link]         { return of(tx, &row.Links) }
func (tx *memTx) Objects() row.Table[crm.ObjectKey, crm.Object]   { return of(tx, &row.Objects) }
func (tx *memTx) Workflows() row.Table[row.NameKey, row.Workflow] { return of(tx, &row.Workflows) }
func (tx *memTx) Revisions() row.Table[row.NameKey, row.Revision] { return of(tx, &row.Revisions) }
func (tx *memTx) Schedules() row.Table[row.NameKey, row.Schedule] { return of(tx, &row.Schedules) }
func (tx *memTx) Runs() row.Table[crm.RunID, crm.Run]             { return of(tx, &row.Runs) }
func (tx *memTx) RunKeys() row.Table[row.RunKeyKey, row.RunKey]   { return of(tx, &row.RunKeys) }
func (tx *memTx) Timers() row.Table[crm.TimerKey, crm.Timer]      { return of(tx, &row.Timers) }
func (tx *memTx) Listeners() row.Table[crm.ItemKey, row.Listener] { return of(tx, &row.Listeners) }
func (tx *memTx) Parked() row.Table[row.ParkedKey, row.Parked]    { return of(tx, &row.Parkeds) }
func (tx *memTx) Ended() row.Table[row.EndedKey, row.Ended]       { return of(tx, &row.Endeds) }
func (tx *memTx) Steps() row.Table[crm.StepKey, crm.StepRecord]   { return of(tx, &row.Steps) }
func (tx *memTx) Items() row.Table[row.ItemKey, row.Item]         { return of(tx, &row.Items) }
func (tx *memTx) Operations() row.Table[crm.OperationID, crm.Operation] {
	return of(tx, &row.Operations)
}
func (tx *memTx) OptOuts() row.Table[crm.OptOutKey, crm.OptOut]  { return of(tx, &row.OptOuts) }
func (tx *memTx) Erasures() row.Table[crm.EpochKey, crm.Erasure] { return of(tx, &row.Erasures) }
func (tx *memTx) Inbounds() row.Table[crm.ItemKey, crm.Inbound]  { return of(tx, &row.Inbounds) }
func (tx *memTx) Deliveries() row.Table[row.DeliveryKey, row.Delivery] {
	return of(tx, &row.Deliveries)
}
func (tx *memTx) Counters() row.Table[row.NameKey, row.Counter] { return of(tx, &row.Counters) }
func (tx *memTx) Marks() row.Table[string, row.Mark]            { return of(tx, &row.Marks) }

type memTable[K comparable, R any] struct {
	tx  *memTx
	def *row.Def[K, R]
}

func of[K comparable, R any](tx *memTx, def *row.Def[K, R]) row.Table[K, R] {
	return memTable[K, R]{tx, def}
}

// Get implements row.Table.
func (t memTable[K, R]) Get(ctx context.Context, keys []K) (map[K]*R, error) {
	if err := t.tx.usable(ctx); err != nil {
		return nil, err
	}
	rows := map[K]*R{}
	for _, k := range keys {
		v := t.tx.get(t.def.Name, string(t.def.Enc(nil, k)))
		if v == nil {
			continue
		}
		r, err := decode[R](v)
		if err != nil {
			return nil, err
		}
		rows[k] = r
	}
	return rows, nil
}

// Range implements row.Table.
func (t memTable[K, R]) Range(ctx context.Context, from, to K, n int) (rows []R, err error) {
	if err := t.tx.usable(ctx); err != nil {
		return nil, err
	}
	for _, e := range t.tx.merged(t.def.Name, t.def.Enc(nil, from), t.def.Enc([]byte{}, to)) {
		if n > 0 && len(rows) == n {
			break
		}
		r, err := decode[R](e.val)
		if err != nil {
			return nil, err
		}
		rows = append(rows, *r)
	}
	return rows, nil
}

// Write implements row.Table; a Change whose Old is not what the table holds is an error.
func (t memTable[K, R]) Write(ctx context.Context, ch []row.Change[R]) error {
	if err := t.tx.mayWrite(ctx); err != nil || len(ch) == 0 {
		return err
	}
	t.tx.wrote = true
	for _, c := range ch {
		if err := t.write(c); err != nil {
			return err
		}
	}
	return nil
}

func (t memTable[K, R]) write(c row.Change[R]) error {
	some := c.New
	if some == nil {
		some = c.Old
	}
	if some == nil || c.Old != nil && t.def.Key(c.Old) != t.def.Key(some) {
		return misuse("table %s: a change without a row, or of a row's key", t.def.Name)
	}
	key := string(t.def.Enc(nil, t.def.Key(some)))
	if key == "" || len(key) > 32<<10 {
		return misuse("table %s: a key that is empty or too long", t.def.Name)
	}
	if t.tx.e.o.Corrupt == nil {
		if err := t.compareOld(key, c.Old); err != nil {
			return err
		}
	}
	if c.New == nil {
		t.tx.put(t.def.Name, key, nil)
		return nil
	}
	v, err := codec.Marshal(c.New)
	if err != nil {
		return err
	}
	if corrupt := t.tx.e.o.Corrupt; corrupt != nil {
		planted, err := decode[R](v)
		if err != nil {
			return err
		}
		corrupt(t.def.Name, planted)
		if v, err = codec.Marshal(planted); err != nil {
			return err
		}
	}
	t.tx.put(t.def.Name, key, v)
	return nil
}

// compareOld holds the caller to its word: an engine with indexes would break on a wrong Old.
func (t memTable[K, R]) compareOld(key string, old *R) error {
	held := t.tx.get(t.def.Name, key)
	if old == nil {
		if held != nil {
			return misuse("table %s: an insert of a row that is there", t.def.Name)
		}
		return nil
	}
	v, err := codec.Marshal(old)
	if err != nil {
		return err
	}
	if !bytes.Equal(v, held) {
		return misuse("table %s: Old is not what the table holds", t.def.Name)
	}
	return nil
}

// ByIdentity implements row.Tx.
func (tx *memTx) ByIdentity(ctx context.Context, hashes [][32]byte) (map[[32]byte][]crm.Key, error) {
	if err := tx.usable(ctx); err != nil {
		return nil, err
	}
	keys := map[[32]byte][]crm.Key{}
	for _, e := range tx.merged(row.Identities.Name, nil, nil) {
		r, err := decode[row.Identity](e.val)
		if err != nil {
			return nil, err
		}
		if slices.Contains(hashes, r.Hash) {
			keys[r.Hash] = append(keys[r.Hash], crm.Key{Account: r.Account, Contact: r.Contact})
		}
	}
	return keys, nil
}

func (tx *memTx) usable(ctx context.Context) error {
	if tx.over {
		return misuse("a transaction that is over")
	}
	if tx.writable {
		return nil
	}
	return ctx.Err()
}

func (tx *memTx) mayWrite(ctx context.Context) error {
	if err := tx.usable(ctx); err != nil {
		return err
	}
	if !tx.writable {
		return misuse("a write in a view")
	}
	return nil
}

func (tx *memTx) mayScan(ctx context.Context) error {
	if err := tx.usable(ctx); err != nil {
		return err
	}
	if tx.wrote {
		return row.ErrScanAfterWrite
	}
	return nil
}

func (tx *memTx) get(table, key string) []byte {
	if v, ok := tx.sets[table][key]; ok {
		return v
	}
	held := tx.base.tables[table]
	if i, ok := slices.BinarySearchFunc(held, key, byKey); ok {
		return held[i].val
	}
	return nil
}

func (tx *memTx) put(table, key string, v []byte) {
	if tx.sets == nil {
		tx.sets = map[string]map[string][]byte{}
	}
	if tx.sets[table] == nil {
		tx.sets[table] = map[string][]byte{}
	}
	tx.sets[table][key] = v
}

// merged gives the rows with from <= key < to, the transaction's own writes included; a nil to is no
// bound.
func (tx *memTx) merged(table string, from, to []byte) []entry {
	base := entriesBetween(tx.base.tables[table], from, to)
	set := tx.sets[table]
	if len(set) == 0 {
		return base
	}
	out := make([]entry, 0, len(base)+len(set))
	own := slices.Sorted(maps.Keys(set))
	for len(base) > 0 || len(own) > 0 {
		switch {
		case len(own) == 0 || len(base) > 0 && base[0].key < own[0]:
			out, base = append(out, base[0]), base[1:]
			continue
		case len(base) > 0 && base[0].key == own[0]:
			base = base[1:]
		}
		if k := own[0]; set[k] != nil && k >= string(from) && (to == nil || k < string(to)) {
			out = append(out, entry{k, set[k]})
		}
		own = own[1:]
	}
	return out
}

func entriesBetween(all []entry, from, to []byte) []entry {
	lo, _ := slices.BinarySearchFunc(all, string(from), byKey)
	hi := len(all)
	if to != nil {
		hi, _ = slices.BinarySearchFunc(all, string(to), byKey)
	}
	return all[lo:max(lo, hi)]
}

func decode[R any](b []byte) (*R, error) {
	r := new(R)
	if err := codec.Unmarshal(b, r); err != nil {
		return nil, err
	}
	return r, nil
}

func misuse(format string, args ...any) error {
	return crm.Errorf("use a transaction", crm.CodeInvalid, format, args...)
}
