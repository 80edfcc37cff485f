package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

// match measures what an event costs that many rules are held up to, through the index as the dispatcher
// asks it, beside all rules in turn. Rules stand on twelve kinds of event in equal parts, and one in a
// hundred says nothing that an index can use.
type match struct {
	r      *run
	sets   []ruleSet
	events []crm.TriggerEvent
}

// ruleSet is one number of rules, in the ways in which they can be held up to an event.
type ruleSet struct {
	n      int
	index  *triggers.Index[int]
	all    []*triggers.Trigger
	byKind map[crm.EventKind][]*triggers.Trigger
	known  [][]*triggers.Trigger // by event: what the index offers, looked up beforehand
}

var matchKinds = []crm.EventKind{
	crm.ContactCreated, crm.ContactTagAdded, crm.ContactTagRemoved, crm.ContactFieldChanged, crm.ContactIdentity, crm.ContactListChanged,
	crm.ContactDNDChanged, crm.RecordCreated, crm.RecordChanged, crm.RecordDeleted, crm.CampaignEnrolled, crm.CampaignLeft,
}

func newMatch(_ context.Context, r *run) (scenario, error) {
	m := &match{r: r}
	rnd := rand.New(rand.NewPCG(3, 4))
	offered := map[crm.EventKind]float64{}
	for range 20 {
		c := somebody(rnd)
		for _, kind := range matchKinds {
			ev := crm.Event{Kind: kind, Account: c.Account, Contact: c.ID, Rev: 1, Data: someData(rnd, kind), After: c}
			te, ok := ev.Trigger(crm.Life{Account: c.Account, Contact: c.ID})
			if !ok {
				return nil, fmt.Errorf("bench: an event of the kind %s may start nothing", kind)
			}
			m.events = append(m.events, te)
		}
	}
	for _, n := range r.o.Rules {
		s, err := makeRules(rnd, n)
		if err != nil {
			return nil, err
		}
		offers, hits := 0, 0
		for _, ev := range m.events {
			var few []*triggers.Trigger
			for _, e := range s.index.Candidates(ev.Event()) {
				few = append(few, e.Trigger)
			}
			s.known = append(s.known, few)
			found := matches(few, ev)
			if !slices.Equal(found, matches(s.all, ev)) {
				return nil, fmt.Errorf("bench: of %d rules the index keeps some from an event that they match", n)
			}
			offers, hits = offers+len(few), hits+len(found)
			offered[ev.Event().Kind] += float64(len(few)) / 20
		}
		m.sets = append(m.sets, s)
		r.report.note(fmt.Sprintf("match, %d rules: rules offered for an event", n), float64(offers)/float64(len(m.events)))
		r.report.note(fmt.Sprintf("match, %d rules: of them matched", n), float64(hits)/float64(len(m.events)))
		most := slices.MaxFunc(matchKinds, func(a, b crm.EventKind) int { return cmp.Compare(offered[a], offered[b]) })
		r.report.note(fmt.Sprintf("match, %d rules: offered for an event of the kind with most, %s", n, most), offered[most])
		clear(offered)
	}
	return m, nil
}

func matches(ts []*triggers.Trigger, ev crm.TriggerEvent) (found []*triggers.Trigger) {
	for _, t := range ts {
		if d, err := t.Match(ev, 1, nil); err == nil && d.Matched {
			found = append(found, t)
		}
	}
	return found
}

// makeRules compiles n rules, in no order.
func makeRules(rnd *rand.Rand, n int) (ruleSet, error) {
	s := ruleSet{n: n, index: triggers.NewIndex[int](), byKind: map[crm.EventKind][]*triggers.Trigger{}}
	for i, at := range rnd.Perm(n) {
		kind := matchKinds[(at+at/100)%len(matchKinds)] // so that the residual ones fall on every kind
		text := condition(rnd, kind)
		if at%100 == 50 {
			text = "contact.fields.score > 40 and not contact.archived"
		}
		t, err := triggers.Compile(triggers.Source{Text: text, Event: kind})
		if err != nil {
			return s, err
		}
		s.index.Add(t, i)
		s.all = append(s.all, t)
		s.byKind[kind] = append(s.byKind[kind], t)
	}
	return s, nil
}

// The vocabulary of an account: how many tags, campaigns, lists, fields and values of a field it has.
const someTags, someCampaigns, someLists, someFields, someValues = 500, 100, 60, 40, 25

var (
	someKinds    = []crm.ItemKind{crm.Note, crm.Task, crm.Conversation, crm.Appointment, crm.ManualAction}
	someChannels = []string{"email", "sms", "call", "push", "letter"}
)

// condition is what a rule on events of a kind asks as a rule: for one thing of the event and, where the event says
// little, for something of the contact.
func condition(rnd *rand.Rand, kind crm.EventKind) string {
	tag := func() string { return fmt.Sprintf("%q", fmt.Sprintf("Tag %d", rnd.IntN(someTags))) }
	field := func() string {
		return fmt.Sprintf(`contact.fields.field_%d == "value %d"`, rnd.IntN(someFields), rnd.IntN(someValues))
	}
	about := func() string {
		if rnd.IntN(2) == 0 {
			return field()
		}
		return tag() + " in contact.tags"
	}
	switch kind {
	case crm.ContactCreated:
		return about() + ` and contact.email != ""`
	case crm.ContactTagAdded, crm.ContactTagRemoved:
		if rnd.IntN(4) == 0 {
			return fmt.Sprintf("event.tag in [%s, %s]", tag(), tag())
		}
		return fmt.Sprintf(`event.tag == %s and not ("VIP" in contact.tags)`, tag())
	case crm.ContactFieldChanged:
		return fmt.Sprintf(`event.field == "field_%d" and event.value == "value %d"`, rnd.IntN(someFields), rnd.IntN(someValues))
	case crm.ContactIdentity:
		return `event.field == "email" and ` + about()
	case crm.ContactListChanged:
		return fmt.Sprintf(`event.list == "List %d" and event.status == "unsubscribed"`, rnd.IntN(someLists))
	case crm.ContactDNDChanged:
		return fmt.Sprintf("event.channel == %q and event.on and %s", someChannels[rnd.IntN(len(someChannels))], about())
	case crm.CampaignEnrolled, crm.CampaignLeft:
		return fmt.Sprintf(`event.campaign == "Campaign %d" and contact.fields.score >= %d`, rnd.IntN(someCampaigns), rnd.IntN(100))
	}
	return fmt.Sprintf("event.kind == %q and %s", someKinds[rnd.IntN(len(someKinds))], about())
}

// someData is what an event of a kind says, in the vocabulary of the rules.
func someData(rnd *rand.Rand, kind crm.EventKind) crm.EventData {
	switch kind {
	case crm.ContactCreated:
		return crm.EventData{}
	case crm.ContactTagAdded, crm.ContactTagRemoved:
		return crm.EventData{Name: fmt.Sprintf("Tag %d", rnd.IntN(someTags))}
	case crm.ContactFieldChanged:
		return crm.EventData{Name: fmt.Sprintf("field_%d", rnd.IntN(someFields)), Value: fmt.Sprintf("value %d", rnd.IntN(someValues))}
	case crm.ContactIdentity:
		return crm.EventData{Name: "email"}
	case crm.ContactListChanged:
		return crm.EventData{Name: fmt.Sprintf("List %d", rnd.IntN(someLists)), Value: "unsubscribed", Old: "subscribed"}
	case crm.ContactDNDChanged:
		return crm.EventData{Name: someChannels[rnd.IntN(len(someChannels))], On: true}
	case crm.CampaignEnrolled, crm.CampaignLeft:
		return crm.EventData{Name: fmt.Sprintf("Campaign %d", rnd.IntN(someCampaigns))}
	}
	return crm.EventData{Kind: someKinds[rnd.IntN(len(someKinds))]}
}

// somebody is a contact with twelve tags and ten fields.
func somebody(rnd *rand.Rand) *crm.Contact {
	c := &crm.Contact{Account: crm.AccountID{1}, ID: crm.ContactID{2}, Rev: 1, Email: crm.Identity{Value: "alex@example.org"}}
	for _, i := range rnd.Perm(someTags)[:12] {
		c.Tags = append(c.Tags, crm.Tag{Name: fmt.Sprintf("Tag %d", i)})
	}
	for _, i := range rnd.Perm(someFields)[:10] {
		c.Fields = append(c.Fields, crm.Field{Name: fmt.Sprintf("field_%d", i), Value: crm.Text(fmt.Sprintf("value %d", rnd.IntN(someValues)))})
	}
	c.Fields = append(c.Fields, crm.Field{Name: "score", Value: crm.Number(float64(rnd.IntN(100)))})
	slices.SortFunc(c.Fields, func(a, b crm.Field) int { return strings.Compare(a.Name, b.Name) })
	return c
}

func (m *match) round(_ context.Context, _ int) error {
	for i := range m.sets {
		s := &m.sets[i]
		each := func(name string, f func(at int, ev crm.TriggerEvent) error) (spent, error) {
			if name != "" {
				name = fmt.Sprintf("match %d %s", s.n, name)
			}
			done := 0
			took, err := m.r.contestant(name, func() error {
				for began := time.Now(); done == 0 || time.Since(began) < m.r.o.Slice/4; {
					for at, ev := range m.events {
						if err := f(at, ev); err != nil {
							return err
						}
						done++
					}
				}
				return nil
			})
			return took.each(done), err
		}
		ours, err := each("index", func(_ int, ev crm.TriggerEvent) error {
			for _, e := range s.index.Candidates(ev.Event()) {
				if _, err := e.Trigger.Match(ev, 1, nil); err != nil {
					return err
				}
			}
			return nil
		})
		linear := func(of func(at int, ev crm.TriggerEvent) []*triggers.Trigger) (took spent) {
			if err == nil {
				took, err = each("", func(at int, ev crm.TriggerEvent) error {
					for _, t := range of(at, ev) {
						if _, err := t.Match(ev, 1, nil); err != nil {
							return err
						}
					}
					return nil
				})
			}
			return took
		}
		all := linear(func(int, crm.TriggerEvent) []*triggers.Trigger { return s.all })
		kind := linear(func(_ int, ev crm.TriggerEvent) []*triggers.Trigger { return s.byKind[ev.Event().Kind] })
		known := linear(func(at int, _ crm.TriggerEvent) []*triggers.Trigger { return s.known[at] })
		if err != nil {
			return errors.Join(fmt.Errorf("match with %d rules", s.n), err)
		}
		what, goal := fmt.Sprintf("match an event, %d rules", s.n), Goal{}
		if s.n >= 10_000 {
			goal.AtMost = 0.02
		}
		m.r.report.add(Row{Contest: what, Floor: "all rules in turn", Cost: true, Goal: goal}, ours, all)
		m.r.report.add(Row{Contest: what, Floor: "the rules on its kind in turn", Cost: true}, ours, kind)
		m.r.report.add(Row{Contest: what, Floor: "the offered rules, looked up beforehand", Cost: true, Goal: Goal{AtMost: 3}}, ours, known)
	}
	return nil
}

func (m *match) close() error { return nil }
