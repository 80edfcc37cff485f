package triggers

import (
	"slices"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// Window is a stretch of the day, on some days of the week, as clocks in a zone show it. The zero Window
// is never open.
type Window struct {
	From, To time.Duration // since midnight; To at or before From is on the next day
	Days     []time.Weekday
	Zone     *time.Location
}

// open says whether a clock that shows this stands in the window. A stretch over midnight belongs to the
// day on which it begins.
func (w *Window) open(t time.Time) bool {
	clock := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute +
		time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	if w.From < w.To {
		return w.From <= clock && clock < w.To && slices.Contains(w.Days, t.Weekday())
	}
	return w.From <= clock && slices.Contains(w.Days, t.Weekday()) ||
		clock < w.To && slices.Contains(w.Days, (t.Weekday()+6)%7)
}

// windowDays is how far ahead a window is looked for: a week, and one more that a change of clocks may eat.
const windowDays = 16

// Next gives the first instant, at or after now, at which clocks stand in the window; 0 if there is none.
func (w *Window) Next(now crm.Nanos) crm.Nanos {
	at := now.Time().In(w.Zone)
	if w.open(at) {
		return now
	}
	var found time.Time
	try := func(t time.Time) {
		if t.After(at) && w.open(t) && (found.IsZero() || t.Before(found)) {
			found = t
		}
	}
	for day := range windowDays {
		midnight := time.Date(at.Year(), at.Month(), at.Day()+day, 0, 0, 0, 0, time.UTC)
		for _, clock := range []time.Duration{0, w.From} { // 0: a night that began on a day off
			w.shown(midnight.Add(clock), try)
		}
	}
	for t := at; t.Before(at.AddDate(0, 0, windowDays)); { // clocks that are put forward may land in the window
		_, end := t.ZoneBounds()
		if end.IsZero() {
			break
		}
		if !end.After(t) { // past the years that the zone's table lists; see Schedule.Clocks
			t = t.Add(time.Minute)
			continue
		}
		try(end.In(w.Zone))
		t = end.In(w.Zone)
	}
	if found.IsZero() {
		return 0
	}
	return crm.At(found)
}

// shown tries each instant at which clocks in the zone show a time; wall is that time as if it were UTC's.
func (w *Window) shown(wall time.Time, try func(time.Time)) {
	seen := map[int]bool{}
	for _, near := range []time.Time{wall.Add(-26 * time.Hour), wall, wall.Add(26 * time.Hour)} {
		_, offset := near.In(w.Zone).Zone()
		if seen[offset] {
			continue
		}
		seen[offset] = true
		t := wall.Add(-time.Duration(offset) * time.Second).In(w.Zone)
		if _, real := t.Zone(); real == offset {
			try(t)
		}
	}
}
