// Command acme is an example of a plugin for Reprieve: its one action tags the contacts of a plan.
package main

import (
	"context"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type params struct {
	Plan string `json:"plan" jsonschema:"the plan to look for"`
	Tag  string `json:"tag" jsonschema:"the tag that its contacts get"`
}

func main() {
	sdk.Serve("acme", "1.0.0", sdk.Func(sdk.Action{
		Name:    "acme.flag",
		Summary: "Tag the contact if its field plan has a value.",
		Reads:   []string{"fields.plan"},
		Effects: []sdk.EffectKind{sdk.TagAdd},
	}, flag))
}

func flag(_ context.Context, in sdk.Input, p params) (sdk.Result, error) {
	if in.Target().State != sdk.Live || in.Target().Contact.Fields["plan"] != p.Plan {
		return sdk.Skip("not on the plan"), nil
	}
	return sdk.Done(sdk.AddTag(0, p.Tag)).WithOutput(map[string]bool{"flagged": true}), nil
}
