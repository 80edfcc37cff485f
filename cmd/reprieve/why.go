package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/triggers"
)

// verdict prints what a trigger said, and which values decided.
func verdict(w writer, v runtime.Verdict) {
	line := fmt.Sprintf("%s/%s  %s: %s", v.Workflow, v.Trigger, v.On, answer(v))
	if v.Entry != 0 {
		line += fmt.Sprintf(" (entry %d)", v.Entry)
	}
	lines(w, "", line)
	conditions(w, "if", v.Parts)
	conditions(w, "filter", v.Filter)
}

// answers say in words what became of a trigger.
var answers = map[runtime.Answer]string{
	runtime.AnsweredStarted: "it started a run",
	runtime.AnsweredYes:     "it matches",
	runtime.AnsweredNo:      "it does not match",
	runtime.AnsweredFilter:  "it matches, but the filter does not let the contact through",
	runtime.AnsweredPaused:  "it matches, but the workflow is paused",
	runtime.AnsweredKey:     "it matches, but run.key is taken by another run",
	runtime.AnsweredNoEvent: "there is no such event",
}

// refusals say in words why nothing may start.
var refusals = map[crm.Refusal]string{
	crm.RefusedKind:    "no workflow is started by such an event",
	crm.RefusedCause:   "a restore, a purge, an import or late mail caused the event, and that starts nothing",
	crm.RefusedState:   "the contact is not in the state that the trigger goes over",
	crm.RefusedArchive: "the contact is archived",
	crm.RefusedEpoch:   "the contact was deleted or restored since",
	crm.RefusedQuiet:   "nothing that it reads has changed since the contact was restored",
	crm.RefusedDepth:   "too many workflows have set each other off",
	crm.RefusedUnknown: "the event cannot be read any more",
}

func answer(v runtime.Verdict) string {
	switch v.Answer {
	case runtime.AnsweredRefused:
		return "refused (" + string(v.Refusal) + "): " + refusals[v.Refusal]
	case runtime.AnsweredStarted:
		return answers[v.Answer] + " " + v.Run.String()
	case runtime.AnsweredNo:
		if v.Why != "" {
			return answers[v.Answer] + ": " + v.Why
		}
	}
	return answers[v.Answer]
}

// partsText is a condition on one line: each of its parts, what it came to, and what it read.
func partsText(parts []triggers.Part) []string {
	var out []string
	for _, p := range parts {
		line, read := partText(p, func(s string) string { return s })
		if len(read) > 0 {
			line += "  — " + strings.Join(read, ", ")
		}
		out = append(out, line)
	}
	return out
}

// partText says what a part came to, and of each name that it read what that was, as show shows it.
func partText(p triggers.Part, show func(string) string) (line string, read []string) {
	switch p.Result {
	case "not_looked_at":
		line = p.Text + " was not looked at"
	case "unknown":
		line = p.Text + " depends on " + p.Error
	case "error":
		line = p.Text + " cannot be decided: " + p.Error
	case "given":
		line = p.Text
	default:
		line = p.Text + " is " + p.Result
	}
	for _, name := range slices.Sorted(maps.Keys(p.Values)) {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(p.Values[name]) == nil {
			read = append(read, name+" = "+show(strings.TrimSpace(b.String())))
		}
	}
	return line, read
}

// maxShown is how many characters of a value people see; -o json has all of it. maxLine is how wide a line is.
const (
	maxShown = 60
	maxLine  = 110
)

type writer = interface{ Write([]byte) (int, error) }

func cut(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}

// lines prints a text, and goes on below it, further in, where it is too wide.
func lines(w writer, indent, text string) {
	rest := []rune(indent + safe(text))
	for len(rest) > maxLine {
		at := maxLine
		for at > len(indent)+8 && rest[at] != ' ' {
			at--
		}
		if rest[at] != ' ' { // one long word
			at = maxLine
		}
		fmt.Fprintln(w, strings.TrimRight(string(rest[:at]), " "))
		rest = append([]rune(indent+"        "), rest[at:]...)
		if rest[len(indent)+8] == ' ' {
			rest = append(rest[:len(indent)+8], rest[len(indent)+9:]...)
		}
	}
	fmt.Fprintln(w, strings.TrimRight(string(rest), " "))
}

// detail prints something about what stands above it.
func detail(w writer, label, text string) { lines(w, "    ", fmt.Sprintf("%-7s %s", label, text)) }

// conditions prints the parts of a condition, and what they read behind them if there is room, else below.
func conditions(w writer, label string, parts []triggers.Part) {
	for _, p := range parts {
		line, read := partText(p, cut)
		if all := line + "  — " + strings.Join(read, ", "); len(read) > 0 && utf8.RuneCountInString(all) <= maxLine-12 {
			line, read = all, nil
		}
		detail(w, label, line)
		for _, r := range read {
			lines(w, "            ", "— "+r)
		}
	}
}

func (c *cli) workflowExplain() *cobra.Command {
	var q server.WorkflowExplain
	cmd := &cobra.Command{Use: "explain [--contact CONTACT | --event ENTRY]", Short: "Say of every trigger whether it matched, and which values decided",
		Long: "For an entry of the log, as reprieve contact history numbers them: what each trigger on events said of it.\n" +
			"For a contact: what each said of the latest event of its kind, and what each schedule says now. Filters, keys\n" +
			"and pauses are looked at as they are now.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (q.Contact == "") == (q.Event == 0) {
				return usage{errors.New("give either --contact CONTACT or --event ENTRY")}
			}
			var v server.Explained
			if err := c.call(cmd.Context(), "workflow.explain", q, &v, nil); err != nil {
				return err
			}
			return c.explained(v)
		}}
	cmd.Flags().StringVar(&q.Contact, "contact", "", "a contact")
	cmd.Flags().Uint64Var(&q.Event, "event", 0, "the number of an entry of the log")
	cmd.Flags().StringVar(&q.Workflow, "workflow", "", "only this workflow")
	return cmd
}

func (c *cli) explained(v server.Explained) error {
	if v.Waiting > 0 {
		fmt.Fprintf(c.err, "note: %s of the log not yet looked at by triggers\n", plural(v.Waiting, "entry"))
	}
	if e := v.Event; e != nil && c.format == "table" {
		fmt.Fprintln(c.err, safe(strings.TrimSpace(fmt.Sprintf("entry %d: %s %s, %s, by %s, cause %s", e.Entry, e.Kind, e.Name, stamp(e.At), e.By, e.Cause))))
	}
	if c.format == "table" {
		for _, r := range v.Triggers {
			if v.Event != nil {
				r.Entry = 0
			}
			verdict(c.out, r)
		}
	}
	t, items := table{{"workflow", "trigger", "on", "entry", "answer", "why"}}, []any{}
	for _, r := range v.Triggers {
		why := partsText(r.Parts)
		for _, f := range partsText(r.Filter) {
			why = append(why, "filter: "+f)
		}
		entry := ""
		if r.Entry != 0 && v.Event == nil {
			entry = strconv.FormatUint(r.Entry, 10)
		}
		t = append(t, []string{r.Workflow, r.Trigger, r.On, entry, answer(r), strings.Join(why, "; ")})
		items = append(items, r)
	}
	if c.format != "table" {
		return c.print(v, items, t)
	}
	for _, s := range v.Suppressed {
		lines(c.err, "", fmt.Sprintf("suppressed %s: %s %s (%s): %s", stamp(s.At), s.Trigger, s.Event, s.Refusal, refusals[s.Refusal]))
	}
	return nil
}
