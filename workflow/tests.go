package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"go.yaml.in/yaml/v3"
)

// testReader reads one case. Refer to contacts and steps by names that exist: a case that expects
// something of a misspelt step would hold for ever.
type testReader struct {
	*reader
	w        *Workflow
	contacts []string // the ids of the case's contacts
}

// tests reads the tests: block; the steps have been read before it.
func (r *reader) tests(w *Workflow, e entry) {
	lines := map[string]int{}
	for _, n := range r.list(e) {
		t := testReader{reader: r, w: w}
		if test, ok := t.test(n, lines); ok {
			w.Tests = append(w.Tests, test)
		}
	}
}

var testKeys = keys{"name": "", "now": "", "contact": "", "contacts": "", "mocks": "", "send": "", "advance": "", "delete": "",
	"restore": "", "then": "", "expect": ""}

func (r *testReader) test(n *yaml.Node, lines map[string]int) (t Test, ok bool) {
	got := r.fields(n, "a test", testKeys)
	if got == nil {
		return t, false
	}
	r.need(n, "a test", got, "name", "expect")
	if e, ok := got["name"]; ok {
		if t.Name, ok = r.text(e); ok && lines[t.Name] > 0 {
			r.fail(codeTwice, r.span(e.val), "give each test its own name", "the test %q is already on line %d", t.Name, lines[t.Name])
		}
		t.Line, lines[t.Name] = e.val.Line, e.val.Line
	}
	if e, ok := got["now"]; ok && r.scalar(e) {
		at, err := time.Parse(time.RFC3339, e.val.Value)
		if err != nil {
			r.fail(codeValue, r.span(e.val), "write an instant, as in 2026-03-02T09:00:00Z", "now is not an instant")
		}
		t.Now = crm.At(at)
	}
	r.people(&t, n, got)
	if e, ok := got["mocks"]; ok {
		t.Mocks = r.mocks(e)
	}
	for i := 0; i < len(n.Content); i += 2 { // in the order of the file
		key := n.Content[i].Value
		switch e, ok := got[key]; {
		case !ok || e.key != n.Content[i]:
		case key == "then":
			for _, item := range r.list(e) {
				t.Do = append(t.Do, r.items(item)...)
			}
		case slices.Contains(itemKinds, key) && key != "expect":
			t.Do = append(t.Do, r.item(e))
		}
	}
	if e, ok := got["expect"]; ok {
		t.Do = append(t.Do, r.item(e))
	}
	r.createdFirst(&t)
	return t, true
}

// createdFirst refuses a contact that is created after something happened to it.
func (r *testReader) createdFirst(t *Test) {
	seen := map[string]bool{}
	for _, it := range t.Do {
		if it.Send != nil && it.Send.Event == crm.ContactCreated && seen[it.Contact] {
			r.fail(codeValue, span{it.Line, 1, 1}, "put it first", "the contact %s is there already when it is created", it.Contact)
		}
		seen[it.Contact] = true
	}
}

// people reads contact: or contacts:. Without either there is a contact of whom nothing is known.
func (r *testReader) people(t *Test, n *yaml.Node, got map[string]entry) {
	one, has := got["contact"]
	many, several := got["contacts"]
	switch {
	case has && several:
		r.fail(codeOneOf, r.span(many.key), "put all of them under contacts", "a test has either contact or contacts")
	case has:
		t.Contacts = append(t.Contacts, r.contact(one.val))
	case several:
		items := r.list(many)
		for _, c := range items {
			t.Contacts = append(t.Contacts, r.contact(c))
		}
	}
	if len(t.Contacts) == 0 {
		t.Contacts = []TestContact{{}}
	}
	for i := range t.Contacts {
		c := &t.Contacts[i]
		if c.ID == "" {
			c.ID = "c" + strconv.Itoa(i+1)
		}
		if slices.Contains(r.contacts, c.ID) {
			r.fail(codeTwice, r.span(n), "give each contact its own id", "two contacts of the test have the id %s", c.ID)
		}
		r.contacts = append(r.contacts, c.ID)
	}
}

var contactKeys = keys{"id": "", "email": "", "phone": "", "external_id": "", "tags": "", "lists": "", "fields": ""}

func (r *testReader) contact(n *yaml.Node) (c TestContact) {
	got := r.fields(n, "a contact", contactKeys)
	for key, to := range map[string]*string{"id": &c.ID, "email": &c.Email, "phone": &c.Phone, "external_id": &c.ExternalID} {
		if e, ok := got[key]; ok {
			*to, _ = r.text(e)
		}
	}
	c.Tags = r.words(got["tags"])
	c.Lists, c.Fields = r.lists(got["lists"], false), r.values(got["fields"])
	return c
}

// words reads a list of texts; the empty entry has none.
func (r *testReader) words(e entry) []string {
	words := []string{}
	for _, n := range r.list(e) {
		if w, ok := r.text(entry{e.key, n}); ok {
			words = append(words, w)
		}
	}
	return words
}

// pairs gives the entries of a mapping whose keys are anybody's.
func (r *testReader) pairs(e entry) (all []entry) {
	if e.val == nil {
		return nil
	}
	if e.val.Kind != yaml.MappingNode {
		r.fields(e.val, e.key.Value, nil)
		return nil
	}
	for i := 0; i+1 < len(e.val.Content); i += 2 {
		all = append(all, entry{e.val.Content[i], e.val.Content[i+1]})
	}
	return all
}

var statuses = []string{string(crm.Subscribed), string(crm.Unsubscribed), string(crm.Unconfirmed), string(crm.Bounced)}

// lists reads lists by name; none says whether the status none may be.
func (r *testReader) lists(e entry, none bool) map[string]crm.Status {
	out := map[string]crm.Status{}
	for _, p := range r.pairs(e) {
		words := statuses
		if none {
			words = append(slices.Clip(words), "none")
		}
		s := r.oneOf(p, words...)
		if s == "none" {
			s = ""
		}
		out[p.key.Value] = crm.Status(s)
	}
	return out
}

func (r *testReader) values(e entry) map[string]crm.Value {
	out := map[string]crm.Value{}
	for _, p := range r.pairs(e) {
		out[p.key.Value] = r.fieldValue(p)
	}
	return out
}

// fieldValue reads a field's value: text, a number, true or false, an instant, a list of texts, or null for
// none.
func (r *testReader) fieldValue(e entry) crm.Value {
	n := e.val
	switch {
	case n.Kind == yaml.SequenceNode:
		return crm.Value{Kind: crm.ListValue, List: r.words(e)}
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return crm.Value{}
	case !r.scalar(e):
		return crm.Value{}
	}
	switch n.Tag {
	case "!!bool":
		return crm.Value{Kind: crm.BoolValue, Bool: n.Value[0] == 't' || n.Value[0] == 'T'}
	case "!!int", "!!float":
		f, err := strconv.ParseFloat(n.Value, 64)
		if err == nil && (integer.MatchString(n.Value) || fraction.MatchString(n.Value)) {
			return crm.Number(f)
		}
		r.fail(codeNumber, r.span(n), "write '"+n.Value+"' in quotes if it is meant as text", "this is not a plain decimal number, and would change its value")
	case "!!timestamp":
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if at, err := time.Parse(layout, n.Value); err == nil {
				return crm.Value{Kind: crm.InstantValue, At: crm.At(at)}
			}
		}
		r.fail(codeValue, r.span(n), "write 2026-03-02 or 2026-03-02T09:00:00Z, or put a text in quotes", "this instant cannot be read")
	default:
		return crm.Text(n.Value)
	}
	return crm.Value{}
}

// actions gives the names of the actions that the workflow's steps call, each once.
func (w *Workflow) actions() []string {
	var names []string
	for _, n := range w.Nodes {
		if n.Kind == Action && n.Action != "" {
			names = append(names, n.Action)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// known refuses a word that is none of those that exist.
func (r *testReader) known(what string, n *yaml.Node, words []string) {
	if !slices.Contains(words, n.Value) {
		r.fail(codeValue, r.span(n), meant(n.Value, words), "%s %q", what, n.Value)
	}
}

func (r *testReader) mocks(e entry) map[string][]Mock {
	out := map[string][]Mock{}
	for _, p := range r.pairs(e) {
		r.known("no step calls the action", p.key, r.w.actions())
		nodes := []*yaml.Node{p.val}
		if p.val.Kind == yaml.SequenceNode {
			nodes = p.val.Content
		}
		for _, n := range nodes {
			out[p.key.Value] = append(out[p.key.Value], r.mock(n))
		}
	}
	return out
}

var mockKeys = keys{"status": "", "output": "", "code": "", "message": "", "after": "", "times": ""}

func (r *testReader) mock(n *yaml.Node) (m Mock) {
	got := r.fields(n, "a mock", mockKeys)
	if got == nil {
		return m
	}
	r.need(n, "a mock", got, "status")
	if e, ok := got["status"]; ok {
		m.Status = r.oneOf(e, "done", "fail", "skip", "retry")
	}
	for key, with := range map[string][]string{"output": {"done"}, "code": {"fail", "retry"}, "message": {"fail", "skip", "retry"}, "after": {"retry"}} {
		if e, ok := got[key]; ok && m.Status != "" && !slices.Contains(with, m.Status) {
			r.fail(codeKey, r.span(e.key), "leave it out", "%s does not go with the status %s", key, m.Status)
		}
	}
	if e, ok := got["output"]; ok {
		raw, err := json.Marshal(r.plain(e.val))
		if err != nil {
			r.fail(codeValue, r.span(e.val), "write what JSON can hold", "the output cannot be written as JSON")
		}
		m.Output = raw
	}
	if e, ok := got["code"]; ok {
		m.Code, _ = r.text(e)
	}
	if e, ok := got["message"]; ok {
		m.Message, _ = r.text(e)
	}
	if e, ok := got["after"]; ok {
		m.After = r.duration(e)
	}
	if e, ok := got["times"]; ok {
		m.Times = r.count(e, 1)
	}
	if m.Status == "fail" && m.Code == "" {
		m.Code = "failed"
	}
	return m
}

// count reads a whole number of at least the least.
func (r *testReader) count(e entry, least int) int {
	if !r.scalar(e) {
		return 0
	}
	n, err := strconv.Atoi(e.val.Value)
	if err != nil || n < least || n > 1_000_000 {
		r.fail(codeValue, r.span(e.val), fmt.Sprintf("write a whole number from %d on", least), "%s cannot be %q", e.key.Value, e.val.Value)
		return 0
	}
	return n
}

// plain gives a node as JSON would hold it.
func (r *testReader) plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = r.plain(c)
		}
		return out
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = r.plain(n.Content[i+1])
		}
		return out
	case yaml.ScalarNode:
		if n.Tag == "!!timestamp" || n.Tag == "!!str" {
			return n.Value
		}
		return r.fieldValue(entry{n, n}).Any()
	}
	return nil
}
