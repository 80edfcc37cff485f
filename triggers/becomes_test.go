package triggers

import (
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// becoming compiles a condition that has to become true.
func becoming(t *testing.T, text string) *Trigger {
	t.Helper()
	trigger, err := CompileBecomes(Source{File: "f", Text: text})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return trigger
}

// Each change is made to a contact that has the tag a, the field plan=pro with score=5, the list news and
// do-not-disturb for sms; the condition has to match exactly when the change makes it true.
func TestBecomes(t *testing.T) {
	t.Parallel()
	news := crm.ItemID{1}
	k := crm.Key{Account: crm.AccountID{1}, Contact: crm.ContactID{1}}
	base := &crm.Contact{Account: k.Account, ID: k.Contact}
	for _, m := range []crm.Mutation{
		crm.AddTag{Tag: "a"}, crm.SetField{Name: "plan", Value: crm.Text("pro")}, crm.SetField{Name: "score", Value: crm.Number(5)},
		crm.SetMembership{List: news, Status: crm.Subscribed}, crm.SetDND{Channel: "sms", On: true}, crm.SetIdentity{Name: "email", Value: "ada@example.org"},
	} {
		crm.ChangeFact(base, m, 1, 1, false)
	}
	names := func(crm.ItemID) string { return "News" }
	for _, c := range []struct {
		becomes string
		change  crm.Mutation
		want    bool
	}{
		{`"b" in contact.tags`, crm.AddTag{Tag: "B"}, true},
		{`"a" in contact.tags`, crm.AddTag{Tag: "b"}, false},                        // it was so before
		{`"a" in contact.tags and "b" in contact.tags`, crm.AddTag{Tag: "b"}, true}, // together
		{`not ("a" in contact.tags)`, crm.RemoveTag{Tag: "A"}, true},
		{`not ("x" in contact.tags)`, crm.RemoveTag{Tag: "a"}, false},
		{`contact.fields["score"] > 3`, crm.SetField{Name: "score", Value: crm.Number(9)}, false}, // 5 was more than 3
		{`contact.fields["score"] > 7`, crm.SetField{Name: "score", Value: crm.Number(9)}, true},
		{`contact.fields["plan"] == "free"`, crm.SetField{Name: "plan", Value: crm.Text("free")}, true},
		{`contact.fields["plan"] == "pro"`, crm.SetField{Name: "score", Value: crm.Number(9)}, false},
		{`contact.email == "new@example.org"`, crm.SetIdentity{Name: "email", Value: "new@example.org"}, true},
		{`contact.lists["News"] == "unsubscribed"`, crm.SetMembership{List: news, Status: crm.Unsubscribed}, true},
		{`contact.lists["News"] == "subscribed"`, crm.SetMembership{List: news, Status: crm.Unsubscribed}, false},
		{`contact.archived`, crm.Archive{On: true}, true},
	} {
		after := base.Clone()
		kind, data, changed := crm.ChangeFact(after, c.change, 2, 2, false)
		if !changed {
			t.Fatalf("%#v changes nothing", c.change)
		}
		ev := &crm.Event{Kind: kind, Account: k.Account, Contact: k.Contact, Data: data, After: after}
		d, err := becoming(t, c.becomes).match(ev, 2, names)
		if d.Matched != c.want || err != nil {
			t.Errorf("%s after %#v: %+v, %v", c.becomes, c.change, d, err)
		}
	}
	created := &crm.Event{Kind: crm.ContactCreated, Account: k.Account, Contact: k.Contact, After: base}
	if d, err := becoming(t, `"a" in contact.tags`).match(created, 2, names); !d.Matched || err != nil {
		t.Errorf("of somebody new it becomes true: %+v, %v", d, err)
	}
	for _, bad := range []string{`true`, `now.year > 2000`, `event.tag == "x"`, `contact.tags`} {
		if _, err := CompileBecomes(Source{File: "f", Text: bad}); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// An event's image of before is the contact as it was, whatever the change.
func TestBeforeIsWhatWas(t *testing.T) {
	t.Parallel()
	base := &crm.Contact{}
	crm.ChangeFact(base, crm.AddTag{Tag: "a"}, 1, 1, false)
	crm.ChangeFact(base, crm.SetField{Name: "n", Value: crm.Number(1.5)}, 1, 1, false)
	for _, m := range []crm.Mutation{crm.AddTag{Tag: "b"}, crm.RemoveTag{Tag: "a"}, crm.SetField{Name: "n", Value: crm.Value{Kind: crm.BoolValue, Bool: true}}, crm.SetField{Name: "n"},
		crm.SetField{Name: "m", Value: crm.Text("x")}, crm.SetDND{Channel: "sms", On: true}, crm.SetIdentity{Name: "phone", Value: "1"}, crm.Archive{On: true}} {
		after := base.Clone()
		kind, data, _ := crm.ChangeFact(after, m, 2, 2, false)
		ev := crm.Event{Kind: kind, Data: data, After: after}
		b := ev.Before()
		if len(b.TagNames()) != 1 || !b.HasTag("a") || !b.Field("n").Equal(crm.Number(1.5)) || b.Field("m").Kind != crm.NoValue || b.OnDND("sms") || b.Phone.Value != "" || b.Archived.On {
			t.Errorf("before %#v it was %+v", m, b)
		}
	}
}
