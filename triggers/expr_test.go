package triggers

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

// ann is the contact that most tests look at.
func ann() *crm.Contact {
	return &crm.Contact{
		ID: crm.ContactID{1}, Rev: 7, CreatedAt: crm.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		Email: crm.Identity{Value: "ann@example.org", Rev: 1},
		Tags:  []crm.Tag{{Name: "Unsubscribed", Rev: 2}, {Name: "Straße", Rev: 2}, {Name: "Old", Rev: 3, Absent: true}},
		Lists: []crm.Membership{{List: crm.ItemID{9}, Status: crm.Subscribed, Rev: 4}, {List: crm.ItemID{8}, Status: crm.Bounced, Rev: 4, Absent: true}},
		Fields: []crm.Field{
			{Name: "age", Value: crm.Number(20)}, {Name: "first_name", Value: crm.Text("Ann")},
			{Name: "gone", Absent: true}, {Name: "last_name", Value: crm.Text("Lee")},
			{Name: "likes", Value: crm.Value{Kind: crm.ListValue, List: []string{"tea", "rain"}}},
			{Name: "member", Value: crm.Value{Kind: crm.BoolValue, Bool: true}},
			{Name: "plan", Value: crm.Text("gold")},
			{Name: "since", Value: crm.Value{Kind: crm.InstantValue, At: crm.At(time.Date(2025, 5, 1, 0, 0, 0, 0, time.UTC))}},
		},
		DND: []crm.Channel{{Name: "Email", On: true, Rev: 5}},
	}
}

func listNames(id crm.ItemID) string { return map[byte]string{9: "News", 8: "Offers"}[id[0]] }

func annEnv() Env {
	return Env{
		Contact: ann(), Now: crm.At(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)), ListName: listNames,
		Event: &crm.Event{Kind: crm.ContactTagAdded, At: 5, By: crm.Actor{ID: "user:7"}, Data: crm.EventData{Name: "UNSUBSCRIBED"}},
		Run:   RunInfo{ID: "run_1", Workflow: "w", Trigger: "t", StartedAt: crm.Day},
		Steps: map[string]StepInfo{"get": {"done", map[string]any{"rows": []any{1.0, "x"}, "none": nil}}},
	}
}

func everything(text string) Source {
	return Source{File: "f.yaml", Text: text, Event: crm.ContactTagAdded, Steps: []string{"get", "my-step"},
		Scope: ScopeEvent | ScopeContact | ScopeTombstone | ScopeRun}
}

func compileBool(t testing.TB, text string) *Expr {
	t.Helper()
	e, err := CompileExpr(everything(text), Bool)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		// tags fold on whichever side, constant or not
		`event.tag == "Unsubscribed"`:                            true,
		`"unsubscribed " == event.tag`:                           true,
		`event.tag != "unsubscribed"`:                            false,
		`event.tag in ["a", "unSubscribed"]`:                     true,
		`event.tag not in ["a", "unSubscribed"]`:                 false,
		`event.tag in ["a", lower("B")]`:                         false,
		`event.tag == lower("UNSUBSCRIBED")`:                     true,
		`"UNSUBSCRIBED" in contact.tags`:                         true,
		`"old" in contact.tags`:                                  false,
		`not ("VIP" in contact.tags)`:                            true,
		`event.tag in contact.tags`:                              true,
		`upper(event.tag) in contact.tags`:                       true,
		`any(contact.tags, # == "STRAßE")`:                       true,
		`contact.tags | any(# == "unsubscribed")`:                true,
		`count(contact.tags, # != "UNSUBSCRIBED") == 1`:          true,
		`filter(contact.tags, # == "x")[:1] == nil`:              false,
		`find(contact.tags, # == "straße") == "STRAßE"`:          true,
		`contact.tags[0] == "unsubscribed"`:                      true,
		`(contact.fields.gone ?? event.tag) == "unsubscribed"`:   true,
		`(contact.archived ? "x" : event.tag) == "unsubscribed"`: true,
		`any(contact.tags, # in ["VIP", "Unsubscribed"])`:        true,
		// but only tags do
		`contact.fields.plan == "Gold"`:                     false,
		`contact.fields.plan == "gold"`:                     true,
		`contact.fields.plan in ["silver", "gold"]`:         true,
		`contact.fields.nope in ["silver", "gold"]`:         false,
		`any(contact.fields.likes, # == "Tea")`:             false,
		`any(contact.fields.likes, # == "tea")`:             true,
		`"tea" in contact.fields.likes`:                     true,
		`"nope" in contact.fields`:                          false,
		`"plan" in contact.fields`:                          true,
		`"gone" in contact.fields`:                          false,
		`contact.fields.gone == nil`:                        true,
		`(contact.fields.gone ?? "none") == "none"`:         true,
		`contact.fields["pl" + "an"] == "gold"`:             true,
		`contact.fields.age > 18 and contact.fields.member`: true,
		`contact.fields.age == 20`:                          true,
		`contact.fields.since < date("2025-06-01")`:         true,
		`len(contact.fields) == 7`:                          true,
		// lists and channels by folded key
		`contact.lists["NEWS"] == "subscribed"`:         true,
		`contact.lists.news != "bounced"`:               true,
		`contact.lists.offers == nil`:                   true,
		`contact.lists.offers == "bounced"`:             false,
		`"news" in contact.lists`:                       true,
		`"Offers" in contact.lists`:                     false,
		`contact.lists[upper("news")] == "subscribed"`:  true,
		`contact.lists[lower("none")] == "subscribed"`:  false,
		`upper("news") in contact.lists`:                true,
		`contact.dnd.email and contact.dnd["EMAIL"]`:    true,
		`contact.dnd.sms`:                               false,
		`contact.dnd[upper("email")]`:                   true,
		`"Email" in contact.dnd`:                        true,
		`"sms" in contact.dnd`:                          false,
		`contact.name == "Ann Lee"`:                     true,
		`contact.first_name + "!" == "Ann!"`:            true,
		`contact.phone == ""`:                           true,
		`contact.email endsWith "@example.org"`:         true,
		`contact.email matches "^[a-z]+@"`:              true,
		`contact.email contains "@"`:                    true,
		`contact.fields.gone contains "@"`:              false,
		`hasPrefix(contact.email, "ann")`:               true,
		`now - contact.created_at > duration("4w")`:     true,
		`now - duration("31d") == contact.created_at`:   true,
		`now > date("2026-01-31T23:59:59Z")`:            true,
		`format_date(now, "2006-01") == "2026-02"`:      true,
		`string(contact.fields.age) == "20"`:            true,
		`int("5") == 5 and float("5") == 5`:             true,
		`contact.revision == 7 and not contact.deleted`: true,
		`len(contact.tags) == 2 and len("é") == 1`:      true,
		`event.type == "contact.tag_added"`:             true,
		`event.actor == "user:7"`:                       true,
		`run.workflow == "w" and run.started_at < now`:  true,
		`steps.get.status == "done"`:                    true,
		`steps.get.output.rows[1] == "x"`:               true,
		`1 in steps.get.output.rows`:                    true,
		`steps.get.output?.nope?.deeper == nil`:         true,
		`steps["my-step"].status == nil`:                true,
		`contact.deleted and tombstone.reason == "x"`:   false,
		`tombstone.deleted_at == nil`:                   true,
		`true`:                                          true,
		`contact?.email == contact["email"]`:            true,
	} {
		e := compileBool(t, text)
		if got, err := e.Bool(annEnv()); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
}

// What cannot be evaluated does not hold, says where, and repeats nothing of the contact.
func TestConditionsThatCannotBeEvaluated(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`contact.fields.nope > 18`, `contact.fields.plan > 18`, `contact.fields.plan`, `contact.fields.nope`,
		`int(contact.fields.plan) == 1`, `not contact.fields.plan`, `contact.tags[99] == "x"`, `contact.fields.plan.x == 1`,
		`steps["my-step"].output.rows == 1`, `steps.get.output[contact.email].x == 1`, `tombstone.restorable_until < now`,
		`any(contact.fields.plan, true)`, `5 % int("0") == 1`, `date(contact.email) < now`,
		`duration(contact.email) > duration("1d")`, `contact.fields.likes == steps.get.output.rows`, `len(contact.fields.age) == 1`,
		`contact.fields.age contains "x"`, `lower(contact.fields.age) == "x"`,
		`contact.fields.age[contact.email] == 1`, `int(contact.email) == 1`,
	} {
		e := compileBool(t, text)
		got, err := e.Bool(annEnv())
		if got || err == nil || crm.CodeOf(err) != crm.CodeInvalid || !strings.Contains(err.Error(), "f.yaml:1:") {
			t.Errorf("%s: got %v, %v", text, got, err)
			continue
		}
		for _, secret := range []string{"gold", "ann@", "Ann", "Unsubscribed", "tea"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error says %q: %v", text, secret, err)
			}
		}
	}
	if ok, err := compileBool(t, `contact.email == ""`).Bool(Env{}); ok || err == nil {
		t.Error("a missing contact is not an error")
	}
	env := annEnv()
	env.ListName = func(crm.ItemID) string { panic("the caller's fault") }
	if ok, err := compileBool(t, `"news" in contact.lists`).Bool(env); ok || err == nil {
		t.Error("a panic is not an error")
	}
	if ok, err := compileBool(t, `event.tag == ""`).Bool(Env{Contact: ann()}); ok || err == nil {
		t.Error("a missing event is not an error")
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"VIP" in contact.tags`:                                   "tag:vip",
		`any(contact.tags, # == "vip")`:                           "tag:",
		`event.tag in contact.tags and "a" in contact.tags`:       "tag:",
		`contact.fields.plan == 1 or contact.fields["a b"] == 1`:  "field:a b field:plan",
		`contact.fields[event.tag] == 1 or contact.fields.a == 1`: "field:",
		`"plan" in contact.fields`:                                "field:plan",
		`contact.first_name == contact.email`:                     "field:first_name identity:email",
		`contact.name == ""`:                                      "field:first_name field:last_name",
		`contact.phone == contact.external_id`:                    "identity:external_id identity:phone",
		`contact.lists.news == "subscribed"`:                      "list:",
		`contact.dnd.Email`:                                       "dnd:email",
		`contact.archived`:                                        "archived:",
		`contact.id == "" or contact.created_at < now`:            "",
		`contact.deleted`:                                         "",
		`event.tag == "x"`:                                        "",
		`contact.revision > 1`:                                    "archived: dnd: field: identity: list: tag:",
	} {
		var got []string
		for _, f := range compileBool(t, text).Reads() {
			got = append(got, string(f.Kind)+":"+f.Name)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s reads %q, want %q", text, s, want)
		}
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	e := compileBool(t, `steps.get.output.x == 1 and "a" in contact.tags and now > run.started_at`)
	for name, want := range map[string]bool{"steps": true, "contact": true, "contact.tags": true, "now": true, "run": true,
		"event": false, "contact.email": false, "con": false, "tombstone": false} {
		if e.Uses(name) != want {
			t.Errorf("Uses(%s) = %v", name, !want)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		kind Kind
		want any
		code string
	}{
		{`contact.email`, Text, "ann@example.org", ""},
		{`"retention"`, Text, "retention", ""},
		{`contact.fields.age`, Text, "20", ""},
		{`contact.created_at`, Text, "2026-01-01T00:00:00Z", ""},
		{`contact.tags`, Text, nil, "E105"},
		{`nil`, Text, nil, "E105"},
		{`nil`, Bool, nil, "E105"},
		{`contact.fields`, Bool, nil, "E105"},
		{`1`, Bool, nil, "E105"},
		{`1 + 1`, Any, 2, ""},
		{`contact.fields.nope`, Any, nil, ""},
		{`event.tag`, Any, "UNSUBSCRIBED", ""}, // a tag keeps its spelling
		{`contact.tags[1]`, Any, "Straße", ""},
	} {
		e, err := CompileExpr(everything(c.text), c.kind)
		if c.code != "" {
			if d := Findings(err); len(d) != 1 || d[0].Code != c.code {
				t.Errorf("%s: %v, want %s", c.text, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got, err := e.Eval(annEnv()); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.text, got, err)
		}
	}
	e, err := CompileExpr(everything(`contact.fields.nope`), Text)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := e.Eval(annEnv()); err == nil {
		t.Errorf("a missing key is %v", v)
	}
}

// Whatever the spelling: a condition on a tag holds exactly when the two fold alike.
func TestFolding(t *testing.T) {
	t.Parallel()
	alphabet := []rune("aAkK\u212asS\u017fßẞéÉσςΣİıi ")
	rapid.Check(t, func(t *rapid.T) {
		word := func(label string) string {
			return string(rapid.SliceOfN(rapid.SampledFrom(alphabet), 1, 4).Draw(t, label))
		}
		a, b := word("a"), word("b")
		env := Env{Contact: &crm.Contact{Tags: []crm.Tag{{Name: b}}}, Event: &crm.Event{Data: crm.EventData{Name: b}}}
		q := strconv.Quote(a)
		want := crm.Fold(a) == crm.Fold(b)
		for _, text := range []string{`event.tag == ` + q, q + ` in contact.tags`, `any(contact.tags, # == ` + q + `)`,
			`event.tag in [` + q + `, "other"]`, `(` + q + ` + "") in contact.tags`, `not (event.tag != ` + q + `)`} {
			e, err := CompileExpr(everything(text), Bool)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := e.Bool(env); err != nil || got != want {
				t.Fatalf("%s on %q: %v, %v", text, b, got, err)
			}
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	e := compileBool(t, `event.tag == "unsubscribed" and any(contact.tags, # == "straße") and contact.fields.age > 18`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if ok, err := e.Bool(annEnv()); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
