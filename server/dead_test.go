package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// trial fails for whoever has no date in a field.
const trial = `version: 1
id: trial
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "trial"}]
steps:
  - {id: note, set: {text: "ends ${ contact.email }", api_token: t0ps3cret, n: 3}}
  - {id: until, wait: {until: date(contact.fields.ends)}}
  - {id: over, exit: {status: completed}}
end: true
`

// failing makes so many contacts whose runs have failed, a second apart.
func (r *rig) failing(n int) (ids []crm.ContactID) {
	r.t.Helper()
	r.account()
	ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "trial.yaml", Content: []byte(trial)}}})
	for i := range n {
		v := ask[ContactView](r, "contact.create", ContactCreate{Email: fmt.Sprintf("c%d@example.com", i), Tags: []string{"early"}})
		ask[ContactView](r, "contact.tag", ContactTag{ID: v.ID.String(), Add: []string{"trial"}})
		r.must(r.app.Engine.Settle(r.t.Context()))
		r.clock.Advance(time.Second)
		ids = append(ids, v.ID)
	}
	return ids
}

func (r *rig) list(q RunList) (ids []crm.ContactID) {
	r.t.Helper()
	page := ask[RunPage](r, "run.list", q)
	for _, v := range page.Runs {
		ids = append(ids, v.Contact)
	}
	if page.Total != len(ids) {
		r.t.Errorf("%d of %d", len(ids), page.Total)
	}
	return ids
}

// What failed is found by its code and since when, in the order in which it ended, and is gone from there once it is
// retried: a list that did not follow would have it retried twice.
func TestFailedRunsAreListed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	begun := crm.At(r.clock.Now())
	ids := r.failing(4)
	for name, c := range map[string]struct {
		q    RunList
		want []crm.ContactID
	}{
		"failed":            {RunList{Status: crm.RunFailed}, ids},
		"of the workflow":   {RunList{Status: crm.RunFailed, Workflow: "trial"}, ids},
		"by the code":       {RunList{Code: "expression"}, ids},
		"by another code":   {RunList{Code: "odd"}, nil},
		"timed out":         {RunList{Code: "timeout"}, nil},
		"since":             {RunList{Since: begun + 2*crm.Second}, ids[2:]},
		"since, just after": {RunList{Since: begun + 2*crm.Second + 1, Status: crm.RunFailed}, ids[3:]},
		"since, of another": {RunList{Since: begun, Status: crm.RunCompleted}, nil},
		"of a contact":      {RunList{Status: crm.RunFailed, Contact: ids[1].String(), Code: "expression"}, ids[1:2]},
		"not of a contact":  {RunList{Contact: ids[1].String(), Code: "odd"}, nil},
	} {
		if got := r.list(c.q); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, wanted %v", name, got, c.want)
		}
	}
	page := ask[RunPage](r, "run.list", RunList{Status: crm.RunFailed, Limit: 2})
	if page.Total != 4 || len(page.Runs) != 2 || page.Runs[0].Contact != ids[2] || page.Runs[0].Code != "expression" {
		t.Errorf("the latest two: %+v", page)
	}
	// The fault is put right for one of them, and its run goes on.
	run := page.Runs[1].ID
	ask[ContactView](r, "contact.update", ContactUpdate{ID: ids[3].String(), Fields: map[string]string{"ends": "2026-04-01"}})
	v := ask[RunView](r, "run.retry", RunRetry{Run: run})
	if v.Status != crm.RunActive || v.Step != "until" || v.Retries != 1 || v.Code != "" {
		t.Errorf("retried: %+v", v)
	}
	r.must(r.app.Engine.Settle(t.Context()))
	if v = ask[RunView](r, "run.get", RunID{run}); v.Status != crm.RunWaiting || len(v.Steps) < 2 {
		t.Errorf("it does not wait: %+v", v)
	}
	if got := r.list(RunList{Status: crm.RunFailed}); fmt.Sprint(got) != fmt.Sprint(ids[:3]) {
		t.Errorf("failed after that: %v", got)
	}
	r.refused("run.retry", RunRetry{Run: run}, crm.CodeInvalid)
	r.refused("run.retry", RunRetry{Run: crm.RunID{1}}, crm.CodeNotFound)
	r.refused("run.retry", RunRetry{Run: page.Runs[0].ID, From: "over"}, crm.CodeInvalid)
	if err := r.try(crm.Viewer, "run.retry", RunRetry{Run: page.Runs[0].ID}, nil, nil); crm.CodeOf(err) != crm.CodeDenied {
		t.Errorf("by a viewer: %v", err)
	}
}

// What was sent and what came back is shown to whoever may write contacts, its shape to others, and a secret to
// nobody: a view that forgot the role would show the address to a viewer.
func TestTraceIsShownByRole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ids := r.failing(1)
	run := ask[RunPage](r, "run.list", RunList{}).Runs[0].ID
	r.must(r.app.Store.Update(t.Context(), func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		_, err = tx.CommitStep(crm.StepRecord{Run: run, Account: acc.ID, Contact: ids[0], Path: "call", Action: "http.call", Status: store.StepDone,
			Attempt: 1, Input: []byte(`"{\"to\":\"c0@example.com"`), Cut: true, Output: []byte(`{"to":["c0@example.com"],"ok":true,"none":null,"password":"t0ps3cret"}`)})
		return err
	}))
	see := func(role crm.Role) (note, call StepView, text string) {
		var v RunView
		r.must(r.try(role, "run.get", RunID{run}, &v, nil))
		for _, s := range v.Steps {
			switch s.Step {
			case "note":
				note = s
			case "call":
				call = s
			}
			text += string(s.Input) + string(s.Output)
		}
		return note, call, text
	}
	for _, role := range []crm.Role{crm.Admin, crm.Operator, crm.Agent} {
		note, call, text := see(role)
		if string(note.Output) != `{"api_token":"[redacted]","n":3,"text":"ends c0@example.com"}` || !call.Cut || !strings.Contains(string(call.Input), "c0@example.com") {
			t.Errorf("%s sees %s, %s", role, note.Output, call.Input)
		}
		if strings.Contains(text, "t0ps3cret") {
			t.Errorf("%s sees a secret: %s", role, text)
		}
	}
	note, call, text := see(crm.Viewer)
	if string(note.Output) != `{"api_token":"(text)","n":"(number)","text":"(text)"}` || string(call.Input) != `"(text)"` ||
		string(call.Output) != `{"none":null,"ok":"(true or false)","password":"(text)","to":["(text)"]}` || strings.Contains(text, "example.com") {
		t.Errorf("a viewer sees %s", text)
	}
	r.clock.Advance(time.Hour)
	ask[any](r, "contact.purge", ContactPurge{ID: ids[0].String(), Confirm: "PURGE", Reason: "a request"})
	r.refused("run.get", RunID{run}, crm.CodeNotFound)
}
