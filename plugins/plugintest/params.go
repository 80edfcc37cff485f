package plugintest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// schema is what an action says of its parameters.
type schema struct {
	root     *jsonschema.Schema
	resolved *jsonschema.Resolved
}

// readSchema reads a schema; its error says what is wrong with it.
func readSchema(text []byte, closed bool) (s schema, err error) {
	var root jsonschema.Schema
	if err := json.Unmarshal(text, &root); err != nil {
		return s, problem("it is no JSON Schema: %v", err)
	}
	if root.Schema != "" && root.Schema != "https://json-schema.org/draft/2020-12/schema" {
		return s, problem("its $schema is %q and not that of 2020-12", root.Schema)
	}
	resolved, err := root.CloneSchemas().Resolve(nil)
	if err != nil {
		return s, problem("it does not resolve as JSON Schema 2020-12: %v", err)
	}
	if closed {
		if root.Type != "object" {
			return s, problem("parameters are an object, and its type is %q", root.Type)
		}
		if extra := root.AdditionalProperties; extra == nil || extra.Not == nil {
			return s, problem("it is not closed: additionalProperties must be false, or a name that is misspelt is taken")
		}
	}
	return schema{&root, resolved}, nil
}

func (s schema) fits(params []byte) bool {
	var v any
	return json.Unmarshal(params, &v) == nil && s.resolved.Validate(v) == nil
}

// words are what generated parameters hold.
type words struct {
	text   string // of any string
	url    string // of a parameter that is one
	secret string // of a writeOnly one
}

// generate makes parameters of a schema, or puts the secrets into those that the author gave.
func (s schema) generate(given json.RawMessage, w words) json.RawMessage {
	params := map[string]any{}
	if len(given) > 0 {
		_ = json.Unmarshal(given, &params)
	}
	for _, name := range slices.Sorted(maps.Keys(s.root.Properties)) {
		p := s.root.Properties[name]
		_, has := params[name]
		if p.WriteOnly || len(given) == 0 && (isURL(name, p) || slices.Contains(s.root.Required, name) || w.text != plainText) {
			if has && !p.WriteOnly {
				continue
			}
			params[name] = valueOf(name, p, w)
		}
	}
	out, _ := json.Marshal(params)
	return out
}

const plainText = "x"

func valueOf(name string, p *jsonschema.Schema, w words) any {
	kind := p.Type
	for _, t := range p.Types {
		if kind == "" || kind == "null" {
			kind = t
		}
	}
	switch {
	case p.WriteOnly:
		return w.secret
	case p.Const != nil:
		return *p.Const
	case len(p.Enum) > 0:
		return p.Enum[0]
	case len(p.Examples) > 0:
		return p.Examples[0]
	}
	switch kind {
	case "integer", "number":
		if p.Minimum != nil && *p.Minimum > 1 {
			return *p.Minimum
		}
		return 1
	case "boolean":
		return true
	case "array":
		if p.Items == nil || p.Items.Not != nil {
			return []any{}
		}
		return []any{valueOf(name, p.Items, w)}
	case "object":
		of := map[string]any{}
		for _, key := range p.Required {
			if p.Properties[key] != nil {
				of[key] = valueOf(key, p.Properties[key], w)
			}
		}
		if len(of) == 0 && p.AdditionalProperties != nil && p.AdditionalProperties.Not == nil {
			of[plainText] = valueOf(plainText, p.AdditionalProperties, w)
		}
		return of
	}
	switch {
	case isURL(name, p):
		return w.url
	case p.Format == "date-time":
		return "2026-05-04T12:00:00Z"
	case p.Format == "date":
		return "2026-05-04"
	case p.Format == "email":
		return "x@example.com"
	}
	text := w.text
	if p.MinLength != nil && len(text) < *p.MinLength {
		text += strings.Repeat("x", *p.MinLength-len(text))
	}
	return text
}

func isURL(name string, p *jsonschema.Schema) bool {
	name = strings.ToLower(name)
	return p.Format == "uri" || name == "url" || strings.HasSuffix(name, "_url")
}

// bad makes parameters that do not fit, in every way there is.
func (s schema) bad(good json.RawMessage) []json.RawMessage {
	out := []json.RawMessage{[]byte(`[]`), []byte(`"` + person + `"`), []byte(`{`)}
	var base map[string]any
	if json.Unmarshal(good, &base) != nil {
		return out
	}
	put := func(change func(map[string]any)) {
		params := maps.Clone(base)
		change(params)
		raw, _ := json.Marshal(params)
		if !s.fits(raw) {
			out = append(out, raw)
		}
	}
	put(func(p map[string]any) { p[person] = person })
	for _, name := range slices.Sorted(maps.Keys(s.root.Properties)) {
		put(func(p map[string]any) { delete(p, name) })
		for _, wrong := range []any{person, []any{[]any{person}}, map[string]any{person: map[string]any{person: person}}} {
			put(func(p map[string]any) { p[name] = wrong })
		}
	}
	return out
}
