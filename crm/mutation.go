package crm

import (
	"slices"
	"strings"
)

// A Mutation is one change to one contact. The set is closed: there is no way to put a whole
// contact, and a restore is a single mutation, so what comes back with it never passes through the
// mutations that announce a tag or a membership as new.
type Mutation interface {
	// Target is the contact that changes.
	Target() Key
	mutation()
}

// The mutations of facts. Each changes one fact and announces it by one event; one that changes
// nothing announces nothing.
type (
	// AddTag adds a tag; a tag that is there in any spelling stays as it is.
	AddTag struct {
		Contact Key
		Tag     string
	}
	// RemoveTag removes a tag in any spelling.
	RemoveTag struct {
		Contact Key
		Tag     string
	}
	// SetField sets a field, or removes it when the value is the zero Value.
	SetField struct {
		Contact Key
		Name    string
		Value   Value
	}
	// SetIdentity sets email, phone or external_id, or removes it when empty.
	SetIdentity struct {
		Contact Key
		Name    string
		Value   string
	}
	// SetMembership puts the contact on a list with a status, or takes it off when the status is empty.
	SetMembership struct {
		Contact Key
		List    ItemID
		Name    string // the list's, for the event
		Status  Status
		// Resubscribe lets a workflow put somebody back who has opted out of the list. People may anyway, and
		// imports never do.
		Resubscribe bool
	}
	// SetDND switches do-not-disturb for a channel.
	SetDND struct {
		Contact Key
		Channel string
		On      bool
	}
	// Archive sets or clears the archived flag: the contact stays live.
	Archive struct {
		Contact Key
		On      bool
	}
)

// The mutations of what hangs on a contact.
type (
	// PutRecord adds an associated record.
	PutRecord struct{ Record Record }
	// ChangeRecord changes what is named of a record; nil stays as it is.
	ChangeRecord struct {
		Record              ItemKey
		Title, Body, Status *string
		Due                 *Nanos
	}
	// DeleteRecord deletes one record on its own; no restore of the contact brings it back.
	DeleteRecord struct{ Record ItemKey }
	// Connect links the contact to an opportunity, a company or a campaign that exists. Connecting with
	// Primary again makes it the opportunity's primary contact.
	Connect struct {
		Contact Key
		Kind    ItemKind
		Object  ItemID
		Primary bool  // an opportunity's primary contact
		Due     Nanos // a campaign: when its next message is due
	}
	// Disconnect takes the contact out of an opportunity, a company or a campaign.
	Disconnect struct {
		Contact Key
		Kind    ItemKind
		Object  ItemID
	}
	// Activity notes that a campaign's message was sent, opened or clicked, and counts it for good.
	Activity struct {
		Contact  Key
		Campaign ItemID
		What     ActivityKind
		Next     Nanos // after a sending: when the following message is due; 0: there is none
	}
	// ResumeEnrollment makes a campaign enrollment that a restore left suspended runnable again.
	ResumeEnrollment struct {
		Contact  Key
		Campaign ItemID
		Overdue  Overdue
	}
)

// ActivityKind is what became of a campaign's message.
type ActivityKind string

// The activities. Only an enrollment that is runnable sends.
const (
	MessageSent    ActivityKind = "sent"
	MessageOpened  ActivityKind = "opened"
	MessageClicked ActivityKind = "clicked"
)

// Overdue says what becomes of a wait that ended, or a message that came due, while a run or an
// enrollment could not go on. It belongs to the act of resuming, never to the restore.
type Overdue string

// The ways to go on.
const (
	OverdueSkip  Overdue = "skip"  // what is overdue does not happen: the run ends, the message is left out
	OverdueShift Overdue = "shift" // every due time moves by as long as it stood still
	OverdueFire  Overdue = "fire"  // what is overdue happens now
)

// Valid says whether it is one of the three.
func (o Overdue) Valid() bool { return o == OverdueSkip || o == OverdueShift || o == OverdueFire }

// The mutations of a life.
type (
	// Create makes a live contact with its facts at revision 1.
	Create struct{ Contact Contact }
	// Delete hides the contact and everything that hangs on it until a restore or a purge.
	Delete struct {
		Contact  Key
		Reason   string
		Exported string // the sha256 of an export of it, in hex, where the policy wants one first
	}
	// Restore brings back exactly what the delete took, and starts nothing.
	Restore struct {
		Contact Key
		Reason  string
	}
	// Purge removes the contact for good: only past its deadline, unless it is an erasure.
	Purge struct {
		Contact Key
		Reason  string
		Erasure bool
	}
	// Discard removes what restores did not bring back, past its deadline.
	Discard struct{ Contact Key }
	// Hold puts a legal hold on the contact, deleted or not, or lifts it.
	Hold struct {
		Contact Key
		On      bool
		Reason  string
	}
)

// Target implements Mutation.
func (m AddTag) Target() Key           { return m.Contact }
func (m RemoveTag) Target() Key        { return m.Contact }
func (m SetField) Target() Key         { return m.Contact }
func (m SetIdentity) Target() Key      { return m.Contact }
func (m SetMembership) Target() Key    { return m.Contact }
func (m SetDND) Target() Key           { return m.Contact }
func (m Archive) Target() Key          { return m.Contact }
func (m PutRecord) Target() Key        { return Key{m.Record.Account, m.Record.Contact} }
func (m ChangeRecord) Target() Key     { return Key{m.Record.Account, m.Record.Contact} }
func (m DeleteRecord) Target() Key     { return Key{m.Record.Account, m.Record.Contact} }
func (m Connect) Target() Key          { return m.Contact }
func (m Disconnect) Target() Key       { return m.Contact }
func (m Activity) Target() Key         { return m.Contact }
func (m ResumeEnrollment) Target() Key { return m.Contact }
func (m Discard) Target() Key          { return m.Contact }
func (m Create) Target() Key           { return m.Contact.Key() }
func (m Delete) Target() Key           { return m.Contact }
func (m Restore) Target() Key          { return m.Contact }
func (m Purge) Target() Key            { return m.Contact }
func (m Hold) Target() Key             { return m.Contact }

func (AddTag) mutation()           {}
func (RemoveTag) mutation()        {}
func (SetField) mutation()         {}
func (SetIdentity) mutation()      {}
func (SetMembership) mutation()    {}
func (SetDND) mutation()           {}
func (Archive) mutation()          {}
func (PutRecord) mutation()        {}
func (DeleteRecord) mutation()     {}
func (Connect) mutation()          {}
func (ChangeRecord) mutation()     {}
func (Disconnect) mutation()       {}
func (Activity) mutation()         {}
func (ResumeEnrollment) mutation() {}
func (Discard) mutation()          {}
func (Create) mutation()           {}
func (Delete) mutation()           {}
func (Restore) mutation()          {}
func (Purge) mutation()            {}
func (Hold) mutation()             {}

// ChangeFact carries out a mutation of a fact on c, which must be the caller's own copy. The changed
// fact gets revision rev. A removed fact stays as absent when keepAbsent is set, which it is once
// the contact has been restored. It reports the event to announce, and false when nothing changed
// or m is no mutation of a fact. Only the store calls it.
func ChangeFact(c *Contact, m Mutation, rev uint64, at Nanos, keepAbsent bool) (EventKind, EventData, bool) {
	switch m := m.(type) {
	case AddTag:
		name := strings.TrimSpace(m.Tag)
		t := c.tag(name)
		switch {
		case name == "" || t != nil && !t.Absent:
			return "", EventData{}, false
		case t != nil:
			*t = Tag{Name: name, Rev: rev}
		default:
			c.Tags = append(c.Tags, Tag{Name: name, Rev: rev})
		}
		return ContactTagAdded, EventData{Name: name}, true
	case RemoveTag:
		t := c.tag(m.Tag)
		if t == nil || t.Absent {
			return "", EventData{}, false
		}
		name := t.Name
		if keepAbsent {
			t.Absent, t.Rev = true, rev
		} else {
			c.Tags = slices.DeleteFunc(c.Tags, func(o Tag) bool { return o.Name == name })
		}
		return ContactTagRemoved, EventData{Name: name, OldExists: true}, true
	case SetField:
		return c.setField(m, rev, keepAbsent)
	case SetIdentity:
		var id *Identity
		switch m.Name {
		case "email":
			id = &c.Email
		case "phone":
			id = &c.Phone
		case "external_id":
			id = &c.External
		default:
			return "", EventData{}, false
		}
		value := strings.TrimSpace(m.Value)
		if id.Value == value {
			return "", EventData{}, false
		}
		data := EventData{Name: m.Name, Value: value, Old: id.Value, OldExists: id.Value != ""}
		*id = Identity{Value: value, Rev: rev}
		return ContactIdentity, data, true
	case SetMembership:
		return c.setMembership(m, rev, at, keepAbsent)
	case SetDND:
		name := strings.TrimSpace(m.Channel)
		if name == "" || c.OnDND(name) == m.On {
			return "", EventData{}, false
		}
		i := slices.IndexFunc(c.DND, func(d Channel) bool { return Fold(d.Name) == Fold(name) })
		if i < 0 {
			c.DND = append(c.DND, Channel{Name: name})
			i = len(c.DND) - 1
		}
		c.DND[i].On, c.DND[i].Rev = m.On, rev
		return ContactDNDChanged, EventData{Name: name, On: m.On, OldExists: true}, true
	case Archive:
		if c.Archived.On == m.On {
			return "", EventData{}, false
		}
		c.Archived = Flag{On: m.On, Rev: rev}
		return ContactArchived, EventData{On: m.On, OldExists: true}, true
	}
	return "", EventData{}, false
}

func (c *Contact) setField(m SetField, rev uint64, keepAbsent bool) (EventKind, EventData, bool) {
	name := strings.TrimSpace(m.Name)
	if m.Value.Kind == NoValue {
		m.Value = Value{}
	}
	old := c.Field(name)
	if name == "" || old.Equal(m.Value) {
		return "", EventData{}, false
	}
	i, found := c.findField(name)
	gone := m.Value.Kind == NoValue
	switch {
	case gone && !keepAbsent:
		c.Fields = slices.Delete(c.Fields, i, i+1)
	case found:
		c.Fields[i] = Field{Name: name, Value: m.Value, Rev: rev, Absent: gone}
	default:
		c.Fields = slices.Insert(c.Fields, i, Field{Name: name, Value: m.Value, Rev: rev})
	}
	data := EventData{Name: name, Value: m.Value.String(), Old: old.String(), OldExists: old.Kind != NoValue}
	if data.OldExists {
		data.OldValue = &old
	}
	return ContactFieldChanged, data, true
}

func (c *Contact) setMembership(m SetMembership, rev uint64, at Nanos, keepAbsent bool) (EventKind, EventData, bool) {
	i := slices.IndexFunc(c.Lists, func(o Membership) bool { return o.List == m.List })
	var old Status
	if i >= 0 && !c.Lists[i].Absent {
		old = c.Lists[i].Status
	}
	if old == m.Status {
		return "", EventData{}, false
	}
	switch next := (Membership{List: m.List, Status: m.Status, Since: at, Rev: rev, Absent: m.Status == ""}); {
	case next.Absent && !keepAbsent:
		c.Lists = slices.Delete(c.Lists, i, i+1)
	case i >= 0:
		c.Lists[i] = next
	default:
		c.Lists = append(c.Lists, next)
	}
	return ContactListChanged, EventData{Name: m.Name, Item: m.List, Value: string(m.Status), Old: string(old), OldExists: old != ""}, true
}
