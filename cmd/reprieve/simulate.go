package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) workflowSimulate() *cobra.Command {
	var q server.WorkflowSimulate
	var f simulateFlags
	cmd := &cobra.Command{Use: "simulate FILE|WORKFLOW", Short: "Show what a workflow would do for a contact now; nothing happens",
		Long: "Asks the triggers about a real contact, as it is now or after an event that has not happened, and follows\n" +
			"the steps from there. Actions are not executed: they are taken to be done, without effect, and what they give\n" +
			"is not known. A condition that reads it is not decided, and the way ends there. A wait for an event is taken to\n" +
			"hear nothing until its timeout; one without a timeout hears it at once. --answer says otherwise.",
		Example: "  reprieve workflow simulate cleanup.yaml --contact ada@example.org --event contact.tag_added --tag Unsubscribed\n" +
			"  reprieve workflow simulate paid.yaml --contact ada@example.org --webhook invoice --body request.json\n" +
			"  reprieve workflow simulate ask --contact ada@example.org --answer billing='{\"status\": 200}' --answer reply=event",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			if err := f.question(cmd, &q); err != nil {
				return err
			}
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
	cmd.Flags().StringVar(&q.Contact, "contact", "", "for whom")
	cmd.Flags().BoolVar(&q.Off, "off", false, "of the event: the channel, or archived, is switched off")
	f.register(cmd)
	return cmd
}

// simulateFlags describe an event that has not happened, and what is assumed of steps.
type simulateFlags struct {
	event, value, webhook, body string
	text                        bool
	names                       map[string]*string
	answers                     []string
}

func (f *simulateFlags) register(cmd *cobra.Command) {
	f.names = map[string]*string{}
	for name, of := range map[string]string{"tag": "a tag", "field": "a field or an address", "list": "a list", "channel": "a channel", "campaign": "a campaign", "kind": "a kind of record"} {
		f.names[name] = cmd.Flags().String(name, "", "of the event: the name of "+of)
	}
	cmd.Flags().StringVar(&f.event, "event", "", "the event that has not happened: contact.tag_added and so on")
	cmd.Flags().StringVar(&f.value, "value", "", "of the event: the list's status, or the field's value: 7 is a number, true is no text, '\"7\"' is a text")
	cmd.Flags().BoolVar(&f.text, "text", false, "the field's value is a text, whatever it looks like")
	cmd.Flags().StringVar(&f.webhook, "webhook", "", "the event is a request to the webhook of this trigger")
	cmd.Flags().StringVar(&f.body, "body", "", "the file with the request's body, a JSON object; - is standard input")
	cmd.Flags().StringArrayVar(&f.answers, "answer", nil, "STEP=ANSWER: a wait hears the event or has a timeout; an action is done, or there is a skip or a fail; or JSON: what the event says, or the action gives")
}

// question makes of the flags what the server is asked.
func (f *simulateFlags) question(cmd *cobra.Command, q *server.WorkflowSimulate) error {
	if q.Contact == "" {
		return usage{errors.New("say for whom: --contact CONTACT")}
	}
	if f.webhook+f.body != "" {
		if f.event != "" && crm.EventKind(f.event) != crm.WebhookReceived {
			return usage{fmt.Errorf("--webhook and --body go with the event %s", crm.WebhookReceived)}
		}
		f.event, q.Name = string(crm.WebhookReceived), f.webhook
	}
	for name, value := range f.names {
		if *value == "" {
			continue
		}
		if q.Name != "" {
			return usage{errors.New("an event is about one thing: give one of --tag, --field, --list, --channel, --campaign, --kind and --webhook")}
		}
		if q.Name = *value; f.event == "" {
			return usage{fmt.Errorf("--%s says what goes with an event: name it by --event", name)}
		}
	}
	q.Event = crm.EventKind(f.event)
	if q.Value = f.value; q.Event == crm.ContactFieldChanged && !f.text {
		q.Value = plainValue(f.value)
	}
	for _, a := range f.answers {
		step, answer, ok := strings.Cut(a, "=")
		if !ok {
			return usage{fmt.Errorf("--answer %s: it is STEP=ANSWER", a)}
		}
		if q.Answers == nil {
			q.Answers = map[string]string{}
		}
		q.Answers[step] = answer
	}
	if q.Event != crm.WebhookReceived {
		return nil
	}
	if f.body == "" {
		return usage{errors.New("a request has a body: --body FILE")}
	}
	var err error
	q.Body, err = readBody(cmd.InOrStdin(), f.body)
	return err
}

var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// plainValue reads a field's value as YAML would: a plain decimal is a number, true and false are what they say, and
// what stands in quotes, or is anything else, is a text.
func plainValue(s string) any {
	var text string
	if f, err := strconv.ParseFloat(s, 64); err == nil && plainNumber.MatchString(s) {
		return f
	}
	switch {
	case s == "true", s == "false":
		return s == "true"
	case strings.HasPrefix(s, `"`) && json.Unmarshal([]byte(s), &text) == nil:
		return text
	}
	return s
}

// simulation prints the verdicts of the triggers to standard error and the path to standard output; other
// formats hold both.
func (c *cli) simulation(s runtime.Simulation) error {
	for _, n := range s.Notes {
		fmt.Fprintln(c.err, "note:", safe(n))
	}
	end := strings.TrimSpace(string(s.Status) + " " + s.Reason)
	if s.Depends != "" {
		end = "not followed further: it depends on " + s.Depends
	}
	if c.format != "table" {
		t, items := table{{"step", "kind", "at", "due", "action", "params", "output", "assumed", "decided"}}, []any{}
		for _, p := range s.Path {
			decided := p.Decided
			if p.Problem != "" {
				decided = "fails: " + p.Problem
			}
			decided = strings.TrimPrefix(strings.Join(append([]string{decided}, partsText(p.Parts)...), "; "), "; ")
			t = append(t, []string{p.Step, p.Kind, stamp(p.At), stamp(p.Due), p.Action, string(p.Params), string(p.Output), p.Assumed, decided})
			items = append(items, p)
		}
		return c.print(s, items, append(t, []string{"", "end", "", "", "", "", "", "", end}))
	}
	for _, v := range s.Triggers {
		verdict(c.err, v)
	}
	if s.Starts {
		fmt.Fprintln(c.err, "a run would start now and go this way, if its actions are done and the contact stays as it is:")
	} else {
		fmt.Fprintln(c.err, "no run would start. One that began now would go this way, its actions done and the contact as it is:")
	}
	width := len("end")
	for _, p := range s.Path {
		width = max(width, len(p.Step))
	}
	for _, p := range s.Path {
		line := fmt.Sprintf("%-*s  %-6s  %s", min(width, 40), p.Step, p.Kind, stamp(p.At))
		if p.Due != 0 {
			line += " until " + stamp(p.Due)
		}
		if p.Action != "" {
			line += "  " + p.Action
		}
		lines(c.out, "", line)
		members(c.out, "with", p.Params)
		members(c.out, "gives", p.Output)
		if p.Assumed != "" {
			detail(c.out, "assumed", p.Assumed)
		}
		conditions(c.out, "if", p.Parts)
		if p.Problem != "" {
			detail(c.out, "fails", p.Problem)
		} else if p.Decided != "" {
			detail(c.out, "then", p.Decided)
		}
	}
	lines(c.out, "", fmt.Sprintf("%-*s  %s", min(width, 40), "end", end))
	return nil
}

// members prints what a JSON object has, a line for each.
func members(w writer, label string, doc json.RawMessage) {
	var all map[string]json.RawMessage
	if json.Unmarshal(doc, &all) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		detail(w, label, name+" = "+cut(string(all[name])))
	}
}
