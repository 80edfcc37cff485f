package triggers

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"github.com/reprieve-run/reprieve/crm"
)

// The bounds of an expression's text.
const (
	maxSource = 4 << 10 // bytes
	maxNodes  = 200
	maxCells  = 100_000 // elements of lists and maps that one evaluation may make
)

// Kind is what an expression has to give.
type Kind uint8

// The kinds.
const (
	Bool Kind = iota // true or false
	Text             // a text, or a number, bool or instant, which is shown as one; never missing
	Any
)

// Expr is a compiled expression. It may be evaluated by several goroutines at once.
type Expr struct {
	src      Source
	want     Kind
	parts    []part // of a condition: the conjuncts of its top level, in order
	reads    []crm.Fact
	uses     map[string]bool
	where    crm.Filter // a superset of the contacts for which it is true
	keys     []keySet   // each a thing that an event must say, or its contact have, for it to be true
	verdict  *Verdict   // of a condition that is the same for everybody
	verdicts []*Verdict // of its parts, until verdict is known
	claims   []claim
}

// part is a conjunct with its own program, so that a refusal can name it and what comes after a
// false one is not even read.
type part struct {
	text    string // as written, normalised
	program *vm.Program
	slots   []slot
	paths   []path
}

// slot is a name that a program reads.
type slot struct {
	flat string
	get  func(*Env) any
	need Scope // what Env has to hold
	at   int
}

// machine is what an evaluation needs and the next one can use again.
type machine struct {
	vm    vm.VM
	vars  map[string]any
	meter meter
}

// machines are kept for whoever evaluates next, whatever the expression: one for each would be thrown away by every
// collection before most are used again.
var machines = sync.Pool{New: func() any {
	return &machine{vm: vm.VM{MemoryBudget: maxCells}, vars: make(map[string]any, 8)}
}}

func withEnv(env types.Map) *conf.Config {
	c := config()
	c.WithEnv(env)
	return c
}

// CompileExpr compiles an expression. Its error is a *Diagnostic or, when there are several
// findings, Diagnostics.
func CompileExpr(src Source, want Kind) (e *Expr, err error) {
	defer func() {
		if recover() != nil { // of the parser or the compiler: a bug there must not stop the host
			e, err = nil, src.fail(codeSyntax, 0, 1, "the expression cannot be compiled", "write it in a simpler way")
		}
	}()
	root, d := parse(src)
	if d != nil {
		return nil, d
	}
	e = &Expr{src: src, want: want, uses: map[string]bool{}}
	nodes := []ast.Node{root}
	if want == Bool {
		nodes = conjuncts(root)
	}
	var ds Diagnostics
	var wheres []crm.Filter
	for _, n := range nodes {
		p, where, found := e.compile(n)
		ds = append(ds, found...)
		e.parts = append(e.parts, p)
		wheres = append(wheres, where)
	}
	if len(ds) > 0 {
		return nil, ds.err()
	}
	e.verdict, e.verdicts, e.claims = conclude(e.verdicts, e.claims), nil, nil
	e.where = allOf(wheres)
	e.reads = tidy(e.reads)
	return e, nil
}

// conjuncts takes a and b and c apart.
func conjuncts(n ast.Node) []ast.Node {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "and" || b.Operator == "&&") {
		return append(conjuncts(b.Left), conjuncts(b.Right)...)
	}
	return []ast.Node{n}
}

// compile compiles one conjunct, or the whole of what is no condition.
func (e *Expr) compile(n ast.Node) (p part, where crm.Filter, ds Diagnostics) {
	p.text = n.String()
	from, to := span(n)
	r := &resolver{src: e.src, names: map[string]name{}, uses: e.uses}
	r.node(&n)
	if len(r.ds) > 0 {
		return p, where, r.ds
	}
	typ, d := check(e.src, n, r.names)
	if better := forbiddenTypes(e.src, n); better != nil {
		d = better
	}
	if d == nil {
		d = e.src.result(typ, e.want, from, to)
	}
	if d != nil {
		return p, where, Diagnostics{d}
	}
	for _, def := range r.names {
		e.reads = append(e.reads, def.reads...)
	}
	if e.want == Bool {
		e.verdicts, e.claims = append(e.verdicts, judge(n, r.names)), append(e.claims, claims(n, r.names)...)
		where, _ = lower(n, r.names)
		if k := keysFrom(n); k.field != "" {
			e.keys = append(e.keys, k)
		}
		e.keys = append(e.keys, keysOfFilter(where)...)
	}
	p.paths = r.paths
	program, err := build(e.src, n, r.names)
	if err != nil {
		return p, where, Diagnostics{e.src.fail(codeSyntax, from, to, "the expression cannot be compiled", "write it in a simpler way")}
	}
	p.program, p.slots = program, e.src.slots(program, r.names)
	return p, where, nil
}

// slots gives the names that a program really loads.
func (s Source) slots(program *vm.Program, names map[string]name) []slot {
	var all []slot
	for i, op := range program.Bytecode {
		if op != vm.OpLoadFast {
			continue
		}
		flat, _ := program.Constants[program.Arguments[i]].(string)
		def, ok := names[flat]
		if !ok || slices.ContainsFunc(all, func(known slot) bool { return known.flat == flat }) {
			continue
		}
		root, _, _ := strings.Cut(flat, ".")
		scope, _ := s.scopeOf(root)
		all = append(all, slot{flat, def.get, scope, program.Locations()[i].From})
	}
	return all
}

// result checks that the expression gives what is wanted; a nil type is nil itself.
func (s Source) result(typ reflect.Type, want Kind, from, to int) *Diagnostic {
	ok := true
	hint := "write a condition, for example contact.archived == false"
	switch {
	case want == Any:
	case typ == nil:
		ok = false
	case typ.Kind() == reflect.Interface: // not known before it runs
	case want == Bool:
		ok = typ.Kind() == reflect.Bool
	default:
		hint = "name one field, for example contact.id"
		k := typ.Kind()
		ok = k != reflect.Map && k != reflect.Slice && k != reflect.Func
	}
	if ok {
		return nil
	}
	got := "nothing"
	if typ != nil {
		got = plainType(typ.String())
	}
	wanted := "be true or false"
	if want == Text {
		wanted = "be one value"
	}
	return s.fail(codeResult, from, to, "this has to "+wanted+", but it is "+got, hint)
}

// forbiddenTypes refuses what expr's checker lets through: fields and methods of instants, and
// comparing whole lists.
func forbiddenTypes(src Source, n ast.Node) *Diagnostic {
	switch n := n.(type) {
	case *ast.MemberNode:
		switch n.Node.Type().Kind() {
		case reflect.Struct, reflect.Int64, reflect.String:
			return src.fail(codeField, n.Location().From, n.Location().To, "there is nothing under "+plainType(n.Node.Type().String()),
				"format_date shows an instant, - and < compare two")
		}
	case *ast.BinaryNode:
		if (n.Operator == "==" || n.Operator == "!=") && isList(n.Left) && isList(n.Right) {
			return src.fail(codeForbidden, n.Location().From, n.Location().To, "lists cannot be compared as a whole",
				`ask for an element: "VIP" in contact.tags`)
		}
	}
	for _, child := range children(n) {
		if d := forbiddenTypes(src, *child); d != nil {
			return d
		}
	}
	return nil
}

func isList(n ast.Node) bool {
	k := n.Type().Kind()
	return k == reflect.Slice || k == reflect.Map
}

// Eval evaluates the expression. Its error is a *crm.Error with the place in the file, and repeats
// no value.
func (e *Expr) Eval(env Env) (any, error) {
	v, _, err := e.eval(&env)
	return v, err
}

// Bool evaluates a condition. An error means that it does not hold.
func (e *Expr) Bool(env Env) (bool, error) {
	v, _, err := e.eval(&env)
	b, ok := v.(bool)
	if err == nil && !ok {
		err = e.src.say(0, errResult)
	}
	return b && err == nil, err
}

// eval also gives the text of the conjunct that decided, if it was not all of them.
func (e *Expr) eval(env *Env) (v any, at string, err error) {
	m := machines.Get().(*machine)
	m.meter.left = maxWork
	m.vars[meterName] = &m.meter
	defer func() {
		if recover() != nil { // the machine may be in any state: it is not used again
			v, err = nil, e.src.say(0, errors.New("panic"))
			return
		}
		clear(m.vars) // keeps no contact alive
		machines.Put(m)
	}()
	for i := range e.parts {
		p := &e.parts[i]
		if v, err = e.run(m, p, env); err != nil {
			return nil, p.text, err
		}
		if e.want == Bool && v == false {
			return false, p.text, nil
		}
	}
	return v, "", nil
}

func (e *Expr) run(m *machine, p *part, env *Env) (any, error) {
	if err := p.unknown(env); err != nil {
		return nil, err
	}
	for _, s := range p.slots {
		var err error
		switch {
		case s.need == ScopeContact && env.Contact == nil:
			err = errNobody
		case s.need == ScopeEvent && env.Event == nil:
			err = errNoEvent
		default:
			v := s.get(env)
			m.vars[s.flat], err = v, checkSize(v)
		}
		if err != nil {
			return nil, e.src.say(s.at, err)
		}
	}
	v, err := m.vm.Run(p.program, m.vars)
	if err == nil {
		v, err = e.outcome(v)
	}
	if err != nil {
		var fe *file.Error
		at := 0
		if errors.As(err, &fe) {
			at = fe.From
		}
		return nil, e.src.say(at, p.blame(env, err))
	}
	return v, nil
}

// outcome lets through the values that the rest of the product knows, within their bounds.
func (e *Expr) outcome(v any) (any, error) {
	switch v.(type) {
	case bool, string, int, float64, time.Time, time.Duration:
	case nil, []string, []any, map[string]any:
		if e.want != Any {
			return nil, errResult
		}
	default:
		return nil, errResult
	}
	switch e.want {
	case Bool:
		if _, ok := v.(bool); !ok {
			return nil, errResult
		}
	case Text:
		return render(v)
	}
	return v, checkSize(v)
}

// Reads gives the facts of the contact that the expression reads, sorted.
func (e *Expr) Reads() []crm.Fact { return slices.Clone(e.reads) }

// Uses says whether the expression uses a name: "steps", "event", "now", or "contact.tags".
func (e *Expr) Uses(name string) bool {
	for used := range e.uses {
		if used == name || strings.HasPrefix(used, name+".") {
			return true
		}
	}
	return false
}

// String gives the expression as it was written.
func (e *Expr) String() string { return e.src.Text }

// tidy sorts facts and drops doubles and those that a whole kind includes.
func tidy(facts []crm.Fact) []crm.Fact {
	slices.SortFunc(facts, func(a, b crm.Fact) int {
		if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	var all []crm.Fact
	for _, f := range facts {
		if n := len(all); n > 0 && all[n-1].Kind == f.Kind && (all[n-1].Name == "" || all[n-1].Name == f.Name) {
			continue
		}
		all = append(all, f)
	}
	return all
}
