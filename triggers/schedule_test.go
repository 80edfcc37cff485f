package triggers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

func schedule(t testing.TB, spec ScheduleSpec) *Schedule {
	t.Helper()
	s, err := ParseSchedule(spec)
	if err != nil {
		t.Fatalf("%+v: %v", spec, err)
	}
	return s
}

func instant(t testing.TB, text string) crm.Nanos {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return crm.At(at)
}

// The days on which robfig/cron alone loses or doubles a fire.
func TestClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cron, zone, gap, overlap, from, to string
		want                               string // local, with the offset
	}{
		{"30 2 * * *", "Europe/Berlin", "", "", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", "29T03:00+02 30T02:30+02"},
		{"30 2 * * *", "Europe/Berlin", "skip", "", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", "30T02:30+02"},
		{"0,30 2 * * *", "Europe/Berlin", "next", "", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", "29T03:00+02"},
		{"0 2,3 * * *", "Europe/Berlin", "next", "", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", "29T03:00+02"},
		{"30 2 * * *", "Europe/Berlin", "", "first", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", "25T02:30+02 26T02:30+01"},
		{"30 2 * * *", "Europe/Berlin", "", "both", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", "25T02:30+02 25T02:30+01 26T02:30+01"},
		{"*/30 * * * *", "Europe/Berlin", "", "first", "2026-10-25T00:15:00Z", "2026-10-25T02:15:00Z", "25T02:30+02 25T02:00+01 25T02:30+01 25T03:00+01"},
		{"*/30 * * * *", "Europe/Berlin", "next", "", "2026-03-29T00:15:00Z", "2026-03-29T01:45:00Z", "29T01:30+01 29T03:00+02 29T03:30+02"},
		{"30 1 * * *", "America/New_York", "", "", "2026-10-31T12:00:00Z", "2026-11-01T12:00:00Z", "01T01:30-04"},
		{"0 0 * * *", "America/Sao_Paulo", "", "", "2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z", "04T01:00-02 05T00:00-02"},
		{"0 0 * * *", "America/Santiago", "", "", "2026-09-05T12:00:00Z", "2026-09-07T12:00:00Z", "06T01:00-03 07T00:00-03"},
		{"15 2 * * *", "Australia/Lord_Howe", "", "", "2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z", "04T02:30+11"},
		{"45 1 * * *", "Australia/Lord_Howe", "", "", "2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z", "05T01:45+11"},
		// Here the clocks went back from 00:01 to 23:01 of the day before.
		{"30 23 * * *", "America/St_Johns", "", "both", "2010-11-07T02:30:30Z", "2010-11-07T12:00:00Z", "06T23:30-03"},
		{"0 12 * * *", "Pacific/Apia", "", "", "2011-12-29T00:00:00Z", "2011-12-31T12:00:00Z", "29T12:00-10 31T00:00+14 31T12:00+14"},
		{"0 0 29 2 *", "", "", "", "2096-03-01T00:00:00Z", "2104-03-01T00:00:00Z", "29T00:00Z"},
		{"0 0 13 * 5", "", "", "", "2026-02-01T00:00:00Z", "2026-02-21T00:00:00Z", "06T00:00Z 13T00:00Z 20T00:00Z"},
		{"@daily", "", "", "", "2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z", "02T00:00Z 03T00:00Z"},
		{" 0 8 * feb mon-wed ", "", "", "", "2026-02-01T00:00:00Z", "2026-02-03T10:00:00Z", "02T08:00Z 03T08:00Z"},
	} {
		s := schedule(t, ScheduleSpec{Cron: c.cron, Zone: c.zone, Gap: c.gap, Overlap: c.overlap})
		var got []string
		for _, at := range between(s, instant(t, c.from), instant(t, c.to)) {
			got = append(got, at.Time().In(s.zone).Format("02T15:04Z07"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s in %s: %s, want %s", c.cron, c.zone, strings.Join(got, " "), c.want)
		}
	}
}

// between gives the fires in (from, to].
func between(s *Schedule, from, to crm.Nanos) (all []crm.Nanos) {
	for at := s.Next(from); at != 0 && at <= to; at = s.Next(at) {
		all = append(all, at)
	}
	return all
}

// plan is a schedule as sets, which the reference reads instead of the text.
type plan struct {
	minutes, hours, days, months, weekdays []int // nil: all
	zone, gap, overlap                     string
}

func (p plan) spec() ScheduleSpec {
	field := func(set []int) string {
		if set == nil {
			return "*"
		}
		var parts []string
		for _, n := range set {
			parts = append(parts, strconv.Itoa(n))
		}
		return strings.Join(parts, ",")
	}
	return ScheduleSpec{Zone: p.zone, Gap: p.gap, Overlap: p.overlap,
		Cron: fmt.Sprintf("%s %s %s %s %s", field(p.minutes), field(p.hours), field(p.days), field(p.months), field(p.weekdays))}
}

// names says whether the schedule names a time on the wall.
func (p plan) names(wall time.Time) bool {
	has := func(set []int, n int) bool { return set == nil || slices.Contains(set, n) }
	if !has(p.minutes, wall.Minute()) || !has(p.hours, wall.Hour()) {
		return false
	}
	day := has(p.days, wall.Day()) && has(p.weekdays, int(wall.Weekday()))
	if p.days != nil && p.weekdays != nil {
		day = has(p.days, wall.Day()) || has(p.weekdays, int(wall.Weekday()))
	}
	return day && has(p.months, int(wall.Month()))
}

// reference walks through real time minute by minute and looks at the clock on the wall.
func (p plan) reference(from, to time.Time) (all []crm.Nanos) {
	zone, _ := time.LoadLocation(p.zone)
	wallOf := func(t time.Time) time.Time {
		_, offset := t.In(zone).Zone()
		return t.Add(time.Duration(offset) * time.Second)
	}
	seen := map[int64]bool{}
	start := from.Add(-26 * time.Hour) // what the clocks have shown before counts as shown
	last := wallOf(start.Add(-time.Minute))
	for t := start; !t.After(to); t = t.Add(time.Minute) {
		wall := wallOf(t)
		fire := p.names(wall) && (p.hours == nil || p.overlap == "both" || !seen[wall.Unix()])
		if p.hours != nil && p.gap != "skip" {
			for skipped := last.Add(time.Minute); skipped.Before(wall); skipped = skipped.Add(time.Minute) {
				fire = fire || p.names(skipped)
			}
		}
		seen[wall.Unix()], last = true, wall
		if fire && t.After(from) {
			all = append(all, crm.At(t))
		}
	}
	return all
}

// changes are instants near which the clocks change, in zones that each do it in their own way.
var changes = map[string][]string{
	"UTC":                 {"2026-03-29"},
	"Europe/Berlin":       {"2026-03-29", "2026-10-25"},
	"America/New_York":    {"2026-03-08", "2026-11-01"},
	"America/Sao_Paulo":   {"2018-02-18", "2018-11-04"}, // at midnight
	"Australia/Lord_Howe": {"2026-04-05", "2026-10-04"}, // by half an hour
	"America/Santiago":    {"2026-04-05", "2026-09-06"}, // at midnight
	"America/St_Johns":    {"2010-03-14", "2010-11-07"}, // a minute past midnight
	"Africa/Casablanca":   {"2026-02-15", "2026-03-22"}, // for Ramadan
}

func planGen() *rapid.Generator[plan] {
	return rapid.Custom(func(t *rapid.T) plan {
		set := func(label string, star int, from, to, most int) []int {
			if rapid.IntRange(0, 9).Draw(t, label+" star") < star {
				return nil
			}
			all := rapid.SliceOfNDistinct(rapid.IntRange(from, to), 1, most, rapid.ID[int]).Draw(t, label)
			slices.Sort(all)
			return all
		}
		p := plan{
			minutes: set("minutes", 1, 0, 59, 4), hours: set("hours", 2, 0, 4, 4),
			days: set("days", 7, 1, 28, 3), months: set("months", 8, 1, 12, 6), weekdays: set("weekdays", 7, 0, 6, 3),
			zone:    rapid.SampledFrom(keysOf(changes)).Draw(t, "zone"),
			gap:     rapid.SampledFrom([]string{"next", "skip"}).Draw(t, "gap"),
			overlap: rapid.SampledFrom([]string{"first", "both"}).Draw(t, "overlap"),
		}
		if p.hours != nil && rapid.Bool().Draw(t, "late") {
			p.hours = append(p.hours, 23)
		}
		return p
	})
}

func TestScheduleAgainstReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := planGen().Draw(t, "plan")
		day, _ := time.Parse(time.DateOnly, rapid.SampledFrom(changes[p.zone]).Draw(t, "day"))
		from := day.Add(-time.Duration(rapid.IntRange(0, 30*60).Draw(t, "minutes before")) * time.Minute)
		to := from.Add(48 * time.Hour)
		s, err := ParseSchedule(p.spec())
		if err != nil {
			t.Fatal(err)
		}
		want := p.reference(from, to)
		if got := between(s, crm.At(from), crm.At(to)); !slices.Equal(got, want) {
			t.Fatalf("%+v\ngot  %v\nwant %v", p.spec(), got, want)
		}
	})
}

// With the defaults each day that matches fires exactly once for each time that is named, whatever
// the clocks do: never twice, never not at all.
func TestOnceADay(t *testing.T) {
	t.Parallel()
	for zone := range changes {
		for _, cron := range []string{"0 0 * * *", "30 0 * * *", "15 2 * * *", "30 1 * * *", "45 1 * * *", "59 23 * * *", "30 2 * * *"} {
			s := schedule(t, ScheduleSpec{Cron: cron, Zone: zone})
			for _, year := range []int{2018, 2026} {
				from := time.Date(year, 1, 1, 12, 0, 0, 0, s.zone)
				days := map[string]int{}
				for _, at := range between(s, crm.At(from), crm.At(from.AddDate(1, 0, 0))) {
					days[at.Time().In(s.zone).Format(time.DateOnly)]++
				}
				for d := 1; d < 365; d++ {
					if day := from.AddDate(0, 0, d).Format(time.DateOnly); days[day] != 1 {
						t.Errorf("%s in %s fires %d times on %s", cron, zone, days[day], day)
					}
				}
			}
		}
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	at := func(text string) crm.Nanos { return instant(t, "2026-05-"+text+":00Z") }
	for _, c := range []struct {
		name   string
		spec   ScheduleSpec
		last   crm.Nanos
		now    crm.Nanos
		fires  []crm.Nanos
		missed int
	}{
		{"on time", ScheduleSpec{}, at("01T01:59"), at("01T02:00"), []crm.Nanos{at("01T02:00")}, 0},
		{"not yet", ScheduleSpec{}, at("01T01:58"), at("01T01:59"), nil, 0},
		{"already", ScheduleSpec{}, at("01T02:00"), at("01T02:01"), nil, 0},
		{"new", ScheduleSpec{}, 0, at("09T12:00"), nil, 0},
		{"new, on time", ScheduleSpec{}, 0, at("09T02:01"), []crm.Nanos{at("09T02:01") - crm.Minute}, 0},
		{"last", ScheduleSpec{}, at("01T12:00"), at("04T12:00"), []crm.Nanos{at("04T02:00")}, 2},
		{"last, too late", ScheduleSpec{Within: crm.Hour}, at("01T12:00"), at("04T12:00"), nil, 3},
		{"all", ScheduleSpec{Misfire: "all", Within: 2 * crm.Day}, at("01T12:00"), at("04T12:00"), []crm.Nanos{at("03T02:00"), at("04T02:00")}, 1},
		{"just within", ScheduleSpec{Misfire: "all", Within: crm.Day}, at("01T12:00"), at("03T02:00"), []crm.Nanos{at("02T02:00"), at("03T02:00")}, 0},
		{"none", ScheduleSpec{Misfire: "none"}, at("01T12:00"), at("04T12:00"), nil, 3},
		{"none, on time", ScheduleSpec{Misfire: "none"}, at("01T12:00"), at("04T02:01"), []crm.Nanos{at("04T02:00")}, 2},
		{"two on time", ScheduleSpec{Cron: "* * * * *"}, at("01T12:00"), at("01T12:02"), []crm.Nanos{at("01T12:01"), at("01T12:02")}, 0},
		{"one late", ScheduleSpec{Cron: "* * * * *", Misfire: "none"}, at("01T12:00"), at("01T12:04"), []crm.Nanos{at("01T12:02"), at("01T12:03"), at("01T12:04")}, 1},
		{"backwards", ScheduleSpec{}, at("04T12:00"), at("01T12:00"), nil, 0},
	} {
		if c.spec.Cron == "" {
			c.spec.Cron = "0 2 * * *"
		}
		fires, missed := schedule(t, c.spec).Due(c.last, c.now)
		if !slices.Equal(fires, c.fires) || missed != c.missed {
			t.Errorf("%s: %v, %d missed; want %v, %d", c.name, fires, missed, c.fires, c.missed)
		}
	}
	// A schedule of every minute after ten years away.
	s := schedule(t, ScheduleSpec{Cron: "* * * * *", Misfire: "all", Within: maxWithin})
	fires, missed := s.Due(at("01T00:00"), at("01T00:00")+3650*crm.Day)
	if len(fires) != MaxFires || fires[len(fires)-1] != at("01T00:00")+3650*crm.Day || missed < maxMissed {
		t.Errorf("%d fires, %d missed", len(fires), missed)
	}
}

// However often somebody looks, each fire is either given once or missed once.
func TestDueLosesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := ScheduleSpec{Cron: rapid.SampledFrom([]string{"*/7 * * * *", "30 2 * * *", "0 */5 * * *"}).Draw(t, "cron"),
			Zone: "Europe/Berlin", Misfire: rapid.SampledFrom([]string{"last", "all", "none"}).Draw(t, "misfire"),
			Within: crm.Nanos(rapid.IntRange(1, 48).Draw(t, "within")) * crm.Hour}
		s, err := ParseSchedule(spec)
		if err != nil {
			t.Fatal(err)
		}
		start := crm.At(time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC))
		last := start
		given := map[crm.Nanos]bool{}
		total := 0
		for _, gap := range rapid.SliceOfN(rapid.IntRange(1, 30*60*60), 1, 6).Draw(t, "gaps") {
			now := last + crm.Nanos(gap)*crm.Second
			fires, missed := s.Due(last, now)
			total += missed
			for i, f := range fires {
				if given[f] || f <= last || f > now || i > 0 && f <= fires[i-1] || now-f > max(spec.Within, OnTime) {
					t.Fatalf("%v in (%v, %v]", fires, last, now)
				}
				given[f] = true
			}
			if newest := between(s, max(last, now-OnTime), now); len(newest) > 0 && !given[newest[len(newest)-1]] {
				t.Fatalf("a punctual fire at %v is lost", newest)
			}
			last = now
		}
		if all := len(between(s, start, last)); all != total+len(given) {
			t.Fatalf("%d fires, %d given, %d missed", all, len(given), total)
		}
	})
}

func TestBadSchedules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec ScheduleSpec
		want string // column and code
	}{
		{ScheduleSpec{Cron: ""}, "1 E121"},
		{ScheduleSpec{Cron: "CRON_TZ=Europe/Berlin"}, "1 E121"},
		{ScheduleSpec{Cron: "CRON_TZ=Europe/Berlin 0 2 * * *"}, "1 E121"},
		{ScheduleSpec{Cron: "TZ=0"}, "1 E121"},
		{ScheduleSpec{Cron: "TZ="}, "1 E121"},
		{ScheduleSpec{Cron: "@every 0s"}, "1 E121"},
		{ScheduleSpec{Cron: "@every 5m"}, "1 E121"},
		{ScheduleSpec{Cron: "@reboot"}, "1 E121"},
		{ScheduleSpec{Cron: "@"}, "1 E121"},
		{ScheduleSpec{Cron: "0 0 2 * * *"}, "1 E121"},
		{ScheduleSpec{Cron: "0 2 * *"}, "1 E121"},
		{ScheduleSpec{Cron: "0 24 * * *"}, "3 E121"},
		{ScheduleSpec{Cron: "0  2 * * 7"}, "10 E121"},
		{ScheduleSpec{Cron: "0 2 L * *"}, "5 E121"},
		{ScheduleSpec{Cron: "*/0 2 * * *"}, "1 E121"},
		{ScheduleSpec{Cron: "0 , * * *"}, "3 E121"},
		{ScheduleSpec{Cron: "é 2 * * 9"}, "1 E121"},
		{ScheduleSpec{Cron: "0 2 é 9999999999999999999999 *"}, "5 E121"},
		{ScheduleSpec{Cron: strings.Repeat("1,", 200) + "1 * * * *"}, "1 E121"},
		{ScheduleSpec{Cron: "0 2 * * *", Zone: "Europe/Berln"}, "1 E123"},
		{ScheduleSpec{Cron: "0 2 * * *", Zone: "Local"}, "1 E123"},
		{ScheduleSpec{Cron: "0 2 * * *", Zone: "../../etc/passwd"}, "1 E123"},
		{ScheduleSpec{Cron: "0 2 * * *", Gap: "later"}, "1 E124"},
		{ScheduleSpec{Cron: "0 2 * * *", Overlap: "last"}, "1 E124"},
		{ScheduleSpec{Cron: "0 2 * * *", Misfire: "some"}, "1 E124"},
		{ScheduleSpec{Cron: "0 2 * * *", Within: 32 * crm.Day}, "1 E124"},
		{ScheduleSpec{Cron: "0 2 * * *", Within: -1}, "1 E124"},
	} {
		_, err := ParseSchedule(c.spec)
		d := Findings(err)
		if len(d) != 1 || fmt.Sprintf("%d %s", d[0].Column, d[0].Code) != c.want || d[0].Hint == "" || Codes[d[0].Code] == "" {
			t.Errorf("%+v: %v, want %s", c.spec, err, c.want)
		}
	}
}
