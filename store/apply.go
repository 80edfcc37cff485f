package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Prefetch loads the contacts and lives of many keys in two reads, before Apply is called for each.
func (tx *Tx) Prefetch(keys []crm.Key) error {
	if err := tx.lives.load(tx.ctx, keys...); err != nil {
		return err
	}
	return tx.contacts.load(tx.ctx, keys...)
}

// Apply carries out mutations in order: the ONLY way to change a contact. Each checks everything
// before its first write, so a call with one mutation that is refused leaves the transaction usable.
// If a later one of several is refused, what the earlier ones did must not be committed alone: the
// transaction is then broken and its Update returns that error.
//
// The actor and the cause decide what is allowed: people by the account's policy, workflows by their
// grants, the sweep to purge what is past its deadline.
func (tx *Tx) Apply(by crm.Actor, why crm.Cause, m ...crm.Mutation) ([]crm.Event, error) {
	if tx.broken != nil {
		return nil, tx.broken
	}
	var events []crm.Event
	for i, mut := range m {
		evs, err := tx.apply(by, why, mut)
		if err != nil {
			if i > 0 || !crm.IsRefusal(err) {
				tx.broken = err
			}
			return nil, err
		}
		events = append(events, evs...)
	}
	return events, nil
}

// errPreview ends a transaction that was a preview: nothing of it is committed.
var errPreview = errors.New("store: a preview")

// Preview carries out one mutation as Apply does, lets look at what came of it, and undoes it: so what
// is foreseen is what would be done. What the deed would be refused for by a rule of the policy, a hold
// or a deadline is given all at once, and does not keep look from seeing the rest. An error is one that
// leaves nothing to be foreseen: no such contact, or not in that state.
func (s *Store) Preview(ctx context.Context, by crm.Actor, why crm.Cause, m crm.Mutation, look func(*Tx, crm.Event) error) (obstacles []error, err error) {
	err = s.eng.Update(ctx, func(r row.Tx) error {
		tx := s.begin(ctx, r)
		obstacles = nil
		tx.obstacles = &obstacles
		events, err := tx.Apply(by, why, m)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			if err := look(tx, events[0]); err != nil {
				return err
			}
		}
		return errPreview
	})
	if errors.Is(err, errPreview) {
		err = nil
	}
	return obstacles, err
}

func (tx *Tx) apply(by crm.Actor, why crm.Cause, m crm.Mutation) ([]crm.Event, error) {
	k := m.Target()
	acc, err := tx.Account(k.Account)
	if err != nil {
		return nil, err
	}
	if err := tx.Prefetch([]crm.Key{k}); err != nil {
		return nil, err
	}
	verb, op := gate(m)
	if err := tx.allowed(op, acc, by, why, verb, k.Contact); err != nil {
		return nil, err
	}
	var ev *crm.Event
	switch m := m.(type) {
	case crm.Create:
		ev, err = tx.create(acc, by, why, m)
	case crm.Delete:
		ev, err = tx.delete(acc, by, why, m)
	case crm.Restore:
		ev, err = tx.restore(acc, by, why, m)
	case crm.Purge:
		ev, err = tx.purge(acc, by, why, m)
	case crm.Discard:
		ev, err = tx.discard(acc, by, why, m)
	case crm.Hold:
		ev, err = tx.hold(by, why, m)
	case crm.Archive:
		ev, err = tx.archive(by, why, m)
	case crm.PutRecord:
		ev, err = tx.putRecord(by, why, m)
	case crm.ChangeRecord:
		ev, err = tx.changeRecord(by, why, m)
	case crm.DeleteRecord:
		ev, err = tx.deleteRecord(by, why, m)
	case crm.Connect:
		ev, err = tx.connect(by, why, m)
	case crm.Disconnect:
		ev, err = tx.disconnect(by, why, m)
	case crm.Activity:
		ev, err = tx.activity(by, why, m)
	case crm.ResumeEnrollment:
		ev, err = tx.resumeEnrollment(by, why, m)
	case crm.EnterWorkflow:
		ev, err = tx.enterWorkflow(by, why, m)
	case crm.LeaveWorkflow:
		ev, err = tx.leaveWorkflow(by, why, m)
	case crm.Request:
		ev, err = tx.request(by, why, m)
	default:
		ev, err = tx.changeFact(acc, by, why, m)
	}
	if err != nil || ev == nil {
		return nil, err
	}
	tx.wrote = true
	return []crm.Event{*ev}, nil
}

// gate gives the verb that a mutation needs and the name of the act for errors.
func gate(m crm.Mutation) (crm.Verb, string) {
	switch m := m.(type) {
	case crm.Delete:
		return crm.VerbDelete, "delete a contact"
	case crm.Restore:
		return crm.VerbRestore, "restore a contact"
	case crm.Purge:
		if m.Erasure {
			return crm.VerbErase, "erase a contact"
		}
		return crm.VerbPurge, "purge a contact"
	case crm.Discard:
		return crm.VerbPurge, "discard what was not restored"
	case crm.ResumeEnrollment:
		return crm.VerbResume, "resume an enrollment"
	case crm.Hold:
		return crm.VerbHold, "hold a contact"
	}
	return crm.VerbWrite, "change a contact"
}

// allowed is the one gate for mutations: deny by default. A workflow may change facts, but needs a
// grant, given by an admin to the workflow's id, for each verb of the lifecycle; it is looked up at
// each commit, so taking it away stops every revision at once.
func (tx *Tx) allowed(op string, acc *crm.Account, by crm.Actor, why crm.Cause, verb crm.Verb, c crm.ContactID) error {
	switch {
	case by.Role != crm.System:
		if acc.Policy.Allows(by.Role, verb) {
			return nil
		}
		return crm.Errorf(op, crm.CodeDenied, "the role %q may not use %s", by.Role, verb).About(c).
			WithHint("ask an admin of the account, or have the policy allow it")
	case why.Kind == crm.ByRetention:
		if verb == crm.VerbPurge {
			return nil
		}
	case why.Kind == crm.ByAccount, why.Kind == crm.ByInbound: // the engine, for what somebody was let do
		if verb == crm.VerbWrite {
			return nil
		}
	case why.Kind == crm.ByWorkflow:
		if verb == crm.VerbWrite {
			return nil
		}
		w, err := tx.Workflow(acc.ID, why.Workflow)
		if err != nil {
			return err
		}
		if w.Paused {
			return crm.Errorf(op, crm.CodeNoGrant, "the workflow %q is paused, and so are its grants", why.Workflow).About(c).
				WithHint("reprieve workflow resume %s", why.Workflow)
		}
		if slices.Contains(w.Grants, string(verb)) {
			return nil
		}
		return crm.Errorf(op, crm.CodeNoGrant, "the workflow %q was not granted %s", why.Workflow, verb).About(c).
			WithHint("an admin grants it: reprieve workflow apply FILE --grant %s", verb)
	}
	return crm.Errorf(op, crm.CodeDenied, "%s may not use %s", by.ID, verb).About(c)
}

// load gives a contact that is in one of the wanted states, with its life. Its errors say what has
// become of one that is not.
func (tx *Tx) load(op string, k crm.Key, want crm.StateSet) (*crm.Contact, crm.Life, error) {
	life, err := tx.Life(k)
	if err != nil {
		return nil, life, err
	}
	c, err := tx.contacts.get(tx.ctx, k)
	if err != nil {
		return nil, life, err
	}
	fail := func(code, text, hint string) error {
		return &crm.Error{Op: op, Code: code, Contact: k.Contact, Err: errors.New(text), Hint: hint}
	}
	switch {
	case life.State == crm.Purged:
		return nil, life, fail(crm.CodePurged, "it was purged at "+life.Since.String()+" and cannot come back", "")
	case c == nil:
		return nil, life, fail(crm.CodeNotFound, "there is no such contact", "reprieve contact list shows what there is")
	case want.Has(life.State):
		return c, life, nil
	case life.State == crm.Deleted:
		acc, err := tx.Account(k.Account)
		if err != nil {
			return nil, life, err
		}
		hint := fmt.Sprintf("reprieve contact restore %s, until %s", k.Contact, life.RestorableUntil)
		switch off := restoresOff(op, acc); {
		case off != nil:
			hint = "it cannot be restored: " + off.Err.Error()
		case acc.Policy.Retention.AfterWindow == crm.AllowUntilPurged:
			hint = fmt.Sprintf("reprieve contact restore %s, until it is purged", k.Contact)
		case !life.Restorable(tx.now):
			hint = fmt.Sprintf("it cannot be restored: its recovery window ended at %s", life.RestorableUntil)
		}
		return nil, life, fail(crm.CodeDeleted, "it is deleted", hint)
	}
	return nil, life, fail(crm.CodeNotDeleted, "it is not deleted", "")
}

// Life gives a contact's life; without a row it is live in epoch 0.
func (tx *Tx) Life(k crm.Key) (crm.Life, error) {
	l, err := tx.lives.get(tx.ctx, k)
	if l == nil {
		return crm.Life{Account: k.Account, Contact: k.Contact}, err
	}
	return *l, nil
}

// Contact gives a contact in one of the wanted states. The result must not be changed.
func (tx *Tx) Contact(k crm.Key, want crm.StateSet) (*crm.Contact, crm.Life, error) {
	return tx.load("read a contact", k, want)
}

// Peek gives a contact in whatever state with its life, nil when there is none or it was purged: for
// the engine of runs, which decides by epoch. The result must not be changed.
func (tx *Tx) Peek(k crm.Key) (*crm.Contact, crm.Life, error) {
	l, err := tx.Life(k)
	if err != nil {
		return nil, l, err
	}
	c, err := tx.contacts.get(tx.ctx, k)
	return c, l, err
}

// event makes the event of a mutation as it stands in the log.
func (tx *Tx) event(kind crm.EventKind, by crm.Actor, why crm.Cause, l crm.Life, rev uint64, data crm.EventData) crm.Event {
	return crm.Event{Kind: kind, Account: l.Account, Contact: l.Contact, Epoch: l.Epoch, Rev: rev,
		At: tx.now, By: by, Why: why, Data: data}
}

// touch stages a changed contact, the caller's own copy, and announces the event with its image.
func (tx *Tx) touch(c *crm.Contact, l crm.Life, ev crm.Event) (*crm.Event, error) {
	ev.After = c
	tx.contacts.put(c.Key(), c)
	return &ev, tx.announce(ev, c, l)
}

// revision gives the revision that a change gets: the next one, or, for what a restore or late
// inbound causes, and for what a restored contact loses with the account, the quiet revision, which
// entitles nothing.
func revision(c *crm.Contact, l crm.Life, why crm.Cause) uint64 {
	if why.Kind == crm.ByRestore || why.Kind == crm.ByInbound || why.Kind == crm.ByAccount && l.QuietRev > 0 {
		return l.QuietRev
	}
	return c.Rev + 1
}
