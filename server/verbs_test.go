package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func TestContactsAreCheckedLikeImports(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID.String()
	long := func(n int) string { return strings.Repeat("é", n) }
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		create ContactCreate
		update ContactUpdate
		good   bool
	}{
		"e-mail":            {ContactCreate{Email: "nobody"}, ContactUpdate{Email: text("nobody")}, false},
		"phone":             {ContactCreate{Phone: "call me"}, ContactUpdate{Phone: text("call me")}, false},
		"nobody":            {ContactCreate{Tags: []string{"VIP"}}, ContactUpdate{Email: text("")}, false},
		"not even a field":  {ContactCreate{Fields: map[string]string{"plan": "pro"}}, ContactUpdate{}, false},
		"field's name":      {ContactCreate{Email: "a@example.com", Fields: map[string]string{long(101): "x"}}, ContactUpdate{Fields: map[string]string{long(101): "x"}}, false},
		"blank name":        {ContactCreate{Email: "a@example.com", Fields: map[string]string{" ": "x"}}, ContactUpdate{Fields: map[string]string{" ": "x"}}, false},
		"field's value":     {ContactCreate{Email: "a@example.com", Fields: map[string]string{"a": strings.Repeat("x", 65537)}}, ContactUpdate{Fields: map[string]string{"a": strings.Repeat("x", 65537)}}, false},
		"NUL":               {ContactCreate{Email: "a@example.com", Fields: map[string]string{"a": "\x00"}}, ContactUpdate{Fields: map[string]string{"a": "\x00"}}, false},
		"just a first name": {ContactCreate{Fields: map[string]string{"first_name": "Bob"}}, ContactUpdate{Email: text(""), Fields: map[string]string{"first_name": "Ada"}}, true},
		"at the bounds": {ContactCreate{Phone: "+12025550199", Fields: map[string]string{long(100): strings.Repeat("x", 65536)}, Tags: []string{long(200)}},
			ContactUpdate{Phone: text("+12025550198"), Fields: map[string]string{long(100): strings.Repeat("x", 65536)}}, true},
	} {
		c.update.ID = ada
		if c.good {
			ask[ContactView](r, "contact.create", c.create)
			ask[ContactView](r, "contact.update", c.update)
			ask[ContactView](r, "contact.update", ContactUpdate{ID: ada, Email: text("ada@example.com"), Phone: text(""), Fields: map[string]string{"first_name": ""}})
		} else if r.refused("contact.create", c.create, crm.CodeInvalid) == "" || r.refused("contact.update", c.update, crm.CodeInvalid) == "" {
			t.Errorf("above: %s", name)
		}
		ada = ask[ContactView](r, "contact.get", ContactID{ID: "ada@example.com"}).ID.String()
	}
	for _, tag := range []string{"", " ", long(201), "a\nb", "a\x1b[2J"} {
		r.refused("contact.tag", ContactTag{ID: ada, Add: []string{"good", tag}}, crm.CodeInvalid)
		r.refused("contact.create", ContactCreate{Email: "b@example.com", Tags: []string{tag}}, crm.CodeInvalid)
	}
	r.refused("contact.delete", ContactDelete{ID: ada, Confirm: "DELETE", Reason: long(1001)}, crm.CodeInvalid)
	r.refused("contact.restore", ContactRestore{ID: ada, Confirm: "yes", Reason: long(1001)}, crm.CodeInvalid)
	r.refused("contact.tag", ContactTag{ID: ada}, crm.CodeInvalid)
	if got := ask[ContactView](r, "contact.get", ContactID{ID: ada}); len(got.Tags) > 0 || got.State != crm.Live {
		t.Errorf("after all that was refused: %+v", got)
	}
}

// An update changes what it names and nothing else, by one event a fact.
func TestUpdate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	v := ask[ContactView](r, "contact.create", ContactCreate{Email: "ada@example.com", Phone: "+12025550199", Fields: map[string]string{"plan": "free", "city": "Rome"}})
	email := "ada@example.org"
	got := ask[ContactView](r, "contact.update", ContactUpdate{ID: v.ID.String(), Email: &email, Fields: map[string]string{"plan": "gold", "city": ""}})
	if got.Email != email || got.Phone != v.Phone || got.Fields["plan"] != "gold" || len(got.Fields) != 1 || got.Revision != v.Revision+3 {
		t.Errorf("after the update: %+v", got)
	}
	again := ask[ContactView](r, "contact.update", ContactUpdate{ID: email, Fields: map[string]string{"plan": "gold"}})
	if again.Revision != got.Revision {
		t.Errorf("an update to what there is made revision %d of %d", again.Revision, got.Revision)
	}
	r.contact("bob@example.com")
	bobs := "bob@example.com"
	r.refused("contact.update", ContactUpdate{ID: v.ID.String(), Email: &bobs}, crm.CodeConflict)
}

// A deleted contact that is named by its address is said to be deleted, not to be nobody; a live one
// that is to be restored is said to be live.
func TestNamesReachTheOtherState(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID
	r.delete(ada, "asked for it")
	for verb, q := range map[string]any{
		"contact.get":    ContactID{ID: "ada@example.com"},
		"contact.tag":    ContactTag{ID: "ada@example.com", Add: []string{"x"}},
		"contact.update": ContactUpdate{ID: "ada@example.com", Fields: map[string]string{"a": "b"}},
		"contact.delete": ContactDelete{ID: "ada@example.com", Confirm: "DELETE"},
		"record.list":    ContactID{ID: "ada@example.com"},
	} {
		if said := r.refused(verb, q, crm.CodeDeleted); !strings.Contains(said, "contact restore "+ada.String()) {
			t.Errorf("%s says %s", verb, said)
		}
	}
	if twin := r.contact("ada@example.com").ID; ask[ContactView](r, "contact.get", ContactID{ID: "ada@example.com"}).ID != twin {
		t.Error("the live one of two is not found by its address")
	} else {
		said := r.refused("contact.get", ContactID{ID: "ada@example.com", Deleted: true}, crm.CodeConflict)
		if !strings.Contains(said, twin.String()) || !strings.Contains(said, ada.String()) {
			t.Errorf("two of one address: %s", said)
		}
		r.delete(twin, "")
		if said := r.refused("contact.get", ContactID{ID: "ada@example.com"}, crm.CodeDeleted); !strings.Contains(said, twin.String()) {
			t.Errorf("two deleted ones of one address: %s", said)
		}
	}
	bob := r.contact("bob@example.com").ID
	r.refused("contact.restore", ContactRestore{ID: "bob@example.com", Confirm: "yes"}, crm.CodeNotDeleted)
	r.refused("contact.restore", ContactRestore{ID: bob.String(), Confirm: "yes"}, crm.CodeNotDeleted)
	r.refused("contact.get", ContactID{ID: "cy@example.com"}, crm.CodeNotFound)
}

func TestTombstoneAndReceipt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID
	if v := ask[ContactView](r, "contact.get", ContactID{ID: ada.String(), Deleted: true}); v.Tombstone != nil {
		t.Errorf("a live contact has a tombstone: %+v", v.Tombstone)
	}
	r.delete(ada, "asked for it")
	v := ask[ContactView](r, "contact.get", ContactID{ID: ada.String(), Deleted: true})
	now := crm.At(r.clock.Now())
	if want := (TombstoneView{DeletedAt: now, RestorableUntil: now + 60*crm.Day, By: "user:test", Reason: "asked for it"}); v.Tombstone == nil || *v.Tombstone != want {
		t.Errorf("the tombstone is %+v, want %+v", v.Tombstone, want)
	}
	if err := r.app.Engine.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	restored := ask[ReceiptView](r, "contact.restore", ContactRestore{ID: ada.String(), Confirm: "yes", Reason: "by mistake"})
	if restored.LookedAt || restored.Suppressed == nil || restored.Items == nil || restored.Reason != "by mistake" {
		t.Errorf("the restore's receipt is %+v", restored)
	}
	if before := ask[ReceiptView](r, "contact.receipt", ContactID{ID: ada.String()}); before.LookedAt {
		t.Error("looked at before anything looked")
	}
	if err := r.app.Engine.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := ask[ReceiptView](r, "contact.receipt", ContactID{ID: ada.String()}); !after.LookedAt || after.Suppressed == nil {
		t.Errorf("after the dispatcher looked the receipt is %+v", after)
	}
	raw, err := r.app.Answer(t.Context(), crm.Actor{Role: crm.Admin}, "contact.receipt", []byte(`{"id":"`+ada.String()+`"}`), nil)
	if err != nil || !strings.Contains(string(raw), `"triggers_suppressed":[]`) || !strings.Contains(string(raw), `"looked_at":true`) {
		t.Errorf("%s, %v", raw, err)
	}
}

// A list goes through so many pages of the engine a call; who wants the rest follows next, and comes
// through all of it once.
func TestContactListIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	const n = 400
	var csv strings.Builder
	csv.WriteString("Email,Tags\n")
	for i := range n {
		fmt.Fprintf(&csv, "c%d@example.com,%s\n", i, map[bool]string{true: "rare"}[i%100 == 99])
	}
	r.must(r.try(crm.Admin, "contact.import", ImportOptions{}, nil, strings.NewReader(csv.String())))
	for _, q := range []ContactList{{Limit: 7}, {Limit: MaxPage}, {Tag: "rare", Limit: 3}} {
		seen := map[crm.ContactID]bool{}
		for calls := 0; ; calls++ {
			page := ask[ContactPage](r, "contact.list", q)
			for _, v := range page.Contacts {
				if seen[v.ID] {
					t.Fatalf("%s came twice", v.ID)
				}
				seen[v.ID] = true
			}
			if len(page.Contacts) > q.Limit || calls > n {
				t.Fatalf("%d contacts in call %d", len(page.Contacts), calls)
			}
			if q.After = page.Next; q.After == "" {
				if q.Limit == MaxPage && calls == 0 {
					t.Errorf("one call went through more than %d pages", maxScans)
				}
				break
			}
		}
		if want := map[string]int{"": n, "rare": n / 100}[q.Tag]; len(seen) != want {
			t.Errorf("%+v: %d contacts, want %d", q, len(seen), want)
		}
	}
	for _, limit := range []int{-1, MaxPage + 1} {
		if said := r.refused("contact.list", ContactList{Limit: limit}, crm.CodeInvalid); !strings.Contains(said, "10000") {
			t.Errorf("limit %d: %s", limit, said)
		}
		r.refused("run.list", RunList{Limit: limit}, crm.CodeInvalid)
	}
}

func TestRunsAreListed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "plain.yaml", Content: []byte(plainWorkflow)}}})
	var ids []crm.ContactID
	for i := range 30 {
		ids = append(ids, r.contact(fmt.Sprintf("c%d@example.com", i)).ID)
		r.clock.Advance(time.Second)
		r.must(r.app.Engine.Settle(t.Context()))
	}
	r.delete(ids[0], "")
	page := ask[RunPage](r, "run.list", RunList{Limit: 4})
	if page.Total != 30 || len(page.Runs) != 4 || page.Runs[3].Contact != ids[29] || page.Runs[0].Contact != ids[26] {
		t.Errorf("the latest four: %+v", page)
	}
	if page := ask[RunPage](r, "run.list", RunList{Status: crm.RunSuspended}); page.Total != 1 || page.Runs[0].Contact != ids[0] {
		t.Errorf("the suspended one: %+v", page)
	}
	if page := ask[RunPage](r, "run.list", RunList{Contact: "c7@example.com", Workflow: "plain"}); page.Total != 1 || page.Runs[0].Contact != ids[7] {
		t.Errorf("that of one contact: %+v", page)
	}
	if ws := ask[WorkflowPage](r, "workflow.list", None{}).Workflows; len(ws) != 1 || *ws[0].Unfinished != 30 {
		t.Errorf("the workflows: %+v", ws)
	}
	r.refused("run.list", RunList{Workflow: "other"}, crm.CodeNotFound)
	r.refused("run.list", RunList{Status: "exited"}, crm.CodeInvalid)
	for _, s := range RunStatuses {
		ask[RunPage](r, "run.list", RunList{Status: s})
	}
}

// All grants that are missing are named at once.
func TestMissingGrants(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ws := []WorkflowView{{ID: "a", Needs: []string{"contact.delete", "contact.restore"}}, {ID: "b", Needs: []string{"contact.delete"}}, {ID: "c"}}
	c := &call{App: r.app, ctx: t.Context(), by: crm.Actor{Role: crm.Admin}}
	err := c.Store.View(t.Context(), func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if given, err := grantsFor(tx, acc.ID, ws, []string{"contact.delete", "contact.restore"}); err != nil || len(given[0]) != 2 || len(given[1]) != 1 || len(given[2]) != 0 {
			t.Errorf("with all: %v, %v", given, err)
		}
		_, err = grantsFor(tx, acc.ID, ws, nil)
		return err
	})
	e, ok := err.(*crm.Error)
	if !ok || e.Code != crm.CodeNoGrant || strings.Count(e.Error(), "needs the grant") != 3 || strings.Count(e.Hint, "--grant") != 2 {
		t.Errorf("without any: %v, %+v", err, e)
	}
}

func TestRecordIsDeletedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	r.must(r.try(crm.Admin, "contact.import", ImportOptions{}, nil, strings.NewReader("Contact Id,Email\nx1,ada@example.com\n")))
	r.must(r.try(crm.Admin, "record.import", ImportOptions{}, nil, strings.NewReader(`{"kind":"note","id":"n1","contact":"x1","title":"Called"}`+"\n")))
	records := ask[RecordPage](r, "record.list", ContactID{ID: "x1"}).Records
	q := RecordDelete{Contact: "x1", Record: records[0].ID}
	first := ask[RecordView](r, "record.delete", q)
	r.clock.Advance(time.Hour)
	if said := r.refused("record.delete", q, crm.CodeNotFound); !strings.Contains(said, "was deleted at "+first.DeletedAt.String()) {
		t.Errorf("the second time: %s", said)
	}
	if said := r.refused("record.delete", RecordDelete{Contact: "x1", Record: crm.ItemID{9}}, crm.CodeNotFound); strings.Contains(said, "was deleted") {
		t.Errorf("one that never was: %s", said)
	}
}

// Rejected rows come back whole, whatever refused them, in the order of the file, under its header.
func TestRejectsAreWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	r.contact("taken@example.com")
	var done Imported
	r.must(r.try(crm.Admin, "contact.import", ImportOptions{}, &done, strings.NewReader(
		"First Name,Email,Phone\nA,taken@example.com,+12025550101\nB,b@example.com\n'=C,nobody,+12025550103\nD,\"d@example.com,1\nE,e@example.com,\n")))
	want := []string{
		"2 conflict A|taken@example.com|+12025550101", "3 columns B|b@example.com",
		"4 bad_email =C|nobody|+12025550103", "5 quoting D,\"d@example.com,1",
	}
	var got []string
	for _, rej := range done.Rejected {
		got = append(got, fmt.Sprintf("%d %s %s", rej.Line, rej.Code, strings.Join(rej.Row, "|")))
	}
	if !slices.Equal(got, want) || strings.Join(done.Header, "|") != "First Name|Email|Phone" || done.Created != 1 {
		t.Errorf("header %v, taken in %d, rejects\n%s\nwant\n%s", done.Header, done.Created, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	done = Imported{}
	r.must(r.try(crm.Admin, "contact.import", ImportOptions{}, &done, strings.NewReader(
		"line,code,reason,First Name,Email\n2,conflict,because,A,fixed@example.com\n3,columns,why,B\n4,encoding,why,C\ufffd,c@example.com\n")))
	if done.Created != 1 || codes(done.Rejected) != "3 columns, 4 encoding" || strings.Join(done.Rejected[0].Row, "|") != "B" || strings.Join(done.Header, "|") != "First Name|Email" {
		t.Errorf("a mended file of rejects: %+v", done)
	}
	if v := ask[ContactView](r, "contact.get", ContactID{ID: "fixed@example.com"}); len(v.Fields) != 1 || v.Name != "A" {
		t.Errorf("what was mended is %+v", v)
	}
}
