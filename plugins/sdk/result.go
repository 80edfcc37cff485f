package sdk

import (
	"errors"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// SkipError says that there was nothing to do. Skip makes it.
type SkipError struct{ Reason string }

// Error gives the reason.
func (e *SkipError) Error() string { return e.Reason }

// Skip is the error to return when there was nothing to do, and why; the run goes on. The reason is kept in
// the run's journal: no personal data.
func Skip(reason string) error {
	if reason == "" {
		reason = "nothing to do"
	}
	return &SkipError{Reason: reason}
}

// RetryError says that the item should be tried again. Retry makes it.
type RetryError struct {
	After time.Duration
	Err   error
}

// Error gives the reason.
func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *RetryError) Unwrap() error { return e.Err }

// Retry is the error to return when the item should be tried again, not before after has passed.
// The text of err is kept in the run's journal: no personal data.
func Retry(after time.Duration, err error) error {
	if err == nil {
		err = errors.New("to be tried again")
	}
	return &RetryError{After: after, Err: err}
}

// FailError says that the item has failed for good. Fail makes it.
type FailError struct {
	Code    string // stable: workflows compare it
	Message string // no personal data
	Hint    string // what to do about it
}

// Error gives the message.
func (e *FailError) Error() string { return e.Message }

// WithHint adds what to do about it.
func (e *FailError) WithHint(hint string) *FailError {
	e.Hint = hint
	return e
}

// Fail is the error to return when trying again would not help. Any other error fails the item
// under the code "error". The texts are kept in the run's journal: no personal data.
func Fail(code, message string) *FailError { return &FailError{Code: code, Message: message} }

// wire turns a decision into an answer.
func (d decision) wire(key string) *actionv1.Outcome {
	err := d.err
	if err == nil {
		var done *actionv1.Done
		if done, err = d.done(); err == nil {
			return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Done{Done: done}}
		}
	}
	var skip *SkipError
	if errors.As(err, &skip) {
		return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Skip{Skip: &actionv1.Skip{Reason: skip.Reason}}}
	}
	var retry *RetryError
	if errors.As(err, &retry) {
		return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Retry{
			Retry: &actionv1.Retry{AfterNanos: int64(max(0, retry.After)), Reason: retry.Error()}}}
	}
	fail := &FailError{Code: "error", Message: err.Error()}
	errors.As(err, &fail)
	return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Fail{
		Fail: &actionv1.Fail{Code: fail.Code, Message: fail.Message, Hint: fail.Hint}}}
}

func (d decision) done() (*actionv1.Done, error) {
	done := &actionv1.Done{OutputJson: d.output}
	for _, e := range d.effects {
		w, err := e.wire()
		if err != nil {
			return nil, err
		}
		done.Effects = append(done.Effects, w)
	}
	return done, nil
}
