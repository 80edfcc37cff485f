package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
)

// restoreFlags are what a restore of several contacts is asked by.
type restoreFlags struct {
	since, before, name, email, by, workflow, operation, plan string
	all, yes, dry, noWait                                     bool
}

// filter gives the filter that was asked for, nil if none was.
func (f *restoreFlags) filter() (*server.DeletedFilter, error) {
	d, err := deletedFilter(f.since, f.before, f.name, f.email, f.by, f.workflow, f.operation)
	if d == nil && f.all && err == nil {
		d = &server.DeletedFilter{}
	}
	return d, err
}

// deletedFilter reads flags that ask for deleted contacts; nil if none is set. An instant is RFC 3339, a
// day, or so long ago.
func deletedFilter(since, before, name, email, by, workflow, operation string) (*server.DeletedFilter, error) {
	d := server.DeletedFilter{Name: name, Email: email, By: by, Workflow: workflow}
	for text, to := range map[string]*crm.Nanos{since: &d.After, before: &d.Before} {
		if text == "" {
			continue
		}
		at, err := instant(text)
		if err != nil {
			return nil, err
		}
		*to = at
	}
	if since != "" && since == before {
		return nil, usage{errors.New("--deleted-after and --deleted-before are the same")}
	}
	if operation != "" {
		id, err := crm.ParseID[crm.OperationKind](operation)
		if err != nil {
			return nil, err
		}
		d.Operation = id
	}
	if d == (server.DeletedFilter{}) {
		return nil, nil
	}
	return &d, nil
}

// instant reads 2026-03-02T09:00:00Z, 2026-03-02 (its beginning, UTC) or 36h (so long ago).
func instant(text string) (crm.Nanos, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return crm.At(t), nil
		}
	}
	if ago, err := crm.ParseDuration(text); err == nil {
		return crm.At(time.Now()) - ago, nil
	}
	return 0, usage{fmt.Errorf("%s: it is an instant like 2026-03-02T09:00:00Z, a day like 2026-03-02, or so long ago: 36h", text)}
}

func (f *restoreFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.since, "deleted-after", "", "all that were deleted at this instant or later: 2026-03-02T09:00:00Z, 2026-03-02, or 36h ago")
	cmd.Flags().StringVar(&f.since, "since", "", "the same as --deleted-after")
	cmd.Flags().StringVar(&f.before, "deleted-before", "", "all that were deleted before this instant")
	cmd.Flags().StringVar(&f.name, "name", "", "all with this in their name")
	cmd.Flags().StringVar(&f.email, "email", "", "all with this in their e-mail address")
	cmd.Flags().StringVar(&f.by, "deleted-by", "", "all that this actor deleted: user:1000")
	cmd.Flags().StringVar(&f.workflow, "deleted-by-workflow", "", "all that this workflow deleted")
	cmd.Flags().StringVar(&f.operation, "operation", "", "all that this bulk operation deleted")
}

func (c *cli) contactRestore() *cobra.Command {
	var f restoreFlags
	var reason string
	cmd := &cobra.Command{Use: "restore [CONTACT...]", Short: "Bring deleted contacts back, exactly, without setting anything off",
		Long: "Bring deleted contacts back, exactly, without setting anything off.\n\nOne named contact is restored at once. Several, or all that a filter asks for, are a bulk operation;\na filter needs the hash of its plan: look at it with --dry-run first.",
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.filter()
			switch {
			case err != nil:
				return err
			case len(args) == 0 && filter == nil:
				return usage{errors.New("name contacts, or say which by --deleted-after, --deleted-by-workflow and others; --all means every deleted contact")}
			case len(args) > 0 && filter != nil:
				return usage{errors.New("name contacts or give a filter, not both")}
			case len(args) == 1 && f.dry:
				return c.preview(cmd.Context(), server.ActRestore, args[0])
			case len(args) == 1:
				return c.restoreOne(cmd.Context(), args[0], reason, f.yes)
			}
			return c.restoreMany(cmd.Context(), server.BulkRestore{IDs: args, Filter: filter, Reason: reason}, f)
		}}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "every deleted contact")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do it without asking")
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "only show what it would do")
	cmd.Flags().StringVar(&f.plan, "plan", "", "the hash of the plan that --dry-run showed, for a filter")
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "do not wait until a running server has done it; reprieve bulk get shows how far it is")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the receipt")
	return cmd
}

func (c *cli) restoreOne(ctx context.Context, id, reason string, yes bool) error {
	q := server.ContactRestore{ID: id, Reason: reason}
	if yes {
		q.Confirm = "yes"
	}
	var r server.ReceiptView
	err := c.session(ctx, true, func(s *session) error {
		if err := c.confirmed(ctx, s, server.ActRestore, &q.ID, &q.Confirm); err != nil {
			return err
		}
		return s.Call(ctx, "contact.restore", q, &r, nil)
	})
	if err != nil {
		return err
	}
	return c.receipt(r)
}

func (c *cli) restoreMany(ctx context.Context, q server.BulkRestore, f restoreFlags) error {
	var v server.BulkAnswer
	err := c.session(ctx, !f.dry, func(s *session) error {
		q.Wait, q.Hash = !f.noWait || s.local != nil, f.plan // in this process nobody else would do it
		if f.yes {
			q.Confirm = "yes"
		}
		if f.dry || c.tty && !f.yes {
			look := q
			look.Plan = true
			if err := s.Call(ctx, "bulk.restore", look, &v, nil); err != nil || f.dry {
				return err
			}
			q.Hash = v.Plan.Hash
			if refusedPlan(v.Plan) {
				return s.Call(ctx, "bulk.restore", q, &v, nil) // it says why; there is nothing to ask
			}
			if answer := c.ask(plural(v.Plan.Total, "contact") + "\n" + v.Plan.Text + "\nGo on? [y/N] "); strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
				q.Confirm = "yes"
			}
		}
		v = server.BulkAnswer{}
		return s.Call(ctx, "bulk.restore", q, &v, nil)
	})
	if err != nil {
		return err
	}
	if p := v.Plan; p != nil && c.format == "table" {
		defer func() {
			fmt.Fprintf(c.out, "\n%s\n", safeLines(p.Text))
			for _, id := range p.Conflicts {
				fmt.Fprintf(c.out, "%s has an address that another contact holds\n", id)
			}
			if refusedPlan(p) {
				fmt.Fprintln(c.err, "it would be refused: the policy blocks a selection with such a conflict")
			}
			fmt.Fprintln(c.err, "nothing was done; the same with --plan "+p.Hash+" --yes does it")
		}()
	}
	if p := v.Plan; p != nil {
		return c.print(v, nil, table{{"contacts", "past_window", "conflicts", "on_conflict", "plan"},
			{strconv.Itoa(p.Total), count(p.PastWindow), strconv.Itoa(len(p.Conflicts)), string(p.Policy), p.Hash}})
	}
	return c.operation(server.OperationView{Operation: *v.Operation}, v)
}

// refusedPlan says whether a plan would be refused whole.
func refusedPlan(p *server.RestorePlan) bool {
	return p.Policy == crm.Block && len(p.Conflicts) > 0 || p.Total == 0
}

// operation prints an operation; one that refused some contacts ends with the code for that.
func (c *cli) operation(v server.OperationView, answer any) error {
	if err := c.print(answer, nil, operationTable(v.Operation)); err != nil {
		return err
	}
	if c.format == "table" && len(v.RefusedContacts) > 0 {
		t := table{{"refused", "code"}}
		for _, r := range v.RefusedContacts {
			t = append(t, []string{r.Contact.String(), r.Code})
		}
		fmt.Fprintln(c.out)
		if err := c.columns(t); err != nil {
			return err
		}
	}
	if v.State == crm.OperationErrors {
		fmt.Fprintf(c.err, "%s could not be restored; reprieve bulk get %s says which and why\n", plural(v.Refused, "contact"), v.ID)
		return silent(exitPartly)
	}
	return nil
}

func operationTable(ops ...crm.Operation) table {
	t := table{{"operation", "verb", "state", "total", "done", "refused", "by", "accepted_at", "ended_at", "reason"}}
	for _, o := range ops {
		t = append(t, []string{o.ID.String(), string(o.Verb), string(o.State), strconv.Itoa(o.Total), strconv.Itoa(o.Done), count(o.Refused),
			o.By.ID, stamp(o.Accepted), stamp(o.Ended), o.Reason})
	}
	return t
}

func (c *cli) bulk() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List bulk operations, the latest last", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var page server.OperationPage
		if err := c.call(cmd.Context(), "bulk.list", server.None{}, &page, nil); err != nil {
			return err
		}
		items := []any{}
		for _, o := range page.Operations {
			items = append(items, o)
		}
		return c.print(page, items, operationTable(page.Operations...))
	}}
	get := &cobra.Command{Use: "get OPERATION", Short: "Show a bulk operation, how far it is and whom it could not deal with", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := crm.ParseID[crm.OperationKind](args[0])
		if err != nil {
			return err
		}
		var v server.OperationView
		if err := c.call(cmd.Context(), "bulk.get", server.OperationID{ID: id}, &v, nil); err != nil {
			return err
		}
		return c.operation(v, v)
	}}
	return group("bulk", "Bulk operations and their status", list, get)
}

func (c *cli) contactReceipt() *cobra.Command {
	cmd := &cobra.Command{Use: "receipt CONTACT", Short: "Show what the last restore of a contact did, and what it did not", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r server.ReceiptView
			if err := c.call(cmd.Context(), "contact.receipt", server.ContactID{ID: args[0]}, &r, nil); err != nil {
				return err
			}
			return c.receipt(r)
		}}
	cmd.AddCommand(&cobra.Command{Use: "verify CONTACT", Short: "Recount from the whole log that the last restore set nothing off", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p store.Proof
			if err := c.call(cmd.Context(), "contact.verify", server.ContactID{ID: args[0]}, &p, nil); err != nil {
				return err
			}
			if err := c.print(p, nil, table{{"epoch", "entry", "entries_read", "runs_started", "runs_went_on", "sends", "resumed_by_hand", "faults"},
				{strconv.FormatUint(p.Epoch, 10), strconv.FormatUint(p.Entry, 10), strconv.FormatUint(p.Entries, 10), strconv.Itoa(p.RunsStarted),
					strconv.Itoa(p.RunsWentOn), strconv.Itoa(p.Sends), strconv.Itoa(p.Resumed), strings.Join(p.Faults, "; ")}}); err != nil {
				return err
			}
			if !p.Holds() {
				return crm.Errorf("verify a receipt", crm.CodeFailed, "the log does not bear it out").WithHint("keep the data directory as it is, and look at what is counted above")
			}
			return nil
		}})
	return cmd
}

// receipt prints a receipt: its items, and under them what the restore kept from starting, once the
// triggers have been asked.
func (c *cli) receipt(r server.ReceiptView) error {
	t := append(table{{"item", "id", "outcome", "reason", "name"}}, receiptRows(r.Items)...)
	if !r.LookedAt {
		fmt.Fprintf(c.err, "which triggers were kept from starting: reprieve contact receipt %s, once serve has looked at the restore\n", r.Contact)
	}
	if err := c.print(r, nil, t); err != nil || c.format != "table" {
		return err
	}
	why := ""
	if r.Reason != "" {
		why = ": " + safe(r.Reason)
	}
	fmt.Fprintf(c.out, "\nrestored %s at %s by %s%s\n", r.Contact, stamp(r.At), safe(r.By.ID), why)
	if r.LookedAt {
		fmt.Fprintf(c.out, "triggers suppressed %d, ", len(r.Suppressed))
	}
	fmt.Fprintf(c.out, "runs started %d, timers armed %d, sends %d\n", r.RunsStarted, r.TimersArmed, r.Sends)
	if r.Waiting > 0 {
		fmt.Fprintf(c.out, "%s that came meanwhile wait to be delivered; they start nothing\n", plural(r.Waiting, "message"))
	}
	for _, it := range r.Items {
		if it.Outcome == crm.Suspended {
			fmt.Fprintf(c.err, "what is suspended goes on only by: reprieve run resume --contact %s, or campaign resume\n", r.Contact)
			break
		}
	}
	for _, s := range r.Suppressed {
		what := string(s.Event)
		if what == "" {
			what = "schedule"
		}
		fmt.Fprintf(c.out, "  %s would have matched (%s) and was refused: %s\n", safe(s.Trigger), what, s.Refusal)
	}
	return nil
}

func receiptRows(items []crm.ReceiptItem) table {
	var t table
	for _, it := range items {
		t = append(t, []string{it.Kind.String(), crm.ItemText(it.Kind, it.ID), string(it.Outcome), string(it.Reason), it.Name})
	}
	return t
}
