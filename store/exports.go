package store

import "github.com/reprieve-run/reprieve/crm"

// NoteExport stages the entry that contacts were handed out: what says which, how many and with what sha256, and
// must hold nothing that is personal.
func (tx *Tx) NoteExport(by crm.Actor, acc crm.AccountID, what string) error {
	return tx.note(crm.Event{Kind: crm.ContactsExported, Account: acc, At: tx.now, By: by, Why: crm.Cause{Kind: crm.ByPerson},
		Data: crm.EventData{Name: what}})
}
