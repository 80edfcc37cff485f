package triggers

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
)

// Trigger is a kind of event with a condition on the event's own images. It says whether it matches;
// what that starts is not its business.
type Trigger struct {
	events  []crm.EventKind
	cond    *Expr  // nil: always
	becomes bool   // the condition has to have been false before the event
	hook    string // of a webhook: its name, which the event has to bear
}

// Decision is what a trigger said of an event.
type Decision struct {
	Matched bool
	Reads   []crm.Fact // the facts that the condition reads; not to be changed
	Why     string     // for workflow explain: which part of the condition decided. Names no value of a contact
}

// Compile compiles the condition of a trigger on events of the kind src.Event; an empty text is true
// of each. The condition sees the event and the contact as it was after the event. Its error is a
// *Diagnostic or Diagnostics.
func Compile(src Source) (*Trigger, error) {
	if _, ok := crm.TriggerKinds[src.Event]; !ok {
		kinds := make([]string, 0, len(crm.TriggerKinds))
		for k := range crm.TriggerKinds {
			kinds = append(kinds, string(k))
		}
		slices.Sort(kinds)
		hint := "there is " + strings.Join(kinds, ", ")
		if near := nearest(string(src.Event), kinds); near != "" {
			hint = "did you mean " + near + "?"
		}
		return nil, src.fail(codeEvent, 0, 1, "no trigger can name the event "+clip(string(src.Event)), hint)
	}
	t := &Trigger{events: []crm.EventKind{src.Event}}
	if strings.TrimSpace(src.Text) == "" {
		return t, nil
	}
	src.Scope = ScopeEvent | ScopeContact
	var err error
	t.cond, err = CompileExpr(src, Bool)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// changedBy says which kinds of event change facts of a kind.
var changedBy = map[crm.FactKind][]crm.EventKind{
	crm.FactTag:      {crm.ContactTagAdded, crm.ContactTagRemoved},
	crm.FactList:     {crm.ContactListChanged},
	crm.FactField:    {crm.ContactFieldChanged},
	crm.FactIdentity: {crm.ContactIdentity},
	crm.FactDND:      {crm.ContactDNDChanged},
	crm.FactArchived: {crm.ContactArchived},
}

// CompileBecomes compiles a condition on the contact that an event has to make true: an edge, never a
// state. It is held up to events that change what it reads, and to new contacts, of whom nothing was true
// before.
func CompileBecomes(src Source) (*Trigger, error) {
	src.Scope = ScopeContact
	cond, err := CompileExpr(src, Bool)
	if err != nil {
		return nil, err
	}
	t := &Trigger{events: []crm.EventKind{crm.ContactCreated}, cond: cond, becomes: true}
	for _, f := range cond.reads {
		t.events = append(t.events, changedBy[f.Kind]...)
	}
	slices.Sort(t.events)
	if t.events = slices.Compact(t.events); len(cond.reads) == 0 {
		return nil, src.fail(codeEdge, 0, utf8.RuneCountInString(src.Text), "nothing that it reads of a contact can change, so it never becomes true",
			"name a tag, a list, a field, an address or a channel: '\"VIP\" in contact.tags'")
	}
	return t, nil
}

// CompileWebhook compiles the condition of a trigger on requests to the webhook of a name; an empty text is true
// of each. The condition sees event.body and the contact.
func CompileWebhook(src Source, name string) (*Trigger, error) {
	t := &Trigger{events: []crm.EventKind{crm.WebhookReceived}, hook: name}
	if strings.TrimSpace(src.Text) == "" {
		return t, nil
	}
	src.Scope, src.Event = ScopeEvent|ScopeContact, crm.WebhookReceived
	var err error
	if t.cond, err = CompileExpr(src, Bool); err != nil {
		return nil, err
	}
	return t, nil
}

// Events gives the kinds of event that the trigger is on.
func (t *Trigger) Events() []crm.EventKind { return slices.Clone(t.events) }

// Match says whether the trigger matches an event that may start runs. An error, also of the
// condition, comes with a Decision that has not matched.
func (t *Trigger) Match(ev crm.TriggerEvent, now crm.Nanos, listName func(crm.ItemID) string) (Decision, error) {
	if !ev.Valid() {
		return Decision{Why: "the event may not start anything"},
			crm.Errorf("match a trigger", crm.CodeInvalid, "the event did not pass the suppression rule").WithHint("make it with Event.Trigger")
	}
	return t.match(ev.Event(), now, listName)
}

// WouldMatch says whether the trigger would match an event that was refused, to explain the refusal
// and for nothing else: a bare bool entitles nobody to start a run.
func (t *Trigger) WouldMatch(ev crm.Event, now crm.Nanos, listName func(crm.ItemID) string) bool {
	if ev.After == nil {
		return false
	}
	d, err := t.match(&ev, now, listName)
	return d.Matched && err == nil
}

func (t *Trigger) match(ev *crm.Event, now crm.Nanos, listName func(crm.ItemID) string) (Decision, error) {
	switch {
	case !slices.Contains(t.events, ev.Kind):
		return Decision{Why: "the event is " + string(ev.Kind) + ", not " + anyOf(t.events)}, nil
	case t.hook != "" && ev.Data.Name != t.hook:
		return Decision{Why: "the request was for another webhook"}, nil
	case t.cond == nil:
		return Decision{Matched: true, Why: "there is no condition"}, nil
	}
	v, at, err := t.cond.eval(&Env{Event: ev, Contact: ev.After, Now: now, ListName: listName})
	d := Decision{Matched: err == nil && v == true, Reads: t.cond.reads}
	if d.Matched && t.becomes {
		if before := ev.Before(); before != nil {
			if v, at, err = t.cond.eval(&Env{Contact: before, Now: now, ListName: listName}); err == nil && v == true {
				return Decision{Why: "the condition was true before", Reads: t.cond.reads}, nil
			}
			d.Matched = err == nil
		}
	}
	switch {
	case err != nil:
		d.Why = at + " cannot be evaluated"
	case d.Matched:
		d.Why = "the condition is true"
	default:
		d.Why = at + " is false"
	}
	return d, err
}

// anyOf lists kinds of event.
func anyOf(kinds []crm.EventKind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	return strings.Join(words, " or ")
}
