package plugins

import (
	"reflect"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// knows is a lookup that knows one list and one campaign, both called News, and who is in the campaign.
type knows struct{ enrolled bool }

var (
	listID, campaignID, recordID = crm.ItemID{7}, crm.ItemID{8}, crm.ItemID{9}
	notThere                     = crm.Errorf("look up", crm.CodeNotFound, "there is none")
)

func (knows) Object(_ crm.AccountID, kind crm.ItemKind, called string) (*crm.Object, error) {
	if called != "News" {
		return nil, notThere
	}
	if kind == crm.List {
		return &crm.Object{ID: listID, Name: "News"}, nil
	}
	return &crm.Object{ID: campaignID, Name: "News"}, nil
}

func (k knows) Enrolled(crm.Key, crm.ItemID) (bool, error) { return k.enrolled, nil }
func (knows) NewItemID() (crm.ItemID, error)               { return recordID, nil }

// everyEffect is one good effect of each kind, as a plugin sends it, with the mutation that it must become.
func everyEffect(target uint32, k crm.Key) map[EffectKind]struct {
	wire *actionv1.Effect
	want crm.Mutation
} {
	type pair = struct {
		wire *actionv1.Effect
		want crm.Mutation
	}
	t := target
	record := crm.Record{Account: k.Account, Contact: k.Contact, ID: recordID, Title: "t", Body: "b"}
	task, note := record, record
	task.Kind, task.Due, note.Kind = crm.Task, 5, crm.Note
	return map[EffectKind]pair{
		EffectDelete:    {&actionv1.Effect{Kind: &actionv1.Effect_DeleteContact{DeleteContact: &actionv1.DeleteContact{Target: t, Reason: "r"}}}, crm.Delete{Contact: k, Reason: "r"}},
		EffectRestore:   {&actionv1.Effect{Kind: &actionv1.Effect_RestoreContact{RestoreContact: &actionv1.RestoreContact{Target: t, Reason: "r"}}}, crm.Restore{Contact: k, Reason: "r"}},
		EffectPurge:     {&actionv1.Effect{Kind: &actionv1.Effect_PurgeContact{PurgeContact: &actionv1.PurgeContact{Target: t, Reason: "r"}}}, crm.Purge{Contact: k, Reason: "r"}},
		EffectArchive:   {&actionv1.Effect{Kind: &actionv1.Effect_ArchiveContact{ArchiveContact: &actionv1.ArchiveContact{Target: t}}}, crm.Archive{Contact: k, On: true}},
		EffectUnarchive: {&actionv1.Effect{Kind: &actionv1.Effect_UnarchiveContact{UnarchiveContact: &actionv1.UnarchiveContact{Target: t}}}, crm.Archive{Contact: k}},
		EffectAddTag:    {&actionv1.Effect{Kind: &actionv1.Effect_AddTag{AddTag: &actionv1.AddTag{Target: t, Tag: " x "}}}, crm.AddTag{Contact: k, Tag: "x"}},
		EffectRemoveTag: {&actionv1.Effect{Kind: &actionv1.Effect_RemoveTag{RemoveTag: &actionv1.RemoveTag{Target: t, Tag: "x"}}}, crm.RemoveTag{Contact: k, Tag: "x"}},
		EffectSetField: {&actionv1.Effect{Kind: &actionv1.Effect_SetField{SetField: &actionv1.SetField{Target: t, Name: "f",
			Value: &actionv1.Value{Kind: &actionv1.Value_Bool{Bool: true}}}}}, crm.SetField{Contact: k, Name: "f", Value: crm.Value{Kind: crm.BoolValue, Bool: true}}},
		EffectAddToList: {&actionv1.Effect{Kind: &actionv1.Effect_AddToList{AddToList: &actionv1.AddToList{Target: t, List: " News ", Resubscribe: true}}},
			crm.SetMembership{Contact: k, List: listID, Name: "News", Status: crm.Subscribed, Resubscribe: true}},
		EffectDropFromList:  {&actionv1.Effect{Kind: &actionv1.Effect_RemoveFromList{RemoveFromList: &actionv1.RemoveFromList{Target: t, List: "News"}}}, crm.SetMembership{Contact: k, List: listID, Name: "News"}},
		EffectAddToCampaign: {&actionv1.Effect{Kind: &actionv1.Effect_AddToCampaign{AddToCampaign: &actionv1.AddToCampaign{Target: t, Campaign: "News"}}}, crm.Connect{Contact: k, Kind: crm.Campaign, Object: campaignID}},
		EffectDropCampaign:  {&actionv1.Effect{Kind: &actionv1.Effect_RemoveFromCampaign{RemoveFromCampaign: &actionv1.RemoveFromCampaign{Target: t, Campaign: "News"}}}, crm.Disconnect{Contact: k, Kind: crm.Campaign, Object: campaignID}},
		EffectAddToWorkflow: {&actionv1.Effect{Kind: &actionv1.Effect_AddToWorkflow{AddToWorkflow: &actionv1.AddToWorkflow{Target: t, Workflow: "w"}}}, crm.EnterWorkflow{Contact: k, Workflow: "w"}},
		EffectDropWorkflow:  {&actionv1.Effect{Kind: &actionv1.Effect_RemoveFromWorkflow{RemoveFromWorkflow: &actionv1.RemoveFromWorkflow{Target: t, Workflow: "w"}}}, crm.LeaveWorkflow{Contact: k, Workflow: "w"}},
		EffectCreateTask:    {&actionv1.Effect{Kind: &actionv1.Effect_CreateTask{CreateTask: &actionv1.CreateTask{Target: t, Title: "t", Body: "b", Due: 5}}}, crm.PutRecord{Record: task}},
		EffectCreateNote:    {&actionv1.Effect{Kind: &actionv1.Effect_CreateNote{CreateNote: &actionv1.CreateNote{Target: t, Title: "t", Body: "b"}}}, crm.PutRecord{Record: note}},
		EffectSetDND:        {&actionv1.Effect{Kind: &actionv1.Effect_SetDnd{SetDnd: &actionv1.SetDnd{Target: t, Channel: "sms", On: true}}}, crm.SetDND{Contact: k, Channel: "sms", On: true}},
	}
}

// Every effect is refused when it was not declared, when its target is not there, and when its target is
// dead; and becomes its mutation otherwise. A kind that is left out of this table fails it.
func TestEffectGates(t *testing.T) {
	t.Parallel()
	items := []Item{{Key: "a", Targets: []Target{inState(1, crm.Live)}}}
	answer := func(spec Spec, state crm.State, effects ...*actionv1.Effect) Outcome {
		items := []Item{{Key: "a", Targets: []Target{inState(1, state)}}}
		out, err := settle(spec, items, []*actionv1.Outcome{{IdempotencyKey: "a", Result: &actionv1.Outcome_Done{Done: &actionv1.Done{Effects: effects}}}})
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	k := items[0].Targets[0].key()
	every, beyond := everyEffect(0, k), everyEffect(1, k)
	if len(every) != len(actionv1.EffectWords) {
		t.Errorf("%d kinds are tested, %d can be declared", len(every), len(actionv1.EffectWords))
	}
	for _, word := range actionv1.EffectWords {
		kind := EffectKind(word)
		may := Spec{Action: "x.y", Plugin: "x", Effects: []EffectKind{kind}}
		var others []EffectKind
		for other := range every {
			if other != kind {
				others = append(others, other)
			}
		}
		if o := answer(Spec{Action: "x.y", Plugin: "x", Effects: others}, crm.Live, every[kind].wire); o.Code != CodeUndeclared {
			t.Errorf("%s, undeclared: %+v", kind, o)
		}
		if o := answer(may, crm.Live, beyond[kind].wire); o.Code != CodeBadTarget {
			t.Errorf("%s on the second of one: %+v", kind, o)
		}
		wants := map[crm.State]string{crm.Purged: CodeDeadTarget, crm.Deleted: CodeDeadTarget, crm.Live: ""}
		if kind == EffectRestore || kind == EffectPurge {
			wants[crm.Deleted] = ""
		}
		for state, want := range wants {
			if o := answer(may, state, every[kind].wire); o.Code != want {
				t.Errorf("%s on a %s contact: %+v, want the code %q", kind, state, o, want)
			}
		}
		// After its own deletion, restore or purge an item has no more to say.
		for _, last := range []EffectKind{EffectDelete, EffectRestore, EffectPurge} {
			both := Spec{Action: "x.y", Plugin: "x", Effects: []EffectKind{kind, last}}
			if o := answer(both, crm.Live, every[last].wire, every[kind].wire); o.Code != CodeDeadTarget {
				t.Errorf("%s after %s: %+v", kind, last, o)
			}
		}
		o := answer(may, crm.Live, every[kind].wire)
		if len(o.Effects) != 1 {
			t.Fatalf("%s: %+v", kind, o)
		}
		if m, err := o.Effects[0].Mutation(items[0].Targets[0], knows{enrolled: true}); err != nil || !reflect.DeepEqual(m, every[kind].want) {
			t.Errorf("%s became %+v, %v, want %+v", kind, m, err, every[kind].want)
		}
	}
}

func TestEffectFlaws(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxName+1)
	for i, e := range []Effect{
		{Kind: EffectAddTag}, {Kind: EffectSetDND}, {Kind: EffectAddToList, Status: crm.Subscribed}, {Kind: EffectAddToList, Object: "x", Status: "fond"},
		{Kind: EffectDropFromList, Object: long}, {Kind: EffectAddToCampaign}, {Kind: EffectDropCampaign, Object: "a\xff"}, {Kind: EffectAddToWorkflow},
		{Kind: EffectDropWorkflow}, {Kind: EffectCreateTask}, {Kind: EffectCreateTask, Title: "x", Due: -1}, {Kind: EffectCreateNote},
		{Kind: EffectCreateNote, Body: strings.Repeat("x", maxValue+1)}, {Kind: EffectSetField},
		{Kind: EffectSetField, Field: "f", Value: crm.Value{Kind: crm.ListValue, List: make([]string, maxValue)}},
	} {
		if e.flaw() == "" {
			t.Errorf("number %d was taken: %s", i, e.Kind)
		}
	}
}

// What the store does not know is an error with its code; who is not in a campaign need not leave it.
func TestEffectLookups(t *testing.T) {
	t.Parallel()
	target := live(1)
	for _, kind := range []EffectKind{EffectAddToList, EffectDropFromList, EffectAddToCampaign, EffectDropCampaign} {
		if m, err := (Effect{Kind: kind, Object: "Other"}).Mutation(target, knows{}); m != nil || crm.CodeOf(err) != crm.CodeNotFound {
			t.Errorf("%s became %+v, %v", kind, m, err)
		}
	}
	if m, err := (Effect{Kind: EffectDropCampaign, Object: "News"}).Mutation(target, knows{}); m != nil || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
}
