package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
)

// Whatever changes the catalogue of plugins is in the log: who did it, to which version, what it wants more.
// What is refused is not.
func TestPluginsAreInTheLog(t *testing.T) {
	t.Parallel()
	o, _, call := inProcess(t, shortDir(t), place{})
	must[server.AccountView](t, call, "account.create", server.AccountCreate{Name: "main"})
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	for dir, reads := range map[string][]string{one: nil, two: {"email"}} {
		if err := makeMayfly(dir, map[string]string{one: "1.0.0", two: "2.0.0"}[dir], reads...); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(verb string, q any) {
		t.Helper()
		if err := call.Call(t.Context(), verb, q, nil, nil); err == nil {
			t.Errorf("%s was not refused", verb)
		}
	}
	must[plugins.Installed](t, call, "plugin.install", server.PluginInstall{From: one})
	must[plugins.Installed](t, call, "plugin.install", server.PluginInstall{From: two})
	refused("plugin.use", server.PluginName{Name: "mayfly", Version: "2.0.0"})
	refused("plugin.remove", server.PluginName{Name: "mayfly", Version: "1.0.0"})
	must[plugins.Installed](t, call, "plugin.trust", server.PluginName{Name: "mayfly", Version: "2.0.0"})
	must[plugins.Installed](t, call, "plugin.use", server.PluginName{Name: "mayfly", Version: "1.0.0"})
	must[server.None](t, call, "plugin.remove", server.PluginName{Name: "mayfly"})
	var got []string
	if err := o.app.Store.View(t.Context(), func(tx *store.Tx) error {
		got = nil
		all, _, err := tx.Events(nil, 1000)
		for _, e := range all {
			if d := e.Event.Data; e.Event.Kind == crm.PluginChanged {
				got = append(got, fmt.Sprintf("%s %s@%s was %s: %s", e.Event.By.ID, d.Name, d.Value, d.Old, d.Reason))
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	by := admin.ID
	want := []string{
		by + " mayfly@1.0.0 was : install",
		by + " mayfly@2.0.0 was 1.0.0: install; it waits to be trusted, for it wants more: mayfly.tag reads email",
		by + " mayfly@2.0.0 was 1.0.0: trust; it may do more now: mayfly.tag reads email",
		by + " mayfly@1.0.0 was 2.0.0: use",
		by + " mayfly@ was 1.0.0: remove",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
