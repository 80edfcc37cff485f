package workflow

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// wellLinked checks that links stay in range and go forward only, so that every run ends.
func wellLinked(t failer, w *Workflow) {
	t.Helper()
	forward := func(i, to int) bool { return to == -1 || to > i && to < len(w.Nodes) }
	for i, n := range w.Nodes {
		if !forward(i, n.Next) || n.Kind == Exit && n.Next != -1 {
			t.Errorf("node %d goes on at %d", i, n.Next)
		}
		for _, a := range n.Arms {
			if !forward(i, a.First) {
				t.Errorf("an arm of node %d begins at %d", i, a.First)
			}
		}
		if j, ok := w.Node(n.ID); !ok || j != i {
			t.Errorf("node %d is found at %d, %v", i, j, ok)
		}
	}
}

// tree is a step as the reference sees it.
type tree struct {
	id    string
	kind  NodeKind
	arms  [][]*tree
	other bool // the last arm is an else
}

func genSteps(t *rapid.T, depth int, n *int) []*tree {
	var out []*tree
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		*n++
		s := &tree{id: fmt.Sprintf("s%d", *n), kind: rapid.SampledFrom([]NodeKind{Wait, Wait, Branch, Branch, Exit, Action}).Draw(t, "kind")}
		if s.kind == Branch && depth == 0 {
			s.kind = Wait
		}
		if s.kind == Branch {
			for range rapid.IntRange(1, 3).Draw(t, "arms") {
				s.arms = append(s.arms, genSteps(t, depth-1, n))
			}
			s.other = rapid.Bool().Draw(t, "else")
		}
		out = append(out, s)
	}
	return out
}

func write(b *strings.Builder, steps []*tree, indent string) {
	for _, s := range steps {
		fmt.Fprintf(b, "%s- id: %s\n%s  ", indent, s.id, indent)
		switch s.kind {
		case Wait:
			b.WriteString("wait: 1d\n")
		case Exit:
			b.WriteString("exit: {status: completed}\n")
		case Action:
			b.WriteString("action: log.write\n")
		case Branch:
			b.WriteString("branch:\n")
			for i, arm := range s.arms {
				cond := "if: 'true'"
				if s.other && i == len(s.arms)-1 {
					cond = "else: true"
				}
				fmt.Fprintf(b, "%s  - %s\n%s    steps:", indent, cond, indent)
				if len(arm) == 0 {
					b.WriteString(" []\n")
					continue
				}
				b.WriteString("\n")
				write(b, arm, indent+"    ")
			}
		}
	}
}

// walk is the reference: it runs the nested steps, choosing arms by choose, which returns len(arms)
// for "none". It reports false once the run has ended.
func walk(steps []*tree, choose func(id string, arms int, other bool) int, path *[]string) bool {
	for _, s := range steps {
		*path = append(*path, s.id)
		switch s.kind {
		case Exit:
			return false
		case Branch:
			if i := choose(s.id, len(s.arms), s.other); i < len(s.arms) && !walk(s.arms[i], choose, path) {
				return false
			}
		}
	}
	return true
}

func order(steps []*tree) (ids []string) {
	for _, s := range steps {
		ids = append(ids, s.id)
		for _, a := range s.arms {
			ids = append(ids, order(a)...)
		}
	}
	return ids
}

// TestFlatten compares the flat program with the nested one: same steps, same order, and for any
// choice of arms the same path.
func TestFlatten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := 0
		steps := append([]*tree{{id: "first", kind: Wait}}, genSteps(t, 3, &n)...)
		var b strings.Builder
		b.WriteString("version: 1\nid: flow\ntriggers: [{id: a, event: contact.created}]\nsteps:\n")
		write(&b, steps, "  ")
		w, err := Parse("flow.yaml", []byte(b.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		var ids []string
		for _, n := range w.Nodes {
			ids = append(ids, n.ID)
		}
		if !slices.Equal(ids, order(steps)) {
			t.Fatalf("order %v, want %v", ids, order(steps))
		}
		for range 5 {
			picks := rapid.SliceOfN(rapid.IntRange(0, 100), 12, 12).Draw(t, "picks")
			choose := func(id string, arms int, other bool) int {
				sum := 0
				for _, c := range id {
					sum += int(c)
				}
				if !other {
					arms++ // or none
				}
				return picks[sum%len(picks)] % arms
			}
			var want, got []string
			walk(steps, choose, &want)
			for i := 0; i >= 0; {
				n := w.Nodes[i]
				got = append(got, n.ID)
				i = n.Next
				if n.Kind == Branch {
					other := n.Arms[len(n.Arms)-1].If == nil
					if a := choose(n.ID, len(n.Arms), other); a < len(n.Arms) {
						i = n.Arms[a].First
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("path %v, want %v\n%s", got, want, b.String())
			}
		}
	})
}
