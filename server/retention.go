package server

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

// RetentionStatus says what waits for the sweep.
type RetentionStatus struct {
	Now     crm.Nanos `json:"now"`
	Deleted int64     `json:"deleted"`
	Due     int       `json:"due"`           // past their deadline; counted up to 10,000
	Held    int       `json:"held"`          // of those, kept by a legal hold
	Next    crm.Nanos `json:"next,omitzero"` // the earliest deadline
}

func retentionStatus(c *call, _ None) (RetentionStatus, error) {
	var v RetentionStatus
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		v = RetentionStatus{Now: tx.Now()}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if v.Deleted, err = tx.Counter(acc.ID, store.CountDeleted); err != nil {
			return err
		}
		if v.Next, err = tx.NextDeadline(); err != nil {
			return err
		}
		due, err := tx.Expired(tx.Now(), nil, 10_000)
		if err != nil {
			return err
		}
		for _, d := range due {
			life, err := tx.Life(crm.Key{Account: d.Account, Contact: d.Contact})
			if err != nil {
				return err
			}
			v.Due++
			if life.Held {
				v.Held++
			}
		}
		return nil
	})
	return v, err
}

// RetentionSweep runs a sweep now. Without the word PURGE it only says what it would do.
type RetentionSweep struct {
	Confirm string `json:"confirm,omitempty"`
}

// Swept is what a sweep did, or with Shown would do.
type Swept struct {
	runtime.SweepReport
	Shown bool `json:"shown_only"`
}

func retentionSweep(c *call, q RetentionSweep) (Swept, error) {
	if q.Confirm == "PURGE" {
		if c.by.Role != crm.Admin {
			return Swept{}, crm.Errorf("sweep", crm.CodeDenied, "only an admin starts a sweep by hand")
		}
		report, err := c.Engine.Sweep(c.ctx)
		return Swept{SweepReport: report}, err
	}
	if q.Confirm != "" {
		return Swept{}, crm.Errorf("sweep", crm.CodeConfirm, "the word is PURGE").WithHint("--confirm PURGE")
	}
	s, err := retentionStatus(c, None{})
	return Swept{SweepReport: runtime.SweepReport{At: s.Now, Due: s.Due, Held: s.Held}, Shown: true}, err
}

// PluginPage is the plugin processes and the actions that can be used.
type PluginPage struct {
	Actions   []ActionView  `json:"actions"`
	Processes []ProcessView `json:"processes"`
}

// ProcessView is how one plugin is.
type ProcessView struct {
	Plugin   string   `json:"plugin"`
	Version  string   `json:"version,omitempty"`
	PID      int      `json:"pid,omitempty"` // 0: not running
	Restarts int      `json:"restarts"`
	Actions  []string `json:"actions"`
	Problem  string   `json:"problem,omitempty"` // why it did not start the last time
}

// ActionView is an action with what it may do.
type ActionView struct {
	plugins.Spec
	Problem string `json:"problem,omitempty"`
}

func pluginList(c *call, _ None) (PluginPage, error) {
	specs, err := c.Host.Catalogue(c.ctx)
	page := PluginPage{Actions: []ActionView{}, Processes: []ProcessView{}}
	for _, p := range c.Host.Processes() {
		v := ProcessView{Plugin: p.Plugin, Version: p.Version, PID: p.PID, Restarts: p.Restarts, Actions: p.Actions}
		if p.Broken != nil {
			v.Problem = p.Broken.Error()
		}
		page.Processes = append(page.Processes, v)
	}
	for _, name := range sortedKeys(specs) {
		v := ActionView{Spec: specs[name]}
		if v.Broken != nil {
			v.Problem = v.Broken.Error()
		}
		page.Actions = append(page.Actions, v)
	}
	return page, err
}

// PluginInstall installs a plugin from a folder on the machine of the server.
type PluginInstall struct {
	From string `json:"from"`
}

func pluginInstall(c *call, q PluginInstall) (plugins.Manifest, error) {
	if c.by.Role != crm.Admin {
		return plugins.Manifest{}, crm.Errorf("install a plugin", crm.CodeDenied, "only an admin installs plugins")
	}
	return c.Host.Install(q.From)
}
