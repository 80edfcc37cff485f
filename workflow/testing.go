package workflow

import "github.com/reprieve-run/reprieve/crm"

// Test is one case of a workflow file's tests: people, what happens to them in virtual time, and what
// has to come of it. It is data: whoever runs it brings the store, the engine and the clock.
type Test struct {
	Name     string
	Now      crm.Nanos         // when the case begins; 0: the runner's choice
	Contacts []TestContact     // at least one; what names no contact means the first
	Mocks    map[string][]Mock // by action: used up in order
	Do       []TestItem        // in order; the case's own expect is the last
	Line     int               // 1-based, of the name
}

// TestContact is a contact as a case finds it. ID is the case's own name for it.
type TestContact struct {
	ID, Email, Phone, ExternalID string
	Tags                         []string
	Lists                        map[string]crm.Status // by name
	Fields                       map[string]crm.Value
}

// TestItem is one thing that happens: exactly one of Send, Advance, Delete, Restore and Expect is set.
type TestItem struct {
	Contact string // whose; the ID of a TestContact
	Send    *Send
	Advance crm.Nanos // time passes, and on the way what is due happens
	Delete  bool      // the contact is deleted, by a person or by the workflow By
	By      string    // of Delete: the id of another workflow, or of this one
	Reason  string    // of Delete
	Restore bool      // a person restores it
	Expect  *Expect
	Line    int // 1-based
}

// Send is an event, brought about by the change that causes it.
type Send struct {
	Event  crm.EventKind
	Name   string          // tag, field, address, list, channel, campaign or kind of record
	Value  crm.Value       // of a field or an address; the zero Value removes it
	Status string          // of a list, where "" takes the contact off, or of a record
	On     bool            // of do-not-disturb and of archiving
	Record map[string]bool // which of title, body and status a change of a record names
	Title  string
	Body   string
}

// Mock is what an action comes to without being executed.
type Mock struct {
	Status        string // done, fail, skip or retry
	Output        []byte // JSON, of done
	Code, Message string
	After         crm.Nanos // of retry
	Times         int       // for so many calls; 0: for all
}

// Expect is what must hold; what it does not name may be anything.
type Expect struct {
	Run      *ExpectRun
	Runs     *int      // how many runs there were for the contact
	Actions  *[]string // the actions that were called, in order, each step once
	Contacts []ExpectContact
}

// ExpectRun is about the contact's latest run. What is "" may be anything.
type ExpectRun struct{ Status, Reason, Step string }

// ExpectContact is about one contact: tags, lists and fields are those that must be there among others.
type ExpectContact struct {
	ID                        string
	Tags, NotTags             []string
	Lists                     map[string]crm.Status // "" : not on it
	Fields                    map[string]crm.Value  // the zero Value: not there
	Deleted, Purged, Archived *bool
}
