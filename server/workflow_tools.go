package server

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// catalogue is what checking must know of the actions that there are.
func catalogue(specs map[string]plugins.Spec) workflow.Catalogue {
	cat := workflow.Catalogue{}
	for name, s := range specs {
		info := workflow.ActionInfo{Schema: s.Schema, External: s.External, Idempotent: s.Idempotent, Plugin: s.Plugin, Summary: s.Summary}
		for _, e := range s.Effects {
			info.Effects = append(info.Effects, string(e))
		}
		cat[name] = info
	}
	return cat
}

// WorkflowGraph is a workflow as a picture: a tree for a terminal, and a flowchart in Mermaid's language.
type WorkflowGraph struct {
	ID       string `json:"id"`
	Revision string `json:"revision"`
	Text     string `json:"text"`
	Mermaid  string `json:"mermaid"`
}

// Graph draws a workflow file. It needs no store. Its error holds the file's diagnostics.
func Graph(f File) (WorkflowGraph, error) {
	w, err := workflow.Parse(f.Name, f.Content)
	if err != nil {
		return WorkflowGraph{}, err
	}
	return WorkflowGraph{ID: w.ID, Revision: w.Short(), Text: w.Graph(), Mermaid: w.Mermaid()}, nil
}

// workflowGraph draws the active revision of a workflow.
func workflowGraph(c *call, q WorkflowID) (v WorkflowGraph, err error) {
	var def *workflow.Workflow
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		w, err := tx.Workflow(acc.ID, q.ID)
		if err != nil {
			return err
		}
		if w.Active == "" {
			return crm.Errorf("draw a workflow", crm.CodeNotFound, "the workflow %q was deleted at %s", q.ID, w.AppliedAt).WithHint("applying it again brings it back")
		}
		def, err = revisionOf(tx, acc.ID, q.ID, w.Active)
		return err
	})
	if err != nil {
		return v, err
	}
	return WorkflowGraph{ID: def.ID, Revision: def.Short(), Text: def.Graph(), Mermaid: def.Mermaid()}, nil
}

// revisionOf reads a revision from the store.
func revisionOf(tx *store.Tx, acc crm.AccountID, id, revision string) (*workflow.Workflow, error) {
	src, err := tx.WorkflowSource(acc, id, revision)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return nil, crm.Errorf("read a workflow", crm.CodeNotFound, "the revision %.12s of %s is not in the store", revision, id).
			WithHint("reprieve store check looks for damage")
	}
	return workflow.Parse(src.File, src.Source)
}

// WorkflowSchema is the JSON Schema of workflow files, for editors.
type WorkflowSchema struct {
	Schema json.RawMessage `json:"schema"`
}

// Schema gives the JSON Schema for the actions that a catalogue offers. It needs no store.
func Schema(specs map[string]plugins.Spec) WorkflowSchema {
	return WorkflowSchema{workflow.Schema(catalogue(specs))}
}

func workflowSchema(c *call, _ None) (WorkflowSchema, error) {
	specs, err := c.Host.Catalogue(c.ctx)
	if err != nil {
		return WorkflowSchema{}, err
	}
	return Schema(specs), nil
}

func workflowPause(on bool) func(*call, WorkflowID) (None, error) {
	return func(c *call, q WorkflowID) (None, error) {
		return None{}, c.Store.Update(c.ctx, func(tx *store.Tx) error {
			acc, err := theAccount(tx)
			if err != nil {
				return err
			}
			return tx.PauseWorkflow(c.by, acc.ID, q.ID, on)
		})
	}
}

// WorkflowDiff asks what applying files would change.
type WorkflowDiff struct {
	Files   []File `json:"files"`
	NoCount bool   `json:"no_count,omitempty"` // do not count contacts: that reads every one
}

// What applying a file would do to its workflow.
const (
	DiffNew       = "new"
	DiffChanged   = "changed"
	DiffUnchanged = "unchanged"
	DiffDeleted   = "deleted_before" // it would come back, without the grants that it had
)

// Diffed is what applying the files would change. With errors nothing could be applied, and it holds those
// alone.
type Diffed struct {
	Workflows   []WorkflowChange       `json:"workflows"`
	Diagnostics []*triggers.Diagnostic `json:"diagnostics"`
	Errors      int                    `json:"errors"`
	Warnings    int                    `json:"warnings"`
	Changes     int                    `json:"changes"` // workflows that are not unchanged
}

// WorkflowChange is what applying a file would do to one workflow.
type WorkflowChange struct {
	ID     string `json:"id"`
	File   string `json:"file"`
	Status string `json:"status"`
	From   string `json:"from,omitempty"` // the active revision
	To     string `json:"to"`
	Paused bool   `json:"paused,omitempty"` // it would stay so
	workflow.Difference
	Missing []string       `json:"grants_needed,omitempty"` // that nobody has given it yet
	Runs    []RevisionRuns `json:"unfinished_runs,omitempty"`
	Matches []TriggerCount `json:"matches,omitempty"`
}

// RevisionRuns counts the unfinished runs on a revision: they stay on it.
type RevisionRuns struct {
	Revision string `json:"revision"`
	Runs     int    `json:"runs"`
}

// TriggerCount says how many contacts pass a trigger of the file now: for a schedule those that its where
// selects and the filter passes, for an event those that the filter passes.
type TriggerCount struct {
	Trigger  string `json:"trigger"`
	On       string `json:"on"` // event or schedule
	Contacts int    `json:"contacts"`
}

func workflowDiff(c *call, q WorkflowDiff) (Diffed, error) {
	v, defs, err := check(c, WorkflowFiles{Files: q.Files})
	if err == nil {
		err = c.warnHere(&v, defs, nil)
	}
	d := Diffed{Workflows: []WorkflowChange{}, Diagnostics: v.Diagnostics, Errors: v.Errors, Warnings: v.Warnings}
	if err != nil || v.Errors > 0 {
		return d, err
	}
	runs, err := runsByRevision(c)
	if err != nil {
		return d, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		d.Workflows, d.Changes = []WorkflowChange{}, 0
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		for i, def := range defs {
			w, err := compare(tx, acc.ID, def, v.Workflows[i].Needs)
			if err != nil {
				return err
			}
			w.Runs = runs[def.ID]
			if w.Status != DiffUnchanged {
				d.Changes++
			}
			d.Workflows = append(d.Workflows, w)
		}
		return nil
	})
	if err != nil || q.NoCount {
		return d, err
	}
	return d, countMatches(c, defs, d.Workflows)
}

// compare holds a file against what is applied.
func compare(tx *store.Tx, acc crm.AccountID, def *workflow.Workflow, needs []string) (WorkflowChange, error) {
	w := WorkflowChange{ID: def.ID, File: def.File, Status: DiffNew, To: def.Short()}
	had, err := tx.Workflow(acc, def.ID)
	if err != nil && crm.CodeOf(err) != crm.CodeNotFound {
		return w, err
	}
	var was *workflow.Workflow
	var grants []string
	if had != nil {
		w.Paused, grants = had.Paused, had.Grants
		switch had.Active {
		case "":
			w.Status = DiffDeleted
		case def.Revision:
			w.Status = DiffUnchanged
		default:
			w.Status = DiffChanged
		}
		if had.Active != "" {
			w.From = short(had.Active)
			if was, err = revisionOf(tx, acc, def.ID, had.Active); err != nil {
				return w, err
			}
		}
	}
	for _, need := range needs {
		if !slices.Contains(grants, need) {
			w.Missing = append(w.Missing, need)
		}
	}
	w.Difference = workflow.Diff(was, def)
	return w, nil
}

// runsByRevision counts the unfinished runs of each workflow by revision.
func runsByRevision(c *call) (map[string][]RevisionRuns, error) {
	all := map[string][]RevisionRuns{}
	err := eachRun(c, func(r *crm.Run, s crm.RunStatus) {
		if s.Finished() {
			return
		}
		list, rev := all[r.Workflow], short(r.Revision)
		i := slices.IndexFunc(list, func(n RevisionRuns) bool { return n.Revision == rev })
		if i < 0 {
			i, list = len(list), append(list, RevisionRuns{Revision: rev})
		}
		list[i].Runs++
		all[r.Workflow] = list
	})
	for _, list := range all {
		slices.SortFunc(list, func(a, b RevisionRuns) int { return cmp.Compare(a.Revision, b.Revision) })
	}
	return all, err
}

// countMatches counts for each trigger the contacts that pass it now. It reads every contact, a page to a
// View, so the whole is of no single instant.
func countMatches(c *call, defs []*workflow.Workflow, into []WorkflowChange) error {
	var states crm.StateSet
	for i, def := range defs {
		for _, t := range def.Triggers {
			n := TriggerCount{Trigger: t.ID, On: "event"}
			if t.Event == nil {
				n.On = "schedule"
			}
			into[i].Matches = append(into[i].Matches, n)
			states |= over(t)
		}
	}
	for after := []byte(nil); ; {
		var counts [][]int
		err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
			counts, after, err = countPage(tx, defs, states, after)
			return err
		})
		if err != nil {
			return err
		}
		for i := range counts {
			for j, n := range counts[i] {
				into[i].Matches[j].Contacts += n
			}
		}
		if after == nil {
			return nil
		}
	}
}

// over says which contacts a trigger is about.
func over(t workflow.Trigger) crm.StateSet {
	if t.Event == nil {
		return t.Over
	}
	return crm.OnlyLive
}

// countedAtOnce is how many contacts a View reads.
const countedAtOnce = 200

// countPage counts one page of contacts, and gives the cursor of the next.
func countPage(tx *store.Tx, defs []*workflow.Workflow, states crm.StateSet, after []byte) (counts [][]int, next []byte, err error) {
	acc, err := theAccount(tx)
	if err != nil {
		return nil, nil, err
	}
	names, err := names(tx, acc.ID)
	if err != nil {
		return nil, nil, err
	}
	var page []triggers.Env
	next, err = tx.Scan(crm.Query{Account: acc.ID, State: states, After: after}, func(con *crm.Contact, l *crm.Life) bool {
		copied := *con
		page = append(page, triggers.Env{Contact: &copied, Life: *l, Now: tx.Now(), ListName: names})
		return len(page) < countedAtOnce
	})
	if err != nil {
		return nil, nil, err
	}
	counts = make([][]int, len(defs))
	for i, def := range defs {
		counts[i] = make([]int, len(def.Triggers))
	}
	for _, env := range page {
		if env.Life.State == crm.Deleted {
			if env.Tombstone, err = tx.Tombstone(env.Contact.Key(), env.Life); err != nil {
				return nil, nil, err
			}
		}
		for i, def := range defs {
			for j, t := range def.Triggers {
				if passes(def, t, env) {
					counts[i][j]++
				}
			}
		}
	}
	return counts, next, nil
}

// passes says whether a contact would pass a trigger now, by the rules by which runs are started.
func passes(def *workflow.Workflow, t workflow.Trigger, env triggers.Env) bool {
	if !over(t).Has(env.Life.State) || env.Life.State == crm.Live && env.Contact.Archived.On {
		return false
	}
	if t.Event == nil {
		where := t.Where.WithLists(env.ListName)
		if _, ok := env.Contact.Selectable(env.Life, where.Reads); !ok || !where.Keep(env.Contact, &env.Life, env.Tombstone, env.Now) {
			return false
		}
	}
	if def.Filter == nil {
		return true
	}
	yes, err := def.Filter.Bool(env)
	return err == nil && yes
}
