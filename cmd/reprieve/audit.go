package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
)

func (c *cli) audit() *cobra.Command {
	return group("audit", "The hash-chained log: list, export, verify, key", c.auditList(), c.auditExport(), c.auditVerify(), c.auditKey())
}

func (c *cli) auditList() *cobra.Command {
	var q server.AuditList
	var kind, op, since, until string
	cmd := &cobra.Command{Use: "list", Short: "List what was done, by whom and through what, the latest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			q.Kind = crm.EventKind(kind)
			if op != "" {
				if q.Operation, err = crm.ParseID[crm.OperationKind](op); err != nil {
					return usage{fmt.Errorf("--operation: %w", err)}
				}
			}
			for flag, to := range map[string]struct {
				text string
				at   *crm.Nanos
			}{"since": {since, &q.Since}, "until": {until, &q.Until}} {
				if to.text == "" {
					continue
				}
				if *to.at, err = instant(to.text); err != nil {
					return usage{fmt.Errorf("--%s: %w", flag, err)}
				}
			}
			page, err := c.auditPages(cmd.Context(), q)
			if err != nil {
				return err
			}
			return c.printAudit(page)
		}}
	f := cmd.Flags()
	f.StringVar(&q.Contact, "contact", "", "only what was done to this contact; of a purged one by its id")
	f.StringVar(&q.Actor, "actor", "", "only what this one did: user:1000, workflow:ID, system:sweep")
	f.StringVar(&kind, "kind", "", "only this kind of event: contact.deleted, policy.changed, …")
	f.StringVar(&q.Workflow, "workflow", "", "only what this workflow did")
	f.StringVar(&op, "operation", "", "only what belongs to this bulk operation")
	f.StringVar(&since, "since", "", "from then on: 24h, 7d, or a time as 2026-03-01T09:00:00Z")
	f.StringVar(&until, "until", "", "before then; as --since")
	f.Uint64Var(&q.Before, "before", 0, "go on before this entry")
	f.IntVar(&q.Limit, "limit", 100, "at most so many, up to "+strconv.Itoa(server.MaxPage))
	return cmd
}

// auditPages asks until the page is full: a call looks only so far.
func (c *cli) auditPages(ctx context.Context, q server.AuditList) (page server.AuditPage, err error) {
	page.Entries = []server.AuditEntry{}
	limit := q.Limit
	err = c.session(ctx, false, func(s *session) error {
		for {
			var part server.AuditPage
			if err := s.Call(ctx, "audit.list", q, &part, nil); err != nil {
				return err
			}
			part.Entries = append(page.Entries, part.Entries...)
			page = part
			if page.Next == 0 || len(page.Entries) >= limit {
				return nil
			}
			q.Before, q.Limit = page.Next, limit-len(page.Entries)
		}
	})
	return page, err
}

func (c *cli) printAudit(page server.AuditPage) error {
	t, items := table{{"entry", "at", "event", "contact", "what", "by", "cause", "workflow", "operation"}}, []any{}
	for _, e := range page.Entries {
		op, con, what := "", "", e.What
		if !e.Operation.IsZero() {
			op = e.Operation.String()
		}
		if !e.Contact.IsZero() {
			con = e.Contact.String()
		}
		switch {
		case e.Purged:
			what = "(purged)"
		case e.Sealed:
			what = "(sealed)"
		}
		t = append(t, []string{strconv.FormatUint(e.Entry, 10), stamp(e.At), string(e.Event), con, what, e.By, string(e.Cause), e.Workflow, op})
		items = append(items, e)
	}
	if page.Next != 0 {
		fmt.Fprintf(c.err, "there is more: --before %d\n", page.Next)
	}
	if page.First > 1 && page.Next == 0 {
		fmt.Fprintf(c.err, "the log begins at entry %d; what was before has been removed at the end of audit.keep\n", page.First)
	}
	return c.print(page, items, t)
}

func (c *cli) auditExport() *cobra.Command {
	var q server.AuditExport
	cmd := &cobra.Command{Use: "export FILE", Short: "Write the log to a file that can be verified without the store", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := c.exportAudit(cmd.Context(), q, args[0])
			if err != nil {
				return err
			}
			return c.printVerified(v)
		}}
	cmd.Flags().Uint64Var(&q.First, "from", 0, "the first entry; 0 is the first that there is")
	cmd.Flags().Uint64Var(&q.Last, "to", 0, "the last entry; 0 is the last that there is")
	return cmd
}

// exportAudit writes an export, verifies what it has written, and only then gives it its name. It never takes the
// place of another file: that might be the only proof there is.
func (c *cli) exportAudit(ctx context.Context, q server.AuditExport, file string) (v store.Verified, err error) {
	const op = "export the audit"
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return v, crm.Errorf(op, crm.CodeConflict, "there is a file %s already", file).WithHint("name another")
	}
	draft := file + ".partial"
	f, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return v, crm.Errorf(op, crm.CodeFailed, "%w", err).WithHint("name a place that you may write to")
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(draft)
		}
	}()
	var keys store.Keys
	if err := c.session(ctx, false, func(s *session) error {
		for {
			var p server.AuditPart
			if err := s.Call(ctx, "audit.export", q, &p, nil); err != nil {
				return err
			}
			if _, err := f.Write(p.Lines); err != nil {
				return crm.Errorf(op, crm.CodeFailed, "%w", err).WithHint("free space, and try again")
			}
			if q.Last, q.At = p.Last, p.Next; p.Next == 0 {
				return s.Call(ctx, "audit.key", server.None{}, &keys, nil)
			}
		}
	}); err != nil {
		return v, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return v, err
	}
	if v, err = store.VerifyExport(f, &keys); err != nil {
		return v, err
	}
	if err := errors.Join(f.Sync(), os.Link(draft, file), os.Remove(draft)); err != nil {
		return v, crm.Errorf(op, crm.CodeFailed, "%w", err).WithHint("name a place that you may write to")
	}
	return v, nil
}

func (c *cli) printVerified(v store.Verified) error {
	hash, _ := v.Hash.MarshalText()
	if !v.Trusted {
		fmt.Fprintf(c.err, "signed by the key %s, which only the file itself says is the right one; name the one that you trust: --key\n", v.Key)
	}
	return c.print(v, nil, table{{"entries", "first", "last", "head", "signed_at", "key", "trusted"},
		{strconv.FormatUint(v.Entries, 10), strconv.FormatUint(v.First, 10), strconv.FormatUint(v.Last, 10), string(hash), stamp(v.At), v.Key.String(), yes(v.Trusted)}})
}

func (c *cli) auditVerify() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "verify [FILE]", Short: "Recompute the chain of the whole log, or, without store and master key, of an export", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return c.verifyFile(args[0], key)
			}
			if key != "" {
				return usage{errors.New("--key is for an export: audit verify FILE --key KEY")}
			}
			var v server.AuditView
			if err := c.call(cmd.Context(), "audit.verify", server.None{}, &v, nil); err != nil {
				return err
			}
			first := ""
			if v.First > 0 {
				first = strconv.FormatUint(v.First, 10)
			}
			return c.print(v, nil, table{{"entries", "head", "first", "exported_heads", "newest_head"},
				{strconv.FormatUint(v.Entries, 10), v.Head, first, count(v.Heads), stamp(v.Newest)}})
		}}
	cmd.Flags().StringVar(&key, "key", "", "the public key that you trust, in hex, or a file that holds it: audit.pub")
	return cmd
}

func (c *cli) verifyFile(file, key string) error {
	const op = "verify an export"
	var keys *store.Keys
	if key != "" {
		raw, err := os.ReadFile(key)
		if err != nil {
			raw = []byte(key)
		}
		if keys, err = store.ParseKeys(raw); err != nil {
			return err
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return crm.Errorf(op, crm.CodeNotFound, "%w", err).WithHint("name a file that reprieve audit export has written")
	}
	defer f.Close()
	v, err := store.VerifyExport(f, keys)
	if err != nil {
		return err
	}
	return c.printVerified(v)
}

func (c *cli) auditKey() *cobra.Command {
	var rotate bool
	cmd := &cobra.Command{Use: "key", Short: "Show the public key by which exports and heads are verified; --rotate takes another", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			verb := "audit.key"
			if rotate {
				verb = "audit.rotate"
			}
			var keys store.Keys
			if err := c.call(cmd.Context(), verb, server.None{}, &keys, nil); err != nil {
				return err
			}
			t := table{{"key", "since", "until"}, {keys.Key.String(), stamp(keys.Since), ""}}
			for _, o := range keys.Old {
				t = append(t, []string{o.Key.String(), stamp(o.Since), stamp(o.Until)})
			}
			return c.print(keys, nil, t)
		}}
	cmd.Flags().BoolVar(&rotate, "rotate", false, "sign with another key from now on; the old ones stay listed, signed by it")
	return cmd
}
