package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	goruntime "runtime"
	"runtime/debug"
	"slices"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// replyBudget is where a reply is full: what is not answered by then is handed back unrun, so that
// the whole stays below what the host accepts even after one more outcome.
const (
	replyBudget = actionv1.MaxReply - 1<<20
	maxOutcome  = 1 << 19
)

// server answers the host.
type server struct {
	actionv1.UnimplementedActionPluginServer
	name, version string
	actions       map[string]*served
	log           *slog.Logger
}

// bridge is how go-plugin gets at the server.
type bridge struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

func (b bridge) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	actionv1.RegisterActionPluginServer(s, b.server)
	return nil
}

func (bridge) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("this is the plugin's side")
}

func (s *server) Describe(context.Context, *actionv1.DescribeRequest) (*actionv1.DescribeResponse, error) {
	out := &actionv1.DescribeResponse{Name: s.name, Version: s.version}
	for _, name := range slices.Sorted(maps.Keys(s.actions)) {
		out.Actions = append(out.Actions, s.actions[name].spec)
	}
	return out, nil
}

func (s *server) Configure(context.Context, *actionv1.ConfigureRequest) (*actionv1.ConfigureResponse, error) {
	return &actionv1.ConfigureResponse{}, nil
}

func (s *server) Execute(ctx context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	a := s.actions[req.GetAction()]
	if a == nil {
		return nil, status.Error(codes.NotFound, "there is no such action in this plugin")
	}
	out := &actionv1.ExecuteResponse{Outcomes: make([]*actionv1.Outcome, 0, len(req.GetItems()))}
	size := 0
	for _, it := range req.GetItems() {
		if ctx.Err() != nil {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		var o *actionv1.Outcome
		if size > replyBudget {
			o = outcome(it.GetIdempotencyKey(), Result{}, Retry(0, fmt.Errorf("the reply is full")))
		} else {
			o = s.decide(ctx, a, req, it)
		}
		size += proto.Size(o)
		out.Outcomes = append(out.Outcomes, o)
	}
	return out, nil
}

// decide runs one item. A panic fails that item and no other.
func (s *server) decide(ctx context.Context, a *served, req *actionv1.ExecuteRequest, it *actionv1.Item) (o *actionv1.Outcome) {
	key := it.GetIdempotencyKey()
	in := inputOf(req, it, s.log)
	defer func() {
		if v := recover(); v != nil {
			// The value may be anything, a contact too; only the language's own errors are told.
			what := fmt.Sprintf("%T", v)
			if e, ok := v.(goruntime.Error); ok {
				what = e.Error()
			}
			in.Log.Error("the action panicked", "panic", what, "stack", string(debug.Stack()))
			o = outcome(key, Result{}, Fail("panic", "the action panicked").WithHint("the plugin's log has the stack"))
		}
	}()
	if err := a.schema.check(in.Params); err != nil {
		return outcome(key, Result{}, err)
	}
	r, err := a.Run(ctx, in)
	o = outcome(key, r, err)
	// One outcome that cannot be sent must not cost the whole batch its reply.
	if b, err := proto.Marshal(o); err != nil {
		return outcome(key, Result{}, Fail("bad_outcome", "the outcome holds text that is not UTF-8"))
	} else if len(b) > maxOutcome {
		return outcome(key, Result{}, Fail("too_large", "the outcome is over 512 KiB"))
	}
	return o
}
