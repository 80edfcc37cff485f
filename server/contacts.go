package server

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// names gives a function that names the account's lists.
func names(tx *store.Tx, acc crm.AccountID) (func(crm.ItemID) string, error) {
	lists, err := tx.Objects(acc, crm.List)
	byID := make(map[crm.ItemID]string, len(lists))
	for _, l := range lists {
		if !l.Deleted.IsSet() { // nobody is on a list that is gone
			byID[l.ID] = l.Name
		}
	}
	return func(id crm.ItemID) string { return byID[id] }, err
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
	v := contactView(con, life, names)
	m, err := tx.Tombstone(k, life)
	if m != nil {
		v.Tombstone = tombstoneView(m)
	}
	return v, err
}

// ContactList asks for contacts: the live ones, or with Deleted those that can still be restored or
// wait for the sweep.
type ContactList struct {
	Deleted bool   `json:"deleted,omitempty"`
	Tag     string `json:"tag,omitempty"`
	List    string `json:"list,omitempty"`
	// Which deleted ones: who, when, by whom, through what (S3.7).
	Filter   *DeletedFilter `json:"filter,omitempty"`
	Held     bool           `json:"held,omitempty"`     // only those under a legal hold
	Archived bool           `json:"archived,omitempty"` // only archived ones
	Limit    int            `json:"limit,omitempty"`    // default 100, at most MaxPage
	After    string         `json:"after,omitempty"`    // Next of the page before
}

// ContactPage is a page of contacts. It may be short, or empty, and still have a Next: a call looks
// only so far for those that are asked for.
type ContactPage struct {
	Contacts []ContactView `json:"contacts"`
	Next     string        `json:"next,omitempty"`
}

// maxScans is how many pages of the engine one call goes through.
const maxScans = 50

func contactList(c *call, q ContactList) (ContactPage, error) {
	var page ContactPage
	limit, err := pageLimit("list contacts", q.Limit)
	if err != nil {
		return page, err
	}
	after, err := base64.RawURLEncoding.DecodeString(q.After)
	if err != nil {
		return page, crm.Errorf("list contacts", crm.CodeInvalid, "after is not the next of an earlier page")
	}
	auditor := c.by.Role == crm.Auditor
	if auditor && (!q.Held || q.Tag != "" || q.List != "" || q.Filter != nil) {
		return page, crm.Errorf("list contacts", crm.CodeDenied, "an auditor sees those under a legal hold, and no more of them than that").WithHint("reprieve contact list --held")
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		page = ContactPage{Contacts: []ContactView{}}
		query, names, err := q.query(tx)
		if err != nil {
			return err
		}
		query.After = after
		if q.Filter != nil {
			return q.deleted(tx, query, names, limit, &page)
		}
		for range maxScans {
			full := false
			next, err := tx.Scan(query, func(con *crm.Contact, l *crm.Life) bool {
				if q.Held && !l.Held {
					return true
				}
				v := contactView(con, *l, names)
				if auditor {
					v = forAuditor(v)
				}
				page.Contacts = append(page.Contacts, v)
				full = len(page.Contacts) == limit
				return !full
			})
			page.Next = base64.RawURLEncoding.EncodeToString(next)
			if err != nil || next == nil || full {
				return err
			}
			query.After = next
		}
		return nil
	})
	return page, err
}

// deleted lists the deleted contacts that the filter asks for, with what there is to know of each
// deletion.
func (q ContactList) deleted(tx *store.Tx, query crm.Query, names func(crm.ItemID) string, limit int, page *ContactPage) error {
	for range maxScans {
		full := false
		next, err := tx.ScanDeleted(query.Account, q.Filter.ask(), query.After, func(con *crm.Contact, l crm.Life, m *crm.Manifest) bool {
			if q.Held && !l.Held || !query.Where.Match(con) || !query.List.IsZero() && con.Membership(query.List) == nil {
				return true
			}
			v := contactView(con, l, names)
			v.Tombstone = tombstoneView(m)
			page.Contacts = append(page.Contacts, v)
			full = len(page.Contacts) == limit
			return !full
		})
		page.Next = base64.RawURLEncoding.EncodeToString(next)
		if err != nil || next == nil || full {
			return err
		}
		query.After = next
	}
	return nil
}

// query turns what was asked for into what the engine is asked.
func (q ContactList) query(tx *store.Tx) (crm.Query, func(crm.ItemID) string, error) {
	acc, err := theAccount(tx)
	if err != nil {
		return crm.Query{}, nil, err
	}
	query := crm.Query{Account: acc.ID, State: crm.OnlyLive}
	if q.Deleted {
		query.State = crm.OnlyDeleted
	} else if q.Filter != nil {
		return query, nil, crm.Errorf("list contacts", crm.CodeInvalid, "when, by whom, through what, and a part of a name or an address are asked of deleted contacts").
			WithHint("add --deleted; a live contact is found by its whole e-mail: reprieve contact get")
	}
	var where []crm.Filter
	if q.Tag != "" {
		where = append(where, crm.Filter{Op: crm.FilterTag, Name: q.Tag})
	}
	if q.Archived {
		where = append(where, crm.Filter{Op: crm.FilterArchived})
	}
	if len(where) > 0 {
		query.Where = crm.Filter{Op: crm.FilterAnd, Of: where}
	}
	if q.List != "" {
		l, err := objectNamed(tx, acc.ID, crm.List, q.List)
		if err != nil {
			return query, nil, err
		}
		query.List = l.ID
	}
	names, err := names(tx, acc.ID)
	return query, names, err
}

func pageLimit(op string, limit int) (int, error) {
	switch {
	case limit == 0:
		return 100, nil
	case limit < 0 || limit > MaxPage:
		return 0, crm.Errorf(op, crm.CodeInvalid, "the limit is from 1 to %d", MaxPage).WithHint("ask for the rest page by page")
	}
	return limit, nil
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
// contacts in the wanted states. Two that match are an error: a delete must not guess. If none is in
// a wanted state it gives one that is in the other, so that the verb can say what has become of it.
func (c *call) key(tx *store.Tx, name string, want crm.StateSet) (crm.Key, error) {
	acc, err := theAccount(tx)
	if err != nil {
		return crm.Key{}, err
	}
	if id, err := crm.ParseID[crm.ContactKind](name); err == nil {
		return crm.Key{Account: acc.ID, Contact: id}, nil
	}
	for _, states := range []crm.StateSet{want, crm.LiveOrDead &^ want} {
		for _, identity := range []string{"email", "external_id"} {
			keys, err := tx.Find(acc.ID, identity, name, states)
			switch {
			case err != nil:
				return crm.Key{}, err
			case len(keys) == 1:
				return keys[0], nil
			case len(keys) > 1:
				return crm.Key{}, several(keys, identity, states != want && states == crm.OnlyDeleted)
			}
		}
	}
	return crm.Key{}, crm.Errorf("find a contact", crm.CodeNotFound, "no contact has that id, e-mail or external id").
		WithHint("a contact is named by con_…, its e-mail, or the id it was imported with; reprieve contact list shows what there is")
}

// several says that more than one contact was meant, and which.
func several(keys []crm.Key, identity string, deleted bool) error {
	ids := make([]string, 0, 5)
	for _, k := range keys[:min(len(keys), cap(ids))] {
		ids = append(ids, k.Contact.String())
	}
	hint := "name the one you mean by its id: " + strings.Join(ids, ", ")
	if len(keys) > len(ids) {
		hint += fmt.Sprintf(" and %d more", len(keys)-len(ids))
	}
	if deleted {
		return crm.Errorf("find a contact", crm.CodeDeleted, "%d deleted contacts had that %s, and no live one has it", len(keys), identity).WithHint("%s", hint)
	}
	return crm.Errorf("find a contact", crm.CodeConflict, "%d contacts have that %s", len(keys), identity).WithHint("%s", hint)
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
