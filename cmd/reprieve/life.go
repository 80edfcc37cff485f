package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/server"
)

// lookUp finds the contact that somebody at a terminal is about to be asked about, so that the
// question names whom it will hit.
func lookUp(ctx context.Context, s *session, id string, deleted bool) (server.ContactView, string, error) {
	var v server.ContactView
	if err := s.Call(ctx, "contact.get", server.ContactID{ID: id, Deleted: deleted}, &v, nil); err != nil {
		return v, "", err
	}
	who := v.ID.String()
	if v.Name != "" {
		who += " (" + v.Name + ")"
	}
	return v, who, nil
}

func (c *cli) contactDelete() *cobra.Command {
	var q server.ContactDelete
	cmd := &cobra.Command{Use: "delete CONTACT", Short: "Delete a contact; it can be restored within the recovery window", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			var v server.Deletion
			err := c.session(cmd.Context(), true, func(s *session) error {
				if q.Confirm == "" && c.tty {
					con, who, err := lookUp(cmd.Context(), s, q.ID, false)
					if err != nil {
						return err
					}
					q.ID = con.ID.String()
					q.Confirm = c.ask(who + " leaves every workflow, campaign and list now, and can be restored\n" +
						"within the recovery window. Type DELETE to confirm: ")
				}
				return s.Call(cmd.Context(), "contact.delete", q, &v, nil)
			})
			if err != nil {
				return err
			}
			took := make([]string, 0, len(v.Took))
			for _, kind := range slices.Sorted(maps.Keys(v.Took)) {
				took = append(took, plural(v.Took[kind], strings.ReplaceAll(kind, "_", " ")))
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
			var r server.ReceiptView
			err := c.session(cmd.Context(), true, func(s *session) error {
				if yes {
					q.Confirm = "yes"
				} else if c.tty {
					con, who, err := lookUp(cmd.Context(), s, q.ID, true)
					if err != nil {
						return err
					}
					q.ID = con.ID.String()
					live := con.Tombstone == nil // then there is nothing to ask: the verb says so
					if live || strings.EqualFold(c.ask("Restore "+who+" with everything its manifest names? No automation starts. [y/N] "), "y") {
						q.Confirm = "yes"
					}
				}
				return s.Call(cmd.Context(), "contact.restore", q, &r, nil)
			})
			if err != nil {
				return err
			}
			return c.receipt(r)
		}}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the receipt")
	return cmd
}

func (c *cli) contactReceipt() *cobra.Command {
	return &cobra.Command{Use: "receipt CONTACT", Short: "Show what the last restore of a contact did, and what it did not", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r server.ReceiptView
			if err := c.call(cmd.Context(), "contact.receipt", server.ContactID{ID: args[0]}, &r, nil); err != nil {
				return err
			}
			return c.receipt(r)
		}}
}

// receipt prints a receipt: its items, and under them what the restore kept from starting, once the
// triggers have been asked.
func (c *cli) receipt(r server.ReceiptView) error {
	t := table{{"item", "id", "outcome", "reason", "name"}}
	for _, it := range r.Items {
		t = append(t, []string{it.Kind.String(), it.ID.String(), string(it.Outcome), string(it.Reason), it.Name})
	}
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
	for _, s := range r.Suppressed {
		what := string(s.Event)
		if what == "" {
			what = "schedule"
		}
		fmt.Fprintf(c.out, "  %s would have matched (%s) and was refused: %s\n", safe(s.Trigger), what, s.Refusal)
	}
	return nil
}
