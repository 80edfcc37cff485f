package runtime

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// Answer is what became, or would become, of one trigger.
type Answer string

// The answers, in the order in which they are looked for.
const (
	AnsweredStarted Answer = "started"     // a run was started by it
	AnsweredRefused Answer = "refused"     // the event, or the contact, may start nothing; Refusal says why
	AnsweredNo      Answer = "not_matched" // it is of another kind, or a part of the condition is not true
	AnsweredFilter  Answer = "filtered"
	AnsweredPaused  Answer = "paused"
	AnsweredKey     Answer = "key_taken" // another run holds run.key, or reenter forbids a second one
	AnsweredNoEvent Answer = "no_event"  // nothing of the kind has happened to the contact
	AnsweredYes     Answer = "matched"
)

// Verdict says of one trigger of one workflow what it came to and which values decided. Its parts hold
// values of the contact.
type Verdict struct {
	Workflow  string          `json:"workflow"`
	Revision  string          `json:"revision"`
	Trigger   string          `json:"trigger"`
	On        string          `json:"on"` // the kind of event, or the schedule
	Answer    Answer          `json:"answer"`
	Refusal   crm.Refusal     `json:"refusal,omitempty"`
	Run       crm.RunID       `json:"run,omitzero"`
	Why       string          `json:"why,omitempty"`
	Condition string          `json:"condition,omitempty"`
	Parts     []triggers.Part `json:"parts,omitempty"`
	Filter    []triggers.Part `json:"filter,omitempty"` // on the contact as it is now
	Entry     uint64          `json:"entry,omitempty"`  // of the log: the event that was looked at
}

// asker asks triggers about one contact in one View.
type asker struct {
	e     *Engine
	tx    *store.Tx
	c     *crm.Contact
	life  crm.Life
	tomb  *crm.Manifest
	names func(crm.ItemID) string
	runs  []crm.Run
}

func (e *Engine) ask(tx *store.Tx, k crm.Key) (*asker, error) {
	a := &asker{e: e, tx: tx}
	var err error
	if a.c, a.life, err = tx.Peek(k); err != nil {
		return nil, err
	}
	if a.c == nil {
		a.c = &crm.Contact{Account: k.Account, ID: k.Contact}
	}
	if a.tomb, err = tx.Tombstone(k, a.life); err != nil {
		return nil, err
	}
	if a.names, err = names(tx, map[crm.AccountID]map[crm.ItemID]string{}, k.Account); err != nil {
		return nil, err
	}
	a.runs, err = tx.RunsOf(k)
	return a, err
}

// Definitions gives the active revisions of an account by id. It opens Views of its own, so it must not be
// called in one.
func (e *Engine) Definitions(ctx context.Context, acc crm.AccountID) ([]*workflow.Workflow, error) {
	if err := e.refresh(ctx); err != nil {
		return nil, err
	}
	e.defs.mu.Lock()
	active := maps.Clone(e.defs.active[acc])
	e.defs.mu.Unlock()
	var all []*workflow.Workflow
	for _, id := range slices.Sorted(maps.Keys(active)) {
		if def, err := e.definition(ctx, acc, id, active[id]); err == nil { // one that cannot be loaded starts nothing
			all = append(all, def)
		}
	}
	return all, nil
}

// ExplainEvent says what became of an event, trigger by trigger.
func (e *Engine) ExplainEvent(tx *store.Tx, defs []*workflow.Workflow, l *store.Logged) ([]Verdict, error) {
	a, err := e.ask(tx, crm.Key{Account: l.Event.Account, Contact: l.Event.Contact})
	if err != nil {
		return nil, err
	}
	out := []Verdict{}
	for _, def := range defs {
		for i := range def.Triggers {
			if t := &def.Triggers[i]; t.Event != nil {
				v, err := a.event(def, t, &l.Event)
				if err != nil {
					return nil, err
				}
				v.Entry = l.Seq
				out = append(out, v)
			}
		}
	}
	return out, nil
}

// ExplainContact says of every trigger what it says of the contact: one on events of the latest of them
// among the contact's latest entries of the log, a schedule of the contact as it is now.
func (e *Engine) ExplainContact(tx *store.Tx, defs []*workflow.Workflow, k crm.Key) ([]Verdict, error) {
	const latest = 500
	a, err := e.ask(tx, k)
	if err != nil {
		return nil, err
	}
	history, err := tx.History(k, 0, latest)
	if err != nil {
		return nil, err
	}
	out := []Verdict{}
	for _, def := range defs {
		for i := range def.Triggers {
			t := &def.Triggers[i]
			v := verdict(def, t)
			if t.Event == nil {
				v, err = a.schedule(def, t)
			} else if at := slices.IndexFunc(history, func(l store.Logged) bool { return slices.Contains(t.Event.Events(), l.Event.Kind) }); at < 0 {
				v.Answer, v.Condition = AnsweredNoEvent, t.Event.Condition()
			} else if v, err = a.event(def, t, &history[at].Event); err == nil {
				v.Entry = history[at].Seq
			}
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	}
	return out, nil
}

func verdict(def *workflow.Workflow, t *workflow.Trigger) Verdict {
	v := Verdict{Workflow: def.ID, Revision: def.Short(), Trigger: t.ID, On: "cron " + t.Spec.Cron}
	if t.Event != nil {
		v.On = ""
		for _, kind := range t.Event.Events() {
			v.On = strings.TrimSpace(v.On + " " + string(kind))
		}
	}
	return v
}

// event asks a trigger about an event.
func (a *asker) event(def *workflow.Workflow, t *workflow.Trigger, ev *crm.Event) (Verdict, error) {
	v := verdict(def, t)
	v.Condition = t.Event.Condition()
	var matched bool
	matched, v.Why, v.Parts = t.Event.Explain(*ev, a.tx.Now(), a.names)
	if i := slices.IndexFunc(a.runs, func(r crm.Run) bool {
		return r.Workflow == def.ID && r.Trigger == t.ID && r.Entitled == ev.Rev && r.Began == ev.Epoch && ev.Rev > 0
	}); i >= 0 {
		v.Answer, v.Run, v.Revision = AnsweredStarted, a.runs[i].ID, a.runs[i].Revision[:min(12, len(a.runs[i].Revision))]
		return v, nil
	}
	if !slices.Contains(t.Event.Events(), ev.Kind) {
		v.Answer = AnsweredNo
		return v, nil
	}
	if why := ev.Refusal(a.life); why != crm.NotRefused {
		v.Answer, v.Refusal = AnsweredRefused, why
		return v, nil
	}
	if !matched {
		v.Answer = AnsweredNo
		return v, nil
	}
	return v, a.rest(def, ev, &v)
}

// schedule asks a schedule about the contact as it is now.
func (a *asker) schedule(def *workflow.Workflow, t *workflow.Trigger) (Verdict, error) {
	v := verdict(def, t)
	where := t.Where.WithLists(a.names)
	v.Condition, v.Parts = where.Condition(), where.Explain(a.c, a.life, a.tomb, a.tx.Now())
	switch _, ok := a.c.Selectable(a.life, t.Where.Reads); {
	case !t.Over.Has(a.life.State):
		v.Answer, v.Refusal = AnsweredRefused, crm.RefusedState
	case !triggers.Held(v.Parts):
		v.Answer = AnsweredNo
	case !ok && a.c.Archived.On:
		v.Answer, v.Refusal = AnsweredRefused, crm.RefusedArchive
	case !ok:
		v.Answer, v.Refusal = AnsweredRefused, crm.RefusedQuiet
	default:
		return v, a.rest(def, nil, &v)
	}
	return v, nil
}

// rest asks what is asked of every trigger: the filter, whether the workflow is paused, and the key.
func (a *asker) rest(def *workflow.Workflow, ev *crm.Event, v *Verdict) error {
	env := triggers.Env{Event: ev, Contact: a.c, Life: a.life, Tombstone: a.tomb, Now: a.tx.Now(), ListName: a.names}
	if def.Filter != nil {
		if v.Filter = def.Filter.Explain(env); !triggers.Held(v.Filter) {
			v.Answer = AnsweredFilter
			return nil
		}
	}
	paused, err := a.tx.WorkflowPaused(a.c.Account, def.ID)
	if err != nil || paused {
		v.Answer = AnsweredPaused
		return err
	}
	hash, err := (&offer{e: a.e, tx: a.tx}).runKey(def, env)
	if err != nil {
		v.Answer = AnsweredNo
		v.Parts = append(v.Parts, triggers.Part{Text: "run.key", Result: "error", Error: err.Error()})
		return nil
	}
	free, err := a.tx.KeyFree(a.c.Account, def.ID, hash, def.Mode, def.Max)
	if v.Answer = AnsweredYes; err == nil && !free {
		v.Answer = AnsweredKey
	}
	return err
}
