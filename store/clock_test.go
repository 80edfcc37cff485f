package store_test

import (
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// A clock that jumps ahead ends no recovery window, stamps nothing and lets nothing be purged until an
// admin has confirmed it; then it counts.
func TestClockJumpsAhead(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	wall, mono := 1_000_000*crm.Second, time.Duration(0)
	pass := func(d crm.Nanos) { wall, mono = wall+d, mono+time.Duration(d) }
	s, err := store.New(ctx, storetest.NewMemory(storetest.MemoryOptions{Now: func() crm.Nanos { return wall }, Seed: 7}),
		store.Options{Key: make([]byte, 32), Mono: func() time.Duration { return mono }})
	if err != nil {
		t.Fatal(err)
	}
	k := crm.Key{Account: crm.AccountID{1}, Contact: crm.ContactID{2}}
	boss, hand := crm.Actor{ID: "user:1", Role: crm.Admin}, crm.Cause{Kind: crm.ByPerson}
	do := func(m ...crm.Mutation) error {
		return s.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Apply(boss, hand, m...)
			return err
		})
	}
	purge := func() string {
		return crm.CodeOf(s.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Apply(crm.Actor{ID: "system:sweep", Role: crm.System}, crm.Cause{Kind: crm.ByRetention}, crm.Purge{Contact: k})
			return err
		}))
	}
	seen := func() (now crm.Nanos, held bool) {
		if err := s.View(ctx, func(tx *store.Tx) error {
			now, held = tx.Now(), crm.CodeOf(tx.ClockHeld()) == crm.CodeHeldClock
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return now, held
	}
	if err := s.Update(ctx, func(tx *store.Tx) error {
		return tx.PutAccount(crm.Account{ID: k.Account, Policy: crm.DefaultPolicy()})
	}); err != nil {
		t.Fatal(err)
	}
	if err := do(crm.Create{Contact: crm.Contact{Account: k.Account, ID: k.Contact}}); err != nil {
		t.Fatal(err)
	}
	if err := do(crm.Delete{Contact: k}); err != nil {
		t.Fatal(err)
	}
	pass(30 * crm.Day)
	was := wall
	wall += 24 * crm.Hour // just what is let pass
	if now, held := seen(); held || now != wall {
		t.Errorf("24 hours ahead: now is %d off, held %v", now-wall, held)
	}
	wall = was + 365*crm.Day
	if now, held := seen(); !held || now != was {
		t.Errorf("a year ahead: now is %d off, held %v", now-was, held)
	}
	if got := purge(); got != crm.CodeWindowOpen {
		t.Errorf("a purge in the jump: %q", got)
	}
	if err := do(crm.Restore{Contact: k}); err != nil {
		t.Errorf("a restore in the jump: %v", err)
	}
	if err := do(crm.Delete{Contact: k}); err != nil {
		t.Fatal(err)
	}
	pass(crm.Minute)
	if now, held := seen(); !held || now != was+crm.Minute {
		t.Errorf("a minute later: now is %d off, held %v", now-was, held)
	}
	if got := crm.CodeOf(s.ConfirmClock(ctx, crm.Actor{ID: "user:2", Role: crm.Operator}, k.Account)); got != crm.CodeDenied {
		t.Errorf("an operator confirms the clock: %q", got)
	}
	if err := s.ConfirmClock(ctx, boss, k.Account); err != nil {
		t.Fatal(err)
	}
	if now, held := seen(); held || now != wall {
		t.Errorf("confirmed: now is %d off, held %v", now-wall, held)
	}
	if got := purge(); got != "" {
		t.Errorf("a purge after the word of an admin: %q", got)
	}
	if _, _, err := s.VerifyLog(ctx); err != nil {
		t.Error(err)
	}
}
