package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestDemo plays the demo: every line of it is a fact read back from the store.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the whole story")
	}
	t.Parallel()
	var out, errs bytes.Buffer
	if code := run([]string{"demo"}, strings.NewReader(""), &out, &errs); code != exitOK {
		t.Errorf("exit %d\n%s", code, &errs)
	}
	if !strings.Contains(out.String(), "Every fact holds.") || strings.Contains(out.String(), "✗") {
		t.Errorf("not every fact holds:\n%s", &out)
	}
}
