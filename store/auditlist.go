package store

import (
	"sort"

	"github.com/reprieve-run/reprieve/crm"
)

// AuditQuery selects entries of the log; what is zero does not count.
type AuditQuery struct {
	Contact   crm.ContactID
	Actor     string // user:1000
	Kind      crm.EventKind
	Workflow  string
	Operation crm.OperationID
	Since     crm.Nanos // at or after
	Until     crm.Nanos // before
}

// wants says whether an entry is one of those; the time is seen to by where the walk begins and ends.
func (q *AuditQuery) wants(e *entry) bool {
	return (q.Contact.IsZero() || e.Contact == q.Contact) && (q.Actor == "" || e.By.ID == q.Actor) && (q.Kind == "" || e.Kind == q.Kind) &&
		(q.Workflow == "" || e.Why.Workflow == q.Workflow) && (q.Operation.IsZero() || e.Why.Operation == q.Operation)
}

// Audit gives entries of an account, the latest first: at most n of those before an entry (0: from the end). It
// looks at so many at most, so a page may be short; next is where to go on, 0 at the end. sealed says whether what
// is sealed is opened; otherwise Data and After of a sealed entry stay empty. It opens nothing for a HIPAA account.
func (tx *Tx) Audit(acc *crm.Account, q AuditQuery, before uint64, n, looks int, sealed bool) (out []Logged, next uint64, err error) {
	at, start, err := tx.auditFrom(acc, &q, before)
	for ; err == nil && at >= start && at > 0; looks-- {
		if len(out) == n || looks == 0 {
			return out, at + 1, nil
		}
		_, e, err := tx.rawEntry(at)
		if err == nil && e == nil {
			err = broken("entry %d is missing", at)
		}
		if err != nil || e.At < q.Since {
			return out, 0, err
		}
		if e.Account == acc.ID && q.wants(e) {
			l, err := tx.shown(e, sealed && !acc.HIPAA)
			if err != nil {
				return nil, 0, err
			}
			out = append(out, l)
		}
		at--
	}
	return out, 0, err
}

// shown gives an entry with or without what is sealed in it.
func (tx *Tx) shown(e *entry, sealed bool) (Logged, error) {
	if sealed {
		return tx.opened(e)
	}
	open := *e
	open.Sealed = nil
	l, err := tx.opened(&open)
	if len(e.Sealed) > 0 && err == nil {
		var c *crm.Contact
		if c, _, err = tx.Peek(crm.Key{Account: e.Account, Contact: e.Contact}); crm.CodeOf(err) == crm.CodeCorrupt {
			err = nil
		}
		l.Unreadable, l.Sealed = c == nil, true
	}
	return l, err
}

// auditFrom gives the entry to begin with, going back, and the first that there is.
func (tx *Tx) auditFrom(acc *crm.Account, q *AuditQuery, before uint64) (at, start uint64, err error) {
	if start, err = tx.LogStart(); err != nil {
		return 0, 0, err
	}
	head, err := one(tx.ctx, tx.row.Marks(), markHead)
	if err != nil || head == nil {
		return 0, start, err
	}
	at = head.N
	if before != 0 {
		at = min(at, before-1)
	}
	if q.Until != 0 && at >= start { // entries stand in the order of their instants
		n := sort.Search(int(at-start+1), func(i int) bool {
			_, e, rerr := tx.rawEntry(start + uint64(i))
			if rerr != nil && err == nil {
				err = rerr
			}
			return e == nil || e.At >= q.Until
		})
		at = start + uint64(n) - 1
	}
	return at, start, err
}
