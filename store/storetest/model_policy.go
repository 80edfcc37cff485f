package storetest

import "github.com/reprieve-run/reprieve/crm"

// windows are how long deletions can be undone. They have fractions, since a deadline that loses its
// fraction is an early purge.
var windows = []crm.Nanos{100*crm.Second + 437_000_001, 100*crm.Second + 437_000_001, 31*crm.Second + 1, 250*crm.Second + 999_999_999}

// somePolicy draws a policy from all that the store honours. A knob is mostly as in the default, so that
// a program gets somewhere.
func (p *program) somePolicy() crm.Policy {
	pol := crm.DefaultPolicy()
	pol.Retention.Window = oneOf(p, windows...)
	rarely := func(set func()) {
		if p.choose(5) == 0 {
			set()
		}
	}
	del, res := &pol.Delete, &pol.Restore
	rarely(func() { pol.Retention.AfterWindow = crm.AllowUntilPurged })
	rarely(func() { del.WhenEnrolled = crm.Block })
	for _, kind := range []crm.ItemKind{crm.Conversation, crm.Note, crm.Task, crm.Appointment, crm.ManualAction, crm.Opportunity} {
		if p.choose(20) == 0 {
			del.Associated[kind] = crm.Block
		}
	}
	for _, kind := range []crm.ItemKind{crm.Company, crm.List} {
		rarely(func() { del.Associated[kind] = crm.Keep })
	}
	if p.choose(2) == 0 {
		del.Associated[crm.TagItem] = crm.Detach
	}
	if p.choose(12) == 0 {
		del.ExportBefore = crm.Required
	}
	del.Limits = crm.Limits{WorkflowPerHour: oneOf(p, 0, 5000, 1, 1, 2), WorkflowPercentPerDay: oneOf(p, 0, 0, 40), PercentFrom: p.choose(3), OnExceed: crm.Pause}
	for _, kind := range []crm.ItemKind{crm.Conversation, crm.Note, crm.Task, crm.Appointment, crm.ManualAction, crm.Opportunity, crm.Company, crm.List, crm.TagItem} {
		rarely(func() { res.Associated[kind] = false })
	}
	if p.choose(25) == 0 {
		res.Enabled = false
	}
	res.OpportunityPrimary = oneOf(p, crm.Keep, crm.Secondary)
	res.SoleContactOpportunities = oneOf(p, crm.RestoreThem, crm.RestoreThem, crm.LoseThem)
	res.Enrollments = oneOf(p, crm.SuspendThem, crm.SuspendThem, crm.SuspendThem, crm.HistoryOnly, crm.None)
	res.Conflict = oneOf(p, crm.Block, crm.Skip, crm.DropIdentifier)
	res.ConcurrentOperations = oneOf(p, 1, 1, 2)
	pol.Suppression.KeepUnsubscribed = p.choose(5) > 0
	pol.Inbound = oneOf(p, crm.InboundQueue, crm.InboundQueue, crm.InboundDrop, crm.InboundNewContact)
	return pol
}
