package crm

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Knob is one key of the policy document. Knobs is the one table that reading, showing, comparing and
// documenting a policy go by, so that no key can be known to one of them only.
type Knob struct {
	Path  string // dotted, as the document nests it: delete.limits.per_operation
	Legal string // what it may be, in words for people
	Help  string // what it does, in one sentence, with the statements of the sources that ask for it

	values []value           // what a choice chooses from
	since  string            // what a change of it applies to
	says   func(any) string  // what a value means, as half a sentence
	get    func(*Policy) any // a string, an int, a bool or a []string
	set    func(*Policy, any) bool
	text   func(string) any // what a word on a command line stands for
}

// value is one of the words that a choice may be, and what it means.
type value struct{ name, says string }

// Show gives the knob's value in a policy, as people write it and as Policy.With reads it.
func (k Knob) Show(p Policy) string { return showValue(k.get(&p)) }

func showValue(v any) string {
	if list, ok := v.([]string); ok {
		return strings.Join(list, ", ")
	}
	return fmt.Sprint(v)
}

// refuse says what the knob may be. It repeats only what is a short plain word: anything else may be
// somebody's name or address that got into the wrong place.
func (k Knob) refuse(v any) error {
	said, names := "", make([]string, len(k.values))
	for i := range k.values {
		names[i] = k.values[i].name
	}
	if s, ok := v.(string); ok && plainWord(s) {
		said = ", not " + s
		if w := nearest(s, names); w != "" {
			said += "; did you mean " + w + "?"
		}
	}
	return fmt.Errorf("%s: must be %s%s", k.Path, k.Legal, said)
}

// ruleKnob is a choice that is a member of the policy.
func ruleKnob[T ~string](path, help, since string, at func(*Policy) *T, values ...value) Knob {
	return choice(path, help, since,
		func(p *Policy) string { return string(*at(p)) },
		func(p *Policy, s string) { *at(p) = T(s) }, values...)
}

// choice is one word of several.
func choice(path, help, since string, get func(*Policy) string, set func(*Policy, string), values ...value) Knob {
	find := func(v any) int {
		s, _ := v.(string)
		return slices.IndexFunc(values, func(w value) bool { return w.name == s })
	}
	names := make([]string, len(values))
	for i := range values {
		names[i] = values[i].name
	}
	return Knob{
		Path: path, Legal: strings.Join(names, " | "), Help: help, since: since, values: values,
		says: func(v any) string {
			if i := find(v); i >= 0 {
				return values[i].says
			}
			return "" // a value from a later version
		},
		get:  func(p *Policy) any { return get(p) },
		text: func(s string) any { return s },
		set: func(p *Policy, v any) bool {
			i := find(v)
			if i >= 0 {
				set(p, values[i].name)
			}
			return i >= 0
		},
	}
}

// toggle is true or false.
func toggle(path, help, since string, at func(*Policy) *bool, on, off string) Knob {
	return Knob{
		Path: path, Legal: "true | false", Help: help, since: since,
		values: []value{{"true", on}, {"false", off}},
		says: func(v any) string {
			if v == true {
				return on
			}
			return off
		},
		get: func(p *Policy) any { return *at(p) },
		text: func(s string) any {
			if s == "true" || s == "false" {
				return s == "true"
			}
			return s
		},
		set: func(p *Policy, v any) bool {
			b, ok := v.(bool)
			if ok {
				*at(p) = b
			}
			return ok
		},
	}
}

// highestNumber bounds what counts contacts: it is one in every encoding and on every machine.
const highestNumber = 1_000_000_000

// number is a whole number from low to high. some says what one means, with %d in it; zero, where 0
// switches the knob off, what that means.
func number(path, help, since string, low, high int, at func(*Policy) *int, some, zero string) Knob {
	legal := fmt.Sprintf("a number from %d to %d", low, high)
	if zero != "" {
		legal += ", 0 = off"
	}
	return Knob{
		Path: path, Legal: legal, Help: help, since: since,
		says: func(v any) string {
			if v == 0 && zero != "" {
				return zero
			}
			return fmt.Sprintf(some, v)
		},
		get: func(p *Policy) any { return *at(p) },
		text: func(s string) any {
			if n, err := strconv.Atoi(s); err == nil {
				return n
			}
			return s
		},
		set: func(p *Policy, v any) bool {
			n, ok := integer(v)
			if ok = ok && low <= n && n <= high; ok {
				*at(p) = n
			}
			return ok
		},
	}
}

// integer takes a whole number as decoders of YAML and JSON hand it out.
func integer(v any) (int, bool) {
	switch n := v.(type) {
	case int:
		return n, true
	case int64:
		return int(n), int64(int(n)) == n
	case uint64:
		return int(n), n <= math.MaxInt
	case float64:
		return int(n), n == math.Trunc(n) && math.Abs(n) <= highestNumber
	case json.Number:
		if f, err := n.Float64(); err == nil {
			return integer(f)
		}
	}
	return 0, false
}

// longestWindow is ten years: a longer promise is a typing mistake.
const longestWindow = 3650 * Day

// window is the length of the recovery window. It is whole seconds, which is what people can read back.
func window(path, help, since string) Knob {
	return Knob{
		Path: path, Legal: "a duration in whole seconds, up to 3650d: 60d", Help: help, since: since,
		says: func(v any) string { return fmt.Sprintf("a deletion can be undone for %s", v) },
		get:  func(p *Policy) any { return p.Retention.Window.Days() },
		text: func(s string) any { return s },
		set: func(p *Policy, v any) bool {
			s, ok := v.(string)
			n, err := ParseDuration(s)
			if ok = ok && err == nil && 0 < n && n <= longestWindow && n%Second == 0; ok {
				p.Retention.Window = n
			}
			return ok
		},
	}
}

// keep is how long something is kept; 0 is for ever. some says what a duration means, with %s in it.
func keep(path, help, since string, at func(*Policy) *Nanos, some, ever string) Knob {
	return Knob{
		Path: path, Legal: "a duration in whole seconds, up to 3650d: 90d, 0 = for ever", Help: help, since: since,
		says: func(v any) string {
			if v == "0" {
				return ever
			}
			return fmt.Sprintf(some, v)
		},
		get: func(p *Policy) any {
			if *at(p) == 0 {
				return "0"
			}
			return at(p).Days()
		},
		text: func(s string) any { return s },
		set: func(p *Policy, v any) bool {
			if n, ok := integer(v); v == "0" || ok && n == 0 {
				*at(p) = 0
				return true
			}
			s, ok := v.(string)
			n, err := ParseDuration(s)
			if ok = ok && err == nil && 0 < n && n <= longestWindow && n%Second == 0; ok {
				*at(p) = n
			}
			return ok
		},
	}
}

// may is who may use a verb. There is always somebody: what nobody may do is switched off by a knob
// of its own, where it can be seen. The system is nobody's to name.
func may(path, what, help string, v Verb, roles ...Role) Knob {
	names := make([]string, len(roles))
	for i := range roles {
		names[i] = string(roles[i])
	}
	return Knob{
		Path: path, Legal: "a list of one or more of " + strings.Join(names, ", "), Help: help, since: sinceRole,
		says: func(v any) string { return "only " + showValue(v) + " may " + what },
		get: func(p *Policy) any {
			held := []string{}
			for _, r := range []Role{Admin, Operator, Agent, Viewer, Auditor} {
				if p.Allows(r, v) {
					held = append(held, string(r))
				}
			}
			return held
		},
		text: func(s string) any {
			list := strings.Split(s, ",")
			for i := range list {
				list[i] = strings.TrimSpace(list[i])
			}
			return list
		},
		set: func(p *Policy, given any) bool {
			want, ok := stringList(given)
			if !ok || len(want) == 0 {
				return false
			}
			var held []Role // in the order of roles, each once, so that equal policies are the same
			for _, r := range roles {
				if slices.Contains(want, string(r)) {
					held = append(held, r)
				}
			}
			for _, w := range want {
				if !slices.Contains(held, Role(w)) {
					return false
				}
			}
			if p.Permissions == nil {
				p.Permissions = map[Verb][]Role{}
			}
			p.Permissions[v] = held
			return true
		},
	}
}

func stringList(v any) ([]string, bool) {
	switch list := v.(type) {
	case []string:
		return list, true
	case []any:
		out := make([]string, len(list))
		for i := range list {
			s, ok := list[i].(string)
			if !ok {
				return nil, false
			}
			out[i] = s
		}
		return out, true
	}
	return nil, false
}

// plainWord says whether s can be repeated in an error: letters, - and _, and not many.
func plainWord(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_' && r != '-' {
			return false
		}
	}
	return true
}

// nearest gives the word that was probably meant, "" if none is near.
func nearest(word string, words []string) string {
	best, limit := "", max(1, len(word)/3)+1
	if len(word) > 64 {
		return ""
	}
	for _, w := range words {
		if d := edits(strings.ToLower(word), strings.ToLower(w)); d < limit {
			best, limit = w, d
		}
	}
	return best
}

// edits counts the bytes to insert, delete or replace to get from a to b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := left
			if a[i] != b[j] {
				d = 1 + min(left, row[j], row[j+1])
			}
			left, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
