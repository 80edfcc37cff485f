package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/rpc"
	"os"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/reprieve-run/reprieve/plugins"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// serveEcho is a plugin with tagAction that gives back the bytes that it was sent.
func serveEcho() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: actionv1.CookieKey, MagicCookieValue: actionv1.CookieValue},
		Plugins:         goplugin.PluginSet{actionv1.PluginName: echo{}},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

type echo struct {
	actionv1.UnimplementedActionPluginServer
	plain
}

func (echo) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	actionv1.RegisterActionPluginServer(s, echo{})
	return nil
}

func (echo) Server(*goplugin.MuxBroker) (any, error)              { return nil, nil }
func (echo) Client(*goplugin.MuxBroker, *rpc.Client) (any, error) { return nil, nil }

func (echo) Describe(context.Context, *actionv1.DescribeRequest) (*actionv1.DescribeResponse, error) {
	return &actionv1.DescribeResponse{Name: "bench", Version: "1", Actions: []*actionv1.ActionSpec{
		{Action: tagAction, Reads: []string{"fields", "tags"}}}}, nil
}

func (echo) Configure(context.Context, *actionv1.ConfigureRequest) (*actionv1.ConfigureResponse, error) {
	return &actionv1.ConfigureResponse{}, nil
}

func (echo) Execute(_ context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil, err
	}
	said, err := json.Marshal(base64.StdEncoding.EncodeToString(b))
	out := &actionv1.ExecuteResponse{}
	for _, it := range req.GetItems() {
		out.Outcomes = append(out.Outcomes, &actionv1.Outcome{IdempotencyKey: it.GetIdempotencyKey(),
			Result: &actionv1.Outcome_Done{Done: &actionv1.Done{OutputJson: said}}})
	}
	return out, err
}

// TestPluginFloorSendsTheSame: the floors are sent, byte for byte, what the host sends for the batch.
func TestPluginFloorSendsTheSame(t *testing.T) {
	t.Parallel()
	h, err := plugins.New(plugins.Options{Log: zerolog.Nop(), Builtin: []string{os.Args[0], "echo"}, BuiltinNames: []string{tagAction}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	b := someBatch(rand.New(rand.NewPCG(7, 8)), 20)
	out, err := h.Execute(t.Context(), tagAction, b)
	if err != nil || out[0].Status != plugins.Done {
		t.Fatal(out, err)
	}
	var said string
	if err := json.Unmarshal(out[0].Output, &said); err != nil {
		t.Fatal(err)
	}
	sent, err := base64.StdEncoding.DecodeString(said)
	if err != nil {
		t.Fatal(err)
	}
	floor, err := proto.MarshalOptions{Deterministic: true}.Marshal(onTheWire(b))
	if err != nil || !bytes.Equal(sent, floor) {
		t.Errorf("the host sends %d bytes, and the floor is given %d others (%v)", len(sent), len(floor), err)
	}
}

// TestPlugins: each side does its work, and a plugin that is killed comes back as another process.
func TestPlugins(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	r := &run{o: o, dir: o.Dir, report: &Report{}}
	s, err := newPlugins(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	p := s.(*pluginCalls)
	if n := len(p.sizes[1].bytes); n > actionv1.MaxRequest {
		t.Errorf("a call has %d bytes: the host makes two of it", n)
	}
	if took, err := p.recover(t.Context(), p.sizes[1]); err != nil || took.wall <= 0 {
		t.Error(took, err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}
