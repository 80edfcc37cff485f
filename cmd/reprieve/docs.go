package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// explanation is what there is to know of a code.
type explanation struct {
	Code    string `json:"code"`
	Meaning string `json:"meaning"`
	workflow.Cure
}

// stepCodes are the codes that a step fails with and that no table of another package has: those of the engine, of
// the plugin host and of the built-in actions. A plugin may have codes of its own.
var stepCodes = map[string]string{
	"bad_effect":     "The plugin asked for an effect that says nothing that can be done.",
	"bad_outcome":    "The plugin gave an outcome that is none.",
	"bad_output":     "The plugin's output is no JSON, or over 64 KiB.",
	"bad_target":     "The plugin asked for an effect on a contact that the step was not about.",
	"many_effects":   "The plugin asked for more than 100 effects for one contact.",
	"no_result":      "The plugin answered without a result.",
	"not_sent":       "The call never reached the plugin; it is tried again.",
	"protocol":       "The plugin left the call out of its answer, or answered it twice.",
	"target_state":   "The plugin asked for an effect that a contact in this state does not take: a deleted one can only be restored or purged.",
	"too_large":      "What is sent for one contact is over 1 MiB, or what came back is too large.",
	"undeclared":     "The plugin asked for an effect that its action does not declare; the host takes none of it.",
	"error":          "The action failed for a reason that it has no code for; its message says which.",
	"expression":     "An expression of the step gave no value when the run got there: something was missing, or of another kind than it needs.",
	"failed":         "The action, or the mock of a test, failed.",
	"http_":          "The server answered with this status, which is neither a success nor one that is tried again.",
	"invalid_params": "The parameters, filled in, are not what the action takes.",
	"no_contact":     "The step's action changes a contact, and the run has none.",
	"not_allowed":    "The operator has not allowed the server that http.request is to talk to.",
	"not_configured": "The operator has not set what the action needs.",
	"not_mocked":     "In a test: the action is not built in, and the case does not say what it comes to.",
	"not_public":     "The server's name leads to an address that is not a public one.",
	"other_columns":  "The file that csv.export adds to has other columns.",
	"panic":          "The plugin crashed on this item.",
	"timeout":        "An attempt took longer than the step's timeout or the action's own; as the reason of a run: run.timeout was over.",
	"window":         "The window that a wait is for does not open within two weeks.",
}

// codeCures say what to do about codes of errors and of steps.
var codeCures = map[string]string{
	"conflict":       "The message names what it met. A deleted contact never blocks its address; two live ones do only where the policy wants them unique.",
	"confirm":        "Give the word by --confirm, or sit at a terminal and type it.",
	"denied":         "docs/policy.md says which role may do what; an admin can change it.",
	"enrolled":       "End its runs and campaign enrollments first, or set when_enrolled in the policy.",
	"error":          "reprieve run get RUN shows the message; then reprieve run retry RUN.",
	"expression":     "Give a default for what can be missing, contact.fields.plan ?? \"none\", and make numbers of text: float(contact.fields.score ?? \"0\"). Then apply the file, and reprieve run retry RUN --current.",
	"held":           "reprieve contact hold CONTACT --lift, by somebody who may.",
	"http_":          "Look at the server's own log. A status that should be tried again stands under retry: {on: [http_404]} of the step.",
	"invalid_params": "reprieve run get RUN shows what was sent; docs/actions.md what the action takes.",
	"locked":         "A server is running on that data directory: the same command talks to it by itself when it may; else stop it, or name another --data.",
	"no_contact":     "Use it in a workflow that runs for a contact.",
	"no_grant":       "An admin gives it with the apply: reprieve workflow apply FILE --grant contact.delete. Then reprieve run retry RUN.",
	"not_allowed":    "Set allow for http.request in actions.yaml: docs/operations.md. Then reprieve run retry RUN.",
	"not_configured": "Set it in actions.yaml: docs/operations.md. Then reprieve run retry RUN.",
	"not_found":      "An id is con_, run_ or the like; a contact is found by its e-mail, phone and external id too.",
	"not_mocked":     "Say it under mocks of the case: mocks: {acme.score: {status: done, output: {score: 7}}}.",
	"not_public":     "http.request talks to the public Internet alone, so that no workflow reaches what is inside.",
	"opted_out":      "The step may say that it is meant: resubscribe: true of list.add, where the law allows it.",
	"restore_off":    "restore.enabled of the policy switches them on.",
	"stale":          "Do it again: the contact was deleted, restored or changed in between.",
	"timeout":        "Give it longer by timeout: of the step, or let it be tried again: retry: {attempts: 5, on: [timeout]}.",
	"unknown":        "Look at the other side whether it happened. reprieve run retry RUN --force makes the call again, under the same key.",
	"window_open":    "Wait for the sweep, which purges what is past its deadline; an erasure, which a person asks for, does not: reprieve contact purge CONTACT.",
	"window_passed":  "Nothing brings it back. The window is policy: reprieve policy show.",
}

var diagnosticForm = regexp.MustCompile(`^[EeWw][0-9]+$`)
var httpForm = regexp.MustCompile(`^http_[1-5][0-9]{2}$`)

// explainCode finds a code in whichever table has it.
func explainCode(code string) (explanation, bool) {
	key := strings.ToLower(strings.Trim(code, "[]"))
	if diagnosticForm.MatchString(key) {
		key = strings.ToUpper(key)
	}
	e := explanation{Code: key, Cure: workflow.Cures[key]}
	if httpForm.MatchString(key) {
		key = "http_"
	}
	if say := codeCures[key]; say != "" {
		e.Say = say
	}
	for _, codes := range []map[string]string{triggers.Codes, workflow.Codes, crm.Codes, stepCodes} {
		if text, ok := codes[key]; ok && e.Meaning == "" {
			e.Meaning = text
		}
	}
	return e, e.Meaning != "" && e.Code != "http_"
}

func (c *cli) docs() *cobra.Command {
	return &cobra.Command{Use: "docs CODE", Short: "Explain a code: of a diagnostic (E101), of an error (conflict) or of a step that failed (not_allowed)", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		e, ok := explainCode(args[0])
		if !ok {
			var all []string
			for _, codes := range []map[string]string{triggers.Codes, workflow.Codes, crm.Codes, stepCodes} {
				all = append(all, slices.Collect(maps.Keys(codes))...)
			}
			slices.Sort(all)
			return crm.Errorf("explain a code", crm.CodeNotFound, "there is no code %q", args[0]).
				WithHint("a code stands in brackets: error[E104] of a file, error[conflict] of a command; a plugin may have codes of its own. Known: %s", strings.Join(all, " "))
		}
		if c.format != "table" {
			return c.print(e, nil, table{{"code", "meaning", "wrong", "right", "say"}, {e.Code, e.Meaning, e.Wrong, e.Right, e.Say}})
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s: %s\n", e.Code, e.Meaning)
		for _, part := range [][2]string{{"for example", e.Wrong}, {"write", e.Right}} {
			if part[1] != "" {
				fmt.Fprintf(&b, "\n%s:\n    %s\n", part[0], strings.ReplaceAll(part[1], "\n", "\n    "))
			}
		}
		if e.Say != "" {
			fmt.Fprintf(&b, "\n%s\n", e.Say)
		}
		_, err := io.WriteString(c.out, b.String())
		return err
	}}
}
