package triggers

import (
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// What Explain tells is what Bool decides, part by part, and the values are those that decided.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	c := &crm.Contact{ID: crm.ContactID{1}, Tags: []crm.Tag{{Name: "VIP"}}, Email: crm.Identity{Value: "ada@example.org"}}
	crm.ChangeFact(c, crm.SetField{Name: "plan", Value: crm.Text("pro")}, 1, 1, false)
	ev := &crm.Event{Kind: crm.ContactTagAdded, After: c, Data: crm.EventData{Name: "VIP"}}
	env := Env{Event: ev, Contact: c, Now: crm.Day}
	for _, tt := range []struct {
		text    string
		results []string
		name    string // of a value of the last part that was looked at
		value   any
	}{
		{`event.tag == "vip"`, []string{"true"}, "event.tag", "VIP"},
		{`event.tag == "Lead"`, []string{"false"}, "event.tag", "VIP"},
		{`event.tag == "vip" and contact.email == "x" and contact.archived`, []string{"true", "false", "not_looked_at"}, "contact.email", "ada@example.org"},
		{`contact.fields.plan > 3 and contact.archived`, []string{"error", "not_looked_at"}, "", nil},
		{`event.tag == "Lead" or contact.email != ""`, []string{"true"}, "contact.email", "ada@example.org"},
	} {
		e, err := CompileExpr(Source{Text: tt.text, Scope: ScopeEvent | ScopeContact, Event: crm.ContactTagAdded}, Bool)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		parts := e.Explain(env)
		if is, err := e.Bool(env); is != Held(parts) || (err != nil) != (tt.results[0] == "error") {
			t.Errorf("%s is %t (%v), and explained as %+v", tt.text, is, err, parts)
		}
		if len(parts) != len(tt.results) {
			t.Fatalf("%s has %d parts", tt.text, len(parts))
		}
		var last Part
		for i, p := range parts {
			if p.Result != tt.results[i] {
				t.Errorf("%s: part %d is %s, want %s", tt.text, i, p.Result, tt.results[i])
			}
			if p.Result != "not_looked_at" {
				last = p
			} else if len(p.Values) > 0 {
				t.Errorf("%s: values of a part that was not looked at", tt.text)
			}
		}
		if tt.name != "" && last.Values[tt.name] != tt.value {
			t.Errorf("%s: %s is shown as %v of %v", tt.text, tt.name, last.Values[tt.name], last.Values)
		}
	}
}
