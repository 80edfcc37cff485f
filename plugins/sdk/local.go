package sdk

import (
	"context"
	"encoding/json"
	"log/slog"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// Local gives a plugin's side of the protocol without a process around it: for tests of workflows, and
// for nothing that acts on anybody's data. Its error is for the plugin's author.
func Local(name, version string, log *slog.Logger, actions ...Action) (actionv1.ActionPluginServer, error) {
	all, err := build(name, version, actions)
	if err != nil {
		return nil, err
	}
	return &server{name: name, version: version, actions: all, log: log}, nil
}

// Decide decides one item as the host would have it decided: the parameters, JSON, are held against the
// schema, and a panic is an error. It is for tests; the error is a *SkipError, a *RetryError, a *FailError, the
// function's own, or says what is wrong with the action.
func (a Action) Decide(ctx context.Context, call Call, params json.RawMessage) (Effects, json.RawMessage, error) {
	s, err := a.build()
	if err != nil {
		return nil, nil, err
	}
	call.Log = call.log()
	d := s.decide(ctx, []Call{call}, []json.RawMessage{params})[0]
	return d.effects, d.output, d.err
}
