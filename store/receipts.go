package store

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// Manifest gives what the delete that began an epoch took along: the stored links and memberships,
// and the records, computed. Records cannot change while the contact is deleted, so what was alive
// at the delete is exact without a stored list. Nil if there was no such delete.
func (tx *Tx) Manifest(k crm.Key, epoch uint64) (*crm.Manifest, error) {
	m, err := one(tx.ctx, tx.row.Manifests(), crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: epoch})
	if err != nil || m == nil {
		return nil, err
	}
	records, err := tx.records(k)
	if err != nil {
		return nil, err
	}
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	gone := crm.Gone(records, epoch)
	for i := range records {
		if r := &records[i]; life.TookAlong(r, epoch) && !gone[r.Key()] {
			m.Items = append(m.Items, crm.ManifestItem{Kind: r.Kind, ID: r.ID, Fate: crm.Taken, Name: r.Title})
		}
	}
	tags := map[crm.ItemID]string{}
	if c, _, err := tx.Peek(k); err != nil {
		return nil, err
	} else if c != nil {
		for _, name := range c.TagNames() {
			tags[TagID(k.Account, name)] = name
		}
	}
	for i := range m.Items {
		if m.Items[i].Kind == crm.TagItem {
			m.Items[i].Name = tags[m.Items[i].ID]
			continue
		}
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

// Deletion gives the manifest's row of the delete that began an epoch, without what is computed; nil if there
// is none.
func (tx *Tx) Deletion(k crm.Key, epoch uint64) (*crm.Manifest, error) {
	return one(tx.ctx, tx.row.Manifests(), crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: epoch})
}

// Restoration gives the receipt's row of the restore that began an epoch, without what is computed; nil if
// there is none.
func (tx *Tx) Restoration(k crm.Key, epoch uint64) (*crm.Receipt, error) {
	return one(tx.ctx, tx.row.Receipts(), crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: epoch})
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
	records, err := tx.records(k)
	if err != nil {
		return nil, err
	}
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	gone := crm.Gone(records, r.Deletion)
	for i := range records {
		rec := &records[i]
		if !life.TookAlong(rec, r.Deletion) {
			continue
		}
		item := recordBack(r, rec, gone)
		item.Name = rec.Title
		r.Items = append(r.Items, item)
	}
	for i := range r.Items {
		it := &r.Items[i]
		if it.Fact != "" {
			it.Name = it.Fact
		} else if it.Name, err = tx.itemName(r.Account, it.Kind, it.ID, it.Name); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(r.Items, func(a, b crm.ReceiptItem) int { return int(a.Kind) - int(b.Kind) })
	return r, tx.countProof(k, r)
}

// recordBack says what a restore did with a record that the deletion took along.
func recordBack(r *crm.Receipt, rec *crm.Record, gone map[crm.ItemKey]bool) crm.ReceiptItem {
	left := crm.Life{Lost: r.Lost}
	item := crm.ReceiptItem{Kind: rec.Kind, ID: rec.ID, Outcome: crm.Restored}
	switch {
	case gone[rec.Key()]:
		item.Outcome, item.Reason = crm.Skipped, crm.SkipDeletedSeparately
	case left.Hides(rec.Kind, rec.Epoch):
		item.Outcome, item.Reason = crm.Skipped, crm.SkipPolicy
	}
	return item
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
		case run.Began < r.Epoch && run.Epoch == r.Epoch && run.ID != r.Why.Run && run.Due != 0 && run.Resumed < r.At:
			r.TimersArmed++
		}
	}
	links, err := tx.Links(k)
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Kind == crm.Campaign && l.Epoch == r.Epoch && l.Since < r.At && l.Resumed < r.At {
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
