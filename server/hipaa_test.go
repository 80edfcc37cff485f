package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
)

// ward is an account that is a HIPAA account, and the contacts that are deleted in it: one from before it
// became one, one from after. None of them may ever be live again.
type ward struct {
	*rig
	live, before, after crm.Key
}

// newWard makes the account by what a verb's request needs.
func newWard(t *testing.T, host *plugins.Host, verb string, corrupt func(string, any)) (w ward, q any, in io.Reader) {
	t.Helper()
	w.rig = sharedRig(t, host, corrupt)
	if verb == "account.create" { // its own request is for a store without one
		w.request("contact.get")
		q = AccountCreate{Name: "main"}
	} else {
		q, in = w.request(verb)
	}
	w.live, w.before = w.named("ada@example.com"), w.named("bob@example.com")
	late := w.contact("late@example.com").ID
	ask[AccountView](w.rig, "account.hipaa", AccountHIPAA{Confirm: "HIPAA"})
	w.delete(late, "")
	w.after = crm.Key{Account: w.live.Account, Contact: late}
	return w, q, in
}

func (r *rig) named(email string) (k crm.Key) {
	r.t.Helper()
	r.must(r.app.Store.View(r.t.Context(), func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		keys, err := tx.Find(acc.ID, "email", email, crm.LiveOrDead)
		if err == nil && len(keys) > 0 {
			k = keys[0]
		}
		return err
	}))
	return k
}

// broken says what of the promise does not hold: the flag is on, and who was deleted is not live.
func (w ward) broken(since string) (wrong []string) {
	w.t.Helper()
	w.must(w.app.Store.View(w.t.Context(), func(tx *store.Tx) error {
		wrong = nil
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if !acc.HIPAA {
			wrong = append(wrong, since+": the account is no HIPAA account any more")
		}
		for when, k := range map[string]crm.Key{"before": w.before, "after": w.after} {
			life, err := tx.Life(k)
			if err != nil {
				return err
			}
			if life.State == crm.Live {
				wrong = append(wrong, fmt.Sprintf("%s: a contact that was deleted %s the account became a HIPAA account is live", since, when))
			}
		}
		return nil
	}))
	return wrong
}

// targets are the ways to turn a good request on the deleted ones: whom it names is another one.
func (w ward) targets() []*strings.Replacer {
	names := func(k crm.Key, email string) []string { return []string{k.Contact.String(), email} }
	live, before, after := names(w.live, "ada@example.com"), names(w.before, "bob@example.com"), names(w.after, "late@example.com")
	var all []*strings.Replacer
	for _, to := range [][]string{nil, before, after} {
		var pairs []string
		for i := range to {
			pairs = append(pairs, live[i], to[i], before[i], to[i], after[i], to[i])
		}
		all = append(all, strings.NewReplacer(pairs...))
	}
	return all
}

// through calls a verb of a HIPAA account with its good request, as an admin, turned on each of the
// contacts in its turn, and says what it broke.
func through(t *testing.T, host *plugins.Host, handlers map[string]handler, verb string, corrupt func(string, any)) (wrong []string) {
	t.Helper()
	admin := crm.Actor{ID: "user:test", Role: crm.Admin}
	for _, asking := range []string{verb, "contact.restore"} { // a verb's own request, and one that names a deleted contact
		w, q, in := newWard(t, host, asking, corrupt)
		raw, err := json.Marshal(q)
		w.must(err)
		for _, to := range w.targets() {
			if s, ok := in.(io.Seeker); ok {
				_, err := s.Seek(0, io.SeekStart)
				w.must(err)
			}
			_, err := handlers[verb](t.Context(), w.app, admin, []byte(to.Replace(string(raw))), in)
			if verb == "contact.restore" && crm.CodeOf(err) != crm.CodeHIPAA && crm.CodeOf(err) != crm.CodeNotDeleted {
				wrong = append(wrong, fmt.Sprintf("%s: %v", verb, err))
			}
		}
		w.must(w.app.Engine.Settle(t.Context()))
		wrong = append(wrong, w.broken(verb)...)
	}
	return wrong
}

// TestHIPAAThroughEveryVerb goes through all the verbs that there are: none of them brings a contact of a
// HIPAA account back, or takes the flag away.
func TestHIPAAThroughEveryVerb(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	for _, verb := range Verbs() {
		for _, w := range through(t, host, verbs, verb, nil) {
			t.Error(w)
		}
	}
}

// TestHIPAAFindsPlantedBugs plants ways round the flag that the walk through the verbs must find.
func TestHIPAAFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	account := func(plant func(*crm.Account)) func(string, any) {
		return func(_ string, row any) {
			if a, ok := row.(*crm.Account); ok {
				plant(a)
			}
		}
	}
	revive := func(when func(*crm.Life) bool) func(string, any) {
		return func(_ string, row any) {
			if l, ok := row.(*crm.Life); ok && l.State == crm.Deleted && when(l) {
				l.State = crm.Live
			}
		}
	}
	var undo atomic.Bool // as a new verb that goes round the rules would
	undelete := func(ctx context.Context, a *App, by crm.Actor, request []byte, _ io.Reader) (any, error) {
		var q ContactID
		if err := json.Unmarshal(request, &q); err != nil {
			return nil, err
		}
		undo.Store(true)
		defer undo.Store(false)
		return None{}, a.Store.Update(ctx, func(tx *store.Tx) error {
			k, err := (&call{App: a, ctx: ctx, by: by}).key(tx, q.ID, crm.OnlyDeleted)
			if err == nil {
				_, err = tx.Apply(by, crm.Cause{Kind: crm.ByPerson}, crm.Hold{Contact: k, On: true})
			}
			return err
		})
	}
	for _, plant := range []struct {
		bug     string
		add     handler
		corrupt func(string, any)
	}{
		{bug: "the flag is not kept", corrupt: account(func(a *crm.Account) { a.HIPAA = false })},
		{bug: "a changed policy drops the flag", corrupt: account(func(a *crm.Account) { a.HIPAA = a.HIPAA && a.Policy.Retention.Window == 60*crm.Day })},
		{bug: "a hold brings a contact back", corrupt: revive(func(l *crm.Life) bool { return l.Held })},
		{bug: "a new verb undoes deletions", add: undelete, corrupt: revive(func(*crm.Life) bool { return undo.Load() })},
	} {
		t.Run(plant.bug, func(t *testing.T) {
			t.Parallel()
			handlers := maps.Clone(verbs)
			if plant.add != nil {
				handlers = map[string]handler{"contact.undelete": plant.add}
			}
			for _, verb := range sortedKeys(handlers) {
				if len(through(t, host, handlers, verb, plant.corrupt)) > 0 {
					return
				}
			}
			t.Errorf("no verb showed that %s", plant.bug)
		})
	}
}

// TestHIPAAUnderEveryPolicy sets every preset, and every switch that has to do with restores, and tries
// then: the flag is above all of them.
func TestHIPAAUnderEveryPolicy(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	w, _, _ := newWard(t, host, "contact.get", nil)
	sets := []map[string]any{{"restore.enabled": false}, {"restore.enabled": true}, {"retention.after_window": "allow_until_purged"},
		{"restore.conflict": "drop_identifier"}, {"retention.window": "1d"}}
	for _, name := range crm.PresetNames() {
		sets = append(sets, map[string]any{"preset": name}, map[string]any{"preset": name, "restore.enabled": true})
	}
	for _, set := range sets {
		ask[PolicySetAnswer](w.rig, "policy.set", PolicySet{Set: set})
		for _, k := range []crm.Key{w.before, w.after} {
			id := k.Contact.String()
			w.refused("contact.restore", ContactRestore{ID: id, Confirm: "yes"}, crm.CodeHIPAA)
			w.refused("bulk.restore", BulkRestore{IDs: []string{id}, Confirm: "yes"}, crm.CodeHIPAA)
			if v := ask[Preview](w.rig, "contact.preview", ContactPreview{ID: id, Act: ActRestore}); len(v.Obstacles) == 0 || v.Obstacles[0].Code != crm.CodeHIPAA {
				t.Errorf("%v: the preview of a restore names %v", set, v.Obstacles)
			}
		}
		for _, wrong := range w.broken(fmt.Sprint(set)) {
			t.Error(wrong)
		}
	}
	w.refused("account.create", AccountCreate{Name: "other"}, crm.CodeConflict)
}

// TestHIPAAForEveryCause has everybody who may restore try it, people, imports and workflows under every
// grant there is.
func TestHIPAAForEveryCause(t *testing.T) {
	t.Parallel()
	w, _, _ := newWard(t, newHost(t), "contact.get", nil)
	admin := crm.Actor{ID: "user:test", Role: crm.Admin}
	robot := crm.Actor{ID: "workflow:nightly", Role: crm.System}
	w.must(w.app.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ApplyWorkflow(admin, w.live.Account, "nightly", "r1", "nightly.yaml", []byte("x"),
			[]string{string(crm.VerbDelete), string(crm.VerbRestore), string(crm.VerbPurge), string(crm.VerbErase)})
		return err
	}))
	for _, kind := range []crm.CauseKind{crm.ByPerson, crm.ByImport, crm.ByWorkflow, crm.ByRestore, crm.ByInbound, crm.ByRetention, crm.ByAccount} {
		for _, by := range []crm.Actor{admin, robot} {
			for _, k := range []crm.Key{w.before, w.after} {
				err := w.app.Store.Update(t.Context(), func(tx *store.Tx) error {
					_, err := tx.Apply(by, crm.Cause{Kind: kind, Workflow: "nightly", Depth: 1}, crm.Restore{Contact: k})
					return err
				})
				want := crm.CodeHIPAA
				if by == robot && kind != crm.ByWorkflow {
					want = crm.CodeDenied
				}
				if crm.CodeOf(err) != want {
					t.Errorf("a restore by %s, cause %s: %v, not %s", by.Role, kind, err, want)
				}
			}
		}
	}
	for _, wrong := range w.broken("causes") {
		t.Error(wrong)
	}
}

// TestHIPAADuringABulkRestore sets the flag while a bulk restore runs: what it restored before is live, and
// it restores nothing after, ends, and keeps no sweep out.
func TestHIPAADuringABulkRestore(t *testing.T) {
	t.Parallel()
	for done := range 4 {
		t.Run(fmt.Sprintf("after %d of 3", done), func(t *testing.T) {
			t.Parallel()
			r := sharedRig(t, newHost(t), nil)
			r.account()
			var ids []string
			var keys []crm.Key
			for i := range 3 {
				email := fmt.Sprintf("c%d@example.com", i)
				r.delete(r.contact(email).ID, "")
				keys = append(keys, r.named(email))
				ids = append(ids, keys[i].Contact.String())
			}
			op := ask[BulkAnswer](r, "bulk.restore", BulkRestore{IDs: ids, Confirm: "yes"}).Operation
			if done > 0 {
				r.must(r.app.Store.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Work(op.ID, done); return err }))
			}
			ask[AccountView](r, "account.hipaa", AccountHIPAA{Confirm: "HIPAA"})
			op, err := r.app.Engine.Work(t.Context(), op.ID, 0)
			r.must(err)
			if op.State == crm.OperationRunning || op.Done != done || op.Refused != 3-done {
				t.Errorf("it is %s with %d done and %d refused", op.State, op.Done, op.Refused)
			}
			for _, refused := range ask[OperationView](r, "bulk.get", OperationID{op.ID}).RefusedContacts {
				if refused.Code != crm.CodeHIPAA {
					t.Errorf("%s was refused as %s", refused.Contact, refused.Code)
				}
			}
			live := 0
			r.must(r.app.Store.View(t.Context(), func(tx *store.Tx) error {
				live = 0
				for _, k := range keys {
					life, err := tx.Life(k)
					if err != nil {
						return err
					}
					if life.State == crm.Live {
						live++
					}
				}
				return nil
			}))
			if live != done {
				t.Errorf("%d are live", live)
			}
			r.clock.Advance(61 * 24 * time.Hour)
			if swept := ask[Swept](r, "retention.sweep", RetentionSweep{Confirm: "PURGE"}); swept.Purged != 3-done {
				t.Errorf("the sweep after it: %+v", swept)
			}
		})
	}
}
