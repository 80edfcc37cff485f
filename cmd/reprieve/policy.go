package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) policy() *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Show the policy in force, as a file that policy set takes", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var v server.PolicyView
		if err := c.call(cmd.Context(), "policy.show", server.None{}, &v, nil); err != nil {
			return err
		}
		if c.format == "table" || c.format == "yaml" {
			fmt.Fprint(c.out, v.YAML)
			if v.HIPAA {
				fmt.Fprintln(c.err, "this is a HIPAA account: nothing is restored, whatever the policy says")
			}
			return nil
		}
		return c.print(v, nil, table{{"policy"}, {v.YAML}})
	}}
	knobs := &cobra.Command{Use: "knobs", Short: "List the keys of the policy: what each is, what it may be, what it does", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var page server.KnobPage
		if err := c.call(cmd.Context(), "policy.knobs", server.None{}, &page, nil); err != nil {
			return err
		}
		t, items := table{{"key", "value", "legal", "help"}}, []any{}
		for _, k := range page.Knobs {
			t = append(t, []string{k.Key, k.Value, k.Legal, k.Help})
			items = append(items, k)
		}
		return c.print(page, items, t)
	}}
	return group("policy", "The account's policy: who may, what goes along, what comes back", show, c.policySet(), knobs)
}

func (c *cli) policySet() *cobra.Command {
	var file string
	var dry bool
	cmd := &cobra.Command{Use: "set [KEY=VALUE...]", Short: "Change the policy, and say what that changes",
		Example: "  reprieve policy set retention.window=30d restore.enrollments=history\n  reprieve policy set preset=activecampaign\n  reprieve policy set --file policy.yaml --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := server.PolicySet{Preview: dry}
			if (file == "") == (len(args) == 0) {
				return usage{errors.New("give KEY=VALUE, or --file FILE, and not both")}
			}
			if file != "" {
				doc, err := policyFile(file)
				if err != nil {
					return err
				}
				q.Document = doc
			}
			for _, arg := range args {
				key, value, ok := strings.Cut(arg, "=")
				if _, twice := q.Set[key]; !ok || twice {
					return usage{fmt.Errorf("%s: it is KEY=VALUE, each key once", arg)}
				}
				if q.Set == nil {
					q.Set = map[string]any{}
				}
				q.Set[key] = value
			}
			var v server.PolicySetAnswer
			if err := c.call(cmd.Context(), "policy.set", q, &v, nil); err != nil {
				return err
			}
			t, items := table{{"key", "was", "is", "means"}}, []any{}
			for _, ch := range v.Changes {
				t = append(t, []string{ch.Path, ch.Was, ch.Is, ch.Means})
				items = append(items, ch)
			}
			if len(v.Changes) == 0 {
				fmt.Fprintln(c.err, "nothing changes")
			} else if dry {
				fmt.Fprintln(c.err, "nothing was changed")
			}
			return c.print(v, items, t)
		}}
	cmd.Flags().StringVar(&file, "file", "", "a whole policy in YAML; what it does not name is as its preset has it")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would change")
	return cmd
}

// policyFile reads a policy. Whether its keys and values are good is for the server to say.
func policyFile(name string) (map[string]any, error) {
	const op = "read a policy"
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, crm.Errorf(op, crm.CodeNotFound, "%w", err)
	}
	if len(raw) > 64<<10 {
		return nil, crm.Errorf(op, crm.CodeInvalid, "%s is larger than 64 KiB", name)
	}
	doc := map[string]any{}
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, crm.Errorf(op, crm.CodeInvalid, "%s: %w", name, err).WithHint("reprieve policy show prints one to begin with")
	}
	return doc, nil
}

func (c *cli) account() *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Show the account and its counts", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var v server.AccountView
		if err := c.call(cmd.Context(), "account.show", server.None{}, &v, nil); err != nil {
			return err
		}
		return c.accountCard(v)
	}}
	var q server.AccountHIPAA
	hipaa := &cobra.Command{Use: "hipaa", Short: "Make it a HIPAA account, for good: no deletion is undone from then on", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if q.Confirm == "" {
			q.Confirm = c.ask("There is no way back: none of the account's deletions can be undone from here on, nor those made before.\nType HIPAA to confirm: ")
		}
		var v server.AccountView
		if err := c.call(cmd.Context(), "account.hipaa", q, &v, nil); err != nil {
			return err
		}
		return c.accountCard(v)
	}}
	hipaa.Flags().StringVar(&q.Confirm, "confirm", "", "the word HIPAA")
	return group("account", "The account", show, hipaa)
}

func (c *cli) accountCard(v server.AccountView) error {
	return c.card(v, []string{"id", "name", "created_at", "hipaa", "recovery_window", "contacts_live", "contacts_deleted", "contacts_purged"},
		[]string{v.ID.String(), v.Name, stamp(v.CreatedAt), yes(v.HIPAA), v.Window, fmt.Sprint(v.Live), fmt.Sprint(v.Deleted), fmt.Sprint(v.Purged)})
}

func (c *cli) runResume() *cobra.Command {
	var q server.RunResume
	var overdue string
	cmd := &cobra.Command{Use: "resume [RUN]", Short: "Let a run go on that a restore left suspended, or all those of a contact", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Overdue = crm.Overdue(overdue); !q.Overdue.Valid() {
				return usage{errors.New("--overdue says what becomes of a wait that ended meanwhile: skip, shift or fire")}
			}
			if (len(args) == 0) == (q.Contact == "") {
				return usage{errors.New("name a run, or --contact")}
			}
			if len(args) == 1 {
				id, err := crm.ParseID[crm.RunKind](args[0])
				if err != nil {
					return err
				}
				q.Run = id
			}
			var v server.Resumed
			if err := c.call(cmd.Context(), "run.resume", q, &v, nil); err != nil {
				return err
			}
			t, items := table{{"id", "workflow", "contact", "status", "step", "due", "reason"}}, []any{}
			for _, r := range v.Runs {
				t = append(t, []string{r.ID.String(), r.Workflow, r.Contact.String(), string(r.Status), r.Step, stamp(r.Due), r.Reason})
				items = append(items, r)
			}
			if err := c.print(v, items, t); err != nil {
				return err
			}
			for _, o := range v.Refused {
				fmt.Fprintf(c.err, "not resumed: %s (%s)\n", safe(o.Text), o.Code)
			}
			if len(v.Refused) > 0 {
				return silent(exitPartly)
			}
			return nil
		}}
	cmd.Flags().StringVar(&q.Contact, "contact", "", "all suspended runs of this contact")
	cmd.Flags().StringVar(&overdue, "overdue", "", "a wait that ended meanwhile: skip ends the run, shift moves it by the time it stood still, fire goes on now")
	return cmd
}

func (c *cli) runCancel() *cobra.Command {
	return &cobra.Command{Use: "cancel RUN", Short: "End an unfinished run for good, one that stands still too", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := crm.ParseID[crm.RunKind](args[0])
			if err != nil {
				return err
			}
			var r server.RunView
			if err := c.call(cmd.Context(), "run.cancel", server.RunID{ID: id}, &r, nil); err != nil {
				return err
			}
			return c.print(r, nil, table{{"id", "workflow", "status", "step", "reason"}, {r.ID.String(), r.Workflow, string(r.Status), r.Step, r.Reason}})
		}}
}

func (c *cli) campaignResume() *cobra.Command {
	var q server.CampaignResume
	var overdue string
	cmd := &cobra.Command{Use: "resume CAMPAIGN CONTACT", Short: "Let a contact go on in a campaign in which a restore left it suspended", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Campaign, q.Contact, q.Overdue = args[0], args[1], crm.Overdue(overdue)
			if !q.Overdue.Valid() {
				return usage{errors.New("--overdue says what becomes of a message that came due meanwhile: skip, shift or fire")}
			}
			return c.contactVerb(cmd.Context(), "campaign.resume", q)
		}}
	cmd.Flags().StringVar(&overdue, "overdue", "", "a message that came due meanwhile: skip leaves it out, shift puts it off by the time it stood still, fire sends it now")
	return cmd
}

func (c *cli) workflowDelete() *cobra.Command {
	var sure bool
	cmd := &cobra.Command{Use: "delete WORKFLOW", Short: "Take a workflow out of use: nothing starts it any more, and its unfinished runs end", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := server.WorkflowID{ID: args[0]}
			if sure || strings.EqualFold(c.ask("Its unfinished runs end. Delete the workflow? [y/N] "), "y") {
				q.Confirm = "yes"
			}
			return c.call(cmd.Context(), "workflow.delete", q, nil, nil)
		}}
	cmd.Flags().BoolVar(&sure, "yes", false, "do it without asking")
	return cmd
}
