package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/mattn/go-isatty"
	"go.yaml.in/yaml/v3"

	"github.com/reprieve-run/reprieve/crm"
)

// table is rows of cells, the first of them the header.
type table [][]string

// print writes an answer in the format that was asked for. The items are its rows for jsonl, the
// whole answer if nil.
func (c *cli) print(answer any, items []any, t table) error {
	switch c.format {
	case "json":
		return c.json(answer, "  ")
	case "jsonl":
		if items == nil {
			return c.json(answer, "")
		}
		for _, it := range items {
			if err := c.json(it, ""); err != nil {
				return err
			}
		}
		return nil
	case "yaml":
		raw, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		var n yaml.Node // JSON is YAML; decoding into a node keeps the order of the members
		if err := yaml.Unmarshal(raw, &n); err != nil {
			return err
		}
		plain(&n)
		enc := yaml.NewEncoder(c.out)
		enc.SetIndent(2)
		return enc.Encode(&n)
	case "csv":
		w := csv.NewWriter(c.out)
		for _, row := range t {
			if err := w.Write(guarded(row)); err != nil {
				return err
			}
		}
		w.Flush()
		return w.Error()
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	for i, row := range t {
		if i == 0 {
			row = upper(row)
		}
		fmt.Fprintln(w, strings.Join(clean(row), "\t"))
	}
	return w.Flush()
}

func (c *cli) json(v any, indent string) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// plain drops the flow style that nodes decoded from JSON have.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}

func upper(row []string) []string {
	out := make([]string, len(row))
	for i, s := range row {
		out[i] = strings.ToUpper(strings.ReplaceAll(s, "_", " "))
	}
	return out
}

// clean keeps what came from outside from moving a terminal's cursor.
func clean(row []string) []string {
	out := make([]string, len(row))
	for i, s := range row {
		out[i] = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
				return '·'
			}
			return r
		}, s)
	}
	return out
}

// guarded keeps a spreadsheet from taking a cell for a formula; telephone numbers are exempt.
func guarded(row []string) []string {
	out := make([]string, len(row))
	for i, s := range row {
		if out[i] = s; s != "" && strings.ContainsRune("=+-@\t\r\x00", rune(s[0])) && !telephone(s) {
			out[i] = "'" + s
		}
	}
	return out
}

func telephone(s string) bool {
	return len(s) > 7 && s[0] == '+' && strings.Trim(s[1:], "0123456789") == ""
}

// isTerminal says whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// ask has a person on a terminal type a word. Elsewhere it gives nothing, and the verb refuses.
func (c *cli) ask(question string) string {
	if !isTerminal(c.in) {
		return ""
	}
	fmt.Fprint(c.err, question)
	line, err := bufio.NewReader(io.LimitReader(c.in, 1000)).ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(line)
}

func stamp(n crm.Nanos) string {
	if n == 0 {
		return ""
	}
	return n.Time().Format("2006-01-02 15:04:05Z")
}

// plural is a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
