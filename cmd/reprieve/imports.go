package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) contactImport() *cobra.Command {
	var records string
	var opts server.ImportOptions
	cmd := &cobra.Command{Use: "import FILE.csv", Short: "Take contacts in from a CSV, and what hangs on them from a JSONL beside it", Args: cobra.ExactArgs(1),
		Long: "Take contacts in from a CSV as HighLevel and ActiveCampaign export it. Good rows go in; bad rows are\n" +
			"written beside the file with their line and reason (exit 8): mend that file and import it as it is.\n" +
			"Imported contacts start no workflow unless --trigger says so.",
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
	cmd.Flags().StringVar(&opts.OnDeleted, "on-deleted", "refuse", "a row with the address of a deleted contact: refuse it, or create somebody new")
	cmd.Flags().BoolVar(&opts.Trigger, "trigger", false, "let what is imported start workflows")
	return cmd
}

// importFile has a file taken in and its rejected rows written beside it.
func (c *cli) importFile(ctx context.Context, s *session, verb, path string, opts server.ImportOptions, done *server.Imported) error {
	in, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return crm.Errorf("import", crm.CodeNotFound, "there is no file %s", path).WithHint("name a CSV of contacts, and a JSONL with --records")
	case err != nil:
		return crm.Errorf("import", crm.CodeFailed, "%w", err).WithHint("check that the file can be read")
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

// rejects writes the rejected rows beside the file: line, code and reason, and the file's own columns
// behind them, so that they can be mended and imported again.
func (c *cli) rejects(path string, done server.Imported) error {
	if len(done.Rejected) == 0 {
		return nil
	}
	out := path + ".rejected.csv"
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return crm.Errorf("write the rejected rows", crm.CodeFailed, "%w", err).
			WithHint("the good rows are in; make room for the file and import again to have the others told")
	}
	w := csv.NewWriter(f)
	err = w.Write(append([]string{"line", "code", "reason"}, guarded(done.Header)...))
	for _, r := range done.Rejected {
		if err != nil {
			break
		}
		err = w.Write(append([]string{strconv.Itoa(r.Line), r.Code, r.Reason}, guarded(r.Row)...))
	}
	w.Flush()
	if err := errors.Join(err, w.Error(), f.Close()); err != nil {
		return err
	}
	for i, r := range done.Rejected {
		if i == 5 {
			fmt.Fprintf(c.err, "  … and %d more\n", len(done.Rejected)+done.More-5)
			break
		}
		fmt.Fprintf(c.err, "%s:%d: %s [%s]\n", safe(path), r.Line, safe(r.Reason), r.Code)
	}
	fmt.Fprintf(c.err, "rejected rows are in %s\n", safe(out))
	return nil
}
