package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// does makes an action that asks for the effects, whatever the contact is, and a workflow that has it as
// its one step on the tag of that name.
func (s *scene) does(name string, effects ...plugins.Effect) {
	s.t.Helper()
	var kinds []plugins.EffectKind
	for _, e := range effects {
		kinds = append(kinds, e.Kind)
	}
	s.acts.add(plugins.Spec{Action: name, Effects: kinds}, func(context.Context, plugins.Item) plugins.Outcome {
		return plugins.Outcome{Status: plugins.Done, Effects: slices.Clone(effects)}
	})
	s.workflow(name, fmt.Sprintf("\ntriggers: [{id: t, event: contact.tag_added, if: event.tag == %q}]\nsteps: [{id: act, action: %s}]\n", name, name))
}

// run sets off does's workflow and gives what its new run left in the journals.
func (s *scene) run(name string) string {
	s.t.Helper()
	before := s.journal(s.k)
	s.untag(name)
	s.tag(name)
	s.settle()
	left := s.journal(s.k)
	for _, l := range before {
		i := slices.Index(left, l)
		left = slices.Delete(left, i, i+1)
	}
	return strings.Join(left, ", ")
}

func (s *scene) contact() (c *crm.Contact) {
	s.t.Helper()
	s.view(func(tx *store.Tx) (err error) { c, _, err = tx.Peek(s.k); return err })
	return c
}

func (s *scene) status() crm.Status {
	if m := s.contact().Membership(s.news); m != nil {
		return m.Status
	}
	return ""
}

// A list is found by its name in any case or by its id; who has opted out comes back only where the step
// says so; a list that there is not fails its own step and no other of the chunk.
func TestListEffects(t *testing.T) {
	t.Parallel()
	s := newScene(t, 200)
	add := func(list string, again bool) plugins.Effect {
		return plugins.Effect{Kind: plugins.EffectAddToList, Object: list, Status: crm.Subscribed, Resubscribe: again}
	}
	s.does("byname", add("nEWS", false))
	s.does("byid", add(s.news.String(), false))
	s.does("again", add("News", true))
	s.does("off", plugins.Effect{Kind: plugins.EffectDropFromList, Object: "News"})
	s.does("nolist", plugins.Effect{Kind: plugins.EffectAddTag, Tag: "half"}, add("Olds", false))
	s.expect("by name", s.run("byname"), "act done")
	s.expect("it is", s.status(), crm.Subscribed)
	s.expect("off", s.run("off"), "act done")
	s.expect("it is", s.status(), "")
	s.expect("by id", s.run("byid"), "act done")
	s.expect("it is", s.status(), crm.Subscribed)
	s.on(crm.Unsubscribed)
	s.expect("opted out", s.run("byname"), "act failed opted_out")
	s.expect("it is", s.status(), crm.Unsubscribed)
	s.expect("off the list", s.run("off"), "act done")
	s.expect("and yet it stays opted out", s.status(), crm.Unsubscribed)
	s.expect("again", s.run("again"), "act done")
	s.expect("it is", s.status(), crm.Subscribed)

	other := s.person()
	s.apply(crm.AddTag{Contact: other, Tag: "off"}, crm.AddTag{Contact: other, Tag: "byname"})
	s.expect("no such list", s.run("nolist"), "act failed not_found")
	s.expect("the tag before it came with nothing", s.contact().HasTag("half"), false)
	s.expect("others of the chunk", len(s.journal(other)), 2)
}

func TestCampaignEffects(t *testing.T) {
	t.Parallel()
	s := newScene(t, 201)
	s.does("enrol", plugins.Effect{Kind: plugins.EffectAddToCampaign, Object: "News"})
	s.does("leave", plugins.Effect{Kind: plugins.EffectDropCampaign, Object: s.campaign.String()})
	s.does("nowhere", plugins.Effect{Kind: plugins.EffectAddToCampaign, Object: "Olds"})
	in := func() (yes bool) {
		s.view(func(tx *store.Tx) (err error) { yes, err = tx.Enrolled(s.k, s.campaign); return err })
		return yes
	}
	s.expect("who is not in it", s.run("leave"), "act done")
	s.expect("enrol", s.run("enrol"), "act done")
	s.expect("in", in(), true)
	s.expect("twice", s.run("enrol"), "act done")
	s.expect("in", in(), true)
	s.expect("leave", s.run("leave"), "act done")
	s.expect("in", in(), false)
	s.expect("no such campaign", s.run("nowhere"), "act failed not_found")
	// An enrolment that a restore left suspended is left too.
	s.run("enrol")
	s.apply(crm.Delete{Contact: s.k})
	s.apply(crm.Restore{Contact: s.k})
	s.expect("after a restore", s.run("leave"), "act done")
	s.expect("in", in(), false)
	s.apply(crm.Archive{Contact: s.k, On: true})
	s.expect("nothing starts for who is archived", s.run("enrol"), "")
	s.expect("in", in(), false)
}

func TestRecordEffects(t *testing.T) {
	t.Parallel()
	s := newScene(t, 202)
	s.does("note", plugins.Effect{Kind: plugins.EffectCreateNote, Title: "t", Body: "b"},
		plugins.Effect{Kind: plugins.EffectCreateTask, Title: "call", Due: crm.At(start)},
		plugins.Effect{Kind: plugins.EffectSetDND, Channel: "sms", On: true},
		plugins.Effect{Kind: plugins.EffectSetField, Field: "n", Value: crm.Number(1.5)})
	s.expect("done", s.run("note"), "act done")
	var got []string
	s.view(func(tx *store.Tx) error {
		all, err := tx.Records(s.k)
		got = nil
		for _, r := range all {
			got = append(got, fmt.Sprint(r.Kind, r.Title, r.Body, r.Due))
		}
		slices.Sort(got)
		return err
	})
	s.expect("records", got, []string{fmt.Sprint(crm.Note, "t", "b", crm.Nanos(0)), fmt.Sprint(crm.Task, "call", "", crm.At(start))})
	s.expect("dnd", s.contact().OnDND("sms"), true)
	s.expect("field", s.contact().Field("n").Number, 1.5)
}

// The run that archives its contact goes on to its end; every other one is suspended.
func TestArchiveEffects(t *testing.T) {
	t.Parallel()
	s := newScene(t, 203)
	s.workflow("w", nurture)
	s.tag("go")
	s.settle()
	s.does("archive", plugins.Effect{Kind: plugins.EffectArchive}, plugins.Effect{Kind: plugins.EffectSetField, Field: "why", Value: crm.Text("old")})
	s.expect("done", s.run("archive"), "act done")
	s.expect("archived", s.contact().Archived.On, true)
	s.expect("runs", s.runs(s.k), []string{"archive completed act", "w suspended month"})
	s.does("back", plugins.Effect{Kind: plugins.EffectUnarchive})
	s.apply(crm.Archive{Contact: s.k})
	s.expect("on who is not archived", s.run("back"), "act done")
	s.expect("archived", s.contact().Archived.On, false)
	s.pass(day(60))
	s.expect("nothing woke up", slices.Contains(s.runs(s.k), "w suspended month"), true)
}

const entered = `
triggers: [{id: never, event: contact.tag_added, if: event.tag == "never"}]
filter: not ("VIP" in contact.tags)
steps:
  - {id: month, wait: 30d}
  - {id: act, action: mark}
`

// workflow.add starts a run by the path of every event: the workflow's own filter and key decide, and what
// starts nothing refuses: a workflow that there is not, one that is paused, an archived contact.
func TestWorkflowAdd(t *testing.T) {
	t.Parallel()
	s := newScene(t, 204)
	s.workflow("w", entered)
	s.does("add", plugins.Effect{Kind: plugins.EffectAddToWorkflow, Object: "w"})
	s.does("astray", plugins.Effect{Kind: plugins.EffectAddToWorkflow, Object: "v"})
	s.expect("no such workflow", s.run("astray"), "act failed not_found")
	s.tag("VIP")
	s.expect("filtered", s.run("add"), "act done")
	s.expect("no run", slices.Contains(s.runs(s.k), "w waiting month"), false)
	s.untag("VIP")
	s.run("add")
	s.restart()
	s.settle()
	s.run("add") // the key is held: no second
	s.expect("one run", count(s.runs(s.k), "w waiting month"), 1)
	s.view(func(tx *store.Tx) error {
		all, err := tx.RunsOf(s.k)
		for _, r := range all {
			if r.Workflow == "w" {
				s.expect("its depth", r.Depth, 1)
			}
		}
		return err
	})
	s.update(func(tx *store.Tx) error { return tx.PauseWorkflow(s.by, s.acc, "w", true) })
	s.expect("paused", s.run("add"), "act failed conflict")
	s.expect("one run", count(s.runs(s.k), "w waiting month")+count(s.runs(s.k), "w paused month"), 1)
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// A contact that was deleted and restored, or archived, between the step and the dispatcher's look is not
// put into the workflow: a restore starts nothing, and its receipt says what it kept from starting.
func TestWorkflowAddIsQuiet(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(*scene){
		"restored": func(s *scene) { s.apply(crm.Delete{Contact: s.k}); s.apply(crm.Restore{Contact: s.k}) },
		"deleted":  func(s *scene) { s.apply(crm.Delete{Contact: s.k}) },
		"archived": func(s *scene) { s.apply(crm.Archive{Contact: s.k, On: true}) },
		"archived and back": func(s *scene) {
			s.apply(crm.Archive{Contact: s.k, On: true})
			s.apply(crm.Archive{Contact: s.k})
		},
	} {
		s := newScene(t, 205)
		s.workflow("w", entered)
		s.apply(crm.EnterWorkflow{Contact: s.k, Workflow: "w"}) // nobody has looked yet
		between(s)
		s.settle()
		s.restart()
		s.pass(day(60))
		s.expect(name, s.runs(s.k), []string{})
		if name == "restored" {
			s.expect("the receipt", s.proven(), []string{"w/workflow.add stale_epoch"})
			s.apply(crm.EnterWorkflow{Contact: s.k, Workflow: "w"}) // by somebody, after the restore
			s.settle()
			s.expect("what came after", s.runs(s.k), []string{"w waiting month"})
		}
		if name == "archived" {
			s.expect("a step of then", crm.CodeOf(s.try(crm.EnterWorkflow{Contact: s.k, Workflow: "w"})), crm.CodeInvalid)
		}
		if name == "deleted" && s.try(crm.EnterWorkflow{Contact: s.k, Workflow: "w"}) == nil {
			t.Error("a deleted contact was put into a workflow")
		}
	}
}

// Workflows that add to each other end, and say so, after MaxDepth runs.
func TestWorkflowAddInACircle(t *testing.T) {
	t.Parallel()
	s := newScene(t, 206)
	for a, b := range map[string]string{"ping": "pong", "pong": "ping"} {
		s.does(a, plugins.Effect{Kind: plugins.EffectAddToWorkflow, Object: b})
	}
	s.run("ping")
	s.expect("runs", len(s.runs(s.k)), crm.MaxDepth)
	s.expect("the last says so", count(s.journal(s.k), "act failed invalid"), 1)
}

// workflow.remove ends what is not over, what a restore left suspended too, but never its own run, and ends
// no run of another contact.
func TestWorkflowRemove(t *testing.T) {
	t.Parallel()
	s := newScene(t, 207)
	s.workflow("w", nurture)
	s.does("out", plugins.Effect{Kind: plugins.EffectDropWorkflow, Object: "w"}, plugins.Effect{Kind: plugins.EffectDropWorkflow, Object: "out"})
	other := s.person()
	s.apply(crm.AddTag{Contact: other, Tag: "go"})
	s.tag("go")
	s.settle()
	s.expect("out", s.run("out"), "act done")
	s.expect("runs", s.runs(s.k), []string{"out completed act", "w cancelled month removed"})
	s.expect("the other's", s.runs(other), []string{"w waiting month"})
	s.untag("go")
	s.tag("go")
	s.settle()
	s.apply(crm.Delete{Contact: s.k})
	s.apply(crm.Restore{Contact: s.k})
	s.run("out")
	s.expect("suspended", count(s.runs(s.k), "w cancelled month removed"), 2)
	s.pass(day(60))
	s.expect("nothing goes on", count(s.runs(s.k), "w cancelled month removed"), 2)
	if s.try(crm.LeaveWorkflow{Contact: s.k, Workflow: "v"}) == nil {
		t.Error("there is a workflow v")
	}
}

// A purge by a workflow needs its grant, and waits for nobody: before the recovery window has passed it is
// refused, and the contact can still be restored.
func TestPurgeEffect(t *testing.T) {
	t.Parallel()
	for granted, want := range map[string]string{"contact.delete": crm.CodeNoGrant, "contact.purge": crm.CodeWindowOpen} {
		s := newScene(t, 208)
		s.acts.add(plugins.Spec{Action: "purge", Effects: []plugins.EffectKind{plugins.EffectPurge}}, func(context.Context, plugins.Item) plugins.Outcome {
			return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectPurge}}}
		})
		src := "version: 1\nid: w\ntriggers: [{id: t, cron: \"0 2 * * *\", over: contacts.deleted}]\nsteps: [{id: act, action: purge}]\n"
		def, err := workflow.Parse("w.yaml", []byte(src))
		s.must(err)
		s.update(func(tx *store.Tx) error {
			_, err := tx.ApplyWorkflow(s.by, s.acc, def.ID, def.Revision, def.File, []byte(src), []string{granted})
			return err
		})
		s.apply(crm.Delete{Contact: s.k})
		s.settle()
		s.pass(day(1))
		s.expect("with the grant "+granted, s.journal(s.k), []string{"act failed " + want})
		s.expect("state", s.state(s.k), crm.Deleted)
	}
}
