package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// A reply is full where one more outcome, or as many smaller ones as are decided at a time, might bring it
// above what the host accepts: what is not answered by then is handed back unrun.
const (
	maxParallel = 16
	maxOutcome  = 1 << 19
	spare       = 1 << 18 // for the outcomes that hand the rest back
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

func (s *server) Configure(_ context.Context, req *actionv1.ConfigureRequest) (*actionv1.ConfigureResponse, error) {
	config := req.GetConfigJson()
	if len(config) == 0 {
		config = []byte("{}")
	}
	for _, name := range slices.Sorted(maps.Keys(s.actions)) {
		if set := s.actions[name].Configure; set != nil {
			if err := set(config); err != nil {
				return nil, status.Error(codes.FailedPrecondition, err.Error())
			}
		}
	}
	return &actionv1.ConfigureResponse{}, nil
}

// Execute decides the items in order, as many at a time as the action says. What there is no time or no
// room for is handed back unrun; the first always has both.
func (s *server) Execute(ctx context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	a := s.actions[req.GetAction()]
	if a == nil {
		return nil, status.Error(codes.NotFound, "there is no such action in this plugin")
	}
	if a.Run.batch {
		return s.executeBatch(ctx, a, req)
	}
	items, out := req.GetItems(), &actionv1.ExecuteResponse{}
	began := time.Now()
	limit, most := maxOutcome, max(1, a.Parallel)
	if most > 1 {
		limit = maxOutcome / 4
	}
	budget := actionv1.MaxReply - most*limit - spare
	for size := 0; len(out.Outcomes) < len(items); {
		if ctx.Err() != nil {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		from := len(out.Outcomes)
		some := items[from:min(len(items), from+most)]
		if full := size > budget; full || from > 0 && late(ctx, began) {
			for _, it := range items[from:] {
				out.Outcomes = append(out.Outcomes, unrun(it.GetIdempotencyKey(), full))
			}
			break
		}
		for _, o := range s.decideSome(ctx, a, req, some, limit) {
			size += proto.Size(o)
			out.Outcomes = append(out.Outcomes, o)
		}
	}
	return out, nil
}

// executeBatch decides all items at once. What does not fit into the reply is asked for again, but for what
// has happened outside and may not happen twice: that fails.
func (s *server) executeBatch(ctx context.Context, a *served, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	items, out := req.GetItems(), &actionv1.ExecuteResponse{}
	decided := s.decide(ctx, a, req, items)
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	size := 0
	for i, it := range items {
		o := sendable(it.GetIdempotencyKey(), decided[i], maxOutcome)
		if n := proto.Size(o); size+n <= actionv1.MaxReply-spare {
			size += n
		} else if o.GetDone() != nil && a.External && !a.Idempotent {
			o = decision{err: Fail("too_large", "the outcomes of the batch are over 4 MiB")}.wire(it.GetIdempotencyKey())
		} else {
			o = unrun(it.GetIdempotencyKey(), true)
		}
		out.Outcomes = append(out.Outcomes, o)
	}
	return out, nil
}

// late says whether half of the call's time is gone: who began an item now might not end it.
func late(ctx context.Context, began time.Time) bool {
	end, ok := ctx.Deadline()
	return ok && time.Since(began) > time.Until(end)
}

func unrun(key string, full bool) *actionv1.Outcome {
	why := "the call left no time for it"
	if full {
		why = "the reply is full"
	}
	return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Retry{Retry: &actionv1.Retry{Reason: why, Unrun: true}}}
}

// decideSome decides a few items at once.
func (s *server) decideSome(ctx context.Context, a *served, req *actionv1.ExecuteRequest, items []*actionv1.Item, limit int) []*actionv1.Outcome {
	out := make([]*actionv1.Outcome, len(items))
	one := func(i int) {
		out[i] = sendable(items[i].GetIdempotencyKey(), s.decide(ctx, a, req, items[i:i+1])[0], limit)
	}
	var wg sync.WaitGroup
	for i := 1; i < len(items); i++ {
		wg.Go(func() { one(i) })
	}
	one(0)
	wg.Wait()
	return out
}

// decide runs the items whose parameters fit the schema.
func (s *server) decide(ctx context.Context, a *served, req *actionv1.ExecuteRequest, items []*actionv1.Item) []decision {
	calls, params := make([]Call, len(items)), make([]json.RawMessage, len(items))
	for i, it := range items {
		calls[i], params[i] = callOf(req, it, s.log), it.GetParamsJson()
	}
	return a.decide(ctx, calls, params)
}

func (a *served) decide(ctx context.Context, calls []Call, params []json.RawMessage) []decision {
	out := make([]decision, len(calls))
	var fit []int
	var some []Call
	var sent []json.RawMessage
	for i := range calls {
		if out[i].err = a.schema.check(params[i]); out[i].err == nil {
			fit, some, sent = append(fit, i), append(some, calls[i]), append(sent, params[i])
		}
	}
	for i, d := range a.Run.decide(ctx, some, sent) {
		out[fit[i]] = d
	}
	return out
}

// sendable is the answer for a decision: one that cannot be sent must not cost the whole batch its reply.
func sendable(key string, d decision, limit int) *actionv1.Outcome {
	o := d.wire(key)
	if b, err := proto.Marshal(o); err != nil {
		return decision{err: Fail("bad_outcome", "the outcome holds text that is not UTF-8")}.wire(key)
	} else if len(b) > limit {
		return decision{err: Fail("too_large", fmt.Sprintf("the outcome is over %d KiB", limit>>10))}.wire(key)
	}
	return o
}
