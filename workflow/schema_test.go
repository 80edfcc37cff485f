package workflow

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"github.com/reprieve-run/reprieve/triggers"
)

// schemaCatalogue has an action of each sort that a schema has to say something of.
var schemaCatalogue = Catalogue{
	"contact.delete": {Summary: "Deletes the contact", Effects: []string{"contact.delete"}, Plugin: "core@1",
		Schema: []byte(`{"type":"object","properties":{"reason":{"type":"string","description":"why"}},"additionalProperties":false}`)},
	"log.write": {Summary: "Writes a line", Plugin: "core@1",
		Schema: []byte(`{"type":"object","properties":{"level":{"enum":["info","error"]},"text":{"type":"string"}},"required":["text"],"additionalProperties":false}`)},
	"contact.tag": {Effects: []string{"contact.tag"}, Schema: []byte(`{"type":"object","properties":{"add":{"type":"array","items":{"type":"string"}},"remove":{"type":"array","items":{"type":"string"}}},"additionalProperties":false}`)},
	"acme.call":   {External: true},
}

func TestSchemaGolden(t *testing.T) {
	t.Parallel()
	golden(t, "testdata/schema/workflow.schema.json", string(Schema(schemaCatalogue)))
}

// The tables that the parser reads by and the descriptions have the same keys: what is added to one is
// added to the other.
func TestSchemaHasTheParsersKeys(t *testing.T) {
	t.Parallel()
	for what, both := range map[string]struct {
		table keys
		docs  map[string]js
	}{
		"a workflow": {topKeys, topDocs()}, "run": {runKeys, runDocs()}, "a trigger": {triggerKeys(), triggerDocs()},
		"a step": {stepKeys, stepDocs(nil)}, "a test": {testKeys, testDocs()},
	} {
		for k, note := range both.table {
			d, ok := both.docs[k]
			if text, _ := d["description"].(string); (note == "" || note == later) && (!ok || text == "") {
				t.Errorf("%s: the key %s is not described", what, k)
			}
		}
		for k := range both.docs {
			if _, ok := both.table[k]; !ok && !planned[k] {
				t.Errorf("%s: the key %s is described, and the parser does not know it", what, k)
			}
		}
	}
}

// planned are keys that are described before the parser has them.
var planned = map[string]bool{"max": true}

// probe is a place in a file: a document with a hole for a key and its value, and where the schema describes
// the mapping around the hole.
type probe struct{ doc, path string }

var probes = []probe{
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, wait: 1d}]\n%s\n", ""},
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, wait: 1d}]\nrun: {%s}\n", "run"},
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, wait: 1d}]\nrun: {reenter: {%s}}\n", "run/reenter/1"},
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, wait: 1d}]\nrun: {cancel_on: [{%s}]}\n", "run/cancel_on/[]"},
	{"version: 1\nid: w\ntriggers: [{id: t, cron: '@daily', over: contacts, dst: {%s}}]\nsteps: [{id: s, wait: 1d}]\n", "triggers/[]/dst"},
	{"version: 1\nid: w\ntriggers: [{id: t, cron: '@daily', over: contacts, misfire: {%s}}]\nsteps: [{id: s, wait: 1d}]\n", "triggers/[]/misfire"},
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, exit: {%s}}]\n", "steps/[]/exit"},
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, branch: [{%s}]}]\n", "steps/[]/branch/[]"},
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, action: a, retry: {%s}}]\n", "steps/[]/retry"},
	{"version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{%s}]\n", "steps/[]"},
}

// at finds the description of a place.
func at(t *testing.T, root map[string]any, path string) map[string]any {
	t.Helper()
	deref := func(s map[string]any) map[string]any {
		if ref, ok := s["$ref"].(string); ok {
			return root["definitions"].(map[string]any)[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		return s
	}
	s := root
	for part := range strings.SplitSeq(path, "/") {
		s = deref(s)
		switch part {
		case "":
		case "[]":
			s = s["items"].(map[string]any)
		case "1":
			s = s["anyOf"].([]any)[1].(map[string]any)
		default:
			next, ok := s["properties"].(map[string]any)[part].(map[string]any)
			if !ok {
				return nil
			}
			s = next
		}
	}
	return deref(s)
}

// possible asks the parser what it would take in the hole: its hint for a word that is like none.
func possible(doc, hole, code string) []string {
	_, err := Parse("probe.yaml", fmt.Appendf(nil, doc, hole))
	for _, d := range triggers.Findings(err) {
		if words, ok := strings.CutPrefix(d.Hint, "possible here: "); ok && d.Code == code {
			return slices.Sorted(slices.Values(strings.Split(words, ", ")))
		}
	}
	return nil
}

// TestSchemaAgreesWithTheParser asks the parser, at each place of the format, which keys and which words it
// would take there, and holds the schema to that.
func TestSchemaAgreesWithTheParser(t *testing.T) {
	t.Parallel()
	var root map[string]any
	if err := json.Unmarshal(Schema(nil), &root); err != nil {
		t.Fatal(err)
	}
	for _, p := range probes {
		s := at(t, root, p.path)
		if s == nil {
			continue // a key that is not built yet
		}
		props, _ := s["properties"].(map[string]any)
		if want := possible(p.doc, "qqqqqqqqqqqqqqq: 1", "E201"); !slices.Equal(slices.Sorted(maps.Keys(props)), want) {
			t.Errorf("%q: the schema has the keys %v, the parser %v", p.path, slices.Sorted(maps.Keys(props)), want)
		}
		for key, val := range props {
			s := val.(map[string]any)
			if ways, ok := s["anyOf"].([]any); ok {
				s = ways[0].(map[string]any)
			}
			words, ok := s["enum"].([]any)
			if _, text := slices.Concat(words, []any{0})[0].(string); !ok || !text {
				continue
			}
			var have []string
			for _, w := range words {
				have = append(have, fmt.Sprint(w))
			}
			slices.Sort(have)
			if want := possible(p.doc, key+": qqqqqqqqqqqqqqqqqqqqqqq", "E205"); !slices.Equal(have, want) {
				t.Errorf("%s/%s: the schema has the words %v, the parser %v", p.path, key, have, want)
			}
		}
	}
	trigger := "version: 1\nid: w\ntriggers: [{id: t, %s}]\nsteps: [{id: s, wait: 1d}]\n"
	for key, more := range map[string]string{"event": "", "over": "cron: '@daily', "} {
		words := at(t, root, "triggers/[]/"+key)["enum"].([]any)
		var have []string
		for _, w := range words {
			have = append(have, fmt.Sprint(w))
		}
		slices.Sort(have)
		if want := possible(trigger, more+key+": qqqqqqqqqqqqqqqqqqqqqqqqqqqq", "E205"); !slices.Equal(have, want) {
			t.Errorf("%s: the schema has the words %v, the parser %v", key, have, want)
		}
	}
}

// resolved reads a schema as an editor would.
func resolved(t *testing.T, raw []byte) *jsonschema.Resolved {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	s.Schema = "" // the library knows a later draft; what is used here is the same in both
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// An editor that knows the schema has nothing against files that the parser takes.
func TestSchemaTakesGoodFiles(t *testing.T) {
	t.Parallel()
	s := resolved(t, Schema(nil))
	all := files(t, "testdata/good/*.yaml")
	maps.Copy(all, files(t, "testdata/graph/*.yaml"))
	examples, _ := filepath.Glob("../examples/*/workflows/*.yaml")
	own, _ := filepath.Glob("../examples/workflows/*.yaml")
	if examples = append(examples, own...); len(own) < 10 {
		t.Fatalf("only %d examples", len(own))
	}
	for _, name := range examples {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = src
	}
	for name, src := range all {
		if err := s.Validate(asJSON(t, src)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func asJSON(t *testing.T, src []byte) (v any) {
	t.Helper()
	if err := yaml.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The schema says of actions what Check says.
func TestSchemaKnowsActions(t *testing.T) {
	t.Parallel()
	s := resolved(t, Schema(schemaCatalogue))
	for step, good := range map[string]bool{
		"{action: contact.delete}":                                                  true,
		"{action: contact.delete, with: {reason: gone}}":                            true,
		"{action: contact.delete, with: {raison: gone}}":                            false,
		"{action: contact.delete, with: {reason: [gone]}}":                          false,
		"{action: contact.delte}":                                                   false,
		"{action: log.write, with: {text: hi, level: error}}":                       true,
		"{action: log.write, with: {text: hi, level: loud}}":                        false,
		"{action: log.write, with: {text: hi, level: '${ contact.fields.level }'}}": true,
		"{action: log.write, with: {level: error}}":                                 false,
		"{action: log.write}":                                                       false,
		"{action: contact.tag, with: {add: '${ contact.tags }'}}":                   true,
		"{action: contact.tag, with: {add: VIP}}":                                   false,
		"{action: acme.call, with: {whatever: 1}}":                                  true,
	} {
		src := []byte("version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps:\n  - " + strings.Replace(step, "{", "{id: s, ", 1) + "\nend: true\n")
		if err := s.Validate(asJSON(t, src)); (err == nil) != good {
			t.Errorf("%s: the schema says %v", step, err)
		}
		w, err := Parse("w.yaml", src)
		if err != nil {
			t.Fatal(err)
		}
		if found := Check(w, schemaCatalogue); (len(found) == 0) != good {
			t.Errorf("%s: Check says %v", step, found)
		}
	}
}

// What a case sends is known to the schema as it is to the parser.
func TestSchemaKnowsWhatIsSent(t *testing.T) {
	t.Parallel()
	s := resolved(t, Schema(nil))
	for send, good := range map[string]bool{
		"{event: contact.tag_added, tag: x}":                          true,
		"{event: record.created, kind: note, title: a, body: b}":      true,
		"{webhook: hook, body: {a: {b: [1]}}, contact: c1}":           true,
		"{event: contact.tag_adde, tag: x}":                           false,
		"{webhook: hook}":                                             false,
		"{webhook: hook, body: {}, event: contact.tag_added, tag: x}": false,
		"{webhook: hook, bdy: {}}":                                    false,
		"{}":                                                          false,
	} {
		for _, form := range []string{"send: %s, ", "then: [{send: %s}], "} {
			src := []byte("version: 1\nid: w\ntriggers: [{id: hook, webhook: {contact: event.body.a}}]\nsteps: [{id: s, wait: 1d}]\n" +
				"tests:\n  - {name: a, contact: {id: c1}, " + fmt.Sprintf(form, send) + "expect: {runs: 0}}\nend: true\n")
			if err := s.Validate(asJSON(t, src)); (err == nil) != good {
				t.Errorf("%s: the schema says %v", send, err)
			}
			if _, err := Parse("w.yaml", src); (err == nil) != good {
				t.Errorf("%s: Parse says %v", send, err)
			}
		}
	}
}
