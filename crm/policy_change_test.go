package crm

import (
	"reflect"
	"testing"
)

// TestWith: several changes at once, the preset first whatever the order, one word for all kinds before
// the kinds that are named, spaces and repetitions forgiven; the policy itself stays as it is.
func TestWith(t *testing.T) {
	t.Parallel()
	was := DefaultPolicy()
	p, err := was.With(map[string]any{
		"restore.associated": " none ", "restore.associated.notes": "all", "preset": "no-loss", "retention.window": "1d12h",
		"delete.approval_above": " 5000 ", "restore.enabled": "false", "permissions.delete": " agent,admin ,agent",
		"permissions.export": []string{"viewer"}, "restore.max_selected": 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := Preset("no-loss")
	want.Restore.Associated = map[ItemKind]bool{Conversation: false, Note: true, Task: false, Appointment: false, ManualAction: false,
		Opportunity: false, Company: false, List: false, TagItem: false}
	want.Retention.Window = 36 * Hour
	want.Delete.ApprovalAbove, want.Restore.MaxSelected, want.Restore.Enabled = 5000, 3, false
	want.Permissions[VerbDelete], want.Permissions[VerbExport] = []Role{Admin, Agent}, []Role{Viewer}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("%v", want.Changes(p))
	}
	if !reflect.DeepEqual(was, DefaultPolicy()) {
		t.Error("the policy itself changed")
	}
	if back, err := p.With(map[string]any{"preset": "default"}); err != nil || !reflect.DeepEqual(back, DefaultPolicy()) {
		t.Errorf("a preset does not start anew: %v, %v", DefaultPolicy().Changes(back), err)
	}
	if p, err := (Policy{}).With(map[string]any{"permissions.hold": "agent", "delete.associated.notes": "block", "restore.associated.tags": "all"}); err != nil ||
		!p.Allows(Agent, VerbHold) || p.Delete.Associated[Note] != Block || !p.Restore.Associated[TagItem] {
		t.Errorf("from nothing: %+v, %v", p, err)
	}
}

// TestClone: no map or slice is shared.
func TestClone(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	c := p.Clone()
	c.Permissions[VerbWrite][0] = Viewer
	c.Permissions[VerbHold] = nil
	c.Delete.Associated[Note] = Block
	c.Restore.Associated[Note] = false
	if !reflect.DeepEqual(p, DefaultPolicy()) {
		t.Errorf("%v", DefaultPolicy().Changes(p))
	}
	if (Policy{}).Clone().Permissions != nil {
		t.Error("a policy of nothing became one of something")
	}
}

// TestChanges: what people are told of a change, where it matters to what it applies.
func TestChanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ path, is, means string }{
		{"retention.window", "30d", "A deletion can be undone for 30d. This applies to deletes from now on; deletions already made keep the deadline that was stamped on them, which is never shortened."},
		{"restore.associated.notes", "none", "A restore does not bring notes back. This applies to restores from now on, also of contacts deleted before."},
		{"restore.enabled", "false", "No contact can be restored. This applies to restores from now on, also of contacts deleted before."},
		{"restore.sole_contact_opportunities", "lost", "An opportunity whose last live contact is deleted is lost for good. This is decided at a delete, so it applies to deletes from now on; for contacts deleted before, it stays as it was decided then."},
		{"permissions.delete", "admin, agent", "Only admin, agent may delete contacts. This applies from the next request on; workflows keep the grants that they have."},
		{"delete.limits.workflow_per_hour", "0", "No limit holds for what one workflow deletes in an hour. This applies to deletes from now on; contacts that are deleted already stay as they are."},
		{"delete.limits.workflow_percent_per_day", "25", "One workflow deletes at most 25 percent of the live contacts in a day. This applies to deletes from now on; contacts that are deleted already stay as they are."},
		{"delete.limits.percent_from", "0", "The percentage counts once a workflow has deleted 0 contacts in a day. This applies to deletes from now on; contacts that are deleted already stay as they are."},
	} {
		p, err := DefaultPolicy().With(map[string]any{tc.path: tc.is})
		got := DefaultPolicy().Changes(p)
		if err != nil || len(got) != 1 || got[0].Means != tc.means || got[0].Path != tc.path || got[0].Is != tc.is {
			t.Errorf("%s=%s: %+v, %v", tc.path, tc.is, got, err)
		}
	}
	later := DefaultPolicy()
	later.Restore.Conflict = "merge" // by a later version
	if got := DefaultPolicy().Changes(later); len(got) != 1 || got[0].Means != sinceRestore {
		t.Errorf("%+v", got)
	}
}
