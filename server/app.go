package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

// App answers verbs over an open store. Every field but Log is required.
type App struct {
	Store  *store.Store
	Engine *runtime.Engine
	Host   *plugins.Host
	Log    zerolog.Logger
}

// Caller calls verbs: App in process, Client over a socket. The request and the answer are JSON; in
// is an optional stream (a file to import).
type Caller interface {
	Call(ctx context.Context, verb string, request, answer any, in io.Reader) error
}

// handler is a verb's code with its JSON on both sides.
type handler func(ctx context.Context, a *App, by crm.Actor, request []byte, in io.Reader) (any, error)

// verb wraps typed code as a handler. Unknown members of a request are errors: a misspelt option must
// not be ignored by something that deletes.
func verb[Q, A any](fn func(*call, Q) (A, error)) handler {
	return func(ctx context.Context, a *App, by crm.Actor, request []byte, in io.Reader) (any, error) {
		var q Q
		if len(bytes.TrimSpace(request)) > 0 {
			d := json.NewDecoder(bytes.NewReader(request))
			d.DisallowUnknownFields()
			if err := d.Decode(&q); err != nil {
				return nil, crm.Errorf("read the request", crm.CodeInvalid, "%w", err)
			}
		}
		return fn(&call{ctx: ctx, App: a, by: by, in: in}, q)
	}
}

// call is one verb being answered.
type call struct {
	*App
	ctx context.Context
	by  crm.Actor
	in  io.Reader
}

// why is the cause of what a person does by a verb.
func (c *call) why() crm.Cause { return crm.Cause{Kind: crm.ByPerson} }

var verbs = map[string]handler{
	"account.create":   verb(accountCreate),
	"account.show":     verb(accountShow),
	"contact.create":   verb(contactCreate),
	"contact.list":     verb(contactList),
	"contact.get":      verb(contactGet),
	"contact.update":   verb(contactUpdate),
	"contact.tag":      verb(contactTag),
	"contact.delete":   verb(contactDelete),
	"contact.restore":  verb(contactRestore),
	"contact.receipt":  verb(contactReceipt),
	"contact.import":   verb(contactImport),
	"record.import":    verb(recordImport),
	"record.list":      verb(recordList),
	"record.delete":    verb(recordDelete),
	"list.list":        verb(listList),
	"campaign.list":    verb(campaignList),
	"workflow.check":   verb(workflowCheck),
	"workflow.apply":   verb(workflowApply),
	"workflow.list":    verb(workflowList),
	"run.list":         verb(runList),
	"run.get":          verb(runGet),
	"event.status":     verb(eventStatus),
	"retention.status": verb(retentionStatus),
	"retention.sweep":  verb(retentionSweep),
	"retention.go":     verb(retentionGo),
	"plugin.list":      verb(pluginList),
	"plugin.install":   verb(pluginInstall),
	"audit.verify":     verb(auditVerify),
}

// Verbs lists the verbs, sorted.
func Verbs() []string { return sortedKeys(verbs) }

// Answer answers a verb for an actor, with JSON on both sides.
func (a *App) Answer(ctx context.Context, by crm.Actor, name string, request []byte, in io.Reader) ([]byte, error) {
	h, ok := verbs[name]
	if !ok {
		return nil, crm.Errorf("answer a verb", crm.CodeNotFound, "there is no verb %q", name)
	}
	answer, err := h(ctx, a, by, request, in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// As gives a Caller that calls this App in process as an actor.
func (a *App) As(by crm.Actor) Caller { return local{a, by} }

type local struct {
	app *App
	by  crm.Actor
}

// Call implements Caller.
func (l local) Call(ctx context.Context, verb string, request, answer any, in io.Reader) error {
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	out, err := l.app.Answer(ctx, l.by, verb, raw, in)
	if err != nil {
		return err
	}
	return decode(out, answer)
}

func decode(raw []byte, answer any) error {
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// None is a request or an answer without members.
type None struct{}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
