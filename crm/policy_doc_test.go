package crm

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// tree is a decoded document.
type tree = map[string]any

// designDocument is the document of DESIGN §4, written out; the permissions that it leaves out are as
// the default has them.
func designDocument() tree {
	return tree{
		"preset": "default",
		"permissions": tree{"delete": []any{"admin"}, "restore": []any{"admin"}, "purge": []any{"admin"},
			"hold": []any{"admin"}, "export": []any{"admin"}},
		"delete": tree{
			"when_enrolled": "remove",
			"associated": tree{"conversations": "cascade", "notes": "cascade", "tasks": "cascade", "appointments": "cascade",
				"manual_actions": "cascade", "opportunities": "cascade_if_sole", "companies": "detach", "lists": "detach", "tags": "keep"},
			"confirm": "type_DELETE", "export_before": "warn",
			"limits": tree{"per_operation": 0, "workflow_per_hour": 5000, "workflow_percent_per_day": 10,
				"percent_from": 100, "on_exceed": "pause"},
			"approval_above": 0,
		},
		"retention": tree{"window": "60d", "after_window": "refuse"},
		"restore": tree{"enabled": true, "associated": "all", "opportunity_primary": "keep", "sole_contact_opportunities": "restore",
			"enrollments": "suspended", "conflict": "block", "confirm": "yes_no", "max_selected": 0, "concurrent_operations": 1},
		"suppression":        tree{"keep_unsubscribed": true},
		"inbound_on_deleted": "queue",
	}
}

// TestDefaultPolicyIsTheDesigns: whatever way one comes to the default, it is the document of the design.
func TestDefaultPolicyIsTheDesigns(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]tree{"as designed": designDocument(), "empty": {}, "none": nil, "by name": {"preset": "default"}} {
		if p, err := ParsePolicy(doc); err != nil || !reflect.DeepEqual(p, DefaultPolicy()) {
			t.Errorf("%s: %v\n%v", name, err, DefaultPolicy().Changes(p))
		}
	}
	// What a document says must count, so that the equalities above compare something: from a preset
	// where much differs, the design's document leads back.
	doc := designDocument()
	for _, preset := range PresetNames() {
		doc["preset"] = preset
		p, err := ParsePolicy(doc)
		if p.Preset != preset {
			t.Errorf("%s became %q: %v", preset, p.Preset, err)
		}
		if p.Preset = "default"; !reflect.DeepEqual(p, DefaultPolicy()) {
			t.Errorf("%s: %v", preset, DefaultPolicy().Changes(p))
		}
	}
}

// legalValues says what each knob may be and may not, apart from the table that is tested: text on
// either side of a bar, separated by semicolons.
func legalValues() map[string]string {
	numbers := func(high string) string { return "0; 1; 7; " + high + " | -1; x; 1.5; 1000000001;" }
	roles := "admin; operator; agent; admin, operator; operator, agent; admin, operator, agent | viewer; system; root; admin, viewer; admin,;"
	records, links := "cascade; block | remove; cascade_if_sole; Cascade;", "detach; keep | cascade; drop;"
	back := "all; none | true; some;"
	percent := strings.ReplaceAll(numbers("100"), "1000000001", "101")
	want := map[string]string{
		"preset":                                 "default; highlevel; highlevel-strict; kyrios; activecampaign; no-loss | hipaa; Default;",
		"permissions.export":                     "admin; viewer; admin, operator, agent, viewer | system; root; admin, root;",
		"permissions.audit":                      "admin; auditor; admin, operator, agent, viewer, auditor | system; root; auditor,;",
		"permissions.audit_values":               "admin; auditor; admin, operator, agent, viewer, auditor | system; root; auditor,;",
		"audit.keep":                             "0; 365d; 1s; 36h0m0s; 3650d | 0d; -1d; 90; 3651d; 1500ms; never;",
		"delete.when_enrolled":                   "remove; block | keep; Block; true;",
		"delete.confirm":                         "none; type_DELETE; type_count | yes_no; delete;",
		"delete.export_before":                   "off; warn; required | on; false;",
		"delete.limits.per_operation":            numbers("1000000000"),
		"delete.limits.workflow_per_hour":        numbers("1000000000"),
		"delete.limits.percent_from":             numbers("1000000000"),
		"delete.limits.on_exceed":                "pause; refuse | off; allow;",
		"delete.limits.workflow_percent_per_day": percent,
		"delete.approval_above":                  numbers("1000000000"),
		"retention.window":                       "60d; 1d; 36h0m0s; 1s; 3650d | 0d; 0; 60; -1d; 3651d; 1500ms; 1 d; d;",
		"retention.after_window":                 "refuse; allow_until_purged | allow;",
		"restore.enabled":                        "true; false | yes; 1; True;",
		"restore.opportunity_primary":            "keep; secondary | primary;",
		"restore.sole_contact_opportunities":     "restore; lost | keep;",
		"restore.enrollments":                    "none; history; suspended | all; running;",
		"restore.conflict":                       "block; skip; drop_identifier | merge;",
		"restore.confirm":                        "none; yes_no | type_DELETE;",
		"restore.max_selected":                   numbers("1000000000"),
		"restore.concurrent_operations":          "1; 2; 100 | 0; 101; -1; x;",
		"suppression.keep_unsubscribed":          "true; false | keep;",
		"inbound_on_deleted":                     "drop; queue; new_contact | keep;",
		"runs.keep_finished":                     "90d; 0; 1s; 36h0m0s; 3650d | 0d; -1d; 90; 3651d; 1500ms; never;",
		"delete.associated.opportunities":        "cascade_if_sole; block | cascade; keep;",
	}
	for _, verb := range []string{"delete", "restore", "purge", "hold", "write", "apply", "resume"} {
		want["permissions."+verb] = roles
	}
	for _, kind := range []string{"conversations", "notes", "tasks", "appointments", "manual_actions"} {
		want["delete.associated."+kind], want["restore.associated."+kind] = records, back
	}
	for _, kind := range []string{"companies", "lists", "tags"} {
		want["delete.associated."+kind], want["restore.associated."+kind] = links, back
	}
	want["restore.associated.opportunities"] = back
	return want
}

// TestEveryKnob: each takes every value that it may have, shows it as it was written, keeps it through
// the document and changes nothing else; each refuses what it may not have, by its path.
func TestEveryKnob(t *testing.T) {
	t.Parallel()
	want := legalValues()
	for _, k := range Knobs() {
		values, known := want[k.Path]
		if !known {
			t.Errorf("%s is not in this test", k.Path)
			continue
		}
		delete(want, k.Path)
		good, bad, _ := strings.Cut(values, " | ")
		for text := range strings.SplitSeq(good, "; ") {
			p, err := DefaultPolicy().With(map[string]any{k.Path: text})
			if err != nil || k.Show(p) != text {
				t.Errorf("%s=%s shows %s: %v", k.Path, text, k.Show(p), err)
				continue
			}
			if again := parsed(t, p); !reflect.DeepEqual(p, again) {
				t.Errorf("%s=%s does not survive its document: %v", k.Path, text, p.Changes(again))
			}
			for _, c := range DefaultPolicy().Changes(p) {
				if c.Path != k.Path && k.Path != "preset" {
					t.Errorf("%s=%s changes %s", k.Path, text, c.Path)
				}
				if c.Is != k.Show(p) && c.Path == k.Path || c.Was == c.Is || !strings.HasSuffix(c.Means, ".") || strings.Contains(c.Means, "%!") {
					t.Errorf("%s=%s: %+v", k.Path, text, c)
				}
			}
		}
		for text := range strings.SplitSeq(bad, "; ") {
			text = strings.TrimSuffix(text, ";")
			if p, err := DefaultPolicy().With(map[string]any{k.Path: text}); CodeOf(err) != CodeInvalid || !strings.HasPrefix(lines(err)[0], k.Path+": must be ") || !strings.Contains(err.Error(), k.Legal) {
				t.Errorf("%s=%q gave %s: %v", k.Path, text, k.Show(p), err)
			}
		}
		for _, v := range []any{nil, []any{}, []any{1}, tree{}, 1.5, struct{}{}} {
			if _, err := ParsePolicy(nest(k.Path, v)); CodeOf(err) != CodeInvalid || !strings.HasPrefix(lines(err)[0], k.Path+": must be ") {
				t.Errorf("%s=%v: %v", k.Path, v, err)
			}
		}
	}
	for path := range want {
		t.Errorf("there is no knob %s", path)
	}
}

// lines gives the mistakes of an error.
func lines(err error) []string {
	var e *Error
	if !errors.As(err, &e) {
		return []string{""}
	}
	return strings.Split(e.Err.Error(), "\n")
}

// nest writes a dotted path as a document does.
func nest(path string, v any) tree {
	head, rest, more := strings.Cut(path, ".")
	if more {
		v = nest(rest, v)
	}
	return tree{head: v}
}

// parsed writes a policy as JSON and reads it again.
func parsed(t interface{ Fatal(...any) }, p Policy) (again Policy) {
	b, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if err != nil {
		t.Fatal(string(b), err)
	}
	return again
}

// TestNumbersOfAnyDecoder: a number is the same whatever type a decoder gave it; a text in a document
// is none.
func TestNumbersOfAnyDecoder(t *testing.T) {
	t.Parallel()
	for _, v := range []any{250, int64(250), uint64(250), 250.0, json.Number("250"), json.Number("2.5e2")} {
		if p, err := ParsePolicy(nest("delete.limits.per_operation", v)); err != nil || p.Delete.Limits.PerOperation != 250 {
			t.Errorf("%T: %d, %v", v, p.Delete.Limits.PerOperation, err)
		}
	}
	for _, v := range []any{"250", "", true, 250.5, json.Number("250.5"), json.Number("1e400"), 1e300, uint64(1 << 63), int64(-1), json.Number("")} {
		if _, err := ParsePolicy(nest("delete.limits.per_operation", v)); err == nil {
			t.Errorf("%T %v was taken", v, v)
		}
	}
	if _, err := ParsePolicy(nest("restore.enabled", "true")); err == nil {
		t.Error("a text was taken for a truth value")
	}
	if _, err := ParsePolicy(nest("permissions.delete", "admin")); err == nil {
		t.Error("a text was taken for a list")
	}
}

// TestPolicyMistakes: all of them are told at once, with what was probably meant, and without what may
// be personal.
func TestPolicyMistakes(t *testing.T) {
	t.Parallel()
	_, err := ParsePolicy(tree{
		"delte": 1, "jane.doe@example.com": 1, "confirm": "none", "delete.confirm": "none",
		"delete":      tree{"confirm": "type_delete", "when_enroled": "x", "associated": "none"},
		"retention":   tree{"window": "jane.doe@example.com"},
		"restore":     tree{"associated": "both", "conflict": "+1 555 0100", "Enabled": true},
		"suppression": nil,
	})
	want := []string{
		`confirm: there is no such key; did you mean delete.confirm?`,
		`delete.associated: must have keys of its own: conversations, notes, tasks, appointments, manual_actions, opportunities, companies, lists, tags`,
		`delete.confirm: must be none | type_DELETE | type_count, not type_delete; did you mean type_DELETE?`,
		`delete.when_enroled: there is no such key; did you mean delete.when_enrolled?`,
		`delte: there is no such key; did you mean delete?`,
		`restore.Enabled: there is no such key; did you mean restore.enabled?`,
		`restore.associated: must be all | none | a key for each kind, not both`,
		`restore.conflict: must be block | skip | drop_identifier`,
		`retention.window: must be a duration in whole seconds, up to 3650d: 60d`,
		`suppression: must have keys of its own: keep_unsubscribed`,
		`…: there is no such key; the keys here are preset, permissions, delete, retention, restore, suppression, inbound_on_deleted, runs, audit`,
		`…: there is no such key; the keys here are preset, permissions, delete, retention, restore, suppression, inbound_on_deleted, runs, audit`,
	}
	var e *Error
	if got := lines(err); !slices.Equal(got, want) || !errors.As(err, &e) || e.Code != CodeInvalid || e.Hint == "" {
		t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	before := DefaultPolicy()
	got, err := before.With(map[string]any{"delete": "x", "delete.confrm": "none", "on_exceed": "pause", "a b": 1, "zzzzzzzz": 1,
		"permissions.delete": "viewer", "restore.associated": "some", "retention.window": "1d"})
	want = []string{
		`delete.confrm: there is no such key; did you mean delete.confirm?`,
		`delete: has keys of its own: when_enrolled, associated, confirm, export_before, limits, approval_above`,
		`on_exceed: there is no such key; did you mean delete.limits.on_exceed?`,
		`permissions.delete: must be a list of one or more of admin, operator, agent`,
		`restore.associated: must be all | none | a key for each kind, not some`,
		`zzzzzzzz: there is no such key`,
		`…: there is no such key; write its path, as in delete.confirm=none`,
	}
	if !slices.Equal(lines(err), want) || !reflect.DeepEqual(before, DefaultPolicy()) || !reflect.DeepEqual(got, Policy{}) {
		t.Errorf("%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

// drawPolicy draws a legal policy: a preset, and any knob at any value.
func drawPolicy(t *rapid.T) Policy {
	p, _ := Preset(rapid.SampledFrom(PresetNames()).Draw(t, "preset"))
	changes := map[string]any{}
	want := legalValues()
	for _, k := range Knobs()[1:] {
		if rapid.Bool().Draw(t, k.Path) {
			good, _, _ := strings.Cut(want[k.Path], " | ")
			changes[k.Path] = rapid.SampledFrom(strings.Split(good, "; ")).Draw(t, "value")
		}
	}
	if back := rapid.SampledFrom([]string{"", "all", "none"}).Draw(t, "associated"); back != "" {
		maps.DeleteFunc(changes, func(path string, _ any) bool { return strings.HasPrefix(path, "restore.associated.") })
		changes["restore.associated"] = back
	}
	p, err := p.With(changes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPolicyRoundTrip: a policy is its document, and the changes from one to another lead from one to
// the other.
func TestPolicyRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, q := drawPolicy(t), drawPolicy(t)
		if again := parsed(t, p); !reflect.DeepEqual(p, again) {
			t.Fatalf("%v", p.Changes(again))
		}
		if len(p.Changes(p.Clone())) > 0 {
			t.Fatal("a policy differs from itself")
		}
		changes := map[string]any{}
		for _, c := range p.Changes(q) {
			changes[c.Path] = c.Is
		}
		// A change of the preset starts anew, so what is the same in both has to be said again.
		if _, preset := changes["preset"]; preset {
			for _, k := range Knobs() {
				changes[k.Path] = k.Show(q)
			}
		}
		if next, err := p.With(changes); err != nil || !reflect.DeepEqual(next, q) {
			t.Fatalf("%v: %v", next.Changes(q), err)
		}
	})
}

// TestPolicyJSON: the order of the document, the one word for all kinds, and what is no document.
func TestPolicyJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for _, key := range []string{`{"preset":"default","permissions":{"delete":["admin"],`, `},"delete":{"when_enrolled":"remove","associated":{"conversations":`,
		`"tags":"keep"},"confirm":`, `"limits":{"per_operation":0,`, `"on_exceed":"pause"},"approval_above":0},"retention":{"window":"60d",`,
		`"restore":{"enabled":true,"associated":"all","opportunity_primary":"keep",`, `"suppression":{"keep_unsubscribed":true},"inbound_on_deleted":"queue","runs":{"keep_finished":"90d"},"audit":{"keep":"0"}}`} {
		next := strings.Index(string(b), key)
		if next <= at {
			t.Errorf("%s is at %d, after %d", key, next, at)
		}
		at = next
	}
	p, err := DefaultPolicy().With(map[string]any{"restore.associated.notes": "none"})
	if b, _ := json.Marshal(p); err != nil || !strings.Contains(string(b), `"associated":{"conversations":"all","notes":"none",`) {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []string{`[]`, `"default"`, `{"preset":1}`, `{"x":1}`} {
		p := DefaultPolicy()
		if err := json.Unmarshal([]byte(bad), &p); CodeOf(err) != CodeInvalid || !reflect.DeepEqual(p, DefaultPolicy()) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := json.Unmarshal([]byte("null"), &p); err != nil || p.Restore.Associated[Note] {
		t.Errorf("null changed it: %v", err)
	}
}

// FuzzPolicyJSON: whatever is read as a policy is legal, and is its document.
func FuzzPolicyJSON(f *testing.F) {
	for _, name := range PresetNames() {
		f.Add(fmt.Appendf(nil, `{"preset":%q,"restore":{"associated":{"notes":"none"}},"delete":{"limits":{"per_operation":1e2}}}`, name))
	}
	f.Add([]byte(`{"permissions":{"export":["viewer","admin","viewer"]},"retention":{"window":"1w2d"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Policy
		if json.Unmarshal(b, &p) != nil || p.Preset == "" {
			return
		}
		if again := parsed(t, p); !reflect.DeepEqual(p, again) {
			t.Errorf("%v", p.Changes(again))
		}
	})
}
