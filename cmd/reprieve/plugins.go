package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/server"
)

func (c *cli) plugin() *cobra.Command {
	return group("plugin", "Action plugins", c.pluginList(), c.pluginShow(), c.pluginInstall(),
		c.pluginTurn("use", "Turn to another installed version, or back to one"),
		c.pluginTurn("trust", "Accept what a waiting version may do, and turn to it"),
		c.pluginRemove(), c.pluginVerify(), c.pluginLock(), c.pluginNew(), c.pluginTest(), c.pluginDev())
}

// actions are the commands that look at actions; `reprieve action NAME` with a name of one serves it.
func (c *cli) actions() *cobra.Command {
	return group("action", "Actions", c.actionList(), c.actionShow())
}

func (c *cli) pluginList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List plugins, how each is, and which versions wait to be trusted", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var page server.PluginPage
		if err := c.call(cmd.Context(), "plugin.list", server.None{}, &page, nil); err != nil {
			return err
		}
		t, items := table{{"plugin", "version", "pid", "restarts", "breaker", "calls", "failures", "waiting", "actions", "problem"}}, []any{}
		for _, p := range page.Processes {
			t = append(t, []string{p.Plugin, p.Version, count(p.PID), count(p.Restarts), breaker(p), count(p.Calls), count(p.Failures),
				strings.Join(p.Waiting, " "), strings.Join(p.Actions, " "), p.Problem})
			items = append(items, p)
		}
		return c.print(page, items, t)
	}}
}

// breaker says how a breaker is, where it is not closed.
func breaker(p server.ProcessView) string {
	switch p.Breaker {
	case plugins.BreakerClosed:
		return ""
	case plugins.BreakerOpen:
		return "open until " + stamp(p.RetryAt)
	}
	return string(p.Breaker)
}

func (c *cli) actionList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List actions, the built-in ones and those of plugins, and what they may do", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var page server.PluginPage
		if err := c.call(cmd.Context(), "plugin.list", server.None{}, &page, nil); err != nil {
			return err
		}
		t, items := table{{"action", "plugin", "version", "reads", "effects", "external", "network", "summary", "problem"}}, []any{}
		for _, a := range page.Actions {
			t = append(t, []string{a.Action, a.Plugin, a.Version, strings.Join(a.Reads, " "), effects(a), yes(a.External), strings.Join(a.Network, " "), a.Summary, a.Problem})
			items = append(items, a)
		}
		return c.print(page.Actions, items, t)
	}}
}

func effects(a server.ActionView) string {
	var words []string
	for _, e := range a.Effects {
		words = append(words, string(e))
	}
	return strings.Join(words, " ")
}

func (c *cli) actionShow() *cobra.Command {
	return &cobra.Command{Use: "show ACTION", Short: "Show an action: what it may do, and its parameters", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var v server.ActionDetail
		if err := c.call(cmd.Context(), "action.show", server.ActionName{Action: args[0]}, &v, nil); err != nil {
			return err
		}
		return c.action(v)
	}}
}

// action prints an action as a card and its parameters as a table.
func (c *cli) action(v server.ActionDetail) error {
	if c.format != "table" && c.format != "csv" {
		return c.print(v, nil, nil)
	}
	if c.format == "table" {
		grants := []string{}
		for _, e := range v.Effects {
			if e == plugins.EffectDelete || e == plugins.EffectRestore || e == plugins.EffectPurge {
				grants = append(grants, string(e))
			}
		}
		again := ""
		if v.External {
			again = strconv.FormatBool(v.Idempotent)
		}
		if err := c.card(v, []string{"action", "summary", "plugin", "reads", "effects", "needs_the_grant", "touches_the_outside_world", "tried_again_with_the_same_key", "network", "time_for_a_call", "problem"},
			[]string{v.Action, v.Summary, strings.TrimSpace(v.Plugin + " " + v.Version), strings.Join(v.Reads, " "), effects(v.ActionView), strings.Join(grants, " "),
				yes(v.External), again, strings.Join(v.Network, " "), v.Timeout.String(), v.Problem}); err != nil {
			return err
		}
	}
	t := parameters(v.Schema)
	if len(t) == 1 && c.format == "table" {
		_, err := fmt.Fprintln(c.out, "parameters  none")
		return err
	}
	return c.print(v, nil, t)
}

// parameters is a schema as a table: those that are required first.
func parameters(schema json.RawMessage) table {
	var s struct {
		Properties map[string]struct {
			Type        any    `json:"type"`
			Description string `json:"description"`
			Enum        []any  `json:"enum"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	t := table{{"parameter", "type", "required", "meaning"}}
	if len(schema) == 0 || json.Unmarshal(schema, &s) != nil {
		return t
	}
	required := map[string]bool{}
	for _, r := range s.Required {
		required[r] = true
	}
	for _, want := range []bool{true, false} {
		for _, name := range sortedKeys(s.Properties) {
			if p := s.Properties[name]; required[name] == want {
				text := p.Description
				if len(p.Enum) > 0 {
					text = strings.TrimPrefix(text+"; one of "+strings.Trim(fmt.Sprint(p.Enum), "[]"), "; ")
				}
				t = append(t, []string{name, typeWords(p.Type), yes(want), text})
			}
		}
	}
	return t
}

// typeWords is a schema's type in words; null stands beside others only because a parameter may be left out.
func typeWords(t any) string {
	switch t := t.(type) {
	case nil:
		return "any"
	case []any:
		var words []string
		for _, w := range t {
			if w != "null" {
				words = append(words, fmt.Sprint(w))
			}
		}
		return strings.Join(words, " or ")
	}
	return fmt.Sprint(t)
}

func (c *cli) pluginShow() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "Show a plugin: its process, its versions, its actions with their parameters", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var v server.PluginView
		if err := c.call(cmd.Context(), "plugin.show", server.PluginName{Name: args[0]}, &v, nil); err != nil {
			return err
		}
		versions := table{{"version", "current", "trusted", "wants_more"}}
		for _, s := range v.Versions {
			versions = append(versions, []string{s.Version, yes(s.Current), yes(s.Trusted), strings.Join(s.Wants, "; ")})
		}
		if c.format != "table" {
			return c.print(v, nil, versions)
		}
		if err := c.card(v, []string{"plugin", "version", "pid", "running_since", "restarts", "breaker", "quick_deaths", "calls", "failures", "last_error", "at", "network", "contained_by", "not_contained_by", "problem"},
			[]string{v.Plugin, v.Version, count(v.PID), stamp(v.Since), strconv.Itoa(v.Restarts), strings.TrimPrefix(breaker(v.ProcessView), "closed") + closed(v.ProcessView), count(v.Deaths),
				strconv.Itoa(v.Calls), strconv.Itoa(v.Failures), v.LastError, stamp(v.LastErrorAt), network(v.Network), strings.Join(v.Containment.InForce, ", "), gaps(v.Containment), v.Problem}); err != nil {
			return err
		}
		if len(versions) > 1 {
			fmt.Fprintln(c.out)
			if err := c.columns(versions); err != nil {
				return err
			}
		}
		for _, a := range v.Offers {
			fmt.Fprintln(c.out)
			if err := c.action(a); err != nil {
				return err
			}
		}
		return nil
	}}
}

func closed(p server.ProcessView) string {
	if p.Breaker == plugins.BreakerClosed {
		return string(p.Breaker)
	}
	return ""
}

// gaps says which containments are not in force, and why.
func gaps(c plugins.Containment) string {
	var words []string
	for _, g := range c.Missing {
		words = append(words, g.What+" ("+g.Why+")")
	}
	return strings.Join(words, ", ")
}

func network(declared bool) string {
	if declared {
		return "declared"
	}
	return "none declared"
}

func (c *cli) pluginInstall() *cobra.Command {
	var q server.PluginInstall
	cmd := &cobra.Command{Use: "install FOLDER|ARCHIVE", Short: "Install a plugin from a folder with plugin.yaml, or a .tar.gz or .zip of one, and lock what it is", Args: cobra.ExactArgs(1),
		Long: "Copy a plugin's folder, or unpack its archive, start it once to see what it is, and pin every file by its\n" +
			"sha256 in plugins.lock. Versions stand side by side. A version that may do no more than the one in use comes\n" +
			"into use at once, and what that one is at is waited for. One that wants more waits for\n" +
			"`reprieve plugin trust NAME@VERSION`.",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.From, err = filepath.Abs(args[0]); err != nil {
				return err
			}
			var v plugins.Installed
			if err := c.call(cmd.Context(), "plugin.install", q, &v, nil); err != nil {
				return err
			}
			return c.installed(v)
		}}
	cmd.Flags().BoolVar(&q.Trust, "trust", false, "accept what it wants beyond the version in use, without a look at it first")
	return cmd
}

// installed prints how a version stands, and on standard error what is to be done about it.
func (c *cli) installed(v plugins.Installed) error {
	if len(v.Wants) > 0 && !v.Current {
		fmt.Fprintf(c.err, "%s %s waits, and %s stays in use, for it wants more:\n", v.Name, v.Version, v.Was)
		for _, w := range v.Wants {
			fmt.Fprintln(c.err, "  "+safe(w))
		}
		fmt.Fprintf(c.err, "if it may have that: reprieve plugin trust %s@%s\n", v.Name, v.Version)
	}
	return c.print(v, nil, table{{"plugin", "version", "in_use", "before", "wants_more"},
		{v.Name, v.Version, map[bool]string{true: "yes", false: "no"}[v.Current], v.Was, strings.Join(v.Wants, "; ")}})
}

// nameVersion takes NAME@VERSION apart.
func nameVersion(s string, both bool) (q server.PluginName, err error) {
	var ok bool
	if q.Name, q.Version, ok = strings.Cut(s, "@"); q.Name == "" || ok != (q.Version != "") || both && !ok {
		return q, usage{fmt.Errorf("%q is not NAME@VERSION", s)}
	}
	return q, nil
}

func (c *cli) pluginTurn(verb, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " NAME@VERSION", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		q, err := nameVersion(args[0], true)
		if err != nil {
			return err
		}
		var v plugins.Installed
		if err := c.call(cmd.Context(), "plugin."+verb, q, &v, nil); err != nil {
			return err
		}
		return c.installed(v)
	}}
}

func (c *cli) pluginRemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{Use: "remove NAME[@VERSION]", Short: "Remove a plugin, or one version that is not in use", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		q, err := nameVersion(args[0], false)
		if err != nil {
			return err
		}
		q.Force = force
		return c.call(cmd.Context(), "plugin.remove", q, nil, nil)
	}}
	cmd.Flags().BoolVar(&force, "force", false, "although workflows use it: steps that need it wait until it is installed again")
	return cmd
}

func (c *cli) pluginVerify() *cobra.Command {
	return &cobra.Command{Use: "verify [NAME]", Short: "Compare every file of the installed plugins with plugins.lock; exit " + strconv.Itoa(exitInvalid) + " if one differs", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v server.Verified
			if err := c.call(cmd.Context(), "plugin.verify", server.PluginName{Name: strings.Join(args, "")}, &v, nil); err != nil {
				return err
			}
			return c.verdicts(v.Versions)
		}}
}

func (c *cli) verdicts(found []plugins.Verdict) error {
	t, items, wrong := table{{"plugin", "version", "in_use", "trusted", "files", "verdict", "hint"}}, []any{}, 0
	for _, v := range found {
		verdict := "as installed"
		if v.Problem != "" {
			verdict, wrong = v.Problem, wrong+1
		}
		t, items = append(t, []string{v.Plugin, v.Version, yes(v.Current), yes(v.Trusted), count(v.Files), verdict, v.Hint}), append(items, v)
	}
	if err := c.print(server.Verified{Versions: found, Wrong: wrong}, items, t); err != nil {
		return err
	}
	if wrong > 0 {
		return silent(exitInvalid)
	}
	return nil
}

// pluginLock reads the folder itself: it needs neither a server nor a store.
func (c *cli) pluginLock() *cobra.Command {
	var check bool
	cmd := &cobra.Command{Use: "lock", Short: "Show plugins.lock; with --check compare it with the files, as a build server would", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir := c.path(pluginsDir)
			file := filepath.Join(dir, "plugins.lock")
			if check {
				found, err := plugins.CheckLock(dir, file)
				if err != nil {
					return err
				}
				return c.verdicts(found)
			}
			lock, err := plugins.ReadLock(file)
			if err != nil {
				return err
			}
			t, items := table{{"plugin", "version", "in_use", "trusted", "platform", "sha256", "files", "actions"}}, []any{}
			for _, p := range lock.Plugins {
				for _, m := range p.Versions {
					items = append(items, m)
					var names []string
					for _, a := range m.Actions {
						names = append(names, a.Action)
					}
					for _, platform := range sortedKeys(m.SHA256) {
						t = append(t, []string{m.Name, m.Version, yes(m.Version == p.Current), yes(m.Trusted), platform, m.SHA256[platform], count(len(m.Files)), strings.Join(names, " ")})
					}
				}
			}
			return c.print(lock, items, t)
		}}
	cmd.Flags().BoolVar(&check, "check", false, "compare, and exit "+strconv.Itoa(exitInvalid)+" if something differs; nothing is started")
	return cmd
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
