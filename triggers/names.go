package triggers

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/types"

	"github.com/reprieve-run/reprieve/crm"
)

// A name is what an expression can read: its type, how to get it, and which facts that reads.
type name struct {
	typ   types.Type
	get   func(*Env) any // called only when the scope's part of Env is there
	reads []crm.Fact
	// maybe says that the value can be missing (nil) whatever its type: a list that the contact is not
	// on, a tombstone that there is none of.
	maybe bool
	// tag says that the text, or each element or key, is compared folded.
	tag bool
	// tagged and field name what a filter of the store can ask instead: that the contact has a tag, or
	// what a field is equal to.
	tagged, field string
}

var (
	textType  = types.String
	boolType  = types.Bool
	intType   = types.Int
	timeType  = types.TypeOf(time.Time{})
	textsType = types.TypeOf([]string{})
	anyMap    = types.Map{types.Extra: types.Any}
)

// roots gives, for each first name that exists, the scope that it needs.
var roots = map[string]Scope{
	"contact": ScopeContact, "tombstone": ScopeTombstone, "event": ScopeEvent,
	"run": ScopeRun, "steps": ScopeRun, "error": ScopeError, "now": 0,
}

func read(kind crm.FactKind, names ...string) []crm.Fact {
	facts := make([]crm.Fact, len(names))
	for i, n := range names {
		facts[i] = crm.Fact{Kind: kind, Name: n}
	}
	return facts
}

// everyFact is what contact.revision reads: it moves with each of them.
var everyFact = []crm.Fact{{Kind: crm.FactTag}, {Kind: crm.FactList}, {Kind: crm.FactField},
	{Kind: crm.FactIdentity}, {Kind: crm.FactDND}, {Kind: crm.FactArchived}}

func text(get func(*Env) string, reads ...crm.Fact) name {
	return name{typ: textType, get: func(e *Env) any { return get(e) }, reads: reads}
}

// ownField is a field that has a name of its own: a text, empty if it is missing.
func ownField(field string) name {
	n := text(func(e *Env) string { return e.textField(field) }, read(crm.FactField, field)...)
	n.field = field
	return n
}

var contactNames = map[string]name{
	"id":          text(func(e *Env) string { return e.Contact.ID.String() }),
	"email":       text(func(e *Env) string { return e.Contact.Email.Value }, read(crm.FactIdentity, "email")...),
	"phone":       text(func(e *Env) string { return e.Contact.Phone.Value }, read(crm.FactIdentity, "phone")...),
	"external_id": text(func(e *Env) string { return e.Contact.External.Value }, read(crm.FactIdentity, "external_id")...),
	"first_name":  ownField("first_name"),
	"last_name":   ownField("last_name"),
	"name":        text((*Env).fullName, read(crm.FactField, "first_name", "last_name")...),
	"tags":        {typ: textsType, get: func(e *Env) any { return e.Contact.TagNames() }, reads: read(crm.FactTag, ""), tag: true},
	"lists":       {typ: types.Map{types.Extra: textType}, get: (*Env).lists, reads: read(crm.FactList, ""), tag: true},
	"fields":      {typ: anyMap, get: (*Env).fields, reads: read(crm.FactField, "")},
	"dnd":         {typ: types.Map{types.Extra: boolType}, get: (*Env).dnd, reads: read(crm.FactDND, ""), tag: true},
	"archived":    {typ: boolType, get: func(e *Env) any { return e.Contact.Archived.On }, reads: read(crm.FactArchived, "")},
	"created_at":  {typ: timeType, get: func(e *Env) any { return e.Contact.CreatedAt.Time() }},
	"deleted":     {typ: boolType, get: func(e *Env) any { return e.Life.State == crm.Deleted }},
	"revision":    {typ: intType, get: func(e *Env) any { return int(e.Contact.Rev) }, reads: everyFact},
}

// grave makes a name of the tombstone: missing for a live contact.
func grave(typ types.Type, get func(*crm.Manifest) any) name {
	return name{typ: typ, maybe: true, get: func(e *Env) any {
		if e.Tombstone == nil {
			return nil
		}
		return get(e.Tombstone)
	}}
}

var tombstoneNames = map[string]name{
	"deleted_at":       grave(timeType, func(m *crm.Manifest) any { return m.At.Time() }),
	"restorable_until": grave(timeType, func(m *crm.Manifest) any { return m.RestorableUntil.Time() }),
	"reason":           grave(textType, func(m *crm.Manifest) any { return m.Reason }),
	"by":               grave(textType, func(m *crm.Manifest) any { return m.By.ID }),
	"workflow":         grave(textType, func(m *crm.Manifest) any { return m.Why.Workflow }),
	"operation": grave(textType, func(m *crm.Manifest) any {
		if m.Why.Operation.IsZero() {
			return ""
		}
		return m.Why.Operation.String()
	}),
	"run": grave(textType, func(m *crm.Manifest) any {
		if m.Why.Run.IsZero() {
			return ""
		}
		return m.Why.Run.String()
	}),
}

var runNames = map[string]name{
	"id":         text(func(e *Env) string { return e.Run.ID }),
	"workflow":   text(func(e *Env) string { return e.Run.Workflow }),
	"trigger":    text(func(e *Env) string { return e.Run.Trigger }),
	"started_at": {typ: timeType, get: func(e *Env) any { return e.Run.StartedAt.Time() }},
}

// errorNames are what a handler sees of the failure that it is for.
var errorNames = map[string]name{
	"step":    text(func(e *Env) string { return e.Error.Step }),
	"code":    text(func(e *Env) string { return e.Error.Code }),
	"message": text(func(e *Env) string { return e.Error.Message }),
}

var now = name{typ: timeType, get: func(e *Env) any { return e.Now.Time() }}

// eventNames gives what is under event.* for one kind of event. The kind of the event itself is
// event.type, since a record's event has a kind of its own.
func eventNames(kind crm.EventKind) map[string]name {
	names := map[string]name{
		"type":  text(func(e *Env) string { return string(e.Event.Kind) }),
		"actor": text(func(e *Env) string { return e.Event.By.ID }),
		"at":    {typ: timeType, get: func(e *Env) any { return e.Event.At.Time() }},
	}
	for _, f := range crm.TriggerKinds[kind] {
		n := name{typ: textType, get: func(e *Env) any { return e.Event.Data.Field(f.Name) }}
		if f.Kind == crm.BoolValue {
			n.typ = boolType
		}
		n.tag = f.Name == "tag" || f.Name == "list" || f.Name == "channel"
		names[f.Name] = n
	}
	if kind == crm.WebhookReceived {
		names["body"] = name{typ: types.Any, get: func(e *Env) any { return e.Event.Data.Field("body") }}
	}
	return names
}

// startNames gives what is under event.* in steps: the names of each kind of event that may have started the
// run. A name that not all of them have may be missing.
func startNames(kinds []crm.EventKind) map[string]name {
	names, count := map[string]name{}, map[string]int{}
	for _, kind := range kinds {
		if kind == "" {
			continue
		}
		for field, n := range eventNames(kind) {
			n.get = func(e *Env) any { return e.Started[field] }
			if n.typ == timeType {
				n.get = func(e *Env) any { return moment(e.Started[field]) }
			}
			if count[field]++; count[field] == 1 || names[field].typ == n.typ {
				names[field] = n
			}
		}
	}
	for field, n := range names {
		if n.maybe = n.maybe || count[field] < len(kinds); n.maybe {
			names[field] = n
		}
	}
	return names
}

func moment(v any) any {
	s, _ := v.(string)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t
	}
	return nil
}

// Started gives what event.* is in the steps of a run that an event starts, as encoding/json can write it.
func Started(ev *crm.Event) map[string]any {
	env := &Env{Event: ev, Contact: ev.After}
	all := map[string]any{}
	for field, n := range eventNames(ev.Kind) {
		if v := n.get(env); checkSize(v) == nil {
			all[field] = v
		}
	}
	return all
}

// stepName gives steps.ID.status or steps.ID.output; both are missing until the step has run.
func stepName(id, field string) name {
	if field == "status" {
		return name{typ: textType, maybe: true, get: func(e *Env) any {
			if s, ok := e.Steps[id]; ok {
				return s.Status
			}
			return nil
		}}
	}
	return name{typ: types.Any, get: func(e *Env) any { return e.Steps[id].Output }}
}

// keyed gives one entry of contact.fields, contact.lists or contact.dnd.
func keyed(of, key string) name {
	folded := crm.Fold(key)
	switch of {
	case "lists":
		return name{typ: textType, maybe: true, get: func(e *Env) any { return e.onList(folded) }, reads: read(crm.FactList, "")}
	case "dnd":
		return name{typ: boolType, get: func(e *Env) any { return e.Contact.OnDND(key) }, reads: read(crm.FactDND, folded)}
	}
	return name{typ: types.Any, get: func(e *Env) any { return e.Contact.Field(key).Any() },
		reads: read(crm.FactField, key), field: key}
}

// holds gives the answer to KEY in contact.tags, contact.fields, contact.lists or contact.dnd
// without making the whole collection, and reads only that fact.
func holds(of, key string) name {
	n := name{typ: boolType}
	folded := crm.Fold(key)
	switch of {
	case "tags":
		n.get, n.reads = func(e *Env) any { // HasTag, with the key folded once
			return slices.ContainsFunc(e.Contact.Tags, func(t crm.Tag) bool {
				return !t.Absent && (t.Name == key || strings.EqualFold(strings.TrimSpace(t.Name), folded))
			})
		}, read(crm.FactTag, folded)
		n.tagged = key
	case "lists":
		n.get, n.reads = func(e *Env) any { return e.onList(folded) != nil }, read(crm.FactList, "")
	case "dnd":
		n.get, n.reads = func(e *Env) any {
			return slices.ContainsFunc(e.Contact.DND, func(d crm.Channel) bool { return crm.Fold(d.Name) == folded })
		}, read(crm.FactDND, folded)
	default:
		n.get, n.reads = func(e *Env) any { return e.Contact.Field(key).Kind != crm.NoValue }, read(crm.FactField, key)
	}
	return n
}

// scopeOf gives the scope that a first name needs; false if there is no such name.
func (s Source) scopeOf(root string) (Scope, bool) {
	if root == "event" && s.Scope&ScopeStart != 0 {
		return ScopeStart, true
	}
	scope, ok := roots[root]
	return scope, ok
}

// fieldsOf gives the names under a root, nil for one without a fixed set.
func (s Source) fieldsOf(root string) map[string]name {
	switch root {
	case "contact":
		return contactNames
	case "tombstone":
		return tombstoneNames
	case "run":
		return runNames
	case "error":
		return errorNames
	case "event":
		if s.Scope&ScopeStart != 0 {
			return startNames(s.Starts)
		}
		return eventNames(s.Event)
	}
	return nil
}

// nearest gives the candidate most like the word, "" if none is near enough to be a typing error.
// maxNear is among how many candidates each is compared, and how many a hint lists.
const maxNear = 50

func nearest(word string, candidates []string) string {
	best, limit, folded := "", len(word)/3+2, crm.Fold(word)
	for _, c := range candidates {
		if diff := len(c) - len(word); len(candidates) > maxNear && (diff >= limit || -diff >= limit || c[:min(1, len(c))] != word[:min(1, len(word))]) {
			continue // among very many only what begins alike: else a file of mistakes costs its square
		}
		if d := distance(folded, crm.Fold(c)); d < limit || d == limit && best != "" && c < best {
			best, limit = c, d
		}
	}
	return best
}

// distance is Levenshtein's, over runes.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			cost := diagonal
			if x[i] != y[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}

func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
