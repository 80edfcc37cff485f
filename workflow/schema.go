package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/reprieve-run/reprieve/crm"
)

// js is a JSON Schema, or a part of one.
type js map[string]any

// Schema gives the JSON Schema of a workflow file for editors: the keys that this version honours, the words
// that are possible where there are only some, a description of each, and the parameters of the actions that
// a catalogue offers. It is draft-07, which editors know best. It helps with writing and is no substitute for
// Parse and Check: it sees neither expressions nor what one part of a file says of another.
func Schema(cat Catalogue) []byte {
	s := fileSchema()
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "Reprieve workflow"
	s["definitions"] = js{"steps": js{"type": "array", "items": js{"$ref": "#/definitions/step"}}, "step": stepSchema(cat)}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil { // what a catalogue holds was JSON
		return nil
	}
	return b.Bytes()
}

// described is a schema with the text that an editor shows.
func described(doc string, s js) js {
	if s["$ref"] != nil { // what stands beside one does not count in this draft
		s = js{"allOf": jsList{s}}
	}
	s = maps.Clone(s)
	s["description"] = doc
	return s
}

const durationForm = `^([0-9]+(w|d|h|ms|m|s))+$`

var (
	anyText  = js{"type": "string"}
	anyExpr  = js{"type": jsList{"string", "boolean", "number"}}
	duration = js{"type": "string", "pattern": durationForm}
	idText   = js{"type": "string", "pattern": stepID.String()}
)

// jsList is a list in a schema.
type jsList []any

func enum[T ~string](ws ...T) js {
	all := jsList{}
	for _, w := range ws {
		all = append(all, string(w))
	}
	return js{"type": "string", "enum": all}
}

func list(items js) js { return js{"type": "array", "items": items} }

// mapping is a mapping with the keys of a parser's table that can be used. What docs lacks may hold anything.
func mapping(table keys, docs map[string]js, required ...string) js {
	props := js{}
	for k, note := range table {
		if note != "" {
			continue
		}
		props[k] = js{}
		if d, ok := docs[k]; ok {
			props[k] = d
		}
	}
	s := js{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// closed is a mapping with exactly these keys.
func closed(docs map[string]js, required ...string) js {
	table := keys{}
	for k := range docs {
		table[k] = ""
	}
	return mapping(table, docs, required...)
}

// oneKey wants exactly one of those keys that can be used.
func oneKey(table keys, names ...string) jsList {
	out := jsList{}
	for _, n := range names {
		if note, ok := table[n]; ok && note == "" {
			out = append(out, js{"required": []string{n}})
		}
	}
	return out
}

func fileSchema() js { return mapping(topKeys, topDocs(), "version", "id", "triggers", "steps", "end") }

func eventKinds() []crm.EventKind { return slices.Sorted(maps.Keys(crm.TriggerKinds)) }

func triggerSchema() js {
	table := triggerKeys()
	s := mapping(table, triggerDocs(), "id")
	s["anyOf"] = oneKey(table, triggerKinds...)
	s["allOf"] = jsList{js{"if": js{"required": []string{"cron"}}, "then": js{"required": []string{"over"}}}}
	return s
}

func stepSchema(cat Catalogue) js {
	docs := stepDocs(cat)
	s := mapping(stepKeys, docs, "id")
	s["oneOf"] = oneKey(stepKeys, append(slices.Clone(stepKinds), laterKinds...)...)
	var params jsList
	for _, name := range slices.Sorted(maps.Keys(cat)) {
		if then := withSchema(name, cat[name]); then != nil {
			params = append(params, js{"if": js{"properties": js{"action": js{"const": name}}, "required": []string{"action"}}, "then": then})
		}
	}
	if len(params) > 0 {
		s["allOf"] = params
	}
	return s
}

// laterKinds are the kinds of step that the format has and a version may not.
var laterKinds = []string{"for_each", "parallel", "call"}

func actionNames(cat Catalogue) js {
	if len(cat) == 0 {
		return anyText
	}
	names := slices.Sorted(maps.Keys(cat))
	s := enum(names...)
	var about jsList
	for _, n := range names {
		about = append(about, cat[n].about())
	}
	s["enumDescriptions"] = about
	return s
}

// about says in one line what an action is and may do.
func (a ActionInfo) about() string {
	parts := []string{}
	if a.Summary != "" {
		parts = append(parts, a.Summary)
	}
	if len(a.Effects) > 0 {
		parts = append(parts, "may "+strings.Join(a.Effects, ", "))
	}
	if a.External {
		parts = append(parts, "calls the outside world")
	}
	if a.Plugin != "" {
		parts = append(parts, a.Plugin)
	}
	return strings.Join(parts, "; ")
}

// withSchema is what holds of a step with an action: the schema of its parameters, in which whatever is not a
// text may be a template too. Nil if nothing is known of them.
func withSchema(name string, info ActionInfo) js {
	var known jsonschema.Schema
	var raw struct {
		Properties map[string]js `json:"properties"`
	}
	if len(info.Schema) == 0 || json.Unmarshal(info.Schema, &known) != nil || json.Unmarshal(info.Schema, &raw) != nil {
		return nil
	}
	props := js{}
	for k, p := range raw.Properties {
		props[k] = p
		if t, _ := p["type"].(string); t == "string" && len(p) == 1 || len(p) == 2 && p["description"] != nil && t == "string" {
			continue // any text, so a template too
		}
		templated := js{"anyOf": jsList{p, js{"type": "string", "pattern": `\$\{`}}}
		if doc, ok := p["description"]; ok {
			templated["description"] = doc
		}
		props[k] = templated
	}
	with := js{"type": "object", "properties": props, "description": fmt.Sprintf("The parameters of %s", name)}
	if !open(&known) {
		with["additionalProperties"] = false
	}
	then := js{"properties": js{"with": with}}
	if n := known.MinProperties; n != nil && *n > 0 {
		with["minProperties"], then["required"] = *n, []string{"with"}
	}
	if len(known.Required) > 0 {
		with["required"] = known.Required
		then["required"] = []string{"with"}
	}
	return then
}
