package store

import "github.com/reprieve-run/reprieve/crm"

// NotePlugin writes into the log what somebody did to the catalogue of plugins: the plugin, the version
// that it is about and the one that was in use before, and in words what was done. Whoever calls has asked
// whether the actor may.
func (tx *Tx) NotePlugin(by crm.Actor, acc crm.AccountID, name, version, was, what string) error {
	if _, err := tx.Account(acc); err != nil {
		return err
	}
	tx.wrote = true
	return tx.note(crm.Event{Kind: crm.PluginChanged, Account: acc, At: tx.now, By: by, Why: crm.Cause{Kind: crm.ByPerson},
		Data: crm.EventData{Name: name, Value: version, Old: was, Reason: what}})
}
