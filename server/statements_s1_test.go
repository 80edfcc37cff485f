package server

import (
	"fmt"
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// TestS1_HighLevelRestore is HighLevel's page on restoring.
func TestS1_HighLevelRestore(t *testing.T) { prove(t, statementsS1()) }

func statementsS1() []statement {
	return []statement{
		{"S1.1 one contact is restored", "highlevel", func(w *story) {
			w.everything()
			was := w.portrait(w.id())
			w.remove(w.id())
			w.expect("live", w.live(ContactList{}), []string{"bob@example.com"})
			w.restore(w.id())
			w.same(w.id(), was)
		}},
		{"S1.2 several, or all in the list", "highlevel", func(w *story) {
			ids := w.people(5)
			a := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids[:2], Confirm: "yes", Wait: true})
			w.expect("of two", []int{a.Operation.Done, a.Operation.Refused}, []int{2, 0})
			w.expect("left", len(w.deleted(DeletedFilter{})), 3)
			q := w.all(DeletedFilter{})
			q.Wait = true
			a = ask[BulkAnswer](w.rig, "bulk.restore", q)
			w.expect("of the others", a.Operation.Done, 3)
			w.expect("live", len(w.live(ContactList{})), 5)
		}},
		{"S1.3 a bulk delete is reversed as a whole", "highlevel", func(w *story) {
			ids := w.people(3) // what one person deleted can be taken back as a whole today
			w.contact("x@example.com")
			w.expect("somebody else's", w.code("user:other", crm.Admin, "contact.delete", ContactDelete{ID: "x@example.com", Confirm: "DELETE"}, nil), "")
			q := w.all(DeletedFilter{By: "user:test"})
			q.Wait = true
			w.expect("restored", ask[BulkAnswer](w.rig, "bulk.restore", q).Operation.Done, len(ids))
			w.expect("left", len(w.deleted(DeletedFilter{})), 1)
			w.later("bulk.delete", "bulk.reverse")
		}},
		{"S1.4 tasks, workflows and messages, unless deleted separately", "highlevel", func(w *story) {
			w.everything()
			ask[RecordItem](w.rig, "record.delete", RecordDelete{Contact: w.id(), Record: w.kinds["task"]})
			w.remove(w.id())
			r := w.restore(w.id())
			w.expect("there", w.there(w.id()), slices.DeleteFunc(slices.Clone(everyKind), func(k string) bool { return k == "task" }))
			w.expect("the task", became(r, crm.Task, ""), "skipped deleted_separately")
			w.expect("the message", became(r, crm.Message, ""), "restored")
			w.expect("the run", became(r, crm.WorkflowRun, ""), "suspended")
			ask[RecordItem](w.rig, "record.delete", RecordDelete{Contact: w.id(), Record: w.conv})
			w.remove(w.id())
			r = w.restore(w.id())
			w.expect("a message of a conversation deleted separately", became(r, crm.Message, ""), "skipped deleted_separately")
		}},
		{"S1.5 the full history with notes and appointments", "highlevel", func(w *story) {
			w.everything()
			was := w.portrait(w.id())
			before := ask[HistoryPage](w.rig, "contact.history", ContactHistory{ID: w.id()}).Entries
			w.remove(w.id())
			w.pass(7 * crm.Day)
			w.restore(w.id())
			w.same(w.id(), was)
			after := ask[HistoryPage](w.rig, "contact.history", ContactHistory{ID: w.id()}).Entries
			w.expect("the latest two", []crm.EventKind{after[0].Event, after[1].Event}, []crm.EventKind{crm.ContactRestored, crm.ContactDeleted})
			w.expect("what was before", after[2:], before)
		}},
		{"S1.6 a bulk delete is reversed with one click", "highlevel", func(w *story) { w.later("bulk.reverse") }},
		{"S1.7 the contact's data is back by itself", "highlevel", func(w *story) {
			w.associated()
			w.remove(w.id())
			w.pass(crm.Day)
			w.restore(w.id())
			is, was := w.see(w.id()), w.ada
			was.Epoch += 2
			w.expect("the contact", is, was)
		}},
		{"S1.8 a HIPAA account restores nothing", "highlevel", func(w *story) {
			w.associated()
			w.remove(w.id())
			ask[AccountView](w.rig, "account.hipaa", AccountHIPAA{Confirm: "HIPAA"})
			w.remove(w.bob.ID.String())
			w.policy("preset", "kyrios")
			w.policy("restore.enabled", true)
			for _, id := range []string{w.id(), w.bob.ID.String()} {
				w.says("the refusal", w.no("contact.restore", ContactRestore{ID: id, Confirm: "yes"}, crm.CodeHIPAA), "HIPAA")
				w.no("bulk.restore", BulkRestore{IDs: []string{id}, Confirm: "yes"}, crm.CodeHIPAA)
			}
			w.no("bulk.restore", BulkRestore{Filter: &DeletedFilter{}, Plan: true}, crm.CodeHIPAA)
			w.expect("still deleted", len(w.deleted(DeletedFilter{})), 2)
			w.expect("the account", ask[AccountView](w.rig, "account.show", None{}).HIPAA, true)
		}},
		{"S1.9 within 60 days only", "highlevel", func(w *story) {
			ids := w.people(2)
			w.clock.Advance(60*24*3600*1e9 - 1)
			w.restore(ids[0])
			w.clock.Advance(1)
			w.no("contact.restore", ContactRestore{ID: ids[1], Confirm: "yes"}, crm.CodeWindowPassed)
			op := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids[1:], Confirm: "yes", Wait: true}).Operation
			w.expect("in bulk", op.State, crm.OperationErrors)
			w.expect("why", ask[OperationView](w.rig, "bulk.get", OperationID{op.ID}).RefusedContacts[0].Code, crm.CodeWindowPassed)
		}},
		{"S1.10 then it is gone for good", "highlevel", func(w *story) {
			w.everything()
			w.remove(w.id())
			w.pass(60 * crm.Day)
			for verb, q := range map[string]any{
				"contact.get":     ContactID{ID: w.id(), Deleted: true},
				"contact.restore": ContactRestore{ID: w.id(), Confirm: "yes"},
				"contact.export":  ContactID{ID: w.id()},
				"record.list":     RecordList{ID: w.id()},
			} {
				w.no(verb, q, crm.CodePurged)
			}
			w.no("contact.get", ContactID{ID: "ada@example.com", Deleted: true}, crm.CodeNotFound)
			w.expect("her runs", ask[RunPage](w.rig, "run.list", RunList{}).Total, 0)
			w.expect("her deal", len(ask[OpportunityPage](w.rig, "opportunity.list", OpportunityList{Deleted: true}).Items), 0)
			w.expect("purged", ask[AccountView](w.rig, "account.show", None{}).Purged, 1)
			ask[AuditView](w.rig, "audit.verify", None{})
		}},
		{"S1.11 opportunities are restored", "highlevel", func(w *story) {
			w.associated()
			sole, shared := w.deal("Sole"), w.deal("Shared")
			w.remove(w.id())
			w.expect("hers alone, meanwhile", w.deal("Sole").State, "with_contacts")
			w.expect("the shared one, meanwhile", w.deal("Shared").Contacts, []crm.ContactID{w.bob.ID})
			r := w.restore(w.id())
			w.expect("hers alone", w.deal("Sole"), sole)
			w.expect("the shared one", w.deal("Shared"), shared)
			w.expect("its primary", w.deal("Shared").Primary, w.ada.ID)
			w.expect("the receipt", became(r, crm.Opportunity, "Sole"), "restored")
		}},
		{"S1.12 notes, tasks, conversations and appointments are restored", "highlevel", func(w *story) {
			w.associated()
			was := ask[RecordPage](w.rig, "record.list", RecordList{ID: w.id()})
			w.remove(w.id())
			w.restore(w.id())
			w.expect("records", ask[RecordPage](w.rig, "record.list", RecordList{ID: w.id()}), was)
			w.expect("kinds", w.there(w.id()), everyKind)
		}},
		{"S1.13 workflow and campaign participation is restored, suspended", "highlevel", func(w *story) {
			w.everything()
			w.remove(w.id())
			r := w.restore(w.id())
			w.expect("the receipt", []string{became(r, crm.WorkflowRun, "nurture"), became(r, crm.Campaign, "Spring")}, []string{"suspended", "suspended"})
			run := ask[RunView](w.rig, "run.get", RunID{w.run.ID})
			w.expect("the run", []any{run.Status, run.Step}, []any{crm.RunSuspended, "rest"})
			w.pass(31 * crm.Day)
			w.expect("a month later", ask[RunView](w.rig, "run.get", RunID{w.run.ID}).Status, crm.RunSuspended)
			ask[Resumed](w.rig, "run.resume", RunResume{Run: w.run.ID, Overdue: crm.OverdueFire})
			ask[ContactView](w.rig, "campaign.resume", CampaignResume{Campaign: "Spring", Contact: w.id(), Overdue: crm.OverdueFire})
			w.settle()
			w.expect("the run, resumed", ask[RunView](w.rig, "run.get", RunID{w.run.ID}).Status, crm.RunCompleted)
			w.expect("the campaign's members", w.members("campaign.list", "Spring"), 1)
			w.expect("due", len(ask[DuePage](w.rig, "campaign.due", CampaignDue{Campaign: "Spring"}).Items), 1)
		}},
		{"S1.14 deleted contacts are listed, and selected one by one or all", "highlevel", func(w *story) {
			ids := w.people(3)
			found := map[string]string{}
			for _, v := range w.deleted(DeletedFilter{}) {
				found[v.ID.String()] = fmt.Sprint(v.State, v.Email, v.RestorableUntil, v.Tombstone.By)
			}
			for i, id := range ids {
				w.expect("it", found[id], fmt.Sprint(crm.Deleted, fmt.Sprintf("p%d@example.com", i), w.now()+60*crm.Day, "user:test"))
			}
			w.expect("listed", len(found), 3)
			w.expect("by checkbox", ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: []string{ids[1]}, Plan: true}).Plan.Total, 1)
			w.expect("all", ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{Filter: &DeletedFilter{}, Plan: true}).Plan.Total, 3)
		}},
		{"S1.15 a restore is confirmed", "highlevel", func(w *story) {
			ids := w.people(1)
			for _, word := range []string{"", "no", "DELETE"} {
				w.no("contact.restore", ContactRestore{ID: ids[0], Confirm: word}, crm.CodeConfirm)
				w.no("bulk.restore", BulkRestore{IDs: ids, Confirm: word}, crm.CodeConfirm)
				q := w.all(DeletedFilter{})
				q.Confirm = word
				w.no("bulk.restore", q, crm.CodeConfirm)
			}
			w.expect("deleted", len(w.deleted(DeletedFilter{})), 1)
			w.restore(ids[0])
		}},
		{"S1.16 a history of all bulk operations", "highlevel", func(w *story) {
			ids := w.people(4)
			for i, reason := range []string{"one", "two"} {
				ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids[2*i : 2*i+2], Confirm: "yes", Wait: true, Reason: reason})
				w.clock.Advance(1e9)
			}
			var got []string
			for _, o := range ask[OperationPage](w.rig, "bulk.list", None{}).Operations {
				got = append(got, fmt.Sprint(o.Verb, o.By.ID, o.State, o.Total, o.Done, o.Reason))
			}
			w.expect("the history", got, []string{fmt.Sprint(crm.VerbRestore, "user:test", crm.OperationComplete, 2, 2, "one"), fmt.Sprint(crm.VerbRestore, "user:test", crm.OperationComplete, 2, 2, "two")})
			w.later("bulk.delete")
		}},
		{"S1.17 a bulk delete offers its reversal", "highlevel", func(w *story) { w.later("bulk.reverse") }},
		{"S1.18 it starts at once, and is in progress, then completed", "highlevel", func(w *story) {
			ids := w.people(3)
			op := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids, Confirm: "yes"}).Operation
			w.expect("accepted", []any{op.State, op.Accepted, op.Total}, []any{crm.OperationRunning, w.now(), 3})
			w.expect("seen", ask[OperationView](w.rig, "bulk.get", OperationID{op.ID}).State, crm.OperationRunning)
			w.settle() // no time has passed
			v := ask[OperationView](w.rig, "bulk.get", OperationID{op.ID})
			w.expect("afterwards", []any{v.State, v.Done, v.Refused, v.Ended, len(v.RefusedContacts)}, []any{crm.OperationComplete, 3, 0, w.now(), 0})
		}},
		{"S1.19 restored contacts can be verified", "highlevel", func(w *story) {
			w.everything()
			w.remove(w.id())
			ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: []string{w.id()}, Confirm: "yes"})
			w.settle()
			w.expect("it is live", w.see("ada@example.com").State, crm.Live)
			r := ask[ReceiptView](w.rig, "contact.receipt", ContactID{ID: w.id()})
			w.expect("looked at", r.LookedAt, true)
			w.expect("items of the receipt", len(r.Items), 6+4+1+2+1+1) // records, lists, company, deals, campaign, run
			w.quiet(w.id())
		}},
		{"S1.20 what somebody else deleted, an admin restores", "highlevel", func(w *story) {
			id := w.contact("x@example.com").ID.String()
			w.expect("another admin's delete", w.code("user:other", crm.Admin, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"}, nil), "")
			for _, role := range []crm.Role{crm.Operator, crm.Agent, crm.Viewer} {
				w.expect(string(role), w.code("user:any", role, "contact.restore", ContactRestore{ID: id, Confirm: "yes"}, nil), crm.CodeDenied)
				w.expect(string(role)+" in bulk", w.code("user:any", role, "bulk.restore", BulkRestore{IDs: []string{id}, Confirm: "yes"}, nil), crm.CodeDenied)
			}
			w.restore(id)
		}},
		{"S1.21 associated data returns unless deleted independently", "highlevel", independently},
		{"S1.22 a bulk restore may take a while, in the background", "highlevel", func(w *story) {
			ids := w.people(150)
			op := ask[BulkAnswer](w.rig, "bulk.restore", w.all(DeletedFilter{})).Operation
			o, err := w.app.Engine.Work(w.t.Context(), op.ID, 1)
			w.must(err)
			if o.State != crm.OperationRunning || o.Done == 0 || o.Done == len(ids) {
				w.t.Errorf("after a chunk: %+v", o)
			}
			w.expect("live by then", len(w.live(ContactList{})), o.Done)
			w.settle()
			w.expect("in the end", ask[OperationView](w.rig, "bulk.get", OperationID{op.ID}).Done, len(ids))
			w.expect("live in the end", len(w.live(ContactList{})), len(ids))
		}},
		{"S1.23 why a contact cannot be restored is said plainly", "highlevel", func(w *story) {
			id := w.people(1)[0]
			until := w.now() + 60*crm.Day
			w.clock.Advance(61 * 24 * 3600 * 1e9)
			w.says("past the window", w.no("contact.restore", ContactRestore{ID: id, Confirm: "yes"}, crm.CodeWindowPassed), "window ended at "+until.String())
			ask[AccountView](w.rig, "account.hipaa", AccountHIPAA{Confirm: "HIPAA"})
			w.says("under HIPAA", w.no("contact.restore", ContactRestore{ID: id, Confirm: ""}, crm.CodeHIPAA), "HIPAA account")
			var codes []string
			for _, o := range ask[Preview](w.rig, "contact.preview", ContactPreview{ID: id, Act: ActRestore}).Obstacles {
				codes = append(codes, o.Code)
			}
			w.expect("a preview names both", codes, []string{crm.CodeHIPAA, crm.CodeWindowPassed})
		}},
	}
}

// independently deletes, while ada is deleted or before, one of everything on its own.
func independently(w *story) {
	w.everything()
	ask[RecordItem](w.rig, "record.delete", RecordDelete{Contact: w.id(), Record: w.kinds["note"]})
	w.remove(w.id())
	w.pass(crm.Hour)
	yes := func(verb, name string) { ask[NamedView](w.rig, verb, ObjectDelete{Object: name, Confirm: "yes"}) }
	yes("list.delete", "News")
	yes("campaign.delete", "Spring")
	yes("company.delete", "Acme")
	yes("opportunity.delete", "Shared")
	ask[TagDeleted](w.rig, "tag.delete", TagDelete{Name: "lead", Confirm: "yes", Wait: true})
	ask[None](w.rig, "workflow.delete", WorkflowID{ID: "nurture", Confirm: "yes"})
	foreseen := ask[Preview](w.rig, "contact.preview", ContactPreview{ID: w.id(), Act: ActRestore}).Receipt
	r := w.restore(w.id())
	w.expect("foreseen", foreseen.Items, r.Items)
	for _, c := range []struct {
		kind crm.ItemKind
		name string
		want string
	}{
		{crm.Note, "", "skipped deleted_separately"},
		{crm.Conversation, "", "restored"},
		{crm.List, "News", "skipped list_gone"},
		{crm.List, "Offers", "restored"},
		{crm.Campaign, "", "skipped campaign_gone"},
		{crm.Company, "", "skipped company_gone"},
		{crm.Opportunity, "Shared", "skipped deleted_separately"},
		{crm.Opportunity, "Sole", "restored"},
		{crm.TagItem, "Lead", "skipped tag_gone"},
		{crm.WorkflowRun, "", "skipped workflow_gone"},
	} {
		w.expect("the "+c.kind.String()+" "+c.name, became(r, c.kind, c.name), c.want)
	}
	v := w.see(w.id())
	w.expect("tags", v.Tags, []string{"VIP", "Nurture"})
	w.expect("lists", len(v.Lists), 3)
}
