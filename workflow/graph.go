package workflow

import (
	"fmt"
	"slices"
	"strings"
)

// graphSettings are the keys that a graph shows above the steps, in this order.
var graphSettings = []string{"filter", "run.key", "run.mode", "run.max", "run.reenter", "run.cancel_on", "run.timeout"}

// Graph draws the workflow as an indented tree of its triggers and steps, for a terminal.
func (w *Workflow) Graph() string {
	o := w.outline()
	var b strings.Builder
	b.WriteString(w.ID)
	if w.Name != w.ID {
		b.WriteString("  " + oneLine(w.Name))
	}
	b.WriteString("\ntriggers\n")
	for i, t := range o.triggers {
		fmt.Fprintf(&b, "%s%s: %s\n", twig(i == len(o.triggers)-1), t.id, t.says())
	}
	for _, k := range graphSettings {
		if v := o.settings[k]; v != nil {
			fmt.Fprintf(&b, "%s: %s\n", k, words(v))
		}
	}
	b.WriteString("steps\n")
	grow(&b, "", o.steps)
	if len(o.onError) > 0 {
		b.WriteString("on error\n")
		grow(&b, "", o.onError)
	}
	return b.String()
}

func twig(last bool) string {
	if last {
		return "└─ "
	}
	return "├─ "
}

// deeper is the indentation below a twig.
func deeper(indent string, last bool) string {
	if last {
		return indent + "   "
	}
	return indent + "│  "
}

func grow(b *strings.Builder, indent string, steps []stepText) {
	for i, s := range steps {
		last := i == len(steps)-1
		fmt.Fprintf(b, "%s%s%s: %s\n", indent, twig(last), s.id, s.says())
		below := deeper(indent, last)
		arms := s.ways()
		for j, a := range arms {
			end := j == len(arms)-1
			fmt.Fprintf(b, "%s%s%s\n", below, twig(end), a.cond)
			grow(b, deeper(below, end), a.steps)
		}
	}
}

// ways are what leads out of a step but for what follows it, each with its label.
func (s stepText) ways() []armText {
	var out []armText
	for _, a := range s.arms {
		label := "else"
		if a.cond != "" {
			label = "if " + a.cond
		}
		out = append(out, armText{label, a.steps})
	}
	if len(s.onError) > 0 {
		out = append(out, armText{"on error", s.onError})
	}
	return out
}

// Mermaid draws the workflow as a flowchart in the language of Mermaid.
func (w *Workflow) Mermaid() string {
	m := mermaid{}
	o := w.outline()
	m.line("flowchart TD")
	first := stepNode(o.steps, "finish")
	if f := o.settings["filter"]; f != nil {
		m.line(`filter{%s}`, label("filter: "+words(f)))
		m.line(`filter -->|yes| %s`, first)
		first = "filter"
	}
	for _, t := range o.triggers {
		m.line(`t_%s([%s])`, t.id, label(t.id+": "+t.says()))
		m.line(`t_%s --> %s`, t.id, first)
	}
	m.steps(o.steps, "finish")
	if len(o.onError) > 0 {
		m.line(`failed([a step fails]) -.-> %s`, stepNode(o.onError, "finish"))
		m.steps(o.onError, "finish")
	}
	if m.ends {
		m.line("finish([end])")
	}
	return m.String()
}

type mermaid struct {
	strings.Builder
	ends bool // something leads to the end
}

func (m *mermaid) line(format string, args ...any) {
	if m.Len() > 0 {
		m.WriteString("  ")
	}
	fmt.Fprintf(m, format+"\n", args...)
	m.ends = m.ends || slices.Contains(args, any("finish"))
}

// label quotes a text for Mermaid, whose own signs are written by their names.
func label(s string) string {
	return `"` + strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;").Replace(s) + `"`
}

// stepNode names the node where steps begin, or next if there are none.
func stepNode(steps []stepText, next string) string {
	if len(steps) == 0 {
		return next
	}
	return "s_" + steps[0].id
}

var nodeShapes = map[string][2]string{"wait": {"{{", "}}"}, "branch": {"{", "}"}, "exit": {"([", "])"}}

// steps draws steps and what leads from each to the following one, the last to next.
func (m *mermaid) steps(steps []stepText, next string) {
	for i, s := range steps {
		shape, ok := nodeShapes[s.kind]
		if !ok {
			shape = [2]string{"[", "]"}
		}
		id, after := "s_"+s.id, stepNode(steps[i+1:], next)
		m.line("%s%s%s%s", id, shape[0], label(s.id+": "+s.says()), shape[1])
		otherwise := s.kind == "branch"
		for _, a := range s.arms {
			text := "else"
			if a.cond != "" {
				text = a.cond
			}
			otherwise = otherwise && a.cond != ""
			m.line("%s -->|%s| %s", id, label(text), stepNode(a.steps, after))
		}
		switch {
		case otherwise:
			m.line("%s -->|else| %s", id, after)
		case s.kind != "branch" && s.kind != "exit":
			m.line("%s --> %s", id, after)
		}
		if len(s.onError) > 0 {
			m.line("%s -.->|on error| %s", id, stepNode(s.onError, after))
		}
		for _, a := range s.ways() {
			m.steps(a.steps, after)
		}
	}
}
