package runtime

import (
	"context"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

func (r *rig) pause(id string, on bool) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error { return tx.PauseWorkflow(r.by, r.acc, id, on) })
}

// A paused workflow starts nothing, by event or schedule, and its runs stand where they are; others go on.
func TestPause(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 61})
	r.workflow("cleanup", cleanup)
	r.workflow("other", "triggers: [{id: t, event: contact.tag_added, if: event.tag == \"Unsubscribed\"}]\nsteps: [{id: nap, wait: 15d}, {id: m, action: mark}]\n")
	k, late := r.person(), r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "Unsubscribed"})
	r.settle()
	r.pause("cleanup", true)
	r.apply(crm.AddTag{Contact: late, Tag: "Unsubscribed"})
	r.settle()
	r.pass(day(16))
	r.expect("the runs of a paused workflow", r.runs(k), []string{"cleanup waiting cool_off", "other completed m"})
	r.expect("who came meanwhile", r.runs(late), []string{"other completed m"})
	r.expect("the contact", r.state(k), crm.Live)

	r.restart()
	r.pass(day(1))
	r.expect("after a restart", r.runs(k), []string{"cleanup waiting cool_off", "other completed m"})

	r.pause("cleanup", false)
	r.settle()
	r.expect("after it goes on", r.state(k), crm.Deleted)
	r.expect("who came meanwhile is not made up for", r.runs(late), []string{"other completed m"})
	r.pass(day(1))
	r.expect("the next night's schedule", r.runs(late), []string{"cleanup waiting cool_off", "other completed m"})
}

// A pause that comes while a plugin works keeps its effect from the contact; the step is taken again.
func TestPauseDuringAStep(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.MemoryOptions{Seed: 62})
	r.workflow("slow", "triggers: [{id: t, event: contact.tag_added, if: event.tag == \"go\"}]\nsteps: [{id: act, action: slow}]\n")
	calls := 0
	r.acts.add(plugins.Spec{Action: "slow", Effects: []plugins.EffectKind{plugins.EffectAddTag}}, func(context.Context, plugins.Item) plugins.Outcome {
		if calls++; calls == 1 {
			r.pause("slow", true)
		}
		return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectAddTag, Tag: "marked"}}}
	})
	k := r.person()
	r.apply(crm.AddTag{Contact: k, Tag: "go"})
	r.settle()
	r.expect("while it is paused", r.runs(k), []string{"slow active act"})
	r.expect("its journal", r.journal(k), []string{})
	r.pause("slow", false)
	r.settle()
	r.expect("after it goes on", r.runs(k), []string{"slow completed act"})
	r.expect("the calls", calls, 2)
}
