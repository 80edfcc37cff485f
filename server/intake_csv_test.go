package server

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

// A full row as HighLevel exports it, with what ActiveCampaign adds, in the two dialects of CSV.
func TestContactsOfExports(t *testing.T) {
	t.Parallel()
	at := func(s string) (n crm.Nanos) { n, _ = intakeDate(s); return n }
	want := intakeContact{Line: 2, Campaigns: []string{"Spring offer", "Onboarding"},
		Lists: []intakeMembership{{"Newsletter", crm.Subscribed}, {"News: all", crm.Bounced}},
		Contact: crm.Contact{CreatedAt: at("2026-01-31T14:05:06Z"), External: crm.Identity{Value: "hl-1"},
			Email: crm.Identity{Value: "Ann@Example.com"}, Phone: crm.Identity{Value: "+1 555 0100"},
			Tags: []crm.Tag{{Name: "lead"}, {Name: "Big Fish"}}, DND: []crm.Channel{{Name: "sms", On: true}},
			Fields: []crm.Field{
				{Name: "business_name", Value: crm.Text("Lee & Co")}, {Name: "company", Value: crm.Text("Lee")},
				{Name: "first_name", Value: crm.Text("Ann")}, {Name: "last_activity", Value: crm.Value{Kind: crm.InstantValue, At: at("2026-02-01")}},
				{Name: "last_name", Value: crm.Text("Lee")}, {Name: "plan_type", Value: crm.Text(" two\nlines, \"quoted\"")}, {Name: "source", Value: crm.Text("web")},
			}}}
	cells := [][2]string{{"Contact Id", "hl-1"}, {"First Name", "Ann "}, {"LAST NAME", "Lee"}, {"Company Name", "Lee"}, {"Business Name", "Lee & Co"},
		{"E-mail", "Ann@Example.com"}, {"phone_number", "+1 555 0100"}, {"Tags", "lead, Big Fish,,LEAD"}, {"Date Created", "2026-01-31T14:05:06Z"},
		{"Last Activity", "02/01/2026"}, {"Source", "web"}, {"Lists", "Newsletter: subscribed; News: all: Bounced;"},
		{"Campaigns", "Spring offer; Onboarding;Spring offer"}, {"DND", "SMS"}, {"Plan-Type", " two\nlines, \"quoted\""}, {"Empty", ""}}
	for _, sep := range []rune{',', ';', '\t'} {
		for _, crlf := range []bool{false, true} {
			for _, bom := range []string{"", "\ufeff"} {
				var b bytes.Buffer
				w := csv.NewWriter(&b)
				w.Comma = sep
				var head, row []string
				for _, c := range cells {
					head, row = append(head, c[0]), append(row, c[1])
				}
				_ = w.WriteAll([][]string{head, row})
				file := bom + b.String()
				if crlf { // outside of quotes only
					file = strings.Replace(strings.TrimSuffix(file, "\n"), "Empty\n", "Empty\r\n", 1) + "\r\n\r\n"
				}
				rows, rejects := rowsOf(t, file)
				if len(rejects) > 0 || len(rows) != 1 || !reflect.DeepEqual(rows[0], want) {
					t.Fatalf("separator %q, crlf %v, mark %q: rejects %v\n got %+v\nwant %+v", sep, crlf, bom, rejects, rows, want)
				}
			}
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"firstName,last_name,E-MAIL ADDRESS": "first_name|last_name|email",
		"Email,E-mail,Email":                 "email|.e_mail|.email",
		"Name,First Name,First-Name":         "name|first_name|.first_name_2",
		"Email,,Größe (cm),Member's age":     "email|.column_2|.größe_cm|.member_s_age",
		"Email,Plan,plan,PLAN":               "email|.plan|.plan_2|.plan_3",
		"'=Email,'+x":                        "email|.x",
	} {
		columns, _ := nameColumns(strings.Split(header, ","))
		var got []string
		for _, c := range columns {
			if c.field != "" {
				c.meaning = "." + c.field
			}
			got = append(got, c.meaning)
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s: got %s, want %s", header, strings.Join(got, "|"), want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]string{
		"Ann,,": "Ann|", "Ann Lee,,": "Ann|Lee", "Ann  Mary  Lee,,": "Ann Mary|Lee", "Ann Lee,Bea,": "Bea|", "Ann Lee,,Moe": "|Moe",
	} {
		rows, _ := rowsOf(t, "Full Name,First Name,Last Name\n"+row+"\n")
		c := rows[0].Contact
		if got := c.Field("first_name").Text + "|" + c.Field("last_name").Text; got != want {
			t.Errorf("%s: got %s, want %s", row, got, want)
		}
	}
}

// One bad row costs one row: each is named with its line and code, and the good row after it is read.
// No reason repeats an address that stands in the file.
func TestBadRows(t *testing.T) {
	t.Parallel()
	const canary, number = "canary@example.com", "+15550123"
	manyTags := make([]string, intakeNames+1)
	for i := range manyTags {
		manyTags[i] = fmt.Sprintf("t%d", i)
	}
	for name, c := range map[string]struct{ rows, want string }{
		"too few columns":    {"canary@example.com,+15550123", "2 columns"},
		"too many columns":   {"canary@example.com,+15550123,,,,,,,", "2 columns"},
		"quote in a cell":    {`canary@example.com,+1555"0123,,,,,`, "2 quoting"},
		"after a quote":      {`"canary@example.com"x,+15550123,,,,,`, "2 quoting"},
		"open quote":         {`"canary@example.com,+15550123,,,,,`, "2 quoting"},
		"open, then lines":   {"\"canary@example.com,+15550123\nalso@example.com,+15550124,,,,,", "2 quoting"},
		"e-mail":             {"canary@example,+15550123,,,,,", "2 bad_email"},
		"phone":              {"canary@example.com,+15550123 x9,,,,,", "2 bad_phone"},
		"status":             {"canary@example.com,,,Newsletter: canary@example.com,,,", "2 bad_list"},
		"no status":          {"canary@example.com,,,Newsletter,,,", "2 bad_list"},
		"no list":            {"canary@example.com,,,: subscribed,,,", "2 bad_list"},
		"list twice":         {"canary@example.com,,,A: subscribed; a: bounced,,,", "2 bad_list"},
		"lists":              {"canary@example.com,,," + strings.Join(manyTags, ": bounced;") + ": bounced,,,", "2 bad_list"},
		"campaigns":          {"canary@example.com,,,,,," + strings.Join(manyTags, ";"), "2 too_many_campaigns"},
		"date":               {"canary@example.com,,,,canary@example.com,,", "2 bad_date"},
		"do not disturb":     {"canary@example.com,,,,,canary@example.com,", "2 bad_dnd"},
		"nobody":             {",,vip,,,,", "2 no_identity"},
		"tags":               {"canary@example.com,,\"" + strings.Join(manyTags, ",") + "\",,,,", "2 too_many_tags"},
		"large cell":         {"canary@example.com,," + strings.Repeat("x", intakeField+1) + ",,,,", "2 too_large"},
		"large record":       {"canary@example.com,," + strings.Repeat("x", intakeRecord) + ",,,,", "2 too_large"},
		"latin-1":            {"canary@example.com,,Stra\xdfe,,,,", "2 encoding"},
		"NUL":                {"canary@example.com,,a\x00b,,,,", "2 encoding"},
		"duplicate":          {"canary@example.com,,,,,,\nCanary@Example.com,+15550123,,,,,", "3 duplicate"},
		"bad, then the same": {"canary@example.com,1,,,,,\ncanary@example.com,,,,,,", "2 bad_phone"},
		"two":                {"canary@example,,,,,,\n\n,,,,,,", "2 bad_email, 4 no_identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, rejects := rowsOf(t, "Email,Phone,Tags,Lists,Created,DND,Campaigns\n"+c.rows+"\nlast@example.org,,,,,,\n")
			if got := codes(rejects); got != c.want {
				t.Errorf("rejects %s, want %s", got, c.want)
			}
			if n := len(rows); n == 0 || rows[n-1].Contact.Email.Value != "last@example.org" {
				t.Errorf("the last row was lost: %+v", rows)
			}
			if says := spoken(rejects); strings.Contains(says, "canary") || strings.Contains(says, number[3:]) {
				t.Errorf("a reject repeats the row: %s", says)
			}
			for _, r := range rejects {
				if len(fmt.Sprint(r.Row)) > 2*intakeShown {
					t.Errorf("the reject carries a row of %d bytes", len(fmt.Sprint(r.Row)))
				}
			}
		})
	}
}

// The same id, not only the same address, is a duplicate; empty ones are not.
func TestDuplicateIDs(t *testing.T) {
	t.Parallel()
	rows, rejects := rowsOf(t, "ID,Email,Phone\n1,,\n1,a@example.com,\n,,+15550100\n,,+15550100\n")
	if codes(rejects) != "3 duplicate" || len(rows) != 3 || !strings.Contains(rejects[0].Reason, "line 2") {
		t.Errorf("%d rows, rejects %+v", len(rows), rejects)
	}
}

// Going back after a quote that nobody closes must not make a file cost its square: no line is cut
// more than three times, whatever the quotes in it.
func TestWorkIsLinear(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"\"\n", "\"\"\n", ",\"\"\"\n", ",\"\n", "a,\"b\n", "\"a\",\"\n", "\"\",\"x\n", "x\n"} {
		const n = 20_000
		lines, err := newIntakeLines("test", strings.NewReader("a,b\n\"x\n"+strings.Repeat(line, n)), intakeRecord)
		if err != nil {
			t.Fatal(err)
		}
		s := &csvSplitter{lines: lines, sep: ','}
		for rec, err := s.next(); err == nil; rec, err = s.next() {
			if rec.last < rec.first {
				t.Fatalf("record from %d to %d", rec.first, rec.last)
			}
		}
		if s.cut > 3*n {
			t.Errorf("%q: %d lines were cut %d times", line, n, s.cut)
		}
	}
}

// guard is what an export does to a cell: the inverse of unguard, written from its comment.
func guard(cell string) string {
	inner := strings.TrimLeft(cell, "'")
	if inner != "" && strings.ContainsRune("=+-@\t\r\n", rune(inner[0])) {
		return "'" + cell
	}
	return cell
}

// What was exported is read back the same, byte for byte, formulas, quotes and line ends included.
func TestTablesReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.OneOf(
			rapid.StringOfN(rapid.RuneFrom([]rune("ab ',;\"\r\n\t=+-@é")), 0, 8, -1),
			rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) }))
		table := rapid.SliceOfN(rapid.SliceOfN(cell, 3, 3), 0, 20).Draw(t, "cells")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.Comma = rapid.SampledFrom([]rune{',', ';', '\t'}).Draw(t, "separator")
		w.UseCRLF = false
		_ = w.Write([]string{"Contact Id", "one", "two", "three"})
		for i, row := range table {
			out := []string{fmt.Sprint("c", i)}
			for _, c := range row {
				out = append(out, guard(c))
			}
			_ = w.Write(out)
		}
		w.Flush()
		rows, rejects, err := tryRows(b.String())
		if err != nil || len(rejects) > 0 || len(rows) != len(table) {
			t.Fatalf("%d of %d rows, rejects %v, %v\n%q", len(rows), len(table), rejects, err, b.String())
		}
		for i, row := range rows {
			c := row.Contact
			if got := []string{c.Field("one").Text, c.Field("two").Text, c.Field("three").Text}; !slices.Equal(got, table[i]) || c.External.Value != fmt.Sprint("c", i) {
				t.Fatalf("row %d: got %q, want %q", i, got, table[i])
			}
		}
	})
}

// Whatever a file holds, no line of it is passed over in silence: the records cover each line that is
// not empty once, in order, and each is either taken or rejected.
func FuzzContacts(f *testing.F) {
	for _, s := range []string{
		"", "Email\n", "Email,Name\na@example.com,Ann\n", "Email;Name\r\n\"a@example.com\";\"A\r\nnn\"\r\n",
		"Email,Name\n\"a@example.com,Ann\nb@example.com,Bob\n", "Email,Name\n\"a\"\"b\",\"\"\"\n\n,\n\"", "\ufeffID\n1\n1\n",
		"Name,Tags,Lists,Campaigns,DND,Created\nx,\"a,b\",A: bounced;B: x,c;d,sms,2026-01-01\n", "Email,x\n\"\n\"\"\n\",\",\"\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		rows, rejects, err := tryRows(file)
		if err != nil {
			if len(rows)+len(rejects) > 0 || crm.CodeOf(err) != crm.CodeInvalid {
				t.Fatalf("an unusable file gave %d rows and %d rejects: %v", len(rows), len(rejects), err)
			}
			return
		}
		told := map[int]bool{}
		for _, r := range rows {
			told[r.Line] = true
		}
		for _, r := range rejects {
			if told[r.Line] || r.Code == "" || r.Reason == "" {
				t.Fatalf("line %d told twice, or without a reason", r.Line)
			}
			told[r.Line] = true
		}
		blank := map[int]bool{}
		for i, l := range strings.Split(strings.TrimPrefix(file, "\ufeff"), "\n") {
			blank[i+1] = strings.TrimRight(l, "\r\n") == ""
		}
		lines, _ := newIntakeLines("fuzz", strings.NewReader(file), intakeRecord)
		s := &csvSplitter{lines: lines}
		head, _ := s.skipBlank()
		s.sep = separator(head.text)
		at, n := 0, -1 // the header is neither row nor reject
		for rec, err := s.next(); err == nil; rec, err = s.next() {
			for at++; at < rec.first; at++ {
				if !blank[at] {
					t.Fatalf("line %d is in no record", at)
				}
			}
			if n++; n > 0 && !told[rec.first] {
				t.Fatalf("the record of line %d was neither taken nor rejected", rec.first)
			}
			at = rec.last
		}
		for at++; at <= len(blank); at++ {
			if !blank[at] {
				t.Fatalf("line %d is in no record", at)
			}
		}
		if n != len(told) {
			t.Fatalf("%d records, %d told", n, len(told))
		}
	})
}
