// Package sdk is for authors of plugins: it turns functions into a plugin that Reprieve can run.
//
//	type params struct {
//		Tag string `json:"tag" jsonschema:"the tag to add"`
//	}
//
//	func main() {
//		sdk.Serve("acme", "1.0.0", sdk.Func(sdk.Action{
//			Name:    "acme.flag",
//			Reads:   []string{"fields.plan"},
//			Effects: []sdk.EffectKind{sdk.TagAdd},
//		}, func(ctx context.Context, in sdk.Input, p params) (sdk.Result, error) {
//			return sdk.Done(sdk.AddTag(0, p.Tag)), nil
//		}))
//	}
//
// An action decides and the host commits: a function gets the facts that its action declared and
// returns the effects that it wants. It never gets a handle on anything, so it can be tried again,
// shown beforehand and tested as a plain function. What it does to the outside world it must be
// ready to do again under the same idempotency key.
//
// The package must never show its author the wire: no type of gRPC or go-plugin is exported.
package sdk
