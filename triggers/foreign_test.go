package triggers

import (
	"strings"
	"testing"
)

// What people bring along from other products is answered with how it is written here. Without the hint each of
// these is a bare E101, or nothing at all.
func TestForeignSyntax(t *testing.T) {
	t.Parallel()
	scope := Source{Scope: ScopeContact}
	for text, want := range map[string]string{
		"${{ contact.email }}":        "E101 one pair of braces: ${ contact.email }",
		"to ${{contact.email}}":       "E101 one pair of braces: ${ contact.email }",
		"${ {a: 1}.a }":               "",
		"Dear {{ contact.name }}":     "W write ${ contact.name }",
		"{{contact.firstName}}":       "W an expression stands in ${ }, as in ${ contact.first_name }",
		"$${{ as it stands }} {{}} {": "",
	} {
		src := scope
		src.Text = text
		tpl, err := CompileTemplate(src)
		got := []string{}
		for _, d := range Findings(err) {
			got = append(got, d.Code+" "+d.Hint)
		}
		if tpl != nil {
			for _, d := range tpl.Braces("W") {
				got = append(got, d.Code+" "+d.Hint)
			}
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s: %q, want %q", text, s, want)
		}
	}
	for text, want := range map[string]string{"${ contact.archived }": "leave the braces out", "{{ contact.archived }}": "leave the braces out", "{{": "leave the braces out"} {
		src := scope
		src.Text = text
		_, err := CompileExpr(src, Bool)
		if ds := Findings(err); len(ds) != 1 || !strings.HasPrefix(ds[0].Hint, want) {
			t.Errorf("%s: %v", text, ds)
		}
	}
	for text, want := range map[string]string{"@dayly": "did you mean @daily?", "@Daily": "did you mean @daily?", "@noonish": "there is @hourly, @daily, @weekly, @monthly, @yearly", "@midnight": ""} {
		_, err := ParseSchedule(ScheduleSpec{Cron: text})
		got := ""
		for _, d := range Findings(err) {
			got += d.Hint
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
