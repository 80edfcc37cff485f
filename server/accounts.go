package server

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// AccountCreate asks for the account, with the default policy. There can be one in a store so far.
type AccountCreate struct {
	Name string `json:"name"`
}

// AccountView is an account with its counts.
type AccountView struct {
	ID        crm.AccountID `json:"id"`
	Name      string        `json:"name"`
	CreatedAt crm.Nanos     `json:"created_at"`
	HIPAA     bool          `json:"hipaa,omitempty"`
	Window    string        `json:"recovery_window"`
	Live      int64         `json:"contacts_live"`
	Deleted   int64         `json:"contacts_deleted"`
	Purged    int64         `json:"contacts_purged"`
}

func accountCreate(c *call, q AccountCreate) (AccountView, error) {
	const op = "make an account"
	var v AccountView
	if err := c.admin(op); err != nil {
		return v, err
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		all, err := tx.Accounts()
		if err != nil {
			return err
		}
		if len(all) > 0 {
			return crm.Errorf(op, crm.CodeConflict, "the store has an account already").WithHint("another account needs another data directory: --data DIR")
		}
		id, err := crm.NewID[crm.AnyKind](tx.Now(), c.Store.Rand())
		if err != nil {
			return err
		}
		acc := crm.Account{ID: crm.AccountID(id), Name: q.Name, CreatedAt: tx.Now(), Policy: crm.DefaultPolicy()}
		v = AccountView{ID: acc.ID, Name: acc.Name, CreatedAt: acc.CreatedAt, Window: days(acc.Policy.Retention.Window)}
		return tx.PutAccount(acc)
	})
	return v, err
}

func accountShow(c *call, _ None) (AccountView, error) {
	var v AccountView
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		v = AccountView{ID: acc.ID, Name: acc.Name, CreatedAt: acc.CreatedAt, HIPAA: acc.HIPAA, Window: days(acc.Policy.Retention.Window)}
		for name, n := range map[string]*int64{store.CountLive: &v.Live, store.CountDeleted: &v.Deleted, store.CountPurged: &v.Purged} {
			if *n, err = tx.Counter(acc.ID, name); err != nil {
				return err
			}
		}
		return nil
	})
	return v, err
}

// theAccount gives the account that a request is about. There is one; naming another will come with
// the access of the server.
func theAccount(tx *store.Tx) (*crm.Account, error) {
	all, err := tx.Accounts()
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, crm.Errorf("find the account", crm.CodeNotFound, "the store has %d accounts, not one", len(all)).
			WithHint("reprieve init makes the first one")
	}
	return &all[0], nil
}

func days(n crm.Nanos) string { return n.Days() }

// EventStatus says how far the dispatcher is behind the log.
type EventStatus struct {
	Waiting int    `json:"waiting"` // entries not yet looked at; at most 1001
	Log     uint64 `json:"log,omitempty"`
}

func eventStatus(c *call, _ None) (EventStatus, error) {
	var v EventStatus
	err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
		v.Waiting, err = c.Engine.Backlog(tx)
		return err
	})
	return v, err
}
