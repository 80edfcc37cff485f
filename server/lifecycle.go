package server

import (
	"errors"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// ContactDelete deletes one named contact. Confirm is the word that the policy asks for. Exported is the
// sha256 of the contact's export, where the policy wants one first: it is compared with what the
// contact is at the delete.
type ContactDelete struct {
	ID       string `json:"id"`
	Confirm  string `json:"confirm,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Exported string `json:"exported_sha256,omitempty"`
}

// Deletion is a delete with its manifest.
type Deletion struct {
	Contact  crm.ContactID  `json:"contact"`
	Manifest *crm.Manifest  `json:"manifest"`
	Took     map[string]int `json:"took"` // kind → number
	// Restorable says whether it can be undone until the manifest's restorable_until; else it is purged from then on.
	Restorable bool `json:"restorable"`
}

func deletion(m *crm.Manifest) Deletion {
	v := Deletion{Contact: m.Contact, Manifest: m, Took: map[string]int{}}
	if m.Items == nil {
		m.Items = []crm.ManifestItem{}
	}
	for _, it := range m.Items {
		v.Took[it.Kind.String()]++
	}
	return v
}

func contactDelete(c *call, q ContactDelete) (Deletion, error) {
	const op = "delete a contact"
	var v Deletion
	var done crm.Event
	var restorable bool
	if err := checkReason(op, q.Reason); err != nil {
		return v, err
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		restorable = acc.RestoreEnabled()
		if _, word := acc.AskDelete(1); q.Confirm != word && word != "" {
			return crm.Errorf(op, crm.CodeConfirm, "it has to be confirmed by the word %s", word).
				WithHint("--confirm %s; reprieve contact preview delete shows what it would do", word)
		}
		k, err := c.key(tx, q.ID, crm.OnlyLive)
		if err != nil {
			return err
		}
		if err := c.sameExport(tx, acc, k, q.Exported); err != nil {
			return err
		}
		evs, err := tx.Apply(c.by, c.why(), crm.Delete{Contact: k, Reason: q.Reason, Exported: q.Exported})
		if err == nil {
			done = evs[0]
		}
		return err
	})
	if err != nil {
		return v, err
	}
	// What is read grows with the contact, and the writer is not to be held for it.
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		m, err := tx.Manifest(crm.Key{Account: done.Account, Contact: done.Contact}, done.Epoch)
		if m == nil { // purged meanwhile
			m = &crm.Manifest{Contact: done.Contact, Epoch: done.Epoch, At: done.At, RestorableUntil: done.Data.Until, By: done.By, Why: done.Why}
		}
		v = deletion(m)
		v.Restorable = restorable
		return err
	})
	return v, err
}

// sameExport wants an export that was taken before a delete to be of what is about to be deleted.
func (c *call) sameExport(tx *store.Tx, acc *crm.Account, k crm.Key, sum string) error {
	const op = "delete a contact"
	if sum == "" {
		return nil
	}
	if err := c.allow(acc, "export a contact", crm.VerbExport); err != nil {
		return err
	}
	_, now, err := exportOf(tx, k)
	if err == nil && now != sum {
		return crm.Errorf(op, crm.CodeStale, "it is not what was exported").About(k.Contact).WithHint("it changed since; export it again")
	}
	return err
}

// The acts that a preview foresees.
const (
	ActDelete  = "delete"
	ActRestore = "restore"
	ActPurge   = "purge"
)

// ContactPreview asks what an act would do to one contact. Nothing is done.
type ContactPreview struct {
	ID  string `json:"id"`
	Act string `json:"act"` // delete, restore or purge
}

// Preview is what an act would come to: it is carried out by the code of the deed and undone. Obstacles
// are why it would be refused; an act without any would be done as foreseen, if nothing changes before.
type Preview struct {
	Contact   crm.ContactID `json:"contact"`
	Act       string        `json:"act"`
	Name      string        `json:"name,omitempty"` // of the contact
	Obstacles []Obstacle    `json:"obstacles"`
	// Restorable says of a delete whether it could be undone.
	Restorable bool   `json:"restorable,omitempty"`
	Text       string `json:"text,omitempty"` // what a person is asked, made from the policy
	Word       string `json:"word,omitempty"` // that confirms it
	// Of a delete.
	Deletion *Deletion `json:"deletion,omitempty"`
	// Of a restore.
	Receipt *ReceiptView `json:"receipt,omitempty"`
}

// Obstacle is why an act would be refused.
type Obstacle struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

func contactPreview(c *call, q ContactPreview) (Preview, error) {
	const op = "preview"
	v := Preview{Act: q.Act, Obstacles: []Obstacle{}}
	want := map[string]crm.StateSet{ActDelete: crm.OnlyLive, ActRestore: crm.OnlyDeleted, ActPurge: crm.LiveOrDead}[q.Act]
	if want == 0 {
		return v, crm.Errorf(op, crm.CodeInvalid, "an act is %s, %s or %s", ActDelete, ActRestore, ActPurge).WithHint("reprieve contact preview delete CONTACT")
	}
	var k crm.Key
	var live bool
	taker := c.by // foresees what an erasure takes along: who may purge need not be let delete
	if err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
		if k, err = c.key(tx, q.ID, want); err != nil {
			return err
		}
		life, err := tx.Life(k)
		live = life.State == crm.Live
		acc, aerr := theAccount(tx)
		if err = errors.Join(err, aerr); err != nil {
			return err
		}
		v.Contact, v.Restorable = k.Contact, acc.RestoreEnabled()
		if con, _, err := tx.Peek(k); err == nil && con != nil {
			v.Name = fullName(con)
		}
		switch q.Act {
		case ActDelete:
			v.Text, v.Word = acc.AskDelete(1)
		case ActRestore:
			v.Text, v.Word = acc.AskRestore(1)
		case ActPurge:
			v.Text, v.Word = "It is gone for good at once: no restore brings it back.", "PURGE"
			if roles := acc.Policy.Permissions[crm.VerbDelete]; len(roles) > 0 {
				taker.Role = roles[0]
			}
		}
		return nil
	}); err != nil {
		return v, err
	}
	deed := map[string]crm.Mutation{ActDelete: crm.Delete{Contact: k}, ActRestore: crm.Restore{Contact: k}, ActPurge: crm.Purge{Contact: k, Erasure: true}}[q.Act]
	look := func(tx *store.Tx, ev crm.Event) error { return v.look(tx, k, ev) }
	obstacles, err := c.Store.Preview(c.ctx, c.by, c.why(), deed, look)
	if err == nil && q.Act == ActPurge && !live { // what goes is what the delete took
		err = c.Store.View(c.ctx, func(tx *store.Tx) error {
			life, err := tx.Life(k)
			if err != nil {
				return err
			}
			m, err := tx.Manifest(k, life.Epoch)
			if m != nil {
				d := deletion(m)
				v.Deletion = &d
			}
			return err
		})
	}
	if err == nil && q.Act == ActPurge && live { // an erasure takes along what a delete would
		_, err = c.Store.Preview(c.ctx, taker, c.why(), crm.Delete{Contact: k}, look)
	}
	for _, o := range obstacles {
		var e *crm.Error
		if errors.As(o, &e) {
			v.Obstacles = append(v.Obstacles, Obstacle{Code: e.Code, Text: e.Error(), Hint: e.Hint})
		}
	}
	return v, liveAlready(err)
}

// look reads what an act came to, before it is undone.
func (v *Preview) look(tx *store.Tx, k crm.Key, ev crm.Event) error {
	switch ev.Kind {
	case crm.ContactDeleted:
		m, err := tx.Manifest(k, ev.Epoch)
		if err == nil {
			d := deletion(m)
			v.Deletion = &d
		}
		return err
	case crm.ContactRestored:
		r, err := tx.Receipt(k, ev.Epoch)
		if err != nil {
			return err
		}
		view := receiptView(r, false)
		view.Waiting, err = messagesWaiting(tx, k)
		v.Receipt = &view
		return err
	}
	return nil
}

// ContactPurge erases one contact for good, at any time: for a request of the person (S2.26, S4.5).
// Confirm is the word PURGE. The reason stands in the log in the open and stays there: it must not name
// the person.
type ContactPurge struct {
	ID      string `json:"id"`
	Confirm string `json:"confirm,omitempty"`
	Reason  string `json:"reason"`
}

// Purged says what was purged.
type Purged struct {
	Contact  crm.ContactID `json:"contact"`
	PurgedAt crm.Nanos     `json:"purged_at"`
}

func contactPurge(c *call, q ContactPurge) (Purged, error) {
	const op = "purge a contact"
	var v Purged
	if q.Confirm != "PURGE" {
		return v, crm.Errorf(op, crm.CodeConfirm, "it has to be confirmed by the word PURGE").
			WithHint("--confirm PURGE; nothing brings a purged contact back")
	}
	if err := needReason(op, q.Reason, "--reason \"erasure request 2026-117\"; it stays in the audit, so it must not name the person"); err != nil {
		return v, err
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.ID, crm.LiveOrDead)
		if err != nil {
			return err
		}
		v = Purged{Contact: k.Contact, PurgedAt: tx.Now()}
		_, err = tx.Apply(c.by, c.why(), crm.Purge{Contact: k, Reason: q.Reason, Erasure: true})
		return err
	})
	return v, err
}

// needReason is checkReason for an act that is not done without one.
func needReason(op, reason, hint string) error {
	if reason == "" {
		return crm.Errorf(op, crm.CodeInvalid, "a reason is missing").WithHint("%s", hint)
	}
	return checkReason(op, reason)
}

// ContactHold puts a legal hold on a contact, deleted or not, or lifts it.
type ContactHold struct {
	ID     string `json:"id"`
	Lift   bool   `json:"lift,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func contactHold(c *call, q ContactHold) (ContactView, error) {
	const op = "hold a contact"
	if !q.Lift {
		if err := needReason(op, q.Reason, "--reason: which matter it is held for"); err != nil {
			return ContactView{}, err
		}
	}
	var v ContactView
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.ID, crm.LiveOrDead)
		if err != nil {
			return err
		}
		_, life, err := tx.Contact(k, crm.LiveOrDead)
		if err != nil {
			return err
		}
		evs, err := tx.Apply(c.by, c.why(), crm.Hold{Contact: k, On: !q.Lift, Reason: q.Reason})
		if err != nil {
			return err
		}
		if len(evs) == 0 && life.Held { // one hold for two matters would be lifted for both
			return crm.Errorf(op, crm.CodeConflict, "it is held already").About(k.Contact).
				WithHint("reprieve contact get %s --deleted says for what; lift that hold and put one on for both matters", k.Contact)
		}
		if len(evs) == 0 {
			return crm.Errorf(op, crm.CodeInvalid, "it is not held").About(k.Contact).WithHint("there is nothing to lift")
		}
		v, err = show(tx, k, crm.LiveOrDead)
		return err
	})
	return v, err
}

func contactArchive(c *call, q ContactID) (ContactView, error) {
	return c.one(q.ID, crm.OnlyLive, func(k crm.Key) crm.Mutation { return crm.Archive{Contact: k, On: true} })
}

func contactUnarchive(c *call, q ContactID) (ContactView, error) {
	return c.one(q.ID, crm.OnlyLive, func(k crm.Key) crm.Mutation { return crm.Archive{Contact: k} })
}

// one applies a mutation to one named contact and shows what it is then.
func (c *call) one(id string, want crm.StateSet, mutate func(crm.Key) crm.Mutation) (ContactView, error) {
	var v ContactView
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, id, want)
		if err != nil {
			return err
		}
		if _, err := tx.Apply(c.by, c.why(), mutate(k)); err != nil {
			return err
		}
		v, err = show(tx, k, want)
		return err
	})
	return v, err
}

// RunResume lets a suspended run go on, or all those of a contact.
type RunResume struct {
	Run     crm.RunID   `json:"run,omitzero"`
	Contact string      `json:"contact,omitempty"`
	Overdue crm.Overdue `json:"overdue"`
}

// Resumed is what became of runs that were resumed.
type Resumed struct {
	Runs    []RunView  `json:"runs"`
	Refused []Obstacle `json:"refused"` // of a contact's runs: those that could not be resumed
}

func runResume(c *call, q RunResume) (Resumed, error) {
	const op = "resume a run"
	v := Resumed{}
	if q.Run.IsZero() == (q.Contact == "") {
		return v, crm.Errorf(op, crm.CodeInvalid, "a run is named, or a contact, and not both").WithHint("reprieve run list --status suspended shows what can be resumed")
	}
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		v = Resumed{Runs: []RunView{}, Refused: []Obstacle{}}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if err := c.allow(acc, op, crm.VerbResume); err != nil { // also who names no run that there is
			return err
		}
		ids := []crm.RunID{q.Run}
		if q.Contact != "" {
			k, err := c.key(tx, q.Contact, crm.OnlyLive)
			if err != nil {
				return err
			}
			if _, _, err := tx.Contact(k, crm.OnlyLive); err != nil {
				return err
			}
			if ids, err = suspended(tx, k); err != nil {
				return err
			}
		}
		for _, id := range ids {
			r, err := tx.ResumeRun(c.by, id, q.Overdue)
			var e *crm.Error
			switch {
			case q.Contact != "" && errors.As(err, &e) && (e.Code == crm.CodeConflict || e.Code == crm.CodeNotFound):
				v.Refused = append(v.Refused, Obstacle{Code: e.Code, Text: e.Error(), Hint: e.Hint})
				continue
			case err != nil:
				return err
			}
			view, err := runView(tx, r)
			if err != nil {
				return err
			}
			v.Runs = append(v.Runs, view)
		}
		return nil
	})
	return v, err
}

// suspended lists the suspended runs of a contact.
func suspended(tx *store.Tx, k crm.Key) ([]crm.RunID, error) {
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	runs, err := tx.RunsOf(k)
	var ids []crm.RunID
	for _, r := range runs {
		if r.StatusFor(life) == crm.RunSuspended {
			ids = append(ids, r.ID)
		}
	}
	return ids, err
}

// CampaignResume lets a contact's suspended place in a campaign go on.
type CampaignResume struct {
	Campaign string      `json:"campaign"`
	Contact  string      `json:"contact"`
	Overdue  crm.Overdue `json:"overdue"`
}

func campaignResume(c *call, q CampaignResume) (ContactView, error) {
	var v ContactView
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		k, err := c.key(tx, q.Contact, crm.OnlyLive)
		if err != nil {
			return err
		}
		campaign, err := campaignCalled(tx, k.Account, q.Campaign)
		if err != nil {
			return err
		}
		if _, err := tx.Apply(c.by, c.why(), crm.ResumeEnrollment{Contact: k, Campaign: campaign, Overdue: q.Overdue}); err != nil {
			return err
		}
		v, err = show(tx, k, crm.OnlyLive)
		return err
	})
	return v, err
}

// campaignCalled names a campaign by id or name.
func campaignCalled(tx *store.Tx, acc crm.AccountID, name string) (crm.ItemID, error) {
	if id, err := crm.ParseID[crm.ItemIDKind](name); err == nil {
		return id, nil
	}
	o, err := objectNamed(tx, acc, crm.Campaign, name)
	if err != nil {
		return crm.ItemID{}, err
	}
	return o.ID, nil
}

// WorkflowID names a workflow.
type WorkflowID struct {
	ID      string `json:"id"`
	Confirm string `json:"confirm,omitempty"` // yes
}

func workflowDelete(c *call, q WorkflowID) (None, error) {
	if q.Confirm != "yes" {
		return None{}, crm.Errorf("delete a workflow", crm.CodeConfirm, "it has to be confirmed").WithHint("--yes; its unfinished runs end")
	}
	return None{}, c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		return tx.DeleteWorkflow(c.by, acc.ID, q.ID)
	})
}

// contactManifest gives what the present deletion of a contact took along or cut off.
func contactManifest(c *call, q ContactID) (Deletion, error) {
	var v Deletion
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		k, err := c.key(tx, q.ID, crm.OnlyDeleted)
		if err != nil {
			return err
		}
		_, life, err := tx.Contact(k, crm.OnlyDeleted)
		if err != nil {
			return liveAlready(err)
		}
		m, err := tx.Manifest(k, life.Epoch)
		if m != nil {
			v = deletion(m)
			v.Restorable = acc.RestoreEnabled()
		}
		return err
	})
	return v, err
}

// runCancel ends an unfinished run, one that stands still too.
func runCancel(c *call, q RunID) (RunView, error) {
	const op = "cancel a run"
	var v RunView
	err := c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if err := c.allow(acc, op, crm.VerbResume); err != nil {
			return err
		}
		r, err := tx.Run(q.ID)
		if err != nil {
			return err
		}
		if r == nil {
			return crm.Errorf(op, crm.CodeNotFound, "there is no run %s", q.ID).WithHint("reprieve run list shows what there is")
		}
		if err := tx.CancelRun(r); err != nil {
			return err
		}
		if r, err = tx.Run(q.ID); err == nil {
			v, err = runView(tx, r)
		}
		return err
	})
	return v, err
}
