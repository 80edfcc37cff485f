package store

import "github.com/reprieve-run/reprieve/store/internal/row"

type (
	// Fire is what one fire of a schedule has come to.
	Fire = row.Fire
	// Slice is a stretch of time with the runs that a schedule started in it.
	Slice = row.Slice
)

// What came of a fire of a schedule.
const (
	FireDone     = "done"          // everybody who was selected had his turn
	FireBatch    = "batch"         // the batch is full: the others are for the fires to come
	FireItems    = "max_items"     // guard: more contacts were selected than may be; nothing was started
	FirePercent  = "max_percent"   // the same, of all that the schedule goes over
	FirePaused   = "paused"        // the workflow is paused
	FireReplaced = "applied_anew"  // the workflow was applied anew before it was over
	FireGone     = "workflow_gone" // the workflow was deleted, or has no such schedule any more
)

// FireGuarded says whether a result is that of a guard.
func FireGuarded(result string) bool { return result == FireItems || result == FirePercent }
