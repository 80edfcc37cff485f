package sdk

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// Serve runs the plugin until the host ends it. It belongs at the end of main and does not return.
// Started by hand it prints what the plugin is and exits with status 2; an action that is declared
// wrongly exits with status 1.
func Serve(name, version string, actions ...Action) {
	stderr := os.Stderr // go-plugin replaces it
	all, err := build(name, version, actions)
	if err != nil {
		fmt.Fprintf(stderr, "%v\n", err)
		os.Exit(1)
	}
	if os.Getenv(actionv1.CookieKey) != actionv1.CookieValue {
		introduce(stderr, name, version, os.Args[0], all)
		os.Exit(2)
	}
	// The host decides which levels are kept.
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go outlive(os.Getppid(), os.Getppid, time.Second, func() { os.Exit(3) })
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: actionv1.ProtocolVersion, MagicCookieKey: actionv1.CookieKey, MagicCookieValue: actionv1.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{actionv1.ProtocolVersion: {
			actionv1.PluginName: bridge{server: &server{name: name, version: version, actions: all, log: log}},
		}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			// Without this a plugin keeps gRPC's 4 MiB and a large batch never arrives.
			return grpc.NewServer(append(o, grpc.MaxRecvMsgSize(actionv1.MaxReceive))...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: stderr, JSONFormat: true}),
	})
	os.Exit(0)
}

// outlive calls exit once the process has another parent: a host that was killed leaves its plugins
// running, and nothing in go-plugin ends them.
func outlive(parent int, getppid func() int, every time.Duration, exit func()) {
	for getppid() == parent {
		time.Sleep(every)
	}
	exit()
}
