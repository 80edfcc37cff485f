// Package sdk is for authors of plugins: it turns functions into a plugin that Reprieve can run.
//
//	type params struct {
//		Plan string `json:"plan" jsonschema:"the plan to look for"`
//		Tag  string `json:"tag" jsonschema:"the tag that its contacts get"`
//	}
//
//	func flag(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
//		if call.Target().Contact.Fields["plan"] != in.Plan {
//			return nil, sdk.Skip("not on the plan")
//		}
//		return sdk.Effects{sdk.AddTag(0, in.Tag)}, nil
//	}
//
//	func main() {
//		sdk.Serve("acme", "1.0.0", sdk.Action{
//			Name: "acme.flag", Summary: "Tag the contact if its field plan has a value.",
//			Reads: []string{"fields.plan"}, Effects: []sdk.EffectKind{sdk.TagAdd}, Run: sdk.Func(flag),
//		})
//	}
//
// An action decides and the host commits: a function gets the facts that its action declared and
// returns the effects that it wants. It never gets a handle on anything, so it can be tried again,
// shown beforehand and tested as a plain function. What it does to the outside world it must be
// ready to do again under the same idempotency key.
//
// # What stays as it is
//
// Package sdk and package plugintest follow semantic versioning, together with the module. Before v1.0.0 a minor
// version may change them, and CHANGELOG.md says what to write instead; a patch version never does. From v1.0.0 on a
// plugin that compiles goes on compiling. A plugin that was built goes on running in either case: the protocol,
// proto package reprieve.action.v1, only ever grows, and a host that speaks version 2 will speak version 1 beside
// it. What is exported is listed in plugins/plugintest/testdata/api.golden and what is on the wire in
// plugins/proto/action/v1/testdata/descriptor.golden; tests hold both. Structs may get more fields: write their
// literals with names.
//
// The package must never show its author the wire: no type of gRPC or go-plugin is exported.
package sdk
