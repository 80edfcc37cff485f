package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
)

// exportAll gives the whole file, and looks at what each part says of it.
func (r *rig) exportAll(q ContactsExport) (string, ExportedPart, int) {
	r.t.Helper()
	var file bytes.Buffer
	for parts := 1; ; parts++ {
		p := ask[ExportedPart](r, "contact.export_all", q)
		file.Write(p.Data)
		if sum := sha256.Sum256(file.Bytes()); p.SHA256 != hex.EncodeToString(sum[:]) {
			r.t.Fatalf("part %d: the sha256 is not that of the file so far", parts)
		}
		if q.Columns, q.At = p.Columns, p.Next; p.Next == "" {
			return file.String(), p, parts
		}
	}
}

// An export that is imported into a fresh account and exported again is the same but for the order of the rows,
// which is that of ids. It would find: the guard forgotten, a field's name squeezed, a column lost.
func TestExportReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		first, second := newRig(t), newRig(t)
		first.account()
		second.account()
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab ',;\"\r\n\t=+-@é1")), 1, 8, -1)
		field := rapid.SampledFrom([]string{"plan", "Plan X", "=sum", "email", "Name", "tags", "last_activity", "id", "a;b"})
		n := rapid.IntRange(0, 6).Draw(rt, "contacts")
		for i := range n {
			q := ContactCreate{Email: fmt.Sprintf("c%d@example.com", i), Fields: map[string]string{"first_name": fmt.Sprintf("=Ada %d", i)}}
			if rapid.Bool().Draw(rt, "phone") {
				q.Phone = fmt.Sprintf("+1 202-555-01%02d", i)
			}
			for range rapid.IntRange(0, 3).Draw(rt, "fields") {
				q.Fields[field.Draw(rt, "field")] = text.Draw(rt, "value")
			}
			q.Tags = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"-VIP", "@x", "lead", "b;c"}), 0, 3, rapid.ID).Draw(rt, "tags")
			v := ask[ContactView](first, "contact.create", q)
			if rapid.Bool().Draw(rt, "dnd") {
				ask[ContactView](first, "contact.dnd", ContactDND{ID: v.ID.String(), On: []string{"sms"}})
			}
		}
		file, done, _ := first.exportAll(ContactsExport{Format: "csv"})
		if done.Contacts != n || done.Inexact != 0 {
			rt.Fatalf("%d of %d contacts, %d inexact", done.Contacts, n, done.Inexact)
		}
		var in Imported
		if err := second.try(crm.Admin, "contact.import", ImportOptions{}, &in, strings.NewReader(file)); err != nil || in.Created != n {
			rt.Fatalf("%v, %+v of\n%s", err, in, file)
		}
		again, _, _ := second.exportAll(ContactsExport{Format: "csv"})
		if a, b := sortedRows(rt, file), sortedRows(rt, again); !slices.Equal(a, b) {
			rt.Errorf("exported\n%q\nand again\n%q", a, b)
		}
	})
}

func sortedRows(t *rapid.T, file string) []string {
	lines, err := newIntakeLines("test", strings.NewReader(file), intakeRecord)
	if err != nil {
		t.Fatal(err)
	}
	s, rows := &csvSplitter{lines: lines, sep: ','}, []string{}
	for rec, err := s.next(); err == nil; rec, err = s.next() {
		for _, cell := range rec.cells {
			if cell != "" && strings.IndexByte("=-@\t\r\n", cell[0]) >= 0 || cell != "" && cell[0] == '+' && !telephone(cell) {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
		rows = append(rows, fmt.Sprintf("%q", rec.cells))
	}
	slices.Sort(rows)
	return rows
}

// Parts join to one file in which everybody is once; the log has an entry of each, and the last says how many and
// the sha256 of the file. Deleted ones are in it only when asked for; what was looked for in a name or an address
// is not in the log.
func TestExportParts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	const n = 450
	for i := range n {
		ask[ContactView](r, "contact.create", ContactCreate{Email: fmt.Sprintf("c%03d@example.com", i), Tags: []string{"crowd"},
			Fields: map[string]string{"note": strings.Repeat("x", 8<<10)}})
	}
	gone := r.contact("gone@example.com")
	r.delete(gone.ID, "")
	file, done, parts := r.exportAll(ContactsExport{ContactList: ContactList{Tag: "crowd"}, Format: "jsonl"})
	if parts < 2 || done.Contacts != n || strings.Count(file, "\n") != n || strings.Contains(file, "gone@") {
		t.Fatalf("%d contacts in %d parts, %d lines", done.Contacts, parts, strings.Count(file, "\n"))
	}
	for i := range n {
		if strings.Count(file, fmt.Sprintf(`"c%03d@example.com"`, i)) != 1 {
			t.Fatalf("contact %d is not once in the file", i)
		}
	}
	page := ask[AuditPage](r, "audit.list", AuditList{Kind: crm.ContactsExported})
	if len(page.Entries) != parts || page.Entries[0].By != "user:test" {
		t.Fatalf("%d entries of %d parts", len(page.Entries), parts)
	}
	for _, want := range []string{`live contacts as jsonl, tag "crowd"`, "the end: 450 contacts", done.SHA256} {
		if !strings.Contains(page.Entries[0].What, want) {
			t.Errorf("the log says %q, not %q", page.Entries[0].What, want)
		}
	}
	file, done, _ = r.exportAll(ContactsExport{ContactList: ContactList{Deleted: true, Filter: &DeletedFilter{Email: "gone@"}},
		Format: "csv", Columns: []string{"id", "email", "deleted_by"}})
	if want := "id,email,deleted_by\n" + gone.ID.String() + ",gone@example.com,user:test\n"; file != want || done.Contacts != 1 {
		t.Errorf("exported %q, want %q", file, want)
	}
	if e := ask[AuditPage](r, "audit.list", AuditList{Kind: crm.ContactsExported}).Entries[0]; strings.Contains(e.What, "gone") || !strings.Contains(e.What, "part of the address") {
		t.Errorf("the log says %q", e.What)
	}
}

// What cannot be is refused; what a CSV cannot say is counted.
func TestExportRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ask[ContactView](r, "contact.create", ContactCreate{Email: "a@example.com", Tags: []string{"a, b"}})
	for name, q := range map[string]ContactsExport{
		"no format": {}, "a column twice": {Format: "csv", Columns: []string{"id", "id"}}, "no such column": {Format: "csv", Columns: []string{"salt"}},
		"columns of a JSONL": {Format: "jsonl", Columns: []string{"id"}}, "a limit": {Format: "csv", ContactList: ContactList{Limit: 3}},
		"no cursor": {Format: "jsonl", At: "AAAA"}, "a filter of live ones": {Format: "csv", ContactList: ContactList{Filter: &DeletedFilter{Name: "a"}}},
	} {
		t.Run(name, func(t *testing.T) { r.refused("contact.export_all", q, crm.CodeInvalid) })
	}
	if _, done, _ := r.exportAll(ContactsExport{Format: "csv"}); done.Inexact != 1 {
		t.Errorf("%d inexact", done.Inexact)
	}
}
