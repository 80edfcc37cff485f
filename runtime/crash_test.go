package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// A process may be killed between any two commits, or at one whose success it never heard of: what becomes of
// random workflows under random acts is then, to the last line of every journal and every entry of the log,
// what becomes of them undisturbed. No run starts twice, no effect comes twice or never, no attempt is lost or
// made up, and nobody holds a key or a place in a queue for ever.
//
// REPRIEVE_SEED replays one story; REPRIEVE_STORIES runs so many (default 12).
func TestAKillBetweenAnyTwoCommitsChangesNothing(t *testing.T) {
	t.Parallel()
	stories, _ := strconv.Atoi(os.Getenv("REPRIEVE_STORIES"))
	if stories == 0 {
		stories = 12
	}
	from := uint64(1)
	if s, err := strconv.ParseUint(os.Getenv("REPRIEVE_SEED"), 10, 64); err == nil {
		from, stories = s, 1
	}
	for seed := from; seed < from+uint64(stories); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			want, commits := tellStory(t, seed, nil)
			if commits < 10 {
				t.Fatalf("REPRIEVE_SEED=%d: %d commits: nothing happens in this story", seed, commits)
			}
			for name, die := range map[string]func(rnd *rand.Rand) storetest.Fate{
				"before every second commit": func(r *rand.Rand) storetest.Fate { return storetest.Fate(r.IntN(2)) }, // Lives or Lost
				"after every second commit":  func(r *rand.Rand) storetest.Fate { return storetest.Kept * storetest.Fate(r.IntN(2)) },
				"now and then": func(r *rand.Rand) storetest.Fate {
					return []storetest.Fate{storetest.Lost, storetest.Kept, 0, 0, 0, 0, 0, 0}[r.IntN(8)]
				},
			} {
				if got, _ := tellStory(t, seed, die); got != want {
					t.Fatalf("REPRIEVE_SEED=%d, killed %s: %s", seed, name, firstDifference(got, want))
				}
			}
		})
	}
}

// A store that keeps half of a commit is noticed.
func TestTornCommitsAreNoticed(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 20; seed++ {
		want, _ := tellStory(t, seed, nil)
		got, _ := tellStory(t, seed, func(r *rand.Rand) storetest.Fate { return []storetest.Fate{storetest.Torn, 0, 0, 0}[r.IntN(4)] })
		if got != want {
			return
		}
	}
	t.Error("commits that lose their timers and their part of the log were not noticed")
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is\n  %s\nnot\n  %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, not %d: %q", len(g), len(w), append(g, w...)[min(len(g), len(w))])
}

// story is a random program, the same one for the same seed however often it is killed.
type story struct {
	*rig
	rnd   *rand.Rand // what happens
	who   []crm.Key
	calls map[string]map[string]bool // what was called, by whose keys

	armed, dead bool
	commits     int
}

// tellStory plays the story of a seed and says what it came to. Each workflow has contacts of its own: what
// two workflows do to one contact at the same instant may come in any order.
func tellStory(t *testing.T, seed uint64, die func(*rand.Rand) storetest.Fate) (digest string, commits int) {
	t.Helper()
	s := &story{rnd: rand.New(rand.NewPCG(seed, 2)), calls: map[string]map[string]bool{}}
	chance := rand.New(rand.NewPCG(seed, 3))
	s.rig = newRig(t, storetest.MemoryOptions{Seed: seed, Die: func() storetest.Fate {
		switch {
		case !s.armed:
			return storetest.Lives
		case s.dead: // nothing comes from a dead process
			return storetest.Lost
		}
		s.commits++
		if die == nil {
			return storetest.Lives
		}
		fate := die(chance)
		s.dead = fate != storetest.Lives
		return fate
	}})
	s.actions(seed)
	const workflows, contacts = 3, 6
	for i := range workflows {
		s.workflow(fmt.Sprintf("w%d", i), randomWorkflow(s.rnd, i))
	}
	for range contacts {
		s.who = append(s.who, s.person())
	}
	for range 70 {
		s.happens(workflows)
		if s.rnd.IntN(3) > 0 {
			s.settles()
		}
	}
	for range 5 {
		s.clock.Advance(day(7))
		s.settles()
	}
	return s.digest(), s.commits
}

// settles has the engine come to rest, over as many deaths as it takes.
func (s *story) settles() {
	s.t.Helper()
	for range 10_000 {
		s.armed, s.dead = true, false
		err := s.engine.Settle(s.ctx)
		s.armed = false
		if !s.dead {
			s.must(err)
			return
		}
		if err != nil && !errors.Is(err, storetest.ErrDied) {
			s.must(err)
		}
		s.restart()
	}
	s.t.Fatal("it never comes to rest")
}

// happens does one thing from outside.
func (s *story) happens(workflows int) {
	s.t.Helper()
	i := s.rnd.IntN(len(s.who))
	k := s.who[i]
	tags := []string{fmt.Sprintf("go%d", i%workflows), "poke", "stop"}
	switch n := s.rnd.IntN(12); {
	case n < 4:
		tag := tags[0]
		_ = s.try(crm.RemoveTag{Contact: k, Tag: tag})
		_ = s.try(crm.AddTag{Contact: k, Tag: tag})
	case n < 6:
		tag := tags[1+s.rnd.IntN(2)]
		_ = s.try(crm.AddTag{Contact: k, Tag: tag})
		_ = s.try(crm.RemoveTag{Contact: k, Tag: tag})
	case n == 6:
		_ = s.try(crm.SetField{Contact: k, Name: "n", Value: crm.Number(float64(s.rnd.IntN(3)))})
	case n == 7:
		if s.try(crm.Delete{Contact: k}) != nil {
			_ = s.try(crm.Restore{Contact: k})
		}
	case n == 8:
		how := []crm.Overdue{crm.OverdueFire, crm.OverdueShift, crm.OverdueSkip}[s.rnd.IntN(3)]
		s.update(func(tx *store.Tx) error {
			runs, err := tx.RunsOf(k)
			slices.SortFunc(runs, func(a, b crm.Run) int { return int(a.StartedAt - b.StartedAt) })
			for _, r := range runs {
				if _, err := tx.ResumeRun(s.by, r.ID, how); err == nil {
					return nil
				}
			}
			return err
		})
	case n == 9:
		id, on := fmt.Sprintf("w%d", s.rnd.IntN(workflows)), s.rnd.IntN(2) == 0
		_ = s.store.Update(s.ctx, func(tx *store.Tx) error { return tx.PauseWorkflow(s.by, s.acc, id, on) })
		if on {
			s.settles()
			s.update(func(tx *store.Tx) error { return tx.PauseWorkflow(s.by, s.acc, id, false) })
		}
	default:
		s.clock.Advance(time.Duration(s.rnd.IntN(72*60)) * time.Minute)
	}
}

// actions answer by who is asked what for the how manieth time, so that an attempt that is made again after a
// death has the answer of before.
func (s *story) actions(seed uint64) {
	answer := func(it plugins.Item) uint32 {
		h := fnv.New32a()
		fmt.Fprint(h, seed, slices.Index(s.who, it.Targets[0].Contact.Key()), it.Run.Workflow, it.Run.Step, it.Run.StartedAt, it.Attempt)
		return h.Sum32()
	}
	noted := func(act func(context.Context, plugins.Item) plugins.Outcome) func(context.Context, plugins.Item) plugins.Outcome {
		return func(ctx context.Context, it plugins.Item) plugins.Outcome {
			call := fmt.Sprint("called ", slices.Index(s.who, it.Targets[0].Contact.Key()), " ", it.Run.Workflow, " ", it.Run.Step, " ", it.Attempt, " ", string(it.Params))
			s.acts.mu.Lock()
			if s.calls[call] == nil {
				s.calls[call] = map[string]bool{}
			}
			s.calls[call][it.Key] = true
			s.acts.mu.Unlock()
			return act(ctx, it)
		}
	}
	s.acts.add(plugins.Spec{Action: "contact.delete", Effects: []plugins.EffectKind{plugins.EffectDelete}}, noted(s.acts.act["contact.delete"]))
	label := func(_ context.Context, it plugins.Item) plugins.Outcome {
		out, _ := json.Marshal(map[string]any{"n": answer(it) % 3})
		return plugins.Outcome{Status: plugins.Done, Output: out, Effects: []plugins.Effect{{Kind: plugins.EffectAddTag, Tag: fmt.Sprint("by ", it.Run.Workflow, it.Run.Step, it.Run.StartedAt)}}}
	}
	flaky := func(_ context.Context, it plugins.Item) plugins.Outcome {
		switch answer(it) % 4 {
		case 0:
			return plugins.Outcome{Status: plugins.Done, Output: []byte(`{"n": 1}`)}
		case 1:
			return plugins.Outcome{Status: plugins.Fail, Code: "refused"}
		}
		return plugins.Outcome{Status: plugins.Retry, Code: "busy"}
	}
	s.acts.add(plugins.Spec{Action: "label", Effects: []plugins.EffectKind{plugins.EffectAddTag}}, noted(label))
	s.acts.add(plugins.Spec{Action: "flaky"}, noted(flaky))
	s.acts.add(plugins.Spec{Action: "call", External: true, Idempotent: true}, noted(flaky))
}

// digest is all that may be compared: what every contact came to, its journals, its part of the log, the calls.
func (s *story) digest() string {
	s.t.Helper()
	var out []string
	s.view(func(tx *store.Tx) error {
		out = nil
		for i, k := range s.who {
			c, life, err := tx.Peek(k)
			if err != nil {
				return err
			}
			out = append(out, fmt.Sprintf("contact %d: %v %d", i, life.State, life.Epoch))
			if c != nil {
				out = append(out, fmt.Sprint(c.TagNames()))
				for _, f := range c.Fields {
					out = append(out, f.Name+"="+f.Value.String())
				}
			}
			runs, err := tx.RunsOf(k)
			if err != nil {
				return err
			}
			var told []string
			for _, r := range runs {
				line := fmt.Sprintf("run %d %d %s %s %s %s attempt %d ended %d", i, r.StartedAt, r.Workflow, r.StatusFor(life), r.Step, r.Reason, r.Attempt, r.EndedAt)
				steps, err := tx.Steps(r.ID)
				if err != nil {
					return err
				}
				for _, st := range steps {
					line += fmt.Sprintf("\n  %s %s %s %q %s attempt %d at %d", st.Path, st.Status, st.Code, st.Message, st.Output, st.Attempt, st.At)
				}
				told = append(told, line)
			}
			slices.Sort(told)
			out = append(out, told...)
		}
		var all []string
		for from := []byte(nil); ; {
			events, next, err := tx.Events(from, 500)
			if err != nil {
				return err
			}
			for _, l := range events {
				ev := l.Event
				all = append(all, fmt.Sprintf("log %d at %d: %s %s %v", slices.IndexFunc(s.who, func(k crm.Key) bool { return k.Contact == ev.Contact }), ev.At, ev.Kind, ev.Data.Name, ev.Why.Kind))
			}
			if string(next) == string(from) {
				break
			}
			from = next
		}
		slices.Sort(all) // contacts go their own ways; what is said of one at one instant is compared as a set
		out = append(out, all...)
		return nil
	})
	for _, call := range slices.Sorted(maps.Keys(s.calls)) {
		out = append(out, fmt.Sprintf("%s by %d keys", call, len(s.calls[call])))
	}
	return strings.Join(out, "\n")
}

// randomWorkflow writes a workflow that any contact with its tag goes through.
func randomWorkflow(rnd *rand.Rand, i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "triggers:\n  - {id: tagged, event: contact.tag_added, if: event.tag == \"go%d\"}\n", i)
	block := []string{pick(rnd, "mode: single", "mode: restart", "mode: queued, max: 3", "reenter: {after: 3d}")}
	if rnd.IntN(3) == 0 {
		block = append(block, `cancel_on: [{event: contact.tag_added, if: 'event.tag == "stop"', reason: stopped}]`)
	}
	if rnd.IntN(3) == 0 {
		block = append(block, "timeout: 6d")
	}
	fmt.Fprintf(&b, "run: {%s}\n", strings.Join(block, ", "))
	g := &generator{rnd: rnd, b: &b}
	b.WriteString("steps:\n")
	g.steps("  ", 2+rnd.IntN(5), 2)
	if rnd.IntN(2) == 0 {
		b.WriteString("on_error:\n  - {id: sorry, action: label}\n")
	}
	return b.String()
}

func pick(rnd *rand.Rand, from ...string) string { return from[rnd.IntN(len(from))] }

type generator struct {
	rnd  *rand.Rand
	b    *strings.Builder
	n    int
	sets []string // steps before whose output has n
}

func (g *generator) steps(in string, n, deep int) {
	for range n {
		g.n++
		id := fmt.Sprintf("s%d", g.n)
		line := func(format string, args ...any) {
			fmt.Fprintf(g.b, "%s- {id: %s, %s}\n", in, id, fmt.Sprintf(format, args...))
		}
		switch k := g.rnd.IntN(11); {
		case k < 2:
			line("wait: %dh", 1+g.rnd.IntN(50))
		case k == 2:
			line(`wait: {event: contact.tag_added, if: 'event.tag == "poke"', timeout: %dh}`, 1+g.rnd.IntN(60))
		case k == 3:
			line(`wait: {window: {from: "%02d:00", to: "%02d:30"}}`, g.rnd.IntN(12), 12+g.rnd.IntN(12))
		case k == 4:
			line(`set: {n: "${ contact.fields.n ?? 0 }"}`)
			if deep == 2 {
				g.sets = append(g.sets, id)
			}
		case k == 5 && deep > 0:
			cond := `contact.fields.n == 1`
			if len(g.sets) > 0 {
				cond = fmt.Sprintf("steps.%s.output.n == 1", g.sets[g.rnd.IntN(len(g.sets))])
			}
			fmt.Fprintf(g.b, "%s- id: %s\n%s  branch:\n%s    - if: '%s'\n%s      steps:\n", in, id, in, in, cond, in)
			g.steps(in+"        ", 1+g.rnd.IntN(2), deep-1)
			fmt.Fprintf(g.b, "%s    - else: true\n%s      steps:\n", in, in)
			g.steps(in+"        ", 1+g.rnd.IntN(2), deep-1)
		case k == 6 && deep < 2:
			line("exit: {status: %s}", pick(g.rnd, "skipped", "failed", "completed"))
		case k == 7 && g.rnd.IntN(3) == 0:
			line("action: contact.delete")
		default:
			caught := pick(g.rnd, "", ", on_error: continue", fmt.Sprintf(", on_error: [{id: %sx, action: label}]", id))
			line("action: %s, retry: {attempts: %d, first: %dm}%s", pick(g.rnd, "label", "flaky", "call"), 1+g.rnd.IntN(3), 1+g.rnd.IntN(100), caught)
		}
	}
}
