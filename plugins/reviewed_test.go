package plugins

import (
	"path/filepath"
	"testing"
)

// What a hostile review found.

// What the operator has set for a plugin is not for a version that nobody trusts yet, nor for any trial.
func TestSettingsAreNotForATrial(t *testing.T) {
	t.Parallel()
	asked := 0
	h, _ := newHost(t, Options{Dir: filepath.Join(t.TempDir(), "plugins"), Config: func(string) ([]byte, error) {
		asked++
		return []byte(`{"api_key":"canary"}`), nil
	}})
	if _, err := h.Install(fake{Version: "1.0.0"}.folder(t)); err != nil {
		t.Fatal(err)
	}
	before := asked
	in, err := h.Install(fake{Version: "2.0.0", Reads: []string{"email"}, Network: []string{"elsewhere.example"}}.folder(t))
	if err != nil || in.Current {
		t.Fatalf("it wants more and is in use: %v, %v", in.Current, err)
	}
	if asked > before {
		t.Errorf("it was given the settings %d times", asked-before)
	}
}
