package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/plugins/plugintest"
)

func (c *cli) pluginTest() *cobra.Command {
	var junit, params string
	var live bool
	cmd := &cobra.Command{Use: "test FOLDER|BINARY", Short: "Test whether a plugin keeps what the protocol promises", Args: cobra.ExactArgs(1),
		Long: "Start a plugin as the host would, and look at what it says and answers. It needs no data directory. The plugin\n" +
			"runs with your rights. Actions that touch the outside world are only asked for dry runs, unless --live.\n\n" +
			"--params names a JSON file with parameters by action: {\"acme.flag\": {\"plan\": \"gold\"}}.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, name, err := trialOf(args[0])
			if err != nil {
				return err
			}
			p.Live = live
			if params != "" {
				raw, err := os.ReadFile(params)
				if err == nil {
					err = json.Unmarshal(raw, &p.Params)
				}
				if err != nil {
					return crm.Errorf("read the parameters", crm.CodeInvalid, "%w", err).WithHint("the file holds a JSON object: parameters by action")
				}
			}
			results, err := plugintest.Check(cmd.Context(), p)
			if err != nil {
				return crm.Errorf("test a plugin", crm.CodeFailed, "%w", err)
			}
			if junit != "" {
				if err := writeFile(junit, func(w io.Writer) error { return plugintest.WriteJUnit(w, "reprieve plugin "+name, results) }); err != nil {
					return err
				}
			}
			return c.conformed(name, results)
		}}
	cmd.Flags().StringVar(&junit, "junit", "", "also write the results to a file, as JUnit does")
	cmd.Flags().StringVar(&params, "params", "", "a JSON file with parameters by action, where the schema alone does not tell what fits")
	cmd.Flags().BoolVar(&live, "live", false, "let external actions act on the outside world")
	return cmd
}

// trialOf says what to start: a folder's command, or a binary as it is.
func trialOf(at string) (p plugintest.Plugin, name string, err error) {
	info, err := os.Stat(at)
	if err != nil {
		return p, "", crm.Errorf("test a plugin", crm.CodeNotFound, "%w", err).WithHint("name a plugin's folder, or its binary")
	}
	if at, err = filepath.Abs(at); err != nil {
		return p, "", err
	}
	if !info.IsDir() {
		return plugintest.Plugin{Command: []string{at}}, filepath.Base(at), nil
	}
	m, argv, err := plugins.Trial(at)
	return plugintest.Plugin{Name: m.Name, Version: m.Version, Command: argv, Dir: at}, m.Name, err
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return crm.Errorf("write a file", crm.CodeFailed, "%w", err)
	}
	return errors.Join(write(f), f.Close())
}

func (c *cli) conformed(name string, results []plugintest.Result) error {
	t, items, failed, skipped := table{{"check", "result", "took", "detail"}}, []any{}, 0, 0
	for _, r := range results {
		t = append(t, []string{r.Check, string(r.Status), r.Took.Round(time.Millisecond).String(), r.Detail})
		items = append(items, r)
		switch r.Status {
		case plugintest.Failed:
			failed++
		case plugintest.Skipped:
			skipped++
		}
	}
	if err := c.print(map[string]any{"plugin": name, "checks": results, "failed": failed, "skipped": skipped}, items, t); err != nil {
		return err
	}
	for _, r := range results {
		if r.Status == plugintest.Failed {
			fmt.Fprintf(c.err, "%s failed\n  help: %s\n", r.Check, r.Hint)
		}
	}
	if failed > 0 {
		return silent(exitInvalid)
	}
	return nil
}
