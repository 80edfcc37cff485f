package triggers

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

func TestSelectLowers(t *testing.T) {
	t.Parallel()
	tag := func(n string) crm.Filter { return crm.Filter{Op: crm.FilterTag, Name: n} }
	field := func(n string, v crm.Value) crm.Filter { return crm.Filter{Op: crm.FilterField, Name: n, Value: v} }
	of := func(op crm.FilterOp, fs ...crm.Filter) crm.Filter { return crm.Filter{Op: op, Of: fs} }
	all := crm.Filter{}
	for text, want := range map[string]crm.Filter{
		``:                                 all,
		`true`:                             all,
		`false`:                            {Op: crm.FilterNone},
		`"A" in contact.tags`:              tag("A"),
		`"A" not in contact.tags`:          of(crm.FilterNot, tag("A")),
		`contact.fields.plan == "gold"`:    field("plan", crm.Text("gold")),
		`"gold" == contact.fields["plan"]`: field("plan", crm.Text("gold")),
		`contact.fields.n == -5`:           field("n", crm.Number(-5)),
		`contact.fields.n != 1.5`:          of(crm.FilterNot, field("n", crm.Number(1.5))),
		`contact.first_name == "Ann"`:      field("first_name", crm.Text("Ann")),
		`contact.first_name == ""`:         all, // also when it is missing
		`contact.fields.n == nil`:          all,
		`contact.fields.n > 5`:             all,
		`contact.email == "x"`:             all,
		`not (contact.email == "x")`:       all,
		`not ("A" in contact.tags and contact.email == "x")`:                    all, // the opposite of a superset is none
		`not ("A" in contact.tags or contact.fields.n == true)`:                 of(crm.FilterNot, of(crm.FilterOr, tag("A"), field("n", crm.Value{Kind: crm.BoolValue, Bool: true}))),
		`"A" in contact.tags and contact.email == "x"`:                          tag("A"),
		`"A" in contact.tags or contact.email == "x"`:                           all,
		`"A" in contact.tags and "B" in contact.tags and contact.fields.n == 1`: of(crm.FilterAnd, tag("A"), tag("B"), field("n", crm.Number(1))),
		`contact.fields.plan in ["a", 1]`:                                       of(crm.FilterOr, field("plan", crm.Text("a")), field("plan", crm.Number(1))),
		`contact.fields.plan in [contact.email]`:                                all,
		`tombstone.reason == "x" and "A" in contact.tags`:                       tag("A"),
	} {
		s, err := Select(Source{Text: text, Scope: ScopeTombstone})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(s.Where, want) {
			t.Errorf("%s: %+v, want %+v", text, s.Where, want)
		}
		if s.NeedsTombstone != strings.Contains(text, "tombstone") {
			t.Errorf("%s: NeedsTombstone %v", text, s.NeedsTombstone)
		}
	}
}

func TestSelectOverTombstones(t *testing.T) {
	t.Parallel()
	s, err := Select(Source{Text: `contact.deleted and tombstone.restorable_until < now and tombstone.by == "user:1"`, Scope: ScopeTombstone})
	if err != nil {
		t.Fatal(err)
	}
	tomb := &crm.Manifest{At: 1, RestorableUntil: 100, By: crm.Actor{ID: "user:1"}}
	dead := &crm.Life{State: crm.Deleted}
	if s.Keep(ann(), dead, tomb, 100) || !s.Keep(ann(), dead, tomb, 101) || s.Keep(ann(), &crm.Life{}, nil, 101) || s.Keep(ann(), nil, nil, 101) {
		t.Error("the deadline")
	}
	if _, err := Select(Source{Text: `tombstone.reason == ""`}); err == nil {
		t.Error("a selection of live contacts sees tombstones")
	}
	if _, err := Select(Source{Text: `event.tag == ""`}); err == nil {
		t.Error("a selection sees events")
	}
	l, err := Select(Source{Text: `contact.lists.news == "subscribed"`})
	if err != nil || l.Keep(ann(), nil, nil, 1) || !l.WithLists(listNames).Keep(ann(), nil, nil, 1) {
		t.Error("list names", err)
	}
	broken, _ := Select(Source{Text: `contact.fields.nope > 1`})
	if ok, err := broken.Check(ann(), nil, nil, 1); ok || err == nil || broken.Keep(ann(), nil, nil, 1) {
		t.Error("what cannot be evaluated is kept")
	}
}

// A cond is a condition with what it means, worked out without the code under test: yes, no or error.
type cond struct {
	text string
	mean func(*crm.Contact) (yes, ok bool)
}

var fieldValues = []struct {
	text string
	v    crm.Value
}{{`"x"`, crm.Text("x")}, {`"1"`, crm.Text("1")}, {`""`, crm.Text("")}, {"1", crm.Number(1)}, {"1.0", crm.Number(1)}, {"-1", crm.Number(-1)},
	{"true", crm.Value{Kind: crm.BoolValue, Bool: true}}, {"false", crm.Value{Kind: crm.BoolValue}}}

func always(f func(*crm.Contact) bool) func(*crm.Contact) (bool, bool) {
	return func(c *crm.Contact) (bool, bool) { return f(c), true }
}

func atomGen() *rapid.Generator[cond] {
	return rapid.Custom(func(t *rapid.T) cond {
		tag := rapid.SampledFrom([]string{"a", "B", "\u017f"}).Draw(t, "tag")
		name := rapid.SampledFrom([]string{"f", "g"}).Draw(t, "field")
		val := rapid.SampledFrom(fieldValues).Draw(t, "value")
		hasTag := func(c *crm.Contact) bool {
			for _, t := range c.Tags {
				if !t.Absent && strings.EqualFold(t.Name, tag) {
					return true
				}
			}
			return false
		}
		value := func(c *crm.Contact) crm.Value {
			for _, f := range c.Fields {
				if f.Name == name && !f.Absent {
					return f.Value
				}
			}
			return crm.Value{}
		}
		switch rapid.IntRange(0, 7).Draw(t, "atom") {
		case 0:
			return cond{fmt.Sprintf("%q in contact.tags", tag), always(hasTag)}
		case 1:
			return cond{fmt.Sprintf("any(contact.tags, # == %q)", tag), always(hasTag)}
		case 2:
			return cond{fmt.Sprintf("contact.fields.%s == %s", name, val.text), always(func(c *crm.Contact) bool { return value(c).Equal(val.v) })}
		case 3:
			return cond{fmt.Sprintf("%s != contact.fields.%s", val.text, name), always(func(c *crm.Contact) bool { return !value(c).Equal(val.v) })}
		case 4:
			return cond{fmt.Sprintf("contact.fields.%s in [%s, \"y\"]", name, val.text), always(func(c *crm.Contact) bool {
				return value(c).Equal(val.v) || value(c).Equal(crm.Text("y"))
			})}
		case 5:
			return cond{fmt.Sprintf("contact.fields.%s > 0", name), func(c *crm.Contact) (bool, bool) {
				return value(c).Number > 0, value(c).Kind == crm.NumberValue
			}}
		case 6:
			return cond{"contact.fields." + name, func(c *crm.Contact) (bool, bool) { return value(c).Bool, value(c).Kind == crm.BoolValue }}
		default:
			return cond{fmt.Sprintf("contact.first_name == %q", tag), always(func(c *crm.Contact) bool { return c.Field("first_name").Text == tag })}
		}
	})
}

func condGen(depth int) *rapid.Generator[cond] {
	if depth == 0 {
		return atomGen()
	}
	return rapid.Custom(func(t *rapid.T) cond {
		form := rapid.IntRange(0, 3).Draw(t, "form")
		if form == 0 {
			return atomGen().Draw(t, "atom")
		}
		l := condGen(depth-1).Draw(t, "l")
		if form == 1 {
			return cond{"not (" + l.text + ")", func(c *crm.Contact) (bool, bool) {
				yes, ok := l.mean(c)
				return !yes, ok
			}}
		}
		r := condGen(depth-1).Draw(t, "r")
		op := map[int]string{2: "and", 3: "or"}[form]
		return cond{"(" + l.text + ") " + op + " (" + r.text + ")", func(c *crm.Contact) (bool, bool) {
			yes, ok := l.mean(c)
			if !ok || yes == (form == 3) { // the first side decides
				return yes, ok
			}
			return r.mean(c)
		}}
	})
}

func contactGen() *rapid.Generator[*crm.Contact] {
	return rapid.Custom(func(t *rapid.T) *crm.Contact {
		c := &crm.Contact{}
		for _, tag := range []string{"A", "b", "S", "z"} {
			if rapid.Bool().Draw(t, tag) {
				c.Tags = append(c.Tags, crm.Tag{Name: tag, Absent: rapid.IntRange(0, 3).Draw(t, "absent") == 0})
			}
		}
		for _, name := range []string{"f", "first_name", "g"} {
			if rapid.Bool().Draw(t, name) {
				v := rapid.SampledFrom(fieldValues).Draw(t, name+" value").v
				if name == "first_name" {
					v = crm.Text(rapid.SampledFrom([]string{"a", "B"}).Draw(t, "first"))
				}
				c.Fields = append(c.Fields, crm.Field{Name: name, Value: v, Absent: rapid.IntRange(0, 3).Draw(t, "absent") == 0})
			}
		}
		return c
	})
}

// Keep is precise, and whatever it keeps, the store's filter passes.
func TestSelectionAgainstReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := condGen(3).Draw(t, "condition")
		s, err := Select(Source{Text: c.text})
		if d := Findings(err); len(d) > 0 && d[0].Code == codeSize {
			t.Skip("too large")
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			who := contactGen().Draw(t, "contact")
			yes, ok := c.mean(who)
			got, err := s.Check(who, nil, nil, 1)
			if got != (yes && ok) || (err == nil) != ok || s.Keep(who, nil, nil, 1) != got {
				t.Fatalf("%s: got %v, %v; want %v, %v", c.text, got, err, yes, ok)
			}
			if got && !s.Where.Match(who) {
				t.Fatalf("%s: kept, but not passed by %+v", c.text, s.Where)
			}
		}
	})
}
