package workflow

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

var (
	waitKinds  = []string{"until", "event", "window"}
	waitKeys   = keys{"until": "", "event": "", "if": "", "timeout": "", "window": ""}
	windowKeys = keys{"from": "", "to": "", "days": "", "timezone": ""}
	dayWords   = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // in the order of time.Weekday
)

// startKinds are the kinds of event that may start a run, "" for a schedule; none if there are only schedules.
func (w *Workflow) startKinds() []crm.EventKind {
	var kinds []crm.EventKind
	for i := range w.Triggers {
		switch t := &w.Triggers[i]; {
		case t.Event != nil:
			kinds = append(kinds, t.Event.Events()...)
		case t.Schedule != nil:
			kinds = append(kinds, "")
		}
	}
	slices.Sort(kinds)
	if kinds = slices.Compact(kinds); len(kinds) == 1 && kinds[0] == "" {
		return nil
	}
	return kinds
}

// wait reads what a wait is for, if it is not for a duration.
func (r *stepReader) wait(n *Node, e entry) {
	got := r.fields(e.val, "wait", waitKeys)
	var kinds []entry
	for _, k := range waitKinds {
		if e, ok := got[k]; ok {
			kinds = append(kinds, e)
		}
	}
	switch typo := slices.ContainsFunc(r.typos[e.val], func(k string) bool { return slices.Contains(waitKinds, k) }); {
	case len(kinds) == 0 && !typo:
		r.fail(codeOneOf, r.span(e.val), "add one of until, event and window; for a duration write wait: 14d", "the wait is for nothing")
	case len(kinds) > 1:
		r.fail(codeOneOf, r.span(kinds[1].key), "make a step of its own of it", "a wait is for one thing")
	}
	_, hears := got["event"]
	for _, k := range []string{"if", "timeout"} {
		if e, ok := got[k]; ok && !hears && !slices.Contains(r.typos[e.val], "event") {
			r.fail(codeKey, r.span(e.key), "leave it out, or add event: contact.tag_added", "%s goes with event", k)
		}
	}
	if u, ok := got["until"]; ok && r.scalar(u) {
		var err error
		n.Until, err = triggers.CompileExpr(r.stepSource(u.val), triggers.Any)
		r.takeStep(err, u.val)
	}
	if hears {
		var t Trigger
		r.event(&t, got)
		n.Hears, n.HearsKind = t.Event, t.EventKind
		if d, ok := got["timeout"]; ok {
			n.Wait = r.positive(d)
		}
	}
	if w, ok := got["window"]; ok {
		n.Window = r.window(w)
	}
}

var clockForm = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

// window reads a stretch of the day.
func (r *stepReader) window(e entry) *triggers.Window {
	w := &triggers.Window{Zone: time.UTC}
	got := r.fields(e.val, "window", windowKeys)
	if got == nil {
		return w
	}
	r.need(e.val, "window", got, "from", "to")
	clock := func(key string) (d time.Duration) {
		e, ok := got[key]
		if !ok || !r.scalar(e) {
			return 0
		}
		at, err := time.Parse("15:04", e.val.Value)
		if err != nil || !clockForm.MatchString(e.val.Value) || e.val.Tag != "!!str" {
			r.fail(codeValue, r.span(e.val), "hours and minutes in quotes, as in \"09:00\"", "%s is not a time of day", e.key.Value)
			return 0
		}
		return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}
	before := len(r.found)
	if w.From, w.To = clock("from"), clock("to"); w.From == w.To && len(r.found) == before && got["from"].val != nil && got["to"].val != nil {
		r.fail(codeValue, r.span(got["to"].val), "leave the wait out for the whole day", "the window is as long as it is wide: from and to are the same")
	}
	w.Days = []time.Weekday{0, 1, 2, 3, 4, 5, 6}
	if d, ok := got["days"]; ok {
		w.Days = r.days(d)
	}
	if z, ok := got["timezone"]; ok {
		if name, ok := r.text(z); ok && r.alone(triggers.ScheduleSpec{Zone: name}, z) {
			if loc, err := time.LoadLocation(name); err == nil {
				w.Zone = loc
			}
		}
	}
	return w
}

func (r *stepReader) days(e entry) (days []time.Weekday) {
	items := r.list(e)
	if len(items) == 0 && e.val.Kind == yaml.SequenceNode {
		r.fail(codeMissing, r.span(e.key), "name one: [mon, tue, wed, thu, fri]", "days needs at least one day")
	}
	for _, n := range items {
		if at := slices.Index(dayWords, r.oneOf(entry{e.key, n}, dayWords...)); at >= 0 {
			days = append(days, time.Weekday(at))
		}
	}
	return days
}

var setName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// set reads the values that a step makes for later ones, which read them as its output.
func (r *stepReader) set(n *Node, e entry) {
	if e.val.Kind != yaml.MappingNode {
		r.fields(e.val, "set", nil)
		return
	}
	if len(e.val.Content) == 0 {
		r.fail(codeMissing, r.span(e.key), "add a name with a value: plan: ${ contact.fields.plan }", "set needs at least one value")
	}
	for i := 0; i < len(e.val.Content); i += 2 {
		if k := e.val.Content[i]; k.Kind == yaml.ScalarNode && !setName.MatchString(k.Value) {
			r.fail(codeName, r.span(k), "use a-z, 0-9 and _, at most 63 characters and a letter first", "%q is not a name for a value", strings.ToValidUTF8(k.Value, ""))
		}
	}
	n.With = r.value(e.val)
	r.noSecrets(n.With)
}

func waitSchema() js {
	clock := js{"type": "string", "pattern": clockForm.String()}
	return js{"oneOf": jsList{
		closed(map[string]js{
			"until": described("An expression that gives the instant at which the wait ends: date(contact.fields.trial_ends)", anyExpr),
		}, "until"),
		closed(map[string]js{
			"event":   described("The wait ends when this happens to the contact; steps.ID.output.event is true then, and the output has what event.* had", enum(eventKinds()...)),
			"if":      described("A condition on the event", anyExpr),
			"timeout": described("The wait ends after this in any case; steps.ID.output.event is false then", duration),
		}, "event"),
		closed(map[string]js{"window": described("The wait ends once clocks stand in this stretch of the day", closed(map[string]js{
			"from":     described("When it begins, as in \"09:00\"", clock),
			"to":       described("When it is over; on the next day if it is not later than from", clock),
			"days":     described("The days of the week on which it begins; all if missing", list(enum(dayWords...))),
			"timezone": described("Whose clocks: Europe/Berlin; UTC if missing", anyText),
		}, "from", "to"))}, "window"),
	}}
}
