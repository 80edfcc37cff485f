package main

import (
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

// One contact whose rows are damaged does not keep the others from their purge.
func TestSweepGoesRoundDamage(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	o, v, call := inProcess(t, dir, place{})
	must[server.AccountView](t, call, "account.create", server.AccountCreate{Name: "main"})
	var ids []crm.ContactID
	for _, mail := range []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"} {
		con := must[server.ContactView](t, call, "contact.create", server.ContactCreate{Email: mail})
		must[server.Deletion](t, call, "contact.delete", server.ContactDelete{ID: con.ID.String(), Confirm: "DELETE"})
		ids = append(ids, con.ID)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, storeFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("manifest"))
		c := b.Cursor()
		c.First()
		k, val := c.Next()
		bad := append([]byte{}, val...)
		bad[len(bad)-1] ^= 1
		return b.Put(append([]byte{}, k...), bad)
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o, v, call = inProcess(t, dir, place{})
	v.Advance(61 * 24 * time.Hour)
	if err := o.app.Engine.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	purged := 0
	for _, id := range ids {
		if err := call.Call(t.Context(), "contact.get", server.ContactID{ID: id.String(), Deleted: true}, nil, nil); crm.CodeOf(err) == crm.CodePurged {
			purged++
		}
	}
	if purged != 4 {
		t.Errorf("%d of 5 were purged; the damaged one alone must stay", purged)
	}
}
