package main

import (
	"bytes"
	"os"
	"testing"
)

// The files in the tree are what the generator writes, so that nobody edits them by hand.
func TestFilesAreGenerated(t *testing.T) {
	t.Parallel()
	g := generate()
	for name, want := range map[string][]byte{"../contacts.csv": g.contacts(), "../associated.jsonl": g.lines.Bytes()} {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the generator writes: go generate ./examples", name)
		}
	}
	if again := generate(); !bytes.Equal(again.contacts(), g.contacts()) || !bytes.Equal(again.lines.Bytes(), g.lines.Bytes()) {
		t.Error("two runs wrote different bytes")
	}
}
