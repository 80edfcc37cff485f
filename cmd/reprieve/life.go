package main

import (
	"context"
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
	var dry bool
	var export string
	cmd := &cobra.Command{Use: "delete CONTACT", Short: "Delete a contact; it can be restored within the recovery window", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			if dry {
				return c.preview(cmd.Context(), server.ActDelete, q.ID)
			}
			var v server.Deletion
			err := c.session(cmd.Context(), true, func(s *session) error {
				if err := c.confirmed(cmd.Context(), s, server.ActDelete, &q.ID, &q.Confirm); err != nil {
					return err
				}
				if export == "" {
					return s.Call(cmd.Context(), "contact.delete", q, &v, nil)
				}
				sum, err := exportTo(cmd.Context(), s, q.ID, export)
				if err != nil {
					return err
				}
				q.Exported = sum
				if err = s.Call(cmd.Context(), "contact.delete", q, &v, nil); err != nil {
					err = errors.Join(err, os.Remove(export)) // nothing was deleted: what is personal is not left lying about
				}
				return err
			})
			if err != nil {
				return err
			}
			if export != "" {
				fmt.Fprintf(c.err, "exported to %s\n", export)
			}
			until := "restorable_until"
			if !v.Restorable {
				until = "purged_from"
			}
			return c.print(v, nil, table{{"deleted", "took_along_or_left", until},
				{v.Contact.String(), tookAlong(v.Took), stamp(v.Manifest.RestorableUntil)}})
		}}
	cmd.Flags().StringVar(&q.Confirm, "confirm", "", "the word that the policy asks for: DELETE, as a rule")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the tombstone")
	cmd.Flags().StringVar(&export, "export", "", "write all there is of it to this new file first")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show what it would do, as preview delete does")
	return cmd
}

// tookAlong says in words what a delete took along.
func tookAlong(n map[string]int) string {
	took := make([]string, 0, len(n))
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		took = append(took, plural(n[kind], strings.ReplaceAll(kind, "_", " ")))
	}
	return strings.Join(took, ", ")
}

// confirmed has a person at a terminal confirm an act on one contact, in the words of the policy, unless
// that was done by a flag; it then names the contact by its id. Elsewhere the verb says what is
// missing.
func (c *cli) confirmed(ctx context.Context, s *session, act string, id, word *string) error {
	if *word != "" || !c.tty {
		return nil
	}
	con, who, err := lookUp(ctx, s, *id, act != server.ActDelete)
	if err != nil {
		return err
	}
	*id = con.ID.String()
	if act == server.ActRestore && con.Tombstone == nil {
		*word = "yes" // there is nothing to ask: the verb says so
		return nil
	}
	var p server.Preview
	if err := s.Call(ctx, "contact.preview", server.ContactPreview{ID: *id, Act: act}, &p, nil); err != nil {
		return err
	}
	c.obstacles(p)
	switch answer := ""; {
	case len(p.Obstacles) > 0 || p.Word == "": // the verb refuses, or asks for nothing
		*word = p.Word
	case p.Word == "yes":
		if answer = c.ask(who + "\n" + p.Text + "\nGo on? [y/N] "); strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
			*word = p.Word
		}
	default:
		*word = c.ask(who + "\n" + p.Text + "\nType " + p.Word + " to confirm: ")
	}
	return nil
}

// exportTo writes a contact's export to a new file that only its owner may read, and gives its sha256.
func exportTo(ctx context.Context, s *session, id, file string) (string, error) {
	var v server.ContactExport
	if err := s.Call(ctx, "contact.export", server.ContactID{ID: id}, &v, nil); err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.Write(v.Document)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return "", crm.Errorf("export a contact", crm.CodeFailed, "%w", err).WithHint("nothing was deleted; name a file that is not there yet, where you may write")
	}
	return v.SHA256, nil
}

func (c *cli) contactPreview() *cobra.Command {
	g := group("preview", "Show what an act would do to a contact; nothing is done")
	for act, short := range map[string]string{
		server.ActDelete:  "What leaves, what is interrupted, what goes along, and what stands in the way",
		server.ActRestore: "What comes back, what does not and why",
		server.ActPurge:   "What an erasure removes for good",
	} {
		g.AddCommand(&cobra.Command{Use: act + " CONTACT", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return c.preview(cmd.Context(), act, args[0]) }})
	}
	return g
}

func (c *cli) preview(ctx context.Context, act, id string) error {
	var v server.Preview
	if err := c.call(ctx, "contact.preview", server.ContactPreview{ID: id, Act: act}, &v, nil); err != nil {
		return err
	}
	t := table{{"item", "id", "outcome", "reason", "name"}}
	if v.Deletion != nil {
		for _, it := range v.Deletion.Manifest.Items {
			reason := ""
			if it.Secondary {
				reason = "primary no more"
			}
			t = append(t, []string{it.Kind.String(), crm.ItemText(it.Kind, it.ID), string(it.Fate), reason, it.Name})
		}
	}
	if v.Receipt != nil {
		t = append(t, receiptRows(v.Receipt.Items)...)
	}
	if len(t) > 1 || c.format != "table" {
		if err := c.print(v, nil, t); err != nil || c.format != "table" {
			return err
		}
		fmt.Fprintln(c.out)
	}
	fmt.Fprintln(c.out, strings.TrimSpace(v.Contact.String()+" "+safe(v.Name)))
	fmt.Fprintln(c.out, safeLines(v.Text))
	if v.Act == server.ActDelete && v.Restorable && v.Deletion != nil {
		fmt.Fprintf(c.out, "It could be restored until %s.\n", stamp(v.Deletion.Manifest.RestorableUntil))
	}
	if v.Receipt != nil && v.Receipt.Waiting > 0 {
		fmt.Fprintf(c.out, "%s wait for it and would be delivered.\n", plural(v.Receipt.Waiting, "message"))
	}
	c.obstacles(v)
	fmt.Fprintln(c.err, "nothing was done")
	return nil
}

// obstacles says what an act would be refused for.
func (c *cli) obstacles(v server.Preview) {
	for _, o := range v.Obstacles {
		fmt.Fprintf(c.err, "it would be refused: %s (%s)\n", safe(o.Text), o.Code)
		if o.Hint != "" {
			fmt.Fprintf(c.err, "  %s\n", safe(o.Hint))
		}
	}
}

func (c *cli) contactPurge() *cobra.Command {
	var q server.ContactPurge
	cmd := &cobra.Command{Use: "purge CONTACT", Short: "Erase a contact for good, deleted or not, for a request of the person", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			var v server.Purged
			err := c.session(cmd.Context(), true, func(s *session) error {
				if q.Reason != "" { // without one there is nothing to confirm
					if err := c.confirmed(cmd.Context(), s, server.ActPurge, &q.ID, &q.Confirm); err != nil {
						return err
					}
				}
				return s.Call(cmd.Context(), "contact.purge", q, &v, nil)
			})
			if err != nil {
				return err
			}
			return c.print(v, nil, table{{"purged", "purged_at"}, {v.Contact.String(), stamp(v.PurgedAt)}})
		}}
	cmd.Flags().StringVar(&q.Confirm, "confirm", "", "the word PURGE")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "which request it is for; it stays in the audit, so it must not name the person")
	return cmd
}

func (c *cli) contactHold() *cobra.Command {
	var q server.ContactHold
	cmd := &cobra.Command{Use: "hold CONTACT", Short: "Put a legal hold on a contact, deleted or not, or lift it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			return c.contactVerb(cmd.Context(), "contact.hold", q)
		}}
	cmd.Flags().BoolVar(&q.Lift, "lift", false, "lift the hold")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "which matter it is held for")
	return cmd
}

// contactVerb calls a verb that answers with a contact.
func (c *cli) contactVerb(ctx context.Context, verb string, q any) error {
	var v server.ContactView
	if err := c.call(ctx, verb, q, &v, nil); err != nil {
		return err
	}
	return c.showContact(v)
}

func (c *cli) contactArchive(verb, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " CONTACT", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.contactVerb(cmd.Context(), "contact."+verb, server.ContactID{ID: args[0]})
		}}
}

func (c *cli) contactInbound() *cobra.Command {
	var q server.InboundMessage
	var kind string
	cmd := &cobra.Command{Use: "inbound", Short: "Take in a message from an address; what becomes of one for a deleted contact is the policy's to say", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var ok bool
			if q.Kind, ok = crm.ParseItemKind(kind); !ok {
				return usage{fmt.Errorf("--kind %s: it is conversation, message, note, task, appointment or manual_action", kind)}
			}
			var v server.InboundAnswer
			if err := c.call(cmd.Context(), "contact.inbound", q, &v, nil); err != nil {
				return err
			}
			return c.print(v, nil, table{{"contact", "outcome"}, {v.Contact.String(), string(v.Outcome)}})
		}}
	cmd.Flags().StringVar(&q.Email, "email", "", "the e-mail address that it came from")
	cmd.Flags().StringVar(&q.Phone, "phone", "", "or the telephone number")
	cmd.Flags().StringVar(&kind, "kind", "conversation", "what it becomes")
	cmd.Flags().StringVar(&q.Title, "title", "", "its subject")
	cmd.Flags().StringVar(&q.Body, "body", "", "its text")
	return cmd
}

func (c *cli) contactHistory() *cobra.Command {
	var q server.ContactHistory
	cmd := &cobra.Command{Use: "history CONTACT", Short: "Show every change to a contact with its actor, cause and time, the latest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			var page server.HistoryPage
			if err := c.call(cmd.Context(), "contact.history", q, &page, nil); err != nil {
				return err
			}
			t, items := table{{"entry", "at", "event", "what", "by", "cause", "workflow", "operation"}}, []any{}
			for _, e := range page.Entries {
				op := ""
				if !e.Operation.IsZero() {
					op = e.Operation.String()
				}
				what := e.What
				if e.Purged {
					what = "(purged)"
				}
				t = append(t, []string{strconv.FormatUint(e.Entry, 10), stamp(e.At), string(e.Event), what, e.By, string(e.Cause), e.Workflow, op})
				items = append(items, e)
			}
			if page.Next != 0 {
				fmt.Fprintf(c.err, "there is more: --before %d\n", page.Next)
			}
			if page.Cut {
				fmt.Fprintln(c.err, "what was before has been removed from the log, at the end of audit.keep")
			}
			return c.print(page, items, t)
		}}
	cmd.Flags().Uint64Var(&q.Before, "before", 0, "go on before this entry")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "at most so many, up to "+strconv.Itoa(server.MaxPage))
	return cmd
}

func (c *cli) contactManifest() *cobra.Command {
	return &cobra.Command{Use: "manifest CONTACT", Short: "Show what the delete of a deleted contact took along or cut off", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v server.Deletion
			if err := c.call(cmd.Context(), "contact.manifest", server.ContactID{ID: args[0]}, &v, nil); err != nil {
				return err
			}
			t, items := table{{"item", "id", "fate", "name"}}, []any{}
			for _, it := range v.Manifest.Items {
				t = append(t, []string{it.Kind.String(), crm.ItemText(it.Kind, it.ID), string(it.Fate), it.Name})
				items = append(items, it)
			}
			return c.print(v, items, t)
		}}
}
