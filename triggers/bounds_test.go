package triggers

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

func TestHostileExpressionsAreRefused(t *testing.T) {
	t.Parallel()
	for text, code := range map[string]string{
		`repeat("x", 1000000) == ""`:                                    "E107",
		`replace(contact.email, "a", contact.email) == ""`:              "E107",
		`split(contact.email, "") == []`:                                "E107",
		`join(contact.tags) == ""`:                                      "E107",
		`now() > contact.created_at`:                                    "E107",
		`toJSON(contact.fields) == ""`:                                  "E107",
		`fromJSON("1") == 1`:                                            "E107",
		`map(contact.tags, # + #) == []`:                                "E107",
		`reduce(contact.tags, #acc + #acc, "x") == ""`:                  "E107",
		`groupBy(contact.tags, #) == {}`:                                "E107",
		`sortBy(contact.tags, #) == []`:                                 "E107",
		`sum(contact.tags, 1) == 1`:                                     "E107",
		`len(1..1000000) > 0`:                                           "E107",
		`all(contact.tags, all(contact.tags, all(contact.tags, true)))`: "E107",
		`any(contact.tags, len(filter(contact.tags, true)) > 0)`:        "E107",
		`let a = "x"; let b = a + a; b == ""`:                           "E107",
		`true; false`:                                                   "E107",
		`$env == nil`:                                                   "E107",
		`$env["contact"] == nil`:                                        "E107",
		`contact.email matches contact.fields.pattern`:                  "E107",
		`contact.email matches "(x{500}){2}"`:                           "E106",
		`contact.email matches "(x{1000}){1000}"`:                       "E109",
		`contact.email matches "` + strings.Repeat("x?", 300) + `"`:     "E109",
		`now.AddDate(1, 1, 1) > now`:                                    "E107",
		`contact.created_at.UnixNano == nil`:                            "E104",
		`contact[contact.email] == 1`:                                   "E107",
		`steps[contact.email].output == 1`:                              "E107",
		`b"x" == 1`:                                                     "E107",
		strings.Repeat("!", 4000) + `true`:                              "E106",
		strings.Repeat("!", 300) + `true`:                               "E106",
		`"` + strings.Repeat("x", 5000) + `" == ""`:                     "E106",
		`1` + strings.Repeat("+1", 150) + ` == 1`:                       "E106",
		strings.Repeat("(", 4000):                                       "E101",
		strings.Repeat("[", 4000):                                       "E101",
		strings.Repeat("{a:", 1300):                                     "E106",
		"\xff\xfe":                                                      "E101",
		"a\x00b":                                                        "E101",
		``:                                                              "E101",
		` `:                                                             "E101",
		`get("x", 1)`:                                                   "E107",
		`::now()`:                                                       "E107",
		`·fold("x") == "x"`:                                             "E101",
	} {
		_, err := CompileExpr(everything(text), Bool)
		if d := Findings(err); len(d) == 0 || d[0].Code != code {
			t.Errorf("%.60s: %v, want %s", text, err, code)
		}
	}
}

// What is accepted ends soon and small, however large the values are: too much work is an error.
func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	c := ann()
	c.Fields = append(c.Fields, crm.Field{Name: "text", Value: crm.Text(strings.Repeat("a", maxText))},
		crm.Field{Name: "wide", Value: crm.Text(strings.Repeat("a", maxText+1))})
	for i := range maxList - 2 {
		c.Tags = append(c.Tags, crm.Tag{Name: "t" + strconv.Itoa(i)})
	}
	env := annEnv()
	env.Contact = c
	if ok, err := compileBool(t, `any(contact.tags, # == "T997")`).Bool(env); !ok || err != nil {
		t.Fatalf("1000 tags: %v, %v", ok, err)
	}
	big := make([]any, maxList+1)
	env.Steps = map[string]StepInfo{"get": {"done", map[string]any{"rows": big}}}
	for _, text := range []string{
		`contact.fields.wide == "x"`,
		`contact.fields.text + contact.fields.text == "x"`,
		`any(contact.tags, contact.fields.text matches "(a|b)*c")`,
		`any(contact.tags, contact.fields.text contains "b")`,
		`any(contact.tags, upper(contact.fields.text) == #)`,
		`any(contact.tags, len(contact.fields.text) == 1)`,
		`any(steps.get.output.rows, # == 1)`,
		`1 in steps.get.output.rows`,
		`string([contact.fields.text, contact.fields.text]) == ""`,
	} {
		ok, err := compileBool(t, text).Bool(env)
		var ce *crm.Error
		if ok || !errors.As(err, &ce) {
			t.Errorf("%s: %v, %v", text, ok, err)
		}
	}
	c.Tags = append(c.Tags, crm.Tag{Name: "one more"})
	if ok, err := compileBool(t, `any(contact.tags, true)`).Bool(env); ok || err == nil {
		t.Error("1001 tags were looked at")
	}
	if ok, err := compileBool(t, `"ONE MORE" in contact.tags`).Bool(env); !ok || err != nil {
		t.Errorf("one tag of 1001: %v, %v", ok, err)
	}
}
