package plugins

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// settle checks a reply against the items it is for. What can be put down to an item fails that
// item; a key that was never sent cannot, and is an error for the whole reply.
func settle(s Spec, items []Item, reply []*actionv1.Outcome) ([]Outcome, error) {
	at := make(map[string]int, len(items))
	for i, it := range items {
		at[it.Key] = i
	}
	out := make([]Outcome, len(items))
	for _, o := range reply {
		i, known := at[o.GetIdempotencyKey()]
		switch {
		case !known:
			return nil, crm.Errorf("run "+s.Action, crm.CodeInvalid, "plugin %s answers an item that it was not sent", s.Plugin).
				WithHint("report this to the plugin's author; nothing of the answer was used")
		case out[i].Status != NoOutcome:
			out[i] = failed(CodeProtocol, "the plugin answered the item twice")
		default:
			out[i] = s.accept(items[i], o)
		}
	}
	for i := range out {
		if out[i].Status == NoOutcome {
			out[i] = failed(CodeProtocol, "the plugin left the item out")
		}
	}
	return out, nil
}

func failed(code, format string, args ...any) Outcome {
	return Outcome{Status: Fail, Code: code, Message: fmt.Sprintf(format, args...), Hint: "report this to the plugin's author"}
}

// accept turns one answer into an outcome, or into a failure if the action may not answer so.
func (s Spec) accept(it Item, o *actionv1.Outcome) Outcome {
	switch r := o.GetResult().(type) {
	case *actionv1.Outcome_Done:
		return s.done(it, r.Done)
	case *actionv1.Outcome_Skip:
		return Outcome{Status: Skip, Message: clean(r.Skip.GetReason())}
	case *actionv1.Outcome_Retry:
		if r.Retry.GetUnrun() {
			return Outcome{Status: Retry, Code: CodeNotSent, Message: clean(r.Retry.GetReason())}
		}
		return Outcome{Status: Retry, After: crm.Nanos(max(0, r.Retry.GetAfterNanos())), Message: clean(r.Retry.GetReason())}
	case *actionv1.Outcome_Fail:
		// A code is shown and logged in the open; what is none is taken for words, which are sealed.
		code, message := r.Fail.GetCode(), r.Fail.GetMessage()
		if !isCode(code) {
			if code != "" {
				message = code + ": " + message
			}
			code = codeFailed
		}
		return Outcome{Status: Fail, Code: code, Message: clean(message), Hint: clean(r.Fail.GetHint())}
	}
	return failed(CodeNoResult, "the plugin answered without a result")
}

// isCode says whether a plugin's code is one: up to 64 of a to z, 0 to 9, dot and underscore.
func isCode(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._") == ""
}

func (s Spec) done(it Item, d *actionv1.Done) Outcome {
	out := Outcome{Status: Done, Output: d.GetOutputJson()}
	if len(out.Output) > actionv1.MaxOutput || len(out.Output) > 0 && !json.Valid(out.Output) {
		return failed(CodeBadOutput, "the output is no JSON or over 64 KiB")
	}
	if n := len(d.GetEffects()); n > actionv1.MaxEffects {
		return failed(CodeManyEffects, "the item has %d effects; %d are allowed", n, actionv1.MaxEffects)
	}
	state := make([]crm.State, len(it.Targets))
	for i, t := range it.Targets {
		state[i] = t.Life.State
	}
	for _, w := range d.GetEffects() {
		e, index := effectOf(w)
		switch {
		case e.Kind == "":
			return failed(CodeBadEffect, "the effect is of a kind that this host does not know")
		case !s.Allows(e.Kind):
			return failed(CodeUndeclared, "the action did not declare the effect %s", e.Kind)
		case uint64(index) >= uint64(len(state)):
			return failed(CodeBadTarget, "the item has %d targets and the effect names number %d", len(state), index)
		case !takes(state[index], e.Kind):
			return failed(CodeDeadTarget, "a contact that was %s does not take %s, nor one that this item deletes, restores or purges", it.Targets[index].Life.State, e.Kind)
		}
		if why := e.flaw(); why != "" {
			return failed(CodeBadEffect, "%s", why)
		}
		e.Target = int(index)
		state[index] = after(state[index], e.Kind)
		out.Effects = append(out.Effects, e)
	}
	return out
}
