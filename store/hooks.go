package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// deliveryMonth is how long the id of a request is remembered at least; at most it is twice that.
const deliveryMonth = 31 * crm.Day

// HookRequest is a request to a webhook of an account.
type HookRequest struct {
	Workflow, Trigger string
	Revision          string // of the workflow, by which Whom was found
	Delivery          string // the sender's id: the same one again has no second effect
	Body              string // as crm.ParseBody made it
	Whom              string // names the contact
	By                string // what Whom is: id, email, phone or external_id; "": it shows by its form
}

// ReceiveRequest takes in a request to a webhook: an event of the contact that it is about, durable once the
// transaction is. It gives the contact, and whether the request had come before: then nothing else happens. A
// request for nobody, or for a deleted contact, is refused: after a restore it could start nothing, so it does not
// wait for one. It is ErrMoved when the workflow was applied anew since Whom was found.
func (tx *Tx) ReceiveRequest(by crm.Actor, acc crm.AccountID, r HookRequest) (who crm.ContactID, again bool, err error) {
	const op = "receive a request"
	a, err := tx.Account(acc)
	if err != nil {
		return who, false, err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed(op, a, by, why, crm.VerbWrite, who); err != nil {
		return who, false, err
	}
	if strings.TrimSpace(r.Delivery) == "" || len(r.Delivery) > crm.MaxDeliveryID {
		return who, false, crm.Errorf(op, crm.CodeInvalid, "the id of the request is missing or longer than %d bytes", crm.MaxDeliveryID).
			WithHint("send an id of its own with each request, and the same one with each attempt at it")
	}
	name := r.Workflow + "/" + r.Trigger
	sum := tx.s.keys.identityHash(hmac.New(sha256.New, tx.s.keys.identity), acc, crm.NamedIdentity{Name: "request to " + name, Value: r.Delivery})
	month := int64(tx.now / deliveryMonth)
	for _, m := range []int64{month, month - 1} {
		d, err := one(tx.ctx, tx.row.Deliveries(), row.DeliveryKey{Account: acc, Month: m, Hash: sum})
		if err != nil {
			return who, false, err
		}
		if d != nil {
			return d.Contact, true, nil
		}
	}
	w, err := tx.Workflow(acc, r.Workflow)
	switch {
	case err != nil:
		return who, false, err
	case w.Active != r.Revision:
		return who, false, ErrMoved
	case w.Paused:
		return who, false, crm.Errorf(op, crm.CodeConflict, "the workflow %q is paused and starts nothing", r.Workflow).
			WithHint("send it again after reprieve workflow resume %s", r.Workflow)
	}
	k, err := tx.whom(op, acc, r)
	if err != nil {
		return who, false, err
	}
	if _, err := tx.Apply(by, why, crm.Request{Contact: k, Webhook: name, Body: r.Body}); err != nil {
		return k.Contact, false, err
	}
	return k.Contact, false, tx.remember(row.Delivery{Account: acc, Month: month, Hash: sum, Contact: k.Contact, At: tx.now})
}

// remember notes a delivery, and forgets a few that are older than anybody looks.
func (tx *Tx) remember(d row.Delivery) error {
	var last [32]byte
	for i := range last {
		last[i] = 0xff
	}
	old, err := tx.row.Deliveries().Range(tx.ctx, row.DeliveryKey{Account: d.Account}, row.DeliveryKey{Account: d.Account, Month: d.Month - 2, Hash: last}, 16)
	if err != nil {
		return err
	}
	if err := remove(tx.ctx, tx.row.Deliveries(), old); err != nil {
		return err
	}
	return insert(tx.ctx, tx.row.Deliveries(), &d)
}

// whom finds the contact that a request is about: a live one before a deleted one, which is refused later with
// what has become of it.
// Whom gives the contact that a request would be about, of the request's Whom and By alone.
func (tx *Tx) Whom(acc crm.AccountID, r HookRequest) (crm.Key, error) {
	return tx.whom("find whom a request is about", acc, r)
}

func (tx *Tx) whom(op string, acc crm.AccountID, r HookRequest) (crm.Key, error) {
	if r.By == "" || r.By == "id" {
		if id, err := crm.ParseID[crm.ContactKind](r.Whom); err == nil {
			return crm.Key{Account: acc, Contact: id}, nil
		}
	}
	kinds := []string{"email", "external_id", "phone"}
	if r.By != "" {
		kinds = []string{r.By}
	}
	for _, want := range []crm.StateSet{crm.OnlyLive, crm.OnlyDeleted} {
		for _, kind := range kinds {
			if kind == "id" {
				continue
			}
			keys, err := tx.Find(acc, kind, r.Whom, want)
			switch {
			case err != nil:
				return crm.Key{}, err
			case len(keys) > 1 && want == crm.OnlyLive:
				return crm.Key{}, crm.Errorf(op, crm.CodeConflict, "%d contacts have that %s", len(keys), kind).
					WithHint("send the id of the contact: con_…")
			case len(keys) > 0:
				return keys[len(keys)-1], nil
			}
		}
	}
	return crm.Key{}, crm.Errorf(op, crm.CodeNotFound, "no contact is the one that the request names by the trigger's contact").
		WithHint("make the contact first, and send the request again; look at what contact gives for such a body")
}

// request announces a request to a webhook. It refuses what could start nothing.
func (tx *Tx) request(by crm.Actor, why crm.Cause, m crm.Request) (*crm.Event, error) {
	const op = "receive a request"
	was, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	if was.Archived.On {
		return nil, crm.Errorf(op, crm.CodeInvalid, "it is archived, and so in no workflow").About(was.ID).WithHint("reprieve contact unarchive %s", was.ID)
	}
	return tx.bump(was, life, crm.WebhookReceived, by, why, crm.EventData{Name: m.Webhook, Body: m.Body})
}
