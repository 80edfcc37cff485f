package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// tables lists every table with the check of one of its rows.
var tables = []tableInfo{
	info(row.Accounts), info(row.Contacts), info(row.Lives), info(row.Identities), info(row.Members),
	info(row.Deadlines), info(row.Manifests), info(row.Receipts), info(row.Suppressed), info(row.Records),
	info(row.Links), info(row.Objects), info(row.Workflows), info(row.Revisions), info(row.Schedules),
	info(row.Runs), info(row.RunKeys), info(row.Timers), info(row.Listeners), info(row.Parkeds), info(row.Endeds), info(row.Steps), info(row.Items),
	info(row.Operations), info(row.OptOuts), info(row.Inbounds), info(row.Deliveries), info(row.Erasures), info(row.Counters), info(row.Marks),
}

type tableInfo struct {
	name   string
	verify func(k, v []byte) error
}

func info[K comparable, R any](d row.Def[K, R]) tableInfo {
	return tableInfo{d.Name, func(k, v []byte) error {
		r, err := decode[R](d.Name, k, v)
		if err != nil {
			return err
		}
		if !bytes.Equal(d.Enc(nil, d.Key(r)), k) {
			return fmt.Errorf("table %s, key %x: the row belongs to another key", d.Name, k)
		}
		return nil
	}}
}

// maxFindings is how many faults a check reports before it gives up.
const maxFindings = 20

// Check reads the whole file and reports damage as crm.CodeCorrupt, naming table and key in hex: the
// structure, and for each row its checksum, its form and that it lies under its own key. The store
// must not be open elsewhere. A damaged file can end the process: run Check in a child process.
func Check(path string) error {
	if err := existing(path); err != nil {
		return wrapMissing(err)
	}
	db, err := openFile(path, Options{}.withDefaults().Timeout, bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return err
	}
	defer db.Close()
	var found []error
	err = caught(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check(bbolt.WithKVStringer(bbolt.HexKVStringer())) {
				if len(found) < maxFindings { // the channel must be read to its end
					found = append(found, err)
				}
			}
			if err := checkFormat(tx); err != nil {
				return err
			}
			if len(found) == 0 { // rows are looked up through the structure
				found = checkRows(tx)
			}
			return nil
		})
	})
	var own *crm.Error
	switch {
	case errors.As(err, &own):
		return own
	case err != nil || len(found) > 0:
		e := corrupt("%w", errors.Join(append(found, err)...)).(*crm.Error)
		e.Op = "check the store"
		return e
	}
	return nil
}

func checkRows(tx *bbolt.Tx) (found []error) {
	report := func(err error) {
		if err != nil {
			found = append(found, err)
		}
	}
	c := tx.Cursor()
	for name, _ := c.First(); name != nil && len(found) < maxFindings; name, _ = c.Next() {
		verify := verifier(string(name))
		if verify == nil {
			report(fmt.Errorf("the table %x is not known", name))
			continue
		}
		rows := tx.Bucket(name).Cursor()
		for k, v := rows.First(); k != nil && len(found) < maxFindings; k, v = rows.Next() {
			report(verify(k, v))
		}
	}
	return found
}

func verifier(bucket string) func(k, v []byte) error {
	if bucket == string(metaBucket) {
		return func(_, _ []byte) error { return nil }
	}
	if strings.HasPrefix(bucket, logPrefix) {
		return func(k, v []byte) error {
			if _, err := codec.Unwrap(v); err != nil || len(k) != seqSize {
				return fmt.Errorf("%s, key %x: damaged", bucket, k)
			}
			return nil
		}
	}
	if i := slices.IndexFunc(tables, func(t tableInfo) bool { return t.name == bucket }); i >= 0 {
		return tables[i].verify
	}
	return nil
}

// Compact writes a copy of the store at src to dst without its free pages, in which purged rows can
// still be read. Nobody may have src open, dst must not exist, and dst appears only when it is
// complete and on the disk.
func Compact(src, dst string) (err error) {
	if err := existing(src); err != nil {
		return wrapMissing(err)
	}
	if _, err := os.Stat(dst); !errors.Is(err, os.ErrNotExist) {
		return crm.Errorf("compact the store", crm.CodeConflict, "there is a file at the destination").
			WithHint("name a file that does not exist")
	}
	from, err := openFile(src, Options{}.withDefaults().Timeout, bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer from.Close()
	if err := caught(func() error { return from.View(checkFormat) }); err != nil {
		return err
	}
	draft := dst + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrap("compact the store", err)
	}
	if err := copyInto(draft, from); err != nil {
		_ = os.Remove(draft)
		return wrap("compact the store", err)
	}
	if err := os.Rename(draft, dst); err != nil {
		return wrap("compact the store", err)
	}
	return wrap("compact the store", syncDir(filepath.Dir(dst)))
}

// copyInto compacts into a new file: without a sync for each of its transactions, with one at the end.
func copyInto(path string, from *bbolt.DB) error {
	to, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	const txBytes = 16 << 20 // of memory at a time
	return errors.Join(caught(func() error { return bbolt.Compact(to, from, txBytes) }), to.Sync(), to.Close())
}

func wrapMissing(err error) error {
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return crm.Errorf("open the store", crm.CodeNotFound, "there is no store").
		WithHint("run reprieve init, or name the data directory with --data")
}
