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

func flag(_ context.Context, call sdk.Call, in params) (sdk.Effects, error) {
	if call.Target().Contact.Fields["plan"] != in.Plan {
		return nil, sdk.Skip("not on the plan")
	}
	return sdk.Effects{sdk.AddTag(0, in.Tag)}, nil
}

func main() {
	sdk.Serve("acme", "1.0.0", sdk.Action{
		Name: "acme.flag", Summary: "Tag the contact if its field plan has a value.",
		Reads: []string{"fields.plan"}, Effects: []sdk.EffectKind{sdk.TagAdd}, Run: sdk.Func(flag),
	})
}
