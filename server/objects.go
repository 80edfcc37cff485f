package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// maxObjectName is how many runes the name of a list, campaign, company or opportunity may have.
const maxObjectName = 200

// write answers from an update by somebody who may write. Who may not is told so before anything is
// looked up.
func write[A any](c *call, op string, fn func(*store.Tx, *crm.Account) (A, error)) (A, error) {
	var answer A
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if err := c.allow(acc, op, crm.VerbWrite); err != nil {
			return err
		}
		answer, err = fn(tx, acc)
		return err
	})
	return answer, err
}

// advise says what to do next where an error of the store does not.
func advise(err error, format string, args ...any) error {
	var e *crm.Error
	if errors.As(err, &e) && e.Hint == "" && crm.IsRefusal(err) && e.Code != crm.CodePurged {
		return e.WithHint(format, args...)
	}
	return err
}

// object finds what a request names, by its id or by its name: a live list, campaign, company or
// opportunity. Several of that name are an error: a delete must not guess.
func object(tx *store.Tx, acc crm.AccountID, kind crm.ItemKind, name string) (*crm.Object, error) {
	op := "find the " + kind.String()
	if id, err := crm.ParseID[crm.ItemIDKind](name); err == nil {
		o, err := tx.Object(crm.ObjectKey{Account: acc, Kind: kind, ID: id})
		if err != nil {
			return nil, err
		}
		return o, there(tx, op, kind, id, o)
	}
	all, err := tx.Objects(acc, kind)
	if err != nil {
		return nil, err
	}
	var found []*crm.Object
	for i := range all {
		o := &all[i]
		if crm.Fold(o.Name) != crm.Fold(name) {
			continue
		}
		switch err := there(tx, op, kind, o.ID, o); {
		case err == nil:
			found = append(found, o)
		case !crm.IsRefusal(err):
			return nil, err
		}
	}
	switch len(found) {
	case 0:
		return nil, crm.Errorf(op, crm.CodeNotFound, "there is no %s of that name or id", kind).WithHint("reprieve %s list shows what there is", kind)
	case 1:
		return found[0], nil
	}
	ids := make([]string, 0, 5)
	for _, o := range found[:min(len(found), cap(ids))] {
		ids = append(ids, o.ID.String())
	}
	return nil, crm.Errorf(op, crm.CodeConflict, "%d have that name", len(found)).
		WithHint("name the one you mean by its id: %s", strings.Join(ids, ", "))
}

// there refuses what is not, or is not live.
func there(tx *store.Tx, op string, kind crm.ItemKind, id crm.ItemID, o *crm.Object) error {
	switch {
	case o == nil:
		return crm.Errorf(op, crm.CodeNotFound, "there is no %s %s", kind, id).WithHint("reprieve %s list shows what there is", kind)
	case o.Deleted.IsSet():
		return crm.Errorf(op, crm.CodeNotFound, "the %s %s was deleted at %s", kind, id, o.Deleted.At).
			WithHint("it does not come back; make a new one: reprieve %s create", kind)
	case kind != crm.Opportunity:
		return nil
	}
	live, err := tx.OpportunityLive(o)
	if err == nil && !live {
		return crm.Errorf(op, crm.CodeDeleted, "the opportunity %s went with its contacts, which are deleted", id).
			WithHint("it is back when one of them is restored")
	}
	return err
}

// checkName bounds the name of an object.
func checkName(op string, kind crm.ItemKind, name string) error {
	if text := badName("name", name, maxObjectName); text != "" {
		return crm.Errorf(op, crm.CodeInvalid, "%s", text).WithHint("the name of a %s has 1 to %d characters that can be seen", kind, maxObjectName)
	}
	return nil
}

// unique refuses a second list or campaign of a name: imports know them by their names alone.
func unique(tx *store.Tx, op string, o crm.Object) error {
	if o.Kind != crm.List && o.Kind != crm.Campaign {
		return nil
	}
	all, err := tx.Objects(o.Account, o.Kind)
	for i := range all {
		if is := &all[i]; is.ID != o.ID && !is.Deleted.IsSet() && crm.Fold(is.Name) == crm.Fold(o.Name) {
			return crm.Errorf(op, crm.CodeConflict, "the %s %s has that name", o.Kind, is.ID).WithHint("take another name, or use that one")
		}
	}
	return err
}

// NamedView is a list, a campaign, a company or an opportunity by its name.
type NamedView struct {
	ID        crm.ItemID `json:"id"`
	Name      string     `json:"name"`
	DeletedAt crm.Nanos  `json:"deleted_at,omitzero"`
}

func namedView(o *crm.Object) NamedView {
	return NamedView{ID: o.ID, Name: o.Name, DeletedAt: o.Deleted.At}
}

// ObjectCreate asks for a list, a campaign or a company. The id may be given, so that trying again makes
// no second one.
type ObjectCreate struct {
	ID   crm.ItemID `json:"id,omitzero"`
	Name string     `json:"name"`
}

func objectCreate(kind crm.ItemKind) func(*call, ObjectCreate) (NamedView, error) {
	return func(c *call, q ObjectCreate) (NamedView, error) {
		op := "make a " + kind.String()
		return write(c, op, func(tx *store.Tx, acc *crm.Account) (NamedView, error) {
			o, err := c.make(tx, op, crm.Object{Account: acc.ID, Kind: kind, ID: q.ID, Name: q.Name})
			return namedView(&o), err
		})
	}
}

// make makes an object, with an id if it has none.
func (c *call) make(tx *store.Tx, op string, o crm.Object) (crm.Object, error) {
	if err := checkName(op, o.Kind, o.Name); err != nil {
		return o, err
	}
	o.Name = strings.TrimSpace(o.Name)
	if o.ID.IsZero() {
		var err error
		if o.ID, err = tx.NewItemID(); err != nil {
			return o, err
		}
	}
	switch old, err := tx.Object(o.Key()); {
	case err != nil:
		return o, err
	case old != nil:
		return o, crm.Errorf(op, crm.CodeConflict, "the %s %s exists, or did", o.Kind, o.ID).WithHint("a new one needs another id")
	}
	if err := unique(tx, op, o); err != nil {
		return o, err
	}
	return o, tx.PutObject(c.by, c.why(), o)
}

// ObjectRename gives a list, a campaign or a company another name; its members stay.
type ObjectRename struct {
	Object string `json:"object"` // id or name
	Name   string `json:"name"`
}

func objectRename(kind crm.ItemKind) func(*call, ObjectRename) (NamedView, error) {
	return func(c *call, q ObjectRename) (NamedView, error) {
		op := "rename a " + kind.String()
		if err := checkName(op, kind, q.Name); err != nil {
			return NamedView{}, err
		}
		return write(c, op, func(tx *store.Tx, acc *crm.Account) (NamedView, error) {
			o, err := object(tx, acc.ID, kind, q.Object)
			if err != nil {
				return NamedView{}, err
			}
			next := *o
			next.Name = strings.TrimSpace(q.Name)
			if next.Name == o.Name {
				return namedView(o), nil
			}
			if err := unique(tx, op, next); err != nil {
				return NamedView{}, err
			}
			return namedView(&next), tx.PutObject(c.by, c.why(), next)
		})
	}
}

// ObjectDelete deletes a list, a campaign, a company or an opportunity on its own. It does not come back:
// a restore of a contact that was in it skips it and says so. Confirm is "yes".
type ObjectDelete struct {
	Object  string `json:"object"` // id or name
	Confirm string `json:"confirm,omitempty"`
}

func objectDelete(kind crm.ItemKind) func(*call, ObjectDelete) (NamedView, error) {
	return func(c *call, q ObjectDelete) (NamedView, error) {
		op := "delete a " + kind.String()
		return write(c, op, func(tx *store.Tx, acc *crm.Account) (NamedView, error) {
			o, err := object(tx, acc.ID, kind, q.Object)
			if err != nil {
				return NamedView{}, err
			}
			members, err := tx.Counter(acc.ID, store.CountOf(o.ID)) // nobody counts those of companies and opportunities
			if err != nil {
				return NamedView{}, err
			}
			if err := confirmed(op, q.Confirm, "the %s %s%s", kind, o.ID, map[bool]string{true: fmt.Sprintf(", in which are %d contacts,", members)}[members > 0]); err != nil {
				return NamedView{}, err
			}
			next := *o
			next.Deleted = crm.Mark{At: tx.Now(), By: c.by.ID}
			return namedView(&next), tx.PutObject(c.by, c.why(), next)
		})
	}
}

// confirmed wants a yes, once it is known what is hit: what is deleted of an account has no recovery
// window.
func confirmed(op, confirm, what string, args ...any) error {
	if confirm == "yes" {
		return nil
	}
	return crm.Errorf(op, crm.CodeConfirm, what+" is deleted only when that is confirmed", args...).WithHint("--yes; it does not come back")
}

// ObjectList asks for the lists, campaigns, companies or opportunities that are live.
type ObjectList struct {
	Contact string     `json:"contact,omitempty"` // only those that this live contact is in
	Limit   int        `json:"limit,omitempty"`   // default 100, at most MaxPage
	After   crm.ItemID `json:"after,omitzero"`    // Next of the page before
}

// list gives a page of objects: those that keep wants, in the order of their ids.
func list[V any](c *call, kind crm.ItemKind, q ObjectList, keep func(*store.Tx, *crm.Object) (bool, error), show func(*store.Tx, *crm.Object) (V, error)) (items []V, next crm.ItemID, err error) {
	limit, err := pageLimit("list a "+kind.String(), q.Limit)
	if err != nil {
		return nil, next, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		items, next = []V{}, crm.ItemID{}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		in, err := c.inObjects(tx, kind, q.Contact)
		if err != nil {
			return err
		}
		all, err := tx.Objects(acc.ID, kind)
		if err != nil {
			return err
		}
		var last crm.ItemID
		for i := range all {
			o := &all[i]
			if slices.Compare(o.ID[:], q.After[:]) <= 0 || in != nil && !in[o.ID] {
				continue
			}
			if ok, err := keep(tx, o); err != nil {
				return err
			} else if !ok {
				continue
			}
			if len(items) == limit {
				next = last
				return nil
			}
			v, err := show(tx, o)
			if err != nil {
				return err
			}
			items, last = append(items, v), o.ID
		}
		return nil
	})
	return items, next, err
}

// inObjects gives what a live contact is in, nil if none is named.
func (c *call) inObjects(tx *store.Tx, kind crm.ItemKind, contact string) (map[crm.ItemID]bool, error) {
	if contact == "" {
		return nil, nil
	}
	k, err := c.key(tx, contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	con, _, err := tx.Contact(k, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	in := map[crm.ItemID]bool{}
	for _, m := range con.Lists {
		in[m.List] = !m.Absent && !con.Archived.On
	}
	links, err := tx.Links(k)
	for _, l := range links {
		in[l.ID] = in[l.ID] || l.Kind == kind
	}
	return in, err
}

func notDeleted(_ *store.Tx, o *crm.Object) (bool, error) { return !o.Deleted.IsSet(), nil }

// ObjectView is a list or a campaign with the number of its live members.
type ObjectView struct {
	ID      crm.ItemID `json:"id"`
	Name    string     `json:"name"`
	Members int64      `json:"members"` // live contacts; of a campaign, runnable enrollments
}

// ObjectPage is a page of the lists of the account.
type ObjectPage struct {
	Items []ObjectView `json:"items"`
	Next  crm.ItemID   `json:"next,omitzero"`
}

func listList(c *call, q ObjectList) (page ObjectPage, err error) {
	page.Items, page.Next, err = list(c, crm.List, q, notDeleted, objectView)
	return page, err
}

func objectView(tx *store.Tx, o *crm.Object) (ObjectView, error) {
	n, err := tx.Counter(o.Account, store.CountOf(o.ID))
	return ObjectView{ID: o.ID, Name: o.Name, Members: n}, err
}

// CompanyPage is a page of the companies of the account.
type CompanyPage struct {
	Items []NamedView `json:"items"`
	Next  crm.ItemID  `json:"next,omitzero"`
}

func companyList(c *call, q ObjectList) (page CompanyPage, err error) {
	page.Items, page.Next, err = list(c, crm.Company, q, notDeleted, func(_ *store.Tx, o *crm.Object) (NamedView, error) {
		return namedView(o), nil
	})
	return page, err
}
