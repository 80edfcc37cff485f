package store

import (
	"errors"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

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
	if old != nil && !life.Hides(old.Kind, old.Epoch) {
		return nil, crm.Errorf(op, crm.CodeConflict, "the record %s exists", r.ID).About(was.ID)
	}
	if err := tx.parent(op, was, life, r); err != nil {
		return nil, err
	}
	if old != nil { // one that a restore left behind: what manifests say of it must not change
		records, err := tx.records(was.Key())
		if err != nil {
			return nil, err
		}
		if err := tx.writeDown(was.Key(), &life, records, func(o *crm.Record) bool { return o.Key() == old.Key() }); err != nil {
			return nil, err
		}
	}
	r.Epoch, r.Deleted = life.Epoch, crm.Mark{}
	if r.CreatedAt == 0 {
		r.CreatedAt = tx.now
	}
	if err := tx.row.Records().Write(tx.ctx, []row.Change[crm.Record]{{Old: old, New: &r}}); err != nil {
		return nil, err
	}
	return tx.bump(was, life, crm.RecordCreated, by, why, crm.EventData{Kind: r.Kind, Item: r.ID})
}

// parent wants a message to be of a live conversation of the same contact.
func (tx *Tx) parent(op string, c *crm.Contact, life crm.Life, r crm.Record) error {
	if r.Kind != crm.Message {
		return nil
	}
	conv, err := one(tx.ctx, tx.row.Records(), crm.ItemKey{Account: c.Account, Contact: c.ID, Kind: crm.Conversation, ID: r.Parent})
	if err == nil && (conv == nil || conv.Deleted.IsSet() || life.Hides(conv.Kind, conv.Epoch)) {
		return crm.Errorf(op, crm.CodeNotFound, "the contact has no conversation %s", r.Parent).About(c.ID).
			WithHint("a message belongs to a conversation of the same contact: name it as its parent")
	}
	return err
}

// record gives a live record of a live contact.
func (tx *Tx) record(op string, c *crm.Contact, life crm.Life, k crm.ItemKey) (*crm.Record, error) {
	r, err := one(tx.ctx, tx.row.Records(), k)
	if err != nil {
		return nil, err
	}
	if r == nil || r.Deleted.IsSet() || life.Hides(r.Kind, r.Epoch) || r.Kind == crm.Message && tx.parent(op, c, life, *r) != nil {
		return nil, crm.Errorf(op, crm.CodeNotFound, "the contact has no such record").About(c.ID).
			WithHint("reprieve record list %s shows what there is", c.ID)
	}
	return r, nil
}

// changeRecord changes what is named of a record.
func (tx *Tx) changeRecord(by crm.Actor, why crm.Cause, m crm.ChangeRecord) (*crm.Event, error) {
	const op = "change a record"
	was, life, err := tx.load(op, m.Target(), crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	old, err := tx.record(op, was, life, m.Record)
	if err != nil {
		return nil, err
	}
	next := *old
	for to, value := range map[*string]*string{&next.Title: m.Title, &next.Body: m.Body, &next.Status: m.Status} {
		if value != nil {
			*to = *value
		}
	}
	if m.Due != nil {
		next.Due = *m.Due
	}
	if next == *old {
		return nil, nil
	}
	if err := tx.row.Records().Write(tx.ctx, []row.Change[crm.Record]{{Old: old, New: &next}}); err != nil {
		return nil, err
	}
	return tx.bump(was, life, crm.RecordChanged, by, why, crm.EventData{Kind: old.Kind, Item: old.ID})
}

// deleteRecord deletes a record on its own: it is marked, and no restore of the contact unmarks it
// (S1.4, S1.21).
func (tx *Tx) deleteRecord(by crm.Actor, why crm.Cause, m crm.DeleteRecord) (*crm.Event, error) {
	const op = "delete a record"
	was, life, err := tx.load(op, m.Target(), crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	old, err := tx.record(op, was, life, m.Record)
	if err != nil {
		return nil, err
	}
	next := *old
	next.Deleted = crm.Mark{At: tx.now, Epoch: life.Epoch, By: by.ID}
	if err := tx.row.Records().Write(tx.ctx, []row.Change[crm.Record]{{Old: old, New: &next}}); err != nil {
		return nil, err
	}
	return tx.bump(was, life, crm.RecordDeleted, by, why, crm.EventData{Kind: old.Kind, Item: old.ID})
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
	if m.Kind == crm.Campaign && was.Archived.On {
		return nil, crm.Errorf(op, crm.CodeInvalid, "it is archived, and so in no campaign").About(was.ID).WithHint("reprieve contact unarchive %s", was.ID)
	}
	obj, err := tx.liveObject(op, crm.ObjectKey{Account: was.Account, Kind: m.Kind, ID: m.Object})
	if err != nil {
		return nil, err
	}
	l := crm.Link{Account: was.Account, Contact: was.ID, Kind: m.Kind, ID: m.Object, Epoch: life.Epoch, Since: tx.now, Due: m.Due}
	old, err := one(tx.ctx, tx.row.Links(), l.Key())
	if err != nil {
		return nil, err
	}
	linked := old != nil && !life.Hides(old.Kind, old.Epoch) && (m.Kind != crm.Campaign || old.Epoch == life.Epoch)
	makePrimary := m.Kind == crm.Opportunity && m.Primary && obj.Primary != was.ID
	if linked && !makePrimary {
		return nil, nil
	}
	if !linked {
		if err := tx.row.Links().Write(tx.ctx, []row.Change[crm.Link]{{Old: old, New: &l}}); err != nil {
			return nil, err
		}
	}
	switch m.Kind {
	case crm.Opportunity:
		next := *obj
		if !slices.Contains(obj.Contacts, was.ID) {
			next.Contacts = append(append([]crm.ContactID{}, obj.Contacts...), was.ID)
		}
		if m.Primary || len(obj.Contacts) == 0 {
			next.Primary = was.ID
		}
		tx.objects.put(obj.Key(), &next)
	case crm.Campaign:
		tx.count(was.Account, CountOf(m.Object), 1)
	}
	return tx.bump(was, life, kind, by, why, crm.EventData{Name: obj.Name, Kind: m.Kind, Item: m.Object})
}

// disconnect takes a live contact out of an opportunity, a company or a campaign. An opportunity goes
// with its last contact.
func (tx *Tx) disconnect(by crm.Actor, why crm.Cause, m crm.Disconnect) (*crm.Event, error) {
	const op = "unlink a contact"
	was, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	l, err := one(tx.ctx, tx.row.Links(), crm.ItemKey{Account: was.Account, Contact: was.ID, Kind: m.Kind, ID: m.Object})
	if err != nil {
		return nil, err
	}
	if l == nil || life.Hides(l.Kind, l.Epoch) || m.Kind != crm.Opportunity && m.Kind != crm.Company && m.Kind != crm.Campaign {
		return nil, crm.Errorf(op, crm.CodeNotFound, "it is in no %s %s", m.Kind, m.Object).About(was.ID)
	}
	obj, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: was.Account, Kind: m.Kind, ID: m.Object})
	if err != nil {
		return nil, err
	}
	kind, data := crm.ContactUnlinked, crm.EventData{Kind: m.Kind, Item: m.Object}
	if obj != nil {
		data.Name = obj.Name
	}
	switch m.Kind {
	case crm.Campaign:
		if kind = crm.CampaignLeft; l.Epoch == life.Epoch {
			tx.count(was.Account, CountOf(m.Object), -1)
		}
	case crm.Opportunity:
		if err := tx.leaveOpportunity(*l); err != nil {
			return nil, err
		}
	}
	if err := remove(tx.ctx, tx.row.Links(), []crm.Link{*l}); err != nil {
		return nil, err
	}
	return tx.bump(was, life, kind, by, why, data)
}

// bump announces a change to what hangs on a contact: the contact gets a new revision, none of its
// facts does.
func (tx *Tx) bump(was *crm.Contact, life crm.Life, kind crm.EventKind, by crm.Actor, why crm.Cause, data crm.EventData) (*crm.Event, error) {
	c := was.Clone()
	rev := revision(was, life, why)
	c.Rev = max(was.Rev, rev)
	return tx.touch(c, life, tx.event(kind, by, why, life, rev, data))
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

// PutObject makes or changes a list, a campaign, a company or an opportunity, or deletes it when its
// mark is set, and notes it in the log. Its contacts stay: they change by Connect only. What was deleted
// stays deleted.
func (tx *Tx) PutObject(by crm.Actor, why crm.Cause, o crm.Object) error {
	op := "change a " + o.Kind.String()
	acc, err := tx.Account(o.Account)
	if err != nil {
		return err
	}
	if err := tx.allowed(op, acc, by, why, crm.VerbWrite, crm.ContactID{}); err != nil {
		return err
	}
	old, err := tx.objects.get(tx.ctx, o.Key())
	if err != nil {
		return err
	}
	o.Contacts, o.Primary, o.Lost, o.Gone = nil, crm.ContactID{}, false, 0
	if old != nil {
		if old.Deleted.IsSet() {
			return crm.Errorf(op, crm.CodeNotFound, "the %s %s was deleted at %s", o.Kind, o.ID, old.Deleted.At).WithHint("make a new one")
		}
		o.Contacts, o.Primary = old.Contacts, old.Primary
	}
	return tx.putObject(by, why, &o)
}

func (tx *Tx) putObject(by crm.Actor, why crm.Cause, o *crm.Object) error {
	tx.wrote = true
	tx.objects.put(o.Key(), o)
	return tx.note(crm.Event{Kind: crm.ObjectChanged, Account: o.Account, At: tx.now, By: by, Why: why,
		Data: crm.EventData{Kind: o.Kind, Item: o.ID, On: !o.Deleted.IsSet()}})
}

// Scan yields contacts; see row.Tx. It may not follow a write.
func (tx *Tx) Scan(q crm.Query, yield func(*crm.Contact, *crm.Life) bool) ([]byte, error) {
	if tx.wrote {
		return nil, row.ErrScanAfterWrite
	}
	if !q.List.IsZero() { // who is archived is on no list
		q.Where = crm.Filter{Op: crm.FilterAnd, Of: []crm.Filter{q.Where, {Op: crm.FilterNot, Of: []crm.Filter{{Op: crm.FilterArchived}}}}}
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

// RecordCalled gives a contact's record of whatever kind that has an id, nil if there is none to be seen.
func (tx *Tx) RecordCalled(k crm.Key, id crm.ItemID) (*crm.Record, error) {
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	var keys []crm.ItemKey
	for _, kind := range crm.RecordKinds {
		keys = append(keys, crm.ItemKey{Account: k.Account, Contact: k.Contact, Kind: kind, ID: id})
	}
	got, err := tx.row.Records().Get(tx.ctx, keys)
	for _, key := range keys {
		if r := got[key]; r != nil && !life.Hides(r.Kind, r.Epoch) {
			return r, err
		}
	}
	return nil, err
}

// Records lists a contact's associated records, those deleted on their own included, without those that
// a restore did not bring back.
func (tx *Tx) Records(k crm.Key) ([]crm.Record, error) {
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	records, err := tx.records(k)
	return slices.DeleteFunc(records, func(r crm.Record) bool { return life.Hides(r.Kind, r.Epoch) }), err
}

func (tx *Tx) records(k crm.Key) ([]crm.Record, error) {
	from, to := crm.ItemsOf(k)
	return tx.row.Records().Range(tx.ctx, from, to, 0)
}

// Links lists what a contact is linked to, without what a restore did not bring back, unless it is kept
// as history.
func (tx *Tx) Links(k crm.Key) ([]crm.Link, error) {
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	life.Lost = slices.DeleteFunc(slices.Clone(life.Lost), func(l crm.Loss) bool { return l.History })
	links, err := tx.links(k)
	return slices.DeleteFunc(links, func(l crm.Link) bool { return life.Hides(l.Kind, l.Epoch) }), err
}

func (tx *Tx) links(k crm.Key) ([]crm.Link, error) {
	from, to := crm.ItemsOf(k)
	return tx.row.Links().Range(tx.ctx, from, to, 0)
}
