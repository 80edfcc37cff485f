package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// ContactRestore restores one named contact. Confirm is the word that the policy asks for: yes.
type ContactRestore struct {
	ID      string `json:"id"`
	Confirm string `json:"confirm,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// ReceiptView is a receipt. What was suppressed is complete only when LookedAt is set: until the
// triggers have been asked, nobody knows which of them the restore kept from starting.
type ReceiptView struct {
	crm.Receipt
	LookedAt bool `json:"looked_at"`
	// Waiting are messages that came while it was deleted and are about to be delivered.
	Waiting int `json:"messages_waiting,omitempty"`
}

// messagesWaiting counts the messages that wait for a contact.
func messagesWaiting(tx *store.Tx, k crm.Key) (int, error) {
	queued, err := tx.Queued(k)
	return len(queued), err
}

func receiptView(r *crm.Receipt, looked bool) ReceiptView {
	v := ReceiptView{Receipt: *r, LookedAt: looked}
	if v.Suppressed == nil {
		v.Suppressed = []crm.Suppressed{}
	}
	if v.Items == nil {
		v.Items = []crm.ReceiptItem{}
	}
	return v
}

func contactRestore(c *call, q ContactRestore) (ReceiptView, error) {
	const op = "restore a contact"
	var v ReceiptView
	var done crm.Event
	if err := checkReason(op, q.Reason); err != nil {
		return v, err
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if _, word := acc.AskRestore(1); q.Confirm != word && word != "" {
			return crm.Errorf(op, crm.CodeConfirm, "it has to be confirmed").WithHint("--yes")
		}
		k, err := c.key(tx, q.ID, crm.OnlyDeleted)
		if err != nil {
			return err
		}
		evs, err := tx.Apply(c.by, c.why(), crm.Restore{Contact: k, Reason: q.Reason})
		if err == nil {
			done = evs[0]
		}
		return liveAlready(err)
	})
	if err != nil {
		return v, err
	}
	// What is read grows with the contact, and the writer is not to be held for it. The triggers have
	// hardly been asked yet.
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		r, err := tx.Receipt(crm.Key{Account: done.Account, Contact: done.Contact}, done.Epoch)
		if r == nil { // purged meanwhile
			r = &crm.Receipt{Contact: done.Contact, Epoch: done.Epoch, At: done.At, By: done.By, Why: done.Why}
		}
		if err == nil {
			v = receiptView(r, false)
			v.Waiting, err = messagesWaiting(tx, crm.Key{Account: done.Account, Contact: done.Contact})
		}
		return err
	})
	return v, err
}

// liveAlready says what to do about a contact that is not deleted.
func liveAlready(err error) error {
	var e *crm.Error
	if errors.As(err, &e) && e.Code == crm.CodeNotDeleted && e.Hint == "" {
		return e.WithHint("there is nothing to restore; reprieve contact receipt %s shows its last restore", e.Contact)
	}
	return err
}

func contactReceipt(c *call, q ContactID) (ReceiptView, error) {
	var v ReceiptView
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		_, r, err := c.lastReceipt(tx, q.ID)
		if err != nil {
			return err
		}
		waiting, err := c.Engine.Backlog(tx)
		v = receiptView(r, waiting == 0)
		return err
	})
	return v, err
}

// lastReceipt gives the receipt of the last restore of a named contact.
func (c *call) lastReceipt(tx *store.Tx, name string) (crm.Key, *crm.Receipt, error) {
	k, err := c.key(tx, name, crm.LiveOrDead)
	if err != nil {
		return k, nil, err
	}
	if _, _, err := tx.Contact(k, crm.LiveOrDead); err != nil {
		return k, nil, err
	}
	r, err := tx.LatestReceipt(k)
	if err == nil && r == nil {
		err = crm.Errorf("read a receipt", crm.CodeNotFound, "it was never restored").About(k.Contact).
			WithHint("a receipt is written by a restore; reprieve contact get %s --deleted shows what there is", k.Contact)
	}
	return k, r, err
}

// receiptVerify recounts from the whole log that the last restore of a contact started nothing.
func receiptVerify(c *call, q ContactID) (*store.Proof, error) {
	var k crm.Key
	var r *crm.Receipt
	if err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
		k, r, err = c.lastReceipt(tx, q.ID)
		return err
	}); err != nil {
		return nil, err
	}
	return c.Store.VerifyReceipt(c.ctx, k, r.Epoch)
}

// DeletedFilter asks for deleted contacts; what is set narrows (S3.7).
type DeletedFilter struct {
	After     crm.Nanos       `json:"deleted_after,omitzero"`  // at it, or later
	Before    crm.Nanos       `json:"deleted_before,omitzero"` // earlier than it
	Name      string          `json:"name,omitempty"`          // part of it
	Email     string          `json:"email,omitempty"`         // part of it
	By        string          `json:"deleted_by,omitempty"`    // user:1000
	Workflow  string          `json:"deleted_by_workflow,omitempty"`
	Operation crm.OperationID `json:"operation,omitzero"`
}

func (f DeletedFilter) ask() store.Deleted {
	return store.Deleted{From: f.After, To: f.Before, Name: f.Name, Email: f.Email, By: f.By, Workflow: f.Workflow, Operation: f.Operation}
}

// BulkRestore restores a selection: contacts by name, or all deleted ones that a filter asks for. Without
// a confirmation it is refused; with Plan it only says what it would do. A filter needs the Hash of
// its plan, so that what is done is what was looked at.
type BulkRestore struct {
	IDs     []string       `json:"ids,omitempty"`
	Filter  *DeletedFilter `json:"filter,omitempty"`
	Plan    bool           `json:"plan,omitempty"`
	Hash    string         `json:"hash,omitempty"`
	Confirm string         `json:"confirm,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Wait    bool           `json:"wait,omitempty"` // answer when it has ended
}

// RestorePlan is what a bulk restore would do.
type RestorePlan struct {
	Total     int             `json:"total"`
	Conflicts []crm.ContactID `json:"conflicts"` // a live contact, or another of the selection, has an address of theirs; at most 100
	Policy    crm.Rule        `json:"on_conflict"`
	// PastWindow of the selection would be refused: their recovery window is over.
	PastWindow int    `json:"past_window,omitempty"`
	Hash       string `json:"hash"`
	Text       string `json:"text"`
	Word       string `json:"word,omitempty"`
}

// BulkAnswer is a plan, or an operation that was accepted.
type BulkAnswer struct {
	Plan      *RestorePlan   `json:"plan,omitempty"`
	Operation *crm.Operation `json:"operation,omitempty"`
}

func bulkRestore(c *call, q BulkRestore) (BulkAnswer, error) {
	const op = "restore contacts"
	var v BulkAnswer
	if err := checkReason(op, q.Reason); err != nil {
		return v, err
	}
	if (len(q.IDs) == 0) == (q.Filter == nil) {
		return v, crm.Errorf(op, crm.CodeInvalid, "contacts are named, or a filter is given, and not both").
			WithHint("name contacts, or narrow with --deleted-after, --by, --deleted-by-workflow and others; --all takes every deleted contact")
	}
	items, plan, acc, err := c.planRestore(q)
	if err != nil || q.Plan {
		v.Plan = plan
		return v, err
	}
	switch {
	case q.Filter != nil && q.Hash == "":
		return v, crm.Errorf(op, crm.CodeConfirm, "a restore by filter needs the hash of its plan").WithHint("--dry-run shows the plan; then --plan %s --yes", plan.Hash)
	case q.Hash != "" && q.Hash != plan.Hash:
		return v, crm.Errorf(op, crm.CodeStale, "the selection is not what was planned").WithHint("look at it again: --dry-run; its hash is now %s", plan.Hash)
	case plan.Word != "" && q.Confirm != plan.Word:
		return v, crm.Errorf(op, crm.CodeConfirm, "it has to be confirmed").WithHint("--yes")
	case len(plan.Conflicts) > 0 && plan.Policy == crm.Block:
		return v, crm.Errorf(op, crm.CodeConflict, "%d of the selection have an address that another contact holds, %s for one", len(plan.Conflicts), plan.Conflicts[0]).
			WithHint("leave them out, or have the policy skip them: restore.conflict; --dry-run names them")
	case len(items) == 0:
		return v, crm.Errorf(op, crm.CodeNotFound, "no deleted contact is selected").WithHint("reprieve contact list --deleted shows what there is")
	}
	v.Operation, err = c.acceptRestore(acc, items, q.Reason)
	if err == nil && q.Wait {
		v.Operation, err = c.Engine.Work(c.ctx, v.Operation.ID, 0)
	}
	return v, err
}

// planRestore finds out whom a bulk restore is for and what stands in the way.
func (c *call) planRestore(q BulkRestore) (items []store.FrozenItem, plan *RestorePlan, acc crm.AccountID, err error) {
	const op = "restore contacts"
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		a, err := theAccount(tx)
		if err != nil {
			return err
		}
		acc, items = a.ID, nil
		if err := tx.MayAcceptRestore(c.by, acc); err != nil {
			return err
		}
		if most := a.Policy.Restore.MaxSelected; most > 0 && len(q.IDs) > most {
			return crm.Errorf(op, crm.CodeLimited, "%d contacts are named, and the policy lets %d be", len(q.IDs), most).
				WithHint("restore by a filter, which has no cap, or in several goes: restore.max_selected")
		}
		if q.Filter != nil {
			items, err = selectDeleted(tx, acc, q.Filter.ask())
		} else {
			items, err = c.named(tx, q.IDs)
		}
		if err != nil {
			return err
		}
		plan = &RestorePlan{Total: len(items), Policy: a.Policy.Restore.Conflict, Hash: hashOf(items), Conflicts: []crm.ContactID{}}
		plan.Text, plan.Word = a.AskRestore(len(items))
		for _, it := range items {
			if a.Policy.Retention.AfterWindow == crm.Refuse && tx.Now() >= it.Until {
				plan.PastWindow++
			}
		}
		return nil
	})
	seen := map[[16]byte]bool{}
	for rest := items; err == nil && len(rest) > 0 && len(plan.Conflicts) < maxConflicts; {
		n := min(len(rest), 5000) // a transaction keeps what it has read
		err = c.Store.View(c.ctx, func(tx *store.Tx) error {
			found, err := tx.ForeseeConflicts(rest[:n], seen, maxConflicts-len(plan.Conflicts))
			plan.Conflicts = append(plan.Conflicts, found...)
			return err
		})
		rest = rest[n:]
	}
	return items, plan, acc, err
}

// maxConflicts is how many a plan names.
const maxConflicts = 100

func selectDeleted(tx *store.Tx, acc crm.AccountID, d store.Deleted) (items []store.FrozenItem, err error) {
	for after := []byte(nil); ; {
		after, err = tx.ScanDeleted(acc, d, after, func(c *crm.Contact, l crm.Life, _ *crm.Manifest) bool {
			items = append(items, store.FrozenItem{Contact: c.Key(), Epoch: l.Epoch, Until: l.RestorableUntil})
			return true
		})
		if err != nil || after == nil {
			return items, err
		}
	}
}

// named gives the named contacts, each once; one that is not deleted refuses the selection.
func (c *call) named(tx *store.Tx, ids []string) (items []store.FrozenItem, err error) {
	seen := map[crm.Key]bool{}
	for _, id := range ids {
		k, err := c.key(tx, id, crm.OnlyDeleted)
		if err != nil {
			return nil, err
		}
		_, life, err := tx.Contact(k, crm.OnlyDeleted)
		if err != nil {
			return nil, liveAlready(err)
		}
		if !seen[k] {
			items = append(items, store.FrozenItem{Contact: k, Epoch: life.Epoch, Until: life.RestorableUntil})
		}
		seen[k] = true
	}
	return items, nil
}

// hashOf names a selection: the contacts and the deletions that they are in.
func hashOf(items []store.FrozenItem) string {
	h := sha256.New()
	for _, it := range items {
		h.Write(it.Contact.Contact[:])
		h.Write([]byte{byte(it.Epoch >> 24), byte(it.Epoch >> 16), byte(it.Epoch >> 8), byte(it.Epoch)})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// acceptRestore freezes the selection and accepts the operation.
func (c *call) acceptRestore(acc crm.AccountID, items []store.FrozenItem, reason string) (op *crm.Operation, err error) {
	var id crm.OperationID
	for first := true; first || len(items) > 0; first = false {
		n := min(len(items), 1000)
		last := n == len(items)
		if err := c.Store.Update(c.ctx, func(tx *store.Tx) (err error) {
			if id.IsZero() {
				if id, err = tx.NewOperationID(); err != nil {
					return err
				}
			}
			if err := tx.Freeze(id, items[:n]); err != nil || !last {
				return err
			}
			total, err := tx.FrozenCount(id, acc)
			if err != nil {
				return err
			}
			op, err = tx.AcceptRestore(c.by, acc, id, total, reason)
			return err
		}); err != nil {
			return nil, errors.Join(err, c.thaw(id))
		}
		items = items[n:]
	}
	return op, nil
}

// thaw forgets the frozen selection of an operation that was not accepted in the end.
func (c *call) thaw(id crm.OperationID) error {
	for left := true; left && !id.IsZero(); {
		if err := c.Store.Update(context.WithoutCancel(c.ctx), func(tx *store.Tx) error {
			items, err := tx.Frozen(id, crm.Key{}, 1000)
			if left = len(items) > 0; err != nil || !left {
				return err
			}
			return tx.DropFrozen(id, items)
		}); err != nil {
			return err
		}
	}
	return nil
}

// OperationPage is operations, the latest last.
type OperationPage struct {
	Operations []crm.Operation `json:"operations"`
}

func bulkList(c *call, _ None) (OperationPage, error) {
	page := OperationPage{}
	err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
		page.Operations, err = tx.Operations()
		return err
	})
	if page.Operations == nil {
		page.Operations = []crm.Operation{}
	}
	return page, err
}

// OperationID names an operation.
type OperationID struct {
	ID crm.OperationID `json:"id"`
}

// OperationView is an operation with the contacts that it could not deal with, at most MaxPage.
type OperationView struct {
	crm.Operation
	RefusedContacts []store.RefusedItem `json:"refused_contacts"`
}

func bulkGet(c *call, q OperationID) (OperationView, error) {
	v := OperationView{RefusedContacts: []store.RefusedItem{}}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		o, err := tx.Operation(q.ID)
		if err != nil {
			return err
		}
		if o == nil {
			return crm.Errorf("read an operation", crm.CodeNotFound, "there is no operation %s", q.ID).WithHint("reprieve bulk list shows what there is")
		}
		v.Operation = *o
		refused, err := tx.RefusedItems(o, crm.ContactID{}, MaxPage)
		v.RefusedContacts = append(v.RefusedContacts, refused...)
		return err
	})
	return v, err
}

// InboundMessage is a message from outside, by the address that it came from.
type InboundMessage struct {
	ID     crm.ItemID   `json:"id,omitzero"` // the same id again has no second effect
	Email  string       `json:"email,omitempty"`
	Phone  string       `json:"phone,omitempty"`
	Kind   crm.ItemKind `json:"kind,omitempty"` // conversation, unless it says otherwise
	Title  string       `json:"title,omitempty"`
	Body   string       `json:"body,omitempty"`
	Parent crm.ItemID   `json:"parent,omitzero"` // a message's conversation
}

// InboundAnswer says what became of a message.
type InboundAnswer struct {
	Contact crm.ContactID  `json:"contact"`
	Outcome store.Received `json:"outcome"`
}

func contactInbound(c *call, q InboundMessage) (InboundAnswer, error) {
	const op = "receive a message"
	var v InboundAnswer
	from := crm.NamedIdentity{Name: "email", Value: q.Email}
	if q.Email == "" {
		from = crm.NamedIdentity{Name: "phone", Value: q.Phone}
	}
	if (q.Email == "") == (q.Phone == "") {
		return v, crm.Errorf(op, crm.CodeInvalid, "it comes from an e-mail address or a phone number").WithHint("--email or --phone")
	}
	if err := checkFacts(op, q.Email, q.Phone, nil, nil); err != nil {
		return v, err
	}
	if q.Kind == 0 {
		q.Kind = crm.Conversation
	}
	if !q.Kind.IsRecord() || len(q.Title)+len(q.Body) > maxFieldText || !goodText(strings.Join([]string{q.Title, q.Body}, "")) {
		return v, crm.Errorf(op, crm.CodeInvalid, "a message becomes a record of up to 64 KiB of text").WithHint("its kind is conversation, message, note, task, appointment or manual_action")
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		r := crm.Record{ID: q.ID, Kind: q.Kind, Title: q.Title, Body: q.Body, Parent: q.Parent}
		if r.ID.IsZero() {
			if r.ID, err = tx.NewItemID(); err != nil {
				return err
			}
		}
		v.Outcome, v.Contact, err = tx.Receive(c.by, acc.ID, from, r)
		return err
	})
	return v, err
}
