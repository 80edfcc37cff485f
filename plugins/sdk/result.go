package sdk

import (
	"encoding/json"
	"errors"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// Result is what an action decided for one item: Done or Skip makes it.
type Result struct {
	Effects []Effect
	Output  any    // what later steps see; anything that encodes to JSON, at most 64 KiB
	Skipped string // why nothing was to be done; "" when something was
}

// Done says that the item is decided. The host commits all effects in their order, or none.
func Done(effects ...Effect) Result { return Result{Effects: effects} }

// Skip says that there was nothing to do, and why.
func Skip(reason string) Result {
	if reason == "" {
		reason = "nothing to do"
	}
	return Result{Skipped: reason}
}

// WithOutput adds what later steps can see of the result.
func (r Result) WithOutput(v any) Result {
	r.Output = v
	return r
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

// outcome turns what Run returned into an answer.
func outcome(key string, r Result, err error) *actionv1.Outcome {
	if err == nil {
		var done *actionv1.Done
		if r.Skipped != "" {
			return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Skip{Skip: &actionv1.Skip{Reason: r.Skipped}}}
		}
		if done, err = r.wire(); err == nil {
			return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Done{Done: done}}
		}
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

func (r Result) wire() (*actionv1.Done, error) {
	done := &actionv1.Done{}
	for _, e := range r.Effects {
		w, err := e.wire()
		if err != nil {
			return nil, err
		}
		done.Effects = append(done.Effects, w)
	}
	if r.Output != nil {
		out, err := json.Marshal(r.Output)
		if err != nil {
			return nil, Fail("bad_output", "the output cannot be written as JSON")
		}
		if len(out) > actionv1.MaxOutput {
			return nil, Fail("bad_output", "the output is over 64 KiB")
		}
		done.OutputJson = out
	}
	return done, nil
}
