package crm

import (
	"maps"
	"reflect"
	"slices"
	"testing"
)

// TestPresets: each differs from the default exactly as the table of the design says.
func TestPresets(t *testing.T) {
	t.Parallel()
	want := map[string]map[string]string{
		"default":   {},
		"highlevel": {},
		"highlevel-strict": {
			"restore.associated.conversations": "none", "restore.associated.notes": "none", "restore.associated.tasks": "none",
			"restore.associated.appointments": "none", "restore.associated.manual_actions": "none", "restore.associated.opportunities": "none",
			"restore.associated.companies": "none", "restore.associated.lists": "none", "restore.associated.tags": "none",
			"delete.when_enrolled": "block", "restore.enrollments": "none",
		},
		"kyrios": {"retention.after_window": "allow_until_purged"},
		"activecampaign": {
			"retention.window": "30d", "permissions.delete": "admin, operator, agent", "restore.sole_contact_opportunities": "lost",
			"restore.opportunity_primary": "secondary", "restore.enrollments": "none", "restore.max_selected": "100", "restore.conflict": "skip",
		},
		"no-loss": {"retention.window": "90d", "delete.when_enrolled": "block", "delete.export_before": "required", "delete.approval_above": "100"},
	}
	if names := slices.Sorted(maps.Keys(want)); !slices.Equal(slices.Sorted(slices.Values(PresetNames())), names) || PresetNames()[0] != "default" {
		t.Errorf("the presets are %v", PresetNames())
	}
	for name, differs := range want {
		p, ok := Preset(name)
		got := map[string]string{}
		for _, c := range DefaultPolicy().Changes(p) {
			if got[c.Path] = c.Is; c.Path == "preset" {
				delete(got, c.Path)
			}
		}
		if !ok || p.Preset != name || !maps.Equal(got, differs) {
			t.Errorf("%s (%q, %v) differs in %v, not in %v", name, p.Preset, ok, got, differs)
		}
		if parsed, err := ParsePolicy(tree{"preset": name}); err != nil || !reflect.DeepEqual(parsed, p) {
			t.Errorf("%s as a document: %v, %v", name, p.Changes(parsed), err)
		}
		if roles := p.Permissions[VerbRestore]; !slices.Equal(roles, []Role{Admin}) { // S3.1: any admin restores
			t.Errorf("%s: %v may restore", name, roles)
		}
	}
	if _, ok := Preset("hipaa"); ok {
		t.Error("HIPAA is a flag of the account, not a preset")
	}
}
