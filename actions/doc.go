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

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// All gives the built-in actions in name order.
func All() []sdk.Action {
	return []sdk.Action{contactDelete, contactRestore, contactTag, logWrite}
}

// Names gives the names of the built-in actions, in order.
func Names() []string {
	var names []string
	for _, a := range All() {
		names = append(names, a.Name)
	}
	return names
}

// Serve serves one built-in action as a plugin process until the host ends it; it returns only when
// there is no such action.
func Serve(name string) error {
	all := All()
	i := slices.IndexFunc(all, func(a sdk.Action) bool { return a.Name == name })
	if i < 0 {
		return fmt.Errorf("there is no built-in action %q; there is %v", name, Names())
	}
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	sdk.Serve("reprieve", version, all[i])
	return nil
}
