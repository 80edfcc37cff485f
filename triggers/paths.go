package triggers

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/types"

	"github.com/reprieve-run/reprieve/crm"
)

// path is something that a conjunct reads and whose kind, or presence, its text does not tell.
type path struct {
	flat  string   // the name, "steps.mail.output" say,
	keys  []string // and what is read of it, as far as it is written out
	get   func(*Env) any
	need  Scope
	loose bool // it may be missing, or of any kind
	from  int  // where it stands
	to    int
}

func (p *path) String() string { return strings.Join(append([]string{p.flat}, p.keys...), ".") }

// value follows the path; nil if there is nothing.
func (p *path) value(env *Env) any {
	v := p.get(env)
	for _, k := range p.keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// readable says whether what the path begins with can be asked for.
func readable(need Scope, env *Env) bool {
	return (need != ScopeContact || env.Contact != nil) && (need != ScopeEvent || env.Event != nil)
}

// reads notes a path, once. Of contacts and events only what may be missing or of any kind is of interest.
func (r *resolver) reads(flat, root string, n name, rest []segment, from, to int) {
	q := path{flat: flat, get: n.get, loose: n.maybe || n.typ == types.Any, from: from, to: to}
	q.need, _ = r.src.scopeOf(root)
	if !q.loose && q.need != ScopeStart && root != "steps" && root != "run" {
		return
	}
	for _, s := range rest {
		if !s.fixed {
			break
		}
		q.keys, q.to = append(q.keys, s.key), s.at.To
	}
	if text := q.String(); !slices.ContainsFunc(r.paths, func(known path) bool { return known.String() == text }) {
		r.paths = append(r.paths, q)
	}
}

// Unknown is the error of an evaluation that would have to read what nobody knows yet; see Env.Unknown.
type Unknown struct{ On string }

func (u *Unknown) Error() string { return "it depends on " + u.On }

// unknown says whether the conjunct reads what nobody knows.
func (p *part) unknown(env *Env) error {
	if env.Unknown == nil {
		return nil
	}
	for i := range p.paths {
		if on := env.Unknown(env, p.paths[i].String()); on != "" {
			return &Unknown{on}
		}
	}
	return nil
}

// misfit is an evaluation that failed for what a value is, with the names that may be to blame. Its text repeats
// no value; shown's does.
type misfit struct{ text, hint, shown string }

func (m *misfit) Error() string { return m.text }

// maxBlamed is how many names an error gives at most.
const maxBlamed = 4

// blame adds to such an error what there was in place of what the conjunct needs.
func (p *part) blame(env *Env, err error) error {
	own := evalError{}
	ours := errors.As(err, &own)
	m := &misfit{text: "a value is missing or of another kind than the expression needs",
		hint: "give a default for what can be missing: contact.fields.plan ?? \"none\""}
	if ours {
		if own != errKind && own != errResult {
			return err
		}
		m.text, m.hint = own.Error(), ""
	}
	m.shown = m.text
	sep := ": "
	for _, q := range p.paths[:min(len(p.paths), maxBlamed)] {
		if !q.loose || !readable(q.need, env) {
			continue
		}
		v := q.value(env)
		kind, shown := kindOf(v)
		m.text += sep + q.String() + " is " + kind
		m.shown += sep + q.String() + " is " + shown
		if sep = ", "; kind == "text" && !ours {
			m.hint = "a number that came as text: float(" + q.String() + ")"
		}
	}
	return m
}

// kindOf says in words what a value is, without it and with it.
func kindOf(v any) (kind, shown string) {
	switch v := v.(type) {
	case nil:
		kind = "missing"
	case string:
		return "text", "the text " + strconv.Quote(clip(v))
	case int, float64:
		kind = "a number"
		if text, err := render(v); err == nil {
			return kind, "the number " + text
		}
	case bool:
		return "true or false", strconv.FormatBool(v)
	case time.Time:
		return "an instant", "the instant " + crm.At(v).String()
	case []string, []any:
		kind = "a list"
	case map[string]any:
		kind = "an object"
	default:
		kind = "something else"
	}
	return kind, kind
}

// Paths gives what the template reads of the run, its steps and the event that it began with: "steps.mail.output.id".
func (t *Template) Paths() (all []string) {
	for _, p := range t.pieces {
		if p.expr == nil {
			continue
		}
		for _, part := range p.expr.parts {
			for _, q := range part.paths {
				if q.need == ScopeRun || q.need == ScopeStart {
					all = append(all, q.String())
				}
			}
		}
	}
	return all
}
