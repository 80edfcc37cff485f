package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

const exitChanged = 10 // diff --exit-code: there are changes

// workflowTools are the commands that look at workflows, and those that pause and resume them.
func (c *cli) workflowTools() []*cobra.Command {
	return []*cobra.Command{c.workflowGraph(), c.workflowSchema(), c.workflowDiff(), c.workflowHook(), c.workflowFires(),
		c.workflowPause("pause", "Pause a workflow: nothing starts it, its runs stand still, its grants rest"),
		c.workflowPause("resume", "Let a paused workflow go on; what is overdue goes on at once")}
}

func (c *cli) workflowGraph() *cobra.Command {
	var mermaid bool
	cmd := &cobra.Command{Use: "graph FILE|WORKFLOW", Short: "Draw a workflow file, or an applied workflow, as a tree or as a Mermaid flowchart", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := c.graph(cmd, args[0])
			if found := triggers.Findings(err); len(found) > 0 {
				for _, d := range found {
					fmt.Fprintln(c.err, d.Render())
				}
				return silent(exitInvalid)
			}
			if err != nil {
				return err
			}
			if c.format != "table" {
				return c.print(v, nil, table{{"id", "revision", "mermaid"}, {v.ID, v.Revision, v.Mermaid}})
			}
			text := v.Text
			if mermaid {
				text = v.Mermaid
			}
			_, err = io.WriteString(c.out, safeLines(text))
			return err
		}}
	cmd.Flags().BoolVar(&mermaid, "mermaid", false, "a flowchart in Mermaid's language, for a README or a wiki")
	return cmd
}

// graph draws what stands in a file of that name, else the applied workflow.
func (c *cli) graph(cmd *cobra.Command, what string) (v server.WorkflowGraph, err error) {
	raw, err := os.ReadFile(what)
	switch {
	case err == nil:
		return server.Graph(server.File{Name: what, Content: raw})
	case !errors.Is(err, os.ErrNotExist) || strings.ContainsAny(what, "/."): // no workflow has such an id
		return v, crm.Errorf("draw a workflow", crm.CodeNotFound, "%w", err).WithHint("give one file, or the id of an applied workflow")
	}
	return v, c.call(cmd.Context(), "workflow.graph", server.WorkflowID{ID: what}, &v, nil)
}

func (c *cli) workflowSchema() *cobra.Command {
	return &cobra.Command{Use: "schema", Short: "Print the JSON Schema of workflow files, with the installed actions, for an editor", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := c.schema(cmd)
			if err != nil {
				return err
			}
			if c.format == "table" || c.format == "csv" {
				return c.json(v.Schema, "  ")
			}
			return c.print(v.Schema, nil, nil)
		}}
}

// schema asks a running server, which knows the installed plugins, or looks here.
func (c *cli) schema(cmd *cobra.Command) (v server.WorkflowSchema, err error) {
	if client, err := server.Dial(c.path(socketFile)); err == nil {
		return v, client.Call(cmd.Context(), "workflow.schema", server.None{}, &v, nil)
	}
	host, err := newHost(c.data, c.logger(zerolog.WarnLevel))
	if err != nil {
		return v, err
	}
	var specs map[string]plugins.Spec
	if specs, err = host.Catalogue(cmd.Context()); err == nil {
		v = server.Schema(specs)
	}
	return v, errors.Join(err, host.Close(cmd.Context()))
}

func (c *cli) workflowPause(verb, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " WORKFLOW", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), "workflow."+verb, server.WorkflowID{ID: args[0]}, nil, nil)
	}}
}

func (c *cli) workflowDiff() *cobra.Command {
	var exit, noCount bool
	cmd := &cobra.Command{Use: "diff PATH...", Short: "Show what applying the files would change, and how many runs and contacts it is about", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readFiles(args)
			if err != nil {
				return err
			}
			var v server.Diffed
			if err := c.call(cmd.Context(), "workflow.diff", server.WorkflowDiff{Files: files, NoCount: noCount}, &v, nil); err != nil {
				return err
			}
			if v.Errors > 0 {
				return c.checked(server.Checked{Diagnostics: v.Diagnostics, Errors: v.Errors, Warnings: v.Warnings}, false, false)
			}
			if err := c.diffed(v); err != nil {
				return err
			}
			if exit && v.Changes > 0 {
				return silent(exitChanged)
			}
			return nil
		}}
	cmd.Flags().BoolVar(&exit, "exit-code", false, "exit "+strconv.Itoa(exitChanged)+" when there are changes")
	cmd.Flags().BoolVar(&noCount, "no-count", false, "do not count the contacts that match now, which reads every contact")
	return cmd
}

func (c *cli) diffed(v server.Diffed) error {
	if c.format != "table" {
		t, items := table{{"id", "status", "from", "to", "changes", "grants_needed"}}, []any{}
		for _, w := range v.Workflows {
			t = append(t, []string{w.ID, w.Status, w.From, w.To, strconv.Itoa(len(w.Settings) + len(w.Triggers) + len(w.Steps)), strings.Join(w.Missing, ", ")})
			items = append(items, w)
		}
		return c.print(v, items, t)
	}
	for _, d := range v.Diagnostics {
		fmt.Fprintln(c.err, d.Render())
	}
	var b strings.Builder
	for _, w := range v.Workflows {
		writeChange(&b, w)
	}
	_, err := io.WriteString(c.out, safeLines(b.String()))
	return err
}

// statusWords say what would become of a workflow.
var statusWords = map[string]string{server.DiffNew: "new", server.DiffChanged: "changes", server.DiffUnchanged: "unchanged",
	server.DiffDeleted: "was deleted and comes back"}

func writeChange(b *strings.Builder, w server.WorkflowChange) {
	revision := w.To
	if w.From != "" && w.From != w.To {
		revision = w.From + " → " + w.To
	}
	fmt.Fprintf(b, "%s  %s  %s", w.ID, statusWords[w.Status], revision)
	if w.Paused {
		b.WriteString("  (paused, and stays so)")
	}
	b.WriteString("\n")
	if w.Status == server.DiffChanged && w.Empty() {
		b.WriteString("  nothing but comments and spelling\n")
	}
	if w.Status == server.DiffChanged {
		writeParts(b, "", w.Settings)
		writeParts(b, "trigger ", w.Triggers)
		writeParts(b, "step ", w.Steps)
	}
	for _, g := range w.Missing {
		fmt.Fprintf(b, "  needs --grant %s\n", g)
	}
	for _, r := range w.Runs {
		stays := ""
		if r.Revision != w.To {
			stays = ", and stay there"
		}
		fmt.Fprintf(b, "  runs: %d on %s%s\n", r.Runs, r.Revision, stays)
	}
	for _, m := range w.Matches {
		what := "would be selected now"
		if m.On == "event" {
			what = "pass the filter now"
		}
		fmt.Fprintf(b, "  contacts: %d %s (%s)\n", m.Contacts, what, m.Trigger)
	}
}

var changeSigns = map[string]string{workflow.Added: "+", workflow.Removed: "-", workflow.Changed: "~", workflow.Moved: ">"}

func writeParts(b *strings.Builder, kind string, changes []workflow.Change) {
	for _, ch := range changes {
		fmt.Fprintf(b, "  %s %s%s\n", changeSigns[ch.What], kind, ch.ID)
		for _, k := range ch.Keys {
			switch {
			case k.Old == "" && k.New == "":
			case k.Old == "":
				fmt.Fprintf(b, "      %s: %s\n", k.Key, k.New)
			case k.New == "":
				fmt.Fprintf(b, "      %s: no longer %s\n", k.Key, k.Old)
			default:
				fmt.Fprintf(b, "      %s: %s → %s\n", k.Key, k.Old, k.New)
			}
		}
	}
}
