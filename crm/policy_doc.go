package crm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// All is the value of restore.associated, and of each kind below it, that brings everything back.
const All = "all"

// backPath may be one word for all kinds below it.
const backPath = "restore.associated"

// ParsePolicy reads a policy document: a tree as decoders of YAML and JSON hand it out. It starts from
// the preset that the document names, or the default. Every mistake is reported at once, in one Error
// of CodeInvalid, a line each that begins with the key's path.
func ParsePolicy(doc map[string]any) (Policy, error) {
	p := DefaultPolicy()
	flat := map[string]any{}
	knobs := Knobs()
	mistakes := flatten(knobs, "", doc, flat)
	mistakes = append(mistakes, p.put(knobs, flat)...)
	return p.unless("read the policy", mistakes)
}

// With gives the policy with changes by dotted path. A text stands for a value of any kind: "60d",
// "5000", "true", "admin, operator". A change of the preset starts anew from that, and the other
// changes override it. Mistakes are reported as ParsePolicy does; p itself stays as it is.
func (p Policy) With(changes map[string]any) (Policy, error) {
	next := p.Clone()
	return next.unless("change the policy", next.change(changes))
}

// unless gives p, or an Error with the mistakes.
func (p Policy) unless(op string, mistakes []error) (Policy, error) {
	if len(mistakes) == 0 {
		return p, nil
	}
	slices.SortFunc(mistakes, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return Policy{}, Errorf(op, CodeInvalid, "%w", errors.Join(mistakes...)).
		WithHint("correct these keys; nothing was changed, and docs/policy.md says of each key what it may be")
}

// change makes changes by dotted path in place.
func (p *Policy) change(changes map[string]any) (mistakes []error) {
	knobs, flat, kinds := Knobs(), map[string]any{}, map[string]any{}
	for path, v := range changes {
		i := slices.IndexFunc(knobs, func(k Knob) bool { return k.Path == path })
		text, isText := v.(string)
		if text = strings.TrimSpace(text); isText {
			v = text
		}
		switch {
		case path == backPath:
			mistakes = append(mistakes, allKinds(v, kinds)...)
		case i < 0:
			mistakes = append(mistakes, unknownPath(knobs, path))
		case isText:
			flat[path] = knobs[i].text(text)
		default:
			flat[path] = v
		}
	}
	maps.Copy(kinds, flat) // a kind that is named by itself wins
	return append(mistakes, p.put(knobs, kinds)...)
}

// put sets what flat holds, in the order of the table, so that the preset comes first.
func (p *Policy) put(knobs []Knob, flat map[string]any) (mistakes []error) {
	for _, k := range knobs {
		if v, ok := flat[k.Path]; ok && !k.set(p, v) {
			mistakes = append(mistakes, k.refuse(v))
		}
	}
	return mistakes
}

// flatten lays the leaves of a tree into flat by dotted path, and complains of keys that are not there.
func flatten(knobs []Knob, prefix string, tree, flat map[string]any) (mistakes []error) {
	names, groups := below(knobs, prefix)
	for key, v := range tree {
		path := prefix + key
		sub, isTree := v.(map[string]any)
		switch {
		case !slices.Contains(names, key):
			mistakes = append(mistakes, unknownKey(knobs, prefix, key, names))
		case !groups[key]:
			flat[path] = v
		case isTree:
			mistakes = append(mistakes, flatten(knobs, path+".", sub, flat)...)
		case path == backPath:
			mistakes = append(mistakes, allKinds(v, flat)...)
		default:
			inside, _ := below(knobs, path+".")
			mistakes = append(mistakes, fmt.Errorf("%s: must have keys of its own: %s", path, strings.Join(inside, ", ")))
		}
	}
	return mistakes
}

// allKinds spreads one word for restore.associated over the kinds.
func allKinds(v any, flat map[string]any) []error {
	if v != All && v != string(None) {
		k := Knob{Path: backPath, Legal: "all | none | a key for each kind", values: []value{{name: All}, {name: string(None)}}}
		return []error{k.refuse(v)}
	}
	for _, a := range associatedKinds {
		flat[backPath+"."+a.name] = v
	}
	return nil
}

// below gives the keys right below a prefix, and which of them have keys of their own.
func below(knobs []Knob, prefix string) (names []string, groups map[string]bool) {
	groups = map[string]bool{}
	for _, k := range knobs {
		rest, ok := strings.CutPrefix(k.Path, prefix)
		if !ok {
			continue
		}
		name, _, more := strings.Cut(rest, ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		groups[name] = more
	}
	return names, groups
}

// unknownKey complains of a key in a document: it may be misspelt, or belong somewhere else.
func unknownKey(knobs []Knob, prefix, key string, names []string) error {
	if !plainWord(key) {
		return fmt.Errorf("%s…: there is no such key; the keys here are %s", prefix, strings.Join(names, ", "))
	}
	hint := "the keys here are " + strings.Join(names, ", ")
	if w := nearest(key, names); w != "" {
		hint = "did you mean " + prefix + w + "?"
	} else if path := endsIn(knobs, key); path != "" {
		hint = "did you mean " + path + "?"
	}
	return fmt.Errorf("%s%s: there is no such key; %s", prefix, key, hint)
}

// unknownPath complains of a dotted path.
func unknownPath(knobs []Knob, path string) error {
	for s := range strings.SplitSeq(path, ".") {
		if !plainWord(s) || len(path) > 64 {
			return errors.New("…: there is no such key; write its path, as in delete.confirm=none")
		}
	}
	if names, _ := below(knobs, path+"."); len(names) > 0 {
		return fmt.Errorf("%s: has keys of its own: %s", path, strings.Join(names, ", "))
	}
	paths := []string{backPath}
	for _, k := range knobs {
		paths = append(paths, k.Path)
	}
	hint := nearest(path, paths)
	if hint == "" {
		hint = endsIn(knobs, path)
	}
	if hint != "" {
		hint = "; did you mean " + hint + "?"
	}
	return fmt.Errorf("%s: there is no such key%s", path, hint)
}

// endsIn gives the first path whose last part is name.
func endsIn(knobs []Knob, name string) string {
	for _, k := range knobs {
		if strings.HasSuffix(k.Path, "."+name) {
			return k.Path
		}
	}
	return ""
}

// leaf is a line of the document.
type leaf struct {
	path  []string
	value any
}

// leaves gives the whole document in order; restore.associated is one word where it can be.
func (p Policy) leaves() []leaf {
	back := 0
	for _, a := range associatedKinds {
		if p.Restore.Associated[a.kind] {
			back++
		}
	}
	var all []leaf
	for _, k := range Knobs() {
		path, v := k.Path, k.get(&p)
		if strings.HasPrefix(path, backPath+".") && (back == 0 || back == len(associatedKinds)) {
			if path = backPath; strings.Join(all[len(all)-1].path, ".") == path {
				continue
			}
		}
		all = append(all, leaf{strings.Split(path, "."), v})
	}
	return all
}

// MarshalJSON writes the whole document in the order of Knobs: every key, whatever the preset says of it.
func (p Policy) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	var open []string // the groups that we are in
	comma := ""
	for _, l := range p.leaves() {
		group, name := l.path[:len(l.path)-1], l.path[len(l.path)-1]
		same := 0
		for same < min(len(open), len(group)) && open[same] == group[same] {
			same++
		}
		if n := len(open) - same; n > 0 {
			b.WriteString(strings.Repeat("}", n))
		}
		for _, g := range group[same:] {
			fmt.Fprintf(&b, "%s%q:{", comma, g)
			comma = ""
		}
		value, err := json.Marshal(l.value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s%q:%s", comma, name, value)
		open, comma = group, ","
	}
	return fmt.Appendf(nil, "{%s%s}", b.Bytes(), strings.Repeat("}", len(open))), nil
}

// YAML writes the whole document as people do: to be shown, changed and given back.
func (p Policy) YAML() string {
	var b strings.Builder
	var open []string
	for _, l := range p.leaves() {
		last := len(l.path) - 1
		for i, name := range l.path[:last] {
			if !slices.Equal(open[:min(i+1, len(open))], l.path[:i+1]) {
				fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), name)
			}
		}
		value := showValue(l.value)
		if _, list := l.value.([]string); list {
			value = "[" + value + "]"
		}
		fmt.Fprintf(&b, "%s%s: %s\n", strings.Repeat("  ", last), l.path[last], value)
		open = l.path[:last]
	}
	return b.String()
}

// UnmarshalJSON is ParsePolicy over JSON.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return Errorf("read the policy", CodeInvalid, "it is not a document of keys and values").
			WithHint("write it as docs/policy.md shows it")
	}
	if doc == nil { // null changes nothing, as everywhere in JSON
		return nil
	}
	next, err := ParsePolicy(doc)
	if err == nil {
		*p = next
	}
	return err
}
