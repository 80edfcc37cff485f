package store

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// DueRuns gives a page of what is due at now, from a key on: the runs, and the timers that are stale,
// since their run is gone or its epoch is not its contact's any more. It looks at no more than n
// timers; what is damaged is in neither. next is where the following page begins, the zero key at the end.
func (tx *Tx) DueRuns(from crm.TimerKey, now crm.Nanos, n int) (runs []crm.Run, stale []crm.Timer, next crm.TimerKey, err error) {
	timers, err := tx.row.Timers().Range(tx.ctx, from, crm.TimerKey{Due: now + 1}, n+1)
	if err != nil || len(timers) == 0 {
		return nil, nil, next, err
	}
	if len(timers) > n {
		next = timers[n].Key()
		timers = timers[:n]
	}
	ids := make([]crm.RunID, len(timers))
	keys := make([]crm.Key, len(timers))
	for i, t := range timers {
		ids[i], keys[i] = t.Run, crm.Key{Account: t.Account, Contact: t.Contact}
	}
	if err := tx.lives.load(tx.ctx, keys...); err != nil && crm.CodeOf(err) != crm.CodeCorrupt {
		return nil, nil, next, err
	}
	got, err := tx.readable(ids)
	if err != nil {
		return nil, nil, next, err
	}
	for i, t := range timers {
		life, err := tx.Life(keys[i])
		r, known := got[t.Run]
		switch {
		case known && r == nil || crm.CodeOf(err) == crm.CodeCorrupt:
		case err != nil:
			return nil, nil, next, err
		case staleTimer(t, r, life):
			stale = append(stale, t)
		default:
			runs = append(runs, *r)
		}
	}
	return runs, stale, next, nil
}

// readable reads runs; one whose row is damaged is in the map as nil, so that it does not keep the
// others from being read.
func (tx *Tx) readable(ids []crm.RunID) (map[crm.RunID]*crm.Run, error) {
	got, err := tx.row.Runs().Get(tx.ctx, ids)
	if crm.CodeOf(err) != crm.CodeCorrupt {
		return got, err
	}
	got = map[crm.RunID]*crm.Run{}
	for _, id := range ids {
		switch r, err := tx.Run(id); {
		case crm.CodeOf(err) == crm.CodeCorrupt:
			got[id] = nil
		case err != nil:
			return nil, err
		case r != nil:
			got[id] = r
		}
	}
	return got, nil
}

// FirstTimer is a key before every timer.
var FirstTimer = crm.TimerKey{Due: -1 << 63}

// NextTimer gives the instant of the earliest timer after now, 0 if there is none.
func (tx *Tx) NextTimer(now crm.Nanos) (crm.Nanos, error) {
	first, err := tx.row.Timers().Range(tx.ctx, crm.TimerKey{Due: now + 1}, crm.TimerKey{Due: 1<<63 - 1}, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	return first[0].Due, nil
}

// staleTimer says whether a timer has nothing to wake: its run is gone, over, elsewhere by now, or of
// an epoch that is not its contact's any more.
func staleTimer(t crm.Timer, r *crm.Run, life crm.Life) bool {
	return r == nil || r.Due != t.Due || r.Status.Finished() || r.Epoch != life.Epoch
}

// DropTimers removes the timers that are still stale in this transaction, and puts those of paused
// workflows aside until they go on. It leaves a suspended run as it is, and one that a restore left
// behind, which its life hides; it closes one that stood on a tombstone which is no more.
func (tx *Tx) DropTimers(timers []crm.Timer) error {
	for _, t := range timers {
		r, err := tx.Run(t.Run)
		if err != nil {
			return err
		}
		life, err := tx.Life(crm.Key{Account: t.Account, Contact: t.Contact})
		if err != nil {
			return err
		}
		there, err := one(tx.ctx, tx.row.Timers(), t.Key())
		if err != nil {
			return err
		}
		if there == nil {
			continue
		}
		if !staleTimer(t, r, life) {
			if err := tx.park(*there, r); err != nil {
				return err
			}
			continue
		}
		tx.wrote = true
		if r != nil && r.Due == t.Due && !r.Status.Finished() && r.OnTombstone() && !life.Hides(crm.WorkflowRun, r.Epoch) {
			over := *r
			over.Status, over.Reason, over.Token = crm.RunCancelled, crm.ReasonRestored, r.Token+1
			if err := tx.saveRun(r, &over); err != nil {
				return err
			}
			continue
		}
		if err := remove(tx.ctx, tx.row.Timers(), []crm.Timer{*there}); err != nil {
			return err
		}
	}
	return nil
}

// Expired gives deleted contacts whose deadline is at or before now, behind a cursor, at most n, in
// the order of their deadlines. Those under a hold are among them: Purge refuses them.
func (tx *Tx) Expired(now crm.Nanos, after *crm.Deadline, n int) ([]crm.Deadline, error) {
	from := crm.DeadlineKey{Until: -1 << 63}
	if after != nil {
		from = after.Key()
	}
	got, err := tx.row.Deadlines().Range(tx.ctx, from, crm.DeadlineKey{Until: now + 1}, n+1)
	if err != nil {
		return nil, err
	}
	if after != nil && len(got) > 0 && got[0] == *after {
		got = got[1:]
	}
	return got[:min(n, len(got))], nil
}

// NextDeadline gives the earliest deadline, 0 if nothing is deleted.
func (tx *Tx) NextDeadline() (crm.Nanos, error) {
	first, err := tx.row.Deadlines().Range(tx.ctx, crm.DeadlineKey{Until: -1 << 63}, crm.DeadlineKey{Until: 1<<63 - 1}, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	return first[0].Until, nil
}

// Schedule gives what is remembered of a cron trigger, nil if nothing is.
func (tx *Tx) Schedule(acc crm.AccountID, name string) (*Schedule, error) {
	return one(tx.ctx, tx.row.Schedules(), row.NameKey{Account: acc, Name: name})
}

// Schedules lists what is remembered of an account's cron triggers.
func (tx *Tx) Schedules(acc crm.AccountID) ([]Schedule, error) {
	return tx.row.Schedules().Range(tx.ctx, row.NameKey{Account: acc}, row.NameKey{Account: acc, Name: "\xff"}, 0)
}

// PutSchedule replaces what is remembered of a cron trigger; old is what the caller read, and if it
// is not what the store holds the call fails with ErrStale.
func (tx *Tx) PutSchedule(old, next *Schedule) error {
	there, err := one(tx.ctx, tx.row.Schedules(), row.NameKey{Account: next.Account, Name: next.Name})
	if err != nil {
		return err
	}
	if (there == nil) != (old == nil) || there != nil && *there != *old {
		return ErrStale
	}
	tx.wrote = true
	return tx.row.Schedules().Write(tx.ctx, []row.Change[row.Schedule]{{Old: there, New: next}})
}

// FrozenItem is a contact of a frozen selection, in the epoch in which it was selected.
type FrozenItem struct {
	Contact crm.Key
	Epoch   uint64
	Until   crm.Nanos // its deadline, for a plan; not kept
}

// Frozen gives the items of a frozen selection behind a contact (zero: from the start), at most n.
func (tx *Tx) Frozen(op crm.OperationID, after crm.Key, n int) ([]FrozenItem, error) {
	items, err := tx.frozen(op, after, n)
	out := make([]FrozenItem, len(items))
	for i, it := range items {
		out[i] = FrozenItem{Contact: crm.Key{Account: it.Account, Contact: it.Contact}, Epoch: it.Epoch}
	}
	return out, err
}

func (tx *Tx) frozen(op crm.OperationID, after crm.Key, n int) ([]row.Item, error) {
	var last crm.Key
	for i := range last.Account {
		last.Account[i] = 0xff
	}
	got, err := tx.row.Items().Range(tx.ctx, row.ItemKey{Op: op, Contact: after}, row.ItemKey{Op: op, Contact: last}, n+1)
	if err == nil && len(got) > 0 && (crm.Key{Account: got[0].Account, Contact: got[0].Contact}) == after {
		got = got[1:]
	}
	return got[:min(n, len(got))], err
}

// DropFrozen removes items of a frozen selection that were handled.
func (tx *Tx) DropFrozen(op crm.OperationID, items []FrozenItem) error {
	rows := make([]row.Item, len(items))
	for i, it := range items {
		rows[i] = row.Item{Op: op, Account: it.Contact.Account, Contact: it.Contact.Contact, Epoch: it.Epoch}
	}
	tx.wrote = true
	return remove(tx.ctx, tx.row.Items(), rows)
}
