package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/server"
)

// probeArg starts this binary as the process that tries the containment of plugins.
const probeArg = "__plugin-probe"

// The states of a finding.
const (
	fine  = "ok"
	weak  = "warn" // it works; somebody should know
	wrong = "bad"  // it does not work, or is not safe
)

// Finding is one line of what the doctor found.
type Finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Help   string `json:"help,omitempty"`
}

// Diagnosis is all that the doctor found; its status is the worst.
type Diagnosis struct {
	Status string    `json:"status"`
	Checks []Finding `json:"checks"`
}

func (d *Diagnosis) add(check, status, detail, help string) {
	d.Checks = append(d.Checks, Finding{check, status, detail, help})
	if status == wrong || status == weak && d.Status == fine {
		d.Status = status
	}
}

// fault adds a finding about an error, with what the error says to do.
func (d *Diagnosis) fault(check, status string, err error) {
	var e *crm.Error
	help := ""
	if errors.As(err, &e) {
		help = e.Hint
	}
	d.add(check, status, err.Error(), help)
}

// The bounds of free space, in bytes: below the first the store takes no more work.
const (
	fullDisk = 64 << 20
	lowDisk  = 1 << 30
)

// checkable is up to what size, in bytes, the doctor reads the whole store.
const checkable = 256 << 20

func (c *cli) doctor() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Look at the data directory, the machine and the containment of plugins; exit 3 if something is wrong", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := Diagnosis{Status: fine}
			if c.lookAtDirectory(&d) {
				c.lookAtStore(cmd.Context(), &d)
			}
			lookAtMachine(&d)
			c.lookAtContainment(cmd.Context(), &d)
			t, items := table{{"check", "status", "detail", "help"}}, []any{}
			for _, f := range d.Checks {
				t, items = append(t, []string{f.Check, f.Status, f.Detail, f.Help}), append(items, f)
			}
			if err := c.print(d, items, t); err != nil {
				return err
			}
			if d.Status == wrong {
				return silent(exitInvalid)
			}
			return nil
		}}
}

// lookAtDirectory says whether there is a data directory to look into.
func (c *cli) lookAtDirectory(d *Diagnosis) bool {
	const check = "data directory"
	info, err := os.Stat(c.data)
	if err != nil || !info.IsDir() {
		d.add(check, wrong, "there is no directory "+c.data, "reprieve init makes one, or name another: --data DIR")
		return false
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Perm()&0o077 != 0:
		d.add(check, wrong, fmt.Sprintf("%s has mode %04o: others than its owner get in", c.data, info.Mode().Perm()), "chmod 700 "+c.data)
	case known && int(owner.Uid) != os.Getuid():
		d.add(check, wrong, c.data+" belongs to another user", "run reprieve as its owner")
	default:
		d.add(check, fine, c.data+" is private", "")
	}
	if name, why := fileSystem(c.data); why != "" {
		d.add("file system", weak, name+": "+why, "put the data directory on a local disk")
	} else if name != "" {
		d.add("file system", fine, name, "")
	}
	if free, err := freeSpace(c.data); err == nil {
		detail := fmt.Sprintf("%d MiB are free", free>>20)
		switch {
		case free < fullDisk:
			d.add("disk", wrong, detail+": the store takes no more work", "make room")
		case free < lowDisk:
			d.add("disk", weak, detail, "make room; below 64 MiB the store takes no more work")
		default:
			d.add("disk", fine, detail, "")
		}
	}
	if err := server.CheckSocket(c.path(socketFile)); err != nil {
		d.fault("socket", wrong, err)
	} else {
		d.add("socket", fine, "its path is short enough", "")
	}
	return true
}

// lookAtStore reads the store in a process of its own, and the plugins by whoever has the store open.
func (c *cli) lookAtStore(ctx context.Context, d *Diagnosis) {
	const check = "store"
	info, err := os.Stat(c.path(storeFile))
	if errors.Is(err, fs.ErrNotExist) {
		d.add(check, wrong, "there is no store in "+c.data, "reprieve init makes one, or name another: --data DIR")
		return
	}
	if _, err := c.masterKeys(); err != nil {
		d.fault("master key", wrong, err)
		return
	}
	d.add("master key", fine, "it is there", "")
	switch client, err := server.Dial(c.path(socketFile)); {
	case err == nil:
		_ = client
		d.add(check, fine, "a server has it open", "")
	case info.Size() > checkable:
		d.add(check, weak, fmt.Sprintf("its %d MiB were not read", info.Size()>>20), "reprieve store check reads all of it")
	default:
		if text, err := c.self(ctx, "store", "check-in-process", "--data", c.data); err != nil {
			d.add(check, wrong, "it cannot be read: "+text, "reprieve store check says more; if it is damaged, go back to a backup")
			return
		}
		d.add(check, fine, "every checksum is right", "")
	}
	if ahead := time.Until(info.ModTime()); ahead > 5*time.Minute {
		d.add("clock", wrong, fmt.Sprintf("the store was written %s from now", ahead.Round(time.Minute)), "set the clock: deadlines are absolute, and a purge waits for them")
	} else if why := clockTrouble(); why != "" {
		d.add("clock", weak, why, "run a time service, as chrony or systemd-timesyncd")
	} else {
		d.add("clock", fine, "it is not behind the store", "")
	}
	c.lookAtPlugins(ctx, d)
}

// self runs this binary and gives the first line of what it says when it fails.
func (c *cli) self(ctx context.Context, args ...string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return err.Error(), err
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Stderr = &stderr
	err = cmd.Run()
	first, _, _ := strings.Cut(stderr.String(), "\n")
	return safe(first), err
}

func (c *cli) lookAtPlugins(ctx context.Context, d *Diagnosis) {
	var found server.Verified
	if err := c.call(ctx, "plugin.verify", server.PluginName{}, &found, nil); err != nil {
		d.fault("plugins", wrong, err)
		return
	}
	for _, v := range found.Versions {
		name := strings.TrimSpace("plugin " + v.Plugin + " " + v.Version)
		if v.Problem != "" {
			d.add(name, wrong, v.Problem, v.Hint)
		} else {
			d.add(name, fine, "it is what was installed", "")
		}
	}
	if len(found.Versions) == 0 {
		d.add("plugins", fine, "none is installed", "")
	}
}

func lookAtMachine(d *Diagnosis) {
	if os.Geteuid() == 0 {
		d.add("user", weak, "reprieve runs as root: a plugin is root too as far as files go, and the number of its processes has no limit",
			"run it as a user of its own")
		return
	}
	d.add("user", fine, "reprieve does not run as root", "")
}

// lookAtContainment starts a process that is shut in like a plugin of a third party, and has it try.
func (c *cli) lookAtContainment(ctx context.Context, d *Diagnosis) {
	exe, err := os.Executable()
	if err != nil {
		d.fault("containment", wrong, err)
		return
	}
	hidden := c.data
	if _, err := os.Stat(hidden); err != nil {
		hidden = ""
	}
	held, err := plugins.Probe(ctx, []string{exe, probeArg}, hidden)
	if err != nil {
		d.fault("containment", wrong, err)
		return
	}
	for _, what := range held.InForce {
		d.add("plugins: "+what, fine, "in force", "")
	}
	for _, g := range held.Missing {
		d.add("plugins: "+g.What, weak, g.Why, "docs/operations.md says what that leaves open")
	}
}
