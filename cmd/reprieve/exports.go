package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) contactExport() *cobra.Command {
	var q server.ContactsExport
	var f restoreFlags
	var to string
	cmd := &cobra.Command{Use: "export [CONTACT]", Short: "Print all there is of one contact as JSON, or write contacts as CSV or JSONL", Args: cobra.MaximumNArgs(1),
		Long: "With a CONTACT: print all there is of it as JSON. Without: write the live contacts, or those that the flags\n" +
			"ask for, as CSV (contact import takes it back) or JSONL, in the order of their ids. The log notes who\n" +
			"exported which, how many and with what sha256. What was written is out of reach of a later erasure.",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 1 {
				for _, name := range []string{"as", "columns", "to", "deleted", "held", "archived", "tag", "list"} {
					if cmd.Flags().Changed(name) {
						return usage{fmt.Errorf("--%s is for an export of many: name no contact", name)}
					}
				}
				return c.exportOne(cmd.Context(), args[0])
			}
			if q.Filter, err = f.filter(); err != nil {
				return err
			}
			return c.exportMany(cmd.Context(), q, to)
		}}
	cmd.Flags().StringVar(&q.Format, "as", "csv", "csv or jsonl")
	cmd.Flags().StringSliceVar(&q.Columns, "columns", nil, "columns of a CSV: email, phone, …, fields.NAME; default: all that an import takes back")
	cmd.Flags().StringVar(&to, "to", "", "write to this new file; default: standard output")
	cmd.Flags().BoolVar(&q.Deleted, "deleted", false, "deleted contacts instead of live ones")
	f.register(cmd)
	cmd.Flags().BoolVar(&q.Held, "held", false, "only those under a legal hold; add --deleted for deleted ones")
	cmd.Flags().BoolVar(&q.Archived, "archived", false, "only archived ones")
	cmd.Flags().StringVar(&q.Tag, "tag", "", "only those with this tag")
	cmd.Flags().StringVar(&q.List, "list", "", "only those on this list")
	return cmd
}

func (c *cli) exportOne(ctx context.Context, id string) error {
	var v server.ContactExport
	if err := c.call(ctx, "contact.export", server.ContactID{ID: id}, &v, nil); err != nil {
		return err
	}
	if c.format == "table" {
		_, err := fmt.Fprintf(c.out, "%s\n", v.Document)
		return err
	}
	return c.print(v.Document, nil, table{{"document", "sha256"}, {string(v.Document), v.SHA256}})
}

// exportMany writes an export to standard output, or to a new file that only its owner may read; a file that did
// not get whole is removed.
func (c *cli) exportMany(ctx context.Context, q server.ContactsExport, to string) error {
	if to == "" {
		done, err := c.exportParts(ctx, q, c.out)
		if err == nil {
			fmt.Fprintf(c.err, "%s, sha256 %s\n", plural(done.Contacts, "contact"), done.SHA256)
		}
		return err
	}
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return crm.Errorf("export contacts", crm.CodeFailed, "%w", err).WithHint("name a file that is not there yet, where you may write")
	}
	done, err := c.exportParts(ctx, q, file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	done.Data = nil
	return c.print(map[string]any{"contacts": done.Contacts, "sha256": done.SHA256, "inexact": done.Inexact}, nil,
		table{{"contacts", "sha256"}, {strconv.Itoa(done.Contacts), done.SHA256}})
}

// exportParts writes the parts one after the other and gives the last.
func (c *cli) exportParts(ctx context.Context, q server.ContactsExport, w io.Writer) (done server.ExportedPart, err error) {
	err = c.session(ctx, true, func(s *session) error {
		for {
			done = server.ExportedPart{}
			if err := s.Call(ctx, "contact.export_all", q, &done, nil); err != nil {
				return err
			}
			if _, err := w.Write(done.Data); err != nil {
				return crm.Errorf("export contacts", crm.CodeFailed, "%w", err).WithHint("make room, or write elsewhere: --to FILE")
			}
			if q.Columns, q.At = done.Columns, done.Next; done.Next == "" {
				return nil
			}
		}
	})
	if err == nil && done.Inexact > 0 {
		fmt.Fprintf(c.err, "%s with a comma in a tag, a semicolon in a list or a channel of their own: an import would not read that back; --as jsonl has it\n",
			plural(done.Inexact, "contact"))
	}
	return done, err
}
