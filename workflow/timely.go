package workflow

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

const year = 365*crm.Day + crm.Day/4

// Timely warns of what schedules say that can be told only from what the calendar and the clocks have in store
// after an instant: one that never fires, or not for five years, and a rule on changes of the clocks that in
// ten years plays no part.
func Timely(w *Workflow, now crm.Nanos) triggers.Diagnostics {
	r := &reader{file: w.file}
	for i := range w.Triggers {
		if t := &w.Triggers[i]; t.Schedule != nil {
			r.timely(t, now)
		}
	}
	return sortFindings(r.found)
}

func (r *reader) timely(t *Trigger, now crm.Nanos) {
	switch next := t.Schedule.Next(now); {
	case next == 0:
		r.warn(warnNever, t.place.cron, "check the day of the month against the month", "the schedule never fires: there is no such day")
		return
	case next-now > 5*year:
		r.warn(warnNever, t.place.cron, "if that is meant, say so in a comment", "the schedule fires for the first time at %s", next)
	}
	zone := t.Spec.Zone
	if zone == "" {
		zone = "UTC"
	}
	changes, gaps, overlaps := t.Schedule.Clocks(now, now+10*year)
	for _, option := range []struct {
		e     entry
		plays bool
		what  string
	}{{t.place.gap, gaps, "no fire of the schedule falls into a gap"}, {t.place.overlap, overlaps, "no fire of the schedule comes twice"}} {
		if option.e.key == nil || option.plays {
			continue
		}
		why := option.what + " in the next ten years"
		if changes == 0 {
			why = "the clocks of " + zone + " do not change in the next ten years"
		}
		r.warn(warnClocks, r.span(option.e.key), "leave it out", "%s plays no part: %s", option.e.key.Value, why)
	}
}
