package server

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// ContactsExport asks for the next part of an export of contacts: those that contact.list lists, without a
// limit, in the order of their ids.
type ContactsExport struct {
	ContactList
	Format  string   `json:"format"`            // csv or jsonl
	Columns []string `json:"columns,omitempty"` // of a CSV; default: all that an import takes back. For the next part: Columns of the one before
	At      string   `json:"at,omitempty"`      // Next of the part before
}

// ExportedPart is a part of an export: whole records. The parts one after the other are the file. Each is of
// one moment; a contact that changes between two parts is in the file as it was when its part was made.
type ExportedPart struct {
	Data     []byte   `json:"data"`
	Columns  []string `json:"columns,omitempty"`
	Contacts int      `json:"contacts"` // so far
	// Inexact counts the contacts so far with something that the cells of a CSV cannot say: a comma in a tag,
	// a semicolon in a list's name, a channel that imports do not know.
	Inexact int    `json:"inexact,omitempty"`
	SHA256  string `json:"sha256"` // of all so far
	Next    string `json:"next,omitempty"`
}

// exportPart is how many bytes a part has, or a record more.
const exportPart = 1 << 20

// exportState is what goes from one part to the next, in Next. The log does not rest on it alone: each part's
// entry has the number and the sha256 of the part, which are the server's own.
type exportState struct {
	After    string `json:"a"`
	Part     int    `json:"p"`
	Contacts int    `json:"n"`
	Inexact  int    `json:"x,omitempty"`
	Hash     []byte `json:"h"`
}

// exportColumns are the columns of a CSV that are no custom field, as an import reads them. Custom fields are
// fields.NAME.
var exportColumns = []string{"external_id", "first_name", "last_name", "email", "phone", "company", "source", "tags", "lists", "dnd", "created_at"}

// shownColumns can be asked for besides.
var shownColumns = []string{"id", "name", "state", "archived", "legal_hold", "deleted_at", "restorable_until", "deleted_by"}

const fieldColumn = "fields."

func contactsExport(c *call, q ContactsExport) (ExportedPart, error) {
	const op = "export contacts"
	var part ExportedPart
	st := exportState{}
	sum, err := q.begin(op, &st)
	if err != nil {
		return part, err
	}
	var n, inexact int
	var data []byte
	err = c.Store.View(c.ctx, func(tx *store.Tx) error { // nothing is shown before it is in the log
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if err := c.allow(acc, op, crm.VerbExport); err != nil {
			return err
		}
		if q.Format == "csv" && len(q.Columns) == 0 {
			if q.Columns, err = q.allColumns(tx); err != nil {
				return err
			}
		}
		data, n, inexact, st.After, err = q.part(tx, st.Part == 0)
		return err
	})
	if err != nil {
		return part, err
	}
	st.Part, st.Contacts, st.Inexact = st.Part+1, st.Contacts+n, st.Inexact+inexact
	sum.Write(data)
	part = ExportedPart{Data: data, Columns: q.Columns, Contacts: st.Contacts, Inexact: st.Inexact, SHA256: hex.EncodeToString(sum.Sum(nil))}
	if st.After != "" {
		if st.Hash, err = sum.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
			return part, err
		}
		raw, err := json.Marshal(st)
		if err != nil {
			return part, err
		}
		part.Next = base64.RawURLEncoding.EncodeToString(raw)
	}
	own := sha256.Sum256(data)
	said := fmt.Sprintf("part %d of %s: %d contacts, sha256 %x", st.Part, q.said(), n, own)
	if part.Next == "" {
		said += fmt.Sprintf("; the end: %d contacts, sha256 %s", part.Contacts, part.SHA256)
	}
	err = c.Store.Update(c.ctx, func(tx *store.Tx) error {
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		if err := c.allow(acc, op, crm.VerbExport); err != nil {
			return err
		}
		return tx.NoteExport(c.by, acc.ID, said)
	})
	if err != nil {
		return ExportedPart{}, err
	}
	return part, nil
}

// begin checks what is asked and goes on where the part before ended.
func (q *ContactsExport) begin(op string, st *exportState) (hash.Hash, error) {
	bad := func(hint, format string, args ...any) (hash.Hash, error) {
		return nil, crm.Errorf(op, crm.CodeInvalid, format, args...).WithHint("%s", hint)
	}
	sum := sha256.New()
	switch {
	case q.Format != "csv" && q.Format != "jsonl":
		return bad("ask for csv or jsonl", "there is no such format")
	case q.Limit != 0 || q.After != "":
		return bad("take a tag, a list or --deleted", "an export has no limit and no pages")
	case q.Format == "jsonl" && len(q.Columns) > 0:
		return bad("ask for csv, or for no columns", "a JSONL has whole contacts")
	case len(q.Columns) > intakeColumns:
		return bad("name fewer", "there are more than %d columns", intakeColumns)
	}
	for i, col := range q.Columns {
		name, field := strings.CutPrefix(col, fieldColumn)
		if slices.Contains(q.Columns[:i], col) || field && name == "" || !field && !slices.Contains(exportColumns, col) && !slices.Contains(shownColumns, col) {
			return bad("columns are fields.NAME, "+strings.Join(exportColumns, ", ")+", "+strings.Join(shownColumns, ", "), "column %d is none that there is, or is there twice", i+1)
		}
	}
	if q.Deleted && q.Filter == nil {
		q.Filter = &DeletedFilter{} // then it is known who deleted each
	}
	if q.At == "" {
		return sum, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(q.At)
	if err == nil {
		err = json.Unmarshal(raw, st)
	}
	if err == nil {
		err = sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(st.Hash)
	}
	if err != nil || st.After == "" || q.Format == "csv" && len(q.Columns) == 0 {
		return bad("begin the export anew", "at is not the next of an earlier part, or its columns are missing")
	}
	return sum, nil
}

// said is the filter in words for the log. A part of somebody's name or address must not get in there: no
// erasure would reach it.
func (q *ContactsExport) said() string {
	words := []string{"live contacts as " + q.Format}
	if q.Deleted {
		words[0] = "deleted contacts as " + q.Format
	}
	add := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(q.Tag != "", "tag %q", q.Tag)
	add(q.List != "", "list %q", q.List)
	add(q.Held, "under a hold")
	add(q.Archived, "archived")
	if f := q.Filter; f != nil {
		add(f.After != 0, "deleted after %s", f.After)
		add(f.Before != 0, "deleted before %s", f.Before)
		add(f.Name != "", "by a part of the name")
		add(f.Email != "", "by a part of the address")
		add(f.By != "", "deleted by %s", f.By)
		add(f.Workflow != "", "deleted by workflow %s", f.Workflow)
		add(!f.Operation.IsZero(), "operation %s", f.Operation)
	}
	return strings.Join(words, ", ")
}

// allColumns gives the columns that an import takes back, with every field that one of the contacts has.
func (q *ContactsExport) allColumns(tx *store.Tx) ([]string, error) {
	found := map[string]bool{}
	err := q.each(tx, "", func(v ContactView, _ string) bool {
		for name := range v.Fields {
			found[name] = true
		}
		return len(found) <= intakeColumns
	})
	for _, name := range []string{"first_name", "last_name", "company", "source"} {
		delete(found, name)
	}
	if len(found)+len(exportColumns) > intakeColumns {
		return nil, crm.Errorf("export contacts", crm.CodeInvalid, "the contacts have more than %d fields", intakeColumns).WithHint("name the --columns, or take jsonl")
	}
	columns := slices.Clone(exportColumns)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		columns = append(columns, fieldColumn+name)
	}
	return columns, err
}

// each yields the contacts that are asked for from a cursor on, each with the cursor behind it.
func (q *ContactsExport) each(tx *store.Tx, after string, yield func(ContactView, string) bool) error {
	l := q.ContactList
	query, names, err := l.query(tx)
	if err != nil {
		return err
	}
	if query.After, err = base64.RawURLEncoding.DecodeString(after); err != nil {
		return crm.Errorf("export contacts", crm.CodeInvalid, "at is not the next of an earlier part").WithHint("begin the export anew")
	}
	for {
		var page ContactPage
		stopped := false
		if l.Filter != nil {
			err = l.deleted(tx, query, names, exportPage, &page)
		} else {
			page.Next, err = l.live(tx, query, names, exportPage, &page)
		}
		if err != nil {
			return err
		}
		for i, v := range page.Contacts {
			next := ""
			if i == len(page.Contacts)-1 {
				next = page.Next
			}
			if !yield(v, next) {
				stopped = true
				break
			}
		}
		if stopped || page.Next == "" {
			return nil
		}
		if query.After, err = base64.RawURLEncoding.DecodeString(page.Next); err != nil {
			return err
		}
	}
}

// exportPage is how many contacts are held at a time.
const exportPage = 200

// live is deleted for live contacts.
func (q ContactList) live(tx *store.Tx, query crm.Query, names func(crm.ItemID) string, limit int, page *ContactPage) (string, error) {
	next, err := tx.Scan(query, func(con *crm.Contact, l *crm.Life) bool {
		if !q.Held || l.Held {
			page.Contacts = append(page.Contacts, contactView(con, *l, names))
		}
		return len(page.Contacts) < limit
	})
	return base64.RawURLEncoding.EncodeToString(next), err
}

// part makes the next part; it ends with a page of contacts.
func (q *ContactsExport) part(tx *store.Tx, first bool) (data []byte, n, inexact int, next string, err error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	var failed error
	write := func(v ContactView) {
		if q.Format == "jsonl" {
			raw, err := json.Marshal(v)
			out.Write(append(raw, '\n'))
			failed = err
			return
		}
		row := make([]string, len(q.Columns))
		for i, col := range q.Columns {
			row[i] = guardCell(exportCell(&v, col))
		}
		failed = w.Write(row)
		w.Flush()
	}
	if first && q.Format == "csv" {
		header := make([]string, len(q.Columns))
		for i, col := range q.Columns {
			header[i] = guardCell(col)
		}
		failed = w.Write(header)
		w.Flush()
	}
	st := ""
	if !first {
		st = q.after()
	}
	err = q.each(tx, st, func(v ContactView, behind string) bool {
		write(v)
		if n++; q.Format == "csv" && !sayable(&v) {
			inexact++
		}
		next = behind
		return failed == nil && (behind == "" || out.Len() < exportPart)
	})
	if err == nil {
		err = failed
	}
	return out.Bytes(), n, inexact, next, err
}

// after gives the engine's cursor in At, which begin has looked at.
func (q *ContactsExport) after() string {
	var st exportState
	raw, _ := base64.RawURLEncoding.DecodeString(q.At)
	_ = json.Unmarshal(raw, &st)
	return st.After
}

// exportCell gives a cell as an import reads it.
func exportCell(v *ContactView, col string) string {
	if name, ok := strings.CutPrefix(col, fieldColumn); ok {
		return fieldText(v.Fields[name])
	}
	switch col {
	case "external_id":
		return v.ExternalID
	case "first_name", "last_name", "company", "source":
		return fieldText(v.Fields[col])
	case "email":
		return v.Email
	case "phone":
		return v.Phone
	case "tags":
		return strings.Join(v.Tags, ", ")
	case "lists":
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v.Lists)) {
			all = append(all, name+": "+v.Lists[name])
		}
		return strings.Join(all, "; ")
	case "dnd":
		return strings.Join(v.DND, ", ")
	case "created_at":
		return stampOf(v.CreatedAt)
	case "id":
		return v.ID.String()
	case "name":
		return v.Name
	case "state":
		return v.State.String()
	case "archived":
		return fmt.Sprint(v.Archived)
	case "legal_hold":
		return fmt.Sprint(v.Held)
	case "deleted_at":
		return stampOf(v.DeletedAt)
	case "restorable_until":
		return stampOf(v.RestorableUntil)
	case "deleted_by":
		if v.Tombstone != nil {
			return v.Tombstone.By
		}
	}
	return ""
}

func stampOf(at crm.Nanos) string {
	if at == 0 {
		return ""
	}
	return at.Time().UTC().Format(time.RFC3339Nano)
}

// fieldText gives a field's value as text, the way that crm.Value shows it.
func fieldText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return crm.Value{Kind: crm.NumberValue, Number: v}.String()
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []string:
		return strings.Join(v, ", ")
	}
	return fmt.Sprint(v)
}

// sayable says whether an import gets out of the cells what is in the contact.
func sayable(v *ContactView) bool {
	for _, t := range v.Tags {
		if strings.Contains(t, ",") {
			return false
		}
	}
	for name := range v.Lists {
		if strings.Contains(name, ";") {
			return false
		}
	}
	for _, d := range v.DND {
		if !slices.Contains(csvChannels, crm.Fold(d)) {
			return false
		}
	}
	return true
}

// guardCell keeps a spreadsheet from running a cell as a formula; unguard undoes it.
func guardCell(s string) string {
	inner := strings.TrimLeft(s, "'")
	if inner == "" || strings.IndexByte("=+-@\t\r\n", inner[0]) < 0 || telephone(s) {
		return s
	}
	return "'" + s
}

// telephone says whether a cell is a phone number and nothing else.
func telephone(s string) bool {
	return len(s) > 5 && s[0] == '+' && strings.Trim(s[1:], "0123456789 ().-") == ""
}
