package workflow

import (
	"regexp"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/triggers"
)

var topKey = regexp.MustCompile(`(?m)^([a-z_]+):`)

// inFile puts lines into a file that is fine: they take the place of its lines with the same keys.
func inFile(lines string) []byte {
	has := map[string]bool{}
	for _, m := range topKey.FindAllStringSubmatch(lines, -1) {
		has[m[1]] = true
	}
	var b strings.Builder
	for _, part := range [][2]string{{"version", "1"}, {"id", "example"}, {"triggers", "[{id: t, event: contact.tag_added}]"}, {"steps", "[{id: s, wait: 1d}]"}} {
		if !has[part[0]] {
			b.WriteString(part[0] + ": " + part[1] + "\n")
		}
	}
	b.WriteString(lines + "\n")
	if !has["end"] && lines != "" {
		b.WriteString("end: true\n")
	}
	return []byte(b.String())
}

// Every example causes what it is the example of, and its cure causes nothing at all.
func TestCuresAreTrue(t *testing.T) {
	t.Parallel()
	examples := 0
	for code, c := range Cures {
		if Codes[code] == "" && triggers.Codes[code] == "" {
			t.Errorf("%s is no code", code)
		}
		codes := func(lines string) (all []string) {
			w, ds := check(t, inFile(lines))
			if w != nil {
				ds = Check(w, catalogue)
			}
			for _, d := range ds {
				all = append(all, d.Code)
			}
			return all
		}
		if got := " " + strings.Join(codes(c.Wrong), " ") + " "; (c.Wrong != "" || code == "E223") && !strings.Contains(got, " "+code+" ") {
			t.Errorf("%s: the example causes %q:\n%s", code, got, inFile(c.Wrong))
		}
		if got := codes(c.Right); c.Right != "" && len(got) > 0 {
			t.Errorf("%s: the cure causes %v:\n%s", code, got, inFile(c.Right))
		}
		if c.Wrong != "" {
			examples++
		}
		if c.Wrong == "" && c.Say == "" {
			t.Errorf("%s says nothing", code)
		}
	}
	if examples < 30 {
		t.Errorf("only %d examples", examples)
	}
}
