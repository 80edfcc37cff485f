package server

import (
	"encoding/base64"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// names gives a function that names the account's lists.
func names(tx *store.Tx, acc crm.AccountID) (func(crm.ItemID) string, error) {
	lists, err := tx.Objects(acc, crm.List)
	byID := make(map[crm.ItemID]string, len(lists))
	for _, l := range lists {
		byID[l.ID] = l.Name
	}
	return func(id crm.ItemID) string { return byID[id] }, err
}

// ContactCreate asks for a contact. The id may be given, so that trying again names the same one.
type ContactCreate struct {
	ID     crm.ContactID     `json:"id,omitzero"`
	Email  string            `json:"email,omitempty"`
	Phone  string            `json:"phone,omitempty"`
	Tags   []string          `json:"tags,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
}

func contactCreate(c *call, q ContactCreate) (ContactView, error) {
	var v ContactView
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
			crm.ChangeFact(&n, crm.SetField{Name: name, Value: crm.Text(value)}, 1, tx.Now(), false)
		}
		if _, err := tx.Apply(c.by, c.why(), crm.Create{Contact: n}); err != nil {
			return err
		}
		v, err = show(tx, n.Key(), crm.OnlyLive)
		return err
	})
	return v, err
}

// show gives the view of a contact in a wanted state.
func show(tx *store.Tx, k crm.Key, want crm.StateSet) (ContactView, error) {
	con, life, err := tx.Contact(k, want)
	if err != nil {
		return ContactView{}, err
	}
	names, err := names(tx, k.Account)
	if err != nil {
		return ContactView{}, err
	}
	return contactView(con, life, names), nil
}

// ContactList asks for contacts: the live ones, or with Deleted those that can still be restored or
// wait for the sweep.
type ContactList struct {
	Deleted bool   `json:"deleted,omitempty"`
	Tag     string `json:"tag,omitempty"`
	List    string `json:"list,omitempty"`
	Limit   int    `json:"limit,omitempty"` // default 100
	After   string `json:"after,omitempty"` // Next of the page before
}

// ContactPage is a page of contacts.
type ContactPage struct {
	Contacts []ContactView `json:"contacts"`
	Next     string        `json:"next,omitempty"`
}

func contactList(c *call, q ContactList) (ContactPage, error) {
	var page ContactPage
	if q.Limit <= 0 || q.Limit > 10_000 {
		q.Limit = 100
	}
	after, err := base64.RawURLEncoding.DecodeString(q.After)
	if err != nil {
		return page, crm.Errorf("list contacts", crm.CodeInvalid, "after is not the next of an earlier page")
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		page = ContactPage{Contacts: []ContactView{}}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		query := crm.Query{Account: acc.ID, State: crm.OnlyLive, After: after}
		if q.Deleted {
			query.State = crm.OnlyDeleted
		}
		if q.Tag != "" {
			query.Where = crm.Filter{Op: crm.FilterTag, Name: q.Tag}
		}
		if q.List != "" {
			l, err := objectNamed(tx, acc.ID, crm.List, q.List)
			if err != nil {
				return err
			}
			query.List = l.ID
		}
		names, err := names(tx, acc.ID)
		if err != nil {
			return err
		}
		for {
			full := false
			next, err := tx.Scan(query, func(con *crm.Contact, l *crm.Life) bool {
				page.Contacts = append(page.Contacts, contactView(con, *l, names))
				full = len(page.Contacts) == q.Limit
				return !full
			})
			page.Next = base64.RawURLEncoding.EncodeToString(next)
			if err != nil || next == nil || full {
				return err
			}
			query.After = next
		}
	})
	return page, err
}

func objectNamed(tx *store.Tx, acc crm.AccountID, kind crm.ItemKind, name string) (*crm.Object, error) {
	all, err := tx.Objects(acc, kind)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if crm.Fold(all[i].Name) == crm.Fold(name) && !all[i].Deleted.IsSet() {
			return &all[i], nil
		}
	}
	return nil, crm.Errorf("find a "+kind.String(), crm.CodeNotFound, "there is none called %q", name).
		WithHint("reprieve %s list shows what there is", kind)
}

// ContactID names one contact by its id, its e-mail or its id in the system it was imported from.
type ContactID struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted,omitempty"` // a get may ask for deleted ones
}

// key finds the contact that a request names: by id in any state, by e-mail or foreign id among the
// contacts in the wanted states. Two that match are an error: a delete must not guess.
func (c *call) key(tx *store.Tx, name string, want crm.StateSet) (crm.Key, error) {
	acc, err := theAccount(tx)
	if err != nil {
		return crm.Key{}, err
	}
	if id, err := crm.ParseID[crm.ContactKind](name); err == nil {
		return crm.Key{Account: acc.ID, Contact: id}, nil
	}
	for _, identity := range []string{"email", "external_id"} {
		keys, err := tx.Find(acc.ID, identity, name, want)
		if err != nil {
			return crm.Key{}, err
		}
		switch len(keys) {
		case 0:
		case 1:
			return keys[0], nil
		default:
			return crm.Key{}, crm.Errorf("find a contact", crm.CodeConflict, "%d contacts have that %s", len(keys), identity).
				WithHint("name the one you mean by its id: con_…")
		}
	}
	return crm.Key{}, crm.Errorf("find a contact", crm.CodeNotFound, "no contact has that id, e-mail or external id").
		WithHint("a contact is named by con_…, its e-mail, or the id it was imported with; deleted ones: reprieve contact list --deleted")
}

func contactGet(c *call, q ContactID) (ContactView, error) {
	var v ContactView
	want := crm.OnlyLive
	if q.Deleted {
		want = crm.LiveOrDead
	}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.ID, want)
		if err != nil {
			return err
		}
		v, err = show(tx, k, want)
		return err
	})
	return v, err
}

// ContactTag adds and removes tags of one contact.
type ContactTag struct {
	ID     string   `json:"id"`
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

func contactTag(c *call, q ContactTag) (ContactView, error) {
	var v ContactView
	if len(q.Add)+len(q.Remove) == 0 {
		return v, crm.Errorf("tag a contact", crm.CodeInvalid, "no tag is named").WithHint("--add TAG or --remove TAG")
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.ID, crm.OnlyLive)
		if err != nil {
			return err
		}
		var ms []crm.Mutation
		for _, t := range q.Add {
			ms = append(ms, crm.AddTag{Contact: k, Tag: t})
		}
		for _, t := range q.Remove {
			ms = append(ms, crm.RemoveTag{Contact: k, Tag: t})
		}
		if _, err := tx.Apply(c.by, c.why(), ms...); err != nil {
			return err
		}
		v, err = show(tx, k, crm.OnlyLive)
		return err
	})
	return v, err
}

// ContactDelete deletes one named contact. Confirm is the word DELETE: the policy asks for it.
type ContactDelete struct {
	ID      string `json:"id"`
	Confirm string `json:"confirm,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Deletion is a delete with its manifest.
type Deletion struct {
	Contact  crm.ContactID  `json:"contact"`
	Manifest *crm.Manifest  `json:"manifest"`
	Took     map[string]int `json:"took"` // kind → number
}

func contactDelete(c *call, q ContactDelete) (Deletion, error) {
	var v Deletion
	if q.Confirm != "DELETE" {
		return v, crm.Errorf("delete a contact", crm.CodeConfirm, "it has to be confirmed by the word DELETE").
			WithHint("--confirm DELETE; it can be restored until the recovery window ends")
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.ID, crm.OnlyLive)
		if err != nil {
			return err
		}
		evs, err := tx.Apply(c.by, c.why(), crm.Delete{Contact: k, Reason: q.Reason})
		if err != nil {
			return err
		}
		v = Deletion{Contact: k.Contact, Took: map[string]int{}}
		v.Manifest, err = tx.Manifest(k, evs[0].Epoch)
		if err != nil {
			return err
		}
		for _, it := range v.Manifest.Items {
			v.Took[it.Kind.String()]++
		}
		return nil
	})
	return v, err
}

// ContactRestore restores one named contact. Confirm is "yes".
type ContactRestore struct {
	ID      string `json:"id"`
	Confirm string `json:"confirm,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

func contactRestore(c *call, q ContactRestore) (*crm.Receipt, error) {
	if q.Confirm != "yes" {
		return nil, crm.Errorf("restore a contact", crm.CodeConfirm, "it has to be confirmed").WithHint("--yes")
	}
	var r *crm.Receipt
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.ID, crm.OnlyDeleted)
		if err != nil {
			return err
		}
		evs, err := tx.Apply(c.by, c.why(), crm.Restore{Contact: k, Reason: q.Reason})
		if err != nil {
			return err
		}
		r, err = tx.Receipt(k, evs[0].Epoch)
		return err
	})
	return r, err
}

func contactReceipt(c *call, q ContactID) (*crm.Receipt, error) {
	var r *crm.Receipt
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.ID, crm.LiveOrDead)
		if err != nil {
			return err
		}
		if _, _, err := tx.Contact(k, crm.LiveOrDead); err != nil {
			return err
		}
		r, err = tx.LatestReceipt(k)
		if err == nil && r == nil {
			err = crm.Errorf("read a receipt", crm.CodeNotFound, "it was never restored").About(k.Contact)
		}
		return err
	})
	return r, err
}
