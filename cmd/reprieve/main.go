// Command reprieve is the one binary: the service, the command line that talks to it, and, started
// again by itself, the process of each built-in action.
//
// It holds no rule: it opens a data directory or a running server's socket, calls verbs, and prints
// what they answer. Data goes to standard output, everything else to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes; they are documented in the README and never change their meaning.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2 // usage, or a confirmation is missing
	exitInvalid  = 3
	exitNotFound = 4
	exitDenied   = 5
	exitConflict = 6
	exitPartly   = 8 // finished with some errors
	exitStopped  = 130
)

// run is main with its edges as parameters, for tests.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 2 && args[0] == "action" && strings.Contains(args[1], ".") { // this process is a built-in action
		if err := actions.Serve(args[1]); err != nil {
			fmt.Fprintln(stderr, "error:", err)
			return exitFailed
		}
		return exitOK
	}
	if len(args) == 2 && args[0] == probeArg {
		if err := plugins.ServeProbe(args[1], stdout); err != nil {
			return exitFailed
		}
		return exitOK
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{in: stdin, out: stdout, err: stderr, tty: isTerminal(stdin)}
	return c.run(ctx, args)
}

func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if ctx.Err() != nil && code != exitOK {
		code = exitStopped
	}
	c.explain(err)
	return code
}

// silent is an exit code without an error text: the text has been printed.
type silent int

// Error implements error.
func (s silent) Error() string { return fmt.Sprintf("exit %d", int(s)) }

// usage marks an error in how a command was written.
type usage struct{ error }

func exitCode(err error) int {
	var s silent
	var u usage
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &s):
		return int(s)
	case errors.As(err, &u):
		return exitUsage
	}
	switch crm.CodeOf(err) {
	case crm.CodeConfirm:
		return exitUsage
	case crm.CodeInvalid, crm.CodeNewer, crm.CodeCorrupt:
		return exitInvalid
	case crm.CodeNotFound, crm.CodePurged, crm.CodeDeleted: // by its address a deleted contact is not found either
		return exitNotFound
	case crm.CodeDenied, crm.CodeNoGrant, crm.CodeHIPAA, crm.CodeHeld, crm.CodeRestoreOff:
		return exitDenied
	case crm.CodeConflict, crm.CodeLocked, crm.CodeWindowPassed, crm.CodeWindowOpen, crm.CodeEnrolled,
		crm.CodeStale, crm.CodeNotDeleted, crm.CodeAssociated, crm.CodeLimited, crm.CodeExport, crm.CodeRunning:
		return exitConflict
	}
	return exitFailed
}

// explain prints an error: what happened, to what, and what to do next.
func (c *cli) explain(err error) {
	var s silent
	if err == nil || errors.As(err, &s) {
		return
	}
	var e *crm.Error
	if !errors.As(err, &e) {
		fmt.Fprintln(c.err, "error:", safeLines(err.Error()))
		var u usage
		if errors.As(err, &u) {
			fmt.Fprintln(c.err, "  help: reprieve --help, or --help after any command")
		}
		return
	}
	fmt.Fprintf(c.err, "error[%s]: %s\n", e.Code, safeLines(err.Error()))
	if e.Hint != "" {
		fmt.Fprintln(c.err, "  help:", safeLines(e.Hint))
	}
}

// cli is one run of the command line.
type cli struct {
	in       io.Reader
	out, err io.Writer
	tty      bool // a person sits at in
	data     string
	format   string
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:                        "reprieve",
		Short:                      "Deletes you can take back, automations you can trust",
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		Args:                       verbOf,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			switch c.format {
			case "table", "json", "jsonl", "yaml", "csv":
				return nil
			}
			return usage{fmt.Errorf("--output %s: it is table, json, jsonl, yaml or csv", c.format)}
		},
	}
	data := os.Getenv("REPRIEVE_DATA")
	if data == "" {
		data = ".reprieve"
	}
	root.PersistentFlags().StringVar(&c.data, "data", data, "data directory; also REPRIEVE_DATA")
	root.PersistentFlags().StringVarP(&c.format, "output", "o", "table", "table, json, jsonl, yaml or csv")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{errors.New(plainFlag(err.Error()))} })
	root.AddCommand(c.demo(), c.initialise(), c.serve(), c.contact(), c.record(), c.lists(), c.tags(), c.campaigns(), c.companies(), c.opportunities(), c.workflow(), c.runs(), c.bulk(), c.policy(), c.account(),
		c.event(), c.retention(), c.plugin(), c.actions(), c.audit(), c.store(), c.doctor(), c.docs(), c.version())
	markUsage(root)
	return root
}

var parseWords = regexp.MustCompile(`strconv\.(\w+): parsing "(?:[^"\\]|\\.)*": (?:invalid syntax|value out of range)$`)

// plainFlag says what is wrong with a flag's value without the words of the library that read it.
func plainFlag(text string) string {
	m := parseWords.FindStringSubmatchIndex(text)
	if m == nil {
		return text
	}
	what := map[string]string{"ParseBool": "it is true or false", "ParseFloat": "it is a number", "ParseUint": "it is a whole number from 0 on"}[text[m[2]:m[3]]]
	if what == "" {
		what = "it is a whole number"
	}
	return text[:m[0]] + what
}

// markUsage makes wrong arguments exit like wrong flags.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage{fmt.Errorf("%s: %w", cmd.CommandPath(), err)}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}

// verbOf refuses a noun that there is not, and a verb that a noun does not have, with the one that was meant.
func verbOf(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("unknown command %q for %q; did you mean %s?", args[0], cmd.CommandPath(), strings.Join(near, ", "))
	}
	return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
}

// group is a noun: a command that only has commands.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: verbOf, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	g.AddCommand(verbs...)
	return g
}

func (c *cli) version() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Show the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		v := map[string]string{"version": "unknown", "go": "unknown"}
		if info, ok := debug.ReadBuildInfo(); ok {
			v = map[string]string{"version": info.Main.Version, "go": info.GoVersion}
		}
		return c.print(v, nil, table{{"version", "go"}, {v["version"], v["go"]}})
	}}
}
