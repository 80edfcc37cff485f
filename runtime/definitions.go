package runtime

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// definitions keeps the compiled text of workflow revisions and the index of the active triggers.
type definitions struct {
	mu       sync.Mutex
	compiled map[revision]*workflow.Workflow
	active   map[crm.AccountID]map[string]string // workflow id → revision
	index    map[crm.AccountID]*triggers.Index[armed]
	ends     map[crm.AccountID]*triggers.Index[ending]
	crons    []armed
	held     map[schedule]crm.Nanos // fires that their rate holds back, and until when: a hint, not a promise
}

// schedule names a cron trigger.
type schedule struct {
	account crm.AccountID
	name    string
}

type revision struct {
	account crm.AccountID
	id, rev string
}

// armed is a trigger of an active revision.
type armed struct {
	account crm.AccountID
	def     *workflow.Workflow
	trigger *workflow.Trigger
}

// ending is an event on which a revision ends its runs: each run has the cancel_on of the revision that it is on.
type ending struct{ workflow, revision, reason string }

// name is how the trigger is called in receipts, schedules and logs.
func (a armed) name() string { return a.def.ID + "/" + a.trigger.ID }

func (a armed) schedule() schedule { return schedule{a.account, a.name()} }

func newDefinitions() *definitions {
	return &definitions{compiled: map[revision]*workflow.Workflow{}, held: map[schedule]crm.Nanos{}}
}

// refresh makes the index anew when a workflow was applied.
func (e *Engine) refresh(ctx context.Context) error {
	active := map[crm.AccountID]map[string]string{}
	var missing []revision
	err := e.store.View(ctx, func(tx *store.Tx) error {
		accounts, err := tx.Accounts()
		if err != nil {
			return err
		}
		missing = missing[:0]
		for _, acc := range accounts {
			ws, err := tx.Workflows(acc.ID)
			if err != nil {
				return err
			}
			active[acc.ID] = map[string]string{}
			for _, w := range ws {
				if w.Active == "" { // deleted
					continue
				}
				active[acc.ID][w.ID] = w.Active
				missing = append(missing, revision{acc.ID, w.ID, w.Active})
			}
		}
		return nil
	})
	if err != nil || e.defs.same(active) {
		return err
	}
	index, ends := map[crm.AccountID]*triggers.Index[armed]{}, map[crm.AccountID]*triggers.Index[ending]{}
	var crons []armed
	for acc := range active {
		index[acc], ends[acc] = triggers.NewIndex[armed](), triggers.NewIndex[ending]()
	}
	for _, r := range missing {
		def, err := e.definition(ctx, r.account, r.id, r.rev)
		if err != nil {
			e.log.Error().Str("workflow", r.id).Str("code", crm.CodeOf(err)).Err(err).Msg("a workflow cannot be loaded and starts nothing")
			continue
		}
		addEnds(ends[r.account], def)
		for i := range def.Triggers {
			a := armed{r.account, def, &def.Triggers[i]}
			if a.trigger.Event != nil {
				index[r.account].Add(a.trigger.Event, a)
			} else {
				crons = append(crons, a)
			}
		}
	}
	for acc, ws := range active {
		former, err := e.former(ctx, acc, ws)
		if err != nil {
			return err
		}
		for _, r := range former {
			def, err := e.definition(ctx, acc, r.id, r.rev)
			if err != nil {
				e.log.Error().Str("workflow", r.id).Str("code", crm.CodeOf(err)).Err(err).Msg("an earlier revision cannot be loaded; its cancel_on ends nothing")
				continue
			}
			addEnds(ends[acc], def)
		}
	}
	e.defs.mu.Lock()
	defer e.defs.mu.Unlock()
	e.defs.active, e.defs.index, e.defs.ends, e.defs.crons = active, index, ends, crons
	return nil
}

func addEnds(ends *triggers.Index[ending], def *workflow.Workflow) {
	for _, c := range def.CancelOn {
		reason := c.Reason
		if reason == "" {
			reason = crm.ReasonCancel
		}
		ends.Add(c.Event, ending{def.ID, def.Revision, reason})
	}
}

// former gives the revisions that were active and may have a cancel_on: runs may still be on them.
func (e *Engine) former(ctx context.Context, acc crm.AccountID, active map[string]string) (all []revision, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) error {
		all = nil
		return tx.Revisions(acc, func(id, rev string, r *store.Revision) {
			if now, ok := active[id]; ok && now != rev && bytes.Contains(r.Source, []byte("cancel_on")) {
				all = append(all, revision{acc, id, rev})
			}
		})
	})
	return all, err
}

func (d *definitions) same(active map[crm.AccountID]map[string]string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.active) != len(active) {
		return false
	}
	for acc, ws := range active {
		if len(ws) != len(d.active[acc]) {
			return false
		}
		for id, rev := range ws {
			if d.active[acc][id] != rev {
				return false
			}
		}
	}
	return true
}

// definition gives the compiled text of a revision, also of one that is no longer active: runs stay
// on the revision that they started with.
func (e *Engine) definition(ctx context.Context, acc crm.AccountID, id, rev string) (def *workflow.Workflow, err error) {
	if def := e.defs.get(acc, id, rev); def != nil {
		return def, nil
	}
	err = e.store.View(ctx, func(tx *store.Tx) (err error) {
		def, err = e.definitionIn(tx, acc, id, rev)
		return err
	})
	return def, err
}

func (d *definitions) get(acc crm.AccountID, id, rev string) *workflow.Workflow {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compiled[revision{acc, id, rev}]
}

// definitionIn is definition within a transaction.
func (e *Engine) definitionIn(tx *store.Tx, acc crm.AccountID, id, rev string) (*workflow.Workflow, error) {
	if def := e.defs.get(acc, id, rev); def != nil {
		return def, nil
	}
	src, err := tx.WorkflowSource(acc, id, rev)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return nil, crm.Errorf("load a workflow", crm.CodeNotFound, "the revision %.12s of %s is not in the store", rev, id)
	}
	def, err := workflow.Parse(src.File, src.Source)
	if err != nil {
		return nil, crm.Errorf("load a workflow", crm.CodeInvalid, "%s: %w", id, err)
	}
	if def.Revision != rev {
		return nil, crm.Errorf("load a workflow", crm.CodeCorrupt, "the text of %s is not the revision %.12s", id, rev)
	}
	e.defs.mu.Lock()
	e.defs.compiled[revision{acc, id, rev}] = def
	e.defs.mu.Unlock()
	return def, nil
}

// names gives the names of an account's lists for conditions, read once per transaction.
func names(tx *store.Tx, cache map[crm.AccountID]map[crm.ItemID]string, acc crm.AccountID) (func(crm.ItemID) string, error) {
	if cache[acc] == nil {
		lists, err := tx.Objects(acc, crm.List)
		if err != nil {
			return nil, err
		}
		cache[acc] = map[crm.ItemID]string{}
		for _, l := range lists {
			if cache[acc][l.ID] = l.Name; l.Deleted.IsSet() {
				cache[acc][l.ID] = "" // nobody is on it any more
			}
		}
	}
	known := cache[acc]
	return func(id crm.ItemID) string {
		if name, ok := known[id]; ok {
			return name
		}
		return fmt.Sprint(id)
	}, nil
}
