package server

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
)

const opContacts = "import contacts"

// rejectHeader begins the header of a file of rejected rows. An import passes over these columns, so
// that the file can be mended and imported as it is.
var rejectHeader = []string{"line", "code", "reason"}

// readContacts reads a CSV of contacts as HighLevel, ActiveCampaign and this program export them, or a
// mended file of rejected rows. The names of the columns come to header first; each record that is
// not empty comes to yield or to reject, in the order of the file; an error of yield ends the reading
// and is returned. Any other error means that the file as a whole is unusable.
func readContacts(r io.Reader, header func([]string), yield func(intakeContact) error, reject func(Reject)) error {
	lines, err := newIntakeLines(opContacts, r, intakeRecord)
	if err != nil {
		return err
	}
	s := &csvSplitter{lines: lines}
	names, columns, err := readHeader(s)
	if err != nil {
		return err
	}
	own := 0 // columns of ours
	if columns[0].meaning == ourOwn {
		own = len(rejectHeader)
	}
	header(unguarded(names[own:]))
	seen := intakeSeen{}
	for {
		rec, err := s.next()
		if err != nil {
			return unread(opContacts, err)
		}
		c, bad := readRow(columns, rec, seen)
		if own > 0 && strings.ContainsRune(strings.Join(rec.cells, ""), utf8.RuneError) {
			bad = &rowError{rejectEncoding, "a character was lost when the row was rejected: write it anew"}
		}
		row := unguarded(rec.cells[min(own, len(rec.cells)):])
		if bad != nil {
			reject(bad.reject(rec.first, row))
			continue
		}
		c.Row = shown(row)
		if err := yield(c); err != nil {
			return err
		}
	}
}

// csvColumn is what a column means: one of the meanings of csvMeanings, or a custom field.
type csvColumn struct{ meaning, field string }

// ourOwn is the meaning of the columns that a file of rejected rows begins with.
const ourOwn = "our own"

// csvMeanings gives the meaning of a header, squeezed to lower-case letters and digits.
var csvMeanings = map[string]string{
	"contactid": "id", "id": "id", "externalid": "id",
	"firstname": "first_name", "givenname": "first_name",
	"lastname": "last_name", "surname": "last_name", "familyname": "last_name",
	"name": "name", "fullname": "name", "contactname": "name",
	"email": "email", "emailaddress": "email", "primaryemail": "email",
	"phone": "phone", "phonenumber": "phone", "telephone": "phone", "mobile": "phone", "mobilephone": "phone",
	"company": "company", "companyname": "company", "businessname": "company", "organization": "company",
	"organisation": "company", "account": "company", "accountname": "company",
	"source": "source", "leadsource": "source", "contactsource": "source",
	"tags": "tags", "tag": "tags",
	"created": "created", "datecreated": "created", "createddate": "created", "createdat": "created",
	"dateadded": "created", "createdon": "created",
	"lastactivity": "last_activity", "lastactivitydate": "last_activity",
	"lists": "lists", "list": "lists", "campaigns": "campaigns", "campaign": "campaigns", "dnd": "dnd",
}

// readHeader maps the columns. The first column of a meaning has it; a further one, and one without a
// meaning, becomes a custom field, so that nothing in the file is lost.
func readHeader(s *csvSplitter) ([]string, []csvColumn, error) {
	fail := func(hint, format string, args ...any) ([]string, []csvColumn, error) {
		return nil, nil, crm.Errorf(opContacts, crm.CodeInvalid, format, args...).WithHint("%s", hint)
	}
	line, err := s.skipBlank()
	if errors.Is(err, io.EOF) {
		return fail("the first line must name the columns: First Name,Last Name,Email,Phone,Tags", "the file is empty")
	} else if err != nil {
		return nil, nil, unread(opContacts, err)
	}
	s.sep = separator(line.text)
	rec, err := s.next()
	switch all := strings.Join(rec.cells, ""); {
	case err != nil:
		return nil, nil, unread(opContacts, err)
	case rec.bad != nil:
		return fail("the first line must name the columns: First Name,Last Name,Email,Phone,Tags", "the header is broken: %s", rec.bad.reason)
	case !goodText(all):
		return fail("save it as UTF-8; in a spreadsheet: Save as, CSV UTF-8", "the file is not UTF-8 text")
	case strings.Contains(all, "\r"):
		return fail("save it with Windows or Unix line ends; in a spreadsheet: Save as, CSV UTF-8", "the lines do not end as lines of a CSV do")
	case len(rec.cells) > intakeColumns || len(all) > 200*intakeColumns:
		return fail("take columns out that contacts do not need", "the header has more than %d columns, or very long names", intakeColumns)
	}
	columns, known := nameColumns(rec.cells)
	for _, want := range []string{"id", "name", "first_name", "last_name", "email", "phone"} {
		if known[want] {
			return rec.cells, columns, nil
		}
	}
	return fail("name at least one column First Name, Last Name, Email, Phone or Contact Id in the first line",
		"the header has no column for a name, an e-mail address, a phone number or an id")
}

// nameColumns gives the columns and the meanings that occur.
func nameColumns(header []string) ([]csvColumn, map[string]bool) {
	used := map[string]bool{"first_name": true, "last_name": true, "company": true, "source": true, "last_activity": true}
	known := map[string]bool{}
	columns := make([]csvColumn, len(header))
	own := len(header) > len(rejectHeader) && slices.Equal(header[:len(rejectHeader)], rejectHeader)
	for i, h := range header {
		if own && i < len(rejectHeader) {
			columns[i].meaning = ourOwn
			continue
		}
		if name, ok := strings.CutPrefix(unguard(h), fieldColumn); ok && (!used[name] || name == "last_activity" && !known[name]) && badName("field's name", name, maxFieldName) == "" {
			used[name], known[name], columns[i].field = true, true, name // a column of an export
			continue
		}
		words := headerWords(unguard(h))
		if m := csvMeanings[strings.Join(words, "")]; m != "" && !known[m] {
			known[m], columns[i].meaning = true, m
			continue
		}
		base := strings.Join(words, "_")
		if base == "" {
			base = fmt.Sprintf("column_%d", i+1)
		}
		name := base
		for n := 2; used[name]; n++ {
			name = base + "_" + strconv.Itoa(n)
		}
		used[name], columns[i].field = true, name
	}
	return columns, known
}

// headerWords gives the words of a header in lower case: letters and digits, whatever separates them.
func headerWords(h string) []string {
	return strings.FieldsFunc(strings.ToLower(h), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
}

// csvRow is a row being read.
type csvRow struct {
	intakeContact
	name string // of a column that holds the whole name
}

// readRow reads a record; seen learns its identities if it is good.
func readRow(columns []csvColumn, rec csvRecord, seen intakeSeen) (intakeContact, *rowError) {
	if rec.bad != nil {
		return intakeContact{}, rec.bad
	}
	if len(rec.cells) != len(columns) {
		return intakeContact{}, &rowError{rejectColumns,
			fmt.Sprintf("the row has %s, the header %d", atMost(len(rec.cells)), len(columns))}
	}
	row := csvRow{intakeContact: intakeContact{Line: rec.first}}
	for i, cell := range rec.cells {
		switch {
		case len(cell) > maxFieldText:
			return intakeContact{}, &rowError{rejectTooLarge, fmt.Sprintf("column %d holds more than 64 KiB", i+1)}
		case !goodText(cell):
			return intakeContact{}, &rowError{rejectEncoding, fmt.Sprintf("column %d is not UTF-8 text: save the file as UTF-8", i+1)}
		}
		if bad := row.set(columns[i], unguard(cell)); bad != nil {
			return intakeContact{}, bad
		}
	}
	row.splitName()
	c := &row.Contact
	if c.Email.Value == "" && c.Phone.Value == "" && c.External.Value == "" &&
		c.Field("first_name").Text == "" && c.Field("last_name").Text == "" {
		return intakeContact{}, &rowError{rejectNobody, "the row has no name, no e-mail address, no phone number and no id"}
	}
	return row.intakeContact, seen.add(rec.first, "id", c.External.Value, "e-mail address", crm.NormalIdentity("email", c.Email.Value))
}

// atMost words a number of columns that was counted no further than is sensible.
func atMost(n int) string {
	if n > intakeColumns {
		return fmt.Sprintf("more than %d columns", intakeColumns)
	}
	return fmt.Sprintf("%d columns", n)
}

// add remembers identities, pairs of kind and value, unless one of them is there already.
func (s intakeSeen) add(line int, pairs ...string) *rowError {
	for i := 0; i < len(pairs); i += 2 {
		if at, ok := s[s.key(pairs[i], pairs[i+1])]; ok {
			return &rowError{rejectDuplicate, fmt.Sprintf("line %d has the same %s", at, pairs[i])}
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			s[s.key(pairs[i], pairs[i+1])] = line
		}
	}
	return nil
}

// set takes a cell. A custom field is kept as it is; around all else, space goes.
func (r *csvRow) set(col csvColumn, cell string) *rowError {
	switch {
	case col.meaning == ourOwn:
		return nil
	case col.field != "":
		r.field(col.field, crm.Text(cell))
		return nil
	}
	if cell = strings.TrimSpace(cell); cell == "" {
		return nil
	}
	c := &r.Contact
	switch col.meaning {
	case "id":
		c.External.Value = cell
	case "name":
		r.name = cell
	case "email":
		if c.Email.Value = cell; !validEmail(cell) {
			return &rowError{rejectEmail, "the e-mail address is not one that mail can be sent to"}
		}
	case "phone":
		if c.Phone.Value = cell; !validPhone(cell) {
			return &rowError{rejectPhone, "the phone number must have 7 to 15 digits and no letters, with + only in front"}
		}
	case "created", "last_activity":
		at, ok := intakeDate(cell)
		if !ok {
			return &rowError{rejectDate, "the date in the column for " + col.meaning + " must be like 2026-01-31, 2026-01-31 14:05:00, 01/31/2026, 2026/01/31 or RFC 3339"}
		}
		if col.meaning == "created" {
			c.CreatedAt = at
		} else {
			r.field(col.meaning, crm.Value{Kind: crm.InstantValue, At: at})
		}
	case "tags":
		return r.tags(cell)
	case "lists":
		return r.lists(cell)
	case "campaigns":
		for name := range strings.SplitSeq(cell, ";") {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(r.Campaigns, name) {
				r.Campaigns = append(r.Campaigns, name)
			}
			if len(r.Campaigns) > intakeNames {
				return &rowError{rejectCampaigns, fmt.Sprintf("the row has more than %d campaigns", intakeNames)}
			}
		}
	case "dnd":
		return r.dnd(cell)
	default:
		r.field(col.meaning, crm.Text(cell))
	}
	return nil
}

// field keeps the fields in order of their names, as a contact has them.
func (r *csvRow) field(name string, v crm.Value) {
	if v.Kind == crm.TextValue && v.Text == "" {
		return
	}
	f := crm.Field{Name: name, Value: v}
	i, _ := slices.BinarySearchFunc(r.Contact.Fields, f, func(a, b crm.Field) int { return strings.Compare(a.Name, b.Name) })
	r.Contact.Fields = slices.Insert(r.Contact.Fields, i, f)
}

// splitName divides the whole name at its last space. A first or last name of its own counts more.
func (r *csvRow) splitName() {
	if r.name == "" || r.Contact.Field("first_name").Text != "" || r.Contact.Field("last_name").Text != "" {
		return
	}
	words := strings.Fields(r.name)
	if n := len(words) - 1; n > 0 {
		r.field("last_name", crm.Text(words[n]))
		words = words[:n]
	}
	r.field("first_name", crm.Text(strings.Join(words, " ")))
}

func (r *csvRow) tags(cell string) *rowError {
	seen := map[string]bool{}
	for name := range strings.SplitSeq(cell, ",") {
		name = strings.TrimSpace(name)
		if fold := crm.Fold(name); name == "" || seen[fold] {
			continue
		} else if bad := badName("tag", name, maxTag); bad != "" {
			return &rowError{rejectTag, bad}
		} else if seen[fold] = true; len(seen) > intakeNames {
			return &rowError{rejectTags, fmt.Sprintf("the row has more than %d tags", intakeNames)}
		}
		r.Contact.Tags = append(r.Contact.Tags, crm.Tag{Name: name})
	}
	return nil
}

// lists reads "Newsletter: subscribed; Product news: bounced". A list without a status is refused:
// who subscribes somebody must have it from the file.
func (r *csvRow) lists(cell string) *rowError {
	for part := range strings.SplitSeq(cell, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		colon := max(strings.LastIndexByte(part, ':'), 0)
		m := intakeMembership{Name: strings.TrimSpace(part[:colon]), Status: crm.Status(crm.Fold(part[min(colon+1, len(part)):]))}
		if m.Status == "active" { // as ActiveCampaign shows it
			m.Status = crm.Subscribed
		}
		same := func(o intakeMembership) bool { return crm.Fold(o.Name) == crm.Fold(m.Name) }
		switch {
		case m.Name == "" || !m.Status.Valid():
			return &rowError{rejectList, "lists must read Name: status; Name: status, with subscribed, unsubscribed, unconfirmed or bounced"}
		case slices.ContainsFunc(r.Lists, same):
			return &rowError{rejectList, "the row names a list twice"}
		case len(r.Lists) == intakeNames:
			return &rowError{rejectList, fmt.Sprintf("the row has more than %d lists", intakeNames)}
		}
		r.Lists = append(r.Lists, m)
	}
	return nil
}

// csvChannels are the channels that do-not-disturb can be on for, HighLevel's.
var csvChannels = []string{"call", "email", "fb", "gmb", "sms", "whatsapp"}

// dnd reads a yes or no for all channels, or the channels that it is on for.
func (r *csvRow) dnd(cell string) *rowError {
	var on []string
	switch crm.Fold(cell) {
	case "true", "yes", "on", "1", "all":
		on = csvChannels
	case "false", "no", "off", "0", "none":
	default:
		on = strings.FieldsFunc(crm.Fold(cell), func(r rune) bool { return r == ',' || r == ';' || r == ' ' })
	}
	for _, name := range on {
		if !slices.Contains(csvChannels, name) {
			return &rowError{rejectDND, "do not disturb must be true, false or some of " + strings.Join(csvChannels, ", ")}
		}
		if !slices.ContainsFunc(r.Contact.DND, func(d crm.Channel) bool { return d.Name == name }) {
			r.Contact.DND = append(r.Contact.DND, crm.Channel{Name: name, On: true})
		}
	}
	return nil
}

// goodText wants UTF-8 without NUL, which no store of text takes.
func goodText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// unguard takes off the quote that an export puts before what a spreadsheet would run as a formula. An
// export puts one before any number of quotes and then one of = + - @ tab, CR or LF, phone numbers
// excepted; so taking off one gives back exactly what there was.
func unguard(cell string) string {
	if inner := strings.TrimLeft(cell, "'"); len(inner) < len(cell) && inner != "" && strings.IndexByte("=+-@\t\r\n", inner[0]) >= 0 {
		return cell[1:]
	}
	return cell
}

// unguarded gives what cells say.
func unguarded(cells []string) []string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = unguard(c)
	}
	return out
}
