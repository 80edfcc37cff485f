package main

import (
	"testing"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// An action is a plain function: no host is needed to test it.
func TestFlag(t *testing.T) {
	for plan, flagged := range map[any]bool{"gold": true, "basic": false, nil: false} {
		in := sdk.Input{Targets: []sdk.Target{{State: sdk.Live, Contact: sdk.Contact{Fields: map[string]any{"plan": plan}}}}}
		r, err := flag(t.Context(), in, params{Plan: "gold", Tag: "VIP"})
		if err != nil || (len(r.Effects) == 1) != flagged || (r.Skipped == "") != flagged {
			t.Errorf("plan %v: %+v, %v", plan, r, err)
		}
	}
}
