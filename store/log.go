package store

import (
	"bytes"
	"context"
	"crypto/sha256"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// logName is the one log: outbox and audit at once, one entry a mutation, chained by hash.
const logName = "log"

// entry is a line of the log. What stands in the open holds no personal data; the rest is sealed.
type entry struct {
	Seq     uint64        `cbor:"1,keyasint"`
	Prev    [32]byte      `cbor:"2,keyasint"` // the hash of the entry before
	Kind    crm.EventKind `cbor:"3,keyasint"`
	Account crm.AccountID `cbor:"4,keyasint"`
	Contact crm.ContactID `cbor:"5,keyasint,omitzero"`
	Epoch   uint64        `cbor:"6,keyasint,omitempty"`
	Rev     uint64        `cbor:"7,keyasint,omitempty"`
	At      crm.Nanos     `cbor:"8,keyasint"`
	By      crm.Actor     `cbor:"9,keyasint"`
	Why     crm.Cause     `cbor:"10,keyasint"`
	Open    crm.EventData `cbor:"11,keyasint,omitzero"`
	Sealed  []byte        `cbor:"12,keyasint,omitempty"`
	Before  uint64        `cbor:"13,keyasint,omitempty"` // the entry before it in the contact's history

	// What is sealed when the entry is written; nil for an entry that stands in the open.
	payload *payload
	salt    *crm.Contact
}

// payload is the sealed part of an entry.
type payload struct {
	Data  crm.EventData `cbor:"1,keyasint,omitzero"`
	After *crm.Contact  `cbor:"2,keyasint,omitempty"`
}

// announce stages an event of a contact's facts: its data and its image are sealed. It puts the entry
// at the end of the contact's history, in c, which the caller stages.
func (tx *Tx) announce(ev crm.Event, c *crm.Contact, l crm.Life) error {
	e := entryOf(ev)
	e.payload, e.salt = &payload{ev.Data, ev.After}, c
	return tx.extend(e, max(c.Last, l.Last), &c.Last)
}

// noteLife stages an event of a life, which holds no personal data, at the end of the contact's history,
// in l, which the caller stages. c is nil once the contact is purged.
func (tx *Tx) noteLife(ev crm.Event, c *crm.Contact, l *crm.Life) error {
	e, last := entryOf(ev), l.Last
	e.Open = ev.Data
	if c != nil {
		last = max(last, c.Last)
	}
	return tx.extend(e, last, &l.Last)
}

// noteSealed is noteLife with more that may be personal, and is sealed: why a contact is held, or the hash of
// the export before a delete, by which whoever guesses what was in it could tell that he is right.
func (tx *Tx) noteSealed(ev crm.Event, c *crm.Contact, l *crm.Life, private crm.EventData) error {
	if err := tx.noteLife(ev, c, l); err != nil || private == (crm.EventData{}) {
		return err
	}
	e := &tx.entries[len(tx.entries)-1]
	private.Until = ev.Data.Until
	e.payload, e.salt = &payload{Data: private}, c
	return nil
}

// note stages an event that holds no personal data and belongs to no contact's history: a run's, a
// workflow's, the account's.
func (tx *Tx) note(ev crm.Event) error {
	e := entryOf(ev)
	e.Open = ev.Data
	return tx.extend(e, 0, nil)
}

func entryOf(ev crm.Event) entry {
	return entry{Kind: ev.Kind, Account: ev.Account, Contact: ev.Contact, Epoch: ev.Epoch, Rev: ev.Rev, At: ev.At, By: ev.By, Why: ev.Why}
}

// extend stages an entry and writes its number to where a history ends.
func (tx *Tx) extend(e entry, before uint64, end *uint64) error {
	if tx.head == nil {
		head, err := one(tx.ctx, tx.row.Marks(), markHead)
		if err != nil {
			return err
		}
		if head == nil {
			head = &row.Mark{}
		}
		tx.head = head
	}
	e.Seq, e.Before = tx.head.N+uint64(len(tx.entries))+1, before
	if end != nil {
		*end = e.Seq
	}
	tx.entries = append(tx.entries, e)
	return nil
}

// flushLog chains and appends the staged entries.
func (tx *Tx) flushLog(ctx context.Context) error {
	if len(tx.entries) == 0 {
		return nil
	}
	head, next := tx.head, row.Mark{Name: markHead, Bytes: make([]byte, sha256.Size), At: tx.now}
	if head.N > 0 {
		next.N, next.Bytes = head.N, bytes.Clone(head.Bytes)
	} else {
		head = nil
	}
	rows := make([][]byte, len(tx.entries))
	for i := range tx.entries {
		e := &tx.entries[i]
		next.N = e.Seq
		e.Prev = [32]byte(next.Bytes)
		var err error
		if e.payload != nil {
			if e.Sealed, err = tx.s.seal(e.salt, "log", e.Seq, e.payload); err != nil {
				return err
			}
		}
		if rows[i], err = codec.Marshal(e); err != nil {
			return err
		}
		sum := sha256.Sum256(rows[i])
		next.Bytes = sum[:]
	}
	tx.entries, tx.head = nil, nil
	if err := tx.row.Append(ctx, logName, rows); err != nil {
		return err
	}
	return tx.row.Marks().Write(ctx, []row.Change[row.Mark]{{Old: head, New: &next}})
}

// Logged is an entry of the log as its readers see it.
type Logged struct {
	Seq    uint64
	Before uint64    // the entry before it in the contact's history, 0 for the first
	Event  crm.Event // After is nil when the payload cannot be opened: the contact was purged
	Err    error     // the contact's row or the payload is damaged; the event starts nothing
	// Unreadable says that the contact was purged: its salt is gone, and with it what was sealed.
	Unreadable bool
	Sealed     bool // a part of it is sealed, and was not asked for
}

// Events gives up to n entries behind a cursor (nil: from the start) and the cursor behind the last.
func (tx *Tx) Events(after []byte, n int) ([]Logged, []byte, error) {
	raw, cursor, err := tx.row.Next(tx.ctx, logName, after, n)
	if err != nil || len(raw) == 0 {
		return nil, after, err
	}
	entries := make([]entry, len(raw))
	var keys []crm.Key
	for i, b := range raw {
		if err := codec.Unmarshal(b, &entries[i]); err != nil {
			return nil, after, err
		}
		if e := &entries[i]; len(e.Sealed) > 0 {
			keys = append(keys, crm.Key{Account: e.Account, Contact: e.Contact})
		}
	}
	if err := tx.contacts.load(tx.ctx, keys...); err != nil && crm.CodeOf(err) != crm.CodeCorrupt {
		return nil, after, err
	}
	out := make([]Logged, len(entries))
	for i := range entries {
		if out[i], err = tx.opened(&entries[i]); err != nil {
			return nil, after, err
		}
	}
	return out, cursor, nil
}

// opened gives an entry as readers see it.
func (tx *Tx) opened(e *entry) (Logged, error) {
	l := Logged{Seq: e.Seq, Before: e.Before, Event: crm.Event{Kind: e.Kind, Account: e.Account, Contact: e.Contact, Epoch: e.Epoch,
		Rev: e.Rev, At: e.At, By: e.By, Why: e.Why, Data: e.Open}}
	if len(e.Sealed) == 0 {
		return l, nil
	}
	var p payload
	c, err := tx.contacts.get(tx.ctx, crm.Key{Account: e.Account, Contact: e.Contact})
	if err == nil && c != nil {
		err = tx.s.open(c, "log", e.Seq, e.Sealed, &p)
	}
	if crm.CodeOf(err) == crm.CodeCorrupt { // one damaged contact must not end all dispatching
		l.Err = err
		return l, nil
	}
	if err == nil {
		l.Event.Data, l.Event.After, l.Unreadable = p.Data, p.After, c == nil
	}
	return l, err
}

// History gives a contact's entries of the log, the latest first: those before an entry (0: from the
// end), at most n. It goes from entry to entry, so what it costs is what it gives. Of a purged contact
// it gives what stands in the open: what happened, when and by whom. It ends where the log begins: if the last
// that it gives has a Before, what was before has been removed.
func (tx *Tx) History(k crm.Key, before uint64, n int) ([]Logged, error) {
	c, life, err := tx.Peek(k)
	if err != nil {
		return nil, err
	}
	at := life.Last
	if c != nil {
		at = max(at, c.Last)
	}
	if before > at || at == 0 {
		before = 0
	}
	start, err := tx.LogStart()
	if err != nil {
		return nil, err
	}
	if before != 0 {
		e, err := tx.nth(k, before)
		if err != nil {
			return nil, err
		}
		at = e.Before
	}
	var out []Logged
	for at >= start && len(out) < n {
		e, err := tx.nth(k, at)
		if err != nil {
			return nil, err
		}
		l, err := tx.opened(e)
		if err != nil {
			return nil, err
		}
		out, at = append(out, l), e.Before
	}
	return out, nil
}

// rawEntry reads an entry of the log, with its bytes; nil if there is none.
func (tx *Tx) rawEntry(n uint64) ([]byte, *entry, error) {
	raw, err := tx.row.Nth(tx.ctx, logName, n)
	if err != nil {
		return nil, nil, err
	}
	e := &entry{}
	if raw != nil {
		err = codec.Unmarshal(raw, e)
	} else {
		e = nil
	}
	return raw, e, err
}

// nth reads an entry of the log that belongs to a contact.
func (tx *Tx) nth(k crm.Key, n uint64) (*entry, error) {
	raw, e, err := tx.rawEntry(n)
	if err != nil {
		return nil, err
	}
	if raw == nil || e.Seq != n || e.Contact != k.Contact || e.Account != k.Account || e.Before >= n {
		return nil, crm.Errorf("read a history", crm.CodeNotFound, "entry %d of the log is none of it", n).About(k.Contact).
			WithHint("go on with the next of an earlier page")
	}
	return e, nil
}

// Known says whether a contact has a history, also one that was removed from the log.
func (tx *Tx) Known(k crm.Key) (bool, error) {
	c, life, err := tx.Peek(k)
	return c != nil || life.Last != 0, err
}

// NoteAuditKey stages the entry that another key signs from now on.
func (tx *Tx) NoteAuditKey(by crm.Actor, acc crm.AccountID, key PublicKey) error {
	return tx.note(crm.Event{Kind: crm.AuditKeyRotated, Account: acc, At: tx.now, By: by, Why: crm.Cause{Kind: crm.ByPerson},
		Data: crm.EventData{Name: key.String()}})
}

// LogStart gives the number of the first entry that the log still has, or will have: those before it were removed
// at the end of audit.keep.
func (tx *Tx) LogStart() (uint64, error) {
	cut, err := one(tx.ctx, tx.row.Marks(), markCut)
	if cut == nil {
		return 1, err
	}
	return cut.N + 1, err
}

// Waiting counts the entries behind a cursor, up to n.
func (tx *Tx) Waiting(after []byte, n int) (int, error) {
	rows, _, err := tx.row.Next(tx.ctx, logName, after, n)
	return len(rows), err
}
