package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// At a terminal a delete for good says what it would hit before it asks, and asks about nothing that is
// not there.
func TestPromptsForGood(t *testing.T) {
	dir := shortDir(t)
	var out, errs bytes.Buffer
	say := func(want int, typed string, args ...string) string {
		t.Helper()
		out.Reset()
		errs.Reset()
		c := &cli{in: strings.NewReader(typed + "\n"), out: &out, err: &errs, tty: true}
		if code := c.run(t.Context(), append(args, "--data", dir)); code != want {
			t.Fatalf("%v with %q: exit %d, wanted %d\n%s%s", args, typed, code, want, &out, &errs)
		}
		return errs.String()
	}
	say(exitOK, "", "init")
	say(exitOK, "", "contact", "create", "--email", "ada@example.com", "--tag", "VIP")
	say(exitOK, "", "opportunity", "create", "it", "ada@example.com")
	for _, kind := range []string{"list", "campaign", "company"} {
		say(exitOK, "", kind, "create", "it")
		say(exitOK, "", kind, "add", "it", "ada@example.com")
	}
	for kind, hits := range map[string]string{"list": "1 contacts", "campaign": "1 contacts", "company": "the company itm_", "opportunity": "the opportunity itm_"} {
		if said := say(exitNotFound, "y", kind, "delete", "another"); strings.Contains(said, "[y/N]") {
			t.Errorf("it asks about nothing: %s", said)
		}
		if said := say(exitUsage, "n", kind, "delete", "it"); !strings.Contains(said, hits) || !strings.Contains(said, "[y/N]") {
			t.Errorf("it asks %s", said)
		}
		say(exitOK, "y", kind, "delete", "it")
		say(exitNotFound, "y", kind, "delete", "it")
	}
	if said := say(exitUsage, "", "tag", "delete", "vip"); !strings.Contains(said, "which 1 live and 0 deleted contacts carry") {
		t.Errorf("it asks %s", said)
	}
	say(exitOK, "yes", "tag", "delete", "vip")
	say(exitNotFound, "y", "tag", "delete", "vip")
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for cents, want := range map[int64]string{0: "0.00", 5: "0.05", -5: "-0.05", 100: "1.00", 125050: "1250.50", -100: "-1.00",
		math.MaxInt64: "92233720368547758.07", math.MinInt64: "-92233720368547758.08"} {
		if got := money(cents); got != want {
			t.Errorf("%d is shown as %s, not %s", cents, got, want)
		}
	}
}
