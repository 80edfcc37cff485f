package main

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

const diskWorkflow = `version: 1
id: waits
name: Wait, then tag
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "go"}
steps:
  - {id: pause, wait: 1h}
  - {id: tag, action: contact.tag, with: {add: ["did ${ run.id }"]}}
end: true
`

// TestDiskFull fills the disk up in the middle of a wait: what is new is refused, reads go on, and once
// there is room the work goes on where it was.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(1 << 40)
	o, v, call := inProcess(t, shortDir(t), place{free: func(string) (uint64, error) { return free.Load(), nil }})
	must[server.AccountView](t, call, "account.create", server.AccountCreate{Name: "main"})
	must[server.Checked](t, call, "workflow.apply", server.WorkflowFiles{Files: []server.File{{Name: "waits.yaml", Content: []byte(diskWorkflow)}}})
	con := must[server.ContactView](t, call, "contact.create", server.ContactCreate{Fields: map[string]string{"first_name": "Ada"}})
	must[server.ContactView](t, call, "contact.tag", server.ContactTag{ID: con.ID.String(), Add: []string{"go"}})
	if err := o.app.Engine.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}

	free.Store(1 << 20)
	refused := func(verb string, q any) {
		t.Helper()
		if err := call.Call(t.Context(), verb, q, nil, nil); crm.CodeOf(err) != crm.CodeDiskFull {
			t.Errorf("%s on a full disk: %v", verb, err)
		}
	}
	refused("contact.create", server.ContactCreate{Email: "ada@example.com"})
	refused("contact.delete", server.ContactDelete{ID: con.ID.String(), Confirm: "DELETE"})
	v.Advance(crm.Hour.Time().Sub(crm.Nanos(0).Time()))
	if err := o.app.Engine.Settle(t.Context()); crm.CodeOf(err) != crm.CodeDiskFull {
		t.Errorf("the engine on a full disk: %v", err)
	}
	if got := must[server.ContactView](t, call, "contact.get", server.ContactID{ID: con.ID.String()}); len(got.Tags) != 1 || got.State != crm.Live {
		t.Errorf("on a full disk the contact reads as %+v", got)
	}

	free.Store(1 << 40)
	v.Advance(10 * time.Second) // what could not be committed rests a while
	run := lastRun(t, o, v, call, con.ID, "waits")
	if run.Status != crm.RunCompleted {
		t.Errorf("with room again the run is %s: %s", run.Status, run.Reason)
	}
	if got := must[server.ContactView](t, call, "contact.get", server.ContactID{ID: con.ID.String()}); len(got.Tags) != 2 || got.Tags[1] != "did "+run.ID.String() {
		t.Errorf("with room again the contact reads as %+v", got)
	}
	must[server.ContactView](t, call, "contact.create", server.ContactCreate{Email: "ada@example.com"})
	must[server.AuditView](t, call, "audit.verify", server.None{})
}
