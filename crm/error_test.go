package crm

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// Every code has its sentence, and there is none for a code that is not there.
func TestEveryCodeIsExplained(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") || spec.Names[0].Name == "Codes" {
			return true
		}
		n++
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if text := Codes[code]; err != nil || !strings.HasSuffix(text, ".") {
			t.Errorf("%s (%s) is explained as %q", spec.Names[0], code, text)
		}
		return true
	})
	if n != len(Codes) {
		t.Errorf("%d codes, %d explanations", n, len(Codes))
	}
}
