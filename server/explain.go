package server

import (
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// WorkflowSimulate asks what a workflow would do for a contact now. The workflow is an applied one by its
// id, or a file. An event is described by what goes with its kind; without one only schedules are asked.
type WorkflowSimulate struct {
	ID      string        `json:"id,omitempty"`
	File    *File         `json:"file,omitempty"`
	Contact string        `json:"contact"`
	Event   crm.EventKind `json:"event,omitempty"`
	Name    string        `json:"name,omitempty"`  // tag, field, list, channel, campaign, kind of record or webhook's trigger
	Value   any           `json:"value,omitempty"` // of a field, or a list's status: text, or of a field a number, true or false
	Off     bool          `json:"off,omitempty"`   // do-not-disturb or archived: off
	Body    []byte        `json:"body,omitempty"`  // of a request to a webhook

	Answers map[string]string `json:"answers,omitempty"` // by step; see runtime.Question
}

func workflowSimulate(c *call, q WorkflowSimulate) (*runtime.Simulation, error) {
	const op = "simulate a workflow"
	k, def, err := c.simulated(op, q)
	if err != nil {
		return nil, err
	}
	var s *runtime.Simulation
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		var ev *crm.Event
		var note string
		if q.Event != "" {
			if ev, note, err = imagined(op, tx, k, def, q); err != nil {
				return err
			}
		}
		if s, err = c.Engine.Simulate(tx, def, runtime.Question{Contact: k, Event: ev, Answers: q.Answers}); err == nil && note != "" {
			s.Notes = append(s.Notes, note)
		}
		return err
	})
	return s, err
}

// simulated gives the contact and the workflow that are meant.
func (c *call) simulated(op string, q WorkflowSimulate) (k crm.Key, def *workflow.Workflow, err error) {
	var acc *crm.Account
	if err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		if acc, err = theAccount(tx); err != nil {
			return err
		}
		if k, err = c.key(tx, q.Contact, crm.LiveOrDead); err != nil {
			return err
		}
		if _, _, err = tx.Contact(k, crm.LiveOrDead); err != nil || q.File != nil {
			return err
		}
		_, err = tx.Workflow(acc.ID, q.ID)
		return err
	}); err != nil {
		return k, nil, err
	}
	if q.File != nil {
		def, err = workflow.Parse(q.File.Name, q.File.Content)
		if err != nil {
			err = crm.Errorf(op, crm.CodeInvalid, "%w", err).WithHint("reprieve workflow check %s shows where", q.File.Name)
		}
		return k, def, err
	}
	defs, err := c.Engine.Definitions(c.ctx, acc.ID)
	if err != nil {
		return k, nil, err
	}
	i := slices.IndexFunc(defs, func(d *workflow.Workflow) bool { return d.ID == q.ID })
	if i < 0 {
		return k, nil, crm.Errorf(op, crm.CodeNotFound, "the workflow %q is not in use", q.ID).WithHint("reprieve workflow list shows what is applied; a file can be simulated too")
	}
	return k, defs[i], nil
}

// imagined makes an event that has not happened: what the log would say if somebody made the change now. The
// note says so if that change would change nothing.
func imagined(op string, tx *store.Tx, k crm.Key, def *workflow.Workflow, q WorkflowSimulate) (ev *crm.Event, note string, err error) {
	if _, ok := crm.TriggerKinds[q.Event]; !ok && q.Event != crm.WebhookReceived {
		return nil, "", crm.Errorf(op, crm.CodeInvalid, "no workflow is started by %q", q.Event).WithHint("docs/file-format.md lists the events")
	}
	c, life, err := tx.Peek(k)
	if err != nil || c == nil {
		return nil, "", err
	}
	value, err := fieldValue(op, q.Value)
	if err != nil {
		return nil, "", err
	}
	data := crm.EventData{Name: q.Name, Value: value.String(), On: !q.Off}
	data.Kind, _ = crm.ParseItemKind(q.Name)
	if q.Event == crm.WebhookReceived {
		if data, err = requested(op, tx, k, def, q); err != nil {
			return nil, "", err
		}
	}
	ev, changed, err := runtime.Imagine(tx, c, life, q.Event, data, value)
	if err == nil && !changed {
		note = "the contact is like that already: in truth there would be no such event"
	}
	return ev, note, err
}

// fieldValue is a field's value as JSON has it.
func fieldValue(op string, v any) (crm.Value, error) {
	switch v := v.(type) {
	case nil:
		return crm.Value{}, nil
	case string:
		return text(v), nil
	case float64:
		return crm.Number(v), nil
	case bool:
		return crm.Value{Kind: crm.BoolValue, Bool: v}, nil
	}
	return crm.Value{}, crm.Errorf(op, crm.CodeInvalid, "the event's value is no text, number, true or false").WithHint("lists cannot be given here")
}

// requested makes what a request to a webhook of the workflow would say. It has to be about the contact.
func requested(op string, tx *store.Tx, k crm.Key, def *workflow.Workflow, q WorkflowSimulate) (crm.EventData, error) {
	hooks := webhooksOf(def)
	if q.Name == "" && len(hooks) == 1 {
		q.Name = hooks[0]
	}
	t := def.Webhook(q.Name)
	switch {
	case len(hooks) == 0:
		return crm.EventData{}, crm.Errorf(op, crm.CodeInvalid, "the workflow %q has no webhook", def.ID).WithHint("give one of its triggers webhook: {contact: event.body.email}")
	case t == nil:
		return crm.EventData{}, crm.Errorf(op, crm.CodeInvalid, "it has to be said to which webhook the request is").
			WithHint("--webhook with one of %s", strings.Join(hooks, ", "))
	}
	body, err := crm.ParseBody(q.Body)
	if err != nil {
		return crm.EventData{}, err
	}
	r := store.HookRequest{Body: body}
	if err := meant(tx, def, t, &r); err != nil {
		return crm.EventData{}, err
	}
	is, err := tx.Whom(k.Account, r)
	if err == nil && is != k {
		err = crm.Errorf(op, crm.CodeInvalid, "the body names another contact than the one that was asked about").
			WithHint("the trigger's contact says where in the body it is named")
	}
	return crm.EventData{Name: workflow.HookName(def.ID, t.ID), Body: body}, err
}

// WorkflowExplain asks why workflows did, or did not, start: for a contact, or for an entry of the log.
type WorkflowExplain struct {
	Contact  string `json:"contact,omitempty"`
	Event    uint64 `json:"event,omitempty"`
	Workflow string `json:"workflow,omitempty"` // only this one
}

// Explained is every trigger's verdict, and what restores of the contact kept from starting.
type Explained struct {
	Contact    crm.ContactID     `json:"contact"`
	Event      *ExplainedEvent   `json:"event,omitempty"`
	Triggers   []runtime.Verdict `json:"triggers"`
	Suppressed []Suppression     `json:"suppressed"`
	Waiting    int               `json:"waiting,omitempty"` // entries that no trigger has looked at yet
}

// ExplainedEvent is the entry that was asked for.
type ExplainedEvent struct {
	Entry uint64        `json:"entry"`
	Kind  crm.EventKind `json:"kind"`
	At    crm.Nanos     `json:"at"`
	By    string        `json:"by"`
	Cause string        `json:"cause"`
	Name  string        `json:"name,omitempty"`
	Depth uint8         `json:"depth,omitempty"`
}

// Suppression is a trigger that a restore kept from starting something.
type Suppression struct {
	crm.Suppressed
	Epoch uint64 `json:"epoch"`
}

func workflowExplain(c *call, q WorkflowExplain) (Explained, error) {
	const op = "explain workflows"
	v := Explained{}
	if (q.Contact == "") == (q.Event == 0) {
		return v, crm.Errorf(op, crm.CodeInvalid, "it explains either a contact or an event").WithHint("--contact CONTACT, or --event ENTRY as contact history numbers it")
	}
	var acc *crm.Account
	if err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
		acc, err = theAccount(tx)
		if err == nil && q.Workflow != "" {
			_, err = tx.Workflow(acc.ID, q.Workflow)
		}
		return err
	}); err != nil {
		return v, err
	}
	defs, err := c.Engine.Definitions(c.ctx, acc.ID)
	if err != nil {
		return v, err
	}
	if q.Workflow != "" {
		defs = slices.DeleteFunc(defs, func(d *workflow.Workflow) bool { return d.ID != q.Workflow })
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		v, err = c.explained(tx, acc, q, defs)
		return err
	})
	return v, err
}

func (c *call) explained(tx *store.Tx, acc *crm.Account, q WorkflowExplain, defs []*workflow.Workflow) (v Explained, err error) {
	v.Suppressed = []Suppression{}
	var k crm.Key
	if q.Event == 0 {
		if k, err = c.key(tx, q.Contact, crm.LiveOrDead); err != nil {
			return v, err
		}
		if _, _, err = tx.Contact(k, crm.LiveOrDead); err != nil {
			return v, err
		}
		v.Triggers, err = c.Engine.ExplainContact(tx, defs, k)
	} else {
		l, lerr := tx.Entry(q.Event)
		switch {
		case lerr != nil:
			return v, lerr
		case l == nil || l.Event.Account != acc.ID || l.Event.Contact.IsZero():
			return v, crm.Errorf("explain workflows", crm.CodeNotFound, "entry %d of the log is none of a contact", q.Event).
				WithHint("reprieve contact history CONTACT numbers the entries")
		case l.Err != nil:
			return v, l.Err
		}
		ev := &l.Event
		k = crm.Key{Account: ev.Account, Contact: ev.Contact}
		v.Event = &ExplainedEvent{Entry: l.Seq, Kind: ev.Kind, At: ev.At, By: ev.By.ID, Cause: string(ev.Why.Kind), Name: ev.Data.Name, Depth: ev.Why.Depth}
		v.Triggers, err = c.Engine.ExplainEvent(tx, defs, l)
	}
	if err != nil {
		return v, err
	}
	v.Contact = k.Contact
	rows, err := tx.Suppressions(k)
	for _, s := range rows {
		if id, _, _ := strings.Cut(s.Trigger, "/"); q.Workflow == "" || id == q.Workflow {
			v.Suppressed = append(v.Suppressed, Suppression{s, s.Epoch})
		}
	}
	if err != nil {
		return v, err
	}
	v.Waiting, err = c.Engine.Backlog(tx)
	return v, err
}
