package triggers

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// Part is one conjunct of a condition with what it came to, for people who ask why. It holds values of
// the contact: it is an answer to somebody who may see them, and for no log.
type Part struct {
	Text   string         `json:"text"`
	Result string         `json:"result"`           // true, false, error, unknown or, behind one that is not true, not_looked_at; given of what is no condition
	Error  string         `json:"error,omitempty"`  // of unknown: what it depends on
	Values map[string]any `json:"values,omitempty"` // what it read, by name
}

// Explain evaluates a condition conjunct by conjunct, as Bool does, and tells what each read.
func (e *Expr) Explain(env Env) []Part {
	all := make([]Part, len(e.parts))
	over := false
	for i := range e.parts {
		p := &e.parts[i]
		all[i] = Part{Text: p.text, Result: "not_looked_at"}
		if over {
			continue
		}
		all[i].Values = p.values(&env)
		one := &Expr{src: e.src, want: e.want, parts: e.parts[i : i+1]}
		switch v, _, err := one.eval(&env); {
		case err != nil:
			over = true
			if all[i].Result, all[i].Error = failure(err); all[i].Result == "unknown" {
				all[i].Values = nil
			}
		case e.want != Bool:
			all[i].Result = "given"
		case v == false:
			all[i].Result, over = "false", true
		default:
			all[i].Result = "true"
		}
	}
	return all
}

// failure says why an evaluation gave nothing, with the values that are to blame.
func failure(err error) (result, text string) {
	var u *Unknown
	var m *misfit
	switch {
	case errors.As(err, &u):
		return "unknown", u.On
	case errors.As(err, &m):
		return "error", strings.Replace(err.Error(), m.text, m.shown, 1)
	}
	return "error", err.Error()
}

// Explain tells of each expression of the template that gives no value why, and what it read.
func (t *Template) Explain(env Env) (all []Part) {
	for _, p := range t.pieces {
		if p.expr == nil {
			continue
		}
		for _, part := range p.expr.Explain(env) {
			if part.Result == "error" {
				all = append(all, part)
			}
		}
	}
	return all
}

// values gives what a conjunct reads, as far as it is there.
func (p *part) values(env *Env) map[string]any {
	out := map[string]any{}
	for _, s := range p.slots {
		if s.flat == meterName || !readable(s.need, env) {
			continue
		}
		name, folded := strings.CutSuffix(s.flat, foldedSuffix)
		if more := false; strings.HasPrefix(s.flat, "steps.") {
			for _, q := range p.paths {
				if q.flat == s.flat && len(q.keys) > 0 {
					out[q.String()], more = q.value(env), true
				}
			}
			if more {
				continue
			}
		}
		v := s.get(env)
		if of, is := strings.CutPrefix(name, "event."); is && folded && env.Event != nil { // as it is spelt
			v = env.Event.Data.Field(of)
		}
		if checkSize(v) != nil {
			v = "too long to be shown"
		}
		if at, ok := v.(time.Time); ok {
			v = crm.At(at)
		}
		out[name] = v
	}
	return out
}

// Explain tells what the trigger says of an event that may long be over, why in a few words, and what
// the parts of its condition came to. It entitles nobody to start a run.
func (t *Trigger) Explain(ev crm.Event, now crm.Nanos, listName func(crm.ItemID) string) (matched bool, why string, parts []Part) {
	if ev.After == nil {
		return false, "what the event changed cannot be read any more", nil
	}
	d, err := t.match(&ev, now, listName)
	if t.cond != nil && slices.Contains(t.events, ev.Kind) {
		parts = t.cond.Explain(Env{Event: &ev, Contact: ev.After, Now: now, ListName: listName})
	}
	return d.Matched && err == nil, d.Why, parts
}

// Condition gives the text of the trigger's condition, "" if it has none.
func (t *Trigger) Condition() string {
	if t.cond == nil {
		return ""
	}
	return t.cond.String()
}

// Explain is Check conjunct by conjunct.
func (s Selection) Explain(c *crm.Contact, l crm.Life, tomb *crm.Manifest, now crm.Nanos) []Part {
	if s.expr == nil {
		return nil
	}
	return s.expr.Explain(Env{Contact: c, Life: l, Tombstone: tomb, Now: now, ListName: s.listName})
}

// Condition gives the text of the selection, "" for everybody.
func (s Selection) Condition() string {
	if s.expr == nil {
		return ""
	}
	return s.expr.String()
}

// Held says whether every conjunct was true.
func Held(parts []Part) bool {
	for _, p := range parts {
		if p.Result != "true" {
			return false
		}
	}
	return true
}
