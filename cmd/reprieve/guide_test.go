package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/reprieve-run/reprieve/plugins/plugintest"
)

var updateGuide = flag.Bool("update-guide", false, "write the table of checks into docs/plugin-guide.md")

// TestGuide: what docs/plugin-guide.md tells to type is what testdata/guide.txtar runs, in that order, the files that
// it shows are those that are there, and its table of checks is that of the kit.
func TestGuide(t *testing.T) {
	t.Parallel()
	const page = "../../docs/plugin-guide.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	var rows strings.Builder
	for _, c := range plugintest.Describe() {
		rows.WriteString("| `" + c[0] + "` | " + c[1] + " |\n")
	}
	table := regexp.MustCompile(`(?s)(<!-- checks -->\n).*(<!-- /checks -->)`)
	if want := table.ReplaceAllString(text, "${1}"+rows.String()+"${2}"); want != text {
		if *updateGuide {
			if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Error("the table of checks is not the kit's: go test ./cmd/reprieve -run TestGuide -update-guide")
		}
	}
	script, err := txtar.ParseFile(filepath.Join("testdata", "guide.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```(sh|yaml|go)\n(.*?)```")
	rest, commands := string(script.Comment), 0
	for _, m := range shown.FindAllStringSubmatch(text, -1) {
		if m[1] != "sh" {
			continue
		}
		for line := range strings.Lines(m[2]) {
			line, _, _ = strings.Cut(line, "#")
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "export ") {
				continue
			}
			_, after, ok := strings.Cut(rest, " "+line)
			if !ok && strings.HasPrefix(line, "cd ") {
				_, after, ok = strings.Cut(rest, line)
			}
			if !ok {
				t.Fatalf("testdata/guide.txtar does not run, or not in this order: %s", line)
			}
			rest = after
			commands++
		}
	}
	if commands < 15 {
		t.Errorf("only %d commands were found", commands)
	}
	for _, f := range script.Files {
		if strings.HasSuffix(f.Name, ".yaml") && !strings.Contains(text, "```yaml\n"+string(f.Data)+"```") {
			t.Errorf("the guide shows another %s", f.Name)
		}
	}
	code, err := scaffolds["go"].files("go", "flags", "")
	if err != nil {
		t.Fatal(err)
	}
	_, main, _ := strings.Cut(string(code["main.go"]), "\n") // without the comment
	if !strings.Contains(text, "```go\n"+main+"```") {
		t.Error("the guide shows other code than plugin new writes")
	}
	if n := strings.Count(main, "\n"); n >= 30 {
		t.Errorf("hello world has %d lines", n)
	}
}
