package server

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
)

// The bounds of what a person or a file may write. Addresses follow the same rules by every door:
// validEmail and validPhone.
const (
	maxTag       = 200      // runes
	maxFieldName = 100      // runes
	maxFieldText = 64 << 10 // bytes; an expression looks at no longer text
	maxReason    = 1000     // runes
)

// MaxPage is how many contacts or runs one call lists at most.
const MaxPage = 10_000

// control says whether a text holds a character that is none to be seen: a name with one would look
// like another name, or do something to a terminal.
func control(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s)
}

// badName says what is wrong with the name of a tag or a field, "" if nothing is.
func badName(what, s string, limit int) string {
	switch s = strings.TrimSpace(s); {
	case s == "":
		return "a " + what + " is empty"
	case utf8.RuneCountInString(s) > limit:
		return fmt.Sprintf("a %s has more than %d characters", what, limit)
	case control(s):
		return "a " + what + " holds a control character"
	}
	return ""
}

// checkFacts says what is wrong with the facts that somebody wants to write. An empty address is no
// address.
func checkFacts(op, email, phone string, tags []string, fields map[string]string) error {
	bad := func(text, hint string) error { return crm.Errorf(op, crm.CodeInvalid, "%s", text).WithHint("%s", hint) }
	if email != "" && !validEmail(email) {
		return bad("the e-mail address is not one that mail can be sent to", "write it like someone@example.org")
	}
	if phone != "" && !validPhone(phone) {
		return bad("the phone number must have 7 to 15 digits and no letters, with + only in front", "write it like +12025550199")
	}
	if len(tags) > intakeNames {
		return bad(fmt.Sprintf("there are more than %d tags", intakeNames), "write them in several calls")
	}
	for _, t := range tags {
		if text := badName("tag", t, maxTag); text != "" {
			return bad(text, fmt.Sprintf("a tag has 1 to %d characters that can be seen", maxTag))
		}
	}
	for name, value := range fields {
		if text := badName("field's name", name, maxFieldName); text != "" {
			return bad(text, fmt.Sprintf("a field's name has 1 to %d characters that can be seen", maxFieldName))
		}
		if len(value) > maxFieldText || !goodText(value) {
			return bad("a field's value is longer than 64 KiB, or no text", "keep long texts in a record")
		}
	}
	return nil
}

// checkReason bounds the words that somebody gives for an act.
func checkReason(op, reason string) error {
	if utf8.RuneCountInString(reason) > maxReason || !goodText(reason) {
		return crm.Errorf(op, crm.CodeInvalid, "the reason has more than %d characters, or is no text", maxReason).
			WithHint("give it in a sentence")
	}
	return nil
}

// somebody wants a contact that can be told from others, as an import does.
func somebody(op string, c *crm.Contact) error {
	if len(c.Identities()) > 0 || c.Field("first_name").Text != "" || c.Field("last_name").Text != "" {
		return nil
	}
	return crm.Errorf(op, crm.CodeInvalid, "it would have no name, no e-mail address, no phone number and no external id").
		WithHint("give at least one of --email, --phone, --field first_name=…, --field last_name=…")
}

// allow refuses what the account's policy does not let the caller's role do, where no mutation asks it.
func (c *call) allow(acc *crm.Account, op string, v crm.Verb) error {
	if acc.Policy.Allows(c.by.Role, v) {
		return nil
	}
	return crm.Errorf(op, crm.CodeDenied, "the role %q may not use %s", c.by.Role, v).
		WithHint("ask an admin of the account, or have the policy allow it")
}

// admin refuses everybody but admins: for what no policy hands on.
func (c *call) admin(op string) error {
	if c.by.Role == crm.Admin {
		return nil
	}
	return crm.Errorf(op, crm.CodeDenied, "only an admin may").WithHint("ask an admin of the account")
}
