package actions

import (
	"context"
	"strings"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type listAddParams struct {
	List        string `json:"list" jsonschema:"the list, by its name or id"`
	Status      string `json:"status,omitempty" enum:"subscribed,unsubscribed,unconfirmed,bounced" jsonschema:"subscribed if missing"`
	Resubscribe bool   `json:"resubscribe,omitempty" jsonschema:"also if the contact has opted out of the list; without it the step fails then, under the code opted_out"`
}

var listAdd = sdk.Func(sdk.Action{
	Name:    "list.add",
	Summary: "Put the contact on a list, or change its status there.",
	Effects: []sdk.EffectKind{sdk.ListAdd},
}, func(_ context.Context, in sdk.Input, p listAddParams) (sdk.Result, error) {
	return onPlace(in, p.List, func(i int, list string) sdk.Effect {
		e := sdk.AddToList(i, list, p.Status)
		e.Resubscribe = p.Resubscribe
		return e
	})
})

type listParams struct {
	List string `json:"list" jsonschema:"the list, by its name or id"`
}

var listRemove = sdk.Func(sdk.Action{
	Name:    "list.remove",
	Summary: "Take the contact off a list. Who has opted out of it stays on it as such.",
	Effects: []sdk.EffectKind{sdk.ListRemove},
}, func(_ context.Context, in sdk.Input, p listParams) (sdk.Result, error) {
	return onPlace(in, p.List, sdk.RemoveFromList)
})

type campaignParams struct {
	Campaign string `json:"campaign" jsonschema:"the campaign, by its name or id"`
}

var campaignAdd = sdk.Func(sdk.Action{
	Name:    "campaign.add",
	Summary: "Enrol the contact in a campaign.",
	Effects: []sdk.EffectKind{sdk.CampaignAdd},
}, func(_ context.Context, in sdk.Input, p campaignParams) (sdk.Result, error) {
	return onPlace(in, p.Campaign, sdk.AddToCampaign)
})

var campaignRemove = sdk.Func(sdk.Action{
	Name:    "campaign.remove",
	Summary: "Take the contact out of a campaign.",
	Effects: []sdk.EffectKind{sdk.CampaignRemove},
}, func(_ context.Context, in sdk.Input, p campaignParams) (sdk.Result, error) {
	return onPlace(in, p.Campaign, sdk.RemoveFromCampaign)
})

type workflowParams struct {
	Workflow string `json:"workflow" jsonschema:"the workflow, by its id"`
}

var workflowAdd = sdk.Func(sdk.Action{
	Name:    "workflow.add",
	Summary: "Start a run of another workflow for the contact, if that workflow's filter, key and mode let it.",
	Effects: []sdk.EffectKind{sdk.WorkflowAdd},
}, func(_ context.Context, in sdk.Input, p workflowParams) (sdk.Result, error) {
	return onPlace(in, p.Workflow, sdk.AddToWorkflow)
})

var workflowRemove = sdk.Func(sdk.Action{
	Name:    "workflow.remove",
	Summary: "End the contact's unfinished runs of a workflow, but never the run that does it.",
	Effects: []sdk.EffectKind{sdk.WorkflowRemove},
}, func(_ context.Context, in sdk.Input, p workflowParams) (sdk.Result, error) {
	return onPlace(in, p.Workflow, sdk.RemoveFromWorkflow)
})

// onPlace makes an effect that names a list, a campaign or a workflow. Whether there is one the host
// says when it commits.
func onPlace(in sdk.Input, name string, effect func(i int, name string) sdk.Effect) (sdk.Result, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 256 {
		return sdk.Result{}, invalid("the name is empty or over 256 bytes")
	}
	return onLive(in, func(i int) []sdk.Effect { return []sdk.Effect{effect(i, name)} })
}
