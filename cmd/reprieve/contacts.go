package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) contact() *cobra.Command {
	return group("contact", "Contacts: import, create, list, update, tag, delete, restore, purge, hold, archive",
		c.contactImport(), c.contactCreate(), c.contactList(), c.contactGet(), c.contactUpdate(), c.contactTag(), c.contactDND(),
		c.contactDelete(), c.contactRestore(), c.contactReceipt(), c.contactPreview(), c.contactPurge(), c.contactHold(),
		c.contactArchive("archive", "Take a contact out of lists, campaigns and workflows; nothing else changes"),
		c.contactArchive("unarchive", "Let an archived contact back on its lists; what ran stays suspended until it is resumed"),
		c.contactHistory(), c.contactInbound(), c.contactExport(), c.contactManifest())
}

// contactKeys and contactValues are one contact, line by line.
var contactKeys = []string{"id", "state", "name", "email", "phone", "external_id", "tags", "lists", "fields", "do_not_disturb", "archived", "legal_hold",
	"created_at", "deleted_at", "restorable_until", "deleted_by", "workflow", "run", "operation", "reason"}

func contactValues(v server.ContactView) []string {
	var lists, fields []string
	for _, name := range slices.Sorted(maps.Keys(v.Lists)) {
		lists = append(lists, name+": "+v.Lists[name])
	}
	for _, name := range slices.Sorted(maps.Keys(v.Fields)) {
		if name != "first_name" && name != "last_name" { // they are the name
			fields = append(fields, fmt.Sprintf("%s=%v", name, v.Fields[name]))
		}
	}
	values := []string{v.ID.String(), v.State.String(), v.Name, v.Email, v.Phone, v.ExternalID, strings.Join(v.Tags, ", "),
		strings.Join(lists, "; "), strings.Join(fields, "; "), strings.Join(v.DND, ", "), yes(v.Archived), held(v), stamp(v.CreatedAt),
		stamp(v.DeletedAt), stamp(v.RestorableUntil), "", "", "", "", ""}
	if t := v.Tombstone; t != nil {
		more := values[len(values)-5:]
		more[0], more[1], more[4] = t.By, t.Workflow, t.Reason
		if !t.Run.IsZero() {
			more[2] = t.Run.String()
		}
		if !t.Operation.IsZero() {
			more[3] = t.Operation.String()
		}
	}
	return values
}

// held says that a contact is under a legal hold, for what and since when.
func held(v server.ContactView) string {
	if v.Hold == nil {
		return yes(v.Held)
	}
	return strings.TrimSpace(fmt.Sprintf("since %s by %s: %s", stamp(v.Hold.At), v.Hold.By, v.Hold.Reason))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func (c *cli) showContact(v server.ContactView) error {
	return c.card(v, contactKeys, contactValues(v))
}

// fields reads name=value, as often as it was given. A value may hold anything; an empty one removes
// the field.
func fields(given []string) (map[string]string, error) {
	m := map[string]string{}
	for _, f := range given {
		name, value, ok := strings.Cut(f, "=")
		if _, twice := m[name]; !ok || twice {
			return nil, usage{fmt.Errorf("--field %s: it is name=value, each name once", f)}
		}
		m[name] = value
	}
	return m, nil
}

const fieldHelp = "a field: name=value; give it as often as you need"

func (c *cli) contactCreate() *cobra.Command {
	var q server.ContactCreate
	var given []string
	cmd := &cobra.Command{Use: "create", Short: "Make a contact", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) (err error) {
		if q.Fields, err = fields(given); err != nil {
			return err
		}
		var v server.ContactView
		if err := c.call(cmd.Context(), "contact.create", q, &v, nil); err != nil {
			return err
		}
		return c.showContact(v)
	}}
	cmd.Flags().StringVar(&q.Email, "email", "", "e-mail address")
	cmd.Flags().StringVar(&q.Phone, "phone", "", "telephone number, +12025550199")
	cmd.Flags().StringSliceVar(&q.Tags, "tag", nil, "tags; those that it is created with set off no contact.tag_added")
	cmd.Flags().StringArrayVar(&given, "field", nil, fieldHelp+", first_name=Ada say")
	return cmd
}

func (c *cli) contactUpdate() *cobra.Command {
	var email, phone string
	var given []string
	cmd := &cobra.Command{Use: "update CONTACT", Short: "Change fields, e-mail or phone of a contact; an empty value removes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q := server.ContactUpdate{ID: args[0]}
			if q.Fields, err = fields(given); err != nil {
				return err
			}
			if cmd.Flags().Changed("email") {
				q.Email = &email
			}
			if cmd.Flags().Changed("phone") {
				q.Phone = &phone
			}
			if q.Email == nil && q.Phone == nil && len(q.Fields) == 0 {
				return usage{errors.New("nothing is named that should change: --field name=value, --email or --phone")}
			}
			var v server.ContactView
			if err := c.call(cmd.Context(), "contact.update", q, &v, nil); err != nil {
				return err
			}
			return c.showContact(v)
		}}
	cmd.Flags().StringVar(&email, "email", "", "e-mail address")
	cmd.Flags().StringVar(&phone, "phone", "", "telephone number, +12025550199")
	cmd.Flags().StringArrayVar(&given, "field", nil, fieldHelp)
	return cmd
}

func (c *cli) contactList() *cobra.Command {
	var q server.ContactList
	var f restoreFlags
	cmd := &cobra.Command{Use: "list", Short: "List contacts: live ones, or deleted ones with --deleted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Filter, err = f.filter(); err != nil {
				return err
			}
			if q.Deleted && q.Filter == nil {
				q.Filter = &server.DeletedFilter{} // then the answer says who deleted each
			}
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			all := server.ContactPage{Contacts: []server.ContactView{}}
			err = c.session(cmd.Context(), false, func(s *session) error {
				for limit := q.Limit; len(all.Contacts) < limit; q.After = all.Next {
					var page server.ContactPage // short when few match: a call looks only so far
					q.Limit = limit - len(all.Contacts)
					if err := s.Call(cmd.Context(), "contact.list", q, &page, nil); err != nil {
						return err
					}
					all.Contacts, all.Next = append(all.Contacts, page.Contacts...), page.Next
					if page.Next == "" {
						return nil
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if all.Next != "" {
				fmt.Fprintf(c.err, "there are more: --after %s\n", all.Next)
			}
			return c.contactTable(all, q.Deleted)
		}}
	cmd.Flags().BoolVar(&q.Deleted, "deleted", false, "deleted contacts instead of live ones")
	f.register(cmd)
	cmd.Flags().BoolVar(&q.Held, "held", false, "only those under a legal hold; add --deleted for deleted ones")
	cmd.Flags().BoolVar(&q.Archived, "archived", false, "only archived ones")
	cmd.Flags().StringVar(&q.Tag, "tag", "", "only those with this tag")
	cmd.Flags().StringVar(&q.List, "list", "", "only those on this list")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "at most so many, up to "+strconv.Itoa(server.MaxPage))
	cmd.Flags().StringVar(&q.After, "after", "", "go on behind an earlier page")
	return cmd
}

func (c *cli) contactTable(page server.ContactPage, deleted bool) error {
	t, items := table{{"id", "name", "email", "tags", "legal_hold", "archived"}}, []any{}
	if deleted {
		t[0] = append(t[0], "state", "deleted_at", "restorable_until", "deleted_by")
	}
	for _, v := range page.Contacts {
		row := []string{v.ID.String(), v.Name, v.Email, strings.Join(v.Tags, ", "), held(v), yes(v.Archived)}
		if deleted {
			row = append(row, v.State.String(), stamp(v.DeletedAt), stamp(v.RestorableUntil), by(v.Tombstone))
		}
		t, items = append(t, row), append(items, v)
	}
	return c.print(page, items, t)
}

func by(t *server.TombstoneView) string {
	if t == nil {
		return ""
	}
	return t.By
}

// checkLimit refuses a limit that no verb takes.
func checkLimit(n int) error {
	if n < 1 || n > server.MaxPage {
		return usage{fmt.Errorf("--limit %d: it is from 1 to %d", n, server.MaxPage)}
	}
	return nil
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
			return c.showContact(v)
		}}
	cmd.Flags().BoolVar(&q.Deleted, "deleted", false, "also if it is deleted, with its tombstone")
	return cmd
}

func (c *cli) contactTag() *cobra.Command {
	var q server.ContactTag
	cmd := &cobra.Command{Use: "tag CONTACT", Short: "Add or remove tags of a contact", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.ID = args[0]; len(q.Add)+len(q.Remove) == 0 {
				return usage{errors.New("no tag is named: --add TAG or --remove TAG")}
			}
			var v server.ContactView
			if err := c.call(cmd.Context(), "contact.tag", q, &v, nil); err != nil {
				return err
			}
			return c.showContact(v)
		}}
	cmd.Flags().StringSliceVar(&q.Add, "add", nil, "tags to add")
	cmd.Flags().StringSliceVar(&q.Remove, "remove", nil, "tags to remove")
	return cmd
}
