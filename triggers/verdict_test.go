package triggers

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

// TestVerdict puts conditions together at random and holds what is said of them against what they give for
// contacts at random: "never" must never hold and "always" always. That it is said at all of those that are
// plainly so is counted: a judge that knows nothing would pass the rest.
func TestVerdict(t *testing.T) {
	t.Parallel()
	atoms := []string{"true", "false", "1 == 1", `"a" == "b"`, `"A" in contact.tags`, `"a" in contact.tags`, `"b" in contact.tags`,
		`contact.fields.x == 1`, `contact.fields.x == "1"`, `contact.fields.x == 2`, `contact.fields.x != 2`, `contact.fields.x == nil`, `contact.lists.n == "subscribed"`,
		`contact.lists.n == "subscribd"`, `contact.lists.n != "left"`, `contact.lists.n == nil`, "contact.archived", "contact.archived == true", "contact.archived == false",
		`contact.tags == nil`, `contact.created_at != nil`, `contact.dnd.sms == nil`, `contact.email == "A"`, `contact.email == "a"`, `contact.email == ""`}
	met := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		var build func(depth int) string
		build = func(depth int) string {
			switch n := rapid.IntRange(0, 7).Draw(t, "shape"); {
			case depth == 0 || n < 3:
				return rapid.SampledFrom(atoms).Draw(t, "atom")
			case n == 3:
				return "not (" + build(depth-1) + ")"
			case n == 4:
				return "(" + build(depth-1) + " or " + build(depth-1) + ")"
			default:
				return build(depth-1) + " and " + build(depth-1)
			}
		}
		text := build(3)
		e, err := CompileExpr(Source{Text: text, Scope: ScopeContact}, Bool)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		v := e.Verdict()
		if v == nil {
			return
		}
		met[v.Holds]++
		if d := e.Warn(v, "W304", "x", "y"); v.Why == "" || d.Column < 1 || d.Column+d.Length-1 > len(text) || d.Severity != "warning" {
			t.Fatalf("%s: %+v at %+v", text, v, d)
		}
		list := crm.ItemID{1}
		for range 10 {
			c := &crm.Contact{Email: crm.Identity{Value: rapid.SampledFrom([]string{"", "a", "A"}).Draw(t, "email")}, Archived: crm.Flag{On: rapid.Bool().Draw(t, "archived")}}
			for _, tag := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b"}), 0, 2, rapid.ID).Draw(t, "tags") {
				c.Tags = append(c.Tags, crm.Tag{Name: tag})
			}
			if x := rapid.SampledFrom([]crm.Value{{}, crm.Number(1), crm.Number(2), crm.Text("1")}).Draw(t, "x"); x.Kind != crm.NoValue {
				c.Fields = append(c.Fields, crm.Field{Name: "x", Value: x})
			}
			if s := rapid.SampledFrom([]crm.Status{"", crm.Subscribed, crm.Bounced}).Draw(t, "status"); s != "" {
				c.Lists = append(c.Lists, crm.Membership{List: list, Status: s})
			}
			got, err := e.Bool(Env{Contact: c, Now: crm.Day, ListName: func(crm.ItemID) string { return "n" }})
			if err != nil || got != v.Holds {
				t.Fatalf("%s is said to be %v for everybody (%s); for %+v it is %v, %v", text, v.Holds, v.Why, c, got, err)
			}
		}
	})
	if !testing.Short() && (met[true] < 5 || met[false] < 20) {
		t.Errorf("only %v were decided", met)
	}
}

func TestVerdictTells(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"VIP" in contact.tags`:                                          "",
		`contact.fields.a == 1 and contact.fields.b == 2`:                "",
		`contact.fields.a == "x" and contact.fields.A == "y"`:            "", // fields are told apart by case
		`contact.fields.a != 1 and contact.fields.a != 2`:                "",
		`contact.fields.a == 1 or contact.fields.a == 2`:                 "",
		`steps.s.status == "done" or steps.s.status == "unknown"`:        "",
		`tombstone.reason == nil`:                                        "", // of a live contact
		`"VIP" in contact.tags and "vip " not in contact.tags`:           "two things",
		`contact.archived and contact.email != "" and !contact.archived`: "two things",
		`steps.s.status == "completed"`:                                  "done, skipped",
		`true`:                                                           "true",
	} {
		e, err := CompileExpr(Source{Text: text, Scope: ScopeContact | ScopeRun | ScopeTombstone}, Bool)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		switch v := e.Verdict(); {
		case v == nil && want != "":
			t.Errorf("%s: nothing is said", text)
		case v != nil && (want == "" || !strings.Contains(v.Why, want)):
			t.Errorf("%s: %s", text, v.Why)
		}
	}
	a, _ := CompileExpr(Source{Text: `(contact.archived)  and contact.email=="a"`, Scope: ScopeContact}, Bool)
	b, _ := CompileExpr(Source{Text: "contact.archived and\n contact.email == 'a'", Scope: ScopeContact}, Bool)
	if a.Normal() != b.Normal() {
		t.Errorf("%q and %q are the same condition", a.Normal(), b.Normal())
	}
}
