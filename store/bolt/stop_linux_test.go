package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/fault"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// TestFailedCommitStops makes the disk refuse in the middle of a commit. Everybody in the group and
// all who come later, readers too, are told that the store has stopped; a reopening shows what was
// acknowledged before.
func TestFailedCommitStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reprieve.db") // not parallel: fault points are the process's
	e, err := Open(path, Options{Now: fixed})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Update(ctx, func(tx row.Tx) error { return mark(tx, "before") }); err != nil {
		t.Fatal(err)
	}
	defer fault.Deactivate()
	fault.Activate("bolt.before_commit", 1, func() { breakFile(t, path) })
	for i, err := range together(e,
		func(tx row.Tx) error { return mark(tx, "lost") },
		func(tx row.Tx) error { return errors.New("planned") },
		func(tx row.Tx) error { return mark(tx, "lost too") }) {
		if crm.CodeOf(err) != crm.CodeStopped || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("function %d: %v", i, err)
		}
	}
	nothing := func(row.Tx) error { t.Error("a function ran in a stopped store"); return nil }
	for range 3 {
		for what, err := range map[string]error{"update": e.Update(ctx, nothing), "view": e.View(ctx, nothing)} {
			if crm.CodeOf(err) != crm.CodeStopped {
				t.Errorf("%s: %v", what, err)
			}
			var own *crm.Error
			if errors.As(err, &own) {
				own.Hint = "changed" // by one caller; the next gets its own error
			}
		}
	}
	if _, err := e.Snapshot(ctx, crm.OperationID{}, crm.Query{}, nil); crm.CodeOf(err) != crm.CodeStopped {
		t.Errorf("snapshot: %v", err)
	}
	if err := e.refusal().(*crm.Error); err.Hint == "changed" || err.Hint == "" {
		t.Errorf("the hint is %q", err.Hint)
	}
	_ = e.Close()
	if e, err = Open(path, Options{Now: fixed}); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !has(t, e, "before") || has(t, e, "lost") {
		t.Error("the store does not hold what was acknowledged")
	}
}

// breakFile puts a full device in the place of the open file.
func breakFile(t *testing.T, path string) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer full.Close()
	for fd := range 1024 {
		if target, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); target == path {
			if err := unix.Dup3(int(full.Fd()), fd, unix.O_CLOEXEC); err != nil {
				t.Error(err)
			}
		}
	}
}
