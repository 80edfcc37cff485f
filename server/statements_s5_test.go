package server

import (
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// TestS5_Kyrios is Kyrios's page on deleting and restoring.
func TestS5_Kyrios(t *testing.T) { prove(t, statementsS5()) }

func statementsS5() []statement {
	return []statement{
		{"S5.1 the contact leaves the active list", "kyrios", func(w *story) {
			w.everything()
			w.remove(w.id())
			w.expect("the active list", w.live(ContactList{}), []string{"bob@example.com"})
			w.expect("counted", ask[AccountView](w.rig, "account.show", None{}).Live, 1)
		}},
		{"S5.2 its related data leaves with it", "kyrios", func(w *story) {
			w.everything()
			d := w.remove(w.id())
			for _, kind := range []string{"conversation", "message", "note", "task", "appointment", "manual_action"} {
				w.expect("took the "+kind, d.Took[kind], 1)
			}
			w.expect("took the deals", d.Took["opportunity"], 2)
			w.no("record.list", RecordList{ID: w.id()}, crm.CodeDeleted)
			w.no("opportunity.list", OpportunityList{ObjectList: ObjectList{Contact: w.id()}}, crm.CodeDeleted)
			w.expect("hers alone", w.deal("Sole").State, "with_contacts")
		}},
		{"S5.3 it is kept in the restore area for 60 days", "kyrios", func(w *story) {
			id := w.people(1)[0]
			w.pass(60*crm.Day - 1)
			found := w.deleted(DeletedFilter{})
			w.expect("kept", len(found), 1)
			w.expect("it", found[0].ID, id)
			w.restore(id)
		}},
		{"S5.4 after them it may be purged, and until then restored", "kyrios", func(w *story) {
			ids := w.people(2)
			w.says("the question", ask[PolicyView](w.rig, "policy.show", None{}).AskDelete, "until a sweep has purged it")
			w.clock.Advance(60 * 24 * 3600 * 1e9) // and no sweep has come
			w.restore(ids[0])
			w.policy("retention.after_window", "refuse") // the other documents have it so (S1.9)
			w.no("contact.restore", ContactRestore{ID: ids[1], Confirm: "yes"}, crm.CodeWindowPassed)
			w.policy("retention.after_window", "allow_until_purged")
			w.expect("swept", ask[Swept](w.rig, "retention.sweep", RetentionSweep{Confirm: "PURGE"}).Purged, 1)
			w.no("contact.restore", ContactRestore{ID: ids[1], Confirm: "yes"}, crm.CodePurged)
			w.expect("the restored one", w.see(ids[0]).State, crm.Live)
		}},
		{"S5.5 DELETE is typed after a review", "kyrios", func(w *story) {
			w.everything()
			p := ask[Preview](w.rig, "contact.preview", ContactPreview{ID: w.id(), Act: ActDelete})
			w.expect("its word", p.Word, "DELETE")
			w.says("the warning", p.Text, "This deletes 1 contact.", "Conversations, notes, tasks, appointments, manual actions")
			w.no("contact.delete", ContactDelete{ID: w.id(), Confirm: "yes"}, crm.CodeConfirm)
			w.remove(w.id())
		}},
		{"S5.6 a restore is selected and confirmed", "kyrios", func(w *story) {
			ids := w.people(2)
			w.no("bulk.restore", BulkRestore{IDs: ids}, crm.CodeConfirm)
			w.expect("restored", ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids, Confirm: "yes", Wait: true}).Operation.Done, 2)
		}},
		{"S5.7 the contact is back at once with everything", "kyrios", func(w *story) {
			w.everything()
			was := w.portrait(w.id())
			w.remove(w.id())
			w.restore(w.id())
			w.same(w.id(), was) // in the same instant, before anything ran
		}},
		{"S5.8 a bulk restore from the delete action, in the background", "kyrios", func(w *story) {
			ids := w.people(3)
			op := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids, Confirm: "yes"}).Operation
			w.expect("at first", []any{op.State, op.Done}, []any{crm.OperationRunning, 0})
			w.settle()
			w.expect("then", ask[OperationView](w.rig, "bulk.get", OperationID{op.ID}).Done, 3)
			w.later("bulk.reverse")
		}},
		{"S5.9 its status is Complete", "kyrios", func(w *story) {
			op := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: w.people(2), Confirm: "yes"}).Operation
			w.settle()
			w.expect("it", ask[OperationView](w.rig, "bulk.get", OperationID{op.ID}).State, crm.OperationComplete)
			w.later("bulk.reverse") // Complete · Restored, of the delete
		}},
		{"S5.10 manual actions are restored", "kyrios", func(w *story) {
			w.associated()
			q := RecordList{ID: w.id(), Kinds: []string{"manual_action"}}
			was := ask[RecordPage](w.rig, "record.list", q)
			w.remove(w.id())
			w.expect("the receipt", became(w.restore(w.id()), crm.ManualAction, "a manual_action"), "restored")
			w.expect("it", ask[RecordPage](w.rig, "record.list", q), was)
		}},
		{"S5.11 nothing has to be set up", "", func(w *story) {
			w.everything()
			was := w.portrait(w.id())
			w.remove(w.id())
			w.restore(w.id())
			w.same(w.id(), was)
		}},
		{"S5.12 who is missing from the restore area was purged, and that is said", "kyrios", func(w *story) {
			id := w.people(1)[0]
			w.pass(61 * crm.Day)
			w.expect("the restore area", len(w.deleted(DeletedFilter{})), 0)
			for verb, q := range map[string]any{
				"contact.get":     ContactID{ID: id, Deleted: true},
				"contact.restore": ContactRestore{ID: id, Confirm: "yes"},
				"contact.preview": ContactPreview{ID: id, Act: ActRestore},
			} {
				w.says(verb, w.no(verb, q, crm.CodePurged), "it was purged at "+w.now().String()+" and cannot come back")
			}
			w.expect("counted", ask[AccountView](w.rig, "account.show", None{}).Purged, 1)
		}},
		{"S5.13 only a bulk delete can be reversed as a whole", "kyrios", func(w *story) {
			op := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: w.people(1), Confirm: "yes", Wait: true}).Operation
			w.expect("a restore", op.Verb, crm.VerbRestore)
			w.later("bulk.reverse")
		}},
		{"S5.14 a restored contact that a filter hides is there without it", "kyrios", func(w *story) {
			w.associated()
			w.remove(w.id())
			w.restore(w.id())
			w.expect("under another tag", w.live(ContactList{Tag: "Cold"}), []string{})
			w.expect("without a filter", w.live(ContactList{}), []string{"ada@example.com", "bob@example.com"})
			w.expect("under its own", w.live(ContactList{Tag: "vip"}), []string{"ada@example.com"})
		}},
		{"S5.15 60 days, to the nanosecond", "kyrios", func(w *story) {
			w.clock.Advance(123456789)
			d := w.remove(w.contact("x@example.com").ID.String())
			w.expect("the deadline", d.Manifest.RestorableUntil-d.Manifest.At, 60*crm.Day)
			w.clock.Advance(60*24*3600*1e9 - 1)
			w.expect("swept", ask[Swept](w.rig, "retention.sweep", RetentionSweep{Confirm: "PURGE"}).Purged, 0)
			w.clock.Advance(1)
			w.expect("swept", ask[Swept](w.rig, "retention.sweep", RetentionSweep{Confirm: "PURGE"}).Purged, 1)
		}},
	}
}
