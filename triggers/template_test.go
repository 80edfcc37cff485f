package triggers

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

func TestTemplates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want any
	}{
		{"", ""},
		{"plain", "plain"},
		{"costs $5 {a}", "costs $5 {a}"},
		{"$${ contact.name }", "${ contact.name }"},
		{"$$${ 1 }", "$${ 1 }"},
		{"a ${ contact.first_name }!", "a Ann!"},
		{"${ contact.fields.age }", 20.0},
		{"${contact.tags}", []string{"Unsubscribed", "Straße"}},
		{"tags: ${contact.tags}", "tags: Unsubscribed, Straße"},
		{"${ event.tag }", "UNSUBSCRIBED"},
		{"${ contact.fields.nope }", nil},
		{"<${ contact.fields.nope }>", "<>"},
		{"${ contact.archived } ${ 1.50 } ${ 2 }", "false 1.5 2"},
		{"since ${ contact.created_at }", "since 2026-01-01T00:00:00Z"},
		{"${ duration(\"36h\") } long", "36h0m0s long"},
		{`${ "}" } ${ '{' } ${ ` + "`}`" + ` }`, "} { }"},
		{`${ {"a": {"b": 1}}.a.b }`, 1},
		{`x${ "quote \" } " }`, `xquote " } `},
		{`${ steps.get.output.rows } rows`, `[1,"x"] rows`},
		{"é${ contact.fields.likes }漢", "étea, rain漢"},
		{"$", "$"},
		{"}${ 1 }{", "}1{"},
	} {
		tm, err := CompileTemplate(everything(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got, err := tm.Eval(annEnv())
		if list, ok := c.want.([]string); ok {
			if g, ok := got.([]string); !ok || strings.Join(g, "|") != strings.Join(list, "|") || err != nil {
				t.Errorf("%s: %v, %v", c.text, got, err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: %#v, %v; want %#v", c.text, got, err, c.want)
		}
		if text, ok := tm.Literal(); ok != (!strings.Contains(strings.ReplaceAll(c.text, "$${", ""), "${")) && c.text != "$$${ 1 }" || ok && text != got {
			t.Errorf("%s: Literal %q, %v", c.text, text, ok)
		}
	}
}

func TestTemplateFindings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a ${ contact.name":                      "1:3: error[E110]",
		"a ${ \"} ":                              "1:3: error[E110]",
		"${}":                                    "1:1: error[E110]",
		"é ${  }":                                "1:3: error[E110]",
		"漢 ${ contact.nmae } ${ contcat.x }":     "1:14: error[E104]",
		"one\ntwo ${ contact.nmae }":             "2:16: error[E104]",
		strings.Repeat("${ 1 }", 101):            "1:601: error[E106]",
		strings.Repeat("x", 64<<10+1):            "1:1: error[E106]",
		"${ " + strings.Repeat("1+", 200) + "1}": "1:3: error[E106]",
	} {
		_, err := CompileTemplate(Source{Text: text, Scope: ScopeContact})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	_, err := CompileTemplate(Source{Text: "${ contact.nmae } ${ contcat.x }", Scope: ScopeContact})
	if len(Findings(err)) != 2 {
		t.Errorf("%v", err)
	}
}

func TestTemplateReadsAndUses(t *testing.T) {
	t.Parallel()
	tm, err := CompileTemplate(everything("${ contact.email } ${ steps.get.output } ${ contact.fields.plan }"))
	if err != nil {
		t.Fatal(err)
	}
	if r := tm.Reads(); len(r) != 2 || r[0] != (crm.Fact{Kind: crm.FactField, Name: "plan"}) || r[1] != (crm.Fact{Kind: crm.FactIdentity, Name: "email"}) {
		t.Errorf("%v", r)
	}
	if !tm.Uses("steps") || tm.Uses("event") {
		t.Error("uses")
	}
}

func TestTemplateIsBounded(t *testing.T) {
	t.Parallel()
	env := annEnv()
	env.Contact.Fields = []crm.Field{{Name: "a", Value: crm.Text(strings.Repeat("x", 40<<10))}}
	env.Steps = map[string]StepInfo{"get": {Output: []any{env.Contact.Fields[0].Value.Text, env.Contact.Fields[0].Value.Text}}}
	for _, text := range []string{"${ contact.fields.a }${ contact.fields.a }", "x ${ steps.get.output }"} {
		tm, err := CompileTemplate(everything(text))
		if err != nil {
			t.Fatal(err)
		}
		if v, err := tm.Eval(env); err == nil {
			t.Errorf("%s has %d bytes", text, len(v.(string)))
		}
	}
}

// Whatever text there is, escaping it makes a template that gives it back.
func TestLiteralRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.SampledFrom([]rune("a{}é漢\"'`\n ")), 0, 12).Draw(t, "text"))
		holes := rapid.IntRange(0, 3).Draw(t, "holes")
		escaped, want := text, text
		for range holes {
			escaped, want = escaped+"$${"+text, want+"${"+text
		}
		tm, err := CompileTemplate(Source{Text: escaped})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := tm.Literal(); !ok || got != want {
			t.Fatalf("%q gives %q, want %q", escaped, got, want)
		}
	})
}
