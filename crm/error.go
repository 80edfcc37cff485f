package crm

import (
	"errors"
	"fmt"
)

// The stable codes of errors. A code never changes its meaning; the texts around it may.
const (
	CodeInvalid      = "invalid"       // the request cannot be understood or breaks a rule of form
	CodeNotFound     = "not_found"     // nothing has that id
	CodePurged       = "purged"        // the contact was purged; it cannot come back
	CodeDeleted      = "deleted"       // the contact is deleted: restore it first
	CodeNotDeleted   = "not_deleted"   // a restore or a sweep met a live contact
	CodeDenied       = "denied"        // the role may not do this
	CodeHIPAA        = "hipaa"         // a HIPAA account restores nothing
	CodeHeld         = "held"          // a legal hold forbids deletion and purge
	CodeNoGrant      = "no_grant"      // the workflow was not granted this effect
	CodeEnrolled     = "enrolled"      // the policy blocks deleting an enrolled contact
	CodeWindowPassed = "window_passed" // the recovery window is over
	CodeWindowOpen   = "window_open"   // the recovery window is still open: not purgeable yet
	CodeConflict     = "conflict"      // another live contact holds the e-mail or phone, or the id exists
	CodeStale        = "stale"         // the epoch moved on since the caller looked
	CodeConfirm      = "confirm"       // a confirmation is missing
	CodeLocked       = "locked"        // another process has the data directory open
	CodeCorrupt      = "corrupt"       // the store file is damaged or is not one
	CodeNewer        = "newer_format"  // written by a newer version of Reprieve
	CodeDiskFull     = "disk_full"     // too little free space to take new work
	CodeStopped      = "stopped"       // the store stopped itself after a failed commit
	CodeUnavailable  = "unavailable"   // the server or a plugin did not answer
	CodeHeldClock    = "clock_held"    // the clock went backwards: sweeps wait
	CodeUnknown      = "unknown"       // a call's outcome cannot be known
	CodeAssociated   = "associated"    // the policy blocks deleting a contact that still has such data
	CodeLimited      = "limited"       // a limit of the policy is reached
	CodeExport       = "export_needed" // the policy wants an export before the delete
	CodeRestoreOff   = "restore_off"   // the policy has restores switched off
	CodeRunning      = "running"       // such an operation is running already
	CodeOptedOut     = "opted_out"     // a workflow may not put somebody back on a list who has opted out of it
	CodeFailed       = "failed"        // something outside the rules: the file system, say
)

// Codes says of each code what it means, in a sentence for people. What has to be done is in the hint
// of the error itself.
var Codes = map[string]string{
	CodeInvalid:      "The request cannot be understood, or breaks a rule of form; nothing was done.",
	CodeNotFound:     "Nothing has that id, address or name.",
	CodePurged:       "The contact was purged at the end of its recovery window, or erased; it cannot come back.",
	CodeDeleted:      "The contact is deleted; it can be restored until its recovery window ends, and takes no change before.",
	CodeNotDeleted:   "The contact is live, so there is nothing to restore or to sweep.",
	CodeDenied:       "The role of who asks may not do this under the account's policy.",
	CodeHIPAA:        "The account is a HIPAA account: its deletions are not undone.",
	CodeHeld:         "The contact is under a legal hold, which forbids deleting and purging it until it is lifted.",
	CodeNoGrant:      "The workflow may delete, restore or purge contacts only once an admin has granted it that.",
	CodeEnrolled:     "The policy does not let a contact be deleted while it is enrolled.",
	CodeWindowPassed: "The recovery window is over: the contact cannot be restored, purged yet or not.",
	CodeWindowOpen:   "The recovery window is still open: the contact cannot be purged yet.",
	CodeConflict:     "What is asked for meets something that is there: the same address, the same id, or more than one match.",
	CodeStale:        "Something changed since it was looked at; look again and decide anew.",
	CodeConfirm:      "The act has to be confirmed by its word, and was not; nothing was done.",
	CodeLocked:       "Another process has the data directory open.",
	CodeCorrupt:      "The store file is damaged, or is no store; it was left as it is.",
	CodeNewer:        "A newer version of Reprieve wrote the file or a row of it.",
	CodeDiskFull:     "Too little space is free to take new work; reads go on.",
	CodeStopped:      "The store stopped itself after a commit of which nobody knows whether it is on the disk.",
	CodeUnavailable:  "The server or a plugin did not answer, or broke off in the middle.",
	CodeHeldClock:    "The clock is behind an instant that the store has seen, so sweeps wait.",
	CodeUnknown:      "A call to the outside world was made, and whether it had its effect cannot be known.",
	CodeAssociated:   "The policy does not let a contact be deleted that still has associated data of this kind.",
	CodeLimited:      "A limit of the policy is reached: so many deletes by a workflow, say, or so many selected contacts.",
	CodeExport:       "The policy wants the contact exported before it is deleted.",
	CodeRestoreOff:   "The account's policy has restores switched off.",
	CodeRunning:      "Such an operation is running on the account already; it has to end first.",
	CodeOptedOut:     "The contact has opted out of the list; a workflow puts it back only where its author says so.",
	CodeFailed:       "Something failed that no rule foresees, the file system for one; the message says what.",
}

// Error is the one error type of the product. Its text never holds personal data: it names things
// by id and never repeats a value.
type Error struct {
	Op      string    // what was being done: "restore a contact"
	Code    string    // one of the codes above
	Contact ContactID // which contact, if it was about one
	Err     error     // why
	Hint    string    // what to do next
}

// Error says what happened, to what, and why; the hint is printed beside it, not in it.
func (e *Error) Error() string {
	s := e.Op
	if !e.Contact.IsZero() {
		s += " " + e.Contact.String()
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is compares by code, so that errors.Is(err, &Error{Code: CodeHeld}) asks the question.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf gives the code of the first Error in err's chain, or "" if there is none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// IsRefusal says whether err is an Error that a rule gave: the request was refused and nothing is the
// matter with the store. What the store itself says (damaged, full, stopped) is none.
func IsRefusal(err error) bool {
	switch CodeOf(err) {
	case "", CodeCorrupt, CodeNewer, CodeDiskFull, CodeStopped, CodeUnavailable, CodeFailed:
		return false
	}
	return true
}

// Errorf makes an Error without a contact.
func Errorf(op, code, format string, args ...any) *Error {
	return &Error{Op: op, Code: code, Err: fmt.Errorf(format, args...)}
}

// WithHint sets what to do next and returns the error.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// About sets the contact and returns the error.
func (e *Error) About(c ContactID) *Error {
	e.Contact = c
	return e
}
