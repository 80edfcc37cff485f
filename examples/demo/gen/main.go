// Command gen writes the data of the demo: contacts.csv and associated.jsonl. It draws from a fixed
// seed and reads no clock, so each run writes the same bytes; a test holds the files to it.
//
// Nobody in the data exists: names are put together from syllables, addresses end in the domains that
// are reserved for examples, and numbers lie in 555-0100 to 555-0199, which belong to nobody.
//
// It must never read real data.
package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	dir := filepath.Join("examples", "demo")
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	g := generate()
	for name, text := range map[string][]byte{"contacts.csv": g.contacts(), "associated.jsonl": g.lines.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

const (
	people     = 5200
	candidates = 220 // with the tag "cleanup candidate"
	nurtured   = 80  // of the first 160 candidates, every second one
	companies  = 120
)

// header has HighLevel's names, ActiveCampaign's Lists and Campaigns, and two custom fields.
var header = []string{"Contact Id", "First Name", "Last Name", "Business Name", "Phone", "Email", "Created",
	"Last Activity", "Tags", "Source", "DND", "Lists", "Campaigns", "Plan", "Segment"}

// person is a row of contacts.csv.
type person struct {
	id, first, last, company, phone, email, created, active, source, dnd, plan, segment string
	tags, lists, campaigns                                                              []string
}

// line is a line of associated.jsonl.
type line struct {
	Kind      string   `json:"kind"`
	ID        string   `json:"id"`
	Contact   string   `json:"contact,omitempty"`
	Name      string   `json:"name,omitempty"`
	Title     string   `json:"title,omitempty"`
	Body      string   `json:"body,omitempty"`
	Stage     string   `json:"stage,omitempty"`
	Status    string   `json:"status,omitempty"`
	Cents     int64    `json:"value_cents,omitempty"`
	Contacts  []string `json:"contacts,omitempty"`
	Primary   string   `json:"primary,omitempty"`
	CreatedAt string   `json:"created_at,omitempty"`
	Due       string   `json:"due,omitempty"`
}

// generator holds what was made so far. Its draws are remainders of a PCG's output, both of which are
// specified, rather than a library's idea of a range, which may change.
type generator struct {
	from   *rand.PCG
	people []person
	lines  bytes.Buffer
	ids    int
}

func generate() *generator {
	g := &generator{from: rand.NewPCG(20250610, 60)}
	for i := range people {
		g.people = append(g.people, g.person(i))
	}
	for k := range candidates {
		g.candidate(k, &g.people[nth(k)])
	}
	g.companies()
	for i := range g.people {
		if !isCandidate(i) {
			g.records(i)
		}
	}
	for k := range candidates {
		g.candidateRecords(k)
	}
	return g
}

// nth gives the place of the k-th candidate: they are spread over the file.
func nth(k int) int { return 7 + 23*k }

func isCandidate(i int) bool { return i%23 == 7 && i < nth(candidates) }

func (g *generator) draw(n int) int { return int(g.from.Uint64() % uint64(n)) }

func (g *generator) oneIn(n int) bool { return g.draw(n) == 0 }

func (g *generator) pick(from []string) string { return from[g.draw(len(from))] }

// day draws an instant of the days from, up to to, counted from the start of 2022.
func (g *generator) day(from, to int) time.Time {
	start := time.Date(2022, 1, 1, 8, 0, 0, 0, time.UTC)
	return start.AddDate(0, 0, from+g.draw(to-from)).Add(time.Duration(g.draw(36000)) * time.Second)
}

// The days of the data: contacts come in until the end of September 2025, activity ends a month
// later, and what is due is due after that.
const (
	lastCreated = 1368
	lastActive  = 1399
	lastDue     = 1520
)

func (g *generator) name(least int) string {
	var b strings.Builder
	for range least + g.draw(2) {
		b.WriteString(g.pick(syllables))
	}
	return strings.ToUpper(b.String()[:1]) + b.String()[1:]
}

func (g *generator) person(i int) person {
	p := person{id: fmt.Sprintf("c%05d", i+1), first: g.name(2), last: g.name(2) + g.pick(endings),
		phone: fmt.Sprintf("+1%d55501%02d", 201+i/100, i%100),
		plan:  []string{"free", "free", "free", "pro", "team"}[g.draw(5)], source: g.pick(sources)}
	p.email = fmt.Sprintf("%s.%s.%d@example.%s", strings.ToLower(p.first), strings.ToLower(p.last), i+1, g.pick([]string{"com", "org", "net"}))
	p.created = g.day(0, lastCreated).Format(time.RFC3339)
	p.active = g.day(lastCreated, lastActive).Format(time.DateOnly)
	for _, list := range lists {
		if g.oneIn(3) {
			p.lists = append(p.lists, list+": "+statuses[g.draw(len(statuses))])
		}
	}
	if g.oneIn(9) {
		p.campaigns = []string{g.pick(campaigns)}
	}
	if i%13 == 4 && !isCandidate(i) {
		p.tags = append(p.tags, tags[i/13%len(tags)])
		if g.oneIn(4) {
			p.tags = append(p.tags, "newsletter")
		}
	}
	switch {
	case g.oneIn(40):
		p.dnd = "sms"
	case g.oneIn(60):
		p.dnd = "true"
	}
	return p
}

// candidate makes the k-th candidate rich in what a delete has to take along: a paid plan, a list, in
// half of the cases a campaign. None is a VIP, whom the cleanup would spare.
func (g *generator) candidate(k int, p *person) {
	p.tags, p.dnd, p.plan = []string{"cleanup candidate"}, "", []string{"pro", "team"}[k%2]
	if k%2 == 0 {
		p.tags = append(p.tags, "customer")
	}
	if len(p.lists) == 0 {
		p.lists = []string{lists[k%len(lists)] + ": " + statuses[k%len(statuses)]}
	}
	p.campaigns = nil
	if k%2 == 1 {
		p.campaigns = []string{campaigns[k/2%2]}
	}
	if k%10 == 3 {
		p.campaigns = campaigns
	}
	if k%2 == 0 && k < 2*nurtured {
		p.segment = "nurture"
	}
}

// companies puts every fourth contact into a company; ActiveCampaign calls it an account.
func (g *generator) companies() {
	members := make([][]string, companies)
	names := make([]string, companies)
	for c := range names {
		names[c] = g.name(2) + " " + g.pick(trades)
	}
	for i := range g.people {
		if i%4 == 2 {
			c := i / 4 % companies
			g.people[i].company = names[c]
			members[c] = append(members[c], g.people[i].id)
		}
	}
	for c, name := range names {
		g.put(line{Kind: "company", Name: name, Contacts: members[c]})
	}
}

// put writes a line under the next id.
func (g *generator) put(l line) {
	g.ids++
	l.ID = fmt.Sprintf("%s%05d", l.Kind[:4], g.ids)
	text, err := json.Marshal(l)
	if err != nil {
		log.Fatal(err) // a struct of texts: cannot happen
	}
	g.lines.Write(append(text, '\n'))
}

func (g *generator) record(kind string, contact int) {
	l := line{Kind: kind, Contact: g.people[contact].id, CreatedAt: g.day(lastCreated, lastActive).Format(time.RFC3339)}
	switch kind {
	case "note":
		l.Body = g.pick(notes)
	case "conversation":
		l.Title, l.Body = g.pick([]string{"E-mail", "SMS", "Chat"}), g.pick(messages)
		l.Status = g.pick([]string{"open", "closed"})
	default:
		l.Title = g.pick(map[string][]string{"task": tasks, "appointment": appointments, "manual_action": manual}[kind])
		l.Due = g.day(lastActive, lastDue).Format(time.RFC3339)
		l.Status = "open"
	}
	g.put(l)
}

// opportunity writes an opportunity of some contacts; the first is its primary.
func (g *generator) opportunity(of ...int) {
	l := line{Kind: "opportunity", Name: g.pick(deals), Stage: g.pick([]string{"new", "qualified", "proposal", "negotiation"}),
		Status: "open", Cents: int64(100 * (50 + g.draw(20000)))}
	for _, i := range of {
		l.Contacts = append(l.Contacts, g.people[i].id)
	}
	l.Primary = l.Contacts[0]
	g.put(l)
}

// records writes what hangs on somebody who is no candidate.
func (g *generator) records(i int) {
	for _, r := range []struct {
		kind string
		in   int
	}{{"note", 2}, {"conversation", 7}, {"task", 9}, {"appointment", 14}, {"manual_action", 22}} {
		if g.oneIn(r.in) {
			g.record(r.kind, i)
		}
	}
	if g.oneIn(14) {
		g.opportunity(i)
	}
}

// candidateRecords writes what hangs on the k-th candidate: one to three notes, and of three
// candidates one shares an opportunity with somebody outside, who is its primary every other time,
// and one has an opportunity alone. Twenty pairs share one with each other only, so that whether it
// comes back must not depend on who of the two does first.
func (g *generator) candidateRecords(k int) {
	i := nth(k)
	for range 1 + k%3 {
		g.record("note", i)
	}
	for j, kind := range []string{"task", "conversation", "appointment", "manual_action"} {
		if k%(j+2) != 0 {
			g.record(kind, i)
		}
	}
	switch other := i + 1; {
	case k%6 == 0:
		g.opportunity(i, other)
	case k%6 == 3:
		g.opportunity(other, i)
	case k%3 == 1:
		g.opportunity(i)
	}
	if k%11 == 5 {
		g.opportunity(i, nth(k-1))
	}
}

// contacts gives contacts.csv.
func (g *generator) contacts() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{header}
	for _, p := range g.people {
		rows = append(rows, []string{p.id, p.first, p.last, p.company, p.phone, p.email, p.created, p.active,
			strings.Join(p.tags, ", "), p.source, p.dnd, strings.Join(p.lists, "; "), strings.Join(p.campaigns, "; "), p.plan, p.segment})
	}
	if err := w.WriteAll(rows); err != nil {
		log.Fatal(err)
	}
	return b.Bytes()
}
