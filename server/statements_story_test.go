package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// story is a rig with somebody in it.
type story struct {
	*rig
	ada, bob ContactView
	conv     crm.ItemID            // ada's conversation
	kinds    map[string]crm.ItemID // one record of each kind, ada's
	run      RunView               // ada's, waiting
}

// everything makes ada with one of everything, and bob, who shares a deal with her.
func (w *story) everything() {
	w.t.Helper()
	w.associated()
	w.enrolled()
}

const waiting = "version: 1\nid: nurture\ntriggers: [{id: t, event: contact.tag_added, if: event.tag == \"Nurture\"}]\nsteps: [{id: rest, wait: 30d}, {id: end, exit: {status: completed}}]\n"

// enrolled puts ada into a workflow and a campaign whose next message is due in ten days.
func (w *story) enrolled() {
	w.t.Helper()
	w.workflow("nurture", waiting)
	ask[ContactView](w.rig, "contact.tag", ContactTag{ID: w.id(), Add: []string{"Nurture"}})
	w.settle()
	runs := ask[RunPage](w.rig, "run.list", RunList{Contact: w.id()}).Runs
	if len(runs) != 1 || runs[0].Status != crm.RunWaiting {
		w.t.Fatalf("her runs are %+v", runs)
	}
	w.run = runs[0]
	ask[NamedView](w.rig, "campaign.create", ObjectCreate{Name: "Spring"})
	ask[Placement](w.rig, "campaign.add", CampaignAdd{Campaign: "Spring", Contact: w.id(), Due: w.in(10 * crm.Day)})
	w.ada = w.see(w.id())
}

// associated makes ada with everything but enrollments.
func (w *story) associated() {
	w.t.Helper()
	w.bob = w.contact("bob@example.com")
	w.ada = ask[ContactView](w.rig, "contact.create", ContactCreate{Email: "ada@example.com", Phone: "+12025550199", Tags: []string{"VIP", "Lead"},
		Fields: map[string]string{"first_name": "Ada", "last_name": "Byron", "plan": "gold"}})
	for list, status := range map[string]crm.Status{"News": crm.Subscribed, "Offers": crm.Unsubscribed, "Trial": crm.Unconfirmed, "Old": crm.Bounced} {
		ask[NamedView](w.rig, "list.create", ObjectCreate{Name: list})
		ask[Placement](w.rig, "list.add", ListAdd{List: list, Contact: w.id(), Status: status})
	}
	ask[ContactView](w.rig, "contact.dnd", ContactDND{ID: w.id(), On: []string{"sms"}})
	ask[NamedView](w.rig, "company.create", ObjectCreate{Name: "Acme"})
	ask[Placement](w.rig, "company.add", CompanyAdd{Company: "Acme", Contact: w.id()})
	ask[OpportunityView](w.rig, "opportunity.create", OpportunityCreate{Name: "Sole", Stage: "offer", Status: "open", Cents: 4200, Contacts: []string{w.id()}})
	ask[OpportunityView](w.rig, "opportunity.create", OpportunityCreate{Name: "Shared", Stage: "won", Contacts: []string{w.id(), w.bob.ID.String()}})
	w.kinds = map[string]crm.ItemID{}
	for _, kind := range crm.RecordKinds {
		q := RecordCreate{Contact: w.id(), Kind: kind.String(), Title: "a " + kind.String(), Body: "words", Status: "open", Due: w.in(5 * crm.Day)}
		if kind == crm.Message {
			q.Parent = w.conv
		}
		r := ask[RecordItem](w.rig, "record.create", q)
		w.kinds[kind.String()] = r.ID
		if kind == crm.Conversation {
			w.conv = r.ID
		}
	}
	w.ada = w.see(w.id())
}

// id names ada.
func (w *story) id() string { return w.ada.ID.String() }

// in gives the instant so long from now.
func (w *story) in(d crm.Nanos) string { return (crm.At(w.clock.Now()) + d).String() }

func (w *story) now() crm.Nanos { return crm.At(w.clock.Now()) }

func (w *story) pass(d crm.Nanos) {
	w.t.Helper()
	w.clock.Advance(time.Duration(d))
	w.settle()
}

func (w *story) settle() {
	w.t.Helper()
	w.must(w.app.Engine.Settle(w.t.Context()))
}

func (w *story) policy(key string, value any) {
	w.t.Helper()
	ask[PolicySetAnswer](w.rig, "policy.set", PolicySet{Set: map[string]any{key: value}})
}

func (w *story) workflow(id, text string) {
	w.t.Helper()
	if !strings.HasSuffix(text, "\nend: true\n") {
		text += "end: true\n"
	}
	v := ask[Checked](w.rig, "workflow.apply", WorkflowFiles{Files: []File{{Name: id + ".yaml", Content: []byte(text)}}})
	if v.Errors > 0 {
		w.t.Fatalf("%s: %v", id, v.Diagnostics[0])
	}
}

func (w *story) see(id string) ContactView {
	w.t.Helper()
	return ask[ContactView](w.rig, "contact.get", ContactID{ID: id})
}

func (w *story) remove(id string) Deletion {
	w.t.Helper()
	return ask[Deletion](w.rig, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"})
}

func (w *story) restore(id string) ReceiptView {
	w.t.Helper()
	return ask[ReceiptView](w.rig, "contact.restore", ContactRestore{ID: id, Confirm: "yes"})
}

// list follows a list of contacts to its end.
func (w *story) list(q ContactList) (all []ContactView) {
	w.t.Helper()
	for q.Limit = MaxPage; ; {
		page := ask[ContactPage](w.rig, "contact.list", q)
		all = append(all, page.Contacts...)
		if q.After = page.Next; q.After == "" {
			return all
		}
	}
}

func (w *story) deleted(f DeletedFilter) []ContactView {
	w.t.Helper()
	return w.list(ContactList{Deleted: true, Filter: &f})
}

// live gives the addresses of the live contacts that a list shows.
func (w *story) live(q ContactList) (addresses []string) {
	w.t.Helper()
	for _, v := range w.list(q) {
		addresses = append(addresses, v.Email)
	}
	slices.Sort(addresses)
	return addresses
}

// all is a plan's hash for every deleted contact that a filter asks for.
func (w *story) all(f DeletedFilter) BulkRestore {
	w.t.Helper()
	plan := ask[BulkAnswer](w.rig, "bulk.restore", BulkRestore{Filter: &f, Plan: true}).Plan
	return BulkRestore{Filter: &f, Hash: plan.Hash, Confirm: "yes"}
}

// people makes n contacts, p0@example.com and so on, and deletes them, in one transaction.
func (w *story) people(n int) (ids []string) {
	w.t.Helper()
	w.must(w.app.Store.Update(w.t.Context(), func(tx *store.Tx) error {
		ids = nil
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		by, why := crm.Actor{ID: "user:test", Role: crm.Admin}, crm.Cause{Kind: crm.ByPerson}
		for i := range n {
			id, err := tx.NewContactID()
			if err != nil {
				return err
			}
			c := crm.Contact{Account: acc.ID, ID: id, Email: crm.Identity{Value: fmt.Sprintf("p%d@example.com", i)}}
			if _, err := tx.Apply(by, why, crm.Create{Contact: c}, crm.Delete{Contact: c.Key()}); err != nil {
				return err
			}
			ids = append(ids, id.String())
		}
		return nil
	}))
	return ids
}

// code calls a verb as somebody and gives the code of the refusal, "" if it was none.
func (w *story) code(who string, role crm.Role, verb string, q, a any) string {
	w.t.Helper()
	err := w.app.As(crm.Actor{ID: who, Role: role}).Call(w.t.Context(), verb, q, a, nil)
	if err != nil && crm.CodeOf(err) == "" {
		w.t.Fatalf("%s: %v", verb, err)
	}
	return crm.CodeOf(err)
}

// no is a verb that an admin must be refused with a code; it gives the words and the help.
func (w *story) no(verb string, q any, code string) string {
	w.t.Helper()
	err := w.try(crm.Admin, verb, q, nil, nil)
	if crm.CodeOf(err) != code {
		w.t.Errorf("%s: %v, wanted %s", verb, err, code)
		return ""
	}
	said := err.Error()
	if e, ok := err.(*crm.Error); ok {
		said += "\n" + e.Hint
	}
	if strings.Contains(said, "example.com") {
		w.t.Errorf("%s says an address: %s", verb, said)
	}
	return said
}

func (w *story) expect(what string, got, want any) {
	w.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// says wants each part in a text.
func (w *story) says(what, text string, parts ...string) {
	w.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			w.t.Errorf("%s says %q and not %q", what, text, p)
		}
	}
}

// portrait is everything that there is of a live contact but its epoch, and what its runs do: facts,
// instants, revisions, records, links, which runs.
func (w *story) portrait(id string) string {
	w.t.Helper()
	var doc struct {
		Contact map[string]any
		Records []any
		Links   []any
		Runs    []RunView
	}
	w.must(json.Unmarshal(ask[ContactExport](w.rig, "contact.export", ContactID{ID: id}).Document, &doc))
	delete(doc.Contact, "epoch")
	runs := []crm.RunID{}
	for _, r := range doc.Runs {
		runs = append(runs, r.ID)
	}
	raw, err := json.MarshalIndent([]any{doc.Contact, doc.Records, doc.Links, runs}, "", " ")
	w.must(err)
	return string(raw)
}

// same wants a contact to be as it was.
func (w *story) same(id, was string) {
	w.t.Helper()
	if is := w.portrait(id); is != was {
		w.t.Errorf("it was\n%s\nand is\n%s", was, is)
	}
}

// there gives the kinds of the records that are there, deleted ones left out.
func (w *story) there(id string) (kinds []string) {
	w.t.Helper()
	for _, r := range ask[RecordPage](w.rig, "record.list", RecordList{ID: id}).Records {
		if r.DeletedAt == 0 {
			kinds = append(kinds, r.Kind.String())
		}
	}
	return kinds
}

var everyKind = func() (kinds []string) {
	for _, k := range []crm.ItemKind{crm.Conversation, crm.Note, crm.Task, crm.Appointment, crm.ManualAction, crm.Message} {
		kinds = append(kinds, k.String())
	}
	return kinds
}()

// became gives what a receipt says of an item: outcome and reason.
func became(r ReceiptView, kind crm.ItemKind, name string) string {
	for _, it := range r.Items {
		if it.Kind == kind && (name == "" || it.Name == name) {
			return strings.TrimSpace(string(it.Outcome) + " " + string(it.Reason))
		}
	}
	return "not in the receipt"
}

// members counts the members of a list or a campaign.
func (w *story) members(verb, name string) int64 {
	w.t.Helper()
	for _, o := range ask[ObjectPage](w.rig, verb, ObjectList{}).Items {
		if o.Name == name {
			return o.Members
		}
	}
	return -1
}

func (w *story) deal(name string) OpportunityView {
	w.t.Helper()
	for _, gone := range []bool{false, true} {
		for _, o := range ask[OpportunityPage](w.rig, "opportunity.list", OpportunityList{Deleted: gone}).Items {
			if o.Name == name {
				return o
			}
		}
	}
	w.t.Fatalf("there is no deal %s", name)
	return OpportunityView{}
}

// quiet wants the last restore of a contact to have started nothing, by its receipt and by the log.
func (w *story) quiet(id string) {
	w.t.Helper()
	r := ask[ReceiptView](w.rig, "contact.receipt", ContactID{ID: id})
	if r.RunsStarted+r.TimersArmed+r.Sends != 0 {
		w.t.Errorf("the receipt counts %d runs, %d timers, %d sends", r.RunsStarted, r.TimersArmed, r.Sends)
	}
	var proof struct {
		RunsStarted int      `json:"runs_started"`
		RunsWentOn  int      `json:"runs_went_on"`
		Sends       int      `json:"sends"`
		Faults      []string `json:"faults"`
	}
	w.must(w.try(crm.Admin, "contact.verify", ContactID{ID: id}, &proof, nil))
	if proof.RunsStarted+proof.RunsWentOn+proof.Sends+len(proof.Faults) != 0 {
		w.t.Errorf("the log says %+v", proof)
	}
}
