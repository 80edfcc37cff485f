package server

import (
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// ImportOptions says how a file is taken in.
type ImportOptions struct {
	Trigger bool `json:"trigger,omitempty"` // let the imported contacts start workflows; off by default
	// OnDeleted says what becomes of a row whose address a deleted contact has: refuse, which asks whether
	// it should be restored instead, or create, which makes somebody new.
	OnDeleted string `json:"on_deleted,omitempty"`
}

// What becomes of rows with the address of a deleted contact.
const (
	OnDeletedRefuse = "refuse" // the default
	OnDeletedCreate = "create"
)

// Imported is what an import did. The good rows are in, the bad ones are here.
type Imported struct {
	Rows     int      `json:"rows"`
	Created  int      `json:"created"`
	Header   []string `json:"header,omitempty"` // the columns of the rejected rows
	Rejected []Reject `json:"rejected"`         // the first 10,000, in the order of the file
	More     int      `json:"rejected_not_shown,omitempty"`
}

// maxRejects is how many rejected rows an answer holds.
const maxRejects = 10_000

func (i *Imported) reject(r Reject) {
	if len(i.Rejected) < maxRejects {
		i.Rejected = append(i.Rejected, r)
	} else {
		i.More++
	}
	i.Rows++
}

// refused is the row that a refused mutation stands for.
func refused(line int, row []string, err error) (Reject, bool) {
	var e *crm.Error
	if !errors.As(err, &e) || !crm.IsRefusal(err) || e.Code == crm.CodeDenied || e.Err == nil {
		return Reject{}, false
	}
	r := Reject{Line: line, Code: e.Code, Reason: e.Err.Error(), Row: row}
	if e.Hint != "" {
		r.Reason += "; " + e.Hint
	}
	return r, true
}

// rowReader is readContacts or readAssociated.
type rowReader[T any] func(r io.Reader, header func([]string), yield func(T) error, reject func(Reject)) error

// counted counts the bytes that were read through it.
type counted struct {
	r io.Reader
	n int
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// importRows takes in what a reader yields, so many rows to a transaction. A row that is refused is
// rejected with its line and reason; the others of its transaction go in.
func importRows[T any](c *call, q ImportOptions, read rowReader[T], place func(*T) (line int, row []string), take func(*intake, *T) error) (Imported, error) {
	done := Imported{Rejected: []Reject{}}
	if c.in == nil {
		return done, crm.Errorf("import", crm.CodeInvalid, "there is no file")
	}
	if q.OnDeleted != "" && q.OnDeleted != OnDeletedRefuse && q.OnDeleted != OnDeletedCreate {
		return done, crm.Errorf("import", crm.CodeInvalid, "a row that names a deleted contact is refused, or makes somebody new").WithHint("--on-deleted refuse or create")
	}
	why := q.why(c)
	var rows []T
	commit := func() error {
		var bad []Reject
		err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
			bad = nil
			acc, err := theAccount(tx)
			if err != nil {
				return err
			}
			if err := c.allow(acc, "import", crm.VerbWrite); err != nil {
				return err
			}
			in := &intake{tx: tx, by: c.by, acc: acc.ID, why: why, named: map[crm.ItemKind]map[string]crm.ItemID{}, again: q.OnDeleted == OnDeletedCreate}
			for i := range rows {
				err := take(in, &rows[i])
				line, row := place(&rows[i])
				if r, ok := refused(line, row, err); ok {
					bad = append(bad, r)
				} else if err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			done.Rows += len(rows) - len(bad)
			done.Created += len(rows) - len(bad)
			for _, r := range bad {
				done.reject(r)
			}
		}
		rows = rows[:0]
		return err
	}
	if err := commit(); err != nil { // who may not import must not have the file read first
		return done, err
	}
	in := &counted{r: c.in}
	err := read(in, func(h []string) { done.Header = h }, func(row T) error {
		if rows = append(rows, row); len(rows) < 500 && in.n < 1<<20 {
			return nil
		}
		in.n = 0
		return commit()
	}, done.reject)
	err = errors.Join(err, commit())
	slices.SortStableFunc(done.Rejected, func(a, b Reject) int { return a.Line - b.Line })
	return done, err
}

func (q ImportOptions) why(c *call) crm.Cause {
	if q.Trigger {
		return c.why()
	}
	return crm.Cause{Kind: crm.ByImport}
}

// contactImport takes contacts in from a CSV. A row whose address or foreign id belongs to a live
// contact, or to a deleted one, is rejected and says which: never a silent duplicate, and never a
// silent second life for somebody who was deleted.
func contactImport(c *call, q ImportOptions) (Imported, error) {
	return importRows(c, q, readContacts, func(r *intakeContact) (int, []string) { return r.Line, r.Row }, (*intake).contact)
}

// recordImport takes associated records, opportunities and companies in from JSONL.
func recordImport(c *call, q ImportOptions) (Imported, error) {
	return importRows(c, q, readAssociated, func(r *intakeItem) (int, []string) { return r.Line, r.Row }, (*intake).item)
}

// intake is one transaction of an import.
type intake struct {
	tx    *store.Tx
	by    crm.Actor
	acc   crm.AccountID
	why   crm.Cause
	named map[crm.ItemKind]map[string]crm.ItemID // lists, campaigns: folded name → id
	again bool                                   // somebody who was deleted is made anew
}

// object gives the list or campaign of a name, making it if there is none.
func (in *intake) object(kind crm.ItemKind, name string) (crm.ItemID, error) {
	if in.named[kind] == nil {
		all, err := in.tx.Objects(in.acc, kind)
		if err != nil {
			return crm.ItemID{}, err
		}
		in.named[kind] = map[string]crm.ItemID{}
		for _, o := range all {
			if !o.Deleted.IsSet() {
				in.named[kind][crm.Fold(o.Name)] = o.ID
			}
		}
	}
	if id, ok := in.named[kind][crm.Fold(name)]; ok {
		return id, nil
	}
	id, err := in.tx.NewItemID()
	if err != nil {
		return id, err
	}
	in.named[kind][crm.Fold(name)] = id
	return id, in.tx.PutObject(in.by, in.why, crm.Object{Account: in.acc, Kind: kind, ID: id, Name: name})
}

func (in *intake) contact(row *intakeContact) error {
	if !in.again {
		if err := in.notDeleted(&row.Contact); err != nil {
			return err
		}
	}
	n := *row.Contact.Clone()
	id, err := in.tx.NewContactID()
	if err != nil {
		return err
	}
	n.Account, n.ID = in.acc, id
	for _, l := range row.Lists {
		list, err := in.object(crm.List, l.Name)
		if err != nil {
			return err
		}
		n.Lists = append(n.Lists, crm.Membership{List: list, Status: l.Status, Since: n.CreatedAt})
	}
	if _, err := in.tx.Apply(in.by, in.why, crm.Create{Contact: n}); err != nil {
		return err
	}
	for _, name := range row.Campaigns {
		campaign, err := in.object(crm.Campaign, name)
		if err != nil {
			return err
		}
		if _, err := in.tx.Apply(in.by, in.why, crm.Connect{Contact: n.Key(), Kind: crm.Campaign, Object: campaign}); err != nil {
			return err
		}
	}
	return nil
}

// notDeleted refuses a row that names a deleted contact.
func (in *intake) notDeleted(n *crm.Contact) error {
	for _, id := range n.Identities() {
		keys, err := in.tx.Find(in.acc, id.Name, id.Value, crm.OnlyDeleted)
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			return crm.Errorf("import a contact", crm.CodeDeleted, "a deleted contact has the same %s", id.Name).
				WithHint("restore instead? reprieve contact restore %s", keys[0].Contact)
		}
	}
	return nil
}

// item takes one associated record or shared object in. Its id is derived from the one it had in the
// system it comes from, so that importing it again is refused rather than doubled.
func (in *intake) item(row *intakeItem) error {
	id, err := in.itemID(row)
	if err != nil {
		return err
	}
	var keys []crm.Key
	for _, ext := range row.Contacts {
		found, err := in.tx.Find(in.acc, "external_id", ext, crm.OnlyLive)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return crm.Errorf("import a record", crm.CodeNotFound, "no live contact has that external id")
		}
		keys = append(keys, found[0])
	}
	if row.Kind.IsRecord() {
		r := row.Record
		r.Account, r.Contact, r.Kind, r.ID = in.acc, keys[0].Contact, row.Kind, id
		if r.Kind == crm.Message {
			r.Parent = in.foreign(crm.Conversation, row.Conversation)
		}
		_, err := in.tx.Apply(in.by, in.why, crm.PutRecord{Record: r})
		return err
	}
	o := row.Object
	o.Account, o.Kind, o.ID = in.acc, row.Kind, id
	old, err := in.tx.Object(o.Key())
	if err != nil {
		return err
	}
	if old != nil {
		return crm.Errorf("import a record", crm.CodeConflict, "the %s %s exists", o.Kind, o.ID)
	}
	if err := in.tx.PutObject(in.by, in.why, o); err != nil {
		return err
	}
	for i, k := range keys {
		if _, err := in.tx.Apply(in.by, in.why, crm.Connect{Contact: k, Kind: row.Kind, Object: id, Primary: row.Contacts[i] == row.Primary}); err != nil {
			return err
		}
	}
	return nil
}

func (in *intake) itemID(row *intakeItem) (crm.ItemID, error) {
	if row.ID == "" {
		return in.tx.NewItemID()
	}
	return in.foreign(row.Kind, row.ID), nil
}

// foreign gives the id here of what has an id in the other system.
func (in *intake) foreign(kind crm.ItemKind, ext string) crm.ItemID {
	h := sha256.New()
	h.Write(in.acc[:])
	h.Write([]byte{byte(kind)})
	h.Write([]byte(ext))
	id := crm.ItemID(h.Sum(nil)[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: made from a name
	return id
}
