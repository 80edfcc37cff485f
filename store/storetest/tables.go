package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/store/internal/row"
)

// Subject is one table as tests use it, without its types.
type Subject struct {
	Name string
	// Draw makes a row with random content; equal pools give equal keys now and then.
	Draw func(t *rapid.T) any
	// Key gives a row's ordered key.
	Key func(r any) string
	// New makes an empty row to decode into.
	New func() any
	// Get and Range read by the keys of rows; Put writes one change, either side of which may be nil.
	Get   func(tx row.Tx, rows ...any) ([]any, error)
	Range func(tx row.Tx, from, to any, n int) ([]any, error)
	Put   func(tx row.Tx, old, new any) error
}

// Subjects lists every table of the contract.
func Subjects() []Subject {
	return []Subject{
		subject(row.Accounts, row.Tx.Accounts), subject(row.Contacts, row.Tx.Contacts),
		subject(row.Lives, row.Tx.Lives), subject(row.Identities, row.Tx.Identities),
		subject(row.Members, row.Tx.Members), subject(row.Deadlines, row.Tx.Deadlines),
		subject(row.Manifests, row.Tx.Manifests), subject(row.Receipts, row.Tx.Receipts),
		subject(row.Suppressed, row.Tx.Suppressed), subject(row.Records, row.Tx.Records),
		subject(row.Links, row.Tx.Links), subject(row.Objects, row.Tx.Objects),
		subject(row.Workflows, row.Tx.Workflows), subject(row.Revisions, row.Tx.Revisions),
		subject(row.Schedules, row.Tx.Schedules), subject(row.Runs, row.Tx.Runs),
		subject(row.RunKeys, row.Tx.RunKeys), subject(row.Timers, row.Tx.Timers),
		subject(row.Listeners, row.Tx.Listeners), subject(row.Parkeds, row.Tx.Parked), subject(row.Endeds, row.Tx.Ended),
		subject(row.Steps, row.Tx.Steps), subject(row.Items, row.Tx.Items),
		subject(row.Operations, row.Tx.Operations), subject(row.OptOuts, row.Tx.OptOuts),
		subject(row.Inbounds, row.Tx.Inbounds), subject(row.Deliveries, row.Tx.Deliveries), subject(row.Erasures, row.Tx.Erasures),
		subject(row.Counters, row.Tx.Counters), subject(row.Marks, row.Tx.Marks),
	}
}

func subject[K comparable, R any](d row.Def[K, R], of func(row.Tx) row.Table[K, R]) Subject {
	random := rapid.Make[R]()
	side := func(r any) *R { p, _ := r.(*R); return p }
	return Subject{
		Name: d.Name,
		Draw: func(t *rapid.T) any {
			r := random.Draw(t, d.Name)
			return Normal(&r)
		},
		Key: func(r any) string { return string(d.Enc(nil, d.Key(side(r)))) },
		New: func() any { return new(R) },
		Get: func(tx row.Tx, rows ...any) (got []any, err error) {
			var keys []K
			for _, r := range rows {
				keys = append(keys, d.Key(side(r)))
			}
			m, err := of(tx).Get(ctx, keys)
			for _, k := range keys {
				if r := m[k]; r != nil {
					got = append(got, r)
				}
			}
			return got, err
		},
		Range: func(tx row.Tx, from, to any, n int) (got []any, err error) {
			rows, err := of(tx).Range(ctx, d.Key(side(from)), d.Key(side(to)), n)
			for i := range rows {
				got = append(got, &rows[i])
			}
			return got, err
		},
		Put: func(tx row.Tx, old, new any) error {
			return of(tx).Write(ctx, []row.Change[R]{{Old: side(old), New: side(new)}})
		},
	}
}

// Normal changes a row to the form in which it comes back from a store, and returns it: an empty
// slice or map is nil, a negative zero is zero, and what has no place in the row is empty.
func Normal(r any) any {
	normal(reflect.ValueOf(r).Elem())
	return r
}

func normal(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("cbor") == "-" {
				v.Field(i).SetZero()
			}
			normal(v.Field(i))
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.SetZero()
		}
		for i := range v.Len() {
			normal(v.Index(i))
		}
	case reflect.Map:
		if v.Len() == 0 {
			v.SetZero()
		}
		for _, k := range v.MapKeys() {
			if e := v.MapIndex(k); e.Kind() == reflect.Slice && e.Len() == 0 {
				v.SetMapIndex(k, reflect.Zero(e.Type()))
			}
		}
	case reflect.Float64:
		if v.Float() == 0 {
			v.SetZero()
		}
	}
}

// testTables writes random rows into every table and reads them back, singly and in order, in the
// transaction and after it, changed and deleted.
func testTables(t *testing.T, e row.Engine) {
	for _, s := range Subjects() {
		t.Run(s.Name, func(t *testing.T) {
			var rows []any
			sample := rapid.Custom(func(rt *rapid.T) []any { return draw(rt, s) })
			for seed := 1; len(rows) < 3; seed++ {
				rows = sample.Example(seed)
			}
			update(t, e, func(tx row.Tx) error {
				for _, r := range rows {
					if err := s.Put(tx, nil, r); err != nil {
						return err
					}
				}
				return wantRows(tx, s, rows)
			})
			view(t, e, func(tx row.Tx) error { return wantRows(tx, s, rows) })
			update(t, e, func(tx row.Tx) error {
				return errors.Join(s.Put(tx, rows[1], rows[1]), s.Put(tx, rows[0], nil), wantRows(tx, s, rows[1:]))
			})
			view(t, e, func(tx row.Tx) error {
				gone, err := s.Get(tx, rows[0])
				if len(gone) > 0 {
					t.Error("a deleted row is still there")
				}
				return errors.Join(err, wantRows(tx, s, rows[1:]))
			})
		})
	}
}

// draw makes some rows with different keys that can be stored, in key order.
func draw(t *rapid.T, s Subject) (rows []any) {
	for range 8 {
		if r := s.Draw(t); s.Key(r) != "" {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b any) int { return strings.Compare(s.Key(a), s.Key(b)) })
	return slices.CompactFunc(rows, func(a, b any) bool { return s.Key(a) == s.Key(b) })
}

// wantRows checks that the table gives exactly these rows, which are in key order.
func wantRows(tx row.Tx, s Subject, rows []any) error {
	got, err := s.Get(tx, rows...)
	if err != nil || !reflect.DeepEqual(got, rows) {
		return fmt.Errorf("get gave %d rows that are not the %d written (%w)", len(got), len(rows), err)
	}
	last := len(rows) - 1
	got, err = s.Range(tx, rows[0], rows[last], 0)
	if err != nil || !reflect.DeepEqual(got, append([]any(nil), rows[:last]...)) && last > 0 {
		return fmt.Errorf("range gave %d rows that are not the %d written (%w)", len(got), last, err)
	}
	got, err = s.Range(tx, rows[0], rows[last], 1)
	if last > 0 && (err != nil || len(got) != 1 || !bytes.Equal([]byte(s.Key(got[0])), []byte(s.Key(rows[0])))) {
		return fmt.Errorf("range with n = 1 gave %d rows (%w)", len(got), err)
	}
	return nil
}
