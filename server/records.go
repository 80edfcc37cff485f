package server

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// RecordPage is the associated records of a contact.
type RecordPage struct {
	Records []RecordView `json:"records"`
}

func recordList(c *call, q ContactID) (RecordPage, error) {
	page := RecordPage{}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		page.Records = []RecordView{}
		k, err := c.key(tx, q.ID, crm.OnlyLive)
		if err != nil {
			return err
		}
		if _, _, err := tx.Contact(k, crm.OnlyLive); err != nil {
			return err
		}
		records, err := tx.Records(k)
		for _, r := range records {
			page.Records = append(page.Records, RecordView{ID: r.ID, Kind: r.Kind, Title: r.Title, Body: r.Body, Status: r.Status,
				CreatedAt: r.CreatedAt, Due: r.Due, DeletedAt: r.Deleted.At})
		}
		return err
	})
	return page, err
}

// RecordDelete deletes one record on its own; no restore of the contact brings it back.
type RecordDelete struct {
	Contact string     `json:"contact"`
	Record  crm.ItemID `json:"record"`
}

func recordDelete(c *call, q RecordDelete) (RecordView, error) {
	var v RecordView
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.Contact, crm.OnlyLive)
		if err != nil {
			return err
		}
		if _, _, err := tx.Contact(k, crm.OnlyLive); err != nil {
			return err
		}
		records, err := tx.Records(k)
		if err != nil {
			return err
		}
		item := crm.ItemKey{Account: k.Account, Contact: k.Contact, ID: q.Record}
		for _, r := range records {
			if r.ID == q.Record && r.Deleted.IsSet() {
				return crm.Errorf("delete a record", crm.CodeNotFound, "the record %s was deleted at %s", r.ID, r.Deleted.At).About(k.Contact).
					WithHint("nothing is left to do: no restore of the contact brings it back")
			}
			if r.ID == q.Record {
				item.Kind = r.Kind
				v = RecordView{ID: r.ID, Kind: r.Kind, Title: r.Title, CreatedAt: r.CreatedAt, DeletedAt: tx.Now()}
			}
		}
		_, err = tx.Apply(c.by, c.why(), crm.DeleteRecord{Record: item})
		return err
	})
	return v, err
}

// ObjectView is a list or a campaign with the number of its live members.
type ObjectView struct {
	ID      crm.ItemID `json:"id"`
	Name    string     `json:"name"`
	Members int64      `json:"members"` // live contacts; of a campaign, runnable enrollments
}

// ObjectPage is the lists or the campaigns of the account.
type ObjectPage struct {
	Items []ObjectView `json:"items"`
}

func listList(c *call, _ None) (ObjectPage, error)     { return objects(c, crm.List) }
func campaignList(c *call, _ None) (ObjectPage, error) { return objects(c, crm.Campaign) }

func objects(c *call, kind crm.ItemKind) (ObjectPage, error) {
	page := ObjectPage{}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		page.Items = []ObjectView{}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		all, err := tx.Objects(acc.ID, kind)
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.Deleted.IsSet() {
				continue
			}
			n, err := tx.Counter(acc.ID, store.CountOf(o.ID))
			if err != nil {
				return err
			}
			page.Items = append(page.Items, ObjectView{ID: o.ID, Name: o.Name, Members: n})
		}
		return nil
	})
	return page, err
}
