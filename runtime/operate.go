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
			if err := e.Untag(ctx, a.ID, tag, maxChunks); err != nil {
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
		}); crm.CodeOf(err) == crm.CodeCorrupt {
			if op, err = e.workSingly(ctx, id); err != nil {
				return nil, err
			}
		} else if err != nil {
			return nil, err
		}
		if op == nil || op.State != crm.OperationRunning {
			return op, nil
		}
		e.works.took(size, e.clock.Now().Sub(began))
	}
	return op, nil
}

// workSingly goes round a damaged row: one contact of a selection that cannot be read is passed over, and
// does not keep the others, nor the account's sweeps, for ever.
func (e *Engine) workSingly(ctx context.Context, id crm.OperationID) (op *crm.Operation, err error) {
	for range maxChunks {
		err = e.store.Update(ctx, func(tx *store.Tx) (err error) {
			op, err = tx.Work(id, 1)
			return err
		})
		if crm.CodeOf(err) == crm.CodeCorrupt {
			e.complain(err, "an operation cannot deal with a contact; reprieve store check says more")
			err = e.store.Update(ctx, func(tx *store.Tx) (err error) {
				if err = tx.PassOver(id, crm.CodeCorrupt); err == nil {
					op, err = tx.Operation(id)
				}
				return err
			})
		}
		if err != nil || op == nil || op.State != crm.OperationRunning {
			return op, err
		}
	}
	return op, nil
}

// untagging is how far the taking off of a deleted tag has come.
type untagging struct {
	since crm.Nanos // the deletion that it is about
	after []byte
}

// Untag takes a deleted tag off live contacts, so many pages, 0: until nobody carries it. Who is deleted
// meanwhile does not get it back, so a page that was passed need not be looked at again.
func (e *Engine) Untag(ctx context.Context, acc crm.AccountID, tag crm.ItemID, chunks int) error {
	e.mu.Lock()
	at := e.untags[tag]
	e.mu.Unlock()
	for n := 0; chunks == 0 || n < chunks; n++ {
		var page []crm.Key
		began, size := e.clock.Now(), e.works.size()
		if err := e.store.View(ctx, func(tx *store.Tx) error {
			o, err := tx.Object(crm.ObjectKey{Account: acc, Kind: crm.TagItem, ID: tag})
			if err != nil || o == nil {
				return err
			}
			if page = nil; at.since != o.Deleted.At {
				at = untagging{since: o.Deleted.At}
			}
			q := crm.Query{Account: acc, State: crm.OnlyLive, Where: crm.Filter{Op: crm.FilterTag, Name: o.Name}, After: at.after}
			at.after, err = tx.Scan(q, func(c *crm.Contact, _ *crm.Life) bool {
				page = append(page, c.Key())
				return len(page) < size
			})
			return err
		}); err != nil {
			return err
		}
		done := at.after == nil
		if err := e.store.Update(ctx, func(tx *store.Tx) error { return tx.Untag(janitor, acc, tag, at.since, page, done) }); err != nil {
			return err
		}
		e.works.took(len(page), e.clock.Now().Sub(began))
		e.mu.Lock()
		if e.untags[tag] = at; done {
			delete(e.untags, tag)
		}
		e.mu.Unlock()
		if done {
			return nil
		}
	}
	return nil
}
