package actions

import (
	"context"
	"log/slog"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type logParams struct {
	Level string `json:"level,omitempty" enum:"debug,info,warn,error" jsonschema:"how grave it is; info if missing"`
	Text  string `json:"text" jsonschema:"what to write; it is kept in logs, so no personal data"`
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "": slog.LevelInfo, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// logWrite reads no fact: only what the workflow's author puts into the text is written. The log is
// not counted as the outside world: a step that is tried again may write its line again.
var logWrite = sdk.Action{
	Name:    "log.write",
	Summary: "Write a line to the log.",
	Run: sdk.Func(func(ctx context.Context, call sdk.Call, p logParams) (sdk.Effects, error) {
		level, ok := logLevels[p.Level]
		if !ok {
			return nil, sdk.Fail("invalid_params", "there is no such level").WithHint("debug, info, warn or error")
		}
		if call.DryRun {
			return nil, sdk.Skip("dry run")
		}
		call.Log.Log(ctx, level, p.Text)
		return nil, nil
	}),
}
