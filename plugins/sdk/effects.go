package sdk

import (
	"fmt"
	"math"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// EffectKind is a kind of change that an action may ask for.
type EffectKind string

// The kinds of effect. A deleted contact takes only a restore and a purge.
const (
	ContactDelete    EffectKind = "contact.delete"
	ContactRestore   EffectKind = "contact.restore"
	ContactPurge     EffectKind = "contact.purge"
	ContactArchive   EffectKind = "contact.archive"
	ContactUnarchive EffectKind = "contact.unarchive"
	TagAdd           EffectKind = "tag.add"
	TagRemove        EffectKind = "tag.remove"
	FieldSet         EffectKind = "field.set"
	ListAdd          EffectKind = "list.add"
	ListRemove       EffectKind = "list.remove"
	CampaignAdd      EffectKind = "campaign.add"
	CampaignRemove   EffectKind = "campaign.remove"
	WorkflowAdd      EffectKind = "workflow.add"
	WorkflowRemove   EffectKind = "workflow.remove"
	TaskCreate       EffectKind = "task.create"
	NoteCreate       EffectKind = "note.create"
	DNDSet           EffectKind = "dnd.set"
)

// Effect is one change that the action asks for. The functions below make one; which members count
// depends on the kind.
type Effect struct {
	Kind   EffectKind
	Target int // index into Input.Targets
	Tag    string
	Field  string
	Value  any // string, a number, bool, time.Time, []string; nil removes the field
	Reason string

	Object      string // a list or a campaign by name or id, a workflow by id
	Status      string // on a list
	Resubscribe bool   // also somebody who has opted out of the list
	Title, Body string // of a task or a note
	Due         time.Time
	Channel     string
	On          bool
}

// Delete hides the contact until it is restored or its recovery window has passed. The target of this
// and of every effect is the index into Input.Targets: 0 is the contact of the run.
func Delete(target int, reason string) Effect {
	return Effect{Kind: ContactDelete, Target: target, Reason: reason}
}

// Restore brings back what a delete took, and starts nothing.
func Restore(target int, reason string) Effect {
	return Effect{Kind: ContactRestore, Target: target, Reason: reason}
}

// Purge deletes for good; the host refuses it before the recovery window has passed.
func Purge(target int, reason string) Effect {
	return Effect{Kind: ContactPurge, Target: target, Reason: reason}
}

// Archive takes the contact out of every list, campaign and workflow, but for the run that does it.
func Archive(target int) Effect { return Effect{Kind: ContactArchive, Target: target} }

// Unarchive clears the flag; what stood still meanwhile is resumed by people only.
func Unarchive(target int) Effect { return Effect{Kind: ContactUnarchive, Target: target} }

// AddTag adds a tag; one that is there already stays as it is.
func AddTag(target int, tag string) Effect { return Effect{Kind: TagAdd, Target: target, Tag: tag} }

// RemoveTag removes a tag in any spelling.
func RemoveTag(target int, tag string) Effect {
	return Effect{Kind: TagRemove, Target: target, Tag: tag}
}

// SetField sets a field to a string, a number, a bool, a time.Time or a []string; nil removes it.
func SetField(target int, name string, value any) Effect {
	return Effect{Kind: FieldSet, Target: target, Field: name, Value: value}
}

// AddToList puts the contact on a list, by its name or id, with a status: subscribed, unsubscribed,
// unconfirmed or bounced, "" for subscribed. The host refuses it for somebody who has opted out, unless
// Resubscribe is set in the effect.
func AddToList(target int, list, status string) Effect {
	return Effect{Kind: ListAdd, Target: target, Object: list, Status: status}
}

// RemoveFromList takes the contact off a list. Who has opted out stays on it as such.
func RemoveFromList(target int, list string) Effect {
	return Effect{Kind: ListRemove, Target: target, Object: list}
}

// AddToCampaign enrols the contact in a campaign, by its name or id.
func AddToCampaign(target int, campaign string) Effect {
	return Effect{Kind: CampaignAdd, Target: target, Object: campaign}
}

// RemoveFromCampaign takes the contact out of a campaign.
func RemoveFromCampaign(target int, campaign string) Effect {
	return Effect{Kind: CampaignRemove, Target: target, Object: campaign}
}

// AddToWorkflow starts a run of another workflow for the contact, if that workflow's filter, key and
// mode let it.
func AddToWorkflow(target int, workflow string) Effect {
	return Effect{Kind: WorkflowAdd, Target: target, Object: workflow}
}

// RemoveFromWorkflow ends the contact's unfinished runs of a workflow, but never the run that asks.
func RemoveFromWorkflow(target int, workflow string) Effect {
	return Effect{Kind: WorkflowRemove, Target: target, Object: workflow}
}

// CreateTask makes a task of the contact; the zero time is no due date.
func CreateTask(target int, title, body string, due time.Time) Effect {
	return Effect{Kind: TaskCreate, Target: target, Title: title, Body: body, Due: due}
}

// CreateNote makes a note of the contact.
func CreateNote(target int, title, body string) Effect {
	return Effect{Kind: NoteCreate, Target: target, Title: title, Body: body}
}

// SetDND switches do-not-disturb for a channel.
func SetDND(target int, channel string, on bool) Effect {
	return Effect{Kind: DNDSet, Target: target, Channel: channel, On: on}
}

func (e Effect) wire() (*actionv1.Effect, error) {
	if e.Target < 0 || e.Target > math.MaxUint32 {
		return nil, Fail("bad_effect", fmt.Sprintf("there is no target %d", e.Target))
	}
	t := uint32(e.Target)
	switch e.Kind {
	case ContactDelete:
		return &actionv1.Effect{Kind: &actionv1.Effect_DeleteContact{DeleteContact: &actionv1.DeleteContact{Target: t, Reason: e.Reason}}}, nil
	case ContactRestore:
		return &actionv1.Effect{Kind: &actionv1.Effect_RestoreContact{RestoreContact: &actionv1.RestoreContact{Target: t, Reason: e.Reason}}}, nil
	case ContactPurge:
		return &actionv1.Effect{Kind: &actionv1.Effect_PurgeContact{PurgeContact: &actionv1.PurgeContact{Target: t, Reason: e.Reason}}}, nil
	case ContactArchive:
		return &actionv1.Effect{Kind: &actionv1.Effect_ArchiveContact{ArchiveContact: &actionv1.ArchiveContact{Target: t}}}, nil
	case ContactUnarchive:
		return &actionv1.Effect{Kind: &actionv1.Effect_UnarchiveContact{UnarchiveContact: &actionv1.UnarchiveContact{Target: t}}}, nil
	case TagAdd:
		return &actionv1.Effect{Kind: &actionv1.Effect_AddTag{AddTag: &actionv1.AddTag{Target: t, Tag: e.Tag}}}, nil
	case TagRemove:
		return &actionv1.Effect{Kind: &actionv1.Effect_RemoveTag{RemoveTag: &actionv1.RemoveTag{Target: t, Tag: e.Tag}}}, nil
	case FieldSet:
		v, err := valueOf(e.Value)
		if err != nil {
			return nil, err
		}
		return &actionv1.Effect{Kind: &actionv1.Effect_SetField{SetField: &actionv1.SetField{Target: t, Name: e.Field, Value: v}}}, nil
	case DNDSet:
		return &actionv1.Effect{Kind: &actionv1.Effect_SetDnd{SetDnd: &actionv1.SetDnd{Target: t, Channel: e.Channel, On: e.On}}}, nil
	}
	if w := e.place(t); w != nil {
		return w, nil
	}
	return nil, Fail("bad_effect", fmt.Sprintf("there is no effect %q", e.Kind))
}

// place is wire for what has to do with what the account owns; nil for any other kind.
func (e Effect) place(t uint32) *actionv1.Effect {
	switch e.Kind {
	case ListAdd:
		return &actionv1.Effect{Kind: &actionv1.Effect_AddToList{AddToList: &actionv1.AddToList{Target: t, List: e.Object, Status: e.Status, Resubscribe: e.Resubscribe}}}
	case ListRemove:
		return &actionv1.Effect{Kind: &actionv1.Effect_RemoveFromList{RemoveFromList: &actionv1.RemoveFromList{Target: t, List: e.Object}}}
	case CampaignAdd:
		return &actionv1.Effect{Kind: &actionv1.Effect_AddToCampaign{AddToCampaign: &actionv1.AddToCampaign{Target: t, Campaign: e.Object}}}
	case CampaignRemove:
		return &actionv1.Effect{Kind: &actionv1.Effect_RemoveFromCampaign{RemoveFromCampaign: &actionv1.RemoveFromCampaign{Target: t, Campaign: e.Object}}}
	case WorkflowAdd:
		return &actionv1.Effect{Kind: &actionv1.Effect_AddToWorkflow{AddToWorkflow: &actionv1.AddToWorkflow{Target: t, Workflow: e.Object}}}
	case WorkflowRemove:
		return &actionv1.Effect{Kind: &actionv1.Effect_RemoveFromWorkflow{RemoveFromWorkflow: &actionv1.RemoveFromWorkflow{Target: t, Workflow: e.Object}}}
	case TaskCreate:
		due := int64(0)
		if !e.Due.IsZero() {
			due = e.Due.UnixNano()
		}
		return &actionv1.Effect{Kind: &actionv1.Effect_CreateTask{CreateTask: &actionv1.CreateTask{Target: t, Title: e.Title, Body: e.Body, Due: due}}}
	case NoteCreate:
		return &actionv1.Effect{Kind: &actionv1.Effect_CreateNote{CreateNote: &actionv1.CreateNote{Target: t, Title: e.Title, Body: e.Body}}}
	}
	return nil
}

func valueOf(v any) (*actionv1.Value, error) {
	switch v := v.(type) {
	case nil:
		return &actionv1.Value{}, nil
	case string:
		return &actionv1.Value{Kind: &actionv1.Value_Text{Text: v}}, nil
	case bool:
		return &actionv1.Value{Kind: &actionv1.Value_Bool{Bool: v}}, nil
	case int:
		return &actionv1.Value{Kind: &actionv1.Value_Number{Number: float64(v)}}, nil
	case int64:
		return &actionv1.Value{Kind: &actionv1.Value_Number{Number: float64(v)}}, nil
	case float64:
		return &actionv1.Value{Kind: &actionv1.Value_Number{Number: v}}, nil
	case time.Time:
		return &actionv1.Value{Kind: &actionv1.Value_Instant{Instant: v.UnixNano()}}, nil
	case []string:
		return &actionv1.Value{Kind: &actionv1.Value_List{List: &actionv1.TextList{Items: v}}}, nil
	}
	return nil, Fail("bad_effect", fmt.Sprintf("a field cannot hold a %T", v))
}
