package imports

import (
	"fmt"
	"slices"
	"strings"
)

const module = "github.com/reprieve-run/reprieve"

// layers says for each package which others of the module it may import. A name that ends in /...
// stands for all packages below it, and * for any package. What is not in the table has no layer and
// is a violation: whoever adds a package decides where it belongs.
var layers = map[string][]string{
	"crm":                     {},
	"internal/clock":          {},
	"internal/fault":          {},
	"internal/imports":        {},
	"internal/pluginlog":      {},
	"plugins/proto/action/v1": {},

	"store/internal/row":   {"crm"},
	"store/internal/codec": {"crm"},
	"store":                {"crm", "store/internal/...", "internal/clock", "internal/fault"},
	"triggers":             {"crm"},

	"store/bolt":     {"crm", "store", "store/internal/...", "internal/clock", "internal/fault"},
	"store/postgres": {"crm", "store", "store/internal/...", "internal/clock", "internal/fault"},
	"workflow":       {"crm", "triggers"},
	"plugins":        {"crm", "plugins/proto/action/v1", "internal/clock", "internal/fault", "internal/pluginlog"},

	"runtime":        {"crm", "store", "triggers", "workflow", "plugins", "internal/clock", "internal/fault"},
	"server":         {"crm", "store", "triggers", "workflow", "plugins", "runtime", "internal/clock", "internal/fault"},
	"server/console": {"crm", "server"},

	// The public surface for authors of plugins, and what is built on it alone.
	"plugins/sdk":        {"plugins/proto/action/v1"},
	"plugins/plugintest": {"plugins/sdk", "plugins/proto/action/v1"},
	"actions":            {"plugins/sdk"},

	// What is no part of the product, and what puts it together.
	"store/storetest": {"crm", "store", "store/internal/...", "internal/clock", "internal/fault"},
	"examples/...":    {},
	"bench/...":       {"*"},
	"cmd/...":         {"*"},
}

// engines may be imported only where the product is put together, and by tests.
var engines = []string{"store/bolt", "store/postgres"}

// libraries may be used only by the packages named. Benchmarks compare with the bare library.
var libraries = []struct {
	prefixes, users []string
}{
	{[]string{"go.etcd.io/bbolt"}, []string{"store/bolt", "bench/..."}},
	{[]string{"github.com/expr-lang/expr", "github.com/robfig/cron"}, []string{"triggers"}},
	{[]string{"github.com/hashicorp/go-plugin", "google.golang.org/grpc", "google.golang.org/protobuf"},
		[]string{"plugins", "plugins/sdk", "plugins/plugintest", "plugins/proto/action/v1", "bench/..."}},
	{[]string{"github.com/fxamacker/cbor"}, []string{"store/internal/codec", "bench/..."}},
	{[]string{"github.com/spf13/cobra"}, []string{"cmd/..."}},
	{[]string{"testing", "pgregory.net/rapid", "github.com/rogpeppe/go-internal"},
		[]string{"store/storetest", "plugins/plugintest", "bench/..."}},
}

// maxLines is how long a file may be. Generated ones are exempt: nobody reads them.
const maxLines = 700

// pkg is what the check must know of a package.
type pkg struct {
	path  string // without the module's own
	files []file
}

type file struct {
	name      string
	test      bool
	generated bool
	lines     int
	doc       string // the package comment, if it stands in this file
	imports   []string
}

// check gives every violation, in the order of the packages.
func check(pkgs []pkg) (found []string) {
	for _, p := range pkgs {
		say := func(format string, args ...any) {
			found = append(found, p.path+": "+fmt.Sprintf(format, args...))
		}
		allowed, ok := layer(p.path)
		if !ok {
			say("it has no layer: put it into the table of internal/imports")
		}
		documented := false
		for _, f := range p.files {
			if f.lines >= maxLines && !f.generated {
				say("%s has %d lines; %d are the limit", f.name, f.lines, maxLines)
			}
			if f.test {
				continue
			}
			documented = documented || f.doc != ""
			for _, imp := range f.imports {
				if why := refuse(p.path, allowed, imp); why != "" {
					say("%s imports %s: %s", f.name, imp, why)
				}
			}
		}
		if !documented {
			say("it has no package comment")
		}
	}
	return found
}

// refuse says why a package may not import something, "" if it may.
func refuse(path string, allowed []string, imp string) string {
	if own, ok := strings.CutPrefix(imp, module+"/"); ok {
		switch {
		case slices.Contains(engines, own) && !matches("cmd/...", path) && !matches("bench/...", path):
			return "only cmd and tests import an engine"
		case !slices.ContainsFunc(allowed, func(a string) bool { return matches(a, own) }):
			return "that is not below it"
		}
		return ""
	}
	first, _, _ := strings.Cut(imp, "/")
	if path == "crm" && strings.Contains(first, ".") {
		return "crm imports the standard library only"
	}
	for _, l := range libraries {
		under := func(prefix string) bool { return imp == prefix || strings.HasPrefix(imp, prefix+"/") }
		user := func(pattern string) bool { return matches(pattern, path) }
		if slices.ContainsFunc(l.prefixes, under) && !slices.ContainsFunc(l.users, user) {
			return "only " + strings.Join(l.users, ", ") + " and tests may"
		}
	}
	return ""
}

// layer gives what a package may import, by its own name or by that of a tree that it is in.
func layer(path string) (allowed []string, ok bool) {
	if allowed, ok = layers[path]; ok {
		return allowed, true
	}
	for pattern, allowed := range layers {
		if matches(pattern, path) {
			return allowed, true
		}
	}
	return nil, false
}

func matches(pattern, path string) bool {
	tree, ok := strings.CutSuffix(pattern, "/...")
	return pattern == "*" || pattern == path || ok && (path == tree || strings.HasPrefix(path, tree+"/"))
}
