package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

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
	return c.columns(t)
}

// columns prints a table for people: without the columns in which nothing stands, and without spaces
// at the ends of lines.
func (c *cli) columns(t table) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for i, row := range filled(t) {
		if i == 0 {
			row = upper(row)
		}
		fmt.Fprintln(w, strings.Join(clean(row), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(c.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// filled gives a table without its empty columns; one without rows stays as it is.
func filled(t table) table {
	if len(t) < 2 {
		return t
	}
	out := make(table, len(t))
	for col := range t[0] {
		if !slices.ContainsFunc(t[1:], func(row []string) bool { return row[col] != "" }) {
			continue
		}
		for i, row := range t {
			out[i] = append(out[i], row[col])
		}
	}
	return out
}

// card prints one thing: a line for each key that has a value, or in other formats all of them.
func (c *cli) card(answer any, keys, values []string) error {
	if c.format != "table" {
		return c.print(answer, nil, table{keys, values})
	}
	width := 0
	for i, k := range keys {
		if values[i] != "" {
			width = max(width, len(k))
		}
	}
	for i, k := range keys {
		if values[i] == "" {
			continue
		}
		if _, err := fmt.Fprintf(c.out, "%-*s  %s\n", width, strings.ReplaceAll(k, "_", " "), safe(values[i])); err != nil {
			return err
		}
	}
	return nil
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
		out[i] = safe(s)
	}
	return out
}

// safe shows what a terminal might obey as a dot: control characters, and those that change the
// direction of writing.
func safe(s string) string { return strings.Map(dotted, s) }

// safeLines is safe for a text of several lines.
func safeLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return dotted(r)
	}, s)
}

func dotted(r rune) rune {
	if unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
		return '·'
	}
	return r
}

// guarded keeps a spreadsheet from taking a cell for a formula; telephone numbers are exempt. What has
// been guarded before gets another quote, so that an import, which takes one off, reads what there was.
func guarded(row []string) []string {
	out := make([]string, len(row))
	for i, s := range row {
		out[i] = s
		if inner := strings.TrimLeft(s, "'"); inner != "" && strings.ContainsRune("=+-@\t\r\n", rune(inner[0])) && !telephone(s) {
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
	if !c.tty {
		return ""
	}
	fmt.Fprint(c.err, safeLines(question))
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
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
