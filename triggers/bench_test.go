package triggers

import (
	"fmt"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(Source{Text: `event.tag == "x" and not ("VIP" in contact.tags)`, Event: crm.ContactTagAdded}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	ev := happened(b, crm.Event{Kind: crm.ContactTagAdded, Data: crm.EventData{Name: "Unsubscribed"}})
	for name, text := range map[string]string{
		"hit":       `event.tag == "unsubscribed" and not ("VIP" in contact.tags)`,
		"miss":      `event.tag == "other" and not ("VIP" in contact.tags)`,
		"predicate": `any(contact.tags, # == "straße")`,
		"field":     `contact.fields.age > 18`,
	} {
		t := compileTrigger(b, crm.ContactTagAdded, text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := t.Match(ev, 1, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One rule in a hundred says nothing that the index can use.
func BenchmarkIndex(b *testing.B) {
	kinds := []crm.EventKind{crm.ContactTagAdded, crm.ContactTagRemoved}
	ev := happened(b, crm.Event{Kind: crm.ContactTagAdded, Data: crm.EventData{Name: "Tag 0"}})
	for _, n := range []int{1, 100, 10_000} {
		x := NewIndex[int]()
		var all []*Trigger
		for i := range n {
			text := fmt.Sprintf(`event.tag == "tag %d" and not ("VIP" in contact.tags)`, i)
			if i%100 == 50 {
				text = `"VIP" in contact.tags`
			}
			t := compileTrigger(b, kinds[i%2], text)
			all = append(all, t)
			x.Add(t, i)
		}
		match := func(b *testing.B, t *Trigger) {
			if _, err := t.Match(ev, 1, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("index/%d", n), func(b *testing.B) {
			for b.Loop() {
				for _, e := range x.Candidates(ev.Event()) {
					match(b, e.Trigger)
				}
			}
		})
		b.Run(fmt.Sprintf("linear/%d", n), func(b *testing.B) {
			for b.Loop() {
				for _, t := range all {
					match(b, t)
				}
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, cron := range []string{"*/5 * * * *", "30 2 * * *", "0 0 29 2 *"} {
		s := schedule(b, ScheduleSpec{Cron: cron, Zone: "Europe/Berlin"})
		b.Run(cron, func(b *testing.B) {
			at := crm.Nanos(0)
			for b.Loop() {
				if at = s.Next(at); at > 1<<62 {
					at = 0
				}
			}
		})
	}
}
