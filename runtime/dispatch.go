package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// postman delivers what came for a contact while it was deleted.
var postman = crm.Actor{ID: "system:inbound", Role: crm.System}

// cursorDispatch names how far the dispatcher has read the log.
const cursorDispatch = "dispatch"

// decided is what a stretch of the log, or of a frozen selection, comes to.
type decided struct {
	acts       []act // in the order of the events
	suppressed []crm.Suppressed
	back       []crm.Key // restored: what came for them meanwhile is delivered
}

// act is a run to be started, runs to be ended, or a run that heard what it waits for.
type act struct {
	start  store.Start
	cancel *cancelling
	wake   *waking
}

// waking has a run go on that waits for an event.
type waking struct {
	run crm.Run
	def *workflow.Workflow
	ev  *crm.Event
}

// cancelling ends a contact's unfinished runs on a revision of a workflow.
type cancelling struct {
	contact            crm.Key
	workflow, revision string
	reason             string
}

// dispatch reads the log behind its cursor, offers each event to the triggers that can match it, and
// commits the runs that start together with the cursor: exactly one run for a workflow, key and
// event. What moved between the decision and the commit is decided again.
func (e *Engine) dispatch(ctx context.Context) (worked bool, err error) {
	e.dispatching.Lock()
	defer e.dispatching.Unlock()
	for range maxChunks {
		var from, to []byte
		var seq uint64
		var d decided
		err := e.store.View(ctx, func(tx *store.Tx) error {
			d = decided{}
			var err error
			if from, err = tx.Cursor(cursorDispatch); err != nil {
				return err
			}
			events, next, err := tx.Events(from, 500)
			if err != nil {
				return err
			}
			if to = next; len(events) > 0 {
				seq = events[len(events)-1].Seq
			}
			o := offer{e: e, tx: tx, d: &d, lists: map[crm.AccountID]map[crm.ItemID]string{}}
			for i := range events {
				if err := events[i].Err; err != nil {
					e.complain(err, "an event starts nothing: its contact's row is damaged; reprieve store check says more")
					continue
				}
				if err := o.event(&events[i].Event); err != nil {
					return err
				}
				if err := o.wake(&events[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || string(from) == string(to) {
			return worked, err
		}
		err = e.store.Update(ctx, func(tx *store.Tx) error {
			if err := tx.MoveCursor(cursorDispatch, from, to, seq); err != nil {
				return err
			}
			return e.start(tx, d)
		})
		switch {
		case errors.Is(err, store.ErrMoved): // facts or revisions changed: decide this stretch again
			if err := e.refresh(ctx); err != nil {
				return worked, err
			}
			continue
		case err != nil:
			return worked, err
		}
		worked = true
	}
	return worked, nil
}

// start carries out what was decided.
func (e *Engine) start(tx *store.Tx, d decided) error {
	for _, a := range d.acts {
		var err error
		switch {
		case a.cancel != nil:
			err = tx.CancelRuns(a.cancel.contact, a.cancel.workflow, a.cancel.revision, a.cancel.reason)
		case a.wake != nil:
			w := a.wake
			turn := Advance(w.def, w.run, Input{Heard: w.ev}, tx.Now())
			err = tx.CommitRun(store.Advanced{Was: w.run, Run: turn.Run, Steps: turn.Steps})
			if errors.Is(err, store.ErrStale) { // it went on meanwhile: its time was up, say
				err = nil
			}
		default:
			_, _, err = tx.StartRun(a.start)
		}
		if err != nil {
			return err
		}
	}
	for _, s := range d.suppressed {
		if err := tx.Suppress(s); err != nil {
			return err
		}
	}
	for _, k := range d.back {
		if err := tx.CloseTombstones(k); err != nil {
			return err
		}
		if err := tx.Deliver(postman, k); err != nil {
			return err
		}
	}
	return nil
}

// offer holds events and selected contacts up to triggers, within one View.
type offer struct {
	e     *Engine
	tx    *store.Tx
	d     *decided
	lists map[crm.AccountID]map[crm.ItemID]string
}

// event offers one event. A restore is taken apart: each fact that came back is offered as if it had
// just been added, so that the receipt can name every trigger that was kept from starting. They all
// pass the same gate as any event, Event.Trigger, which refuses them for their cause.
func (o *offer) event(ev *crm.Event) error {
	switch ev.Kind {
	case crm.ContactRestored:
		return o.restored(ev)
	case crm.WorkflowEntered:
		return o.entered(ev)
	}
	return o.one(ev)
}

func (o *offer) restored(ev *crm.Event) error {
	c, life, err := o.tx.Peek(crm.Key{Account: ev.Account, Contact: ev.Contact})
	if err != nil || c == nil {
		return err
	}
	o.d.back = append(o.d.back, c.Key()) // if it is live then; also when it was archived since
	if life.Epoch != ev.Epoch {
		return nil
	}
	names, err := names(o.tx, o.lists, ev.Account)
	if err != nil {
		return err
	}
	back := *ev
	back.After = c
	again := func(kind crm.EventKind, data crm.EventData) error {
		back.Kind, back.Data = kind, data
		return o.one(&back)
	}
	if err := again(crm.ContactCreated, crm.EventData{}); err != nil {
		return err
	}
	for _, tag := range c.TagNames() {
		if err := again(crm.ContactTagAdded, crm.EventData{Name: tag}); err != nil {
			return err
		}
	}
	for _, l := range c.Lists {
		if !l.Absent {
			if err := again(crm.ContactListChanged, crm.EventData{Name: names(l.List), Item: l.List, Value: string(l.Status)}); err != nil {
				return err
			}
		}
	}
	for _, f := range c.Fields {
		if !f.Absent {
			if err := again(crm.ContactFieldChanged, crm.EventData{Name: f.Name, Value: f.Value.String()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// one offers an event to the triggers that can match it.
func (o *offer) one(ev *crm.Event) error {
	o.e.defs.mu.Lock()
	index, ends := o.e.defs.index[ev.Account], o.e.defs.ends[ev.Account]
	o.e.defs.mu.Unlock()
	if index == nil {
		return nil
	}
	candidates, cancels := index.Candidates(ev), ends.Candidates(ev)
	if len(candidates)+len(cancels) == 0 {
		return nil
	}
	life, err := o.tx.Life(crm.Key{Account: ev.Account, Contact: ev.Contact})
	if err != nil {
		return err
	}
	names, err := names(o.tx, o.lists, ev.Account)
	if err != nil {
		return err
	}
	te, ok := ev.Trigger(life)
	if mayEnd(*ev, life) {
		o.cancel(ev, cancels, names)
	}
	for _, cand := range candidates {
		if !ok {
			o.refused(ev, life, cand.Payload, names)
			continue
		}
		decision, err := cand.Trigger.Match(te, o.tx.Now(), names)
		if err != nil {
			o.e.log.Warn().Str("trigger", cand.Payload.name()).Err(err).Msg("a condition could not be decided; it does not match")
			continue
		}
		if decision.Matched {
			if err := o.entitled(te, cand.Payload, ev, names); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused notes a trigger that would have matched but for a restore.
func (o *offer) refused(ev *crm.Event, life crm.Life, a armed, names func(crm.ItemID) string) {
	why := ev.Refusal(life)
	byRestore := why == crm.RefusedCause && (ev.Why.Kind == crm.ByRestore || ev.Why.Kind == crm.ByInbound)
	if life.State != crm.Live || !byRestore && why != crm.RefusedEpoch && why != crm.RefusedQuiet || ev.After == nil {
		return
	}
	if a.trigger.Event.WouldMatch(*ev, o.tx.Now(), names) {
		o.suppress(life, a, why, ev.Kind)
	}
}

func (o *offer) suppress(life crm.Life, a armed, why crm.Refusal, kind crm.EventKind) {
	o.d.suppressed = append(o.d.suppressed, crm.Suppressed{Account: life.Account, Contact: life.Contact, Epoch: life.Epoch,
		Trigger: a.name(), Refusal: why, At: o.tx.Now(), Event: kind})
}

// entitled decides the workflow's filter and key for a contact that may have a run started.
func (o *offer) entitled(by crm.Entitled, a armed, ev *crm.Event, names func(crm.ItemID) string) error {
	k, _, _, _ := by.Entitlement()
	c, life, err := o.tx.Peek(k)
	if err != nil || c == nil {
		return err
	}
	tomb, err := o.tx.Tombstone(k, life)
	if err != nil {
		return err
	}
	env := triggers.Env{Event: ev, Contact: c, Life: life, Tombstone: tomb, Now: o.tx.Now(), ListName: names}
	s := store.Start{Entitled: by, Over: crm.OnlyLive, Workflow: a.def.ID, Revision: a.def.Revision, Trigger: a.trigger.ID}
	if a.trigger.Event == nil {
		s.Over = a.trigger.Over
	}
	if ev != nil {
		s.Depth = ev.Why.Depth
	}
	if len(a.def.Nodes) > 0 {
		s.Step = a.def.Nodes[0].ID
	}
	s.Mode, s.Max = a.def.Mode, a.def.Max
	if ev != nil && a.def.Uses("event") {
		if s.Event, err = json.Marshal(triggers.Started(ev)); err != nil {
			return err
		}
	}
	if s.Again = a.def.Reenter.After; a.def.Reenter.Never {
		s.Again = -1
	}
	if f := a.def.Filter; f != nil {
		yes, err := f.Bool(env)
		if err != nil {
			o.e.log.Warn().Str("trigger", a.name()).Err(err).Msg("the filter could not be decided; it does not match")
			return nil
		}
		if !yes {
			return nil
		}
		s.Filter = store.See(c, f.Reads())
	}
	key, err := o.runKey(a.def, env)
	if err != nil {
		o.e.log.Warn().Str("trigger", a.name()).Err(err).Msg("run.key could not be decided; no run starts")
		return nil
	}
	s.KeyHash = key
	o.d.acts = append(o.d.acts, act{start: s})
	return nil
}

// mayEnd says whether an event may end runs: what may start them, and what an import, the loss of a tag, or a
// chain of workflows that is too long did, since ending is not starting.
func mayEnd(ev crm.Event, life crm.Life) bool {
	if ev.Why.Kind == crm.ByImport || ev.Why.Kind == crm.ByAccount {
		ev.Why.Kind = crm.ByPerson
	}
	ev.Why.Depth = 0
	return ev.Refusal(life) == crm.NotRefused
}

// cancel offers an event to the cancel_on of workflows. It comes before the starts: an event that does both
// ends the run of before and begins a new one.
func (o *offer) cancel(ev *crm.Event, cancels []triggers.Entry[ending], names func(crm.ItemID) string) {
	k := crm.Key{Account: ev.Account, Contact: ev.Contact}
	for _, c := range cancels {
		if c.Trigger.WouldMatch(*ev, o.tx.Now(), names) {
			o.d.acts = append(o.d.acts, act{cancel: &cancelling{k, c.Payload.workflow, c.Payload.revision, c.Payload.reason}})
		}
	}
}

// wake offers an event to the runs of its contact that wait for one. It has to have happened since they do:
// the log's order says so, not the clock.
func (o *offer) wake(l *store.Logged) error {
	ev := &l.Event
	if _, can := crm.TriggerKinds[ev.Kind]; !can || ev.Contact.IsZero() {
		return nil
	}
	k := crm.Key{Account: ev.Account, Contact: ev.Contact}
	all, err := o.tx.Listeners(k)
	if err != nil || len(all) == 0 {
		return err
	}
	life, err := o.tx.Life(k)
	if err != nil {
		return err
	}
	te, ok := ev.Trigger(life)
	if !ok {
		return nil
	}
	names, err := names(o.tx, o.lists, ev.Account)
	if err != nil {
		return err
	}
	for _, who := range all {
		r := who.Run
		def, err := o.e.definitionIn(o.tx, r.Account, r.Workflow, r.Revision)
		if err != nil {
			o.e.complain(err, "a run that waits for an event cannot hear it: its revision cannot be loaded")
			continue
		}
		at, ok := def.Node(r.Step)
		if !ok || l.Seq <= who.Since || def.Nodes[at].Hears == nil {
			continue
		}
		decision, err := def.Nodes[at].Hears.Match(te, o.tx.Now(), names)
		if err != nil {
			o.e.log.Warn().Str("workflow", r.Workflow).Str("step", r.Step).Err(err).Msg("a condition could not be decided; the run goes on waiting")
			continue
		}
		if decision.Matched {
			o.d.acts = append(o.d.acts, act{wake: &waking{r, def, ev}})
		}
	}
	return nil
}

// runKey hashes the value of run.key, the contact's id if there is none.
func (o *offer) runKey(def *workflow.Workflow, env triggers.Env) ([32]byte, error) {
	value := env.Contact.ID.String()
	if def.Key != nil {
		v, err := def.Key.Eval(env)
		if err != nil {
			return [32]byte{}, err
		}
		value = fmt.Sprintf("%T %v", v, v)
	}
	return o.e.store.RunKey(env.Contact.Account, def.ID, value), nil
}

// Backlog says how many entries of the log the dispatcher has not looked at; more than 1000 are not
// counted.
func (e *Engine) Backlog(tx *store.Tx) (int, error) {
	from, err := tx.Cursor(cursorDispatch)
	if err != nil {
		return 0, err
	}
	return tx.Waiting(from, 1001)
}
