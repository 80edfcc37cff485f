package workflow

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// scalarOf parses one value below a key; nil if that is no plain scalar.
func scalarOf(src string) *yaml.Node {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(src), &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	n := doc.Content[0]
	for n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		if len(n.Content) == 0 {
			return nil
		}
		n = n.Content[len(n.Content)-1]
	}
	if n.Kind != yaml.ScalarNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		return nil
	}
	return n
}

// sound holds the places of a scalar's runes against the file: what stands there is the rune itself,
// the beginning of an escape, or, for a rune that folding made, the end of a line.
func sound(t failer, src string, n *yaml.Node) {
	f := newFile("x", src)
	ms := f.marks(n)
	if len(ms) != len([]rune(n.Value)) {
		t.Fatalf("no places for %q (style %d) in %q", n.Value, n.Style, src)
	}
	for i, m := range ms {
		line := f.runes[m.line]
		if m.column > len(line) || m.column == len(line) && m.r != ' ' && m.r != '\n' {
			t.Fatalf("%q: rune %d of %q stands behind its line", src, i, n.Value)
		}
		if i > 0 && (m.line < ms[i-1].line || m.line == ms[i-1].line && m.column <= ms[i-1].column) {
			t.Fatalf("%q: rune %d of %q stands before the one before it", src, i, n.Value)
		}
		if m.column == len(line) {
			continue
		}
		at := line[m.column]
		escape := at == '\\' && n.Style&yaml.DoubleQuotedStyle != 0
		folded := (m.r == ' ' || m.r == '\n') && isBlank(at)
		if at != m.r && !escape && !folded {
			t.Fatalf("%q: rune %d of %q is %q, but %q stands there", src, i, n.Value, m.r, at)
		}
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, src, find string
		line, column    int
	}{
		{"plain", "a: x == y", "y", 1, 9},
		{"plain over lines", "a: x ==\n\n   y z", "z", 3, 6},
		{"plain in brackets", "a: [b, {c: x\n  y}]", "y", 2, 3},
		{"comment behind", "a: x y # y", "y", 1, 6},
		{"single", "a: 'it''s y'", "y", 1, 11},
		{"single over lines", "a: 'x  \n  y'", "y", 2, 3},
		{"double", `a: "x \"\u00e9\U0001F600\x41\n y"`, "y", 1, 32},
		{"double over lines", "a: \"x \\\n   \\  y\"", "y", 2, 7},
		{"double, blank lines", "a: \"x\n\n\n  y\"", "y", 4, 3},
		{"double, escaped end, blank line", "a: \"x\\\n\n  y\"", "y", 3, 3},
		{"literal", "a: |\n  x\n\n   y", "y", 4, 4},
		{"literal, comment, keep", "a: |+ # c\n\n  x\n  y\n\n", "y", 4, 3},
		{"folded", "a: >-\n  x\n  x\n\n  y", "y", 5, 3},
		{"folded with deeper lines", "a: >\n  x\n    x\n    x\n  x y", "y", 5, 5},
		{"utf-8", "é: 'ü日本 y'", "y", 1, 9},
		{"tabs", "a: \"x\t\ty\"", "y", 1, 8},
	} {
		n := scalarOf(c.src)
		if n == nil {
			t.Errorf("%s: no scalar", c.name)
			continue
		}
		sound(t, c.src, n)
		offset := len([]rune(n.Value[:strings.LastIndex(n.Value, c.find)]))
		if line, column := newFile("x", c.src).at(n)(offset); line != c.line || column != c.column {
			t.Errorf("%s: %d:%d, want %d:%d", c.name, line, column, c.line, c.column)
		}
	}
}

// TestPositionsAgree writes scalars at random and holds our reading of them against the YAML
// parser's: the same runes, each from a place where it can be seen.
func TestPositionsAgree(t *testing.T) {
	t.Parallel()
	common := []string{"a", "b", "é", "日", " ", "  ", "\n    ", "\n     ", "\n      ", "\n\n    ", "\n  \n\n    ", "${ x }", "\\", ":", "-", "#", "x == y"}
	styles := []struct {
		start, end string
		parts      []string
	}{
		{"", "", []string{",", "'", "\"", "\n    - ", "(", "]"}},
		{"[", "]", []string{"'", "x, y", "\n"}},
		{"'", "'", []string{"''", "\"", "\t", ": ", " # c", "\n    \t"}},
		{"\"", "\"", []string{"\\\"", "\\n", "\\\n    ", "\\\n\n    ", "\\u00e9", "\\x41", "\\U0001F600", "\\ ", "\\t", "\\\\", "\\/", "'", "\t"}},
		{"|\n    ", "", []string{"'", "\t", ": ", " # c", "\n        "}},
		{"| # c\n\n    ", "\n", []string{"'", "\"", "\n    \t"}},
		{"|+\n    ", "\n\n", []string{"\t", "\n   "}},
		{">-\n    ", "\n", []string{"'", "\t", ": ", " # c", "\n        "}},
		{">\n\n    ", "\n\n", []string{"\n    \t", "\n   "}},
		{">+\n      ", "\n    \n", []string{"\n      "}},
	}
	met := map[yaml.Style]int{}
	rapid.Check(t, func(t *rapid.T) {
		for _, s := range styles {
			parts := append(slices.Clip(common), s.parts...)
			body := s.start + strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12).Draw(t, "parts"), "") + s.end
			src := rapid.SampledFrom([]string{"k: ", "k:\n - ", "é:\n  z: "}).Draw(t, "under") + body +
				rapid.SampledFrom([]string{"", "\n", "\n\n", "\n# c\n"}).Draw(t, "end")
			if n := scalarOf(src); n != nil && strings.TrimSpace(n.Value) != "" { // of blanks alone nobody needs the place
				sound(t, src, n)
				met[n.Style]++
			}
		}
	})
	for _, s := range []yaml.Style{0, yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle} {
		least := 20
		if testing.Short() { // rapid makes a fifth of the tries
			least /= 5
		}
		if met[s] < least {
			t.Errorf("style %d was met only %d times", s, met[s])
		}
	}
}

// TestDamaged edits good files at random: whatever is said must have its place.
func TestDamaged(t *testing.T) {
	t.Parallel()
	var good []string
	for _, name := range []string{"unsubscribed", "sweep", "shapes"} {
		b, err := os.ReadFile("testdata/good/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, string(b))
	}
	noise := []string{"", " ", "\n", "\t", ":", ": ", "'", "\"", "- ", "{", "}", "[", "]", "&a ", "*a", "!x ", "é", "${", "}", "contact.", "|", ">", "\r", "\x00", "\xff", "null", "0x1"}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(good).Draw(t, "file")
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			from := rapid.IntRange(0, len(s)).Draw(t, "from")
			to := min(len(s), from+rapid.IntRange(0, 12).Draw(t, "length"))
			s = s[:from] + rapid.SampledFrom(noise).Draw(t, "noise") + s[to:]
		}
		check(t, []byte(s))
	})
}
