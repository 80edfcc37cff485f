package server

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// PolicyView is the policy in force, with what a person is asked before a delete and a restore.
type PolicyView struct {
	Policy     crm.Policy `json:"policy"`
	HIPAA      bool       `json:"hipaa,omitempty"` // no restore, whatever the policy says
	AskDelete  string     `json:"ask_delete"`
	AskRestore string     `json:"ask_restore"`
	YAML       string     `json:"yaml"` // the policy as a file
}

func policyView(a *crm.Account) PolicyView {
	v := PolicyView{Policy: a.Policy, HIPAA: a.HIPAA, YAML: a.Policy.YAML()}
	v.AskDelete, _ = a.AskDelete(1)
	v.AskRestore, _ = a.AskRestore(1)
	return v
}

func policyShow(c *call, _ None) (PolicyView, error) {
	var v PolicyView
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err == nil {
			v = policyView(acc)
		}
		return err
	})
	return v, err
}

// PolicySet changes the policy: a whole document, or some knobs of the one in force, by their dotted
// names. With Preview it only says what would change.
type PolicySet struct {
	Document map[string]any `json:"document,omitempty"`
	Set      map[string]any `json:"set,omitempty"`
	Preview  bool           `json:"preview,omitempty"`
}

// PolicySetAnswer says what changed, or would.
type PolicySetAnswer struct {
	Changes []crm.PolicyChange `json:"changes"`
	Policy  crm.Policy         `json:"policy"`
	Preview bool               `json:"preview,omitempty"`
}

func policySet(c *call, q PolicySet) (PolicySetAnswer, error) {
	const op = "set the policy"
	v := PolicySetAnswer{Preview: q.Preview}
	if (q.Document == nil) == (len(q.Set) == 0) {
		return v, crm.Errorf(op, crm.CodeInvalid, "a whole policy is given, or some of its keys, and not both").
			WithHint("reprieve policy set KEY=VALUE, or --file FILE; reprieve policy knobs lists the keys")
	}
	decide := func(tx *store.Tx) (*crm.Account, crm.Policy, error) {
		acc, err := theAccount(tx)
		if err != nil {
			return nil, crm.Policy{}, err
		}
		next, err := acc.Policy.With(q.Set)
		if q.Document != nil {
			next, err = crm.ParsePolicy(q.Document)
		}
		return acc, next, err
	}
	var err error
	if q.Preview {
		err = c.Store.View(c.ctx, func(tx *store.Tx) error {
			acc, next, err := decide(tx)
			if err == nil {
				v.Policy, v.Changes = next, acc.Policy.Changes(next)
			}
			return err
		})
	} else {
		err = c.Store.Update(c.ctx, func(tx *store.Tx) error {
			acc, next, err := decide(tx)
			if err != nil {
				return err
			}
			v.Policy = next
			v.Changes, err = tx.SetPolicy(c.by, acc.ID, next)
			return err
		})
	}
	if v.Changes == nil {
		v.Changes = []crm.PolicyChange{}
	}
	return v, err
}

// KnobView is a key of the policy: what it may be, what it is, what it does.
type KnobView struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Legal string `json:"legal"`
	Help  string `json:"help"`
}

// KnobPage is all keys of the policy, and the presets.
type KnobPage struct {
	Knobs   []KnobView `json:"knobs"`
	Presets []string   `json:"presets"`
}

func policyKnobs(c *call, _ None) (KnobPage, error) {
	page := KnobPage{Presets: crm.PresetNames()}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		page.Knobs = nil
		for _, k := range crm.Knobs() {
			page.Knobs = append(page.Knobs, KnobView{Key: k.Path, Value: fmt.Sprint(k.Show(acc.Policy)), Legal: k.Legal, Help: k.Help})
		}
		return nil
	})
	return page, err
}

// AccountHIPAA makes the account a HIPAA account. Confirm is the word HIPAA: there is no way back.
type AccountHIPAA struct {
	Confirm string `json:"confirm,omitempty"`
}

func accountHIPAA(c *call, q AccountHIPAA) (AccountView, error) {
	if q.Confirm != "HIPAA" {
		return AccountView{}, crm.Errorf("make the account a HIPAA account", crm.CodeConfirm, "it has to be confirmed by the word HIPAA").
			WithHint("--confirm HIPAA; it cannot be taken back, and no deletion can be undone from then on, nor those made before")
	}
	if err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		return tx.SetHIPAA(c.by, acc.ID)
	}); err != nil {
		return AccountView{}, err
	}
	return accountShow(c, None{})
}

// ContactHistory asks for what was done to a contact, the latest first.
type ContactHistory struct {
	ID     string `json:"id"`
	Before uint64 `json:"before,omitempty"` // Next of the page before
	Limit  int    `json:"limit,omitempty"`  // default 100, at most MaxPage
}

// HistoryPage is a page of a contact's history.
type HistoryPage struct {
	Contact crm.ContactID `json:"contact"`
	Entries []HistoryView `json:"entries"`
	Next    uint64        `json:"next,omitempty"`
	// Cut says that what was before has been removed from the log, at the end of audit.keep.
	Cut bool `json:"cut,omitempty"`
}

// HistoryView is one change: what, when, by whom, through what.
type HistoryView struct {
	Entry     uint64          `json:"entry"` // of the log
	At        crm.Nanos       `json:"at"`
	Event     crm.EventKind   `json:"event"`
	What      string          `json:"what,omitempty"`
	By        string          `json:"by"`
	Role      crm.Role        `json:"role"`
	Cause     crm.CauseKind   `json:"cause"`
	Workflow  string          `json:"workflow,omitempty"`
	Run       crm.RunID       `json:"run,omitzero"`
	Operation crm.OperationID `json:"operation,omitzero"`
	Epoch     uint64          `json:"epoch"`
	Purged    bool            `json:"unreadable,omitempty"` // what it was about was purged
}

func contactHistory(c *call, q ContactHistory) (HistoryPage, error) {
	page := HistoryPage{Entries: []HistoryView{}}
	limit, err := pageLimit("read a history", q.Limit)
	if err != nil {
		return page, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		page.Entries, page.Next = []HistoryView{}, 0
		k, err := c.key(tx, q.ID, crm.LiveOrDead)
		if err != nil {
			return err
		}
		page.Contact = k.Contact
		entries, err := tx.History(k, q.Before, limit)
		if err != nil {
			return err
		}
		start, err := tx.LogStart()
		if err != nil {
			return err
		}
		if page.Cut = start > 1; len(entries) > 0 {
			last := entries[len(entries)-1].Before
			page.Cut = last > 0 && last < start
		} else if known, err := tx.Known(k); err != nil {
			return err
		} else if !known {
			return crm.Errorf("read a history", crm.CodeNotFound, "there is no such contact").About(k.Contact).WithHint("reprieve contact list shows what there is")
		}
		for i := range entries {
			ev := &entries[i].Event
			said, err := reasonOf(tx, k, ev)
			if err != nil {
				return err
			}
			v := historyView(&entries[i])
			v.What = strings.Trim(what(ev)+"; "+said, "; ")
			page.Entries = append(page.Entries, v)
		}
		if len(entries) == limit && !page.Cut {
			page.Next = entries[limit-1].Seq
		}
		return nil
	})
	return page, err
}

// historyView shows an entry without what it says.
func historyView(l *store.Logged) HistoryView {
	ev := &l.Event
	return HistoryView{Entry: l.Seq, At: ev.At, Event: ev.Kind, By: ev.By.ID, Role: ev.By.Role, Cause: ev.Why.Kind, Workflow: ev.Why.Workflow,
		Run: ev.Why.Run, Operation: ev.Why.Operation, Epoch: ev.Epoch, Purged: l.Unreadable}
}

// reasonOf gives what somebody gave as the reason of a delete or a restore: it is kept with the contact, not
// in the log.
func reasonOf(tx *store.Tx, k crm.Key, ev *crm.Event) (string, error) {
	switch ev.Kind {
	case crm.ContactDeleted:
		m, err := tx.Deletion(k, ev.Epoch)
		if m == nil {
			return "", err
		}
		return m.Reason, err
	case crm.ContactRestored:
		r, err := tx.Restoration(k, ev.Epoch)
		if r == nil {
			return "", err
		}
		return r.Reason, err
	}
	return "", nil
}

// what says in a word or two what an event changed.
func what(ev *crm.Event) string {
	d := ev.Data
	switch ev.Kind {
	case crm.ContactTagAdded, crm.ContactTagRemoved:
		return d.Name
	case crm.ContactFieldChanged, crm.ContactIdentity, crm.ContactListChanged:
		return fmt.Sprintf("%s: %q → %q", d.Name, d.Old, d.Value)
	case crm.ContactDNDChanged:
		return fmt.Sprintf("%s: %t", d.Name, d.On)
	case crm.ContactArchived:
		return map[bool]string{true: "archived", false: "unarchived"}[d.On]
	case crm.ContactDeleted:
		return "restorable until " + d.Until.String()
	case crm.ContactPurged, crm.ContactHeld, crm.ContactReleased:
		return d.Reason
	case crm.RecordCreated, crm.RecordChanged, crm.RecordDeleted:
		return d.Kind.String() + " " + d.Item.String()
	case crm.WebhookReceived, crm.RunRetried:
		return d.Name
	case crm.CampaignActivity, crm.EnrollmentResumed:
		return d.Name + " " + d.Item.String()
	case crm.ContactLinked, crm.ContactUnlinked, crm.CampaignEnrolled, crm.CampaignLeft:
		return d.Kind.String() + " " + d.Name
	}
	return ""
}

// ContactExport is everything that there is of one contact, in the form that a delete's export has.
type ContactExport struct {
	Document json.RawMessage `json:"document"`
	SHA256   string          `json:"sha256"` // of the document's bytes
}

func contactExport(c *call, q ContactID) (ContactExport, error) {
	var v ContactExport
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if err := c.allow(acc, "export a contact", crm.VerbExport); err != nil {
			return err
		}
		k, err := c.key(tx, q.ID, crm.OnlyLive)
		if err != nil {
			return err
		}
		v.Document, v.SHA256, err = exportOf(tx, k)
		return err
	})
	return v, err
}
