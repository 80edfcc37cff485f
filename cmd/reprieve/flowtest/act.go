package flowtest

import (
	"errors"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// prepare makes the account, what it owns, the contacts and the workflow, in one transaction. Nothing of
// it starts anything: the contacts come by an import.
func (b *bench) prepare(tx *store.Tx) (err error) {
	if b.account, err = crm.NewID[crm.AccountKind](tx.Now(), b.store.Rand()); err != nil {
		return err
	}
	if err := tx.PutAccount(crm.Account{ID: b.account, Name: "test", CreatedAt: tx.Now(), Policy: crm.DefaultPolicy()}); err != nil {
		return err
	}
	b.others, b.people, b.objects = nil, map[string]crm.Key{}, map[string]crm.ItemID{}
	for _, it := range b.test.Do {
		if s := it.Send; s != nil && (s.Event == crm.CampaignEnrolled || s.Event == crm.CampaignLeft) {
			if _, err := b.object(tx, crm.Campaign, s.Name); err != nil {
				return err
			}
		} else if s != nil && s.Event == crm.ContactListChanged {
			if _, err := b.object(tx, crm.List, s.Name); err != nil {
				return err
			}
		}
	}
	for i := range b.test.Contacts {
		c, err := b.contact(tx, &b.test.Contacts[i])
		if err != nil {
			return err
		}
		if b.comesLater(b.test.Contacts[i].ID) {
			continue
		}
		if _, err := tx.Apply(person, crm.Cause{Kind: crm.ByImport}, crm.Create{Contact: c}); err != nil {
			return err
		}
	}
	for _, it := range b.test.Do { // a workflow that only deletes whom the case says
		if it.By == "" || it.By == b.def.ID {
			continue
		}
		other := &workflow.Workflow{ID: it.By, Revision: strings.Repeat("0", 64)}
		if _, err := tx.ApplyWorkflow(person, b.account, other.ID, other.Revision, "", []byte("#"), grants); err != nil {
			return err
		}
		b.others = append(b.others, other)
	}
	_, err = tx.ApplyWorkflow(person, b.account, b.def.ID, b.def.Revision, b.def.File, b.def.Source[:min(len(b.def.Source), 64)], grants)
	return err
}

// comesLater says whether the case itself sends the contact's creation.
func (b *bench) comesLater(id string) bool {
	return slices.ContainsFunc(b.test.Do, func(it workflow.TestItem) bool {
		return it.Contact == id && it.Send != nil && it.Send.Event == crm.ContactCreated
	})
}

// object gives what the account owns under a name, and makes it.
func (b *bench) object(tx *store.Tx, kind crm.ItemKind, name string) (crm.ItemID, error) {
	key := kind.String() + " " + crm.Fold(name)
	if id, ok := b.objects[key]; ok {
		return id, nil
	}
	id, err := tx.NewItemID()
	if err != nil {
		return id, err
	}
	b.objects[key] = id
	return id, tx.PutObject(person, crm.Cause{Kind: crm.ByPerson}, crm.Object{Account: b.account, Kind: kind, ID: id, Name: name})
}

// contact makes a contact as the case describes it. A fact that the case goes on to add is left out: the
// description is of the contact as it is when the workflow looks at it, and what is there is not added.
func (b *bench) contact(tx *store.Tx, t *workflow.TestContact) (crm.Contact, error) {
	id, err := tx.NewContactID()
	c := crm.Contact{Account: b.account, ID: id, Email: crm.Identity{Value: t.Email, Rev: 1}, Phone: crm.Identity{Value: t.Phone, Rev: 1},
		External: crm.Identity{Value: t.ExternalID, Rev: 1}}
	b.people[t.ID] = c.Key()
	put := func(kind crm.EventKind, name, value string, m crm.Mutation) {
		if s := b.first(t.ID, name, kind); s == nil || s.Event != kind || s.Value.String()+s.Status != value || s.Event == crm.ContactTagRemoved {
			crm.ChangeFact(&c, m, 1, tx.Now(), false)
		}
	}
	for _, tag := range t.Tags {
		put(crm.ContactTagAdded, tag, "", crm.AddTag{Tag: tag})
	}
	for name, v := range t.Fields {
		put(crm.ContactFieldChanged, name, v.String(), crm.SetField{Name: name, Value: v})
	}
	for name, status := range t.Lists {
		list, oerr := b.object(tx, crm.List, name)
		err = errors.Join(err, oerr)
		put(crm.ContactListChanged, name, string(status), crm.SetMembership{List: list, Name: name, Status: status})
	}
	return c, err
}

// first gives the first thing that the case sends about a fact.
func (b *bench) first(contact, name string, kind crm.EventKind) *workflow.Send {
	for _, it := range b.test.Do {
		s := it.Send
		if s == nil || it.Contact != contact || crm.Fold(s.Name) != crm.Fold(name) {
			continue
		}
		if s.Event == kind || kind == crm.ContactTagAdded && s.Event == crm.ContactTagRemoved {
			return s
		}
	}
	return nil
}

// apply carries out the mutation of an item; one that is refused, or changes nothing, fails the case.
func (b *bench) apply(it *workflow.TestItem, make func(*store.Tx, *workflow.TestItem, crm.Key) (crm.Mutation, error)) error {
	what := "the change"
	if it.Send != nil {
		what = "send " + string(it.Send.Event)
	}
	nothing := false
	err := b.store.Update(b.ctx, func(tx *store.Tx) error {
		m, err := make(tx, it, b.people[it.Contact])
		if err != nil {
			return err
		}
		by, why := person, crm.Cause{Kind: crm.ByPerson}
		if it.By != "" {
			by, why = crm.Actor{ID: "workflow:" + it.By, Role: crm.System}, crm.Cause{Kind: crm.ByWorkflow, Workflow: it.By, Depth: 1}
		}
		evs, err := tx.Apply(by, why, m)
		nothing = len(evs) == 0
		return err
	})
	switch {
	case crm.IsRefusal(err):
		return b.wrong(it, what, "it was refused: "+crm.CodeOf(err)+": "+err.Error())
	case err == nil && nothing:
		return b.wrong(it, what, "it changed nothing, so there is no such event: the contact is like that already")
	}
	return err
}

// send gives the change that causes an event.
func (b *bench) send(tx *store.Tx, it *workflow.TestItem, k crm.Key) (crm.Mutation, error) {
	s := it.Send
	switch s.Event {
	case crm.ContactCreated:
		i := slices.IndexFunc(b.test.Contacts, func(c workflow.TestContact) bool { return c.ID == it.Contact })
		c, err := b.contact(tx, &b.test.Contacts[i])
		return crm.Create{Contact: c}, err
	case crm.ContactTagAdded:
		return crm.AddTag{Contact: k, Tag: s.Name}, nil
	case crm.ContactTagRemoved:
		return crm.RemoveTag{Contact: k, Tag: s.Name}, nil
	case crm.ContactFieldChanged:
		return crm.SetField{Contact: k, Name: s.Name, Value: s.Value}, nil
	case crm.ContactIdentity:
		return crm.SetIdentity{Contact: k, Name: s.Name, Value: s.Value.String()}, nil
	case crm.ContactListChanged:
		id, err := b.object(tx, crm.List, s.Name)
		return crm.SetMembership{Contact: k, List: id, Name: s.Name, Status: crm.Status(s.Status)}, err
	case crm.ContactDNDChanged:
		return crm.SetDND{Contact: k, Channel: s.Name, On: s.On}, nil
	case crm.ContactArchived:
		return crm.Archive{Contact: k, On: s.On}, nil
	case crm.WebhookReceived:
		if err := b.addressed(tx, it, k); err != nil {
			return nil, err
		}
		return crm.Request{Contact: k, Webhook: s.Name, Body: s.Body}, nil
	case crm.CampaignEnrolled:
		id, err := b.object(tx, crm.Campaign, s.Name)
		return crm.Connect{Contact: k, Kind: crm.Campaign, Object: id}, err
	case crm.CampaignLeft:
		id, err := b.object(tx, crm.Campaign, s.Name)
		return crm.Disconnect{Contact: k, Kind: crm.Campaign, Object: id}, err
	}
	return b.record(tx, s, k)
}

// addressed holds a request to the trigger's contact: as when it comes from outside, it is about whomever that finds
// in the body, and the case says about whom it should be.
func (b *bench) addressed(tx *store.Tx, it *workflow.TestItem, k crm.Key) error {
	const op = "send a request"
	s := it.Send
	t := b.def.Webhook(strings.TrimPrefix(s.Name, b.def.ID+"/"))
	ev := &crm.Event{Kind: crm.WebhookReceived, Account: b.account, At: tx.Now(), Data: crm.EventData{Name: s.Name, Body: s.Body}}
	value, err := t.Hook.Contact.Eval(triggers.Env{Event: ev, Now: tx.Now()})
	if err != nil {
		return crm.Errorf(op, crm.CodeInvalid, "the trigger's contact cannot be decided for this body: %w", err)
	}
	whom, _ := value.(string)
	whom = strings.TrimSpace(whom)
	by := t.Hook.By
	if whom == it.Contact && (by == "" || by == "id") { // the case's own name stands for the id, which nobody knows beforehand
		return nil
	}
	if by == "" {
		by = "email, external_id or phone"
	}
	found, err := tx.Whom(b.account, store.HookRequest{Whom: whom, By: t.Hook.By})
	switch {
	case crm.CodeOf(err) == crm.CodeNotFound:
		return crm.Errorf(op, crm.CodeNotFound, "the trigger's contact gives %q for this body, and no contact of the case has that as its %s", whom, by)
	case err != nil:
		return err
	case found != k:
		for id, other := range b.people {
			if other == found {
				return crm.Errorf(op, crm.CodeInvalid, "the trigger's contact gives %q for this body, which is %s: say contact: %s", whom, id, id)
			}
		}
		return crm.Errorf(op, crm.CodeNotFound, "the trigger's contact gives %q for this body, which is nobody of the case", whom)
	}
	return nil
}

// record gives a change of a record; one that is changed or deleted is the latest of its kind.
func (b *bench) record(tx *store.Tx, s *workflow.Send, k crm.Key) (crm.Mutation, error) {
	kind, _ := crm.ParseItemKind(s.Name)
	if s.Event == crm.RecordCreated {
		id, err := tx.NewItemID()
		return crm.PutRecord{Record: crm.Record{Account: k.Account, Contact: k.Contact, Kind: kind, ID: id, Title: s.Title, Body: s.Body, Status: s.Status}}, err
	}
	records, err := tx.Records(k)
	if err != nil {
		return nil, err
	}
	key := crm.ItemKey{Account: k.Account, Contact: k.Contact, Kind: kind}
	for i := range records {
		if r := &records[i]; r.Kind == kind && !r.Deleted.IsSet() {
			key = r.Key()
		}
	}
	if s.Event == crm.RecordDeleted {
		return crm.DeleteRecord{Record: key}, nil
	}
	m := crm.ChangeRecord{Record: key}
	for name, to := range map[string]**string{"title": &m.Title, "body": &m.Body, "status": &m.Status} {
		if s.Record[name] {
			v := map[string]string{"title": s.Title, "body": s.Body, "status": s.Status}[name]
			*to = &v
		}
	}
	return m, nil
}
