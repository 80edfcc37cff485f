package triggers

import (
	"errors"
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

func TestHostileExpressionsAreRefused(t *testing.T) {
	t.Parallel()
	for text, code := range map[string]string{
		`repeat("x", 1000000) == ""`:                                    "E107",
		`replace(contact.email, "a", contact.email) == ""`:              "E107",
		`split(contact.email, "") == []`:                                "E107",
		`join(contact.tags) == ""`:                                      "E107",
		`now() > contact.created_at`:                                    "E107",
		`toJSON(contact.fields) == ""`:                                  "E107",
		`fromJSON("1") == 1`:                                            "E107",
		`map(contact.tags, # + #) == []`:                                "E107",
		`reduce(contact.tags, #acc + #acc, "x") == ""`:                  "E107",
		`groupBy(contact.tags, #) == {}`:                                "E107",
		`sortBy(contact.tags, #) == []`:                                 "E107",
		`sum(contact.tags, 1) == 1`:                                     "E107",
		`len(1..1000000) > 0`:                                           "E107",
		`all(contact.tags, all(contact.tags, all(contact.tags, true)))`: "E107",
		`any(contact.tags, len(filter(contact.tags, true)) > 0)`:        "E107",
		`let a = "x"; let b = a + a; b == ""`:                           "E107",
		`true; false`:                                                   "E107",
		`$env == nil`:                                                   "E107",
		`$env["contact"] == nil`:                                        "E107",
		`contact.email matches contact.fields.pattern`:                  "E107",
		`contact.email matches "(x{500}){2}"`:                           "E106",
		`contact.email matches "(x{1000}){1000}"`:                       "E109",
		`contact.email matches "` + strings.Repeat("x?", 300) + `"`:     "E109",
		`now.AddDate(1, 1, 1) > now`:                                    "E107",
		`contact.created_at.UnixNano == nil`:                            "E104",
		`contact[contact.email] == 1`:                                   "E107",
		`steps[contact.email].output == 1`:                              "E107",
		`b"x" == 1`:                                                     "E107",
		strings.Repeat("!", 4000) + `true`:                              "E106",
		strings.Repeat("!", 300) + `true`:                               "E106",
		`"` + strings.Repeat("x", 5000) + `" == ""`:                     "E106",
		`1` + strings.Repeat("+1", 150) + ` == 1`:                       "E106",
		strings.Repeat("(", 4000):                                       "E101",
		strings.Repeat("[", 4000):                                       "E101",
		strings.Repeat("{a:", 1300):                                     "E106",
		"\xff\xfe":                                                      "E101",
		"a\x00b":                                                        "E101",
		``:                                                              "E101",
		` `:                                                             "E101",
		`get("x", 1)`:                                                   "E107",
		`::now()`:                                                       "E107",
		`·fold("x") == "x"`:                                             "E101",
	} {
		_, err := CompileExpr(everything(text), Bool)
		if d := Findings(err); len(d) == 0 || d[0].Code != code {
			t.Errorf("%.60s: %v, want %s", text, err, code)
		}
	}
}

// What is accepted ends soon and small, however large the values are: too much work is an error.
func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	c := ann()
	c.Fields = append(c.Fields, crm.Field{Name: "text", Value: crm.Text(strings.Repeat("a", maxText))},
		crm.Field{Name: "wide", Value: crm.Text(strings.Repeat("a", maxText+1))})
	for i := range maxList - 2 {
		c.Tags = append(c.Tags, crm.Tag{Name: "t" + strconv.Itoa(i)})
	}
	env := annEnv()
	env.Contact = c
	if ok, err := compileBool(t, `any(contact.tags, # == "T997")`).Bool(env); !ok || err != nil {
		t.Fatalf("1000 tags: %v, %v", ok, err)
	}
	big := make([]any, maxList+1)
	env.Steps = map[string]StepInfo{"get": {"done", big}}
	for _, text := range []string{
		`contact.fields.wide == "x"`,
		`contact.fields.text + contact.fields.text == "x"`,
		`any(contact.tags, contact.fields.text matches "(a|b)*c")`,
		`any(contact.tags, contact.fields.text contains "b")`,
		`any(contact.tags, upper(contact.fields.text) == #)`,
		`any(contact.tags, len(contact.fields.text) == 1)`,
		`any(steps.get.output, # == 1)`,
		`1 in steps.get.output`,
		`string(steps.get.output) == ""`,
	} {
		ok, err := compileBool(t, text).Bool(env)
		var ce *crm.Error
		if ok || !errors.As(err, &ce) {
			t.Errorf("%s: %v, %v", text, ok, err)
		}
	}
	c.Tags = append(c.Tags, crm.Tag{Name: "one more"})
	if ok, err := compileBool(t, `any(contact.tags, true)`).Bool(env); ok || err == nil {
		t.Error("1001 tags were looked at")
	}
	if ok, err := compileBool(t, `"ONE MORE" in contact.tags`).Bool(env); !ok || err != nil {
		t.Errorf("one tag of 1001: %v, %v", ok, err)
	}
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
