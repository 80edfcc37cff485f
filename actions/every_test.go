package actions

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
	"github.com/reprieve-run/reprieve/plugins/sdk"
)

var update = flag.Bool("update", false, "write docs/actions.md")

// good is parameters with which each action has something to do. An action that is left out fails TestEvery.
var good = map[string]string{
	"campaign.add": `{"campaign":"c"}`, "campaign.remove": `{"campaign":"c"}`, "contact.archive": `{}`, "contact.delete": `{}`,
	"contact.purge": `{}`, "contact.restore": `{}`, "contact.set": `{"fields":{"a":"x"}}`, "contact.tag": `{"add":["x"]}`, "contact.unarchive": `{}`,
	"csv.export": `{"file":"x.csv","columns":["id"]}`, "http.request": `{"method":"GET","url":"https://example.com/"}`, "list.add": `{"list":"l"}`, "list.remove": `{"list":"l"}`, "log.write": `{"text":"hello"}`, "note.create": `{"body":"b"}`,
	"task.create": `{"title":"t"}`, "workflow.add": `{"workflow":"w"}`, "workflow.remove": `{"workflow":"w"}`,
}

// settled is what each action does to a contact by its state, for those that do not only change live ones.
var settled = map[string]map[actionv1.State]string{
	"contact.delete":  {actionv1.State_STATE_DELETED: "skip", actionv1.State_STATE_PURGED: "skip"},
	"contact.restore": {actionv1.State_STATE_LIVE: "skip", actionv1.State_STATE_DELETED: "done", actionv1.State_STATE_PURGED: "skip"},
	"contact.purge":   {actionv1.State_STATE_LIVE: "skip", actionv1.State_STATE_DELETED: "done", actionv1.State_STATE_PURGED: "skip"},
	"csv.export":      {actionv1.State_STATE_LIVE: "not_configured"},
	"http.request":    {actionv1.State_STATE_LIVE: "not_allowed", actionv1.State_STATE_DELETED: "not_allowed", actionv1.State_STATE_PURGED: "not_allowed"},
	"log.write":       {actionv1.State_STATE_DELETED: "done", actionv1.State_STATE_PURGED: "done"},
}

func local(t *testing.T, log *slog.Logger) actionv1.ActionPluginServer {
	t.Helper()
	s, err := sdk.Local("reprieve", "test", log, All()...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func call(t *testing.T, s actionv1.ActionPluginServer, dry bool, action, params string, targets ...*actionv1.Target) *actionv1.Outcome {
	t.Helper()
	reply, err := s.Execute(t.Context(), &actionv1.ExecuteRequest{Action: action, Now: noon.UnixNano(), DryRun: dry,
		Items: []*actionv1.Item{{IdempotencyKey: "k", ParamsJson: []byte(params), Targets: targets}}})
	if err != nil || len(reply.GetOutcomes()) != 1 {
		t.Fatal(reply, err)
	}
	return reply.GetOutcomes()[0]
}

func how(o *actionv1.Outcome) string {
	switch r := o.GetResult().(type) {
	case *actionv1.Outcome_Done:
		return "done"
	case *actionv1.Outcome_Skip:
		return "skip"
	case *actionv1.Outcome_Fail:
		return r.Fail.GetCode()
	}
	return "retry"
}

// Every action, as the host calls it, on a contact in every state and with parameters that do not fit:
// none panics, none repeats a value in what it says, and none changes who cannot be changed.
func TestEvery(t *testing.T) {
	t.Parallel()
	const secret = "canary@example.com"
	var log bytes.Buffer
	s := local(t, slog.New(slog.NewJSONHandler(&log, nil)))
	for _, name := range Names() {
		params, ok := good[name]
		if !ok {
			t.Errorf("%s is not tested", name)
			continue
		}
		for state, want := range map[actionv1.State]string{actionv1.State_STATE_LIVE: "done", actionv1.State_STATE_DELETED: "deleted", actionv1.State_STATE_PURGED: "purged"} {
			if w, special := settled[name][state]; special {
				want = w
			}
			o := call(t, s, false, name, params, &actionv1.Target{ContactId: "con_x", State: state})
			if how(o) != want {
				t.Errorf("%s on %s: %v, want %s", name, state, o, want)
			}
			if n := len(o.GetDone().GetEffects()); want == "done" && name != "log.write" && n != 1 {
				t.Errorf("%s on %s: %d effects", name, state, n)
			}
		}
		nobody := map[string]string{"log.write": "done", "http.request": "not_allowed"}
		if want := cmp.Or(nobody[name], "no_contact"); how(call(t, s, false, name, params)) != want {
			t.Errorf("%s on nobody is not %s", name, want)
		}
		bad := []string{`[]`, `{"` + secret + `":1}`, `{"x":"` + secret + `"}`, `"` + secret + `"`, `{`}
		var fields map[string]any
		_ = json.Unmarshal([]byte(params), &fields)
		for field := range fields { // a value of a type that no parameter has
			bad = append(bad, fmt.Sprintf(`{%q:[{"`+secret+`":[["`+secret+`"]]}]}`, field))
		}
		for _, p := range bad {
			if o := call(t, s, false, name, p, &actionv1.Target{State: actionv1.State_STATE_LIVE}); how(o) != "invalid_params" || strings.Contains(o.String(), "canary") {
				t.Errorf("%s with %s: %v", name, p, o)
			}
		}
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("logged %s", log.String())
	}
}

// docs/actions.md is written from what the actions declare: `go test ./actions -run TestDocs -update`.
func TestDocs(t *testing.T) {
	t.Parallel()
	const file = "../docs/actions.md"
	d, err := local(t, slog.New(slog.DiscardHandler)).Describe(t.Context(), &actionv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(docsHead)
	for _, a := range d.GetActions() {
		document(t, &b, a)
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != b.String() {
		t.Errorf("docs/actions.md is not what the actions declare (%v): go test ./actions -run TestDocs -update", err)
	}
}

const docsHead = `# The built-in actions

This page is written from what the actions declare: their schemas and the lines that the host enforces. They run in plugin
processes, made with the public SDK ([plugin-guide.md](plugin-guide.md)): those that only decide share one, and each that touches the outside world has its
own, with settings that only the operator writes ([operations.md](operations.md)). None can do more than it says here. A step uses one like this:

` + "```yaml\n- id: welcome\n  action: list.add\n  with: {list: Newsletter}\n```" + `

A contact that is deleted takes a restore and a purge and nothing else: every other action that changes or exports the contact fails there under the code ` + "`deleted` or `purged`" + `,
but for contact.delete, which finds nothing to do. Effects that delete, restore or purge need a grant. What a step names and the account does not
have, a list say, fails the step under the code ` + "`not_found`" + ` when it is committed, and no other step.
`

func document(t *testing.T, b *strings.Builder, a *actionv1.ActionSpec) {
	t.Helper()
	var schema struct {
		Properties map[string]struct {
			Type        any
			Description string
			Enum        []any
		}
		Required []string
	}
	if err := json.Unmarshal(a.GetParamsSchemaJson(), &schema); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", a.GetAction(), a.GetSummary())
	line := func(what string, words []string) {
		if len(words) > 0 {
			fmt.Fprintf(b, "- %s: `%s`\n", what, strings.Join(words, "`, `"))
		}
	}
	line("effects", a.GetEffects())
	line("reads", a.GetReads())
	if slices.ContainsFunc(a.GetEffects(), func(e string) bool { return e == "contact.delete" || e == "contact.restore" || e == "contact.purge" }) {
		line("needs the grant", a.GetEffects())
	}
	if a.GetExternal() {
		fmt.Fprintf(b, "- touches the outside world; tried again with the same idempotency key: %t\n", a.GetIdempotent())
	}
	if d := time.Duration(a.GetTimeoutNanos()); d > 0 {
		fmt.Fprintf(b, "- time for a call: %s\n", d)
	}
	if len(schema.Properties) == 0 {
		b.WriteString("- parameters: none\n")
		return
	}
	b.WriteString("\n| parameter | type | |\n|---|---|---|\n")
	var names []string
	for name := range schema.Properties {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int { // those that are required first
		if rx, ry := slices.Contains(schema.Required, x), slices.Contains(schema.Required, y); rx != ry {
			return map[bool]int{true: -1, false: 1}[rx]
		}
		return strings.Compare(x, y)
	})
	for _, name := range names {
		p := schema.Properties[name]
		if p.Description == "" {
			t.Errorf("%s: the parameter %s is not described", a.GetAction(), name)
		}
		text := p.Description
		if len(p.Enum) > 0 {
			text += fmt.Sprintf("; one of %v", p.Enum)
		}
		if slices.Contains(schema.Required, name) {
			name += "` (required)"
		} else {
			name += "`"
		}
		fmt.Fprintf(b, "| `%s | %s | %s |\n", name, typeWords(p.Type), text)
	}
}

func typeWords(t any) string {
	if list, ok := t.([]any); ok {
		var words []string
		for _, w := range list {
			if w != "null" {
				words = append(words, fmt.Sprint(w))
			}
		}
		return strings.Join(words, " or ")
	}
	if t == nil {
		return "any"
	}
	return fmt.Sprint(t)
}
