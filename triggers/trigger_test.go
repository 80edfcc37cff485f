package triggers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

// happened makes an event that may start runs.
func happened(t testing.TB, ev crm.Event) crm.TriggerEvent {
	t.Helper()
	if ev.After == nil {
		ev.After = ann()
	}
	ev.Rev = 7
	te, ok := ev.Trigger(crm.Life{})
	if !ok {
		t.Fatal("the event is refused")
	}
	return te
}

func compileTrigger(t testing.TB, kind crm.EventKind, text string) *Trigger {
	t.Helper()
	tr, err := Compile(Source{Text: text, Event: kind})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind crm.EventKind
		text string
		data crm.EventData
		want bool
		why  string
	}{
		{crm.ContactTagAdded, ``, crm.EventData{Name: "x"}, true, "there is no condition"},
		{crm.ContactTagAdded, `event.tag == "VIP"`, crm.EventData{Name: "vip"}, true, "the condition is true"},
		{crm.ContactTagAdded, `event.tag == "VIP"`, crm.EventData{Name: "x"}, false, `event.tag == "VIP" is false`},
		{crm.ContactTagAdded, `event.tag == "VIP" and contact.fields.age > 30`, crm.EventData{Name: "vip"}, false, `contact.fields.age > 30 is false`},
		{crm.ContactTagAdded, `contact.fields.nope > 30`, crm.EventData{}, false, `contact.fields.nope > 30 cannot be evaluated`},
		{crm.ContactFieldChanged, `event.field == "plan" and event.value == "gold" and event.old_value == ""`, crm.EventData{Name: "plan", Value: "gold"}, true, ""},
		{crm.ContactListChanged, `event.list == "NEWS" and event.status == "unsubscribed"`, crm.EventData{Name: "News", Value: "unsubscribed"}, true, ""},
		{crm.ContactDNDChanged, `event.channel == "email" and event.on`, crm.EventData{Name: "Email", On: true}, true, ""},
		{crm.ContactArchived, `not event.on`, crm.EventData{}, true, ""},
		{crm.RecordCreated, `event.kind == "task" and event.type == "record.created"`, crm.EventData{Kind: crm.Task}, true, ""},
		{crm.CampaignEnrolled, `event.campaign == "Spring"`, crm.EventData{Name: "Spring"}, true, ""},
		{crm.ContactIdentity, `event.field == "email" and contact.email != ""`, crm.EventData{Name: "email"}, true, ""},
		{crm.ContactCreated, `contact.lists.news == "subscribed" and now > event.at`, crm.EventData{}, true, ""},
	} {
		tr := compileTrigger(t, c.kind, c.text)
		d, err := tr.Match(happened(t, crm.Event{Kind: c.kind, Data: c.data}), crm.Day, listNames)
		if d.Matched != c.want || c.why != "" && d.Why != c.why || (err != nil) != strings.Contains(c.why, "cannot") {
			t.Errorf("%s: %+v, %v", c.text, d, err)
		}
	}
	tr := compileTrigger(t, crm.ContactTagAdded, `"VIP" in contact.tags`)
	if d, err := tr.Match(happened(t, crm.Event{Kind: crm.ContactTagRemoved}), 1, nil); d.Matched || err != nil || tr.Events()[0] != crm.ContactTagAdded {
		t.Errorf("another kind: %+v, %v", d, err)
	}
	if d, _ := tr.Match(happened(t, crm.Event{Kind: crm.ContactTagAdded}), 1, nil); len(d.Reads) != 1 || d.Reads[0].Name != "vip" {
		t.Errorf("reads %v", d.Reads)
	}
}

// Only what the suppression rule let through can match; what it refused can only be explained.
func TestMatchNeedsAnEntitledEvent(t *testing.T) {
	t.Parallel()
	tr := compileTrigger(t, crm.ContactTagAdded, ``)
	if d, err := tr.Match(crm.TriggerEvent{}, 1, nil); d.Matched || crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("the zero event: %+v, %v", d, err)
	}
	restored := crm.Event{Kind: crm.ContactTagAdded, After: ann(), Why: crm.Cause{Kind: crm.ByRestore}}
	te, ok := restored.Trigger(crm.Life{})
	if d, _ := tr.Match(te, 1, nil); ok || d.Matched {
		t.Error("a restore matched")
	}
	if !tr.WouldMatch(restored, 1, nil) {
		t.Error("the refusal cannot be explained")
	}
	restored.After = nil
	if tr.WouldMatch(restored, 1, nil) {
		t.Error("an event without its image matched")
	}
}

func TestTriggerScope(t *testing.T) {
	t.Parallel()
	for text, code := range map[string]string{
		`run.id == "x"`: "E108", `steps.a.status == "x"`: "E108", `tombstone.reason == "x"`: "E108",
		`event.status == "x"`: "E108", `event.nope == 1`: "E104", `event.kind == "task"`: "E108", `event == nil`: "E104",
	} {
		_, err := Compile(Source{Text: text, Event: crm.ContactTagAdded, Scope: ScopeRun | ScopeTombstone})
		if d := Findings(err); len(d) != 1 || d[0].Code != code {
			t.Errorf("%s: %v, want %s", text, err, code)
		}
	}
	for _, kind := range []crm.EventKind{crm.ContactDeleted, crm.ContactRestored, crm.ContactPurged, crm.ContactHeld, "", "contact.tagadded"} {
		_, err := Compile(Source{Event: kind})
		if d := Findings(err); len(d) != 1 || d[0].Code != "E111" {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// ruleGen draws a condition on a tag event, most of which the index can use.
func ruleGen(depth int) *rapid.Generator[string] {
	tag := rapid.Map(rapid.SampledFrom([]string{"a", "A", "B ", "\u017f", "s", "k", "\u212a", "c"}), strconv.Quote)
	return rapid.Custom(func(t *rapid.T) string {
		n := 7
		if depth == 0 {
			n = 4
		}
		switch rapid.IntRange(0, n).Draw(t, "form") {
		case 0:
			return `event.tag == ` + tag.Draw(t, "tag")
		case 1:
			return tag.Draw(t, "tag") + ` == event.tag`
		case 2:
			return `event.tag in [` + strings.Join(rapid.SliceOfN(tag, 0, 3).Draw(t, "tags"), ", ") + `]`
		case 3:
			return `event.tag != ` + tag.Draw(t, "tag")
		case 4:
			if rapid.Bool().Draw(t, "field") {
				return `contact.fields.f == ` + tag.Draw(t, "tag")
			}
			return tag.Draw(t, "tag") + ` in contact.tags`
		case 5:
			return `not (` + ruleGen(depth-1).Draw(t, "not") + `)`
		case 6:
			return `(` + ruleGen(depth-1).Draw(t, "l") + ` or ` + ruleGen(depth-1).Draw(t, "r") + `)`
		default:
			return `(` + ruleGen(depth-1).Draw(t, "l") + ` and ` + ruleGen(depth-1).Draw(t, "r") + `)`
		}
	})
}

// The index never loses a rule, and keeps the order.
func TestIndexEqualsLinear(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := NewIndex[int]()
		var all []*Trigger
		for i, text := range rapid.SliceOfN(ruleGen(2), 1, 12).Draw(t, "rules") {
			kind := crm.ContactTagAdded
			if i%5 == 4 {
				kind = crm.ContactTagRemoved
			}
			tr, err := Compile(Source{Text: text, Event: kind})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, tr)
			x.Add(tr, i)
		}
		for _, tag := range []string{"a", "S", "K", "b", "d"} {
			ev := crm.Event{Kind: crm.ContactTagAdded, Rev: 1, Data: crm.EventData{Name: tag}, After: &crm.Contact{Tags: []crm.Tag{{Name: tag}, {Name: "c"}, {Name: "b", Absent: true}},
				Fields: []crm.Field{{Name: "f", Value: crm.Text(tag)}}}}
			te, _ := ev.Trigger(crm.Life{})
			var want, got []int
			for i, tr := range all {
				if d, _ := tr.Match(te, 1, nil); d.Matched {
					want = append(want, i)
				}
			}
			for _, e := range x.Candidates(&ev) {
				if d, _ := e.Trigger.Match(te, 1, nil); d.Matched {
					got = append(got, e.Payload)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("event %q: index %v, linear %v", tag, got, want)
			}
		}
	})
}

// The cost of an event grows with the rules that can match it.
func TestIndexIsNarrow(t *testing.T) {
	t.Parallel()
	x := NewIndex[int]()
	for i := range 300 {
		x.Add(compileTrigger(t, crm.ContactTagAdded, fmt.Sprintf(`event.tag == "tag %d" and "VIP" in contact.tags`, i)), i)
	}
	x.Add(compileTrigger(t, crm.ContactTagAdded, `event.tag in ["Tag 5", "x", "TAG 5"]`), 300)
	x.Add(compileTrigger(t, crm.ContactTagAdded, ``), 301)
	x.Add(compileTrigger(t, crm.ContactTagAdded, `(event.tag == "tag 5" or event.tag == "y") and contact.archived`), 302)
	x.Add(compileTrigger(t, crm.ContactTagAdded, `event.tag in ["a", "b"] and event.tag == "q"`), 303)
	x.Add(compileTrigger(t, crm.ContactListChanged, `event.status == "bounced"`), 304)
	x.Add(compileTrigger(t, crm.RecordCreated, `event.kind == "task"`), 305)
	for i := range 9 { // what the event says leaves the choice to the contact
		x.Add(compileTrigger(t, crm.RecordChanged, fmt.Sprintf(`event.kind == "note" and "tag %d" in contact.tags`, i)), 400+i)
		x.Add(compileTrigger(t, crm.ContactCreated, fmt.Sprintf(`contact.fields.plan in ["plan %d", "none"] and contact.email != ""`, i)), 410+i)
	}
	x.Add(compileTrigger(t, crm.ContactCreated, `"tag 1" in contact.tags or "tag 2" in contact.tags`), 420)
	known := &crm.Contact{Tags: []crm.Tag{{Name: "TAG 1"}, {Name: "tag 2"}, {Name: "tag 5", Absent: true}}, Fields: []crm.Field{{Name: "plan", Value: crm.Text("plan 3")}}}
	payloads := func(ev crm.Event) (all []int) {
		for _, e := range x.Candidates(&ev) {
			all = append(all, e.Payload)
		}
		return all
	}
	for _, c := range []struct {
		ev   crm.Event
		want []int
	}{
		{crm.Event{Kind: crm.ContactTagAdded, Data: crm.EventData{Name: "TAG 5"}}, []int{5, 300, 301, 302}},
		{crm.Event{Kind: crm.ContactTagAdded, Data: crm.EventData{Name: "a"}}, []int{301}},
		{crm.Event{Kind: crm.ContactTagAdded, Data: crm.EventData{Name: "q"}}, []int{301, 303}},
		{crm.Event{Kind: crm.ContactTagRemoved, Data: crm.EventData{Name: "tag 5"}}, nil},
		{crm.Event{Kind: crm.ContactListChanged, Data: crm.EventData{Value: "bounced"}}, []int{304}},
		{crm.Event{Kind: crm.ContactListChanged, Data: crm.EventData{Value: "x"}}, nil},
		{crm.Event{Kind: crm.RecordCreated, Data: crm.EventData{Kind: crm.Task}}, []int{305}},
		{crm.Event{Kind: crm.RecordChanged, Data: crm.EventData{Kind: crm.Note}, After: known}, []int{400, 401, 402}}, // 400 stands under the event's kind
		{crm.Event{Kind: crm.RecordChanged, Data: crm.EventData{Kind: crm.Task}, After: known}, []int{401, 402}},
		{crm.Event{Kind: crm.ContactCreated, After: known}, []int{413, 420}}, // 420 once
		{crm.Event{Kind: crm.ContactCreated}, nil},
	} {
		if got := payloads(c.ev); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.ev.Data, got, c.want)
		}
	}
	if x.Len() != 325 {
		t.Error(x.Len())
	}
}

// What compares tags without folding them finds the same.
func TestEqualFoldIsFold(t *testing.T) {
	t.Parallel()
	word := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ aAkKsS\x{17f}\x{212a}ßẞǅǆΣσς]{0,4}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		if got, want := strings.EqualFold(strings.TrimSpace(a), crm.Fold(b)), crm.Fold(a) == crm.Fold(b); got != want {
			t.Fatalf("%q and %q: %v, want %v", a, b, got, want)
		}
	})
}
