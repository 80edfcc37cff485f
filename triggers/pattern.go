package triggers

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/expr-lang/expr/ast"
)

// The limits of an expression's pattern: a regular expression takes time for each of its
// instructions at each byte of the text.
const (
	maxPattern      = 512
	maxInstructions = 1000
)

// pattern is a compiled regular expression with what it costs a byte of the text.
type pattern struct {
	re   *regexp.Regexp
	cost int
}

// compilePattern compiles what the resolver has checked.
func compilePattern(p string) *pattern {
	return &pattern{regexp.MustCompile(p), 2 + instructions(p)/4}
}

// instructions gives the size of the pattern's program, -1 if it is no pattern.
func instructions(p string) int {
	parsed, err := syntax.Parse(p, syntax.Perl)
	if err != nil {
		return -1
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return -1
	}
	return len(prog.Inst)
}

// pattern checks the right side of matches.
func (r *resolver) pattern(n *ast.BinaryNode) {
	s, ok := n.Right.(*ast.StringNode)
	if !ok {
		r.fail(codeForbidden, n.Right.Location(), "write the pattern in quotes", "a pattern has to be a constant")
		return
	}
	switch n := instructions(s.Value); {
	case n < 0 || len(s.Value) > maxPattern:
		r.fail(codeConstant, s.Location(), fmt.Sprintf("the syntax is RE2's, up to %d bytes", maxPattern), "that is not a pattern")
	case n > maxInstructions:
		r.fail(codeSize, s.Location(), "use smaller repetitions", "the pattern is too large")
	}
}
