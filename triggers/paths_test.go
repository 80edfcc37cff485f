package triggers

import (
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// An evaluation that fails for what a value is says which name is what: with the value to who asks why, and never in
// its error, which goes to journals and logs.
func TestErrorsNameWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	c := &crm.Contact{}
	for name, v := range map[string]crm.Value{"score": crm.Text("5000"), "plan": crm.Number(7), "sums": {Kind: crm.ListValue, List: []string{"x"}}} {
		crm.ChangeFact(c, crm.SetField{Name: name, Value: v}, 1, 0, false)
	}
	env := Env{Contact: c, Steps: map[string]StepInfo{"ask": {Status: "done", Output: map[string]any{"body": map[string]any{"open": "no"}}}}}
	for text, want := range map[string][2]string{
		`contact.fields.score > 1000`:          {"contact.fields.score is text", `contact.fields.score is the text "5000"`},
		`contact.fields.gone > 1000`:           {"contact.fields.gone is missing", "contact.fields.gone is missing"},
		`lower(contact.fields.plan) == "pro"`:  {"contact.fields.plan is a number", "contact.fields.plan is the number 7"},
		`contact.fields.sums > 3`:              {"contact.fields.sums is a list", "contact.fields.sums is a list"},
		`steps.ask.output.body.open > 3`:       {"steps.ask.output.body.open is text", `steps.ask.output.body.open is the text "no"`},
		`steps.ask.output.nothing.of.that > 3`: {"steps.ask.output.nothing.of.that is missing", "is missing"},
		`contact.fields.score`:                 {"contact.fields.score is text", `the text "5000"`},
		`float(contact.fields.sums) > 3`:       {"contact.fields.sums is a list", "is a list"},
	} {
		e, err := CompileExpr(Source{Text: text, Scope: ScopeContact | ScopeRun}, Bool)
		if err != nil {
			t.Fatal(text, err)
		}
		_, err = e.Bool(env)
		if err == nil || !strings.Contains(err.Error(), want[0]) || strings.Contains(err.Error(), "5000") || strings.Contains(err.Error(), "\"no\"") {
			t.Errorf("%s: %v", text, err)
		}
		if parts := e.Explain(env); parts[0].Result != "error" || !strings.Contains(parts[0].Error, want[1]) {
			t.Errorf("%s: explained as %+v", text, parts)
		}
	}
}

// What nobody knows yet is not taken for missing: a condition on it is not decided, and a text has its name.
func TestUnknown(t *testing.T) {
	t.Parallel()
	env := Env{Contact: &crm.Contact{}, Steps: map[string]StepInfo{"ask": {Status: "done", Output: map[string]any{"event": true}}},
		Unknown: func(_ *Env, path string) string {
			if strings.HasPrefix(path, "steps.ask.output") && path != "steps.ask.output.event" {
				return "the answer"
			}
			return ""
		}}
	for text, want := range map[string]string{
		`steps.ask.output.event`:                                           "true",
		`steps.ask.status == "done"`:                                       "true",
		`steps.ask.output.tag == "yes"`:                                    "unknown",
		`(steps.ask.output ?? 1) == 1`:                                     "unknown",
		`contact.email != "" and steps.ask.output.tag == "yes"`:            "false",
		`steps.ask.output.event and (steps.ask.output["tag"] ?? "") == ""`: "true unknown",
	} {
		e, err := CompileExpr(Source{Text: text, Scope: ScopeContact | ScopeRun}, Bool)
		if err != nil {
			t.Fatal(text, err)
		}
		var got []string
		for _, p := range e.Explain(env) {
			if p.Result != "not_looked_at" {
				got = append(got, p.Result)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for text, want := range map[string]any{
		"${ steps.ask.output.tag }":         "‹steps.ask.output.tag›",
		"it is ${ steps.ask.output.tag }":   "it is ‹steps.ask.output.tag›",
		"${ steps.ask.output.event }":       true,
		"so ${ steps.ask.output.tag ?? 1 }": "so ‹steps.ask.output.tag ?? 1›",
	} {
		tpl, err := CompileTemplate(Source{Text: text, Scope: ScopeContact | ScopeRun})
		if err != nil {
			t.Fatal(text, err)
		}
		if got, err := tpl.Eval(env); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}
