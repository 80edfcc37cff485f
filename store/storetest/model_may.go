package storetest

import (
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// predict gives the codes of all that stands in the way of a mutation, in the order in which the store
// finds it: the first is what it must refuse it for, none means that it must not refuse it. A preview
// must foresee them all.
func (m *model) predict(why crm.Cause, mut crm.Mutation) []string {
	if create, ok := mut.(crm.Create); ok {
		return m.mayCreate(create.Contact)
	}
	if lifecycle(mut) && why.Kind == "workflow" && !m.workflows[why.Workflow].granted {
		return []string{"no_grant"}
	}
	c := m.of(mut.Target())
	if c.state == "purged" {
		return []string{"purged"}
	}
	switch mut := mut.(type) {
	case crm.Hold:
		return nil
	case crm.Restore:
		if c.state == "live" {
			return []string{"not_deleted"}
		}
		return m.mayRestore(c, why)
	case crm.Purge:
		if c.state == "live" && !mut.Erasure {
			return []string{"not_deleted"}
		}
		return m.mayPurge(c, why, mut.Erasure)
	case crm.Discard:
		return m.mayDiscard(c, why)
	}
	if c.state == "deleted" {
		return []string{"deleted"}
	}
	if del, ok := mut.(crm.Delete); ok {
		return m.mayDelete(c, why, del)
	}
	if code := m.mayChange(c, mut); code != "" {
		return []string{code}
	}
	return nil
}

// lifecycle says whether a workflow needs a grant.
func lifecycle(mut crm.Mutation) bool {
	switch mut.(type) {
	case crm.Delete, crm.Restore, crm.Purge:
		return true
	}
	return false
}

func (m *model) mayCreate(c crm.Contact) []string {
	for _, l := range c.Lists {
		if !m.lives(crm.List, l.List) {
			return []string{"not_found"}
		}
	}
	if m.taken("email", c.Email.Value, nil) || m.taken("phone", c.Phone.Value, nil) {
		return []string{"conflict"}
	}
	for _, t := range c.Tags {
		if m.tag(t.Name).leaving {
			return []string{"running"}
		}
	}
	return nil
}

// mayDelete asks the hold, then the policy: enrollments, associated data, an export, and the limits of
// a workflow. The run that deletes is no enrollment.
func (m *model) mayDelete(c *mContact, why crm.Cause, del crm.Delete) (codes []string) {
	rules := m.policy.Delete
	if c.held {
		codes = append(codes, "held")
	}
	if rules.WhenEnrolled == "block" && m.enrolled(c, why.Run) {
		codes = append(codes, "enrolled")
	}
	if m.blocked(c) {
		codes = append(codes, "associated")
	}
	if rules.ExportBefore == "required" && del.Exported == "" {
		codes = append(codes, "export_needed")
	}
	if why.Kind != "workflow" {
		return codes
	}
	w, live, now := m.workflows[why.Workflow], 0, m.now()
	for _, c := range m.contacts {
		if c.state == "live" {
			live++
		}
	}
	if n := rules.Limits.WorkflowPerHour; n > 0 && w.deletesSince(now-now%crm.Hour) >= n {
		codes = append(codes, "limited")
	}
	today := w.deletesSince(now - now%crm.Day) // of those who were live this morning, about
	if p := rules.Limits.WorkflowPercentPerDay; p > 0 && today >= rules.Limits.PercentFrom && (today+1)*100 > p*(live+today) {
		codes = append(codes, "limited")
	}
	return codes
}

func (m *model) enrolled(c *mContact, but crm.RunID) bool {
	for _, l := range c.links {
		if l.kind == crm.Campaign && c.runnable(&l.mStanding) && m.lives(l.kind, l.id) {
			return true
		}
	}
	for _, r := range c.runs {
		if r.id != but && c.underway(r) && !m.workflows[r.workflow].gone {
			return true
		}
	}
	return false
}

// blocked says whether the contact has something alive that the policy does not let go along.
func (m *model) blocked(c *mContact) bool {
	rules := m.policy.Delete.Associated
	for _, l := range c.links {
		if l.kind == crm.Opportunity && rules[l.kind] == "block" && !l.left && m.lives(l.kind, l.id) {
			return true
		}
	}
	for _, r := range c.records {
		if !r.removed && r.kind != crm.Message && rules[r.kind] == "block" && c.alive(r) {
			return true
		}
	}
	return false
}

// mayRestore asks the account, then the clock, then whoever holds an address by now. A contact of a bulk
// restore is judged by the time at which that was accepted.
func (m *model) mayRestore(c *mContact, why crm.Cause) (codes []string) {
	switch {
	case m.hipaa:
		codes = append(codes, "hipaa")
	case !m.policy.Restore.Enabled:
		codes = append(codes, "restore_off")
	}
	at := m.now()
	if b := m.bulk(why.Operation); b != nil && !b.ended {
		at = b.accepted
	}
	if m.policy.Retention.AfterWindow == "refuse" && at >= c.until {
		codes = append(codes, "window_passed")
	}
	for _, name := range []string{"email", "phone"} {
		if m.policy.Restore.Conflict != "drop_identifier" && m.taken(name, c.has(name), c) {
			codes = append(codes, "conflict")
		}
	}
	return codes
}

// mayPurge: nothing overrides a hold, an erasure overrides the window and is in no sweep.
func (m *model) mayPurge(c *mContact, why crm.Cause, erasure bool) (codes []string) {
	if c.held {
		codes = append(codes, "held")
	}
	if !erasure && m.now() < c.until {
		codes = append(codes, "window_open")
	}
	if !erasure && m.restoring() > 0 {
		codes = append(codes, "running")
	}
	return codes
}

func (m *model) mayDiscard(c *mContact, why crm.Cause) []string {
	switch {
	case c.leftUntil() == 0:
		return nil
	case c.held:
		return []string{"held"}
	case m.now() < c.leftUntil():
		return []string{"window_open"}
	case m.restoring() > 0:
		return []string{"running"}
	}
	return nil
}

// mayChange gives the code for which a change to a live contact, or to what hangs on it, is refused.
func (m *model) mayChange(c *mContact, mut crm.Mutation) string {
	when := func(refused bool, code string) string {
		if refused {
			return code
		}
		return ""
	}
	switch mut := mut.(type) {
	case crm.AddTag:
		return when(c.has("tag/"+strings.ToLower(mut.Tag)) == "" && m.tag(mut.Tag).leaving, "running")
	case crm.SetMembership:
		return when(mut.Status != "" && !m.lives(crm.List, mut.List), "not_found")
	case crm.SetIdentity:
		return when(c.has(mut.Name) != mut.Value && m.taken(mut.Name, mut.Value, c), "conflict")
	case crm.PutRecord:
		r := mut.Record
		if there := c.record(r.Kind, r.ID); there != nil && !there.left {
			return "conflict"
		}
		return when(r.Kind == crm.Message && !c.alive(c.record(crm.Conversation, r.Parent)), "not_found")
	case crm.ChangeRecord:
		return when(!c.alive(c.record(mut.Record.Kind, mut.Record.ID)), "not_found")
	case crm.DeleteRecord:
		return when(!c.alive(c.record(mut.Record.Kind, mut.Record.ID)), "not_found")
	case crm.Connect:
		if mut.Kind == crm.Campaign && c.archived() {
			return "invalid"
		}
		return when(!m.lives(mut.Kind, mut.Object), "not_found")
	case crm.Disconnect:
		return when(c.linked(mut.Kind, mut.Object) == nil, "not_found")
	case crm.Activity:
		return m.mayNote(c, mut)
	case crm.ResumeEnrollment:
		switch l := c.linked(crm.Campaign, mut.Campaign); {
		case c.archived():
			return "invalid"
		case l == nil:
			return "not_found"
		case c.runnable(&l.mStanding):
			return "invalid"
		}
		return when(!m.lives(crm.Campaign, mut.Campaign), "not_found")
	}
	return ""
}

// mayNote: only who is in a campaign in this life is sent its messages, when they are due; what was sent
// before may still be opened.
func (m *model) mayNote(c *mContact, mut crm.Activity) string {
	l := c.linked(crm.Campaign, mut.Campaign)
	switch {
	case l == nil:
		return "not_found"
	case mut.What != "sent":
		return ""
	case !c.runnable(&l.mStanding) || l.due == 0 || l.due > m.now():
		return "stale"
	case !m.lives(crm.Campaign, mut.Campaign):
		return "not_found"
	}
	return ""
}

// mayResume gives the code for which a run is not resumed.
func (m *model) mayResume(c *mContact, r *mRun) string {
	switch {
	case c.state == "purged", r.removed:
		return "not_found"
	case c.state == "deleted":
		return "deleted"
	case c.shows(r) != "suspended" || c.archived():
		return "invalid"
	case m.workflows[r.workflow].gone:
		return "not_found"
	case c.busy(r.workflow):
		return "conflict"
	}
	return ""
}

// mayAccept gives the code for which a bulk restore is not accepted.
func (m *model) mayAccept() string {
	switch {
	case m.hipaa:
		return "hipaa"
	case !m.policy.Restore.Enabled:
		return "restore_off"
	case m.restoring() >= max(1, m.policy.Restore.ConcurrentOperations):
		return "running"
	}
	return ""
}
