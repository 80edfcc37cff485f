package runtime

import (
	"context"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// janitor does what is left of somebody's act on an account: a deleted tag is taken off contacts.
var janitor = crm.Actor{ID: "system:account", Role: crm.System}

// operate works at what accounts have left: bulk restores, and deleted tags that contacts still carry.
// How far each has come is in the store, so that a kill costs nothing and repeats nothing.
func (e *Engine) operate(ctx context.Context) (worked bool, err error) {
	var busy []crm.Account
	if err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		busy, err = tx.Busy()
		return err
	}); err != nil {
		return false, err
	}
	for _, a := range busy {
		for _, op := range a.Restoring {
			if _, err := e.Work(ctx, op, maxChunks); err != nil {
				return worked, err
			}
			worked = true
		}
		for _, tag := range a.Leaving {
			if err := e.Untag(ctx, a.ID, tag); err != nil {
				return worked, err
			}
			worked = true
		}
	}
	return worked, nil
}

// Work takes an operation on by so many chunks, 0: to its end, and gives it as it is then.
func (e *Engine) Work(ctx context.Context, id crm.OperationID, chunks int) (op *crm.Operation, err error) {
	for n := 0; chunks == 0 || n < chunks; n++ {
		began, size := e.clock.Now(), e.works.size()
		if err := e.store.Update(ctx, func(tx *store.Tx) (err error) {
			op, err = tx.Work(id, size)
			return err
		}); err != nil {
			return nil, err
		}
		if op == nil || op.State != crm.OperationRunning {
			return op, nil
		}
		e.works.took(size, e.clock.Now().Sub(began))
	}
	return op, nil
}

// Untag takes a deleted tag off live contacts, a page at a time, until nobody carries it. Who is deleted meanwhile does not get it
// back, so a page that was passed need not be looked at again.
func (e *Engine) Untag(ctx context.Context, acc crm.AccountID, tag crm.ItemID) error {
	var q crm.Query
	for {
		var page []crm.Key
		err := e.store.View(ctx, func(tx *store.Tx) error {
			o, err := tx.Object(crm.ObjectKey{Account: acc, Kind: crm.TagItem, ID: tag})
			if err != nil || o == nil {
				return err
			}
			page = nil
			q.Account, q.State, q.Where = acc, crm.OnlyLive, crm.Filter{Op: crm.FilterTag, Name: o.Name}
			q.After, err = tx.Scan(q, func(c *crm.Contact, _ *crm.Life) bool {
				page = append(page, c.Key())
				return len(page) < e.works.size()
			})
			return err
		})
		if err != nil {
			return err
		}
		done := q.After == nil
		if err := e.store.Update(ctx, func(tx *store.Tx) error { return tx.Untag(janitor, acc, tag, page, done) }); err != nil || done {
			return err
		}
	}
}
