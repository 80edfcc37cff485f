package store

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
)

// Suppressions gives what restores of a contact kept from starting: the first refusal of each trigger in
// each epoch.
func (tx *Tx) Suppressions(k crm.Key) ([]crm.Suppressed, error) {
	return tx.row.Suppressed().Range(tx.ctx, crm.SuppressedKey{Account: k.Account, Contact: k.Contact},
		crm.SuppressedKey{Account: k.Account, Contact: k.Contact, Epoch: 1<<64 - 1, Trigger: "\xff"}, 0)
}

// Entry gives one entry of the log by its number, nil if there is none.
func (tx *Tx) Entry(n uint64) (*Logged, error) {
	raw, err := tx.row.Nth(tx.ctx, logName, n)
	if err != nil || raw == nil {
		return nil, err
	}
	var e entry
	if err := codec.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	l, err := tx.opened(&e)
	return &l, err
}

// KeyFree says whether a run of the workflow could be started under a key now.
func (tx *Tx) KeyFree(acc crm.AccountID, workflow string, hash [32]byte, mode crm.RunMode, most int) (bool, error) {
	h, err := tx.holders(acc, workflow, hash)
	start, _ := h.admits(mode, most, tx.now)
	return start, err
}
