package store_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// onMemory opens a store for the model on the hostile engine, with a bug planted or none.
func onMemory(t testing.TB, seed uint64, plant func(table string, row any)) func(func() crm.Nanos) *store.Store {
	return func(now func() crm.Nanos) *store.Store {
		eng := storetest.NewMemory(storetest.MemoryOptions{Now: now, Seed: seed, Corrupt: plant})
		s, err := store.New(t.Context(), eng, store.Options{Key: bytes.Repeat([]byte{7}, 32)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	storetest.CheckModel(t, onMemory(t, 1, nil))
}

// TestModelSeeded runs programs that are long enough for a contact to be deleted, restored, deleted
// and purged, which rapid's short ones seldom are.
func TestModelSeeded(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		if err := storetest.RunModel(storetest.Seeded(seed), 120, onMemory(t, seed, nil)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func TestModelOnBolt(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		var s *store.Store
		err := storetest.RunModel(storetest.Seeded(seed), 100, func(now func() crm.Nanos) *store.Store {
			eng, err := bolt.Open(filepath.Join(t.TempDir(), "reprieve.db"), bolt.Options{Now: now, NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			if s, err = store.New(t.Context(), eng, store.Options{Key: bytes.Repeat([]byte{7}, 32)}); err != nil {
				t.Fatal(err)
			}
			return s
		})
		if err = errors.Join(err, s.Close()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestModelFindsPlantedBugs plants the two bugs that matter most. A model that lets them pass proves
// nothing about the store.
func TestModelFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	whole := func(n *crm.Nanos) { *n -= *n % crm.Second }
	for _, c := range []struct {
		bug, breaks string
		plant       func(table string, row any)
	}{
		{"a restore forgets the quiet revision", storetest.StartsNothing, func(_ string, row any) {
			if l, ok := row.(*crm.Life); ok {
				l.QuietRev = 0
			}
		}},
		{"deadlines are kept in whole seconds", storetest.NeverEarly, func(_ string, row any) {
			switch r := row.(type) {
			case *crm.Life:
				whole(&r.RestorableUntil)
			case *crm.Deadline:
				whole(&r.Until)
			}
		}},
		{"a legal hold is forgotten", storetest.NeverEarly, func(_ string, row any) {
			if l, ok := row.(*crm.Life); ok && l.State == crm.Deleted {
				l.Held = false
			}
		}},
	} {
		t.Run(c.bug, func(t *testing.T) {
			t.Parallel()
			found := map[string]int{}
			for seed := uint64(0); seed < 300 && found[c.breaks] == 0; seed++ {
				var v *storetest.Violation
				switch err := storetest.RunModel(storetest.Seeded(seed), 120, onMemory(t, seed, c.plant)); {
				case errors.As(err, &v):
					found[v.Promise]++
				case err != nil:
					found[err.Error()]++
				}
			}
			if found[c.breaks] == 0 {
				t.Errorf("the model did not find that %s; it found %v", c.bug, found)
			}
		})
	}
}
