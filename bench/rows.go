package bench

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// put is a key and what was written under it; a nil value is a deletion.
type put struct{ key, value []byte }

// rows are what a stretch of work left changed in a store's file, by bucket, in the order in which
// the contacts were worked through. They are the floor's work: whoever wants to keep what the store
// keeps has to write at least these.
type rows map[string][]put

// everyTime are the buckets with a few rows that each transaction writes anew.
var everyTime = []string{"mark", "counter", "schedule"}

// changed gives the rows in which two files differ. Both must be closed.
func changed(before, after string) (rows, error) {
	found := rows{}
	a, err := openBare(before, true)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	b, err := openBare(after, true)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return found, a.View(func(was *bbolt.Tx) error {
		return b.View(func(is *bbolt.Tx) error {
			return is.ForEach(func(name []byte, is *bbolt.Bucket) error {
				if d := differences(was.Bucket(name), is); len(d) > 0 {
					found[string(name)] = d
				}
				return nil
			})
		})
	})
}

func differences(was, is *bbolt.Bucket) (d []put) {
	add := func(k, v []byte) { d = append(d, put{bytes.Clone(k), bytes.Clone(v)}) }
	n := is.Cursor()
	k, v := n.First()
	if was != nil {
		o := was.Cursor()
		for ok, ov := o.First(); ok != nil; ok, ov = o.Next() {
			for ; k != nil && bytes.Compare(k, ok) < 0; k, v = n.Next() {
				add(k, v)
			}
			switch {
			case !bytes.Equal(k, ok):
				add(ok, nil)
			case !bytes.Equal(v, ov):
				add(k, v)
				fallthrough
			default:
				k, v = n.Next()
			}
		}
	}
	for ; k != nil; k, v = n.Next() {
		add(k, v)
	}
	return d
}

// byContact puts the rows of an index that is ordered by hash into the order of its contacts, whose
// key ends each of its keys: that is how they are written.
func (r rows) byContact(bucket string) {
	const contact = 16
	slices.SortFunc(r[bucket], func(a, b put) int {
		return cmp.Compare(string(a.key[len(a.key)-contact:]), string(b.key[len(b.key)-contact:]))
	})
}

// only gives the rows of some buckets.
func (r rows) only(buckets ...string) rows {
	out := rows{}
	for _, b := range buckets {
		out[b] = r[b]
	}
	return out
}

// plan divides the rows over transactions for so many contacts each, every bucket in key order. It
// is made before the floor is timed: the floor only writes.
func (r rows) plan(sizes []int) (chunks []rows) {
	total, done := 0, 0
	for _, n := range sizes {
		total += n
	}
	for _, n := range sizes {
		chunk := rows{}
		for bucket, puts := range r {
			if !slices.Contains(everyTime, bucket) {
				puts = slices.Clone(puts[len(puts)*done/total : len(puts)*(done+n)/total])
				slices.SortFunc(puts, func(a, b put) int { return bytes.Compare(a.key, b.key) })
			}
			chunk[bucket] = puts
		}
		chunks = append(chunks, chunk)
		done += n
	}
	return chunks
}

// size gives the number of puts and deletions and the bytes of their keys and values.
func (r rows) size() (n, size int) {
	for _, puts := range r {
		for _, p := range puts {
			n++
			size += len(p.key) + len(p.value)
		}
	}
	return n, size
}

// bare is a bbolt file opened as the embedded engine opens it, without the engine.
type bare struct{ *bbolt.DB }

func openBare(path string, readOnly bool) (bare, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: readOnly, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	return bare{db}, err
}

// write puts each chunk of a plan in a transaction, pages filled as the engine does.
func (b bare) write(chunks []rows) error {
	for _, chunk := range chunks {
		err := b.Update(func(tx *bbolt.Tx) error {
			for bucket, puts := range chunk {
				if err := putAll(tx, bucket, puts); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func putAll(tx *bbolt.Tx, bucket string, puts []put) error {
	b := tx.Bucket([]byte(bucket))
	if b == nil {
		return errors.New("bench: the floor has no bucket " + bucket)
	}
	if slices.Contains([]string{"item", "manifest", "receipt", "step"}, bucket) || strings.HasPrefix(bucket, "log/") {
		b.FillPercent = 0.9
	}
	for _, p := range puts {
		var err error
		if p.value == nil {
			err = b.Delete(p.key)
		} else {
			err = b.Put(p.key, p.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// duplicate copies a closed file and waits until the copy is on the disk, so that its writing falls
// into nobody's time.
func duplicate(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}
