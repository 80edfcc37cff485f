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

// App answers verbs over an open store. Every field but Log and Audit is required.
type App struct {
	Store  *store.Store
	Engine *runtime.Engine
	Host   *plugins.Host
	Log    zerolog.Logger
	Audit  AuditFiles // nil: nothing is signed, and no exported head compared
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

var verbs = fenced(map[string]handler{
	"account.create":     verb(accountCreate),
	"account.show":       verb(accountShow),
	"account.hipaa":      verb(accountHIPAA),
	"bulk.restore":       verb(bulkRestore),
	"bulk.list":          verb(bulkList),
	"bulk.get":           verb(bulkGet),
	"campaign.resume":    verb(campaignResume),
	"contact.create":     verb(contactCreate),
	"contact.list":       verb(contactList),
	"contact.get":        verb(contactGet),
	"contact.update":     verb(contactUpdate),
	"contact.tag":        verb(contactTag),
	"contact.delete":     verb(contactDelete),
	"contact.restore":    verb(contactRestore),
	"contact.receipt":    verb(contactReceipt),
	"contact.verify":     verb(receiptVerify),
	"contact.preview":    verb(contactPreview),
	"contact.purge":      verb(contactPurge),
	"contact.hold":       verb(contactHold),
	"contact.archive":    verb(contactArchive),
	"contact.unarchive":  verb(contactUnarchive),
	"contact.history":    verb(contactHistory),
	"contact.manifest":   verb(contactManifest),
	"contact.export":     verb(contactExport),
	"contact.export_all": verb(contactsExport),
	"contact.inbound":    verb(contactInbound),
	"contact.import":     verb(contactImport),
	"record.import":      verb(recordImport),
	"workflow.check":     verb(workflowCheck),
	"workflow.apply":     verb(workflowApply),
	"workflow.list":      verb(workflowList),
	"workflow.delete":    verb(workflowDelete),
	"workflow.simulate":  verb(workflowSimulate),
	"workflow.explain":   verb(workflowExplain),
	"workflow.diff":      verb(workflowDiff),
	"workflow.graph":     verb(workflowGraph),
	"workflow.pause":     verb(workflowPause(true)),
	"workflow.resume":    verb(workflowPause(false)),
	"workflow.schema":    verb(workflowSchema),
	"workflow.fires":     verb(workflowFires),
	"webhook.receive":    verb(webhookReceive),
	"policy.show":        verb(policyShow),
	"policy.set":         verb(policySet),
	"policy.knobs":       verb(policyKnobs),
	"run.cancel":         verb(runCancel),
	"run.resume":         verb(runResume),
	"run.retry":          verb(runRetry),
	"run.list":           verb(runList),
	"run.get":            verb(runGet),
	"event.status":       verb(eventStatus),
	"retention.status":   verb(retentionStatus),
	"retention.sweep":    verb(retentionSweep),
	"retention.replay":   verb(retentionReplay),
	"retention.go":       verb(retentionGo),
	"plugin.list":        verb(pluginList),
	"plugin.show":        verb(pluginShow),
	"plugin.verify":      verb(pluginVerify),
	"plugin.install":     verb(pluginInstall),
	"plugin.trust":       verb(pluginTrust),
	"plugin.use":         verb(pluginUse),
	"plugin.remove":      verb(pluginRemove),
	"action.show":        verb(actionShow),
	"audit.verify":       verb(auditVerify),
	"audit.list":         verb(auditList),
	"audit.export":       verb(auditExport),
	"audit.key":          verb(auditKey),
	"audit.rotate":       verb(auditRotate),

	"contact.dnd":        verb(contactDND),
	"record.list":        verb(recordList),
	"record.create":      verb(recordCreate),
	"record.update":      verb(recordUpdate),
	"record.delete":      verb(recordDelete),
	"list.list":          verb(listList),
	"list.create":        verb(objectCreate(crm.List)),
	"list.rename":        verb(objectRename(crm.List)),
	"list.delete":        verb(objectDelete(crm.List)),
	"list.add":           verb(listAdd),
	"list.remove":        verb(listRemove),
	"tag.list":           verb(tagList),
	"tag.delete":         verb(tagDelete),
	"campaign.list":      verb(campaignList),
	"campaign.create":    verb(objectCreate(crm.Campaign)),
	"campaign.rename":    verb(objectRename(crm.Campaign)),
	"campaign.delete":    verb(objectDelete(crm.Campaign)),
	"campaign.add":       verb(campaignAdd),
	"campaign.remove":    verb(unlink(crm.Campaign)),
	"campaign.due":       verb(campaignDue),
	"campaign.sent":      verb(campaignSent),
	"campaign.opened":    verb(campaignSeen(crm.MessageOpened)),
	"campaign.clicked":   verb(campaignSeen(crm.MessageClicked)),
	"company.list":       verb(companyList),
	"company.create":     verb(objectCreate(crm.Company)),
	"company.rename":     verb(objectRename(crm.Company)),
	"company.delete":     verb(objectDelete(crm.Company)),
	"company.add":        verb(companyAdd),
	"company.remove":     verb(unlink(crm.Company)),
	"opportunity.list":   verb(opportunityList),
	"opportunity.create": verb(opportunityCreate),
	"opportunity.update": verb(opportunityUpdate),
	"opportunity.delete": verb(objectDelete(crm.Opportunity)),
	"opportunity.add":    verb(opportunityAdd),
	"opportunity.remove": verb(unlink(crm.Opportunity)),
})

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
