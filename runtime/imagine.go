package runtime

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// Imagine makes an event that has not happened: what the log would say if somebody changed the contact so now, with
// the contact as it would be then. Changed is false if that would change nothing. The value is a field's.
func Imagine(tx *store.Tx, c *crm.Contact, life crm.Life, kind crm.EventKind, data crm.EventData, value crm.Value) (ev *crm.Event, changed bool, err error) {
	k, after := c.Key(), c.Clone()
	after.Rev++
	ev = &crm.Event{Kind: kind, Account: k.Account, Contact: k.Contact, Epoch: life.Epoch, Rev: after.Rev, At: tx.Now(),
		By: crm.Actor{ID: "user:simulated", Role: crm.Admin}, Why: crm.Cause{Kind: crm.ByPerson}, Data: data, After: after}
	var m crm.Mutation
	switch kind {
	case crm.ContactTagAdded:
		m = crm.AddTag{Contact: k, Tag: data.Name}
	case crm.ContactTagRemoved:
		m = crm.RemoveTag{Contact: k, Tag: data.Name}
	case crm.ContactFieldChanged:
		m = crm.SetField{Contact: k, Name: data.Name, Value: value}
	case crm.ContactIdentity:
		m = crm.SetIdentity{Contact: k, Name: data.Name, Value: data.Value}
	case crm.ContactListChanged:
		list, err := named(tx, k.Account, data.Name)
		if err != nil {
			return nil, false, err
		}
		m = crm.SetMembership{Contact: k, List: list.ID, Name: list.Name, Status: crm.Status(data.Value)}
	case crm.ContactDNDChanged:
		m = crm.SetDND{Contact: k, Channel: data.Name, On: data.On}
	case crm.ContactArchived:
		m = crm.Archive{Contact: k, On: data.On}
	default: // it changes no fact
		return ev, true, nil
	}
	_, said, changed := crm.ChangeFact(after, m, after.Rev, tx.Now(), life.QuietRev > 0)
	if changed {
		ev.Data = said
	}
	return ev, changed, nil
}

// named gives the list of a name.
func named(tx *store.Tx, acc crm.AccountID, name string) (crm.Object, error) {
	all, err := tx.Objects(acc, crm.List)
	if err != nil {
		return crm.Object{}, err
	}
	for _, o := range all {
		if crm.Fold(o.Name) == crm.Fold(name) && !o.Deleted.IsSet() {
			return o, nil
		}
	}
	return crm.Object{}, crm.Errorf("find a list", crm.CodeNotFound, "there is no list %q", name).WithHint("reprieve list list shows what there is")
}
