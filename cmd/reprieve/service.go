package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store/bolt"
)

func (c *cli) initialise() *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "init", Short: "Make a data directory with a store, a master key and an account", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.makeData(); err != nil {
				return err
			}
			if err := server.CheckSocket(c.path(socketFile)); err != nil {
				fmt.Fprintf(c.err, "warning: %s; reprieve serve will refuse it: use a data directory with a shorter path\n", safe(err.Error()))
			}
			var v server.AccountView
			if err := c.call(cmd.Context(), "account.create", server.AccountCreate{Name: name}, &v, nil); err != nil {
				return err
			}
			fmt.Fprintf(c.err, "made %s; keep %s safe: without it the log cannot be read\n", c.data, c.path(keyFile))
			return c.print(v, nil, table{{"account", "name", "recovery_window"}, {v.ID.String(), v.Name, v.Window}})
		}}
	cmd.Flags().StringVar(&name, "name", "main", "name of the account")
	return cmd
}

// makeData makes the directory, the key and an empty store.
func (c *cli) makeData() error {
	if _, err := os.Stat(c.path(storeFile)); err == nil {
		return crm.Errorf("make the data directory", crm.CodeConflict, "%s has a store already", c.data).
			WithHint("go on with it, or name another: --data DIR")
	}
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return crm.Errorf("make the data directory", crm.CodeFailed, "%w", err).WithHint("name a place that you may write to: --data DIR")
	}
	if os.Getenv("REPRIEVE_MASTER_KEY") == "" && os.Getenv("REPRIEVE_MASTER_KEY_FILE") == "" {
		key, err := newMasterKey()
		if err != nil {
			return err
		}
		f, err := os.OpenFile(c.path(keyFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_, err = fmt.Fprintln(f, hex.EncodeToString(key))
			err = errors.Join(err, f.Sync(), f.Close())
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return crm.Errorf("make the master key", crm.CodeFailed, "%w", err).WithHint("name a place that you may write to: --data DIR")
		}
	}
	eng, err := bolt.Open(c.path(storeFile), bolt.Options{Now: func() crm.Nanos { return crm.At(clock.Wall{}.Now()) }})
	if err != nil {
		return storeError(c.path(storeFile), err)
	}
	if err := eng.Close(); err != nil {
		return err
	}
	_, err = newAuditFiles(c.data).Signer()
	return err
}

func (c *cli) serve() *cobra.Command {
	var sweep, heads, headCron string
	cmd := &cobra.Command{Use: "serve", Short: "Run workflows, schedules and sweeps, and answer on the unix socket", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := server.CheckSocket(c.path(socketFile)); err != nil {
				return err
			}
			keys, err := c.masterKeys()
			if err != nil {
				return err
			}
			audit := newAuditFiles(c.data)
			if heads != "" {
				audit.heads = heads
			}
			if os.Getenv("GOGC") == "" { // the live heap is small: let it grow rather than be collected all the time
				debug.SetGCPercent(400)
			}
			log := c.logger(zerolog.InfoLevel)
			o, err := open(cmd.Context(), place{dir: c.data, key: keys.key, next: keys.next, finish: func() error { return c.finish(keys) },
				audit: audit, heads: headCron, clock: clock.Wall{}, log: log, sweep: sweep})
			if err != nil {
				return err
			}
			ln, err := server.Listen(c.path(socketFile))
			if err != nil {
				return errors.Join(err, o.close())
			}
			log.Info().Str("data", c.data).Int("pid", os.Getpid()).Msg("serving")
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			done := make(chan error, 2)
			go func() { done <- o.app.Engine.Run(ctx) }()
			go func() { done <- server.Serve(ctx, ln, o.app) }()
			err = <-done
			cancel()
			err = errors.Join(err, <-done)
			if err == nil { // a clean stop
				err = o.app.Engine.ExportHead(context.WithoutCancel(ctx))
			}
			err = errors.Join(err, o.close())
			log.Info().Msg("stopped")
			return err
		}}
	cmd.Flags().StringVar(&sweep, "sweep", "* * * * *", "when to sweep, as cron in UTC; a sweep purges what is past its deadline")
	cmd.Flags().StringVar(&headCron, "audit-cron", "0 * * * *", "when to export the signed head of the log, as cron in UTC; also at the start and at the end")
	cmd.Flags().StringVar(&heads, "audit-heads", "", "file to which the heads go, best on another machine's disk; also REPRIEVE_AUDIT_HEADS, which audit verify reads too (default audit-heads.jsonl in the data directory)")
	return cmd
}

func (c *cli) store() *cobra.Command {
	check := &cobra.Command{Use: "check", Short: "Read the whole store file and compare every checksum, in a process of its own", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			// A damaged file can end the process that reads it beyond any recover; so a child reads it.
			child := exec.CommandContext(cmd.Context(), exe, "store", "check-in-process", "--data", c.data, "--output", c.format)
			child.Stdout, child.Stderr = c.out, c.err
			if err := child.Run(); err != nil {
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() != 2 {
					return silent(exit.ExitCode())
				}
				return crm.Errorf("check the store", crm.CodeCorrupt, "the process that read %s died: %w", c.path(storeFile), err).
					WithHint("the file is damaged; go back to a backup")
			}
			return nil
		}}
	inProcess := &cobra.Command{Use: "check-in-process", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if err := bolt.Check(c.path(storeFile)); err != nil {
			return storeError(c.path(storeFile), err)
		}
		return c.print(map[string]string{"store": c.path(storeFile), "status": "ok"}, nil, table{{"store", "status"}, {c.path(storeFile), "ok"}})
	}}
	return group("store", "The store file", check, c.rotateKey(), inProcess)
}
