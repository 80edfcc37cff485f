package server

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// Placement is a contact's place in something of the account.
type Placement struct {
	Kind    crm.ItemKind  `json:"kind"`
	ID      crm.ItemID    `json:"id"`
	Name    string        `json:"name"`
	Contact crm.ContactID `json:"contact"`
	Status  crm.Status    `json:"status,omitempty"`  // on a list
	Due     crm.Nanos     `json:"due,omitzero"`      // in a campaign: when the next message is
	Sent    uint32        `json:"sent,omitempty"`    // in a campaign: messages sent or left out
	Primary bool          `json:"primary,omitempty"` // in an opportunity
}

// place applies a mutation that is about a contact and an object, both named by the request, and shows
// the place that came of it; after a removal it holds the names only.
func (c *call) place(op string, kind crm.ItemKind, name, contact string, mutate func(*store.Tx, crm.Key, *crm.Object) (crm.Mutation, error)) (Placement, error) {
	return write(c, op, func(tx *store.Tx, acc *crm.Account) (Placement, error) {
		o, err := object(tx, acc.ID, kind, name)
		if err != nil {
			return Placement{}, err
		}
		k, err := c.key(tx, contact, crm.OnlyLive)
		if err != nil {
			return Placement{}, err
		}
		if _, _, err := tx.Contact(k, crm.OnlyLive); err != nil {
			return Placement{}, err
		}
		m, err := mutate(tx, k, o)
		if err != nil {
			return Placement{}, err
		}
		if _, err := tx.Apply(c.by, c.why(), m); err != nil {
			return Placement{}, advise(err, "reprieve %s list --contact %s shows where it is", kind, k.Contact)
		}
		return placement(tx, k, o)
	})
}

func placement(tx *store.Tx, k crm.Key, o *crm.Object) (Placement, error) {
	v := Placement{Kind: o.Kind, ID: o.ID, Name: o.Name, Contact: k.Contact}
	con, _, err := tx.Contact(k, crm.OnlyLive)
	if err != nil {
		return v, err
	}
	if m := con.Membership(o.ID); m != nil {
		v.Status = m.Status
	}
	links, err := tx.Links(k)
	for _, l := range links {
		if l.Kind == o.Kind && l.ID == o.ID {
			v.Due, v.Sent = l.Due, l.Step
		}
	}
	if now, err := tx.Object(o.Key()); err != nil {
		return v, err
	} else if now != nil {
		v.Primary = now.Primary == k.Contact
	}
	return v, err
}

// ListAdd puts a live contact on a list, or changes its status there.
type ListAdd struct {
	List    string     `json:"list"` // id or name
	Contact string     `json:"contact"`
	Status  crm.Status `json:"status,omitempty"` // subscribed unless another is given
}

func listAdd(c *call, q ListAdd) (Placement, error) {
	const op = "put a contact on a list"
	if q.Status == "" {
		q.Status = crm.Subscribed
	}
	if !q.Status.Valid() {
		return Placement{}, crm.Errorf(op, crm.CodeInvalid, "a list knows no such status").
			WithHint("it is subscribed, unsubscribed, unconfirmed or bounced")
	}
	return c.place(op, crm.List, q.List, q.Contact, func(_ *store.Tx, k crm.Key, o *crm.Object) (crm.Mutation, error) {
		return crm.SetMembership{Contact: k, List: o.ID, Name: o.Name, Status: q.Status}, nil
	})
}

// Membership names a contact and what it is to leave.
type Membership struct {
	Object  string `json:"object"` // id or name
	Contact string `json:"contact"`
}

func listRemove(c *call, q Membership) (Placement, error) {
	const op = "take a contact off a list"
	return c.place(op, crm.List, q.Object, q.Contact, func(tx *store.Tx, k crm.Key, o *crm.Object) (crm.Mutation, error) {
		con, _, err := tx.Contact(k, crm.OnlyLive)
		if err == nil && con.Membership(o.ID) == nil {
			err = crm.Errorf(op, crm.CodeNotFound, "it is not on the list %s", o.ID).About(k.Contact).
				WithHint("reprieve contact get %s shows the lists it is on", k.Contact)
		}
		return crm.SetMembership{Contact: k, List: o.ID, Name: o.Name}, err
	})
}

// unlink takes a live contact out of a campaign, a company or an opportunity.
func unlink(kind crm.ItemKind) func(*call, Membership) (Placement, error) {
	return func(c *call, q Membership) (Placement, error) {
		return c.place("take a contact out of a "+kind.String(), kind, q.Object, q.Contact, func(_ *store.Tx, k crm.Key, o *crm.Object) (crm.Mutation, error) {
			return crm.Disconnect{Contact: k, Kind: kind, Object: o.ID}, nil
		})
	}
}

// CompanyAdd puts a live contact into a company.
type CompanyAdd struct {
	Company string `json:"company"` // id or name
	Contact string `json:"contact"`
}

func companyAdd(c *call, q CompanyAdd) (Placement, error) {
	return c.place("put a contact into a company", crm.Company, q.Company, q.Contact, func(_ *store.Tx, k crm.Key, o *crm.Object) (crm.Mutation, error) {
		return crm.Connect{Contact: k, Kind: crm.Company, Object: o.ID}, nil
	})
}

// ContactDND switches do-not-disturb on and off for channels of one live contact.
type ContactDND struct {
	ID  string   `json:"id"`
	On  []string `json:"on,omitempty"`
	Off []string `json:"off,omitempty"`
}

func contactDND(c *call, q ContactDND) (ContactView, error) {
	const op = "switch do-not-disturb"
	bad := func(text string) error {
		return crm.Errorf(op, crm.CodeInvalid, "%s", text).WithHint("--on CHANNEL and --off CHANNEL: email, sms, call or another of up to %d characters", maxFieldName)
	}
	all := slices.Concat(q.On, q.Off)
	if len(all) == 0 || len(all) > intakeNames {
		return ContactView{}, bad("it takes 1 to 200 channels")
	}
	seen := map[string]bool{}
	for _, name := range all {
		if text := badName("channel", name, maxFieldName); text != "" {
			return ContactView{}, bad(text)
		}
		if seen[crm.Fold(name)] {
			return ContactView{}, bad("a channel is named twice")
		}
		seen[crm.Fold(name)] = true
	}
	return c.change(q.ID, func(k crm.Key) (ms []crm.Mutation) {
		for i, name := range all {
			ms = append(ms, crm.SetDND{Contact: k, Channel: name, On: i < len(q.On)})
		}
		return ms
	}, nil)
}
