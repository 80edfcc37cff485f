package store

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// delete hides a contact. It writes the life row, the deadline, the manifest's links, the counters
// and the log, and touches neither contact nor records nor runs nor timers, whatever hangs on it:
// those are live, or runnable, only as far as the life row says.
func (tx *Tx) delete(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Delete) (*crm.Event, error) {
	const op = "delete a contact"
	c, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	if life.Held {
		return nil, held(op, c.ID)
	}
	items, err := tx.takenAlong(c, life, why.Run)
	if err != nil {
		return nil, err
	}
	next := life
	next.State, next.Epoch, next.Since = crm.Deleted, life.Epoch+1, tx.now
	next.RestorableUntil = tx.now + acc.Policy.Window
	next.Operation = why.Operation
	tx.lives.put(m.Contact, &next)
	if err := insert(tx.ctx, tx.row.Deadlines(), deadline(next)); err != nil {
		return nil, err
	}
	if err := insert(tx.ctx, tx.row.Manifests(), &crm.Manifest{
		Account: c.Account, Contact: c.ID, Epoch: next.Epoch, At: tx.now, RestorableUntil: next.RestorableUntil,
		By: by, Why: why, Reason: m.Reason, Items: items,
	}); err != nil {
		return nil, err
	}
	tx.countLife(c, items, -1)
	tx.count(c.Account, CountLive, -1)
	tx.count(c.Account, CountDeleted, 1)
	ev := tx.event(crm.ContactDeleted, by, why, next, c.Rev, crm.EventData{Until: next.RestorableUntil})
	tx.note(ev)
	return &ev, nil
}

func held(op string, c crm.ContactID) error {
	return crm.Errorf(op, crm.CodeHeld, "it is under a legal hold").About(c).WithHint("an admin lifts the hold first")
}

func deadline(l crm.Life) *crm.Deadline {
	return &crm.Deadline{Until: l.RestorableUntil, Account: l.Account, Contact: l.Contact}
}

// takenAlong lists the links and memberships that a delete cuts. The run that deletes is exempt: it
// goes on.
func (tx *Tx) takenAlong(c *crm.Contact, life crm.Life, run crm.RunID) ([]crm.ManifestItem, error) {
	var items []crm.ManifestItem
	for _, l := range c.Lists {
		if !l.Absent {
			items = append(items, crm.ManifestItem{Kind: crm.List, ID: l.List, Fate: crm.Detached})
		}
	}
	from, to := crm.ItemsOf(c.Key())
	to.Kind = crm.FinishedRun
	links, err := tx.row.Links().Range(tx.ctx, from, to, 0)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		item := crm.ManifestItem{Kind: l.Kind, ID: l.ID, Fate: crm.Detached}
		switch l.Kind {
		case crm.Campaign, crm.WorkflowRun:
			item.Fate = crm.Interrupted
			if l.Epoch != life.Epoch || crm.RunID(l.ID) == run && !run.IsZero() {
				continue // suspended long ago, or the run that deletes
			}
		case crm.Opportunity:
			shared, err := tx.sharedWithLive(l)
			if err != nil {
				return nil, err
			}
			if !shared {
				item.Fate = crm.Taken
			}
		}
		items = append(items, item)
	}
	return items, nil
}

// sharedWithLive says whether an opportunity has another live contact: then it stays where it is.
func (tx *Tx) sharedWithLive(l crm.Link) (bool, error) {
	o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: l.Account, Kind: l.Kind, ID: l.ID})
	if err != nil || o == nil {
		return false, err
	}
	return tx.anyLive(o, l.Contact)
}

func (tx *Tx) anyLive(o *crm.Object, except crm.ContactID) (bool, error) {
	for _, id := range o.Contacts {
		if id == except {
			continue
		}
		life, err := tx.Life(crm.Key{Account: o.Account, Contact: id})
		if err != nil || life.State == crm.Live {
			return err == nil, err
		}
	}
	return false, nil
}

// OpportunityLive says whether an opportunity is live: one of its contacts is, and nobody deleted it.
func (tx *Tx) OpportunityLive(o *crm.Object) (bool, error) {
	if o.Deleted.IsSet() {
		return false, nil
	}
	return tx.anyLive(o, crm.ContactID{})
}

// countLife moves the counters of lists, and of the campaigns that are interrupted, by one.
func (tx *Tx) countLife(c *crm.Contact, items []crm.ManifestItem, d int64) {
	for _, it := range items {
		if it.Kind == crm.List || it.Kind == crm.Campaign && it.Fate == crm.Interrupted {
			tx.count(c.Account, CountOf(it.ID), d)
		}
	}
}

// restore brings back exactly what the manifest names, and starts nothing: it is one mutation, its
// event is none that a trigger can name, the epoch moves so that what ran before is suspended, and
// the quiet revision becomes the contact's own, so that no fact of before entitles anything.
func (tx *Tx) restore(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Restore) (*crm.Event, error) {
	const op = "restore a contact"
	c, life, err := tx.load(op, m.Contact, crm.OnlyDeleted)
	if err != nil {
		return nil, err
	}
	if acc.HIPAA {
		return nil, crm.Errorf(op, crm.CodeHIPAA, "the account is a HIPAA account: deletions are not undone").About(c.ID)
	}
	if !life.Restorable(tx.now) {
		return nil, crm.Errorf(op, crm.CodeWindowPassed, "the recovery window ended at %s", life.RestorableUntil).About(c.ID)
	}
	if err := tx.freeIdentities(op, c, c.Identities()); err != nil {
		return nil, err
	}
	manifest, err := one(tx.ctx, tx.row.Manifests(), crm.EpochKey{Account: c.Account, Contact: c.ID, Epoch: life.Epoch})
	if err != nil {
		return nil, err
	}
	if manifest == nil {
		return nil, crm.Errorf(op, crm.CodeCorrupt, "its manifest is missing").About(c.ID)
	}
	why.Kind = crm.ByRestore
	items, err := tx.broughtBack(manifest)
	if err != nil {
		return nil, err
	}
	next := life
	next.State, next.Epoch, next.Since, next.QuietRev = crm.Live, life.Epoch+1, tx.now, c.Rev
	next.RestorableUntil, next.Operation = 0, crm.OperationID{}
	tx.lives.put(m.Contact, &next)
	if err := remove(tx.ctx, tx.row.Deadlines(), []crm.Deadline{*deadline(life)}); err != nil {
		return nil, err
	}
	if err := tx.leaveGoneLists(c, next, items); err != nil {
		return nil, err
	}
	if err := insert(tx.ctx, tx.row.Receipts(), &crm.Receipt{
		Account: c.Account, Contact: c.ID, Epoch: next.Epoch, Deletion: life.Epoch, At: tx.now, QuietRev: next.QuietRev,
		By: by, Why: why, Reason: m.Reason, Items: items,
	}); err != nil {
		return nil, err
	}
	tx.count(c.Account, CountLive, 1)
	tx.count(c.Account, CountDeleted, -1)
	ev := tx.event(crm.ContactRestored, by, why, next, c.Rev, crm.EventData{})
	tx.note(ev)
	return &ev, nil
}

// broughtBack decides, for each link of the manifest, whether it comes back. A run or a campaign
// enrollment comes back suspended, which takes no write: its epoch is not the contact's any more.
func (tx *Tx) broughtBack(m *crm.Manifest) ([]crm.ReceiptItem, error) {
	gone := map[crm.ItemKind]crm.SkipReason{
		crm.List: crm.SkipListGone, crm.Company: crm.SkipCompanyGone, crm.Campaign: crm.SkipCampaignGone,
		crm.Opportunity: crm.SkipOpportunityGone,
	}
	var items []crm.ReceiptItem
	for _, it := range m.Items {
		r := crm.ReceiptItem{Kind: it.Kind, ID: it.ID, Outcome: crm.Restored}
		if it.Fate == crm.Interrupted {
			r.Outcome = crm.Suspended
		}
		if reason, isObject := gone[it.Kind]; isObject {
			o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: m.Account, Kind: it.Kind, ID: it.ID})
			if err != nil {
				return nil, err
			}
			switch {
			case o == nil || o.Deleted.IsSet():
				r.Outcome, r.Reason = crm.Skipped, reason
			case it.Kind == crm.List:
				tx.count(m.Account, CountOf(it.ID), 1)
			}
		}
		items = append(items, r)
	}
	return items, nil
}

// leaveGoneLists takes the contact off the lists that were deleted meanwhile, at the quiet revision.
func (tx *Tx) leaveGoneLists(was *crm.Contact, life crm.Life, items []crm.ReceiptItem) error {
	c := was
	for _, it := range items {
		if it.Kind != crm.List || it.Outcome != crm.Skipped {
			continue
		}
		if c == was {
			c = was.Clone()
		}
		crm.ChangeFact(c, crm.SetMembership{Contact: c.Key(), List: it.ID}, life.QuietRev, tx.now, false)
		if err := remove(tx.ctx, tx.row.Members(), []row.Member{{Account: c.Account, List: it.ID, Contact: c.ID}}); err != nil {
			return err
		}
	}
	tx.contacts.put(c.Key(), c)
	return nil
}

// hold puts a legal hold on a contact, live or deleted, or lifts it.
func (tx *Tx) hold(by crm.Actor, why crm.Cause, m crm.Hold) (*crm.Event, error) {
	c, life, err := tx.load("hold a contact", m.Contact, crm.LiveOrDead)
	if err != nil || life.Held == m.On {
		return nil, err
	}
	next := life
	next.Held = m.On
	tx.lives.put(m.Contact, &next)
	kind := crm.ContactReleased
	if m.On {
		kind = crm.ContactHeld
	}
	ev := tx.event(kind, by, why, next, c.Rev, crm.EventData{})
	tx.note(ev)
	return &ev, nil
}

// purge removes a contact for good, with everything that was only its own. The check of the deadline
// and of the hold is inside the transaction that removes it.
func (tx *Tx) purge(by crm.Actor, why crm.Cause, m crm.Purge) (*crm.Event, error) {
	const op = "purge a contact"
	want := crm.OnlyDeleted
	if m.Erasure {
		want = crm.LiveOrDead
	}
	c, life, err := tx.load(op, m.Contact, want)
	if err != nil {
		return nil, err
	}
	switch {
	case life.Held:
		return nil, held(op, c.ID)
	case !m.Erasure && !life.Purgeable(tx.now):
		return nil, crm.Errorf(op, crm.CodeWindowOpen, "it can be restored until %s", life.RestorableUntil).About(c.ID).
			WithHint("the sweep purges it then; an erasure request is a purge by an admin")
	}
	if life.State == crm.Live {
		items, err := tx.takenAlong(c, life, crm.RunID{})
		if err != nil {
			return nil, err
		}
		tx.countLife(c, items, -1)
		tx.count(c.Account, CountLive, -1)
	} else {
		tx.count(c.Account, CountDeleted, -1)
		if err := remove(tx.ctx, tx.row.Deadlines(), []crm.Deadline{*deadline(life)}); err != nil {
			return nil, err
		}
	}
	if err := tx.erase(c); err != nil {
		return nil, err
	}
	tx.count(c.Account, CountPurged, 1)
	next := crm.Life{Account: c.Account, Contact: c.ID, State: crm.Purged, Epoch: life.Epoch + 1, Since: tx.now}
	tx.lives.put(m.Contact, &next)
	tx.contacts.put(m.Contact, nil) // and the salt with it: every sealed payload is unreadable from here on
	ev := tx.event(crm.ContactPurged, by, why, next, 0, crm.EventData{})
	tx.note(ev)
	return &ev, nil
}

// erase removes everything that hangs on a contact.
func (tx *Tx) erase(c *crm.Contact) error {
	k := c.Key()
	if err := tx.indexIdentities(c, c.Identities(), nil); err != nil {
		return err
	}
	for _, l := range c.Lists {
		if !l.Absent {
			if err := remove(tx.ctx, tx.row.Members(), []row.Member{{Account: c.Account, List: l.List, Contact: c.ID}}); err != nil {
				return err
			}
		}
	}
	from, to := crm.ItemsOf(k)
	links, err := tx.row.Links().Range(tx.ctx, from, to, 0)
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := tx.eraseLink(l); err != nil {
			return err
		}
	}
	if err := removeRange(tx, tx.row.Links(), from, to); err != nil {
		return err
	}
	if err := removeRange(tx, tx.row.Records(), from, to); err != nil {
		return err
	}
	first := crm.EpochKey{Account: k.Account, Contact: k.Contact}
	last := first
	last.Epoch = 1<<64 - 1
	if err := removeRange(tx, tx.row.Manifests(), first, last); err != nil {
		return err
	}
	if err := removeRange(tx, tx.row.Receipts(), first, last); err != nil {
		return err
	}
	return removeRange(tx, tx.row.Suppressed(),
		crm.SuppressedKey{Account: k.Account, Contact: k.Contact}, crm.SuppressedKey{Account: k.Account, Contact: k.Contact, Epoch: 1<<64 - 1})
}

// eraseLink takes the contact out of what it was linked to: an opportunity without a contact goes
// with it, a run and its journal always.
func (tx *Tx) eraseLink(l crm.Link) error {
	switch l.Kind {
	case crm.Opportunity:
		k := crm.ObjectKey{Account: l.Account, Kind: l.Kind, ID: l.ID}
		o, err := tx.objects.get(tx.ctx, k)
		if err != nil || o == nil {
			return err
		}
		next := *o
		next.Contacts = nil
		for _, id := range o.Contacts {
			if id != l.Contact {
				next.Contacts = append(next.Contacts, id)
			}
		}
		if next.Primary == l.Contact {
			next.Primary = crm.ContactID{}
		}
		if len(next.Contacts) == 0 {
			tx.objects.put(k, nil)
		} else {
			tx.objects.put(k, &next)
		}
	case crm.WorkflowRun, crm.FinishedRun:
		return tx.eraseRun(crm.RunID(l.ID))
	}
	return nil
}

func removeRange[K comparable, R any](tx *Tx, t row.Table[K, R], from, to K) error {
	rows, err := t.Range(tx.ctx, from, to, 0)
	if err != nil {
		return err
	}
	return remove(tx.ctx, t, rows)
}
