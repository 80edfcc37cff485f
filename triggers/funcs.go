package triggers

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/vm/runtime"

	"github.com/reprieve-run/reprieve/crm"
)

// A function is one that an expression can call. The compiler hands it the evaluation's meter.
type function struct {
	typ  any // as the checker sees it
	call func(m *meter, args []any) (any, error)
	hint string
}

// functions are those that can be written. Nothing here reads a clock, draws randomness or makes a
// value longer than its arguments and maxText.
var functions = map[string]function{
	"len":         {typ: new(func(any) int), call: length},
	"lower":       {typ: new(func(string) string), call: onText(strings.ToLower)},
	"upper":       {typ: new(func(string) string), call: onText(strings.ToUpper)},
	"trim":        {typ: new(func(string) string), call: onText(strings.TrimSpace)},
	"hasPrefix":   {typ: new(func(string, string) bool), call: onTexts(strings.HasPrefix)},
	"hasSuffix":   {typ: new(func(string, string) bool), call: onTexts(strings.HasSuffix)},
	"string":      {typ: new(func(any) string), call: toText},
	"int":         {typ: new(func(any) int), call: toInt},
	"float":       {typ: new(func(any) float64), call: toFloat},
	"duration":    {typ: new(func(string) time.Duration), call: duration, hint: "write 14d, 36h or 1d12h"},
	"date":        {typ: new(func(string) time.Time), call: date, hint: "write 2026-03-01 or 2026-03-01T09:00:00Z"},
	"format_date": {typ: new(func(time.Time, string) string), call: formatDate},
}

// internals are those that only the compiler can write; the names cannot be parsed.
var internals = map[string]function{
	"·fold":     {typ: new(func(...any) string), call: foldText},
	"·has":      {typ: new(func(...any) bool), call: has},
	"·oneOf":    {typ: new(func(...any) bool), call: oneOf},
	"·in":       {typ: new(func(...any) bool), call: isIn},
	"·plus":     {typ: new(func(...any) any), call: plus},
	"·equal":    {typ: new(func(...any) bool), call: equal},
	"·matches":  {typ: new(func(...any) bool), call: matches},
	"·contains": {typ: new(func(...any) bool), call: containsText},
	"·list":     {typ: new(func(...any) any), call: list},
}

// predicates are the functions over a list that may be written; one that makes something new of each
// element (map, reduce, groupBy) could grow without bound.
var predicates = map[string]bool{"any": true, "all": true, "none": true, "one": true, "filter": true, "count": true, "find": true}

// functionNames are what can be called, for hints.
var functionNames = append(keysOf(functions), keysOf(predicates)...)

const meterName = "·meter"

var (
	errKind   = refuse("a function was given a value of the wrong kind")
	errResult = refuse("the expression gives no value of the kind that is needed here")
)

// table holds all functions as expr wants them, and disabled the names of its own; nothing changes
// either once they are made.
var table, disabled = makeTable()

// config makes expr's settings: our functions and none of its own.
func config() *conf.Config {
	return &conf.Config{ShortCircuit: true, MaxNodes: maxNodes, DisableIfOperator: true,
		Functions: table, Builtins: conf.FunctionsTable{}, Disabled: disabled}
}

func makeTable() (conf.FunctionsTable, map[string]bool) {
	all, off := conf.FunctionsTable{}, map[string]bool{}
	for _, f := range builtin.Builtins {
		off[f.Name] = true
	}
	add := func(name string, f function, typ reflect.Type) {
		all[name] = &builtin.Function{Name: name, Types: []reflect.Type{typ}, Func: func(args ...any) (any, error) {
			m, ok := args[0].(*meter)
			if !ok {
				return nil, errKind // the compiler did not rewrite the call
			}
			return f.call(m, args[1:])
		}}
	}
	anything := []reflect.Type{reflect.TypeFor[[]any]()}
	for name, f := range functions {
		typ := reflect.TypeOf(f.typ).Elem()
		add(name, f, typ)
		add("·"+name, f, reflect.FuncOf(anything, []reflect.Type{typ.Out(0)}, true))
	}
	for name, f := range internals {
		add(name, f, reflect.TypeOf(f.typ).Elem())
	}
	return all, off
}

func onText(f func(string) string) func(*meter, []any) (any, error) {
	return func(m *meter, args []any) (any, error) {
		s, ok := args[0].(string)
		if !ok {
			return nil, errKind
		}
		if err := m.spend(len(s)); err != nil {
			return nil, err
		}
		out := f(s)
		return out, checkSize(out)
	}
}

func onTexts(f func(string, string) bool) func(*meter, []any) (any, error) {
	return func(m *meter, args []any) (any, error) {
		s, ok := args[0].(string)
		t, ok2 := args[1].(string)
		if !ok || !ok2 {
			return nil, errKind
		}
		return f(s, t), m.spend(len(t))
	}
}

func length(m *meter, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return utf8.RuneCountInString(v), m.spend(len(v))
	case []string:
		return len(v), nil
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	}
	return nil, errKind
}

func toText(m *meter, args []any) (any, error) {
	s, err := render(args[0])
	if err != nil {
		return nil, err
	}
	return s, m.spend(len(s))
}

func toFloat(m *meter, args []any) (any, error) {
	switch v := args[0].(type) {
	case int:
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		if err := m.spend(len(v)); err != nil {
			return nil, err
		}
		if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			return f, nil
		}
	}
	return nil, errKind
}

func toInt(m *meter, args []any) (any, error) {
	v, err := toFloat(m, args)
	if err != nil {
		return nil, err
	}
	if i, ok := args[0].(int); ok {
		return i, nil
	}
	f := math.Trunc(v.(float64))
	if math.IsNaN(f) || f < -1<<62 || f > 1<<62 {
		return nil, errKind
	}
	return int(f), nil
}

func duration(m *meter, args []any) (any, error) {
	s, ok := args[0].(string)
	if !ok || len(s) > 100 {
		return nil, errKind
	}
	n, err := crm.ParseDuration(s)
	if err != nil {
		return nil, errKind
	}
	return time.Duration(n), m.spend(100 * len(s))
}

func date(m *meter, args []any) (any, error) {
	s, ok := args[0].(string)
	if !ok || len(s) > 100 {
		return nil, errKind
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), m.spend(10 * len(s))
		}
	}
	return nil, errKind
}

func formatDate(m *meter, args []any) (any, error) {
	t, ok := args[0].(time.Time)
	layout, ok2 := args[1].(string)
	if !ok || !ok2 {
		return nil, errKind
	}
	if err := m.spend(10 * len(layout)); err != nil {
		return nil, err
	}
	s := t.Format(layout)
	return s, checkSize(s)
}

// foldText folds a text for a comparison; what is no text stays as it is and equals none.
func foldText(m *meter, args []any) (any, error) {
	if s, ok := args[0].(string); ok {
		return crm.Fold(s), m.spend(4 * len(s))
	}
	return args[0], nil
}

// has says whether a list of tags holds a folded text.
func has(m *meter, args []any) (any, error) {
	want, ok := args[0].(string)
	tags, ok2 := args[1].([]string)
	if !ok2 {
		return nil, errKind
	}
	for _, t := range tags {
		if err := m.spend(4 * len(t)); err != nil {
			return nil, err
		}
		if ok && crm.Fold(t) == want {
			return true, nil
		}
	}
	return false, nil
}

// oneOf says whether a constant set of texts holds a value.
func oneOf(_ *meter, args []any) (any, error) {
	s, ok := args[0].(string)
	_, in := args[1].(map[string]bool)[s]
	return ok && in, nil
}

// isIn is the operator in on a list or map that is not written out.
func isIn(m *meter, args []any) (any, error) {
	n := 0
	switch v := args[1].(type) {
	case nil:
		return false, nil
	case map[string]any:
		s, ok := args[0].(string)
		_, in := v[s]
		return ok && in, m.spend(len(s))
	case []string:
		n = len(v)
	case []any:
		n = len(v)
	default:
		return nil, errKind
	}
	if n > maxList {
		return nil, errList
	}
	if !scalar(args[0]) {
		return nil, errKind
	}
	if err := m.spend(16 * n); err != nil {
		return nil, err
	}
	return runtime.In(args[0], args[1]), nil
}

// scalar says whether comparing the value takes little work.
func scalar(v any) bool {
	switch v.(type) {
	case nil, bool, int, float64, string, time.Time, time.Duration:
		return true
	}
	return false
}

func plus(m *meter, args []any) (any, error) {
	s, ok := args[0].(string)
	t, ok2 := args[1].(string)
	if !ok || !ok2 {
		return runtime.Add(args[0], args[1]), nil
	}
	if len(s)+len(t) > maxText {
		return nil, errText
	}
	return s + t, m.spend(len(s) + len(t))
}

// equal compares two values of which nothing was known before.
func equal(_ *meter, args []any) (any, error) {
	if !scalar(args[0]) && !scalar(args[1]) {
		return nil, refuse("lists and maps cannot be compared as a whole")
	}
	return runtime.Equal(args[0], args[1]), nil
}

func matches(m *meter, args []any) (any, error) {
	p := args[1].(*pattern)
	switch s := args[0].(type) {
	case nil:
		return false, nil
	case string:
		if err := m.spend(len(s) * p.cost); err != nil {
			return nil, err
		}
		return p.re.MatchString(s), nil
	}
	return nil, errKind
}

func containsText(m *meter, args []any) (any, error) {
	if args[0] == nil || args[1] == nil {
		return false, nil
	}
	s, ok := args[0].(string)
	t, ok2 := args[1].(string)
	if !ok || !ok2 {
		return nil, errKind
	}
	return strings.Contains(s, t), m.spend(len(s))
}

// list lets through what a predicate may walk over.
func list(_ *meter, args []any) (any, error) {
	switch v := args[0].(type) {
	case []string, []any:
		return v, checkSize(v)
	}
	return nil, errKind
}
