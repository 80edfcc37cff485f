package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRepository holds all packages of the module to the rules.
func TestRepository(t *testing.T) {
	pkgs := load(t)
	for _, want := range []string{"crm", "store", "runtime", "cmd/reprieve", "internal/imports"} {
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.path == want }) {
			t.Fatalf("%s was not listed: the check saw %d packages", want, len(pkgs))
		}
	}
	for _, v := range check(pkgs) {
		t.Error(v)
	}
}

// load lists the module's packages and reads every Go file of theirs, those for other systems too.
func load(t *testing.T) (pkgs []pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l struct {
			ImportPath, Dir                                    string
			GoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		p := pkg{path: strings.TrimPrefix(l.ImportPath, module+"/")}
		for _, name := range slices.Concat(l.GoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles) {
			p.files = append(p.files, read(t, filepath.Join(l.Dir, name)))
		}
		pkgs = append(pkgs, p)
	}
}

func read(t *testing.T, path string) file {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	f := file{name: filepath.Base(path), test: strings.HasSuffix(path, "_test.go"), generated: ast.IsGenerated(parsed),
		lines: bytes.Count(src, []byte("\n")), doc: parsed.Doc.Text()}
	for _, i := range parsed.Imports {
		imp, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		f.imports = append(f.imports, imp)
	}
	return f
}

// TestCheckFindsPlantedViolations shows that the check can fail, and that it says what is wrong.
func TestCheckFindsPlantedViolations(t *testing.T) {
	own := func(path string) string { return module + "/" + path }
	code := func(imports ...string) file {
		return file{name: "a.go", lines: 10, doc: "Package x does.", imports: imports}
	}
	test := func(imports ...string) file { return file{name: "a_test.go", test: true, lines: 10, imports: imports} }
	for _, tc := range []struct {
		name string
		path string
		f    []file
		want string // in the violation; "" for none
	}{
		{"the standard library", "crm", []file{code("errors", "encoding/base32")}, ""},
		{"a library in crm", "crm", []file{code("github.com/google/uuid")}, "standard library only"},
		{"upwards", "store", []file{code(own("runtime"))}, "not below it"},
		{"from crm to anything", "crm", []file{code(own("internal/clock"))}, "not below it"},
		{"sideways", "workflow", []file{code(own("plugins"))}, "not below it"},
		{"triggers to the store", "triggers", []file{code(own("store"))}, "not below it"},
		{"a layer down", "runtime", []file{code(own("store"), own("crm"))}, ""},
		{"an engine above the store", "runtime", []file{code(own("store/bolt"))}, "import an engine"},
		{"an engine in the server", "server", []file{code(own("store/bolt"))}, "import an engine"},
		{"an engine in cmd", "cmd/reprieve", []file{code(own("store/bolt"))}, ""},
		{"an engine in a test", "store", []file{code(), test(own("store/bolt"))}, ""},
		{"an action that sees the host", "actions", []file{code(own("plugins"))}, "not below it"},
		{"an action that sees the domain", "actions", []file{code(own("crm"))}, "not below it"},
		{"an action on the SDK", "actions", []file{code(own("plugins/sdk"))}, ""},
		{"the SDK and the domain", "plugins/sdk", []file{code(own("crm"))}, "not below it"},
		{"bbolt outside its engine", "store", []file{code("go.etcd.io/bbolt")}, "only store/bolt"},
		{"a part of bbolt", "server", []file{code("go.etcd.io/bbolt/errors")}, "only store/bolt"},
		{"bbolt in its engine", "store/bolt", []file{code("go.etcd.io/bbolt")}, ""},
		{"expr in workflow", "workflow", []file{code("github.com/expr-lang/expr/ast")}, "only triggers"},
		{"cron in runtime", "runtime", []file{code("github.com/robfig/cron/v3")}, "only triggers"},
		{"gRPC in runtime", "runtime", []file{code("google.golang.org/grpc/codes")}, "only plugins"},
		{"go-plugin in an action", "actions", []file{code("github.com/hashicorp/go-plugin")}, "only plugins"},
		{"a name that only begins alike", "store", []file{code("go.etcd.io/bboltx")}, ""},
		{"testing in the product", "server", []file{code("testing")}, "and tests may"},
		{"rapid in the product", "store", []file{code("pgregory.net/rapid")}, "and tests may"},
		{"testing in a test", "server", []file{code(), test("testing", "pgregory.net/rapid")}, ""},
		{"testing in storetest", "store/storetest", []file{code("testing")}, ""},
		{"a package without a layer", "helpers", []file{code()}, "has no layer"},
		{"no package comment", "crm", []file{{name: "a.go", lines: 10}}, "no package comment"},
		{"a comment in a test alone", "crm", []file{{name: "a.go"}, {name: "a_test.go", test: true, doc: "Package crm."}}, "no package comment"},
		{"a long file", "crm", []file{{name: "a.go", doc: "Package crm.", lines: maxLines}}, "has 700 lines"},
		{"a long test", "crm", []file{code(), {name: "a_test.go", test: true, lines: 900}}, "has 900 lines"},
		{"a long generated file", "crm", []file{{name: "a.pb.go", doc: "Package crm.", lines: 5000, generated: true}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := check([]pkg{{path: tc.path, files: tc.f}})
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("found %q, want nothing", got)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)):
				t.Errorf("found %q, want one with %q", got, tc.want)
			}
		})
	}
}

// TestTable checks the table itself: no package of it can reach itself by what it may import.
func TestTable(t *testing.T) {
	for from := range layers {
		seen := map[string]bool{}
		var visit func(path string)
		visit = func(path string) {
			for _, pattern := range layers[path] {
				for to := range layers {
					if pattern != "*" && matches(pattern, to) && !seen[to] {
						seen[to] = true
						visit(to)
					}
				}
			}
		}
		if visit(from); seen[from] {
			t.Errorf("%s may import itself by way of others", from)
		}
	}
}
