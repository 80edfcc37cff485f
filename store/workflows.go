package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Workflow gives a workflow's state, or an error that says there is none.
func (tx *Tx) Workflow(acc crm.AccountID, id string) (*Workflow, error) {
	w, err := tx.workflows.get(tx.ctx, row.NameKey{Account: acc, Name: id})
	if err == nil && w == nil {
		err = crm.Errorf("read a workflow", crm.CodeNotFound, "there is no workflow %q", id).WithHint("reprieve workflow list shows what is applied")
	}
	return w, err
}

// Workflows lists the workflows of an account.
func (tx *Tx) Workflows(acc crm.AccountID) ([]Workflow, error) {
	if err := tx.workflows.flush(tx.ctx); err != nil {
		return nil, err
	}
	return tx.row.Workflows().Range(tx.ctx, row.NameKey{Account: acc}, row.NameKey{Account: acc, Name: "\xff"}, 0)
}

// WorkflowSource gives the text of one revision of a workflow, nil if there is none.
func (tx *Tx) WorkflowSource(acc crm.AccountID, id, revision string) (*Revision, error) {
	return one(tx.ctx, tx.row.Revisions(), row.NameKey{Account: acc, Name: revisionName(id, revision)})
}

// Revisions yields the texts of all revisions of an account's workflows.
func (tx *Tx) Revisions(acc crm.AccountID, yield func(id, revision string, r *Revision)) error {
	all, err := tx.row.Revisions().Range(tx.ctx, row.NameKey{Account: acc}, row.NameKey{Account: acc, Name: "\xff"}, 0)
	for i := range all {
		if id, rev, ok := strings.Cut(all[i].Name, "@"); ok {
			yield(id, rev, &all[i])
		}
	}
	return err
}

func revisionName(id, revision string) string { return fmt.Sprintf("%s@%s", id, revision) }

// ApplyWorkflow makes a revision the one that new runs start on, and adds grants to what the
// workflow's id was granted before. Runs under way stay on their revision, whose text is kept.
// It reports whether anything changed. Only a role that the policy lets apply workflows may.
func (tx *Tx) ApplyWorkflow(by crm.Actor, acc crm.AccountID, id, revision string, file string, source []byte, grants []string) (changed bool, err error) {
	a, err := tx.Account(acc)
	if err != nil {
		return false, err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed("apply a workflow", a, by, why, crm.VerbApply, crm.ContactID{}); err != nil {
		return false, err
	}
	k := row.NameKey{Account: acc, Name: id}
	old, err := tx.workflows.get(tx.ctx, k)
	if err != nil {
		return false, err
	}
	if err := mayGrant(a, by, old, grants); err != nil {
		return false, err
	}
	next := row.Workflow{Account: acc, ID: id, Active: revision, AppliedAt: tx.now, AppliedBy: by, Grants: grants}
	if old != nil {
		next.Grants, next.Deletes = union(old.Grants, grants, func(a, b string) bool { return a == b }), old.Deletes
		next.Paused = old.Paused
		if old.Active == revision && len(next.Grants) == len(old.Grants) {
			return false, nil
		}
	}
	tx.wrote = true
	tx.workflows.put(k, &next)
	rev := row.Revision{Account: acc, Name: revisionName(id, revision), Source: source, File: file}
	was, err := one(tx.ctx, tx.row.Revisions(), row.NameKey{Account: acc, Name: rev.Name})
	if err != nil {
		return false, err
	}
	if was == nil || !bytes.Equal(was.Source, source) {
		if err := tx.row.Revisions().Write(tx.ctx, []row.Change[row.Revision]{{Old: was, New: &rev}}); err != nil {
			return false, err
		}
	}
	return true, tx.note(crm.Event{Kind: crm.WorkflowApplied, Account: acc, At: tx.now, By: by, Why: why,
		Data: crm.EventData{Name: id, Value: revision, Old: fmt.Sprint(next.Grants)}})
}

// mayGrant keeps somebody from having a workflow do what he may not: a grant is an admin's to give, or
// that of a role which the policy gives the verb itself.
func mayGrant(a *crm.Account, by crm.Actor, old *row.Workflow, grants []string) error {
	for _, g := range grants {
		known := old != nil && slices.Contains(old.Grants, g)
		if !known && by.Role != crm.Admin && !a.Policy.Allows(by.Role, crm.Verb(g)) {
			return crm.Errorf("grant", crm.CodeDenied, "the role %q may not use %s, and so not grant it", by.Role, g).
				WithHint("have an admin of the account apply the workflow")
		}
	}
	return nil
}

// DeleteWorkflow takes a workflow out of use: nothing starts it any more, its grants are gone, and its
// unfinished runs end when they would go on. Its revisions stay, so that its runs can be read.
func (tx *Tx) DeleteWorkflow(by crm.Actor, acc crm.AccountID, id string) error {
	const op = "delete a workflow"
	a, err := tx.Account(acc)
	if err != nil {
		return err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed(op, a, by, why, crm.VerbApply, crm.ContactID{}); err != nil {
		return err
	}
	w, err := tx.Workflow(acc, id)
	if err != nil {
		return err
	}
	if w.Active == "" {
		return crm.Errorf(op, crm.CodeNotFound, "the workflow %q was deleted at %s", id, w.AppliedAt).WithHint("applying it again brings it back, without its grants")
	}
	tx.wrote = true
	tx.workflows.put(row.NameKey{Account: acc, Name: id}, &row.Workflow{Account: acc, ID: id, AppliedAt: tx.now, AppliedBy: by, Deletes: w.Deletes})
	return tx.note(crm.Event{Kind: crm.WorkflowDeleted, Account: acc, At: tx.now, By: by, Why: why, Data: crm.EventData{Name: id, Old: w.Active}})
}

// WorkflowGone says whether a workflow was deleted, or never was.
func (tx *Tx) WorkflowGone(acc crm.AccountID, id string) (bool, error) {
	w, err := tx.workflows.get(tx.ctx, row.NameKey{Account: acc, Name: id})
	return w == nil || w.Active == "", err
}

// PauseWorkflow pauses a workflow or, with on false, lets it go on. While it is paused nothing starts it,
// its runs stand still where they are, and it has no grants, in every revision; what a trigger would have
// started meanwhile is not made up for. It is an error to ask for what is already so, since somebody else
// may have done it for a reason of his own. Applying a revision neither pauses nor resumes.
func (tx *Tx) PauseWorkflow(by crm.Actor, acc crm.AccountID, id string, on bool) error {
	op, kind := "resume a workflow", crm.WorkflowResumed
	if on {
		op, kind = "pause a workflow", crm.WorkflowPaused
	}
	a, err := tx.Account(acc)
	if err != nil {
		return err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed(op, a, by, why, crm.VerbApply, crm.ContactID{}); err != nil {
		return err
	}
	w, err := tx.Workflow(acc, id)
	if err != nil {
		return err
	}
	switch {
	case w.Active == "":
		return crm.Errorf(op, crm.CodeNotFound, "the workflow %q was deleted at %s", id, w.AppliedAt).WithHint("applying it again brings it back, without its grants")
	case w.Paused && on:
		return crm.Errorf(op, crm.CodeConflict, "the workflow %q is paused already", id).WithHint("reprieve workflow resume %s lets it go on", id)
	case !w.Paused && !on:
		return crm.Errorf(op, crm.CodeConflict, "the workflow %q is not paused", id).WithHint("reprieve workflow list shows the state of each")
	}
	next := *w
	next.Paused = on
	tx.wrote = true
	tx.workflows.put(row.NameKey{Account: acc, Name: id}, &next)
	return tx.note(crm.Event{Kind: kind, Account: acc, At: tx.now, By: by, Why: why, Data: crm.EventData{Name: id, Value: w.Active}})
}

// WorkflowPaused says whether a workflow is paused; one that is not there is not.
func (tx *Tx) WorkflowPaused(acc crm.AccountID, id string) (bool, error) {
	w, err := tx.workflows.get(tx.ctx, row.NameKey{Account: acc, Name: id})
	return w != nil && w.Paused, err
}

// goesOn gives ErrStale for a turn that comes too late because its workflow was paused after it was decided:
// it would change the contact. One that changes nothing but its run is let through, and so is the answer to a
// call to the outside world, which was made before: else nobody would know that it was.
func (tx *Tx) goesOn(a Advanced) error {
	if len(a.Effects) == 0 {
		return nil
	}
	paused, err := tx.WorkflowPaused(a.Was.Account, a.Was.Workflow)
	if err != nil || !paused {
		return err
	}
	for _, s := range a.Steps {
		if old, err := one(tx.ctx, tx.row.Steps(), s.Key()); err != nil || old != nil && old.Status == StepIntent {
			return err
		}
	}
	return ErrStale
}
