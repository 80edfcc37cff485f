package crm

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestChangeFact gives each mutation of a fact something to change, something to leave alone and
// something to remove, with and without keeping what is absent.
func TestChangeFact(t *testing.T) {
	t.Parallel()
	list := ItemID{1}
	for _, tc := range []struct {
		name    string
		was     Contact
		m       Mutation
		keep    bool
		is      Contact
		kind    EventKind
		data    EventData
		changed bool
	}{
		{"a new tag", Contact{}, AddTag{Tag: " VIP "}, false, Contact{Tags: []Tag{{Name: "VIP", Rev: 7}}}, ContactTagAdded, EventData{Name: "VIP"}, true},
		{"a tag in another spelling", Contact{Tags: []Tag{{Name: "vip", Rev: 1}}}, AddTag{Tag: "VIP"}, true, Contact{Tags: []Tag{{Name: "vip", Rev: 1}}}, "", EventData{}, false},
		{"no tag at all", Contact{}, AddTag{Tag: "  "}, true, Contact{}, "", EventData{}, false},
		{"an absent tag again", Contact{Tags: []Tag{{Name: "vip", Rev: 1, Absent: true}}}, AddTag{Tag: "VIP"}, true, Contact{Tags: []Tag{{Name: "VIP", Rev: 7}}}, ContactTagAdded, EventData{Name: "VIP"}, true},
		{"a tag off", Contact{Tags: []Tag{{Name: "Vip", Rev: 1}}}, RemoveTag{Tag: "vIP"}, false, Contact{Tags: []Tag{}}, ContactTagRemoved, EventData{Name: "Vip", OldExists: true}, true},
		{"a tag off and kept", Contact{Tags: []Tag{{Name: "Vip", Rev: 1}}}, RemoveTag{Tag: "vip"}, true, Contact{Tags: []Tag{{Name: "Vip", Rev: 7, Absent: true}}}, ContactTagRemoved, EventData{Name: "Vip", OldExists: true}, true},
		{"an absent tag off", Contact{Tags: []Tag{{Name: "vip", Rev: 1, Absent: true}}}, RemoveTag{Tag: "vip"}, true, Contact{Tags: []Tag{{Name: "vip", Rev: 1, Absent: true}}}, "", EventData{}, false},
		{"a new field", Contact{Fields: []Field{{Name: "b", Rev: 1}}}, SetField{Name: "a", Value: Text("x")}, false, Contact{Fields: []Field{{Name: "a", Value: Text("x"), Rev: 7}, {Name: "b", Rev: 1}}}, ContactFieldChanged, EventData{Name: "a", Value: "x"}, true},
		{"a field to another value", Contact{Fields: []Field{{Name: "a", Value: Text("x"), Rev: 1}}}, SetField{Name: "a", Value: Number(2)}, false, Contact{Fields: []Field{{Name: "a", Value: Number(2), Rev: 7}}}, ContactFieldChanged, EventData{Name: "a", Value: "2", Old: "x", OldExists: true}, true},
		{"a field as it is", Contact{Fields: []Field{{Name: "a", Value: Text("x"), Rev: 1}}}, SetField{Name: "a", Value: Text("x")}, false, Contact{Fields: []Field{{Name: "a", Value: Text("x"), Rev: 1}}}, "", EventData{}, false},
		{"a field away", Contact{Fields: []Field{{Name: "a", Value: Text("x"), Rev: 1}}}, SetField{Name: "a"}, false, Contact{Fields: []Field{}}, ContactFieldChanged, EventData{Name: "a", Old: "x", OldExists: true}, true},
		{"a field away and kept", Contact{Fields: []Field{{Name: "a", Value: Text("x"), Rev: 1}}}, SetField{Name: "a"}, true, Contact{Fields: []Field{{Name: "a", Rev: 7, Absent: true}}}, ContactFieldChanged, EventData{Name: "a", Old: "x", OldExists: true}, true},
		{"no field away", Contact{Fields: []Field{{Name: "b", Rev: 1, Value: Text("y")}}}, SetField{Name: "a", Value: Value{Text: "stray"}}, false, Contact{Fields: []Field{{Name: "b", Rev: 1, Value: Text("y")}}}, "", EventData{}, false},
		{"an e-mail", Contact{}, SetIdentity{Name: "email", Value: " a@b "}, false, Contact{Email: Identity{"a@b", 7}}, ContactIdentity, EventData{Name: "email", Value: "a@b"}, true},
		{"no phone any more", Contact{Phone: Identity{"1", 1}}, SetIdentity{Name: "phone"}, false, Contact{Phone: Identity{"", 7}}, ContactIdentity, EventData{Name: "phone", Old: "1", OldExists: true}, true},
		{"the same foreign id", Contact{External: Identity{"1", 1}}, SetIdentity{Name: "external_id", Value: "1"}, false, Contact{External: Identity{"1", 1}}, "", EventData{}, false},
		{"an identity of no kind", Contact{}, SetIdentity{Name: "fax", Value: "1"}, false, Contact{}, "", EventData{}, false},
		{"onto a list", Contact{}, SetMembership{List: list, Name: "n", Status: Subscribed}, false, Contact{Lists: []Membership{{list, Subscribed, 99, 7, false}}}, ContactListChanged, EventData{Name: "n", Item: list, Value: "subscribed"}, true},
		{"to another status", Contact{Lists: []Membership{{list, Subscribed, 1, 1, false}}}, SetMembership{List: list, Status: Bounced}, false, Contact{Lists: []Membership{{list, Bounced, 99, 7, false}}}, ContactListChanged, EventData{Item: list, Value: "bounced", Old: "subscribed", OldExists: true}, true},
		{"off a list", Contact{Lists: []Membership{{list, Subscribed, 1, 1, false}}}, SetMembership{List: list}, false, Contact{Lists: []Membership{}}, ContactListChanged, EventData{Item: list, Old: "subscribed", OldExists: true}, true},
		{"off a list and kept", Contact{Lists: []Membership{{list, Subscribed, 1, 1, false}}}, SetMembership{List: list}, true, Contact{Lists: []Membership{{list, "", 99, 7, true}}}, ContactListChanged, EventData{Item: list, Old: "subscribed", OldExists: true}, true},
		{"off a list again", Contact{Lists: []Membership{{list, "", 1, 1, true}}}, SetMembership{List: list}, true, Contact{Lists: []Membership{{list, "", 1, 1, true}}}, "", EventData{}, false},
		{"do not disturb", Contact{DND: []Channel{{"SMS", false, 1}}}, SetDND{Channel: "sms", On: true}, false, Contact{DND: []Channel{{"SMS", true, 7}}}, ContactDNDChanged, EventData{Name: "sms", On: true, OldExists: true}, true},
		{"do disturb, as ever", Contact{}, SetDND{Channel: "sms"}, false, Contact{}, "", EventData{}, false},
		{"into the archive", Contact{}, Archive{On: true}, false, Contact{Archived: Flag{true, 7}}, ContactArchived, EventData{On: true, OldExists: true}, true},
		{"into the archive again", Contact{Archived: Flag{true, 1}}, Archive{On: true}, false, Contact{Archived: Flag{true, 1}}, "", EventData{}, false},
		{"no fact", Contact{}, Delete{}, false, Contact{}, "", EventData{}, false},
	} {
		c := tc.was.Clone()
		kind, data, changed := ChangeFact(c, tc.m, 7, 99, tc.keep)
		if old := data.OldValue; (old != nil) != (kind == ContactFieldChanged && data.OldExists) || old != nil && old.String() != data.Old {
			t.Errorf("%s: the old value is %v", tc.name, old)
		}
		data.OldValue = nil
		if kind != tc.kind || data != tc.data || changed != tc.changed || !reflect.DeepEqual(*c, tc.is) {
			t.Errorf("%s: %s %+v %v\n got %+v\nwant %+v", tc.name, kind, data, changed, *c, tc.is)
		}
	}
}

func TestAbsentFactsCountUntilDropped(t *testing.T) {
	t.Parallel()
	c := Contact{
		Tags:   []Tag{{"a", 5, true}, {"b", 6, true}, {"c", 2, false}},
		Lists:  []Membership{{ItemID{1}, "", 0, 5, true}, {ItemID{2}, "", 0, 6, true}},
		Fields: []Field{{"a", Value{}, 5, true}, {"b", Value{}, 6, true}},
	}
	if c.HasTag("a") || c.Membership(ItemID{1}) != nil || c.Field("a").Kind != NoValue || len(c.TagNames()) != 1 {
		t.Error("an absent fact is seen")
	}
	for _, kind := range []FactKind{FactTag, FactList, FactField} {
		if got := c.FactRev(Fact{kind, ""}); got != 6 {
			t.Errorf("%s: the highest revision is %d", kind, got)
		}
	}
	c.DropAbsent(5)
	if len(c.Tags) != 2 || len(c.Lists) != 1 || len(c.Fields) != 1 || c.FactRev(Fact{FactTag, "a"}) != 0 || c.FactRev(Fact{FactTag, "B"}) != 6 {
		t.Errorf("what is left: %+v", c)
	}
	if n := c.CountFacts([]Fact{{FactTag, ""}, {FactTag, "b"}, {FactField, "nowhere"}}); n != 3 {
		t.Errorf("%d facts", n)
	}
}

// TestFoldIsEqualFold holds Fold to the standard library's idea of equal, also where folds are odd.
func TestFoldIsEqualFold(t *testing.T) {
	t.Parallel()
	odd := rapid.SampledFrom([]rune("kKK sSſ iIİı åÅÅ σςΣ ǅǆǄ ßẞ µμ \t\u00a0\xff ZzéÉé"))
	text := rapid.OneOf(rapid.StringOf(odd), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		if rapid.Bool().Draw(t, "swap case") {
			b = strings.ToUpper(a)
		}
		if got, want := Fold(a) == Fold(b), strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)); got != want {
			t.Fatalf("%q and %q fold alike: %v; EqualFold: %v", a, b, got, want)
		}
		if Fold(Fold(a)) != Fold(a) {
			t.Fatalf("%q folds further", a)
		}
	})
	for in, want := range map[string]string{" Unsubscribed ": "unsubscribed", "\u212aelvin": "kelvin", "ſpam": "spam", "": ""} {
		if got := Fold(in); got != want {
			t.Errorf("%q folds to %q", in, got)
		}
	}
}

func TestNormalIdentity(t *testing.T) {
	t.Parallel()
	for _, tc := range [][3]string{
		{"email", " A.b+c@Example.COM ", "a.b+c@example.com"}, {"email", "  ", ""},
		{"phone", "+49 (0) 555-1", "+4905551"}, {"phone", "0555/1+2", "055512"}, {"phone", " +", ""}, {"phone", "none", ""},
		{"external_id", " aB ", "aB"},
	} {
		if got := NormalIdentity(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%s %q: %q, want %q", tc[0], tc[1], got, tc[2])
		}
		if again := NormalIdentity(tc[0], tc[2]); again != tc[2] {
			t.Errorf("%q is not normal", tc[2])
		}
	}
}
