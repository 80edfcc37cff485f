package workflow

import "testing"

// Two files with one id would each replace the other.
func TestTogether(t *testing.T) {
	t.Parallel()
	const body = "version: 1\nname: n\nid: twice\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: s, wait: 1d}]\n"
	var ws []*Workflow
	for _, name := range []string{"a.yaml", "b.yaml"} {
		w, err := Parse(name, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		ws = append(ws, w)
	}
	if found := Together(ws[:1]); len(found) != 0 {
		t.Fatalf("one file: %v", found)
	}
	found := Together(ws)
	if len(found) != 1 || found[0].Code != "E222" || found[0].File != "b.yaml" || found[0].Line != 3 || found[0].Column != 5 {
		t.Fatalf("two files: %v", found)
	}
}
