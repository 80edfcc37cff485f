package store

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// restoration is a restore under way: who and from where, and what it comes to.
type restoration struct {
	acc      *crm.Account
	was, c   *crm.Contact // c is a copy once a fact had to go
	life     crm.Life     // of the deletion
	next     crm.Life
	manifest *crm.Manifest
	items    []crm.ReceiptItem
}

// restore brings back what the manifest names, as far as the policy says and it is still there, and
// starts nothing: it is one mutation, its event is none that a trigger can name, the epoch moves so
// that what ran before is suspended, and the quiet revision becomes the contact's own, so that no fact
// of before entitles anything.
func (tx *Tx) restore(acc *crm.Account, by crm.Actor, why crm.Cause, m crm.Restore) (*crm.Event, error) {
	const op = "restore a contact"
	c, life, err := tx.load(op, m.Contact, crm.OnlyDeleted)
	if err != nil {
		return nil, err
	}
	if err := tx.mayRestore(op, acc, c, life, why); err != nil {
		return nil, err
	}
	manifest, err := one(tx.ctx, tx.row.Manifests(), crm.EpochKey{Account: c.Account, Contact: c.ID, Epoch: life.Epoch})
	if err != nil {
		return nil, err
	}
	if manifest == nil {
		return nil, crm.Errorf(op, crm.CodeCorrupt, "its manifest is missing").About(c.ID)
	}
	why.Kind = crm.ByRestore
	r := &restoration{acc: acc, was: c, c: c, life: life, next: life, manifest: manifest}
	r.next.State, r.next.Epoch, r.next.Since, r.next.QuietRev = crm.Live, life.Epoch+1, tx.now, c.Rev
	r.next.RestorableUntil, r.next.Operation = 0, crm.OperationID{}
	lost := r.losses()
	r.next.Lost = append(append([]crm.Loss{}, life.Lost...), lost...)
	for _, step := range []func(*restoration) error{tx.dropTaken, tx.bringBack, tx.dropGoneTags, tx.leaveLists} {
		if err := step(r); err != nil {
			return nil, err
		}
	}
	if err := tx.moveLife(&life, &r.next); err != nil {
		return nil, err
	}
	if err := insert(tx.ctx, tx.row.Receipts(), &crm.Receipt{
		Account: c.Account, Contact: c.ID, Epoch: r.next.Epoch, Deletion: life.Epoch, At: tx.now, QuietRev: r.next.QuietRev,
		By: by, Why: why, Reason: m.Reason, Items: r.items, Lost: lost,
	}); err != nil {
		return nil, err
	}
	tx.count(c.Account, CountLive, 1)
	tx.count(c.Account, CountDeleted, -1)
	ev := tx.event(crm.ContactRestored, by, why, r.next, c.Rev, crm.EventData{})
	return &ev, tx.noteLife(ev, r.c, &r.next)
}

// mayRestore asks the account and the clock. A contact of a bulk restore is judged by the time at which
// that was accepted, and is refused rather than brought back without its address unless the policy
// says so.
func (tx *Tx) mayRestore(op string, acc *crm.Account, c *crm.Contact, life crm.Life, why crm.Cause) error {
	asOf, err := tx.acceptedAt(why.Operation)
	if err != nil {
		return err
	}
	var obstacles []*crm.Error
	if off := restoresOff(op, acc); off != nil {
		obstacles = append(obstacles, off.About(c.ID))
	}
	if acc.Policy.Retention.AfterWindow == crm.Refuse && !life.Restorable(asOf) {
		obstacles = append(obstacles, crm.Errorf(op, crm.CodeWindowPassed, "the recovery window ended at %s", life.RestorableUntil).About(c.ID).
			WithHint("nothing brings it back, purged yet or not; make a new contact if the person is one again"))
	}
	if acc.Policy.Restore.Conflict != crm.DropIdentifier { // block and skip differ in a selection only
		taken, err := tx.taken(c, c.Identities())
		if err != nil {
			return err
		}
		for _, t := range taken {
			obstacles = append(obstacles, t.refusal(op, c.ID))
		}
	}
	for _, o := range obstacles {
		if err := tx.forbid(o); err != nil {
			return err
		}
	}
	return nil
}

// restoresOff says why an account restores nothing, nil if it does.
func restoresOff(op string, acc *crm.Account) *crm.Error {
	switch {
	case acc.HIPAA:
		return crm.Errorf(op, crm.CodeHIPAA, "the account is a HIPAA account: deletions are not undone").
			WithHint("no setting changes that; make a new contact if the person is one again")
	case !acc.Policy.Restore.Enabled:
		return crm.Errorf(op, crm.CodeRestoreOff, "the account's policy has restores switched off").
			WithHint("an admin switches them on: reprieve policy set restore.enabled=true")
	}
	return nil
}

// losses names the kinds that the policy leaves behind. What was not cut off by the delete stays the
// contact's.
func (r *restoration) losses() []crm.Loss {
	rules := r.acc.Policy.Restore
	kept := false // by the policy at the delete
	for _, it := range r.manifest.Items {
		kept = kept || it.Kind == crm.Company && it.Fate == crm.Kept
	}
	var lost []crm.Loss
	lose := func(kind crm.ItemKind, history bool) {
		l := crm.Loss{Kind: kind, Before: r.life.Epoch, Until: r.life.RestorableUntil, History: history}
		for _, was := range r.life.Lost { // what is history stays history, and the rest keeps its own deadline
			if was.Kind == kind {
				l.From = max(l.From, was.Before)
			}
		}
		lost = append(lost, l)
	}
	for _, kind := range crm.RecordKinds {
		if kind != crm.Message && !rules.Associated[kind] {
			lose(kind, false)
		}
	}
	if !rules.Associated[crm.Opportunity] {
		lose(crm.Opportunity, false)
	}
	if !rules.Associated[crm.Company] && !kept {
		lose(crm.Company, false)
	}
	if rules.Enrollments != crm.SuspendThem {
		lose(crm.Campaign, rules.Enrollments == crm.HistoryOnly)
		lose(crm.WorkflowRun, rules.Enrollments == crm.HistoryOnly)
	}
	return lost
}

// bringBack decides, for each item of the manifest, whether it comes back. A run or a campaign
// enrollment comes back suspended, which takes no write: its epoch is not the contact's any more.
func (tx *Tx) bringBack(r *restoration) error {
	for _, it := range r.manifest.Items {
		if it.Kind.IsRecord() {
			continue // computed from what there is
		}
		item := crm.ReceiptItem{Kind: it.Kind, ID: it.ID, Outcome: crm.Restored}
		var err error
		switch it.Kind {
		case crm.WorkflowRun:
			err = tx.runBack(r, &item)
		case crm.Campaign:
			err = tx.enrollmentBack(r, &item)
		default:
			err = tx.objectBack(r, it, &item)
		}
		if err != nil {
			return err
		}
		r.items = append(r.items, item)
	}
	return nil
}

func (i *skipped) because(reason crm.SkipReason) { i.Outcome, i.Reason = crm.Skipped, reason }

type skipped crm.ReceiptItem

// objectBack decides about a list, a tag, a company or an opportunity.
func (tx *Tx) objectBack(r *restoration, it crm.ManifestItem, item *crm.ReceiptItem) error {
	o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: r.manifest.Account, Kind: it.Kind, ID: it.ID})
	if err != nil {
		return err
	}
	gone := o == nil || o.Deleted.IsSet()
	back := it.Fate == crm.Kept || r.acc.Policy.Restore.Associated[it.Kind]
	if it.Kind == crm.List && !back { // whom a list must not mail is never forgotten
		is := r.was.Membership(it.ID)
		back = is != nil && is.Status.OptedOut()
	}
	skip := (*skipped)(item)
	switch it.Kind {
	case crm.TagItem:
		gone = tagGone(r.acc, o, r.manifest.At)
		if gone {
			skip.because(crm.SkipTagGone)
		}
	case crm.Opportunity:
		if gone && o != nil && o.Lost {
			skip.because(crm.SkipOpportunityLost)
		} else if gone {
			skip.because(crm.SkipDeletedSeparately)
		}
	default:
		if gone {
			skip.because(map[crm.ItemKind]crm.SkipReason{crm.List: crm.SkipListGone, crm.Company: crm.SkipCompanyGone}[it.Kind])
		}
	}
	switch {
	case gone:
	case !back:
		skip.because(crm.SkipPolicy)
	case it.Secondary:
		item.Reason = crm.BackAsSecondary
	}
	if it.Kind == crm.List && item.Outcome == crm.Restored && !r.was.Archived.On {
		tx.count(r.manifest.Account, CountOf(it.ID), 1)
	}
	return nil
}

// enrollmentBack decides about a place in a campaign. Its message that came due meanwhile is not sent.
func (tx *Tx) enrollmentBack(r *restoration, item *crm.ReceiptItem) error {
	o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: r.manifest.Account, Kind: crm.Campaign, ID: item.ID})
	if err != nil {
		return err
	}
	if o == nil || o.Deleted.IsSet() {
		(*skipped)(item).because(crm.SkipCampaignGone)
		return nil
	}
	l, err := one(tx.ctx, tx.row.Links(), crm.ItemKey{Account: r.manifest.Account, Contact: r.manifest.Contact, Kind: crm.Campaign, ID: item.ID})
	if err != nil {
		return err
	}
	r.enrolled(item, l != nil && l.Due != 0 && l.Due <= r.next.Since)
	return nil
}

// runBack decides about a run.
func (tx *Tx) runBack(r *restoration, item *crm.ReceiptItem) error {
	run, err := tx.Run(crm.RunID(item.ID))
	if err != nil {
		return err
	}
	gone := run == nil
	if !gone {
		if gone, err = tx.WorkflowGone(run.Account, run.Workflow); err != nil {
			return err
		}
	}
	if gone {
		(*skipped)(item).because(crm.SkipWorkflowGone)
		if run != nil { // over for good: applying the workflow again does not bring it back
			return tx.endRun(run, crm.ReasonGone)
		}
		return nil
	}
	r.enrolled(item, run.Status == crm.RunWaiting && run.Due != 0 && run.Due <= r.next.Since)
	return nil
}

// enrolled is how the policy brings a run or a place in a campaign back.
func (r *restoration) enrolled(item *crm.ReceiptItem, overdue bool) {
	switch r.acc.Policy.Restore.Enrollments {
	case crm.None:
		(*skipped)(item).because(crm.SkipPolicy)
	case crm.HistoryOnly:
		item.Outcome = crm.History
	default:
		item.Outcome = crm.Suspended
		if overdue {
			item.Reason = crm.BackPastDue
		}
	}
}

// fact gives the contact to take a fact from, a copy.
func (r *restoration) fact(m crm.Mutation) {
	if r.c == r.was {
		r.c = r.was.Clone()
	}
	crm.ChangeFact(r.c, m, r.next.QuietRev, r.next.Since, false)
}

// dropTaken lets go of addresses that a live contact holds by now, where the policy says so.
func (tx *Tx) dropTaken(r *restoration) error {
	if r.acc.Policy.Restore.Conflict != crm.DropIdentifier {
		return nil
	}
	taken, err := tx.taken(r.was, r.was.Identities())
	if err != nil {
		return err
	}
	for _, t := range taken {
		r.fact(crm.SetIdentity{Name: t.Name})
		r.items = append(r.items, crm.ReceiptItem{Kind: crm.IdentityItem, Outcome: crm.Skipped, Reason: crm.SkipConflict, Fact: t.Name})
		if err := tx.indexIdentities(r.was, []crm.NamedIdentity{t.NamedIdentity}, nil); err != nil {
			return err
		}
	}
	return nil
}

// dropGoneTags takes off the tags that were deleted from the account meanwhile, and those that the
// policy does not bring back (S3.17).
func (tx *Tx) dropGoneTags(r *restoration) error {
	listed := map[crm.ItemID]int{}
	for i, it := range r.items {
		if it.Kind == crm.TagItem {
			listed[it.ID] = i
		}
	}
	for _, name := range r.was.TagNames() {
		id := TagID(r.was.Account, name)
		at, known := listed[id]
		if !known {
			o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: r.was.Account, Kind: crm.TagItem, ID: id})
			if err != nil {
				return err
			}
			if !tagGone(r.acc, o, r.manifest.At) {
				continue
			}
			r.items = append(r.items, crm.ReceiptItem{Kind: crm.TagItem, ID: id, Outcome: crm.Skipped, Reason: crm.SkipTagGone})
			at = len(r.items) - 1
		}
		if r.items[at].Fact = name; r.items[at].Outcome == crm.Skipped {
			r.fact(crm.RemoveTag{Tag: name})
		}
	}
	return nil
}

// leaveLists takes the contact off the lists that do not come back, at the quiet revision, and stages it
// if it lost anything.
func (tx *Tx) leaveLists(r *restoration) error {
	var left []row.Member
	for _, it := range r.items {
		if it.Kind == crm.List && it.Outcome == crm.Skipped {
			r.fact(crm.SetMembership{List: it.ID})
			left = append(left, row.Member{Account: r.was.Account, List: it.ID, Contact: r.was.ID})
		}
	}
	if r.c != r.was {
		tx.contacts.put(r.c.Key(), r.c)
	}
	return remove(tx.ctx, tx.row.Members(), left)
}
