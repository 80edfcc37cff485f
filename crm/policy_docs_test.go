package crm

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPolicyDocs holds the tables of docs/policy.md against the knobs and the presets.
func TestPolicyDocs(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "docs", "policy.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name, table := range map[string]string{
		"document": "```yaml\n" + DefaultPolicy().YAML() + "```\n", "knobs": knobTable(), "presets": presetTable(),
	} {
		from, to := "<!-- "+name+": written by the test -->\n", "<!-- /"+name+" -->"
		head, rest, ok := strings.Cut(page, from)
		old, tail, closed := strings.Cut(rest, to)
		if !ok || !closed {
			t.Fatalf("%s has no place for the %s", file, name)
		}
		page = head + from + table + to + tail
		if old != table && !*update {
			t.Errorf("the %s in %s are not those of the code; go test ./crm -run PolicyDocs -update writes them", name, file)
		}
	}
	if *update && page != string(b) {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func knobTable() string {
	var b strings.Builder
	b.WriteString("| key | may be | default | what it does |\n|---|---|---|---|\n")
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for _, k := range Knobs() {
		help := k.Help
		for _, v := range k.values {
			help += fmt.Sprintf("<br>`%s`: %s.", v.name, v.says)
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", k.Path, cell(k.Legal), k.Show(DefaultPolicy()), cell(help))
	}
	return b.String()
}

func presetTable() string {
	var b strings.Builder
	b.WriteString("| preset | is | differs from the default in |\n|---|---|---|\n")
	for _, s := range presets {
		differs := []string{"nothing"}
		if len(s.differs) > 0 {
			differs = nil
		}
		for _, path := range slices.Sorted(maps.Keys(s.differs)) {
			differs = append(differs, fmt.Sprintf("`%s: %s`", path, s.differs[path]))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.name, s.about, strings.Join(differs, "<br>"))
	}
	return b.String()
}
