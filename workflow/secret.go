package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// secretForm is how a file names a secret: alone, so that no expression can take it apart, compare it or put it
// into what is kept.
var secretForm = regexp.MustCompile(`^\$\{\s*secrets\.([a-z][a-z0-9_]{0,62})\s*\}$`)

// secretWord finds what was meant as one.
var secretWord = regexp.MustCompile(`\$\{\s*([^}"'` + "`" + `]*[^\w."'` + "`" + `}])?secrets\b`)

// Secret is a place in a step's parameters where a secret of the operator belongs. Its value is no part of what
// With gives: it is put in only on the way to the plugin, and nothing keeps it.
type Secret struct {
	Name string
	path []any // keys and indices
	at   span
}

// Secrets gives the secrets that the step's action is sent.
func (n *Node) Secrets() []Secret { return n.With.secrets(nil) }

func (v *Value) secrets(path []any) (all []Secret) {
	switch {
	case v == nil:
	case v.secret != "":
		all = []Secret{{v.secret, slices.Clone(path), v.at}}
	default:
		for i, item := range v.list {
			all = append(all, item.secrets(append(path, i))...)
		}
		for _, p := range v.pairs {
			all = append(all, p.val.secrets(append(path, p.key))...)
		}
	}
	return all
}

// Fill puts the values of secrets into parameters that With gave. It fails if they are none.
func Fill(params []byte, secrets []Secret, values map[string]string) ([]byte, error) {
	var root any
	d := json.NewDecoder(bytes.NewReader(params))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		return nil, err
	}
	for _, s := range secrets {
		at := root
		for i, key := range s.path {
			last := i == len(s.path)-1
			switch key := key.(type) {
			case string:
				m := at.(map[string]any) // what With gives has the shape of the file
				if last {
					m[key] = values[s.Name]
				}
				at = m[key]
			case int:
				l := at.([]any)
				if last {
					l[key] = values[s.Name]
				}
				at = l[key]
			}
		}
	}
	return json.Marshal(root)
}

// secret takes a text that names a secret, and refuses one that does anything else with it.
func (r *stepReader) secret(v *Value, n *yaml.Node) bool {
	if m := secretForm.FindStringSubmatch(n.Value); m != nil {
		v.secret = m[1]
		return true
	}
	if !secretWord.MatchString(n.Value) {
		return false
	}
	r.fail(codeSecret, r.span(n), "let the whole text be ${ secrets.name }, a name of a-z, 0-9 and _", "a secret stands alone")
	return true
}

// noSecrets refuses secrets where what is made of them would be kept.
func (r *reader) noSecrets(v *Value) {
	switch {
	case v == nil:
	case v.secret != "":
		r.fail(codeSecret, v.at, "give it to an action: with: {token: ${ secrets."+v.secret+" }}", "a secret is for an action's parameters, not for what the journal keeps")
	}
	if v != nil {
		for _, item := range v.list {
			r.noSecrets(item)
		}
		for _, p := range v.pairs {
			r.noSecrets(p.val)
		}
	}
}

// meant gives the schema that another one refers to, itself if it refers to none.
func (p *params) meant(s *jsonschema.Schema) *jsonschema.Schema {
	if s != nil {
		if to, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok && p.root.Defs[to] != nil {
			return p.root.Defs[to]
		}
	}
	return s
}

// written says whether a value stands in the file itself: it is neither a reference, nor worked out by a run, nor a
// list or a mapping.
func (v *Value) written() bool {
	switch {
	case v.secret != "":
		return false
	case v.text != nil:
		_, literal := v.text.Literal()
		return literal
	}
	return v.kind == yaml.ScalarNode && v.plain != nil
}

// credentials are headers that hold what only the operator should know.
var credentials = []string{"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token"}

// warnHeaders warns of headers in which a credential stands as it is. Where the schema asks for secrets, secretsFit
// has refused it.
func (p *params) warnHeaders(with *Value, want *jsonschema.Schema) {
	for _, pair := range with.pairs {
		if strings.ToLower(pair.key) != "headers" {
			continue
		}
		if of := p.meant(want.Properties[pair.key]); of != nil && of.AdditionalProperties != nil && p.meant(of.AdditionalProperties).WriteOnly {
			continue
		}
		hint := "a workflow's file is no place for it: let the operator have the action send that header"
		if of := want.Properties["bearer"]; of != nil && of.WriteOnly {
			hint = "write bearer: ${ secrets.its_name }, or let the operator have the action send that header (actions.yaml)"
		}
		for _, h := range pair.val.pairs {
			if slices.Contains(credentials, strings.ToLower(h.key)) && h.val.written() {
				p.warn(warnCredential, h.val.at, hint, "the header %s stands in the file, for everybody who can read it", h.key)
			}
		}
	}
}

// secretsFit refuses a secret for a parameter that the action did not make for one: what is not, may be logged,
// shown, or written to the contact. A place that no schema speaks of is none. And it refuses anything that stands
// in the file itself where a secret belongs.
func (p *params) secretsFit(name string, v *Value, want *jsonschema.Schema) {
	want = p.meant(want)
	if v.secret != "" && (want == nil || !want.WriteOnly) {
		p.fail(codeSecret, v.at, "the action's author marks a parameter that does with writeOnly in its schema", "%s takes no secret there: %s", p.action, name)
	}
	if want != nil && want.WriteOnly && v.written() {
		p.fail(codeSecret, v.at, "have the operator set it in actions.yaml, and write ${ secrets.its_name }", "%s is a parameter for a secret, which no file may hold", name)
	}
	for i, item := range v.list {
		var of *jsonschema.Schema
		if want != nil {
			of = want.Items
		}
		p.secretsFit(fmt.Sprintf("%s[%d]", name, i), item, of)
	}
	for _, pair := range v.pairs {
		var of *jsonschema.Schema
		if want != nil {
			if of = want.Properties[pair.key]; of == nil {
				of = want.AdditionalProperties
			}
		}
		p.secretsFit(name+"."+pair.key, pair.val, of)
	}
}
