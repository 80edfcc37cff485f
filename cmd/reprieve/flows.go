package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/cmd/reprieve/flowtest"
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// tested is the answer of workflow test.
type tested struct {
	Passed int               `json:"passed"`
	Failed int               `json:"failed"`
	Cases  []flowtest.Result `json:"cases"`
}

func (c *cli) workflowTest() *cobra.Command {
	var junit string
	cmd := &cobra.Command{Use: "test PATH...", Short: "Run the tests of workflow files in virtual time; a folder stands for its *.yaml",
		Long: "Runs the tests: of workflow files with the real engine and the built-in actions, each case in a store of\n" +
			"its own. It needs no data directory, and touches none. Actions of plugins are not executed: say under\n" +
			"mocks what they come to.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readFiles(args)
			if err != nil {
				return err
			}
			defs, bad, err := c.testable(cmd, files)
			if err != nil {
				return err
			}
			results, err := flowtest.Run(cmd.Context(), defs)
			if err != nil {
				return err
			}
			if len(results) == 0 && len(bad) == 0 {
				return crm.Errorf("test workflows", crm.CodeNotFound, "none of the files has tests").WithHint("add a tests: block; docs/file-format.md shows one")
			}
			if junit != "" {
				if err := writeJUnit(junit, results, bad); err != nil {
					return crm.Errorf("write the JUnit file", crm.CodeFailed, "%w", err).WithHint("name a file that you may write: --junit FILE")
				}
			}
			if len(results) > 0 {
				err = c.tested(results)
			}
			if len(bad) > 0 {
				fmt.Fprintf(c.err, "%s; nothing of %s was tested\n", plural(len(bad), "error"), safe(strings.Join(filesOf(bad), ", ")))
				return silent(exitInvalid)
			}
			return err
		}}
	cmd.Flags().StringVar(&junit, "junit", "", "also write what came of it to this file, as JUnit XML")
	return cmd
}

// testable checks the files and gives the workflows of the good ones, and what is wrong with the others. An action
// that is not built in is no mistake here: its plugin is not executed.
func (c *cli) testable(cmd *cobra.Command, files []server.File) ([]*workflow.Workflow, triggers.Diagnostics, error) {
	builtin, err := flowtest.Builtin(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	v, defs := server.Check(files, builtin.Catalogue(), 0)
	v.Diagnostics = slices.DeleteFunc(v.Diagnostics, func(d *triggers.Diagnostic) bool { return d.Code == "E230" || d.Severity != "error" })
	for _, d := range v.Diagnostics {
		fmt.Fprintln(c.err, d.Render())
	}
	bad := filesOf(v.Diagnostics)
	defs = slices.DeleteFunc(defs, func(def *workflow.Workflow) bool { return slices.Contains(bad, def.File) })
	for _, def := range defs {
		if len(def.Tests) == 0 {
			fmt.Fprintf(c.err, "%s has no tests\n", safe(def.File))
		}
	}
	return defs, v.Diagnostics, nil
}

// filesOf names the files that diagnostics are about, each once.
func filesOf(ds triggers.Diagnostics) (names []string) {
	for _, d := range ds {
		if !slices.Contains(names, d.File) {
			names = append(names, d.File)
		}
	}
	return names
}

// tested prints what came of it: the cases to standard output, why some failed to standard error.
func (c *cli) tested(results []flowtest.Result) error {
	v := tested{Cases: results}
	t, items := table{{"", "workflow", "test"}}, []any{}
	for _, r := range results {
		mark := "✓"
		if r.Passed {
			v.Passed++
		} else {
			v.Failed++
			mark = "✗"
		}
		t, items = append(t, []string{mark, r.Workflow, r.Name}), append(items, r)
	}
	if err := c.print(v, items, t); err != nil {
		return err
	}
	for _, r := range results {
		if !r.Passed && c.format == "table" {
			fmt.Fprintf(c.err, "\n✗ %s\n%s", safe(r.Name), safeLines(explained(r)))
		}
	}
	fmt.Fprintf(c.err, "%d passed, %d failed\n", v.Passed, v.Failed)
	if v.Failed > 0 {
		return silent(exitFailed)
	}
	return nil
}

// explained says why a case failed: what was expected where, what there was instead, and what happened.
func explained(r flowtest.Result) string {
	var b strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "  %s:%d: %s\n", r.File, f.Line, f.What)
		if f.Expected != "" {
			fmt.Fprintf(&b, "    expected  %s\n", f.Expected)
		}
		fmt.Fprintf(&b, "    got       %s\n", f.Got)
	}
	if len(r.Trace) > 0 {
		fmt.Fprintf(&b, "  what happened:\n    %s\n", strings.Join(r.Trace, "\n    "))
	}
	return b.String()
}

// junitSuites is the part of JUnit's format that every reader of it understands.
type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	File     string      `xml:"file,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
	Error   *junitFailure `xml:"error,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes a suite for each workflow, and one with an error for each file that could not be tested.
func writeJUnit(file string, results []flowtest.Result, bad triggers.Diagnostics) error {
	var all junitSuites
	for _, name := range filesOf(bad) {
		one := junitCase{Name: "check", Class: name, File: name, Time: "0.000", Error: &junitFailure{}}
		for _, d := range bad {
			if d.File != name {
				continue
			}
			if one.Line == 0 {
				one.Line, one.Error.Message = d.Line, safe(d.Error())
			}
			one.Error.Text += safeLines(d.Render())
		}
		all.Suites = append(all.Suites, junitSuite{Name: name, File: name, Tests: 1, Errors: 1, Time: "0.000", Cases: []junitCase{one}})
	}
	took := map[int]float64{}
	for _, r := range results {
		n := len(all.Suites) - 1
		if n < 0 || all.Suites[n].File != r.File {
			all.Suites = append(all.Suites, junitSuite{Name: r.Workflow, File: r.File})
			n++
		}
		s := &all.Suites[n]
		one := junitCase{Name: r.Name, Class: r.Workflow, File: r.File, Line: r.Line, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
		if s.Tests++; !r.Passed {
			s.Failures++
			one.Failure = &junitFailure{Text: safeLines(explained(r))}
			if len(r.Failures) > 0 {
				f := r.Failures[0]
				text := f.What + ": " + f.Got // of what could not be carried out there is only why
				if f.Expected != "" {
					text = fmt.Sprintf("%s: expected %s, got %s", f.What, f.Expected, f.Got)
				}
				one.Failure.Message = safe(strings.TrimSpace(text))
			}
		}
		took[n] += r.Took.Seconds()
		s.Time = fmt.Sprintf("%.3f", took[n])
		s.Cases = append(s.Cases, one)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = f.WriteString(xml.Header)
	enc := xml.NewEncoder(f)
	enc.Indent("", "  ")
	return errors.Join(err, enc.Encode(all), f.Close())
}
