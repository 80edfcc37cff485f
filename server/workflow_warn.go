package server

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// warnHere adds a warning for each step whose action the account's workflow of that id has not been granted,
// beside those that the caller offers: an apply refuses such a file, and a check must not find it fine. And one for
// each secret that is not set.
func (c *call) warnHere(v *Checked, defs []*workflow.Workflow, offered []string) error {
	specs, err := c.Host.Catalogue(c.ctx)
	if err != nil {
		return err
	}
	cat := catalogue(specs)
	return c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if crm.CodeOf(err) == crm.CodeNotFound {
			return nil // nobody can have granted anything, and a first check is not the place to say so
		}
		if err != nil {
			return err
		}
		for _, def := range defs {
			is, err := tx.Workflow(acc.ID, def.ID)
			if err != nil && crm.CodeOf(err) != crm.CodeNotFound {
				return err
			}
			found := workflow.Ungranted(def, cat, func(verb crm.Verb) bool {
				return slices.Contains(offered, string(verb)) || is != nil && slices.Contains(is.Grants, string(verb))
			})
			found = append(found, workflow.Unset(def, func(name string) error { return c.Engine.Secret(acc.Name, name) })...)
			v.Diagnostics = append(v.Diagnostics, found...)
			v.Warnings += len(found)
		}
		return nil
	})
}
