package store

import (
	"io"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// create makes a live contact; every fact of it gets revision 1.
func (tx *Tx) create(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Create) (*crm.Event, error) {
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
	for _, t := range c.Tags {
		if err := mayTag(acc, t.Name); err != nil {
			return nil, err
		}
	}
	if err := tx.indexIdentities(c, nil, c.Identities()); err != nil {
		return nil, err
	}
	for _, l := range c.Lists {
		if err := tx.indexMember(c, l.List, true); err != nil {
			return nil, err
		}
	}
	if err := tx.optOut(c, nil, 1); err != nil {
		return nil, err
	}
	tx.count(k.Account, CountLive, 1)
	return tx.touch(c, life, tx.event(crm.ContactCreated, by, why, life, 1, crm.EventData{}))
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
func (tx *Tx) changeFact(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Mutation) (*crm.Event, error) {
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
	if on, ok := m.(crm.SetMembership); ok && !on.Status.OptedOut() {
		is := was.Membership(on.List)
		switch out := is != nil && is.Status.OptedOut(); {
		case out && (why.Kind == crm.ByImport || why.Kind == crm.ByWorkflow && on.Status == ""):
			return nil, nil // an import does not overrule who opted out, in one step or in two, nor does a workflow
		case out && why.Kind == crm.ByWorkflow && !on.Resubscribe:
			return nil, crm.Errorf(op, crm.CodeOptedOut, "it has opted out of the list %s", on.List).About(was.ID).
				WithHint("with resubscribe: true the step may put it back, if it has agreed to that")
		}
	}
	if add, ok := m.(crm.AddTag); ok && !was.HasTag(add.Tag) {
		if err := mayTag(acc, add.Tag); err != nil {
			return nil, err
		}
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
		if err := tx.optOut(c, was.Identities(), rev); err != nil {
			return nil, err
		}
	case crm.SetMembership:
		if (was.Membership(m.List) != nil) != (c.Membership(m.List) != nil) {
			if err := tx.indexMember(c, m.List, m.Status != ""); err != nil {
				return nil, err
			}
		}
	}
	return tx.touch(c, life, tx.event(kind, by, why, life, rev, data))
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

// A conflict is an address that another live contact holds.
type conflict struct {
	crm.NamedIdentity
	holder crm.ContactID
}

func (t conflict) refusal(op string, c crm.ContactID) *crm.Error {
	return crm.Errorf(op, crm.CodeConflict, "the live contact %s has the same %s", t.holder, t.Name).About(c).
		WithHint("change or delete %s first", t.holder)
}

// freeIdentities refuses addresses that another live contact holds. A deleted contact never blocks
// its own address, and does not count (twice told of other products: users could neither create nor
// restore).
func (tx *Tx) freeIdentities(op string, c *crm.Contact, ids []crm.NamedIdentity) error {
	taken, err := tx.taken(c, ids)
	if err == nil && len(taken) > 0 {
		return taken[0].refusal(op, c.ID)
	}
	return err
}

// taken gives those of the contact's addresses that another live contact holds.
func (tx *Tx) taken(c *crm.Contact, ids []crm.NamedIdentity) ([]conflict, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	hashes := tx.s.keys.identityHashes(c.Account, ids)
	found, err := tx.row.ByIdentity(tx.ctx, hashes)
	if err != nil {
		return nil, err
	}
	var taken []conflict
	for i, h := range hashes {
		for _, k := range found[h] {
			if k.Contact == c.ID {
				continue
			}
			life, err := tx.Life(k)
			if err != nil {
				return nil, err
			}
			if life.State == crm.Live {
				taken = append(taken, conflict{ids[i], k.Contact})
				break
			}
		}
	}
	return taken, nil
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
	if !c.Archived.On {
		tx.count(c.Account, CountOf(list), d)
	}
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
