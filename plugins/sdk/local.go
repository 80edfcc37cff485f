package sdk

import (
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
