package triggers

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

// years are the stretches that the property below walks through: ten years ahead, and what zones have done before.
var years = map[string][][2]int{
	"Europe/Berlin":       {{2025, 2035}, {1978, 1982}, {1945, 1948}}, // summer time came back in 1980; twice a year in 1945 and 1947
	"America/New_York":    {{2025, 2035}, {2005, 2008}, {1974, 1976}}, // in January 1974
	"America/Sao_Paulo":   {{2025, 2035}, {2012, 2021}},               // abolished in 2019; at midnight
	"Australia/Lord_Howe": {{2025, 2035}, {1981, 1988}},               // half an hour; an hour until 1985
	"America/Santiago":    {{2025, 2035}, {2014, 2020}},               // at midnight; a year of summer in 2015
}

// changesIn gives the instants at which the clocks change, by asking for the offset every half hour.
func changesIn(zone *time.Location, from, to time.Time) (all []time.Time) {
	offset := func(t time.Time) int { _, o := t.In(zone).Zone(); return o }
	for t := from; t.Before(to); t = t.Add(30 * time.Minute) {
		if offset(t) != offset(t.Add(30*time.Minute)) {
			all = append(all, t.Add(30*time.Minute))
		}
	}
	return all
}

// TestTenYears holds schedules against the walk, minute by minute: around every change of the clocks in the years, and
// over some random weeks of each. rapid prints the seed of what fails; -rapid.seed replays it.
func TestTenYears(t *testing.T) {
	t.Parallel()
	type stretch struct{ from, to time.Time }
	near, whole := map[string][]stretch{}, map[string][]stretch{}
	for name, spans := range years {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range spans {
			from, to := time.Date(y[0], 1, 1, 0, 0, 0, 0, time.UTC), time.Date(y[1]+1, 1, 1, 0, 0, 0, 0, time.UTC)
			whole[name] = append(whole[name], stretch{from, to})
			for _, c := range changesIn(zone, from, to) {
				near[name] = append(near[name], stretch{c.Add(-27 * time.Hour), c.Add(27 * time.Hour)})
			}
		}
		if len(near[name]) < 8 {
			t.Fatalf("%s changes only %d times", name, len(near[name]))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := planGen().Draw(t, "plan")
		p.zone = rapid.SampledFrom(keysOf(years)).Draw(t, "a zone of these")
		if p.hours == nil && rapid.Bool().Draw(t, "some hours") {
			p.hours = []int{0, 1, 2, 3, 23}
		}
		s, err := ParseSchedule(p.spec())
		if err != nil {
			t.Fatal(err)
		}
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(near[p.zone]), 1, 3, func(s stretch) int64 { return s.from.Unix() }).Draw(t, "changes")
		span := rapid.SampledFrom(whole[p.zone]).Draw(t, "years")
		at := span.from.Add(time.Duration(rapid.IntRange(0, int(span.to.Sub(span.from).Hours())-170).Draw(t, "hour")) * time.Hour)
		for _, x := range append(some, stretch{at, at.Add(7 * 24 * time.Hour)}) {
			want := p.reference(x.from, x.to)
			got := between(s, crm.At(x.from), crm.At(x.to))
			if !slices.Equal(got, want) {
				t.Fatalf("%+v after %s:\ngot  %v\nwant %v", p.spec(), x.from, got, want)
			}
			for i := 1; i < len(got); i++ {
				if got[i] <= got[i-1] {
					t.Fatalf("%v after %v", got[i], got[i-1])
				}
			}
		}
	})
}

// slowDue says in the plainest words what misfire and within are to do with what came due in (last, now].
func slowDue(all []crm.Nanos, spec ScheduleSpec, now crm.Nanos) (fires []crm.Nanos, missed int) {
	within := spec.Within
	if within == 0 {
		within = crm.Day
	}
	late := -1 // the latest that is late and may be made up for
	for i, at := range all {
		if now-at > OnTime && now-at <= within {
			late = i
		}
	}
	for i, at := range all {
		switch old := now - at; {
		case old <= OnTime, old <= within && spec.Misfire == "all":
			fires = append(fires, at)
		case i == late && (spec.Misfire == "last" || spec.Misfire == "") && now-all[len(all)-1] > OnTime:
			fires = append(fires, at) // nothing on time takes its place
		default:
			missed++
		}
	}
	return fires, missed
}

// TestMisfireAgainstModel: each misfire with each within, looked at whenever, gives what the model gives; at the very
// edge of within too.
func TestMisfireAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := ScheduleSpec{Zone: rapid.SampledFrom(keysOf(years)).Draw(t, "zone"), Cron: rapid.SampledFrom([]string{"30 2 * * *", "0 0 * * *", "0 */5 * * *", "*/20 1,2 * * *"}).Draw(t, "cron"),
			Overlap: rapid.SampledFrom([]string{"first", "both"}).Draw(t, "overlap"), Gap: rapid.SampledFrom([]string{"next", "skip"}).Draw(t, "gap"),
			Misfire: rapid.SampledFrom([]string{"", "last", "all", "none"}).Draw(t, "misfire"), Within: crm.Nanos(rapid.IntRange(0, 72).Draw(t, "within")) * crm.Hour}
		s, err := ParseSchedule(spec)
		if err != nil {
			t.Fatal(err)
		}
		last := crm.At(time.Date(rapid.IntRange(2014, 2034).Draw(t, "year"), 1, 1, 0, 0, 0, 0, time.UTC)) + crm.Nanos(rapid.IntRange(0, 360*24).Draw(t, "hour"))*crm.Hour
		now := last + crm.Nanos(rapid.IntRange(1, 96*60).Draw(t, "minutes"))*crm.Minute
		if all := between(s, last, now); len(all) > 0 && rapid.Bool().Draw(t, "at the edge") {
			edge := spec.Within
			if edge == 0 {
				edge = crm.Day
			}
			now = max(now, rapid.SampledFrom(all).Draw(t, "fire")+edge+crm.Nanos(rapid.IntRange(-1, 1).Draw(t, "off")))
		}
		want, wantMissed := slowDue(between(s, last, now), spec, now)
		if got, missed := s.Due(last, now); !slices.Equal(got, want) || missed != wantMissed {
			t.Fatalf("%+v in (%s, %s]:\ngot  %v, %d missed\nwant %v, %d", spec, last, now, got, missed, want, wantMissed)
		}
	})
}
