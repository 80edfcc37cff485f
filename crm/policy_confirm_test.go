package crm

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files and the tables in docs/policy.md")

// TestConfirmGolden holds the words of the confirmations: every preset, HIPAA or not, one contact and
// several. A change of them is a change of what people agreed to.
func TestConfirmGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, name := range PresetNames() {
		p, _ := Preset(name)
		for _, hipaa := range []bool{false, true} {
			for _, n := range []int{1, 25} {
				a := &Account{Policy: p, HIPAA: hipaa}
				text, word := a.AskDelete(n)
				fmt.Fprintf(&b, "## %s, HIPAA %v: delete %d [%s]\n%s\n\n", name, hipaa, n, word, text)
				if lines := strings.Count(text, "\n") + 1; lines < 2 || lines > 5 {
					t.Errorf("%s: %d lines", name, lines)
				}
				text, word = a.AskRestore(n)
				fmt.Fprintf(&b, "## %s, HIPAA %v: restore %d [%s]\n%s\n\n", name, hipaa, n, word, text)
			}
		}
	}
	file := filepath.Join("testdata", "confirm.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != b.String() {
		t.Errorf("the words are not those of %s (%v); with -update they become it:\n%s", file, err, b.String())
	}
}

// TestConfirmSays: what a knob changes is said, and only then.
func TestConfirmSays(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		change       string
		says, before string // of a delete of 25 contacts: what is there now, and was there by default
	}{
		{"delete.when_enrolled=block", "leave every list at once; a contact in a workflow or campaign is not deleted", "leave every workflow, campaign and list"},
		{"delete.associated.notes=block", "A contact with notes is not deleted.", "Conversations, notes, tasks"},
		{"delete.associated.opportunities=block", "A contact with opportunities is not deleted.", "opportunities without another"},
		{"delete.export_before=off", "", "Export them first"},
		{"delete.export_before=required", "They must be exported first.", "Export them first"},
		{"delete.approval_above=24", "A second admin has to approve it.", ""},
		{"retention.window=1d", "can restore them for 1 day; after that they are gone for good.", "for 60 days"},
		{"retention.window=36h", "can restore them for 36h0m0s; after that", "for 60 days"},
		{"retention.after_window=allow_until_purged", "for 60 days, and from then on until a sweep has purged them", "; after that"},
		{"permissions.restore=operator, agent", "An operator or an agent can restore them", "An admin can restore them"},
		{"restore.enabled=false", "This cannot be undone while the policy has restores switched off.", "can restore them"},
		{"restore.associated.notes=none", "A restore does not bring back notes.", "A restore brings everything back"},
		{"restore.sole_contact_opportunities=lost", "A restore does not bring back opportunities without another live contact.", "A restore brings everything back"},
		{"restore.opportunity_primary=secondary", "Shared opportunities come back without them as primary contact.", ""},
		{"restore.enrollments=none", "A restore does not bring back places in workflows and campaigns.", "come back suspended"},
		{"restore.enrollments=history", "Workflows and campaigns come back as history only.", "come back suspended"},
	} {
		path, v, _ := strings.Cut(tc.change, "=")
		p, err := DefaultPolicy().With(map[string]any{path: v})
		was, _ := (&Account{Policy: DefaultPolicy()}).AskDelete(25)
		is, _ := (&Account{Policy: p}).AskDelete(25)
		if err != nil || !strings.Contains(is, tc.says) || tc.says != "" && strings.Contains(was, tc.says) ||
			!strings.Contains(was, tc.before) || tc.before != "" && strings.Contains(is, tc.before) {
			t.Errorf("%s (%v):\n%s\nby default:\n%s", tc.change, err, is, was)
		}
	}
	p, _ := DefaultPolicy().With(map[string]any{"restore.associated": "none", "delete.associated.notes": "block", "delete.approval_above": "25"})
	text, _ := (&Account{Policy: p}).AskDelete(25)
	if strings.Contains(text, "bring back conversations, notes") || strings.Contains(text, "lists, tags") || strings.Contains(text, "second admin") {
		t.Errorf("what blocks or is kept is said to be lost, or too little to be approved:\n%s", text)
	}
	if text, _ := (&Account{Policy: p}).AskRestore(1); !strings.HasPrefix(text, "This restores 1 contact with its tags.\nConversations, tasks,") {
		t.Errorf("%s", text)
	}
}

// TestConfirmWord: the word, and when anything can be restored at all.
func TestConfirmWord(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		del, restore  Rule
		enabled       bool
		hipaa         bool
		word, restord string
		can           bool
	}{
		{ConfirmDelete, ConfirmYesNo, true, false, "DELETE", "yes", true},
		{ConfirmCount, ConfirmNone, true, false, "25", "", true},
		{ConfirmNone, ConfirmYesNo, false, false, "", "", false},
		{ConfirmDelete, ConfirmYesNo, true, true, "DELETE", "", false},
		{ConfirmDelete, ConfirmYesNo, false, true, "DELETE", "", false},
	} {
		a := &Account{Policy: DefaultPolicy(), HIPAA: tc.hipaa}
		a.Policy.Delete.Confirm, a.Policy.Restore.Confirm, a.Policy.Restore.Enabled = tc.del, tc.restore, tc.enabled
		_, del := a.AskDelete(25)
		text, restore := a.AskRestore(25)
		if del != tc.word || restore != tc.restord || a.RestoreEnabled() != tc.can || strings.HasPrefix(text, "Nothing can be restored") == tc.can {
			t.Errorf("%+v: %q, %q, %v:\n%s", tc, del, restore, a.RestoreEnabled(), text)
		}
	}
}
