package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/reprieve-run/reprieve/internal/pluginlog"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// process is one living (or dead) plugin process. It is never started twice.
type process struct {
	client *goplugin.Client
	child  *child
	rpc    actionv1.ActionPluginClient
	desc   *actionv1.DescribeResponse
	began  time.Time
	ended  func() // closes the log's streams
	health healthpb.HealthClient

	using sync.Mutex
	calls int       // under way
	used  time.Time // when the last one began or ended

	endOnce, noteOnce sync.Once
}

// launch says how to start a plugin.
type launch struct {
	plugin   string
	settings func(plugin string) ([]byte, error)
	image    image
	private  string // the host's private directory
	conf     confine
	network  bool // an action of it declares a host to talk to: it may use one
	trial    bool // it is only looked at: it is not told what the operator has set
	log      zerolog.Logger
	timeout  time.Duration
	kill     time.Duration
	now      func() time.Time
}

// start runs the plugin until it has described and configured itself. Whatever hangs on the way is
// ended by the watchdog, which kills the process group; everything else fails on that by itself.
func (l launch) start() (_ *process, err error) {
	sink := pluginlog.NewSink(l.log, l.now)
	stderr, stdout := sink.Stream("stderr"), sink.Stream("stdout")     // the process's own
	printErr, printOut := sink.Stream("stderr"), sink.Stream("stdout") // what go-plugin redirected
	var dir string
	p := &process{began: l.now(), ended: func() {
		if dir != "" { // go-plugin gives up at what it may not remove
			_ = removeAll(dir)
		}
		for _, s := range []io.Closer{stderr, stdout, printErr, printOut} {
			_ = s.Close()
		}
		sink.Close()
	}}
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	release := func() {}
	cfg := l.config()
	cfg.Stderr, cfg.SyncStdout, cfg.SyncStderr = stderr, printOut, printErr
	cfg.RunnerFunc = func(_ hclog.Logger, spec *exec.Cmd, tmp string) (runner.Runner, error) {
		dir = tmp
		cmd, free, err := l.image.command(spec.Env, tmp)
		if err != nil {
			return nil, err
		}
		release = free
		conf := l.conf
		conf.private, conf.folder, conf.network = tmp, l.image.folder, l.network
		p.child = newChild(cmd, conf, stdout)
		context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				_ = p.child.Kill(ctx)
			}
		})
		return p.child, nil
	}
	p.client = goplugin.NewClient(cfg)
	defer func() {
		release()
		if err != nil {
			p.end(0)
			_ = removeAll(dir)
		}
	}()
	if _, err := p.client.Start(); err != nil {
		return nil, err
	}
	if err := p.greet(ctx, l); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("it did not describe itself within %s", l.timeout)
		}
		return nil, err
	}
	return p, nil
}

func (l launch) config() *goplugin.ClientConfig {
	return &goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: actionv1.ProtocolVersion, MagicCookieKey: actionv1.CookieKey, MagicCookieValue: actionv1.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{actionv1.ProtocolVersion: {actionv1.PluginName: bridge{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     l.timeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: l.private},
		Logger:           pluginlog.HCLog(l.log),
		// go-plugin takes replies of up to 2 GiB; the last option of a kind wins.
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(actionv1.MaxReply))},
	}
}

// greet asks the plugin what it is.
func (p *process) greet(ctx context.Context, l launch) error {
	protocol, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("it cannot be reached: %w", cleanRPC(err))
	}
	if g, ok := protocol.(*goplugin.GRPCClient); ok {
		p.health = healthpb.NewHealthClient(g.Conn)
	}
	raw, err := protocol.Dispense(actionv1.PluginName)
	if err != nil {
		return err
	}
	rpc, ok := raw.(actionv1.ActionPluginClient)
	if !ok {
		return errors.New("it serves something else")
	}
	p.rpc = rpc
	if p.desc, err = rpc.Describe(ctx, &actionv1.DescribeRequest{}); err != nil {
		return fmt.Errorf("it does not describe itself: %w", cleanRPC(err))
	}
	if l.trial {
		return nil
	}
	return l.configure(ctx, rpc)
}

// configure hands the plugin what the operator has set for it. What a plugin says to that is meant for the
// operator, so it is told.
func (l launch) configure(ctx context.Context, rpc actionv1.ActionPluginClient) error {
	set := []byte("{}")
	if l.settings != nil {
		got, err := l.settings(l.plugin)
		if err != nil {
			return err
		}
		if len(got) > 0 {
			set = got
		}
	}
	_, err := rpc.Configure(ctx, &actionv1.ConfigureRequest{ConfigJson: set})
	if s, _ := status.FromError(err); err != nil && s.Code() == codes.FailedPrecondition {
		return fmt.Errorf("what is set for it cannot be used: %s", clean(s.Message()))
	}
	if err != nil {
		return fmt.Errorf("it cannot be configured: %w", cleanRPC(err))
	}
	return nil
}

// end stops the process and returns once it is gone: it is asked to end, and killed with its group
// after grace. Calls in flight are cut off, so whoever minds waits for them first.
func (p *process) end(grace time.Duration) {
	p.endOnce.Do(func() {
		if p.child != nil {
			if grace <= 0 {
				_ = p.child.Kill(context.Background())
			}
			t := time.AfterFunc(grace, func() { _ = p.child.Kill(context.Background()) })
			defer t.Stop()
		}
		p.client.Kill()
		p.ended()
	})
}

// alive says whether the process has not been seen to end.
func (p *process) alive() bool {
	select {
	case <-p.child.exited:
		return false
	default:
		return true
	}
}

func (p *process) pid() int {
	n, _ := strconv.Atoi(p.child.ID())
	return n
}

// bridge is how go-plugin gets at the client.
type bridge struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (bridge) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this is the host's side")
}

func (bridge) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return actionv1.NewActionPluginClient(c), nil
}
