package server

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

func TestAssociated(t *testing.T) {
	t.Parallel()
	at := func(s string) (n crm.Nanos) { n, _ = intakeDate(s); return n }
	for line, want := range map[string]intakeItem{
		`{"kind":"task","id":"t1","contact":"c1","title":"Call","body":"soon","status":"open","created_at":"2026-01-02T03:04:05Z","due":"2026-02-01"}`: {
			Line: 1, Kind: crm.Task, ID: "t1", Contacts: []string{"c1"}, Record: crm.Record{Kind: crm.Task, Title: "Call", Body: "soon",
				Status: "open", CreatedAt: at("2026-01-02T03:04:05Z"), Due: at("2026-02-01")}},
		`{"kind":"manual_action","id":" m ","contact":"c1"}` + "\r": {
			Line: 1, Kind: crm.ManualAction, ID: "m", Contacts: []string{"c1"}, Record: crm.Record{Kind: crm.ManualAction}},
		`{"kind":"opportunity","id":"o1","name":"Roof","stage":"offer","status":"open","value_cents":125000,"contacts":["c1","c2"],"primary":"c2"}`: {
			Line: 1, Kind: crm.Opportunity, ID: "o1", Contacts: []string{"c1", "c2"}, Primary: "c2",
			Object: crm.Object{Kind: crm.Opportunity, Name: "Roof", Stage: "offer", Status: "open", Cents: 125000}},
		`{"kind":"message","id":"m1","contact":"c1","conversation":" v1 ","body":"Hello"}`: {
			Line: 1, Kind: crm.Message, ID: "m1", Contacts: []string{"c1"}, Conversation: "v1", Record: crm.Record{Kind: crm.Message, Body: "Hello"}},
		`{"kind":"company","id":"b1","name":"Acme","contacts":null}`: {
			Line: 1, Kind: crm.Company, ID: "b1", Object: crm.Object{Kind: crm.Company, Name: "Acme"}},
	} {
		items, rejects, err := tryItems("\ufeff" + line + "\n\n")
		if err != nil || len(rejects) > 0 || len(items) != 1 || !reflect.DeepEqual(items[0], want) {
			t.Errorf("%s\nerror %v, rejects %v\n got %+v\nwant %+v", line, err, rejects, items, want)
		}
	}
}

func TestBadLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`{"kind":"note","id":"n1","contact":"canary@example.com"`:                                            "bad_json",
		`["canary@example.com"]`:                                                                             "bad_json",
		`{"kind":"note","id":"n1","contact":"c1"} {"canary@example.com":1}`:                                  "bad_json",
		`canary@example.com`:                                                                                 "bad_json",
		`{"kind":"note","id":"n1","contact":"c1","canary@example.com":1}`:                                    "unknown_key",
		`{"kind":"note","id":"n1","contact":"c1","Title":"x"}`:                                               "unknown_key",
		`{"kind":"note","id":"n1","contact":"c1","stage":"x"}`:                                               "unknown_key",
		`{"kind":"company","id":"n1","name":"c1","stage":"x"}`:                                               "unknown_key",
		`{"kind":"note","id":"n1","contact":"c1","id":"n2"}`:                                                 "unknown_key",
		`{"kind":"campaign","id":"n1","contact":"c1"}`:                                                       "unknown_kind",
		`{"kind":"workflow_run","id":"n1","contact":"c1"}`:                                                   "unknown_kind",
		`{"id":"n1","contact":"canary@example.com"}`:                                                         "unknown_kind",
		`{"kind":"message","id":"m1","contact":"canary@example.com"}`:                                        "missing",
		`{"kind":"note","id":"n1","contact":"c1","conversation":"canary@example.com"}`:                       "unknown_key",
		`{"kind":"note","contact":"canary@example.com"}`:                                                     "missing",
		`{"kind":"note","id":"n1","contact":" "}`:                                                            "missing",
		`{"kind":"company","id":"b1"}`:                                                                       "missing",
		`{"kind":"opportunity","id":"o1","name":"x","contacts":[]}`:                                          "missing",
		`{"kind":"opportunity","id":"o1","name":"x","contacts":["a"],"primary":"canary@example.com"}`:        "bad_value",
		`{"kind":"opportunity","id":"o1","name":"x","contacts":["a","a"]}`:                                   "bad_value",
		`{"kind":"opportunity","id":"o1","name":"x","contacts":"canary@example.com"}`:                        "bad_value",
		`{"kind":"opportunity","id":"o1","name":"x","contacts":["a"],"value_cents":1.5}`:                     "bad_value",
		`{"kind":"opportunity","id":"o1","name":"x","contacts":["a"],"value_cents":99999999999999999999999}`: "bad_value",
		`{"kind":"note","id":7,"contact":"c1"}`:                                                              "bad_value",
		`{"kind":"note","id":"n1","contact":"c1","created_at":"canary@example.com"}`:                         "bad_date",
		`{"kind":"note","id":"n1","contact":"c1","body":"a\u0000b"}`:                                         "encoding",
		"{\"kind\":\"note\",\"id\":\"n1\",\"contact\":\"c1\",\"body\":\"\xff\"}":                             "encoding",
		`{"kind":"note","id":"last","contact":"c1"}`:                                                         "", // the last line is then the duplicate
		`{"kind":"note","id":"` + strings.Repeat("x", intakeField) + `","contact":"c1"}`:                     "too_large",
	} {
		items, rejects, err := tryItems(line + "\n" + `{"kind":"note","id":"last","contact":"c1"}`)
		if want == "" {
			if codes(rejects) != "2 duplicate" || len(items) != 1 {
				t.Errorf("the same id twice: %d items, rejects %v", len(items), rejects)
			}
			continue
		}
		if err != nil || codes(rejects) != "1 "+want || len(items) != 1 || items[0].Line != 2 {
			t.Errorf("%.120s\nerror %v, %d items, rejects %s, want 1 %s", line, err, len(items), codes(rejects), want)
		}
		if says := spoken(rejects); strings.Contains(says, "canary") {
			t.Errorf("a reject repeats the line: %s", says)
		}
	}
}

// What is written as JSON is read back the same.
func TestAssociatedReadBack(t *testing.T) {
	t.Parallel()
	text := rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) })
	rapid.Check(t, func(t *rapid.T) {
		title, body, status := text.Draw(t, "title"), text.Draw(t, "body"), text.Draw(t, "status")
		created := crm.Nanos(rapid.Int64Range(0, 4e18).Draw(t, "created"))
		kind := rapid.SampledFrom(crm.RecordKinds).Draw(t, "kind")
		object := map[string]any{"kind": kind, "id": "1", "contact": "c", "title": title, "body": body, "status": status, "created_at": created}
		if kind == crm.Message {
			object["conversation"] = "v"
		}
		line, _ := json.Marshal(object)
		items, rejects, err := tryItems(string(line))
		want := crm.Record{Kind: kind, Title: title, Body: body, Status: status, CreatedAt: created}
		if err != nil || len(rejects) > 0 || len(items) != 1 || items[0].Record != want {
			t.Fatalf("%s\nerror %v, rejects %v, got %+v", line, err, rejects, items)
		}
	})
}

// Each line that is not empty is either taken or rejected, in order, and nothing panics.
func FuzzAssociated(f *testing.F) {
	for _, s := range []string{"", "\n\n", "{}", `{"kind":"note","id":"1","contact":"c"}` + "\nx\n", "[[[[", `{"kind":{"a":[]}}`, "\ufeff{\"kind\":\"company\",\"id\":\"1\",\"name\":\"n\",\"contacts\":[\"a\"]}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		items, rejects, err := tryItems(file)
		if err != nil {
			return
		}
		told := map[int]int{}
		for _, it := range items {
			told[it.Line]++
		}
		for _, r := range rejects {
			told[r.Line]++
		}
		for i, l := range strings.Split(strings.TrimPrefix(file, "\ufeff"), "\n") {
			want := 1
			if strings.TrimRight(l, "\r\n") == "" {
				want = 0
			}
			if told[i+1] != want {
				t.Fatalf("line %d was told %d times, want %d", i+1, told[i+1], want)
			}
		}
	})
}
