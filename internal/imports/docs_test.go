package imports

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

const root = "../.."

var (
	testName = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9_]*\b`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z][A-Za-z0-9_]*)\(`)
	mdLink   = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
)

// TestDocsNameWhatExists: a test that a page names is there, and so is a file that it links to.
// Documentation that names its proofs is worth only as much as they are.
func TestDocsNameWhatExists(t *testing.T) {
	var pages []string
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (strings.HasPrefix(e.Name(), ".") && path != root || e.Name() == "node_modules"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md"):
			pages = append(pages, path)
		case strings.HasSuffix(path, "_test.go"):
			src, err := os.ReadFile(path)
			for _, m := range testFunc.FindAllSubmatch(src, -1) {
				tests[string(m[1])] = true
			}
			return err
		}
		return nil
	})
	if err != nil || !slices.Contains(pages, filepath.Join(root, "README.md")) {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range testName.FindAllString(string(text), -1) {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
		for _, m := range mdLink.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), string(m[1]))); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
			}
		}
	}
}

// TestDocsExplainEveryCode: the page on the file format has every diagnostic with its meaning.
func TestDocsExplainEveryCode(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "file-format.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, codes := range []map[string]string{triggers.Codes, workflow.Codes} {
		for code, meaning := range codes {
			if row := "| `" + code + "` | " + meaning + " |\n"; !strings.Contains(string(text), row) {
				t.Errorf("docs/file-format.md lacks the row %q", row)
			}
		}
	}
}
