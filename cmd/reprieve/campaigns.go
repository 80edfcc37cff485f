package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) campaigns() *cobra.Command {
	var due, next string
	add := c.member("add CAMPAIGN CONTACT", "Enrol a contact in a campaign", "campaign.add", func(o, contact string) any {
		return server.CampaignAdd{Campaign: o, Contact: contact, Due: due}
	})
	add.Flags().StringVar(&due, "due", "", "when its first message is due, 2026-01-31T14:05:00Z; without it none is")
	sent := c.member("sent CAMPAIGN CONTACT", "Say that the message that was due to a contact was sent, and count it", "campaign.sent", func(o, contact string) any {
		return server.CampaignSent{Campaign: o, Contact: contact, Next: next}
	})
	sent.Flags().StringVar(&next, "next", "", "when the following message is due, 2026-01-31T14:05:00Z; without it none is")
	seen := func(o, contact string) any { return server.CampaignSeen{Campaign: o, Contact: contact} }
	return group("campaign", "Campaigns and who is in them: create, rename, delete, list, add, remove, due, sent, opened, clicked, resume",
		c.objectCreate(crm.Campaign), c.objectRename(crm.Campaign),
		c.objectDelete(crm.Campaign, "nothing is sent for it any more, and no restore of a contact brings it back"),
		c.campaignList(), add, c.member("remove CAMPAIGN CONTACT", "Take a contact out of a campaign", "campaign.remove", leave),
		c.campaignDue(), sent,
		c.member("opened CAMPAIGN CONTACT", "Count that a contact opened a message of a campaign", "campaign.opened", seen),
		c.member("clicked CAMPAIGN CONTACT", "Count that a contact clicked in a message of a campaign", "campaign.clicked", seen),
		c.campaignResume())
}

func (c *cli) campaignList() *cobra.Command {
	var q server.ObjectList
	var after *string
	cmd := &cobra.Command{Use: "list", Short: "List the campaigns with their runnable enrollments and what was sent, opened and clicked", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := optionalID(*after, &q.After); err != nil {
				return err
			}
			var page server.CampaignPage
			if err := c.objects(cmd, "campaign.list", q.Limit, q, &page); err != nil {
				return err
			}
			t, items := table{{"id", "name", "enrolled", "sent", "opened", "clicked"}}, []any{}
			for _, v := range page.Items {
				row := []string{v.ID.String(), v.Name}
				for _, n := range []int64{v.Members, v.Sent, v.Opened, v.Clicked} {
					row = append(row, strconv.FormatInt(n, 10))
				}
				t, items = append(t, row), append(items, v)
			}
			c.more(nextID(page.Next))
			return c.print(page, items, t)
		}}
	after = pageFlags(cmd, &q)
	return cmd
}

func (c *cli) campaignDue() *cobra.Command {
	var q server.CampaignDue
	cmd := &cobra.Command{Use: "due CAMPAIGN", Short: "List the contacts to which a message of a campaign is due now", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			q.Campaign = args[0]
			all := server.DuePage{Items: []server.DueView{}}
			if err := c.session(cmd.Context(), false, func(s *session) error {
				for limit := q.Limit; len(all.Items) < limit; q.After = all.Next {
					var page server.DuePage // short when few are due: a call looks only so far
					q.Limit = limit - len(all.Items)
					if err := s.Call(cmd.Context(), "campaign.due", q, &page, nil); err != nil {
						return err
					}
					all.Items, all.Next = append(all.Items, page.Items...), page.Next
					if page.Next == "" {
						return nil
					}
				}
				return nil
			}); err != nil {
				return err
			}
			t, items := table{{"contact", "email", "due", "sent"}}, []any{}
			for _, v := range all.Items {
				t = append(t, []string{v.Contact.String(), v.Email, stamp(v.Due), strconv.Itoa(int(v.Sent))})
				items = append(items, v)
			}
			c.more(all.Next)
			return c.print(all, items, t)
		}}
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "at most so many, up to "+strconv.Itoa(server.MaxPage))
	cmd.Flags().StringVar(&q.After, "after", "", "go on behind an earlier page")
	return cmd
}

func opportunityTable(views ...server.OpportunityView) (table, []any) {
	t, items := table{{"id", "name", "state", "stage", "status", "value", "contacts", "primary"}}, []any{}
	for _, v := range views {
		var contacts []string
		for _, id := range v.Contacts {
			contacts = append(contacts, id.String())
		}
		primary := ""
		if !v.Primary.IsZero() {
			primary = v.Primary.String()
		}
		t = append(t, []string{v.ID.String(), v.Name, v.State, v.Stage, v.Status, money(v.Cents), strings.Join(contacts, " "), primary})
		items = append(items, v)
	}
	return t, items
}

// money shows hundredths as a number with two places.
func money(cents int64) string {
	sign, n := "", uint64(cents)
	if cents < 0 {
		sign, n = "-", -n
	}
	s := "00" + strconv.FormatUint(n, 10)
	whole := strings.TrimLeft(s[:len(s)-2], "0")
	if whole == "" {
		whole = "0"
	}
	return sign + whole + "." + s[len(s)-2:]
}

// opportunityVerb calls a verb that answers with an opportunity.
func (c *cli) opportunityVerb(cmd *cobra.Command, verb string, q any) error {
	var v server.OpportunityView
	if err := c.call(cmd.Context(), verb, q, &v, nil); err != nil {
		return err
	}
	t, _ := opportunityTable(v)
	return c.print(v, nil, t)
}

func (c *cli) opportunities() *cobra.Command {
	var primary bool
	add := c.member("add OPPORTUNITY CONTACT", "Put a contact into an opportunity, or make it its primary", "opportunity.add", func(o, contact string) any {
		return server.OpportunityAdd{Opportunity: o, Contact: contact, Primary: primary}
	})
	add.Flags().BoolVar(&primary, "primary", false, "it becomes the primary contact")
	return group("opportunity", "Opportunities that contacts share: create, update, delete, list, add, remove",
		c.opportunityCreate(), c.opportunityUpdate(),
		c.objectDelete(crm.Opportunity, "it leaves all its contacts, and no restore of one brings it back"), c.opportunityList(), add,
		c.member("remove OPPORTUNITY CONTACT", "Take a contact out of an opportunity, which goes with its last one", "opportunity.remove", leave))
}

func (c *cli) opportunityCreate() *cobra.Command {
	var q server.OpportunityCreate
	var id string
	cmd := &cobra.Command{Use: "create NAME CONTACT...", Short: "Make an opportunity of contacts, the first of them its primary", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name, q.Contacts = args[0], args[1:]
			if err := optionalID(id, &q.ID); err != nil {
				return err
			}
			return c.opportunityVerb(cmd, "opportunity.create", q)
		}}
	cmd.Flags().StringVar(&q.Stage, "stage", "", "where it stands: offer")
	cmd.Flags().StringVar(&q.Status, "status", "", "a word: open, won")
	cmd.Flags().Int64Var(&q.Cents, "cents", 0, "its value in hundredths")
	cmd.Flags().StringVar(&id, "id", "", idHelp)
	return cmd
}

func (c *cli) opportunityUpdate() *cobra.Command {
	var name, stage, status string
	var cents int64
	cmd := &cobra.Command{Use: "update OPPORTUNITY", Short: "Change what is named of an opportunity", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := server.OpportunityUpdate{Opportunity: args[0]}
			for flag, set := range map[string]func(){"name": func() { q.Name = &name }, "stage": func() { q.Stage = &stage },
				"status": func() { q.Status = &status }, "cents": func() { q.Cents = &cents }} {
				if cmd.Flags().Changed(flag) {
					set()
				}
			}
			if q.Name == nil && q.Stage == nil && q.Status == nil && q.Cents == nil {
				return usage{errors.New("nothing is named that should change: --name, --stage, --status or --cents")}
			}
			return c.opportunityVerb(cmd, "opportunity.update", q)
		}}
	cmd.Flags().StringVar(&name, "name", "", "its name")
	cmd.Flags().StringVar(&stage, "stage", "", "where it stands: offer")
	cmd.Flags().StringVar(&status, "status", "", "a word: open, won")
	cmd.Flags().Int64Var(&cents, "cents", 0, "its value in hundredths")
	return cmd
}

func (c *cli) opportunityList() *cobra.Command {
	var q server.OpportunityList
	var after *string
	cmd := &cobra.Command{Use: "list", Short: "List the live opportunities with their live contacts", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := optionalID(*after, &q.After); err != nil {
			return err
		}
		var page server.OpportunityPage
		if err := c.objects(cmd, "opportunity.list", q.Limit, q, &page); err != nil {
			return err
		}
		t, items := opportunityTable(page.Items...)
		c.more(nextID(page.Next))
		return c.print(page, items, t)
	}}
	after = pageFlags(cmd, &q.ObjectList)
	cmd.Flags().BoolVar(&q.Deleted, "deleted", false, "those that were deleted, or went with their contacts, instead of live ones")
	return cmd
}
