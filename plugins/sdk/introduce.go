package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// introduce says what the plugin is, and what to do with it, to whoever started it by hand.
func introduce(w io.Writer, name, version, binary string, all map[string]*served) {
	fmt.Fprintf(w, "%s %s is a plugin of Reprieve, protocol %d. The host starts it; started by hand it only says this.\n", name, version, actionv1.ProtocolVersion)
	for _, n := range slices.Sorted(maps.Keys(all)) {
		introduceAction(w, all[n].spec)
	}
	binary = filepath.Base(binary)
	fmt.Fprintf(w, "\nTo use it, put it into a folder with this plugin.yaml:\n\n"+
		"  name: %s\n  version: %s\n  protocol: %d\n  command: ./%s\n\n"+
		"and run:\n\n  reprieve plugin test FOLDER\n  reprieve plugin install FOLDER\n", name, version, actionv1.ProtocolVersion, binary)
}

func introduceAction(w io.Writer, a *actionv1.ActionSpec) {
	fmt.Fprintf(w, "\n%s  %s\n", a.GetAction(), a.GetSummary())
	timeout := time.Duration(a.GetTimeoutNanos())
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	outside := "not touched"
	if a.GetExternal() {
		outside = "tried at most once"
		if a.GetIdempotent() {
			outside = "tried again under the same key until it is known to have happened"
		}
	}
	lines := [][2]string{{"reads", words(a.GetReads())}, {"effects", words(a.GetEffects())}, {"outside", outside},
		{"network", words(a.GetNetwork())}, {"timeout", timeout.String()}}
	params, output := tableOf("PARAMETER", a.GetParamsSchemaJson()), tableOf("OUTPUT", a.GetOutputSchemaJson())
	if params == "" {
		lines = append(lines, [2]string{"params", "none"})
	}
	for _, l := range lines {
		fmt.Fprintf(w, "  %-8s %s\n", l[0], l[1])
	}
	for _, t := range []string{params, output} {
		if t != "" {
			fmt.Fprint(w, "\n", t)
		}
	}
}

func words(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// tableOf shows the properties of a schema, the required ones first; "" if there are none.
func tableOf(head string, schema []byte) string {
	var s struct {
		Properties map[string]struct {
			Type        any
			Description string
			Enum        []any
			WriteOnly   bool
		}
		Required []string
	}
	if json.Unmarshal(schema, &s) != nil || len(s.Properties) == 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(s.Properties))
	slices.SortStableFunc(names, func(x, y string) int {
		rank := map[bool]int{true: 0, false: 1}
		return rank[slices.Contains(s.Required, x)] - rank[slices.Contains(s.Required, y)]
	})
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  %s\tTYPE\tREQUIRED\tWHAT\n", head)
	for _, name := range names {
		p := s.Properties[name]
		kind := typeWords(p.Type)
		if p.WriteOnly {
			kind = "secret"
		}
		what := p.Description
		if len(p.Enum) > 0 {
			what = strings.TrimPrefix(what+"; one of "+strings.Trim(fmt.Sprint(p.Enum), "[]"), "; ")
		}
		required := "no"
		if slices.Contains(s.Required, name) {
			required = "yes"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", name, kind, required, what)
	}
	_ = w.Flush()
	return b.String()
}

func typeWords(t any) string {
	list, ok := t.([]any)
	if !ok {
		if t == nil {
			return "any"
		}
		return fmt.Sprint(t)
	}
	var all []string
	for _, w := range list {
		if w != "null" {
			all = append(all, fmt.Sprint(w))
		}
	}
	return strings.Join(all, " or ")
}
