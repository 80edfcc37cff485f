package store

import (
	"github.com/reprieve-run/reprieve/crm"
)

// enterWorkflow announces that a workflow is to begin for a live contact. What starts the run is the
// dispatcher, from the event, so that it passes every gate that an event passes; here is refused only
// what would be refused there without a word.
func (tx *Tx) enterWorkflow(by crm.Actor, why crm.Cause, m crm.EnterWorkflow) (*crm.Event, error) {
	const op = "put a contact into a workflow"
	was, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	w, err := tx.Workflow(m.Contact.Account, m.Workflow)
	switch {
	case err != nil:
		return nil, err
	case w.Active == "":
		return nil, crm.Errorf(op, crm.CodeNotFound, "the workflow %q was deleted at %s", m.Workflow, w.AppliedAt).About(was.ID).
			WithHint("applying it again brings it back")
	case w.Paused:
		return nil, crm.Errorf(op, crm.CodeConflict, "the workflow %q is paused and starts nothing", m.Workflow).About(was.ID).
			WithHint("reprieve workflow resume %s", m.Workflow)
	case was.Archived.On:
		return nil, crm.Errorf(op, crm.CodeInvalid, "it is archived, and so in no workflow").About(was.ID).WithHint("reprieve contact unarchive %s", was.ID)
	case why.Depth >= crm.MaxDepth:
		return nil, crm.Errorf(op, crm.CodeInvalid, "a chain of workflows that set each other off is %d long and ends here", crm.MaxDepth).About(was.ID).
			WithHint("look for workflows that lead to each other in a circle")
	}
	return tx.bump(was, life, crm.WorkflowEntered, by, why, crm.EventData{Name: m.Workflow})
}

// leaveWorkflow ends the unfinished runs of a workflow for a live contact, except the run that does it:
// that one goes on to its own end.
func (tx *Tx) leaveWorkflow(by crm.Actor, why crm.Cause, m crm.LeaveWorkflow) (*crm.Event, error) {
	const op = "take a contact out of a workflow"
	was, life, err := tx.load(op, m.Contact, crm.OnlyLive)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Workflow(m.Contact.Account, m.Workflow); err != nil {
		return nil, err
	}
	runs, err := tx.RunsOf(m.Contact)
	if err != nil {
		return nil, err
	}
	ended := false
	for i := range runs {
		r, err := tx.Run(runs[i].ID) // anew: the end of one may have moved another
		if err != nil {
			return nil, err
		}
		if r == nil || r.Workflow != m.Workflow || r.StatusFor(life).Finished() || r.ID == why.Run {
			continue
		}
		ended = true
		if err := tx.endRun(r, crm.ReasonRemoved); err != nil {
			return nil, err
		}
	}
	if !ended {
		return nil, nil
	}
	return tx.bump(was, life, crm.WorkflowLeft, by, why, crm.EventData{Name: m.Workflow})
}

// Enrolled says whether a contact is in a campaign, as one that can be left.
func (tx *Tx) Enrolled(k crm.Key, campaign crm.ItemID) (bool, error) {
	life, err := tx.Life(k)
	if err != nil {
		return false, err
	}
	l, err := one(tx.ctx, tx.row.Links(), crm.ItemKey{Account: k.Account, Contact: k.Contact, Kind: crm.Campaign, ID: campaign})
	return l != nil && !life.Hides(l.Kind, l.Epoch), err
}

// ObjectCalled finds a live list or campaign by its id or by its name, in any case; the caller may keep
// all, the account's objects of that kind, from one call to the next of the same transaction.
func (tx *Tx) ObjectCalled(acc crm.AccountID, kind crm.ItemKind, called string, all *[]crm.Object) (*crm.Object, error) {
	op := "look up a " + kind.String()
	if *all == nil {
		var err error
		if *all, err = tx.Objects(acc, kind); err != nil {
			return nil, err
		}
	}
	var found []*crm.Object
	for i := range *all {
		switch o := &(*all)[i]; {
		case o.Deleted.IsSet():
		case o.ID.String() == called:
			return o, nil
		case crm.Fold(o.Name) == crm.Fold(called):
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		return nil, crm.Errorf(op, crm.CodeNotFound, "there is no such %s", kind).WithHint("reprieve %s list shows what there is", kind)
	case 1:
		return found[0], nil
	}
	return nil, crm.Errorf(op, crm.CodeConflict, "%d have that name", len(found)).
		WithHint("name the one you mean by its id; reprieve %s list shows it", kind)
}
