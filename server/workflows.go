package server

import (
	"errors"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// File is a workflow file as the caller read it: always the whole content.
type File struct {
	Name    string `json:"name"`
	Content []byte `json:"content"`
}

// WorkflowFiles names files to check, or to apply with grants.
type WorkflowFiles struct {
	Files  []File   `json:"files"`
	Grants []string `json:"grants,omitempty"`
	Strict bool     `json:"strict,omitempty"` // an apply: a warning refuses the files, as an error does
}

// Checked is what checking found.
type Checked struct {
	Workflows   []WorkflowView         `json:"workflows"`
	Diagnostics []*triggers.Diagnostic `json:"diagnostics"`
	Errors      int                    `json:"errors"`
	Warnings    int                    `json:"warnings"`
}

// WorkflowView is a workflow as checked or applied.
type WorkflowView struct {
	ID         string   `json:"id"`
	Name       string   `json:"name,omitempty"`
	Revision   string   `json:"revision"`
	Needs      []string `json:"needs,omitempty"` // the grants that its actions need
	Grants     []string `json:"grants,omitempty"`
	Changed    bool     `json:"changed,omitempty"`
	State      string   `json:"state,omitempty"`           // only in a list: active, paused or deleted
	Unfinished *int     `json:"unfinished_runs,omitempty"` // only in a list
}

func workflowCheck(c *call, q WorkflowFiles) (Checked, error) {
	v, defs, err := check(c, q)
	if err != nil {
		return v, err
	}
	return v, c.warnHere(&v, defs, q.Grants)
}

// Check checks workflow files against the actions that a catalogue offers. It needs no store. Schedules are judged
// by what lies ahead of now; 0 leaves that out.
func Check(files []File, specs map[string]plugins.Spec, now crm.Nanos) (Checked, []*workflow.Workflow) {
	v := Checked{Workflows: []WorkflowView{}, Diagnostics: []*triggers.Diagnostic{}}
	cat := catalogue(specs)
	var defs []*workflow.Workflow
	for _, f := range files {
		def, err := workflow.Parse(f.Name, f.Content)
		var found triggers.Diagnostics
		if err != nil && !errors.As(err, &found) {
			found = triggers.Diagnostics{{File: f.Name, Line: 1, Column: 1, Severity: "error", Code: "E201", Message: err.Error()}}
		}
		if def != nil {
			found = append(found, workflow.Check(def, cat)...)
			if now != 0 {
				found = append(found, workflow.Timely(def, now)...)
			}
			defs = append(defs, def)
			w := WorkflowView{ID: def.ID, Name: def.Name, Revision: def.Short()}
			for _, n := range def.Needs(cat) {
				w.Needs = append(w.Needs, string(n))
			}
			v.Workflows = append(v.Workflows, w)
		}
		v.Diagnostics = append(v.Diagnostics, found...)
	}
	v.Diagnostics = append(v.Diagnostics, workflow.Together(defs)...)
	for _, d := range v.Diagnostics {
		if d.Severity == "error" {
			v.Errors++
		} else {
			v.Warnings++
		}
	}
	return v, defs
}

func check(c *call, q WorkflowFiles) (Checked, []*workflow.Workflow, error) {
	specs, err := c.Host.Catalogue(c.ctx)
	if err != nil {
		return Checked{}, nil, err
	}
	var now crm.Nanos
	if err := c.Store.View(c.ctx, func(tx *store.Tx) error { now = tx.Now(); return nil }); err != nil {
		return Checked{}, nil, err
	}
	v, defs := Check(q.Files, specs, now)
	return v, defs, nil
}

// workflowApply makes the files' revisions active, all or none. Each verb of the lifecycle that a
// workflow's actions may use has to be granted, now or by an earlier apply.
func workflowApply(c *call, q WorkflowFiles) (Checked, error) {
	const op = "apply workflows"
	v, defs, err := check(c, q)
	if err != nil {
		return v, err
	}
	if v.Errors > 0 {
		return v, nil
	}
	for _, g := range q.Grants {
		if !slices.Contains([]crm.Verb{crm.VerbDelete, crm.VerbRestore, crm.VerbPurge, crm.VerbErase}, crm.Verb(g)) {
			return v, crm.Errorf(op, crm.CodeInvalid, "%q cannot be granted", g).
				WithHint("contact.delete, contact.restore, contact.purge and contact.purge:erasure can")
		}
	}
	if q.Strict {
		if err := c.warnHere(&v, defs, q.Grants); err != nil || v.Warnings > 0 {
			return v, err
		}
	}
	err = c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if err := c.allow(acc, op, crm.VerbApply); err != nil {
			return err
		}
		given, err := grantsFor(tx, acc.ID, v.Workflows, q.Grants)
		if err != nil {
			return err
		}
		for i, def := range defs {
			w := &v.Workflows[i]
			if w.Changed, err = tx.ApplyWorkflow(c.by, acc.ID, def.ID, def.Revision, def.File, def.Source, given[i]); err != nil {
				return err
			}
			is, err := tx.Workflow(acc.ID, def.ID)
			if err != nil {
				return err
			}
			w.Grants = is.Grants
		}
		return nil
	})
	if err != nil {
		return v, err
	}
	_ = c.warnHere(&v, defs, nil) // what is applied stays so, whatever keeps the warnings away
	return v, nil
}

// grantsFor gives each workflow those of the offered grants that it needs. All that nobody gave it,
// now or earlier, are named at once.
func grantsFor(tx *store.Tx, acc crm.AccountID, ws []WorkflowView, offered []string) ([][]string, error) {
	given := make([][]string, len(ws))
	var missing, hint []string
	for i, w := range ws {
		had, err := tx.Workflow(acc, w.ID)
		if err != nil && crm.CodeOf(err) != crm.CodeNotFound {
			return nil, err
		}
		for _, need := range w.Needs {
			if slices.Contains(offered, need) {
				given[i] = append(given[i], need)
			} else if had == nil || !slices.Contains(had.Grants, need) {
				missing = append(missing, w.ID+" needs the grant "+need)
				if flag := "--grant " + need; !slices.Contains(hint, flag) {
					hint = append(hint, flag)
				}
			}
		}
	}
	if len(missing) > 0 {
		return nil, crm.Errorf("apply workflows", crm.CodeNoGrant, "%s; nothing was applied", strings.Join(missing, ", ")).
			WithHint("an admin applies them with %s", strings.Join(hint, " "))
	}
	return given, nil
}

// WorkflowPage is the applied workflows.
type WorkflowPage struct {
	Workflows []WorkflowView `json:"workflows"`
}

func workflowList(c *call, _ None) (WorkflowPage, error) {
	page := WorkflowPage{}
	running := map[string]int{}
	if err := eachRun(c, func(r *crm.Run, s crm.RunStatus) {
		if !s.Finished() {
			running[r.Workflow]++
		}
	}); err != nil {
		return page, err
	}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		page.Workflows = []WorkflowView{}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		all, err := tx.Workflows(acc.ID)
		for _, w := range all {
			n := running[w.ID]
			page.Workflows = append(page.Workflows, WorkflowView{ID: w.ID, Revision: short(w.Active), Grants: w.Grants, State: stateOf(w), Unfinished: &n})
		}
		return err
	})
	return page, err
}

// stateOf says whether a workflow starts runs.
func stateOf(w store.Workflow) string {
	switch {
	case w.Active == "":
		return "deleted"
	case w.Paused:
		return "paused"
	}
	return "active"
}
