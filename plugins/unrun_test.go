package plugins

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/actions"
)

// What a plugin hands back unrun, its reply being full, is sent again at once in as many calls as it takes; each
// item is run once, and gets its own outcome.
func TestUnrunIsSentAgain(t *testing.T) {
	t.Parallel()
	h, _ := newHost(t, Options{}, "test.a")
	const items = 200
	var targets []Target
	for range items {
		targets = append(targets, live(1))
	}
	out, err := h.Execute(t.Context(), "test.a", batch("fill", targets...))
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		var got struct{ N int }
		if err := json.Unmarshal(o.Output, &got); o.Status != Done || err != nil || got.N != i+1 {
			t.Fatalf("item %d: %s %s, run number %d", i, o.Status, o.Code, got.N)
		}
	}
}

// A plugin's settings come from the host's side alone; what it says of them reaches the operator.
func TestSettings(t *testing.T) {
	t.Parallel()
	set := map[string]string{"csv.export": `{"dir":"relative"}`}
	h, _ := newHost(t, Options{Config: func(plugin string) ([]byte, error) {
		if plugin == "http.request" {
			return nil, errors.New("the settings cannot be read")
		}
		return []byte(set[plugin]), nil
	}}, actions.Processes()...)
	all, err := h.Catalogue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"csv.export": "dir is not an absolute path", "http.request": "the settings cannot be read", "contact.tag": ""} {
		got := ""
		if b := all[name].Broken; b != nil {
			got = b.Error()
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
