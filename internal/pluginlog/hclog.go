package pluginlog

import (
	"fmt"
	"io"
	"log"

	"github.com/hashicorp/go-hclog"
	"github.com/rs/zerolog"
)

// HCLog gives go-plugin a logger that ends in l. All of it is logged as debug, because go-plugin
// calls an ordinary end of a plugin an error; the host reports what matters itself. Its named
// children, which go-plugin makes to parse a plugin's lines, are off: only that keeps it from
// parsing them (a null logger does not).
func HCLog(l zerolog.Logger) hclog.Logger { return &adapter{l: l} }

// adapter implements hclog.Logger.
type adapter struct {
	l    zerolog.Logger
	args []any
	off  bool
}

func (a *adapter) Log(_ hclog.Level, msg string, args ...any) {
	if a.off {
		return
	}
	fields := zerolog.Dict()
	for _, kv := range [][]any{a.args, args} {
		for i := 0; i+1 < len(kv); i += 2 {
			fields = fields.Str(fmt.Sprint(kv[i]), fmt.Sprint(kv[i+1]))
		}
	}
	a.l.Debug().Dict("fields", fields).Msg(msg)
}

func (a *adapter) Trace(string, ...any)           {} // go-plugin traces each message
func (a *adapter) Debug(msg string, args ...any)  { a.Log(hclog.Debug, msg, args...) }
func (a *adapter) Info(msg string, args ...any)   { a.Log(hclog.Info, msg, args...) }
func (a *adapter) Warn(msg string, args ...any)   { a.Log(hclog.Warn, msg, args...) }
func (a *adapter) Error(msg string, args ...any)  { a.Log(hclog.Error, msg, args...) }
func (a *adapter) IsTrace() bool                  { return false }
func (a *adapter) IsDebug() bool                  { return !a.off }
func (a *adapter) IsInfo() bool                   { return !a.off }
func (a *adapter) IsWarn() bool                   { return !a.off }
func (a *adapter) IsError() bool                  { return !a.off }
func (a *adapter) ImpliedArgs() []any             { return a.args }
func (a *adapter) Name() string                   { return "" }
func (a *adapter) Named(string) hclog.Logger      { return &adapter{off: true} }
func (a *adapter) ResetNamed(string) hclog.Logger { return &adapter{off: true} }
func (a *adapter) SetLevel(hclog.Level)           {}

func (a *adapter) With(args ...any) hclog.Logger {
	return &adapter{l: a.l, off: a.off, args: append(a.args[:len(a.args):len(a.args)], args...)}
}

func (a *adapter) GetLevel() hclog.Level {
	if a.off {
		return hclog.Off
	}
	return hclog.Debug
}

func (a *adapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}

func (a *adapter) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
