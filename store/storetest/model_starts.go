package storetest

import (
	"crypto/sha256"
	"errors"
	"maps"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func keyHash(k crm.Key) [32]byte { return sha256.Sum256(k.Contact[:]) }

// dispatch offers what happened since the last time to a trigger that matches everything. Between
// decision and commit somebody may delete or restore a contact.
func (p *program) dispatch() error {
	var starts []store.Start
	var next []byte
	seen, there := p.told, !p.workflows["every"].gone
	err := p.view(func(tx *store.Tx) error {
		events, cursor, err := tx.Events(p.cursor, 1+p.choose(60))
		if err != nil {
			return err
		}
		next = cursor
		for _, l := range events {
			if !slices.Contains(triggerKinds, l.Event.Kind) {
				continue
			}
			life, err := tx.Life(crm.Key{Account: l.Event.Account, Contact: l.Event.Contact})
			if err != nil {
				return err
			}
			if seen == len(p.outbox) || p.outbox[seen].c.key != life.Key() {
				return p.violation(Agrees, "the log has %s of %s", l.Event.Kind, life.Contact)
			}
			seen++
			if ev, ok := l.Event.Trigger(life); ok && there {
				starts = append(starts, p.start("every", ev, l.Event.Why.Depth))
			}
		}
		return nil
	})
	if err != nil || string(next) == string(p.cursor) {
		return err
	}
	if err := p.meanwhile(); err != nil {
		return err
	}
	want := map[crm.ContactID]mEvent{}
	for _, e := range p.outbox[p.told:seen] {
		if _, dup := want[e.c.key.Contact]; !dup && there && e.starts() && !e.c.archived() && !e.c.busy("every") {
			want[e.c.key.Contact] = e
		}
	}
	p.told = seen
	return p.startAll(starts, slices.Collect(maps.Keys(want)), func(tx *store.Tx) error {
		return tx.MoveCursor("dispatch", p.cursor, next, 0)
	}, func() { p.cursor = next })
}

// meanwhile lets somebody in between a decision and its commit.
func (p *program) meanwhile() error {
	if p.choose(3) > 0 {
		return nil
	}
	c := p.contacts[p.choose(len(p.contacts))]
	return p.mutate(boss, byHand, oneOf[crm.Mutation](p, p.someDelete(c), p.someDelete(c),
		crm.Restore{Contact: c.key}, crm.Restore{Contact: c.key}, crm.Archive{Contact: c.key, On: true}))
}

func (p *program) start(workflow string, by crm.Entitled, depth uint8) store.Start {
	k, _, _, _ := by.Entitlement()
	return store.Start{Entitled: by, Over: crm.OnlyLive, Workflow: workflow, Revision: revision, Trigger: "t", KeyHash: keyHash(k), Depth: depth}
}

// startAll starts runs in one transaction and compares with those that the model wants.
func (p *program) startAll(starts []store.Start, want []crm.ContactID, also func(*store.Tx) error, after func()) error {
	var began []crm.Run
	err := p.update(func(tx *store.Tx) error {
		began = nil
		for _, s := range starts {
			r, ok, err := tx.StartRun(s)
			if err != nil {
				return err
			}
			if ok {
				began = append(began, r)
			}
		}
		return also(tx)
	})
	if err != nil {
		return err
	}
	after()
	for _, r := range began {
		p.note("%s starts %s for %s", r.Workflow, r.ID, r.Contact)
		c := p.of(crm.Key{Account: r.Account, Contact: r.Contact})
		i := slices.Index(want, r.Contact)
		switch {
		case i < 0 && c.restored > 0:
			return p.violation(StartsNothing, "%s started for %s, restored at step %d", r.Workflow, r.Contact, c.restored)
		case i < 0:
			return p.violation(Agrees, "%s started for %s", r.Workflow, r.Contact)
		}
		want = slices.Delete(want, i, i+1)
		c.runs = append(c.runs, &mRun{id: r.ID, workflow: r.Workflow, depth: r.Depth, mStanding: mStanding{life: c.moved, due: p.high}})
	}
	if len(want) > 0 {
		return p.violation(Agrees, "nothing started for %v", want)
	}
	return nil
}

// nightly starts runs for contacts by what they are: with a tag, without a tag, or whatever they are.
func (p *program) nightly() error {
	which := p.choose(3)
	workflow := []string{"nightly", "missing", "blind"}[which]
	if p.workflows[workflow].gone {
		return nil
	}
	tag := crm.Filter{Op: crm.FilterTag, Name: "UNSUBSCRIBED"}
	where := []crm.Filter{tag, {Op: crm.FilterNot, Of: []crm.Filter{tag}}, {}}[which]
	reads := [][]crm.Fact{{{Kind: crm.FactTag, Name: "Unsubscribed"}}, {{Kind: crm.FactTag, Name: "unsubscribed"}}, nil}[which]
	var starts []store.Start
	err := p.view(func(tx *store.Tx) error {
		return tx.ScanAll(crm.Query{Account: tenant, State: crm.OnlyLive, Where: where}, func(c *crm.Contact, l *crm.Life) bool {
			if sel, ok := c.Selectable(*l, reads); ok {
				starts = append(starts, p.start(workflow, sel, 0))
			}
			return true
		})
	})
	if err != nil {
		return err
	}
	moved, selected := map[*mContact]int{}, map[*mContact]bool{}
	for _, c := range p.contacts {
		on := c.has("tag/unsubscribed") != ""
		moved[c] = c.moved
		selected[c] = c.state == "live" && !c.archived() && [3]bool{on && c.fresh("tag/unsubscribed"), !on && c.fresh("tag/unsubscribed"), c.restored == 0}[which]
	}
	if err := p.meanwhile(); err != nil {
		return err
	}
	var want []crm.ContactID
	for c, ok := range selected {
		if ok && c.moved == moved[c] && !c.busy(workflow) {
			want = append(want, c.key.Contact)
		}
	}
	return p.startAll(starts, want, func(*store.Tx) error { return nil }, func() {})
}

// read gives a run as it is stored, nil if it was purged or discarded.
func (p *program) read(c *mContact, r *mRun) (was *crm.Run, err error) {
	err = p.view(func(tx *store.Tx) (err error) { was, err = tx.Run(r.id); return err })
	if err == nil && (was == nil) != r.removed {
		err = p.violation(Agrees, "the run %s of a %s contact is there: %v", r.id, c.state, was != nil)
	}
	return was, err
}

// turn lets one run of a contact go a step further, whether it may or not.
func (p *program) turn(c *mContact) error {
	if len(c.runs) == 0 {
		return nil
	}
	r := c.runs[p.choose(len(c.runs))]
	for _, o := range c.runs { // mostly one that may
		if c.underway(o) && p.choose(3) > 0 {
			r = o
		}
	}
	was, err := p.read(c, r)
	if err != nil || was == nil || r.done != "" {
		return err
	}
	a := store.Advanced{Was: *was, Run: *was}
	done := p.choose(3) == 0
	a.Run.Status, a.Run.Due = crm.RunWaiting, p.now()+crm.Nanos(p.choose(1_000_000_000))+1+crm.Nanos(p.choose(2))*50*crm.Second
	if done {
		a.Run.Status = crm.RunCompleted
	}
	effects := []crm.Mutation{nil, nil, crm.AddTag{Contact: c.key, Tag: "vip"}, crm.RemoveTag{Contact: c.key, Tag: "vip"},
		crm.PutRecord{Record: p.newRecord(c)}, crm.SetDND{Contact: c.key, Channel: "sms", On: true},
		p.someDelete(c), crm.Restore{Contact: c.key}, crm.Purge{Contact: c.key}}
	if c.state == "live" {
		effects = append(effects, p.someDelete(c), p.someDelete(c), p.someDelete(c))
	}
	mut := oneOf(p, effects...)
	if mut != nil {
		a.Effects = []crm.Mutation{mut}
	}
	may, want := c.underway(r), []string(nil)
	why := crm.Cause{Kind: crm.ByWorkflow, Workflow: r.workflow, Run: r.id, Depth: r.depth + 1}
	if may && mut != nil {
		want = p.predict(why, mut)
	}
	err = p.update(func(tx *store.Tx) error { return tx.CommitRun(a) })
	p.note("a turn of %s for %s with %s: %v", r.id, c.key.Contact, show(mut), err)
	switch {
	case errors.Is(err, store.ErrStale) != !may:
		return p.violation(Agrees, "a turn of %s gave %v; the model lets it go on: %v", r.id, err, may)
	case !may:
		return nil
	case mut != nil:
		if jerr := p.judge(mut, why, want, err); jerr != nil || err != nil {
			return jerr
		}
	case err != nil:
		return err
	}
	r.life, r.dead, r.waiting, r.due = c.moved, c.state == "deleted", true, a.Run.Due
	if done {
		r.done = "completed"
	}
	return nil
}

// resume lets a run, or a place in a campaign, go on that a restore or an archiving left suspended.
func (p *program) resume() error {
	overdue := oneOf(p, crm.OverdueSkip, crm.OverdueShift, crm.OverdueFire)
	c := p.pick(func(c *mContact) bool {
		return c.state == "live" && slices.ContainsFunc(c.links, func(l *mLink) bool { return l.kind == crm.Campaign && !c.runnable(&l.mStanding) })
	})
	if l := p.someLink(c, crm.Campaign); l != nil && p.choose(2) == 0 {
		return p.mutate(boss, byHand, crm.ResumeEnrollment{Contact: c.key, Campaign: l.id, Overdue: overdue})
	}
	clash := p.choose(2) == 0 // with a run of now that holds the key
	suspended := func(r *mRun) bool { return c.shows(r) == "suspended" && (!clash || c.busy(r.workflow)) }
	c = p.pick(func(o *mContact) bool { c = o; return o.state == "live" && slices.ContainsFunc(o.runs, suspended) })
	of := slices.DeleteFunc(slices.Clone(c.runs), func(r *mRun) bool { return !suspended(r) && p.choose(4) > 0 })
	if len(of) == 0 {
		return nil
	}
	r := of[p.choose(len(of))]
	want := p.mayResume(c, r)
	err := p.update(func(tx *store.Tx) error {
		_, err := tx.ResumeRun(boss, r.id, overdue)
		return err
	})
	p.note("%s of %s is resumed, %s: %v", r.id, c.key.Contact, overdue, crm.CodeOf(err))
	if got := crm.CodeOf(err); got != want || err != nil && got == "" {
		return p.violation(Agrees, "resuming the run %s of %s gave %v, not %q", r.id, c.key.Contact, err, want)
	}
	if err == nil {
		p.resumeRun(c, r, overdue)
	}
	return nil
}

// dropTimers does what the engine does with timers that wake nothing: a suspended run stays so.
func (p *program) dropTimers() error {
	err := p.update(func(tx *store.Tx) error {
		_, stale, _, err := tx.DueRuns(store.FirstTimer, tx.Now(), 1000)
		if err != nil {
			return err
		}
		return tx.DropTimers(stale)
	})
	p.note("stale timers are dropped: %v", err)
	for _, c := range p.contacts {
		for _, r := range c.runs {
			if c.shows(r) == "cancelled" && r.dead && !r.over && r.due <= p.high {
				r.done = "cancelled"
			}
		}
	}
	return err
}
