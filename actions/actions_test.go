package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func targets(states ...sdk.State) []sdk.Target {
	var out []sdk.Target
	for _, s := range states {
		out = append(out, sdk.Target{ID: "con_x", State: s})
	}
	return out
}

// step is what an action is called with.
type step struct {
	sdk.Call
	params json.RawMessage
}

// decided is what an action said; a skip is no error.
type decided struct {
	Effects sdk.Effects
	Output  json.RawMessage
	Skipped string
}

func decide(a sdk.Action, s step) (decided, error) {
	effects, output, err := a.Decide(context.Background(), s.Call, s.params)
	var skip *sdk.SkipError
	if errors.As(err, &skip) {
		return decided{Skipped: skip.Reason}, nil
	}
	return decided{Effects: effects, Output: output}, err
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		action  sdk.Action
		params  string
		targets []sdk.Target
		want    sdk.Effects
		skipped string
		code    string
	}{
		{"delete a live one", contactDelete, `{"reason":"asked"}`, targets(sdk.Live), sdk.Effects{sdk.Delete(0, "asked")}, "", ""},
		{"delete without a reason", contactDelete, ``, targets(sdk.Live), sdk.Effects{sdk.Delete(0, "")}, "", ""},
		{"delete a deleted one", contactDelete, `{}`, targets(sdk.Deleted), nil, "already deleted", ""},
		{"delete a purged one", contactDelete, `{}`, targets(sdk.Purged), nil, "purged", ""},
		{"delete what is left", contactDelete, `{}`, targets(sdk.Deleted, sdk.Live, sdk.Purged), sdk.Effects{sdk.Delete(1, "")}, "", ""},
		{"delete nobody", contactDelete, `{}`, nil, nil, "", "no_contact"},
		{"delete with a wrong name", contactDelete, `{"why":"x"}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"restore a deleted one", contactRestore, `{"reason":"mistake"}`, targets(sdk.Deleted), sdk.Effects{sdk.Restore(0, "mistake")}, "", ""},
		{"restore a live one", contactRestore, `{}`, targets(sdk.Live), nil, "not deleted", ""},
		{"restore a purged one", contactRestore, `{}`, targets(sdk.Purged), nil, "purged", ""},
		{"tag", contactTag, `{"add":[" a "],"remove":["b"]}`, targets(sdk.Live), sdk.Effects{sdk.RemoveTag(0, "b"), sdk.AddTag(0, "a")}, "", ""},
		{"tag a deleted one", contactTag, `{"add":["a"]}`, targets(sdk.Deleted), nil, "", "deleted"},
		{"tag nothing", contactTag, `{}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"tag both ways", contactTag, `{"add":["A"],"remove":[" a"]}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"tag empty", contactTag, `{"add":[" "]}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"purge a deleted one", contactPurge, `{"reason":"late"}`, targets(sdk.Deleted), sdk.Effects{sdk.Purge(0, "late")}, "", ""},
		{"purge a live one", contactPurge, `{}`, targets(sdk.Live), nil, "not deleted", ""},
		{"purge a purged one", contactPurge, `{}`, targets(sdk.Purged), nil, "purged", ""},
		{"archive", contactArchive, ``, targets(sdk.Live), sdk.Effects{sdk.Archive(0)}, "", ""},
		{"unarchive", contactUnarchive, `{}`, targets(sdk.Live), sdk.Effects{sdk.Unarchive(0)}, "", ""},
		{"set every kind in order", contactSet, `{"fields":{"e":null,"b":1.5,"a":" x ","c":true,"d":["p","q"]}}`, targets(sdk.Live), sdk.Effects{
			sdk.SetField(0, "a", " x "), sdk.SetField(0, "b", 1.5), sdk.SetField(0, "c", true), sdk.SetField(0, "d", []string{"p", "q"}), sdk.SetField(0, "e", nil)}, "", ""},
		{"set of two", contactSet, `{"fields":{"a":"x"}}`, targets(sdk.Live, sdk.Live), sdk.Effects{sdk.SetField(0, "a", "x"), sdk.SetField(1, "a", "x")}, "", ""},
		{"set nothing", contactSet, `{"fields":{}}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"set a mapping", contactSet, `{"fields":{"a":{}}}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"set a mixed list", contactSet, `{"fields":{"a":["x",1]}}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"set no name", contactSet, `{"fields":{" ":1}}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"set a name twice", contactSet, `{"fields":{"a":1," a":2}}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"add to a list", listAdd, `{"list":" News ","status":"unconfirmed","resubscribe":true}`, targets(sdk.Live),
			sdk.Effects{{Kind: sdk.ListAdd, Object: "News", Status: "unconfirmed", Resubscribe: true}}, "", ""},
		{"take off a list", listRemove, `{"list":"News"}`, targets(sdk.Live), sdk.Effects{sdk.RemoveFromList(0, "News")}, "", ""},
		{"add to no list", listAdd, `{"list":" "}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"add to a long list", listAdd, `{"list":"` + strings.Repeat("x", 257) + `"}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"enrol", campaignAdd, `{"campaign":"Spring"}`, targets(sdk.Live), sdk.Effects{sdk.AddToCampaign(0, "Spring")}, "", ""},
		{"leave", campaignRemove, `{"campaign":"Spring"}`, targets(sdk.Live), sdk.Effects{sdk.RemoveFromCampaign(0, "Spring")}, "", ""},
		{"begin another workflow", workflowAdd, `{"workflow":"next"}`, targets(sdk.Live), sdk.Effects{sdk.AddToWorkflow(0, "next")}, "", ""},
		{"end another workflow", workflowRemove, `{"workflow":"next"}`, targets(sdk.Live), sdk.Effects{sdk.RemoveFromWorkflow(0, "next")}, "", ""},
		{"task", taskCreate, `{"title":" Call ","body":"b"}`, targets(sdk.Live), sdk.Effects{sdk.CreateTask(0, "Call", "b", time.Time{})}, "", ""},
		{"task in days", taskCreate, `{"title":"Call","due":"3d"}`, targets(sdk.Live), sdk.Effects{sdk.CreateTask(0, "Call", "", noon.Add(72*time.Hour))}, "", ""},
		{"task in hours", taskCreate, `{"title":"Call","due":"1h30m"}`, targets(sdk.Live), sdk.Effects{sdk.CreateTask(0, "Call", "", noon.Add(90*time.Minute))}, "", ""},
		{"task at", taskCreate, `{"title":"Call","due":"2026-06-01T08:00:00Z"}`, targets(sdk.Live),
			sdk.Effects{sdk.CreateTask(0, "Call", "", time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC))}, "", ""},
		{"task at no time", taskCreate, `{"title":"Call","due":"tomorrow"}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"task before", taskCreate, `{"title":"Call","due":"-3h"}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"task in too many days", taskCreate, `{"title":"Call","due":"40000d"}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"task in another age", taskCreate, `{"title":"Call","due":"2999-01-01T00:00:00Z"}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"task without a title", taskCreate, `{"title":" "}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"note", noteCreate, `{"title":"t","body":"b"}`, targets(sdk.Live), sdk.Effects{sdk.CreateNote(0, "t", "b")}, "", ""},
		{"note of nothing", noteCreate, `{"body":" "}`, targets(sdk.Live), nil, "", "invalid_params"},
		{"log at no level", logWrite, `{"level":"loud","text":"x"}`, nil, nil, "", "invalid_params"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := decide(tt.action, step{sdk.Call{Targets: tt.targets, Now: noon}, json.RawMessage(tt.params)})
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
			if len(tt.want) > 0 && !reflect.DeepEqual(got.Effects, tt.want) {
				t.Errorf("effects %+v, want %+v", got.Effects, tt.want)
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
			in := step{Call: sdk.Call{Targets: targets(states...)}}
			first, err := decide(*action, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range first.Effects {
				in.Targets[e.Target].State = to
			}
			if again, err := decide(*action, in); err != nil || len(again.Effects) > 0 || again.Skipped == "" {
				t.Fatalf("%s again: %+v, %v", action.Name, again, err)
			}
		}
	})
}

func TestLogWrite(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	in := step{sdk.Call{
		Log:     slog.New(slog.NewJSONHandler(&out, nil)),
		Targets: []sdk.Target{{ID: "con_x", State: sdk.Live, Contact: sdk.Contact{Email: "canary@example.com"}}},
	}, json.RawMessage(`{"level":"warn","text":"hello"}`)}
	in.DryRun = true
	if r, err := decide(logWrite, in); err != nil || r.Skipped == "" || out.Len() > 0 {
		t.Fatalf("a dry run wrote %q (%+v, %v)", out.String(), r, err)
	}
	in.DryRun = false
	if r, err := decide(logWrite, in); err != nil || len(r.Effects) > 0 {
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
	if got := strings.Split(strings.Join(Processes(), ","), ","); len(got) != len(Names()) {
		t.Errorf("served are %v", got)
	}
	for i, name := range Names() {
		if i > 0 && name <= Names()[i-1] {
			t.Errorf("%s is out of order", name)
		}
	}
}
