package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) workflow() *cobra.Command {
	var strict bool
	check := &cobra.Command{Use: "check PATH...", Short: "Check workflow files; a folder stands for its *.yaml", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readFiles(args)
			if err != nil {
				return err
			}
			v, err := c.check(cmd, files)
			if err != nil {
				return err
			}
			return c.checked(v, false, strict)
		}}
	check.Flags().BoolVar(&strict, "strict", false, "warnings are errors: exit 3")
	var grants []string
	apply := &cobra.Command{Use: "apply PATH...", Short: "Make the workflows in the files active, all or none", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readFiles(args)
			if err != nil {
				return err
			}
			var v server.Checked
			if err := c.call(cmd.Context(), "workflow.apply", server.WorkflowFiles{Files: files, Grants: grants, Strict: strict}, &v, nil); err != nil {
				return err
			}
			return c.checked(v, true, strict)
		}}
	apply.Flags().BoolVar(&strict, "strict", false, "apply nothing when there is a warning: exit 3")
	apply.Flags().StringSliceVar(&grants, "grant", nil, "what the workflows may do: contact.delete, contact.restore, contact.purge")
	list := &cobra.Command{Use: "list", Short: "List the applied workflows", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var page server.WorkflowPage
		if err := c.call(cmd.Context(), "workflow.list", server.None{}, &page, nil); err != nil {
			return err
		}
		t, items := table{{"id", "revision", "grants", "unfinished_runs", "state"}}, []any{}
		for _, w := range page.Workflows {
			t = append(t, []string{w.ID, w.Revision, strings.Join(w.Grants, ", "), strconv.Itoa(*w.Unfinished), w.State})
			items = append(items, w)
		}
		return c.print(page, items, t)
	}}
	return group("workflow", "Workflows: check, test, simulate, diff, apply, list, explain, graph, schema, fires, hook, pause, resume, delete", append(c.workflowTools(), check, apply, list, c.workflowDelete(), c.workflowTest(), c.workflowSimulate(), c.workflowExplain())...)
}

// check has files checked by a running server, which knows the installed plugins, or here.
func (c *cli) check(cmd *cobra.Command, files []server.File) (server.Checked, error) {
	var v server.Checked
	if client, err := server.Dial(c.path(socketFile)); err == nil {
		return v, client.Call(cmd.Context(), "workflow.check", server.WorkflowFiles{Files: files}, &v, nil)
	}
	host, err := newHost(c.data, c.logger(zerolog.WarnLevel))
	if err != nil {
		return v, err
	}
	specs, err := host.Catalogue(cmd.Context())
	if err == nil {
		v, _ = server.Check(files, specs, crm.At(time.Now()))
	}
	return v, errors.Join(err, host.Close(cmd.Context()))
}

// readFiles reads whole files; a folder stands for its *.yaml and *.yml.
func readFiles(paths []string) ([]server.File, error) {
	var files []server.File
	for _, p := range paths {
		names := []string{p}
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			names = nil
			for _, pattern := range []string{"*.yaml", "*.yml"} {
				found, err := filepath.Glob(filepath.Join(p, pattern))
				if err != nil {
					return nil, err
				}
				names = append(names, found...)
			}
			slices.Sort(names)
			if len(names) == 0 {
				return nil, crm.Errorf("read workflows", crm.CodeNotFound, "%s has no *.yaml", p)
			}
		}
		for _, n := range names {
			raw, err := os.ReadFile(n)
			if err != nil {
				return nil, crm.Errorf("read workflows", crm.CodeNotFound, "%w", err)
			}
			files = append(files, server.File{Name: n, Content: raw})
		}
	}
	return files, nil
}

// checked prints what checking or applying found: diagnostics to standard error, the workflows to
// standard output. JSON and YAML hold both. A refused file has no table: nothing came of it. Strict says that
// warnings refuse a file.
func (c *cli) checked(v server.Checked, applied, strict bool) error {
	refused := v.Errors > 0 || strict && v.Warnings > 0
	whole := c.format == "json" || c.format == "yaml"
	if !whole {
		for _, d := range v.Diagnostics {
			fmt.Fprintln(c.err, d.Render())
		}
		if len(v.Diagnostics) > 0 {
			fmt.Fprintf(c.err, "%s, %s\n", plural(v.Errors, "error"), plural(v.Warnings, "warning"))
		}
	}
	t, items := table{{"id", "revision", "needs"}}, []any{}
	if applied {
		t[0] = append(t[0], "grants", "changed")
	}
	for _, w := range v.Workflows {
		row := []string{w.ID, w.Revision, strings.Join(w.Needs, ", ")}
		if applied {
			row = append(row, strings.Join(w.Grants, ", "), strconv.FormatBool(w.Changed))
		}
		t, items = append(t, row), append(items, w)
	}
	if !refused || whole {
		if err := c.print(v, items, t); err != nil {
			return err
		}
	}
	if refused {
		if v.Errors == 0 && !whole {
			fmt.Fprintln(c.err, "with --strict a warning refuses the files")
		}
		return silent(exitInvalid)
	}
	return nil
}

func (c *cli) runs() *cobra.Command {
	var q server.RunList
	var status, since string
	list := &cobra.Command{Use: "list", Short: "List runs, the latest last", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) (err error) {
		if q.Status = crm.RunStatus(status); status != "" && !slices.Contains(server.RunStatuses, q.Status) {
			return usage{fmt.Errorf("--status %s: it is %s", status, statuses())}
		}
		if err := checkLimit(q.Limit); err != nil {
			return err
		}
		if since != "" {
			if q.Since, err = instant(since); err != nil {
				return err
			}
		}
		var page server.RunPage
		if err := c.call(cmd.Context(), "run.list", q, &page, nil); err != nil {
			return err
		}
		t, items := table{{"id", "workflow", "contact", "status", "step", "due", "reason"}}, []any{}
		for _, r := range page.Runs {
			contact := ""
			if !r.Contact.IsZero() {
				contact = r.Contact.String()
			}
			t = append(t, []string{r.ID.String(), r.Workflow, contact, string(r.Status), r.Step, stamp(r.Due), r.Reason})
			items = append(items, r)
		}
		if page.Total > len(page.Runs) {
			fmt.Fprintf(c.err, "the latest %d of %d\n", len(page.Runs), page.Total)
		}
		return c.print(page, items, t)
	}}
	list.Flags().StringVar(&q.Contact, "contact", "", "only of this contact")
	list.Flags().StringVar(&q.Workflow, "workflow", "", "only of this workflow")
	list.Flags().StringVar(&status, "status", "", "only those that are "+statuses())
	list.Flags().StringVar(&q.Code, "code", "", "only those that failed by this code, or timeout")
	list.Flags().StringVar(&since, "since", "", "only those that ended since then: an instant, a day, or 24h ago")
	list.Flags().IntVar(&q.Limit, "limit", 100, "the latest so many, up to "+strconv.Itoa(server.MaxPage))
	get := &cobra.Command{Use: "get RUN", Aliases: []string{"show"}, Short: "Show a run with its journal: each attempt, what was sent and what came back", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := crm.ParseID[crm.RunKind](args[0])
		if err != nil {
			return err
		}
		var r server.RunView
		if err := c.call(cmd.Context(), "run.get", server.RunID{ID: id}, &r, nil); err != nil {
			return err
		}
		if c.format == "table" {
			head := slices.DeleteFunc([]string{r.ID.String(), r.Workflow, string(r.Status), r.Step, safe(r.Reason)}, func(s string) bool { return s == "" })
			fmt.Fprintln(c.out, strings.Join(head, "  "))
			if r.Depth > 0 {
				fmt.Fprintf(c.out, "set off by a workflow: %d of at most %d that set each other off\n", r.Depth+1, crm.MaxDepth)
			}
		}
		return c.journal(r)
	}}
	return group("run", "Runs of workflows", list, get, c.runResume(), c.runCancel(), c.runRetry())
}

// statuses names the statuses of runs for people.
func statuses() string {
	var names []string
	for _, s := range server.RunStatuses {
		names = append(names, string(s))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// count is a number, nothing for none.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (c *cli) event() *cobra.Command {
	return group("event", "Events", &cobra.Command{Use: "status", Short: "How many events wait to be looked at by triggers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v server.EventStatus
			if err := c.call(cmd.Context(), "event.status", server.None{}, &v, nil); err != nil {
				return err
			}
			return c.print(v, nil, table{{"waiting"}, {strconv.Itoa(v.Waiting)}})
		}})
}

func (c *cli) retention() *cobra.Command {
	status := &cobra.Command{Use: "status", Short: "What waits for the sweep", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var v server.RetentionStatus
		if err := c.call(cmd.Context(), "retention.status", server.None{}, &v, nil); err != nil {
			return err
		}
		return c.retentionStatus(v)
	}}
	confirm := &cobra.Command{Use: "go", Short: "Say that the clock is right although it jumped, so that the running server's sweeps go on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v server.RetentionStatus
			if err := c.call(cmd.Context(), "retention.go", server.None{}, &v, nil); err != nil {
				return err
			}
			return c.retentionStatus(v)
		}}
	var q server.RetentionSweep
	sweep := &cobra.Command{Use: "sweep", Short: "Show what a sweep would purge; purge it with --confirm PURGE", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v server.Swept
			if err := c.call(cmd.Context(), "retention.sweep", q, &v, nil); err != nil {
				return err
			}
			if v.Shown {
				fmt.Fprintln(c.err, "nothing was purged; --confirm PURGE does it")
			}
			return c.print(v, nil, table{{"due", "purged", "discarded", "held", "waiting", "failed", "log_entries"},
				{strconv.Itoa(v.Due), strconv.Itoa(v.Purged), count(v.Discarded), strconv.Itoa(v.Held), count(v.Waiting), strconv.Itoa(v.Failed), count(v.Entries)}})
		}}
	sweep.Flags().StringVar(&q.Confirm, "confirm", "", "the word PURGE")
	var again server.RetentionReplay
	replay := &cobra.Command{Use: "replay ERASURES.jsonl", Short: "Show whom the erasure ledger would erase again, after going back to a backup; do it with --confirm PURGE", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return crm.Errorf("replay the erasure ledger", crm.CodeNotFound, "%w", err)
			}
			defer f.Close()
			var v server.Replayed
			if err := c.call(cmd.Context(), "retention.replay", again, &v, f); err != nil {
				return err
			}
			if v.Shown {
				fmt.Fprintln(c.err, "nothing was done; --confirm PURGE does it")
			}
			if err := c.print(v, nil, table{{"lines", "purged_again", "deleted_again", "hipaa", "refused"},
				{strconv.Itoa(v.Lines), strconv.Itoa(v.Purged), strconv.Itoa(v.Deleted), yes(v.HIPAA), count(len(v.Refused))}}); err != nil {
				return err
			}
			if len(v.Refused) > 0 {
				return silent(exitPartly)
			}
			return nil
		}}
	replay.Flags().StringVar(&again.Confirm, "confirm", "", "the word PURGE")
	return group("retention", "The retention sweep and the erasure ledger", status, sweep, confirm, replay)
}

func (c *cli) retentionStatus(v server.RetentionStatus) error {
	return c.print(v, nil, table{{"deleted", "due", "held", "next_deadline", "hold"},
		{strconv.FormatInt(v.Deleted, 10), strconv.Itoa(v.Due), strconv.Itoa(v.Held), stamp(v.Next), v.Hold}})
}
