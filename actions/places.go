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

var listAdd = sdk.Action{
	Name:    "list.add",
	Summary: "Put the contact on a list, or change its status there.",
	Effects: []sdk.EffectKind{sdk.ListAdd},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p listAddParams) (sdk.Effects, error) {
		return onPlace(call, p.List, func(i int, list string) sdk.Effect {
			e := sdk.AddToList(i, list, p.Status)
			e.Resubscribe = p.Resubscribe
			return e
		})
	}),
}

type listParams struct {
	List string `json:"list" jsonschema:"the list, by its name or id"`
}

var listRemove = sdk.Action{
	Name:    "list.remove",
	Summary: "Take the contact off a list. Who has opted out of it stays on it as such.",
	Effects: []sdk.EffectKind{sdk.ListRemove},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p listParams) (sdk.Effects, error) {
		return onPlace(call, p.List, sdk.RemoveFromList)
	}),
}

type campaignParams struct {
	Campaign string `json:"campaign" jsonschema:"the campaign, by its name or id"`
}

var campaignAdd = sdk.Action{
	Name:    "campaign.add",
	Summary: "Enrol the contact in a campaign.",
	Effects: []sdk.EffectKind{sdk.CampaignAdd},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p campaignParams) (sdk.Effects, error) {
		return onPlace(call, p.Campaign, sdk.AddToCampaign)
	}),
}

var campaignRemove = sdk.Action{
	Name:    "campaign.remove",
	Summary: "Take the contact out of a campaign.",
	Effects: []sdk.EffectKind{sdk.CampaignRemove},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p campaignParams) (sdk.Effects, error) {
		return onPlace(call, p.Campaign, sdk.RemoveFromCampaign)
	}),
}

type workflowParams struct {
	Workflow string `json:"workflow" jsonschema:"the workflow, by its id"`
}

var workflowAdd = sdk.Action{
	Name:    "workflow.add",
	Summary: "Start a run of another workflow for the contact, if that workflow's filter, key and mode let it.",
	Effects: []sdk.EffectKind{sdk.WorkflowAdd},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p workflowParams) (sdk.Effects, error) {
		return onPlace(call, p.Workflow, sdk.AddToWorkflow)
	}),
}

var workflowRemove = sdk.Action{
	Name:    "workflow.remove",
	Summary: "End the contact's unfinished runs of a workflow, but never the run that does it.",
	Effects: []sdk.EffectKind{sdk.WorkflowRemove},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p workflowParams) (sdk.Effects, error) {
		return onPlace(call, p.Workflow, sdk.RemoveFromWorkflow)
	}),
}

// onPlace makes an effect that names a list, a campaign or a workflow. Whether there is one the host
// says when it commits.
func onPlace(call sdk.Call, name string, effect func(i int, name string) sdk.Effect) (sdk.Effects, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 256 {
		return nil, invalid("the name is empty or over 256 bytes")
	}
	return onLive(call, func(i int) sdk.Effects { return sdk.Effects{effect(i, name)} })
}
