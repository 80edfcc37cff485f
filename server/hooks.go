package server

import (
	"errors"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// WebhookRequest is a request to a webhook, as it came from outside.
type WebhookRequest struct {
	Workflow string `json:"workflow"`
	Trigger  string `json:"trigger"`
	ID       string `json:"id"`   // the sender's: the same one again has no second effect, for a month at least
	Body     []byte `json:"body"` // the bytes that came; see crm.ParseBody
}

// WebhookAnswer says that a request is in the store. Whether a run starts is the workflow's to say.
type WebhookAnswer struct {
	Contact crm.ContactID `json:"contact"`
	Again   bool          `json:"again,omitempty"` // it had come before; nothing else happened
}

// webhookReceive takes in a request: it is durable before it is acknowledged. Who may call it has to be sure by
// other means that the request is from whom it says.
func webhookReceive(c *call, q WebhookRequest) (v WebhookAnswer, err error) {
	const op = "receive a request"
	if !goodText(q.ID) {
		return v, crm.Errorf(op, crm.CodeInvalid, "the id of the request is not text")
	}
	body, err := crm.ParseBody(q.Body)
	if err != nil {
		return v, err
	}
	for range 3 { // an apply may come between
		var acc crm.AccountID
		r := store.HookRequest{Workflow: q.Workflow, Trigger: q.Trigger, Delivery: q.ID, Body: body}
		if err = c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
			a, err := theAccount(tx)
			if err != nil {
				return err
			}
			acc = a.ID
			if err := c.allow(a, op, crm.VerbWrite); err != nil {
				return err
			}
			return addressed(tx, a.ID, &r)
		}); err != nil {
			return v, err
		}
		err = c.Store.Update(c.ctx, func(tx *store.Tx) error {
			v = WebhookAnswer{}
			v.Contact, v.Again, err = tx.ReceiveRequest(c.by, acc, r)
			return err
		})
		if !errors.Is(err, store.ErrMoved) {
			break
		}
	}
	return v, err
}

// addressed finds by the active revision of a workflow whom a request to it is about.
func addressed(tx *store.Tx, acc crm.AccountID, r *store.HookRequest) error {
	const op = "receive a request"
	w, err := tx.Workflow(acc, r.Workflow)
	if err != nil {
		return err
	}
	if w.Active == "" {
		return crm.Errorf(op, crm.CodeNotFound, "the workflow %q was deleted at %s", w.ID, w.AppliedAt).WithHint("applying it again brings it back")
	}
	def, err := revisionOf(tx, acc, w.ID, w.Active)
	if err != nil {
		return err
	}
	r.Revision = w.Active
	t := def.Webhook(r.Trigger)
	if t == nil {
		hint := "it has no webhook at all"
		if names := webhooksOf(def); len(names) > 0 {
			hint = "its webhooks: " + strings.Join(names, ", ")
		}
		return crm.Errorf(op, crm.CodeNotFound, "the workflow %q has no such webhook", w.ID).WithHint("%s", hint)
	}
	return meant(tx, def, t, r)
}

// meant evaluates whom a trigger says that a request is about.
func meant(tx *store.Tx, def *workflow.Workflow, t *workflow.Trigger, r *store.HookRequest) error {
	const op = "receive a request"
	ev := &crm.Event{Kind: crm.WebhookReceived, At: tx.Now(), Data: crm.EventData{Name: workflow.HookName(def.ID, t.ID), Body: r.Body}}
	value, err := t.Hook.Contact.Eval(triggers.Env{Event: ev, Now: tx.Now()})
	if err != nil {
		return crm.Errorf(op, crm.CodeInvalid, "the trigger's contact cannot be decided for this body: %w", err).
			WithHint("contact says where in the body the contact is named; a body without that is refused")
	}
	text, _ := value.(string) // of a number too, as ids in other systems are
	r.By, r.Whom = t.Hook.By, strings.TrimSpace(text)
	if r.Whom == "" || len(r.Whom) > maxWhom || !goodText(r.Whom) {
		return crm.Errorf(op, crm.CodeInvalid, "the body names no contact where the trigger looks for one").
			WithHint("contact has to give an id, an e-mail, a phone number or the id in another system")
	}
	return nil
}

const maxWhom = 1000

func webhooksOf(w *workflow.Workflow) (names []string) {
	for i := range w.Triggers {
		if w.Triggers[i].Hook != nil {
			names = append(names, w.Triggers[i].ID)
		}
	}
	return names
}

// ScheduleView is a schedule of an applied workflow with what its fires came to.
type ScheduleView struct {
	Workflow string    `json:"workflow"`
	Trigger  string    `json:"trigger"`
	Cron     string    `json:"cron"`
	Zone     string    `json:"timezone"`
	Next     crm.Nanos `json:"next,omitzero"` // missing: it never fires
	Missed   uint32    `json:"missed"`        // fires that misfire left out, in all
	Guarded  uint32    `json:"guarded"`       // fires that guard kept from starting anything, in all
	Running  *FireView `json:"running,omitempty"`
	Last     *FireView `json:"last,omitempty"`
}

// FireView is what a fire has come to.
type FireView struct {
	At       crm.Nanos `json:"at"`
	Ended    crm.Nanos `json:"ended,omitzero"`
	Result   string    `json:"result,omitempty"`
	Why      string    `json:"why,omitempty"` // of a fire that did not start all
	Selected int       `json:"selected"`
	Of       int       `json:"of,omitempty"` // of so many, where a guard counted
	Seen     int       `json:"seen"`         // had their turn
	Started  int       `json:"started"`      // runs
}

// SchedulePage is the schedules of the active workflows.
type SchedulePage struct {
	Schedules []ScheduleView `json:"schedules"`
}

// FireWords say what a result of a fire means.
var FireWords = map[string]string{
	store.FireDone:     "everybody who was selected had a turn",
	store.FireBatch:    "the batch was full; the others are for the fires to come",
	store.FireItems:    "guard: more contacts were selected than max_items, so nothing was started; the next fire tries anew",
	store.FirePercent:  "guard: more than max_percent of the contacts were selected, so nothing was started; the next fire tries anew",
	store.FirePaused:   "the workflow was paused",
	store.FireReplaced: "the workflow was applied anew before it was over",
	store.FireGone:     "the workflow was deleted, or has no such schedule any more",
}

// workflowFires shows the schedules of a workflow, or of all.
func workflowFires(c *call, q WorkflowID) (v SchedulePage, err error) {
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		v.Schedules = []ScheduleView{}
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		all, err := tx.Workflows(acc.ID)
		if err != nil {
			return err
		}
		if q.ID != "" {
			w, err := tx.Workflow(acc.ID, q.ID)
			if err != nil {
				return err
			}
			all = []store.Workflow{*w}
		}
		for _, w := range all {
			if w.Active == "" {
				continue
			}
			def, err := revisionOf(tx, acc.ID, w.ID, w.Active)
			if err != nil {
				return err
			}
			for i := range def.Triggers {
				t := &def.Triggers[i]
				if t.Schedule == nil {
					continue
				}
				s, err := tx.Schedule(acc.ID, w.ID+"/"+t.ID)
				if err != nil {
					return err
				}
				v.Schedules = append(v.Schedules, scheduleView(def, t, s, tx.Now()))
			}
		}
		return nil
	})
	return v, err
}

func scheduleView(def *workflow.Workflow, t *workflow.Trigger, s *store.Schedule, now crm.Nanos) ScheduleView {
	v := ScheduleView{Workflow: def.ID, Trigger: t.ID, Cron: t.Spec.Cron, Zone: t.Spec.Zone, Next: t.Schedule.Next(now)}
	if v.Zone == "" {
		v.Zone = "UTC"
	}
	if s == nil {
		return v
	}
	v.Missed, v.Guarded = s.Missed, s.Guarded
	if s.Firing != 0 {
		v.Running = fireView(s.Now)
	}
	if s.Last.Ended != 0 {
		v.Last = fireView(s.Last)
	}
	return v
}

func fireView(f store.Fire) *FireView {
	v := &FireView{At: f.At, Ended: f.Ended, Result: f.Result, Selected: f.Selected, Of: f.Of, Seen: f.Seen, Started: f.Started}
	if f.Result != store.FireDone {
		v.Why = FireWords[f.Result]
	}
	return v
}
