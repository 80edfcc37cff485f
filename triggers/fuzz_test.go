package triggers

import (
	"testing"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
)

// Whatever the text: no panic, a published code at a place that exists, and an evaluation that ends.
func FuzzCompileExpr(f *testing.F) {
	for _, text := range wrong {
		f.Add(text)
	}
	for _, text := range []string{`event.tag in ["a"] and not ("VIP" in contact.tags)`, `any(contact.tags, # == "x")`,
		`contact.fields["a"].b?.c[0] ?? {"a": [1, 2]}.a`, `now - duration("14d") < date("2026-01-01") ? 1 : -2 ** 3`,
		`filter(contact.tags, {# != "x"})[0:1] | count(true) % 2`, "`raw` + 'x' /* c */ // d", `steps["my-step"].output.x`,
		`contact.email matches "^(a|b)*$" || contact.name startsWith "x"`, `1..2`, `let x = 1; x`, `((((`, "\xff", `::len("x")`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{Bool, Text, Any} {
			e, err := CompileExpr(everything(text), kind)
			if err != nil {
				for _, d := range Findings(err) {
					if Codes[d.Code] == "" || d.Line < 1 || d.Column < 1 || d.Length < 1 || d.Message == "" {
						t.Fatalf("%q: %+v", text, d)
					}
					if utf8.ValidString(text) && d.Column > utf8.RuneCountInString(d.Snippet)+1 {
						t.Fatalf("%q: column %d is beyond %q", text, d.Column, d.Snippet)
					}
					d.Render()
				}
				if len(Findings(err)) == 0 {
					t.Fatalf("%q: %v", text, err)
				}
				continue
			}
			v, err := e.Eval(annEnv())
			if err != nil && crm.CodeOf(err) != crm.CodeInvalid {
				t.Fatalf("%q: %v", text, err)
			}
			if s, ok := v.(string); ok && len(s) > maxText {
				t.Fatalf("%q gives %d bytes", text, len(s))
			}
			if ok, err := e.Bool(Env{}); ok && err != nil {
				t.Fatalf("%q holds with an error", text)
			}
		}
	})
}

func FuzzCompileTemplate(f *testing.F) {
	for _, text := range []string{"a ${ contact.name } b", "$${", "${", "${}", "${ \"}\" }", "${ {\"a\": 1}.a }", "é${ event.tag }${ nope }", "$$${ 1 }"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tm, err := CompileTemplate(everything(text))
		if err != nil {
			if len(Findings(err)) == 0 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		v, _ := tm.Eval(annEnv())
		if lit, ok := tm.Literal(); ok && v != lit {
			t.Fatalf("%q: %q and %v", text, lit, v)
		}
	})
}

func FuzzParseSchedule(f *testing.F) {
	for _, cron := range []string{"*/5 * * * *", "0 2 29 2 *", "CRON_TZ=", "TZ=0", "@daily", "@every -5s", "0 0 31 2 *", "1-5/2,7 0 1 jan mon", "? ? ? ? ?"} {
		f.Add(cron, "Europe/Berlin", int64(1e18))
	}
	f.Fuzz(func(t *testing.T, cron, zone string, after int64) {
		s, err := ParseSchedule(ScheduleSpec{Cron: cron, Zone: zone})
		if err != nil {
			if len(Findings(err)) != 1 {
				t.Fatalf("%q: %v", cron, err)
			}
			return
		}
		at := crm.Nanos(min(max(after, -8e18), 8e18))
		never := s.Next(at) == 0 // there is no such day
		for range 3 {
			next := s.Next(at)
			if next != 0 && next <= at || (next == 0) != never {
				t.Fatalf("%q in %q: %v after %v", cron, zone, next, at)
			}
			at = max(at, next)
		}
		if never {
			return
		}
		if at%crm.Second != 0 {
			t.Fatalf("%q fires at %v", cron, at)
		}
	})
}
