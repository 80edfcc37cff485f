package sdk_test

import (
	"context"
	"fmt"
	"time"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type params struct {
	Plan string `json:"plan" jsonschema:"the plan to look for"`
}

// answer has effects, and an output that later steps see.
type answer struct {
	sdk.Effects `json:"-"`
	Plan        string `json:"plan" jsonschema:"the plan that it was before"`
}

func upgrade(_ context.Context, call sdk.Call, in params) (answer, error) {
	old, ok := call.Target().Contact.Fields["plan"].(string)
	switch {
	case !ok:
		return answer{}, sdk.Fail("no_plan", "the contact has no plan").WithHint("set the field plan first")
	case old == in.Plan:
		return answer{}, sdk.Skip("it is on the plan")
	case call.Now.Weekday() == time.Sunday:
		return answer{}, sdk.Retry(24*time.Hour, fmt.Errorf("not on a Sunday"))
	}
	return answer{Effects: sdk.Effects{sdk.SetField(0, "plan", in.Plan)}, Plan: old}, nil
}

func ExampleFunc() {
	a := sdk.Action{Name: "acme.upgrade", Reads: []string{"fields.plan"}, Effects: []sdk.EffectKind{sdk.FieldSet}, Run: sdk.Func(upgrade)}
	call := sdk.Call{Now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), Targets: []sdk.Target{{Contact: sdk.Contact{Fields: map[string]any{"plan": "basic"}}}}}
	effects, output, err := a.Decide(context.Background(), call, []byte(`{"plan":"gold"}`))
	fmt.Println(effects[0].Field, effects[0].Value, string(output), err)
	_, _, err = a.Decide(context.Background(), call, []byte(`{"plan":"basic"}`))
	fmt.Println(err)
	_, _, err = a.Decide(context.Background(), call, []byte(`{"plan":5}`))
	fmt.Println(err)
	// Output:
	// plan gold {"plan":"basic"} <nil>
	// it is on the plan
	// the parameter plan does not fit its schema
}

func ExampleBatch() {
	type item = sdk.Item[params]
	lookUp := func(plans []string) map[string]int { return map[string]int{"gold": 2} } // one request for all
	a := sdk.Action{Name: "acme.rank", Run: sdk.Batch(func(_ context.Context, items []item) []sdk.Outcome[int] {
		var plans []string
		for _, it := range items {
			plans = append(plans, it.In.Plan)
		}
		ranks, out := lookUp(plans), make([]sdk.Outcome[int], len(items))
		for i, it := range items {
			out[i].Out = ranks[it.In.Plan]
		}
		return out
	})}
	_, output, err := a.Decide(context.Background(), sdk.Call{}, []byte(`{"plan":"gold"}`))
	fmt.Println(string(output), err)
	// Output: 2 <nil>
}
