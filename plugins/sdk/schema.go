package sdk

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// paramSchema is what an action's parameters must look like.
type paramSchema struct {
	text       []byte // canonical JSON
	required   []string
	properties map[string]*jsonschema.Resolved
}

// schemaOf derives the schema of the parameters from a struct.
func schemaOf(t reflect.Type) (*paramSchema, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("its parameters are a %s and must be a struct", t)
	}
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: ownTypes})
	if err != nil {
		return nil, fmt.Errorf("its parameters have no JSON schema: %w", err)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		p := s.Properties[name]
		if words := f.Tag.Get("enum"); words != "" && p != nil {
			for w := range strings.SplitSeq(words, ",") {
				p.Enum = append(p.Enum, w)
			}
		}
		if form := f.Tag.Get("pattern"); form != "" && p != nil {
			p.Pattern = form
		}
		if least := f.Tag.Get("minProperties"); least != "" { // of a field _, which stands for the whole
			n, err := strconv.Atoi(least)
			if err != nil || name != "_" {
				return nil, fmt.Errorf("minProperties:%q goes with a field _ struct{} and is a number", least)
			}
			s.MinProperties = &n
		}
	}
	out := &paramSchema{required: s.Required, properties: map[string]*jsonschema.Resolved{}}
	for name, p := range s.Properties {
		if out.properties[name], err = p.CloneSchemas().Resolve(nil); err != nil {
			return nil, fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	s.Schema = draft
	if out.text, err = json.Marshal(s); err != nil {
		return nil, fmt.Errorf("its parameters have no JSON schema: %w", err)
	}
	return out, nil
}

const draft = "https://json-schema.org/draft/2020-12/schema"

// schema derives the schema of the output; it is empty where there is none.
func (s shape) schema() ([]byte, error) {
	if s.plain == nil {
		return nil, nil
	}
	of, err := jsonschema.ForType(s.plain, &jsonschema.ForOptions{TypeSchemas: ownTypes})
	if err != nil {
		return nil, fmt.Errorf("its output has no JSON schema: %w", err)
	}
	of.Schema = draft
	return json.Marshal(of)
}

// check validates parameters before Run sees them. It goes property by property, because the
// validator's own errors repeat values, and a value may be personal data.
func (s *paramSchema) check(raw []byte) error {
	values := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &values); err != nil {
			return Fail("invalid_params", "the parameters are not a JSON object")
		}
	}
	known := slices.Sorted(maps.Keys(s.properties))
	for _, name := range s.required {
		if _, ok := values[name]; !ok {
			return Fail("invalid_params", fmt.Sprintf("the parameter %s is missing", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p, ok := s.properties[name]
		if !ok {
			return Fail("invalid_params", "there is a parameter that the action does not have").
				WithHint("it takes: " + strings.Join(known, ", "))
		}
		if p.Validate(values[name]) != nil {
			text, _ := json.Marshal(p.Schema())
			return Fail("invalid_params", fmt.Sprintf("the parameter %s does not fit its schema", name)).WithHint(string(text))
		}
	}
	return nil
}
