package workflow

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// outline is a workflow as its file writes it: what graphs and differences show is the author's text, not
// what became of it. It is read from the source of a workflow that Parse has accepted, so nothing in it is
// wrong and nothing is checked again.
type outline struct {
	settings map[string]*yaml.Node // name, filter, on_error, tests, and the keys of run as run.key
	triggers []item
	steps    []stepText
	onError  []stepText
}

// item is a trigger, or what a step says of itself: its keys without its id.
type item struct {
	id   string
	keys []named // in the order of the file
}

type named struct {
	key string
	val *yaml.Node
}

// stepText is a step with those that are nested in it.
type stepText struct {
	item
	kind    string // action, wait, branch, …
	arms    []armText
	onError []stepText
}

// armText is a way out of a branch; one without a condition is the else.
type armText struct {
	cond  string
	steps []stepText
}

// outline reads the workflow's source.
func (w *Workflow) outline() outline {
	o := outline{settings: map[string]*yaml.Node{}}
	_, text, _ := load(w.File, w.Source)
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return o
	}
	for _, e := range pairs(doc.Content[0]) {
		switch e.key {
		case "version", "id", "end":
		case "triggers":
			for _, n := range e.val.Content {
				o.triggers = append(o.triggers, read(n))
			}
		case "steps":
			o.steps = readSteps(e.val)
		case "on_error":
			o.onError = readSteps(e.val)
		case "run":
			for _, r := range pairs(e.val) {
				o.settings["run."+r.key] = r.val
			}
		default:
			o.settings[e.key] = e.val
		}
	}
	return o
}

func pairs(n *yaml.Node) []named {
	var out []named
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			out = append(out, named{n.Content[i].Value, n.Content[i+1]})
		}
	}
	return out
}

func read(n *yaml.Node) item {
	var it item
	for _, e := range pairs(n) {
		if e.key == "id" {
			it.id = e.val.Value
		} else {
			it.keys = append(it.keys, e)
		}
	}
	return it
}

func (it item) get(key string) *yaml.Node {
	if i := slices.IndexFunc(it.keys, func(e named) bool { return e.key == key }); i >= 0 {
		return it.keys[i].val
	}
	return nil
}

func readSteps(list *yaml.Node) []stepText {
	var out []stepText
	for _, n := range list.Content {
		s := stepText{item: read(n)}
		var own []named
		for _, e := range s.keys {
			nested := e.key == "on_error" && e.val.Kind == yaml.SequenceNode
			if nested {
				s.onError = readSteps(e.val)
			} else {
				own = append(own, e)
			}
			if slices.Contains(stepKinds, e.key) {
				s.kind = e.key
			}
			if e.key == "branch" {
				for _, a := range e.val.Content {
					s.arms = append(s.arms, readArm(a))
				}
			}
		}
		s.keys = own
		out = append(out, s)
	}
	return out
}

func readArm(n *yaml.Node) armText {
	var a armText
	for _, e := range pairs(n) {
		switch e.key {
		case "if":
			a.cond = oneLine(e.val.Value)
		case "steps":
			a.steps = readSteps(e.val)
		}
	}
	return a
}

// says is what a step does, on one line.
func (s stepText) says() string {
	val := s.get(s.kind)
	var text string
	switch {
	case val == nil:
	case s.kind == "action":
		text = val.Value
	case s.kind == "branch":
		text = "branch"
	case s.kind == "exit":
		for _, e := range pairs(val) {
			if text += " " + oneLine(e.val.Value); e.key == "status" && len(pairs(val)) > 1 {
				text += ":"
			}
		}
		text = "exit" + text
	default:
		text = s.kind + " " + words(val)
	}
	for _, e := range s.keys {
		if e.key != s.kind && e.key != "with" {
			text += ", " + e.key + " " + words(e.val)
		}
	}
	return text
}

// says is what a trigger is on, on one line.
func (it item) says() string {
	var parts []string
	for _, e := range it.keys {
		text := e.key + " " + words(e.val)
		if e.key == "event" {
			text = words(e.val)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// words writes a value on one line as a person would read it out.
func words(n *yaml.Node) string {
	switch n.Kind {
	case yaml.ScalarNode:
		return oneLine(n.Value)
	case yaml.SequenceNode:
		var items []string
		for _, c := range n.Content {
			items = append(items, words(c))
		}
		return "[" + strings.Join(items, "; ") + "]"
	}
	var items []string
	for _, e := range pairs(n) {
		items = append(items, e.key+" "+words(e.val))
	}
	return strings.Join(items, ", ")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// canon writes a key's value so that two that mean the same are the same text. Of a branch it is the
// conditions alone: the steps below it speak for themselves.
func (e named) canon() string {
	if e.key != "branch" {
		return canon(e.val)
	}
	text := ""
	for _, n := range e.val.Content {
		text += strconv.Quote(readArm(n).cond)
	}
	return text
}

// canon is without comments, styles and the order of keys.
func canon(n *yaml.Node) string {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.ShortTag() + strconv.Quote(n.Value)
	case yaml.SequenceNode:
		var items []string
		for _, c := range n.Content {
			items = append(items, canon(c))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	var items []string
	for _, e := range pairs(n) {
		items = append(items, strconv.Quote(e.key)+canon(e.val))
	}
	slices.Sort(items)
	return "{" + strings.Join(items, ",") + "}"
}
