package store

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// TagID gives the id of an account's tag: a tag is its name, folded, so the id is made from it.
func TagID(acc crm.AccountID, name string) crm.ItemID {
	h := sha256.New()
	h.Write(acc[:])
	h.Write([]byte{byte(crm.TagItem)})
	h.Write([]byte(crm.Fold(strings.TrimSpace(name))))
	id := crm.ItemID(h.Sum(nil)[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: made from a name
	return id
}

// mayTag refuses a tag that is just being taken off everybody.
func mayTag(acc *crm.Account, name string) error {
	if len(acc.Leaving) > 0 && slices.Contains(acc.Leaving, TagID(acc.ID, name)) {
		return crm.Errorf("add a tag", crm.CodeRunning, "the tag %s is being deleted", TagID(acc.ID, name)).WithHint("try again in a moment")
	}
	return nil
}

// DeleteTag deletes a tag of the account: contacts that are deleted do not get it back (S3.17), and the
// engine takes it off the live ones, chunk by chunk, which starts nothing. Its name is forgotten then:
// whatever somebody wrote into a tag is as personal as the contacts that carry it.
func (tx *Tx) DeleteTag(by crm.Actor, why crm.Cause, acc crm.AccountID, name string) error {
	const op = "delete a tag"
	a, err := tx.Account(acc)
	if err != nil {
		return err
	}
	if err := tx.allowed(op, a, by, why, crm.VerbWrite, crm.ContactID{}); err != nil {
		return err
	}
	if err := mayTag(a, name); err != nil {
		return err
	}
	gone := crm.Object{Account: acc, Kind: crm.TagItem, ID: TagID(acc, name), Name: strings.TrimSpace(name), Deleted: crm.Mark{At: tx.now, By: by.ID}, Gone: tx.now}
	if _, err := tx.objects.get(tx.ctx, gone.Key()); err != nil {
		return err
	}
	next := *a
	next.Leaving = append(slices.Clone(a.Leaving), gone.ID)
	tx.accounts.put(acc, &next)
	return tx.putObject(by, why, &gone)
}

// tagGone says whether a tag was deleted since an instant, even if contacts carry one of that name again.
func tagGone(acc *crm.Account, o *crm.Object, since crm.Nanos) bool {
	return o != nil && (slices.Contains(acc.Leaving, o.ID) || o.Gone != 0 && o.Gone >= since)
}

// Untag takes a tag that is being deleted off live contacts, and with done says that nobody carries it
// any more. since is the instant of the deletion that the caller is about: with another one under way it
// does nothing.
func (tx *Tx) Untag(by crm.Actor, acc crm.AccountID, tag crm.ItemID, since crm.Nanos, from []crm.Key, done bool) error {
	a, err := tx.Account(acc)
	if err != nil || !slices.Contains(a.Leaving, tag) {
		return err
	}
	o, err := tx.objects.get(tx.ctx, crm.ObjectKey{Account: acc, Kind: crm.TagItem, ID: tag})
	if err != nil || o == nil || o.Deleted.At != since {
		return err
	}
	for _, k := range from {
		life, err := tx.Life(k)
		if err != nil {
			return err
		}
		if life.State != crm.Live {
			continue // its restore will see that the tag is gone
		}
		if _, err := tx.Apply(by, crm.Cause{Kind: crm.ByAccount}, crm.RemoveTag{Contact: k, Tag: o.Name}); err != nil {
			return err
		}
	}
	if done {
		gone := *o
		gone.Name, gone.Gone = "", tx.now // who was deleted while it was being taken off has lost it too
		tx.objects.put(o.Key(), &gone)
		next := *a
		next.Leaving = slices.DeleteFunc(slices.Clone(a.Leaving), func(id crm.ItemID) bool { return id == tag })
		tx.wrote = true
		tx.accounts.put(acc, &next)
	}
	return nil
}
