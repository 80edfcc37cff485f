package flowtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/workflow"
)

const cleanup = `version: 1
id: unsubscribed-cleanup
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Unsubscribed"}
filter: not ("VIP" in contact.tags)
steps:
  - {id: cool_off, wait: 14d}
  - id: recheck
    branch:
      - if: '"Unsubscribed" in contact.tags'
        steps:
          - {id: remove, action: contact.delete, with: {reason: "unsubscribed"}}
      - else: true
        steps: [{id: done, exit: {status: skipped, reason: no longer unsubscribed}}]
`

const call = `version: 1
id: call
triggers: [{id: new, event: contact.created}]
steps:
  - {id: ask, action: http.request, with: {url: "https://example.org"}}
  - {id: mark, action: contact.tag, with: {add: ["score ${ steps.ask.output.score }"]}}
`

const hook = `version: 1
id: shop
triggers:
  - {id: paid, webhook: {contact: event.body.customer.id, by: external_id}, if: event.body.type == "paid"}
  - {id: any, webhook: {contact: event.body.who}}
steps:
  - {id: mark, action: contact.tag, with: {add: ["${ event.body.type ?? run.trigger }"]}}
`

// parse parses a workflow with its tests.
func parse(t *testing.T, text string) *workflow.Workflow {
	t.Helper()
	def, err := workflow.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return def
}

// Cases that hold, and, under wrong, cases of which each must fail for what it names.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, flow, test, wrong string }{
		{"as in the design", cleanup, `{contact: {id: c1, tags: [Unsubscribed]}, send: {event: contact.tag_added, tag: Unsubscribed}, advance: 14d,
			expect: {run: {status: completed}, actions: [contact.delete], contact: {deleted: true}}}`, ""},
		{"a second early", cleanup, `{send: {event: contact.tag_added, tag: unsubscribed}, advance: 13d23h59m59s,
			expect: {run: {status: waiting, step: cool_off}, actions: [], contact: {deleted: false}}}`, ""},
		{"a filter", cleanup, `{contact: {tags: [VIP]}, send: {event: contact.tag_added, tag: Unsubscribed}, expect: {runs: 0}}`, ""},
		{"then", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, then: [{advance: 2d, send: {event: contact.tag_removed, tag: Unsubscribed}},
			{advance: 20d}], expect: {run: {status: skipped, reason: no longer unsubscribed}, contact: {deleted: false, not_tags: [Unsubscribed]}}}`, ""},
		{"a restore starts nothing", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, advance: 14d,
			then: [{expect: {contact: {deleted: true}}}, {restore: true}, {advance: 30d}], expect: {runs: 1, actions: [contact.delete], contact: {tags: [unsubscribed], deleted: false}}}`, ""},
		{"suspended", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, then: [{delete: true}, {restore: true}, {advance: 20d}],
			expect: {run: {status: suspended}, contact: {deleted: false}}}`, ""},
		{"purged at last", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, advance: 14d, then: [{advance: 59d23h}, {expect: {contact: {purged: false}}}, {advance: 2h}],
			expect: {contact: {purged: true}}}`, ""},
		{"two contacts", cleanup, `{contacts: [{id: ada, email: ada@example.org}, {id: bob, email: bob@example.org}], send: {event: contact.tag_added, tag: Unsubscribed, contact: bob}, advance: 14d,
			expect: {runs: 0, contacts: [{id: ada, deleted: false}, {id: bob, deleted: true}]}}`, ""},
		{"a mock", call, `{send: {event: contact.created}, mocks: {http.request: {status: done, output: {score: 7}}},
			expect: {run: {status: completed}, actions: [http.request, contact.tag], contact: {tags: [score 7]}}}`, ""},
		{"a mock that retries", call, `{send: {event: contact.created}, mocks: {http.request: [{status: retry, after: 1h, times: 2}, {status: done, output: {score: 7}}]},
			then: [{advance: 1h}, {expect: {run: {status: active}}}, {advance: 1h}], expect: {run: {status: completed}, actions: [http.request, contact.tag]}}`, ""},
		{"a mock that fails", call, `{send: {event: contact.created}, mocks: {http.request: {status: fail, code: refused}},
			expect: {run: {status: failed, step: ask, reason: 'step ask: refused'}, actions: [http.request]}}`, ""},
		{"a built-in one mocked", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, mocks: {contact.delete: {status: skip}}, advance: 14d,
			expect: {run: {status: completed}, contact: {deleted: false}}}`, ""},
		{"a request", hook, `{contact: {external_id: "42"}, send: {webhook: paid, body: {type: paid, customer: {id: 42}}}, expect: {runs: 1, contact: {tags: [paid]}}}`, ""},
		{"a request that is not for it", hook, `{contact: {external_id: "42"}, send: {webhook: paid, body: {type: open, customer: {id: 42}}}, expect: {runs: 0}}`, ""},
		{"a request by the case's id", hook, `{contacts: [{id: ada}, {id: bob}], send: {webhook: any, contact: bob, body: {who: bob}}, expect: {runs: 0, contacts: [{id: bob, tags: [any]}]}}`, ""},
		{"a request by an address", hook, `{contact: {email: Ada@example.org}, send: {webhook: any, body: {who: ada@example.org}}, expect: {runs: 1}}`, ""},
		{"a request for nobody", hook, `{contact: {external_id: "43"}, send: {webhook: paid, body: {type: paid, customer: {id: 42}}}, expect: {runs: 1}}`,
			`gives "42" for this body, and no contact of the case has that as its external_id`},
		{"a request for another", hook, `{contacts: [{id: ada, external_id: "1"}, {id: bob, external_id: "2"}], send: {webhook: paid, body: {type: paid, customer: {id: 2}}}, expect: {runs: 1}}`,
			`which is bob: say contact: bob`},
		{"a request that says nobody", hook, `{contact: {external_id: "1"}, send: {webhook: paid, body: {type: paid}}, expect: {runs: 1}}`, `the trigger's contact`},

		{"wrong status", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, advance: 13d, expect: {run: {status: completed}}}`, "run.status: completed, got waiting"},
		{"wrong actions", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, advance: 14d, expect: {actions: []}}`, "actions: [], got [contact.delete]"},
		{"wrong runs", cleanup, `{send: {event: contact.tag_added, tag: Unsubscribed}, expect: {runs: 2}}`, "runs: 2, got 1"},
		{"no run", cleanup, `{send: {event: contact.tag_added, tag: Lead}, expect: {run: {status: completed}}}`, "run: completed, got no run was started"},
		{"wrong tag", cleanup, `{contact: {tags: [A]}, expect: {contact: {tags: [B], not_tags: [a]}}}`, "contact.tags: has B, got [A]"},
		{"wrong field", cleanup, `{contact: {fields: {n: 3}}, expect: {contact: {fields: {n: '3'}}}}`, "contact.fields.n: 3 (text), got 3 (number)"},
		{"wrong list", cleanup, `{contact: {lists: {News: subscribed}}, expect: {contact: {lists: {news: bounced}}}}`, "contact.lists.news: bounced, got subscribed"},
		{"wrong deleted", cleanup, `{delete: true, expect: {contact: {deleted: false}}}`, "contact.deleted: false, got true"},
		{"nothing changed", cleanup, `{send: {event: contact.tag_removed, tag: A}, expect: {runs: 0}}`, "send contact.tag_removed: , got it changed nothing"},
		{"refused", cleanup, `{delete: true, then: [{delete: true}], expect: {runs: 0}}`, "the change: , got it was refused"},
		{"not mocked", call, `{send: {event: contact.created}, expect: {run: {status: completed}}}`, "run.status: completed, got failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			def := parse(t, tt.flow+"tests:\n  - {name: "+tt.name+", "+strings.TrimPrefix(tt.test, "{")+"\n")
			got, err := Run(t.Context(), []*workflow.Workflow{def})
			if err != nil {
				t.Fatal(err)
			}
			var failures []string
			for _, f := range got[0].Failures {
				failures = append(failures, fmt.Sprintf("%s: %s, got %s", f.What, f.Expected, f.Got))
			}
			all := strings.Join(failures, "\n")
			switch {
			case tt.wrong == "" && !got[0].Passed:
				t.Errorf("%s\n%s", all, strings.Join(got[0].Trace, "\n"))
			case tt.wrong != "" && (got[0].Passed || !strings.Contains(all, tt.wrong) || len(got[0].Trace) == 0 && len(def.Tests[0].Do) > 1):
				t.Errorf("it failed with %q and the trace %q, want %q", all, got[0].Trace, tt.wrong)
			}
		})
	}
}

// many is a file with n cases.
func many(n int) string {
	var b strings.Builder
	b.WriteString(cleanup + "tests:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: case %d, send: {event: contact.tag_added, tag: Unsubscribed}, advance: 14d, expect: {actions: [contact.delete]}}\n", i)
	}
	return b.String()
}

// Many cases of one file run beside each other and do not see each other.
func TestManyCases(t *testing.T) {
	t.Parallel()
	got, err := Run(t.Context(), []*workflow.Workflow{parse(t, many(200))})
	if err != nil || len(got) != 200 {
		t.Fatalf("%d results, %v", len(got), err)
	}
	for i, r := range got {
		if !r.Passed || r.Name != fmt.Sprintf("case %d", i) {
			t.Fatalf("%d, %s: %+v", i, r.Name, r.Failures)
		}
	}
}

// BenchmarkThousandCases runs a thousand cases of one file, each with a wait of 14 days and a delete.
func BenchmarkThousandCases(b *testing.B) {
	def, err := workflow.Parse("test.yaml", []byte(many(1000)))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Run(b.Context(), []*workflow.Workflow{def}); err != nil {
			b.Fatal(err)
		}
	}
}
