package triggers

import (
	"cmp"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// Index finds, among many triggers, those that an event can match, so that the cost of an event grows
// with the rules that can match it and not with the rules that there are. T is the caller's: what
// the trigger belongs to. Adding is not safe beside anything else; asking is safe beside asking.
type Index[T any] struct {
	kinds map[crm.EventKind]*shelf[T]
	added int
}

// Entry is a trigger with what the caller put beside it.
type Entry[T any] struct {
	Trigger *Trigger
	Payload T
	order   int
}

// shelf holds the triggers on one kind of event: by a text that the event must say or its contact have, each under
// one of the things that its condition needs, and those of which no such thing is known.
type shelf[T any] struct {
	rest  []Entry[T]
	texts map[place]map[string][]Entry[T]
}

// place is where a text has to stand.
type place struct {
	of    keyKind
	field string
}

// NewIndex makes an empty index.
func NewIndex[T any]() *Index[T] { return &Index[T]{kinds: map[crm.EventKind]*shelf[T]{}} }

// Add puts a trigger into the index.
func (x *Index[T]) Add(t *Trigger, payload T) {
	e := Entry[T]{t, payload, x.added}
	x.added++
	for _, kind := range t.events {
		x.add(kind, t, e)
	}
}

func (x *Index[T]) add(kind crm.EventKind, t *Trigger, e Entry[T]) {
	s := x.kinds[kind]
	if s == nil {
		s = &shelf[T]{texts: map[place]map[string][]Entry[T]{}}
		x.kinds[kind] = s
	}
	var ways []keySet
	switch {
	case t.hook != "":
		ways = []keySet{{ofEvent, "webhook", []string{crm.Fold(t.hook)}}}
	case t.cond != nil:
		ways = t.cond.keys
	}
	if len(ways) == 0 {
		s.rest = append(s.rest, e)
		return
	}
	best := slices.MinFunc(ways, func(a, b keySet) int { // where the fewest others are offered with it
		return cmp.Or(cmp.Compare(s.beside(a), s.beside(b)), cmp.Compare(len(a.values), len(b.values)))
	})
	at := place{best.of, best.field}
	if s.texts[at] == nil {
		s.texts[at] = map[string][]Entry[T]{}
	}
	values := slices.Clone(best.values)
	slices.Sort(values)
	for _, v := range slices.Compact(values) {
		s.texts[at][v] = append(s.texts[at][v], e)
	}
}

// beside counts the triggers that stand under the same texts.
func (s *shelf[T]) beside(w keySet) (n int) {
	for _, v := range w.values {
		n += len(s.texts[place{w.of, w.field}][v])
	}
	return n
}

// Len is how many triggers were added.
func (x *Index[T]) Len() int { return x.added }

// Candidates gives the triggers that the event can match, in the order in which they were added. It
// leaves out only triggers that cannot; Match decides.
func (x *Index[T]) Candidates(ev *crm.Event) []Entry[T] {
	s := x.kinds[ev.Kind]
	if s == nil {
		return nil
	}
	all := slices.Clone(s.rest)
	for at, byText := range s.texts {
		switch {
		case at.of == ofEvent:
			if text, ok := ev.Data.Field(at.field).(string); ok {
				all = append(all, byText[crm.Fold(text)]...)
			}
		case ev.After == nil: // nobody is known, so nothing about anybody is true
		case at.of == ofTags:
			for _, tag := range ev.After.Tags {
				if !tag.Absent {
					all = append(all, byText[crm.Fold(tag.Name)]...)
				}
			}
		default:
			if v := ev.After.Field(at.field); v.Kind == crm.TextValue {
				all = append(all, byText[v.Text]...)
			}
		}
	}
	slices.SortFunc(all, func(a, b Entry[T]) int { return cmp.Compare(a.order, b.order) })
	return slices.CompactFunc(all, func(a, b Entry[T]) bool { return a.order == b.order })
}
