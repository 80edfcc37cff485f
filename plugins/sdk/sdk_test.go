package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

type testParams struct {
	Tag   string `json:"tag" jsonschema:"the tag"`
	Level string `json:"level,omitempty" enum:"low,high"`
	N     int    `json:"n,omitempty"`
}

// answer has effects and an output of any kind.
type answer struct {
	Effects `json:"-"`
	Output  any `json:"output,omitempty"`
}

func serverOf(t *testing.T, run func(context.Context, Call, testParams) (answer, error)) (*server, *bytes.Buffer) {
	t.Helper()
	all, err := build("acme", "1", []Action{{Name: "acme.test", Run: Func(run)}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	return &server{name: "acme", version: "1", actions: all, log: slog.New(slog.NewJSONHandler(&log, nil))}, &log
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	secret := "canary@example.com"
	tests := []struct {
		name   string
		params string
		run    func(context.Context, Call, testParams) (answer, error)
		want   string // a part of the outcome's text
	}{
		{"done", `{"tag":"x"}`, func(_ context.Context, _ Call, p testParams) (answer, error) {
			return answer{Effects{AddTag(0, p.Tag)}, map[string]int{"n": 1}}, nil
		}, `done:{effects:{add_tag:{tag:"x"}} output_json:"{\"output\":{\"n\":1}}"}`},
		{"skip", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) { return answer{}, Skip("no") }, `skip:{reason:"no"}`},
		{"retry", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{}, Retry(time.Second, errors.New("busy"))
		}, `retry:{after_nanos:1000000000 reason:"busy"}`},
		{"fail", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{}, Fail("gone", "it is gone").WithHint("look elsewhere")
		}, `fail:{code:"gone" message:"it is gone" hint:"look elsewhere"}`},
		{"error", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) { return answer{}, errors.New("oh") }, `code:"error" message:"oh"`},
		{"panic", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) { panic(secret) }, `code:"panic"`},
		{"runtime panic", `{"tag":"x"}`, func(_ context.Context, call Call, _ testParams) (answer, error) {
			return answer{Effects: Effects{AddTag(0, call.Targets[7].ID)}}, nil
		}, `code:"panic"`},
		{"bad value", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{Effects: Effects{SetField(0, "a", struct{}{})}}, nil
		}, `code:"bad_effect"`},
		{"bad target", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{Effects: Effects{Delete(-1, "")}}, nil
		}, `code:"bad_effect"`},
		{"bad kind", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{Effects: Effects{Effect{Kind: "x"}}}, nil
		}, `code:"bad_effect"`},
		{"bad output", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{Output: math.NaN()}, nil
		}, `code:"bad_output"`},
		{"large output", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{Output: strings.Repeat("x", 1<<17)}, nil
		}, `code:"bad_output"`},
		{"not UTF-8", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{Effects: Effects{AddTag(0, "a\xff")}}, nil
		}, `code:"bad_outcome"`},
		{"huge", `{"tag":"x"}`, func(context.Context, Call, testParams) (answer, error) {
			return answer{Effects: Effects{AddTag(0, strings.Repeat("x", 1<<20))}}, nil
		}, `code:"too_large"`},
		{"missing parameter", `{}`, nil, `code:"invalid_params" message:"the parameter tag is missing"`},
		{"unknown parameter", `{"tag":"x","` + secret + `":1}`, nil, `code:"invalid_params"`},
		{"wrong type", `{"tag":"x","n":"` + secret + `"}`, nil, `message:"the parameter n does not fit`},
		{"not in the enumeration", `{"tag":"x","level":"` + secret + `"}`, nil, `message:"the parameter level does not fit`},
		{"no object", `[1]`, nil, `code:"invalid_params"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, log := serverOf(t, tt.run)
			reply, err := s.Execute(t.Context(), &actionv1.ExecuteRequest{Action: "acme.test", Items: []*actionv1.Item{
				{IdempotencyKey: "k", ParamsJson: []byte(tt.params)},
			}})
			if err != nil || len(reply.GetOutcomes()) != 1 {
				t.Fatal(reply, err)
			}
			// Spacing of protobuf's text is random on purpose.
			got := strings.Join(strings.Fields(reply.GetOutcomes()[0].String()), " ")
			if !strings.Contains(got, tt.want) || !strings.Contains(got, `idempotency_key:"k"`) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if strings.Contains(got+log.String(), secret) {
				t.Errorf("a value leaked: %s %s", got, log.String())
			}
		})
	}
}

func TestReplyStaysBelowLimit(t *testing.T) {
	t.Parallel()
	ran := 0
	s, _ := serverOf(t, func(context.Context, Call, testParams) (answer, error) {
		ran++
		return answer{Output: strings.Repeat("x", actionv1.MaxOutput-13)}, nil
	})
	req := &actionv1.ExecuteRequest{Action: "acme.test"}
	for range actionv1.MaxItems {
		req.Items = append(req.Items, &actionv1.Item{IdempotencyKey: "k", ParamsJson: []byte(`{"tag":"x"}`)})
	}
	reply, err := s.Execute(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	size, done, retry := 0, 0, 0
	for _, o := range reply.GetOutcomes() {
		size += len(o.GetDone().GetOutputJson()) + 100
		if o.GetRetry() != nil {
			retry++
		} else {
			done++
		}
	}
	if size > actionv1.MaxReply || done != ran || done+retry != actionv1.MaxItems || done < 40 {
		t.Errorf("%d bytes, %d done, %d handed back, %d ran", size, done, retry, ran)
	}
}

func TestValuesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(
			rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Float64().AsAny(),
			rapid.Map(rapid.Int64Min(1), func(n int64) time.Time { return time.Unix(0, n).UTC() }).AsAny(),
			rapid.SliceOfN(rapid.String(), 1, 3).AsAny(),
		).Draw(t, "value")
		w, err := valueOf(v)
		if err != nil {
			t.Fatal(err)
		}
		switch got := plain(w).(type) {
		case []string:
			if strings.Join(got, "\x00") != strings.Join(v.([]string), "\x00") {
				t.Fatalf("%v became %v", v, got)
			}
		default:
			if got != v {
				t.Fatalf("%v became %v", v, got)
			}
		}
	})
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	run := Func(func(context.Context, Call, struct{}) (Effects, error) { return nil, nil })
	tests := map[string][]Action{
		"no actions":     nil,
		"a bad name":     {{Name: "Flag", Run: run}},
		"no run":         {{Name: "acme.flag"}},
		"twice":          {{Name: "acme.flag", Run: run}, {Name: "acme.flag", Run: run}},
		"a bad read":     {{Name: "acme.flag", Run: run, Reads: []string{"password"}}},
		"an empty field": {{Name: "acme.flag", Run: run, Reads: []string{"fields."}}},
		"a bad effect":   {{Name: "acme.flag", Run: run, Effects: []EffectKind{"contact.explode"}}},
		"a long timeout": {{Name: "acme.flag", Run: run, Timeout: time.Hour}},
		"no struct":      {{Name: "acme.flag", Run: Func(func(context.Context, Call, int) (Effects, error) { return nil, nil })}},
		"no schema":      {{Name: "acme.flag", Run: Func(func(context.Context, Call, struct{ C chan int }) (Effects, error) { return nil, nil })}},
		"no output":      {{Name: "acme.flag", Run: Func(func(context.Context, Call, struct{}) (chan int, error) { return nil, nil })}},
		"no tag on the effects": {{Name: "acme.flag", Run: Func(func(context.Context, Call, struct{}) (out struct {
			Effects
			N int
		}, err error) {
			return
		})}},
		"a parallel batch": {{Name: "acme.flag", Parallel: 2, Run: Batch(func(context.Context, []Item[struct{}]) []Outcome[Effects] { return nil })}},
	}
	for name, actions := range tests {
		if _, err := build("acme", "1", actions); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := build("Acme", "1", []Action{{Name: "acme.flag", Run: run}}); err == nil {
		t.Error("a bad plugin name was taken")
	}
}

func TestIntroduce(t *testing.T) {
	t.Parallel()
	s, _ := serverOf(t, nil)
	var out bytes.Buffer
	introduce(&out, "acme", "1", "/x/acme", s.actions)
	for _, want := range []string{"acme 1 is a plugin", "acme.test", "tag        string   yes       the tag", "one of low high", "command: ./acme", "reprieve plugin install FOLDER"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %s", want, out.String())
		}
	}
}

func TestOutlive(t *testing.T) {
	t.Parallel()
	parents := []int{7, 7, 1}
	exited := false
	outlive(7, func() int {
		p := parents[0]
		parents = parents[1:]
		return p
	}, 0, func() { exited = true })
	if !exited || len(parents) != 0 {
		t.Error("the plugin outlived its host")
	}
}

// An action that says so decides as many items at a time as it says and no more, and the outcomes stand in
// the items' order whoever is done first.
func TestParallel(t *testing.T) {
	t.Parallel()
	const most, items = 4, 10
	var now, peak atomic.Int32
	together := make(chan struct{})
	var once sync.Once
	all, err := build("acme", "1", []Action{{Name: "acme.test", Parallel: most, Run: Func(func(_ context.Context, call Call, _ struct{}) (string, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		if n == most {
			once.Do(func() { close(together) })
		}
		<-together // never, if they were decided one by one
		if call.Key == "3" {
			panic("one of them")
		}
		return call.Key, nil
	})}})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{name: "acme", version: "1", actions: all, log: slog.New(slog.DiscardHandler)}
	req := &actionv1.ExecuteRequest{Action: "acme.test"}
	for i := range items {
		req.Items = append(req.Items, &actionv1.Item{IdempotencyKey: strconv.Itoa(i)})
	}
	reply, err := s.Execute(t.Context(), req)
	if err != nil || len(reply.GetOutcomes()) != items || peak.Load() != most {
		t.Fatal(len(reply.GetOutcomes()), peak.Load(), err)
	}
	for i, o := range reply.GetOutcomes() {
		if o.GetIdempotencyKey() != strconv.Itoa(i) || (o.GetFail().GetCode() == "panic") != (i == 3) || i != 3 && string(o.GetDone().GetOutputJson()) != strconv.Quote(strconv.Itoa(i)) {
			t.Errorf("item %d got %v", i, o)
		}
	}
}

// What there is no time for is handed back unrun, but for the first item, so that each call gets on.
func TestNoTimeLeft(t *testing.T) {
	t.Parallel()
	ran := 0
	s, _ := serverOf(t, func(context.Context, Call, testParams) (answer, error) { ran++; return answer{}, nil })
	req := &actionv1.ExecuteRequest{Action: "acme.test"}
	for i := range 3 {
		req.Items = append(req.Items, &actionv1.Item{IdempotencyKey: strconv.Itoa(i), ParamsJson: []byte(`{"tag":"x"}`)})
	}
	ctx := lastMoment{t.Context()}
	reply, err := s.Execute(ctx, req)
	if err != nil || ran != 1 || len(reply.GetOutcomes()) != 3 {
		t.Fatal(reply, err, ran)
	}
	for i, o := range reply.GetOutcomes() {
		if o.GetRetry().GetUnrun() != (i > 0) || o.GetIdempotencyKey() != strconv.Itoa(i) {
			t.Errorf("item %d got %v", i, o)
		}
	}
}

// lastMoment is a context whose deadline has come and of which nobody has heard yet.
type lastMoment struct{ context.Context }

func (lastMoment) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }

func TestConfigure(t *testing.T) {
	t.Parallel()
	var got string
	all, err := build("acme", "1", []Action{{Name: "acme.test", Run: Func(func(context.Context, Call, struct{}) (Effects, error) { return nil, nil }),
		Configure: func(raw json.RawMessage) error {
			if got = string(raw); got == `{"a":2}` {
				return errors.New("a cannot be 2")
			}
			return nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{actions: all}
	for sent, want := range map[string]string{"": "{}", `{"a":1}`: `{"a":1}`} {
		if _, err := s.Configure(t.Context(), &actionv1.ConfigureRequest{ConfigJson: []byte(sent)}); err != nil || got != want {
			t.Errorf("%q came as %q, %v", sent, got, err)
		}
	}
	if _, err := s.Configure(t.Context(), &actionv1.ConfigureRequest{ConfigJson: []byte(`{"a":2}`)}); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "a cannot be 2") {
		t.Error(err)
	}
}
