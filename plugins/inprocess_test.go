package plugins_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// Without a process the rules are the same: what was not declared is neither sent nor accepted.
func TestInProcess(t *testing.T) {
	t.Parallel()
	var saw sdk.Contact
	look := sdk.Action{Name: "acme.look", Reads: []string{"tags"}, Effects: []sdk.EffectKind{sdk.TagAdd}, Run: sdk.Func(func(_ context.Context, call sdk.Call, _ struct{}) (sdk.Effects, error) {
		saw = call.Target().Contact
		return sdk.Effects{sdk.AddTag(0, "seen")}, nil
	})}
	sneak := sdk.Action{Name: "acme.sneak", Run: sdk.Func(func(context.Context, sdk.Call, struct{}) (sdk.Effects, error) {
		return sdk.Effects{sdk.Delete(0, "")}, nil
	})}
	server, err := sdk.Local("acme", "1", slog.New(slog.DiscardHandler), look, sneak)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plugins.NewInProcess(t.Context(), server)
	if err != nil || len(p.Catalogue()) != 2 {
		t.Fatalf("%v, %v", p, err)
	}
	c := &crm.Contact{Account: crm.AccountID{1}, ID: crm.ContactID{2}, Email: crm.Identity{Value: "ada@example.org"}, Tags: []crm.Tag{{Name: "VIP"}}}
	one := plugins.Batch{Items: []plugins.Item{{Key: "k", Attempt: 1, Targets: []plugins.Target{{Contact: c}}}}}
	out, err := p.Execute(t.Context(), "acme.look", one)
	if err != nil || len(out) != 1 || out[0].Status != plugins.Done || len(out[0].Effects) != 1 || out[0].Effects[0].Tag != "seen" {
		t.Fatalf("%+v, %v", out, err)
	}
	if saw.Email != "" || !saw.HasTag("vip") {
		t.Errorf("the action saw %+v", saw)
	}
	if out, err = p.Execute(t.Context(), "acme.sneak", one); err != nil || out[0].Status != plugins.Fail || out[0].Code != plugins.CodeUndeclared {
		t.Errorf("an effect that was not declared: %+v, %v", out, err)
	}
	if _, err = p.Execute(t.Context(), "acme.none", one); crm.CodeOf(err) != crm.CodeNotFound {
		t.Errorf("an action that there is not: %v", err)
	}
}
