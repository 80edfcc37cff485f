package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// tagAction reads what a step commonly reads and asks for one effect.
const tagAction = "bench.tag"

type tagParams struct {
	Tag string `json:"tag"`
}

// ServePlugin is what a process for Options.Plugin does: it is a plugin, prints a line and waits for the end of
// its input, or is a bare gRPC server on the socket that the argument names.
func ServePlugin(how string) error {
	switch how {
	case tagAction:
		sdk.Serve("bench", "1.0.0", sdk.Action{
			Name: tagAction, Reads: []string{"tags", "fields"}, Effects: []sdk.EffectKind{sdk.TagAdd}, Timeout: time.Minute,
			Run: sdk.Func(func(_ context.Context, call sdk.Call, p tagParams) (sdk.Effects, error) {
				c := call.Target().Contact
				if c.HasTag(p.Tag) || len(c.Tags) != 10 || len(c.Fields) != 10 {
					return nil, sdk.Skip("it is not the contact that was sent")
				}
				return sdk.Effects{sdk.AddTag(0, p.Tag)}, nil
			}),
		})
	case "line":
		fmt.Println("here")
		return nil
	}
	return serveRaw(how)
}

// bareStart starts the executable until it prints a line.
func bareStart(ctx context.Context, argv []string) error {
	cmd := command(ctx, argv, "line")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	return errors.Join(err, cmd.Wait())
}

func command(ctx context.Context, argv []string, how string) *exec.Cmd {
	argv = append(slices.Clone(argv), how)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	return cmd
}

// alone is the plugin behind go-plugin without the host: no containment, no supervision, no rules.
type alone struct {
	client *goplugin.Client
	rpc    actionv1.ActionPluginClient
}

// plain is how go-plugin gets at the client.
type plain struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (plain) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this is the host's side")
}

func (plain) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return actionv1.NewActionPluginClient(c), nil
}

func startAlone(ctx context.Context, argv []string) (_ *alone, err error) {
	cmd := exec.Command(argv[0], append(slices.Clone(argv[1:]), tagAction)...)
	a := &alone{client: goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: actionv1.ProtocolVersion, MagicCookieKey: actionv1.CookieKey, MagicCookieValue: actionv1.CookieValue,
		},
		Plugins: goplugin.PluginSet{actionv1.PluginName: plain{}}, AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Cmd: cmd, AutoMTLS: true, SkipHostEnv: true, StartTimeout: time.Minute, Logger: hclog.NewNullLogger(),
	})}
	defer func() {
		if err != nil {
			a.client.Kill()
		}
	}()
	protocol, err := a.client.Client()
	if err != nil {
		return nil, err
	}
	got, err := protocol.Dispense(actionv1.PluginName)
	if err != nil {
		return nil, err
	}
	a.rpc = got.(actionv1.ActionPluginClient)
	if _, err := a.rpc.Describe(ctx, &actionv1.DescribeRequest{}); err != nil {
		return nil, err
	}
	_, err = a.rpc.Configure(ctx, &actionv1.ConfigureRequest{ConfigJson: []byte("{}")})
	return a, err
}

func (a *alone) pid() int {
	if c := a.client.ReattachConfig(); c != nil {
		return c.Pid
	}
	return 0
}

func (a *alone) call(ctx context.Context, req *actionv1.ExecuteRequest) error {
	reply, err := a.rpc.Execute(ctx, req)
	if err == nil && len(reply.GetOutcomes()) != len(req.GetItems()) {
		err = errors.New("bench: the plugin left items out")
	}
	return err
}

// record gives the bytes of a call's request and reply.
func (a *alone) record(ctx context.Context, req *actionv1.ExecuteRequest) (sent, got []byte, err error) {
	reply, err := a.rpc.Execute(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	if sent, err = proto.Marshal(req); err != nil {
		return nil, nil, err
	}
	got, err = proto.Marshal(reply)
	return sent, got, err
}

func (a *alone) close() { a.client.Kill() }

// raw is a bare gRPC server in a process of its own, on a unix socket without TLS. It hands out the bytes that
// it was given, and looks at nothing.
type raw struct {
	cmd  *exec.Cmd
	dir  string
	conn *grpc.ClientConn
	end  func() error
}

const (
	rawCall = "/bench.Raw/Call"
	rawKeep = "/bench.Raw/Keep" // what Call answers from now on
)

// asIs is a codec of bytes.
type asIs struct{}

func (asIs) Name() string { return "as-is" }

func (asIs) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (asIs) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = b
	return nil
}

// serveRaw serves until its input ends.
func serveRaw(path string) error {
	var kept atomic.Pointer[[]byte]
	answer := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in []byte
		return kept.Load(), decode(&in)
	}
	keep := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in []byte
		err := decode(&in)
		in = bytes.Clone(in)
		kept.Store(&in)
		return &[]byte{}, err
	}
	s := grpc.NewServer(grpc.ForceServerCodec(asIs{}))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Raw", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: answer}, {MethodName: "Keep", Handler: keep}}}, struct{}{})
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	fmt.Println("here")
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		s.Stop()
	}()
	return s.Serve(l)
}

func startRaw(ctx context.Context, argv []string) (_ *raw, err error) {
	dir, err := os.MkdirTemp("", "raw-") // short: a socket's path is
	if err != nil {
		return nil, err
	}
	r := &raw{dir: dir, cmd: command(ctx, argv, filepath.Join(dir, "s"))}
	in, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := r.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r.end = func() error { return errors.Join(in.Close(), r.cmd.Wait(), os.RemoveAll(dir)) }
	if _, err = bufio.NewReader(out).ReadString('\n'); err == nil {
		r.conn, err = grpc.NewClient("unix:"+filepath.Join(dir, "s"), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(asIs{})))
	}
	if err != nil {
		return nil, errors.Join(err, r.end())
	}
	return r, nil
}

func (r *raw) pid() int { return r.cmd.Process.Pid }

// call sends the request, or with keep the reply that is to be answered, and checks the length of the answer.
func (r *raw) call(ctx context.Context, request, reply []byte, keep bool) error {
	var got []byte
	if keep {
		if err := r.conn.Invoke(ctx, rawKeep, &reply, &got); err != nil {
			return err
		}
	}
	if err := r.conn.Invoke(ctx, rawCall, &request, &got); err != nil {
		return err
	}
	if len(got) != len(reply) {
		return errors.New("bench: the floor answered something else")
	}
	return nil
}

func (r *raw) close() error { return errors.Join(r.conn.Close(), r.end()) }

// processorTimeOf gives what a process has used, summed over its threads; 0 where the system does not say.
func processorTimeOf(pid int) (sum time.Duration) {
	found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range found {
		var ran int64
		b, _ := os.ReadFile(path)
		if n, _ := fmt.Sscan(string(b), &ran); n == 1 {
			sum += time.Duration(ran)
		}
	}
	return sum
}
