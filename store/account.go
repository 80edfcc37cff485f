package store

import (
	"errors"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// SetPolicy replaces an account's policy and says what changed. The deadlines of deletions that were made
// stay as they were stamped.
func (tx *Tx) SetPolicy(by crm.Actor, acc crm.AccountID, p crm.Policy) ([]crm.PolicyChange, error) {
	a, err := tx.Account(acc)
	if err != nil {
		return nil, err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed("set the policy", a, by, why, crm.VerbPolicy, crm.ContactID{}); err != nil {
		return nil, err
	}
	changes := a.Policy.Changes(p)
	if len(changes) == 0 && a.Policy.Preset == p.Preset {
		return nil, nil
	}
	next := *a
	next.Policy = p.Clone()
	tx.wrote = true
	tx.accounts.put(acc, &next)
	for _, c := range changes {
		if err := tx.note(crm.Event{Kind: crm.PolicyChanged, Account: acc, At: tx.now, By: by, Why: why,
			Data: crm.EventData{Name: c.Path, Old: c.Was, Value: c.Is, OldExists: true}}); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// SetHIPAA makes an account a HIPAA account. There is no way back: none of its deletions is undone from
// here on, nor those that were made before (S1.8).
func (tx *Tx) SetHIPAA(by crm.Actor, acc crm.AccountID) error {
	a, err := tx.Account(acc)
	if err != nil {
		return err
	}
	why := crm.Cause{Kind: crm.ByPerson}
	if err := tx.allowed("make the account a HIPAA account", a, by, why, crm.VerbPolicy, crm.ContactID{}); err != nil || a.HIPAA {
		return err
	}
	next := *a
	next.HIPAA = true
	tx.wrote = true
	tx.accounts.put(acc, &next)
	return errors.Join( // an older backup must become one again
		insert(tx.ctx, tx.row.Erasures(), &crm.Erasure{Account: acc, At: tx.now, HIPAA: true}),
		tx.note(crm.Event{Kind: crm.AccountHIPAA, Account: acc, At: tx.now, By: by, Why: why}))
}

// Busy lists the accounts that have work left for the engine: bulk restores that run, tags that are being
// taken off.
func (tx *Tx) Busy() ([]crm.Account, error) {
	all, err := tx.Accounts()
	return slices.DeleteFunc(all, func(a crm.Account) bool { return len(a.Restoring)+len(a.Leaving) == 0 }), err
}
