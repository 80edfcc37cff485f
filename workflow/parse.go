package workflow

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

var (
	workflowID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	stepID     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

const (
	workflowIDHint = "use a-z, 0-9 and -, at most 63 characters, as in unsubscribed-cleanup"
	stepIDHint     = "use a-z, 0-9 and _, at most 63 characters and a letter first, as in cool_off"
)

// Parse reads a workflow file. Name is only shown; src is the complete content. The error is a
// triggers.Diagnostics with every mistake, in the order of the file; then there is no workflow.
func Parse(name string, src []byte) (*Workflow, error) {
	f, text, found := load(name, src)
	if len(found) > 0 {
		return nil, sortFindings(found)
	}
	r := &reader{file: f, typos: map[*yaml.Node][]string{}}
	w := &Workflow{File: name, Source: slices.Clone(src), file: f, index: map[string]int{}}
	sum := sha256.Sum256(src)
	w.Revision = hex.EncodeToString(sum[:])
	if root := r.decode(text); root != nil && r.guard(root, 1) {
		r.workflow(w, root)
	}
	if len(r.found) > 0 {
		second := func(d *triggers.Diagnostic) bool { return d.Code == codeDocument } // it stands behind any end
		if w.unended != nil && !slices.ContainsFunc(r.found, second) {                // half a file shows what it lost, and why
			r.found = append(r.found, w.unended)
		}
		return nil, sortFindings(r.found)
	}
	return w, nil
}

var topKeys = keys{"version": "", "id": "", "name": "", "triggers": "", "filter": "", "run": "", "steps": "",
	"on_error": "", "tests": "", "end": "", "on": "the key is triggers"}

func (r *reader) workflow(w *Workflow, root *yaml.Node) {
	got := r.fields(root, "a workflow", topKeys)
	if got == nil {
		return
	}
	r.need(root, "a workflow", got, "version", "id", "triggers", "steps")
	w.unended = r.unended(root, got)
	if v, ok := got["version"]; ok && r.scalar(v) && (v.val.Value != "1" || v.val.Tag != "!!int") {
		r.fail(codeValue, r.span(v.val), "write version: 1", "this version of the format is not known")
	}
	if id, ok := got["id"]; ok {
		w.ID = r.id(id, workflowID, workflowIDHint)
	}
	if name, ok := got["name"]; ok {
		w.Name, _ = r.text(name)
	}
	if w.Name == "" {
		w.Name = w.ID
	}
	if ts, ok := got["triggers"]; ok {
		r.triggers(w, ts)
	}
	if e, ok := got["filter"]; ok && r.scalar(e) {
		var err error
		w.Filter, err = triggers.CompileExpr(r.source(e.val, triggers.ScopeContact), triggers.Bool)
		r.take(err, r.span(e.val))
	}
	r.run(w, got["run"])
	if e, ok := got["steps"]; ok {
		s := &stepReader{reader: r, lines: map[string]int{}, visible: []string{}, starts: w.startKinds()}
		steps := s.steps(e)
		if len(steps) == 0 && e.val.Kind == yaml.SequenceNode {
			r.fail(codeMissing, r.span(e.key), "add a step: - {id: done, exit: {status: completed}}", "a workflow needs at least one step")
		}
		w.Nodes = flatten(nil, steps, -1)
		if e, ok := got["on_error"]; ok {
			s.failing = true
			if e.val.Kind == yaml.SequenceNode && len(e.val.Content) == 0 {
				r.fail(codeMissing, r.span(e.key), "add a step, or leave on_error out", "on_error needs at least one step")
			}
			if handler := s.steps(e); len(handler) > 0 {
				w.Handler = len(w.Nodes)
				w.Nodes = flatten(w.Nodes, handler, -1)
			}
		}
		for i, n := range w.Nodes {
			w.index[n.ID] = i
		}
	}
	if e, ok := got["tests"]; ok {
		r.tests(w, e)
	}
}

// A key has at most maxMax unfinished runs, and defaultMax unless the file says another number.
const (
	defaultMax = 10
	maxMax     = 100
)

// modeWords are the values of run.mode, in the order of crm.RunMode.
var modeWords = []string{"single", "restart", "queued", "parallel"}

// most reads how many unfinished runs a key may have.
func (r *reader) most(w *Workflow, e entry) int {
	if w.Mode != crm.QueuedMode && w.Mode != crm.ParallelMode {
		r.fail(codeKey, r.span(e.key), "leave it out, or write mode: queued or mode: parallel", "max goes with the modes queued and parallel")
		return 0
	}
	return r.whole(e, 2, maxMax)
}

// whole accepts a whole number within bounds.
func (r *reader) whole(e entry, least, most int) int {
	if !r.scalar(e) {
		return least
	}
	n, err := strconv.Atoi(e.val.Value)
	if err != nil || n < least || n > most || e.val.Tag != "!!int" {
		r.fail(codeValue, r.span(e.val), fmt.Sprintf("a whole number from %d to %d", least, most), "%s cannot be %q", e.key.Value, e.val.Value)
		return least
	}
	return n
}

var runKeys = keys{"key": "", "mode": "", "max": "", "reenter": "", "cancel_on": "", "timeout": ""}

// run reads the run: block; e is empty if the file has none.
func (r *reader) run(w *Workflow, e entry) {
	key := triggers.Source{File: r.name, Text: "contact.id", Scope: triggers.ScopeContact}
	if e.val != nil {
		got := r.fields(e.val, "run", runKeys)
		if k, ok := got["key"]; ok && r.scalar(k) {
			key = r.source(k.val, triggers.ScopeContact)
		}
		if m, ok := got["mode"]; ok && r.scalar(m) {
			w.Mode = crm.RunMode(max(0, slices.Index(modeWords, r.oneOf(m, modeWords...))))
		}
		if m, ok := got["max"]; ok {
			w.Max = r.most(w, m)
		} else if w.Mode == crm.QueuedMode || w.Mode == crm.ParallelMode {
			w.Max = defaultMax
		}
		if e, ok := got["reenter"]; ok {
			r.reenter(w, e)
		}
		if e, ok := got["timeout"]; ok {
			w.Timeout = r.positive(e)
		}
		if e, ok := got["cancel_on"]; ok {
			r.cancelOn(w, e)
		}
	}
	var err error
	w.Key, err = triggers.CompileExpr(key, triggers.Text)
	r.take(err, span{1, 1, 1})
}

// reenter reads never, always or {after: 30d}.
func (r *reader) reenter(w *Workflow, e entry) {
	if e.val.Kind != yaml.MappingNode {
		w.Reenter.Never = r.oneOf(e, "never", "always") == "never"
		return
	}
	got := r.fields(e.val, "reenter", keys{"after": ""})
	r.need(e.val, "reenter", got, "after")
	if a, ok := got["after"]; ok {
		w.Reenter.After = r.positive(a)
	}
}

// positive accepts a duration that is longer than nothing.
func (r *reader) positive(e entry) crm.Nanos {
	before := len(r.found)
	d := r.duration(e)
	if d == 0 && len(r.found) == before && e.val.Kind == yaml.ScalarNode {
		r.fail(codeDuration, r.span(e.val), "leave it out if it is not meant", "%s must be longer than nothing", e.key.Value)
	}
	return d
}

// cancelOn reads the events that end a run.
func (r *reader) cancelOn(w *Workflow, e entry) {
	items := r.list(e)
	if len(items) == 0 && e.val.Kind == yaml.SequenceNode {
		r.fail(codeMissing, r.span(e.key), "add one: - {event: contact.tag_removed, if: 'event.tag == \"Lead\"'}", "cancel_on needs at least one event")
	}
	for _, n := range items {
		got := r.fields(n, "an item of cancel_on", keys{"event": "", "if": "", "reason": ""})
		if got == nil {
			continue
		}
		at := r.span(n)
		c := Cancel{Line: at.line, Column: at.column}
		r.need(n, "an item of cancel_on", got, "event")
		var t Trigger
		if _, ok := got["event"]; ok {
			r.event(&t, got)
		}
		c.Event, c.EventKind = t.Event, t.EventKind
		if why, ok := got["reason"]; ok {
			if c.Reason, ok = r.text(why); ok && len(c.Reason) > 100 {
				r.fail(codeValue, r.span(why.val), "a word or two: resubscribed", "the reason is longer than 100 bytes")
			}
		}
		w.CancelOn = append(w.CancelOn, c)
	}
}

func (r *reader) triggers(w *Workflow, e entry) {
	items := r.list(e)
	if len(items) == 0 && e.val.Kind == yaml.SequenceNode {
		r.fail(codeMissing, r.span(e.key), "add one: - {id: tagged, event: contact.tag_added}", "a workflow needs at least one trigger")
	}
	lines := map[string]int{}
	for _, n := range items {
		w.Triggers = append(w.Triggers, r.trigger(w, n, lines))
	}
}

// cronKeys go with cron alone.
var cronKeys = []string{"timezone", "dst", "misfire", "over", "where", "batch", "rate", "guard"}

// triggerKinds are the keys of which a trigger has exactly one.
var triggerKinds = []string{"event", "becomes", "cron", "webhook"}

// triggerKeys describes a trigger of the kinds that it names: what goes only with another kind has a note that
// says so.
func triggerKeys(kinds ...string) keys {
	k := keys{"id": "", "if": ""}
	k.add("", triggerKinds...)
	k.add("", cronKeys...)
	switch cron := slices.Contains(kinds, "cron"); {
	case len(kinds) > 0 && !cron:
		k.add("this key goes with cron", cronKeys...)
	case len(kinds) == 1:
		k.add("a schedule chooses by where: if goes with event", "if")
	}
	return k
}

// trigger reads one trigger; what is wrong with it is reported, and the rest read all the same. Lines
// has the lines of the ids before it.
func (r *reader) trigger(w *Workflow, n *yaml.Node, lines map[string]int) Trigger {
	at := r.span(n)
	t := Trigger{Line: at.line, Column: at.column}
	kinds := slices.DeleteFunc(slices.Clone(triggerKinds), func(k string) bool { return !r.hasKey(n, k) })
	got := r.fields(n, "a trigger", triggerKeys(kinds...))
	if got == nil {
		return t
	}
	r.need(n, "a trigger", got, "id")
	if id, ok := got["id"]; ok {
		t.ID = r.ownID(id, lines, "trigger", "give each trigger its own id")
	}
	reported := slices.ContainsFunc(triggerKinds, func(k string) bool { return slices.Contains(r.typos[n], k) })
	switch {
	case len(kinds) > 1:
		hint := "make two triggers of it"
		if slices.Contains(kinds, "becomes") {
			hint += "; becomes is held up to every event that can make it true"
		}
		r.fail(codeOneOf, r.span(got[kinds[1]].key), hint, "a trigger has one of event, becomes, cron and webhook")
	case len(kinds) == 0 && !reported:
		r.fail(codeOneOf, at, "add event: contact.tag_added, becomes: with a condition, cron: '0 3 * * *', or webhook:", "a trigger needs event, becomes, cron or webhook")
	case len(kinds) == 0:
	case kinds[0] == "becomes":
		r.becomes(&t, got)
	case kinds[0] == "event":
		r.event(&t, got)
	case kinds[0] == "cron":
		r.cron(&t, n, got)
	default:
		r.webhook(w, &t, got)
	}
	return t
}

// becomes reads a condition that an event has to make true.
func (r *reader) becomes(t *Trigger, got map[string]entry) {
	if e, ok := got["if"]; ok {
		r.fail(codeKey, r.span(e.key), "join the two with and", "if goes with event")
	}
	e := got["becomes"]
	if !r.scalar(e) {
		return
	}
	t.Becomes = e.val.Value
	var err error
	t.Event, err = triggers.CompileBecomes(r.source(e.val, triggers.ScopeContact))
	r.take(err, r.span(e.val))
}

func (r *reader) event(t *Trigger, got map[string]entry) {
	kinds := make([]string, 0, len(crm.TriggerKinds))
	for _, k := range slices.Sorted(maps.Keys(crm.TriggerKinds)) {
		kinds = append(kinds, string(k))
	}
	e := got["event"]
	if _, ok := r.text(e); !ok {
		return
	}
	if e.val.Value == string(crm.ContactRestored) || e.val.Value == string(crm.ContactDeleted) || e.val.Value == string(crm.ContactPurged) {
		r.fail(codeValue, r.span(e.val), "deletes, restores and purges start nothing; a schedule over contacts.deleted finds who is deleted",
			"no workflow can be started by %s", e.val.Value)
		return
	}
	if t.EventKind = crm.EventKind(r.oneOf(e, kinds...)); t.EventKind == "" {
		return
	}
	src := triggers.Source{File: r.name, Scope: triggers.ScopeEvent | triggers.ScopeContact}
	at := r.span(e.val)
	if cond, ok := got["if"]; ok {
		if !r.scalar(cond) {
			return
		}
		src, at = r.source(cond.val, src.Scope), r.span(cond.val)
	}
	src.Event = t.EventKind
	var err error
	t.Event, err = triggers.Compile(src)
	r.take(err, at)
}

// duration accepts 14d, 36h, 1d12h.
func (r *reader) duration(e entry) crm.Nanos {
	if !r.scalar(e) {
		return 0
	}
	d, err := crm.ParseDuration(e.val.Value)
	if err != nil {
		r.fail(codeDuration, r.span(e.val), "write a number and a unit (w d h m s ms), as in 14d, 36h or 1d12h", "%v", err)
	}
	return d
}
