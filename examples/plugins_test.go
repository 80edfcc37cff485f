package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/plugins/plugintest"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// scratch is a folder for what the tests share; it is gone when they have ended.
var scratch string

// The test binary is also the host that is killed: `BINARY host DIR`.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "host" {
		hostToBeKilled(os.Args[2])
		return
	}
	var err error
	if scratch, err = os.MkdirTemp("", "reprieve-examples-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// language is one example of a plugin that is a script, in examples/FOLDER.
type language struct {
	folder, plugin, version, action string
	script, probe                   string                                                      // its command, and what stands in for it
	prepare                         func(t *testing.T, folder string) (interpreter string)      // with its packages
	unit                            []string                                                    // how the interpreter runs its own tests
	params                          string                                                      // good ones
	bad                             []string                                                    // and bad ones
	contact                         func(i int) *crm.Contact                                    // of the item number i
	decided                         func(i int) (s plugins.Status, e []plugins.Effect, out any) // and what becomes of it
}

// python gives an interpreter that has the packages: the one that REPRIEVE_PYTHON names, or one of those that
// lie about. A run of .ci/run has installed them.
func python(t *testing.T, _ string) string {
	t.Helper()
	var tried []string
	for _, name := range []string{os.Getenv("REPRIEVE_PYTHON"), "python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if name == "" || err != nil {
			continue
		}
		out, err := exec.CommandContext(t.Context(), path, "-c", "import grpc, google.protobuf, cryptography").CombinedOutput()
		if err == nil {
			return path
		}
		tried = append(tried, fmt.Sprintf("%s: %s", path, out))
	}
	t.Skipf("no python3 with grpcio, protobuf and cryptography (Debian: apt install python3-grpcio python3-protobuf python3-cryptography; "+
		"REPRIEVE_PYTHON names an interpreter):\n%s", strings.Join(tried, "\n"))
	return ""
}

// modules installs the packages of the example in Node, once.
var modules = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp(scratch, ""); err != nil {
		return "", err
	}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		text, err := os.ReadFile(filepath.Join("plugin-node", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	npm.Dir, npm.WaitDelay = dir, time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return filepath.Join(dir, "node_modules"), nil
})

// node gives the interpreter, and puts the packages into the folder: those that REPRIEVE_NODE_MODULES names, or
// those that npm installs now.
func node(t *testing.T, folder string) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	from := os.Getenv("REPRIEVE_NODE_MODULES")
	if from == "" {
		if testing.Short() {
			t.Skip("a short run installs nothing; REPRIEVE_NODE_MODULES names a folder with the packages of examples/plugin-node")
		}
		if from, err = modules(); err != nil {
			t.Skipf("npm cannot install the packages (no network?): %v", err)
		}
	}
	if err := os.CopyFS(filepath.Join(folder, "node_modules"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return path
}

func languages() []language {
	set := func(name string, v crm.Value) []plugins.Effect {
		return []plugins.Effect{{Kind: plugins.EffectSetField, Field: name, Value: v}}
	}
	return []language{{
		folder: "plugin-python", plugin: "tidy", version: "1.0.0", action: "tidy.names", script: "tidy.py", probe: "probe.py",
		prepare: python, unit: []string{"-B", "-m", "unittest", "-v"},
		params: `{"recase": true}`, bad: []string{`{"recase": "yes"}`, `{"case": true}`, `[]`, `{`},
		contact: func(i int) *crm.Contact {
			names := []string{"  \u00c9MILE ", "Zoe\u0308", "Ada", "\u674e  \u5c0f\u9f99", "\U0001f98a fox"}
			return person(i, crm.Field{Name: "first_name", Value: crm.Text(names[i%5])})
		},
		decided: func(i int) (plugins.Status, []plugins.Effect, any) {
			tidy := []string{"\u00c9mile", "Zo\u00eb", "", "\u674e \u5c0f\u9f99", "\U0001f98a Fox"}[i%5]
			if tidy == "" {
				return plugins.Skip, nil, nil
			}
			return plugins.Done, set("first_name", crm.Text(tidy)), map[string]any{"changed": 1.0}
		},
	}, {
		folder: "plugin-node", plugin: "score", version: "1.0.0", action: "score.lead", script: "score.js", probe: "probe.js",
		prepare: node, unit: []string{"--test"},
		params: `{"tags": {"VIP": 50, "Gr\u00f6\u00dfe": 5}, "fields": {"employees": 0.5}}`,
		bad:    []string{`{"tags": {"VIP": "much"}}`, `{"tag": {}}`, `{"into": 5}`, `[]`, `{`},
		contact: func(i int) *crm.Contact {
			return person(i, crm.Field{Name: "employees", Value: crm.Number(float64(i))}, crm.Field{Name: "score", Value: crm.Number(56)})
		},
		decided: func(i int) (plugins.Status, []plugins.Effect, any) {
			score := 55 + 0.5*float64(i)
			if score == 56 {
				return plugins.Skip, nil, nil
			}
			return plugins.Done, set("score", crm.Number(score)), map[string]any{"score": score}
		},
	}}
}

func person(i int, fields ...crm.Field) *crm.Contact {
	return &crm.Contact{Account: crm.AccountID{1}, ID: crm.ContactID{byte(i), byte(i >> 8), 1}, Rev: 7, Fields: fields,
		Email: crm.Identity{Value: "canary@example.com"},
		Tags:  []crm.Tag{{Name: "vip"}, {Name: "gr\u00f6\u00dfe"}}, DND: []crm.Channel{{Name: "sms", On: true}}}
}

// batch asks for the same for each contact.
func batch(params string, contacts ...*crm.Contact) plugins.Batch {
	b := plugins.Batch{Now: crm.Nanos(1_700_000_000 * time.Second)}
	for i, c := range contacts {
		b.Items = append(b.Items, plugins.Item{Key: fmt.Sprintf("run/step/%d", i), Attempt: 2, Params: []byte(params),
			Run: plugins.RunInfo{ID: "run_1", Workflow: "w", Step: "s", StartedAt: 5}, Targets: []plugins.Target{{Contact: c, ReadsRev: 3}}})
	}
	return b
}

// logs is what a host logs, readable while it runs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hostDir makes a directory for hosts; its name is short, for it holds sockets.
func hostDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func optionsFor(dir string) plugins.Options {
	return plugins.Options{RunDir: filepath.Join(dir, "run"), Dir: filepath.Join(dir, "plugins"), StartTimeout: 30 * time.Second}
}

func newHost(t *testing.T, o plugins.Options) (*plugins.Host, *logs) {
	t.Helper()
	l := &logs{}
	o.Log = zerolog.New(l)
	h, err := plugins.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(l.String())
		}
	})
	return h, l
}

// copied gives a copy of the example with its packages, and the interpreter that plugin.yaml now names.
func (l language) copied(t *testing.T) (folder, interpreter string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), l.folder)
	if err := os.CopyFS(folder, os.DirFS(l.folder)); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"node_modules", "__pycache__", "vendor"} { // of whoever worked in the folder
		if err := os.RemoveAll(filepath.Join(folder, left)); err != nil {
			t.Fatal(err)
		}
	}
	interpreter = l.prepare(t, folder)
	rewrite(t, filepath.Join(folder, "plugin.yaml"), regexp.MustCompile(`(?m)^interpreter: \w+`), "interpreter: "+interpreter)
	return folder, interpreter
}

// probing gives a copy whose script is the probe.
func (l language) probing(t *testing.T) string {
	t.Helper()
	folder, _ := l.copied(t)
	text, err := os.ReadFile(filepath.Join("testdata", l.probe))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, l.script), text, 0o600); err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(folder, "plugin.yaml"), regexp.MustCompile(`(?m)^name: \w+\nversion: .*`), "name: probe\nversion: 0.1.0")
	return folder
}

func rewrite(t *testing.T, path string, old *regexp.Regexp, by string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := old.ReplaceAllLiteral(text, []byte(by))
	if bytes.Equal(changed, text) {
		t.Fatalf("%s has no %s", path, old)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}

func install(t *testing.T, h *plugins.Host, folder string) plugins.Installed {
	t.Helper()
	m, err := h.Install(folder)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The examples in other languages are what their READMEs say: their own tests pass, a real host installs them,
// and they decide in a batch what they should.
func TestPlugins(t *testing.T) {
	t.Parallel()
	for _, l := range languages() {
		t.Run(l.folder, func(t *testing.T) {
			t.Parallel()
			folder, interpreter := l.copied(t)
			unit := exec.CommandContext(t.Context(), interpreter, l.unit...)
			unit.Dir = folder
			if out, err := unit.CombinedOutput(); err != nil {
				t.Errorf("its own tests: %v\n%s", err, out)
			}
			byHand := exec.CommandContext(t.Context(), interpreter, l.script)
			byHand.Dir = folder
			if out, _ := byHand.CombinedOutput(); byHand.ProcessState.ExitCode() != 2 || !bytes.Contains(out, []byte(l.action)) {
				t.Errorf("run by hand it says %s", out)
			}
			h, log := newHost(t, optionsFor(hostDir(t)))
			m := install(t, h, folder)
			if m.Name != l.plugin || m.Version != l.version || m.Runs.Path != interpreter || len(m.Runs.SHA256) != 64 {
				t.Errorf("installed as %s %s with %+v", m.Name, m.Version, m.Runs)
			}
			spec, err := h.Spec(t.Context(), l.action)
			if err != nil || spec.Summary == "" || !slices.Equal(spec.Effects, []plugins.EffectKind{plugins.EffectSetField}) {
				t.Fatalf("described as %+v, %v", spec, err)
			}
			l.decides(t, h)
			diesAsAnOrphan(t, folder, interpreter, l.script)
			if strings.Contains(log.String(), "canary@example.com") {
				t.Error("what the action did not ask for reached it")
			}
		})
	}
}

// The examples keep the protocol, as `reprieve plugin test` looks at it.
func TestPluginsConform(t *testing.T) {
	t.Parallel()
	for _, l := range languages() {
		t.Run(l.folder, func(t *testing.T) {
			t.Parallel()
			folder, interpreter := l.copied(t)
			command := []string{interpreter, l.script}
			if l.plugin == "tidy" {
				command = []string{interpreter, "-B", l.script} // as its plugin.yaml says
			}
			plugintest.Run(t, plugintest.Plugin{Name: l.plugin, Version: l.version, Command: command, Dir: folder,
				Params: map[string]json.RawMessage{l.action: json.RawMessage(l.params)}})
		})
	}
}

// decides tries good and bad parameters, a large batch, and a contact that is gone.
func (l language) decides(t *testing.T, h *plugins.Host) {
	t.Helper()
	var contacts []*crm.Contact
	for i := range 1000 {
		contacts = append(contacts, l.contact(i))
	}
	out, err := h.Execute(t.Context(), l.action, batch(l.params, contacts...))
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		status, effects, output := l.decided(i)
		var got any
		if len(o.Output) > 0 {
			if err := json.Unmarshal(o.Output, &got); err != nil {
				t.Fatal(err)
			}
		}
		same := slices.EqualFunc(o.Effects, effects, func(a, b plugins.Effect) bool {
			return a.Kind == b.Kind && a.Field == b.Field && a.Target == b.Target && a.Value.Equal(b.Value)
		})
		if o.Status != status || !same || fmt.Sprint(got) != fmt.Sprint(output) {
			t.Fatalf("item %d: %+v, want %v %+v %v", i, o, status, effects, output)
		}
	}
	for _, params := range l.bad {
		out, err := h.Execute(t.Context(), l.action, batch(params, l.contact(0)))
		if err != nil || out[0].Status != plugins.Fail || out[0].Code != "invalid_params" || len(out[0].Effects) > 0 {
			t.Errorf("with %s: %+v, %v", params, out, err)
		}
	}
	gone := batch(l.params, l.contact(0))
	gone.Items[0].Targets[0].Life = crm.Life{Account: crm.AccountID{1}, Contact: contacts[0].ID, State: crm.Deleted, Epoch: 1}
	if out, err := h.Execute(t.Context(), l.action, gone); err != nil || out[0].Status != plugins.Skip {
		t.Errorf("of a deleted contact: %+v, %v", out, err)
	}
}

// want is an outcome as far as it matters.
type want struct {
	status          plugins.Status
	code, message   string
	after           crm.Nanos
	output, effects string
}

func (w want) holds(o plugins.Outcome) bool {
	var kinds []string
	for _, e := range o.Effects {
		kinds = append(kinds, fmt.Sprintf("%s %s%s %v", e.Kind, e.Tag, e.Field, e.Value.List))
	}
	return o.Status == w.status && o.Code == w.code && strings.Contains(o.Message, w.message) && o.After == w.after &&
		plainJSON(string(o.Output)) == plainJSON(w.output) && strings.Join(kinds, ", ") == w.effects
}

// plainJSON gives JSON in one order and one spelling.
func plainJSON(text string) string {
	var v any
	_ = json.Unmarshal([]byte(text), &v)
	return fmt.Sprintf("%q", fmt.Sprint(v))
}

// Both languages put the same on the wire and take the same off it.
func TestPluginProbes(t *testing.T) {
	t.Parallel()
	const text = "Gr\u00f6\u00dfe \U0001f98a \u0000\u2028 end"
	quoted, _ := json.Marshal(text)
	rows := []struct {
		params string
		want   want
	}{
		{`{"mode": "echo", "text": ` + string(quoted) + `}`, want{status: plugins.Done,
			output: `{"attempt":2,"deleted_by":"","dnd":{"sms":true},"dry":true,"email":"canary@example.com","epoch":0,` +
				`"fields":{"flag":false,"list":["a","b"],"n":1.5,"plan":"gold"},"key":"run/step/0","now":1700000000,` +
				`"run":"run_1","state":"live","tags":["vip","gr\u00f6\u00dfe"],"text":` + string(quoted) + `}`,
			effects: "tag.add " + text + " [], field.set seen [a " + text + "]"}},
		{`{"mode": "skip"}`, want{status: plugins.Skip, message: "nothing to do"}},
		{`{"mode": "retry"}`, want{status: plugins.Retry, message: "later", after: crm.Nanos(1500 * time.Millisecond)}},
		{`{"mode": "fail"}`, want{status: plugins.Fail, code: "no_such_thing", message: "it is not there"}},
		{`{"mode": "raise"}`, want{status: plugins.Fail, code: "panic", message: "Error"}},
		{`{"mode": "noise"}`, want{status: plugins.Done}},
		{`{"mode": "too big"}`, want{status: plugins.Fail, code: "too_large"}},
		{`{"mode": "not text"}`, want{status: plugins.Fail, code: "bad_outcome"}},
		{`{"mode": "nothing"}`, want{status: plugins.Fail, code: "bad_outcome"}},
		{`{"mode": "undeclared"}`, want{status: plugins.Fail, code: plugins.CodeUndeclared}},
		{`{"mode": "no such target"}`, want{status: plugins.Fail, code: plugins.CodeBadTarget}},
		{`{"mode": "else"}`, want{status: plugins.Fail, code: "invalid_params", message: "params.mode is not one of"}},
		{`{}`, want{status: plugins.Fail, code: "invalid_params", message: "params lacks mode"}},
		{`{"mode": "skip", "n": true}`, want{status: plugins.Fail, code: "invalid_params", message: "params.n is not of the type integer"}},
		{`{"mode": "skip", "list": [1, "a"]}`, want{status: plugins.Fail, code: "invalid_params", message: "params.list[1] is not of the type number"}},
		{`{"mode": "skip", "map": {"a": 1}}`, want{status: plugins.Fail, code: "invalid_params", message: "params.map.* is not of the type boolean"}},
		{`{"mode": "skip", "other": 1}`, want{status: plugins.Fail, code: "invalid_params", message: "params has a name"}},
	}
	for _, l := range languages() {
		t.Run(l.folder, func(t *testing.T) {
			t.Parallel()
			dir := hostDir(t)
			h, log := newHost(t, optionsFor(dir))
			install(t, h, l.probing(t))
			contact := person(1, crm.Field{Name: "plan", Value: crm.Text("gold")}, crm.Field{Name: "n", Value: crm.Number(1.5)},
				crm.Field{Name: "flag", Value: crm.Value{Kind: crm.BoolValue}}, crm.Field{Name: "list", Value: crm.Value{Kind: crm.ListValue, List: []string{"a", "b"}}})
			for _, row := range rows {
				b := batch(row.params, contact)
				b.DryRun = true
				out, err := h.Execute(t.Context(), "probe.do", b)
				if err != nil || !row.want.holds(out[0]) {
					t.Errorf("%s: %+v, %v\nwith %s\nnot  %s", row.params, out, err, plainJSON(string(out[0].Output)), plainJSON(row.want.output))
				}
			}
			l.bounds(t, h, contact)
			if strings.Contains(log.String(), "canary@example.com") {
				t.Error("the text of an exception reached the log")
			}
			if !strings.Contains(log.String(), "printed by the plugin") || !strings.Contains(log.String(), `"level":"error"`) {
				t.Error("what the plugin prints and logs did not reach the log")
			}
			if err := h.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Run("settings", func(t *testing.T) { refusesItsSettings(t, dir) })
			t.Run("killed", func(t *testing.T) { diesWithTheHost(t, dir) })
		})
	}
}

// bounds tries what is large, slow and cut off.
func (l language) bounds(t *testing.T, h *plugins.Host, contact *crm.Contact) {
	t.Helper()
	many := slices.Repeat([]*crm.Contact{contact}, 200)
	out, err := h.Execute(t.Context(), "probe.do", batch(`{"mode": "big"}`, many...)) // 12 MB of output: more than a reply holds
	for i, o := range out {
		if err != nil || o.Status != plugins.Done || len(o.Output) != 60002 {
			t.Fatalf("big item %d: %v %s, %v", i, o.Status, o.Message, err)
		}
	}
	out, err = h.Execute(t.Context(), "probe.do", batch(`{"mode": "asleep"}`, many[:20]...)) // 5 s of work in calls of 4 s
	for i, o := range out {
		if err != nil || o.Status != plugins.Done {
			t.Fatalf("slow item %d: %v %s, %v", i, o.Status, o.Message, err)
		}
	}
	out, err = h.Execute(t.Context(), "probe.do", batch(`{"mode": "env"}`, contact))
	var env []string
	if err != nil || json.Unmarshal(out[0].Output, &env) != nil {
		t.Fatal(out, err)
	}
	for _, name := range env {
		if !strings.HasPrefix(name, "PLUGIN_") && name != actionv1.CookieKey && name != "LC_CTYPE" { // Python's own
			t.Errorf("it has %s in its environment", name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := h.Execute(ctx, "probe.do", batch(`{"mode": "asleep"}`, many...)); crm.CodeOf(err) != crm.CodeUnavailable {
		t.Errorf("a call that was given up: %v", err)
	}
	if out, err := h.Execute(t.Context(), "probe.do", batch(`{"mode": "pid"}`, contact)); err != nil || out[0].Status != plugins.Done {
		t.Errorf("after a call that was given up: %+v, %v", out, err)
	}
}

// refusesItsSettings: what the operator has set reaches a plugin, and its refusal the operator.
func refusesItsSettings(t *testing.T, dir string) {
	o := optionsFor(dir)
	o.Config = func(string) ([]byte, error) { return []byte(`{"refuse": true}`), nil }
	h, _ := newHost(t, o)
	if _, err := h.Execute(t.Context(), "probe.do", batch(`{"mode": "skip"}`, person(1))); err == nil || !strings.Contains(err.Error(), "it is set to refuse") {
		t.Errorf("started: %v", err)
	}
}

// hostToBeKilled prints its plugin's pid and waits for its end.
func hostToBeKilled(dir string) {
	h, err := plugins.New(optionsFor(dir))
	if err != nil {
		panic(err)
	}
	if _, err := h.Execute(context.Background(), "probe.do", batch(`{"mode": "skip"}`, person(1))); err != nil {
		panic(err)
	}
	fmt.Println(h.Processes()[0].PID)
	time.Sleep(time.Hour)
}

// diesWithTheHost: a host that is killed leaves nothing behind that it started.
func diesWithTheHost(t *testing.T, dir string) {
	host := exec.CommandContext(t.Context(), "/proc/self/exe", "host", dir)
	host.Stderr = os.Stderr
	stdout, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_ = host.Process.Kill()
	_ = host.Wait()
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid == 0 {
		t.Fatalf("the host says %q, %v", line, err)
	}
	waitForEnd(t, pid)
}

// What the examples carry of the protocol is what it is: `go generate ./plugins/proto/...` renews both.
func TestPluginProtocol(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../plugins/proto/action/v1/action.proto")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("plugin-node/action.proto"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("plugin-node/action.proto is not the protocol (go generate ./plugins/proto/...): %v", err)
	}
	stub, err := os.ReadFile("plugin-python/action_pb2.py")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`AddSerializedFile\(b'(.*)'\)`).FindSubmatch(stub)
	if found == nil {
		t.Fatal("plugin-python/action_pb2.py holds no descriptor")
	}
	raw, err := strconv.Unquote(`"` + strings.NewReplacer(`\'`, `'`).Replace(string(found[1])) + `"`)
	if err != nil {
		t.Fatal(err)
	}
	var got descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	is := protodesc.ToFileDescriptorProto(actionv1.File_action_proto)
	for _, m := range is.GetMessageType() {
		for _, f := range m.GetField() {
			f.JsonName = nil // the stub leaves out what follows from the rest
		}
	}
	if !proto.Equal(&got, is) {
		t.Error("plugin-python/action_pb2.py is not of this protocol (go generate ./plugins/proto/...)")
	}
}
