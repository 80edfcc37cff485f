package server

import (
	"context"
	"io"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// auditorsVerbs are those that an auditor may call; each shows nothing that is personal to one. contact.list is
// for what is under a legal hold only.
var auditorsVerbs = []string{
	"account.show", "audit.export", "audit.key", "audit.list", "audit.verify", "contact.list", "event.status", "plugin.list",
	"policy.knobs", "policy.show", "retention.status", "run.get", "run.list", "workflow.list",
}

// fenced keeps auditors from all verbs but theirs, those that come later included.
func fenced(verbs map[string]handler) map[string]handler {
	for name, h := range verbs {
		if slices.Contains(auditorsVerbs, name) {
			continue
		}
		verbs[name] = func(ctx context.Context, a *App, by crm.Actor, request []byte, in io.Reader) (any, error) {
			if by.Role == crm.Auditor {
				return nil, crm.Errorf("call "+name, crm.CodeDenied, "an auditor may not").
					WithHint("auditors read the audit, retention, holds, the policy and the shape of runs")
			}
			return h(ctx, a, by, request, in)
		}
	}
	return verbs
}

// forAuditor leaves of a contact what an auditor may see: that it is held, and since when.
func forAuditor(v ContactView) ContactView {
	out := ContactView{ID: v.ID, State: v.State, Tags: []string{}, Lists: map[string]string{}, Held: v.Held, CreatedAt: v.CreatedAt,
		Epoch: v.Epoch, Revision: v.Revision, DeletedAt: v.DeletedAt, RestorableUntil: v.RestorableUntil}
	if v.Hold != nil {
		out.Hold = &crm.HoldNote{By: v.Hold.By, At: v.Hold.At}
	}
	return out
}

// runForAuditor leaves of a run its shape: what somebody wrote, or a plugin said, may be personal.
func runForAuditor(v *RunView) {
	if v.Status == crm.RunExited || v.Status == crm.RunCompleted || v.Status == crm.RunFailed {
		v.Reason = ""
	}
	for i := range v.Steps {
		s := &v.Steps[i]
		s.Message, s.Input, s.Output = "", nil, nil
		for j := range s.Tries {
			s.Tries[j].Message = ""
		}
	}
}
