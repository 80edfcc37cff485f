package store

import (
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// delete hides a contact. It writes the life row, the deadline, the manifest's links, the counters
// and the log, and touches neither contact nor records nor runs nor timers, whatever hangs on it:
// those are live, or runnable, only as far as the life row says.
func (tx *Tx) delete(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Delete) (*crm.Event, error) {
	const op = "delete a contact"
	c, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	if life.Held {
		if err := tx.forbid(held(op, c.ID)); err != nil {
			return nil, err
		}
	}
	items, err := tx.takenAlong(acc, c, life, why.Run)
	if err != nil {
		return nil, err
	}
	if err := tx.mayDelete(op, acc, c, life, items, why, m); err != nil {
		return nil, err
	}
	next := life
	next.State, next.Epoch, next.Since = crm.Deleted, life.Epoch+1, tx.now
	next.RestorableUntil = tx.now + acc.Policy.Retention.Window
	next.Operation = why.Operation
	if err := tx.settleOpportunities(by, c, next, items); err != nil {
		return nil, err
	}
	if err := tx.moveLife(&life, &next); err != nil {
		return nil, err
	}
	if err := insert(tx.ctx, tx.row.Manifests(), &crm.Manifest{
		Account: c.Account, Contact: c.ID, Epoch: next.Epoch, At: tx.now, RestorableUntil: next.RestorableUntil,
		By: by, Why: why, Reason: m.Reason, Items: items, Exported: m.Exported,
	}); err != nil {
		return nil, err
	}
	if acc.HIPAA { // an old backup must not undo it
		if err := tx.toLedger(next, true); err != nil {
			return nil, err
		}
	}
	tx.countLife(c, items, -1)
	tx.count(c.Account, CountLive, -1)
	tx.count(c.Account, CountDeleted, 1)
	ev := tx.event(crm.ContactDeleted, by, why, next, c.Rev, crm.EventData{Until: next.RestorableUntil})
	return &ev, tx.noteSealed(ev, c, &next, crm.EventData{Value: m.Exported})
}

func held(op string, c crm.ContactID) *crm.Error {
	return crm.Errorf(op, crm.CodeHeld, "it is under a legal hold").About(c).WithHint("an admin lifts the hold first: reprieve contact hold %s --lift", c)
}

// mayDelete asks the policy. The run that deletes is exempt from what it says about enrollments.
func (tx *Tx) mayDelete(op string, acc *crm.Account, c *crm.Contact, life crm.Life, items []crm.ManifestItem, why crm.Cause, m crm.Delete) error {
	if tx.replaying {
		return nil // it was asked when this was first done
	}
	rules := acc.Policy.Delete
	for _, it := range items {
		if rules.WhenEnrolled != crm.Block || it.Fate != crm.Interrupted {
			continue
		}
		if over, err := tx.over(c.Account, it); err != nil {
			return err
		} else if !over {
			if err := tx.forbid(crm.Errorf(op, crm.CodeEnrolled, "it is in a %s: %s", strings.TrimSuffix(it.Kind.String(), "_run"), crm.ItemText(it.Kind, it.ID)).About(c.ID).
				WithHint("end that first (reprieve run cancel, campaign remove), or have the policy remove it: delete.when_enrolled")); err != nil {
				return err
			}
			break
		}
	}
	if blocked, err := tx.blocking(rules, c, life, items); err != nil {
		return err
	} else if blocked != 0 {
		if err := tx.forbid(crm.Errorf(op, crm.CodeAssociated, "it has a live %s", blocked).About(c.ID).
			WithHint("the policy blocks that: delete.associated; deal with the %s first", blocked)); err != nil {
			return err
		}
	}
	if rules.ExportBefore == crm.Required && !exported(m.Exported) {
		if err := tx.forbid(crm.Errorf(op, crm.CodeExport, "the policy wants it exported before").About(c.ID).
			WithHint("reprieve contact delete %s --export FILE writes the export and deletes what it shows; a workflow cannot", c.ID)); err != nil {
			return err
		}
	}
	if why.Kind == crm.ByWorkflow {
		return tx.breaker(op, acc, c.ID, why)
	}
	return nil
}

// over says whether what a contact is enrolled in is gone, so that the enrollment is one in name only.
func (tx *Tx) over(acc crm.AccountID, it crm.ManifestItem) (bool, error) {
	if it.Kind == crm.Campaign {
		return false, nil // one that is gone is in no manifest
	}
	r, err := tx.Run(crm.RunID(it.ID))
	if err != nil || r == nil {
		return true, err
	}
	return tx.WorkflowGone(acc, r.Workflow)
}

// blocking gives the first kind that the policy does not let go along and that is there.
func (tx *Tx) blocking(rules crm.DeleteRules, c *crm.Contact, life crm.Life, items []crm.ManifestItem) (crm.ItemKind, error) {
	for _, it := range items {
		if it.Kind == crm.Opportunity && rules.Associated[crm.Opportunity] == crm.Block {
			return it.Kind, nil
		}
	}
	for _, kind := range crm.RecordKinds {
		if kind == crm.Message || rules.Associated[kind] != crm.Block {
			continue
		}
		records, err := tx.row.Records().Range(tx.ctx, crm.ItemKey{Account: c.Account, Contact: c.ID, Kind: kind},
			crm.ItemKey{Account: c.Account, Contact: c.ID, Kind: kind + 1}, 0)
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			if !r.Deleted.IsSet() && !life.Hides(r.Kind, r.Epoch) {
				return kind, nil
			}
		}
	}
	return 0, nil
}

// breaker counts a delete by a workflow, and refuses it over the limits of the policy: a workflow that
// deletes too much is more often wrong than right. The count is part of the transaction, so that no
// kill, restart or rate gets round it.
func (tx *Tx) breaker(op string, acc *crm.Account, c crm.ContactID, why crm.Cause) error {
	w, err := tx.Workflow(acc.ID, why.Workflow)
	if err != nil {
		return err
	}
	live, err := tx.Counter(acc.ID, CountLive)
	if err != nil {
		return err
	}
	limits, t := acc.Policy.Delete.Limits, w.Deletes
	if hour := tx.now - tx.now%crm.Hour; t.Hour != hour {
		t.Hour, t.InHour = hour, 0
	}
	if day := tx.now - tx.now%crm.Day; t.Day != day {
		t.Day, t.InDay = day, 0
	}
	limited := func(until crm.Nanos, format string, args ...any) error {
		return tx.forbid(crm.Errorf(op, crm.CodeLimited, "the workflow %q has reached its limit of "+format, append([]any{why.Workflow}, args...)...).About(c).
			WithHint("it may go on at %s, or once an admin raises delete.limits in the policy", until))
	}
	if n := limits.WorkflowPerHour; n > 0 && t.InHour >= n {
		if err := limited(t.Hour+crm.Hour, "%d deletes an hour", n); err != nil {
			return err
		}
	}
	if p := limits.WorkflowPercentPerDay; p > 0 && t.InDay >= limits.PercentFrom && int64(t.InDay+1)*100 > int64(p)*(live+int64(t.InDay)) {
		if err := limited(t.Day+crm.Day, "%d%% of the contacts a day", p); err != nil {
			return err
		}
	}
	t.InHour, t.InDay = t.InHour+1, t.InDay+1
	next := *w
	next.Deletes = t
	tx.workflows.put(row.NameKey{Account: acc.ID, Name: w.ID}, &next)
	return nil
}

// takenAlong lists the links and memberships that a delete cuts. The run that deletes is exempt: it
// goes on.
func (tx *Tx) takenAlong(acc *crm.Account, c *crm.Contact, life crm.Life, run crm.RunID) ([]crm.ManifestItem, error) {
	rules := acc.Policy.Delete.Associated
	fate := func(kind crm.ItemKind) crm.Fate {
		if rules[kind] == crm.Keep {
			return crm.Kept
		}
		return crm.Detached
	}
	var items []crm.ManifestItem
	for _, l := range c.Lists {
		if l.Absent {
			continue
		}
		if gone, err := tx.objectGone(c.Account, crm.List, l.List); err != nil {
			return nil, err
		} else if !gone {
			items = append(items, crm.ManifestItem{Kind: crm.List, ID: l.List, Fate: fate(crm.List)})
		}
	}
	if fate(crm.TagItem) == crm.Detached {
		for _, name := range c.TagNames() {
			items = append(items, crm.ManifestItem{Kind: crm.TagItem, ID: TagID(c.Account, name), Fate: crm.Detached})
		}
	}
	from, to := crm.ItemsOf(c.Key())
	to.Kind = crm.FinishedRun
	links, err := tx.row.Links().Range(tx.ctx, from, to, 0)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if life.Hides(l.Kind, l.Epoch) {
			continue
		}
		item := crm.ManifestItem{Kind: l.Kind, ID: l.ID, Fate: fate(l.Kind)}
		if l.Kind == crm.Company || l.Kind == crm.Campaign { // what is gone already is not taken
			if gone, err := tx.objectGone(c.Account, l.Kind, l.ID); err != nil {
				return nil, err
			} else if gone {
				continue
			}
		}
		switch l.Kind {
		case crm.Campaign, crm.WorkflowRun:
			switch {
			case crm.RunID(l.ID) == run && !run.IsZero(), l.Epoch%2 == 1:
				continue // the run that deletes, or one whose tombstone is no more
			case l.Epoch != life.Epoch:
				item.Fate = crm.Stood
			default:
				item.Fate = crm.Interrupted
			}
		case crm.Opportunity:
			there, err := tx.opportunityItem(acc, l, &item)
			if err != nil {
				return nil, err
			}
			if !there {
				continue
			}
		}
		items = append(items, item)
	}
	return items, nil
}

func (tx *Tx) objectGone(acc crm.AccountID, kind crm.ItemKind, id crm.ItemID) (bool, error) {
	o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: acc, Kind: kind, ID: id})
	return o == nil || o.Deleted.IsSet(), err
}

// opportunityItem decides what a delete does to an opportunity: shared, it goes on without the contact,
// which the policy may keep from being its primary again; a sole one goes along, and comes back or is
// closed as the policy says now. So no restore depends on the order of others.
func (tx *Tx) opportunityItem(acc *crm.Account, l crm.Link, item *crm.ManifestItem) (bool, error) {
	o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: l.Account, Kind: l.Kind, ID: l.ID})
	if err != nil || o == nil || o.Deleted.IsSet() {
		return false, err
	}
	shared, err := tx.anyLive(o, l.Contact)
	switch {
	case err != nil:
		return false, err
	case shared:
		item.Fate = crm.Detached
		item.Secondary = o.Primary == l.Contact && acc.Policy.Restore.OpportunityPrimary == crm.Secondary
	case acc.Policy.Restore.SoleContactOpportunities == crm.LoseThem:
		item.Fate = crm.Lost
	default:
		item.Fate = crm.Taken
	}
	return true, nil
}

// settleOpportunities writes what a delete decides about opportunities.
func (tx *Tx) settleOpportunities(by crm.Actor, c *crm.Contact, next crm.Life, items []crm.ManifestItem) error {
	for _, it := range items {
		if it.Kind != crm.Opportunity || it.Fate != crm.Lost && !it.Secondary {
			continue
		}
		k := crm.ObjectKey{Account: c.Account, Kind: it.Kind, ID: it.ID}
		o, err := tx.objects.get(tx.ctx, k)
		if err != nil {
			return err
		}
		changed := *o
		if it.Secondary {
			changed.Primary = crm.ContactID{}
		}
		if it.Fate == crm.Lost {
			changed.Lost, changed.Deleted = true, crm.Mark{At: tx.now, Epoch: next.Epoch, By: by.ID}
		}
		tx.objects.put(k, &changed)
	}
	return nil
}

// anyLive says whether an opportunity has a live contact besides one. A contact to which a restore did
// not bring the opportunity back is none of its contacts any more.
func (tx *Tx) anyLive(o *crm.Object, except crm.ContactID) (bool, error) {
	for _, id := range o.Contacts {
		if id == except {
			continue
		}
		life, err := tx.Life(crm.Key{Account: o.Account, Contact: id})
		if err != nil {
			return false, err
		}
		if life.State != crm.Live {
			continue
		}
		if len(life.Lost) == 0 {
			return true, nil
		}
		l, err := one(tx.ctx, tx.row.Links(), crm.ItemKey{Account: o.Account, Contact: id, Kind: o.Kind, ID: o.ID})
		if err != nil || l != nil && !life.Hides(l.Kind, l.Epoch) {
			return err == nil, err
		}
	}
	return false, nil
}

// OpportunityLive says whether an opportunity is live: one of its contacts is, and nobody deleted it.
func (tx *Tx) OpportunityLive(o *crm.Object) (bool, error) {
	if o.Deleted.IsSet() {
		return false, nil
	}
	return tx.anyLive(o, crm.ContactID{})
}

// countLife moves the counters of lists, and of the campaigns that are interrupted, by one. An archived
// contact is in none of them.
func (tx *Tx) countLife(c *crm.Contact, items []crm.ManifestItem, d int64) {
	for _, it := range items {
		if it.Kind == crm.List && !c.Archived.On || it.Kind == crm.Campaign && it.Fate == crm.Interrupted {
			tx.count(c.Account, CountOf(it.ID), d)
		}
	}
}

// moveLife stages a contact's next life and moves the rows that a sweep finds it by: at the deadline of
// its deletion, and at that of what a restore left behind.
func (tx *Tx) moveLife(was, is *crm.Life) error {
	tx.lives.put(is.Key(), is)
	var ch []row.Change[crm.Deadline]
	before, after := deadlines(was), deadlines(is)
	for until := range before {
		if !after[until] {
			ch = append(ch, row.Change[crm.Deadline]{Old: &crm.Deadline{Until: until, Account: is.Account, Contact: is.Contact}})
		}
	}
	for until := range after {
		if !before[until] {
			ch = append(ch, row.Change[crm.Deadline]{New: &crm.Deadline{Until: until, Account: is.Account, Contact: is.Contact}})
		}
	}
	return tx.row.Deadlines().Write(tx.ctx, ch)
}

func deadlines(l *crm.Life) map[crm.Nanos]bool {
	at := map[crm.Nanos]bool{}
	if l.State == crm.Deleted {
		at[l.RestorableUntil] = true
	}
	for _, x := range l.Lost {
		if !x.History {
			at[x.Until] = true
		}
	}
	return at
}

// forbid gives a refusal back, or in a preview notes it and lets the deed go on, so that the preview
// names everything that stands in the way at once.
func (tx *Tx) forbid(err *crm.Error) error {
	if tx.obstacles == nil {
		return err
	}
	*tx.obstacles = append(*tx.obstacles, err)
	return nil
}

// exported is whether a text can be the sha256 of an export.
func exported(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }
