package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/server"
)

// makeMayfly makes a folder with a version of the plugin mayfly, which reads some facts: this binary under
// another name.
func makeMayfly(dir, version string, reads ...string) error {
	args := strings.Join(append([]string{mayflyArg, version}, reads...), ", ")
	manifest := "name: mayfly\nversion: " + version + "\nprotocol: 1\ncommand: ./mayfly\nargs: [" + args + "]\n"
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(manifest), 0o600),
		os.WriteFile(filepath.Join(dir, "mayfly"), raw, 0o700))
}

const mayflyWorkflow = `version: 1
id: fragile
name: Tag by a plugin that dies
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "go"}
steps:
  - {id: tag, action: mayfly.tag, with: {lives: LIVES}}
end: true
`

const sturdyWorkflow = `version: 1
id: sturdy
name: Tag by an action that lives
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "go"}
steps:
  - {id: tag, action: contact.tag, with: {add: [sturdy]}}
end: true
`

// TestPluginThatDies has a third party's plugin kill itself inside its calls: a run completes once the
// plugin works, exactly once, or fails after its last attempt; other workflows do not notice.
func TestPluginThatDies(t *testing.T) {
	t.Parallel()
	o, v, call := inProcess(t, shortDir(t), place{})
	must[server.AccountView](t, call, "account.create", server.AccountCreate{Name: "main"})
	folder := t.TempDir()
	if err := makeMayfly(folder, "1.0.0"); err != nil {
		t.Fatal(err)
	}
	must[plugins.Manifest](t, call, "plugin.install", server.PluginInstall{From: folder})
	for _, c := range []struct {
		name   string
		deaths int
		status crm.RunStatus
		reason string
	}{
		{"once", 1, crm.RunCompleted, ""},
		{"always", 1000, crm.RunFailed, "step tag: " + crm.CodeUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			checked := must[server.Checked](t, call, "workflow.apply", server.WorkflowFiles{Files: []server.File{
				{Name: "fragile.yaml", Content: []byte(strings.ReplaceAll(mayflyWorkflow, "LIVES", strconv.Itoa(c.deaths)))},
				{Name: "sturdy.yaml", Content: []byte(sturdyWorkflow)},
			}})
			if checked.Errors > 0 {
				t.Fatalf("%v", checked.Diagnostics)
			}
			con := must[server.ContactView](t, call, "contact.create", server.ContactCreate{Fields: map[string]string{"first_name": "Ada"}})
			must[server.ContactView](t, call, "contact.tag", server.ContactTag{ID: con.ID.String(), Add: []string{"go"}})
			run := lastRun(t, o, v, call, con.ID, "fragile")
			if run.Status != c.status || run.Reason != c.reason || len(run.Steps) != 1 {
				t.Errorf("the run is %s (%s) with the journal %+v, wanted %s (%s)", run.Status, run.Reason, run.Steps, c.status, c.reason)
			}
			tags := must[server.ContactView](t, call, "contact.get", server.ContactID{ID: con.ID.String()}).Tags
			want := "go, sturdy"
			if c.status == crm.RunCompleted {
				want = "go, sturdy, survived " + run.ID.String()
			}
			if got := strings.Join(tags, ", "); got != want {
				t.Errorf("the contact has the tags %s, wanted %s", got, want)
			}
			if run.Steps[0].Attempt < 2 {
				t.Errorf("the plugin did not die once: %+v", run.Steps[0])
			}
			if s := lastRun(t, o, v, call, con.ID, "sturdy").Status; s != crm.RunCompleted {
				t.Errorf("the other workflow's run is %s", s)
			}
		})
	}
}

// lastRun lets the clock run until a contact's run of a workflow is over, and gives it.
func lastRun(t *testing.T, o *opened, v *clock.Virtual, call server.Caller, con crm.ContactID, workflow string) server.RunView {
	t.Helper()
	for range 100 {
		if err := o.app.Engine.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		page := must[server.RunPage](t, call, "run.list", server.RunList{Contact: con.String(), Workflow: workflow})
		if page.Total != 1 {
			t.Fatalf("%s has %d runs of %s", con, page.Total, workflow)
		}
		run := must[server.RunView](t, call, "run.get", server.RunID{ID: page.Runs[0].ID})
		if run.Status.Finished() {
			return run
		}
		if now := crm.At(v.Now()); run.Due > now {
			v.Set(run.Due.Time())
		} else {
			t.Fatalf("nothing moves: the run is %s at %s, due %s", run.Status, run.Step, run.Due)
		}
	}
	t.Fatal("the run does not end")
	return server.RunView{}
}
