package plugins

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// The test binary is also every plugin that the tests run: `BINARY action NAME`.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "action":
			servePlugin(os.Args[2])
			return
		case "host":
			serveHost(os.Args[2])
			return
		case "probe":
			if err := ServeProbe(os.Args[2], os.Stdout); err != nil {
				panic(err)
			}
			return
		case "refused":
			serveRefused(os.Args[2])
			return
		case "zoo":
			serveZoo(os.Args[2])
			return
		}
	}
	os.Setenv("SECRET_OF_THE_HOST", "canary")
	in, typed, err := os.Pipe() // the host's stdin, on which somebody has typed
	if err != nil {
		panic(err)
	}
	_, _ = typed.WriteString("canary\n")
	os.Stdin = in
	code := m.Run()
	for _, f := range cleanups {
		f()
	}
	os.Exit(code)
}

func servePlugin(name string) {
	switch family, how, _ := strings.Cut(name, "."); family {
	case "test":
		sdk.Serve("test", "1.2.3", testAction(name))
	case "raw":
		serveRaw(how)
	case "rogue":
		serveRogue(name, how)
	case "acme":
		serveFake(how)
	default:
		if err := actions.Serve(name); err != nil {
			panic(err)
		}
	}
}

type testParams struct {
	Mode string `json:"mode"`
}

// testAction does what its parameter says, well or badly.
func testAction(name string) sdk.Action {
	a := sdk.Action{
		Name: name, Reads: []string{"tags", "fields.plan", "tombstone"}, Timeout: 20 * time.Second,
		Effects: []sdk.EffectKind{sdk.TagAdd, sdk.ContactDelete},
	}
	if name == "test.slow" {
		a.Timeout = 300 * time.Millisecond
	}
	a.Run = sdk.Func(func(ctx context.Context, call sdk.Call, p testParams) (answer, error) {
		return testModes[p.Mode](ctx, call)
	})
	return a
}

// answer is effects, and an output of any kind.
type answer struct {
	sdk.Effects `json:"-"`
	out         any
}

// MarshalJSON gives the output.
func (a answer) MarshalJSON() ([]byte, error) { return json.Marshal(a.out) }

var filled atomic.Int64

var testModes = map[string]func(context.Context, sdk.Call) (answer, error){
	"echo": func(_ context.Context, call sdk.Call) (answer, error) {
		return answer{sdk.Effects{sdk.AddTag(0, "seen")}, call}, nil
	},
	"fill": func(context.Context, sdk.Call) (answer, error) { // some 50 fill a reply
		return answer{out: map[string]any{"n": filled.Add(1), "x": strings.Repeat("x", 60<<10)}}, nil
	},
	"pid":   func(context.Context, sdk.Call) (answer, error) { return answer{out: ownPID()}, nil },
	"exit":  func(context.Context, sdk.Call) (answer, error) { os.Exit(9); return answer{}, nil },
	"panic": func(context.Context, sdk.Call) (answer, error) { go panic("a goroutine"); select {} },
	"kill": func(context.Context, sdk.Call) (answer, error) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		os.Exit(137) // the first process of a pid namespace is deaf to its own signals
		select {}
	},
	"hang": func(context.Context, sdk.Call) (answer, error) { select {} },
	"stop": func(context.Context, sdk.Call) (answer, error) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {}
	},
	"noise": func(context.Context, sdk.Call) (answer, error) {
		_, _ = syscall.Write(2, []byte("{\"@message\": 5}\n{\"@level\": {}, \"@timestamp\": []}\n"))
		_, _ = syscall.Write(1, bytes.Repeat([]byte("x"), 1<<20))
		_, _ = syscall.Write(2, bytes.Repeat([]byte("y"), 1<<20))
		fmt.Println("printed by the plugin")
		return answer{}, nil
	},
	"grandchild": func(context.Context, sdk.Call) (answer, error) {
		cmd := exec.Command("/bin/sleep", "1000")
		// The process's own pipes, not those that go-plugin made.
		cmd.Stdout, cmd.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		err := cmd.Start()
		return answer{out: cmd.Process.Pid}, err
	},
	"daemon": func(context.Context, sdk.Call) (answer, error) {
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.Stdout, cmd.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of the group: only its pipes are let go
		err := cmd.Start()
		return answer{out: cmd.Process.Pid}, err
	},
	"surroundings": func(context.Context, sdk.Call) (answer, error) {
		dir, _ := os.Getwd()
		var in [1]byte
		n, _ := os.Stdin.Read(in[:])
		return answer{out: map[string]any{"env": os.Environ(), "dir": dir, "stdin": n, "group": syscall.Getpgrp() == os.Getpid()}}, nil
	},
	"undeclared": func(context.Context, sdk.Call) (answer, error) {
		return answer{Effects: sdk.Effects{sdk.Purge(0, "")}}, nil
	},
	"bad target": func(context.Context, sdk.Call) (answer, error) {
		return answer{Effects: sdk.Effects{sdk.AddTag(9, "x")}}, nil
	},
	"twice deleted": func(context.Context, sdk.Call) (answer, error) {
		return answer{Effects: sdk.Effects{sdk.Delete(0, ""), sdk.AddTag(0, "x")}}, nil
	},
}

// serveRaw is what calls itself a plugin and is none.
func serveRaw(how string) {
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	switch how {
	case "garbage":
		fmt.Println("hello world")
	case "tcp":
		l, _ := net.Listen("tcp", "127.0.0.1:0")
		fmt.Printf("1|1|tcp|%s|grpc\n", l.Addr())
	case "foreign":
		fmt.Printf("1|1|unix|%s|grpc\n", filepath.Join(filepath.Dir(dir), "other.sock"))
	case "dots":
		fmt.Printf("1|1|unix|%s/../x.sock|grpc\n", dir)
	case "symlink":
		_ = os.Symlink("/var/run/docker.sock", dir+"/s")
		fmt.Printf("1|1|unix|%s/s|grpc\n", dir)
	case "netrpc":
		_, _ = net.Listen("unix", dir+"/s")
		fmt.Printf("1|1|unix|%s/s|netrpc\n", dir)
	case "version":
		fmt.Printf("1|9|unix|%s/s|grpc\n", dir)
	case "deaf": // accepts connections and never answers
		_, _ = net.Listen("unix", dir+"/s")
		fmt.Printf("1|1|unix|%s/s|grpc\n", dir)
	case "long":
		for range 16 {
			_, _ = os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<16))
		}
	case "exit":
		os.Exit(1)
	}
	signal.Ignore(syscall.SIGTERM)
	time.Sleep(time.Hour)
}

// rogue speaks the protocol and breaks its rules.
type rogue struct {
	actionv1.UnimplementedActionPluginServer
	name, how string
}

func (r rogue) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	actionv1.RegisterActionPluginServer(s, r)
	return nil
}

func (rogue) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("no")
}

func (rogue) Server(*goplugin.MuxBroker) (any, error) { return nil, errors.New("no") }

func (r rogue) Describe(context.Context, *actionv1.DescribeRequest) (*actionv1.DescribeResponse, error) {
	a := &actionv1.ActionSpec{Action: r.name, Reads: []string{"tags"}, Effects: []string{"tag.add"}}
	switch r.how {
	case "othername":
		a.Action = "rogue.else"
	case "badread":
		a.Reads = []string{"everything"}
	case "mute":
		select {}
	}
	return &actionv1.DescribeResponse{Name: "rogue", Version: "1", Actions: []*actionv1.ActionSpec{a}}, nil
}

func (rogue) Configure(context.Context, *actionv1.ConfigureRequest) (*actionv1.ConfigureResponse, error) {
	return &actionv1.ConfigureResponse{}, nil
}

func (r rogue) Execute(_ context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	out := &actionv1.ExecuteResponse{}
	for _, it := range req.GetItems() {
		b, _ := proto.Marshal(req)
		seen, _ := json.Marshal(base64.StdEncoding.EncodeToString(b))
		if r.how != "bytes" {
			seen = nil
		}
		out.Outcomes = append(out.Outcomes, &actionv1.Outcome{IdempotencyKey: it.GetIdempotencyKey(),
			Result: &actionv1.Outcome_Done{Done: &actionv1.Done{OutputJson: seen}}})
	}
	switch r.how {
	case "missing":
		out.Outcomes = out.Outcomes[1:]
	case "twice":
		out.Outcomes = append(out.Outcomes, out.Outcomes[0])
	case "unknown":
		out.Outcomes[0].IdempotencyKey = "a key of somebody else's"
	case "empty":
		out.Outcomes[0].Result = nil
	case "huge":
		out.Outcomes[0].GetDone().OutputJson = bytes.Repeat([]byte("1"), actionv1.MaxReply+1)
	case "nojson":
		out.Outcomes[0].GetDone().OutputJson = []byte("{")
	case "refuse":
		return nil, errors.New("canary@example.com")
	}
	return out, nil
}

func serveRogue(name, how string) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: actionv1.CookieKey, MagicCookieValue: actionv1.CookieValue},
		Plugins:         goplugin.PluginSet{actionv1.PluginName: rogue{name: name, how: how}},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

func (rogue) Client(*goplugin.MuxBroker, *rpc.Client) (any, error) { return nil, errors.New("no") }

// serveHost is a host that is killed: it prints its plugin's pid and waits for its end.
func serveHost(runDir string) {
	h, err := New(Options{RunDir: runDir, Builtin: testArgv, BuiltinNames: []string{"test.a"}})
	if err != nil {
		panic(err)
	}
	out, err := h.Execute(context.Background(), "test.a", batch("pid", live(1)))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", out[0].Output)
	time.Sleep(time.Hour)
}

var testArgv = []string{"/proc/self/exe", "action"}

// testLog is what hosts log, readable while they run.
type testLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rp") // short: it holds sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newHost(t *testing.T, o Options, names ...string) (*Host, *testLog) {
	t.Helper()
	log := &testLog{}
	o.Log = zerolog.New(log)
	o.RunDir = tempDir(t)
	o.Builtin, o.BuiltinNames = testArgv, names
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(o.RunDir); len(left) > 0 {
			t.Errorf("the host left %v", left)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return h, log
}

func live(n byte) Target {
	c := &crm.Contact{Account: crm.AccountID{1}, ID: crm.ContactID{n}, Rev: 7}
	return Target{Contact: c, ReadsRev: 3}
}

func inState(n byte, s crm.State) Target {
	t := live(n)
	t.Life = crm.Life{Account: t.Contact.Account, Contact: t.Contact.ID, State: s, Epoch: 2}
	return t
}

// batch asks for one mode for one item a target.
func batch(mode string, targets ...Target) Batch {
	b := Batch{Now: 1000}
	for i, t := range targets {
		b.Items = append(b.Items, Item{
			Key: fmt.Sprintf("run/step/%d", i), Attempt: 1, Run: RunInfo{ID: "run_1", Workflow: "w", Step: "s", StartedAt: 5},
			Params: []byte(`{"mode":"` + mode + `"}`), Targets: []Target{t},
		})
	}
	return b
}

// ownPID gives the number by which the host knows this process: a pid namespace has others.
func ownPID() int {
	if self, err := os.Readlink("/proc/self"); err == nil {
		if pid, err := strconv.Atoi(self); err == nil {
			return pid
		}
	}
	return os.Getpid()
}

// gone waits until no process has the pid, or a dead one nobody reaped.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(rest, "Z") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func firstLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	l, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(l)
}
