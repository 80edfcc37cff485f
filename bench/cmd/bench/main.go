// Command bench measures the store and the engine beside bare floors and prints a table of ratios.
//
//	go run ./bench/cmd/bench           the full form: some minutes
//	go run ./bench/cmd/bench -short    less than a minute
//
// The table goes to standard output, progress to standard error. It asserts nothing. It needs some
// gigabytes free where -dir says, on a disk where an fsync means something.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/reprieve-run/reprieve/actions"
	"github.com/reprieve-run/reprieve/bench"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "action" { // started again by the plugin host
		exitOn(actions.Serve(os.Args[2]))
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "idle" { // started again to be weighed
		exitOn(bench.Idle(os.Args[2], os.Stdout))
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "plugin" { // started again as a plugin, or as one of its floors
		exitOn(bench.ServePlugin(os.Args[2]))
		return
	}
	short := flag.Bool("short", false, "fewer contacts, shorter slices: less than a minute")
	only := flag.String("only", "", "a regular expression for ingest, pipeline, life, weight, workflows/match, workflows/waits, workflows/sleepers, workflows/tests and plugins")
	rounds := flag.Int("rounds", 0, "how many rounds; 0 is 5")
	contacts := flag.Int("contacts", 0, "how many contacts are deleted; 0 is 100000, or 5000 with -short")
	sleepers := flag.Int("sleepers", 0, "how many runs sleep in one store; 0 is 200000, or 10000 with -short; 1000000 takes some minutes more")
	dir := flag.String("dir", "", "where the files go; the system's temporary directory without it")
	profiles := flag.String("profiles", "", "a directory for CPU profiles, one a contest: its last round")
	flag.Parse()

	o := bench.Full()
	if *short {
		o = bench.Short()
	}
	if *rounds > 0 {
		o.Rounds = *rounds
	}
	if *contacts > 0 {
		o.Contacts = *contacts
	}
	if *sleepers > 0 {
		o.Sleepers = *sleepers
	}
	o.Dir, o.Progress = *dir, os.Stderr
	exe, err := os.Executable()
	exitOn(err)
	o.Builtin, o.Idle, o.Plugin = []string{exe, "action"}, []string{exe, "idle"}, []string{exe, "plugin"}
	o.Only, err = regexp.Compile(*only)
	exitOn(err)
	if *profiles != "" {
		o.Around = func(contest string) func() { return profile(*profiles, contest) }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := bench.Run(ctx, o)
	exitOn(err)
	exitOn(report.Write(os.Stdout))
}

// profile writes a CPU profile of one contestant's turn.
func profile(dir, contest string) (end func()) {
	if contest == "" {
		return func() {}
	}
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(contest), "-")
	f, err := os.Create(filepath.Join(dir, name+".pprof"))
	exitOn(err)
	exitOn(pprof.StartCPUProfile(f))
	return func() {
		pprof.StopCPUProfile()
		exitOn(f.Close())
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
