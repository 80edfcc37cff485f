package bolt

import (
	"bytes"
	"context"
	"time"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

const (
	defaultBudget = 20 * time.Millisecond
	budgetEvery   = 16 // contacts between two looks at the clock: the progress that every page makes
)

// Scan implements row.Tx. The cursor is the id of the last contact that was looked at.
func (tx *txn) Scan(ctx context.Context, q crm.Query, yield func(*crm.Contact, *crm.Life) bool) ([]byte, error) {
	if err := tx.mayScan(ctx); err != nil {
		return nil, err
	}
	if n := len(q.After); n != 0 && n != len(crm.ContactID{}) {
		return nil, badCursor("scan contacts")
	}
	budget := defaultBudget
	if q.Budget > 0 {
		budget = time.Duration(q.Budget)
	}
	s, err := newScanner(tx, q)
	if err != nil {
		return nil, err
	}
	begun := time.Now() // decides only how long a page gets
	for looked := 1; ; looked++ {
		c, l, err := s.step()
		if err != nil || s.id == nil {
			return nil, err
		}
		if c != nil && !yield(c, l) {
			break
		}
		if looked%budgetEvery == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if time.Since(begun) > budget {
				break
			}
		}
	}
	return bytes.Clone(s.id), nil
}

// scanner walks candidates in id order: the members of a list, the lives when only deleted
// contacts are wanted, or else contacts and lives side by side.
type scanner struct {
	tx       *txn
	q        crm.Query
	next     func() (contact, life []byte) // moves on to the next candidate and sets id; nil: to be read by key
	id       []byte                        // of the candidate, nil at the end
	contacts *bbolt.Bucket
	lives    *bbolt.Bucket
}

func newScanner(tx *txn, q crm.Query) (s *scanner, err error) {
	defer guard(&err)
	s = &scanner{tx: tx, q: q, contacts: tx.bucket(row.Contacts.Name), lives: tx.bucket(row.Lives.Name)}
	switch {
	case !q.List.IsZero():
		from := row.Members.Enc(nil, row.MemberKey{Account: q.Account, List: q.List})
		s.next = s.walk(tx.bucket(row.Members.Name), from[:len(q.Account)+len(q.List)], s.member)
	case q.State == crm.OnlyDeleted:
		s.next = s.walk(s.lives, q.Account[:], s.life)
	default:
		s.next = s.walk(s.contacts, q.Account[:], s.beside(s.lives.Cursor()))
	}
	return s, nil
}

// step looks at one candidate and gives it if it passes; a nil id means there are no more.
func (s *scanner) step() (_ *crm.Contact, _ *crm.Life, err error) {
	defer guard(&err)
	contact, life := s.next()
	if s.id == nil {
		return nil, nil, nil
	}
	key := append(s.q.Account[:], s.id...)
	l := &crm.Life{Account: s.q.Account, Contact: crm.ContactID(s.id)}
	if life != nil {
		if l, err = decode[crm.Life](row.Lives.Name, key, life); err != nil {
			return nil, nil, err
		}
	}
	if !s.q.State.Has(l.State) {
		return nil, nil, nil // before the contact is decoded, which costs most
	}
	if contact == nil {
		if contact = s.contacts.Get(key); contact == nil {
			return nil, nil, nil
		}
	}
	c, err := decode[crm.Contact](row.Contacts.Name, key, contact)
	if err != nil || !s.q.Where.Match(c) {
		return nil, nil, err
	}
	return c, l, nil
}

// walk gives an iterator over the keys prefix|id of a bucket, from behind the cursor on.
func (s *scanner) walk(b *bbolt.Bucket, prefix []byte, give func(key, v []byte) (contact, life []byte)) func() ([]byte, []byte) {
	c := b.Cursor()
	prefix = bytes.Clone(prefix)
	started := false
	return func() ([]byte, []byte) {
		var k, v []byte
		if started {
			k, v = c.Next()
		} else {
			started = true
			from := append(bytes.Clone(prefix), s.q.After...)
			if k, v = c.Seek(from); len(s.q.After) > 0 && bytes.Equal(k, from) {
				k, v = c.Next()
			}
		}
		if k == nil || !bytes.HasPrefix(k, prefix) {
			s.id = nil
			return nil, nil
		}
		s.id = k[len(prefix):]
		return give(k, v)
	}
}

func (s *scanner) member([]byte, []byte) (contact, life []byte) {
	return nil, s.lives.Get(append(s.q.Account[:], s.id...))
}

func (s *scanner) life(_, v []byte) (contact, life []byte) { return nil, v }

// beside moves a cursor over the lives along with the contacts. It takes a few steps and then
// seeks, so that neither many lives of purged contacts nor many contacts without a life are slow.
func (s *scanner) beside(c *bbolt.Cursor) func(key, v []byte) (contact, life []byte) {
	const near = 8
	var k, l []byte
	started := false
	return func(key, v []byte) ([]byte, []byte) {
		for n := 0; k != nil && n < near && bytes.Compare(k, key) < 0; n++ {
			k, l = c.Next()
		}
		if !started || k != nil && bytes.Compare(k, key) < 0 {
			started = true
			k, l = c.Seek(key)
		}
		if !bytes.Equal(k, key) {
			return v, nil
		}
		return v, l
	}
}

func badCursor(op string) error {
	return crm.Errorf(op, crm.CodeInvalid, "the cursor is not one").WithHint("pass on a cursor as it was given, or start without one")
}
