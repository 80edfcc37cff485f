package store

import (
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// ResumeRun lets a run go on that a restore, or an archiving, left suspended: the separate act of
// somebody who may, and the only thing that arms a timer of before. What was due meanwhile is dealt with
// as overdue says: skip ends the run, shift moves its due time by as long as it stood still, fire goes
// on now.
func (tx *Tx) ResumeRun(by crm.Actor, id crm.RunID, overdue crm.Overdue) (*crm.Run, error) {
	const op = "resume a run"
	r, err := tx.Run(id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, crm.Errorf(op, crm.CodeNotFound, "there is no run %s", id).WithHint("reprieve run list --status suspended shows those that can be resumed")
	}
	k := crm.Key{Account: r.Account, Contact: r.Contact}
	acc, err := tx.Account(r.Account)
	if err != nil {
		return nil, err
	}
	why := crm.Cause{Kind: crm.ByPerson, Workflow: r.Workflow, Run: r.ID}
	if err := tx.allowed(op, acc, by, why, crm.VerbResume, r.Contact); err != nil {
		return nil, err
	}
	if !overdue.Valid() {
		return nil, badOverdue(op, r.Contact)
	}
	c, life, err := tx.load(op, k, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	if err := tx.mayResume(op, c, r, life); err != nil {
		return nil, err
	}
	if err := tx.takeKey(op, r); err != nil {
		return nil, err
	}
	if r.Status == crm.RunWaiting && r.Due != 0 && r.Due <= tx.now && overdue == crm.OverdueSkip {
		return tx.skipRun(by, why, r, c, life)
	}
	was := *r // its timer was dropped, or is
	if err := tx.disarm(&was); err != nil {
		return nil, err
	}
	since, err := tx.stoodSince(k, r.Epoch, life)
	if err != nil {
		return nil, err
	}
	next := was
	next.Epoch, next.Resumed, next.Token = life.Epoch, tx.now, was.Token+1
	switch {
	case overdue == crm.OverdueShift && was.Due > since:
		next.Due = was.Due + tx.now - since
	case was.Due <= tx.now:
		next.Due = tx.now
	}
	if was.Due == 0 && was.Status == crm.RunWaiting { // it waits for an event alone
		next.Due = 0
	}
	tx.wrote = true
	if next.Due != 0 {
		if err := insert(tx.ctx, tx.row.Timers(), timer(next)); err != nil {
			return nil, err
		}
	}
	return &next, errors.Join(
		tx.listen(&was, &next),
		tx.row.Links().Write(tx.ctx, []row.Change[crm.Link]{{Old: runLink(was, crm.WorkflowRun), New: runLink(next, crm.WorkflowRun)}}),
		tx.row.Runs().Write(tx.ctx, []row.Change[crm.Run]{{Old: r, New: &next}}),
		tx.noteOf(tx.event(crm.RunResumed, by, why, life, c.Rev, crm.EventData{Name: string(overdue), Until: next.Due}), c, life),
	)
}

// skipRun ends a run whose wait ended while it could not go on.
func (tx *Tx) skipRun(by crm.Actor, why crm.Cause, r *crm.Run, c *crm.Contact, life crm.Life) (*crm.Run, error) {
	tx.wrote = true
	if err := errors.Join(tx.endRun(r, crm.ReasonPastDue),
		tx.noteOf(tx.event(crm.RunResumed, by, why, life, c.Rev, crm.EventData{Name: string(crm.OverdueSkip)}), c, life)); err != nil {
		return nil, err
	}
	return tx.Run(r.ID)
}

func badOverdue(op string, c crm.ContactID) error {
	return crm.Errorf(op, crm.CodeInvalid, "what is overdue is to be skipped, shifted or fired").About(c).WithHint("--overdue skip, shift or fire")
}

// mayResume refuses what cannot be resumed.
func (tx *Tx) mayResume(op string, c *crm.Contact, r *crm.Run, life crm.Life) error {
	if s := r.StatusFor(life); s != crm.RunSuspended {
		return crm.Errorf(op, crm.CodeInvalid, "the run %s is %s", r.ID, s).About(c.ID).WithHint("only a suspended run is resumed")
	}
	return tx.mayGoOn(op, c, r)
}

// mayGoOn refuses any run of a contact or a workflow that is out of it.
func (tx *Tx) mayGoOn(op string, c *crm.Contact, r *crm.Run) error {
	if c.Archived.On {
		return crm.Errorf(op, crm.CodeInvalid, "its contact is archived, and so out of every workflow").About(c.ID).WithHint("reprieve contact unarchive %s", c.ID)
	}
	gone, err := tx.WorkflowGone(r.Account, r.Workflow)
	if err != nil {
		return err
	}
	if gone {
		return crm.Errorf(op, crm.CodeNotFound, "the workflow %q was deleted", r.Workflow).About(c.ID).WithHint("apply it again first")
	}
	return nil
}

// stoodSince gives the instant at which what was runnable in an epoch was interrupted: by the delete that
// followed, or by the archiving.
func (tx *Tx) stoodSince(k crm.Key, epoch uint64, life crm.Life) (crm.Nanos, error) {
	m, err := one(tx.ctx, tx.row.Manifests(), crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: epoch + 1})
	switch {
	case err != nil:
		return 0, err
	case m != nil:
		return m.At, nil
	}
	for _, s := range life.Shelved { // the first that is not older: an older archiving may be forgotten
		if s.Epoch >= epoch {
			return s.At, nil
		}
	}
	return life.Since, nil
}

// resumeEnrollment lets a suspended place in a campaign go on; a message that came due meanwhile is left
// out, put off or sent, as overdue says.
func (tx *Tx) resumeEnrollment(by crm.Actor, why crm.Cause, m crm.ResumeEnrollment) (*crm.Event, error) {
	const op = "resume an enrollment"
	c, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	l, err := one(tx.ctx, tx.row.Links(), crm.ItemKey{Account: c.Account, Contact: c.ID, Kind: crm.Campaign, ID: m.Campaign})
	switch {
	case err != nil:
		return nil, err
	case !m.Overdue.Valid():
		return nil, badOverdue(op, c.ID)
	case c.Archived.On:
		return nil, crm.Errorf(op, crm.CodeInvalid, "it is archived, and so in no campaign").About(c.ID).WithHint("reprieve contact unarchive %s", c.ID)
	case l == nil || life.Hides(l.Kind, l.Epoch):
		return nil, crm.Errorf(op, crm.CodeNotFound, "it is not in the campaign %s", m.Campaign).About(c.ID).
			WithHint("reprieve campaign list --contact %s shows where it is", c.ID)
	case l.Epoch == life.Epoch:
		return nil, crm.Errorf(op, crm.CodeInvalid, "it is not suspended in the campaign %s", m.Campaign).About(c.ID).
			WithHint("there is nothing to resume")
	}
	if _, err := tx.liveObject(op, crm.ObjectKey{Account: c.Account, Kind: crm.Campaign, ID: m.Campaign}); err != nil {
		return nil, err
	}
	since, err := tx.stoodSince(c.Key(), l.Epoch, life)
	if err != nil {
		return nil, err
	}
	next := *l
	next.Epoch, next.Resumed = life.Epoch, tx.now
	switch late := l.Due != 0 && l.Due <= tx.now; {
	case late && m.Overdue == crm.OverdueSkip:
		next.Step, next.Due = l.Step+1, 0
	case m.Overdue == crm.OverdueShift && l.Due > since:
		next.Due = l.Due + tx.now - since
	case late:
		next.Due = tx.now
	}
	if err := tx.row.Links().Write(tx.ctx, []row.Change[crm.Link]{{Old: l, New: &next}}); err != nil {
		return nil, err
	}
	tx.count(c.Account, CountOf(m.Campaign), 1)
	ev := tx.event(crm.EnrollmentResumed, by, why, life, c.Rev, crm.EventData{Name: string(m.Overdue), Item: m.Campaign, Kind: crm.Campaign, Until: next.Due})
	return &ev, tx.noteOf(ev, c, life)
}

// noteOf stages an event without personal data at the end of a live contact's history.
func (tx *Tx) noteOf(ev crm.Event, was *crm.Contact, life crm.Life) error {
	c := was.Clone()
	e := entryOf(ev)
	e.Open = ev.Data
	tx.contacts.put(c.Key(), c)
	return tx.extend(e, max(c.Last, life.Last), &c.Last)
}

// activity counts what became of a campaign's message. A count changes neither at a delete nor at a purge
// (S2.19); a message is sent only to who is live, not archived, and in the campaign in this life.
func (tx *Tx) activity(by crm.Actor, why crm.Cause, m crm.Activity) (*crm.Event, error) {
	const op = "note a campaign's message"
	c, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	l, err := one(tx.ctx, tx.row.Links(), crm.ItemKey{Account: c.Account, Contact: c.ID, Kind: crm.Campaign, ID: m.Campaign})
	switch {
	case err != nil:
		return nil, err
	case l == nil || life.Hides(l.Kind, l.Epoch):
		return nil, crm.Errorf(op, crm.CodeNotFound, "it is not in the campaign %s", m.Campaign).About(c.ID)
	case m.What != crm.MessageSent && m.What != crm.MessageOpened && m.What != crm.MessageClicked:
		return nil, crm.Errorf(op, crm.CodeInvalid, "a message is sent, opened or clicked").About(c.ID)
	case m.What == crm.MessageSent && (l.Epoch != life.Epoch || c.Archived.On):
		return nil, crm.Errorf(op, crm.CodeStale, "its place in the campaign %s is suspended: nothing is sent", m.Campaign).About(c.ID).
			WithHint("reprieve campaign resume goes on with it")
	case m.What == crm.MessageSent && (l.Due == 0 || l.Due > tx.now):
		return nil, crm.Errorf(op, crm.CodeStale, "no message of the campaign %s is due to it", m.Campaign).About(c.ID)
	}
	if m.What == crm.MessageSent {
		if _, err := tx.liveObject(op, crm.ObjectKey{Account: c.Account, Kind: crm.Campaign, ID: m.Campaign}); err != nil {
			return nil, err
		}
		next := *l
		next.Step, next.Due = l.Step+1, m.Next
		if err := tx.row.Links().Write(tx.ctx, []row.Change[crm.Link]{{Old: l, New: &next}}); err != nil {
			return nil, err
		}
	}
	tx.count(c.Account, CountOfActivity(m.Campaign, m.What), 1)
	ev := tx.event(crm.CampaignActivity, by, why, life, c.Rev, crm.EventData{Name: string(m.What), Item: m.Campaign, Kind: crm.Campaign})
	return &ev, tx.noteOf(ev, c, life)
}
