package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// The test binary is also the plugins that are tested: `BINARY plugin HOW`.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "plugin" {
		servePlugin(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

type params struct {
	Text  string     `json:"text" jsonschema:"a text"`
	URL   string     `json:"url,omitempty" jsonschema:"where to"`
	Token sdk.Secret `json:"token,omitzero" jsonschema:"a secret"`
}

type run = func(context.Context, sdk.Call, params) (sdk.Effects, error)

func action(run run) sdk.Action {
	return sdk.Action{Name: "good.tag", Summary: "Tag the contact.", Reads: []string{"email", "fields", "tags", "tombstone"}, Effects: []sdk.EffectKind{sdk.TagAdd}, Run: sdk.Func(run)}
}

func good(_ context.Context, call sdk.Call, in params) (sdk.Effects, error) {
	if len(call.Targets) == 0 {
		return nil, sdk.Fail("no_contact", "there is no contact")
	}
	call.Log.Info("tagged")
	return sdk.Effects{sdk.AddTag(0, "x"+strings.ToUpper(in.Text))}, nil
}

// servePlugin is a good plugin with one thing wrong.
func servePlugin(how string) {
	do, a := good, run(nil)
	switch how {
	case "exits":
		os.Exit(1)
	case "prints":
		fmt.Println("hello") // go-plugin's own handshake comes after it
	case "elsewhere":
		os.Setenv("PLUGIN_UNIX_SOCKET_DIR", os.TempDir())
	case "sigterm":
		signal.Ignore(syscall.SIGTERM)
	case "child": // outlives it with its pipes
		cmd := exec.Command("/bin/sleep", "20")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		_ = cmd.Start()
	case "lives on": // in which the SDK's watch sees nothing
		cmd := exec.Command(os.Args[0], "plugin", "good")
		cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, os.Environ()
		_ = cmd.Run()
	case "dies":
		a = func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			if len(call.Targets) == 0 {
				go func() { panic("no contact") }()
				time.Sleep(time.Minute)
			}
			return good(ctx, call, in)
		}
	case "noise":
		line := bytes.Repeat([]byte("x"), 1<<20)
		a = func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			if call.Attempt == 2 {
				for range 6 {
					_, _ = syscall.Write(2, line)
					_, _ = syscall.Write(1, line)
				}
			}
			return good(ctx, call, in)
		}
	case "some noise":
		_, _ = syscall.Write(2, []byte("{\"@message\": 5}\nhello\n"))
		a = func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			_, _ = syscall.Write(1, []byte("hello\n"))
			fmt.Println("hello")
			return good(ctx, call, in)
		}
	case "env":
		if os.Getenv("HOME") != "" || os.Getenv("PATH") != "" {
			os.Exit(1)
		}
	}
	if a != nil {
		do = a
	}
	sdk.Serve("good", "1.0.0", action(do))
}

// failed gives the checks that failed; those that take time are left out unless they are wanted.
func failed(t *testing.T, p Plugin, want string) (names []string) {
	t.Helper()
	for _, slow := range []string{"batch", "payloads", "concurrent", "cancel", "stop", "sigterm", "orphan"} {
		if slow != want {
			p.without = append(p.without, slow)
		}
	}
	results, err := Check(t.Context(), p)
	if err != nil || len(results) != len(checks()) {
		t.Fatal(results, err)
	}
	for _, r := range results {
		if r.Status == Failed {
			names = append(names, r.Check)
			if r.Detail == "" || r.Hint == "" {
				t.Errorf("%s does not say what to do: %+v", r.Check, r)
			}
			t.Logf("%s: %s", r.Check, r.Detail)
		}
	}
	return names
}

// A plugin that keeps every promise passes, in this process and as a process of its own.
func TestGoodPlugins(t *testing.T) {
	t.Parallel()
	Run(t, Plugin{Name: "good", Version: "1.0.0", Actions: []sdk.Action{action(good)}})
	for _, how := range []string{"good", "some noise", "env"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			Run(t, Plugin{Name: "good", Version: "1.0.0", Command: []string{os.Args[0], "plugin", how}, Dir: t.TempDir()})
		})
	}
}

// Every check can fail: for each there is a process or a function with just that wrong.
func TestBadProcesses(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]string{
		"exits": "start", "prints": "start", "elsewhere": "start", "dies": "alive", "noise": "noise",
		"child": "stop", "sigterm": "sigterm", "lives on": "orphan",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			if got := failed(t, Plugin{Command: []string{os.Args[0], "plugin", how}}, want); !slices.Contains(got, want) {
				t.Errorf("failed %v, wanted %s", got, want)
			}
		})
	}
	if got := failed(t, Plugin{Command: []string{"/no/such/plugin"}}, ""); len(got) != 1 || got[0] != "start" {
		t.Errorf("what cannot be started failed %v", got)
	}
	if got := failed(t, Plugin{Name: "other", Command: []string{os.Args[0], "plugin", "good"}}, ""); len(got) != 1 || got[0] != "describe" {
		t.Errorf("a plugin of another name failed %v", got)
	}
}

func get(url string) {
	if resp, err := http.Get(url); err == nil {
		_ = resp.Body.Close()
	}
}

func TestBadFunctions(t *testing.T) {
	t.Parallel()
	external := func(a sdk.Action) sdk.Action {
		a.External = true
		return a
	}
	var calls atomic.Int64
	var busy atomic.Int32
	for _, tt := range []struct {
		check  string
		action sdk.Action
	}{
		{"dry-run", external(action(func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			get(in.URL)
			return good(ctx, call, in)
		}))},
		{"same-key", action(func(context.Context, sdk.Call, params) (sdk.Effects, error) {
			return sdk.Effects{sdk.AddTag(0, fmt.Sprint(calls.Add(1)))}, nil
		})},
		{"concurrent", action(func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			defer busy.Add(-1)
			if busy.Add(1) > 1 {
				return nil, sdk.Fail("busy", "another call is under way")
			}
			time.Sleep(time.Millisecond)
			return good(ctx, call, in)
		})},
		{"cancel", action(func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			if len(call.Key) > 0 && call.Run.ID != "" && cancelled(ctx) {
				time.Sleep(4 * time.Second)
			}
			return good(ctx, call, in)
		})},
		{"effects", action(func(_ context.Context, call sdk.Call, _ params) (sdk.Effects, error) {
			return sdk.Effects{sdk.Delete(0, "")}, nil
		})},
		{"effects", action(func(context.Context, sdk.Call, params) (sdk.Effects, error) {
			return sdk.Effects{sdk.AddTag(7, "x")}, nil
		})},
		{"secrets", action(func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			call.Log.Info("with " + in.Token.Reveal())
			return good(ctx, call, in)
		})},
		{"secrets", action(func(_ context.Context, _ sdk.Call, in params) (sdk.Effects, error) {
			return nil, errors.New("refused: " + in.Token.Reveal())
		})},
		{"personal-data", action(func(ctx context.Context, call sdk.Call, in params) (sdk.Effects, error) {
			call.Log.Info("for " + call.Target().Contact.Email)
			return good(ctx, call, in)
		})},
		{"works", action(func(context.Context, sdk.Call, params) (sdk.Effects, error) { panic("always") })},
	} {
		t.Run(tt.check, func(t *testing.T) {
			t.Parallel()
			if got := failed(t, Plugin{Name: "good", Version: "1", Actions: []sdk.Action{tt.action}}, tt.check); !slices.Contains(got, tt.check) {
				t.Errorf("failed %v, wanted %s", got, tt.check)
			}
		})
	}
}

// cancelled waits a moment for the call to be given up.
func cancelled(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(time.Millisecond):
		return false
	}
}

// raw is a plugin without the SDK: what it says and answers is bent.
type raw struct {
	actionv1.ActionPluginServer
	describe func(*actionv1.DescribeResponse)
	before   func(*actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error)
	after    func(*actionv1.ExecuteRequest, *actionv1.ExecuteResponse)
}

func (r raw) Describe(ctx context.Context, req *actionv1.DescribeRequest) (*actionv1.DescribeResponse, error) {
	d, err := r.ActionPluginServer.Describe(ctx, req)
	if d = proto.CloneOf(d); r.describe != nil {
		r.describe(d)
	}
	return d, err
}

func (r raw) Execute(ctx context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	if r.before != nil {
		if reply, err := r.before(req); reply != nil || err != nil {
			return reply, err
		}
	}
	reply, err := r.ActionPluginServer.Execute(ctx, req)
	if err == nil && r.after != nil {
		r.after(req, reply)
	}
	return reply, err
}

func TestBadServers(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	schema := func(text string) func(*actionv1.DescribeResponse) {
		return func(d *actionv1.DescribeResponse) { d.Actions[0].ParamsSchemaJson = []byte(text) }
	}
	for _, tt := range []struct {
		what, check string
		bend        raw
	}{
		{"another version each time", "describe", raw{describe: func(d *actionv1.DescribeResponse) { d.Version += fmt.Sprint(n.Add(1)) }}},
		{"no actions", "describe", raw{describe: func(d *actionv1.DescribeResponse) { d.Actions = nil }}},
		{"an unknown read", "describe", raw{describe: func(d *actionv1.DescribeResponse) { d.Actions[0].Reads = []string{"password"} }}},
		{"no schema", "schema", raw{describe: schema(`{`)}},
		{"an open schema", "schema", raw{describe: schema(`{"type":"object"}`)}},
		{"another draft", "schema", raw{describe: schema(`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","additionalProperties":false}`)}},
		{"a bad reference", "schema", raw{describe: schema(`{"type":"object","additionalProperties":false,"properties":{"a":{"$ref":"#/$defs/none"}}}`)}},
		{"takes anything", "bad-input", raw{before: func(req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
			out := &actionv1.ExecuteResponse{}
			for _, it := range req.GetItems() {
				out.Outcomes = append(out.Outcomes, &actionv1.Outcome{IdempotencyKey: it.GetIdempotencyKey(), Result: &actionv1.Outcome_Done{Done: &actionv1.Done{}}})
			}
			return out, nil
		}}},
		{"acts and then looks", "bad-input", raw{before: func(req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
			var p struct{ URL string }
			_ = json.Unmarshal(req.GetItems()[0].GetParamsJson(), &p)
			get(p.URL)
			return nil, nil
		}}},
		{"not so many", "batch", raw{before: func(req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
			if len(req.GetItems()) > 500 {
				return nil, errors.New("too many")
			}
			return nil, nil
		}}},
		{"begins nothing", "batch", raw{after: func(req *actionv1.ExecuteRequest, reply *actionv1.ExecuteResponse) {
			for _, o := range reply.GetOutcomes() {
				if len(req.GetItems()) > 500 {
					o.Result = &actionv1.Outcome_Retry{Retry: &actionv1.Retry{Unrun: true}}
				}
			}
		}}},
		{"not so large", "payloads", raw{before: func(req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
			if len(req.GetItems()) == 1 && proto.Size(req) > 500<<10 {
				return nil, errors.New("too large")
			}
			return nil, nil
		}}},
		{"only ASCII", "payloads", raw{before: func(req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
			if strings.Contains(string(req.GetItems()[0].GetParamsJson()), "李") {
				return nil, errors.New("not ASCII")
			}
			return nil, nil
		}}},
		{"cannot do without a contact", "hostile-items", raw{before: func(req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
			for _, it := range req.GetItems() {
				if len(it.GetTargets()) == 0 {
					return nil, errors.New("no contact")
				}
			}
			return nil, nil
		}}},
		{"answers twice", "answers", raw{after: func(_ *actionv1.ExecuteRequest, reply *actionv1.ExecuteResponse) {
			reply.Outcomes = append(reply.Outcomes, reply.Outcomes[0])
		}}},
		{"answers for others", "answers", raw{after: func(_ *actionv1.ExecuteRequest, reply *actionv1.ExecuteResponse) {
			reply.Outcomes = append(reply.Outcomes, &actionv1.Outcome{IdempotencyKey: "foreign"})
		}}},
		{"does not answer", "answers", raw{after: func(_ *actionv1.ExecuteRequest, reply *actionv1.ExecuteResponse) { reply.Outcomes = reply.Outcomes[1:] }}},
		{"no JSON", "answers", raw{after: func(_ *actionv1.ExecuteRequest, reply *actionv1.ExecuteResponse) {
			if d := reply.Outcomes[0].GetDone(); d != nil {
				d.OutputJson = []byte("{")
			}
		}}},
		{"not by its own schema", "answers", raw{
			describe: func(d *actionv1.DescribeResponse) { d.Actions[0].OutputSchemaJson = []byte(`{"type":"string"}`) },
			after: func(_ *actionv1.ExecuteRequest, reply *actionv1.ExecuteResponse) {
				if d := reply.Outcomes[0].GetDone(); d != nil {
					d.OutputJson = []byte("5")
				}
			}}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			s, err := sdk.Local("good", "1", slog.New(slog.DiscardHandler), action(good))
			if err != nil {
				t.Fatal(err)
			}
			tt.bend.ActionPluginServer = s
			if got := failed(t, Plugin{server: tt.bend}, tt.check); !slices.Contains(got, tt.check) {
				t.Errorf("failed %v, wanted %s", got, tt.check)
			}
		})
	}
}

func TestJUnit(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := WriteJUnit(&b, "acme", []Result{{Check: "start", Status: Pass, Took: time.Second}, {Check: "schema", Status: Failed, Detail: "<no>", Hint: "do it"}, {Check: "stop", Status: Skipped, Detail: "why"}})
	var s junitSuite
	if e := xml.Unmarshal(b.Bytes(), &s); err != nil || e != nil || s.Tests != 3 || s.Failures != 1 || s.Skipped != 1 || s.Cases[1].Failure.Message != "<no>" || !strings.Contains(s.Cases[1].Failure.Text, "do it") {
		t.Errorf("%v, %v, %s", err, e, b.String())
	}
}
