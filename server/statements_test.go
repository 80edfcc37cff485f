package server

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The five documents that the product is built from say 94 things. Each is a row in the table of its
// document: its number, a few words, and a test of the behaviour by the verbs that people use. Where
// documents contradict each other, the row runs under the preset that settles it.

// statementNumbers is every number there is. A statement that nobody tests, or that is tested twice, or
// that is none, fails.
const statementNumbers = `
S1.1 S1.2 S1.3 S1.4 S1.5 S1.6 S1.7 S1.8 S1.9 S1.10 S1.11 S1.12 S1.13 S1.14 S1.15 S1.16 S1.17 S1.18 S1.19 S1.20 S1.21 S1.22 S1.23
S2.1 S2.2 S2.3 S2.4 S2.5 S2.6 S2.7 S2.8 S2.9 S2.10 S2.11 S2.12 S2.13 S2.14 S2.15 S2.16 S2.17 S2.18 S2.19 S2.20 S2.21 S2.22 S2.23 S2.24 S2.25 S2.26
S3.1 S3.2 S3.3 S3.4 S3.5 S3.6 S3.7 S3.8 S3.9 S3.10 S3.11 S3.12 S3.13 S3.14 S3.15 S3.16 S3.17 S3.18
S4.1 S4.2 S4.3 S4.4 S4.5 S4.6 S4.7 S4.8 S4.9 S4.10 S4.11 S4.12
S5.1 S5.2 S5.3 S5.4 S5.5 S5.6 S5.7 S5.8 S5.9 S5.10 S5.11 S5.12 S5.13 S5.14 S5.15`

func TestEveryStatementHasItsRow(t *testing.T) {
	t.Parallel()
	var rows []string
	for _, s := range slices.Concat(statementsS1(), statementsS2(), statementsS3(), statementsS4(), statementsS5()) {
		number, words, _ := strings.Cut(s.name, " ")
		if rows = append(rows, number); words == "" || s.proof == nil {
			t.Errorf("the row %q says nothing or tests nothing", s.name)
		}
	}
	if want := strings.Fields(statementNumbers); len(want) != 94 || !slices.Equal(rows, want) {
		t.Errorf("the rows are\n%v\nand the statements\n%v", rows, want)
	}
}

// statement is a row: its name begins with the statement's number.
type statement struct {
	name   string
	preset string // of the account's policy; empty: the account is as it was made
	proof  func(*story)
}

func prove(t *testing.T, rows []statement) {
	t.Parallel()
	for _, s := range rows {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := &story{rig: newRig(t)}
			w.account()
			if s.preset != "" {
				w.policy("preset", s.preset)
			}
			s.proof(w)
		})
	}
}

// later stands for what is not there yet. It fails as soon as one of the verbs is, so that the row gets
// a test then.
func (w *story) later(verbs ...string) {
	w.t.Helper()
	for _, v := range verbs {
		if slices.Contains(Verbs(), v) {
			w.t.Errorf("there is a verb %s by now: this statement can be tested", v)
		}
	}
}

// elsewhere stands for a test in another package, which has what this rig lacks. It fails if there is no
// such test.
func (w *story) elsewhere(pkg string, tests ...string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(pkg), "*_test.go"))
	w.must(err)
	var all bytes.Buffer
	for _, f := range files {
		raw, err := os.ReadFile(f)
		w.must(err)
		all.Write(raw)
	}
	for _, name := range tests {
		if !regexp.MustCompile(`(?m)^func ` + name + `\(\w+ \*testing\.T\) \{`).Match(all.Bytes()) {
			w.t.Errorf("%s has no test %s", pkg, name)
		}
	}
}
