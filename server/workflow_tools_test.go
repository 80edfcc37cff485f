package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/workflow"
)

// diffSource has every sort of trigger that counts contacts, and waits only: the rig has no actions.
const diffSource = `version: 1
id: lead
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Lead"}
  - {id: nightly, cron: "0 2 * * *", over: contacts, where: '"Lead" in contact.tags'}
  - {id: gone, cron: "0 3 * * *", over: contacts.deleted, where: 'tombstone.reason == "moved"'}
filter: not ("VIP" in contact.tags)
steps: [{id: rest, wait: 14d}]
end: true
`

func file(src string) File { return File{Name: "lead.yaml", Content: []byte(src)} }

func (r *rig) diff(src string) WorkflowChange {
	r.t.Helper()
	d := ask[Diffed](r, "workflow.diff", WorkflowDiff{Files: []File{file(src)}})
	if len(d.Workflows) != 1 || d.Errors > 0 || (d.Changes == 0) != (d.Workflows[0].Status == DiffUnchanged) {
		r.t.Fatalf("the difference is %+v", d)
	}
	return d.Workflows[0]
}

func TestDiffCountsWhoMatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	person := func(name string, tags ...string) crm.ContactID {
		return ask[ContactView](r, "contact.create", ContactCreate{Email: name + "@example.com", Tags: tags}).ID
	}
	person("plain")
	person("lead", "Lead")
	person("vip", "lead", "VIP")
	archived := person("archived", "Lead")
	ask[ContactView](r, "contact.archive", ContactID{ID: archived.String()})
	restored := person("restored", "Lead")
	r.delete(restored, "moved")
	ask[any](r, "contact.restore", ContactRestore{ID: restored.String(), Confirm: "yes"})
	r.delete(person("moved"), "moved")
	r.delete(person("moved-vip", "VIP"), "moved")
	r.delete(person("other"), "other")
	got := fmt.Sprint(r.diff(diffSource).Matches)
	// by the event: plain, lead, restored; nightly: lead alone, for a restored one starts nothing; gone: moved
	if want := "[{tagged event 3} {nightly schedule 1} {gone schedule 1}]"; got != want {
		t.Errorf("%s, wanted %s", got, want)
	}
	if d := ask[Diffed](r, "workflow.diff", WorkflowDiff{Files: []File{file(diffSource)}, NoCount: true}); d.Workflows[0].Matches != nil {
		t.Errorf("counted in spite of everything: %v", d.Workflows[0].Matches)
	}
}

// What is counted is spread over several pages.
func TestDiffCountsAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	var csv strings.Builder
	csv.WriteString("Email,Tags\n")
	for i := range countedAtOnce + 50 {
		fmt.Fprintf(&csv, "c%d@example.com,Lead\n", i)
	}
	r.must(r.try(crm.Admin, "contact.import", ImportOptions{}, nil, strings.NewReader(csv.String())))
	if got := r.diff(diffSource).Matches; got[0].Contacts != countedAtOnce+50 || got[1].Contacts != countedAtOnce+50 || got[2].Contacts != 0 {
		t.Errorf("counted %v", got)
	}
}

func TestDiffFollowsAWorkflow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	if w := r.diff(diffSource); w.Status != DiffNew || w.From != "" || len(w.Steps) != 1 || w.Steps[0].What != workflow.Added {
		t.Errorf("before it is applied: %+v", w)
	}
	apply := func(src string) { ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{file(src)}}) }
	start := func(name string) {
		id := r.contact(name + "@example.com").ID
		ask[ContactView](r, "contact.tag", ContactTag{ID: id.String(), Add: []string{"Lead"}})
		r.must(r.app.Engine.Settle(t.Context()))
	}
	apply(diffSource)
	start("one")
	start("two")
	first := r.diff(diffSource)
	if first.Status != DiffUnchanged || !first.Empty() || fmt.Sprint(first.Runs) != fmt.Sprintf("[{%s 2}]", first.To) {
		t.Errorf("applied: %+v", first)
	}
	next := strings.Replace(diffSource, "14d", "30d", 1)
	w := r.diff(next)
	if w.Status != DiffChanged || w.From != first.To || len(w.Steps) != 1 || w.Steps[0].Keys[0] != (workflow.Edit{Key: "wait", Old: "14d", New: "30d"}) {
		t.Errorf("changed: %+v", w)
	}
	apply(next)
	start("three")
	ask[None](r, "workflow.pause", WorkflowID{ID: "lead"})
	if w = r.diff(next); !w.Paused || len(w.Runs) != 2 || w.Runs[0].Runs+w.Runs[1].Runs != 3 {
		t.Errorf("paused, with runs on two revisions: %+v", w)
	}
	ask[None](r, "workflow.delete", WorkflowID{ID: "lead", Confirm: "yes"})
	if w = r.diff(next); w.Status != DiffDeleted || w.Paused || len(w.Steps) != 1 {
		t.Errorf("deleted: %+v", w)
	}
	r.refused("workflow.graph", WorkflowID{ID: "lead"}, crm.CodeNotFound)
	r.refused("workflow.pause", WorkflowID{ID: "lead"}, crm.CodeNotFound)
}

// A file that is wrong changes nothing, and says what is wrong with it.
func TestDiffOfAWrongFile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	d := ask[Diffed](r, "workflow.diff", WorkflowDiff{Files: []File{file(strings.Replace(diffSource, "wait", "wiat", 1))}})
	if d.Errors != 1 || len(d.Workflows) != 0 || d.Diagnostics[0].Code != "E201" {
		t.Errorf("%+v", d)
	}
}

func TestListSaysTheState(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{file(diffSource)}})
	state := func() string { return ask[WorkflowPage](r, "workflow.list", None{}).Workflows[0].State }
	for _, step := range []struct{ verb, want string }{{"", "active"}, {"workflow.pause", "paused"}, {"workflow.resume", "active"}, {"workflow.delete", "deleted"}} {
		if step.verb != "" {
			ask[None](r, step.verb, WorkflowID{ID: "lead", Confirm: "yes"})
		}
		if got := state(); got != step.want {
			t.Errorf("after %s it is %s", step.verb, got)
		}
	}
}
