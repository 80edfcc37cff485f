package bolt

import (
	"context"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// A chunk of a snapshot is at most maxChunk rows and is sized so that it holds the writer for no
// more than groupTime.
const (
	minChunk = 64
	maxChunk = 4000
)

// Snapshot implements row.Engine. What it froze is complete only when it has returned; a caller that
// crashed before that calls it again with the same op.
func (e *Engine) Snapshot(ctx context.Context, op crm.OperationID, q crm.Query, keep func(*crm.Contact, *crm.Life) bool) (int, error) {
	type chosen struct {
		contact crm.ContactID
		epoch   uint64
	}
	var all []chosen
	err := e.View(ctx, func(tx row.Tx) (err error) {
		for {
			q.After, err = tx.Scan(ctx, q, func(c *crm.Contact, l *crm.Life) bool {
				if keep == nil || keep(c, l) {
					all = append(all, chosen{c.ID, l.Epoch})
				}
				return true
			})
			if err != nil || q.After == nil {
				return err
			}
		}
	})
	if err != nil {
		return 0, err
	}
	size := minChunk
	if err := e.dropItems(ctx, op, &size); err != nil {
		return 0, err
	}
	for rest := all; len(rest) > 0; {
		n := min(size, len(rest))
		err := e.chunk(ctx, &size, func(tx row.Tx) error {
			ch := make([]row.Change[row.Item], n)
			for i, c := range rest[:n] {
				ch[i].New = &row.Item{Op: op, Account: q.Account, Contact: c.contact, Epoch: c.epoch}
			}
			return tx.Items().Write(ctx, ch)
		})
		if err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(all), nil
}

// dropItems deletes the rows of an earlier try.
func (e *Engine) dropItems(ctx context.Context, op crm.OperationID, size *int) error {
	from, last := row.ItemKey{Op: op}, crm.Key{}
	for i := range last.Account {
		last.Account[i], last.Contact[i] = 0xff, 0xff
	}
	for more := true; more; {
		err := e.chunk(ctx, size, func(tx row.Tx) error {
			items, err := tx.Items().Range(ctx, from, row.ItemKey{Op: op, Contact: last}, *size)
			if err != nil {
				return err
			}
			ch := make([]row.Change[row.Item], len(items))
			for i := range items {
				ch[i].Old = &items[i]
			}
			more = len(items) > 0
			return tx.Items().Write(ctx, ch)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chunk runs one Update and sizes the next by the time that this one took.
func (e *Engine) chunk(ctx context.Context, size *int, fn func(row.Tx) error) error {
	begun := time.Now()
	if err := e.Update(ctx, fn); err != nil {
		return err
	}
	switch took := time.Since(begun); {
	case took > groupTime:
		*size = max(minChunk, *size/2)
	case took < groupTime/2:
		*size = min(maxChunk, *size*2)
	}
	return nil
}
