package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

// params holds what a step gives its action against the JSON Schema of that action. What a template gives is
// only known when the step runs, and is looked at there.
func (r *reader) params(n *Node, info ActionInfo) {
	root := &jsonschema.Schema{}
	known := len(info.Schema) > 0 && json.Unmarshal(info.Schema, root) == nil
	with := n.With
	if with == nil {
		with = &Value{kind: yaml.MappingNode, at: n.at}
	}
	p := &params{r, n.Action, root}
	p.warnHeaders(with, root)
	if p.secretsFit("with", with, root); !known {
		return
	}
	names := slices.Sorted(maps.Keys(root.Properties))
	given := map[string]bool{}
	before := len(r.found)
	for _, pair := range with.pairs {
		given[pair.key] = true
		switch want := root.Properties[pair.key]; {
		case want != nil:
			p.value(pair.key, pair.val, want)
		case open(root):
			if root.AdditionalProperties != nil {
				p.value(pair.key, pair.val, root.AdditionalProperties)
			}
		default:
			r.fail(codeParam, pair.at, meant(pair.key, names), "%s has no parameter %q", n.Action, pair.key)
		}
	}
	for _, name := range root.Required {
		if !given[name] {
			r.fail(codeNeedsParam, n.at, fmt.Sprintf("add with: {%s: ...}", name), "%s needs the parameter %q", n.Action, name)
		}
	}
	if len(r.found) == before {
		p.whole("with", with, n.at, root)
	}
}

// open says whether an action takes parameters that its schema does not name. That one with parameters does
// has to be said: what is not named is a slip of the pen, as a rule.
func open(s *jsonschema.Schema) bool {
	a := s.AdditionalProperties
	return a != nil && a.Not == nil || a == nil && len(s.Properties) == 0
}

// params reads one step's parameters.
type params struct {
	*reader
	action string
	root   *jsonschema.Schema // has the $defs
}

// value holds one value against its schema, what is in it first: the smaller the place, the better.
func (p *params) value(name string, v *Value, want *jsonschema.Schema) {
	want = p.meant(want)
	have := v.jsonType()
	types := want.Types
	if want.Type != "" {
		types = []string{want.Type}
	}
	if have != "" && len(types) > 0 && !slices.Contains(types, have) && (have != "integer" || !slices.Contains(types, "number")) {
		words := make([]string, len(types))
		for i, t := range types {
			words[i] = jsonWords[t]
		}
		p.fail(codeParamType, v.at, typeHint(cmp.Or(strings.TrimPrefix(types[0], "null"), types[len(types)-1]), have), "%s must be %s, not %s", name, strings.Join(words, " or "), jsonWords[have])
		return
	}
	before := len(p.found)
	for i, item := range v.list {
		if want.Items != nil && i >= len(want.PrefixItems) {
			p.value(fmt.Sprintf("%s[%d]", name, i), item, want.Items)
		}
	}
	p.pairs(name, v, want)
	if len(p.found) == before {
		p.whole(name, v, v.at, want)
	}
}

// pairs looks at the keys of a mapping below a parameter.
func (p *params) pairs(name string, v *Value, want *jsonschema.Schema) {
	known := slices.Sorted(maps.Keys(want.Properties))
	closed := want.AdditionalProperties != nil && want.AdditionalProperties.Not != nil && len(want.PatternProperties) == 0
	for _, pair := range v.pairs {
		switch of := want.Properties[pair.key]; {
		case of != nil:
			p.value(name+"."+pair.key, pair.val, of)
		case closed:
			p.fail(codeParamFit, pair.at, meant(pair.key, known), "%s has no key %q", name, pair.key)
		case want.AdditionalProperties != nil && len(want.PatternProperties) == 0:
			p.value(name+"."+pair.key, pair.val, want.AdditionalProperties)
		}
	}
}

// whole holds a value that has no template in it against the whole of its schema.
func (p *params) whole(name string, v *Value, at span, want *jsonschema.Schema) {
	x, ok := v.literal()
	if !ok {
		return
	}
	b, err := json.Marshal(x)
	if err != nil || json.Unmarshal(b, &x) != nil {
		return
	}
	if len(want.Enum) > 0 && !p.fits(&jsonschema.Schema{Enum: want.Enum}, x) {
		var words []string
		for _, e := range want.Enum {
			words = append(words, fmt.Sprint(e))
		}
		hint := "possible here: " + strings.Join(words, ", ")
		if text, is := x.(string); is {
			hint = meant(text, words)
		}
		p.fail(codeParamValue, at, hint, "%s cannot be %s", name, said(x))
		return
	}
	for _, rule := range rules(want) {
		if !p.fits(rule.only, x) {
			p.fail(codeParamFit, at, short(want.Description), "%s %s", name, rule.says)
			return
		}
	}
	if text, is := x.(string); is && !hasFormat(want.Format, text) {
		p.fail(codeParamFit, at, "", "%s is not of the format %s", name, want.Format)
		return
	}
	if !p.fits(want, x) {
		text, _ := json.Marshal(want)
		p.fail(codeParamFit, at, "it must be so: "+short(string(text)), "%s is not what %s takes", name, p.action)
	}
}

// fits says whether a value holds to a schema; a schema that cannot be used is none.
func (p *params) fits(want *jsonschema.Schema, x any) bool {
	want = want.CloneSchemas()
	want.ID, want.Schema = "", ""
	if want.Defs == nil && p.root.Defs != nil {
		want.Defs = map[string]*jsonschema.Schema{}
		for name, s := range p.root.Defs {
			want.Defs[name] = s.CloneSchemas()
		}
	}
	resolved, err := want.Resolve(nil)
	return err != nil || resolved.Validate(x) == nil
}

// rule is one keyword of a schema in plain words.
type rule struct {
	only *jsonschema.Schema
	says string
}

func rules(s *jsonschema.Schema) (all []rule) {
	add := func(is bool, only jsonschema.Schema, says string, args ...any) {
		if is {
			all = append(all, rule{&only, fmt.Sprintf(says, args...)})
		}
	}
	number := func(f *float64) any {
		if f == nil {
			return nil
		}
		return *f
	}
	count := func(n *int) int {
		if n == nil {
			return 0
		}
		return *n
	}
	add(s.Minimum != nil, jsonschema.Schema{Minimum: s.Minimum}, "must be at least %v", number(s.Minimum))
	add(s.Maximum != nil, jsonschema.Schema{Maximum: s.Maximum}, "must be at most %v", number(s.Maximum))
	add(s.ExclusiveMinimum != nil, jsonschema.Schema{ExclusiveMinimum: s.ExclusiveMinimum}, "must be more than %v", number(s.ExclusiveMinimum))
	add(s.ExclusiveMaximum != nil, jsonschema.Schema{ExclusiveMaximum: s.ExclusiveMaximum}, "must be less than %v", number(s.ExclusiveMaximum))
	add(s.MultipleOf != nil, jsonschema.Schema{MultipleOf: s.MultipleOf}, "must be a multiple of %v", number(s.MultipleOf))
	add(s.MinLength != nil, jsonschema.Schema{MinLength: s.MinLength}, "is too short: at least %d characters", count(s.MinLength))
	add(s.MaxLength != nil, jsonschema.Schema{MaxLength: s.MaxLength}, "is too long: at most %d characters", count(s.MaxLength))
	add(s.Pattern != "", jsonschema.Schema{Pattern: s.Pattern}, "must have the form %s", short(s.Pattern))
	add(s.MinItems != nil, jsonschema.Schema{MinItems: s.MinItems}, "has too few items: at least %d", count(s.MinItems))
	add(s.MaxItems != nil, jsonschema.Schema{MaxItems: s.MaxItems}, "has too many items: at most %d", count(s.MaxItems))
	add(s.UniqueItems, jsonschema.Schema{UniqueItems: true}, "must not have the same item twice")
	add(s.MinProperties != nil, jsonschema.Schema{MinProperties: s.MinProperties}, "has too few keys: at least %d", count(s.MinProperties))
	add(s.MaxProperties != nil, jsonschema.Schema{MaxProperties: s.MaxProperties}, "has too many keys: at most %d", count(s.MaxProperties))
	add(len(s.Required) > 0, jsonschema.Schema{Required: s.Required}, "must have %s", strings.Join(s.Required, ", "))
	if s.Const != nil {
		add(true, jsonschema.Schema{Const: s.Const}, "must be %s", said(*s.Const))
	}
	return all
}

// hasFormat knows the formats that can be told without doubt; JSON Schema lets the others pass.
func hasFormat(format, text string) bool {
	var err error
	switch format {
	case "email":
		var a *mail.Address
		a, err = mail.ParseAddress(text)
		return err == nil && a.Address == text
	case "uri":
		var u *url.URL
		u, err = url.Parse(text)
		return err == nil && u.IsAbs()
	case "date":
		_, err = time.Parse(time.DateOnly, text)
	case "date-time":
		_, err = time.Parse(time.RFC3339, text)
	}
	return err == nil
}

// said writes a value as the file could.
func said(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		return "this"
	}
	return short(string(b))
}

// short keeps the beginning of what may be long.
func short(text string) string {
	if runes := []rune(text); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return text
}

// literal gives a value that is the same in every run; false if there is a template in it.
func (v *Value) literal() (any, bool) {
	if len(v.secrets(nil)) > 0 {
		return nil, false
	}
	for _, t := range v.templates() {
		if _, is := t.Literal(); !is {
			return nil, false
		}
	}
	x, err := v.Eval(triggers.Env{})
	return x, err == nil
}

// jsonWords are JSON Schema's types in plain words.
var jsonWords = map[string]string{"array": "a list", "object": "a mapping", "string": "text", "integer": "a whole number",
	"number": "a number", "boolean": "true or false", "null": "nothing"}

// typeHint says how the type that is wanted is written.
func typeHint(want, have string) string {
	switch {
	case want == "string":
		return "put the value in quotes"
	case have == "string" && want != "array" && want != "object":
		return "write it without quotes, or as nothing but ${ }"
	case want == "array":
		return "write a list, as in [one, two]"
	case want == "object":
		return "write a mapping, as in {key: value}"
	}
	return ""
}

// jsonType names the type of a value as JSON Schema does, "" if only the run knows it.
func (v *Value) jsonType() string {
	switch {
	case v.secret != "":
		return "string"
	case v.text != nil:
		if _, literal := v.text.Literal(); literal || v.mixed {
			return "string"
		}
		return ""
	case v.kind == yaml.SequenceNode:
		return "array"
	case v.kind == yaml.MappingNode:
		return "object"
	}
	switch v.plain.(type) {
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case float64:
		return "number"
	}
	return "null"
}
