package server

import (
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID.String()
	bob := r.contact("bob@example.com").ID.String()
	var made []RecordItem
	for _, kind := range []string{"conversation", "note", "task", "appointment", "manual_action"} {
		v := ask[RecordItem](r, "record.create", RecordCreate{Contact: ada, Kind: kind, Title: "A " + kind, Body: "text", Status: "open", Due: "2026-04-01T09:00:00Z"})
		if v.Kind.String() != kind || v.Title != "A "+kind || v.Body != "text" || v.Status != "open" || v.Due.String() != "2026-04-01T09:00:00Z" || v.CreatedAt == 0 {
			t.Errorf("%+v", v)
		}
		made = append(made, v)
	}
	talk := made[0].ID
	msg := ask[RecordItem](r, "record.create", RecordCreate{Contact: ada, Kind: "message", Body: "Hello", Parent: talk})
	if msg.Parent != talk {
		t.Errorf("%+v", msg)
	}

	// an id is taken once, whatever the kind
	id := crm.ItemID{5}
	q := RecordCreate{Contact: ada, ID: id, Kind: "note", Title: "Once"}
	if v := ask[RecordItem](r, "record.create", q); v.ID != id {
		t.Errorf("%+v", v)
	}
	r.refused("record.create", q, crm.CodeConflict)
	q.Kind = "task"
	r.refused("record.create", q, crm.CodeConflict)

	// an update changes what it names; an empty text removes
	got := ask[RecordItem](r, "record.update", RecordUpdate{Contact: ada, Record: made[2].ID, Title: ptr("Other"), Due: ptr("")})
	if got.Title != "Other" || got.Due != 0 || got.Body != "text" || got.Status != "open" || got.CreatedAt != made[2].CreatedAt {
		t.Errorf("%+v", got)
	}
	r.refused("record.update", RecordUpdate{Contact: ada, Record: made[2].ID}, crm.CodeInvalid)
	r.refused("record.update", RecordUpdate{Contact: ada, Record: made[2].ID, Status: ptr("\n")}, crm.CodeInvalid)
	r.refused("record.update", RecordUpdate{Contact: ada, Record: made[2].ID, Due: ptr("x")}, crm.CodeInvalid)
	r.refused("record.update", RecordUpdate{Contact: bob, Record: made[2].ID, Title: ptr("x")}, crm.CodeNotFound)

	// a conversation takes its messages along
	r.clock.Advance(time.Hour)
	gone := ask[RecordItem](r, "record.delete", RecordDelete{Contact: ada, Record: talk})
	kinds := RecordList{ID: ada, Kinds: []string{"message", "conversation"}}
	page := ask[RecordPage](r, "record.list", kinds).Records
	if len(page) != 2 || page[0].DeletedAt != gone.DeletedAt || page[1].DeletedAt != gone.DeletedAt || page[1].Parent != talk || gone.DeletedAt == 0 {
		t.Errorf("%+v", page)
	}
	r.refused("record.list", RecordList{ID: ada, Kinds: []string{"company"}}, crm.CodeInvalid)
	r.refused("record.delete", RecordDelete{Contact: ada, Record: msg.ID}, crm.CodeNotFound)
	r.refused("record.update", RecordUpdate{Contact: ada, Record: msg.ID, Title: ptr("x")}, crm.CodeNotFound)
	r.refused("record.create", RecordCreate{Contact: ada, Kind: "message", Body: "x", Parent: talk}, crm.CodeNotFound)
}

func TestBadRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID.String()
	bob := r.contact("bob@example.com").ID.String()
	talk := ask[RecordItem](r, "record.create", RecordCreate{Contact: ada, Kind: "conversation", Title: "SMS"}).ID
	for name, bad := range map[string]RecordCreate{
		"kind":            {Kind: "list", Title: "x"},
		"no kind":         {Title: "x"},
		"nothing":         {Kind: "note", Title: " "},
		"due":             {Kind: "task", Title: "x", Due: "soon"},
		"far due":         {Kind: "task", Title: "x", Due: "9999-01-01T00:00:00Z"},
		"parent missing":  {Kind: "message", Body: "x"},
		"parent too much": {Kind: "note", Title: "x", Parent: talk},
		"title":           {Kind: "note", Title: strings.Repeat("é", maxTitle+1)},
		"title's signs":   {Kind: "note", Title: "a\x1b[2J"},
		"status":          {Kind: "note", Title: "x", Status: strings.Repeat("x", maxStatus+1)},
		"body":            {Kind: "note", Body: strings.Repeat("x", maxBody+1)},
		"NUL":             {Kind: "note", Body: "\x00"},
	} {
		bad.Contact = ada
		if r.refused("record.create", bad, crm.CodeInvalid) == "" {
			t.Errorf("above: %s", name)
		}
	}
	r.refused("record.create", RecordCreate{Contact: ada, Kind: "message", Body: "x", Parent: crm.ItemID{9}}, crm.CodeNotFound)
	r.refused("record.create", RecordCreate{Contact: bob, Kind: "message", Body: "x", Parent: talk}, crm.CodeNotFound)
	r.refused("record.create", RecordCreate{Contact: "nobody", Kind: "note", Title: "x"}, crm.CodeNotFound)
	ask[RecordItem](r, "record.create", RecordCreate{Contact: bob, Kind: "note", Title: strings.Repeat("é", maxTitle), Body: strings.Repeat("\n", maxBody)})
}

// A restore that leaves records behind hides them, and an id of one of them is free again.
func TestRecordsLeftBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID
	note := ask[RecordItem](r, "record.create", RecordCreate{Contact: ada.String(), Kind: "note", Title: "Before"})
	if err := r.app.Store.Update(t.Context(), leavesNothing(t)); err != nil {
		t.Fatal(err)
	}
	r.delete(ada, "")
	r.refused("record.list", RecordList{ID: ada.String()}, crm.CodeDeleted)
	r.refused("record.create", RecordCreate{Contact: ada.String(), Kind: "note", Title: "x"}, crm.CodeDeleted)
	ask[ReceiptView](r, "contact.restore", ContactRestore{ID: ada.String(), Confirm: "yes"})
	if page := ask[RecordPage](r, "record.list", RecordList{ID: ada.String()}); len(page.Records) > 0 {
		t.Errorf("%+v", page)
	}
	r.refused("record.update", RecordUpdate{Contact: ada.String(), Record: note.ID, Title: ptr("x")}, crm.CodeNotFound)
	ask[RecordItem](r, "record.create", RecordCreate{Contact: ada.String(), ID: note.ID, Kind: "note", Title: "After"})
}

func TestMessagesAreImported(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	r.must(r.try(crm.Admin, "contact.import", ImportOptions{}, nil, strings.NewReader("Contact Id,Email\nx1,ada@example.com\n")))
	var done Imported
	r.must(r.try(crm.Admin, "record.import", ImportOptions{}, &done, strings.NewReader(
		`{"kind":"message","id":"m0","contact":"x1","conversation":"v1","body":"too early"}`+"\n"+
			`{"kind":"conversation","id":"v1","contact":"x1","title":"SMS"}`+"\n"+
			`{"kind":"message","id":"m1","contact":"x1","conversation":"v1","body":"Hello"}`+"\n")))
	page := ask[RecordPage](r, "record.list", RecordList{ID: "x1"}).Records
	if len(page) != 2 || page[1].Kind != crm.Message || page[1].Parent != page[0].ID || codes(done.Rejected) != "1 not_found" {
		t.Errorf("%+v, %+v", page, done)
	}
}

// leavesNothing sets a policy by which a restore leaves associated data behind.
func leavesNothing(t *testing.T) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			t.Fatal(err)
		}
		p := acc.Policy.Clone()
		for kind := range p.Restore.Associated {
			p.Restore.Associated[kind] = false
		}
		_, err = tx.SetPolicy(crm.Actor{ID: "user:test", Role: crm.Admin}, acc.ID, p)
		return err
	}
}
