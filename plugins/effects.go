package plugins

import (
	"math"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// EffectKind is a kind of change that an action may ask for.
type EffectKind string

// The kinds of effect. A deleted contact takes only a restore and a purge.
const (
	EffectDelete        EffectKind = "contact.delete"
	EffectRestore       EffectKind = "contact.restore"
	EffectPurge         EffectKind = "contact.purge"
	EffectArchive       EffectKind = "contact.archive"
	EffectUnarchive     EffectKind = "contact.unarchive"
	EffectAddTag        EffectKind = "tag.add"
	EffectRemoveTag     EffectKind = "tag.remove"
	EffectSetField      EffectKind = "field.set"
	EffectAddToList     EffectKind = "list.add"
	EffectDropFromList  EffectKind = "list.remove"
	EffectAddToCampaign EffectKind = "campaign.add"
	EffectDropCampaign  EffectKind = "campaign.remove"
	EffectAddToWorkflow EffectKind = "workflow.add"
	EffectDropWorkflow  EffectKind = "workflow.remove"
	EffectCreateTask    EffectKind = "task.create"
	EffectCreateNote    EffectKind = "note.create"
	EffectSetDND        EffectKind = "dnd.set"
)

// Effect is one change that an action asks for. Which members count depends on its kind.
type Effect struct {
	Kind   EffectKind
	Target int // index into the item's targets
	Tag    string
	Field  string
	Value  crm.Value // of EffectSetField; the zero Value removes the field
	Reason string

	Object      string     // a list or a campaign by name or id, a workflow by id
	Status      crm.Status // on a list
	Resubscribe bool       // also who has opted out of the list
	Title, Body string     // of a task or a note
	Due         crm.Nanos  // of a task
	Channel     string
	On          bool
}

// Lookup is what the store knows that an effect does not: it belongs to the transaction in which the
// effect is committed.
type Lookup interface {
	// Object finds a list or a campaign of the account by name or id.
	Object(acc crm.AccountID, kind crm.ItemKind, called string) (*crm.Object, error)
	// Enrolled says whether a contact is in a campaign.
	Enrolled(k crm.Key, campaign crm.ItemID) (bool, error)
	// NewItemID makes the id of a record.
	NewItemID() (crm.ItemID, error)
}

// Mutation gives the effect as the change that the store applies to the target, which must be the
// one that the effect's index names; nil if there is nothing to change. What the effect names and the
// store does not know is an error with a code.
func (e Effect) Mutation(t Target, in Lookup) (crm.Mutation, error) {
	k := t.key()
	if k.Contact.IsZero() {
		return nil, crm.Errorf("turn an effect into a mutation", crm.CodeInvalid, "the target names no contact")
	}
	switch e.Kind {
	case EffectDelete:
		return crm.Delete{Contact: k, Reason: e.Reason}, nil
	case EffectRestore:
		return crm.Restore{Contact: k, Reason: e.Reason}, nil
	case EffectPurge:
		return crm.Purge{Contact: k, Reason: e.Reason}, nil
	case EffectArchive, EffectUnarchive:
		return crm.Archive{Contact: k, On: e.Kind == EffectArchive}, nil
	case EffectAddTag:
		return crm.AddTag{Contact: k, Tag: e.Tag}, nil
	case EffectRemoveTag:
		return crm.RemoveTag{Contact: k, Tag: e.Tag}, nil
	case EffectSetField:
		return crm.SetField{Contact: k, Name: e.Field, Value: e.Value}, nil
	case EffectSetDND:
		return crm.SetDND{Contact: k, Channel: e.Channel, On: e.On}, nil
	case EffectAddToWorkflow:
		return crm.EnterWorkflow{Contact: k, Workflow: e.Object}, nil
	case EffectDropWorkflow:
		return crm.LeaveWorkflow{Contact: k, Workflow: e.Object}, nil
	case EffectAddToList, EffectDropFromList, EffectAddToCampaign, EffectDropCampaign:
		return e.membership(k, in)
	case EffectCreateTask, EffectCreateNote:
		return e.record(k, in)
	}
	return nil, crm.Errorf("turn an effect into a mutation", crm.CodeInvalid, "there is no effect %q", e.Kind).About(k.Contact)
}

// membership is a change of a contact's place on a list or in a campaign.
func (e Effect) membership(k crm.Key, in Lookup) (crm.Mutation, error) {
	kind := crm.Campaign
	if e.Kind == EffectAddToList || e.Kind == EffectDropFromList {
		kind = crm.List
	}
	o, err := in.Object(k.Account, kind, e.Object)
	if err != nil {
		return nil, err
	}
	switch e.Kind {
	case EffectAddToList:
		return crm.SetMembership{Contact: k, List: o.ID, Name: o.Name, Status: e.Status, Resubscribe: e.Resubscribe}, nil
	case EffectDropFromList:
		return crm.SetMembership{Contact: k, List: o.ID, Name: o.Name}, nil
	case EffectAddToCampaign:
		return crm.Connect{Contact: k, Kind: crm.Campaign, Object: o.ID}, nil
	}
	there, err := in.Enrolled(k, o.ID)
	if err != nil || !there {
		return nil, err // who is not in it need not leave it
	}
	return crm.Disconnect{Contact: k, Kind: crm.Campaign, Object: o.ID}, nil
}

func (e Effect) record(k crm.Key, in Lookup) (crm.Mutation, error) {
	id, err := in.NewItemID()
	if err != nil {
		return nil, err
	}
	r := crm.Record{Account: k.Account, Contact: k.Contact, Kind: crm.Note, ID: id, Title: e.Title, Body: e.Body}
	if e.Kind == EffectCreateTask {
		r.Kind, r.Due = crm.Task, e.Due
	}
	return crm.PutRecord{Record: r}, nil
}

// takes is the rule of DESIGN §8: a deleted contact takes only a restore and a purge, a purged one
// nothing. Whether a restore or a purge is allowed now is the store's to say.
func takes(s crm.State, k EffectKind) bool {
	switch s {
	case crm.Live:
		return true
	case crm.Deleted:
		return k == EffectRestore || k == EffectPurge
	}
	return false
}

// after follows the state through an item's effects: a deletion, a restore and a purge are each the
// last thing that happens to a target. Were a tag let through beside a restore, it would be a change
// after the restore and start what the restore must not.
func after(s crm.State, k EffectKind) crm.State {
	switch k {
	case EffectDelete, EffectRestore, EffectPurge:
		return crm.Purged
	}
	return s
}

// effectOf reads an effect without its target, which it gives beside it: unchecked, as sent. What
// this host does not know has no kind.
func effectOf(w *actionv1.Effect) (e Effect, target uint32) {
	trim := strings.TrimSpace
	switch k := w.GetKind().(type) {
	case *actionv1.Effect_DeleteContact:
		return Effect{Kind: EffectDelete, Reason: clean(k.DeleteContact.GetReason())}, k.DeleteContact.GetTarget()
	case *actionv1.Effect_RestoreContact:
		return Effect{Kind: EffectRestore, Reason: clean(k.RestoreContact.GetReason())}, k.RestoreContact.GetTarget()
	case *actionv1.Effect_PurgeContact:
		return Effect{Kind: EffectPurge, Reason: clean(k.PurgeContact.GetReason())}, k.PurgeContact.GetTarget()
	case *actionv1.Effect_ArchiveContact:
		return Effect{Kind: EffectArchive}, k.ArchiveContact.GetTarget()
	case *actionv1.Effect_UnarchiveContact:
		return Effect{Kind: EffectUnarchive}, k.UnarchiveContact.GetTarget()
	case *actionv1.Effect_AddTag:
		return Effect{Kind: EffectAddTag, Tag: trim(k.AddTag.GetTag())}, k.AddTag.GetTarget()
	case *actionv1.Effect_RemoveTag:
		return Effect{Kind: EffectRemoveTag, Tag: trim(k.RemoveTag.GetTag())}, k.RemoveTag.GetTarget()
	case *actionv1.Effect_SetField:
		f := k.SetField
		return Effect{Kind: EffectSetField, Field: trim(f.GetName()), Value: fromWire(f.GetValue())}, f.GetTarget()
	case *actionv1.Effect_SetDnd:
		return Effect{Kind: EffectSetDND, Channel: trim(k.SetDnd.GetChannel()), On: k.SetDnd.GetOn()}, k.SetDnd.GetTarget()
	}
	return placeOf(w)
}

// placeOf is effectOf for what has to do with what the account owns.
func placeOf(w *actionv1.Effect) (e Effect, target uint32) {
	trim := strings.TrimSpace
	switch k := w.GetKind().(type) {
	case *actionv1.Effect_AddToList:
		l := k.AddToList
		e = Effect{Kind: EffectAddToList, Object: trim(l.GetList()), Status: crm.Status(l.GetStatus()), Resubscribe: l.GetResubscribe()}
		if e.Status == "" {
			e.Status = crm.Subscribed
		}
		return e, l.GetTarget()
	case *actionv1.Effect_RemoveFromList:
		return Effect{Kind: EffectDropFromList, Object: trim(k.RemoveFromList.GetList())}, k.RemoveFromList.GetTarget()
	case *actionv1.Effect_AddToCampaign:
		return Effect{Kind: EffectAddToCampaign, Object: trim(k.AddToCampaign.GetCampaign())}, k.AddToCampaign.GetTarget()
	case *actionv1.Effect_RemoveFromCampaign:
		return Effect{Kind: EffectDropCampaign, Object: trim(k.RemoveFromCampaign.GetCampaign())}, k.RemoveFromCampaign.GetTarget()
	case *actionv1.Effect_AddToWorkflow:
		return Effect{Kind: EffectAddToWorkflow, Object: trim(k.AddToWorkflow.GetWorkflow())}, k.AddToWorkflow.GetTarget()
	case *actionv1.Effect_RemoveFromWorkflow:
		return Effect{Kind: EffectDropWorkflow, Object: trim(k.RemoveFromWorkflow.GetWorkflow())}, k.RemoveFromWorkflow.GetTarget()
	case *actionv1.Effect_CreateTask:
		r := k.CreateTask
		return Effect{Kind: EffectCreateTask, Title: trim(r.GetTitle()), Body: r.GetBody(), Due: crm.Nanos(r.GetDue())}, r.GetTarget()
	case *actionv1.Effect_CreateNote:
		r := k.CreateNote
		return Effect{Kind: EffectCreateNote, Title: trim(r.GetTitle()), Body: r.GetBody()}, r.GetTarget()
	}
	return Effect{}, 0
}

// The bounds of what an effect may say, in bytes.
const (
	maxName  = 256
	maxTitle = 4000
	maxValue = 64 << 10
)

// flaw says what is wrong with an effect in itself; "" if nothing is.
func (e Effect) flaw() string {
	bad := func(s string) bool { return s == "" || len(s) > maxName || s != text(s) }
	switch e.Kind {
	case EffectAddTag, EffectRemoveTag:
		if bad(e.Tag) {
			return "a tag is empty or over 256 bytes"
		}
	case EffectSetField:
		return e.fieldFlaw()
	case EffectSetDND:
		if bad(e.Channel) {
			return "a channel is empty or over 256 bytes"
		}
	case EffectAddToList, EffectDropFromList, EffectAddToCampaign, EffectDropCampaign, EffectAddToWorkflow, EffectDropWorkflow:
		switch {
		case bad(e.Object):
			return "a name is empty or over 256 bytes"
		case e.Kind == EffectAddToList && !e.Status.Valid():
			return "a list knows subscribed, unsubscribed, unconfirmed and bounced"
		}
	case EffectCreateTask, EffectCreateNote:
		switch {
		case e.Title == "" && e.Body == "":
			return "a task or a note says nothing"
		case len(e.Title) > maxTitle || len(e.Body) > maxValue || e.Due < 0 || text(e.Title) != e.Title || text(e.Body) != e.Body:
			return "a title is over 4000 bytes, a body over 64 KiB, or an instant is none"
		}
	}
	return ""
}

func (e Effect) fieldFlaw() string {
	if e.Field == "" || len(e.Field) > maxName {
		return "a field's name is empty or over 256 bytes"
	}
	size := len(e.Value.Text)
	for _, s := range e.Value.List {
		size += len(s) + 8
	}
	if size > maxValue {
		return "a field's value is over 64 KiB"
	}
	if math.IsNaN(e.Value.Number) || math.IsInf(e.Value.Number, 0) {
		return "a field's value is not a finite number"
	}
	return ""
}
