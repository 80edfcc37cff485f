package plugins

import (
	"context"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// InProcess executes the actions of one plugin in this process, by the protocol and under every rule
// that a host holds a plugin to: what was not declared is not sent and not accepted. It keeps nothing
// out of the host's memory, so it is for tests of workflows alone.
type InProcess struct {
	server actionv1.ActionPluginServer
	specs  map[string]Spec
}

// NewInProcess asks the plugin what it has.
func NewInProcess(ctx context.Context, server actionv1.ActionPluginServer) (*InProcess, error) {
	d, err := server.Describe(ctx, &actionv1.DescribeRequest{})
	if err != nil {
		return nil, err
	}
	specs, err := specsOf(d)
	if err != nil {
		return nil, crm.Errorf("describe a plugin", crm.CodeInvalid, "%w", err)
	}
	return &InProcess{server, specs}, nil
}

// Catalogue gives the actions by name; the map is not to be changed.
func (p *InProcess) Catalogue() map[string]Spec { return p.specs }

// Spec gives one action.
func (p *InProcess) Spec(_ context.Context, action string) (Spec, error) {
	s, ok := p.specs[action]
	if !ok {
		return s, crm.Errorf("run "+action, crm.CodeNotFound, "no plugin provides the action").WithHint("install its plugin with `reprieve plugin install`")
	}
	return s, nil
}

// Execute is Host.Execute without a process.
func (p *InProcess) Execute(ctx context.Context, action string, b Batch) ([]Outcome, error) {
	spec, err := p.Spec(ctx, action)
	if err != nil {
		return nil, err
	}
	if err := b.check(action); err != nil {
		return nil, err
	}
	out := make([]Outcome, 0, len(b.Items))
	for from := 0; from < len(b.Items); {
		req, n := request(spec, b, from)
		if len(req.Items) == 0 { // the one item is too large by itself
			out, from = append(out, Outcome{Status: Fail, Code: CodeTooLarge, Message: "the item is over 1 MiB"}), from+n
			continue
		}
		reply, err := p.server.Execute(ctx, req)
		if err != nil {
			return nil, err
		}
		got, err := settle(spec, b.Items[from:from+n], reply.GetOutcomes())
		if err != nil {
			return nil, err
		}
		out, from = append(out, got...), from+n
	}
	return out, nil
}
