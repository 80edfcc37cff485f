package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

const opAssociated = "import associated records"

// readAssociated reads one JSON object a line: a note, conversation, message, task, appointment or manual
// action of one contact, an opportunity of several, or a company. A message names its conversation, which
// must be in before it. A line has no columns: header gets
// one name for the whole of it. Each line that is not empty comes to
// yield or to reject, in the order of the file; an error of yield ends the reading and is returned.
// Any other error means that the file as a whole is unusable.
func readAssociated(r io.Reader, header func([]string), yield func(intakeItem) error, reject func(Reject)) error {
	lines, err := newIntakeLines(opAssociated, r, intakeField)
	if err != nil {
		return err
	}
	header([]string{"record"})
	seen := intakeSeen{}
	for {
		l, err := lines.next()
		if err != nil {
			return unread(opAssociated, err)
		}
		if l.blank() {
			continue
		}
		it, bad := readItem(l, seen)
		if bad != nil {
			reject(bad.reject(l.num, []string{string(trimEOL(l.text))}))
			continue
		}
		it.Row = shown([]string{string(trimEOL(l.text))})
		if err := yield(it); err != nil {
			return err
		}
	}
}

// itemJSON is a line as it is written.
type itemJSON struct {
	Kind, ID, Contact, Title, Body, Status, CreatedAt, Due, Name, Stage, Primary, Conversation string
	Cents                                                                                      int64
	Contacts                                                                                   []string
}

// The keys of a line, by what it is.
var (
	recordKeys      = []string{"kind", "id", "contact", "title", "body", "status", "created_at", "due"}
	messageKeys     = append([]string{"conversation"}, recordKeys...)
	opportunityKeys = []string{"kind", "id", "name", "stage", "status", "value_cents", "contacts", "primary"}
	companyKeys     = []string{"kind", "id", "name", "contacts"}
)

// readItem reads a line; seen learns its id if it is good.
func readItem(l intakeLine, seen intakeSeen) (intakeItem, *rowError) {
	switch {
	case l.long:
		return intakeItem{}, &rowError{rejectTooLarge, "the line is longer than 1 MiB"}
	case !goodText(string(l.text)):
		return intakeItem{}, &rowError{rejectEncoding, "the line is not UTF-8 text"}
	}
	raw, bad := decodeObject(l.text)
	if bad != nil {
		return intakeItem{}, bad
	}
	var j itemJSON
	if bad := j.decode(raw); bad != nil {
		return intakeItem{}, bad
	}
	it := intakeItem{Line: l.num, ID: strings.TrimSpace(j.ID)}
	it.Kind, _ = crm.ParseItemKind(j.Kind)
	keys := recordKeys
	switch {
	case it.Kind == crm.Opportunity:
		keys, bad = opportunityKeys, it.opportunity(j)
	case it.Kind == crm.Company:
		keys, bad = companyKeys, it.company(j)
	case it.Kind == crm.Message:
		keys, bad = messageKeys, it.message(j)
	case it.Kind.IsRecord():
		bad = it.record(j)
	default:
		return intakeItem{}, &rowError{rejectKind, "kind must be note, conversation, message, task, appointment, manual_action, opportunity or company"}
	}
	for key := range raw {
		if !slices.Contains(keys, key) { // the key itself may be what a person wrote
			return intakeItem{}, &rowError{rejectKey, "a " + it.Kind.String() + " has only the keys " + strings.Join(keys, ", ")}
		}
	}
	if bad == nil && it.ID == "" {
		bad = &rowError{rejectMissing, "id is missing"}
	}
	if bad != nil {
		return intakeItem{}, bad
	}
	return it, seen.add(l.num, "id of a "+it.Kind.String(), it.ID)
}

// decodeObject reads the members of one object. Unlike the standard decoder it tells keys by case and
// refuses one that is there twice: which of the two would count is nobody's to guess.
func decodeObject(line []byte) (map[string]json.RawMessage, *rowError) {
	d := json.NewDecoder(bytes.NewReader(line))
	broken := &rowError{rejectJSON, "the line is not one JSON object"}
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, broken
	}
	raw := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil, broken
		}
		if _, twice := raw[name]; twice {
			return nil, &rowError{rejectKey, "a key is there twice"}
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return nil, broken
		}
		raw[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, broken
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, broken
	}
	return raw, nil
}

// decode reads the values of the keys that exist.
func (j *itemJSON) decode(raw map[string]json.RawMessage) *rowError {
	into := map[string]any{"kind": &j.Kind, "id": &j.ID, "contact": &j.Contact, "title": &j.Title, "body": &j.Body,
		"status": &j.Status, "created_at": &j.CreatedAt, "due": &j.Due, "name": &j.Name, "stage": &j.Stage,
		"primary": &j.Primary, "value_cents": &j.Cents, "contacts": &j.Contacts, "conversation": &j.Conversation}
	for _, key := range append(slices.Clone(messageKeys), opportunityKeys...) {
		v, ok := raw[key]
		if !ok {
			continue
		}
		switch err := json.Unmarshal(v, into[key]); {
		case err != nil && key == "value_cents":
			return &rowError{rejectValue, "value_cents must be a whole number of hundredths"}
		case err != nil && key == "contacts":
			return &rowError{rejectValue, "contacts must be a list of texts"}
		case err != nil:
			return &rowError{rejectValue, key + " must be a text"}
		}
		if text, ok := into[key].(*string); ok && !goodText(*text) { // an escaped NUL
			return &rowError{rejectEncoding, key + " holds a character that no text has"}
		}
	}
	return nil
}

func (it *intakeItem) record(j itemJSON) *rowError {
	created, ok := intakeDate(j.CreatedAt)
	due, ok2 := intakeDate(j.Due)
	contact := strings.TrimSpace(j.Contact)
	switch {
	case contact == "":
		return &rowError{rejectMissing, "contact is missing: the id that the contact has in the other system"}
	case !ok || !ok2:
		return &rowError{rejectDate, "created_at and due must be like 2026-01-31T14:05:00Z"}
	}
	it.Contacts = []string{contact}
	it.Record = crm.Record{Kind: it.Kind, Title: j.Title, Body: j.Body, Status: j.Status, CreatedAt: created, Due: due}
	return nil
}

// message is a record with the conversation that it belongs to.
func (it *intakeItem) message(j itemJSON) *rowError {
	if it.Conversation = strings.TrimSpace(j.Conversation); it.Conversation == "" {
		return &rowError{rejectMissing, "conversation is missing: the id that the message's conversation has in the other system"}
	}
	return it.record(j)
}

func (it *intakeItem) opportunity(j itemJSON) *rowError {
	if bad := it.company(j); bad != nil {
		return bad
	}
	it.Primary = strings.TrimSpace(j.Primary)
	switch {
	case len(it.Contacts) == 0:
		return &rowError{rejectMissing, "contacts is missing: an opportunity needs at least one"}
	case it.Primary != "" && !slices.Contains(it.Contacts, it.Primary):
		return &rowError{rejectValue, "primary must be one of contacts"}
	}
	it.Object.Stage, it.Object.Status, it.Object.Cents = j.Stage, j.Status, j.Cents
	return nil
}

// company reads a name and contacts, each once; a company may have none.
func (it *intakeItem) company(j itemJSON) *rowError {
	it.Object = crm.Object{Kind: it.Kind, Name: strings.TrimSpace(j.Name)}
	if it.Object.Name == "" {
		return &rowError{rejectMissing, "name is missing"}
	}
	seen := map[string]bool{}
	for _, c := range j.Contacts {
		if c = strings.TrimSpace(c); c == "" || seen[c] {
			return &rowError{rejectValue, "contacts must be ids, each once"}
		}
		seen[c] = true
		it.Contacts = append(it.Contacts, c)
	}
	return nil
}
