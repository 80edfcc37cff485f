package examples_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/cmd/reprieve/flowtest"
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/examples"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/workflow"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := examples.FS.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func table(t *testing.T) []map[string]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(read(t, "demo/contacts.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, r := range rows[1:] {
		m := map[string]string{}
		for i, cell := range r {
			m[rows[0][i]] = cell
		}
		out = append(out, m)
	}
	return out
}

type item struct {
	Kind, ID, Contact, Primary string
	Contacts                   []string
}

func items(t *testing.T) []item {
	t.Helper()
	var out []item
	for d := json.NewDecoder(bytes.NewReader(read(t, "demo/associated.jsonl"))); d.More(); {
		var it item
		if err := d.Decode(&it); err != nil {
			t.Fatal(err)
		}
		out = append(out, it)
	}
	return out
}

// Every example workflow is one that the parser takes, under the id of its file's name.
func TestWorkflowsParse(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(examples.FS, "demo/workflows/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d workflows, %v", len(files), err)
	}
	for _, f := range files {
		w, err := workflow.Parse(f, read(t, f))
		if err != nil {
			t.Errorf("%s: %v", f, err)
		} else if w.ID+".yaml" != path.Base(f) {
			t.Errorf("%s has the id %s", f, w.ID)
		}
	}
}

// Every example workflow has tests, and they pass.
func TestWorkflowsPassTheirTests(t *testing.T) {
	t.Parallel()
	var files []string
	if err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); ext == ".yaml" || ext == ".yml" {
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var defs []*workflow.Workflow
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(src, []byte("\ntriggers:")) { // the description of a plugin, say
			continue
		}
		def, err := workflow.Parse(f, src)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if len(def.Tests) == 0 {
			t.Errorf("%s has no tests", f)
		}
		defs = append(defs, def)
	}
	results, err := flowtest.Run(t.Context(), defs)
	if err != nil || len(results) < 55 {
		t.Fatalf("%d cases, %v", len(results), err)
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%s:%d %s: %+v\n%s", r.File, r.Line, r.Name, r.Failures, strings.Join(r.Trace, "\n"))
		}
	}
}

// Every workflow of the collection says what it is for, could be applied as it stands, and has nothing that a check warns of.
func TestCollection(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("workflows/*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d workflows, %v", len(files), err)
	}
	builtin, err := flowtest.Builtin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("workflows/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := server.Check([]server.File{{Name: f, Content: src}}, builtin.Catalogue(), crm.At(time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)))
		if len(v.Diagnostics) > 0 || len(v.Workflows) != 1 {
			t.Errorf("%s: %v", f, v.Diagnostics)
			continue
		}
		if w := v.Workflows[0]; w.ID+".yaml" != filepath.Base(f) || !bytes.HasPrefix(src, []byte("# ")) || !bytes.Contains(src, []byte("\n# For: ")) {
			t.Errorf("%s has the id %s, or does not begin by saying what it is for", f, w.ID)
		}
		for _, need := range v.Workflows[0].Needs {
			if !bytes.Contains(src, []byte("--grant "+need)) {
				t.Errorf("%s does not say that it needs the grant %s", f, need)
			}
		}
		if !bytes.Contains(page, []byte("("+filepath.Base(f)+")")) {
			t.Errorf("the README does not name %s", f)
		}
	}
}

// Nobody in the data can be met, mailed or called, and the whole is small enough to be in a binary.
func TestNobodyExists(t *testing.T) {
	t.Parallel()
	mail := regexp.MustCompile(`^[a-z]+\.[a-z]+\.\d+@example\.(com|org|net)$`)
	phone := regexp.MustCompile(`^\+1[2-9]\d\d55501\d\d$`)
	seen := map[string]bool{}
	rows := table(t)
	for _, r := range rows {
		for _, v := range []string{r["Contact Id"], r["Email"], r["Phone"]} {
			if seen[v] {
				t.Fatalf("%s is there twice", v)
			}
			seen[v] = true
		}
		if !mail.MatchString(r["Email"]) || !phone.MatchString(r["Phone"]) || r["First Name"] == "" || r["Last Name"] == "" {
			t.Fatalf("%v: an address that may be somebody's", r)
		}
		if strings.Contains(strings.ToLower(r["Tags"]), "unsubscribed") || r["Tags"] != strings.ToLower(r["Tags"]) {
			t.Fatalf("%s has the tags %s", r["Contact Id"], r["Tags"])
		}
	}
	size := len(read(t, "demo/contacts.csv")) + len(read(t, "demo/associated.jsonl"))
	if len(rows) != 5200 || size > 2_500_000 {
		t.Errorf("%d contacts, %d bytes", len(rows), size)
	}
}

// tally is what the demo's README says of the candidates.
type tally struct{ candidates, listed, inCampaign, nurture, shared, sharedPrimary, sole, pairs, noted int }

// tallies counts for all candidates and for the first 200, who are those that the demo deletes.
type tallies struct {
	all, first tally
	place      map[string]int // of a candidate among them, by id
	kinds      map[string]int // records of candidates
}

func (c *tallies) add(candidate string, count func(*tally)) {
	count(&c.all)
	if c.place[candidate] < 200 {
		count(&c.first)
	}
}

func (c *tallies) person(t *testing.T, r map[string]string) {
	id := r["Contact Id"]
	if !slices.Contains(strings.Split(r["Tags"], ", "), "cleanup candidate") {
		if r["Segment"] != "" {
			t.Errorf("%s is to be nurtured but is no candidate", id)
		}
		return
	}
	if r["Plan"] != "pro" && r["Plan"] != "team" || strings.Contains(r["Tags"], "vip") {
		t.Errorf("the candidate %s has plan %s and tags %s", id, r["Plan"], r["Tags"])
	}
	c.place[id] = len(c.place)
	c.add(id, func(n *tally) {
		n.candidates++
		n.listed += count(r["Lists"] != "")
		n.inCampaign += count(r["Campaigns"] != "")
		n.nurture += count(r["Segment"] == "nurture")
	})
}

func (c *tallies) opportunity(it item) {
	in := slices.DeleteFunc(slices.Clone(it.Contacts), func(id string) bool { _, ok := c.place[id]; return !ok })
	if len(in) == 0 {
		return
	}
	shared := len(in) == 1 && len(it.Contacts) == 2
	c.add(in[0], func(n *tally) {
		n.sole += count(len(it.Contacts) == 1)
		n.pairs += count(len(in) == 2)
		n.shared += count(shared)
		n.sharedPrimary += count(shared && it.Primary == in[0])
	})
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	c := tallies{place: map[string]int{}, kinds: map[string]int{}}
	statuses := map[string]bool{}
	for _, r := range table(t) {
		c.person(t, r)
		for part := range strings.SplitSeq(r["Lists"], ";") {
			if _, status, ok := strings.Cut(part, ": "); ok {
				statuses[status] = true
			}
		}
	}
	noted := map[string]bool{}
	for _, it := range items(t) {
		if _, ok := c.place[it.Contact]; ok {
			c.kinds[it.Kind]++
			if it.Kind == "note" && !noted[it.Contact] {
				noted[it.Contact] = true
				c.add(it.Contact, func(n *tally) { n.noted++ })
			}
		}
		if it.Kind == "opportunity" {
			c.opportunity(it)
		}
	}
	if want := (tally{220, 220, 110, 80, 74, 37, 73, 20, 220}); c.all != want {
		t.Errorf("all candidates: %+v, the README says %+v", c.all, want)
	}
	if f := c.first; f.inCampaign < 60 || f.shared < 40 || f.sole < 40 || f.nurture != 80 || f.noted != 200 {
		t.Errorf("the first 200: %+v", f)
	}
	for _, kind := range []string{"task", "conversation", "appointment", "manual_action"} {
		if c.kinds[kind] < 100 {
			t.Errorf("the candidates have %d of the kind %s", c.kinds[kind], kind)
		}
	}
	if len(statuses) != 4 {
		t.Errorf("list statuses: %v", statuses)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
