package workflow

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const before = `version: 1
id: w
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Lead"}
  - {id: nightly, cron: "0 2 * * *", over: contacts}
filter: not ("VIP" in contact.tags)
steps:
  - {id: rest, wait: 14d}
  - id: look
    branch:
      - if: '"A" in contact.tags'
        steps: [{id: tell, action: log.write, with: {text: hi, steps: 1}}]
      - else: true
        steps: [{id: stop, exit: {status: skipped, reason: none}}]
  - {id: remove, action: contact.delete}
`

// shown writes a difference in a few words.
func shown(d Difference) string {
	var out []string
	for _, cs := range [][]Change{d.Settings, d.Triggers, d.Steps} {
		for _, c := range cs {
			text := c.What + " " + c.ID
			for _, k := range c.Keys {
				text += fmt.Sprintf(" %s(%s > %s)", k.Key, k.Old, k.New)
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, "\n")
}

func mustParse(t failer, src string) *Workflow {
	t.Helper()
	w, err := Parse("w.yaml", []byte(src))
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return w
}

func TestDiff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, old, new, want string }{
		{"nothing", "", "", ""},
		{"a comment", "steps:", "steps: # in order", ""},
		{"quotes", `status: skipped, reason: none`, `reason: "none", status: 'skipped'`, ""},
		{"quotes that make a text of a number", "steps: 1}", "steps: '1'}", "changed tell with(text hi, steps 1 > text hi, steps 1)"},
		{"a wait", "wait: 14d", "wait: 30d", "changed rest wait(14d > 30d)"},
		{"a parameter that is called steps", "steps: 1}", "steps: 2}", "changed tell with(text hi, steps 1 > text hi, steps 2)"},
		{"another kind", "wait: 14d", "action: log.write", "changed rest wait(14d > ) action( > log.write)"},
		{"a condition of a branch", `"A" in`, `"B" in`, `changed look branch(if "A" in contact.tags; else > if "B" in contact.tags; else)`},
		{"a step in a branch", "reason: none", "reason: gone", "changed stop exit(status skipped, reason none > status skipped, reason gone)"},
		{"a new id", "id: rest", "id: nap", "removed rest\nadded nap"},
		{"a new step in front", "  - {id: rest,", "  - {id: hello, wait: 1d}\n  - {id: rest,", "added hello"},
		{"a step that moves back", "  - {id: rest, wait: 14d}\n", "", "removed rest"},
		{"a trigger", `"0 2 * * *"`, `"0 3 * * *"`, "changed nightly cron(0 2 * * * > 0 3 * * *)"},
		{"a trigger less", "  - {id: nightly, cron: \"0 2 * * *\", over: contacts}\n", "", "removed nightly"},
		{"the filter", `not ("VIP" in contact.tags)`, "contact.email != ''", `changed filter filter(not ("VIP" in contact.tags) > contact.email != '')`},
		{"no filter", "filter: not (\"VIP\" in contact.tags)\n", "", `removed filter filter(not ("VIP" in contact.tags) > )`},
		{"a setting", "steps:\n", "run: {key: contact.email}\nsteps:\n", "added run.key run.key( > contact.email)"},
		{"to the end", "  - {id: rest, wait: 14d}\n", "@rest", "moved rest"},
		{"into the branch", "  - {id: remove, action: contact.delete}\n", "@in", "moved remove"},
	} {
		src := before
		switch c.new {
		case "@rest":
			src = strings.Replace(before, c.old, "", 1) + c.old
		case "@in":
			src = strings.Replace(strings.Replace(before, c.old, "", 1), "steps: [{id: stop", "steps: [{id: remove, action: contact.delete}, {id: stop", 1)
		default:
			src = strings.Replace(before, c.old, c.new, 1)
		}
		if got := shown(Diff(mustParse(t, before), mustParse(t, src))); got != c.want {
			t.Errorf("%s:\n%s\nwanted\n%s", c.what, got, c.want)
		}
	}
	w := mustParse(t, before)
	if got := shown(Diff(nil, w)); strings.Count(got, "added ") != 8 {
		t.Errorf("a new workflow: %s", got)
	}
	if got := shown(Diff(w, nil)); strings.Count(got, "removed ") != 8 {
		t.Errorf("a deleted workflow: %s", got)
	}
}

// A row of waits against another: what is said to be added, removed, changed or moved is what it takes to make
// one of the other, and what stayed is in the same order in both.
func TestDiffIsTrue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (order []string, waits map[string]string, w *Workflow) {
			order = rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Split("abcdefgh", "")), 1, 8, rapid.ID).Draw(t, name)
			waits = map[string]string{}
			src := "version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps:\n"
			for _, id := range order {
				waits[id] = rapid.SampledFrom([]string{"1d", "2d"}).Draw(t, "wait")
				src += fmt.Sprintf("  - {id: %s, wait: %s}\n", id, waits[id])
			}
			return order, waits, mustParse(t, src)
		}
		old, oldWaits, was := draw("was")
		now, nowWaits, is := draw("is")
		what := map[string]string{}
		for _, c := range Diff(was, is).Steps {
			what[c.ID] = c.What
		}
		stayed := func(ids []string) (in []string) {
			for _, id := range ids {
				if what[id] == "" {
					in = append(in, id)
				}
			}
			return in
		}
		if a, b := stayed(old), stayed(now); fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%v and %v are said to have kept %v and %v", old, now, a, b)
		}
		for id := range union(oldWaits, nowWaits) {
			a, b := oldWaits[id], nowWaits[id]
			if (what[id] == Added) != (a == "") || (what[id] == Removed) != (b == "") || (what[id] == Changed) != (a != "" && b != "" && a != b) {
				t.Fatalf("%s, %s then %s, is %s", id, a, b, what[id])
			}
		}
	})
}

func TestDiffOfExamples(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("../examples/demo/workflows/unsubscribed-cleanup.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := mustParse(t, string(src))
	if d := Diff(w, w); !d.Empty() {
		t.Errorf("from itself it differs by %s", shown(d))
	}
	next := strings.Replace(string(src), "wait: 14d", "wait: 30d", 1)
	if got := shown(Diff(w, mustParse(t, next))); got != "changed cool_off wait(14d > 30d)" {
		t.Error(got)
	}
}
