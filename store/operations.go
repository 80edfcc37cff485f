package store

import (
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Deleted asks for deleted contacts: each member that is set narrows. It is what a search of them and a
// bulk restore by filter go by (S3.7).
type Deleted struct {
	From, To  crm.Nanos // deleted at or after From, before To
	Name      string    // part of the first or last name, folded
	Email     string    // part of the e-mail address, folded
	By        string    // who deleted: user:1000, workflow:cleanup
	Workflow  string    // through which workflow
	Operation crm.OperationID
}

// match says whether a deletion is asked for.
func (d Deleted) match(c *crm.Contact, m *crm.Manifest) bool {
	return (d.From == 0 || m.At >= d.From) && (d.To == 0 || m.At < d.To) &&
		(d.Name == "" || contains(c.Field("first_name").Text+" "+c.Field("last_name").Text, d.Name)) &&
		(d.Email == "" || contains(c.Email.Value, d.Email)) &&
		(d.By == "" || m.By.ID == d.By) && (d.Workflow == "" || m.Why.Workflow == d.Workflow) &&
		(d.Operation.IsZero() || m.Why.Operation == d.Operation)
}

// ScanDeleted yields the deleted contacts that are asked for, with their tombstones, like Scan.
func (tx *Tx) ScanDeleted(acc crm.AccountID, d Deleted, after []byte, yield func(*crm.Contact, crm.Life, *crm.Manifest) bool) (next []byte, err error) {
	var failed error
	next, err = tx.Scan(crm.Query{Account: acc, State: crm.OnlyDeleted, After: after}, func(c *crm.Contact, l *crm.Life) bool {
		m, err := tx.Tombstone(c.Key(), *l)
		if err != nil || m == nil {
			failed = err
			return err == nil
		}
		return !d.match(c, m) || yield(c, *l, m)
	})
	if err == nil {
		err = failed
	}
	return next, err
}

// Operation gives an operation, nil if there is none.
func (tx *Tx) Operation(id crm.OperationID) (*crm.Operation, error) {
	return one(tx.ctx, tx.row.Operations(), id)
}

// Operations lists operations in the order in which they were accepted.
func (tx *Tx) Operations() ([]crm.Operation, error) {
	var to crm.OperationID
	for i := range to {
		to[i] = 0xff
	}
	return tx.row.Operations().Range(tx.ctx, crm.OperationID{}, to, 0)
}

// Freeze adds contacts to the frozen selection of an operation that is about to be accepted.
func (tx *Tx) Freeze(op crm.OperationID, items []FrozenItem) error {
	tx.wrote = true
	ch := make([]row.Change[row.Item], len(items))
	for i, it := range items {
		ch[i].New = &row.Item{Op: op, Account: it.Contact.Account, Contact: it.Contact.Contact, Epoch: it.Epoch}
	}
	return tx.row.Items().Write(tx.ctx, ch)
}

// FrozenCount counts the frozen selection of an operation.
func (tx *Tx) FrozenCount(op crm.OperationID, acc crm.AccountID) (int, error) {
	n := 0
	for after := (crm.Key{Account: acc}); ; {
		items, err := tx.frozen(op, after, 10_000)
		if n += len(items); err != nil || len(items) < 10_000 {
			return n, err
		}
		after.Contact = items[len(items)-1].Contact
	}
}

// AcceptRestore accepts a bulk restore over a frozen selection. It is judged by this instant from now on,
// and no sweep purges in the account until it has ended. There are only so many at a time (S3.6).
func (tx *Tx) AcceptRestore(by crm.Actor, acc crm.AccountID, id crm.OperationID, total int, reason string) (*crm.Operation, error) {
	if err := tx.MayAcceptRestore(by, acc); err != nil {
		return nil, err
	}
	a, err := tx.Account(acc)
	if err != nil {
		return nil, err
	}
	o := &crm.Operation{ID: id, Account: acc, Verb: crm.VerbRestore, State: crm.OperationRunning, By: by, Reason: reason, Accepted: tx.now, Total: total}
	next := *a
	next.Restoring = append(slices.Clone(a.Restoring), id)
	tx.wrote = true
	tx.accounts.put(acc, &next)
	if err := insert(tx.ctx, tx.row.Operations(), o); err != nil {
		return nil, err
	}
	return o, tx.note(crm.Event{Kind: crm.OperationAccepted, Account: acc, At: tx.now, By: by, Why: crm.Cause{Kind: crm.ByPerson, Operation: id},
		Data: crm.EventData{Name: string(o.Verb)}})
}

// MayAcceptRestore says whether a bulk restore could be accepted now.
func (tx *Tx) MayAcceptRestore(by crm.Actor, acc crm.AccountID) error {
	const op = "restore contacts"
	a, err := tx.Account(acc)
	if err != nil {
		return err
	}
	if err := tx.allowed(op, a, by, crm.Cause{Kind: crm.ByPerson}, crm.VerbRestore, crm.ContactID{}); err != nil {
		return err
	}
	if off := restoresOff(op, a); off != nil {
		return off
	}
	if len(a.Restoring) >= max(1, a.Policy.Restore.ConcurrentOperations) {
		return crm.Errorf(op, crm.CodeRunning, "the bulk restore %s runs on the account", a.Restoring[0]).
			WithHint("wait for it: reprieve bulk get %s; a single contact can be restored meanwhile", a.Restoring[0])
	}
	return nil
}

// acceptedAt gives the instant by which a restore is judged.
func (tx *Tx) acceptedAt(id crm.OperationID) (crm.Nanos, error) {
	if id.IsZero() {
		return tx.now, nil
	}
	o, err := tx.Operation(id)
	if err != nil || o == nil || o.State != crm.OperationRunning || o.Verb != crm.VerbRestore {
		return tx.now, err
	}
	return o.Accepted, nil
}

// Work deals with the next contacts of a running operation, at most n, in one transaction: each once,
// whatever happens in between. It gives the operation as it is then.
func (tx *Tx) Work(id crm.OperationID, n int) (*crm.Operation, error) {
	was, err := tx.Operation(id)
	if err != nil || was == nil || was.State != crm.OperationRunning {
		return was, err
	}
	items, err := tx.frozen(id, crm.Key{Account: was.Account, Contact: was.After}, n)
	if err != nil {
		return was, err
	}
	o := *was
	why := crm.Cause{Kind: crm.ByPerson, Operation: id}
	for i := range items {
		it := &items[i]
		o.After = it.Contact
		code, err := tx.restoreItem(&o, why, it)
		if err != nil {
			return was, err
		}
		if err := tx.settle(&o, it, code); err != nil {
			return was, err
		}
	}
	if len(items) < n {
		if err := tx.endOperation(&o); err != nil {
			return was, err
		}
	}
	tx.wrote = true
	return &o, tx.row.Operations().Write(tx.ctx, []row.Change[crm.Operation]{{Old: was, New: &o}})
}

// settle counts what became of a contact of a selection. Only who was refused stays in it.
func (tx *Tx) settle(o *crm.Operation, it *row.Item, code string) error {
	if code == "" {
		o.Done++
		return remove(tx.ctx, tx.row.Items(), []row.Item{*it})
	}
	o.Refused++
	next := *it
	next.Code = code
	return tx.row.Items().Write(tx.ctx, []row.Change[row.Item]{{Old: it, New: &next}})
}

// PassOver refuses the next contact of a running operation with a code, without looking at it: one whose
// rows are damaged must not keep the others.
func (tx *Tx) PassOver(id crm.OperationID, code string) error {
	was, err := tx.Operation(id)
	if err != nil || was == nil || was.State != crm.OperationRunning {
		return err
	}
	items, err := tx.frozen(id, crm.Key{Account: was.Account, Contact: was.After}, 1)
	if err != nil || len(items) == 0 {
		return err
	}
	o := *was
	o.After = items[0].Contact
	if err := tx.settle(&o, &items[0], code); err != nil {
		return err
	}
	tx.wrote = true
	return tx.row.Operations().Write(tx.ctx, []row.Change[crm.Operation]{{Old: was, New: &o}})
}

// restoreItem restores one contact of a selection, if it is still in the deletion that was selected.
func (tx *Tx) restoreItem(o *crm.Operation, why crm.Cause, it *row.Item) (code string, err error) {
	k := crm.Key{Account: it.Account, Contact: it.Contact}
	life, err := tx.Life(k)
	if err != nil {
		return "", err
	}
	if life.Epoch != it.Epoch && life.State == crm.Deleted {
		return crm.CodeStale, nil
	}
	_, err = tx.Apply(o.By, why, crm.Restore{Contact: k, Reason: o.Reason})
	if crm.IsRefusal(err) {
		return crm.CodeOf(err), nil
	}
	return "", err
}

func (tx *Tx) endOperation(o *crm.Operation) error {
	o.State, o.Ended = crm.OperationComplete, tx.now
	if o.Refused > 0 {
		o.State = crm.OperationErrors
	}
	a, err := tx.Account(o.Account)
	if err != nil {
		return err
	}
	next := *a
	next.Restoring = slices.DeleteFunc(slices.Clone(a.Restoring), func(id crm.OperationID) bool { return id == o.ID })
	tx.accounts.put(a.ID, &next)
	return tx.note(crm.Event{Kind: crm.OperationEnded, Account: o.Account, At: tx.now, By: o.By, Why: crm.Cause{Kind: crm.ByPerson, Operation: o.ID},
		Data: crm.EventData{Name: string(o.Verb), Value: string(o.State)}})
}

// RefusedItem is a contact that an operation could not deal with, and the code of why.
type RefusedItem struct {
	Contact crm.ContactID `json:"contact"`
	Code    string        `json:"code"`
}

// RefusedItems lists those behind a contact, at most n.
func (tx *Tx) RefusedItems(o *crm.Operation, after crm.ContactID, n int) ([]RefusedItem, error) {
	var out []RefusedItem
	for {
		items, err := tx.frozen(o.ID, crm.Key{Account: o.Account, Contact: after}, 1000)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			if after = it.Contact; it.Code != "" {
				out = append(out, RefusedItem{it.Contact, it.Code})
			}
			if len(out) == n {
				return out, nil
			}
		}
		if len(items) < 1000 {
			return out, nil
		}
	}
}

// ForeseeConflicts gives those of a selection of deleted contacts of which another contact holds an
// address: a live one, or one of the same selection that would be restored before it. seen remembers the
// addresses of the selection from page to page, each of which wants a transaction of its own. At most n.
func (tx *Tx) ForeseeConflicts(items []FrozenItem, seen map[[16]byte]bool, n int) ([]crm.ContactID, error) {
	var out []crm.ContactID
	for _, it := range items {
		c, _, err := tx.Peek(it.Contact)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		ids := c.Identities()
		taken, err := tx.taken(c, ids)
		if err != nil {
			return nil, err
		}
		conflict := len(taken) > 0
		for _, h := range tx.s.keys.identityHashes(c.Account, ids) {
			conflict = conflict || seen[[16]byte(h[:16])]
			seen[[16]byte(h[:16])] = true
		}
		if conflict {
			if out = append(out, c.ID); len(out) == n {
				break
			}
		}
	}
	return out, nil
}

// contains compares folded, as tags are compared.
func contains(s, part string) bool { return strings.Contains(crm.Fold(s), crm.Fold(part)) }
