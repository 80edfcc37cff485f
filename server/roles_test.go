package server

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

const plainWorkflow = "version: 1\nid: plain\nname: Plain\ntriggers: [{id: new, event: contact.created}]\nsteps: [{id: pause, wait: 1d}]\nend: true\n"

// Who may use which verb, under the default policy: a for admins, o for operators, g for agents, v for
// viewers, u for auditors. A verb that is not here fails the test: whoever adds one decides who may use it.
var mayUse = map[string]string{
	"account.create": "a", "account.show": "aogvu", "account.hipaa": "a",
	"policy.show": "aogvu", "policy.knobs": "aogvu", "policy.set": "a",
	"bulk.list": "aogv", "bulk.get": "aogv", "bulk.restore": "a",
	"contact.preview": "a", "contact.purge": "a", "contact.hold": "a", "contact.export": "a", "contact.export_all": "a",
	"contact.archive": "aog", "contact.unarchive": "aog", "contact.inbound": "aog",
	"contact.history": "aogv", "contact.manifest": "aogv", "contact.verify": "aogv",
	"run.resume": "a", "run.cancel": "a", "run.retry": "a", "campaign.resume": "a", "workflow.delete": "a",
	"audit.verify": "aogvu", "audit.key": "aogvu", "audit.list": "au", "audit.export": "au", "audit.rotate": "a", "event.status": "aogvu",
	"list.list": "aogv", "list.create": "aog", "list.rename": "aog", "list.delete": "aog", "list.add": "aog", "list.remove": "aog",
	"tag.list": "aogv", "tag.delete": "aog", "contact.dnd": "aog",
	"campaign.list": "aogv", "campaign.due": "aogv", "campaign.create": "aog", "campaign.rename": "aog", "campaign.delete": "aog",
	"campaign.add": "aog", "campaign.remove": "aog", "campaign.sent": "aog", "campaign.opened": "aog", "campaign.clicked": "aog",
	"company.list": "aogv", "company.create": "aog", "company.rename": "aog", "company.delete": "aog", "company.add": "aog", "company.remove": "aog",
	"opportunity.list": "aogv", "opportunity.create": "aog", "opportunity.update": "aog", "opportunity.delete": "aog",
	"opportunity.add": "aog", "opportunity.remove": "aog",
	"contact.create": "aog", "contact.update": "aog", "contact.tag": "aog", "contact.import": "aog",
	"contact.delete": "a", "contact.restore": "a",
	"contact.get": "aogv", "contact.list": "aogv", "contact.receipt": "aogv",
	"record.import": "aog", "record.create": "aog", "record.update": "aog", "record.delete": "aog", "record.list": "aogv",
	"workflow.check": "aogv", "workflow.simulate": "aogv", "workflow.explain": "aogv", "workflow.apply": "a", "workflow.list": "aogvu",
	"workflow.diff": "aogv", "workflow.graph": "aogv", "workflow.schema": "aogv", "workflow.fires": "aogv", "webhook.receive": "aog", "workflow.pause": "a", "workflow.resume": "a",
	"run.list": "aogvu", "run.get": "aogvu",
	"retention.go": "a", "retention.replay": "a", "retention.status": "aogvu", "retention.sweep": "a",
	"plugin.list": "aogvu", "plugin.show": "aogv", "plugin.verify": "aogv", "action.show": "aogv",
	"plugin.install": "a", "plugin.trust": "a", "plugin.use": "a", "plugin.remove": "a",
}

// TestEveryVerbAsksTheRole calls every verb in every role with a request that nothing else refuses for
// what it lacks: denied is what the role was refused, and only that.
func TestEveryVerbAsksTheRole(t *testing.T) {
	t.Parallel()
	if verbs := slices.Sorted(slices.Values(sortedKeys(mayUse))); !slices.Equal(verbs, Verbs()) {
		t.Fatalf("the table has\n%v\nand the server\n%v", verbs, Verbs())
	}
	for letter, role := range map[string]crm.Role{"a": crm.Admin, "o": crm.Operator, "g": crm.Agent, "v": crm.Viewer, "u": crm.Auditor} {
		t.Run(string(role), func(t *testing.T) {
			t.Parallel()
			for _, verb := range Verbs() {
				r := newRig(t)
				q, in := r.request(verb)
				err := r.try(role, verb, q, nil, in)
				switch may := strings.Contains(mayUse[verb], letter); {
				case may && err != nil && crm.CodeOf(err) != crm.CodeNotFound:
					t.Errorf("%s: %v", verb, err)
				case !may && crm.CodeOf(err) != crm.CodeDenied:
					t.Errorf("%s was not denied: %v", verb, err)
				}
			}
		})
	}
}

// request prepares a store for a verb and gives a request for it that an admin's call succeeds with, but
// for what there is none of: not_found, which comes after the question of who asks.
func (r *rig) request(verb string) (any, io.Reader) {
	if verb == "account.create" {
		return AccountCreate{Name: "main"}, nil
	}
	r.account()
	ada := r.contact("ada@example.com").ID.String()
	bob := r.contact("bob@example.com").ID
	r.delete(bob, "")
	switch verb {
	case "contact.create":
		return ContactCreate{Email: "cy@example.com"}, nil
	case "contact.update":
		return ContactUpdate{ID: ada, Fields: map[string]string{"plan": "pro"}}, nil
	case "contact.tag":
		return ContactTag{ID: ada, Add: []string{"VIP"}}, nil
	case "contact.import":
		return ImportOptions{}, strings.NewReader("Email,Lists\ncy@example.com,News: subscribed\n")
	case "contact.delete":
		return ContactDelete{ID: ada, Confirm: "DELETE"}, nil
	case "contact.restore":
		return ContactRestore{ID: bob.String(), Confirm: "yes"}, nil
	case "contact.preview":
		return ContactPreview{ID: ada, Act: ActDelete}, nil
	case "contact.purge":
		return ContactPurge{ID: ada, Confirm: "PURGE", Reason: "a request"}, nil
	case "contact.hold":
		return ContactHold{ID: ada, Reason: "a matter"}, nil
	case "contact.inbound":
		return InboundMessage{Email: "ada@example.com", Title: "hello"}, nil
	case "contact.history":
		return ContactHistory{ID: ada}, nil
	case "account.hipaa":
		return AccountHIPAA{Confirm: "HIPAA"}, nil
	case "policy.set":
		return PolicySet{Set: map[string]any{"retention.window": "30d"}}, nil
	case "bulk.restore":
		return BulkRestore{IDs: []string{bob.String()}, Confirm: "yes"}, nil
	case "bulk.get":
		return OperationID{crm.OperationID{1}}, nil
	case "run.resume":
		return RunResume{Run: crm.RunID{1}, Overdue: crm.OverdueSkip}, nil
	case "campaign.resume":
		return CampaignResume{Campaign: crm.ItemID{1}.String(), Contact: ada, Overdue: crm.OverdueSkip}, nil
	case "workflow.diff":
		return WorkflowDiff{Files: []File{{Name: "plain.yaml", Content: []byte(plainWorkflow)}}}, nil
	case "webhook.receive":
		ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "hooked.yaml", Content: []byte(hookedWorkflow)}}})
		return WebhookRequest{Workflow: "hooked", Trigger: "form", ID: "1", Body: []byte(`{"email": "ada@example.com"}`)}, nil
	case "workflow.graph", "workflow.fires", "workflow.pause", "workflow.resume":
		ask[Checked](r, "workflow.apply", WorkflowFiles{Files: []File{{Name: "plain.yaml", Content: []byte(plainWorkflow)}}})
		if verb == "workflow.resume" {
			ask[None](r, "workflow.pause", WorkflowID{ID: "plain"})
		}
		return WorkflowID{ID: "plain"}, nil
	case "workflow.delete":
		return WorkflowID{ID: "plain", Confirm: "yes"}, nil
	case "contact.get", "contact.receipt", "contact.verify", "contact.archive", "contact.unarchive", "contact.export", "record.list":
		return ContactID{ID: ada}, nil
	case "contact.export_all":
		return ContactsExport{Format: "csv"}, nil
	case "record.import":
		return ImportOptions{}, strings.NewReader(`{"kind":"company","id":"c1","name":"Acme"}` + "\n")
	case "record.delete":
		return RecordDelete{Contact: ada, Record: crm.ItemID{1}}, nil
	case "workflow.check", "workflow.apply":
		return WorkflowFiles{Files: []File{{Name: "plain.yaml", Content: []byte(plainWorkflow)}}}, nil
	case "contact.manifest":
		return ContactID{ID: bob.String()}, nil
	case "run.retry":
		return RunRetry{Run: crm.RunID{1}}, nil
	case "run.get", "run.cancel":
		return RunID{crm.RunID{1}}, nil
	case "workflow.simulate":
		return WorkflowSimulate{File: &File{Name: "plain.yaml", Content: []byte(plainWorkflow)}, Contact: ada}, nil
	case "workflow.explain":
		return WorkflowExplain{Contact: ada}, nil
	case "retention.sweep":
		return RetentionSweep{Confirm: "PURGE"}, nil
	case "retention.replay":
		return None{}, strings.NewReader("")
	case "plugin.install":
		return PluginInstall{From: "/nowhere/at/all"}, nil
	case "plugin.show", "plugin.remove":
		return PluginName{Name: "acme"}, nil
	case "plugin.trust", "plugin.use":
		return PluginName{Name: "acme", Version: "2.0.0"}, nil
	case "action.show":
		return ActionName{Action: "acme.flag"}, nil
	}
	return r.thing(verb, ada), nil
}

// A policy that lets operators purge lets them sweep: no role is written into the verb.
func TestSweepAsksThePolicy(t *testing.T) {
	t.Parallel()
	p := crm.DefaultPolicy()
	p.Permissions[crm.VerbPurge] = []crm.Role{crm.Operator}
	acc := &crm.Account{Policy: p}
	for role, may := range map[crm.Role]bool{crm.Operator: true, crm.Admin: false, crm.Viewer: false} {
		c := &call{by: crm.Actor{Role: role}}
		if err := c.allow(acc, "sweep", crm.VerbPurge); (err == nil) != may {
			t.Errorf("%s: %v", role, err)
		}
	}
}

func TestOneAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	r.refused("account.create", AccountCreate{Name: "other"}, crm.CodeConflict)
	if got := ask[AccountView](r, "account.show", None{}); got.Name != "main" {
		t.Errorf("the account is %+v", got)
	}
}
