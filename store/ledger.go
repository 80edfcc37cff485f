package store

import (
	"context"

	"github.com/reprieve-run/reprieve/crm"
)

// toLedger stages what a purge, or a HIPAA account's delete, adds to the erasure ledger. The row waits in
// the store, committed with the deed, until the line is on the disk outside.
func (tx *Tx) toLedger(l crm.Life, deleted bool) error {
	return insert(tx.ctx, tx.row.Erasures(), &crm.Erasure{Account: l.Account, Contact: l.Contact, Epoch: l.Epoch, At: tx.now, Deleted: deleted})
}

// LedgerTail writes what waits for the erasure ledger by write, in chunks, and forgets each once write has
// said that it is durable. A kill in between writes a line twice, which a replay does not mind.
func (s *Store) LedgerTail(ctx context.Context, write func([]crm.Erasure) error) (n int, err error) {
	for {
		var chunk []crm.Erasure
		if err := s.View(ctx, func(tx *Tx) (err error) {
			from, to := crm.EpochKey{}, crm.EpochKey{}
			for i := range to.Account {
				to.Account[i] = 0xff
			}
			chunk, err = tx.row.Erasures().Range(tx.ctx, from, to, 1000)
			return err
		}); err != nil || len(chunk) == 0 {
			return n, err
		}
		if err := write(chunk); err != nil {
			return n, err
		}
		n += len(chunk)
		if err := s.Update(ctx, func(tx *Tx) error {
			tx.wrote = true
			for _, e := range chunk {
				there, err := one(tx.ctx, tx.row.Erasures(), e.Key())
				if err != nil {
					return err
				}
				if there == nil {
					continue // somebody else wrote it
				}
				if err := remove(tx.ctx, tx.row.Erasures(), []crm.Erasure{*there}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return n, err
		}
	}
}

// Replayed says what a line of the erasure ledger came to.
type Replayed string

// The outcomes of a line.
const (
	ReplayedNothing Replayed = "" // there is nothing left to do
	ReplayedPurge   Replayed = "purged"
	ReplayedDelete  Replayed = "deleted"
	ReplayedHIPAA   Replayed = "hipaa"
)

// Replay does again what a line of the erasure ledger says, in a store that came from a backup older than
// it. A hold that the backup has from before the line does not keep a purge from being done again: it was lifted
// before the purge. One that is younger does.
func (tx *Tx) Replay(by crm.Actor, e crm.Erasure) (Replayed, error) {
	const op = "replay the erasure ledger"
	acc, err := tx.Account(e.Account)
	if err != nil {
		return ReplayedNothing, err
	}
	if e.HIPAA {
		if acc.HIPAA {
			return ReplayedNothing, nil
		}
		return ReplayedHIPAA, tx.SetHIPAA(by, e.Account)
	}
	k := crm.Key{Account: e.Account, Contact: e.Contact}
	c, life, err := tx.Peek(k)
	if err != nil || c == nil || life.Epoch >= e.Epoch || e.Deleted && life.State != crm.Live {
		return ReplayedNothing, err
	}
	why := crm.Cause{Kind: crm.ByLedger}
	if life.Held {
		if c.Hold.At > e.At {
			return ReplayedNothing, held(op, c.ID)
		}
		if _, err := tx.Apply(by, why, crm.Hold{Contact: k}); err != nil {
			return ReplayedNothing, err
		}
	}
	done := ReplayedPurge
	var m crm.Mutation = crm.Purge{Contact: k, Reason: "erasure ledger", Erasure: true}
	if e.Deleted {
		m, done = crm.Delete{Contact: k, Reason: "erasure ledger"}, ReplayedDelete
	}
	tx.replaying = true
	defer func() { tx.replaying = false }()
	_, err = tx.Apply(by, why, m)
	return done, err
}
