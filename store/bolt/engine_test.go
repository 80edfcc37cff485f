package bolt

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
	"github.com/reprieve-run/reprieve/store/storetest"
)

func fixed() crm.Nanos { return 42 }

// open opens a store in a fresh directory, without syncing, and closes it with the test.
func open(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := Open(filepath.Join(t.TempDir(), "reprieve.db"), withClock(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func withClock(o Options) Options {
	if o.Now == nil {
		o.Now = fixed
	}
	return o
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Conformance(t, func(t *testing.T) row.Engine { return open(t, Options{NoSync: true}) })
}

var ctx = context.Background()
