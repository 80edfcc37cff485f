package store

import (
	"errors"
	"io"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// create makes a live contact; every fact of it gets revision 1.
func (tx *Tx) create(by crm.Actor, why crm.Cause, m crm.Create) (*crm.Event, error) {
	const op = "create a contact"
	k := m.Contact.Key()
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	was, err := tx.contacts.get(tx.ctx, k)
	switch {
	case err != nil:
		return nil, err
	case k.Contact.IsZero():
		return nil, crm.Errorf(op, crm.CodeInvalid, "it has no id")
	case life.State == crm.Purged:
		return nil, crm.Errorf(op, crm.CodePurged, "that id was purged").About(k.Contact)
	case was != nil:
		return nil, crm.Errorf(op, crm.CodeConflict, "that id is taken").About(k.Contact)
	}
	c := firstFacts(m.Contact, tx.now)
	for _, l := range c.Lists {
		if _, err := tx.liveObject(op, crm.ObjectKey{Account: k.Account, Kind: crm.List, ID: l.List}); err != nil {
			return nil, err
		}
		if !l.Status.Valid() {
			return nil, badStatus(op, c.ID)
		}
	}
	if err := tx.freeIdentities(op, c, c.Identities()); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(tx.s.rand, c.Salt[:]); err != nil {
		return nil, err
	}
	if err := tx.indexIdentities(c, nil, c.Identities()); err != nil {
		return nil, err
	}
	for _, l := range c.Lists {
		if err := tx.indexMember(c, l.List, true); err != nil {
			return nil, err
		}
	}
	tx.count(k.Account, CountLive, 1)
	return tx.touch(c, tx.event(crm.ContactCreated, by, why, life, 1, crm.EventData{})), nil
}

// firstFacts gives the contact as one mutation of each of its facts would have made it, all at
// revision 1: what an import brings is in the same form as what is written later.
func firstFacts(from crm.Contact, now crm.Nanos) *crm.Contact {
	c := &crm.Contact{Account: from.Account, ID: from.ID, Rev: 1, CreatedAt: from.CreatedAt}
	if c.CreatedAt == 0 {
		c.CreatedAt = now
	}
	set := func(m crm.Mutation, at crm.Nanos) { crm.ChangeFact(c, m, 1, at, false) }
	for name, id := range map[string]crm.Identity{"email": from.Email, "phone": from.Phone, "external_id": from.External} {
		set(crm.SetIdentity{Name: name, Value: id.Value}, now)
	}
	for _, t := range from.Tags {
		set(crm.AddTag{Tag: t.Name}, now)
	}
	for _, f := range from.Fields {
		set(crm.SetField{Name: f.Name, Value: f.Value}, now)
	}
	for _, d := range from.DND {
		set(crm.SetDND{Channel: d.Name, On: d.On}, now)
	}
	for _, l := range from.Lists {
		since := now
		if l.Since != 0 {
			since = l.Since
		}
		set(crm.SetMembership{List: l.List, Status: l.Status}, since)
	}
	set(crm.Archive{On: from.Archived.On}, now)
	return c
}

func badStatus(op string, c crm.ContactID) error {
	return crm.Errorf(op, crm.CodeInvalid, "a list knows subscribed, unsubscribed, unconfirmed and bounced").About(c)
}

// changeFact carries out a mutation of one fact and keeps the indexes beside it.
func (tx *Tx) changeFact(by crm.Actor, why crm.Cause, m crm.Mutation) (*crm.Event, error) {
	const op = "change a contact"
	was, life, err := tx.load(op, m.Target(), crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	if on, ok := m.(crm.SetMembership); ok && on.Status != "" {
		obj, err := tx.liveObject(op, crm.ObjectKey{Account: was.Account, Kind: crm.List, ID: on.List})
		if err != nil {
			return nil, err
		}
		if !on.Status.Valid() {
			return nil, badStatus(op, was.ID)
		}
		on.Name = obj.Name
		m = on
	}
	c := was.Clone()
	rev := revision(was, life, why)
	kind, data, changed := crm.ChangeFact(c, m, rev, tx.now, life.QuietRev > 0)
	if !changed {
		return nil, nil
	}
	c.Rev = max(was.Rev, rev)
	c.DropAbsent(life.QuietRev)
	switch m := m.(type) {
	case crm.SetIdentity:
		if err := tx.moveIdentity(op, was, c, m.Name); err != nil {
			return nil, err
		}
	case crm.SetMembership:
		if (was.Membership(m.List) != nil) != (c.Membership(m.List) != nil) {
			if err := tx.indexMember(c, m.List, m.Status != ""); err != nil {
				return nil, err
			}
		}
	}
	return tx.touch(c, tx.event(kind, by, why, life, rev, data)), nil
}

func (tx *Tx) moveIdentity(op string, was, c *crm.Contact, name string) error {
	only := func(c *crm.Contact) (ids []crm.NamedIdentity) {
		for _, n := range c.Identities() {
			if n.Name == name {
				ids = append(ids, n)
			}
		}
		return ids
	}
	if err := tx.freeIdentities(op, c, only(c)); err != nil {
		return err
	}
	return tx.indexIdentities(c, only(was), only(c))
}

// freeIdentities refuses identities that another live contact holds. A deleted contact never blocks
// its own address, and does not count (twice told of other products: users could neither create nor
// restore).
func (tx *Tx) freeIdentities(op string, c *crm.Contact, ids []crm.NamedIdentity) error {
	if len(ids) == 0 {
		return nil
	}
	hashes := tx.s.keys.identityHashes(c.Account, ids)
	found, err := tx.row.ByIdentity(tx.ctx, hashes)
	if err != nil {
		return err
	}
	for i, h := range hashes {
		for _, k := range found[h] {
			if k.Contact == c.ID {
				continue
			}
			life, err := tx.Life(k)
			if err != nil {
				return err
			}
			if life.State == crm.Live {
				return crm.Errorf(op, crm.CodeConflict, "the live contact %s has the same %s", k.Contact, ids[i].Name).About(c.ID).
					WithHint("change or delete %s first", k.Contact)
			}
		}
	}
	return nil
}

func (tx *Tx) indexIdentities(c *crm.Contact, was, is []crm.NamedIdentity) error {
	var ch []row.Change[row.Identity]
	for _, h := range tx.s.keys.identityHashes(c.Account, was) {
		ch = append(ch, row.Change[row.Identity]{Old: &row.Identity{Hash: h, Account: c.Account, Contact: c.ID}})
	}
	for _, h := range tx.s.keys.identityHashes(c.Account, is) {
		ch = append(ch, row.Change[row.Identity]{New: &row.Identity{Hash: h, Account: c.Account, Contact: c.ID}})
	}
	if len(ch) == 0 {
		return nil
	}
	return tx.row.Identities().Write(tx.ctx, ch)
}

func (tx *Tx) indexMember(c *crm.Contact, list crm.ItemID, on bool) error {
	m := &row.Member{Account: c.Account, List: list, Contact: c.ID}
	ch := row.Change[row.Member]{New: m}
	d := int64(1)
	if !on {
		ch, d = row.Change[row.Member]{Old: m}, -1
	}
	tx.count(c.Account, CountOf(list), d)
	return tx.row.Members().Write(tx.ctx, []row.Change[row.Member]{ch})
}

// Find gives the contacts that carry an identity, in the wanted states.
func (tx *Tx) Find(acc crm.AccountID, name, value string, want crm.StateSet) ([]crm.Key, error) {
	normal := crm.NormalIdentity(name, value)
	if normal == "" {
		return nil, nil
	}
	hashes := tx.s.keys.identityHashes(acc, []crm.NamedIdentity{{Name: name, Value: normal}})
	found, err := tx.row.ByIdentity(tx.ctx, hashes)
	if err != nil {
		return nil, err
	}
	var keys []crm.Key
	for _, k := range found[hashes[0]] {
		life, err := tx.Life(k)
		if err != nil {
			return nil, err
		}
		if want.Has(life.State) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// putRecord adds an associated record to a live contact.
func (tx *Tx) putRecord(by crm.Actor, why crm.Cause, m crm.PutRecord) (*crm.Event, error) {
	const op = "add a record"
	was, life, err := tx.load(op, m.Target(), crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	r := m.Record
	if !r.Kind.IsRecord() || r.ID.IsZero() {
		return nil, crm.Errorf(op, crm.CodeInvalid, "a record needs an id and is a conversation, note, task, appointment or manual_action").About(was.ID)
	}
	old, err := one(tx.ctx, tx.row.Records(), r.Key())
	if err != nil {
		return nil, err
	}
	if old != nil {
		return nil, crm.Errorf(op, crm.CodeConflict, "the record %s exists", r.ID).About(was.ID)
	}
	r.Epoch, r.Deleted = life.Epoch, crm.Mark{}
	if r.CreatedAt == 0 {
		r.CreatedAt = tx.now
	}
	if err := insert(tx.ctx, tx.row.Records(), &r); err != nil {
		return nil, err
	}
	return tx.bump(was, life, crm.RecordCreated, by, why, crm.EventData{Kind: r.Kind, Item: r.ID}), nil
}

// deleteRecord deletes a record on its own: it is marked, and no restore of the contact unmarks it
// (S1.4, S1.21).
func (tx *Tx) deleteRecord(by crm.Actor, why crm.Cause, m crm.DeleteRecord) (*crm.Event, error) {
	const op = "delete a record"
	was, life, err := tx.load(op, m.Target(), crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	old, err := one(tx.ctx, tx.row.Records(), m.Record)
	if err != nil {
		return nil, err
	}
	if old == nil || old.Deleted.IsSet() {
		return nil, crm.Errorf(op, crm.CodeNotFound, "the contact has no such record").About(was.ID).
			WithHint("reprieve record list %s shows what there is", was.ID)
	}
	next := *old
	next.Deleted = crm.Mark{At: tx.now, Epoch: life.Epoch, By: by.ID}
	if err := tx.row.Records().Write(tx.ctx, []row.Change[crm.Record]{{Old: old, New: &next}}); err != nil {
		return nil, err
	}
	return tx.bump(was, life, crm.RecordDeleted, by, why, crm.EventData{Kind: old.Kind, Item: old.ID}), nil
}

// connect links a live contact to an opportunity, a company or a campaign that exists.
func (tx *Tx) connect(by crm.Actor, why crm.Cause, m crm.Connect) (*crm.Event, error) {
	const op = "link a contact"
	was, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	kind := crm.ContactLinked
	switch m.Kind {
	case crm.Campaign:
		kind = crm.CampaignEnrolled
	case crm.Opportunity, crm.Company:
	default:
		return nil, crm.Errorf(op, crm.CodeInvalid, "a contact is linked to an opportunity, a company or a campaign").About(was.ID)
	}
	obj, err := tx.liveObject(op, crm.ObjectKey{Account: was.Account, Kind: m.Kind, ID: m.Object})
	if err != nil {
		return nil, err
	}
	l := crm.Link{Account: was.Account, Contact: was.ID, Kind: m.Kind, ID: m.Object, Epoch: life.Epoch, Since: tx.now, Due: m.Due}
	old, err := one(tx.ctx, tx.row.Links(), l.Key())
	if err != nil || old != nil && (m.Kind != crm.Campaign || old.Epoch == life.Epoch) {
		return nil, err // linked already
	}
	if err := tx.row.Links().Write(tx.ctx, []row.Change[crm.Link]{{Old: old, New: &l}}); err != nil {
		return nil, err
	}
	switch m.Kind {
	case crm.Opportunity:
		next := *obj
		next.Contacts = append(append([]crm.ContactID{}, obj.Contacts...), was.ID)
		if m.Primary || len(obj.Contacts) == 0 {
			next.Primary = was.ID
		}
		tx.objects.put(obj.Key(), &next)
	case crm.Campaign:
		tx.count(was.Account, CountOf(m.Object), 1)
	}
	return tx.bump(was, life, kind, by, why, crm.EventData{Name: obj.Name, Kind: m.Kind, Item: m.Object}), nil
}

// bump announces a change to what hangs on a contact: the contact gets a new revision, none of its
// facts does.
func (tx *Tx) bump(was *crm.Contact, life crm.Life, kind crm.EventKind, by crm.Actor, why crm.Cause, data crm.EventData) *crm.Event {
	c := was.Clone()
	rev := revision(was, life, why)
	c.Rev = max(was.Rev, rev)
	return tx.touch(c, tx.event(kind, by, why, life, rev, data))
}

// Account gives an account, or an error that says how to make one.
func (tx *Tx) Account(id crm.AccountID) (*crm.Account, error) {
	a, err := tx.accounts.get(tx.ctx, id)
	if err == nil && a == nil {
		err = crm.Errorf("read an account", crm.CodeNotFound, "there is no account %s", id).WithHint("reprieve init makes the first one")
	}
	return a, err
}

// Accounts lists all accounts.
func (tx *Tx) Accounts() ([]crm.Account, error) {
	var to crm.AccountID
	for i := range to {
		to[i] = 0xff
	}
	return tx.row.Accounts().Range(tx.ctx, crm.AccountID{}, to, 0)
}

// PutAccount makes an account.
func (tx *Tx) PutAccount(a crm.Account) error {
	old, err := tx.accounts.get(tx.ctx, a.ID)
	if err != nil || old != nil {
		return errors.Join(err, crm.Errorf("make an account", crm.CodeConflict, "the account %s exists", a.ID))
	}
	tx.wrote = true
	tx.accounts.put(a.ID, &a)
	return nil
}

// liveObject gives a list, campaign, company or opportunity that is not deleted.
func (tx *Tx) liveObject(op string, k crm.ObjectKey) (*crm.Object, error) {
	o, err := tx.objects.get(tx.ctx, k)
	if err == nil && (o == nil || o.Deleted.IsSet()) {
		return nil, crm.Errorf(op, crm.CodeNotFound, "there is no %s %s", k.Kind, k.ID).
			WithHint("it may have been deleted; make it first")
	}
	return o, err
}

// Objects lists the account's objects of one kind, the deleted ones included.
func (tx *Tx) Objects(acc crm.AccountID, kind crm.ItemKind) ([]crm.Object, error) {
	if err := tx.objects.flush(tx.ctx); err != nil { // a range sees the table, not what is staged
		return nil, err
	}
	return tx.row.Objects().Range(tx.ctx, crm.ObjectKey{Account: acc, Kind: kind}, crm.ObjectKey{Account: acc, Kind: kind + 1}, 0)
}

// Object gives a list, campaign, company or opportunity, a deleted one too; nil if there is none.
func (tx *Tx) Object(k crm.ObjectKey) (*crm.Object, error) { return tx.objects.get(tx.ctx, k) }

// PutObject makes or renames a list, a campaign, a company or an opportunity, or deletes it when its
// mark is set. Its contacts stay: they change by Connect only.
func (tx *Tx) PutObject(o crm.Object) error {
	old, err := tx.objects.get(tx.ctx, o.Key())
	if err != nil {
		return err
	}
	o.Contacts, o.Primary = nil, crm.ContactID{}
	if old != nil {
		o.Contacts, o.Primary = old.Contacts, old.Primary
	}
	tx.wrote = true
	tx.objects.put(o.Key(), &o)
	return nil
}

// Scan yields contacts; see row.Tx. It may not follow a write.
func (tx *Tx) Scan(q crm.Query, yield func(*crm.Contact, *crm.Life) bool) ([]byte, error) {
	if tx.wrote {
		return nil, row.ErrScanAfterWrite
	}
	return tx.row.Scan(tx.ctx, q, yield)
}

// ScanAll runs through every page of a query.
func (tx *Tx) ScanAll(q crm.Query, yield func(*crm.Contact, *crm.Life) bool) error {
	for stopped := false; ; {
		next, err := tx.Scan(q, func(c *crm.Contact, l *crm.Life) bool {
			stopped = !yield(c, l)
			return !stopped
		})
		if err != nil || next == nil || stopped {
			return err
		}
		q.After = next
	}
}

// Records lists a contact's associated records, those deleted on their own included.
func (tx *Tx) Records(k crm.Key) ([]crm.Record, error) {
	from, to := crm.ItemsOf(k)
	return tx.row.Records().Range(tx.ctx, from, to, 0)
}

// Links lists what a contact is linked to.
func (tx *Tx) Links(k crm.Key) ([]crm.Link, error) {
	from, to := crm.ItemsOf(k)
	return tx.row.Links().Range(tx.ctx, from, to, 0)
}
