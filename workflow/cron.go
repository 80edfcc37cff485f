package workflow

import (
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

// Limits bound what one fire of a schedule starts. The zero Limits bound nothing.
type Limits struct {
	Batch      int     // contacts for which a fire starts a run, at most; the others are the next fire's. 0: all
	Rate       Rate    // how fast it starts them
	MaxItems   int     // a fire that selects more contacts starts nothing; -1: there is no such guard
	MaxPercent float64 // and one that selects more of those that it goes over; -1: there is no such guard
}

// Guarded says whether a fire has to be counted before it starts anything.
func (l Limits) Guarded() bool { return l.MaxItems >= 0 || l.MaxPercent >= 0 }

// Rate is so many runs in any stretch of time that is so long, spread evenly. The zero Rate is no bound.
type Rate struct {
	Runs int
	Per  crm.Nanos
}

// String writes the rate as a file does.
func (r Rate) String() string {
	for unit, per := range rateUnits {
		if r.Per == per && r.Runs > 0 {
			return strconv.Itoa(r.Runs) + "/" + unit
		}
	}
	return ""
}

// cronPlace is where Timely points at.
type cronPlace struct {
	cron         span
	gap, overlap entry // the keys of dst that the file has
}

// cron reads a schedule.
func (r *reader) cron(t *Trigger, n *yaml.Node, got map[string]entry) {
	options := map[string]map[string]entry{}
	if e, ok := got["dst"]; ok {
		options["dst"] = r.fields(e.val, "dst", keys{"gap": "", "overlap": ""})
	}
	if e, ok := got["misfire"]; ok {
		options["misfire"] = r.fields(e.val, "misfire", keys{"policy": "", "within": ""})
	}
	word := func(in, key string, words ...string) string {
		if e, ok := options[in][key]; ok {
			return r.oneOf(e, words...)
		}
		return ""
	}
	t.Spec = triggers.ScheduleSpec{
		Gap:     word("dst", "gap", "next", "skip"),
		Overlap: word("dst", "overlap", "first", "both"),
		Misfire: word("misfire", "policy", "last", "all", "none"),
	}
	if e, ok := options["misfire"]["within"]; ok {
		t.Spec.Within = r.duration(e)
		if !r.alone(triggers.ScheduleSpec{Within: t.Spec.Within}, e) {
			t.Spec.Within = 0
		}
	}
	if e, ok := got["timezone"]; ok {
		if t.Spec.Zone, ok = r.text(e); ok && !r.alone(triggers.ScheduleSpec{Zone: t.Spec.Zone}, e) {
			t.Spec.Zone = ""
		}
	}
	t.place.gap, t.place.overlap = options["dst"]["gap"], options["dst"]["overlap"]
	t.Limits = r.limits(got)
	e := got["cron"]
	t.place.cron = r.span(e.val)
	if text, ok := r.text(e); ok {
		t.Spec.Cron = text
		var err error
		t.Schedule, err = triggers.ParseSchedule(t.Spec)
		for _, d := range triggers.Findings(err) {
			d.Line, d.Column = r.at(e.val)(d.Column - 1) // it was counted in the text alone
		}
		r.take(err, r.span(e.val))
	}
	r.over(t, n, got)
}

// alone tries one option of a schedule by itself, so that a mistake in it stands at its own place
// whatever is wrong with the rest.
func (r *reader) alone(spec triggers.ScheduleSpec, e entry) bool {
	spec.Cron = "0 0 * * *"
	_, err := triggers.ParseSchedule(spec)
	for _, d := range triggers.Findings(err) {
		d.Line = 0
	}
	r.take(err, r.span(e.val))
	return err == nil
}

func (r *reader) over(t *Trigger, n *yaml.Node, got map[string]entry) {
	scope := triggers.ScopeContact
	switch e, ok := got["over"]; {
	case !ok:
		if !r.hasKey(n, "over") {
			r.fail(codeOver, r.span(got["cron"].key), "add over: contacts, or over: contacts.deleted",
				"over is required: contacts or contacts.deleted")
		}
	default:
		switch r.oneOf(e, "contacts", "contacts.deleted") {
		case "contacts":
			t.Over = crm.OnlyLive
		case "contacts.deleted":
			t.Over = crm.OnlyDeleted
			scope |= triggers.ScopeTombstone
		default:
			scope |= triggers.ScopeTombstone // no second complaint
		}
	}
	// Without where, everybody: an expression that reads nothing never selects a restored contact.
	src, at := triggers.Source{File: r.name, Text: "true", Scope: scope}, span{t.Line, t.Column, 1}
	if e, ok := got["where"]; ok {
		if !r.scalar(e) {
			return
		}
		src, at = r.source(e.val, scope), r.span(e.val)
	}
	var err error
	t.Where, err = triggers.Select(src)
	r.take(err, at)
}

// The bounds of what limits a fire.
const (
	maxBatchOf = 1_000_000
	maxRate    = 1_000_000
)

var (
	rateForm  = regexp.MustCompile(`^([1-9][0-9]{0,6})/(s|m|h|d)$`)
	rateUnits = map[string]crm.Nanos{"s": crm.Second, "m": crm.Minute, "h": crm.Hour, "d": crm.Day}
)

// limits reads batch, rate and guard.
func (r *reader) limits(got map[string]entry) Limits {
	l := Limits{MaxItems: -1, MaxPercent: -1}
	if e, ok := got["batch"]; ok {
		l.Batch = int(r.numeral(e, 1, maxBatchOf, "a whole number"))
	}
	if e, ok := got["rate"]; ok && r.scalar(e) {
		m := rateForm.FindStringSubmatch(e.val.Value)
		if m == nil {
			r.fail(codeValue, r.span(e.val), "write a number and a unit (s m h d), as in 500/h", "the rate cannot be read")
		} else if l.Rate.Runs, _ = strconv.Atoi(m[1]); l.Rate.Runs > maxRate {
			r.fail(codeValue, r.span(e.val), "leave rate out if it is not meant to slow anything down", "the rate is more than %d", maxRate)
		} else {
			l.Rate.Per = rateUnits[m[2]]
		}
	}
	e, ok := got["guard"]
	if !ok {
		return l
	}
	in := r.fields(e.val, "guard", keys{"max_items": "", "max_percent": ""})
	if in != nil && len(in) == 0 && len(e.val.Content) == 0 {
		r.fail(codeMissing, r.span(e.key), "add max_items: 500 or max_percent: 5", "guard needs at least one bound")
	}
	if e, ok := in["max_items"]; ok {
		l.MaxItems = int(r.numeral(e, 0, 1<<31-1, "a whole number"))
	}
	if e, ok := in["max_percent"]; ok {
		l.MaxPercent = r.numeral(e, 0, 100, "a number")
	}
	return l
}

var numeralForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?$`)

// numeral accepts a plain decimal number within bounds, whole unless what says otherwise.
func (r *reader) numeral(e entry, least, most float64, what string) float64 {
	if !r.scalar(e) {
		return least
	}
	m := numeralForm.FindStringSubmatch(e.val.Value)
	if m == nil || e.val.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 || m[2] != "" && what != "a number" {
		r.fail(codeValue, r.span(e.val), "write it in plain digits", "%s must be %s", e.key.Value, what)
		return least
	}
	n, err := strconv.ParseFloat(e.val.Value, 64)
	if err != nil || n < least || n > most {
		r.fail(codeValue, r.span(e.val), "leave it out if it is not meant", "%s must be from %v to %v", e.key.Value, strconv.FormatFloat(least, 'f', -1, 64), strconv.FormatFloat(most, 'f', -1, 64))
		return least
	}
	return n
}
