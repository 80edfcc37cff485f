package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// failsWith finds the codes that steps fail with, where they are made.
var failsWith = regexp.MustCompile(`(?:sdk\.Fail|\bFail)\("([a-z_]+)"|StepFailed, Code: "([a-z_]+)"|(?m)^\s+[cC]ode[A-Z]\w*\s+= "([a-z_]+)"\s+//`)

// reprieve docs knows every code that a step can fail with, however it is written. A code that somebody adds is
// missing here until it is explained.
func TestDocsKnowStepCodes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, pattern := range []string{"actions/*.go", "plugins/types.go", "plugins/sdk/*.go", "runtime/*.go"} {
		names, _ := filepath.Glob(filepath.Join("../..", pattern))
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range failsWith.FindAllStringSubmatch(string(src), -1) {
				seen[m[1]+m[2]+m[3]] = true
			}
		}
	}
	delete(seen, "http_")
	for _, must := range []string{"not_allowed", "invalid_params", "bad_output", "window"} {
		if !seen[must] {
			t.Errorf("the sources are no longer understood: %s is not found", must)
		}
	}
	for _, more := range []string{"http_404", "http_500", "no_grant", "window_open", "timeout", "expression", "E223", "e223", "[E223]", "w310", "NO_GRANT"} {
		seen[more] = true
	}
	for code := range seen {
		if e, ok := explainCode(code); !ok || e.Meaning == "" {
			t.Errorf("reprieve docs does not know %s", code)
		}
	}
	for _, none := range []string{"http_", "http_99", "E999", ""} {
		if _, ok := explainCode(none); ok {
			t.Errorf("reprieve docs knows %q", none)
		}
	}
	for code := range codeCures {
		if e, _ := explainCode(code); e.Meaning == "" && code != "http_" {
			t.Errorf("there is a cure for %s, which is no code", code)
		}
	}
}
