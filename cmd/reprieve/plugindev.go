package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/server"
)

// developmentFile marks a data directory in which `plugin dev` may put code to work that nobody has looked at.
const developmentFile = "development"

const banner = `
########################################################################
##  DEVELOPMENT: %s
##  Whatever is saved there is put to work in
##  %s
##  at once, with all that it asks for, and nobody looks at it first.
##  Never do this where there are real people's data.
########################################################################
`

func (c *cli) pluginDev() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "dev FOLDER", Short: "Rebuild and reinstall a plugin whenever it is saved, for development", Args: cobra.ExactArgs(1),
		Long: "Build the plugin in a folder, install it and trust it, and do so again at each save, until interrupted. Where\n" +
			"no server runs one is started, whose log, with what the plugin writes, is shown here.\n\n" +
			"It works only on a data directory that is for that: the first time it must be without contacts, and is\n" +
			"marked then by a file called development. Installing asks nobody here what a plugin may do, so it has no\n" +
			"place where contacts are kept that are somebody's.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return usage{errors.New("plugin dev puts whatever is saved to work at once: say --yes-this-is-development")}
			}
			from, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if _, _, err := readDev(from); err != nil {
				return err
			}
			if err := c.allowDev(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintf(c.err, banner, from, c.data)
			return c.withServer(cmd.Context(), func(ctx context.Context) error { return c.develop(ctx, from) })
		}}
	cmd.Flags().BoolVar(&yes, "yes-this-is-development", false, "the data directory is for development, and holds nobody's data")
	return cmd
}

// readDev says what the plugin is, and whether it is built here. Its binary need not be there yet.
func readDev(from string) (m plugins.Manifest, build bool, err error) {
	if m, _, err = plugins.Trial(from); err != nil {
		return m, false, err
	}
	_, err = os.Stat(filepath.Join(from, "go.mod"))
	return m, err == nil && m.Interpreter == "", nil
}

// allowDev refuses a data directory that was not marked while it was empty of people.
func (c *cli) allowDev(ctx context.Context) error {
	if _, err := os.Stat(c.path(developmentFile)); err == nil {
		return nil
	}
	err := c.session(ctx, false, func(s *session) error {
		var live server.ContactPage
		var gone server.RetentionStatus
		if err := errors.Join(s.Call(ctx, "contact.list", server.ContactList{Limit: 1}, &live, nil),
			s.Call(ctx, "retention.status", server.None{}, &gone, nil)); err != nil {
			return err
		}
		if len(live.Contacts) > 0 || gone.Deleted > 0 {
			return crm.Errorf("develop a plugin", crm.CodeDenied, "%s holds contacts and was never marked for development", c.data).
				WithHint("make another: reprieve --data DIR init; plugin dev marks it while it is empty, and data can be imported after that")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.WriteFile(c.path(developmentFile), []byte("`reprieve plugin dev` installs unseen code here. Nobody's data belong here.\n"), 0o600)
}

// withServer has a server run meanwhile: the one that does, or one of its own.
func (c *cli) withServer(ctx context.Context, do func(context.Context) error) error {
	if client, err := server.Dial(c.path(socketFile)); err == nil {
		_ = client
		fmt.Fprintln(c.err, "a server runs already: what the plugin writes stands in its log")
		return do(ctx)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(exe, "serve", "--data", c.data)
	child.Stdout, child.Stderr = c.err, c.err
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us; we end it when we are done
	if err := child.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		gone <- child.Wait()
		cancel()
	}()
	err = c.reachable(ctx)
	if err == nil {
		err = do(ctx)
	}
	_ = child.Process.Signal(os.Interrupt)
	select {
	case e := <-gone:
		return errors.Join(err, e)
	case <-time.After(30 * time.Second):
		_ = child.Process.Kill()
		return errors.Join(err, <-gone)
	}
}

func (c *cli) reachable(ctx context.Context) error {
	for {
		if _, err := server.Dial(c.path(socketFile)); err == nil {
			return nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return crm.Errorf("develop a plugin", crm.CodeFailed, "the server did not start").WithHint("its log above says why; try reprieve serve")
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// develop installs the plugin as it is and whenever it has changed, until ctx ends.
func (c *cli) develop(ctx context.Context, from string) error {
	for last := ""; ; {
		if now := saved(from); now != last {
			last = now
			began := time.Now()
			if v, err := c.reinstall(ctx, from); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				c.explain(err)
				fmt.Fprintln(c.err, "not installed; waiting for a save")
			} else {
				fmt.Fprintf(c.err, "%s %s is in use (%s); waiting for a save\n", v.Name, v.Version, time.Since(began).Round(time.Millisecond))
			}
		}
		if !pause(ctx, 500*time.Millisecond) {
			return nil
		}
	}
}

func (c *cli) reinstall(ctx context.Context, from string) (v plugins.Installed, err error) {
	m, build, err := readDev(from)
	if err != nil {
		return v, err
	}
	if build {
		staged, err := os.MkdirTemp("", "reprieve-dev-")
		if err != nil {
			return v, err
		}
		defer os.RemoveAll(staged)
		if err := c.build(ctx, m, from, staged); err != nil {
			return v, err
		}
		from = staged
	}
	return v, c.call(ctx, "plugin.install", server.PluginInstall{From: from, Trust: true}, &v, nil)
}

// build makes the folder that is installed: the binary where plugin.yaml wants it, and plugin.yaml.
func (c *cli) build(ctx context.Context, m plugins.Manifest, from, into string) error {
	raw, err := os.ReadFile(filepath.Join(from, "plugin.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(into, "plugin.yaml"), raw, 0o600)
	}
	if err != nil {
		return err
	}
	var paths []string
	for _, p := range m.Command {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range slices.Compact(paths) {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(into, filepath.FromSlash(p)), ".")
		cmd.Dir = from
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprint(c.err, safeLines(string(out)))
			return crm.Errorf("build the plugin", crm.CodeInvalid, "go build: %w", err).WithHint("what it said stands above")
		}
	}
	return nil
}

// saved says what stands in a folder and when it was written, to be compared.
func saved(folder string) string {
	var b strings.Builder
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if name := d.Name(); d.IsDir() && path != folder && (strings.HasPrefix(name, ".") || slices.Contains([]string{"node_modules", "__pycache__", "dist"}, name)) {
			return fs.SkipDir
		}
		if info, err := d.Info(); err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return b.String()
}
