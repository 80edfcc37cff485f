package runtime

import (
	"context"
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// freeze fixes whom the fire is for, in one view of the store, and has the schedule's guard look at all of
// them before anything starts. That the fire is over with that is in what it gives, and stored: nothing is
// started by who goes on after a kill.
func (e *Engine) freeze(ctx context.Context, a armed, s *store.Schedule) (*store.Schedule, error) {
	if s.Frozen {
		return s, nil
	}
	where := a.trigger.Where
	paused := false
	err := e.store.View(ctx, func(tx *store.Tx) error {
		names, err := names(tx, map[crm.AccountID]map[crm.ItemID]string{}, a.account)
		if err != nil {
			return err
		}
		where = where.WithLists(names)
		paused, err = tx.WorkflowPaused(a.account, a.def.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if paused {
		next := *s
		next.Now.Result = store.FirePaused
		return &next, e.store.Update(ctx, func(tx *store.Tx) error { return tx.PutSchedule(s, &next) })
	}
	q := crm.Query{Account: a.account, State: a.trigger.Over, Where: where.Where}
	n, err := e.store.Snapshot(ctx, s.Op, q, func(c *crm.Contact, l *crm.Life) bool {
		return where.NeedsTombstone || where.Keep(c, l, nil, s.Firing)
	})
	if err != nil {
		return nil, err
	}
	next := *s
	next.Frozen, next.Now.Selected = true, n
	if a.trigger.Limits.Guarded() {
		result, err := e.guard(ctx, a, &next)
		if err != nil {
			return nil, err
		}
		if next.Now.Result = result; result != "" {
			next.Guarded++
			e.log.Warn().Str("trigger", a.name()).Stringer("fire", s.Firing).Int("selected", next.Now.Selected).Int("of", next.Now.Of).
				Str("guard", result).Msg("a fire selects more than its guard lets through: nothing is started")
		}
	}
	return &next, e.store.Update(ctx, func(tx *store.Tx) error { return tx.PutSchedule(s, &next) })
}

// guard counts whom the fire selects, and of how many, and gives the bound that it is over, "" if none. Who
// was restored and is to be left alone is not counted: nothing would start for him.
func (e *Engine) guard(ctx context.Context, a armed, s *store.Schedule) (string, error) {
	selected, of := 0, 0
	for after, more := (crm.Key{}), true; more; {
		n := 0
		err := e.store.View(ctx, func(tx *store.Tx) error {
			n = 0
			items, err := tx.Frozen(s.Op, after, e.starts.size())
			if err != nil {
				return err
			}
			o := offer{e: e, tx: tx, d: &decided{}, lists: map[crm.AccountID]map[crm.ItemID]string{}}
			for _, it := range items {
				c, life, err := o.stillThere(it, a, s.Firing)
				if err != nil {
					return err
				}
				if c == nil {
					continue
				}
				if _, ok := c.Selectable(life, a.trigger.Where.Reads); ok {
					n++
				}
			}
			if more = len(items) > 0; more {
				after = items[len(items)-1].Contact
			}
			of, err = population(tx, a)
			return err
		})
		if err != nil {
			return "", err
		}
		selected += n
	}
	s.Now.Selected, s.Now.Of = selected, of
	switch l := a.trigger.Limits; {
	case l.MaxItems >= 0 && selected > l.MaxItems:
		return store.FireItems, nil
	case l.MaxPercent >= 0 && float64(selected)*100 > l.MaxPercent*float64(max(of, selected)):
		return store.FirePercent, nil
	}
	return "", nil
}

// population is how many contacts a schedule goes over.
func population(tx *store.Tx, a armed) (int, error) {
	name := store.CountLive
	if a.trigger.Over == crm.OnlyDeleted {
		name = store.CountDeleted
	}
	n, err := tx.Counter(a.account, name)
	return int(n), err
}

// chosen is a contact of a frozen selection with what was decided for it.
type chosen struct {
	item store.FrozenItem
	d    decided
}

// startSelected starts the runs of a frozen selection, chunk by chunk. What has been started, how many that
// were and who had his turn are one transaction, so that a kill can neither double a run nor lift a limit.
func (e *Engine) startSelected(ctx context.Context, a armed, s *store.Schedule) (worked bool, err error) {
	for range maxChunks {
		var page []chosen
		var r room
		var paused bool
		err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			r = roomFor(a.trigger.Limits, s, tx.Now())
			if paused, err = tx.WorkflowPaused(a.account, a.def.ID); err != nil || paused {
				return err
			}
			page, err = e.choose(tx, a, s, r.runs)
			return err
		})
		switch {
		case err != nil:
			return worked, err
		case paused:
			return true, e.endFire(ctx, s, store.FirePaused)
		case len(page) == 0:
			return true, e.endFire(ctx, s, store.FireDone)
		case r.full:
			return true, e.endFire(ctx, s, store.FireBatch)
		case r.runs == 0:
			e.hold(a, r.next)
			return worked, nil
		}
		began := e.clock.Now()
		var next store.Schedule
		err = e.store.Update(ctx, func(tx *store.Tx) error {
			next = *s
			return e.startPage(tx, a, s, &next, page)
		})
		if errors.Is(err, store.ErrMoved) {
			return true, nil // the next pass goes on, with whatever was applied meanwhile
		}
		if err != nil {
			return worked, err
		}
		e.starts.took(len(page), e.clock.Now().Sub(began))
		s, worked = &next, true
	}
	return worked, nil // the next pass goes on
}

// choose decides for those whose turn it is: behind where the last batch ended, and then from the front.
func (e *Engine) choose(tx *store.Tx, a armed, s *store.Schedule, runs int) ([]chosen, error) {
	n := min(e.starts.size(), max(runs, 16)) // where few may start now, it is of no use to look at many
	items, err := tx.Frozen(s.Op, crm.Key{Account: s.Account, Contact: s.After}, n)
	if err == nil && len(items) == 0 && !s.After.IsZero() {
		items, err = tx.Frozen(s.Op, crm.Key{}, n)
	}
	page := make([]chosen, len(items))
	lists := map[crm.AccountID]map[crm.ItemID]string{}
	for i, it := range items {
		page[i].item = it
		o := offer{e: e, tx: tx, d: &page[i].d, lists: lists}
		if err := o.selected(it, a, s.Firing); err != nil {
			return nil, err
		}
	}
	return page, err
}

// startPage starts what was decided, in order, as far as the limits let it.
func (e *Engine) startPage(tx *store.Tx, a armed, s, next *store.Schedule, page []chosen) error {
	var done []store.FrozenItem
	for _, c := range page {
		r := roomFor(a.trigger.Limits, next, tx.Now())
		if len(c.d.acts) > 0 && r.runs == 0 {
			break
		}
		for _, act := range c.d.acts {
			_, started, err := tx.StartRun(act.start)
			if err != nil {
				return err
			}
			if started {
				r.take(next)
			}
		}
		if err := e.start(tx, decided{suppressed: c.d.suppressed}); err != nil {
			return err
		}
		next.Now.Seen++
		if a.trigger.Limits.Batch > 0 {
			next.After = c.item.Contact.Contact
		}
		done = append(done, c.item)
	}
	if err := tx.DropFrozen(s.Op, done); err != nil {
		return err
	}
	return tx.PutSchedule(s, next)
}

// hold notes until when the rate of a schedule holds its fire back; 0: it does not.
func (e *Engine) hold(a armed, until crm.Nanos) {
	e.defs.mu.Lock()
	defer e.defs.mu.Unlock()
	if until == 0 {
		delete(e.defs.held, a.schedule())
		return
	}
	e.defs.held[a.schedule()] = until
}

// room is how many runs a fire may start now. It starts one run a contact.
type room struct {
	runs  int
	full  bool      // its batch is
	next  crm.Nanos // with no room but in a batch: when there will be some
	slice store.Slice
}

func roomFor(l workflow.Limits, s *store.Schedule, now crm.Nanos) room {
	r := room{runs: 1 << 30, slice: s.Slice}
	if l.Batch > 0 {
		if r.runs = max(l.Batch-s.Now.Started, 0); r.runs == 0 {
			return room{full: true, slice: s.Slice}
		}
	}
	if l.Rate.Runs == 0 {
		return r
	}
	// The stretch that the rate is about has so many slices, of a tenth of a second or more each, and each its share of
	// the runs. A slice begins no earlier than its width after the one before, and what one did not use is
	// not made up for: so no stretch of that length, wherever it begins, holds more than the rate.
	slices := min(crm.Nanos(l.Rate.Runs), l.Rate.Per/(crm.Second/10))
	width, shares := (l.Rate.Per+slices-1)/slices, int64(slices)
	if all := crm.Nanos(l.Rate.Runs); all > slices { // several runs of a slice may stand at its end, and a stretch has one slice more
		shares++
	}
	if now >= r.slice.From+width || r.slice.From == 0 {
		r.slice = store.Slice{From: now, No: uint32(int64(r.slice.No+1) % shares)}
	}
	no, all := int64(r.slice.No)%shares, int64(l.Rate.Runs)
	share := int((no+1)*all/shares - no*all/shares)
	if r.runs = min(r.runs, max(share-r.slice.Runs, 0)); r.runs == 0 {
		r.next = r.slice.From + width
	}
	return r
}

// take counts a run that was started.
func (r *room) take(s *store.Schedule) {
	s.Now.Started++
	if r.slice.Runs++; r.slice.From != 0 {
		s.Slice = r.slice
	}
}

// endFire closes a fire: what is left of its frozen selection is dropped, a chunk at a time.
func (e *Engine) endFire(ctx context.Context, s *store.Schedule, result string) error {
	for left := true; left; {
		err := e.store.Update(ctx, func(tx *store.Tx) error {
			items, err := tx.Frozen(s.Op, crm.Key{}, e.starts.size())
			left = len(items) > 0
			if err != nil || !left {
				return err
			}
			return tx.DropFrozen(s.Op, items)
		})
		if err != nil {
			return err
		}
	}
	return e.store.Update(ctx, func(tx *store.Tx) error {
		next := *s
		next.Last, next.Now = s.Now, store.Fire{}
		next.Last.Result, next.Last.Ended = result, tx.Now()
		next.Firing, next.Op, next.Frozen, next.Revision = 0, crm.OperationID{}, false, ""
		return tx.PutSchedule(s, &next)
	})
}
