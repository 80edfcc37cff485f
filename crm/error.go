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
)

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
	case "", CodeCorrupt, CodeNewer, CodeDiskFull, CodeStopped, CodeUnavailable:
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
