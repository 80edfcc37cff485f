package server

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// PluginPage is the plugin processes and the actions that can be used.
type PluginPage struct {
	Actions   []ActionView  `json:"actions"`
	Processes []ProcessView `json:"processes"`
}

// ProcessView is how one plugin is.
type ProcessView struct {
	Plugin      string              `json:"plugin"`
	Version     string              `json:"version,omitempty"`
	PID         int                 `json:"pid,omitempty"` // 0: not running
	Since       crm.Nanos           `json:"since,omitzero"`
	Restarts    int                 `json:"restarts"`
	Breaker     plugins.Breaker     `json:"breaker"`
	RetryAt     crm.Nanos           `json:"retry_at,omitzero"` // when an open breaker lets one batch through
	Deaths      int                 `json:"quick_deaths,omitempty"`
	Calls       int                 `json:"calls"`
	Failures    int                 `json:"failures"`
	LastError   string              `json:"last_error,omitempty"`
	LastErrorAt crm.Nanos           `json:"last_error_at,omitzero"`
	Network     bool                `json:"network"`              // an action of it declares a host to talk to
	Containment plugins.Containment `json:"containment,omitzero"` // of the running process, or the last one
	Actions     []string            `json:"actions"`
	Waiting     []string            `json:"waiting,omitempty"` // versions that wait to be trusted
	Problem     string              `json:"problem,omitempty"` // why it does not start
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
		page.Processes = append(page.Processes, processView(p))
	}
	for _, name := range sortedKeys(specs) {
		page.Actions = append(page.Actions, actionView(specs[name]))
	}
	return page, err
}

func processView(p plugins.Process) ProcessView {
	v := ProcessView{Plugin: p.Plugin, Version: p.Version, PID: p.PID, Restarts: p.Restarts, Breaker: p.Breaker, Deaths: p.Deaths,
		Calls: p.Calls, Failures: p.Failures, LastError: p.LastError, Network: p.Network, Containment: p.Contained, Actions: p.Actions}
	if !p.Since.IsZero() {
		v.Since = crm.At(p.Since)
	}
	if !p.RetryAt.IsZero() {
		v.RetryAt = crm.At(p.RetryAt)
	}
	if !p.LastErrorAt.IsZero() {
		v.LastErrorAt = crm.At(p.LastErrorAt)
	}
	if p.Broken != nil {
		v.Problem = p.Broken.Error()
	}
	for _, s := range p.Versions {
		if !s.Trusted {
			v.Waiting = append(v.Waiting, s.Version)
		}
	}
	return v
}

func actionView(s plugins.Spec) ActionView {
	v := ActionView{Spec: s}
	if s.Broken != nil {
		v.Problem = s.Broken.Error()
	}
	return v
}

// PluginName names a plugin, or one version of it.
type PluginName struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Force   bool   `json:"force,omitempty"` // of a remove: although workflows use it
}

// PluginView is one plugin: its process, its versions and its actions.
type PluginView struct {
	ProcessView
	Versions []VersionView  `json:"versions"`
	Offers   []ActionDetail `json:"action_details"`
}

// VersionView is an installed version.
type VersionView struct {
	Version string   `json:"version"`
	Current bool     `json:"current"`
	Trusted bool     `json:"trusted"`
	Wants   []string `json:"wants,omitempty"` // what it may do beyond the one in use
}

// ActionDetail is an action with the schema of its parameters.
type ActionDetail struct {
	ActionView
	Schema json.RawMessage `json:"schema,omitempty"`
}

func pluginShow(c *call, q PluginName) (PluginView, error) {
	specs, err := c.Host.Catalogue(c.ctx)
	if err != nil {
		return PluginView{}, err
	}
	for _, p := range c.Host.Processes() {
		if p.Plugin != q.Name {
			continue
		}
		v := PluginView{ProcessView: processView(p), Versions: []VersionView{}, Offers: []ActionDetail{}}
		for _, s := range p.Versions {
			v.Versions = append(v.Versions, VersionView(s))
		}
		for _, name := range p.Actions {
			if s, ok := specs[name]; ok {
				v.Offers = append(v.Offers, ActionDetail{actionView(s), s.Schema})
			}
		}
		return v, nil
	}
	return PluginView{}, crm.Errorf("show a plugin", crm.CodeNotFound, "there is no plugin %q", q.Name).WithHint("`reprieve plugin list` shows those that there are")
}

// ActionName names an action.
type ActionName struct {
	Action string `json:"action"`
}

func actionShow(c *call, q ActionName) (ActionDetail, error) {
	specs, err := c.Host.Catalogue(c.ctx)
	if err != nil {
		return ActionDetail{}, err
	}
	s, ok := specs[q.Action]
	if !ok {
		return ActionDetail{}, crm.Errorf("show an action", crm.CodeNotFound, "there is no action %q", q.Action).
			WithHint("`reprieve action list` shows those that there are; install a plugin with `reprieve plugin install`")
	}
	return ActionDetail{actionView(s), s.Schema}, nil
}

// Verified is what is installed, compared with plugins.lock.
type Verified struct {
	Versions []plugins.Verdict `json:"versions"`
	Wrong    int               `json:"wrong"` // so many of them differ
}

func pluginVerify(c *call, q PluginName) (Verified, error) {
	found, err := c.Host.Verify(q.Name)
	v := Verified{Versions: found}
	for _, f := range found {
		if f.Problem != "" {
			v.Wrong++
		}
	}
	return v, err
}

// PluginInstall installs a plugin from a folder or an archive on the machine of the server.
type PluginInstall struct {
	From  string `json:"from"`
	Trust bool   `json:"trust,omitempty"` // accept what it wants beyond the version in use
}

func pluginInstall(c *call, q PluginInstall) (plugins.Installed, error) {
	const op = "install a plugin"
	if err := c.admin(op); err != nil {
		return plugins.Installed{}, err
	}
	switch info, err := os.Stat(q.From); {
	case errors.Is(err, fs.ErrNotExist):
		return plugins.Installed{}, crm.Errorf(op, crm.CodeNotFound, "there is no folder %s", q.From).
			WithHint("name the folder that holds plugin.yaml and the plugin's binary, or a .tar.gz or .zip of it")
	case err == nil && !info.IsDir() && !info.Mode().IsRegular():
		return plugins.Installed{}, crm.Errorf(op, crm.CodeInvalid, "%s is neither a folder nor a file", q.From).
			WithHint("name the folder that holds plugin.yaml and the plugin's binary, or a .tar.gz or .zip of it")
	}
	return c.Host.InstallAs(q.From, plugins.Consent{Trust: q.Trust, Note: c.notePlugin})
}

func pluginTrust(c *call, q PluginName) (plugins.Installed, error) {
	if err := c.admin("trust a plugin"); err != nil {
		return plugins.Installed{}, err
	}
	return c.Host.Trust(q.Name, q.Version, c.notePlugin)
}

func pluginUse(c *call, q PluginName) (plugins.Installed, error) {
	if err := c.admin("use a plugin's version"); err != nil {
		return plugins.Installed{}, err
	}
	return c.Host.Use(q.Name, q.Version, c.notePlugin)
}

func pluginRemove(c *call, q PluginName) (None, error) {
	const op = "remove a plugin"
	if err := c.admin(op); err != nil {
		return None{}, err
	}
	if !q.Force {
		keeps, err := c.keptFromGoing(q)
		if err != nil {
			return None{}, err
		}
		if len(keeps) > 0 {
			return None{}, crm.Errorf(op, crm.CodeConflict, "%s is used by %s", q.Name, strings.Join(keeps, ", ")).
				WithHint("delete or change the workflows first; with --force it goes all the same, and steps that need it wait until it is installed again")
		}
	}
	return None{}, c.Host.Remove(q.Name, q.Version, c.notePlugin)
}

// keptFromGoing names the workflows that need the plugin: those that are active or paused, and those that
// have runs on an older revision. Nothing needs one version while another is in use.
func (c *call) keptFromGoing(q PluginName) (ids []string, err error) {
	for _, p := range c.Host.Processes() {
		if p.Plugin == q.Name && q.Version != "" && len(p.Versions) > 1 {
			return nil, nil
		}
	}
	type revision struct{ id, revision string }
	revisions := map[revision]bool{}
	err = eachRun(c, func(r *crm.Run, s crm.RunStatus) {
		if !s.Finished() {
			revisions[revision{r.Workflow, r.Revision}] = true
		}
	})
	if err != nil {
		return nil, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		ids = nil
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		all, err := tx.Workflows(acc.ID)
		if err != nil {
			return err
		}
		for _, w := range all {
			if w.Active != "" {
				revisions[revision{w.ID, w.Active}] = true
			}
		}
		for r := range revisions {
			def, err := revisionOf(tx, acc.ID, r.id, r.revision)
			if err == nil && uses(def, q.Name) && !slices.Contains(ids, r.id) {
				ids = append(ids, r.id)
			}
		}
		return nil
	})
	slices.Sort(ids)
	return ids, err
}

// uses says whether a step of the workflow is an action of the plugin.
func uses(def *workflow.Workflow, plugin string) bool {
	return slices.ContainsFunc(def.Nodes, func(n workflow.Node) bool { return strings.HasPrefix(n.Action, plugin+".") })
}

// notePlugin writes a change of the catalogue into the log, before it is made.
func (c *call) notePlugin(ch plugins.Change) error {
	what := ch.Act
	switch {
	case ch.Act == "install" && ch.Current != ch.Version:
		what += "; it waits to be trusted, for it wants more: " + strings.Join(ch.Wants, "; ")
	case len(ch.Wants) > 0:
		what += "; it may do more now: " + strings.Join(ch.Wants, "; ")
	}
	return c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		return tx.NotePlugin(c.by, acc.ID, ch.Plugin, ch.Version, ch.Was, what)
	})
}
