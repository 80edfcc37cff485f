package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// triggerKinds are the kinds of event that the model knows to be able to start runs.
var triggerKinds = []string{
	"contact.created", "contact.tag_added", "contact.tag_removed", "contact.field_changed",
	"contact.list_changed", "record.created", "record.deleted",
}

// dispatch offers what happened since the last time to a trigger that matches everything. Between
// decision and commit somebody may delete or restore a contact.
func (p *program) dispatch() error {
	var starts []store.Start
	var next []byte
	seen := p.told
	err := p.view(func(tx *store.Tx) error {
		events, cursor, err := tx.Events(p.cursor, 1+p.choose(12))
		if err != nil {
			return err
		}
		next = cursor
		for _, l := range events {
			if !slices.Contains(triggerKinds, string(l.Event.Kind)) {
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
			if ev, ok := l.Event.Trigger(life); ok {
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
		if _, dup := want[e.c.key.Contact]; !dup && e.starts() && !e.c.busy("every") {
			want[e.c.key.Contact] = e
		}
	}
	p.told = seen
	return p.startAll(starts, slices.Collect(maps.Keys(want)), func(tx *store.Tx) error {
		return tx.MoveCursor("dispatch", p.cursor, next)
	}, func() { p.cursor = next })
}

// meanwhile lets somebody in between a decision and its commit.
func (p *program) meanwhile() error {
	if p.choose(3) > 0 {
		return nil
	}
	c := p.contacts[p.choose(len(p.contacts))]
	if p.choose(2) == 0 {
		return p.mutate(boss, byHand, crm.Delete{Contact: c.key})
	}
	return p.mutate(boss, byHand, crm.Restore{Contact: c.key})
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
		c := p.of(crm.Key{Account: r.Account, Contact: r.Contact})
		i := slices.Index(want, r.Contact)
		switch {
		case i < 0 && c.restored > 0:
			return p.violation(StartsNothing, "%s started for %s, restored at step %d", r.Workflow, r.Contact, c.restored)
		case i < 0:
			return p.violation(Agrees, "%s started for %s", r.Workflow, r.Contact)
		}
		want = slices.Delete(want, i, i+1)
		c.runs = append(c.runs, &mRun{id: r.ID, workflow: r.Workflow, epoch: c.epoch, depth: r.Depth})
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
	epochs, selected := map[*mContact]uint64{}, map[*mContact]bool{}
	for _, c := range p.contacts {
		on := c.facts["tag/unsubscribed"].is != ""
		epochs[c] = c.epoch
		selected[c] = c.state == "live" && [3]bool{on && c.fresh("tag/unsubscribed"), !on && c.fresh("tag/unsubscribed"), c.restored == 0}[which]
	}
	if err := p.meanwhile(); err != nil {
		return err
	}
	var want []crm.ContactID
	for c, ok := range selected {
		if ok && c.epoch == epochs[c] && !c.busy(workflow) {
			want = append(want, c.key.Contact)
		}
	}
	return p.startAll(starts, want, func(*store.Tx) error { return nil }, func() {})
}

// turn lets one run of a contact go a step further, whether it may or not.
func (p *program) turn(c *mContact) error {
	if len(c.runs) == 0 {
		return nil
	}
	r := c.runs[p.choose(len(c.runs))]
	var was *crm.Run
	if err := p.view(func(tx *store.Tx) (err error) { was, err = tx.Run(r.id); return err }); err != nil {
		return err
	}
	if (was == nil) != (c.state == "purged") {
		return p.violation(Agrees, "the run %s of a %s contact is there: %v", r.id, c.state, was != nil)
	}
	if was == nil || r.done {
		return nil
	}
	a := store.Advanced{Was: *was, Run: *was}
	done := p.choose(3) == 0
	a.Run.Status, a.Run.Due = crm.RunWaiting, p.now()+crm.Nanos(p.choose(1_000_000_000))+1
	if done {
		a.Run.Status = crm.RunCompleted
	}
	effects := []crm.Mutation{nil, nil, crm.AddTag{Contact: c.key, Tag: "vip"}, crm.RemoveTag{Contact: c.key, Tag: "vip"},
		crm.Delete{Contact: c.key}, crm.Restore{Contact: c.key}, crm.Purge{Contact: c.key}}
	mut := effects[p.choose(len(effects))]
	if mut != nil {
		a.Effects = []crm.Mutation{mut}
	}
	may, want := c.runnable(r), ""
	if may && mut != nil {
		want = p.predict(mut)
	}
	err := p.update(func(tx *store.Tx) error { return tx.CommitRun(a) })
	switch {
	case errors.Is(err, store.ErrStale) != !may:
		return p.violation(Agrees, "a turn of %s gave %v; the model lets it go on: %v", r.id, err, may)
	case !may:
		return nil
	case mut != nil:
		if jerr := p.judge(mut, crm.Cause{Kind: crm.ByWorkflow, Depth: r.depth + 1}, want, err); jerr != nil || err != nil {
			return jerr
		}
	case err != nil:
		return err
	}
	r.epoch, r.done, r.dead = c.epoch, done, c.state == "deleted"
	return nil
}

// compare holds everything that the store shows against the model.
func (p *program) compare() error {
	return p.view(func(tx *store.Tx) error {
		if tx.Now() != p.now() {
			return p.violation(Agrees, "the store's clock shows %s, not %s", tx.Now(), p.now())
		}
		counts := map[string]int64{}
		for _, c := range p.contacts {
			counts["contacts/"+c.state]++
			for _, l := range p.lists {
				if c.state == "live" && c.facts["list/"+l.String()].is != "" {
					counts["members/"+l.String()]++
				}
			}
			if err := p.compareContact(tx, c); err != nil {
				return err
			}
		}
		for _, name := range []string{"contacts/live", "contacts/deleted", "contacts/purged", "members/" + p.lists[0].String(), "members/" + p.lists[1].String()} {
			if n, err := tx.Counter(tenant, name); err != nil || n != counts[name] {
				return p.violation(Agrees, "the counter %s is %d, not %d (%v)", name, n, counts[name], err)
			}
		}
		if err := p.compareScans(tx); err != nil {
			return err
		}
		return p.compareRuns(tx)
	})
}

// compareContact compares what one contact is, in its state, its facts and its records.
func (p *program) compareContact(tx *store.Tx, c *mContact) error {
	got, life, err := tx.Peek(c.key)
	if err != nil {
		return err
	}
	is, want := fmt.Sprintf("%s in epoch %d", life.State, life.Epoch), fmt.Sprintf("%s in epoch %d", c.state, c.epoch)
	if is != want || (got == nil) != (c.state == "purged") {
		return p.violation(Agrees, "%s is %s, not %s", c.key.Contact, is, want)
	}
	if is, want := shownFacts(got), shownModel(c); is != want && got != nil {
		return p.violation(Agrees, "%s has the facts %s, not %s", c.key.Contact, is, want)
	}
	records, err := tx.Records(c.key)
	if err != nil {
		return err
	}
	live := map[crm.ItemID]bool{}
	for _, r := range records {
		live[r.ID] = !r.Deleted.IsSet()
	}
	if c.state == "purged" {
		if links, err := tx.Links(c.key); err != nil || len(links)+len(live) > 0 {
			return p.violation(Agrees, "%s is purged and has %d links and %d records (%v)", c.key.Contact, len(links), len(live), err)
		}
	} else if !maps.Equal(live, c.records) {
		return p.violation(Agrees, "%s has the records %v, not %v", c.key.Contact, live, c.records)
	}
	receipt, err := tx.LatestReceipt(c.key)
	if err == nil && receipt != nil && receipt.RunsStarted+receipt.TimersArmed+receipt.Sends > 0 {
		return p.violation(StartsNothing, "the receipt of %s counts %d runs, %d timers, %d sends", c.key.Contact, receipt.RunsStarted, receipt.TimersArmed, receipt.Sends)
	}
	return err
}

func shownFacts(c *crm.Contact) string {
	if c == nil {
		return ""
	}
	var facts []string
	for _, t := range c.TagNames() {
		facts = append(facts, "tag/"+strings.ToLower(t)+"=on")
	}
	if v := c.Field("plan"); v.Text != "" {
		facts = append(facts, "field/plan="+v.Text)
	}
	for _, l := range c.Lists {
		if !l.Absent {
			facts = append(facts, "list/"+l.List.String()+"="+string(l.Status))
		}
	}
	slices.Sort(facts)
	return strings.Join(facts, " ")
}

func shownModel(c *mContact) string {
	var facts []string
	for name, f := range c.facts {
		if f.is != "" {
			facts = append(facts, name+"="+f.is)
		}
	}
	slices.Sort(facts)
	return strings.Join(facts, " ")
}

// compareScans compares which contacts each kind of reader sees.
func (p *program) compareScans(tx *store.Tx) error {
	for state, set := range map[string]crm.StateSet{"live": crm.OnlyLive, "deleted": crm.OnlyDeleted} {
		want := map[crm.ContactID]bool{}
		for _, c := range p.contacts {
			if c.state == state {
				want[c.key.Contact] = true
			}
			keys, err := tx.Find(tenant, "email", c.email, set)
			if found := slices.Contains(keys, c.key); err != nil || found != (c.state == state) {
				return p.violation(Agrees, "%s, %s, is found among the %s: %v (%v)", c.key.Contact, c.state, state, found, err)
			}
		}
		got := map[crm.ContactID]bool{}
		err := tx.ScanAll(crm.Query{Account: tenant, State: set}, func(c *crm.Contact, _ *crm.Life) bool {
			got[c.ID] = true
			return true
		})
		if err != nil || !maps.Equal(got, want) {
			return p.violation(Agrees, "the %s contacts are %v, not %v (%v)", state, got, want, err)
		}
	}
	return nil
}

// compareRuns compares which runs could be woken, ever, and how every run is shown.
func (p *program) compareRuns(tx *store.Tx) error {
	want := map[crm.RunID]bool{}
	for _, c := range p.contacts {
		if c.state == "purged" {
			continue
		}
		runs, err := tx.RunsOf(c.key)
		if err != nil {
			return err
		}
		life, _ := tx.Life(c.key)
		shown := map[crm.RunID]string{}
		for _, r := range runs {
			shown[r.ID] = string(r.StatusFor(life))
		}
		for _, r := range c.runs {
			if c.runnable(r) {
				want[r.id] = true
			}
			if is, want := shown[r.id], c.shows(r); is != want && (want != "under way" || is != "active" && is != "waiting") {
				return p.violation(Agrees, "the run %s is shown as %q, not %q", r.id, is, want)
			}
		}
	}
	due, _, _, err := tx.DueRuns(store.FirstTimer, 1<<62, 10_000)
	got := map[crm.RunID]bool{}
	for _, r := range due {
		got[r.ID] = true
	}
	if err != nil || !maps.Equal(got, want) {
		return p.violation(Agrees, "the runs that can be woken are %v, not %v (%v)", got, want, err)
	}
	return nil
}
