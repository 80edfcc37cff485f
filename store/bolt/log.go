package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
)

const (
	logPrefix = "log/"
	seqSize   = 8
)

// A log is a bucket of its own, made by its first row; rows have the sequence as key and the codec's
// envelope around them, so that a check covers them.
func logBucket(log string) []byte { return []byte(logPrefix + log) }

// Append implements row.Tx. Rows get their sequence when the function's writes are flushed, so the
// numbers have no gaps.
func (tx *txn) Append(ctx context.Context, log string, rows [][]byte) error {
	if err := tx.mayWrite(ctx); err != nil || len(rows) == 0 {
		return err
	}
	if log == "" {
		return misuse("a log without a name")
	}
	tx.wrote = true
	for _, r := range rows {
		w, err := codec.Wrap(r)
		if err != nil {
			return err
		}
		tx.logs = append(tx.logs, appended{log, w})
	}
	return nil
}

// Next implements row.Tx; n <= 0 means all. Behind the last row it gives the cursor back as it was.
func (tx *txn) Next(ctx context.Context, log string, after []byte, n int) (rows [][]byte, cursor []byte, err error) {
	if err := tx.mayScan(ctx); err != nil {
		return nil, nil, err
	}
	if len(after) != 0 && len(after) != seqSize {
		return nil, nil, badCursor("read a log")
	}
	defer guard(&err)
	b := tx.bolt.Bucket(logBucket(log))
	if b == nil {
		return nil, after, nil
	}
	var from uint64
	if len(after) == seqSize {
		from = binary.BigEndian.Uint64(after)
		if from++; from == 0 {
			return nil, after, nil
		}
	}
	cursor = after
	c := b.Cursor()
	for k, v := c.Seek(binary.BigEndian.AppendUint64(nil, from)); k != nil; k, v = c.Next() {
		body, err := unwrapRow(k, v)
		if err != nil {
			return nil, nil, err
		}
		rows, cursor = append(rows, bytes.Clone(body)), bytes.Clone(k)
		if n > 0 && len(rows) == n {
			break
		}
	}
	return rows, cursor, nil
}

// Nth implements row.Tx.
func (tx *txn) Nth(ctx context.Context, log string, n uint64) (row []byte, err error) {
	if err := tx.mayScan(ctx); err != nil {
		return nil, err
	}
	defer guard(&err)
	b := tx.bolt.Bucket(logBucket(log))
	if b == nil {
		return nil, nil
	}
	key := binary.BigEndian.AppendUint64(nil, n)
	v := b.Get(key)
	if v == nil {
		return nil, nil
	}
	body, err := unwrapRow(key, v)
	return bytes.Clone(body), err
}

// unwrapRow checks a row of a log; an error names its number.
func unwrapRow(key, v []byte) ([]byte, error) {
	body, err := codec.Unwrap(v)
	var e *crm.Error
	if errors.As(err, &e) && len(key) == seqSize {
		e.Err = fmt.Errorf("entry %d of the log: %w", binary.BigEndian.Uint64(key), e.Err)
	}
	return body, err
}

// Trim implements row.Tx.
func (tx *txn) Trim(ctx context.Context, log string, n uint64) error {
	if err := tx.mayWrite(ctx); err != nil {
		return err
	}
	if log == "" {
		return misuse("a log without a name")
	}
	tx.wrote = true
	if tx.trims == nil {
		tx.trims = map[string]uint64{}
	}
	tx.trims[log] = max(tx.trims[log], n)
	return nil
}
