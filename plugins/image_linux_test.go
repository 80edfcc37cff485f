package plugins

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What runs is what was hashed, whatever becomes of the file; and nobody can write to it.
func TestVerified(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "script")
	script := []byte("#!/bin/sh\necho hashed\n")
	put(t, path, script)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(path)
	sum, release, err := verified(cmd, f, "")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	put(t, path, []byte("#!/bin/sh\necho swapped\n"))
	if _, err := cmd.ExtraFiles[0].WriteAt([]byte("x"), 0); err == nil {
		t.Error("the copy can be written to")
	}
	if out, err := cmd.Output(); err != nil || string(out) != "hashed\n" || sum != sha256.Sum256(script) {
		t.Errorf("it ran %q, %v", out, err)
	}
}
