package server

import (
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// AuditFiles is what of the audit lies beside the store: the key by which it is signed, and the heads that were
// exported. The files of a running server may be changed under it, so each call looks anew.
type AuditFiles interface {
	Signer() (*store.Signer, error) // made at the first need
	Rotate(at crm.Nanos) (*store.Signer, error)
	Heads() ([]store.Head, error)
	Append(store.Head) error
}

// signer gives the key by which the audit is signed.
func (c *call) signer() (*store.Signer, error) {
	if c.Audit == nil {
		return nil, crm.Errorf("sign the audit", crm.CodeUnavailable, "there is no place for a signing key").WithHint("use a data directory")
	}
	return c.Audit.Signer()
}

// audited asks whether the caller may read the audit.
func (c *call) audited(tx *store.Tx, op string) (*crm.Account, error) {
	acc, err := theAccount(tx)
	if err != nil {
		return nil, err
	}
	return acc, c.allow(acc, op, crm.VerbAudit)
}

// AuditList asks for entries of the log, the latest first; what is not given does not count.
type AuditList struct {
	Contact   string          `json:"contact,omitempty"`
	Actor     string          `json:"actor,omitempty"` // user:1000
	Kind      crm.EventKind   `json:"kind,omitempty"`  // contact.deleted
	Workflow  string          `json:"workflow,omitempty"`
	Operation crm.OperationID `json:"operation,omitzero"`
	Since     crm.Nanos       `json:"since,omitzero"`
	Until     crm.Nanos       `json:"until,omitzero"`
	Before    uint64          `json:"before,omitempty"` // Next of the page before
	Limit     int             `json:"limit,omitempty"`  // default 100, at most MaxPage
}

// AuditPage is a page of the log. It may be short, or empty, and still have a Next: a call looks only so far.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	Next    uint64       `json:"next,omitempty"`
	First   uint64       `json:"first"`        // the first entry that there still is
	Values  bool         `json:"values_shown"` // what is sealed was opened
}

// AuditEntry is an entry of the log. What it says is empty where the caller does not see values.
type AuditEntry struct {
	HistoryView
	Contact crm.ContactID `json:"contact,omitzero"`
	Sealed  bool          `json:"sealed,omitempty"` // there is more, which the caller does not see
}

// auditLooks is how many entries one call looks at.
const auditLooks = 20_000

func auditList(c *call, q AuditList) (AuditPage, error) {
	const op = "list the audit"
	var page AuditPage
	limit, err := pageLimit(op, q.Limit)
	if err != nil {
		return page, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := c.audited(tx, op)
		if err != nil {
			return err
		}
		page = AuditPage{Entries: []AuditEntry{}, Values: acc.Policy.Allows(c.by.Role, crm.VerbValues) && !acc.HIPAA}
		query := store.AuditQuery{Actor: q.Actor, Kind: q.Kind, Workflow: q.Workflow, Operation: q.Operation, Since: q.Since, Until: q.Until}
		if q.Contact != "" {
			k, err := c.keyFor(tx, q.Contact)
			if err != nil {
				return err
			}
			query.Contact = k.Contact
		}
		if page.First, err = tx.LogStart(); err != nil {
			return err
		}
		entries, next, err := tx.Audit(acc, query, q.Before, limit, auditLooks, page.Values)
		page.Next = next
		for i := range entries {
			page.Entries = append(page.Entries, auditEntry(&entries[i]))
		}
		return err
	})
	return page, err
}

// keyFor is key for those who may not learn by asking whether there is somebody with an address: they name ids.
func (c *call) keyFor(tx *store.Tx, name string) (crm.Key, error) {
	if _, err := crm.ParseID[crm.ContactKind](name); err != nil && c.by.Role == crm.Auditor {
		return crm.Key{}, crm.Errorf("find a contact", crm.CodeDenied, "an auditor names contacts by their ids").WithHint("reprieve audit list shows ids")
	}
	return c.key(tx, name, crm.LiveOrDead)
}

func auditEntry(l *store.Logged) AuditEntry {
	ev := &l.Event
	v := AuditEntry{Contact: ev.Contact, Sealed: l.Sealed, HistoryView: historyView(l)}
	if !l.Sealed {
		v.What = what(ev)
		if v.What == "" {
			v.What = ev.Data.Name
		}
	}
	return v
}

// AuditExport asks for the next part of an export of the log.
type AuditExport struct {
	First uint64 `json:"first,omitempty"` // the first entry of the export; 0: the first that there is
	Last  uint64 `json:"last,omitempty"`  // its last; 0: the last that there is. For the next part: Last of the one before
	At    uint64 `json:"at,omitempty"`    // Next of the part before
}

// AuditPart is a part of an export: whole lines. The parts one after the other are the file.
type AuditPart struct {
	Lines []byte `json:"lines"`
	Last  uint64 `json:"last"`
	Next  uint64 `json:"next,omitempty"`
}

func auditExport(c *call, q AuditExport) (AuditPart, error) {
	if err := c.Store.View(c.ctx, func(tx *store.Tx) error { _, err := c.audited(tx, "export the audit"); return err }); err != nil {
		return AuditPart{}, err
	}
	signer, err := c.signer()
	if err != nil {
		return AuditPart{}, err
	}
	p, err := c.Store.Export(c.ctx, signer, q.First, q.Last, q.At)
	return AuditPart(p), err
}

func auditKey(c *call, _ None) (store.Keys, error) {
	signer, err := c.signer()
	if err != nil {
		return store.Keys{}, err
	}
	return *signer.Public(), nil
}

// auditRotate has another key sign from now on, and notes it in the log. A crash in between leaves a key that is
// not noted there; its file says since when it is.
func auditRotate(c *call, _ None) (store.Keys, error) {
	const op = "rotate the signing key"
	if err := c.admin(op); err != nil {
		return store.Keys{}, err
	}
	var acc crm.AccountID
	var now crm.Nanos
	if err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		a, err := theAccount(tx)
		if err == nil {
			acc, now = a.ID, tx.Now()
		}
		return err
	}); err != nil {
		return store.Keys{}, err
	}
	if _, err := c.signer(); err != nil {
		return store.Keys{}, err
	}
	signer, err := c.Audit.Rotate(now)
	if err != nil {
		return store.Keys{}, err
	}
	keys := signer.Public()
	return *keys, c.Store.Update(c.ctx, func(tx *store.Tx) error { return tx.NoteAuditKey(c.by, acc, keys.Key) })
}

// AuditView is what verifying the log found.
type AuditView struct {
	Entries uint64    `json:"entries"`
	Head    string    `json:"head"`
	First   uint64    `json:"first,omitempty"`          // the first entry, where the log does not begin at 1
	Heads   int       `json:"exported_heads,omitempty"` // that are in the chain
	Newest  crm.Nanos `json:"newest_head,omitzero"`     // when the last of them was exported
}

// auditVerify recomputes the chain, and compares it with the heads that were exported.
func auditVerify(c *call, _ None) (AuditView, error) {
	var keys *store.Keys
	var heads []store.Head
	if c.Audit != nil {
		signer, err := c.Audit.Signer()
		if err != nil {
			return AuditView{}, err
		}
		if heads, err = c.Audit.Heads(); err != nil {
			return AuditView{}, err
		}
		keys = signer.Public()
	}
	found, err := c.Store.Verify(c.ctx, keys, heads)
	if err != nil {
		var e *crm.Error
		if errors.As(err, &e) && e.Code == crm.CodeCorrupt {
			c.Log.Error().Err(err).Msg("the log does not verify")
		}
		return AuditView{}, err
	}
	v := AuditView{Entries: found.Entries, Heads: found.Heads}
	if found.First > 1 {
		v.First = found.First
	}
	if found.Entries > 0 {
		hash, _ := found.Hash.MarshalText()
		v.Head = string(hash)
	}
	for _, h := range heads {
		v.Newest = max(v.Newest, h.At)
	}
	return v, nil
}
