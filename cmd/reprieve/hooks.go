package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

// workflowHook hands a request to a webhook in by hand.
func (c *cli) workflowHook() *cobra.Command {
	var body, id string
	cmd := &cobra.Command{Use: "hook WORKFLOW/TRIGGER --body FILE --id ID", Short: "Hand a request to a webhook of an applied workflow: a JSON object about a contact", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := server.WebhookRequest{ID: id}
			var ok bool
			if q.Workflow, q.Trigger, ok = strings.Cut(args[0], "/"); !ok {
				return usage{fmt.Errorf("%s: name the workflow and its trigger, as in orders/paid", args[0])}
			}
			if body == "" || id == "" {
				return usage{fmt.Errorf("--body and --id are needed: what came, and the id by which the same request is known again")}
			}
			var err error
			if q.Body, err = readBody(cmd.InOrStdin(), body); err != nil {
				return err
			}
			var v server.WebhookAnswer
			if err := c.call(cmd.Context(), "webhook.receive", q, &v, nil); err != nil {
				return err
			}
			if err := c.print(v, nil, table{{"contact", "again"}, {v.Contact.String(), strconv.FormatBool(v.Again)}}); err != nil {
				return err
			}
			if v.Again {
				fmt.Fprintln(c.err, "this request had come before; nothing else happened")
			} else {
				fmt.Fprintf(c.err, "stored; the trigger looks at it next, and whether a run starts is shown by: reprieve run list --contact %s\n", v.Contact)
			}
			return nil
		}}
	cmd.Flags().StringVar(&body, "body", "", "the file with the request's body, a JSON object of up to 64 KiB; - is standard input")
	cmd.Flags().StringVar(&id, "id", "", "the request's id: the same one again has no second effect")
	return cmd
}

// readBody reads no more than shows that a body is too long.
func readBody(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, crm.Errorf("read the body of a request", crm.CodeNotFound, "%w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, crm.MaxBody+1))
	if err != nil {
		return nil, crm.Errorf("read the body of a request", crm.CodeFailed, "%w", err)
	}
	return raw, nil
}

func (c *cli) workflowFires() *cobra.Command {
	return &cobra.Command{Use: "fires [WORKFLOW]", Short: "Show the schedules: when each fires next, and what its last fire came to", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var q server.WorkflowID
			if len(args) > 0 {
				q.ID = args[0]
			}
			var page server.SchedulePage
			if err := c.call(cmd.Context(), "workflow.fires", q, &page, nil); err != nil {
				return err
			}
			t, items := table{{"schedule", "next", "last", "result", "selected", "started", "missed", "guarded"}}, []any{}
			for _, s := range page.Schedules {
				row := []string{s.Workflow + "/" + s.Trigger, "never", "", "", "", "", strconv.Itoa(int(s.Missed)), strconv.Itoa(int(s.Guarded))}
				if s.Next != 0 {
					row[1] = s.Next.String()
				}
				f := s.Last
				if s.Running != nil {
					f = s.Running
					f.Result = "running"
				}
				if f != nil {
					row[2], row[3], row[4], row[5] = f.At.String(), f.Result, strconv.Itoa(f.Selected), strconv.Itoa(f.Started)
				}
				t, items = append(t, row), append(items, s)
			}
			return c.print(page, items, t)
		}}
}
