package server

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

const greeting = `version: 1
id: greet
triggers:
  - {id: lead, event: contact.tag_added, if: event.tag == "Lead" and contact.first_name != "Bob"}
  - {id: nightly, cron: "0 3 * * *", over: contacts, where: '"Lead" in contact.tags'}
filter: not ("VIP" in contact.tags)
steps:
  - {id: pause, wait: 2d}
  - {id: end, branch: [{if: contact.first_name == "Ada", steps: [{id: ada, exit: {status: skipped, reason: it is Ada}}]}, {else: true, steps: []}]}
end: true
`

func (r *rig) greeting() {
	r.account()
	ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "greet.yaml", Content: []byte(greeting)}}})
}

func (r *rig) settle() {
	r.t.Helper()
	r.must(r.app.Engine.Settle(r.t.Context()))
}

// counted counts what a question must leave as it is.
func (r *rig) counted() (entries uint64, runs int) {
	n, _, err := r.app.Store.VerifyLog(r.t.Context())
	r.must(err)
	return n, ask[RunPage](r, "run.list", RunList{}).Total
}

// Every answer that a trigger can give, asked for by the entry of the event.
func TestExplainEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.greeting()
	person := func(name string, tags ...string) string {
		return ask[ContactView](r, "contact.create", ContactCreate{Fields: map[string]string{"first_name": name}, Tags: tags}).ID.String()
	}
	for _, tt := range []struct {
		name   string
		person string
		do     func(id string) // after the tag
		tag    string
		answer runtime.Answer
		why    crm.Refusal
	}{
		{"started", person("Ada"), nil, "lead", runtime.AnsweredStarted, ""},
		{"another tag", person("Cy"), nil, "Customer", runtime.AnsweredNo, ""},
		{"the second part", person("Bob"), nil, "Lead", runtime.AnsweredNo, ""},
		{"filtered", person("Dan", "VIP"), nil, "Lead", runtime.AnsweredFilter, ""},
		{"deleted since", person("Eve"), func(id string) { ask[Deletion](r, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"}) }, "Other", runtime.AnsweredRefused, crm.RefusedState},
		{"restored since", person("Fay"), func(id string) {
			ask[Deletion](r, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"})
			ask[ReceiptView](r, "contact.restore", ContactRestore{ID: id, Confirm: "yes"})
		}, "Other", runtime.AnsweredRefused, crm.RefusedEpoch},
	} {
		ask[ContactView](r, "contact.tag", ContactTag{ID: tt.person, Add: []string{tt.tag}})
		r.settle()
		k := crm.Key{}
		var entry uint64
		r.must(r.app.Store.View(t.Context(), func(tx *store.Tx) error {
			acc, err := theAccount(tx)
			id, perr := crm.ParseID[crm.ContactKind](tt.person)
			r.must(perr)
			k = crm.Key{Account: acc.ID, Contact: id}
			h, herr := tx.History(k, 0, 1)
			r.must(herr)
			entry = h[0].Seq
			return err
		}))
		if tt.do != nil {
			tt.do(tt.person)
			r.settle()
		}
		before, runs := r.counted()
		v := ask[Explained](r, "workflow.explain", WorkflowExplain{Event: entry})
		if after, now := r.counted(); after != before || now != runs {
			t.Errorf("%s: explaining changed the log or the runs", tt.name)
		}
		if len(v.Triggers) != 1 || v.Triggers[0].Answer != tt.answer || v.Triggers[0].Refusal != tt.why || v.Event.Name != tt.tag {
			t.Errorf("%s: %+v", tt.name, v)
			continue
		}
		if got := v.Triggers[0].Parts[0].Values["event.tag"]; got != tt.tag {
			t.Errorf("%s: event.tag is shown as %v", tt.name, got)
		}
		if started := tt.answer == runtime.AnsweredStarted; started == v.Triggers[0].Run.IsZero() {
			t.Errorf("%s: the run is %s", tt.name, v.Triggers[0].Run)
		}
		if tt.name == "the second part" && v.Triggers[0].Parts[1].Values["contact.first_name"] != "Bob" {
			t.Errorf("the value that decided is not there: %+v", v.Triggers[0].Parts)
		}
	}
}

// After a restore a schedule is refused for it, and what was suppressed is told.
func TestExplainContactAfterARestore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.greeting()
	id := ask[ContactView](r, "contact.create", ContactCreate{Email: "ada@example.com", Tags: []string{"Lead"}}).ID.String()
	before := ask[Explained](r, "workflow.explain", WorkflowExplain{Contact: id})
	if got := before.Triggers[1]; got.Trigger != "nightly" || got.Answer != runtime.AnsweredYes || before.Triggers[0].Answer != runtime.AnsweredNoEvent {
		t.Fatalf("before: %+v", before.Triggers)
	}
	ask[Deletion](r, "contact.delete", ContactDelete{ID: id, Confirm: "DELETE"})
	if v := ask[Explained](r, "workflow.explain", WorkflowExplain{Contact: id}); v.Triggers[1].Refusal != crm.RefusedState {
		t.Errorf("deleted: %+v", v.Triggers[1])
	}
	ask[ReceiptView](r, "contact.restore", ContactRestore{ID: id, Confirm: "yes"})
	r.clock.Advance(24 * time.Hour)
	r.settle()
	v := ask[Explained](r, "workflow.explain", WorkflowExplain{Contact: id, Workflow: "greet"})
	if got := v.Triggers[1]; got.Answer != runtime.AnsweredRefused || got.Refusal != crm.RefusedQuiet {
		t.Errorf("restored: %+v", got)
	}
	if len(v.Suppressed) == 0 || v.Suppressed[0].Trigger != "greet/lead" || v.Suppressed[0].Epoch != 2 {
		t.Errorf("suppressed: %+v", v.Suppressed)
	}
	r.refused("workflow.explain", WorkflowExplain{}, crm.CodeInvalid)
	r.refused("workflow.explain", WorkflowExplain{Event: 1 << 40}, crm.CodeNotFound)
	r.refused("workflow.explain", WorkflowExplain{Contact: id, Workflow: "nobody"}, crm.CodeNotFound)
}

// A simulation goes the way that the run then goes, and leaves everything as it is.
func TestSimulateIsWhatHappens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.greeting()
	for name, want := range map[string]crm.RunStatus{"Ada": crm.RunExited, "Cy": crm.RunCompleted} {
		id := ask[ContactView](r, "contact.create", ContactCreate{Fields: map[string]string{"first_name": name}}).ID.String()
		r.settle()
		before, _ := r.counted()
		q := WorkflowSimulate{ID: "greet", Contact: id, Event: crm.ContactTagAdded, Name: "Lead"}
		s := ask[runtime.Simulation](r, "workflow.simulate", q)
		if after, _ := r.counted(); after != before {
			t.Error("a simulation wrote to the log")
		}
		if !s.Starts || s.Status != want || s.Path[0].Step != "pause" || s.Path[0].Due-s.Path[0].At != 2*crm.Day {
			raw, _ := json.Marshal(s)
			t.Errorf("%s: %s", name, raw)
		}
		ask[ContactView](r, "contact.tag", ContactTag{ID: id, Add: []string{"Lead"}})
		r.settle()
		if again := ask[runtime.Simulation](r, "workflow.simulate", q); again.Starts || again.Triggers[0].Answer != runtime.AnsweredKey || len(again.Notes) != 1 {
			t.Errorf("%s, with a run under way: %+v", name, again)
		}
		r.clock.Advance(48 * time.Hour)
		r.settle()
		if runs := ask[RunPage](r, "run.list", RunList{Contact: id}).Runs; len(runs) != 1 || runs[0].Status != s.Status {
			t.Errorf("%s: the simulation ended as %s, the runs are %+v", name, s.Status, runs)
		}
	}
	r.refused("workflow.simulate", WorkflowSimulate{ID: "nobody", Contact: "ada@example.com"}, crm.CodeNotFound)
}
