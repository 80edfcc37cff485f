// Package actions holds the built-in actions: pure functions on the public SDK, run as plugin
// processes like anybody's, by re-executing the one binary.
//
// It must never import anything of the product but the SDK: what a built-in action can do, a third
// party's can.
package actions

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// All gives the built-in actions in name order.
func All() []sdk.Action {
	return []sdk.Action{
		campaignAdd, campaignRemove, contactArchive, contactDelete, contactPurge, contactRestore, contactSet, contactTag,
		contactUnarchive, csvExport(), httpRequest(), listAdd, listRemove, logWrite, noteCreate, taskCreate, workflowAdd, workflowRemove,
	}
}

// Names gives the names of the built-in actions, in order.
func Names() []string {
	var names []string
	for _, a := range All() {
		names = append(names, a.Name)
	}
	return names
}

// Processes says which actions are served together, as Serve takes it: those that only decide share a process,
// and each that touches the outside world has one of its own, whose settings no other sees.
func Processes() []string {
	var decide, touch []string
	for _, a := range All() {
		if a.External {
			touch = append(touch, a.Name)
		} else {
			decide = append(decide, a.Name)
		}
	}
	return append([]string{strings.Join(decide, ",")}, touch...)
}

// Serve serves built-in actions, their names joined by commas, as a plugin process until the host ends it;
// it returns only when there is no such action.
func Serve(names string) error {
	var some []sdk.Action
	all := All()
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(a sdk.Action) bool { return a.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no built-in action %q; there is %v", name, Names())
		}
		some = append(some, all[i])
	}
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	sdk.Serve("reprieve", version, some...)
	return nil
}
