package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

type withEffects struct {
	Effects `json:"-"`
	Plan    string `json:"plan" jsonschema:"the plan"`
}

type onlyEffects struct {
	Effects `json:"-"`
}

// What a function answers decides what of it is an effect and what is an output, and what schema is told.
func TestAnswers(t *testing.T) {
	t.Parallel()
	tag := Effects{AddTag(0, "x")}
	object := `"type":"object"`
	tests := []struct {
		name    string
		run     Runner
		effects int
		output  string
		schema  string // a part of it; "": there is none
	}{
		{"effects", Func(func(context.Context, Call, struct{}) (Effects, error) { return tag, nil }), 1, "", ""},
		{"both", Func(func(context.Context, Call, struct{}) (withEffects, error) { return withEffects{tag, "gold"}, nil }), 1, `{"plan":"gold"}`, `"plan":{"type":"string","description":"the plan"}`},
		{"a pointer to both", Func(func(context.Context, Call, struct{}) (*withEffects, error) { return &withEffects{tag, "gold"}, nil }), 1, `{"plan":"gold"}`, `"plan"`},
		{"no pointer", Func(func(context.Context, Call, struct{}) (*withEffects, error) { return nil, nil }), 0, "", `"plan"`},
		{"effects that are embedded alone", Func(func(context.Context, Call, struct{}) (onlyEffects, error) { return onlyEffects{tag}, nil }), 1, "", ""},
		{"a struct", Func(func(context.Context, Call, struct{}) (struct{ N int }, error) { return struct{ N int }{3}, nil }), 0, `{"N":3}`, object},
		{"a map", Func(func(context.Context, Call, struct{}) (map[string]int, error) { return map[string]int{"n": 3}, nil }), 0, `{"n":3}`, object},
		{"a text", Func(func(context.Context, Call, struct{}) (string, error) { return "x", nil }), 0, `"x"`, `"type":"string"`},
		{"bytes", Func(func(context.Context, Call, struct{}) ([]byte, error) { return []byte("x"), nil }), 0, `"eA=="`, `"contentEncoding":"base64"`},
		{"anything", Func(func(context.Context, Call, struct{}) (any, error) { return 1, nil }), 0, `1`, `"$schema"`},
		{"nothing of anything", Func(func(context.Context, Call, struct{}) (any, error) { return nil, nil }), 0, ``, `"$schema"`},
		{"nothing", Func(func(context.Context, Call, struct{}) (struct{}, error) { return struct{}{}, nil }), 0, "", ""},
		{"a batch", Batch(func(_ context.Context, items []Item[struct{}]) []Outcome[withEffects] {
			return []Outcome[withEffects]{{Out: withEffects{tag, items[0].Key}}}
		}), 1, `{"plan":"k"}`, `"plan"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := Action{Name: "acme.test", Run: tt.run}
			effects, output, err := a.Decide(t.Context(), Call{Key: "k"}, nil)
			if err != nil || len(effects) != tt.effects || string(output) != tt.output {
				t.Errorf("%v, %s, %v", effects, output, err)
			}
			s, err := a.build()
			if err != nil {
				t.Fatal(err)
			}
			if got := string(s.spec.GetOutputSchemaJson()); !strings.Contains(got, tt.schema) || (tt.schema == "") != (got == "") || got != "" && !json.Valid([]byte(got)) {
				t.Errorf("the schema is %s", got)
			}
		})
	}
}

type n struct {
	N int `json:"n"`
}

func batchOf(t *testing.T, a Action, params ...string) []*actionv1.Outcome {
	t.Helper()
	a.Name = "acme.test"
	s, err := Local("acme", "1", slog.New(slog.DiscardHandler), a)
	if err != nil {
		t.Fatal(err)
	}
	req := &actionv1.ExecuteRequest{Action: "acme.test"}
	for i, p := range params {
		req.Items = append(req.Items, &actionv1.Item{IdempotencyKey: strconv.Itoa(i), ParamsJson: []byte(p)})
	}
	reply, err := s.Execute(t.Context(), req)
	if err != nil || len(reply.GetOutcomes()) != len(params) {
		t.Fatal(len(reply.GetOutcomes()), err)
	}
	for i, o := range reply.GetOutcomes() {
		if o.GetIdempotencyKey() != strconv.Itoa(i) {
			t.Fatalf("outcome %d is of %s", i, o.GetIdempotencyKey())
		}
	}
	return reply.GetOutcomes()
}

// A batch has the items of a call whose parameters fit, all at once and in their order.
func TestBatch(t *testing.T) {
	t.Parallel()
	calls := 0
	out := batchOf(t, Action{Run: Batch(func(_ context.Context, items []Item[n]) []Outcome[int] {
		calls++
		all := make([]Outcome[int], len(items))
		for i, it := range items {
			switch it.In.N {
			case 1:
				all[i].Err = Skip("one")
			case 2:
				all[i].Err = Retry(time.Second, errors.New("two"))
			default:
				all[i].Out = it.In.N
			}
		}
		return all
	})}, `{"n":7}`, `{"n":"x"}`, `{"n":1}`, `{"n":2}`, `{}`, `{"n":8}`)
	if calls != 1 || string(out[0].GetDone().GetOutputJson()) != "7" || out[1].GetFail().GetCode() != "invalid_params" || out[2].GetSkip().GetReason() != "one" ||
		out[3].GetRetry().GetReason() != "two" || out[4].GetFail().GetCode() != "invalid_params" || string(out[5].GetDone().GetOutputJson()) != "8" {
		t.Error(calls, out)
	}
	for what, run := range map[string]Runner{
		"panic":       Batch(func(context.Context, []Item[n]) []Outcome[int] { panic("x") }),
		"bad_outcome": Batch(func(context.Context, []Item[n]) []Outcome[int] { return make([]Outcome[int], 1) }),
	} {
		for _, o := range batchOf(t, Action{Run: run}, `{"n":1}`, `{"n":2}`) {
			if o.GetFail().GetCode() != what {
				t.Errorf("%s: %v", what, o)
			}
		}
	}
}

// Of answers that are together over the limit those that do not fit are asked for again, unless that would do
// something outside twice.
func TestBatchOverTheLimit(t *testing.T) {
	t.Parallel()
	run := Batch(func(_ context.Context, items []Item[struct{}]) []Outcome[string] {
		all := make([]Outcome[string], len(items))
		for i := range all {
			all[i].Out = strings.Repeat("x", 60<<10)
		}
		return all
	})
	for _, once := range []bool{false, true} {
		done, again, failed := 0, 0, 0
		for _, o := range batchOf(t, Action{Run: run, External: once}, make([]string, 200)...) {
			switch {
			case o.GetDone() != nil:
				done++
			case o.GetRetry().GetUnrun():
				again++
			case o.GetFail().GetCode() == "too_large":
				failed++
			}
		}
		if done < 50 || done*60<<10 > actionv1.MaxReply || done+again+failed != 200 || (failed > 0) != once || (again > 0) == once {
			t.Errorf("once %t: %d done, %d to be run again, %d failed", once, done, again, failed)
		}
	}
}
