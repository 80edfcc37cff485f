package bolt

import (
	"reflect"
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// TestAccountsAreTheCallersOwn: what a caller does to an account that it got, and what the same or
// another transaction writes, is never confused by the account that is kept decoded.
func TestAccountsAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	e := open(t, Options{NoSync: true})
	want := crm.Account{ID: crm.AccountID{1}, Name: "one", CreatedAt: 5, Policy: crm.DefaultPolicy()}
	read := func(tx row.Tx) *crm.Account {
		got, err := tx.Accounts().Get(ctx, []crm.AccountID{want.ID})
		if err != nil || !reflect.DeepEqual(got[want.ID], &want) {
			t.Fatalf("got %+v, want %+v (%v)", got[want.ID], want, err)
		}
		return got[want.ID]
	}
	write := func(tx row.Tx, old *crm.Account, name string) {
		next := want
		next.Name = name
		if err := tx.Accounts().Write(ctx, []row.Change[crm.Account]{{Old: old, New: &next}}); err != nil {
			t.Fatal(err)
		}
		want = next
	}
	update := func(fn func(tx row.Tx) error) {
		if err := e.Update(ctx, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx row.Tx) error { write(tx, nil, "one"); return nil })
	for range 3 {
		update(func(tx row.Tx) error {
			a := read(tx)
			a.Name = "spoilt"
			a.Policy.Permissions[crm.VerbDelete][0] = crm.Viewer
			delete(a.Policy.Permissions, crm.VerbWrite)
			read(tx)
			return nil
		})
	}
	update(func(tx row.Tx) error {
		write(tx, read(tx), "two")
		read(tx) // its own write
		return nil
	})
	if err := e.View(ctx, func(tx row.Tx) error { read(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, none := range []crm.AccountID{{}, {2}} {
		update(func(tx row.Tx) error {
			if got, err := tx.Accounts().Get(ctx, []crm.AccountID{none}); err != nil || len(got) != 0 {
				t.Errorf("got %v (%v)", got, err)
			}
			return nil
		})
	}
}

// TestAccountsAreClonedWhole: an account that gains a member which refers to something needs a
// cloneAccount that copies it.
func TestAccountsAreClonedWhole(t *testing.T) {
	t.Parallel()
	var found []string
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.Fields() {
				walk(path+"."+f.Name, f.Type)
			}
		case reflect.Map, reflect.Slice:
			found = append(found, path)
			walk(path+"[]", typ.Elem())
		case reflect.Pointer, reflect.Interface, reflect.Func, reflect.Chan:
			found = append(found, path)
		}
	}
	walk("", reflect.TypeFor[crm.Account]())
	if copied := []string{".Policy.Permissions", ".Policy.Permissions[]"}; !slices.Equal(found, copied) {
		t.Errorf("an account refers to %q; cloneAccount copies %q", found, copied)
	}
}
