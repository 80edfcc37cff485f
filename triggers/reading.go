package triggers

import "slices"

// Reading is something of another step that an expression reads, and where.
type Reading struct {
	Name     string   // "steps.mail.output"
	Keys     []string // what is read of it, as far as it is written out
	src      Source
	from, to int
}

// Warn makes a warning under what is read.
func (r Reading) Warn(code, message, hint string) *Diagnostic {
	d := r.src.fail(code, r.from, r.to, message, hint)
	d.Severity = "warning"
	return d
}

// Readings gives what the expression reads below a name, "steps.mail.output" say, each path once.
func (e *Expr) Readings(name string) (all []Reading) {
	for _, p := range e.parts {
		for _, q := range p.paths {
			if q.flat == name {
				all = append(all, Reading{q.flat, slices.Clone(q.keys), e.src, q.from, q.to})
			}
		}
	}
	return all
}

// Readings is that of the expressions in the template.
func (t *Template) Readings(name string) (all []Reading) {
	for _, p := range t.pieces {
		if p.expr != nil {
			all = append(all, p.expr.Readings(name)...)
		}
	}
	return all
}
