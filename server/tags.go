package server

import (
	"cmp"
	"encoding/base64"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// TagList asks for the tags that live contacts carry.
type TagList struct {
	After string `json:"after,omitempty"` // Next of the page before
}

// TagPage is the tags of the contacts that a call looked at, which is so many and no more: whoever wants
// all follows Next and adds the numbers of each id up.
type TagPage struct {
	Items []TagView `json:"items"`
	Next  string    `json:"next,omitempty"`
}

// TagView is a tag as the first contact spells it.
type TagView struct {
	ID       crm.ItemID `json:"id"`
	Name     string     `json:"name"`
	Contacts int64      `json:"contacts"`           // live ones
	Deleting bool       `json:"deleting,omitempty"` // it is just being taken off them
}

func tagList(c *call, q TagList) (TagPage, error) {
	const op = "list tags"
	var page TagPage
	after, err := cursor(op, q.After)
	if err != nil {
		return page, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		page = TagPage{Items: []TagView{}}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		tags := map[string]*TagView{}
		query := crm.Query{Account: acc.ID, State: crm.OnlyLive, After: after}
		for range maxScans {
			if query.After, err = tx.Scan(query, func(con *crm.Contact, _ *crm.Life) bool {
				count(tags, con)
				return len(tags) < MaxPage
			}); err != nil {
				return err
			}
			if query.After == nil || len(tags) >= MaxPage {
				break
			}
		}
		page.Next = base64.RawURLEncoding.EncodeToString(query.After)
		for _, folded := range sortedKeys(tags) {
			t := tags[folded]
			t.ID = store.TagID(acc.ID, t.Name)
			t.Deleting = slices.Contains(acc.Leaving, t.ID)
			page.Items = append(page.Items, *t)
		}
		return nil
	})
	return page, err
}

// count adds a contact's tags.
func count(tags map[string]*TagView, con *crm.Contact) {
	for _, name := range con.TagNames() {
		t := cmp.Or(tags[crm.Fold(name)], &TagView{Name: name})
		t.Contacts++
		tags[crm.Fold(name)] = t
	}
}

// TagDelete deletes a tag of the account, in any spelling: nobody carries it any more, which starts
// nothing, and who is deleted does not get it back. Confirm is "yes".
type TagDelete struct {
	Name    string `json:"name"`
	Confirm string `json:"confirm,omitempty"`
	Wait    bool   `json:"wait,omitempty"` // until it is off; else the engine of a running server takes it off
}

// TagDeleted is a tag that was deleted.
type TagDeleted struct {
	ID      crm.ItemID `json:"id"`
	Live    int        `json:"contacts"`         // that carried it and are live: it is taken off them
	Deleted int        `json:"contacts_deleted"` // that carried it and are deleted: they do not get it back
	Done    bool       `json:"done"`             // it is off
}

func tagDelete(c *call, q TagDelete) (TagDeleted, error) {
	const op = "delete a tag"
	var v TagDeleted
	var account crm.AccountID
	if text := badName("tag", q.Name, maxTag); text != "" {
		return v, crm.Errorf(op, crm.CodeInvalid, "%s", text).WithHint("name the tag as reprieve tag list shows it")
	}
	if err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		account, v.ID = acc.ID, store.TagID(acc.ID, q.Name)
		return c.allow(acc, op, crm.VerbWrite)
	}); err != nil {
		return v, err
	}
	if err := c.carriers(account, q.Name, &v); err != nil {
		return v, err
	}
	if v.Live+v.Deleted == 0 {
		return v, crm.Errorf(op, crm.CodeNotFound, "no contact carries that tag").WithHint("reprieve tag list shows what there is")
	}
	if err := confirmed(op, q.Confirm, "the tag %s, which %d live and %d deleted contacts carry,", v.ID, v.Live, v.Deleted); err != nil {
		return TagDeleted{}, err
	}
	if _, err := write(c, op, func(tx *store.Tx, acc *crm.Account) (None, error) {
		return None{}, tx.DeleteTag(c.by, c.why(), acc.ID, q.Name)
	}); err != nil || !q.Wait {
		return v, err
	}
	v.Done = true
	return v, c.Engine.Untag(c.ctx, account, v.ID, 0)
}

// carriers counts who carries a tag, a page of the engine at a time.
func (c *call) carriers(acc crm.AccountID, name string, v *TagDeleted) error {
	q := crm.Query{Account: acc, State: crm.LiveOrDead, Where: crm.Filter{Op: crm.FilterTag, Name: name}}
	for {
		var live, deleted int
		var next []byte
		if err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
			live, deleted = 0, 0
			next, err = tx.Scan(q, func(_ *crm.Contact, l *crm.Life) bool {
				if l.State == crm.Live {
					live++
				} else {
					deleted++
				}
				return true
			})
			return err
		}); err != nil {
			return err
		}
		v.Live, v.Deleted = v.Live+live, v.Deleted+deleted
		if next == nil {
			return nil
		}
		q.After = next
	}
}
