package plugintest

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "renew testdata/api.golden")

// TestAPI holds what authors of plugins build on: every exported name of plugins/sdk and plugins/plugintest, with
// its signature, its exported fields and its methods. What is gone or changed breaks somebody's plugin, so a
// renewal with -update is a line in CHANGELOG.md as well.
func TestAPI(t *testing.T) {
	const golden = "testdata/api.golden"
	var now []string
	for _, dir := range []string{"../sdk", "."} {
		lines, err := exported(dir)
		if err != nil {
			t.Fatal(err)
		}
		now = append(now, lines...)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(now, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	was := strings.Split(strings.TrimSpace(string(raw)), "\n")
	for _, l := range was {
		if !slices.Contains(now, l) {
			t.Errorf("gone or changed, which breaks plugins: %s", l)
		}
	}
	for _, l := range now {
		if !slices.Contains(was, l) {
			t.Errorf("new, and not in %s yet (go test ./plugins/plugintest -run TestAPI -update): %s", golden, l)
		}
	}
}

// The test above must be able to fail: each kind of change to a source changes a line.
func TestAPISees(t *testing.T) {
	t.Parallel()
	const source = "package sdk\n\ntype A struct {\n\tB int\n\tc int\n}\n\nfunc (a *A) M(n int) error { return nil }\n\nfunc F[T any](t T) A { return A{} }\n\nconst K = 1\n\nvar V int\n"
	lines := func(source string) []string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exported(dir)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	was := lines(source)
	for from, to := range map[string]string{"B int": "B string", "\tB int\n": "", "M(n int)": "M(n int64)", ") error": ") bool", "*A) M": "A) M", "F[T any]": "F[T comparable]", "K = 1": "K = 2", "V int": "V string"} {
		if now := lines(strings.Replace(source, from, to, 1)); slices.Equal(now, was) {
			t.Errorf("%q became %q and was not seen", from, to)
		}
	}
	for from, to := range map[string]string{"c int": "c string", "return nil": "return error(nil)"} {
		if now := lines(strings.Replace(source, from, to, 1)); !slices.Equal(now, was) {
			t.Errorf("%q became %q, which is nobody's business: %v", from, to, now)
		}
	}
}

// exported gives every exported declaration of a package, one a line.
func exported(dir string) (out []string, err error) {
	set := token.NewFileSet()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.FileExports(f)
		for _, d := range f.Decls {
			for _, line := range declared(set, d) {
				out = append(out, f.Name.Name+": "+line)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func declared(set *token.FileSet, d ast.Decl) (out []string) {
	text := func(n any) string {
		var b strings.Builder
		_ = printer.Fprint(&b, set, n)
		return strings.Join(strings.Fields(b.String()), " ")
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && !exportedType(d.Recv.List[0].Type) {
			return nil
		}
		d.Body = nil
		return []string{text(d)}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			ts, ok := s.(*ast.TypeSpec)
			if !ok {
				out = append(out, d.Tok.String()+" "+text(s))
				continue
			}
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				out = append(out, "type "+text(ts))
				continue
			}
			head := "type " + ts.Name.Name
			if ts.TypeParams != nil {
				for _, p := range ts.TypeParams.List {
					head += fmt.Sprint(p.Names) + text(p.Type)
				}
			}
			out = append(out, head+" struct")
			for _, f := range st.Fields.List { // one a line: another field is not a change of these
				for _, n := range f.Names {
					out = append(out, head+"."+n.Name+" "+text(f.Type))
				}
				if len(f.Names) == 0 {
					out = append(out, head+" embeds "+text(f.Type))
				}
			}
		}
	}
	return out
}

func exportedType(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.StarExpr:
		return exportedType(t.X)
	case *ast.IndexExpr:
		return exportedType(t.X)
	case *ast.Ident:
		return t.IsExported()
	}
	return true
}
