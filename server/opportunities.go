package server

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// OpportunityView is an opportunity with the live contacts that share it.
type OpportunityView struct {
	ID        crm.ItemID      `json:"id"`
	Name      string          `json:"name"`
	State     string          `json:"state"` // live; with_contacts: it went with them, and comes back with one; lost: closed by the policy with them; deleted
	Stage     string          `json:"stage,omitempty"`
	Status    string          `json:"status,omitempty"`
	Cents     int64           `json:"value_cents"`
	Contacts  []crm.ContactID `json:"contacts"`
	Primary   crm.ContactID   `json:"primary,omitzero"`
	DeletedAt crm.Nanos       `json:"deleted_at,omitzero"`
}

func opportunityView(tx *store.Tx, o *crm.Object) (OpportunityView, error) {
	v := OpportunityView{ID: o.ID, Name: o.Name, State: "live", Stage: o.Stage, Status: o.Status, Cents: o.Cents,
		Contacts: []crm.ContactID{}, DeletedAt: o.Deleted.At}
	for _, id := range o.Contacts {
		shown, err := sharedBy(tx, o, crm.Key{Account: o.Account, Contact: id})
		if err != nil {
			return v, err
		}
		if shown {
			v.Contacts = append(v.Contacts, id)
		}
	}
	if slices.Contains(v.Contacts, o.Primary) {
		v.Primary = o.Primary
	}
	switch {
	case o.Lost:
		v.State = "lost"
	case o.Deleted.IsSet():
		v.State = "deleted"
	case len(v.Contacts) == 0:
		v.State = "with_contacts"
	}
	return v, nil
}

// sharedBy says whether a contact of an opportunity is live, and the opportunity is not one that a
// restore of it left behind.
func sharedBy(tx *store.Tx, o *crm.Object, k crm.Key) (bool, error) {
	life, err := tx.Life(k)
	if err != nil || life.State != crm.Live {
		return false, err
	}
	if len(life.Lost) == 0 {
		return true, nil
	}
	links, err := tx.Links(k)
	return slices.ContainsFunc(links, func(l crm.Link) bool { return l.Kind == o.Kind && l.ID == o.ID }), err
}

// OpportunityList asks for opportunities: those that are live, or with Deleted the others.
type OpportunityList struct {
	ObjectList
	Deleted bool `json:"deleted,omitempty"`
}

// OpportunityPage is a page of opportunities.
type OpportunityPage struct {
	Items []OpportunityView `json:"items"`
	Next  crm.ItemID        `json:"next,omitzero"`
}

func opportunityList(c *call, q OpportunityList) (page OpportunityPage, err error) {
	page.Items, page.Next, err = list(c, crm.Opportunity, q.ObjectList, func(tx *store.Tx, o *crm.Object) (bool, error) {
		live, err := tx.OpportunityLive(o)
		return live != q.Deleted, err
	}, opportunityView)
	return page, err
}

// OpportunityCreate asks for an opportunity of contacts, the first of them its primary. The id may be
// given, so that trying again makes no second one.
type OpportunityCreate struct {
	ID       crm.ItemID `json:"id,omitzero"`
	Name     string     `json:"name"`
	Stage    string     `json:"stage,omitempty"`
	Status   string     `json:"status,omitempty"`
	Cents    int64      `json:"value_cents,omitempty"`
	Contacts []string   `json:"contacts"`
}

func opportunityCreate(c *call, q OpportunityCreate) (OpportunityView, error) {
	const op = "make an opportunity"
	var v OpportunityView
	if err := checkStages(op, q.Stage, q.Status); err != nil {
		return v, err
	}
	if len(q.Contacts) == 0 || len(q.Contacts) > intakeNames {
		return v, crm.Errorf(op, crm.CodeInvalid, "an opportunity is made with 1 to %d contacts", intakeNames).WithHint("name them behind its name, the primary first")
	}
	return write(c, op, func(tx *store.Tx, acc *crm.Account) (OpportunityView, error) {
		o, err := c.make(tx, op, crm.Object{Account: acc.ID, Kind: crm.Opportunity, ID: q.ID, Name: q.Name,
			Stage: q.Stage, Status: q.Status, Cents: q.Cents})
		if err != nil {
			return v, err
		}
		for i, name := range q.Contacts {
			k, err := c.key(tx, name, crm.OnlyLive)
			if err != nil {
				return v, err
			}
			if _, err := tx.Apply(c.by, c.why(), crm.Connect{Contact: k, Kind: o.Kind, Object: o.ID, Primary: i == 0}); err != nil {
				return v, err
			}
		}
		return opportunityNow(tx, o.Key())
	})
}

func opportunityNow(tx *store.Tx, k crm.ObjectKey) (OpportunityView, error) {
	o, err := tx.Object(k)
	if err != nil {
		return OpportunityView{}, err
	}
	return opportunityView(tx, o)
}

func checkStages(op string, texts ...string) error {
	for _, s := range texts {
		if utf8.RuneCountInString(s) > maxStatus || control(s) {
			return crm.Errorf(op, crm.CodeInvalid, "the stage or the status has more than 100 characters, or one that cannot be seen").
				WithHint("each is a word or two: offer, open")
		}
	}
	return nil
}

// OpportunityUpdate changes what is named of one live opportunity.
type OpportunityUpdate struct {
	Opportunity string  `json:"opportunity"` // id or name
	Name        *string `json:"name,omitempty"`
	Stage       *string `json:"stage,omitempty"`
	Status      *string `json:"status,omitempty"`
	Cents       *int64  `json:"value_cents,omitempty"`
}

func opportunityUpdate(c *call, q OpportunityUpdate) (OpportunityView, error) {
	const op = "change an opportunity"
	var v OpportunityView
	if q.Name == nil && q.Stage == nil && q.Status == nil && q.Cents == nil {
		return v, crm.Errorf(op, crm.CodeInvalid, "nothing is named that should change").WithHint("--name, --stage, --status or --cents")
	}
	if q.Name != nil {
		if err := checkName(op, crm.Opportunity, *q.Name); err != nil {
			return v, err
		}
	}
	if err := checkStages(op, given(q.Stage), given(q.Status)); err != nil {
		return v, err
	}
	return write(c, op, func(tx *store.Tx, acc *crm.Account) (OpportunityView, error) {
		o, err := object(tx, acc.ID, crm.Opportunity, q.Opportunity)
		if err != nil {
			return v, err
		}
		next := *o
		for to, value := range map[*string]*string{&next.Name: q.Name, &next.Stage: q.Stage, &next.Status: q.Status} {
			if value != nil {
				*to = *value
			}
		}
		next.Name = strings.TrimSpace(next.Name)
		if q.Cents != nil {
			next.Cents = *q.Cents
		}
		if next.Name != o.Name || next.Stage != o.Stage || next.Status != o.Status || next.Cents != o.Cents {
			if err := tx.PutObject(c.by, c.why(), next); err != nil {
				return v, err
			}
		}
		return opportunityNow(tx, o.Key())
	})
}

// OpportunityAdd puts a live contact into an opportunity; with Primary it becomes the primary one, also
// if it is in it already.
type OpportunityAdd struct {
	Opportunity string `json:"opportunity"` // id or name
	Contact     string `json:"contact"`
	Primary     bool   `json:"primary,omitempty"`
}

func opportunityAdd(c *call, q OpportunityAdd) (Placement, error) {
	return c.place("put a contact into an opportunity", crm.Opportunity, q.Opportunity, q.Contact, func(_ *store.Tx, k crm.Key, o *crm.Object) (crm.Mutation, error) {
		return crm.Connect{Contact: k, Kind: crm.Opportunity, Object: o.ID, Primary: q.Primary}, nil
	})
}
