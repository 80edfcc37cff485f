package runtime

import (
	"context"
	"errors"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
)

// commit commits turns in chunks that hold the writer briefly, and settles with each that was not
// taken: a run that moved on is left alone, a decision whose facts changed is made again with the
// outcome kept, and an effect that was refused fails its step.
func (e *Engine) commit(ctx context.Context, ps []*pending) error {
	for len(ps) > 0 {
		n := min(len(ps), e.turns.size())
		began := e.clock.Now()
		left, err := e.commitChunk(ctx, ps[:n])
		if err != nil {
			return err
		}
		e.turns.took(n, e.clock.Now().Sub(began))
		for _, p := range left {
			if err := e.settle(ctx, p); err != nil {
				return err
			}
		}
		ps = ps[n:]
	}
	return nil
}

// commitChunk commits turns in one transaction and gives back those that were not taken. If one of
// them broke the transaction, all are given back to be committed singly.
func (e *Engine) commitChunk(ctx context.Context, ps []*pending) (left []*pending, err error) {
	err = e.store.Update(ctx, func(tx *store.Tx) error {
		left = nil
		in := lookupIn(tx)
		keys := make([]crm.Key, len(ps))
		for i, p := range ps {
			keys[i] = crm.Key{Account: p.was.Account, Contact: p.was.Contact}
		}
		if err := tx.Prefetch(keys); err != nil {
			return err
		}
		for _, p := range ps {
			a, err := e.advanced(p, in)
			if err == nil {
				err = tx.CommitRun(a)
			}
			if err != nil {
				left = append(left, p)
			}
		}
		return nil
	})
	if crm.IsRefusal(err) {
		return ps, nil
	}
	return left, err
}

// advanced turns effects into mutations: an effect names a target by its index, and the only target
// is the run's contact.
func (e *Engine) advanced(p *pending, in *lookup) (store.Advanced, error) {
	a := store.Advanced{Was: p.was, Run: p.turn.Run, Seen: p.seen, Steps: p.turn.Steps}
	if p.def.Listens() && !(p.asked != nil && p.spec.External) { // what the world was told is not taken back
		a.Hears = cursorDispatch
	}
	for _, ef := range p.turn.Effects {
		m, err := ef.Mutation(plugins.Target{Contact: p.env.Contact, Life: p.env.Life}, in)
		if err != nil {
			return a, err
		}
		if m != nil {
			a.Effects = append(a.Effects, m)
		}
	}
	return a, e.heardBefore(p, in.Tx, &a)
}

// heardBefore has a run that comes to a wait for an event go on at once if the event happened while the step before
// it was inside its plugin: the dispatcher may have read that already, and found nobody who waits.
func (e *Engine) heardBefore(p *pending, tx *store.Tx, a *store.Advanced) error {
	if !a.Run.Listening || a.Was.Listening || a.Run.Since == 0 {
		return nil
	}
	since := a.Run.Since
	a.Run.Since = 0
	k := crm.Key{Account: a.Was.Account, Contact: a.Was.Contact}
	life, err := tx.Life(k)
	if err != nil {
		return err
	}
	names, err := names(tx, map[crm.AccountID]map[crm.ItemID]string{}, k.Account)
	if err != nil {
		return err
	}
	at, _ := p.def.Node(a.Run.Step)
	var first *crm.Event
	for before := uint64(0); ; { // the latest first
		page, err := tx.History(k, before, 50)
		if err != nil {
			return err
		}
		for i := range page {
			if before = page[i].Seq; before <= since {
				break
			}
			ev := &page[i].Event
			if _, can := crm.TriggerKinds[ev.Kind]; !can || page[i].Err != nil {
				continue
			}
			if te, ok := ev.Trigger(life); ok {
				if d, err := p.def.Nodes[at].Hears.Match(te, tx.Now(), names); err == nil && d.Matched {
					first = ev
				}
			}
		}
		if len(page) < 50 || before <= since {
			break
		}
	}
	if first == nil {
		return nil
	}
	turn := Advance(p.def, a.Run, Input{Heard: first}, tx.Now())
	a.Run, a.Steps = turn.Run, append(slices.Clip(a.Steps), turn.Steps...)
	return nil
}

// settle commits one turn on its own, deciding again as often as its facts change.
func (e *Engine) settle(ctx context.Context, p *pending) error {
	for try := 0; ; try++ {
		err := e.store.Update(ctx, func(tx *store.Tx) error {
			a, err := e.advanced(p, lookupIn(tx))
			if err != nil {
				return err
			}
			return tx.CommitRun(a)
		})
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrUnheard) && try < 100:
			if _, err := e.dispatch(ctx); err != nil {
				return err
			}
		case errors.Is(err, store.ErrStale):
			return e.superseded(ctx, p)
		case errors.Is(err, store.ErrMoved) && try < 100:
			if err := e.again(ctx, p); err != nil {
				return err
			}
		case crm.CodeOf(err) == crm.CodeLimited && !p.spec.External && e.waitsForLimit(ctx, p):
			p.postpone(crm.Hour-p.env.Now%crm.Hour, "waits: "+crm.CodeLimited)
		case crm.CodeOf(err) == crm.CodeRunning && !p.spec.External: // a bulk restore, or a tag on its way out
			p.postpone(crm.Minute, "waits: "+crm.CodeRunning)
		case crm.IsRefusal(err) && len(p.turn.Effects) > 0:
			e.refuse(p, err)
		default:
			return err
		}
	}
}

// waitsForLimit says whether a run whose delete met a limit of the policy waits at its step until there
// is room again, rather than failing.
func (e *Engine) waitsForLimit(ctx context.Context, p *pending) (waits bool) {
	err := e.store.View(ctx, func(tx *store.Tx) error {
		acc, err := tx.Account(p.was.Account)
		waits = err == nil && acc.Policy.Delete.Limits.OnExceed == crm.Pause
		return err
	})
	return err == nil && waits
}

// again decides a turn anew on a fresh snapshot. If it comes to the same step, the outcome that is
// there stands: a plugin is not called twice for one step. If not, the outcome's effects are dropped
// with the decision that led to it; what an external call did cannot be dropped and stays in the
// journal.
func (e *Engine) again(ctx context.Context, p *pending) error {
	if err := e.store.View(ctx, func(tx *store.Tx) error {
		return e.snapshot(tx, p, map[crm.AccountID]map[crm.ItemID]string{})
	}); err != nil {
		return err
	}
	p.decide()
	switch {
	case p.asked != nil && p.call != nil && p.call.Step == p.asked.Step:
		p.goOn(*p.outcome)
		return nil
	case p.asked != nil && p.spec.External:
		o := *p.outcome
		o.Effects = nil
		called := p.was
		called.Step, called.Status = p.asked.Step, crm.RunActive
		done := Advance(p.def, called, Input{Env: p.env, Outcome: &o, Plugin: p.spec.Plugin + "@" + p.spec.Version}, p.env.Now)
		p.trace(done.Steps)
		p.turn.Steps = append(done.Steps, p.turn.Steps...)
	}
	if p.call != nil { // another action now: the next pass calls it
		p.turn.Run.Due, p.turn.Call, p.call = p.env.Now, nil, nil
	}
	return nil
}

// refuse takes a refused effect for the step's failure, with the code and the words of the refusal.
func (e *Engine) refuse(p *pending, err error) {
	p.turn, p.call = p.base, p.asked
	p.goOn(plugins.Outcome{Status: plugins.Fail, Code: crm.CodeOf(err), Message: err.Error()})
}

// superseded journals the result that came too late for its run: the contact was deleted or restored, or the
// run ended, while the plugin worked. Nothing else of it is kept.
func (e *Engine) superseded(ctx context.Context, p *pending) error {
	return e.store.Update(ctx, func(tx *store.Tx) error {
		for _, s := range p.turn.Steps {
			if s.Action == "" {
				continue
			}
			if err := tx.Supersede(p.was, s); err != nil {
				return err
			}
		}
		return nil
	})
}
