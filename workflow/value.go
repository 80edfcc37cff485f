package workflow

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

// maxEval is how much text a Value may give, in bytes: a batch of a thousand contacts is at most 1 MiB
// on its way to a plugin, and one item cannot be split.
const maxEval = 512 << 10

// Value is what stands under with: texts are templates, the rest is as it is. The zero Value is null.
type Value struct {
	text   *triggers.Template
	secret string // the name of a secret, which stands in its place
	mixed  bool   // the text is text whatever its templates give
	plain  any    // nil, bool, int64 or float64
	list   []*Value
	pairs  []pair
	kind   yaml.Kind
	at     span
}

// pair is a key of a mapping with its value, in the order of the file.
type pair struct {
	key string
	at  span
	val *Value
}

// Eval fills in the templates and gives a value that encoding/json can write: nil, bool, int64,
// float64, string, []any, map[string]any, or whatever type a lone ${ } has. The error names the
// place below with; its text holds no value.
func (v *Value) Eval(env triggers.Env) (any, error) {
	left := maxEval
	return v.eval(env, "with", &left)
}

func (v *Value) eval(env triggers.Env, path string, left *int) (any, error) {
	switch {
	case v == nil:
		return nil, nil
	case v.secret != "":
		return "${ secrets." + v.secret + " }", nil
	case v.text != nil:
		x, err := v.text.Eval(env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return x, measure(x, path, left)
	case v.kind == yaml.SequenceNode:
		out := make([]any, len(v.list))
		for i, item := range v.list {
			x, err := item.eval(env, path+"["+strconv.Itoa(i)+"]", left)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	case v.kind == yaml.MappingNode:
		out := make(map[string]any, len(v.pairs))
		for _, p := range v.pairs {
			x, err := p.val.eval(env, path+"."+p.key, left)
			if err != nil {
				return nil, err
			}
			out[p.key] = x
		}
		return out, nil
	}
	return v.plain, nil
}

// measure refuses what JSON cannot hold and what is too long. Left is what the whole value may
// still take.
func measure(x any, path string, left *int) error {
	switch x := x.(type) {
	case nil, bool:
		*left--
	case string:
		*left -= len(x)
	default:
		b, err := json.Marshal(x)
		if err != nil {
			return crm.Errorf("evaluate "+path, crm.CodeInvalid, "the value cannot be written as JSON").
				WithHint("check it for a division by zero and the like")
		}
		*left -= len(b)
	}
	if *left < 0 {
		return crm.Errorf("evaluate "+path, crm.CodeInvalid, "the parameters are longer than %d KiB", maxEval>>10).
			WithHint("pass less to the action: an id instead of a text")
	}
	return nil
}

var (
	integer  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	fraction = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+|(\.[0-9]+)?[eE][-+]?[0-9]+)$`)
)

// value reads what stands under with. YAML's other ways to write a number are refused: 0123 would
// be 83, 1_000 a thousand, and a number of twenty digits would lose some.
func (r *stepReader) value(n *yaml.Node) *Value {
	v := &Value{kind: n.Kind, at: r.span(n)}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, c := range n.Content {
			v.list = append(v.list, r.value(c))
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			v.pairs = append(v.pairs, pair{k.Value, r.span(k), r.value(n.Content[i+1])})
		}
	case yaml.ScalarNode:
		r.leaf(v, n)
	}
	return v
}

func (r *stepReader) leaf(v *Value, n *yaml.Node) {
	switch n.Tag {
	case "!!null":
	case "!!bool":
		v.plain = n.Value[0] == 't' || n.Value[0] == 'T'
	case "!!int", "!!float":
		if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil && integer.MatchString(n.Value) {
			v.plain = i
			return
		}
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && fraction.MatchString(n.Value) {
			v.plain = f
			return
		}
		r.fail(codeNumber, r.span(n), "write '"+n.Value+"' in quotes if it is meant as text, as a phone number is",
			"this is not a plain decimal number, and would change its value")
	default:
		if r.secret(v, n) {
			return
		}
		v.text = r.template(n)
		v.mixed = !strings.HasPrefix(n.Value, "${") || !strings.HasSuffix(n.Value, "}")
	}
}
