package server

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// ContactCreate asks for a contact. The id may be given, so that trying again names the same one.
type ContactCreate struct {
	ID     crm.ContactID     `json:"id,omitzero"`
	Email  string            `json:"email,omitempty"`
	Phone  string            `json:"phone,omitempty"`
	Tags   []string          `json:"tags,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
}

func contactCreate(c *call, q ContactCreate) (ContactView, error) {
	const op = "create a contact"
	var v ContactView
	if err := checkFacts(op, q.Email, q.Phone, q.Tags, q.Fields); err != nil {
		return v, err
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		id := q.ID
		if id.IsZero() {
			if id, err = tx.NewContactID(); err != nil {
				return err
			}
		}
		n := crm.Contact{Account: acc.ID, ID: id, Email: crm.Identity{Value: q.Email}, Phone: crm.Identity{Value: q.Phone}}
		for _, t := range q.Tags {
			crm.ChangeFact(&n, crm.AddTag{Tag: t}, 1, tx.Now(), false)
		}
		for name, value := range q.Fields {
			crm.ChangeFact(&n, crm.SetField{Name: name, Value: text(value)}, 1, tx.Now(), false)
		}
		if err := somebody(op, &n); err != nil {
			return err
		}
		if _, err := tx.Apply(c.by, c.why(), crm.Create{Contact: n}); err != nil {
			return err
		}
		v, err = show(tx, n.Key(), crm.OnlyLive)
		return err
	})
	return v, err
}

// text is a field's value; the empty one removes the field.
func text(s string) crm.Value {
	if s == "" {
		return crm.Value{}
	}
	return crm.Text(s)
}

// ContactUpdate changes facts of one live contact: what is named is set, or removed when it is empty;
// what is not named stays.
type ContactUpdate struct {
	ID     string            `json:"id"`
	Email  *string           `json:"email,omitempty"`
	Phone  *string           `json:"phone,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
}

func contactUpdate(c *call, q ContactUpdate) (ContactView, error) {
	const op = "update a contact"
	var v ContactView
	var email, phone string
	if q.Email != nil {
		email = *q.Email
	}
	if q.Phone != nil {
		phone = *q.Phone
	}
	if q.Email == nil && q.Phone == nil && len(q.Fields) == 0 {
		return v, crm.Errorf(op, crm.CodeInvalid, "nothing is named that should change").WithHint("--field name=value, --email or --phone")
	}
	if err := checkFacts(op, email, phone, nil, q.Fields); err != nil {
		return v, err
	}
	return c.change(q.ID, func(k crm.Key) (ms []crm.Mutation) {
		if q.Email != nil {
			ms = append(ms, crm.SetIdentity{Contact: k, Name: "email", Value: email})
		}
		if q.Phone != nil {
			ms = append(ms, crm.SetIdentity{Contact: k, Name: "phone", Value: phone})
		}
		for _, name := range sortedKeys(q.Fields) {
			ms = append(ms, crm.SetField{Contact: k, Name: name, Value: text(q.Fields[name])})
		}
		return ms
	}, func(con *crm.Contact) error { return somebody(op, con) })
}

// ContactTag adds and removes tags of one contact.
type ContactTag struct {
	ID     string   `json:"id"`
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

func contactTag(c *call, q ContactTag) (ContactView, error) {
	const op = "tag a contact"
	if len(q.Add)+len(q.Remove) == 0 {
		return ContactView{}, crm.Errorf(op, crm.CodeInvalid, "no tag is named").WithHint("--add TAG or --remove TAG")
	}
	if err := checkFacts(op, "", "", slices.Concat(q.Add, q.Remove), nil); err != nil {
		return ContactView{}, err
	}
	return c.change(q.ID, func(k crm.Key) (ms []crm.Mutation) {
		for _, t := range q.Add {
			ms = append(ms, crm.AddTag{Contact: k, Tag: t})
		}
		for _, t := range q.Remove {
			ms = append(ms, crm.RemoveTag{Contact: k, Tag: t})
		}
		return ms
	}, nil)
}

// change applies mutations of facts to one live contact, all or none; check may refuse what came of
// them.
func (c *call) change(id string, mutate func(crm.Key) []crm.Mutation, check func(*crm.Contact) error) (ContactView, error) {
	var v ContactView
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, id, crm.OnlyLive)
		if err != nil {
			return err
		}
		if _, err := tx.Apply(c.by, c.why(), mutate(k)...); err != nil {
			return err
		}
		con, _, err := tx.Contact(k, crm.OnlyLive)
		if err != nil {
			return err
		}
		if check != nil {
			if err := check(con); err != nil {
				return err
			}
		}
		v, err = show(tx, k, crm.OnlyLive)
		return err
	})
	return v, err
}
