package crm

import (
	"maps"
	"slices"
)

// A preset is a policy that a document may start from: what differs from the default.
type preset struct {
	name, about string
	differs     map[string]string // by path, as Policy.With reads it
}

var presets = []preset{
	{"default", "HighLevel's restore page (S1) made exact", nil},
	{"highlevel", "the default, under the name of its source (S1)", nil},
	{"highlevel-strict", "HighLevel's delete page taken by its word (S2.8, S2.23): associated data and enrollments are lost", map[string]string{
		"delete.when_enrolled": "block",
		"restore.associated":   "none",
		"restore.enrollments":  "none",
	}},
	{"kyrios", "Kyrios (S5.4): a contact can be restored until it is purged", map[string]string{
		"retention.after_window": "allow_until_purged",
	}},
	{"activecampaign", "ActiveCampaign (S3): 30 days, more people may delete, less comes back", map[string]string{
		"permissions.delete":                 "admin, operator, agent",
		"retention.window":                   "30d",
		"restore.opportunity_primary":        "secondary",
		"restore.sole_contact_opportunities": "lost",
		"restore.enrollments":                "none",
		"restore.conflict":                   "skip",
		"restore.max_selected":               "100",
	}},
	{"no-loss", "what the consultants (S4) ask for: export first, approval, a longer window", map[string]string{
		"delete.when_enrolled":  "block",
		"delete.export_before":  "required",
		"delete.approval_above": "100",
		"retention.window":      "90d",
	}},
}

// PresetNames gives the names of the presets, the default first.
func PresetNames() []string {
	names := make([]string, len(presets))
	for i := range presets {
		names[i] = presets[i].name
	}
	return names
}

// Preset gives the policy of that name; false if there is none.
func Preset(name string) (Policy, bool) {
	i := slices.IndexFunc(presets, func(s preset) bool { return s.name == name })
	if i < 0 {
		return Policy{}, false
	}
	p := DefaultPolicy()
	p.Preset = name
	flat := map[string]any{}
	for path, v := range presets[i].differs {
		flat[path] = v
	}
	return p, len(p.change(flat)) == 0
}

// Clone copies the policy so that a change to the copy leaves the original alone.
func (p Policy) Clone() Policy {
	p.Permissions = maps.Clone(p.Permissions)
	for v := range p.Permissions {
		p.Permissions[v] = slices.Clone(p.Permissions[v])
	}
	p.Delete.Associated = maps.Clone(p.Delete.Associated)
	p.Restore.Associated = maps.Clone(p.Restore.Associated)
	return p
}
