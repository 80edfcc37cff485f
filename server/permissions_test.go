package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// Gates that are no list of a policy.
const (
	forAll    crm.Verb = "everybody but auditors"
	forShape  crm.Verb = "everybody and auditors" // nothing of it is personal to an auditor
	forAdmins crm.Verb = "admins"                 // what no policy hands on
)

// gates says by which list of the policy each verb is judged. A verb that is not here fails the test, and
// under the default policy the table agrees with mayUse.
var gates = map[crm.Verb]string{
	forAll: `bulk.get bulk.list campaign.due campaign.list company.list contact.get contact.history
		contact.list contact.receipt contact.verify list.list opportunity.list plugin.show plugin.verify action.show 
		record.list contact.manifest tag.list workflow.check workflow.diff workflow.fires
		workflow.graph workflow.schema workflow.explain workflow.simulate`,
	forShape: `account.show audit.key audit.verify event.status plugin.list policy.knobs policy.show retention.status run.get run.list
		workflow.list`,
	crm.VerbAudit: `audit.export audit.list`,
	forAdmins:     `audit.rotate account.create account.hipaa plugin.install plugin.trust plugin.use plugin.remove policy.set retention.replay`,
	crm.VerbWrite: `campaign.add campaign.clicked campaign.create campaign.delete campaign.opened campaign.remove campaign.rename
		campaign.sent company.add company.create company.delete company.remove company.rename contact.archive contact.create
		contact.dnd contact.import contact.inbound contact.tag contact.unarchive contact.update list.add list.create list.delete
		list.remove list.rename opportunity.add opportunity.create opportunity.delete opportunity.remove opportunity.update
		record.create record.delete record.import record.update tag.delete webhook.receive`,
	crm.VerbDelete:  `contact.delete contact.preview`,
	crm.VerbRestore: `bulk.restore contact.restore`,
	crm.VerbPurge:   `contact.purge retention.go retention.sweep`,
	crm.VerbHold:    `contact.hold`,
	crm.VerbExport:  `contact.export contact.export_all`,
	crm.VerbApply:   `workflow.apply workflow.delete workflow.pause workflow.resume`,
	crm.VerbResume:  `campaign.resume run.cancel run.resume run.retry`,
}

// asking is a row of the table: a verb with a good request, and the lists that all have to hold the role.
type asking struct {
	verb, how string
	gates     []crm.Verb
	request   func(r *rig) (any, io.Reader)
	hipaa     bool // a HIPAA account refuses it to everybody
}

// askings gives the rows: each verb, and the ways of using one that are judged by another list.
func askings() (rows []asking) {
	for gate, names := range gates {
		for _, verb := range strings.Fields(names) {
			rows = append(rows, asking{verb: verb, gates: []crm.Verb{gate}, hipaa: gate == crm.VerbRestore,
				request: func(r *rig) (any, io.Reader) { return r.request(verb) }})
		}
	}
	about := func(verb, how string, q func(r *rig, ada, bob string) any, gates ...crm.Verb) asking {
		return asking{verb: verb, how: how, gates: gates, request: func(r *rig) (any, io.Reader) {
			r.account()
			ada, bob := r.contact("ada@example.com").ID, r.contact("bob@example.com").ID
			r.delete(bob, "")
			return q(r, ada.String(), bob.String()), nil
		}}
	}
	plan := about("bulk.restore", "a plan", func(_ *rig, _, bob string) any { return BulkRestore{IDs: []string{bob}, Plan: true} }, crm.VerbRestore)
	plan.hipaa = true
	rows = append(rows, plan,
		about("contact.preview", "a restore", func(_ *rig, _, bob string) any { return ContactPreview{ID: bob, Act: ActRestore} }, crm.VerbRestore),
		about("contact.preview", "a purge", func(_ *rig, _, bob string) any { return ContactPreview{ID: bob, Act: ActPurge} }, crm.VerbPurge),
		about("contact.preview", "a purge of a live one", func(_ *rig, ada, _ string) any { return ContactPreview{ID: ada, Act: ActPurge} }, crm.VerbPurge),
		about("contact.purge", "of a deleted one", func(_ *rig, _, bob string) any {
			return ContactPurge{ID: bob, Confirm: "PURGE", Reason: "a request"}
		}, crm.VerbPurge),
		about("contact.hold", "lifted", func(r *rig, ada, _ string) any {
			for _, role := range []crm.Role{crm.Admin, crm.Operator, crm.Agent} { // whoever may under this policy
				_ = r.try(role, "contact.hold", ContactHold{ID: ada, Reason: "a matter"}, nil, nil)
			}
			return ContactHold{ID: ada, Lift: true}
		}, crm.VerbHold),
		about("contact.hold", "of a deleted one", func(_ *rig, _, bob string) any { return ContactHold{ID: bob, Reason: "a matter"} }, crm.VerbHold),
		about("contact.delete", "with its export", func(r *rig, ada, _ string) any {
			export := ask[ContactExport](r, "contact.export", ContactID{ID: ada})
			return ContactDelete{ID: ada, Confirm: "DELETE", Exported: export.SHA256}
		}, crm.VerbDelete, crm.VerbExport),
		about("contact.list", "under a hold", func(*rig, string, string) any { return ContactList{Held: true} }, forShape),
		about("contact.get", "a deleted one", func(_ *rig, _, bob string) any { return ContactID{ID: bob, Deleted: true} }, forAll),
		about("policy.set", "a preview", func(*rig, string, string) any {
			return PolicySet{Set: map[string]any{"retention.window": "30d"}, Preview: true}
		}, forAll),
		about("retention.sweep", "shown only", func(*rig, string, string) any { return RetentionSweep{} }, forAll))
	slices.SortFunc(rows, func(a, b asking) int { return strings.Compare(a.verb+a.how, b.verb+b.how) })
	return rows
}

// policies are those that the table is gone through under. In the last one every list is another than by
// default, and admins are in hardly any.
var policies = []struct {
	name string
	set  map[string]any
}{
	{"default", nil},
	{"activecampaign", map[string]any{"preset": "activecampaign"}},
	{"every list changed", map[string]any{
		"permissions.delete": "operator", "permissions.restore": "agent", "permissions.purge": "operator, agent", "permissions.hold": "agent",
		"permissions.export": "viewer, operator", "permissions.write": "admin", "permissions.apply": "operator", "permissions.resume": "agent", "permissions.audit": "operator, viewer",
	}},
}

// who asks: the roles there are, the product's own without a cause of its own, and one that there is not.
var allRoles = []crm.Role{crm.Admin, crm.Operator, crm.Agent, crm.Viewer, crm.Auditor, crm.System, "somebody"}

// entitles says whether a role is in every list that a row is judged by.
func (a asking) entitles(p crm.Policy, role crm.Role) bool {
	for _, g := range a.gates {
		if g == forAll && role == crm.Auditor {
			return false
		}
		if g != forAll && g != forShape && !(g == forAdmins && role == crm.Admin) && !slices.Contains(p.Permissions[g], role) {
			return false
		}
	}
	return true
}

// permissions is one way through the table.
type permissions struct {
	host     *plugins.Host
	handlers map[string]handler
	corrupt  func(table string, row any)
	policy   crm.Policy
	hipaa    bool
}

// rig prepares a store for a row: what it needs is made under the default policy.
func (p permissions) rig(t *testing.T, a asking) (*rig, any, io.Reader) {
	r := sharedRig(t, p.host, p.corrupt)
	q, in := a.request(r)
	if a.verb == "account.create" {
		return r, q, in
	}
	by := crm.Actor{ID: "user:test", Role: crm.Admin}
	r.must(r.app.Store.Update(t.Context(), func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err == nil {
			_, err = tx.SetPolicy(by, acc.ID, p.policy)
		}
		if err == nil && p.hipaa {
			err = tx.SetHIPAA(by, acc.ID)
		}
		return err
	}))
	return r, q, in
}

// sharedRig is newRig with a plugin host that several use, and with a bug planted or none.
func sharedRig(t *testing.T, host *plugins.Host, corrupt func(string, any)) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewVirtual(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))}
	eng := storetest.NewMemory(storetest.MemoryOptions{Now: func() crm.Nanos { return crm.At(r.clock.Now()) }, Seed: 7, Corrupt: corrupt})
	st, err := store.New(t.Context(), eng, store.Options{Key: make([]byte, 32), Rand: &lockedRand{r: rand.NewChaCha8([32]byte{7})}})
	r.must(err)
	engine, err := runtime.New(runtime.Options{Store: st, Actions: host, Clock: r.clock, Log: zerolog.Nop()})
	r.must(err)
	r.app = &App{Store: st, Engine: engine, Host: host, Log: zerolog.Nop(), Audit: &memoryAudit{}}
	return r
}

func newHost(t *testing.T) *plugins.Host {
	t.Helper()
	host, err := plugins.New(plugins.Options{RunDir: t.TempDir(), Dir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return host
}

// call calls a verb of a table of handlers in a role.
func (r *rig) call(handlers map[string]handler, role crm.Role, verb string, q any, in io.Reader) error {
	r.t.Helper()
	raw, err := json.Marshal(q)
	r.must(err)
	if s, ok := in.(io.Seeker); ok {
		_, err := s.Seek(0, io.SeekStart)
		r.must(err)
	}
	_, err = handlers[verb](r.t.Context(), r.app, crm.Actor{ID: "user:test", Role: role}, raw, in)
	return err
}

// head names all that the log says was done.
func (r *rig) head() string {
	r.t.Helper()
	n, head, err := r.app.Store.VerifyLog(r.t.Context())
	r.must(err)
	return fmt.Sprintf("%d %x", n, head)
}

// wrong goes through the cells of a row, a role each. Who is not entitled is denied, and nothing was done;
// who is has the request carried out, but for what there is none of.
func (p permissions) wrong(t *testing.T, a asking) (wrong []string) {
	r, q, in := p.rig(t, a)
	said := func(role crm.Role, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s %s as %s: ", a.verb, a.how, role)+fmt.Sprintf(format, args...))
	}
	before := r.head()
	for _, role := range allRoles {
		if a.entitles(p.policy, role) {
			continue
		}
		if err := r.call(p.handlers, role, a.verb, q, in); crm.CodeOf(err) != crm.CodeDenied {
			said(role, "it was not denied: %v", err)
		}
		if r.head() != before {
			said(role, "something was done")
		}
	}
	for _, role := range allRoles {
		if !a.entitles(p.policy, role) {
			continue
		}
		if r.head() != before {
			r, q, in = p.rig(t, a)
		}
		switch err := r.call(p.handlers, role, a.verb, q, in); {
		case p.hipaa && a.hipaa:
			if crm.CodeOf(err) != crm.CodeHIPAA {
				said(role, "a HIPAA account did not refuse it: %v", err)
			}
		case err != nil && crm.CodeOf(err) != crm.CodeNotFound:
			said(role, "%v", err)
		}
	}
	return wrong
}

// changed gives the default policy with changes.
func changed(t *testing.T, set map[string]any) crm.Policy {
	t.Helper()
	p, err := crm.DefaultPolicy().With(set)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPermissions goes through every verb, every role, both kinds of account and several policies.
func TestPermissions(t *testing.T) {
	t.Parallel()
	var listed []string
	for gate, names := range gates {
		for _, verb := range strings.Fields(names) {
			listed = append(listed, verb)
			a := asking{gates: []crm.Verb{gate}}
			for letter, role := range map[string]crm.Role{"a": crm.Admin, "o": crm.Operator, "g": crm.Agent, "v": crm.Viewer, "u": crm.Auditor} {
				if a.entitles(crm.DefaultPolicy(), role) != strings.Contains(mayUse[verb], letter) {
					t.Errorf("%s is for %q, and judged by %s", verb, mayUse[verb], gate)
				}
			}
		}
	}
	if slices.Sort(listed); !slices.Equal(listed, Verbs()) {
		t.Fatalf("judged are\n%v\nand the server has\n%v", listed, Verbs())
	}
	host := newHost(t)
	for _, policy := range policies {
		for _, hipaa := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hipaa %t", policy.name, hipaa), func(t *testing.T) {
				t.Parallel()
				p := permissions{host: host, handlers: verbs, policy: changed(t, policy.set), hipaa: hipaa}
				for _, a := range askings() {
					for _, w := range p.wrong(t, a) {
						t.Error(w)
					}
				}
			})
		}
	}
}

// as gives a handler that takes the actor for another.
func as(h handler, to func(crm.Role) crm.Role) handler {
	return func(ctx context.Context, a *App, by crm.Actor, request []byte, in io.Reader) (any, error) {
		by.Role = to(by.Role)
		return h(ctx, a, by, request, in)
	}
}

// TestPermissionsFindPlantedBugs plants what the table must find.
func TestPermissionsFindPlantedBugs(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	anybody := func(crm.Role) crm.Role { return crm.Admin }
	one := func(verb string, to func(crm.Role) crm.Role) map[string]handler {
		return map[string]handler{verb: as(verbs[verb], to)}
	}
	account := func(plant func(*crm.Account)) func(string, any) {
		return func(_ string, row any) {
			if a, ok := row.(*crm.Account); ok {
				plant(a)
			}
		}
	}
	for _, plant := range []struct {
		bug, verb string
		set       map[string]any
		hipaa     bool
		handlers  map[string]handler
		corrupt   func(string, any)
	}{
		{bug: "a handler asks nobody", verb: "contact.hold", handlers: one("contact.hold", anybody)},
		{bug: "a gate takes agents for operators", verb: "contact.purge", set: policies[2].set,
			handlers: one("contact.purge", func(r crm.Role) crm.Role {
				return map[crm.Role]crm.Role{crm.Agent: crm.Operator, crm.Viewer: crm.Agent}[r]
			})},
		{bug: "a gate forgets agents", verb: "contact.tag", handlers: one("contact.tag", func(r crm.Role) crm.Role {
			if r == crm.Agent {
				return crm.Viewer
			}
			return r
		})},
		{bug: "an admin may always", verb: "contact.restore", set: policies[2].set,
			corrupt: account(func(a *crm.Account) {
				a.Policy.Permissions[crm.VerbRestore] = append(a.Policy.Permissions[crm.VerbRestore], crm.Admin)
			})},
		{bug: "a changed list is not kept", verb: "contact.delete", set: policies[1].set,
			corrupt: account(func(a *crm.Account) { a.Policy.Permissions[crm.VerbDelete] = []crm.Role{crm.Admin} })},
		{bug: "the question comes after the deed", verb: "contact.delete", handlers: map[string]handler{
			"contact.delete": func(ctx context.Context, a *App, by crm.Actor, request []byte, in io.Reader) (any, error) {
				was := by.Role
				by.Role = crm.Admin
				answer, err := verbs["contact.delete"](ctx, a, by, request, in)
				if was != crm.Admin {
					return nil, crm.Errorf("delete a contact", crm.CodeDenied, "too late")
				}
				return answer, err
			}}},
		{bug: "the flag is not kept", verb: "contact.restore", hipaa: true, corrupt: account(func(a *crm.Account) { a.HIPAA = false })},
	} {
		t.Run(plant.bug, func(t *testing.T) {
			t.Parallel()
			p := permissions{host: host, handlers: maps.Clone(verbs), corrupt: plant.corrupt, policy: changed(t, plant.set), hipaa: plant.hipaa}
			maps.Copy(p.handlers, plant.handlers)
			var wrong []string
			for _, a := range askings() {
				if a.verb == plant.verb {
					wrong = append(wrong, p.wrong(t, a)...)
				}
			}
			if len(wrong) == 0 {
				t.Errorf("the table did not find that %s", plant.bug)
			}
		})
	}
}
