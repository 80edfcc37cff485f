package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

func targets(states ...sdk.State) []sdk.Target {
	var out []sdk.Target
	for _, s := range states {
		out = append(out, sdk.Target{ID: "con_x", State: s})
	}
	return out
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		action  sdk.Action
		params  string
		targets []sdk.Target
		want    []sdk.Effect
		skipped string
		code    string
	}{
		{"delete a live one", contactDelete, `{"reason":"asked"}`, targets(sdk.Live), []sdk.Effect{sdk.Delete(0, "asked")}, "", ""},
		{"delete without a reason", contactDelete, ``, targets(sdk.Live), []sdk.Effect{sdk.Delete(0, "")}, "", ""},
		{"delete a deleted one", contactDelete, `{}`, targets(sdk.Deleted), nil, "already deleted", ""},
		{"delete a purged one", contactDelete, `{}`, targets(sdk.Purged), nil, "purged", ""},
		{"delete what is left", contactDelete, `{}`, targets(sdk.Deleted, sdk.Live, sdk.Purged), []sdk.Effect{sdk.Delete(1, "")}, "", ""},
		{"delete nobody", contactDelete, `{}`, nil, nil, "", "no_contact"},
		{"delete with a wrong name", contactDelete, `{"why":"x"}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"restore a deleted one", contactRestore, `{"reason":"mistake"}`, targets(sdk.Deleted), []sdk.Effect{sdk.Restore(0, "mistake")}, "", ""},
		{"restore a live one", contactRestore, `{}`, targets(sdk.Live), nil, "not deleted", ""},
		{"restore a purged one", contactRestore, `{}`, targets(sdk.Purged), nil, "purged", ""},
		{"tag", contactTag, `{"add":[" a "],"remove":["b"]}`, targets(sdk.Live), []sdk.Effect{sdk.RemoveTag(0, "b"), sdk.AddTag(0, "a")}, "", ""},
		{"tag a deleted one", contactTag, `{"add":["a"]}`, targets(sdk.Deleted), nil, "", "deleted"},
		{"tag nothing", contactTag, `{}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"tag both ways", contactTag, `{"add":["A"],"remove":[" a"]}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"tag empty", contactTag, `{"add":[" "]}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"log at no level", logWrite, `{"level":"loud","text":"x"}`, nil, nil, "", "invalid_params"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.action.Run(t.Context(), sdk.Input{Params: json.RawMessage(tt.params), Targets: tt.targets, Log: slog.New(slog.DiscardHandler)})
			var fail *sdk.FailError
			if errors.As(err, &fail); tt.code != "" || err != nil {
				if fail == nil || fail.Code != tt.code {
					t.Fatalf("error %v, want the code %q", err, tt.code)
				}
				return
			}
			if got.Skipped != tt.skipped || len(got.Effects) != len(tt.want) {
				t.Fatalf("got %+v", got)
			}
			for i, e := range got.Effects {
				if e != tt.want[i] {
					t.Errorf("effect %d is %+v, want %+v", i, e, tt.want[i])
				}
			}
		})
	}
}

// A batch that was committed and is tried again must find nothing left to do.
func TestDeleteAndRestoreSettle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		states := rapid.SliceOfN(rapid.SampledFrom([]sdk.State{sdk.Live, sdk.Deleted, sdk.Purged}), 1, 5).Draw(t, "states")
		for action, to := range map[*sdk.Action]sdk.State{&contactDelete: sdk.Deleted, &contactRestore: sdk.Live} {
			in := sdk.Input{Targets: targets(states...)}
			first, err := action.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range first.Effects {
				in.Targets[e.Target].State = to
			}
			if again, err := action.Run(context.Background(), in); err != nil || len(again.Effects) > 0 || again.Skipped == "" {
				t.Fatalf("%s again: %+v, %v", action.Name, again, err)
			}
		}
	})
}

func TestLogWrite(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	in := sdk.Input{
		Params:  json.RawMessage(`{"level":"warn","text":"hello"}`),
		Log:     slog.New(slog.NewJSONHandler(&out, nil)),
		Targets: []sdk.Target{{ID: "con_x", State: sdk.Live, Contact: sdk.Contact{Email: "canary@example.com"}}},
	}
	in.DryRun = true
	if r, err := logWrite.Run(t.Context(), in); err != nil || r.Skipped == "" || out.Len() > 0 {
		t.Fatalf("a dry run wrote %q (%+v, %v)", out.String(), r, err)
	}
	in.DryRun = false
	if r, err := logWrite.Run(t.Context(), in); err != nil || len(r.Effects) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := out.String(); !strings.Contains(s, `"level":"WARN","msg":"hello"`) || strings.Contains(s, "canary") {
		t.Errorf("wrote %s", s)
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	if err := Serve("contact.explode"); err == nil {
		t.Error("an action that there is not was served")
	}
	for i, name := range Names() {
		if i > 0 && name <= Names()[i-1] {
			t.Errorf("%s is out of order", name)
		}
	}
}
