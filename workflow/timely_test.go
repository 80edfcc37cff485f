package workflow

import (
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// TestTimely warns of days that never come and of rules that play no part, at the token that says it. The same
// file seen before the year 2100, which is no leap year, has one more: the next 29th of February is far away.
func TestTimely(t *testing.T) {
	t.Parallel()
	const name = "testdata/check/timely.yaml"
	src := files(t, name)[name]
	w, ds := check(t, src)
	if w == nil {
		t.Fatal(render(ds))
	}
	for golden_, now := range map[string]time.Time{
		"testdata/check/timely-2026.golden": time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
		"testdata/check/timely-2096.golden": time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC),
	} {
		ds := Timely(w, crm.At(now))
		placed(t, src, ds)
		golden(t, golden_, render(ds))
	}
}
