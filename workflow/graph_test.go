package workflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGraph compares with testdata/graph, and with the examples that people read first.
func TestGraph(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/graph/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range append(names, "../examples/demo/workflows/unsubscribed-cleanup.yaml") {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Parse(name, src)
		if err != nil {
			t.Fatal(err)
		}
		base := "testdata/graph/" + strings.TrimSuffix(filepath.Base(name), ".yaml")
		golden(t, base+".txt", w.Graph())
		golden(t, base+".mmd", w.Mermaid())
	}
}

// Every step and trigger is in both pictures once, and every link of the flow is in the flowchart.
func TestGraphHasEverything(t *testing.T) {
	t.Parallel()
	for name, src := range files(t, "testdata/good/*.yaml") {
		w, err := Parse(name, src)
		if err != nil {
			t.Fatal(err)
		}
		text, chart := w.Graph(), w.Mermaid()
		for _, tr := range w.Triggers {
			if strings.Count(text, "─ "+tr.ID+": ") < 1 || strings.Count(chart, "t_"+tr.ID+"([") != 1 {
				t.Errorf("%s: the trigger %s is not drawn once", name, tr.ID)
			}
		}
		to := func(i int) string {
			if i < 0 {
				return "finish\n"
			}
			return "s_" + w.Nodes[i].ID + "\n"
		}
		for _, n := range w.Nodes {
			if !strings.Contains(text, "─ "+n.ID+": ") {
				t.Errorf("%s: the step %s is not in the tree", name, n.ID)
			}
			want := []string{to(n.Next)}
			switch n.Kind {
			case Exit:
				want = nil
			case Branch:
				want = want[:0]
				for _, a := range n.Arms {
					want = append(want, to(a.First))
				}
			}
			for _, end := range want {
				found := false
				for line := range strings.Lines(chart) {
					found = found || strings.HasPrefix(line, "  s_"+n.ID+" --") && strings.HasSuffix(line, "> "+end) || strings.HasPrefix(line, "  s_"+n.ID+" --") && strings.HasSuffix(line, "| "+end)
				}
				if !found {
					t.Errorf("%s: no line from %s to %s", name, n.ID, end)
				}
			}
		}
	}
}

// FuzzPictures: whatever Parse accepts can be drawn, each node of the flowchart on one line, and differs from
// itself by nothing.
func FuzzPictures(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/graph/*.yaml"} {
		for _, src := range files(f, pattern) {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		w, err := Parse("f.yaml", src)
		if err != nil {
			return
		}
		if d := Diff(w, w); !d.Empty() {
			t.Errorf("it differs from itself by %s", shown(d))
		}
		if text := w.Graph(); !strings.HasPrefix(text, w.ID) {
			t.Errorf("the tree is %s", text)
		}
		for line := range strings.Lines(w.Mermaid()) {
			if strings.Count(line, `"`)%2 != 0 {
				t.Errorf("a quote is open in %s", line)
			}
		}
		for _, n := range w.Nodes {
			if strings.Count(w.Mermaid(), "\n  s_"+n.ID+"[\"")+strings.Count(w.Mermaid(), "\n  s_"+n.ID+"{")+strings.Count(w.Mermaid(), "\n  s_"+n.ID+"(") != 1 {
				t.Errorf("the step %s is not drawn once", n.ID)
			}
		}
	})
}
