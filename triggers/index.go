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

// shelf holds the triggers on one kind of event: by the text that a field of the event must be, and
// those of which no such thing is known.
type shelf[T any] struct {
	rest   []Entry[T]
	fields map[string]map[string][]Entry[T]
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
		s = &shelf[T]{fields: map[string]map[string][]Entry[T]{}}
		x.kinds[kind] = s
	}
	var keys eventKeys
	switch {
	case t.hook != "":
		keys = eventKeys{field: "webhook", values: []string{crm.Fold(t.hook)}}
	case t.cond != nil:
		keys = t.cond.keys
	}
	if keys.field == "" {
		s.rest = append(s.rest, e)
		return
	}
	byText := s.fields[keys.field]
	if byText == nil {
		byText = map[string][]Entry[T]{}
		s.fields[keys.field] = byText
	}
	values := slices.Clone(keys.values)
	slices.Sort(values)
	for _, v := range slices.Compact(values) {
		byText[v] = append(byText[v], e)
	}
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
	for field, byText := range s.fields {
		if text, ok := ev.Data.Field(field).(string); ok {
			all = append(all, byText[crm.Fold(text)]...)
		}
	}
	slices.SortFunc(all, func(a, b Entry[T]) int { return cmp.Compare(a.order, b.order) })
	return all
}
