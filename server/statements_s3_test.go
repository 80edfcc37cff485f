package server

import (
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
)

// TestS3_ActiveCampaignRestore is ActiveCampaign's page on restoring.
func TestS3_ActiveCampaignRestore(t *testing.T) { prove(t, statementsS3()) }

const ac = "activecampaign"

func statementsS3() []statement {
	return []statement{
		{"S3.1 what any user deleted, any admin restores", ac, func(w *story) {
			for _, role := range []crm.Role{crm.Admin, crm.Operator, crm.Agent} {
				email := string(role) + "@example.com"
				w.contact(email)
				w.expect(email, w.code("user:"+string(role), role, "contact.delete", ContactDelete{ID: email, Confirm: "DELETE"}, nil), "")
			}
			w.contact("viewer@example.com")
			w.expect("a viewer", w.code("user:v", crm.Viewer, "contact.delete", ContactDelete{ID: "viewer@example.com", Confirm: "DELETE"}, nil), crm.CodeDenied)
			w.expect("restored by an agent", w.code("user:agent", crm.Agent, "contact.restore", ContactRestore{ID: "agent@example.com", Confirm: "yes"}, nil), crm.CodeDenied)
			for _, v := range w.deleted(DeletedFilter{}) {
				w.expect("by another admin", w.code("user:other", crm.Admin, "contact.restore", ContactRestore{ID: v.ID.String(), Confirm: "yes"}, nil), "")
			}
			w.expect("live", len(w.live(ContactList{})), 4)
		}},
		{"S3.2 for 30 days", ac, func(w *story) {
			ids := w.people(2)
			w.expect("the deadline", w.deleted(DeletedFilter{})[0].RestorableUntil, w.now()+30*crm.Day)
			w.clock.Advance(30*24*3600*1e9 - 1)
			w.restore(ids[0])
			w.clock.Advance(1)
			w.no("contact.restore", ContactRestore{ID: ids[1], Confirm: "yes"}, crm.CodeWindowPassed)
		}},
		{"S3.3 one sees when contacts were deleted", ac, func(w *story) {
			want := map[string]crm.Nanos{}
			for i := range 3 {
				w.clock.Advance(12345678901)
				id := w.contact(fmt.Sprintf("p%d@example.com", i)).ID.String()
				w.remove(id)
				want[id] = w.now()
			}
			for _, v := range w.deleted(DeletedFilter{}) {
				w.expect("deleted at", []crm.Nanos{v.DeletedAt, v.Tombstone.DeletedAt}, []crm.Nanos{want[v.ID.String()], want[v.ID.String()]})
			}
		}},
		{"S3.4 a restore triggers no automation", ac, func(w *story) {
			w.associated()
			w.settle()
			w.workflow("all", `version: 1
id: all
triggers:
  - {id: made, event: contact.created}
  - {id: tagged, event: contact.tag_added}
  - {id: listed, event: contact.list_changed}
  - {id: field, event: contact.field_changed}
  - {id: record, event: record.created}
  - {id: campaign, event: campaign.enrolled}
  - {id: nightly, cron: "0 2 * * *", over: contacts, where: '"VIP" in contact.tags'}
  - {id: everybody, cron: "0 3 * * *", over: contacts}
  - {id: turned, becomes: '"VIP" in contact.tags'}
  - {id: off, becomes: 'not ("gone" in contact.tags)'}
filter: contact.email == "ada@example.com"
steps: [{id: rest, wait: 1h}]
`)
			w.settle()
			w.remove(w.id())
			w.pass(crm.Day)
			w.restore(w.id())
			for range 5 {
				w.pass(crm.Day)
			}
			w.expect("runs", ask[RunPage](w.rig, "run.list", RunList{}).Total, 0)
			r := ask[ReceiptView](w.rig, "contact.receipt", ContactID{ID: w.id()})
			if r.LookedAt == false || len(r.Suppressed) < 5 {
				w.t.Errorf("suppressed: %+v", r.Suppressed)
			}
			w.quiet(w.id())
			w.elsewhere("runtime", "TestRestoreStartsNothing", "TestRestoreStartsNothingWhateverHappens")
		}},
		{"S3.5 a restore sends no campaign", ac, func(w *story) {
			w.everything()
			w.remove(w.id())
			w.pass(11 * crm.Day) // its message comes due meanwhile
			w.expect("the receipt", became(w.restore(w.id()), crm.Campaign, ""), "skipped policy")
			due := CampaignDue{Campaign: "Spring"}
			w.expect("due", len(ask[DuePage](w.rig, "campaign.due", due).Items), 0)
			w.no("campaign.sent", CampaignSent{Campaign: "Spring", Contact: w.id()}, crm.CodeNotFound)
			w.no("campaign.resume", CampaignResume{Campaign: "Spring", Contact: w.id(), Overdue: crm.OverdueFire}, crm.CodeNotFound)
			w.expect("sent", ask[CampaignPage](w.rig, "campaign.list", ObjectList{}).Items[0].Sent, 0)
			w.quiet(w.id())
		}},
		{"S3.6 one restore job at a time", ac, func(w *story) {
			ids := w.people(4)
			op := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids[:1], Confirm: "yes"}).Operation
			w.says("the refusal", w.no("bulk.restore", BulkRestore{IDs: ids[1:2], Confirm: "yes"}, crm.CodeRunning), op.ID.String())
			w.no("bulk.restore", BulkRestore{Filter: &DeletedFilter{}, Plan: true}, crm.CodeRunning)
			w.restore(ids[3]) // one that is named is no job
			w.settle()
			w.expect("the next one", ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids[1:3], Confirm: "yes", Wait: true}).Operation.Done, 2)
		}},
		{"S3.7 search by date, name and e-mail", ac, func(w *story) {
			began := w.now()
			for _, p := range [][3]string{{"Ada", "Byron", "ada@example.com"}, {"Alan", "Byron", "alan@example.org"}, {"Grace", "Hopper", "grace@example.com"}} {
				ask[ContactView](w.rig, "contact.create", ContactCreate{Email: p[2], Fields: map[string]string{"first_name": p[0], "last_name": p[1]}})
				w.remove(p[2])
				w.clock.Advance(24 * 3600 * 1e9)
			}
			for want, f := range map[string]DeletedFilter{
				"ada":        {Before: began + 1},
				"alan grace": {After: began + crm.Day},
				"alan":       {After: began + crm.Day, Before: began + 2*crm.Day},
				"ada alan":   {Name: "byron"},
				"grace":      {Email: "GRACE@"},
				"ada grace":  {Email: "example.com"},
				"":           {Name: "byron", Email: "grace"},
			} {
				var got string
				for _, name := range []string{"ada", "alan", "grace"} {
					for _, v := range w.deleted(f) {
						if v.Email[:len(name)] == name {
							got += " " + name
						}
					}
				}
				w.expect(fmt.Sprintf("%+v", f), got, map[bool]string{true: " " + want}[want != ""])
				w.expect("a restore by it", ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{Filter: &f, Plan: true}).Plan.Total, len(w.deleted(f)))
			}
		}},
		{"S3.8 at most 100 are selected", ac, func(w *story) {
			ids := w.people(101)
			w.says("the refusal", w.no("bulk.restore", BulkRestore{IDs: ids, Confirm: "yes"}, crm.CodeLimited), "101", "100", "filter")
			w.expect("of a hundred", ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids[:100], Confirm: "yes", Wait: true}).Operation.Done, 100)
		}},
		{"S3.9 all by filter, beyond 100", ac, func(w *story) {
			w.people(101)
			w.no("bulk.restore", BulkRestore{Filter: &DeletedFilter{}, Confirm: "yes"}, crm.CodeConfirm) // the hash of the plan is missing
			q := w.all(DeletedFilter{Email: "example.com"})
			q.Wait = true
			w.expect("of all", ask[BulkAnswer](w.rig, "bulk.restore", q).Operation.Done, 101)
		}},
		{"S3.10 a question is to be confirmed", ac, func(w *story) {
			ids := w.people(3)
			plan := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{IDs: ids, Plan: true}).Plan
			w.expect("its word", plan.Word, "yes")
			w.says("it", plan.Text, "restores 3 contacts", "No automation starts and nothing is sent", "left deleted; the others come back")
			w.no("bulk.restore", BulkRestore{IDs: ids}, crm.CodeConfirm)
			p := ask[Preview](w.rig, "contact.preview", ContactPreview{ID: ids[0], Act: ActRestore})
			w.says("for one", p.Text, "restores 1 contact")
			w.expect("its word", p.Word, "yes")
			w.no("contact.restore", ContactRestore{ID: ids[0]}, crm.CodeConfirm)
		}},
		{"S3.11 it goes on in the background, whoever leaves", ac, func(w *story) {
			ids := w.people(150)
			q := w.all(DeletedFilter{})
			op := ask[BulkAnswer](w.rig, "bulk.restore", q).Operation
			_, err := w.app.Engine.Work(w.t.Context(), op.ID, 1)
			w.must(err)
			w.app.Engine, err = runtime.New(runtime.Options{Store: w.app.Store, Actions: w.app.Host, Clock: w.clock, Log: zerolog.Nop()}) // even the server
			w.must(err)
			w.settle()
			v := ask[OperationView](w.rig, "bulk.get", OperationID{op.ID})
			w.expect("the end", []any{v.State, v.Done}, []any{crm.OperationComplete, len(ids)})
			w.expect("live", len(w.live(ContactList{})), len(ids))
		}},
		{"S3.12 a search shows whether it is restored", ac, func(w *story) {
			id := w.people(1)[0]
			w.says("before", w.no("contact.get", ContactID{ID: "p0@example.com"}, crm.CodeDeleted), "restore")
			w.restore(id)
			w.expect("after", w.see("p0@example.com").State, crm.Live)
			w.expect("its receipt", ask[ReceiptView](w.rig, "contact.receipt", ContactID{ID: id}).At, w.now())
		}},
		{"S3.13 list statuses are restored unless the list is deleted", ac, func(w *story) {
			w.associated()
			w.remove(w.id())
			ask[NamedView](w.rig, "list.delete", ObjectDelete{Object: "News", Confirm: "yes"})
			ask[NamedView](w.rig, "list.create", ObjectCreate{Name: "News"}) // one of the same name is another list
			r := w.restore(w.id())
			w.expect("lists", w.see(w.id()).Lists, map[string]string{"Offers": "unsubscribed", "Trial": "unconfirmed", "Old": "bounced"})
			w.expect("members", []int64{w.members("list.list", "Offers"), w.members("list.list", "News")}, []int64{1, 0})
			w.expect("the receipt", []string{became(r, crm.List, "Offers"), became(r, crm.List, "News")}, []string{"restored", "skipped list_gone"})
		}},
		{"S3.14 the account association unless the account is deleted", ac, func(w *story) {
			w.associated()
			companies := func() int {
				return len(ask[CompanyPage](w.rig, "company.list", ObjectList{Contact: w.id()}).Items)
			}
			w.remove(w.id())
			w.expect("the receipt", became(w.restore(w.id()), crm.Company, "Acme"), "restored")
			w.expect("companies", companies(), 1)
			w.remove(w.id())
			ask[NamedView](w.rig, "company.delete", ObjectDelete{Object: "Acme", Confirm: "yes"})
			w.expect("the receipt", became(w.restore(w.id()), crm.Company, "Acme"), "skipped company_gone")
			w.expect("companies", companies(), 0)
		}},
		{"S3.15 a deal of that contact only is not restored", ac, func(w *story) {
			w.associated()
			w.says("the question", ask[PolicyView](w.rig, "policy.show", None{}).AskDelete, "does not bring back opportunities without another live contact")
			w.remove(w.id())
			w.expect("at the delete", w.deal("Sole").State, "lost")
			w.policy("restore.sole_contact_opportunities", "restore") // it was decided at the delete
			w.expect("the receipt", became(w.restore(w.id()), crm.Opportunity, "Sole"), "skipped opportunity_lost")
			w.expect("in the end", w.deal("Sole").State, "lost")
			w.expect("hers", len(ask[OpportunityPage](w.rig, "opportunity.list", OpportunityList{ObjectList: ObjectList{Contact: w.id()}}).Items), 1)
		}},
		{"S3.16 to a shared deal the contact returns, not as primary", ac, func(w *story) {
			w.associated()
			w.remove(w.id())
			w.expect("meanwhile", []any{w.deal("Shared").State, w.deal("Shared").Contacts}, []any{"live", []crm.ContactID{w.bob.ID}})
			w.expect("the receipt", became(w.restore(w.id()), crm.Opportunity, "Shared"), "restored restored_as_secondary")
			d := w.deal("Shared")
			w.expect("its contacts", len(d.Contacts), 2)
			w.expect("its primary", d.Primary, crm.ContactID{})
		}},
		{"S3.17 tags are restored unless deleted", ac, func(w *story) {
			w.associated()
			w.remove(w.id())
			w.expect("carriers", ask[TagDeleted](w.rig, "tag.delete", TagDelete{Name: "lead", Confirm: "yes", Wait: true}).Deleted, 1)
			w.expect("the receipt", became(w.restore(w.id()), crm.TagItem, "Lead"), "skipped tag_gone")
			w.expect("tags", w.see(w.id()).Tags, []string{"VIP"})
		}},
		{"S3.18 the created date is the original one", ac, func(w *story) {
			w.associated()
			w.clock.Advance(3600 * 1e9)
			w.remove(w.id())
			w.clock.Advance(3600 * 1e9)
			w.restore(w.id())
			w.expect("created", w.see(w.id()).CreatedAt, w.now()-2*crm.Hour)
		}},
	}
}
