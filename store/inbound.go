package store

import (
	"github.com/reprieve-run/reprieve/crm"
)

// maxQueued is how many messages are kept for one deleted contact; more are refused rather than lost
// without a word.
const maxQueued = 1000

// Received says what became of a message that came from outside.
type Received string

// The fates of a message.
const (
	ReceivedNow    Received = "delivered"   // to a live contact: an event like any other
	ReceivedQueued Received = "queued"      // until a restore; it starts nothing then
	ReceivedDrop   Received = "dropped"     // as the policy says
	ReceivedAsNew  Received = "new_contact" // to a new contact with that address
)

// Receive takes in a message from an address: a record for the live contact that has it, or, when only a
// deleted one has it, what the policy says. Whom nobody knows is not_found. It gives the contact that
// it went to, or would have.
func (tx *Tx) Receive(by crm.Actor, acc crm.AccountID, from crm.NamedIdentity, r crm.Record) (Received, crm.ContactID, error) {
	const op = "receive a message"
	a, err := tx.Account(acc)
	if err != nil {
		return "", crm.ContactID{}, err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed(op, a, by, why, crm.VerbWrite, crm.ContactID{}); err != nil {
		return "", crm.ContactID{}, err
	}
	for _, want := range []crm.StateSet{crm.OnlyLive, crm.OnlyDeleted} {
		keys, err := tx.Find(acc, from.Name, from.Value, want)
		if err != nil {
			return "", crm.ContactID{}, err
		}
		if len(keys) == 0 {
			continue
		}
		k := keys[len(keys)-1] // of several deleted ones the youngest
		if want == crm.OnlyDeleted {
			return tx.receiveLate(by, a, k, from, r)
		}
		r.Account, r.Contact = acc, k.Contact
		life, err := tx.Life(k)
		if err != nil {
			return "", k.Contact, err
		}
		if there, err := one(tx.ctx, tx.row.Records(), r.Key()); err != nil || there != nil && !life.Hides(there.Kind, there.Epoch) {
			return ReceivedNow, k.Contact, err // the same message again
		}
		_, err = tx.Apply(by, why, crm.PutRecord{Record: r})
		return ReceivedNow, k.Contact, err
	}
	return "", crm.ContactID{}, crm.Errorf(op, crm.CodeNotFound, "no contact has that %s", from.Name).WithHint("reprieve contact create makes one")
}

// receiveLate deals with a message for a deleted contact, whose records cannot change.
func (tx *Tx) receiveLate(by crm.Actor, acc *crm.Account, k crm.Key, from crm.NamedIdentity, r crm.Record) (Received, crm.ContactID, error) {
	const op = "receive a message"
	c, was, err := tx.load(op, k, crm.OnlyDeleted)
	if err != nil {
		return "", k.Contact, err
	}
	why, life := crm.Cause{Kind: crm.ByInbound}, was
	rule := acc.Policy.Inbound
	if acc.HIPAA && rule == crm.InboundQueue { // nothing would ever deliver it
		rule = crm.InboundDrop
	}
	switch rule {
	case crm.InboundDrop:
		ev := tx.event(crm.InboundDropped, by, why, life, 0, crm.EventData{Kind: r.Kind})
		tx.wrote = true
		tx.lives.put(k, &life)
		return ReceivedDrop, k.Contact, tx.noteLife(ev, c, &life)
	case crm.InboundNewContact:
		return tx.receiveAsNew(by, k.Account, from, r)
	}
	first, last := crm.ItemsOf(k)
	queued, err := tx.row.Inbounds().Range(tx.ctx, first, last, maxQueued)
	if err != nil {
		return "", k.Contact, err
	}
	if len(queued) == maxQueued {
		return "", k.Contact, crm.Errorf(op, crm.CodeLimited, "%d messages wait for it already", maxQueued).About(k.Contact).
			WithHint("restore it, or have the policy drop what comes for deleted contacts: inbound_on_deleted")
	}
	in := crm.Inbound{Account: k.Account, Contact: k.Contact, ID: r.ID, At: tx.now, Kind: r.Kind, Title: r.Title, Body: r.Body, Parent: r.Parent}
	if there, err := one(tx.ctx, tx.row.Inbounds(), in.Key()); err != nil || there != nil {
		return ReceivedQueued, k.Contact, err // the same message again
	}
	if err := insert(tx.ctx, tx.row.Inbounds(), &in); err != nil {
		return "", k.Contact, err
	}
	ev := tx.event(crm.InboundQueued, by, why, life, 0, crm.EventData{Kind: r.Kind, Item: r.ID})
	tx.wrote = true
	tx.lives.put(k, &life)
	return ReceivedQueued, k.Contact, tx.noteLife(ev, c, &life)
}

// receiveAsNew makes a new contact with the address: a deleted contact does not keep its address from
// anybody, and gets it back at a restore only as the policy on conflicts says.
func (tx *Tx) receiveAsNew(by crm.Actor, acc crm.AccountID, from crm.NamedIdentity, r crm.Record) (Received, crm.ContactID, error) {
	id, err := tx.NewContactID()
	if err != nil {
		return "", id, err
	}
	n := crm.Contact{Account: acc, ID: id}
	crm.ChangeFact(&n, crm.SetIdentity{Name: from.Name, Value: from.Value}, 1, tx.now, false)
	r.Account, r.Contact = acc, id
	if r.Kind == crm.Message { // the conversation was the deleted contact's: this is a new one
		r.Kind, r.Parent = crm.Conversation, crm.ItemID{}
	}
	_, err = tx.Apply(by, crm.Cause{Kind: crm.ByPerson}, crm.Create{Contact: n}, crm.PutRecord{Record: r})
	return ReceivedAsNew, id, err
}

// Deliver gives a contact that is live again the messages that came while it was deleted: as late inbound,
// with the quiet revision, so that they entitle nothing.
func (tx *Tx) Deliver(by crm.Actor, k crm.Key) error {
	life, err := tx.Life(k)
	if err != nil || life.State != crm.Live {
		return err
	}
	first, last := crm.ItemsOf(k)
	queued, err := tx.row.Inbounds().Range(tx.ctx, first, last, 0)
	if err != nil || len(queued) == 0 {
		return err
	}
	for _, in := range queued {
		r := crm.Record{Account: in.Account, Contact: in.Contact, Kind: in.Kind, ID: in.ID, CreatedAt: in.At, Title: in.Title, Body: in.Body, Parent: in.Parent}
		_, err := tx.Apply(by, crm.Cause{Kind: crm.ByInbound}, crm.PutRecord{Record: r})
		if crm.CodeOf(err) == crm.CodeNotFound { // its conversation is gone: it becomes one of its own
			r.Kind, r.Parent = crm.Conversation, crm.ItemID{}
			_, err = tx.Apply(by, crm.Cause{Kind: crm.ByInbound}, crm.PutRecord{Record: r})
		}
		if err != nil && crm.CodeOf(err) != crm.CodeConflict { // delivered before by other means
			return err
		}
	}
	return remove(tx.ctx, tx.row.Inbounds(), queued)
}

// Queued lists the messages that wait for a deleted contact.
func (tx *Tx) Queued(k crm.Key) ([]crm.Inbound, error) {
	first, last := crm.ItemsOf(k)
	return tx.row.Inbounds().Range(tx.ctx, first, last, 0)
}
