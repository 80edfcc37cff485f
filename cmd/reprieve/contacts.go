package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) contact() *cobra.Command {
	return group("contact", "Contacts: import, list, tag, delete, restore",
		c.contactImport(), c.contactCreate(), c.contactList(), c.contactGet(), c.contactTag(), c.contactDelete(), c.contactRestore(), c.contactReceipt())
}

func contactRow(v server.ContactView) []string {
	return []string{v.ID.String(), v.State.String(), v.Name, v.Email, strings.Join(v.Tags, ", "), stamp(v.RestorableUntil)}
}

var contactHeader = []string{"id", "state", "name", "email", "tags", "restorable_until"}

func (c *cli) contactImport() *cobra.Command {
	var records string
	var opts server.ImportOptions
	cmd := &cobra.Command{Use: "import FILE.csv", Short: "Take contacts in from a CSV, and what hangs on them from a JSONL beside it", Args: cobra.ExactArgs(1),
		Long: "Take contacts in from a CSV as HighLevel and ActiveCampaign export it. Good rows go in; bad rows are\n" +
			"written beside the file with their line and reason (exit 8). Imported contacts start no workflow\n" +
			"unless --trigger says so.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var done [2]server.Imported
			rejected := 0
			err := c.session(cmd.Context(), true, func(s *session) error {
				for i, f := range []struct{ verb, path string }{{"contact.import", args[0]}, {"record.import", records}} {
					if f.path == "" {
						continue
					}
					if err := c.importFile(cmd.Context(), s, f.verb, f.path, opts, &done[i]); err != nil {
						return err
					}
					rejected += len(done[i].Rejected) + done[i].More
				}
				return nil
			})
			if err != nil {
				return err
			}
			answer := map[string]server.Imported{"contacts": done[0]}
			t := table{{"what", "rows", "taken_in", "rejected"}, importRow("contacts", done[0])}
			if records != "" {
				answer["records"] = done[1]
				t = append(t, importRow("records", done[1]))
			}
			if err := c.print(answer, nil, t); err != nil || rejected == 0 {
				return err
			}
			return silent(exitPartly)
		}}
	cmd.Flags().StringVar(&records, "records", "", "JSONL with conversations, notes, tasks, appointments, manual actions, opportunities, companies")
	cmd.Flags().BoolVar(&opts.Trigger, "trigger", false, "let what is imported start workflows")
	return cmd
}

// importFile has a file taken in and its rejected rows written beside it.
func (c *cli) importFile(ctx context.Context, s *session, verb, path string, opts server.ImportOptions, done *server.Imported) error {
	in, err := os.Open(path)
	if err != nil {
		return crm.Errorf("import", crm.CodeNotFound, "%w", err)
	}
	err = s.Call(ctx, verb, opts, done, in)
	if err := errors.Join(err, in.Close()); err != nil {
		return err
	}
	return c.rejects(path, *done)
}

func importRow(what string, i server.Imported) []string {
	return []string{what, strconv.Itoa(i.Rows), strconv.Itoa(i.Created), strconv.Itoa(len(i.Rejected) + i.More)}
}

// rejects writes the rejected rows beside the file, so that they can be mended and imported again.
func (c *cli) rejects(path string, done server.Imported) error {
	if len(done.Rejected) == 0 {
		return nil
	}
	out := path + ".rejected.csv"
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return crm.Errorf("write the rejected rows", crm.CodeInvalid, "%w", err)
	}
	w := csv.NewWriter(f)
	for i, r := range append([]server.Reject{{}}, done.Rejected...) {
		row := []string{"line", "code", "reason"}
		if i > 0 {
			row = append([]string{strconv.Itoa(r.Line), r.Code, r.Reason}, r.Row...)
		}
		if err := w.Write(guarded(row)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	w.Flush()
	if err := errors.Join(w.Error(), f.Close()); err != nil {
		return err
	}
	for i, r := range done.Rejected {
		if i == 5 {
			fmt.Fprintf(c.err, "  … and %d more\n", len(done.Rejected)+done.More-5)
			break
		}
		fmt.Fprintf(c.err, "%s:%d: %s [%s]\n", path, r.Line, r.Reason, r.Code)
	}
	fmt.Fprintf(c.err, "rejected rows are in %s\n", out)
	return nil
}

func (c *cli) contactCreate() *cobra.Command {
	var q server.ContactCreate
	cmd := &cobra.Command{Use: "create", Short: "Make a contact", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var v server.ContactView
		if err := c.call(cmd.Context(), "contact.create", q, &v, nil); err != nil {
			return err
		}
		return c.print(v, nil, table{contactHeader, contactRow(v)})
	}}
	cmd.Flags().StringVar(&q.Email, "email", "", "e-mail address")
	cmd.Flags().StringVar(&q.Phone, "phone", "", "telephone number, +491511234567")
	cmd.Flags().StringSliceVar(&q.Tags, "tag", nil, "tags")
	cmd.Flags().StringToStringVar(&q.Fields, "field", nil, "fields: first_name=Ada,plan=pro")
	return cmd
}

func (c *cli) contactList() *cobra.Command {
	var q server.ContactList
	cmd := &cobra.Command{Use: "list", Short: "List contacts: live ones, or deleted ones with --deleted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page server.ContactPage
			if err := c.call(cmd.Context(), "contact.list", q, &page, nil); err != nil {
				return err
			}
			t := table{contactHeader}
			var items []any
			for _, v := range page.Contacts {
				t = append(t, contactRow(v))
				items = append(items, v)
			}
			if page.Next != "" {
				fmt.Fprintf(c.err, "there are more: --after %s\n", page.Next)
			}
			return c.print(page, append([]any{}, items...), t)
		}}
	cmd.Flags().BoolVar(&q.Deleted, "deleted", false, "deleted contacts instead of live ones")
	cmd.Flags().StringVar(&q.Tag, "tag", "", "only those with this tag")
	cmd.Flags().StringVar(&q.List, "list", "", "only those on this list")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "at most so many")
	cmd.Flags().StringVar(&q.After, "after", "", "go on behind an earlier page")
	return cmd
}

func (c *cli) contactGet() *cobra.Command {
	var q server.ContactID
	cmd := &cobra.Command{Use: "get CONTACT", Short: "Show a contact, named by id, e-mail or external id", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			var v server.ContactView
			if err := c.call(cmd.Context(), "contact.get", q, &v, nil); err != nil {
				return err
			}
			return c.print(v, nil, table{contactHeader, contactRow(v)})
		}}
	cmd.Flags().BoolVar(&q.Deleted, "deleted", false, "also if it is deleted")
	return cmd
}

func (c *cli) contactTag() *cobra.Command {
	var q server.ContactTag
	cmd := &cobra.Command{Use: "tag CONTACT", Short: "Add or remove tags of a contact", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			var v server.ContactView
			if err := c.call(cmd.Context(), "contact.tag", q, &v, nil); err != nil {
				return err
			}
			return c.print(v, nil, table{contactHeader, contactRow(v)})
		}}
	cmd.Flags().StringSliceVar(&q.Add, "add", nil, "tags to add")
	cmd.Flags().StringSliceVar(&q.Remove, "remove", nil, "tags to remove")
	return cmd
}

func (c *cli) contactDelete() *cobra.Command {
	var q server.ContactDelete
	cmd := &cobra.Command{Use: "delete CONTACT", Short: "Delete a contact; it can be restored within the recovery window", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			if q.Confirm == "" {
				q.Confirm = c.ask("The contact leaves every workflow, campaign and list now, and can be restored within the\n" +
					"recovery window. Type DELETE to confirm: ")
			}
			var v server.Deletion
			if err := c.call(cmd.Context(), "contact.delete", q, &v, nil); err != nil {
				return err
			}
			took := make([]string, 0, len(v.Took))
			for _, kind := range slices.Sorted(maps.Keys(v.Took)) {
				took = append(took, fmt.Sprintf("%d %s", v.Took[kind], kind))
			}
			return c.print(v, nil, table{{"deleted", "took_along", "restorable_until"},
				{v.Contact.String(), strings.Join(took, ", "), stamp(v.Manifest.RestorableUntil)}})
		}}
	cmd.Flags().StringVar(&q.Confirm, "confirm", "", "the word DELETE")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the tombstone")
	return cmd
}

func (c *cli) contactRestore() *cobra.Command {
	var q server.ContactRestore
	var yes bool
	cmd := &cobra.Command{Use: "restore CONTACT", Short: "Bring a deleted contact back, exactly, without setting anything off", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			if yes || strings.EqualFold(c.ask("Restore it with everything its manifest names? No automation starts. [y/N] "), "y") {
				q.Confirm = "yes"
			}
			var r crm.Receipt
			if err := c.call(cmd.Context(), "contact.restore", q, &r, nil); err != nil {
				return err
			}
			return c.receipt(r, false)
		}}
	cmd.Flags().BoolVar(&yes, "yes", false, "without asking")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the receipt")
	return cmd
}

func (c *cli) contactReceipt() *cobra.Command {
	return &cobra.Command{Use: "receipt CONTACT", Short: "Show what the last restore of a contact did, and that it started nothing", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r crm.Receipt
			if err := c.call(cmd.Context(), "contact.receipt", server.ContactID{ID: args[0]}, &r, nil); err != nil {
				return err
			}
			return c.receipt(r, true)
		}}
}

// receipt prints a receipt: its items, and under them what the restore kept from starting, once the
// triggers have been asked.
func (c *cli) receipt(r crm.Receipt, asked bool) error {
	t := table{{"item", "id", "outcome", "reason", "name"}}
	for _, it := range r.Items {
		t = append(t, []string{it.Kind.String(), it.ID.String(), string(it.Outcome), string(it.Reason), it.Name})
	}
	if err := c.print(r, nil, t); err != nil || c.format != "table" {
		return err
	}
	fmt.Fprintf(c.out, "\nrestored %s at %s by %s\n", r.Contact, stamp(r.At), r.By.ID)
	if !asked {
		fmt.Fprintf(c.out, "runs started %d, timers armed %d, sends %d\n", r.RunsStarted, r.TimersArmed, r.Sends)
		fmt.Fprintf(c.err, "which triggers were kept from starting: reprieve contact receipt %s, once serve has looked\n", r.Contact)
		return nil
	}
	fmt.Fprintf(c.out, "triggers suppressed %d, runs started %d, timers armed %d, sends %d\n", len(r.Suppressed), r.RunsStarted, r.TimersArmed, r.Sends)
	for _, s := range r.Suppressed {
		what := string(s.Event)
		if what == "" {
			what = "schedule"
		}
		fmt.Fprintf(c.out, "  %s would have matched (%s) and was refused: %s\n", s.Trigger, what, s.Refusal)
	}
	return nil
}
