package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// TestS4_Consultants is what consultants say of HighLevel's policies on deletion.
func TestS4_Consultants(t *testing.T) { prove(t, statementsS4()) }

func statementsS4() []statement {
	return []statement{
		{"S4.1 compliance and clean-up are why contacts go", "", func(w *story) {
			ask[NamedView](w.rig, "list.create", ObjectCreate{Name: "News"})
			w.ada = w.contact("ada@example.com")
			ask[Placement](w.rig, "list.add", ListAdd{List: "News", Contact: w.id(), Status: crm.Unsubscribed})
			ask[ContactView](w.rig, "contact.dnd", ContactDND{ID: w.id(), On: []string{"sms"}})
			w.says("nobody erases without a reason", w.no("contact.purge", ContactPurge{ID: w.id(), Confirm: "PURGE"}, crm.CodeInvalid), "reason")
			ask[Purged](w.rig, "contact.purge", ContactPurge{ID: w.id(), Confirm: "PURGE", Reason: "GDPR article 17"})
			w.expect("the reason stays", ask[HistoryPage](w.rig, "contact.history", ContactHistory{ID: w.id()}).Entries[0].What, "GDPR article 17")
			w.must(w.try(crm.Admin, "contact.import", ImportOptions{}, nil, strings.NewReader("Email,Lists\nAda@example.com,News: subscribed\n")))
			again := w.see("ada@example.com") // who opted out is not mailed because a file says so
			w.expect("after an import", []any{again.Lists, again.DND}, []any{map[string]string{"News": "unsubscribed"}, []string{"sms"}})
		}},
		{"S4.2 a soft delete takes contacts out of lists, campaigns and searches", "", func(w *story) {
			w.everything()
			w.remove(w.id())
			for _, q := range []ContactList{{}, {Tag: "VIP"}, {List: "News"}} {
				for _, v := range w.list(q) {
					w.expect("found", v.Email, "bob@example.com")
				}
			}
			w.no("contact.get", ContactID{ID: "ada@example.com"}, crm.CodeDeleted)
			w.expect("tags", len(ask[TagPage](w.rig, "tag.list", TagList{}).Items), 0)
			w.expect("members", []int64{w.members("list.list", "News"), w.members("campaign.list", "Spring")}, []int64{0, 0})
			w.expect("kept", ask[ContactView](w.rig, "contact.get", ContactID{ID: w.id(), Deleted: true}).Email, "ada@example.com")
		}},
		{"S4.3 the window may be hours, days or weeks, and is never a secret", "", func(w *story) {
			for given, want := range map[string]crm.Nanos{"36h": 36 * crm.Hour, "9d": 9 * crm.Day, "2w": 14 * crm.Day, "1d12h": 36 * crm.Hour} {
				w.policy("retention.window", given)
				d := w.remove(w.contact(given + "@example.com").ID.String())
				w.expect(given, d.Manifest.RestorableUntil, w.now()+want)
				w.expect("shown", ask[AccountView](w.rig, "account.show", None{}).Window, want.Days())
			}
			for _, bad := range []any{"", "soon", "-1d", "0d", "99999d", 60} {
				w.no("policy.set", PolicySet{Set: map[string]any{"retention.window": bad}}, crm.CodeInvalid)
			}
		}},
		{"S4.4 a hard delete follows the window", "", func(w *story) {
			w.policy("retention.window", "9d")
			id := w.people(1)[0]
			w.policy("retention.window", "1d") // it never shortens what was promised
			w.pass(9*crm.Day - 1)
			w.expect("a nanosecond early", ask[ContactView](w.rig, "contact.get", ContactID{ID: id, Deleted: true}).State, crm.Deleted)
			w.pass(crm.Minute) // the sweep comes each minute
			w.no("contact.get", ContactID{ID: id, Deleted: true}, crm.CodePurged)
		}},
		{"S4.5 an admin's explicit act overrides the safety net", "", func(w *story) {
			ids := w.people(2)
			w.expect("a sweep", ask[Swept](w.rig, "retention.sweep", RetentionSweep{Confirm: "PURGE"}).Purged, 0)
			q := ContactPurge{ID: ids[0], Confirm: "PURGE", Reason: "asked for it"}
			w.expect("an operator", w.code("user:any", crm.Operator, "contact.purge", q, nil), crm.CodeDenied)
			ask[Purged](w.rig, "contact.purge", q)
			w.no("contact.restore", ContactRestore{ID: ids[0], Confirm: "yes"}, crm.CodePurged)
			w.restore(ids[1])
		}},
		{"S4.6 a purge reaches the active data and the backups", "", func(w *story) {
			w.elsewhere("store", "TestS1_10_PurgeLeavesNothing", "TestPurgedPayloadsAreUnreadableAndTheChainHolds")
			w.later("backup.create", "backup.restore", "backup.replay")
		}},
		{"S4.7 an audit trail", "", func(w *story) {
			w.ada = w.contact("ada@example.com")
			ask[ContactView](w.rig, "contact.tag", ContactTag{ID: w.id(), Add: []string{"VIP"}})
			w.clock.Advance(1e9)
			w.expect("somebody deletes", w.code("user:other", crm.Admin, "contact.delete", ContactDelete{ID: w.id(), Confirm: "DELETE"}, nil), "")
			w.restore(w.id())
			var got []string
			for _, e := range ask[HistoryPage](w.rig, "contact.history", ContactHistory{ID: w.id()}).Entries {
				got = append(got, fmt.Sprint(e.Event, " ", e.By, " ", e.Cause, " ", e.At == w.now()))
			}
			w.expect("it", got, []string{"contact.restored user:test restore true", "contact.deleted user:other person true",
				"contact.tag_added user:test person false", "contact.created user:test person false"})
			if v := ask[AuditView](w.rig, "audit.verify", None{}); v.Entries < 4 || v.Head == "" {
				w.t.Errorf("the audit is %+v", v)
			}
		}},
		{"S4.8 restored with history, pipeline stage and custom fields", "", func(w *story) {
			w.associated()
			w.remove(w.id())
			w.pass(20 * crm.Day)
			w.restore(w.id())
			v := w.see(w.id())
			w.expect("fields", v.Fields, w.ada.Fields)
			w.expect("stages", []string{w.deal("Sole").Stage, w.deal("Shared").Stage}, []string{"offer", "won"})
			w.expect("communication", w.there(w.id()), everyKind)
		}},
		{"S4.9 who deletes, when, and who approves", "no-loss", func(w *story) {
			w.everything()
			w.no("contact.delete", ContactDelete{ID: w.id(), Confirm: "DELETE"}, crm.CodeEnrolled)
			bob := w.bob.ID.String()
			w.no("contact.delete", ContactDelete{ID: bob, Confirm: "DELETE"}, crm.CodeExport)
			e := ask[ContactExport](w.rig, "contact.export", ContactID{ID: bob})
			w.expect("the window", ask[Deletion](w.rig, "contact.delete", ContactDelete{ID: bob, Confirm: "DELETE", Exported: e.SHA256}).Manifest.RestorableUntil, w.now()+90*crm.Day)
			a := crm.Account{Policy: ask[PolicyView](w.rig, "policy.show", None{}).Policy}
			for n, asked := range map[int]bool{1: false, 100: false, 101: true} {
				text, _ := a.AskDelete(n)
				w.expect(fmt.Sprint(n, " contacts"), strings.Contains(text, "A second admin has to approve it."), asked)
			}
			w.later("bulk.delete", "bulk.approve")
		}},
		{"S4.10 contacts are exported through the API", "", func(w *story) {
			w.everything()
			one, two := ask[ContactExport](w.rig, "contact.export", ContactID{ID: w.id()}), ask[ContactExport](w.rig, "contact.export", ContactID{ID: "ada@example.com"})
			w.expect("nothing changed", one.SHA256, two.SHA256)
			w.clock.Advance(1e9)
			ask[ContactView](w.rig, "contact.tag", ContactTag{ID: w.id(), Add: []string{"new"}})
			if ask[ContactExport](w.rig, "contact.export", ContactID{ID: w.id()}).SHA256 == one.SHA256 {
				w.t.Error("an export does not show a new tag")
			}
			w.later("bulk.export", "account.export")
		}},
		{"S4.11 archive instead of delete", "", archived},
		{"S4.12 one knows when a contact becomes unrecoverable", "", func(w *story) {
			id := w.contact("x@example.com").ID.String()
			w.says("before", ask[Preview](w.rig, "contact.preview", ContactPreview{ID: id, Act: ActDelete}).Text, "for 60 days; after that it is gone for good")
			until := w.now() + 60*crm.Day
			w.expect("at the delete", w.remove(id).Manifest.RestorableUntil, until)
			w.expect("in the list", w.deleted(DeletedFilter{})[0].RestorableUntil, until)
			w.says("in a refusal", w.no("contact.get", ContactID{ID: id}, crm.CodeDeleted), until.String())
			s := ask[RetentionStatus](w.rig, "retention.status", None{})
			w.expect("the next", []any{s.Next, s.Deleted, s.Due}, []any{until, 1, 0})
			w.clock.Advance(60 * 24 * 3600 * 1e9)
			s = ask[RetentionStatus](w.rig, "retention.status", None{})
			w.expect("at it", s.Due, 1)
		}},
	}
}

// archived keeps ada's data at hand and her out of everything that runs.
func archived(w *story) {
	w.everything()
	was := w.portrait(w.id())
	v := ask[ContactView](w.rig, "contact.archive", ContactID{ID: w.id()})
	w.expect("it", []any{v.State, v.Archived, v.Email}, []any{crm.Live, true, "ada@example.com"})
	w.expect("members", []int64{w.members("list.list", "News"), w.members("campaign.list", "Spring")}, []int64{0, 0})
	w.expect("on the list", w.live(ContactList{List: "News"}), []string{})
	w.expect("her records", w.there(w.id()), everyKind)
	w.no("campaign.sent", CampaignSent{Campaign: "Spring", Contact: w.id()}, crm.CodeStale)
	ask[ContactView](w.rig, "contact.tag", ContactTag{ID: w.id(), Remove: []string{"Nurture"}})
	ask[ContactView](w.rig, "contact.tag", ContactTag{ID: w.id(), Add: []string{"Nurture"}})
	w.pass(31 * crm.Day)
	runs := ask[RunPage](w.rig, "run.list", RunList{Contact: w.id()}).Runs
	w.expect("her runs", len(runs), 1)
	w.expect("her run", runs[0].Status, crm.RunSuspended)
	ask[ContactView](w.rig, "contact.unarchive", ContactID{ID: w.id()})
	w.pass(crm.Day)
	w.expect("nothing starts", ask[RunPage](w.rig, "run.list", RunList{}).Total, 1)
	w.expect("members", w.members("list.list", "News"), 1)
	is := w.see(w.id())
	w.expect("her data", []any{is.Archived, is.Name, is.Lists, is.Fields}, []any{false, w.ada.Name, w.ada.Lists, w.ada.Fields})
	w.expect("her links", strings.Count(w.portrait(w.id()), `"since"`), strings.Count(was, `"since"`))
}
