package server

import (
	"errors"
	"slices"

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
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"`
	Revision string   `json:"revision"`
	Needs    []string `json:"needs,omitempty"` // the grants that its actions need
	Grants   []string `json:"grants,omitempty"`
	Changed  bool     `json:"changed,omitempty"`
	Active   int      `json:"active_runs"`
}

func workflowCheck(c *call, q WorkflowFiles) (Checked, error) {
	v, _, err := check(c, q)
	return v, err
}

// Check checks workflow files against the actions that a catalogue offers. It needs no store.
func Check(files []File, specs map[string]plugins.Spec) (Checked, []*workflow.Workflow) {
	v := Checked{Workflows: []WorkflowView{}, Diagnostics: []*triggers.Diagnostic{}}
	cat := workflow.Catalogue{}
	for name, s := range specs {
		info := workflow.ActionInfo{Schema: s.Schema, External: s.External, Plugin: s.Plugin}
		for _, e := range s.Effects {
			info.Effects = append(info.Effects, string(e))
		}
		cat[name] = info
	}
	var defs []*workflow.Workflow
	for _, f := range files {
		def, err := workflow.Parse(f.Name, f.Content)
		var found triggers.Diagnostics
		if err != nil && !errors.As(err, &found) {
			found = triggers.Diagnostics{{File: f.Name, Line: 1, Column: 1, Severity: "error", Code: "E201", Message: err.Error()}}
		}
		if def != nil {
			found = append(found, workflow.Check(def, cat)...)
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
	v, defs := Check(q.Files, specs)
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
	err = c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		for i, def := range defs {
			w := &v.Workflows[i]
			w.Grants = nil
			had, err := tx.Workflow(acc.ID, def.ID)
			if err != nil && crm.CodeOf(err) != crm.CodeNotFound {
				return err
			}
			var grants []string
			for _, need := range w.Needs {
				if slices.Contains(q.Grants, need) {
					grants = append(grants, need)
				} else if had == nil || !slices.Contains(had.Grants, need) {
					return crm.Errorf(op, crm.CodeNoGrant, "%s needs the grant %s, which it was not given; nothing was applied", def.ID, need).
						WithHint("an admin applies it with --grant %s", need)
				}
			}
			if w.Changed, err = tx.ApplyWorkflow(c.by, acc.ID, def.ID, def.Revision, def.File, def.Source, grants); err != nil {
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
	return v, err
}

// WorkflowPage is the applied workflows.
type WorkflowPage struct {
	Workflows []WorkflowView `json:"workflows"`
}

func workflowList(c *call, _ None) (WorkflowPage, error) {
	page := WorkflowPage{}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		page.Workflows = []WorkflowView{}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		all, err := tx.Workflows(acc.ID)
		if err != nil {
			return err
		}
		running := map[string]int{}
		if err := eachRun(tx, func(r *crm.Run, s crm.RunStatus) {
			if !s.Finished() {
				running[r.Workflow]++
			}
		}); err != nil {
			return err
		}
		for _, w := range all {
			page.Workflows = append(page.Workflows, WorkflowView{ID: w.ID, Revision: short(w.Active), Grants: w.Grants, Active: running[w.ID]})
		}
		return nil
	})
	return page, err
}

func eachRun(tx *store.Tx, yield func(*crm.Run, crm.RunStatus)) error {
	for after := (crm.RunID{}); ; {
		runs, err := tx.Runs(after, 1000)
		if err != nil || len(runs) == 0 {
			return err
		}
		for i := range runs {
			r := &runs[i]
			life, err := tx.Life(crm.Key{Account: r.Account, Contact: r.Contact})
			if err != nil {
				return err
			}
			yield(r, r.StatusFor(life))
		}
		after = runs[len(runs)-1].ID
	}
}

// RunList asks for runs, the latest last.
type RunList struct {
	Contact  string        `json:"contact,omitempty"`
	Workflow string        `json:"workflow,omitempty"`
	Status   crm.RunStatus `json:"status,omitempty"`
	Limit    int           `json:"limit,omitempty"` // the latest so many; default 100
}

// RunPage is runs.
type RunPage struct {
	Runs  []RunView `json:"runs"`
	Total int       `json:"total"` // that match, shown or not
}

func runList(c *call, q RunList) (RunPage, error) {
	page := RunPage{}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		page = RunPage{Runs: []RunView{}}
		take := func(r *crm.Run, s crm.RunStatus) error {
			if q.Workflow != "" && r.Workflow != q.Workflow || q.Status != "" && s != q.Status {
				return nil
			}
			v, err := runView(tx, r)
			page.Total++
			page.Runs = append(page.Runs, v)
			if len(page.Runs) > q.Limit {
				page.Runs = page.Runs[1:]
			}
			return err
		}
		if q.Contact == "" {
			var failed error
			err := eachRun(tx, func(r *crm.Run, s crm.RunStatus) { failed = errors.Join(failed, take(r, s)) })
			return errors.Join(err, failed)
		}
		k, err := c.key(tx, q.Contact, crm.LiveOrDead)
		if err != nil {
			return err
		}
		life, err := tx.Life(k)
		if err != nil {
			return err
		}
		runs, err := tx.RunsOf(k)
		for i := range runs {
			if err := take(&runs[i], runs[i].StatusFor(life)); err != nil {
				return err
			}
		}
		return err
	})
	return page, err
}

// RunID names a run.
type RunID struct {
	ID crm.RunID `json:"id"`
}

func runGet(c *call, q RunID) (RunView, error) {
	var v RunView
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		r, err := tx.Run(q.ID)
		if err != nil {
			return err
		}
		if r == nil {
			return crm.Errorf("read a run", crm.CodeNotFound, "there is no run %s", q.ID).WithHint("reprieve run list shows what there is")
		}
		if v, err = runView(tx, r); err != nil {
			return err
		}
		steps, err := tx.Steps(q.ID)
		for _, s := range steps {
			v.Steps = append(v.Steps, StepView{Step: s.Path, Action: s.Action, Status: s.Status, Attempt: s.Attempt, At: s.At,
				Code: s.Code, Message: s.Message, Plugin: s.Plugin})
		}
		return err
	})
	return v, err
}
