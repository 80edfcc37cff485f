package runtime

import (
	"context"
	"errors"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
)

// fire looks at every schedule: begins the fires that came due and goes on with those that are being
// carried out. The last fire is in the store, so a restart neither loses nor repeats one.
//
// A schedule carries out one fire at a time. What comes due meanwhile waits: once the fire is over, it is
// looked at like what came due while nothing ran, so that misfire and within say what becomes of it.
func (e *Engine) fire(ctx context.Context) (worked bool, err error) {
	e.defs.mu.Lock()
	crons := e.defs.crons
	e.defs.mu.Unlock()
	var errs []error
	if did, err := e.dropAbandoned(ctx, crons); err != nil {
		errs = append(errs, err)
	} else {
		worked = did
	}
	for _, a := range crons {
		did, err := e.fireOne(ctx, a)
		worked = worked || did
		if err != nil && !errors.Is(err, store.ErrStale) {
			errs = append(errs, err)
		}
	}
	return worked, errors.Join(errs...)
}

func (e *Engine) fireOne(ctx context.Context, a armed) (worked bool, err error) {
	e.hold(a, 0)
	s, began, err := e.beginFire(ctx, a)
	if err != nil || s == nil {
		return began, err
	}
	if s.Revision != a.def.Revision { // applied anew in the middle of a fire: what is frozen is dropped
		err = e.endFire(ctx, s, store.FireReplaced)
		return err == nil, err
	}
	if s, err = e.freeze(ctx, a, s); err != nil {
		return false, err
	}
	if s.Now.Result != "" { // before anything was started
		err = e.endFire(ctx, s, s.Now.Result)
		return err == nil, err
	}
	did, err := e.startSelected(ctx, a, s)
	return began || did, err
}

// beginFire gives the schedule with a fire to be carried out, nil if there is none. A schedule that
// is new, or whose times were changed by an apply, starts from now.
func (e *Engine) beginFire(ctx context.Context, a armed) (*store.Schedule, bool, error) {
	var found *store.Schedule
	var due bool
	decide := func(tx *store.Tx) (old, next *store.Schedule, err error) {
		old, err = tx.Schedule(a.account, a.name())
		if err != nil {
			return nil, nil, err
		}
		spec := specText(a.trigger.Spec)
		if old == nil || old.Spec != spec && old.Firing == 0 {
			next := &store.Schedule{Account: a.account, Name: a.name(), Spec: spec, LastFire: tx.Now()}
			if old != nil { // other times lift no rate
				next.Slice, next.After, next.Missed, next.Guarded, next.Last = old.Slice, old.After, old.Missed, old.Guarded, old.Last
			}
			return old, next, nil
		}
		if old.Firing != 0 {
			found = old
			return old, nil, nil
		}
		fires, missed := a.trigger.Schedule.Due(old.LastFire, tx.Now())
		if len(fires) == 0 && missed == 0 {
			return old, nil, nil
		}
		n := *old
		n.Missed += uint32(missed)
		if n.LastFire = tx.Now(); len(fires) > 0 {
			op, err := tx.NewOperationID()
			if err != nil {
				return nil, nil, err
			}
			n.LastFire, n.Firing, n.Op, n.Revision = fires[0], fires[0], op, a.def.Revision
			n.Frozen, n.Now = false, store.Fire{At: fires[0]}
		}
		return old, &n, nil
	}
	if err := e.store.View(ctx, func(tx *store.Tx) error {
		found = nil
		_, next, err := decide(tx)
		due = next != nil
		return err
	}); err != nil || !due {
		return found, false, err
	}
	err := e.store.Update(ctx, func(tx *store.Tx) error {
		found = nil
		old, next, err := decide(tx)
		if err != nil || next == nil {
			return err
		}
		if next.Firing != 0 {
			found = next
		}
		return tx.PutSchedule(old, next)
	})
	if err != nil {
		return nil, false, err
	}
	return found, found != nil, nil
}

func specText(s triggers.ScheduleSpec) string {
	return s.Cron + "|" + s.Zone + "|" + s.Gap + "|" + s.Overlap
}

// selected offers a contact of a frozen selection. It is looked at again: what was selected must still hold,
// and a restored one needs a fact that changed since.
func (o *offer) selected(it store.FrozenItem, a armed, fired crm.Nanos) error {
	c, life, err := o.stillThere(it, a, fired)
	if err != nil || c == nil {
		return err
	}
	sel, ok := c.Selectable(life, a.trigger.Where.Reads)
	if !ok {
		o.suppress(life, a, crm.RefusedQuiet, "")
		return nil
	}
	names, err := names(o.tx, o.lists, it.Contact.Account)
	if err != nil {
		return err
	}
	return o.entitled(sel, a, nil, names)
}

// stillThere gives a contact of a frozen selection if it is as it was selected, else nil.
func (o *offer) stillThere(it store.FrozenItem, a armed, fired crm.Nanos) (*crm.Contact, crm.Life, error) {
	c, life, err := o.tx.Peek(it.Contact)
	if err != nil || c == nil || life.Epoch != it.Epoch {
		return nil, life, err
	}
	tomb, err := o.tx.Tombstone(it.Contact, life)
	if err != nil {
		return nil, life, err
	}
	names, err := names(o.tx, o.lists, it.Contact.Account)
	if err != nil || !a.trigger.Where.WithLists(names).Keep(c, &life, tomb, fired) {
		return nil, life, err
	}
	return c, life, nil
}

// dropAbandoned closes the fires of schedules that no active workflow has any more.
func (e *Engine) dropAbandoned(ctx context.Context, crons []armed) (worked bool, err error) {
	var firing []store.Schedule
	err = e.store.View(ctx, func(tx *store.Tx) error {
		firing = nil
		accounts, err := tx.Accounts()
		if err != nil {
			return err
		}
		for _, acc := range accounts {
			all, err := tx.Schedules(acc.ID)
			if err != nil {
				return err
			}
			for _, s := range all {
				if s.Firing != 0 && !slices.ContainsFunc(crons, func(a armed) bool { return a.account == s.Account && a.name() == s.Name }) {
					firing = append(firing, s)
				}
			}
		}
		return nil
	})
	for i := range firing {
		if err == nil {
			err = e.endFire(ctx, &firing[i], store.FireGone)
		}
	}
	return err == nil && len(firing) > 0, err
}

// nextFires gives the next instants of all schedules and of the sweep.
func (e *Engine) nextFires(now crm.Nanos) []crm.Nanos {
	e.defs.mu.Lock()
	defer e.defs.mu.Unlock()
	at := []crm.Nanos{e.sweep.Next(now)}
	if e.audit != nil {
		at = append(at, e.heads.schedule.Next(now))
	}
	for _, a := range e.defs.crons {
		if held := e.defs.held[a.schedule()]; held != 0 {
			at = append(at, held)
		}
		if next := a.trigger.Schedule.Next(now); next != 0 {
			at = append(at, next)
		}
	}
	return at
}
