package crm

import (
	"slices"
	"sort"
	"strings"
)

// Key names a contact within its account. Rows of one account are neighbours.
type Key struct {
	Account AccountID `cbor:"1,keyasint"`
	Contact ContactID `cbor:"2,keyasint"`
}

// A Contact is a person: identity, tags, list memberships, fields, do-not-disturb channels. Each of
// these facts carries the revision at which it last changed; a removed fact may stay as Absent, so
// that "somebody took it off after the restore" can be told from "it was off at the restore".
type Contact struct {
	Account   AccountID    `cbor:"1,keyasint"`
	ID        ContactID    `cbor:"2,keyasint"`
	Rev       uint64       `cbor:"3,keyasint"` // +1 at each mutation that changes a fact
	CreatedAt Nanos        `cbor:"4,keyasint"` // kept through delete and restore (S3.18)
	Salt      [16]byte     `cbor:"5,keyasint"` // seals this contact's log payloads; destroyed by the purge
	Email     Identity     `cbor:"6,keyasint,omitzero"`
	Phone     Identity     `cbor:"7,keyasint,omitzero"`
	External  Identity     `cbor:"8,keyasint,omitzero"` // the id in the system it was imported from
	Tags      []Tag        `cbor:"9,keyasint,omitempty"`
	Lists     []Membership `cbor:"10,keyasint,omitempty"`
	Fields    []Field      `cbor:"11,keyasint,omitempty"`
	DND       []Channel    `cbor:"12,keyasint,omitempty"`
	Archived  Flag         `cbor:"13,keyasint,omitzero"`
	Last      uint64       `cbor:"14,keyasint,omitempty"` // the log's entry of the last change: the end of its history
	Hold      HoldNote     `cbor:"15,keyasint,omitzero"`  // why it is under a legal hold; that it is, its life says
}

// HoldNote says why, by whom and when a legal hold was put on a contact. It may be personal, so it is
// here and nowhere else in the clear.
type HoldNote struct {
	Reason string `cbor:"1,keyasint,omitempty" json:"reason,omitempty"`
	By     string `cbor:"2,keyasint,omitempty" json:"by,omitempty"`
	At     Nanos  `cbor:"3,keyasint,omitempty" json:"at,omitzero"`
}

// Identity is an address or a foreign id by which a contact can be found.
type Identity struct {
	Value string `cbor:"1,keyasint,omitempty"` // as given; compared in the form of NormalIdentity
	Rev   uint64 `cbor:"2,keyasint,omitempty"`
}

// Tag keeps its spelling; it is compared folded.
type Tag struct {
	Name   string `cbor:"1,keyasint"`
	Rev    uint64 `cbor:"2,keyasint"`
	Absent bool   `cbor:"3,keyasint,omitempty"`
}

// Status is the status of a list membership. A restore never changes it: going from unsubscribed to
// subscribed would re-subscribe somebody who opted out.
type Status string

// The four statuses (S3.13).
const (
	Subscribed   Status = "subscribed"
	Unsubscribed Status = "unsubscribed"
	Unconfirmed  Status = "unconfirmed"
	Bounced      Status = "bounced"
)

// Valid says whether the status is one of the four.
func (s Status) Valid() bool {
	return s == Subscribed || s == Unsubscribed || s == Unconfirmed || s == Bounced
}

// OptedOut says whether who has the status must not be mailed.
func (s Status) OptedOut() bool { return s == Unsubscribed || s == Bounced }

// Membership is a contact's place on a list.
type Membership struct {
	List   ItemID `cbor:"1,keyasint"`
	Status Status `cbor:"2,keyasint"`
	Since  Nanos  `cbor:"3,keyasint"`
	Rev    uint64 `cbor:"4,keyasint"`
	Absent bool   `cbor:"5,keyasint,omitempty"`
}

// Field is a named value: first_name, last_name, company, source and the account's own.
type Field struct {
	Name   string `cbor:"1,keyasint"`
	Value  Value  `cbor:"2,keyasint"`
	Rev    uint64 `cbor:"3,keyasint"`
	Absent bool   `cbor:"4,keyasint,omitempty"`
}

// Channel is a do-not-disturb switch: email, sms, call and so on.
type Channel struct {
	Name string `cbor:"1,keyasint"`
	On   bool   `cbor:"2,keyasint"`
	Rev  uint64 `cbor:"3,keyasint"`
}

// Flag is a bit with the revision of its last change.
type Flag struct {
	On  bool   `cbor:"1,keyasint,omitempty"`
	Rev uint64 `cbor:"2,keyasint,omitempty"`
}

// FactKind is a kind of fact.
type FactKind string

// The kinds of fact.
const (
	FactTag      FactKind = "tag"
	FactList     FactKind = "list"
	FactField    FactKind = "field"
	FactIdentity FactKind = "identity" // names: email, phone, external_id
	FactDND      FactKind = "dnd"
	FactArchived FactKind = "archived"
)

// Fact names one fact of a contact, or with an empty Name all facts of the kind. Tag, field and
// channel names are compared folded; a list is named by its id's text.
type Fact struct {
	Kind FactKind
	Name string
}

// Key gives the contact's key.
func (c *Contact) Key() Key { return Key{c.Account, c.ID} }

// Clone copies the contact so that a change to the copy leaves the original alone.
func (c *Contact) Clone() *Contact {
	d := *c
	d.Tags = slices.Clone(c.Tags)
	d.Lists = slices.Clone(c.Lists)
	d.Fields = slices.Clone(c.Fields)
	d.DND = slices.Clone(c.DND)
	return &d
}

// HasTag says whether the contact carries the tag, compared folded.
func (c *Contact) HasTag(name string) bool {
	t := c.tag(name)
	return t != nil && !t.Absent
}

// tag finds the tag's row, absent ones included.
func (c *Contact) tag(name string) *Tag {
	want := Fold(name)
	for i := range c.Tags {
		if c.Tags[i].Name == name || Fold(c.Tags[i].Name) == want {
			return &c.Tags[i]
		}
	}
	return nil
}

// TagNames gives the tags as spelled, without the absent ones.
func (c *Contact) TagNames() []string {
	names := make([]string, 0, len(c.Tags))
	for _, t := range c.Tags {
		if !t.Absent {
			names = append(names, t.Name)
		}
	}
	return names
}

// Field gives the value of a field; the zero Value if it has none.
func (c *Contact) Field(name string) Value {
	if i, ok := c.findField(name); ok && !c.Fields[i].Absent {
		return c.Fields[i].Value
	}
	return Value{}
}

func (c *Contact) findField(name string) (int, bool) {
	return sort.Find(len(c.Fields), func(i int) int { return strings.Compare(name, c.Fields[i].Name) })
}

// Membership gives the contact's place on a list, nil if it is not on it.
func (c *Contact) Membership(list ItemID) *Membership {
	for i := range c.Lists {
		if c.Lists[i].List == list && !c.Lists[i].Absent {
			return &c.Lists[i]
		}
	}
	return nil
}

// OnDND says whether do-not-disturb is on for the channel.
func (c *Contact) OnDND(channel string) bool {
	for _, d := range c.DND {
		if Fold(d.Name) == Fold(channel) {
			return d.On
		}
	}
	return false
}

// FactRev gives the highest revision among the facts that f names, absent ones included; 0 if the
// contact never had such a fact.
func (c *Contact) FactRev(f Fact) (rev uint64) {
	c.eachFact(f, func(r uint64) { rev = max(rev, r) })
	return rev
}

// eachFact yields the revision of each fact that f names, absent ones included.
func (c *Contact) eachFact(f Fact, yield func(rev uint64)) {
	see := func(name string, r uint64) {
		if f.Name == "" || f.Name == name || Fold(name) == Fold(f.Name) {
			yield(r)
		}
	}
	switch f.Kind {
	case FactTag:
		for _, t := range c.Tags {
			see(t.Name, t.Rev)
		}
	case FactList:
		for _, m := range c.Lists {
			see(m.List.String(), m.Rev)
		}
	case FactField:
		for _, v := range c.Fields {
			see(v.Name, v.Rev)
		}
	case FactIdentity:
		see("email", c.Email.Rev)
		see("phone", c.Phone.Rev)
		see("external_id", c.External.Rev)
	case FactDND:
		for _, d := range c.DND {
			see(d.Name, d.Rev)
		}
	case FactArchived:
		see("", c.Archived.Rev)
	}
}

// HighestRev gives the highest revision among several facts.
func (c *Contact) HighestRev(facts []Fact) uint64 {
	var rev uint64
	for _, f := range facts {
		rev = max(rev, c.FactRev(f))
	}
	return rev
}

// CountFacts gives the number of facts that are named, absent ones included: with HighestRev it tells
// whether any of them has changed, also when one is gone without a trace.
func (c *Contact) CountFacts(facts []Fact) (n int) {
	for _, f := range facts {
		c.eachFact(f, func(uint64) { n++ })
	}
	return n
}

// DropAbsent forgets removed facts whose removal is no newer than the revision quiet: their absence
// entitles nothing any more.
func (c *Contact) DropAbsent(quiet uint64) {
	c.Tags = slices.DeleteFunc(c.Tags, func(t Tag) bool { return t.Absent && t.Rev <= quiet })
	c.Lists = slices.DeleteFunc(c.Lists, func(m Membership) bool { return m.Absent && m.Rev <= quiet })
	c.Fields = slices.DeleteFunc(c.Fields, func(f Field) bool { return f.Absent && f.Rev <= quiet })
}

// NormalIdentity gives the form in which addresses are compared: an e-mail without surrounding
// space and in lower case (dots and +tags stay: they are part of the address), a phone number as
// its digits behind a leading +, a foreign id as it is. An empty result identifies nobody.
func NormalIdentity(name, value string) string {
	value = strings.TrimSpace(value)
	switch name {
	case "email":
		return strings.ToLower(value)
	case "phone":
		var b strings.Builder
		for i, r := range value {
			if r == '+' && i == 0 || '0' <= r && r <= '9' {
				b.WriteRune(r)
			}
		}
		if b.String() == "+" {
			return ""
		}
		return b.String()
	}
	return value
}

// Identities gives what the contact can be found by: name and normal form, without the empty ones.
func (c *Contact) Identities() []NamedIdentity {
	var ids []NamedIdentity
	for _, n := range []NamedIdentity{{"email", c.Email.Value}, {"phone", c.Phone.Value}, {"external_id", c.External.Value}} {
		if v := NormalIdentity(n.Name, n.Value); v != "" {
			ids = append(ids, NamedIdentity{n.Name, v})
		}
	}
	return ids
}

// NamedIdentity is an identity in its normal form under its name: email, phone or external_id.
type NamedIdentity struct{ Name, Value string }
