package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// tenFiles are ten workflows; the one at bad, if there is one, has a slip in its last step.
func tenFiles(bad int) (files []File) {
	for i := range 10 {
		src := fmt.Sprintf("version: 1\nid: w%d\ntriggers: [{id: new, event: contact.created}]\nsteps: [{id: rest, wait: 1d}]\nend: true\n", i)
		if i == bad {
			src = strings.Replace(src, "wait: 1d", "wait: soon", 1)
		}
		files = append(files, File{Name: fmt.Sprintf("w%d.yaml", i), Content: []byte(src)})
	}
	return files
}

func (r *rig) applied() []WorkflowView {
	r.t.Helper()
	return ask[WorkflowPage](r, "workflow.list", None{}).Workflows
}

// TestApplyIsAllOrNone: an apply that took its files one by one would leave those before the bad one.
func TestApplyIsAllOrNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	for _, bad := range []int{0, 5, 9} {
		if v := ask[Checked](r, "workflow.apply", WorkflowFiles{Files: tenFiles(bad)}); v.Errors != 1 || v.Diagnostics[0].File != fmt.Sprintf("w%d.yaml", bad) {
			t.Errorf("file %d is bad: %+v", bad, v)
		}
		if is := r.applied(); len(is) > 0 {
			t.Fatalf("file %d is bad, and these were applied: %v", bad, is)
		}
	}
	files := tenFiles(-1)
	ask[Checked](r, "workflow.apply", WorkflowFiles{Files: files})
	first := r.applied()
	if len(first) != 10 {
		t.Fatalf("applied are %v", first)
	}
	v := ask[Checked](r, "workflow.apply", WorkflowFiles{Files: files})
	for _, w := range v.Workflows {
		if w.Changed {
			t.Errorf("%s was applied again as it is, and that changed it", w.ID)
		}
	}
	if got := r.applied(); fmt.Sprint(got[0].Revision, got[9].Revision) != fmt.Sprint(first[0].Revision, first[9].Revision) {
		t.Errorf("the revisions went from %v to %v", first, got)
	}
	// Among nine that are there already, a bad one, and then a comment: only that one changes.
	ask[Checked](r, "workflow.apply", WorkflowFiles{Files: tenFiles(4)})
	files[4].Content = append([]byte("# checked\n"), files[4].Content...)
	v = ask[Checked](r, "workflow.apply", WorkflowFiles{Files: files})
	for i, w := range v.Workflows {
		if w.Changed != (i == 4) {
			t.Errorf("%s: changed %v", w.ID, w.Changed)
		}
	}
}

// TestApplyTakesNoBeginning cuts a file after every byte. Without its end, the cuts behind the first step are
// workflows: some of them have no filter, and some wait and do not ask anybody.
func TestApplyTakesNoBeginning(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	src := []byte("version: 1\nid: lead\ntriggers:\n  - {id: tagged, event: contact.tag_added}\nsteps:\n  - {id: rest, wait: 14d}\n" +
		"  - id: ask\n    branch:\n      - if: '\"VIP\" in contact.tags'\n        steps: [{id: kept, exit: {status: skipped}}]\n" +
		"  - {id: more, wait: 14d}\nfilter: not (\"VIP\" in contact.tags)\nend: true\n")
	least := len(bytes.TrimRight(src, "\n"))
	refusedEnd := 0
	for i := range least {
		v := ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{file(string(src[:i]))}})
		if v.Errors == 0 {
			t.Fatalf("applied after byte %d:\n%s", i, src[:i])
		}
		if v.Diagnostics[0].Code == "E223" {
			refusedEnd++
		}
	}
	if is := r.applied(); len(is) > 0 || refusedEnd < 15 {
		t.Fatalf("applied are %v; %d beginnings are refused for their end alone", is, refusedEnd)
	}
	if v := ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{file(string(src[:least]))}}); v.Errors > 0 || len(r.applied()) != 1 {
		t.Fatalf("without its last line end it is not applied: %v", v.Diagnostics)
	}
}
