package workflow

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

// whole gives every file that could be applied: the examples that people copy, and the tests' own.
func whole(t *testing.T) map[string][]byte {
	t.Helper()
	all := files(t, "testdata/good/*.yaml")
	maps.Copy(all, files(t, "testdata/graph/*.yaml"))
	for _, at := range []string{"../examples/*/workflows/*.yaml", "../examples/plugin-*/workflow.yaml"} {
		maps.Copy(all, files(t, at))
	}
	all["in brackets"] = []byte("{version: 1, id: b, triggers: [{id: t, event: contact.created}],\n steps: [{id: s, wait: 1d}], end: true\n}\n")
	all["other line ends"] = bytes.ReplaceAll(all["testdata/good/unsubscribed.yaml"], []byte("\n"), []byte("\r\n"))
	return all
}

// passes says whether a file may be applied, as far as it alone can tell: which actions there are is
// another matter, so every one that it names exists.
func passes(src []byte) bool {
	w, err := Parse("file.yaml", src)
	return err == nil && checked(w)
}

func checked(w *Workflow) bool {
	cat := Catalogue{}
	for _, n := range w.Nodes {
		cat[n.Action] = ActionInfo{}
	}
	for _, d := range Check(w, cat) {
		if d.Severity == "error" {
			return false
		}
	}
	return true
}

// TestNoPrefixPasses cuts every file after every byte, the long examples after some of theirs: but for blank space at its end, only the whole
// may pass. Without the end, more than half of the cuts behind the first step pass; the test counts those
// that parse, so that it would not go quiet if nothing did.
func TestNoPrefixPasses(t *testing.T) {
	t.Parallel()
	parsed := 0
	for name, src := range whole(t) {
		if !passes(src) {
			t.Errorf("%s does not pass", name)
			continue
		}
		least := len(bytes.TrimRight(src, " \t\r\n"))
		long := strings.Contains(name, "/workflows/") // each byte of these would take minutes: one in 23, the ends of lines, and the end
		for i := range src {
			if long && i%23 != 0 && i < least-120 && src[i] != '\n' {
				continue
			}
			if w, err := Parse(name, src[:i]); err == nil {
				parsed++
				if checked(w) != (i >= least) {
					t.Errorf("%s: cut after byte %d of %d it passes: %v\n…%s", name, i, len(src), i < least, src[max(0, i-60):i])
				}
			} else if i >= least && src[i-1] != '\r' { // half a line end is none
				t.Errorf("%s without its last %d blanks does not parse: %v", name, len(src)-i, err)
			}
		}
	}
	if parsed < 500 {
		t.Errorf("only %d beginnings parse: these files show nothing", parsed)
	}
}

// TestEndIsExact flips each bit of some files. What is flipped in a text is another text, which no end can
// tell; but no flip of the last line passes, and whatever passes still ends with it.
func TestEndIsExact(t *testing.T) {
	t.Parallel()
	all := whole(t)
	for _, name := range []string{"testdata/good/unsubscribed.yaml", "../examples/demo/workflows/nurture.yaml"} {
		src := all[name]
		last := bytes.LastIndex(src, []byte("\nend: true")) + 1
		for i := range src {
			for bit := range 8 {
				if i < last && bit != i%8 {
					continue
				}
				flipped := bytes.Clone(src)
				flipped[i] ^= 1 << bit
				if passes(flipped) && (i >= last || !bytes.HasSuffix(flipped, []byte("\nend: true\n"))) {
					t.Errorf("%s: bit %d of byte %d flipped passes:\n%s", name, bit, i, flipped[max(0, i-30):min(len(src), i+30)])
				}
			}
		}
	}
}

// TestOldRevisionsParse: what was applied before there was an end has to go on being read.
func TestOldRevisionsParse(t *testing.T) {
	t.Parallel()
	src := files(t, "testdata/good/unsubscribed.yaml")["testdata/good/unsubscribed.yaml"]
	old := []byte(strings.Replace(string(src), "\nend: true\n", "\n", 1))
	if w, err := Parse("old.yaml", old); err != nil || w == nil {
		t.Fatal(err)
	}
	if passes(old) {
		t.Error("and it cannot be applied anew")
	}
}
