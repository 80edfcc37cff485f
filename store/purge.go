package store

import (
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// purge removes a contact for good, with everything that was only its own. The check of the deadline
// and of the hold is inside the transaction that removes it.
func (tx *Tx) purge(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Purge) (*crm.Event, error) {
	const op = "purge a contact"
	want := crm.OnlyDeleted
	if m.Erasure {
		want = crm.LiveOrDead
	}
	c, life, err := tx.load(op, m.Contact, want)
	if err != nil {
		return nil, err
	}
	if life.Held {
		if err := tx.forbid(held(op, c.ID)); err != nil {
			return nil, err
		}
	}
	if !m.Erasure && tx.now < life.RestorableUntil {
		if err := tx.forbid(crm.Errorf(op, crm.CodeWindowOpen, "it can be restored until %s", life.RestorableUntil).About(c.ID).
			WithHint("the sweep purges it then; an erasure request is a purge by an admin")); err != nil {
			return nil, err
		}
	}
	if !m.Erasure {
		if err := noRestoreRuns(op, acc, c.ID); err != nil {
			return nil, err
		}
	}
	if life.State == crm.Live {
		items, err := tx.takenAlong(acc, c, life, crm.RunID{})
		if err != nil {
			return nil, err
		}
		tx.countLife(c, items, -1)
		tx.count(c.Account, CountLive, -1)
	} else {
		tx.count(c.Account, CountDeleted, -1)
	}
	if err := tx.keepOptOuts(acc, c); err != nil {
		return nil, err
	}
	if err := tx.erase(c); err != nil {
		return nil, err
	}
	tx.count(c.Account, CountPurged, 1)
	next := crm.Life{Account: c.Account, Contact: c.ID, State: crm.Purged, Epoch: life.Epoch + 1, Since: tx.now, Last: max(c.Last, life.Last)}
	if err := errors.Join(tx.moveLife(&life, &next), tx.toLedger(next, false)); err != nil {
		return nil, err
	}
	tx.contacts.put(m.Contact, nil) // and the salt with it: every sealed payload is unreadable from here on
	ev := tx.event(crm.ContactPurged, by, why, next, 0, crm.EventData{Reason: m.Reason, On: m.Erasure})
	return &ev, tx.noteLife(ev, nil, &next)
}

// noRestoreRuns keeps sweeps, and workflows that purge, out of an account while a bulk restore runs on it:
// what was restorable when it was accepted is still there when its turn comes. An erasure does not wait.
func noRestoreRuns(op string, acc *crm.Account, c crm.ContactID) error {
	if len(acc.Restoring) == 0 {
		return nil
	}
	return crm.Errorf(op, crm.CodeRunning, "the bulk restore %s runs on the account", acc.Restoring[0]).About(c).
		WithHint("it goes on once that has ended")
}

// discard removes what earlier restores did not bring back, at the deadline of the deletion that took it.
func (tx *Tx) discard(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Discard) (*crm.Event, error) {
	const op = "discard what was not restored"
	c, life, err := tx.load(op, m.Contact, crm.LiveOrDead)
	if err != nil {
		return nil, err
	}
	switch {
	case life.LostUntil == 0:
		return nil, nil
	case life.Held:
		return nil, held(op, c.ID)
	case !life.Discardable(tx.now):
		return nil, crm.Errorf(op, crm.CodeWindowOpen, "it stays until %s", life.LostUntil).About(c.ID).WithHint("the sweep removes it then")
	}
	if err := noRestoreRuns(op, acc, c.ID); err != nil {
		return nil, err
	}
	gone, next := life, life
	gone.Lost, next.Lost, next.LostUntil = nil, nil, 0
	for _, l := range life.Lost {
		if l.History {
			next.Lost = append(next.Lost, l)
		} else {
			gone.Lost = append(gone.Lost, l)
		}
	}
	if err := tx.removeHidden(c.Key(), &gone); err != nil {
		return nil, err
	}
	if err := tx.moveLife(&life, &next); err != nil {
		return nil, err
	}
	ev := tx.event(crm.ContactDiscarded, by, why, next, c.Rev, crm.EventData{})
	return &ev, tx.noteLife(ev, c, &next)
}

// removeHidden removes the records and links that a life hides.
func (tx *Tx) removeHidden(k crm.Key, hides *crm.Life) error {
	records, err := tx.records(k)
	if err != nil {
		return err
	}
	var dead []crm.Record
	for _, r := range records {
		if hides.Hides(r.Kind, r.Epoch) {
			dead = append(dead, r)
		}
	}
	if err := remove(tx.ctx, tx.row.Records(), dead); err != nil {
		return err
	}
	links, err := tx.links(k)
	if err != nil {
		return err
	}
	var cut []crm.Link
	for _, l := range links {
		if hides.Hides(l.Kind, l.Epoch) {
			cut = append(cut, l)
			if err := tx.eraseLink(l); err != nil {
				return err
			}
		}
	}
	return remove(tx.ctx, tx.row.Links(), cut)
}

// keepOptOuts writes down, under the keyed hashes of its addresses, what a contact that is about to be
// purged wanted no more of, so that nobody who imports it again can mail it. What an earlier owner of
// the address wanted is replaced: this one came after.
func (tx *Tx) keepOptOuts(acc *crm.Account, c *crm.Contact) error {
	var keys []crm.OptOutKey
	for _, id := range c.Identities() {
		if id.Name == "email" || id.Name == "phone" {
			keys = append(keys, crm.OptOutKey{Account: c.Account, Hash: tx.s.keys.identityHashes(c.Account, []crm.NamedIdentity{id})[0]})
		}
	}
	old, err := tx.row.OptOuts().Get(tx.ctx, keys)
	if err != nil {
		return err
	}
	out := crm.OptOut{Account: c.Account, At: tx.now}
	for _, l := range c.Lists {
		if !l.Absent && l.Status.OptedOut() {
			out.Lists = append(out.Lists, crm.Membership{List: l.List, Status: l.Status, Since: l.Since})
		}
	}
	for _, d := range c.DND {
		if d.On {
			out.Channels = append(out.Channels, d.Name)
		}
	}
	var ch []row.Change[crm.OptOut]
	for _, k := range keys {
		next := out
		next.Hash = k.Hash
		switch keep := acc.Policy.Suppression.KeepUnsubscribed && len(out.Lists)+len(out.Channels) > 0; {
		case keep:
			ch = append(ch, row.Change[crm.OptOut]{Old: old[k], New: &next})
		case old[k] != nil:
			ch = append(ch, row.Change[crm.OptOut]{Old: old[k]})
		}
	}
	return tx.row.OptOuts().Write(tx.ctx, ch)
}

// optOut gives a contact that takes up addresses, as it was before or nil, the opt-outs that were kept
// of them: on a list that it left it is as it left it, and do-not-disturb is on. It keeps the indexes
// of members; c is the caller's own copy.
func (tx *Tx) optOut(c *crm.Contact, was []crm.NamedIdentity, rev uint64) error {
	var keys []crm.OptOutKey
	for _, id := range c.Identities() {
		known := false
		for _, w := range was {
			known = known || w == id
		}
		if !known && (id.Name == "email" || id.Name == "phone") {
			keys = append(keys, crm.OptOutKey{Account: c.Account, Hash: tx.s.keys.identityHashes(c.Account, []crm.NamedIdentity{id})[0]})
		}
	}
	if len(keys) == 0 {
		return nil
	}
	kept, err := tx.row.OptOuts().Get(tx.ctx, keys)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if kept[k] == nil {
			continue
		}
		for _, l := range kept[k].Lists {
			o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: c.Account, Kind: crm.List, ID: l.List})
			if err != nil {
				return err
			}
			if o == nil || o.Deleted.IsSet() {
				continue
			}
			joined := c.Membership(l.List) == nil
			crm.ChangeFact(c, crm.SetMembership{List: l.List, Status: l.Status}, rev, l.Since, false)
			if joined {
				if err := tx.indexMember(c, l.List, true); err != nil {
					return err
				}
			}
		}
		for _, channel := range kept[k].Channels {
			crm.ChangeFact(c, crm.SetDND{Channel: channel, On: true}, rev, tx.now, false)
		}
	}
	return nil
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
	if err := removeRange(tx, tx.row.Inbounds(), from, to); err != nil {
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
		return tx.leaveOpportunity(l)
	case crm.WorkflowRun, crm.FinishedRun:
		return tx.eraseRun(crm.RunID(l.ID))
	}
	return nil
}

// leaveOpportunity takes a contact out of an opportunity, which goes with its last one.
func (tx *Tx) leaveOpportunity(l crm.Link) error {
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
	return nil
}

func removeRange[K comparable, R any](tx *Tx, t row.Table[K, R], from, to K) error {
	rows, err := t.Range(tx.ctx, from, to, 0)
	if err != nil {
		return err
	}
	return remove(tx.ctx, t, rows)
}
