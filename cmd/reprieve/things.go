package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

// recordKinds names the kinds of record for people.
func recordKinds() string {
	var names []string
	for _, k := range crm.RecordKinds {
		names = append(names, k.String())
	}
	return strings.Join(names, ", ")
}

func recordTable(records ...server.RecordItem) (table, []any) {
	t, items := table{{"id", "kind", "title", "status", "due", "parent", "created", "deleted"}}, []any{}
	for _, r := range records {
		parent := ""
		if !r.Parent.IsZero() {
			parent = r.Parent.String()
		}
		t = append(t, []string{r.ID.String(), r.Kind.String(), r.Title, r.Status, stamp(r.Due), parent, stamp(r.CreatedAt), stamp(r.DeletedAt)})
		items = append(items, r)
	}
	return t, items
}

// recordVerb calls a verb that answers with a record.
func (c *cli) recordVerb(cmd *cobra.Command, verb string, q any) error {
	var r server.RecordItem
	if err := c.call(cmd.Context(), verb, q, &r, nil); err != nil {
		return err
	}
	t, _ := recordTable(r)
	return c.print(r, nil, t)
}

func (c *cli) record() *cobra.Command {
	var q server.RecordList
	list := &cobra.Command{Use: "list CONTACT", Short: "List a contact's conversations, messages, notes, tasks, appointments and manual actions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.ID = args[0]
			var page server.RecordPage
			if err := c.call(cmd.Context(), "record.list", q, &page, nil); err != nil {
				return err
			}
			t, items := recordTable(page.Records...)
			return c.print(page, items, t)
		}}
	list.Flags().StringSliceVar(&q.Kinds, "kind", nil, "only these: "+recordKinds())
	del := &cobra.Command{Use: "delete CONTACT RECORD", Short: "Delete one record on its own, a conversation with its messages; no restore of the contact brings it back", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := crm.ParseID[crm.ItemIDKind](args[1])
			if err != nil {
				return err
			}
			return c.recordVerb(cmd, "record.delete", server.RecordDelete{Contact: args[0], Record: id})
		}}
	return group("record", "Associated records of a contact: create, update, delete, list", c.recordCreate(), c.recordUpdate(), del, list)
}

const (
	dueHelp = "when it is due, 2026-01-31T14:05:00Z"
	idHelp  = "its id, itm_…, so that trying again makes no second one"
)

func (c *cli) recordCreate() *cobra.Command {
	var q server.RecordCreate
	var id, parent string
	cmd := &cobra.Command{Use: "create CONTACT", Short: "Add a record to a contact", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Contact = args[0]; q.Kind == "" {
				return usage{errors.New("--kind is missing: " + recordKinds())}
			}
			if err := errors.Join(optionalID(id, &q.ID), optionalID(parent, &q.Parent)); err != nil {
				return err
			}
			return c.recordVerb(cmd, "record.create", q)
		}}
	cmd.Flags().StringVar(&q.Kind, "kind", "", recordKinds())
	cmd.Flags().StringVar(&q.Title, "title", "", "its title, a line")
	cmd.Flags().StringVar(&q.Body, "body", "", "its text")
	cmd.Flags().StringVar(&q.Status, "status", "", "a word: open, done")
	cmd.Flags().StringVar(&q.Due, "due", "", dueHelp)
	cmd.Flags().StringVar(&parent, "parent", "", "of a message: its conversation, itm_…")
	cmd.Flags().StringVar(&id, "id", "", idHelp)
	return cmd
}

func (c *cli) recordUpdate() *cobra.Command {
	var title, body, status, due string
	cmd := &cobra.Command{Use: "update CONTACT RECORD", Short: "Change what is named of a record; an empty value removes", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := server.RecordUpdate{Contact: args[0]}
			if err := optionalID(args[1], &q.Record); err != nil {
				return err
			}
			for name, set := range map[string]func(){"title": func() { q.Title = &title }, "body": func() { q.Body = &body },
				"status": func() { q.Status = &status }, "due": func() { q.Due = &due }} {
				if cmd.Flags().Changed(name) {
					set()
				}
			}
			if q.Title == nil && q.Body == nil && q.Status == nil && q.Due == nil {
				return usage{errors.New("nothing is named that should change: --title, --body, --status or --due")}
			}
			return c.recordVerb(cmd, "record.update", q)
		}}
	cmd.Flags().StringVar(&title, "title", "", "its title, a line")
	cmd.Flags().StringVar(&body, "body", "", "its text")
	cmd.Flags().StringVar(&status, "status", "", "a word: open, done")
	cmd.Flags().StringVar(&due, "due", "", dueHelp)
	return cmd
}

// optionalID reads an id that may be empty.
func optionalID(text string, into *crm.ItemID) (err error) {
	if text != "" {
		*into, err = crm.ParseID[crm.ItemIDKind](text)
	}
	return err
}

func namedTable(views ...server.NamedView) (table, []any) {
	t, items := table{{"id", "name", "deleted"}}, []any{}
	for _, v := range views {
		t, items = append(t, []string{v.ID.String(), v.Name, stamp(v.DeletedAt)}), append(items, v)
	}
	return t, items
}

func (c *cli) named(cmd *cobra.Command, verb string, q any) error {
	var v server.NamedView
	if err := c.call(cmd.Context(), verb, q, &v, nil); err != nil {
		return err
	}
	t, _ := namedTable(v)
	return c.print(v, nil, t)
}

// objectCreate, objectRename and objectDelete are the commands that every kind of object has; after says
// what a delete means for the contacts in it.
func (c *cli) objectCreate(kind crm.ItemKind) *cobra.Command {
	var id string
	cmd := &cobra.Command{Use: "create NAME", Short: "Make a " + kind.String(), Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := server.ObjectCreate{Name: args[0]}
			if err := optionalID(id, &q.ID); err != nil {
				return err
			}
			return c.named(cmd, kind.String()+".create", q)
		}}
	cmd.Flags().StringVar(&id, "id", "", idHelp)
	return cmd
}

func (c *cli) objectRename(kind crm.ItemKind) *cobra.Command {
	what := strings.ToUpper(kind.String())
	return &cobra.Command{Use: "rename " + what + " NAME", Short: "Give a " + kind.String() + " another name; it is named by its id or its name", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.named(cmd, kind.String()+".rename", server.ObjectRename{Object: args[0], Name: args[1]})
		}}
}

func (c *cli) objectDelete(kind crm.ItemKind, after string) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "delete " + strings.ToUpper(kind.String()), Short: "Delete a " + kind.String() + " for good: " + after, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v server.NamedView
			if err := c.session(cmd.Context(), true, func(s *session) error {
				return c.sure(yes, after, func(confirm string) error {
					return s.Call(cmd.Context(), kind.String()+".delete", server.ObjectDelete{Object: args[0], Confirm: confirm}, &v, nil)
				})
			}); err != nil {
				return err
			}
			t, _ := namedTable(v)
			return c.print(v, nil, t)
		}}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return cmd
}

// sure calls a verb that deletes for good. Unless a flag confirms it, a person at a terminal is asked, once
// the verb has said what it would hit.
func (c *cli) sure(yes bool, after string, call func(confirm string) error) error {
	if yes {
		return call("yes")
	}
	err := call("")
	var e *crm.Error
	if !errors.As(err, &e) || e.Code != crm.CodeConfirm || !c.tty {
		return err
	}
	if answer := c.ask(e.Err.Error() + ".\nThen " + after + ". Go on? [y/N] "); strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
		return call("yes")
	}
	return err
}

// pageFlags are the flags of a list of objects.
func pageFlags(cmd *cobra.Command, q *server.ObjectList) (after *string) {
	cmd.Flags().StringVar(&q.Contact, "contact", "", "only those that this live contact is in")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "at most so many, up to "+strconv.Itoa(server.MaxPage))
	return cmd.Flags().String("after", "", "go on behind an earlier page")
}

// objects calls a verb that lists objects.
func (c *cli) objects(cmd *cobra.Command, verb string, limit int, q, page any) error {
	if err := checkLimit(limit); err != nil {
		return err
	}
	return c.call(cmd.Context(), verb, q, page, nil)
}

// more says that there is another page.
func (c *cli) more(next string) {
	if next != "" {
		fmt.Fprintf(c.err, "there are more: --after %s\n", next)
	}
}

func nextID(id crm.ItemID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func (c *cli) lists() *cobra.Command {
	var q server.ObjectList
	var after *string
	show := &cobra.Command{Use: "list", Short: "List the lists with their live members", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := optionalID(*after, &q.After); err != nil {
			return err
		}
		var page server.ObjectPage
		if err := c.objects(cmd, "list.list", q.Limit, q, &page); err != nil {
			return err
		}
		t, items := table{{"id", "name", "members"}}, []any{}
		for _, o := range page.Items {
			t = append(t, []string{o.ID.String(), o.Name, strconv.FormatInt(o.Members, 10)})
			items = append(items, o)
		}
		c.more(nextID(page.Next))
		return c.print(page, items, t)
	}}
	after = pageFlags(show, &q)
	var status string
	add := c.member("add LIST CONTACT", "Put a contact on a list, or change its status there", "list.add", func(o, contact string) any {
		return server.ListAdd{List: o, Contact: contact, Status: crm.Status(status)}
	})
	add.Flags().StringVar(&status, "status", string(crm.Subscribed), "subscribed, unsubscribed, unconfirmed or bounced")
	return group("list", "Lists with their live members: create, rename, delete, list, add, remove",
		c.objectCreate(crm.List), c.objectRename(crm.List), c.objectDelete(crm.List, "nobody is on it any more, and no restore of a contact brings it back"), show, add,
		c.member("remove LIST CONTACT", "Take a contact off a list", "list.remove", leave))
}

// leave is the request of every remove.
func leave(o, contact string) any { return server.Membership{Object: o, Contact: contact} }

// member is a command about a contact's place in an object.
func (c *cli) member(use, short, verb string, request func(object, contact string) any) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		var v server.Placement
		if err := c.call(cmd.Context(), verb, request(args[0], args[1]), &v, nil); err != nil {
			return err
		}
		return c.print(v, nil, table{{v.Kind.String(), "name", "contact", "status", "due", "sent", "primary"},
			{v.ID.String(), v.Name, v.Contact.String(), string(v.Status), stamp(v.Due), count(int(v.Sent)), yes(v.Primary)}})
	}}
}

func (c *cli) companies() *cobra.Command {
	var q server.ObjectList
	var after *string
	list := &cobra.Command{Use: "list", Short: "List the companies", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := optionalID(*after, &q.After); err != nil {
			return err
		}
		var page server.CompanyPage
		if err := c.objects(cmd, "company.list", q.Limit, q, &page); err != nil {
			return err
		}
		t, items := namedTable(page.Items...)
		c.more(nextID(page.Next))
		return c.print(page, items, t)
	}}
	after = pageFlags(list, &q)
	return group("company", "Companies that contacts belong to: create, rename, delete, list, add, remove",
		c.objectCreate(crm.Company), c.objectRename(crm.Company), c.objectDelete(crm.Company, "nobody belongs to it any more, and no restore of a contact brings it back"), list,
		c.member("add COMPANY CONTACT", "Put a contact into a company", "company.add", func(o, contact string) any { return server.CompanyAdd{Company: o, Contact: contact} }),
		c.member("remove COMPANY CONTACT", "Take a contact out of a company", "company.remove", leave))
}

func (c *cli) tags() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the tags that live contacts carry", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := c.allTags(cmd)
		if err != nil {
			return err
		}
		t, items := table{{"id", "tag", "contacts", "deleting"}}, []any{}
		for _, v := range all.Items {
			t = append(t, []string{v.ID.String(), v.Name, strconv.FormatInt(v.Contacts, 10), yes(v.Deleting)})
			items = append(items, v)
		}
		return c.print(all, items, t)
	}}
	const after = "it is taken off every contact, which starts nothing, and who is deleted does not get it back"
	var sure bool
	del := &cobra.Command{Use: "delete TAG", Short: "Delete a tag, in any spelling: " + after, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var v server.TagDeleted
		if err := c.session(cmd.Context(), true, func(s *session) error {
			return c.sure(sure, after, func(confirm string) error {
				q := server.TagDelete{Name: args[0], Confirm: confirm, Wait: s.local != nil} // in this process nobody else would take it off
				return s.Call(cmd.Context(), "tag.delete", q, &v, nil)
			})
		}); err != nil {
			return err
		}
		if !v.Done {
			fmt.Fprintln(c.err, "the server takes it off now; reprieve tag list shows how far it is")
		}
		return c.print(v, nil, table{{"id", "contacts", "contacts_deleted", "done"},
			{v.ID.String(), strconv.Itoa(v.Live), strconv.Itoa(v.Deleted), yes(v.Done)}})
	}}
	del.Flags().BoolVar(&sure, "yes", false, "do it without asking")
	return group("tag", "Tags of the account: list, delete; reprieve contact tag puts them on contacts", list, del)
}

// allTags adds the pages of tags up.
func (c *cli) allTags(cmd *cobra.Command) (all server.TagPage, err error) {
	var q server.TagList
	tags := map[crm.ItemID]server.TagView{}
	err = c.session(cmd.Context(), false, func(s *session) error {
		for {
			var page server.TagPage
			if err := s.Call(cmd.Context(), "tag.list", q, &page, nil); err != nil {
				return err
			}
			for _, v := range page.Items {
				if was, ok := tags[v.ID]; ok {
					v.Name, v.Contacts = was.Name, was.Contacts+v.Contacts
				}
				tags[v.ID] = v
			}
			if q.After = page.Next; q.After == "" {
				return nil
			}
		}
	})
	all.Items = []server.TagView{}
	for _, v := range tags {
		all.Items = append(all.Items, v)
	}
	slices.SortFunc(all.Items, func(a, b server.TagView) int {
		return cmp.Or(cmp.Compare(crm.Fold(a.Name), crm.Fold(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return all, err
}

func (c *cli) contactDND() *cobra.Command {
	var q server.ContactDND
	cmd := &cobra.Command{Use: "dnd CONTACT", Short: "Switch do-not-disturb on or off for channels of a contact", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.ID = args[0]; len(q.On)+len(q.Off) == 0 {
				return usage{errors.New("no channel is named: --on CHANNEL or --off CHANNEL")}
			}
			return c.contactVerb(cmd.Context(), "contact.dnd", q)
		}}
	cmd.Flags().StringSliceVar(&q.On, "on", nil, "channels that must not be used: email, sms, call")
	cmd.Flags().StringSliceVar(&q.Off, "off", nil, "channels that may be used again")
	return cmd
}
