package triggers

import (
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"pgregory.net/rapid"
)

// TestWindowAgainstWalk finds the same instant as somebody who looks at a clock each minute, in zones whose
// clocks change by an hour, by half of one, at midnight and not at all, near the changes.
func TestWindowAgainstWalk(t *testing.T) {
	t.Parallel()
	zones := []string{"Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia", "UTC"}
	changes := map[string][]time.Time{}
	for _, z := range zones {
		loc, err := time.LoadLocation(z)
		if err != nil {
			t.Fatal(err)
		}
		for at := time.Date(2009, 1, 1, 0, 0, 0, 0, loc); at.Year() < 2031; {
			_, end := at.ZoneBounds()
			if end.IsZero() {
				break
			}
			changes[z] = append(changes[z], end)
			at = end.In(loc)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		z := rapid.SampledFrom(zones).Draw(t, "zone")
		loc, _ := time.LoadLocation(z)
		clock := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, name)) * time.Minute
		}
		w := Window{From: clock("from"), To: clock("to"), Zone: loc}
		w.Days = rapid.SliceOfNDistinct(rapid.SampledFrom([]time.Weekday{0, 1, 2, 3, 4, 5, 6}), 1, 7, rapid.ID).Draw(t, "days")
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, loc).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "minute")) * time.Minute)
		if all := changes[z]; len(all) > 0 && rapid.Bool().Draw(t, "near a change") {
			at = rapid.SampledFrom(all).Draw(t, "change").Truncate(time.Minute).Add(time.Duration(rapid.IntRange(-3000, 3000).Draw(t, "off")) * time.Minute)
		}
		want := crm.Nanos(0)
		for m := range windowDays * 24 * 60 {
			if x := at.Add(time.Duration(m) * time.Minute).In(loc); w.open(x) {
				want = crm.At(x)
				break
			}
		}
		if got := w.Next(crm.At(at)); got != want {
			t.Fatalf("from %v: %v, a walk finds %v", at, got.Time().In(loc), want.Time().In(loc))
		}
	})
}

// TestWindowEdges: from is in, to is not.
func TestWindowEdges(t *testing.T) {
	t.Parallel()
	all := []time.Weekday{0, 1, 2, 3, 4, 5, 6}
	day := crm.At(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))
	w := Window{From: 9 * time.Hour, To: 17 * time.Hour, Days: all, Zone: time.UTC}
	night := Window{From: 22 * time.Hour, To: 6 * time.Hour, Days: []time.Weekday{time.Tuesday}, Zone: time.UTC} // the 4th is a Wednesday
	for _, c := range []struct {
		w        Window
		at, want crm.Nanos
	}{
		{w, day + 9*crm.Hour - 1, day + 9*crm.Hour}, {w, day + 9*crm.Hour, day + 9*crm.Hour}, {w, day + 17*crm.Hour - 1, day + 17*crm.Hour - 1},
		{w, day + 17*crm.Hour, day + crm.Day + 9*crm.Hour}, {night, day, day}, {night, day + 6*crm.Hour - 1, day + 6*crm.Hour - 1},
		{night, day + 6*crm.Hour, day + 6*crm.Day + 22*crm.Hour}, {night, day + 23*crm.Hour, day + 6*crm.Day + 22*crm.Hour},
		{Window{Zone: time.UTC}, day, 0},
	} {
		if got := c.w.Next(c.at); got != c.want {
			t.Errorf("%v after %v: %v, want %v", c.w, c.at.Time(), got.Time(), c.want.Time())
		}
	}
}
