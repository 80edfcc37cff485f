package bolt

import (
	"bytes"
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
)

// writeSet is what one function wrote to one table and the writer has not flushed yet.
type writeSet struct {
	rows   map[string][]byte // nil: deleted
	keys   []string          // of rows; the first sorted ones in order, the others as they came
	sorted int
}

func (s *writeSet) put(key, v []byte) {
	if _, known := s.rows[string(key)]; known {
		s.rows[string(key)] = v
		return
	}
	k := string(key) // one copy for both
	s.keys = append(s.keys, k)
	s.rows[k] = v
}

// ordered gives the keys in order. A function that writes and ranges in turns, in key order, pays
// for each new key once.
func (s *writeSet) ordered() []string {
	if s.sorted == len(s.keys) {
		return s.keys
	}
	fresh := s.keys[s.sorted:]
	slices.Sort(fresh)
	if s.sorted > 0 && fresh[0] < s.keys[s.sorted-1] {
		s.keys = mergeKeys(s.keys[:s.sorted], fresh)
	}
	s.sorted = len(s.keys)
	return s.keys
}

func mergeKeys(a, b []string) []string {
	out := make([]string, 0, len(a)+len(b)+64)
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// between gives the keys with lo <= key < hi; a nil hi is no bound.
func (s *writeSet) between(lo, hi []byte) []string {
	keys := s.ordered()
	from, _ := slices.BinarySearch(keys, string(lo))
	to := len(keys)
	if hi != nil {
		to, _ = slices.BinarySearch(keys, string(hi))
	}
	return keys[from:max(from, to)]
}

// merged walks a table's rows with lo <= key < hi in key order, the transaction's own writes
// included. Key and value are the store's own and good until the next step.
func (tx *txn) merged(table string, lo, hi []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		var own []string
		set := tx.sets[table]
		if set != nil {
			own = set.between(lo, hi)
		}
		c := tx.bucket(table).Cursor()
		k, v := c.Seek(lo)
		for {
			if k != nil && hi != nil && bytes.Compare(k, hi) >= 0 {
				k = nil
			}
			switch {
			case len(own) > 0 && (k == nil || own[0] <= string(k)):
				if k != nil && own[0] == string(k) {
					k, v = c.Next()
				}
				key := own[0]
				own = own[1:]
				if w := set.rows[key]; w != nil && !yield([]byte(key), w) {
					return
				}
			case k != nil:
				if !yield(k, v) {
					return
				}
				k, v = c.Next()
			default:
				return
			}
		}
	}
}

// flush puts the write sets into the transaction of the group: each table in key order, because
// random order is several times slower, and the logs behind their last row.
func (tx *txn) flush() (err error) {
	defer guard(&err)
	for _, table := range slices.Sorted(maps.Keys(tx.sets)) {
		set, b := tx.sets[table], tx.bucket(table)
		for _, key := range set.ordered() {
			if v := set.rows[key]; v == nil {
				err = b.Delete([]byte(key))
			} else {
				err = b.Put([]byte(key), v)
			}
			if err != nil {
				return unstorable(table, err)
			}
		}
	}
	if err := tx.flushLogs(); err != nil {
		return err
	}
	return tx.flushTrims()
}

// flushTrims removes the first rows of logs. Their numbers are not given again: the bucket counts on.
func (tx *txn) flushTrims() error {
	for log, n := range tx.trims {
		b := tx.bolt.Bucket(logBucket(log))
		if b == nil {
			continue
		}
		var keys [][]byte
		c := b.Cursor()
		for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) <= n; k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		for _, k := range keys {
			if err := b.Delete(k); err != nil {
				return unstorable("log", err)
			}
		}
	}
	return nil
}

func (tx *txn) flushLogs() error {
	for _, a := range tx.logs {
		b, err := tx.bolt.CreateBucketIfNotExists(logBucket(a.log))
		if err != nil {
			return unstorable("log", err)
		}
		b.FillPercent = 0.9
		seq, err := b.NextSequence()
		if err != nil {
			return unstorable("log", err)
		}
		if err := b.Put(binary.BigEndian.AppendUint64(nil, seq), a.row); err != nil {
			return unstorable("log", err)
		}
	}
	return nil
}

// unstorable is a row that bbolt refuses: in practice a key that is empty or over 32 KiB.
func unstorable(table string, err error) error {
	return crm.Errorf("write to the store", crm.CodeInvalid, "table %s: %w", table, err).
		WithHint("use a name of 1 to %d bytes", bbolt.MaxKeySize-64)
}
