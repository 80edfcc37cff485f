package triggers

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // schedules name zones, and the machine may know none
	"unicode/utf8"

	"github.com/robfig/cron/v3"

	"github.com/reprieve-run/reprieve/crm"
)

// ScheduleSpec is a cron schedule as a workflow file writes it.
type ScheduleSpec struct {
	Cron string // five fields, or @hourly, @daily, @weekly, @monthly, @yearly
	Zone string // an IANA name; empty: UTC
	// Gap says what becomes of an instant that the clocks skip in spring: next (the default) fires at
	// the first instant after the gap, skip not at all.
	Gap string
	// Overlap says what becomes of one that the clocks show twice in autumn: first (the default) or both.
	Overlap string
	// Misfire says what becomes of what was due while nobody looked: last (the default), all or none.
	Misfire string
	// Within is how long after its instant a missed one may still fire; 0 is 24 hours, at most 31 days.
	Within crm.Nanos
}

// The bounds of Due.
const (
	// OnTime is how late a fire may be and still not count as missed: whoever asks Due has to ask more
	// often than that, or misfire none will lose fires.
	OnTime = 2 * crm.Minute
	// MaxFires is how many fires Due gives at once, the newest ones.
	MaxFires  = 1000
	maxMissed = 10_000 // a count that high says enough
	maxWithin = 31 * crm.Day
	// searchDays is how far Next looks: 29 February is at most eight years away.
	searchDays = 9 * 366
)

// Schedule says at which instants a cron schedule fires. A schedule that fires in every hour follows
// the clock on the wall as it runs, through any change of it: every half hour stays every half hour,
// nothing is lost or done twice in real time. Any other names times of day, and each of these fires
// once a day: in the gap of spring at the first instant after it (several at once are one), in the
// overlap of autumn at the first of the two, unless Gap and Overlap say otherwise.
type Schedule struct {
	minutes, hours, days, months, weekdays uint64
	zone                                   *time.Location
	next, both                             bool // Gap is next, Overlap is both
	misfire                                string
	within                                 crm.Nanos
}

const starBit = 1 << 63 // robfig/cron's mark of a field that was a star

var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// ParseSchedule reads a schedule. Its error is a *Diagnostic whose Column counts in Cron, from 1. A schedule
// that names no day that there is, as the 31st of February, is read too, and never fires.
func ParseSchedule(spec ScheduleSpec) (*Schedule, error) {
	src := Source{Text: spec.Cron}
	text := strings.TrimSpace(spec.Cron)
	if d := plausible(src, text); d != nil {
		return nil, d
	}
	parsed, err := parseCron(text)
	if err != nil {
		return nil, wrongField(src, err)
	}
	s := &Schedule{minutes: parsed.Minute, hours: parsed.Hour, days: parsed.Dom, months: parsed.Month, weekdays: parsed.Dow}
	if d := s.options(src, spec); d != nil {
		return nil, d
	}
	if s.everyHour() {
		s.next, s.both = false, true
	}
	return s, nil
}

// descriptors are the schedules that have a name.
var descriptors = []string{"@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@midnight", "@annually"}

// plausible refuses what robfig/cron would panic on, read as something else, or accept in silence.
func plausible(src Source, text string) *Diagnostic {
	whole := utf8.RuneCountInString(src.Text)
	fields := len(strings.Fields(text))
	switch {
	case text == "":
		return src.fail(codeCron, 0, 1, "the schedule is empty", `write five fields, for example "15 2 * * *"`)
	case len(text) > 200:
		return src.fail(codeCron, 0, 1, "the schedule is longer than 200 bytes", "list fewer times")
	case strings.Contains(text, "="):
		return src.fail(codeCron, 0, whole, "the zone cannot stand in the schedule", "write it under timezone:")
	case strings.HasPrefix(text, "@every"):
		return src.fail(codeCron, 0, whole, "@every has no instants of its own", "write */30 * * * * for every half hour")
	case strings.HasPrefix(text, "@") && !slices.Contains(descriptors, text):
		hint := "there is " + strings.Join(descriptors[:5], ", ")
		if near := nearest(text, descriptors); near != "" {
			hint = "did you mean " + near + "?"
		}
		return src.fail(codeCron, 0, whole, "there is no schedule "+clip(text), hint)
	case strings.HasPrefix(text, "@"):
		return nil
	case fields == 6:
		return src.fail(codeCron, 0, whole, "the schedule has six fields", "leave out the seconds: minute hour day month weekday")
	case fields != 5:
		return src.fail(codeCron, 0, whole, fmt.Sprintf("the schedule has %d fields, not five", fields), "minute hour day month weekday")
	}
	return nil
}

func parseCron(text string) (s *cron.SpecSchedule, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("it cannot be read")
		}
	}()
	parsed, err := cronParser.Parse(text)
	if err != nil {
		return nil, err
	}
	s, ok := parsed.(*cron.SpecSchedule)
	if !ok || s.Minute == 0 || s.Hour == 0 || s.Dom == 0 || s.Month == 0 || s.Dow == 0 {
		return nil, fmt.Errorf("a field names nothing")
	}
	return s, nil
}

// wrongField finds the first field that cannot be read even among stars.
func wrongField(src Source, err error) *Diagnostic {
	hint := "minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-6 (Sunday is 0)"
	at := 0
	for i, f := range strings.Fields(src.Text) {
		at += strings.Index(src.Text[at:], f)
		alone := []string{"*", "*", "*", "*", "*"}
		alone[min(i, 4)] = f
		if _, ferr := parseCron(strings.Join(alone, " ")); ferr != nil {
			from := utf8.RuneCountInString(src.Text[:at])
			return src.fail(codeCron, from, from+utf8.RuneCountInString(f), "the schedule cannot be read: "+ferr.Error(), hint)
		}
		at += len(f)
	}
	return src.fail(codeCron, 0, utf8.RuneCountInString(src.Text), "the schedule cannot be read: "+err.Error(), hint)
}

func (s *Schedule) options(src Source, spec ScheduleSpec) *Diagnostic {
	zone, err := time.LoadLocation(spec.Zone)
	if err != nil || spec.Zone == "Local" {
		return src.fail(codeZone, 0, 1, "there is no time zone "+clip(spec.Zone), "write an IANA name, for example Europe/Berlin")
	}
	s.zone, s.within, s.misfire = zone, spec.Within, spec.Misfire
	switch spec.Gap {
	case "", "next", "skip":
		s.next = spec.Gap != "skip"
	default:
		return src.fail(codeOption, 0, 1, "gap is next or skip, not "+clip(spec.Gap), "next fires right after the gap")
	}
	switch spec.Overlap {
	case "", "first", "both":
		s.both = spec.Overlap == "both"
	default:
		return src.fail(codeOption, 0, 1, "overlap is first or both, not "+clip(spec.Overlap), "first fires once")
	}
	switch spec.Misfire {
	case "":
		s.misfire = "last"
	case "last", "all", "none":
	default:
		return src.fail(codeOption, 0, 1, "misfire is last, all or none, not "+clip(spec.Misfire), "last fires the newest missed one")
	}
	if s.within == 0 {
		s.within = crm.Day
	}
	if s.within < 0 || s.within > maxWithin {
		return src.fail(codeOption, 0, 1, "within is longer than 31 days", "what was missed a month ago is better looked at by a person")
	}
	return nil
}

// everyHour says whether the schedule fires in each hour of a day, and so follows real time: see Schedule.
func (s *Schedule) everyHour() bool { return s.hours&(1<<24-1) == 1<<24-1 }

// Clocks says how often the clocks change from an instant to another, whether any of these gaps hides a fire
// and any of these overlaps shows one twice: so whether it makes a difference what Gap and Overlap say.
func (s *Schedule) Clocks(from, to crm.Nanos) (changes int, gaps, overlaps bool) {
	for t := from; ; {
		_, end := t.Time().In(s.zone).ZoneBounds()
		if end.IsZero() || crm.At(end) >= to {
			return changes, gaps, overlaps
		}
		if crm.At(end) <= t { // past the years that the zone's table lists, its last second of a year ends where it begins
			t += crm.Minute
			continue
		}
		t = crm.At(end)
		before, after := s.offset(end.Add(-time.Second)), s.offset(end)
		if before == after {
			continue
		}
		if changes++; s.everyHour() {
			continue
		}
		until := t + crm.Nanos(max(before-after, after-before))*crm.Second
		differs := func(a, b Schedule) bool {
			x, y := t-1, t-1
			for x <= until || y <= until {
				if x, y = a.Next(x), b.Next(y); x != y {
					return true
				}
				if x == 0 {
					return false
				}
			}
			return false
		}
		next, skip, both := *s, *s, *s
		next.next, skip.next = true, false
		next.both, skip.both, both.both, both.next = false, false, true, true
		gaps = gaps || after > before && differs(next, skip)
		overlaps = overlaps || after < before && differs(next, both)
	}
}

// onDay says whether the schedule fires on a civil day, given as its midnight in UTC. As in every
// cron, when both the day of the month and the weekday are restricted, either is enough.
func (s *Schedule) onDay(day time.Time) bool {
	if s.months&(1<<uint(day.Month())) == 0 {
		return false
	}
	dom := s.days&(1<<uint(day.Day())) != 0
	dow := s.weekdays&(1<<uint(day.Weekday())) != 0
	if (s.days|s.weekdays)&starBit != 0 {
		return dom && dow
	}
	return dom || dow
}

// Next gives the first instant after an instant at which the schedule fires; 0: never again.
func (s *Schedule) Next(after crm.Nanos) crm.Nanos {
	local := time.Unix(0, int64(after)).In(s.zone)
	// The day before may still have fires to come: those that a change of the clocks put off.
	day := time.Date(local.Year(), local.Month(), local.Day()-1, 0, 0, 0, 0, time.UTC)
	best := crm.Nanos(0)
	for i := 0; i < searchDays; i++ {
		found := best != 0
		if s.onDay(day) {
			if t := s.firstOn(day, after); t != 0 && (best == 0 || t < best) {
				best = t
			}
		}
		if found { // one day more was looked at: overlaps around midnight mix the fires of two days
			return best
		}
		day = day.AddDate(0, 0, 1)
	}
	return best
}

// firstOn gives the first fire of a civil day after an instant, 0 if there is none.
func (s *Schedule) firstOn(day time.Time, after crm.Nanos) crm.Nanos {
	before, later := s.offset(day.Add(-24*time.Hour)), s.offset(day.Add(48*time.Hour))
	if before == later && s.offset(day.Add(12*time.Hour)) == before {
		return s.firstPlain(day, before, after)
	}
	// Each time of the day is at an instant between its two readings, by the one offset and the other.
	low, high := crm.Nanos(min(before, later))*crm.Second, crm.Nanos(max(before, later))*crm.Second
	best := crm.Nanos(0)
	for h := s.hours &^ starBit; h != 0; h &= h - 1 {
		for m := s.minutes &^ starBit; m != 0; m &= m - 1 {
			wall := day.Add(time.Duration(bits.TrailingZeros64(h))*time.Hour + time.Duration(bits.TrailingZeros64(m))*time.Minute)
			switch {
			case crm.At(wall)-low <= after:
				continue
			case best != 0 && crm.At(wall)-high > best:
				return best
			}
			for _, t := range s.instants(wall) {
				if t > after && (best == 0 || t < best) {
					best = t
				}
			}
		}
	}
	return best
}

// firstPlain is firstOn for a day without a change of the clocks: wall time is UTC plus the offset.
func (s *Schedule) firstPlain(day time.Time, offset int, after crm.Nanos) crm.Nanos {
	midnight := crm.At(day) - crm.Nanos(offset)*crm.Second
	for h := s.hours &^ starBit; h != 0; h &= h - 1 {
		hour := midnight + crm.Nanos(bits.TrailingZeros64(h))*crm.Hour
		if hour+crm.Hour <= after {
			continue
		}
		for m := s.minutes &^ starBit; m != 0; m &= m - 1 {
			if t := hour + crm.Nanos(bits.TrailingZeros64(m))*crm.Minute; t > after {
				return t
			}
		}
	}
	return 0
}

// offset gives the zone's seconds east of UTC at an instant.
func (s *Schedule) offset(t time.Time) int {
	_, o := t.In(s.zone).Zone()
	return o
}

// instants gives when the clocks on the wall show a time, given as if it were UTC: once, twice, or in
// a gap at the first instant after it, as far as Gap and Overlap want them.
func (s *Schedule) instants(wall time.Time) []crm.Nanos {
	var all []crm.Nanos
	// A zone is at most a day away from UTC, and does not change twice within two.
	early, late := s.offset(wall.Add(-24*time.Hour)), s.offset(wall.Add(24*time.Hour))
	for _, o := range []int{early, late} {
		t := wall.Add(-time.Duration(o) * time.Second)
		if s.offset(t) == o && (len(all) == 0 || all[0] != crm.At(t)) {
			all = append(all, crm.At(t))
		}
	}
	switch {
	case len(all) == 2 && !s.both:
		return []crm.Nanos{min(all[0], all[1])}
	case len(all) == 0 && s.next:
		return []crm.Nanos{s.gapEnd(wall.Add(-time.Duration(late)*time.Second), early)}
	}
	return all
}

// gapEnd gives the first instant at or after t at which the offset is no longer the given one.
func (s *Schedule) gapEnd(t time.Time, offset int) crm.Nanos {
	for range 10 { // a zone may change its name without its offset
		_, end := t.In(s.zone).ZoneBounds()
		if end.IsZero() {
			break
		}
		t = end
		if s.offset(t) != offset {
			break
		}
	}
	return crm.At(t)
}

// Due gives what is to fire now, oldest first, when the schedule was last looked at, or last fired,
// at last: everything in (last, now] that came due no longer ago than OnTime, and of what was missed
// before that what misfire wants. missed counts the instants in (last, now] that do not fire. With
// last 0 the schedule is new and has missed nothing. Whoever calls it stores, beside what it started
// and in one transaction, how far it has got: now, or the fire itself if it takes one at a time.
func (s *Schedule) Due(last, now crm.Nanos) (fires []crm.Nanos, missed int) {
	if now <= last {
		return nil, 0
	}
	punctual := now - OnTime
	if last == 0 {
		last = punctual
	}
	late := s.within
	if s.misfire == "none" {
		late = 0
	}
	from := max(last, now-max(late, OnTime)-1)
	for t := s.Next(last); t != 0 && t <= from && missed < maxMissed; t = s.Next(t) {
		missed++
	}
	for t := s.Next(from); t != 0 && t <= now; t = s.Next(t) {
		if len(fires) == MaxFires {
			fires, missed = append(fires[:0], fires[1:]...), missed+1
		}
		fires = append(fires, t)
	}
	if s.misfire == "last" && len(fires) > 0 {
		keep := len(fires) - 1
		for keep > 0 && fires[keep-1] >= punctual {
			keep--
		}
		missed += keep
		fires = fires[keep:]
	}
	return fires, missed
}
