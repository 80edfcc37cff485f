package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/internal/row"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// What an admin may grant to a workflow, as written in a workflow apply.
var grantable = []string{"contact.delete", "contact.restore", "contact.purge", "contact.purge:erasure"}

// What a deed needs that is no grant.
const (
	needsNone = "nothing" // a change of facts
	forPeople = "people"  // no workflow does it under any grant
)

// deed is something that a workflow might do.
type deed struct {
	name, needs string
	do          func(tx *store.Tx, by crm.Actor, why crm.Cause) error
}

// deeds gives each kind of them, on contacts that nothing else keeps it from.
func (r *rig) deeds() []deed {
	r.Helper()
	live, dead, late, lossy := r.enter(1), r.enter(2), r.enter(3), r.enter(4)
	r.do(crm.Delete{Contact: late})
	r.do(crm.Delete{Contact: lossy})
	r.ok(func(tx *store.Tx) error {
		p, err := crm.DefaultPolicy().With(map[string]any{"restore.associated": "none"})
		if err == nil {
			_, err = tx.SetPolicy(admin, acc, p)
		}
		return err
	})
	r.do(crm.Restore{Contact: lossy})
	r.clock += 61 * crm.Day
	r.do(crm.Delete{Contact: dead})
	apply := func(m crm.Mutation) func(*store.Tx, crm.Actor, crm.Cause) error {
		return func(tx *store.Tx, by crm.Actor, why crm.Cause) error { _, err := tx.Apply(by, why, m); return err }
	}
	return []deed{
		{"a tag", needsNone, apply(crm.AddTag{Contact: live, Tag: "x"})},
		{"a record", needsNone, apply(crm.PutRecord{Record: crm.Record{Account: acc, Contact: live.Contact, Kind: crm.Note, ID: crm.ItemID{77}, Title: "x"}})},
		{"an archiving", needsNone, apply(crm.Archive{Contact: live, On: true})},
		{"a delete", "contact.delete", apply(crm.Delete{Contact: live})},
		{"a restore", "contact.restore", apply(crm.Restore{Contact: dead})},
		{"a purge", "contact.purge", apply(crm.Purge{Contact: late})},
		{"a discarding", "contact.purge", apply(crm.Discard{Contact: lossy})},
		{"an erasure", "contact.purge:erasure", apply(crm.Purge{Contact: dead, Erasure: true})},
		{"an erasure of a live one", "contact.purge:erasure", apply(crm.Purge{Contact: live, Erasure: true})},
		{"a hold", forPeople, apply(crm.Hold{Contact: live, On: true})},
		{"a resumption", forPeople, apply(crm.ResumeEnrollment{Contact: lossy, Campaign: drip, Overdue: crm.OverdueSkip})},
		{"a policy", forPeople, func(tx *store.Tx, by crm.Actor, _ crm.Cause) error {
			_, err := tx.SetPolicy(by, acc, crm.DefaultPolicy())
			return err
		}},
		{"the flag", forPeople, func(tx *store.Tx, by crm.Actor, _ crm.Cause) error { return tx.SetHIPAA(by, acc) }},
		{"a bulk restore", forPeople, func(tx *store.Tx, by crm.Actor, _ crm.Cause) error { return tx.MayAcceptRestore(by, acc) }},
		{"a grant of its own", forPeople, func(tx *store.Tx, by crm.Actor, _ crm.Cause) error {
			_, err := tx.ApplyWorkflow(by, acc, "w", "r2", "w.yaml", []byte("y"), grantable)
			return err
		}},
		{"an end of a workflow", forPeople, func(tx *store.Tx, by crm.Actor, _ crm.Cause) error { return tx.DeleteWorkflow(by, acc, "w") }},
	}
}

// doer is in whose name a deed is tried, and what it may.
type doer struct {
	name string
	by   crm.Actor
	why  crm.Cause
	may  []string // what it may do, as deeds need it
}

// doers gives a workflow for each set of grants, one that was deleted with all of them, one that was never
// applied, and those who are no workflows.
func (r *rig) doers() []doer {
	r.Helper()
	robot := func(id string) crm.Cause { return crm.Cause{Kind: crm.ByWorkflow, Workflow: id, Depth: 1} }
	apply := func(id string, grants []string) {
		r.ok(func(tx *store.Tx) error {
			_, err := tx.ApplyWorkflow(admin, acc, id, "r1", "w.yaml", []byte("x"), grants)
			return err
		})
	}
	var all []doer
	system := crm.Actor{ID: "workflow:w", Role: crm.System}
	for set := range 1 << len(grantable) {
		var grants []string
		for i, g := range grantable {
			if set&(1<<i) != 0 {
				grants = append(grants, g)
			}
		}
		id := fmt.Sprintf("w%d", set)
		apply(id, grants)
		all = append(all, doer{"a workflow granted " + strings.Join(grants, " "), system, robot(id), append(grants, needsNone)})
	}
	apply("over", grantable)
	r.ok(func(tx *store.Tx) error { return tx.DeleteWorkflow(admin, acc, "over") })
	apply("again", grantable)
	r.ok(func(tx *store.Tx) error { return tx.DeleteWorkflow(admin, acc, "again") })
	apply("again", nil)
	viewer := crm.Actor{ID: "user:9", Role: crm.Viewer}
	return append(all,
		doer{"a deleted workflow", system, robot("over"), []string{needsNone}},
		doer{"a workflow applied again after it was deleted", system, robot("again"), []string{needsNone}},
		doer{"a workflow that never was", system, robot("none"), []string{needsNone}},
		doer{"a viewer in the name of a workflow", viewer, robot("w15"), nil},
		doer{"the product as a person", system, crm.Cause{Kind: crm.ByPerson, Workflow: "w15"}, nil},
		doer{"the product as an import", system, crm.Cause{Kind: crm.ByImport, Workflow: "w15"}, nil},
		doer{"the product as a restore", system, crm.Cause{Kind: crm.ByRestore, Workflow: "w15"}, nil},
		doer{"the product without a cause", system, crm.Cause{Workflow: "w15"}, nil},
		doer{"the sweep", sweeper, crm.Cause{Kind: crm.ByRetention, Workflow: "w15"}, []string{"contact.purge"}},
		doer{"the janitor", system, crm.Cause{Kind: crm.ByAccount, Workflow: "w15"}, []string{needsNone}},
		doer{"late inbound", system, crm.Cause{Kind: crm.ByInbound, Workflow: "w15"}, []string{needsNone}})
}

var errUndo = errors.New("it was only a try")

// ungranted tries every deed in every name, undoes it, and says where the store judged wrong.
func (r *rig) ungranted() (wrong []string) {
	r.Helper()
	deeds := r.deeds()
	for _, who := range r.doers() {
		for _, what := range deeds {
			err := r.s.Update(ctx, func(tx *store.Tx) error {
				if err := what.do(tx, who.by, who.why); err != nil {
					return err
				}
				return errUndo
			})
			may, code := slices.Contains(who.may, what.needs), crm.CodeOf(err)
			refused := code == crm.CodeDenied || code == crm.CodeNoGrant || code == crm.CodeNotFound && who.why.Workflow == "none"
			if may && !errors.Is(err, errUndo) || !may && !refused {
				wrong = append(wrong, fmt.Sprintf("%s by %s: %v", what.name, who.name, err))
			}
		}
	}
	return wrong
}

// TestGrants tries what a workflow might do under every set of grants: it deletes, restores, purges and
// erases under the grant of just that, and does what is for people under none.
func TestGrants(t *testing.T) {
	eachEngine(t, func(r *rig) {
		for _, w := range r.ungranted() {
			r.Error(w)
		}
	})
}

// TestGrantsFindPlantedBugs plants what the table must find.
func TestGrantsFindPlantedBugs(t *testing.T) {
	t.Parallel()
	for bug, plant := range map[string]func(*row.Workflow){
		"the grant to purge is one to erase": func(w *row.Workflow) {
			if slices.Contains(w.Grants, "contact.purge") {
				w.Grants = append(w.Grants, "contact.purge:erasure")
			}
		},
		"a grant is lost": func(w *row.Workflow) {
			w.Grants = slices.DeleteFunc(w.Grants, func(g string) bool { return g == "contact.restore" })
		},
		"grants outlive the workflow": func(w *row.Workflow) {
			if w.Active == "" {
				w.Grants = grantable
			}
		},
	} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			r := &rig{T: t, clock: begin}
			r.eng = storetest.NewMemory(storetest.MemoryOptions{Now: func() crm.Nanos { return r.clock }, Seed: 5, Corrupt: func(_ string, is any) {
				if w, ok := is.(*row.Workflow); ok {
					plant(w)
				}
			}})
			r.reopen()
			r.furnish()
			if len(r.ungranted()) == 0 {
				t.Errorf("the table did not find that %s", bug)
			}
		})
	}
}

// Who may apply workflows may not have them do what he may not do himself.
func TestGrantsAreNotAWayRound(t *testing.T) {
	eachEngine(t, func(r *rig) {
		r.setPolicy(func(p *crm.Policy) {
			p.Permissions[crm.VerbApply] = []crm.Role{crm.Admin, crm.Agent}
			p.Permissions[crm.VerbDelete] = []crm.Role{crm.Agent}
		})
		agent := crm.Actor{ID: "user:7", Role: crm.Agent}
		apply := func(by crm.Actor, revision string, grants ...string) error {
			return r.s.Update(ctx, func(tx *store.Tx) error {
				_, err := tx.ApplyWorkflow(by, acc, "g", revision, "g.yaml", []byte(revision), grants)
				return err
			})
		}
		for _, c := range []struct {
			by     crm.Actor
			grants []string
			code   string
		}{
			{agent, nil, ""},
			{agent, []string{"contact.delete"}, ""},
			{agent, []string{"contact.delete", "contact.purge"}, crm.CodeDenied},
			{agent, []string{"contact.purge:erasure"}, crm.CodeDenied},
			{admin, []string{"contact.purge:erasure", "contact.delete"}, ""},
			{agent, []string{"contact.purge:erasure"}, ""}, // it has that already
		} {
			if err := apply(c.by, "r"+c.code, c.grants...); crm.CodeOf(err) != c.code {
				t.Errorf("%s grants %v: %v", c.by.Role, c.grants, err)
			}
		}
	})
}
