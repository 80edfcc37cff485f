package bolt

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// accounts is the table of accounts. Every mutation reads its account, and decoding one, policy and
// all, is a twentieth of a small transaction, so the last one is kept beside the bytes that it was
// decoded from. It is used only for the very same bytes, read in this transaction: nothing is ever
// out of date.
type accounts struct {
	table[crm.AccountID, crm.Account]
	last *atomic.Pointer[decoded]
}

type decoded struct {
	raw     []byte
	account crm.Account
}

// Get implements row.Table.
func (t accounts) Get(ctx context.Context, keys []crm.AccountID) (rows map[crm.AccountID]*crm.Account, err error) {
	if len(keys) != 1 {
		return t.table.Get(ctx, keys)
	}
	if err := t.tx.usable(ctx); err != nil {
		return nil, err
	}
	defer guard(&err)
	raw := t.tx.get(row.Accounts.Name, keys[0][:])
	if d := t.last.Load(); d != nil && raw != nil && bytes.Equal(d.raw, raw) {
		return map[crm.AccountID]*crm.Account{keys[0]: cloneAccount(&d.account)}, nil
	}
	if rows, err = t.table.Get(ctx, keys); err == nil && raw != nil {
		t.last.Store(&decoded{bytes.Clone(raw), *cloneAccount(rows[keys[0]])})
	}
	return rows, err
}

// cloneAccount copies an account so that it is the caller's to change. A member that refers to
// something has to be copied here.
func cloneAccount(a *crm.Account) *crm.Account {
	c := *a
	if a.Policy.Permissions != nil {
		c.Policy.Permissions = make(map[crm.Verb][]crm.Role, len(a.Policy.Permissions))
		for verb, roles := range a.Policy.Permissions {
			c.Policy.Permissions[verb] = slices.Clone(roles)
		}
	}
	return &c
}
