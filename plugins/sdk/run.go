package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	goruntime "runtime"
	"runtime/debug"
)

// Effects are what an action asks the host to change. They are committed in their order with the step's
// result, or none is. An action's answer is Effects, or a struct that embeds them beside its output:
//
//	type flagged struct {
//		sdk.Effects `json:"-"`
//		Plan string `json:"plan"`
//	}
//
// Any other answer is output alone, and struct{} is none.
type Effects []Effect

// Runner decides the items of an action. Func and Batch make it.
type Runner struct {
	in     reflect.Type
	shape  shape
	batch  bool
	err    error // what is wrong with the types, for the author
	decide func(ctx context.Context, calls []Call, params []json.RawMessage) []decision
}

// decision is what a function answered for one item.
type decision struct {
	effects Effects
	output  []byte
	err     error
}

// Func makes a Runner of a function that decides one item. In is a struct: its type gives the JSON schema of
// the parameters, closed against unknown names. Field tags: json:"name,omitempty" for optional,
// jsonschema:"description", enum:"a,b", pattern:"^[a-z]+$", and on a field _ struct{} minProperties:"1". What Out may be stands at Effects. The error is nil, or made by Skip,
// Retry or Fail; any other fails the item under the code "error". A panic fails it under "panic".
func Func[In, Out any](decide func(ctx context.Context, call Call, in In) (Out, error)) Runner {
	r := runnerOf[In, Out]()
	r.decide = func(ctx context.Context, calls []Call, params []json.RawMessage) []decision {
		out := make([]decision, len(calls))
		for i, call := range calls {
			guard(calls[i:i+1], out[i:i+1], func() {
				in, err := decoded[In](params[i])
				if err != nil {
					out[i].err = err
					return
				}
				answer, err := decide(ctx, call, in)
				out[i] = r.decision(answer, err)
			})
		}
		return out
	}
	return r
}

// Item is one item of a Batch.
type Item[In any] struct {
	Call
	In In
}

// Outcome is what a Batch answers for one item: as the two results of a Func.
type Outcome[Out any] struct {
	Out Out
	Err error
}

// Batch makes a Runner of a function that decides all items of a call at once, up to 1000, for an action that
// has a cheaper way to do many. It answers each item, in the items' order; a panic, or another number of
// answers, fails all of them. Of answers that together are over 4 MiB those that do not fit are asked for
// again, so an action that is External and not Idempotent keeps its outcomes small.
func Batch[In, Out any](decide func(ctx context.Context, items []Item[In]) []Outcome[Out]) Runner {
	r := runnerOf[In, Out]()
	r.batch = true
	r.decide = func(ctx context.Context, calls []Call, params []json.RawMessage) []decision {
		out := make([]decision, len(calls))
		var items []Item[In]
		var some []Call
		var at []int
		for i, call := range calls {
			in, err := decoded[In](params[i])
			if err != nil {
				out[i].err = err
				continue
			}
			items, some, at = append(items, Item[In]{call, in}), append(some, call), append(at, i)
		}
		got := make([]decision, len(items))
		guard(some, got, func() {
			answers := decide(ctx, items)
			for i := range got {
				if len(answers) != len(items) {
					got[i].err = Fail("bad_outcome", fmt.Sprintf("the action answered %d of %d items", len(answers), len(items)))
					continue
				}
				got[i] = r.decision(answers[i].Out, answers[i].Err)
			}
		})
		for i, d := range got {
			out[at[i]] = d
		}
		return out
	}
	return r
}

func runnerOf[In, Out any]() Runner {
	r := Runner{in: reflect.TypeFor[In]()}
	r.shape, r.err = shapeOf(reflect.TypeFor[Out]())
	return r
}

func (r Runner) decision(answer any, err error) (d decision) {
	if err != nil {
		return decision{err: err}
	}
	d.effects, d.output, d.err = r.shape.split(answer)
	return d
}

// guard turns a panic into a failure of the items that were being decided, and of no others.
func guard(calls []Call, out []decision, decide func()) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		// The value may be anything, a contact too; only the language's own errors are told.
		what := fmt.Sprintf("%T", v)
		if e, ok := v.(goruntime.Error); ok {
			what = e.Error()
		}
		calls[0].log().Error("the action panicked", "panic", what, "stack", string(debug.Stack()))
		for i := range out {
			out[i] = decision{err: Fail("panic", "the action panicked").WithHint("the plugin's log has the stack")}
		}
	}()
	if len(calls) > 0 {
		decide()
	}
}
