// Package runtime is the engine: it dispatches events to triggers, fires schedules, advances runs,
// has plugins execute their actions in batches, and sweeps what is past its deadline.
//
// What a run does next is decided by Advance, which is pure. What happened is decided by the store's
// transactions. Between the two this package only carries things back and forth, so it may be killed
// at any instant and started again.
//
// It must never change a contact other than through the store's Apply, never hold a transaction open
// while a plugin works, never let an expression run inside the store's writer, and never start a run
// for a contact without a crm.TriggerEvent or a crm.Selectable, which it cannot make.
package runtime
