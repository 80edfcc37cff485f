package server

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// thing makes what a verb about records and objects needs, and gives a request that an admin's call
// succeeds with; None for other verbs.
func (r *rig) thing(verb, ada string) any {
	noun, act, _ := strings.Cut(verb, ".")
	kind, _ := crm.ParseItemKind(noun)
	switch {
	case verb == "contact.dnd":
		return ContactDND{ID: ada, On: []string{"sms"}}
	case verb == "record.create":
		return RecordCreate{Contact: ada, Kind: "note", Title: "Called"}
	case verb == "record.update":
		title := "Called twice"
		n := ask[RecordItem](r, "record.create", RecordCreate{Contact: ada, Kind: "note", Title: "Called"})
		return RecordUpdate{Contact: ada, Record: n.ID, Title: &title}
	case verb == "tag.delete":
		ask[ContactView](r, "contact.tag", ContactTag{ID: ada, Add: []string{"VIP"}})
		return TagDelete{Name: "vip", Confirm: "yes"}
	case verb == "opportunity.create":
		return OpportunityCreate{Name: "Roof", Contacts: []string{ada}}
	case act == "list" || noun == "tag" || !slices.Contains(crm.ObjectKinds, kind):
		return None{}
	case act == "create":
		return ObjectCreate{Name: "Acme"}
	}
	return r.aboutObject(noun, act, ada)
}

func (r *rig) aboutObject(noun, act, ada string) any {
	if noun == "opportunity" {
		ask[OpportunityView](r, "opportunity.create", OpportunityCreate{Name: "Acme", Contacts: []string{ada}})
	} else {
		ask[NamedView](r, noun+".create", ObjectCreate{Name: "Acme"})
		ask[Placement](r, noun+".add", map[string]string{noun: "Acme", "contact": ada})
	}
	switch act {
	case "rename":
		return ObjectRename{Object: "acme", Name: "Other"}
	case "delete":
		return ObjectDelete{Object: "acme", Confirm: "yes"}
	case "update":
		return map[string]string{noun: "acme", "stage": "offer"}
	case "remove":
		return Membership{Object: "acme", Contact: ada}
	case "due":
		return CampaignDue{Campaign: "acme"}
	case "sent": // with something to send
		ask[Placement](r, "campaign.remove", Membership{Object: "acme", Contact: ada})
		ask[Placement](r, "campaign.add", CampaignAdd{Campaign: "acme", Contact: ada, Due: "2026-01-01T00:00:00Z"})
	}
	return map[string]string{noun: "acme", "contact": ada}
}

func ptr[T any](v T) *T { return &v }

// A request with a member that a verb does not know is refused: a misspelt option of something that
// deletes must not be ignored.
func TestUnknownMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	for _, verb := range Verbs() {
		err := r.try(crm.Admin, verb, map[string]any{"no_such_member": 1}, nil, io.Reader(nil))
		if crm.CodeOf(err) != crm.CodeInvalid {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestDND(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID.String()
	v := ask[ContactView](r, "contact.dnd", ContactDND{ID: ada, On: []string{"SMS", "call"}, Off: []string{"email"}})
	if strings.Join(v.DND, ",") != "SMS,call" {
		t.Errorf("%+v", v)
	}
	if v := ask[ContactView](r, "contact.dnd", ContactDND{ID: ada, Off: []string{"sms"}}); strings.Join(v.DND, ",") != "call" {
		t.Errorf("%+v", v)
	}
	for _, q := range []ContactDND{{}, {On: []string{""}}, {Off: []string{"a\nb"}}, {On: []string{"sms"}, Off: []string{"SMS"}}} {
		q.ID = ada
		r.refused("contact.dnd", q, crm.CodeInvalid)
	}
}
