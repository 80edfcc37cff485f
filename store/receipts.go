package store

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Manifest gives what the delete that began an epoch took along: the stored links and memberships,
// and the records, computed. Records cannot change while the contact is deleted, so what was alive
// at the delete is exact without a stored list. Nil if there was no such delete.
func (tx *Tx) Manifest(k crm.Key, epoch uint64) (*crm.Manifest, error) {
	m, err := one(tx.ctx, tx.row.Manifests(), crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: epoch})
	if err != nil || m == nil {
		return nil, err
	}
	records, err := tx.Records(k)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if r.Epoch < epoch && !(r.Deleted.IsSet() && r.Deleted.Epoch < epoch) {
			m.Items = append(m.Items, crm.ManifestItem{Kind: r.Kind, ID: r.ID, Fate: crm.Taken, Name: r.Title})
		}
	}
	for i := range m.Items {
		if m.Items[i].Name, err = tx.itemName(m.Account, m.Items[i].Kind, m.Items[i].ID, m.Items[i].Name); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(m.Items, func(a, b crm.ManifestItem) int { return int(a.Kind) - int(b.Kind) })
	return m, nil
}

// Tombstone gives the manifest of the contact's present deletion, without its computed items; nil for
// a contact that is not deleted.
func (tx *Tx) Tombstone(k crm.Key, life crm.Life) (*crm.Manifest, error) {
	if life.State != crm.Deleted {
		return nil, nil
	}
	return one(tx.ctx, tx.row.Manifests(), crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: life.Epoch})
}

func (tx *Tx) itemName(acc crm.AccountID, kind crm.ItemKind, id crm.ItemID, known string) (string, error) {
	switch kind {
	case crm.List, crm.Campaign, crm.Company, crm.Opportunity:
		o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: acc, Kind: kind, ID: id})
		if err != nil || o == nil {
			return "", err
		}
		return o.Name, nil
	case crm.WorkflowRun:
		r, err := tx.Run(crm.RunID(id))
		if err != nil || r == nil {
			return "", err
		}
		return r.Workflow, nil
	}
	return known, nil
}

// LatestReceipt gives the receipt of a contact's last restore, nil if it was never restored.
func (tx *Tx) LatestReceipt(k crm.Key) (*crm.Receipt, error) {
	all, err := tx.row.Receipts().Range(tx.ctx,
		crm.EpochKey{Account: k.Account, Contact: k.Contact}, crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: 1<<64 - 1}, 0)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return tx.Receipt(k, all[len(all)-1].Epoch)
}

// Receipt gives what the restore that began an epoch did. The record items are computed from the
// records' own epochs and marks. The counts are counted now, in the rows of runs, timers and
// enrollments, rather than remembered: they are a proof, not a promise.
func (tx *Tx) Receipt(k crm.Key, epoch uint64) (*crm.Receipt, error) {
	r, err := one(tx.ctx, tx.row.Receipts(), crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: epoch})
	if err != nil || r == nil {
		return nil, err
	}
	records, err := tx.Records(k)
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		if rec.Epoch >= r.Deletion {
			continue
		}
		item := crm.ReceiptItem{Kind: rec.Kind, ID: rec.ID, Outcome: crm.Restored, Name: rec.Title}
		if rec.Deleted.IsSet() && rec.Deleted.Epoch < r.Deletion {
			item.Outcome, item.Reason = crm.Skipped, crm.SkipDeletedSeparately
		}
		r.Items = append(r.Items, item)
	}
	for i := range r.Items {
		if r.Items[i].Name, err = tx.itemName(r.Account, r.Items[i].Kind, r.Items[i].ID, r.Items[i].Name); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(r.Items, func(a, b crm.ReceiptItem) int { return int(a.Kind) - int(b.Kind) })
	return r, tx.countProof(k, r)
}

// countProof counts what a restore must not have set off.
func (tx *Tx) countProof(k crm.Key, r *crm.Receipt) (err error) {
	r.Suppressed, err = tx.row.Suppressed().Range(tx.ctx,
		crm.SuppressedKey{Account: k.Account, Contact: k.Contact, Epoch: r.Epoch},
		crm.SuppressedKey{Account: k.Account, Contact: k.Contact, Epoch: r.Epoch + 1}, 0)
	if err != nil {
		return err
	}
	runs, err := tx.RunsOf(k)
	if err != nil {
		return err
	}
	for _, run := range runs {
		switch {
		case run.Began == r.Epoch && run.Entitled <= r.QuietRev:
			r.RunsStarted++
		case run.Began < r.Epoch && run.Epoch == r.Epoch && run.ID != r.Why.Run && run.Due != 0:
			r.TimersArmed++
		}
	}
	links, err := tx.Links(k)
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Kind == crm.Campaign && l.Epoch == r.Epoch && l.Since < r.At {
			r.Sends++
		}
	}
	return nil
}

// Suppress records that a trigger would have matched and was refused: the first refusal of each
// trigger in each epoch of a contact.
func (tx *Tx) Suppress(s crm.Suppressed) error {
	life, err := tx.Life(crm.Key{Account: s.Account, Contact: s.Contact})
	if err != nil || life.State == crm.Purged {
		return err // a purge leaves nothing behind, and nothing comes after it
	}
	old, err := one(tx.ctx, tx.row.Suppressed(), s.Key())
	if err != nil || old != nil {
		return err
	}
	tx.wrote = true
	return insert(tx.ctx, tx.row.Suppressed(), &s)
}

// Expired gives deleted contacts whose deadline is at or before now, behind a cursor, at most n, in
// the order of their deadlines. Those under a hold are among them: Purge refuses them.
func (tx *Tx) Expired(now crm.Nanos, after *crm.Deadline, n int) ([]crm.Deadline, error) {
	from := crm.DeadlineKey{Until: -1 << 63}
	if after != nil {
		from = after.Key()
	}
	got, err := tx.row.Deadlines().Range(tx.ctx, from, crm.DeadlineKey{Until: now + 1}, n+1)
	if err != nil {
		return nil, err
	}
	if after != nil && len(got) > 0 && got[0] == *after {
		got = got[1:]
	}
	return got[:min(n, len(got))], nil
}

// NextDeadline gives the earliest deadline, 0 if nothing is deleted.
func (tx *Tx) NextDeadline() (crm.Nanos, error) {
	first, err := tx.row.Deadlines().Range(tx.ctx, crm.DeadlineKey{Until: -1 << 63}, crm.DeadlineKey{Until: 1<<63 - 1}, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	return first[0].Until, nil
}

// Schedule gives what is remembered of a cron trigger, nil if nothing is.
func (tx *Tx) Schedule(acc crm.AccountID, name string) (*Schedule, error) {
	return one(tx.ctx, tx.row.Schedules(), row.NameKey{Account: acc, Name: name})
}

// PutSchedule replaces what is remembered of a cron trigger; old is what the caller read, and if it
// is not what the store holds the call fails with ErrStale.
func (tx *Tx) PutSchedule(old, next *Schedule) error {
	there, err := one(tx.ctx, tx.row.Schedules(), row.NameKey{Account: next.Account, Name: next.Name})
	if err != nil {
		return err
	}
	if (there == nil) != (old == nil) || there != nil && *there != *old {
		return ErrStale
	}
	tx.wrote = true
	return tx.row.Schedules().Write(tx.ctx, []row.Change[row.Schedule]{{Old: there, New: next}})
}

// FrozenItem is a contact of a frozen selection, in the epoch in which it was selected.
type FrozenItem struct {
	Contact crm.Key
	Epoch   uint64
}

// Frozen gives the items of a frozen selection behind a contact (zero: from the start), at most n.
func (tx *Tx) Frozen(op crm.OperationID, after crm.Key, n int) ([]FrozenItem, error) {
	var last crm.Key
	for i := range last.Account {
		last.Account[i] = 0xff
	}
	got, err := tx.row.Items().Range(tx.ctx, row.ItemKey{Op: op, Contact: after}, row.ItemKey{Op: op, Contact: last}, n+1)
	if err != nil {
		return nil, err
	}
	var out []FrozenItem
	for _, it := range got {
		if k := (crm.Key{Account: it.Account, Contact: it.Contact}); k != after && len(out) < n {
			out = append(out, FrozenItem{k, it.Epoch})
		}
	}
	return out, nil
}

// DropFrozen removes items of a frozen selection that were handled.
func (tx *Tx) DropFrozen(op crm.OperationID, items []FrozenItem) error {
	rows := make([]row.Item, len(items))
	for i, it := range items {
		rows[i] = row.Item{Op: op, Account: it.Contact.Account, Contact: it.Contact.Contact, Epoch: it.Epoch}
	}
	tx.wrote = true
	return remove(tx.ctx, tx.row.Items(), rows)
}
