package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

// retried is what became of a run that was to be retried.
type retried struct {
	Run      crm.RunID `json:"run"`
	Workflow string    `json:"workflow"`
	Code     string    `json:"code,omitempty"`             // by which it had failed
	Step     string    `json:"step,omitempty"`             // where it goes on
	Revision string    `json:"revision,omitempty"`         // at which it goes on
	Applied  string    `json:"applied_revision,omitempty"` // the one that is applied now, if it is another
	Refused  string    `json:"refused,omitempty"`          // the code of why it does not
	Why      string    `json:"why,omitempty"`
}

// retries is the answer of run retry.
type retries struct {
	Shown   bool      `json:"shown,omitempty"` // nothing was done
	Retried int       `json:"retried"`
	Refused int       `json:"refused"`
	Left    int       `json:"left,omitempty"` // more than one call takes
	Runs    []retried `json:"runs"`
}

func (c *cli) runRetry() *cobra.Command {
	var q server.RunRetry
	var failed, yes bool
	var since string
	pick := server.RunList{Status: crm.RunFailed, Limit: server.MaxPage}
	cmd := &cobra.Command{Use: "retry [RUN]", Short: "Let a run go on that failed, timed out or was cancelled, or all that failed with --failed", Args: cobra.MaximumNArgs(1),
		Long: "Lets a run go on from the step that failed, or with --from from one that it has been at before. It stays on\n" +
			"its revision, also when the file was mended and applied since; with --current it goes on at the one that is\n" +
			"applied now, if that has the step too. Its journal keeps what happened before. With --failed it goes through\n" +
			"the failed runs, one by one; without --yes it shows them.",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if (len(args) == 0) != failed {
				return usage{errors.New("name a run, or --failed")}
			}
			if !failed {
				if pick.Workflow != "" || pick.Code != "" || since != "" {
					return usage{errors.New("--workflow, --code and --since go with --failed")}
				}
				if q.Run, err = crm.ParseID[crm.RunKind](args[0]); err != nil {
					return err
				}
				var r server.RunView
				if err := c.call(cmd.Context(), "run.retry", q, &r, nil); err != nil {
					return err
				}
				if err := c.print(r, nil, table{{"id", "workflow", "status", "step", "revision"}, {r.ID.String(), r.Workflow, string(r.Status), r.Step, r.Revision}}); err != nil {
					return err
				}
				if r.Applied != "" {
					fmt.Fprintf(c.err, "it goes on at revision %s; %s is applied now. If it fails again: reprieve run retry %s --current\n", r.Revision, r.Applied, r.ID)
				}
				return nil
			}
			if q.From != "" {
				return usage{errors.New("--from goes with one run: each of the failed ones goes on from its own step")}
			}
			if since != "" {
				if pick.Since, err = instant(since); err != nil {
					return err
				}
			}
			v, err := c.retryFailed(cmd.Context(), pick, q, yes)
			if err != nil {
				return err
			}
			return c.retries(v)
		}}
	cmd.Flags().StringVar(&q.From, "from", "", "the step from which it goes on; the one that failed if left out")
	cmd.Flags().BoolVar(&q.Force, "force", false, "also if that makes a call again of which nobody knows whether it was carried out")
	cmd.Flags().BoolVar(&q.Current, "current", false, "at the revision that is applied now, if it has the step; else the run stays on its own")
	cmd.Flags().BoolVar(&failed, "failed", false, "the failed runs, those that ended first before the others")
	cmd.Flags().StringVar(&pick.Workflow, "workflow", "", "with --failed: only of this workflow")
	cmd.Flags().StringVar(&pick.Code, "code", "", "with --failed: only those that failed by this code")
	cmd.Flags().StringVar(&since, "since", "", "with --failed: only those that ended since then: an instant, a day, or 24h ago")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --failed: do it")
	return cmd
}

// retryFailed goes through the failed runs that were picked. Each is an act of its own, which the log has; one
// that is refused does not keep the others.
func (c *cli) retryFailed(ctx context.Context, pick server.RunList, how server.RunRetry, yes bool) (retries, error) {
	v := retries{Shown: !yes, Runs: []retried{}}
	var page server.RunPage
	if err := c.call(ctx, "run.list", pick, &page, nil); err != nil {
		return v, err
	}
	v.Left = page.Total - len(page.Runs)
	for _, r := range page.Runs {
		one := retried{Run: r.ID, Workflow: r.Workflow, Code: r.Code, Step: r.Step}
		if yes {
			var is server.RunView
			err := c.call(ctx, "run.retry", server.RunRetry{Run: r.ID, Current: how.Current, Force: how.Force}, &is, nil)
			switch {
			case crm.CodeOf(err) == crm.CodeDenied || err != nil && !crm.IsRefusal(err):
				return v, err
			case err != nil:
				one.Refused, one.Why, one.Step = crm.CodeOf(err), err.Error(), ""
				v.Refused++
			default:
				one.Step, one.Revision, one.Applied = is.Step, is.Revision, is.Applied
				v.Retried++
			}
		}
		v.Runs = append(v.Runs, one)
	}
	return v, nil
}

func (c *cli) retries(v retries) error {
	t, items := table{{"run", "workflow", "failed_by", "step", "refused"}}, []any{}
	for _, r := range v.Runs {
		t = append(t, []string{r.Run.String(), r.Workflow, r.Code, r.Step, strings.TrimSpace(r.Refused + " " + r.Why)})
		items = append(items, r)
	}
	if err := c.print(v, items, t); err != nil {
		return err
	}
	if v.Left > 0 {
		fmt.Fprintf(c.err, "%d more failed before these\n", v.Left)
	}
	if v.Shown {
		fmt.Fprintf(c.err, "nothing was retried; --yes does it\n")
		return nil
	}
	older := 0
	for _, r := range v.Runs {
		if r.Applied != "" {
			older++
		}
	}
	if older > 0 {
		fmt.Fprintf(c.err, "%d of them go on at a revision that is not the one that is applied now; those that fail again: --current\n", older)
	}
	fmt.Fprintf(c.err, "%d retried, %d refused\n", v.Retried, v.Refused)
	if v.Refused > 0 {
		return silent(exitPartly)
	}
	return nil
}

// journal prints the steps of a run, each attempt on a line, and below what was sent and what came back.
func (c *cli) journal(r server.RunView) error {
	t, items := table{{"step", "action", "status", "attempt", "at", "plugin", "message"}}, []any{}
	var values []string
	for _, s := range r.Steps {
		for _, try := range s.Tries {
			t = append(t, []string{s.Step, s.Action, "retry", count(int(try.Attempt)), stamp(try.At), try.Plugin, strings.TrimSpace(try.Code + " " + try.Message)})
		}
		t = append(t, []string{s.Step, s.Action, s.Status, count(int(s.Attempt)), stamp(s.At), s.Plugin, strings.TrimSpace(s.Code + " " + s.Message)})
		items = append(items, s)
		which := s.Step
		if s.Iteration > 0 {
			which += fmt.Sprintf(" (after retry %d)", s.Iteration)
		}
		if s.Attempt > 1 {
			which += fmt.Sprintf(" (attempt %d)", s.Attempt)
		}
		if len(s.Input) > 0 {
			cut := ""
			if s.Cut {
				cut = " (the beginning)"
			}
			values = append(values, fmt.Sprintf("%s sent%s: %s", which, cut, s.Input))
		}
		if len(s.Output) > 0 {
			values = append(values, fmt.Sprintf("%s gave: %s", which, s.Output))
		}
	}
	if err := c.print(r, items, t); err != nil || c.format != "table" {
		return err
	}
	for _, line := range values {
		fmt.Fprintln(c.out, safe(line))
	}
	return nil
}
