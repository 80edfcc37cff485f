package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// testAgreement runs the same random transactions on the engine and on Memory, and compares every
// answer: reads within transactions, errors, and all that is stored in the end.
func testAgreement(t *testing.T, e row.Engine) {
	account := 0
	rapid.Check(t, func(rt *rapid.T) {
		account++ // the engine is shared by all checks; each has an account to itself
		m := NewMemory(MemoryOptions{Now: func() crm.Nanos { return 1 }, Seed: rapid.Uint64().Draw(rt, "seed")})
		for range rapid.IntRange(1, 6).Draw(rt, "transactions") {
			s := drawScript(rt, account)
			got, gerr := s.play(e)
			want, werr := s.play(m)
			if got != want || !errors.Is(gerr, werr) {
				rt.Fatalf("script %v\nengine: %s %v\nmemory: %s %v", s, got, gerr, want, werr)
			}
		}
		got, want := dump(rt, e, account), dump(rt, m, account)
		if !slices.Equal(got, want) {
			rt.Fatalf("stored\nengine: %v\nmemory: %v", got, want)
		}
	})
}

// op is one call in a script; a and b are small numbers that become keys.
type op struct {
	What string
	A, B int
}

type script struct {
	account int
	ops     []op
	fail    bool
}

func drawScript(t *rapid.T, account int) script {
	what := rapid.SampledFrom([]string{"create", "create", "remove", "delete", "restore", "touch", "list", "get", "range", "append", "scan", "next"})
	one := rapid.Custom(func(t *rapid.T) op {
		return op{what.Draw(t, "what"), rapid.IntRange(0, 12).Draw(t, "a"), rapid.IntRange(0, 12).Draw(t, "b")}
	})
	return script{account, rapid.SliceOfN(one, 1, 12).Draw(t, "ops"), rapid.IntRange(0, 4).Draw(t, "fail") == 0}
}

// play runs the script in one transaction and gives what its reads said.
func (s script) play(e row.Engine) (said string, err error) {
	err = e.Update(ctx, func(tx row.Tx) error {
		var b strings.Builder
		for _, o := range s.ops {
			if err := s.step(tx, o, &b); err != nil {
				return err
			}
		}
		said = b.String()
		if s.fail {
			return errPlanned
		}
		return nil
	})
	return said, err
}

func (s script) step(tx row.Tx, o op, b *strings.Builder) error {
	k := key(s.account, o.A)
	switch o.What {
	case "create", "touch", "remove":
		return change(tx.Contacts(), k, func(old *crm.Contact) *crm.Contact {
			switch {
			case o.What == "remove" || old == nil && o.What == "touch":
				return nil
			case old == nil:
				c := contact(s.account, o.A)
				return &c
			}
			old.Rev++
			return old
		})
	case "delete", "restore":
		return change(tx.Lives(), k, func(old *crm.Life) *crm.Life {
			l := life(s.account, o.A, crm.Deleted)
			if old != nil {
				l.Epoch = old.Epoch + 1
			}
			if o.What == "restore" {
				l.State, l.QuietRev = crm.Live, uint64(o.B)
			}
			return &l
		})
	case "list":
		mk := row.MemberKey{Account: k.Account, List: id[crm.ItemID](o.B % 2), Contact: k.Contact}
		return change(tx.Members(), mk, func(old *row.Member) *row.Member {
			if old != nil {
				return nil
			}
			return &row.Member{Account: mk.Account, List: mk.List, Contact: mk.Contact}
		})
	case "get":
		rows, err := tx.Contacts().Get(ctx, []crm.Key{k, key(s.account, o.B)})
		fmt.Fprintln(b, "get", len(rows), rows[k])
		return err
	case "range":
		rows, err := tx.Contacts().Range(ctx, k, key(s.account, o.B), o.A%4)
		fmt.Fprintln(b, "range", rows)
		return err
	case "append":
		return tx.Append(ctx, s.log(), [][]byte{{byte(o.A)}, {byte(o.B)}})
	case "scan":
		// Pages may be short, so only the first contact can be compared here; dump compares all.
		_, err := tx.Scan(ctx, crm.Query{Account: k.Account, State: crm.LiveOrDead}, func(*crm.Contact, *crm.Life) bool { return false })
		return err
	case "next":
		rows, _, err := tx.Next(ctx, s.log(), nil, o.A+1)
		fmt.Fprintln(b, "next", rows)
		return err
	}
	return fmt.Errorf("no operation %s", o.What)
}

func (s script) log() string { return fmt.Sprint("log", s.account) }

// change reads a row and writes what f makes of it.
func change[K comparable, R any](t row.Table[K, R], k K, f func(old *R) *R) error {
	rows, err := t.Get(ctx, []K{k})
	if err != nil {
		return err
	}
	var before *R
	if old := rows[k]; old != nil {
		held := *old
		before = &held
	}
	after := f(rows[k])
	if before == nil && after == nil {
		return nil
	}
	return t.Write(ctx, []row.Change[R]{{Old: before, New: after}})
}

// dump gives all that an account has in an engine, read in every way that there is.
func dump(t *rapid.T, e row.Engine, account int) (all []string) {
	a := id[crm.AccountID](account)
	for _, q := range []crm.Query{
		{State: crm.OnlyLive}, {State: crm.OnlyDeleted}, {State: crm.LiveOrDead}, {State: crm.OnlyLive, List: id[crm.ItemID](1)},
		{State: crm.LiveOrDead, List: id[crm.ItemID](1)}, {State: crm.LiveOrDead, Where: crm.Filter{Op: crm.FilterTag, Name: "t1"}},
	} {
		q.Account = a
		for first := true; first || q.After != nil; first = false {
			err := e.View(ctx, func(tx row.Tx) (err error) {
				q.After, err = tx.Scan(ctx, q, func(c *crm.Contact, l *crm.Life) bool {
					all = append(all, fmt.Sprint(q.State, q.List[15], *c, *l))
					return true
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	err := e.View(ctx, func(tx row.Tx) error {
		rows, _, err := tx.Next(ctx, script{account: account}.log(), nil, 0)
		lives, lerr := tx.Lives().Range(ctx, key(account, 0), key(account+1, 0), 0)
		members, merr := tx.Members().Range(ctx, row.MemberKey{Account: a}, row.MemberKey{Account: id[crm.AccountID](account + 1)}, 0)
		all = append(all, fmt.Sprint(bytes.Join(rows, []byte(",")), lives, members))
		return errors.Join(err, lerr, merr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
