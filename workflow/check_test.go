package workflow

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

const reasonSchema = `{"type": "object", "properties": {"reason": {"type": "string"}}, "additionalProperties": false}`

// catalogue is what the tests' plugins offer.
var catalogue = Catalogue{
	"contact.delete": {Effects: []string{"contact.delete"}, Schema: []byte(strings.Replace(reasonSchema, `"additional`, `"required": ["reason"], "additional`, 1))},

	"contact.restore": {Effects: []string{"contact.restore"}, Schema: []byte(reasonSchema)},
	"contact.purge":   {Effects: []string{"contact.purge"}, Schema: []byte(reasonSchema)},
	"contact.tag": {Effects: []string{"contact.tag_add", "contact.tag_remove"}, Schema: []byte(`{"properties": {
		"add": {"type": "array"}, "remove": {"type": ["array", "null"]}}, "additionalProperties": false}`)},
	"log.write": {Schema: []byte(`{"properties": {"level": {"type": "string", "enum": ["info", "error"]}, "text": {"type": "string"}},
		"required": ["level", "text"]}`)},
	"typed.all": {Schema: []byte(`{"properties": {"text": {"type": "string"}, "count": {"type": "integer"}, "ratio": {"type": "number"},
		"flag": {"type": "boolean"}, "list": {"type": "array"}, "map": {"type": "object"}, "either": {"type": ["string", "integer"]},
		"any": {}, "count2": {"type": "integer"}, "count3": {"type": "integer"}, "flag2": {"type": "boolean"}}}`)},
	"open.all":      {Schema: []byte(`{"properties": {"x": {}}, "additionalProperties": {"type": "integer"}}`)},
	"open.none":     {},
	"strict.none":   {Schema: []byte(`{"properties": {}, "additionalProperties": false}`)},
	"broken.schema": {Schema: []byte(`{`)},
	"mail.send":     {External: true},
	"bound.all": {Schema: []byte(`{"type": "object", "additionalProperties": false, "maxProperties": 30, "$defs": {"word": {"type": "string", "pattern": "^[a-z]+$"}},
		"properties": {"least": {"type": "integer", "minimum": 1}, "most": {"type": "number", "maximum": 5}, "over": {"exclusiveMinimum": 0},
		"under": {"exclusiveMaximum": 1}, "step": {"multipleOf": 5}, "long": {"type": "string", "minLength": 3}, "short": {"type": "string", "maxLength": 2},
		"form": {"type": "string", "pattern": "^[A-Z]{2}$"}, "mail": {"type": "string", "format": "email"}, "link": {"type": "string", "format": "uri"},
		"day": {"type": "string", "format": "date"}, "at": {"type": "string", "format": "date-time"}, "always": {"const": "yes"},
		"few": {"type": "array", "items": {"$ref": "#/$defs/word"}, "maxItems": 2, "uniqueItems": true}, "some": {"type": "array", "minItems": 1},
		"size": {"enum": [1, 2]}, "word": {"$ref": "#/$defs/word"}, "either": {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 10}]},
		"deep": {"type": "object", "required": ["a"], "additionalProperties": false, "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}}},
		"headers": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1}, "odd": {"type": "string", "pattern": "("}}}`)},
	"pick.one":   {Schema: []byte(`{"properties": {"add": {"type": "string"}, "remove": {"type": "string"}}, "oneOf": [{"required": ["add"]}, {"required": ["remove"]}]}`)},
	"mail.again": {External: true, Idempotent: true},
	"hushed": {Schema: []byte(`{"$defs": {"key": {"type": "string", "writeOnly": true}}, "properties": {"token": {"type": "string", "writeOnly": true}, "keys": {"type": "array", "items": {"$ref": "#/$defs/key"}},
		"headers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/key"}}, "text": {"type": "string"}, "number": {"type": "integer", "writeOnly": true}}}`)},
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, src := range files(t, "testdata/check/*.yaml") {
		w, ds := check(t, src)
		if w == nil {
			t.Errorf("%s:\n%s", name, render(ds))
			continue
		}
		ds = Check(w, catalogue)
		placed(t, src, ds)
		golden(t, strings.TrimSuffix(name, ".yaml")+".golden", render(ds))
	}
}

// TestUngranted: what an earlier apply granted is not asked for again.
func TestUngranted(t *testing.T) {
	t.Parallel()
	const name = "testdata/check/deleted.yaml"
	src := files(t, name)[name]
	w, _ := check(t, src)
	if ds := Ungranted(w, catalogue, func(crm.Verb) bool { return true }); len(ds) > 0 {
		t.Errorf("with every grant there is %v", ds)
	}
	ds := Ungranted(w, catalogue, func(v crm.Verb) bool { return v == crm.VerbRestore })
	placed(t, src, ds)
	golden(t, "testdata/check/ungranted.golden", render(ds))
}

// TestUnset: only the secrets that are missing are named, where they stand.
func TestUnset(t *testing.T) {
	t.Parallel()
	const name = "testdata/check/secrets.yaml"
	src := files(t, name)[name]
	w, _ := check(t, src)
	ds := Unset(w, func(name string) error {
		if name == "a" {
			return nil
		}
		return errors.New("nobody has set it")
	})
	placed(t, src, ds)
	golden(t, "testdata/check/unset.golden", render(ds))
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	got := map[string][]crm.Verb{}
	for name, src := range files(t, "testdata/check/*.yaml") {
		w, _ := check(t, src)
		got[strings.TrimSuffix(strings.TrimPrefix(name, "testdata/check/"), ".yaml")] = w.Needs(catalogue)
	}
	for name, want := range map[string][]crm.Verb{
		"fine":        {crm.VerbDelete, crm.VerbRestore},
		"deleted":     {crm.VerbDelete, crm.VerbPurge, crm.VerbRestore},
		"swept":       {crm.VerbPurge},
		"types":       nil,
		"unreachable": nil, // contact.tag needs no grant
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s needs %v, want %v", name, got[name], want)
		}
	}
}

// withOf parses a with: block, given as a flow mapping or as indented lines.
func withOf(t *testing.T, with string) *Value {
	t.Helper()
	w, ds := check(t, []byte("version: 1\nid: v\ntriggers: [{id: a, event: contact.created}]\nsteps:\n"+
		"  - {id: s, wait: 1d}\n  - id: a\n    action: x.y\n    with: "+with+"\n"))
	if w == nil {
		t.Fatal(render(ds))
	}
	return w.Nodes[1].With
}

func env() triggers.Env {
	c := &crm.Contact{ID: crm.ContactID{1}, Fields: []crm.Field{{Name: "first_name", Value: crm.Text("Zoë")}}, Tags: []crm.Tag{{Name: "VIP"}}}
	return triggers.Env{Contact: c, Now: crm.Day, Run: triggers.RunInfo{Workflow: "v"},
		Steps: map[string]triggers.StepInfo{"s": {Status: "done", Output: map[string]any{"n": 7.0}}}}
}

func TestValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ with, want string }{
		{"{}", `{}`},
		{"{a: 1, b: -2.50, c: true, d: null, e: ~, f: [], g: {}}", `{"a":1,"b":-2.5,"c":true,"d":null,"e":null,"f":[],"g":{}}`},
		{"{a: 9223372036854775807, b: 1e3, c: '1', d: yes, e: 2026-01-02, f: ''}", `{"a":9223372036854775807,"b":1000,"c":"1","d":"yes","e":"2026-01-02","f":""}`},
		{`{a: "Dear ${ contact.first_name }!", b: ["${ contact.first_name }", {c: "$${ x }"}]}`, `{"a":"Dear Zoë!","b":["Zoë",{"c":"${ x }"}]}`},
		{`{n: "${ steps.s.output.n }", tags: "${ contact.tags }"}`, `{"n":7,"tags":["VIP"]}`},
		{"\n      on: 1\n      2: x\n      text: |-\n        a\n        ${ run.workflow }", `{"2":"x","on":1,"text":"a\nv"}`},
	} {
		got, err := withOf(t, c.with).Eval(env())
		if err != nil {
			t.Errorf("%s: %v", c.with, err)
			continue
		}
		b, err := json.Marshal(got)
		if err != nil || string(b) != c.want {
			t.Errorf("%s gives %s, %v, want %s", c.with, b, err, c.want)
		}
	}
	if v, err := (*Value)(nil).Eval(env()); v != nil || err != nil {
		t.Errorf("no value gives %v, %v", v, err)
	}
}

func TestValueRefuses(t *testing.T) {
	t.Parallel()
	e := env()
	e.Steps["s"] = triggers.StepInfo{Status: "done", Output: map[string]any{"secret": math.Inf(1), "long": strings.Repeat("secret", 10_000)}}
	for name, with := range map[string]string{
		"no JSON":  `{a: {b: ["x", "${ steps.s.output.secret }"]}}`,
		"too long": "\n      a:\n" + strings.Repeat("        - \"${ steps.s.output.long }\"\n", 20),
	} {
		_, err := withOf(t, with).Eval(e)
		if crm.CodeOf(err) != crm.CodeInvalid {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s := err.Error(); strings.Contains(s, "secret") || !strings.Contains(s, "with.a") {
			t.Errorf("%s: %q tells too much, or not where", name, s)
		}
	}
}

func TestReadsAndUses(t *testing.T) {
	t.Parallel()
	v := withOf(t, `{a: ["${ contact.first_name }"], b: {c: "${ contact.email }"}, d: plain}`)
	want := []crm.Fact{{Kind: crm.FactField, Name: "first_name"}, {Kind: crm.FactIdentity, Name: "email"}}
	if got := v.Reads(); !slices.Equal(got, want) {
		t.Errorf("reads %v, want %v", got, want)
	}
	for name, want := range map[string]bool{"shapes": true, "unsubscribed": false} {
		w, _ := check(t, files(t, "testdata/good/"+name+".yaml")["testdata/good/"+name+".yaml"])
		if w.Uses("steps") != want {
			t.Errorf("%s uses steps: %v, want %v", name, !want, want)
		}
	}
}
