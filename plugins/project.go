package plugins

import (
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// projection is what an action declared to read, ready to be asked. It is the only maker of what a
// plugin sees of a contact.
type projection struct {
	words     []string
	fields    []string // folded names of fields.NAME
	allFields bool
}

func projectionOf(s Spec) projection {
	p := projection{words: s.Reads}
	for _, w := range s.Reads {
		if name, ok := strings.CutPrefix(w, "fields."); ok {
			p.fields = append(p.fields, crm.Fold(name))
		}
	}
	p.allFields = p.reads("fields")
	return p
}

func (p projection) reads(word string) bool { return slices.Contains(p.words, word) }

// item puts one item on the wire.
func (p projection) item(it Item) *actionv1.Item {
	out := &actionv1.Item{
		IdempotencyKey: it.Key, Attempt: it.Attempt, ParamsJson: it.Params,
		Run: &actionv1.RunInfo{Id: text(it.Run.ID), Workflow: text(it.Run.Workflow), Step: text(it.Run.Step), StartedAt: int64(it.Run.StartedAt)},
	}
	for _, t := range it.Targets {
		out.Targets = append(out.Targets, p.target(t))
	}
	return out
}

func (p projection) target(t Target) *actionv1.Target {
	out := &actionv1.Target{ContactId: t.key().Contact.String(), Epoch: t.Life.Epoch, ReadsRev: t.ReadsRev}
	switch t.Life.State {
	case crm.Live:
		out.State = actionv1.State_STATE_LIVE
	case crm.Deleted:
		out.State = actionv1.State_STATE_DELETED
	case crm.Purged:
		out.State = actionv1.State_STATE_PURGED
		return out
	}
	if t.Contact != nil {
		out.Contact = p.contact(t.Contact)
	}
	if ts := t.Tombstone; ts != nil && t.Life.State == crm.Deleted && p.reads("tombstone") {
		out.Tombstone = &actionv1.Tombstone{DeletedAt: int64(ts.At), RestorableUntil: int64(ts.RestorableUntil),
			By: text(ts.By.ID), Cause: string(ts.Why.Kind), Reason: text(ts.Reason)}
	}
	return out
}

func (p projection) contact(c *crm.Contact) *actionv1.Contact {
	out := &actionv1.Contact{}
	for _, w := range p.words {
		switch w {
		case "created_at":
			out.CreatedAt = int64(c.CreatedAt)
		case "email":
			out.Email = text(c.Email.Value)
		case "phone":
			out.Phone = text(c.Phone.Value)
		case "external_id":
			out.ExternalId = text(c.External.Value)
		case "tags":
			for _, t := range c.TagNames() {
				out.Tags = append(out.Tags, text(t))
			}
		case "lists":
			for _, m := range c.Lists {
				if !m.Absent {
					out.Lists = append(out.Lists, &actionv1.Membership{ListId: m.List.String(), Status: string(m.Status), Since: int64(m.Since)})
				}
			}
		case "dnd":
			for _, d := range c.DND {
				out.Dnd = append(out.Dnd, &actionv1.Channel{Name: text(d.Name), On: d.On})
			}
		}
	}
	for _, f := range c.Fields {
		if !f.Absent && (p.allFields || slices.Contains(p.fields, crm.Fold(f.Name))) {
			out.Fields = append(out.Fields, &actionv1.Field{Name: text(f.Name), Value: toWire(f.Value)})
		}
	}
	return out
}

// text keeps a stored string that is not UTF-8 from failing the batch that it is in.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func toWire(v crm.Value) *actionv1.Value {
	switch v.Kind {
	case crm.TextValue:
		return &actionv1.Value{Kind: &actionv1.Value_Text{Text: text(v.Text)}}
	case crm.NumberValue:
		return &actionv1.Value{Kind: &actionv1.Value_Number{Number: v.Number}}
	case crm.BoolValue:
		return &actionv1.Value{Kind: &actionv1.Value_Bool{Bool: v.Bool}}
	case crm.InstantValue:
		return &actionv1.Value{Kind: &actionv1.Value_Instant{Instant: int64(v.At)}}
	case crm.ListValue:
		l := &actionv1.TextList{}
		for _, s := range v.List {
			l.Items = append(l.Items, text(s))
		}
		return &actionv1.Value{Kind: &actionv1.Value_List{List: l}}
	}
	return &actionv1.Value{}
}

func fromWire(v *actionv1.Value) crm.Value {
	switch k := v.GetKind().(type) {
	case *actionv1.Value_Text:
		return crm.Text(k.Text)
	case *actionv1.Value_Number:
		return crm.Number(k.Number)
	case *actionv1.Value_Bool:
		return crm.Value{Kind: crm.BoolValue, Bool: k.Bool}
	case *actionv1.Value_Instant:
		return crm.Value{Kind: crm.InstantValue, At: crm.Nanos(k.Instant)}
	case *actionv1.Value_List:
		return crm.Value{Kind: crm.ListValue, List: k.List.GetItems()}
	}
	return crm.Value{}
}
