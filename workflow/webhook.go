package workflow

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

// Hook says whom a request to a webhook is about.
type Hook struct {
	Contact *triggers.Expr // of event.*: gives an id, an address or a foreign id
	By      string         // what that is: id, email, phone or external_id; "": it shows by its form
}

// HookName names a webhook across an account, as the events of its requests do.
func HookName(workflow, trigger string) string { return workflow + "/" + trigger }

// webhook reads a trigger on requests from outside.
func (r *reader) webhook(w *Workflow, t *Trigger, got map[string]entry) {
	e := got["webhook"]
	in := r.fields(e.val, "webhook", keys{"contact": "", "by": ""})
	t.Hook, t.EventKind = &Hook{}, crm.WebhookReceived
	if in == nil {
		return
	}
	r.need(e.val, "webhook", in, "contact")
	if by, ok := in["by"]; ok {
		t.Hook.By = r.oneOf(by, "id", "email", "phone", "external_id")
	}
	if c, ok := in["contact"]; ok && r.scalar(c) {
		src := r.source(c.val, triggers.ScopeEvent)
		src.Event = crm.WebhookReceived
		var err error
		t.Hook.Contact, err = triggers.CompileExpr(src, triggers.Text)
		r.take(err, r.span(c.val))
	}
	src, at := triggers.Source{File: r.name}, r.span(e.key)
	if cond, ok := got["if"]; ok {
		if !r.scalar(cond) {
			return
		}
		src, at = r.source(cond.val, 0), r.span(cond.val)
	}
	var err error
	t.Event, err = triggers.CompileWebhook(src, HookName(w.ID, t.ID))
	r.take(err, at)
}

// Webhook gives a trigger on requests by its id, nil if there is none.
func (w *Workflow) Webhook(id string) *Trigger {
	for i := range w.Triggers {
		if t := &w.Triggers[i]; t.Hook != nil && t.ID == id {
			return t
		}
	}
	return nil
}

// sendRequest reads a request to one of the file's webhooks. The contact is the one that the case names, so
// that what the trigger's contact gives for the body need not be found.
func (r *testReader) sendRequest(it *TestItem, s *Send, n *yaml.Node) {
	s.Event = crm.WebhookReceived
	got := r.fields(n, "send", keys{"webhook": "", "body": "", "contact": ""})
	if got == nil {
		return
	}
	r.need(n, "send", got, "webhook", "body")
	if e, ok := got["contact"]; ok {
		r.named(it, e)
	}
	if e, ok := got["webhook"]; ok && r.scalar(e) {
		var ids []string
		for i := range r.w.Triggers {
			if r.w.Triggers[i].Hook != nil {
				ids = append(ids, r.w.Triggers[i].ID)
			}
		}
		r.known("there is no webhook", e.val, ids)
		s.Name = HookName(r.w.ID, e.val.Value)
	}
	e, ok := got["body"]
	if !ok || e.val == nil {
		return
	}
	if e.val.Kind != yaml.MappingNode {
		r.fail(codeType, r.span(e.val), "a body is a JSON object, as a map in YAML", "body must be a map")
		return
	}
	var v map[string]any
	raw, err := []byte(nil), e.val.Decode(&v)
	if err == nil {
		raw, err = json.Marshal(v)
	}
	if err == nil {
		s.Body, err = crm.ParseBody(raw)
	}
	if err != nil {
		r.fail(codeValue, r.span(e.val), "a body is one that a webhook takes", "the body cannot be sent as JSON")
	}
}
