package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
	"github.com/reprieve-run/reprieve/store/internal/row"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// How much the seeded programs do: REPRIEVE_MODEL_OPS steps in all, a seventh of them on the embedded
// engine, or with REPRIEVE_MODEL_SEED the one program of that seed, on both.
const (
	modelSteps = 120 // long enough for a contact to be deleted, restored, deleted and purged
	modelOps   = 20_000
)

// openModel puts a store on an engine; its random bytes are the seed's, so that a program can be run again.
func openModel(t testing.TB, seed uint64, eng row.Engine) *store.Store {
	s, err := store.New(t.Context(), eng, store.Options{Key: bytes.Repeat([]byte{7}, 32), Rand: rand.NewChaCha8([32]byte{byte(seed)})})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onMemory opens a store for the model on the hostile engine, with a bug planted or none.
func onMemory(t testing.TB, seed uint64, plant func(table string, row any)) func(func() crm.Nanos) *store.Store {
	return func(now func() crm.Nanos) *store.Store {
		return openModel(t, seed, storetest.NewMemory(storetest.MemoryOptions{Now: now, Seed: seed, Corrupt: plant}))
	}
}

func runOnMemory(t testing.TB, seed uint64) error {
	return storetest.RunModel(storetest.Seeded(seed), modelSteps, onMemory(t, seed, nil))
}

func runOnBolt(t testing.TB, seed uint64) error {
	var s *store.Store
	file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.db", seed))
	err := storetest.RunModel(storetest.Seeded(seed), modelSteps, func(now func() crm.Nanos) *store.Store {
		eng, err := bolt.Open(file, bolt.Options{Now: now, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		s = openModel(t, seed, eng)
		return s
	})
	return errors.Join(err, s.Close(), os.Remove(file))
}

func TestModel(t *testing.T) {
	t.Parallel()
	storetest.CheckModel(t, onMemory(t, 1, nil))
}

// TestModelSeeded runs the programs of as many seeds as make up the wanted number of steps, in four parts.
func TestModelSeeded(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("REPRIEVE_MODEL_SEED"); text != "" {
		seed := number(t, text)
		told(t, "memory", seed, runOnMemory(t, seed))
		told(t, "bolt", seed, runOnBolt(t, seed))
		return
	}
	ops := uint64(modelOps)
	if text := os.Getenv("REPRIEVE_MODEL_OPS"); text != "" {
		ops = number(t, text)
	} else if testing.Short() {
		ops /= 5
	}
	const parts = 4
	for part := range uint64(parts) {
		t.Run(strconv.FormatUint(part, 10), func(t *testing.T) {
			t.Parallel()
			for seed := part; seed*modelSteps < ops && !t.Failed(); seed += parts {
				if seed/parts%7 == 0 {
					told(t, "bolt", seed, runOnBolt(t, seed))
				} else {
					told(t, "memory", seed, runOnMemory(t, seed))
				}
			}
		})
	}
}

func number(t *testing.T, text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%q is not a number", text)
	}
	return n
}

// told says what a program found, what it had done until then, and how to run it again.
func told(t *testing.T, engine string, seed uint64, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var v *storetest.Violation
	if errors.As(err, &v) {
		t.Log("\n" + strings.Join(v.Acts, "\n"))
	}
	t.Errorf("on %s: %v\nREPRIEVE_MODEL_SEED=%d go test ./store -run TestModelSeeded runs it again", engine, err, seed)
}
