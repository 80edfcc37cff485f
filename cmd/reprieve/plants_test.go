package main

import (
	"slices"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

func anything(crm.Event) bool { return true }

// plants are the faults that the checker must find, each with what it must say.
var plants = []struct {
	name  string
	plant func(*testing.T, *history)
	want  string
}{
	{"a lost tag", func(t *testing.T, h *history) {
		h.drop(entryOf(t, h, crm.ContactTagAdded, named("trip-1")))
	}, "the acknowledged tag trip-1"},
	{"a tag that is in the log and not on the contact", func(t *testing.T, h *history) {
		e, _ := runOf(t, h, "trip")
		e.contact = e.contact.Clone()
		e.contact.Tags = e.contact.Tags[1:]
	}, "tags, the log says"},
	{"a doubled tag", func(t *testing.T, h *history) {
		h.twice(entryOf(t, h, crm.ContactTagAdded, named("trip-1")))
	}, "has revision 2 after 2"},
	{"a refused tag that was added", func(_ *testing.T, h *history) {
		i := slices.IndexFunc(h.calls, func(a asked) bool { return a.verb == "add" })
		h.calls[i].outcome = refused
	}, "was refused and is on"},
	{"a lost delete", func(_ *testing.T, h *history) {
		h.calls = append(h.calls, asked{verb: "delete", contact: h.calls[0].contact, outcome: acknowledged, epoch: 9})
	}, "the acknowledged delete"},
	{"a lost restore", func(t *testing.T, h *history) {
		h.drop(entryOf(t, h, crm.ContactRestored, anything))
	}, "the acknowledged restore"},
	{"a restore that nobody asked for", func(_ *testing.T, h *history) {
		h.calls = slices.DeleteFunc(h.calls, func(a asked) bool { return a.verb == "restore" })
	}, "and asked 0 times"},
	{"a doubled delete", func(t *testing.T, h *history) {
		h.twice(entryOf(t, h, crm.ContactDeleted, byWorkflow("doom")))
	}, "begins epoch"},
	{"a run that deletes twice", func(t *testing.T, h *history) {
		i := entryOf(t, h, crm.ContactDeleted, byWorkflow("doom"))
		again := h.log[i]
		again.Event.Epoch += 2
		h.log = slices.Insert(h.log, entryOf(t, h, crm.ContactRestored, anything)+1, again)
		h.number()
	}, "did \"contact.deleted \" twice"},
	{"a delete without a grant", func(t *testing.T, h *history) {
		for i := range h.log {
			if h.log[i].Event.Kind == crm.WorkflowApplied {
				h.log[i].Event.Data.Old = "[]"
			}
		}
	}, "was deleted without a grant"},
	{"a delete by a run of somebody else", func(t *testing.T, h *history) {
		_, trip := runOf(t, h, "trip")
		h.log[entryOf(t, h, crm.ContactDeleted, byWorkflow("doom"))].Event.Why.Run = trip.run.ID
	}, "by a run that was not started for it"},
	{"a run entitled by a revision of before the restore", func(t *testing.T, h *history) {
		i := entryOf(t, h, crm.RunStarted, func(ev crm.Event) bool { return ev.Epoch == 2 })
		h.log[i].Event.Rev = 2
	}, "at or below the quiet revision 2"},
	{"two runs for one event", func(t *testing.T, h *history) {
		h.twice(entryOf(t, h, crm.RunStarted, byWorkflow("trip")))
	}, "2 runs were started by the one entitlement"},
	{"an event that started nothing", func(t *testing.T, h *history) {
		e, r := runOf(t, h, "trip")
		e.runs = slices.DeleteFunc(e.runs, func(o ended) bool { return o.run.ID == r.run.ID })
	}, "started no run of trip"},
	{"a step that happened twice", func(t *testing.T, h *history) {
		h.twice(entryOf(t, h, crm.ContactTagRemoved, byWorkflow("trip")))
	}, "\" twice"},
	{"a step journalled twice", func(t *testing.T, h *history) {
		_, r := runOf(t, h, "trip")
		r.steps = append(r.steps, r.steps[0])
	}, "is journalled twice"},
	{"a step that happened and is not journalled", func(t *testing.T, h *history) {
		_, r := runOf(t, h, "trip")
		r.steps = slices.DeleteFunc(r.steps, func(s crm.StepRecord) bool { return s.Path == "mark" })
	}, "happened and is not journalled"},
	{"a step that is journalled and did not happen", func(t *testing.T, h *history) {
		h.drop(entryOf(t, h, crm.ContactTagRemoved, byWorkflow("trip")))
	}, "happened 0 times"},
	{"a wait that was not woken", func(t *testing.T, h *history) {
		_, r := runOf(t, h, "trip")
		r.run.Status = crm.RunWaiting
	}, "is not over"},
	{"a run that failed", func(t *testing.T, h *history) {
		_, r := runOf(t, h, "trip")
		r.run.Status = crm.RunFailed
	}, "failed"},
	{"a timer that is still due", func(t *testing.T, h *history) {
		_, r := runOf(t, h, "trip")
		h.due = append(h.due, r.run)
	}, "is still due"},
	{"a receipt that counts a run", func(t *testing.T, h *history) {
		for _, e := range h.contacts {
			for i := range e.receipts {
				e.receipts[i].RunsStarted = 1
			}
		}
	}, "started 1 runs"},
	{"an early purge", func(t *testing.T, h *history) {
		h.log[entryOf(t, h, crm.ContactPurged, anything)].Event.At -= 1
	}, "was purged 1 ns early"},
	{"a purge that left something", func(t *testing.T, h *history) {
		_, r := runOf(t, h, "trip")
		gone := h.contacts[h.log[entryOf(t, h, crm.ContactPurged, anything)].Event.Contact]
		gone.runs = append(gone.runs, *r)
	}, "something is left of"},
	{"a life that is not the log's", func(t *testing.T, h *history) {
		e, _ := runOf(t, h, "trip")
		e.life.State = crm.Deleted
	}, "the log says live"},
	{"a change of somebody who is deleted", func(t *testing.T, h *history) {
		i := entryOf(t, h, crm.ContactTagAdded, named("doom-1"))
		late := h.log[i]
		late.Event.Rev++
		h.log = slices.Insert(h.log, entryOf(t, h, crm.ContactDeleted, byWorkflow("doom"))+1, late)
		h.number()
	}, "while it was deleted"},
	{"a counter that is off", func(_ *testing.T, h *history) { h.counts[store.CountLive]++ }, "the counter contacts/live"},
	{"an entry that is missing", func(_ *testing.T, h *history) { h.log = slices.Delete(h.log, 3, 4) }, "has number"},
	{"events that nobody looked at", func(_ *testing.T, h *history) { h.waiting = 1 }, "1 entries wait"},
}
