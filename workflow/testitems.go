package workflow

import (
	"maps"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"go.yaml.in/yaml/v3"
)

// itemKinds are the things that can happen in a case.
var itemKinds = []string{"send", "advance", "delete", "restore", "expect"}

// items reads an item of then: which may say several things; they happen in the order of the file.
func (r *testReader) items(n *yaml.Node) (all []TestItem) {
	got := r.fields(n, "an item of then", keys{"send": "", "advance": "", "delete": "", "restore": "", "expect": "",
		"then": "the items are one list: write it behind this one"})
	if got != nil && len(got) == 0 && len(n.Content) == 0 {
		r.fail(codeOneOf, r.span(n), "add one of send, advance, delete, restore and expect", "nothing happens here")
	}
	for i := 0; i < len(n.Content); i += 2 {
		if e, ok := got[n.Content[i].Value]; ok && e.key == n.Content[i] {
			all = append(all, r.item(e))
		}
	}
	return all
}

func (r *testReader) item(e entry) TestItem {
	it := TestItem{Line: e.key.Line, Contact: r.contacts[0]}
	switch e.key.Value {
	case "send":
		it.Send = r.send(&it, e.val)
	case "advance":
		if it.Advance = r.duration(e); it.Advance == 0 && r.kindIs(e, yaml.ScalarNode) {
			it.Advance = 1 // said already, or nothing that could be waited for
		}
	case "delete", "restore":
		it.Delete, it.Restore = e.key.Value == "delete", e.key.Value == "restore"
		if it.Delete && e.val.Kind == yaml.MappingNode {
			r.deletion(&it, e.val)
		} else {
			r.whose(&it, e)
		}
	case "expect":
		it.Expect = r.expect(&it, e.val)
	}
	return it
}

func (r *testReader) kindIs(e entry, k yaml.Kind) bool { return e.val != nil && e.val.Kind == k }

// whose reads true, for the first contact, or a contact's id.
func (r *testReader) whose(it *TestItem, e entry) {
	if !r.scalar(e) || e.val.Tag == "!!bool" && e.val.Value == "true" {
		return
	}
	r.named(it, e)
}

// deletion reads who deletes whom, and why.
func (r *testReader) deletion(it *TestItem, n *yaml.Node) {
	got := r.fields(n, "delete", keys{"contact": "", "workflow": "", "reason": ""})
	if e, ok := got["contact"]; ok {
		r.named(it, e)
	}
	if e, ok := got["workflow"]; ok {
		it.By = r.id(e, workflowID, workflowIDHint)
	}
	if e, ok := got["reason"]; ok {
		it.Reason, _ = r.text(e)
	}
}

// named reads the id of one of the case's contacts.
func (r *testReader) named(it *TestItem, e entry) {
	if !r.scalar(e) {
		return
	}
	if r.known("the test has no contact", e.val, r.contacts); slices.Contains(r.contacts, e.val.Value) {
		it.Contact = e.val.Value
	}
}

// sendKeys says which keys go with an event, besides event and contact; the first of them is needed.
var sendKeys = map[crm.EventKind][]string{
	crm.ContactCreated:      nil,
	crm.ContactTagAdded:     {"tag"},
	crm.ContactTagRemoved:   {"tag"},
	crm.ContactFieldChanged: {"field", "value"},
	crm.ContactIdentity:     {"field", "value"},
	crm.ContactListChanged:  {"list", "status"},
	crm.ContactDNDChanged:   {"channel", "on"},
	crm.ContactArchived:     {"on"},
	crm.RecordCreated:       {"kind", "title", "body", "status"},
	crm.RecordChanged:       {"kind", "title", "body", "status"},
	crm.RecordDeleted:       {"kind"},
	crm.CampaignEnrolled:    {"campaign"},
	crm.CampaignLeft:        {"campaign"},
}

func (r *testReader) send(it *TestItem, n *yaml.Node) *Send {
	s := &Send{On: true, Record: map[string]bool{}}
	if n.Kind == yaml.MappingNode && r.hasKey(n, "webhook") {
		r.sendRequest(it, s, n)
		return s
	}
	anyKey := keys{"event": "", "contact": ""}
	for _, names := range sendKeys {
		anyKey.add("", names...)
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "event" {
				s.Event = crm.EventKind(n.Content[i+1].Value)
			}
		}
	}
	names, is := sendKeys[s.Event]
	if is {
		anyKey = keys{"event": "", "contact": ""}
		anyKey.add("", names...)
	}
	got := r.fields(n, "send", anyKey)
	if got == nil {
		return s
	}
	if e, ok := got["contact"]; ok {
		r.named(it, e)
	}
	r.need(n, "send", got, "event")
	if e, ok := got["event"]; ok && !is {
		kinds := []string{}
		for k := range maps.Keys(sendKeys) {
			kinds = append(kinds, string(k))
		}
		slices.Sort(kinds)
		r.oneOf(e, kinds...)
	}
	if is {
		r.sent(s, n, names, got)
	}
	return s
}

// sent reads what goes with the event.
func (r *testReader) sent(s *Send, n *yaml.Node, names []string, got map[string]entry) {
	if len(names) > 0 && s.Event != crm.ContactArchived {
		r.need(n, "send", got, names[0])
	}
	for key, e := range got {
		switch key {
		case "tag", "list", "channel", "campaign":
			s.Name, _ = r.text(e)
		case "field":
			if s.Event == crm.ContactIdentity {
				s.Name = r.oneOf(e, "email", "phone", "external_id")
			} else {
				s.Name, _ = r.text(e)
			}
		case "kind":
			var words []string
			for _, k := range crm.RecordKinds {
				if k != crm.Message { // it needs a conversation
					words = append(words, k.String())
				}
			}
			s.Name = r.oneOf(e, words...)
		case "value":
			s.Value = r.fieldValue(e)
		case "title":
			s.Title, s.Record[key] = r.anyText(e), true
		case "body":
			s.Body, s.Record[key] = r.anyText(e), true
		case "status":
			if s.Status, s.Record[key] = r.anyText(e), true; s.Event == crm.ContactListChanged {
				if s.Status = r.oneOf(e, append(slices.Clip(statuses), "none")...); s.Status == "none" {
					s.Status = ""
				}
			}
		case "on":
			s.On = *r.truth(e)
		}
	}
}

func (r *testReader) anyText(e entry) string {
	s, _ := r.text(e)
	return s
}

// truth reads true or false; never nil.
func (r *testReader) truth(e entry) *bool {
	v := r.oneOf(e, "true", "false") == "true"
	return &v
}

var expectKeys = keys{"run": "", "runs": "", "actions": "", "contact": "", "contacts": ""}

func (r *testReader) expect(it *TestItem, n *yaml.Node) *Expect {
	x := &Expect{}
	got := r.fields(n, "expect", expectKeys)
	if got != nil && len(got) == 0 && len(n.Content) == 0 {
		r.fail(codeMissing, r.span(n), "add run, runs, actions or contact", "nothing is expected")
	}
	if e, ok := got["run"]; ok {
		x.Run = r.expectRun(e.val)
	}
	if e, ok := got["runs"]; ok {
		c := r.count(e, 0)
		x.Runs = &c
	}
	if e, ok := got["actions"]; ok {
		names := r.words(e)
		for _, item := range r.list(e) {
			if item.Kind == yaml.ScalarNode {
				r.known("no step calls the action", item, r.w.actions())
			}
		}
		x.Actions = &names
	}
	if e, ok := got["contact"]; ok {
		x.Contacts = append(x.Contacts, r.expectContact(it, e.val))
	}
	if e, ok := got["contacts"]; ok {
		for _, item := range r.list(e) {
			x.Contacts = append(x.Contacts, r.expectContact(it, item))
		}
	}
	return x
}

var runStatuses = []string{string(crm.RunActive), string(crm.RunWaiting), string(crm.RunQueued), string(crm.RunSuspended), string(crm.RunCompleted),
	string(crm.RunExited), string(crm.RunFailed), string(crm.RunCancelled)}

func (r *testReader) expectRun(n *yaml.Node) *ExpectRun {
	x := &ExpectRun{}
	got := r.fields(n, "run", keys{"status": "", "reason": "", "step": ""})
	if e, ok := got["status"]; ok {
		x.Status = r.oneOf(e, runStatuses...)
	}
	if e, ok := got["reason"]; ok {
		x.Reason, _ = r.text(e)
	}
	if e, ok := got["step"]; ok && r.scalar(e) {
		x.Step = e.val.Value
		ids := make([]string, len(r.w.Nodes))
		for i, node := range r.w.Nodes {
			ids[i] = node.ID
		}
		r.known("there is no step", e.val, ids)
	}
	return x
}

func (r *testReader) expectContact(it *TestItem, n *yaml.Node) ExpectContact {
	x := ExpectContact{ID: it.Contact}
	got := r.fields(n, "contact", keys{"id": "", "tags": "", "not_tags": "", "fields": "", "lists": "", "deleted": "", "purged": "", "archived": ""})
	if e, ok := got["id"]; ok {
		who := TestItem{Contact: x.ID}
		r.named(&who, e)
		x.ID = who.Contact
	}
	x.Tags, x.NotTags = r.words(got["tags"]), r.words(got["not_tags"])
	x.Lists, x.Fields = r.lists(got["lists"], true), r.values(got["fields"])
	for key, to := range map[string]**bool{"deleted": &x.Deleted, "purged": &x.Purged, "archived": &x.Archived} {
		if e, ok := got[key]; ok {
			*to = r.truth(e)
		}
	}
	return x
}
