package store

import (
	"errors"
	"slices"

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
		gone := life
		gone.Epoch++
		if err := tx.settleOpportunities(by, c, gone, items); err != nil {
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
	due, rest := life.Discardable(tx.now)
	switch {
	case life.NextDiscard() == 0:
		return nil, nil
	case life.Held:
		return nil, held(op, c.ID)
	case len(due) == 0:
		return nil, crm.Errorf(op, crm.CodeWindowOpen, "it stays until %s", life.NextDiscard()).About(c.ID).WithHint("the sweep removes it then")
	}
	if err := noRestoreRuns(op, acc, c.ID); err != nil {
		return nil, err
	}
	next := life
	next.Lost = rest
	if err := tx.removeHidden(c.Key(), &life, &crm.Life{Lost: due}); err != nil {
		return nil, err
	}
	if err := tx.moveLife(&life, &next); err != nil {
		return nil, err
	}
	ev := tx.event(crm.ContactDiscarded, by, why, next, c.Rev, crm.EventData{})
	return &ev, tx.noteLife(ev, c, &next)
}

// removeHidden removes the records and links that losses of a life hide. What manifests and receipts say
// of the records, which is computed from them, is written down first.
func (tx *Tx) removeHidden(k crm.Key, life, hides *crm.Life) error {
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
	if err := tx.writeDown(k, life, records, func(r *crm.Record) bool { return hides.Hides(r.Kind, r.Epoch) }); err != nil {
		return err
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

// writeDown adds to the contact's manifests and receipts what they say of records that are about to be
// removed.
func (tx *Tx) writeDown(k crm.Key, life *crm.Life, records []crm.Record, goes func(*crm.Record) bool) error {
	first := crm.EpochKey{Account: k.Account, Contact: k.Contact}
	last := first
	last.Epoch = 1<<64 - 1
	manifests, err := tx.row.Manifests().Range(tx.ctx, first, last, 0)
	if err != nil {
		return err
	}
	var mch []row.Change[crm.Manifest]
	for i := range manifests {
		m := &manifests[i]
		next, gone := *m, crm.Gone(records, m.Epoch)
		next.Items = slices.Clip(m.Items)
		for j := range records {
			if r := &records[j]; goes(r) && life.TookAlong(r, m.Epoch) && !gone[r.Key()] {
				next.Items = append(next.Items, crm.ManifestItem{Kind: r.Kind, ID: r.ID, Fate: crm.Taken})
			}
		}
		if len(next.Items) > len(m.Items) {
			mch = append(mch, row.Change[crm.Manifest]{Old: m, New: &next})
		}
	}
	receipts, err := tx.row.Receipts().Range(tx.ctx, first, last, 0)
	if err != nil {
		return err
	}
	var rch []row.Change[crm.Receipt]
	for i := range receipts {
		rec := &receipts[i]
		next, gone := *rec, crm.Gone(records, rec.Deletion)
		next.Items = slices.Clip(rec.Items)
		for j := range records {
			if r := &records[j]; goes(r) && life.TookAlong(r, rec.Deletion) {
				next.Items = append(next.Items, recordBack(rec, r, gone))
			}
		}
		if len(next.Items) > len(rec.Items) {
			rch = append(rch, row.Change[crm.Receipt]{Old: rec, New: &next})
		}
	}
	return errors.Join(tx.row.Manifests().Write(tx.ctx, mch), tx.row.Receipts().Write(tx.ctx, rch))
}

// keepOptOuts writes down, under the keyed hashes of its addresses, what a contact that is about to be
// purged wanted no more of, so that nobody who imports it again can mail it. What an earlier owner of
// the address wanted is replaced, if this one came after; else both stand.
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
	out := optedOut(c)
	out.At = tx.now
	var ch []row.Change[crm.OptOut]
	for _, k := range keys {
		next := out
		next.Hash = k.Hash
		if was := old[k]; was != nil && c.CreatedAt < was.At { // it never took over what was kept
			next.Lists, next.Channels = union(next.Lists, was.Lists, sameList), union(next.Channels, was.Channels, sameFold)
		}
		switch keep := acc.Policy.Suppression.KeepUnsubscribed && len(next.Lists)+len(next.Channels) > 0; {
		case keep:
			ch = append(ch, row.Change[crm.OptOut]{Old: old[k], New: &next})
		case old[k] != nil:
			ch = append(ch, row.Change[crm.OptOut]{Old: old[k]})
		}
	}
	return tx.row.OptOuts().Write(tx.ctx, ch)
}

// optedOut gives what a contact wants no more of.
func optedOut(c *crm.Contact) crm.OptOut {
	out := crm.OptOut{Account: c.Account}
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
	return out
}

func sameList(a, b crm.Membership) bool { return a.List == b.List }
func sameFold(a, b string) bool         { return crm.Fold(a) == crm.Fold(b) }

// union is a and what of b is not in it.
func union[T any](a, b []T, same func(T, T) bool) []T {
	a = slices.Clip(a)
	for _, x := range b {
		if !slices.ContainsFunc(a, func(y T) bool { return same(x, y) }) {
			a = append(a, x)
		}
	}
	return a
}

// optOut gives a contact that takes up addresses, besides those that it had, what their owners wanted no
// more of, the purged as well as the deleted ones: on a list that was left it is as it was left, and
// do-not-disturb is on. It keeps the indexes of members; c is the caller's own copy.
func (tx *Tx) optOut(c *crm.Contact, had []crm.NamedIdentity, rev uint64) error {
	var hashes [][32]byte
	for _, id := range c.Identities() {
		if !slices.Contains(had, id) && (id.Name == "email" || id.Name == "phone") {
			hashes = append(hashes, tx.s.keys.identityHashes(c.Account, []crm.NamedIdentity{id})[0])
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	owners, err := tx.row.ByIdentity(tx.ctx, hashes)
	if err != nil {
		return err
	}
	for _, h := range hashes {
		kept, err := one(tx.ctx, tx.row.OptOuts(), crm.OptOutKey{Account: c.Account, Hash: h})
		if err != nil {
			return err
		}
		if kept != nil {
			if err := tx.take(c, *kept, rev); err != nil {
				return err
			}
		}
		for _, k := range owners[h] {
			was, life, err := tx.Peek(k)
			if err != nil {
				return err
			}
			if was != nil && life.State == crm.Deleted && k.Contact != c.ID {
				if err := tx.take(c, optedOut(was), rev); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// take has a contact want no more of what is kept.
func (tx *Tx) take(c *crm.Contact, kept crm.OptOut, rev uint64) error {
	for _, l := range kept.Lists {
		o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: c.Account, Kind: crm.List, ID: l.List})
		if err != nil {
			return err
		}
		is := c.Membership(l.List)
		if o == nil || o.Deleted.IsSet() || is != nil && is.Status.OptedOut() {
			continue
		}
		crm.ChangeFact(c, crm.SetMembership{List: l.List, Status: l.Status}, rev, l.Since, false)
		if is == nil {
			if err := tx.indexMember(c, l.List, true); err != nil {
				return err
			}
		}
	}
	for _, channel := range kept.Channels {
		crm.ChangeFact(c, crm.SetDND{Channel: channel, On: true}, rev, tx.now, false)
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
