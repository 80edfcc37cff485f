package main

import (
	"testing"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// An action is a plain function: no host is needed to test it.
func TestFlag(t *testing.T) {
	for plan, flagged := range map[any]bool{"gold": true, "basic": false, nil: false} {
		call := sdk.Call{Targets: []sdk.Target{{State: sdk.Live, Contact: sdk.Contact{Fields: map[string]any{"plan": plan}}}}}
		effects, err := flag(t.Context(), call, params{Plan: "gold", Tag: "VIP"})
		if (len(effects) == 1) != flagged || (err == nil) != flagged {
			t.Errorf("plan %v: %+v, %v", plan, effects, err)
		}
	}
}
