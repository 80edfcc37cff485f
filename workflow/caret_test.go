package workflow

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestCaretUnderTheToken writes a wrong name into a condition and into a template, in every style that YAML has for texts,
// broken over lines at random behind letters of several bytes. The finding must stand exactly under it: a column that counts
// bytes, a line of a folded text, or an escape that is taken for what it stands for would each be off.
func TestCaretUnderTheToken(t *testing.T) {
	t.Parallel()
	words := []string{`contact.archived`, `and`, `contact.first_name`, `!=`, `"日é𝄞"`, `and`, `contact.nmae`, `==`, `"x"`, `or`, `contact.archived`}
	styles := []struct {
		name, start, end string
		quote            *strings.Replacer // of the words
		breaks           []string          // what may stand between two words
	}{
		{"plain", "", "", nil, []string{" ", "  ", "\n         ", "\n\n           "}},
		{"single", "'", "'", strings.NewReplacer("'", "''"), []string{" ", "\t ", "\n         ", " \n \n         "}},
		{"double", `"`, `"`, strings.NewReplacer(`"`, `\"`, "é", `\u00e9`, "𝄞", `\U0001d11e`), []string{" ", `\t`, `\n`, "\n         ", " \\\n         \\ ", "\n\n         "}},
		{"literal", "|\n         ", "", nil, []string{" ", "   ", "\n         ", "\n\n           "}},
		{"folded", ">-\n         ", "", nil, []string{" ", "   ", "\n         ", "\n\n         ", "\n           "}},
	}
	hosts := []struct{ before, after, open, shut string }{
		{"filter:\n    ", "\nsteps: [{id: a, wait: 1d}]\nend: true\n", "", ""},
		{"steps:\n  - id: a\n    action: x.y\n    with:\n      text:\n       ", "\nend: true\n", "é ${ ", " } 日"},
	}
	rapid.Check(t, func(t *rapid.T) {
		host := rapid.SampledFrom(hosts).Draw(t, "host")
		style := rapid.SampledFrom(styles).Draw(t, "style")
		var b strings.Builder
		for i, w := range words {
			if i > 0 {
				b.WriteString(rapid.SampledFrom(style.breaks).Draw(t, "break"))
			}
			if style.quote != nil {
				w = style.quote.Replace(w)
			}
			b.WriteString(w)
		}
		src := "version: 1\nid: x\ntriggers: [{id: t, event: contact.created}]\n" + host.before + style.start + host.open + b.String() + host.shut + style.end + host.after
		_, ds := check(t, []byte(src))
		if len(ds) != 1 || ds[0].Code != "E104" {
			t.Fatalf("%s:\n%s\n%s", style.name, src, render(ds))
		}
		before, _, _ := strings.Cut(src, "nmae")
		line := strings.Count(before, "\n") + 1
		column := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
		if d := ds[0]; d.Line != line || d.Column != column || d.Length != len("nmae") {
			t.Fatalf("%s: %d:%d+%d, want %d:%d\n%s", style.name, d.Line, d.Column, d.Length, line, column, d.Render())
		}
	})
}
