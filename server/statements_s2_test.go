package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// TestS2_HighLevelDelete is HighLevel's page on deleting. Where it says the contrary of its page on
// restoring, highlevel-strict takes it by its word.
func TestS2_HighLevelDelete(t *testing.T) { prove(t, statementsS2()) }

var nobodys = []crm.Role{crm.Operator, crm.Agent, crm.Viewer}

func statementsS2() []statement {
	return slices.Concat(deletingS2(), rulesS2())
}

func deletingS2() []statement {
	return []statement{
		{"S2.1 only admins delete", "highlevel", func(w *story) {
			id := w.contact("x@example.com").ID.String()
			for _, role := range nobodys {
				w.expect(string(role), w.code("user:any", role, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"}, nil), crm.CodeDenied)
			}
			w.expect("live", w.see(id).State, crm.Live)
			w.remove(id)
		}},
		{"S2.2 a deletion can be undone for 60 days", "highlevel", func(w *story) {
			d := w.remove(w.contact("x@example.com").ID.String())
			w.expect("the deadline", d.Manifest.RestorableUntil, w.now()+60*crm.Day)
			w.says("the question", ask[PolicyView](w.rig, "policy.show", None{}).AskDelete, "for 60 days")
		}},
		{"S2.3 associated data goes along as the settings say", "highlevel", func(w *story) {
			w.associated()
			w.policy("delete.associated.tasks", "block")
			w.says("the refusal", w.no("contact.delete", ContactDelete{ID: w.id(), Confirm: "DELETE"}, crm.CodeAssociated), "task")
			w.policy("delete.associated.tasks", "cascade")
			w.policy("delete.associated.opportunities", "block")
			w.no("contact.delete", ContactDelete{ID: w.id(), Confirm: "DELETE"}, crm.CodeAssociated)
			w.policy("delete.associated.opportunities", "cascade_if_sole")
			w.expect("tasks", w.remove(w.id()).Took["task"], 1)
		}},
		{"S2.4 what is about to go can be checked before", "highlevel", func(w *story) {
			w.everything()
			was := w.portrait(w.id())
			p := ask[Preview](w.rig, "contact.preview", ContactPreview{ID: w.id(), Act: ActDelete})
			w.same(w.id(), was) // nothing is done
			d := w.remove(w.id())
			w.expect("obstacles", len(p.Obstacles), 0)
			w.expect("foreseen", p.Deletion.Took, d.Took)
			w.expect("foreseen items", p.Deletion.Manifest.Items, d.Manifest.Items)
			ids := w.people(2)
			q := w.all(DeletedFilter{})
			w.restore(ids[0])
			w.no("bulk.restore", q, crm.CodeStale) // the selection is not what was looked at
		}},
		{"S2.5 contacts are exported before they are deleted", "highlevel", func(w *story) {
			w.everything()
			w.says("the question", ask[PolicyView](w.rig, "policy.show", None{}).AskDelete, "Export")
			e := ask[ContactExport](w.rig, "contact.export", ContactID{ID: w.id()})
			w.says("the export", string(e.Document), "ada@example.com", "a note", "a task", "a message", "Spring", "nurture", "Acme")
			w.policy("delete.export_before", "required")
			w.no("contact.delete", ContactDelete{ID: w.id(), Confirm: "DELETE"}, crm.CodeExport)
			ask[RecordItem](w.rig, "record.create", RecordCreate{Contact: w.id(), Kind: "note", Title: "after the export"})
			w.no("contact.delete", ContactDelete{ID: w.id(), Confirm: "DELETE", Exported: e.SHA256}, crm.CodeStale)
			e = ask[ContactExport](w.rig, "contact.export", ContactID{ID: w.id()})
			d := ask[Deletion](w.rig, "contact.delete", ContactDelete{ID: w.id(), Confirm: "DELETE", Exported: e.SHA256})
			w.expect("the manifest names it", d.Manifest.Exported, e.SHA256)
			w.later("bulk.export", "contact.export_csv")
		}},
		{"S2.6 contacts are reviewed periodically", "highlevel", func(w *story) {
			w.workflow("review", "version: 1\nid: review\ntriggers: [{id: weekly, cron: \"0 3 * * 1\", over: contacts, where: 'contact.fields.last_seen == nil'}]\nsteps: [{id: look, wait: 7d}]\n")
			w.settle()
			w.contact("idle@example.com")
			ask[ContactView](w.rig, "contact.create", ContactCreate{Email: "active@example.com", Fields: map[string]string{"last_seen": "2026-03-01"}})
			w.pass(7 * crm.Day)
			runs := ask[RunPage](w.rig, "run.list", RunList{Workflow: "review"}).Runs
			w.expect("for review", len(runs), 1)
			w.expect("it is", runs[0].Contact, w.see("idle@example.com").ID)
		}},
		{"S2.7 deletion is for admins, or for who is trusted", "highlevel", func(w *story) {
			w.policy("permissions.delete", "admin, operator")
			id := w.contact("x@example.com").ID.String()
			w.expect("an agent", w.code("user:any", crm.Agent, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"}, nil), crm.CodeDenied)
			w.expect("an operator", w.code("user:any", crm.Operator, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"}, nil), "")
		}},
		{"S2.8 associated data is lost for good (strict)", "highlevel-strict", func(w *story) {
			w.associated()
			w.says("the question", ask[PolicyView](w.rig, "policy.show", None{}).AskDelete, "does not bring back conversations, notes, tasks")
			w.remove(w.id())
			w.pass(crm.Day)
			r := w.restore(w.id())
			w.expect("records", w.there(w.id()), []string{})
			for _, kind := range crm.RecordKinds {
				w.expect("the "+kind.String(), became(r, kind, ""), "skipped policy")
			}
			w.expect("her deal", w.deal("Sole").State, "with_contacts")
			w.expect("her data", []any{w.see(w.id()).Email, w.see(w.id()).Name, w.see(w.id()).CreatedAt}, []any{w.ada.Email, w.ada.Name, w.ada.CreatedAt})
			ask[RecordItem](w.rig, "record.create", RecordCreate{Contact: w.id(), Kind: "note", Title: "new"})
			w.pass(59 * crm.Day) // the sweep at the deadline takes what was left, and no more
			w.expect("in the end", w.there(w.id()), []string{"note"})
			w.expect("she herself", w.see(w.id()).State, crm.Live)
		}},
		{"S2.9 single ones, a page, or all are selected", "highlevel", func(w *story) {
			for i := range 5 {
				ask[ContactView](w.rig, "contact.create", ContactCreate{Email: fmt.Sprintf("p%d@example.com", i), Tags: []string{"even", "odd"}[i%2 : i%2+1]})
			}
			page := ask[ContactPage](w.rig, "contact.list", ContactList{Limit: 2})
			w.expect("a page", len(page.Contacts), 2)
			rest := ask[ContactPage](w.rig, "contact.list", ContactList{Limit: 3, After: page.Next})
			w.expect("the next", len(rest.Contacts), 3)
			w.expect("by tag", w.live(ContactList{Tag: "odd"}), []string{"p1@example.com", "p3@example.com"})
			w.later("bulk.delete")
		}},
		{"S2.10 nothing is deleted without a selection; who may not is told why", "highlevel", func(w *story) {
			w.no("contact.delete", ContactDelete{Confirm: "DELETE"}, crm.CodeNotFound)
			id := w.contact("x@example.com").ID.String()
			for _, role := range nobodys {
				err := w.try(role, "contact.preview", ContactPreview{ID: id, Act: ActDelete}, nil, nil)
				e, ok := err.(*crm.Error)
				if !ok || e.Code != crm.CodeDenied || !strings.Contains(e.Hint, "ask an admin") {
					w.t.Errorf("%s: %v", role, err)
				}
			}
		}},
		{"S2.11 a delete is confirmed by typing DELETE", "highlevel", func(w *story) {
			id := w.contact("x@example.com").ID.String()
			for _, word := range []string{"", "delete", "yes", "DELETE "} {
				w.says("the refusal", w.no("contact.delete", ContactDelete{ID: id, Confirm: word}, crm.CodeConfirm), "DELETE")
			}
			w.expect("it", w.see(id).State, crm.Live)
			w.remove(id)
		}},
		{"S2.12 the status of every deletion can be seen", "highlevel", func(w *story) {
			id := w.contact("x@example.com").ID.String()
			ask[Deletion](w.rig, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE", Reason: "twice there"})
			v := ask[ContactView](w.rig, "contact.get", ContactID{ID: id, Deleted: true})
			w.expect("its status", []any{v.State, v.DeletedAt, v.Tombstone.By, v.Tombstone.Reason}, []any{crm.Deleted, w.now(), "user:test", "twice there"})
			w.expect("the account's", ask[AccountView](w.rig, "account.show", None{}).Deleted, 1)
			w.later("bulk.delete")
		}},
		{"S2.13 restored contacts are back in the active list", "highlevel", func(w *story) {
			id := w.people(1)[0]
			w.expect("in the active list", len(w.live(ContactList{})), 0)
			w.expect("to be selected", w.deleted(DeletedFilter{})[0].ID, id)
			w.no("contact.restore", ContactRestore{ID: id}, crm.CodeConfirm)
			w.restore(id)
			w.expect("in the active list", w.live(ContactList{}), []string{"p0@example.com"})
			w.expect("deleted", len(w.deleted(DeletedFilter{})), 0)
		}},
	}
}

func rulesS2() []statement {
	return []statement{
		{"S2.14 a workflow deletes contacts", "highlevel", func(w *story) {
			w.elsewhere("runtime", "TestTagWaitDelete", "TestGrantIsAskedAtEachCommit")
			w.elsewhere("cmd/reprieve", "TestDemo")
		}},
		{"S2.15 for the unsubscribed, the inactive and the invalid", "highlevel", func(w *story) {
			w.workflow("clean", `version: 1
id: clean
triggers:
  - {id: unsubscribed, cron: "0 2 * * *", over: contacts, where: 'contact.lists.News == "unsubscribed" or "Unsubscribed" in contact.tags'}
  - {id: invalid, cron: "0 2 * * *", over: contacts, where: 'contact.lists.News == "bounced"'}
  - {id: inactive, cron: "0 2 * * *", over: contacts, where: 'contact.fields.last_seen != nil and date(contact.fields.last_seen) < now - duration("365d")'}
steps: [{id: cool_off, wait: 14d}]
`)
			ask[NamedView](w.rig, "list.create", ObjectCreate{Name: "News"})
			for email, status := range map[string]crm.Status{"left@example.com": crm.Unsubscribed, "bounced@example.com": crm.Bounced, "good@example.com": crm.Subscribed} {
				w.contact(email)
				ask[Placement](w.rig, "list.add", ListAdd{List: "News", Contact: email, Status: status})
			}
			ask[ContactView](w.rig, "contact.create", ContactCreate{Email: "tagged@example.com", Tags: []string{"unsubscribed"}})
			ask[ContactView](w.rig, "contact.create", ContactCreate{Email: "idle@example.com", Fields: map[string]string{"last_seen": "2024-12-31"}})
			ask[ContactView](w.rig, "contact.create", ContactCreate{Email: "active@example.com", Fields: map[string]string{"last_seen": "2026-02-28"}})
			w.settle()
			w.pass(crm.Day)
			got := map[string]string{}
			for _, v := range w.list(ContactList{}) {
				for _, run := range ask[RunPage](w.rig, "run.list", RunList{Contact: v.ID.String()}).Runs {
					got[v.Email] += run.Trigger
				}
			}
			w.expect("selected", got, map[string]string{"left@example.com": "unsubscribed", "tagged@example.com": "unsubscribed", "bounced@example.com": "invalid", "idle@example.com": "inactive"})
		}},
		{"S2.16 the tag Unsubscribed triggers", "highlevel", func(w *story) {
			w.workflow("clean", "version: 1\nid: clean\ntriggers: [{id: t, event: contact.tag_added, if: event.tag == \"Unsubscribed\"}]\nsteps: [{id: cool_off, wait: 14d}]\n")
			for email, tag := range map[string]string{"a@example.com": "Unsubscribed", "b@example.com": "unsubscribed", "c@example.com": "Subscribed"} {
				w.contact(email)
				ask[ContactView](w.rig, "contact.tag", ContactTag{ID: email, Add: []string{tag}})
			}
			w.settle()
			for email, n := range map[string]int{"a@example.com": 1, "b@example.com": 1, "c@example.com": 0} {
				w.expect(email, ask[RunPage](w.rig, "run.list", RunList{Contact: email}).Total, n)
			}
		}},
		{"S2.17 a workflow is tested, then activated", "highlevel", func(w *story) {
			file := []File{{Name: "w.yaml", Content: []byte(plainWorkflow)}}
			w.expect("mistakes", ask[Checked](w.rig, "workflow.check", WorkflowFiles{Files: file}).Errors, 0)
			w.contact("before@example.com")
			w.settle()
			w.expect("started by a check", ask[RunPage](w.rig, "run.list", RunList{}).Total, 0)
			bad := []File{{Name: "w.yaml", Content: []byte(strings.ReplaceAll(plainWorkflow, "contact.created", "contact.restored"))}}
			if v := ask[Checked](w.rig, "workflow.apply", WorkflowFiles{Files: bad}); v.Errors == 0 {
				w.t.Error("a workflow that starts on a restore was taken")
			}
			w.expect("applied with a mistake", len(ask[WorkflowPage](w.rig, "workflow.list", None{}).Workflows), 0)
			w.workflow("w", plainWorkflow)
			w.contact("after@example.com")
			w.settle()
			w.expect("started", ask[RunPage](w.rig, "run.list", RunList{Contact: "after@example.com"}).Total, 1)
		}},
		{"S2.18 a deleted contact leaves every campaign, workflow and list", "highlevel", func(w *story) {
			w.everything()
			w.remove(w.id())
			for _, list := range []string{"News", "Offers", "Trial", "Old"} {
				w.expect("members of "+list, w.members("list.list", list), 0)
				w.expect("on "+list, w.live(ContactList{List: list}), []string{})
			}
			w.expect("in the campaign", w.members("campaign.list", "Spring"), 0)
			w.pass(31 * crm.Day) // past its message and the end of its wait
			w.expect("due", len(ask[DuePage](w.rig, "campaign.due", CampaignDue{Campaign: "Spring"}).Items), 0)
			w.no("campaign.sent", CampaignSent{Campaign: "Spring", Contact: w.id()}, crm.CodeDeleted)
			run := ask[RunView](w.rig, "run.get", RunID{w.run.ID})
			w.expect("her run", []any{run.Status, run.Due, len(run.Steps)}, []any{crm.RunSuspended, crm.Nanos(0), 0})
		}},
		{"S2.19 what was counted for campaigns stays counted", "highlevel", func(w *story) {
			w.everything()
			w.pass(10 * crm.Day)
			ask[Placement](w.rig, "campaign.sent", CampaignSent{Campaign: "Spring", Contact: w.id()})
			ask[Placement](w.rig, "campaign.opened", CampaignSeen{Campaign: "Spring", Contact: w.id()})
			ask[Placement](w.rig, "campaign.clicked", CampaignSeen{Campaign: "Spring", Contact: w.id()})
			counted := func(when string) {
				c := ask[CampaignPage](w.rig, "campaign.list", ObjectList{}).Items[0]
				w.expect(when, []int64{c.Sent, c.Opened, c.Clicked}, []int64{1, 1, 1})
			}
			counted("before")
			w.remove(w.id())
			counted("after the delete")
			w.restore(w.id())
			counted("after the restore")
			ask[Purged](w.rig, "contact.purge", ContactPurge{ID: w.id(), Confirm: "PURGE", Reason: "a request"})
			counted("after the purge")
		}},
		{"S2.20 several are deleted at once", "highlevel", func(w *story) { w.later("bulk.delete") }},
		{"S2.21 roles are managed in the settings", "highlevel", func(w *story) {
			for _, role := range nobodys {
				w.expect(string(role), w.code("user:any", role, "policy.set", PolicySet{Set: map[string]any{"permissions.delete": string(crm.Operator)}}, nil), crm.CodeDenied)
			}
			ch := ask[PolicySetAnswer](w.rig, "policy.set", PolicySet{Set: map[string]any{"permissions.delete": "admin, agent"}}).Changes
			w.expect("what changed", []string{ch[0].Path, ch[0].Was, ch[0].Is}, []string{"permissions.delete", "admin", "admin, agent"})
			w.expect("seen", ask[PolicyView](w.rig, "policy.show", None{}).Policy.Permissions[crm.VerbDelete], []crm.Role{crm.Admin, crm.Agent})
			w.elsewhere("server", "TestEveryVerbAsksTheRole")
		}},
		{"S2.22 refused: no admin", "highlevel", func(w *story) {
			id := w.contact("x@example.com").ID.String()
			err := w.try(crm.Agent, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"}, nil, nil)
			e, ok := err.(*crm.Error)
			if !ok || e.Code != crm.CodeDenied || !strings.Contains(e.Error(), "agent") || !strings.Contains(e.Hint, "ask an admin") {
				w.t.Errorf("an agent is told %v", err)
			}
		}},
		{"S2.23 refused: in a campaign or workflow (strict)", "highlevel-strict", func(w *story) {
			w.everything()
			q := ContactDelete{ID: w.id(), Confirm: "DELETE"}
			w.says("the refusal", w.no("contact.delete", q, crm.CodeEnrolled), "campaign")
			ask[Placement](w.rig, "campaign.remove", Membership{Object: "Spring", Contact: w.id()})
			w.says("the refusal", w.no("contact.delete", q, crm.CodeEnrolled), "in a workflow: run_")
			w.pass(30 * crm.Day) // the run ends
			w.remove(w.id())
			w.elsewhere("store", "TestRunAdoptsItsOwnDelete") // the run that deletes is exempt
		}},
		{"S2.24 associated data is deleted unless the policy says otherwise", "highlevel", func(w *story) {
			w.associated()
			d := w.remove(w.id())
			for _, kind := range crm.RecordKinds {
				w.expect("took", d.Took[kind.String()], 1)
			}
			w.no("record.list", RecordList{ID: w.id()}, crm.CodeDeleted)
			w.no("record.update", RecordUpdate{Contact: w.id(), Record: w.kinds["note"], Title: new(string)}, crm.CodeDeleted)
			w.no("record.create", RecordCreate{Contact: w.id(), Kind: "note", Title: "late"}, crm.CodeDeleted)
			w.policy("delete.associated.notes", "block")
			bob := w.bob.ID.String()
			ask[RecordItem](w.rig, "record.create", RecordCreate{Contact: bob, Kind: "note", Title: "keep"})
			w.no("contact.delete", ContactDelete{ID: bob, Confirm: "DELETE"}, crm.CodeAssociated)
		}},
		{"S2.25 recovered within two months, then gone", "highlevel", func(w *story) {
			ids := w.people(2)
			w.clock.Advance(60*24*3600*1e9 - 1)
			w.expect("swept a nanosecond early", ask[Swept](w.rig, "retention.sweep", RetentionSweep{Confirm: "PURGE"}).Purged, 0)
			w.restore(ids[0])
			w.clock.Advance(1)
			w.expect("swept", ask[Swept](w.rig, "retention.sweep", RetentionSweep{Confirm: "PURGE"}).Purged, 1)
			w.no("contact.restore", ContactRestore{ID: ids[1], Confirm: "yes"}, crm.CodePurged)
			w.expect("the other", w.see(ids[0]).State, crm.Live)
		}},
		{"S2.26 a person asks for erasure", "highlevel", func(w *story) {
			w.everything()
			q := ContactPurge{ID: w.id(), Confirm: "PURGE", Reason: "request 2026-117"}
			w.no("contact.purge", ContactPurge{ID: w.id(), Confirm: "DELETE", Reason: "x"}, crm.CodeConfirm)
			w.no("contact.purge", ContactPurge{ID: w.id(), Confirm: "PURGE"}, crm.CodeInvalid)
			ask[ContactView](w.rig, "contact.hold", ContactHold{ID: w.id(), Reason: "a matter"})
			w.no("contact.purge", q, crm.CodeHeld)
			ask[ContactView](w.rig, "contact.hold", ContactHold{ID: w.id(), Lift: true})
			for _, role := range nobodys {
				w.expect(string(role), w.code("user:any", role, "contact.purge", q, nil), crm.CodeDenied)
			}
			ask[Purged](w.rig, "contact.purge", q)
			w.no("contact.get", ContactID{ID: w.id(), Deleted: true}, crm.CodePurged)
			for _, e := range ask[HistoryPage](w.rig, "contact.history", ContactHistory{ID: w.id()}).Entries {
				if e.Event == crm.ContactFieldChanged || e.Event == crm.ContactTagAdded {
					w.expect("readable", e.Purged, true)
				}
			}
			ask[AuditView](w.rig, "audit.verify", None{})
		}},
	}
}
