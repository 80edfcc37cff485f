package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// How far the clock on the wall may be off before sweeps hold: behind an instant that was stored, or
// ahead of the time that has really passed in this process.
const (
	maxBehind = 5 * crm.Minute
	maxAhead  = 24 * crm.Hour
)

// baseline is an instant on the wall and one of the monotonic clock that belong together.
type baseline struct {
	wall crm.Nanos
	mono time.Duration
}

// trust takes the clock on the wall as right from here on.
func (s *Store) trust(wall crm.Nanos) {
	if s.mono != nil {
		s.base.Store(&baseline{wall, s.mono()})
	}
}

// ahead says by how much the clock on the wall outran the time that has passed in this process.
func (s *Store) ahead(wall crm.Nanos) crm.Nanos {
	b := s.base.Load()
	if b == nil {
		return 0
	}
	return wall - b.wall - crm.Nanos(s.mono()-b.mono)
}

// instant is what a transaction takes for now: the wall's, but never before the high-water mark, and
// without a jump ahead that nobody has confirmed. So a wrong clock neither stamps a deadline early,
// nor ends a recovery window, nor raises the mark.
func (s *Store) instant(wall crm.Nanos) crm.Nanos {
	if by := s.ahead(wall); by > maxAhead {
		wall -= by
	}
	return max(wall, crm.Nanos(s.mark.Load()))
}

// ClockHeld says why sweeps hold, if they do: the clock on the wall is more than five minutes behind
// the high-water mark, or outran the time that has passed by more than 24 hours. A machine that slept
// looks like the latter; ConfirmClock tells them apart.
func (tx *Tx) ClockHeld() error {
	wall := tx.row.Now()
	if by := crm.Nanos(tx.s.mark.Load()) - wall; by > maxBehind {
		return crm.Errorf("sweep", crm.CodeHeldClock, "the clock is %s behind an instant that the store has seen", time.Duration(by).Round(time.Minute)).
			WithHint("set the clock right; the sweep goes on by itself")
	}
	if by := tx.s.ahead(wall); by > maxAhead {
		return crm.Errorf("sweep", crm.CodeHeldClock, "the clock jumped %s ahead", time.Duration(by).Round(time.Minute)).
			WithHint("set the clock right, or, if it is right, have an admin confirm it: reprieve retention go")
	}
	return nil
}

// ConfirmClock is an admin's word that the clock on the wall is right although it jumped. Only a role
// that the account lets purge may give it.
func (s *Store) ConfirmClock(ctx context.Context, by crm.Actor, acc crm.AccountID) error {
	var wall crm.Nanos
	err := s.Update(ctx, func(tx *Tx) error {
		a, err := tx.Account(acc)
		if err != nil {
			return err
		}
		why := crm.Cause{Kind: crm.ByPerson}
		if err := tx.allowed("confirm the clock", a, by, why, crm.VerbPurge, crm.ContactID{}); err != nil {
			return err
		}
		wall = tx.row.Now()
		return tx.note(crm.Event{Kind: crm.ClockConfirmed, Account: acc, At: tx.now, By: by, Why: why, Data: crm.EventData{Until: wall}})
	})
	if err == nil {
		s.trust(wall)
	}
	return err
}

// flushMark raises the high-water mark of the clock: in memory always, before the commit is known,
// since too high a mark only holds the clock for an instant; in the store at most once a second,
// since the head of the log bears the instant of what it proves.
func (tx *Tx) flushMark(ctx context.Context) error {
	raise(&tx.s.mark, tx.now)
	if tx.now < crm.Nanos(tx.s.kept.Load())+crm.Second {
		return nil
	}
	old, err := one(ctx, tx.row.Marks(), markClock)
	if err != nil || old != nil && old.At >= tx.now {
		return err
	}
	tx.marked = true
	return tx.row.Marks().Write(ctx, []row.Change[row.Mark]{{Old: old, New: &row.Mark{Name: markClock, At: tx.now}}})
}

// raise moves a mark forward, never back.
func raise(mark *atomic.Int64, to crm.Nanos) {
	for {
		seen := mark.Load()
		if int64(to) <= seen || mark.CompareAndSwap(seen, int64(to)) {
			return
		}
	}
}
