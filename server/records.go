package server

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// The bounds of a record that somebody writes. Its longest text fits in a request beside the others.
const (
	maxTitle  = 1000      // runes
	maxStatus = 100       // runes
	maxBody   = 256 << 10 // bytes
)

// RecordItem is an associated record with the conversation that a message belongs to.
type RecordItem struct {
	RecordView
	Parent crm.ItemID `json:"parent,omitzero"`
}

func recordItem(r *crm.Record) RecordItem {
	return RecordItem{RecordView{ID: r.ID, Kind: r.Kind, Title: r.Title, Body: r.Body, Status: r.Status,
		CreatedAt: r.CreatedAt, Due: r.Due, DeletedAt: r.Deleted.At}, r.Parent}
}

// RecordList asks for the associated records of a live contact, of some kinds or of all.
type RecordList struct {
	ID    string   `json:"id"` // the contact
	Kinds []string `json:"kinds,omitempty"`
}

// RecordPage is the associated records of a contact.
type RecordPage struct {
	Records []RecordItem `json:"records"`
}

func recordList(c *call, q RecordList) (RecordPage, error) {
	const op = "list records"
	page := RecordPage{}
	var kinds []crm.ItemKind
	for _, name := range q.Kinds {
		kind, err := recordKind(op, name)
		if err != nil {
			return page, err
		}
		kinds = append(kinds, kind)
	}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		page.Records = []RecordItem{}
		k, err := c.key(tx, q.ID, crm.OnlyLive)
		if err != nil {
			return err
		}
		records, err := recordsOf(tx, k)
		if err != nil {
			return err
		}
		for i := range records {
			if len(kinds) == 0 || slices.Contains(kinds, records[i].Kind) {
				page.Records = append(page.Records, recordItem(&records[i]))
			}
		}
		return nil
	})
	return page, err
}

// recordsOf gives the records of a live contact. A message whose conversation was deleted on its own was
// deleted with it.
func recordsOf(tx *store.Tx, k crm.Key) ([]crm.Record, error) {
	if _, _, err := tx.Contact(k, crm.OnlyLive); err != nil {
		return nil, err
	}
	records, err := tx.Records(k)
	marks := map[crm.ItemID]crm.Mark{}
	for i := range records {
		if r := &records[i]; r.Kind == crm.Conversation {
			marks[r.ID] = r.Deleted
		}
	}
	for i := range records {
		if r := &records[i]; r.Kind == crm.Message && !r.Deleted.IsSet() {
			r.Deleted = marks[r.Parent]
		}
	}
	return records, err
}

// recordKind reads the kind of a record.
func recordKind(op, name string) (crm.ItemKind, error) {
	kind, ok := crm.ParseItemKind(name)
	if !ok || !kind.IsRecord() {
		var names []string
		for _, k := range crm.RecordKinds {
			names = append(names, k.String())
		}
		return 0, crm.Errorf(op, crm.CodeInvalid, "there is no such kind of record").WithHint("a record is a %s", strings.Join(names, ", "))
	}
	return kind, nil
}

// RecordCreate asks for a record of a live contact. The id may be given, so that trying again makes no
// second one.
type RecordCreate struct {
	Contact string     `json:"contact"`
	ID      crm.ItemID `json:"id,omitzero"`
	Kind    string     `json:"kind"`
	Title   string     `json:"title,omitempty"`
	Body    string     `json:"body,omitempty"`
	Status  string     `json:"status,omitempty"`
	Due     string     `json:"due,omitempty"`   // RFC 3339
	Parent  crm.ItemID `json:"parent,omitzero"` // of a message: its conversation
}

func recordCreate(c *call, q RecordCreate) (RecordItem, error) {
	const op = "add a record"
	var v RecordItem
	r := crm.Record{ID: q.ID, Title: q.Title, Body: q.Body, Status: q.Status, Parent: q.Parent}
	var err error
	if r.Kind, err = recordKind(op, q.Kind); err != nil {
		return v, err
	}
	if r.Due, err = instant(op, "due", q.Due); err != nil {
		return v, err
	}
	switch {
	case r.Kind == crm.Message && r.Parent.IsZero():
		return v, crm.Errorf(op, crm.CodeInvalid, "a message needs its conversation").WithHint("--parent itm_…; reprieve record list shows the conversations")
	case r.Kind != crm.Message && !r.Parent.IsZero():
		return v, crm.Errorf(op, crm.CodeInvalid, "only a message belongs to another record").WithHint("leave --parent out")
	case strings.TrimSpace(r.Title+r.Body) == "":
		return v, crm.Errorf(op, crm.CodeInvalid, "it says nothing").WithHint("--title or --body")
	}
	if err := checkRecord(op, r); err != nil {
		return v, err
	}
	return write(c, op, func(tx *store.Tx, _ *crm.Account) (RecordItem, error) {
		k, err := c.key(tx, q.Contact, crm.OnlyLive)
		if err != nil {
			return v, err
		}
		n := r
		n.Account, n.Contact = k.Account, k.Contact
		if n.ID.IsZero() {
			if n.ID, err = tx.NewItemID(); err != nil {
				return v, err
			}
		}
		there, err := tx.RecordCalled(k, n.ID)
		if err != nil {
			return v, err
		}
		if there != nil {
			return v, crm.Errorf(op, crm.CodeConflict, "the contact has a record %s already", n.ID).About(k.Contact).
				WithHint("reprieve record update changes it; a new one needs another id")
		}
		if _, err := tx.Apply(c.by, c.why(), crm.PutRecord{Record: n}); err != nil {
			return v, err
		}
		return recordNow(tx, k, n.ID)
	})
}

// recordNow shows a record as the transaction has left it.
func recordNow(tx *store.Tx, k crm.Key, id crm.ItemID) (RecordItem, error) {
	records, err := recordsOf(tx, k)
	for i := range records {
		if records[i].ID == id {
			return recordItem(&records[i]), err
		}
	}
	return RecordItem{}, err
}

// checkRecord bounds what somebody writes into a record.
func checkRecord(op string, r crm.Record) error {
	bad := func(text, hint string) error { return crm.Errorf(op, crm.CodeInvalid, "%s", text).WithHint("%s", hint) }
	switch {
	case utf8.RuneCountInString(r.Title) > maxTitle || control(r.Title):
		return bad("the title has more than 1000 characters, or one that cannot be seen", "long texts go into --body")
	case utf8.RuneCountInString(r.Status) > maxStatus || control(r.Status):
		return bad("the status has more than 100 characters, or one that cannot be seen", "a status is a word or two: open, done")
	case len(r.Body) > maxBody || !goodText(r.Body):
		return bad("the body is longer than 256 KiB, or no text", "keep large files elsewhere and write where they are")
	}
	return nil
}

// instant reads an instant; empty is none.
func instant(op, what, s string) (crm.Nanos, error) {
	at, ok := intakeDate(s)
	if !ok {
		return 0, crm.Errorf(op, crm.CodeInvalid, "%s is no instant between 1900 and 2200", what).WithHint("write it like 2026-01-31T14:05:00Z")
	}
	return at, nil
}

// RecordUpdate changes what is named of one record; an empty text removes it.
type RecordUpdate struct {
	Contact string     `json:"contact"`
	Record  crm.ItemID `json:"record"`
	Title   *string    `json:"title,omitempty"`
	Body    *string    `json:"body,omitempty"`
	Status  *string    `json:"status,omitempty"`
	Due     *string    `json:"due,omitempty"`
}

func recordUpdate(c *call, q RecordUpdate) (RecordItem, error) {
	const op = "change a record"
	var v RecordItem
	m := crm.ChangeRecord{Title: q.Title, Body: q.Body, Status: q.Status}
	if q.Due != nil {
		due, err := instant(op, "due", *q.Due)
		if err != nil {
			return v, err
		}
		m.Due = &due
	}
	if m == (crm.ChangeRecord{}) {
		return v, crm.Errorf(op, crm.CodeInvalid, "nothing is named that should change").WithHint("--title, --body, --status or --due")
	}
	if err := checkRecord(op, crm.Record{Title: given(q.Title), Body: given(q.Body), Status: given(q.Status)}); err != nil {
		return v, err
	}
	return write(c, op, func(tx *store.Tx, _ *crm.Account) (RecordItem, error) {
		k, err := c.recordKey(tx, op, q.Contact, q.Record)
		if err != nil {
			return v, err
		}
		change := m
		change.Record = k
		if _, err := tx.Apply(c.by, c.why(), change); err != nil {
			return v, err
		}
		return recordNow(tx, change.Target(), k.ID)
	})
}

// given is a text that may not have been named.
func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// recordKey finds a live record of a live contact by its id.
func (c *call) recordKey(tx *store.Tx, op, contact string, id crm.ItemID) (crm.ItemKey, error) {
	k, err := c.key(tx, contact, crm.OnlyLive)
	if err != nil {
		return crm.ItemKey{}, err
	}
	records, err := recordsOf(tx, k)
	if err != nil {
		return crm.ItemKey{}, err
	}
	for _, r := range records {
		switch {
		case r.ID != id:
		case r.Deleted.IsSet():
			return crm.ItemKey{}, crm.Errorf(op, crm.CodeNotFound, "the record %s was deleted at %s", r.ID, r.Deleted.At).About(k.Contact).
				WithHint("nothing is left to do: no restore of the contact brings it back")
		default:
			return r.Key(), nil
		}
	}
	return crm.ItemKey{}, crm.Errorf(op, crm.CodeNotFound, "the contact has no such record").About(k.Contact).
		WithHint("reprieve record list %s shows what there is", k.Contact)
}

// RecordDelete deletes one record on its own; no restore of the contact brings it back. A conversation
// takes its messages along.
type RecordDelete struct {
	Contact string     `json:"contact"`
	Record  crm.ItemID `json:"record"`
}

func recordDelete(c *call, q RecordDelete) (RecordItem, error) {
	const op = "delete a record"
	var v RecordItem
	return write(c, op, func(tx *store.Tx, _ *crm.Account) (RecordItem, error) {
		k, err := c.recordKey(tx, op, q.Contact, q.Record)
		if err != nil {
			return v, err
		}
		m := crm.DeleteRecord{Record: k}
		if _, err := tx.Apply(c.by, c.why(), m); err != nil {
			return v, err
		}
		return recordNow(tx, m.Target(), k.ID)
	})
}
