package store

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Head is the end of the log at an instant, signed: who keeps it elsewhere can tell later that what was before is
// still there as it was.
type Head struct {
	Store     StoreID   `json:"store"`
	Seq       uint64    `json:"seq"`
	Hash      Hash      `json:"hash"`
	At        crm.Nanos `json:"at"`
	Key       PublicKey `json:"key"`
	Signature []byte    `json:"signature"`
}

func (h *Head) message(purpose string) []byte {
	return message(purpose, h.Store[:], number(h.Seq), h.Hash[:], number(uint64(h.At)))
}

// What heads are signed for.
const (
	forHead = "reprieve audit head v1"
	forCut  = "reprieve audit checkpoint v1"
)

func (h *Head) sign(s *Signer, purpose string) {
	h.Key = s.public.Key
	h.Signature = s.sign(h.message(purpose))
}

// ID tells the store apart from others, in what is signed about it.
func (s *Store) ID() StoreID { return s.keys.id() }

// SignHead gives the end of the log, signed; nil if the log is empty.
func (s *Store) SignHead(ctx context.Context, by *Signer) (h *Head, err error) {
	err = s.eng.View(ctx, func(tx row.Tx) error {
		h = nil
		head, err := one(ctx, tx.Marks(), markHead)
		if err != nil || head == nil {
			return err
		}
		h = &Head{Store: s.ID(), Seq: head.N, Hash: Hash(head.Bytes), At: s.instant(tx.Now())}
		return nil
	})
	if h != nil {
		h.sign(by, forHead)
	}
	return h, err
}

// HasHead says whether the entry that a head is about is in the log as it was, or was removed at the end of
// audit.keep. It looks at that entry only.
func (s *Store) HasHead(ctx context.Context, h *Head) (has bool, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		start, err := tx.LogStart()
		if err != nil || h.Store != s.ID() {
			has = false
			return err
		}
		raw, err := tx.row.Nth(ctx, logName, h.Seq)
		has = h.Seq < start || raw != nil && sha256.Sum256(raw) == h.Hash
		return err
	})
	return has, err
}

// Verified is what was verified: a stretch of the log without a fault.
type Verified struct {
	Store   StoreID   `json:"store"`
	First   uint64    `json:"first"`   // the first entry
	Last    uint64    `json:"last"`    // the last one; before First if there is none
	Entries uint64    `json:"entries"` // in between, both included
	Hash    Hash      `json:"hash"`    // of the last
	At      crm.Nanos `json:"at,omitzero"`
	Heads   int       `json:"heads,omitempty"` // exported heads that are in the chain
	Key     PublicKey `json:"key,omitzero"`
	Trusted bool      `json:"trusted,omitempty"` // the key is one that the caller named, not only the one that the file names
}

// VerifyLog recomputes the chain from the first entry and compares its end with the stored head. It
// gives the number of entries and the hash of the last. The chain over the purged stays whole: it covers the sealed bytes.
func (s *Store) VerifyLog(ctx context.Context) (n uint64, end []byte, err error) {
	v, err := s.Verify(ctx, nil, nil)
	if err != nil || v.Entries == 0 {
		return v.Entries, nil, err
	}
	return v.Entries, v.Hash[:], nil
}

// Verify recomputes the chain, compares its end with the stored head, and, if keys are given, the heads that were
// exported with it: each must be one of its entries, unless it is about one that was removed at the end of audit.keep.
// A log that lost its first entries begins with a signed checkpoint. An error names the entry.
func (s *Store) Verify(ctx context.Context, keys *Keys, heads []Head) (v Verified, err error) {
	for i := range heads {
		if err := s.mine(&heads[i], forHead, keys); err != nil {
			return v, broken("the exported head %d, for entry %d: %w", i+1, heads[i].Seq, err)
		}
	}
	heads = slices.Clone(heads)
	slices.SortStableFunc(heads, func(a, b Head) int { return int(min(max(int64(a.Seq)-int64(b.Seq), -1), 1)) })
	err = s.eng.View(ctx, func(tx row.Tx) error {
		v = Verified{Store: s.ID()}
		cut, err := one(ctx, tx.Marks(), markCut)
		if err != nil {
			return err
		}
		c := begin(0, [32]byte{})
		if cut != nil {
			at, err := s.checkpoint(cut, keys)
			if err != nil {
				return err
			}
			c = begin(at.Seq, at.Hash)
		}
		v.First = c.next
		w := witnesses{heads: heads, fits: v.First - 1}
		for cursor := []byte(nil); ; {
			raw, next, err := tx.Next(ctx, logName, cursor, 1000)
			if err != nil {
				return err
			}
			if len(raw) == 0 {
				break
			}
			cursor = next
			for _, b := range raw {
				if _, err := c.add(b); err != nil {
					return err
				}
				if c.fault == nil {
					w.see(c.next-1, c.prev)
				}
			}
		}
		head, err := one(ctx, tx.Marks(), markHead)
		switch {
		case err != nil:
			return err
		case head == nil && c.next == 1 && c.fault == nil:
		case head == nil:
			return broken("the log has entries, and its recorded end is missing")
		default:
			if err := c.end(head.N, [32]byte(head.Bytes)); err != nil {
				return err
			}
		}
		v.Last, v.Hash, v.Entries, v.Heads = c.next-1, c.prev, c.next-v.First, len(heads)
		return w.end(v.Last)
	})
	return v, err
}

// mine says whether a head is of this store and signed by one of the keys.
func (s *Store) mine(h *Head, purpose string, keys *Keys) error {
	if h.Store != s.ID() {
		return fmt.Errorf("it is of another store")
	}
	if keys == nil {
		keys = &Keys{Key: h.Key}
	}
	return keys.Signed(h.Key, h.At, h.message(purpose), h.Signature)
}

// witnesses compares exported heads, in the order of their entries, with the chain.
type witnesses struct {
	heads []Head
	fits  uint64 // up to which entry a head has proved the chain
	wrong *Head
}

func (w *witnesses) see(seq uint64, hash [32]byte) {
	for len(w.heads) > 0 && w.wrong == nil && w.heads[0].Seq <= seq {
		h := w.heads[0]
		w.heads = w.heads[1:]
		switch {
		case h.Seq < seq: // removed at the end of audit.keep; the checkpoint stands for it
		case h.Hash != Hash(hash):
			w.wrong = &h
		default:
			w.fits = seq
		}
	}
}

func (w *witnesses) end(last uint64) error {
	switch {
	case w.wrong != nil && w.fits+1 == w.wrong.Seq:
		return broken("entry %d is not what it was when its head was exported at %s: it was changed, and the chain recomputed", w.wrong.Seq, w.wrong.At)
	case w.wrong != nil:
		return broken("entry %d is not what it was when its head was exported at %s: an entry from %d to %d was changed, put in or taken out, and the chain recomputed",
			w.wrong.Seq, w.wrong.At, w.fits+1, w.wrong.Seq)
	case len(w.heads) > 0:
		h := w.heads[len(w.heads)-1]
		if last >= h.Seq {
			return nil // an empty log behind its checkpoint
		}
		return broken("the log ends at entry %d, and the head of entry %d was exported at %s: the entries %d to %d are missing", last, h.Seq, h.At, last+1, h.Seq)
	}
	return nil
}

// checkpoint reads where a log begins that lost its first entries.
func (s *Store) checkpoint(cut *row.Mark, keys *Keys) (*Head, error) {
	const hash, key = sha256.Size, ed25519.PublicKeySize
	if len(cut.Bytes) != hash+key+ed25519.SignatureSize {
		return nil, broken("the checkpoint before entry %d is damaged", cut.N+1)
	}
	h := &Head{Store: s.ID(), Seq: cut.N, Hash: Hash(cut.Bytes[:hash]), At: cut.At, Key: PublicKey(cut.Bytes[hash : hash+key]), Signature: cut.Bytes[hash+key:]}
	if err := s.mine(h, forCut, keys); err != nil {
		return nil, broken("the checkpoint before entry %d: %w", cut.N+1, err)
	}
	return h, nil
}

// TrimLog removes entries from the front of the log that are older than audit.keep says, at most so many, and
// leaves a signed checkpoint from which the rest is verified. It removes nothing that a reader has still to see, by
// the named cursor or any other, nothing younger than the recovery window, and never the last entry. It says
// how many it removed and whether there may be more.
func (s *Store) TrimLog(ctx context.Context, behind string, most int, by *Signer) (n int, more bool, err error) {
	var old *row.Mark
	var end Head
	var youngest crm.Nanos
	err = s.View(ctx, func(tx *Tx) (err error) {
		end, n, more = Head{Store: s.ID(), At: tx.now}, 0, false
		if err := tx.ClockHeld(); err != nil {
			return err
		}
		if old, err = one(ctx, tx.row.Marks(), markCut); err != nil {
			return err
		}
		limit, oldest, err := tx.trimmable(behind)
		if err != nil {
			return err
		}
		start, err := tx.LogStart()
		for at := start; err == nil && at <= limit; at++ {
			if n == most {
				more = true
				return nil
			}
			var raw []byte
			var e entry
			if raw, err = tx.row.Nth(ctx, logName, at); err == nil {
				err = codec.Unmarshal(raw, &e)
			}
			if err != nil || e.At > oldest {
				return err
			}
			end.Seq, end.Hash, youngest = at, sha256.Sum256(raw), max(youngest, e.At)
			n++
		}
		return err
	})
	if err != nil || n == 0 {
		return 0, false, err
	}
	end.sign(by, forCut)
	err = s.Update(ctx, func(tx *Tx) error {
		now, err := one(ctx, tx.row.Marks(), markCut)
		if err != nil {
			return err
		}
		if limit, oldest, err := tx.trimmable(behind); err != nil || limit < end.Seq || youngest > oldest || now != nil && (old == nil || old.N != now.N) {
			n, more = 0, false
			return err // the policy changed, or somebody else did it
		}
		mark := &row.Mark{Name: markCut, N: end.Seq, At: end.At, Bytes: slices.Concat(end.Hash[:], end.Key[:], end.Signature)}
		if err := tx.row.Marks().Write(ctx, []row.Change[row.Mark]{{Old: now, New: mark}}); err != nil {
			return err
		}
		tx.wrote = true
		return tx.row.Trim(ctx, logName, end.Seq)
	})
	return n, more, err
}

// trimmable gives the last entry that may be removed, if it was not written after oldest. The log is one for all
// accounts, so the longest of their times counts.
func (tx *Tx) trimmable(behind string) (limit uint64, oldest crm.Nanos, err error) {
	accounts, err := tx.Accounts()
	if err != nil || len(accounts) == 0 {
		return 0, 0, err
	}
	var keep crm.Nanos
	for _, acc := range accounts {
		if acc.Policy.Audit.Keep <= 0 {
			return 0, 0, nil
		}
		keep = max(keep, acc.Policy.Audit.Keep, acc.Policy.Retention.Window)
	}
	marks, err := tx.row.Marks().Range(tx.ctx, "cursor/", "cursor0", 0)
	if err != nil {
		return 0, 0, err
	}
	if !slices.ContainsFunc(marks, func(m row.Mark) bool { return m.Name == "cursor/"+behind }) {
		return 0, 0, nil // it has seen nothing yet
	}
	head, err := one(tx.ctx, tx.row.Marks(), markHead)
	if err != nil || head == nil || head.N == 0 {
		return 0, 0, err
	}
	limit = head.N - 1
	for _, m := range marks {
		limit = min(limit, m.N)
	}
	return limit, tx.now - keep, nil
}
