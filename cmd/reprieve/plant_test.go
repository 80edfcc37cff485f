package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
)

// TestCheckerFinds plants faults in a true history, one at a time: a checker that passed one of them
// would prove nothing about a service that was killed.
func TestCheckerFinds(t *testing.T) {
	t.Parallel()
	truth := trueHistory(t)
	if found := check(truth); len(found) > 0 {
		t.Fatalf("a true history is found wrong:\n%s", strings.Join(found, "\n"))
	}
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			h := truth.clone()
			p.plant(t, h)
			if found := strings.Join(check(h), "\n"); !strings.Contains(found, p.want) {
				t.Errorf("%q was not found, but:\n%s", p.want, found)
			}
		})
	}
}

// trueHistory plays on a virtual clock what the crash test does: Ada is tagged and goes through trip,
// Bob is deleted by doom, restored by hand and tagged again, Cy is deleted and purged.
func trueHistory(t *testing.T) *history {
	t.Helper()
	o, v, call := inProcess(t, shortDir(t), place{})
	acc := must[server.AccountView](t, call, "account.create", server.AccountCreate{Name: "main"})
	var files []server.File
	for _, name := range []string{"trip", "doom"} {
		raw, err := os.ReadFile(filepath.Join("testdata", "crash", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, server.File{Name: name, Content: raw})
	}
	must[server.Checked](t, call, "workflow.apply", server.WorkflowFiles{Files: files, Grants: []string{"contact.delete"}})
	h := &history{}
	settle := func(d time.Duration) {
		v.Advance(d)
		if err := o.app.Engine.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tag := func(c crm.ContactID, name string) {
		con := must[server.ContactView](t, call, "contact.tag", server.ContactTag{ID: c.String(), Add: []string{name}})
		h.calls = append(h.calls, asked{verb: "add", contact: c, tags: []string{name}, outcome: acknowledged, rev: con.Revision})
	}
	remove := func(c crm.ContactID) {
		d := must[server.Deletion](t, call, "contact.delete", server.ContactDelete{ID: c.String(), Confirm: "DELETE"})
		h.calls = append(h.calls, asked{verb: "delete", contact: c, outcome: acknowledged, epoch: d.Manifest.Epoch})
	}
	var ids []crm.ContactID
	for _, name := range []string{"Ada", "Bob", "Cy"} {
		ids = append(ids, must[server.ContactView](t, call, "contact.create", server.ContactCreate{Fields: map[string]string{"first_name": name}}).ID)
	}
	remove(ids[2])
	settle(60 * 24 * time.Hour)
	tag(ids[0], "trip-1")
	tag(ids[1], "doom-1")
	settle(0)
	settle(time.Second)
	settle(time.Second)
	r := must[crm.Receipt](t, call, "contact.restore", server.ContactRestore{ID: ids[1].String(), Confirm: "yes"})
	h.calls = append(h.calls, asked{verb: "restore", contact: ids[1], outcome: acknowledged, epoch: r.Epoch})
	settle(time.Minute)
	tag(ids[1], "trip-2")
	settle(0)
	settle(time.Second)
	h.waiting = must[server.EventStatus](t, call, "event.status", server.None{}).Waiting
	if err := readHistory(t.Context(), o.app.Store, acc.ID, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// clone copies a history as deep as the plants dig.
func (h *history) clone() *history {
	c := *h
	c.calls, c.log, c.due = slices.Clone(h.calls), slices.Clone(h.log), slices.Clone(h.due)
	c.counts, c.contacts = maps.Clone(h.counts), map[crm.ContactID]*ending{}
	for id, e := range h.contacts {
		n := *e
		n.receipts, n.runs = slices.Clone(e.receipts), slices.Clone(e.runs)
		for i := range n.runs {
			n.runs[i].steps = slices.Clone(n.runs[i].steps)
		}
		c.contacts[id] = &n
	}
	return &c
}

// entryOf finds the first entry of a kind that yes says yes to.
func entryOf(t *testing.T, h *history, kind crm.EventKind, yes func(crm.Event) bool) int {
	t.Helper()
	i := slices.IndexFunc(h.log, func(l store.Logged) bool { return l.Event.Kind == kind && yes(l.Event) })
	if i < 0 {
		t.Fatalf("there is no %s", kind)
	}
	return i
}

func named(tag string) func(crm.Event) bool {
	return func(ev crm.Event) bool { return ev.Data.Name == tag }
}

func byWorkflow(w string) func(crm.Event) bool {
	return func(ev crm.Event) bool { return ev.Why.Workflow == w }
}

// twice puts an entry into the log once more.
func (h *history) twice(i int) {
	h.log = slices.Insert(h.log, i+1, h.log[i])
	h.number()
}

func (h *history) drop(i int) {
	h.log = slices.Delete(h.log, i, i+1)
	h.number()
}

func (h *history) number() {
	for i := range h.log {
		h.log[i].Seq = uint64(i) + 1
	}
}

// runOf gives the ending of a contact and the run of a workflow on it.
func runOf(t *testing.T, h *history, workflow string) (*ending, *ended) {
	t.Helper()
	for _, e := range h.contacts {
		for i := range e.runs {
			if e.runs[i].run.Workflow == workflow {
				return e, &e.runs[i]
			}
		}
	}
	t.Fatalf("there is no run of %s", workflow)
	return nil, nil
}
