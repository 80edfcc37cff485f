package bench

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// weight measures whether a delete and a restore cost more of a contact on which more hangs. They should
// not: neither touches a record. The file is not synced, so that the disk hides nothing.
type weight struct {
	r     *run
	s     *subject
	sides [2][]crm.Key // with few records, with many
}

// few and many are the records of a contact on each side.
const few, many = 5, 5000

func newWeight(ctx context.Context, r *run) (scenario, error) {
	b, err := makeBase(ctx, filepath.Join(r.dir, "weight"), 2000, true)
	if err != nil {
		return nil, err
	}
	w := &weight{r: r}
	if w.s, err = openStore(ctx, b.path, true, nil); err != nil {
		return nil, err
	}
	for i := range 40 {
		side, n := i%2, few
		if side == 1 {
			n = many
		}
		k := b.contacts[i*8]
		w.sides[side] = append(w.sides[side], k)
		for n > 0 {
			chunk := min(n, 500)
			n -= chunk
			if err := w.s.Update(ctx, func(tx *store.Tx) error { return records(tx, k, chunk) }); err != nil {
				return nil, errors.Join(err, w.close())
			}
		}
	}
	return w, nil
}

// records adds records to a contact, of all kinds in turn.
func records(tx *store.Tx, k crm.Key, n int) error {
	kinds := []crm.ItemKind{crm.Note, crm.Task, crm.Conversation, crm.Appointment, crm.ManualAction}
	for i := range n {
		id, err := tx.NewItemID()
		if err != nil {
			return err
		}
		r := crm.Record{Account: k.Account, Contact: k.Contact, Kind: kinds[i%len(kinds)], ID: id, Title: "A record of some length, as they are"}
		if _, err := tx.Apply(admin, person, crm.PutRecord{Record: r}); err != nil {
			return err
		}
	}
	return nil
}

func (w *weight) round(ctx context.Context, n int) error {
	var took [2]spent
	const times = 10
	for i := range 2 {
		side := (i + n) % 2 // each side goes first in every other round
		work := func() error {
			for range times {
				for _, k := range w.sides[side] {
					for _, m := range []crm.Mutation{crm.Delete{Contact: k}, crm.Restore{Contact: k}} {
						if err := w.s.Update(ctx, func(tx *store.Tx) error {
							_, err := tx.Apply(admin, person, m)
							return err
						}); err != nil {
							return err
						}
					}
				}
			}
			return nil
		}
		d, err := timed(work)
		if err != nil {
			return err
		}
		took[side] = d.each(times * len(w.sides[side]))
	}
	w.r.report.add(Row{Contest: "delete and restore, 5000 records", Floor: "the same, 5 records", Goal: Goal{AtMost: 2}, Cost: true}, took[1], took[0])
	return nil
}

func (w *weight) close() error { return w.s.Close() }
