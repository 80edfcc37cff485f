package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// hookedWorkflow starts on requests.
const hookedWorkflow = `version: 1
id: hooked
run: {mode: parallel, max: 100}
triggers:
  - id: form
    webhook: {contact: event.body.email}
    if: not (event.body.plan == "free") and not ("Banned" in contact.tags)
  - id: other
    webhook: {contact: event.body.customer.id, by: external_id}
steps:
  - {id: rest, wait: 1d}
  - {id: done, exit: {status: skipped, reason: "${ event.body.label }"}}
end: true
`

func (r *rig) hooked() {
	r.t.Helper()
	r.account()
	v := ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "hooked.yaml", Content: []byte(hookedWorkflow)}}})
	if len(v.Diagnostics) > 0 {
		r.t.Fatal(v.Diagnostics[0].Render())
	}
}

func hook(trigger, id, body string) WebhookRequest {
	return WebhookRequest{Workflow: "hooked", Trigger: trigger, ID: id, Body: []byte(body)}
}

func (r *rig) totalRuns() int { return ask[RunPage](r, "run.list", RunList{}).Total }

// A request starts a run of the trigger that it names and of no other, once for each id; what came with it is
// there for steps when they are taken, a day later.
func TestWebhookStartsOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hooked()
	ada := r.contact("ada@example.com")
	r.must(r.app.Store.Update(t.Context(), func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err == nil {
			_, err = tx.Apply(crm.Actor{ID: "user:test", Role: crm.Admin}, crm.Cause{Kind: crm.ByPerson},
				crm.SetIdentity{Contact: crm.Key{Account: acc.ID, Contact: ada.ID}, Name: "external_id", Value: "9007199254740993"})
		}
		return err
	}))
	r.settle()
	first := ask[WebhookAnswer](r, "webhook.receive", hook("form", "d1", `{"email": " Ada@Example.com ", "plan": "pro", "label": "Asked"}`))
	if first.Contact != ada.ID || first.Again {
		t.Fatalf("%+v", first)
	}
	for _, body := range []string{`{"email": "ada@example.com"}`, `{"email": "nobody@example.com"}`} { // before and after it was dispatched
		if again := ask[WebhookAnswer](r, "webhook.receive", hook("form", "d1", body)); again.Contact != ada.ID || !again.Again {
			t.Fatalf("%+v", again)
		}
		r.settle()
	}
	if n := r.totalRuns(); n != 1 {
		t.Fatalf("%d runs of one request", n)
	}
	// An id belongs to its webhook; a number is an id too, to its last digit.
	if v := ask[WebhookAnswer](r, "webhook.receive", hook("other", "d1", `{"customer": {"id": 9007199254740993}, "label": "Bought"}`)); v.Again || v.Contact != ada.ID {
		t.Fatalf("%+v", v)
	}
	ask[WebhookAnswer](r, "webhook.receive", hook("form", "d2", `{"email": "ada@example.com", "plan": "free"}`)) // its if does not hold
	r.settle()
	if n := r.totalRuns(); n != 2 {
		t.Fatalf("%d runs of two requests that start one each", n)
	}
	r.clock.Advance(25 * time.Hour)
	r.settle()
	for _, word := range []string{"Asked", "Bought"} {
		if said := fmt.Sprintf("%+v", ask[RunPage](r, "run.list", RunList{})); !strings.Contains(said, word) {
			t.Errorf("no run says %s: %s", word, said)
		}
	}
	// The id is remembered for a month, and forgotten after two.
	for _, c := range []struct {
		days  int
		again bool
	}{{29, true}, {40, false}} {
		r.clock.Advance(time.Duration(c.days) * 24 * time.Hour)
		if v := ask[WebhookAnswer](r, "webhook.receive", hook("form", "d2", `{"email": "ada@example.com", "plan": "free"}`)); v.Again != c.again {
			t.Errorf("%d days later: again %v", c.days, v.Again)
		}
	}
}

// What cannot be taken in is refused with a code and a hint, and leaves nothing behind: neither an entry of the
// log nor a memory of the id.
func TestWebhookRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hooked()
	ada := r.contact("ada@example.com")
	gone := r.contact("gone@example.com")
	r.delete(gone.ID, "asked")
	old := r.contact("old@example.com")
	ask[None](r, "contact.archive", ContactID{ID: old.ID.String()})
	r.settle()
	before, runs := r.counted()
	nest := func(n int) string { return `{"email":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	for _, c := range []struct{ trigger, id, body, code string }{
		{"form", "x", `{"email": "nobody@example.com"}`, crm.CodeNotFound},
		{"form", "x", `{"email": "gone@example.com"}`, crm.CodeDeleted},
		{"form", "x", `{"email": "` + gone.ID.String() + `"}`, crm.CodeDeleted},
		{"form", "x", `{"email": "old@example.com"}`, crm.CodeInvalid},
		{"form", "x", `{}`, crm.CodeInvalid},
		{"form", "x", `{"email": null}`, crm.CodeInvalid},
		{"form", "x", `{"email": {"a": 1}}`, crm.CodeInvalid},
		{"form", "x", `{"email": 1.5}`, crm.CodeNotFound},
		{"form", "x", `{"email": "` + strings.Repeat("a", 2000) + `"}`, crm.CodeInvalid},
		{"other", "x", `{"customer": 3}`, crm.CodeInvalid},
		{"other", "x", `{"customer": {"id": "` + ada.ID.String() + `"}}`, crm.CodeNotFound}, // by says that it is no id
		{"nothing", "x", `{"email": "ada@example.com"}`, crm.CodeNotFound},
		{"form", "", `{"email": "ada@example.com"}`, crm.CodeInvalid},
		{"form", strings.Repeat("x", 201), `{"email": "ada@example.com"}`, crm.CodeInvalid},
		{"form", "x", `["ada@example.com"]`, crm.CodeInvalid},
		{"form", "x", ``, crm.CodeInvalid},
		{"form", "x", `{"email": "ada@example.com", "email": "eve@example.com"}`, crm.CodeInvalid},
		{"form", "x", nest(17), crm.CodeInvalid},
		{"form", "x", `{"email": "ada@example.com", "pad": "` + strings.Repeat("a", crm.MaxBody) + `"}`, crm.CodeInvalid},
	} {
		r.refused("webhook.receive", hook(c.trigger, c.id, c.body), c.code)
	}
	r.refused("webhook.receive", WebhookRequest{Workflow: "none", Trigger: "form", ID: "x", Body: []byte(`{}`)}, crm.CodeNotFound)
	ask[None](r, "workflow.pause", WorkflowID{ID: "hooked"})
	paused, _ := r.counted()
	r.refused("webhook.receive", hook("form", "x", `{"email": "ada@example.com"}`), crm.CodeConflict)
	if after, n := r.counted(); after != paused || paused != before+1 || n != runs { // the pause is an entry
		t.Errorf("%d entries, %d before; %d runs", after, before, n)
	}
	ask[None](r, "workflow.resume", WorkflowID{ID: "hooked"})
	if v := ask[WebhookAnswer](r, "webhook.receive", hook("form", "x", `{"email": "ada@example.com"}`)); v.Again {
		t.Error("a refused request was remembered")
	}
}

// A request that came before a delete starts nothing after the restore, dispatched late as it may be; neither does
// the restore. One that comes after it starts a run.
func TestWebhookAndRestore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hooked()
	ada := r.contact("ada@example.com")
	r.settle()
	const body = `{"email": "ada@example.com"}`
	ask[WebhookAnswer](r, "webhook.receive", hook("form", "early", body)) // nothing dispatches it yet
	r.delete(ada.ID, "asked")
	ask[ReceiptView](r, "contact.restore", ContactRestore{ID: ada.ID.String(), Confirm: "yes"})
	r.settle()
	if n := r.totalRuns(); n != 0 {
		t.Fatalf("%d runs", n)
	}
	if v := ask[WebhookAnswer](r, "webhook.receive", hook("form", "early", body)); !v.Again {
		t.Error("the restore forgot the request")
	}
	ask[WebhookAnswer](r, "webhook.receive", hook("form", "late", body))
	r.settle()
	if n := r.totalRuns(); n != 1 {
		t.Fatalf("%d runs", n)
	}
}

// What came with a request is sealed for its contact, as its facts are: a purge takes it out of the log too.
func TestWebhookBodyIsSealed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hooked()
	ada := r.contact("ada@example.com")
	const secret = "a-word-that-is-hers-alone"
	ask[WebhookAnswer](r, "webhook.receive", hook("form", "x", fmt.Sprintf(`{"email": "ada@example.com", "label": %q}`, secret)))
	r.settle()
	bodies := func() (found bool) {
		r.must(r.app.Store.View(t.Context(), func(tx *store.Tx) error {
			events, _, err := tx.Events(nil, 100)
			for _, ev := range events {
				found = found || strings.Contains(fmt.Sprintf("%+v", ev), secret)
			}
			return err
		}))
		return found
	}
	if !bodies() {
		t.Fatal("the body is not in the log")
	}
	r.delete(ada.ID, "asked")
	r.must(r.try(crm.Admin, "contact.purge", ContactPurge{ID: ada.ID.String(), Confirm: "PURGE", Reason: "asked"}, nil, nil))
	if bodies() {
		t.Error("the body outlived its contact")
	}
}

// The schedules of what is applied, and what the last fire of each came to.
func TestFiresAreShown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	const file = `version: 1
id: nightly
triggers:
  - {id: all, cron: "0 2 * * *", over: contacts, guard: {max_items: 1}}
  - {id: never, cron: "0 2 31 2 *", over: contacts}
steps: [{id: rest, wait: 1d}]
end: true
`
	v := ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "nightly.yaml", Content: []byte(file)}}})
	if v.Warnings != 1 || v.Diagnostics[0].Code != "W321" {
		t.Errorf("%+v", v.Diagnostics)
	}
	r.contact("ada@example.com")
	r.contact("bob@example.com")
	r.settle()
	r.clock.Advance(24 * time.Hour)
	r.settle()
	page := ask[SchedulePage](r, "workflow.fires", WorkflowID{})
	if len(page.Schedules) != 2 {
		t.Fatalf("%+v", page)
	}
	all, never := page.Schedules[0], page.Schedules[1]
	if l := all.Last; l == nil || l.Result != store.FireItems || l.Selected != 2 || l.Of != 2 || l.Started != 0 || l.Why == "" || all.Guarded != 1 || all.Next.String() != "2026-03-04T02:00:00Z" {
		t.Errorf("%+v, last %+v", all, l)
	}
	if never.Next != 0 || never.Last != nil {
		t.Errorf("%+v", never)
	}
	if n := r.totalRuns(); n != 0 {
		t.Errorf("%d runs", n)
	}
}
