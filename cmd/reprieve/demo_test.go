package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the demo prints into the README")

// What differs from play to play: process ids and real time.
var demoVaries = regexp.MustCompile(`(pid )\d+|(real time +)[0-9.]+ s`)

// TestDemo plays the demo: every line of it is a fact read back from the store. The README shows what it
// prints.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the whole story")
	}
	t.Parallel()
	var out, errs bytes.Buffer
	if code := run([]string{"demo"}, strings.NewReader(""), &out, &errs); code != exitOK {
		t.Errorf("exit %d\n%s", code, &errs)
	}
	if !strings.Contains(out.String(), "Every fact holds.") || strings.Contains(out.String(), "✗") {
		t.Errorf("not every fact holds:\n%s", &out)
	}
	const file, begin, end = "../../README.md", "<!-- demo output -->\n```\n", "```\n"
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(readme), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("the README has no block for the demo")
	}
	is := strings.TrimLeft(out.String(), "\n")
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+is+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, want := demoVaries.ReplaceAllString(is, "$1$2N"), demoVaries.ReplaceAllString(shown, "$1$2N")
	if got != want {
		t.Errorf("the README shows another play; look whether that is right, then: go test ./cmd/reprieve -run TestDemo -update\n%s", firstDifference(want, got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "README: " + w[i] + "\ndemo:   " + g[i]
		}
	}
	return "one of them is longer"
}
