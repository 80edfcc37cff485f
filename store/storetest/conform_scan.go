package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

func contact(account, n int) crm.Contact {
	k := key(account, n)
	return crm.Contact{Account: k.Account, ID: k.Contact, Rev: 1, CreatedAt: crm.Nanos(n), Tags: []crm.Tag{{Name: fmt.Sprint("t", n%3), Rev: 1}}}
}

func life(account, n int, s crm.State) crm.Life {
	k := key(account, n)
	return crm.Life{Account: k.Account, Contact: k.Contact, State: s, Epoch: uint64(n)}
}

// populate makes 60 contacts in account 1, a third of them deleted, some lives of purged contacts
// and of restored ones, and neighbours in accounts 0 and 2. Every fourth contact is on list 1.
func populate(t *testing.T, e row.Engine) {
	update(t, e, func(tx row.Tx) error {
		var err error
		for n := 1; n <= 60; n++ {
			k := key(1, n)
			err = errors.Join(err, insert(tx.Contacts(), contact(1, n)))
			switch n % 6 {
			case 1, 3:
				err = errors.Join(err, insert(tx.Lives(), life(1, n, crm.Deleted)))
			case 5:
				err = errors.Join(err, insert(tx.Lives(), life(1, n, crm.Live)))
			}
			if n%4 == 0 || n%6 == 1 {
				err = errors.Join(err, insert(tx.Members(), row.Member{Account: k.Account, List: id[crm.ItemID](1), Contact: k.Contact}))
			}
		}
		for n := 100; n <= 140; n++ { // purged: a life without a contact
			err = errors.Join(err, insert(tx.Lives(), life(1, n, crm.Purged)))
		}
		err = errors.Join(err, insert(tx.Contacts(), contact(1, 130)), insert(tx.Lives(), life(1, 200, crm.Deleted)))
		for _, account := range []int{0, 2} {
			k := key(account, 7)
			err = errors.Join(err, insert(tx.Contacts(), contact(account, 7)), insert(tx.Lives(), life(account, 7, crm.Deleted)),
				insert(tx.Members(), row.Member{Account: k.Account, List: id[crm.ItemID](1), Contact: k.Contact}),
				insert(tx.Members(), row.Member{Account: id[crm.AccountID](1), List: id[crm.ItemID](account), Contact: id[crm.ContactID](2)}))
		}
		return err
	})
}

// scanAll pages through a query, each page in its own view, and gives the contacts' numbers.
func scanAll(t testing.TB, e row.Engine, q crm.Query, yield func(*crm.Contact, *crm.Life) bool) (got []int) {
	t.Helper()
	for pages := 0; pages < 1000; pages++ {
		view(t, e, func(tx row.Tx) (err error) {
			q.After, err = tx.Scan(ctx, q, func(c *crm.Contact, l *crm.Life) bool {
				n := int(c.ID[14])<<8 | int(c.ID[15])
				got = append(got, n)
				if l == nil || l.Account != c.Account || l.Contact != c.ID || !q.State.Has(l.State) {
					t.Errorf("contact %d came with the life %+v", n, l)
				}
				return yield == nil || yield(c, l)
			})
			return err
		})
		if q.After == nil {
			return got
		}
	}
	t.Fatal("a scan does not end")
	return nil
}

func numbers(keep func(n int) bool) (want []int) {
	for n := 1; n <= 60; n++ {
		if keep(n) {
			want = append(want, n)
		}
	}
	return want
}

func deleted(n int) bool { return n%6 == 1 || n%6 == 3 }

func testScanStates(t *testing.T, e row.Engine) {
	populate(t, e)
	for name, c := range map[string]struct {
		state crm.StateSet
		want  func(n int) bool
	}{
		"live":    {crm.OnlyLive, func(n int) bool { return !deleted(n) }},
		"deleted": {crm.OnlyDeleted, deleted},
		"both":    {crm.LiveOrDead, func(int) bool { return true }},
		"none":    {0, func(int) bool { return false }},
	} {
		for _, budget := range []crm.Nanos{0, 1, crm.Second} { // 1 ns: every page is as short as it can be
			q := crm.Query{Account: id[crm.AccountID](1), State: c.state, Budget: budget}
			if got, want := scanAll(t, e, q, nil), numbers(c.want); !slices.Equal(got, want) {
				t.Errorf("%s, budget %d: got %v, want %v", name, budget, got, want)
			}
		}
	}
	if got := scanAll(t, e, crm.Query{Account: id[crm.AccountID](9), State: crm.LiveOrDead}, nil); got != nil {
		t.Errorf("an account without contacts gave %v", got)
	}
	err := e.View(ctx, func(tx row.Tx) error {
		_, err := tx.Scan(ctx, crm.Query{State: crm.OnlyLive, After: []byte("no cursor")}, nil)
		return err
	})
	wantCode(t, "a wrong cursor", err, crm.CodeInvalid)
}

func testScanLists(t *testing.T, e row.Engine) {
	populate(t, e)
	on := func(n int) bool { return n%4 == 0 || n%6 == 1 }
	for name, c := range map[string]struct {
		state crm.StateSet
		want  func(n int) bool
	}{
		"live":    {crm.OnlyLive, func(n int) bool { return on(n) && !deleted(n) }},
		"deleted": {crm.OnlyDeleted, func(n int) bool { return on(n) && deleted(n) }},
		"both":    {crm.LiveOrDead, on},
	} {
		q := crm.Query{Account: id[crm.AccountID](1), State: c.state, List: id[crm.ItemID](1), Budget: 1}
		if got, want := scanAll(t, e, q, nil), numbers(c.want); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	q := crm.Query{Account: id[crm.AccountID](1), State: crm.LiveOrDead, List: id[crm.ItemID](5)}
	if got := scanAll(t, e, q, nil); got != nil {
		t.Errorf("a list without members gave %v", got)
	}
}

func testScanYield(t *testing.T, e row.Engine) {
	populate(t, e)
	where := crm.Filter{Op: crm.FilterTag, Name: "T1"}
	q := crm.Query{Account: id[crm.AccountID](1), State: crm.OnlyLive, Where: where}
	want := numbers(func(n int) bool { return n%3 == 1 && !deleted(n) })
	if got := scanAll(t, e, q, nil); !slices.Equal(got, want) {
		t.Errorf("filtered: got %v, want %v", got, want)
	}
	// A page that yield ends goes on behind the contact that ended it.
	if got := scanAll(t, e, q, func(*crm.Contact, *crm.Life) bool { return false }); !slices.Equal(got, want) {
		t.Errorf("one at a time: got %v, want %v", got, want)
	}
	epochs := crm.Query{Account: id[crm.AccountID](1), State: crm.LiveOrDead}
	scanAll(t, e, epochs, func(c *crm.Contact, l *crm.Life) bool {
		n := int(c.ID[15])
		stored := deleted(n) || n%6 == 5
		if stored && l.Epoch != uint64(n) || !stored && !reflect.DeepEqual(*l, crm.Life{Account: c.Account, Contact: c.ID}) {
			t.Errorf("contact %d has the life %+v", n, *l)
		}
		return true
	})
}

func testScanOwn(t *testing.T, e row.Engine) {
	populate(t, e)
	q := crm.Query{Account: id[crm.AccountID](1), State: crm.OnlyLive}
	for range 2 {
		scanAll(t, e, q, func(c *crm.Contact, l *crm.Life) bool {
			if c.Tags[0].Rev != 1 || l.QuietRev != 0 {
				t.Errorf("a change to what a scan yielded came back")
			}
			c.Tags[0].Rev, c.Rev, l.QuietRev = 99, 99, 99
			return true
		})
	}
	k := key(1, 2)
	for range 2 {
		view(t, e, func(tx row.Tx) error {
			rows, err := tx.Contacts().Get(ctx, []crm.Key{k})
			if rows[k].Tags[0].Name != "t2" {
				t.Errorf("a change to what a read gave came back")
			}
			rows[k].Tags[0].Name = "changed"
			return err
		})
	}
}

func testScanAfterWrite(t *testing.T, e row.Engine) {
	for name, write := range map[string]func(tx row.Tx) error{
		"write":  func(tx row.Tx) error { return insert(tx.Counters(), counter(t.Name(), 1)) },
		"append": func(tx row.Tx) error { return tx.Append(ctx, "log", [][]byte{{1}}) },
	} {
		err := e.Update(ctx, func(tx row.Tx) error {
			scan := func() error {
				_, err := tx.Scan(ctx, crm.Query{State: crm.OnlyLive}, func(*crm.Contact, *crm.Life) bool { return true })
				return err
			}
			next := func() error { _, _, err := tx.Next(ctx, "log", nil, 1); return err }
			if err := errors.Join(scan(), next()); err != nil {
				t.Errorf("%s: before the write: %v", name, err)
			}
			if err := write(tx); err != nil {
				return err
			}
			if err := scan(); !errors.Is(err, row.ErrScanAfterWrite) {
				t.Errorf("%s: scan: %v", name, err)
			}
			if err := next(); !errors.Is(err, row.ErrScanAfterWrite) {
				t.Errorf("%s: next: %v", name, err)
			}
			return errPlanned
		})
		if !errors.Is(err, errPlanned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testLogs(t *testing.T, e row.Engine) {
	const rows = 25
	for n := range rows {
		update(t, e, func(tx row.Tx) error {
			return errors.Join(tx.Append(ctx, "a", [][]byte{{byte(n), 1}, {byte(n), 2}}), tx.Append(ctx, "b", [][]byte{{}}), add(tx, "n", 1))
		})
	}
	var want []string
	for n := range rows {
		want = append(want, string([]byte{byte(n), 1}), string([]byte{byte(n), 2}))
	}
	if got := logRows(t, e, "a"); !slices.Equal(got, want) {
		t.Errorf("log a holds %q", got)
	}
	if got := logRows(t, e, "b"); len(got) != rows || got[0] != "" {
		t.Errorf("log b holds %q", got)
	}
	var got []string
	var cursor []byte
	for {
		var page [][]byte
		view(t, e, func(tx row.Tx) (err error) {
			page, cursor, err = tx.Next(ctx, "a", cursor, 7)
			return err
		})
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			got = append(got, string(r))
			clear(r) // the caller's own
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("in pages of 7, log a holds %q", got)
	}
	// The cursor at the end finds what is appended later.
	update(t, e, func(tx row.Tx) error { return tx.Append(ctx, "a", [][]byte{[]byte("late")}) })
	view(t, e, func(tx row.Tx) error {
		page, _, err := tx.Next(ctx, "a", cursor, 7)
		if len(page) != 1 || string(page[0]) != "late" {
			t.Errorf("behind the end: %q", page)
		}
		none, at, nerr := tx.Next(ctx, "never written", nil, 7)
		if len(none) != 0 || at != nil {
			t.Errorf("a log that nobody wrote gave %q and the cursor %x", none, at)
		}
		for i, w := range append(want, "late", "") {
			if r, err := tx.Nth(ctx, "a", uint64(i+1)); string(r) != w || err != nil {
				t.Errorf("row %d of log a is %q (%v)", i+1, r, err)
			}
		}
		if r, err := tx.Nth(ctx, "a", 0); r != nil || err != nil {
			t.Errorf("row 0 of log a is %q (%v)", r, err)
		}
		_, _, cerr := tx.Next(ctx, "a", []byte("no cursor"), 7)
		wantCode(t, "a wrong cursor", cerr, crm.CodeInvalid)
		return errors.Join(err, nerr)
	})
	testTrim(t, e, append(want, "late"))
}

// testTrim removes the first rows of a log: the others keep their numbers, cursors go on wherever they stood, the
// other logs stay, and no number is given again, not even when the log is empty.
func testTrim(t *testing.T, e row.Engine, rows []string) {
	t.Helper()
	other := logRows(t, e, "b")
	var early, late []byte
	view(t, e, func(tx row.Tx) (err error) {
		if _, early, err = tx.Next(ctx, "a", nil, 2); err == nil {
			_, late, err = tx.Next(ctx, "a", nil, 6)
		}
		return err
	})
	trim := func(n int) {
		update(t, e, func(tx row.Tx) error { return tx.Trim(ctx, "a", uint64(n)) })
	}
	for _, n := range []int{0, 5, 3, 5} {
		trim(n)
	}
	view(t, e, func(tx row.Tx) error {
		for name, from := range map[string]struct {
			cursor []byte
			first  int
		}{"the start": {nil, 5}, "a cursor before the cut": {early, 5}, "a cursor behind it": {late, 6}} {
			page, _, err := tx.Next(ctx, "a", from.cursor, 0)
			if err != nil || len(page) != len(rows)-from.first || string(page[0]) != rows[from.first] {
				t.Errorf("after a trim, from %s: %d rows (%v)", name, len(page), err)
			}
		}
		for i := range rows {
			r, err := tx.Nth(ctx, "a", uint64(i+1))
			if err != nil || (r == nil) != (i < 5) || r != nil && string(r) != rows[i] {
				t.Errorf("after a trim, row %d is %q (%v)", i+1, r, err)
			}
		}
		return nil
	})
	trim(len(rows) + 1000)
	update(t, e, func(tx row.Tx) error { return tx.Append(ctx, "a", [][]byte{[]byte("anew")}) })
	view(t, e, func(tx row.Tx) error {
		r, err := tx.Nth(ctx, "a", uint64(len(rows)+1))
		if string(r) != "anew" {
			t.Errorf("after all was trimmed, the next row is not number %d", len(rows)+1)
		}
		return err
	})
	if got := logRows(t, e, "b"); !slices.Equal(got, other) {
		t.Errorf("trimming one log changed another: %q", got)
	}
}

func testSnapshot(t *testing.T, e row.Engine) {
	populate(t, e)
	op, other := id[crm.OperationID](5), id[crm.OperationID](6)
	q := crm.Query{Account: id[crm.AccountID](1), State: crm.LiveOrDead}
	freeze := func(op crm.OperationID, q crm.Query, keep func(n int) bool) {
		t.Helper()
		want := numbers(keep)
		n, err := e.Snapshot(ctx, op, q, func(c *crm.Contact, _ *crm.Life) bool { return keep(int(c.ID[15])) && c.ID[15] <= 60 })
		if err != nil || n != len(want) {
			t.Fatalf("snapshot: %d, %v; want %d", n, err, len(want))
		}
		wantItems(t, e, op, want)
	}
	freeze(other, q, func(n int) bool { return n > 50 })
	freeze(op, q, func(n int) bool { return n%2 == 0 })
	freeze(op, q, func(n int) bool { return n%5 == 0 }) // replaces, and leaves no row of before
	q.State = crm.OnlyDeleted
	freeze(op, q, deleted)
	freeze(op, q, func(int) bool { return false })
	wantItems(t, e, other, numbers(func(n int) bool { return n > 50 }))
	n, err := e.Snapshot(ctx, op, q, nil)
	if err != nil || n != len(numbers(deleted)) {
		t.Errorf("a snapshot without keep: %d, %v", n, err)
	}
}

func wantItems(t *testing.T, e row.Engine, op crm.OperationID, want []int) {
	t.Helper()
	view(t, e, func(tx row.Tx) error {
		end := id[crm.OperationID](int(op[15]) + 1)
		items, err := tx.Items().Range(ctx, row.ItemKey{Op: op}, row.ItemKey{Op: end}, 0)
		var got []int
		for _, it := range items {
			n := int(it.Contact[15])
			got = append(got, n)
			epoch := uint64(0)
			if deleted(n) || n%6 == 5 {
				epoch = uint64(n)
			}
			if it.Epoch != epoch || it.Account != id[crm.AccountID](1) {
				t.Errorf("item %d was frozen as %+v", n, it)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("frozen: %v, want %v", got, want)
		}
		return err
	})
}
