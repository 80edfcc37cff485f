package main

import (
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// call holds what the driver was told against the log.
func (c *checker) call(a *asked) {
	f := c.lives[a.contact]
	if f == nil {
		c.bad("%s is not in the log at all", a.contact)
		return
	}
	end := c.contacts[a.contact]
	switch a.verb {
	case "add":
		ev, there := f.events[a.rev]
		named := 0
		for _, e := range f.events {
			if e.Kind == crm.ContactTagAdded && e.Data.Name == a.tags[0] {
				named++
			}
		}
		switch {
		case a.outcome == acknowledged && (!there || ev.Kind != crm.ContactTagAdded || end.contact != nil && ev.Data.Name != a.tags[0]):
			c.bad("the acknowledged tag %s of %s is lost", a.tags[0], a.contact)
		case named > 1:
			c.bad("the tag %s was added to %s %d times", a.tags[0], a.contact, named)
		case a.outcome == refused && named > 0:
			c.bad("the tag %s was refused and is on %s", a.tags[0], a.contact)
		}
	case "remove":
		for _, t := range a.tags {
			if a.outcome == acknowledged && end.contact != nil && f.tags[t] {
				c.bad("the acknowledged removal of %s from %s is lost", t, a.contact)
			}
		}
	case "delete", "restore":
		kind := map[string]crm.EventKind{"delete": crm.ContactDeleted, "restore": crm.ContactRestored}[a.verb]
		if a.outcome == acknowledged && !slices.Contains(f.byPeople[string(kind)], a.epoch) {
			c.bad("the acknowledged %s of %s at epoch %d is lost", a.verb, a.contact, a.epoch)
		}
	}
}

// mostBegun wants people to have begun no more epochs than they asked for.
func (c *checker) mostBegun(id crm.ContactID, f *folded) {
	for verb, kind := range map[string]crm.EventKind{"delete": crm.ContactDeleted, "restore": crm.ContactRestored} {
		may := 0
		for _, a := range c.calls {
			if a.contact == id && a.verb == verb && a.outcome != refused {
				may++
			}
		}
		if n := len(f.byPeople[string(kind)]); n > may {
			c.bad("people began %d times to %s %s, and asked %d times", n, verb, id, may)
		}
	}
}

// ending holds a contact as the store has it against the log, and its runs against their journals.
func (c *checker) ending(id crm.ContactID, f *folded) {
	e := c.contacts[id]
	if e.life.State != f.state || e.life.Epoch != f.epoch {
		c.bad("%s is %s in epoch %d, the log says %s in epoch %d", id, e.life.State, e.life.Epoch, f.state, f.epoch)
	}
	c.mostBegun(id, f)
	if f.state == crm.Purged {
		if e.contact != nil || len(e.runs) > 0 || len(e.receipts) > 0 {
			c.bad("something is left of %s, which was purged", id)
		}
		return
	}
	if e.contact == nil {
		c.bad("%s is gone", id)
		return
	}
	if e.contact.Rev != f.rev || e.life.QuietRev != f.quiet {
		c.bad("%s is at revision %d with quiet revision %d, the log says %d and %d", id, e.contact.Rev, e.life.QuietRev, f.rev, f.quiet)
	}
	names := e.contact.TagNames()
	for _, t := range names {
		if !f.tags[t] {
			c.bad("%s has the tag %s, which the log does not know", id, t)
		}
	}
	if len(names) != len(f.tags) {
		c.bad("%s has %d tags, the log says %d", id, len(names), len(f.tags))
	}
	for _, r := range e.receipts {
		if r.RunsStarted != 0 || r.TimersArmed != 0 || r.Sends != 0 {
			c.bad("the restore of %s at epoch %d started %d runs and %d timers", id, r.Epoch, r.RunsStarted, r.TimersArmed)
		}
	}
	for _, r := range e.runs {
		c.run(e, r)
	}
	c.missed(id, f, e)
}

// run holds a run against its journal and its effects: what is journalled happened, and once.
func (c *checker) run(e *ending, r ended) {
	if _, ok := c.runs[r.run.ID]; !ok {
		c.bad("run %s is not in the log", r.run.ID)
	}
	switch s := r.run.StatusFor(e.life); s {
	case crm.RunActive, crm.RunWaiting:
		c.bad("run %s of %s is not over: %s, due %s", r.run.ID, r.run.Workflow, s, r.run.Due)
	case crm.RunFailed:
		c.bad("run %s of %s failed: %s", r.run.ID, r.run.Workflow, r.run.Reason)
	}
	want := wantSteps[r.run.Workflow]
	done := map[string]int{}
	for _, s := range r.steps {
		if done[s.Path]++; done[s.Path] > 1 {
			c.bad("step %s of run %s is journalled twice", s.Path, r.run.ID)
		}
		if s.Status != store.StepDone && s.Status != store.StepSuperseded {
			c.bad("step %s of run %s is journalled as %s %s", s.Path, r.run.ID, s.Status, s.Code)
		}
		if effect := want[s.Path]; s.Status == store.StepDone && effect != "" && c.did(r.run.ID, effect) != 1 {
			c.bad("step %s of run %s is journalled, and %q happened %d times", s.Path, r.run.ID, effect, c.did(r.run.ID, effect))
		}
	}
	for path, effect := range want {
		if r.run.Status == crm.RunCompleted && done[path] != 1 {
			c.bad("run %s is completed without step %s", r.run.ID, path)
		}
		if effect != "" && done[path] == 0 && c.did(r.run.ID, effect) != 0 {
			c.bad("%q of run %s happened and is not journalled", effect, r.run.ID)
		}
	}
}

func (c *checker) did(run crm.RunID, effect string) int {
	return c.didRun[run][strings.ReplaceAll(effect, "RUN", run.String())]
}

// missed looks for events that should have started a run and did not. The triggers look at the log in
// its order: once a run was started by a later event, they have looked at this one too, and if the
// contact was in the same epoch still, only a run of the same workflow that was under way excuses it:
// one that is unfinished, or whose last effect (they all end by one) came later.
func (c *checker) missed(id crm.ContactID, f *folded, e *ending) {
	for rev, ev := range f.events {
		workflow := ""
		for w, prefix := range wantTags {
			if ev.Kind == crm.ContactTagAdded && ev.Why.Kind == crm.ByPerson && strings.HasPrefix(ev.Data.Name, prefix) {
				workflow = w
			}
		}
		end, over := f.ends[ev.Epoch]
		if workflow == "" || over && c.seen[end] <= f.seqs[rev] {
			continue
		}
		if !slices.ContainsFunc(e.runs, func(r ended) bool {
			return r.run.Workflow == workflow && r.run.Began == ev.Epoch && (r.run.Entitled == rev ||
				r.run.Entitled < rev && (!r.run.Status.Finished() || c.last[r.run.ID] >= ev.At))
		}) {
			c.bad("the tag %s of %s started no run of %s", ev.Data.Name, id, workflow)
		}
	}
}
