package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/triggers"
)

func (c *cli) workflowSimulate() *cobra.Command {
	var q server.WorkflowSimulate
	var event string
	names := map[string]*string{}
	cmd := &cobra.Command{Use: "simulate FILE|WORKFLOW", Short: "Show what a workflow would do for a contact now; nothing happens",
		Long: "Asks the triggers about a real contact, as it is now or after an event that has not happened, and follows\n" +
			"the steps from there. Actions are not executed: they are taken to be done, with no output and no effect.",
		Example: "  reprieve workflow simulate cleanup.yaml --contact ada@example.org --event contact.tag_added --tag Unsubscribed",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Contact == "" {
				return usage{errors.New("say for whom: --contact CONTACT")}
			}
			for name, value := range names {
				if *value == "" {
					continue
				}
				if q.Name != "" {
					return usage{errors.New("an event is about one thing: give one of --tag, --field, --list, --channel, --campaign and --kind")}
				}
				q.Name = *value
				if event == "" {
					return usage{fmt.Errorf("--%s says what goes with an event: name it by --event", name)}
				}
			}
			q.Event, q.ID = crm.EventKind(event), args[0]
			if _, err := os.Stat(args[0]); err == nil {
				files, err := readFiles(args)
				if err != nil {
					return err
				}
				if len(files) != 1 {
					return usage{fmt.Errorf("%s is a folder: name one file", args[0])}
				}
				q.File, q.ID = &files[0], ""
			}
			var s runtime.Simulation
			if err := c.call(cmd.Context(), "workflow.simulate", q, &s, nil); err != nil {
				return err
			}
			return c.simulation(s)
		}}
	for name, of := range map[string]string{"tag": "a tag", "field": "a field or an address", "list": "a list", "channel": "a channel", "campaign": "a campaign", "kind": "a kind of record"} {
		names[name] = cmd.Flags().String(name, "", "of the event: the name of "+of)
	}
	cmd.Flags().StringVar(&q.Contact, "contact", "", "for whom")
	cmd.Flags().StringVar(&event, "event", "", "the event that has not happened: contact.tag_added and so on")
	cmd.Flags().StringVar(&q.Value, "value", "", "of the event: the field's value, or the list's status")
	cmd.Flags().BoolVar(&q.Off, "off", false, "of the event: the channel, or archived, is switched off")
	return cmd
}

// simulation prints the verdicts of the triggers to standard error and the path to standard output; other
// formats hold both.
func (c *cli) simulation(s runtime.Simulation) error {
	for _, n := range s.Notes {
		fmt.Fprintln(c.err, "note:", safe(n))
	}
	if c.format == "table" {
		for _, v := range s.Triggers {
			c.verdict(v)
		}
		if s.Starts {
			fmt.Fprintln(c.err, "a run would start now and go this way:")
		} else {
			fmt.Fprintln(c.err, "no run would start. One that began now would go this way:")
		}
	}
	t, items := table{{"step", "kind", "at", "due", "action", "params", "decided"}}, []any{}
	for _, p := range s.Path {
		decided := p.Decided
		if p.Problem != "" {
			decided = "fails: " + p.Problem
		}
		if len(p.Parts) > 0 && p.Problem == "" {
			decided += ": " + strings.Join(partsText(p.Parts), "; ")
		}
		t = append(t, []string{p.Step, p.Kind, stamp(p.At), stamp(p.Due), p.Action, string(p.Params), decided})
		items = append(items, p)
	}
	t = append(t, []string{"", "end", "", "", "", "", strings.TrimSpace(string(s.Status) + " " + s.Reason)})
	return c.print(s, items, t)
}

// verdict prints what a trigger said, and which values decided.
func (c *cli) verdict(v runtime.Verdict) {
	line := fmt.Sprintf("%s/%s  %s: %s", v.Workflow, v.Trigger, v.On, answer(v))
	if v.Entry != 0 {
		line += fmt.Sprintf(" (entry %d)", v.Entry)
	}
	fmt.Fprintln(c.err, safe(line))
	for _, p := range partsText(v.Parts) {
		fmt.Fprintln(c.err, "    if      "+safe(p))
	}
	for _, p := range partsText(v.Filter) {
		fmt.Fprintln(c.err, "    filter  "+safe(p))
	}
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

// partsText is a condition for people: each of its parts, what it came to, and what it read.
func partsText(parts []triggers.Part) []string {
	var out []string
	for _, p := range parts {
		line := p.Text + " is " + p.Result
		switch p.Result {
		case "not_looked_at":
			line = p.Text + " was not looked at"
		case "error":
			line = p.Text + " cannot be decided: " + p.Error
		}
		for i, name := range slices.Sorted(maps.Keys(p.Values)) {
			raw, err := json.Marshal(p.Values[name])
			if err != nil {
				continue
			}
			before := ", "
			if i == 0 {
				before = "  — "
			}
			line += before + name + " = " + string(raw)
		}
		out = append(out, line)
	}
	return out
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
	if err := c.print(v, items, t); err != nil || c.format != "table" {
		return err
	}
	for _, s := range v.Suppressed {
		fmt.Fprintf(c.err, "suppressed %s: %s %s (%s): %s\n", stamp(s.At), safe(s.Trigger), s.Event, s.Refusal, refusals[s.Refusal])
	}
	return nil
}
