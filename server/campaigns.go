package server

import (
	"encoding/base64"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// CampaignView is a campaign with its counters. What was sent, opened and clicked changes neither when a
// contact is deleted nor when it is purged.
type CampaignView struct {
	ObjectView
	Sent    int64 `json:"sent"`
	Opened  int64 `json:"opened"`
	Clicked int64 `json:"clicked"`
}

// CampaignPage is a page of the campaigns of the account.
type CampaignPage struct {
	Items []CampaignView `json:"items"`
	Next  crm.ItemID     `json:"next,omitzero"`
}

func campaignList(c *call, q ObjectList) (page CampaignPage, err error) {
	page.Items, page.Next, err = list(c, crm.Campaign, q, notDeleted, func(tx *store.Tx, o *crm.Object) (CampaignView, error) {
		var v CampaignView
		var err error
		if v.ObjectView, err = objectView(tx, o); err != nil {
			return v, err
		}
		for what, n := range map[crm.ActivityKind]*int64{crm.MessageSent: &v.Sent, crm.MessageOpened: &v.Opened, crm.MessageClicked: &v.Clicked} {
			if *n, err = tx.Counter(o.Account, store.CountOfActivity(o.ID, what)); err != nil {
				return v, err
			}
		}
		return v, nil
	})
	return page, err
}

// CampaignAdd enrols a live contact in a campaign.
type CampaignAdd struct {
	Campaign string `json:"campaign"` // id or name
	Contact  string `json:"contact"`
	Due      string `json:"due,omitempty"` // when its first message is, RFC 3339; without it none is
}

func campaignAdd(c *call, q CampaignAdd) (Placement, error) {
	const op = "put a contact into a campaign"
	due, err := instant(op, "due", q.Due)
	if err != nil {
		return Placement{}, err
	}
	return c.place(op, crm.Campaign, q.Campaign, q.Contact, func(tx *store.Tx, k crm.Key, o *crm.Object) (crm.Mutation, error) {
		m := crm.Connect{Contact: k, Kind: crm.Campaign, Object: o.ID, Due: due}
		l, life, err := enrollment(tx, k, o.ID)
		if err == nil && l != nil && l.Epoch == life.Epoch && l.Due != due && due != 0 {
			err = crm.Errorf(op, crm.CodeConflict, "it is in the campaign %s already, with another message due", o.ID).About(k.Contact).
				WithHint("campaign sent --next says when the following one is; or remove the contact first")
		}
		return m, err
	})
}

// enrollment gives a contact's place in a campaign, nil if it has none.
func enrollment(tx *store.Tx, k crm.Key, campaign crm.ItemID) (*crm.Link, crm.Life, error) {
	life, err := tx.Life(k)
	if err != nil {
		return nil, life, err
	}
	links, err := tx.Links(k)
	for i := range links {
		if links[i].Kind == crm.Campaign && links[i].ID == campaign {
			return &links[i], life, err
		}
	}
	return nil, life, err
}

// CampaignSent says that the message that was due to a contact was sent.
type CampaignSent struct {
	Campaign string `json:"campaign"` // id or name
	Contact  string `json:"contact"`
	Next     string `json:"next,omitempty"` // when the following message is due, RFC 3339; without it none is
}

func campaignSent(c *call, q CampaignSent) (Placement, error) {
	next, err := instant(opActivity, "next", q.Next)
	if err != nil {
		return Placement{}, err
	}
	return c.activity(q.Campaign, q.Contact, crm.MessageSent, next)
}

// CampaignSeen names a contact that opened, or clicked in, a campaign's message.
type CampaignSeen struct {
	Campaign string `json:"campaign"` // id or name
	Contact  string `json:"contact"`
}

func campaignSeen(what crm.ActivityKind) func(*call, CampaignSeen) (Placement, error) {
	return func(c *call, q CampaignSeen) (Placement, error) { return c.activity(q.Campaign, q.Contact, what, 0) }
}

const opActivity = "note a campaign's message"

func (c *call) activity(campaign, contact string, what crm.ActivityKind, next crm.Nanos) (Placement, error) {
	return c.place(opActivity, crm.Campaign, campaign, contact, func(_ *store.Tx, k crm.Key, o *crm.Object) (crm.Mutation, error) {
		return crm.Activity{Contact: k, Campaign: o.ID, What: what, Next: next}, nil
	})
}

// CampaignDue asks for the contacts to which a message of a campaign is due now.
type CampaignDue struct {
	Campaign string `json:"campaign"`        // id or name
	Limit    int    `json:"limit,omitempty"` // default 100, at most MaxPage
	After    string `json:"after,omitempty"` // Next of the page before
}

// DuePage is a page of due messages. It may be short, or empty, and still have a Next: a call looks only
// so far for those that are due.
type DuePage struct {
	Items []DueView `json:"items"`
	Next  string    `json:"next,omitempty"`
}

// DueView is a message that is due: only to who is live, not archived, and in the campaign in this life.
type DueView struct {
	Contact crm.ContactID `json:"contact"`
	Email   string        `json:"email,omitempty"`
	Due     crm.Nanos     `json:"due"`
	Sent    uint32        `json:"sent"` // messages sent or left out before
}

// dueChunk is how many contacts are read before their places are looked at.
const dueChunk = 500

func campaignDue(c *call, q CampaignDue) (DuePage, error) {
	const op = "list due messages"
	var page DuePage
	limit, err := pageLimit(op, q.Limit)
	if err != nil {
		return page, err
	}
	after, err := cursor(op, q.After)
	if err != nil {
		return page, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		page = DuePage{Items: []DueView{}}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		o, err := object(tx, acc.ID, crm.Campaign, q.Campaign)
		if err != nil {
			return err
		}
		next := crm.Query{Account: acc.ID, State: crm.OnlyLive, After: after,
			Where: crm.Filter{Op: crm.FilterNot, Of: []crm.Filter{{Op: crm.FilterArchived}}}}
		for range maxScans {
			found, err := dueAmong(tx, &next, o.ID, min(dueChunk, limit-len(page.Items)))
			if err != nil {
				return err
			}
			page.Items = append(page.Items, found...)
			page.Next = base64.RawURLEncoding.EncodeToString(next.After)
			if next.After == nil || len(page.Items) == limit {
				return nil
			}
		}
		return nil
	})
	return page, err
}

// dueAmong looks at the next n contacts of a query, and moves it behind them.
func dueAmong(tx *store.Tx, q *crm.Query, campaign crm.ItemID, n int) (found []DueView, err error) {
	var contacts []*crm.Contact
	if q.After, err = tx.Scan(*q, func(con *crm.Contact, _ *crm.Life) bool {
		contacts = append(contacts, con)
		return len(contacts) < n
	}); err != nil {
		return nil, err
	}
	for _, con := range contacts {
		l, life, err := enrollment(tx, con.Key(), campaign)
		if err != nil {
			return nil, err
		}
		if l != nil && l.Epoch == life.Epoch && l.Due != 0 && l.Due <= tx.Now() {
			found = append(found, DueView{Contact: con.ID, Email: con.Email.Value, Due: l.Due, Sent: l.Step})
		}
	}
	return found, nil
}

// cursor reads the next of an earlier page.
func cursor(op, after string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(after)
	if err != nil {
		return nil, crm.Errorf(op, crm.CodeInvalid, "after is not the next of an earlier page").WithHint("give --after what a page had as its next")
	}
	return raw, nil
}
