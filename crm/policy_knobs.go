package crm

import "fmt"

// What a change of a knob applies to. The deadline, HIPAA and what becomes of opportunities are decided
// at the delete; the rest is read when the deed is done.
const (
	sincePreset   = "The preset is where a document starts; every key that changes with it is named on its own."
	sinceRole     = "This applies from the next request on; workflows keep the grants that they have."
	sinceDelete   = "This applies to deletes from now on; contacts that are deleted already stay as they are."
	sinceAtDelete = "This is decided at a delete, so it applies to deletes from now on; for contacts deleted before, it stays as it was decided then."
	sinceWindow   = "This applies to deletes from now on; deletions already made keep the deadline that was stamped on them, which is never shortened."
	sinceRestore  = "This applies to restores from now on, also of contacts deleted before."
	sincePurge    = "This applies to purges from now on, also of contacts deleted before; what earlier purges kept of other addresses stays."
	sinceFinished = "This is read by each sweep, so it applies to all runs that are there, also those that ended before."
	sinceKept     = "This is read by each sweep, so it applies to all entries that are there, also those written before; what was removed does not come back."
	sinceInbound  = "This applies to messages from now on; what waits already goes on waiting."
)

// associatedKinds are the kinds that a policy speaks of, under its names.
var associatedKinds = []struct {
	name, words string
	kind        ItemKind
}{
	{"conversations", "conversations", Conversation},
	{"notes", "notes", Note},
	{"tasks", "tasks", Task},
	{"appointments", "appointments", Appointment},
	{"manual_actions", "manual actions", ManualAction},
	{"opportunities", "opportunities", Opportunity},
	{"companies", "companies", Company},
	{"lists", "lists", List},
	{"tags", "tags", TagItem},
}

// Knobs gives every key of the policy document, in its order.
func Knobs() []Knob {
	var names []value
	for _, s := range presets {
		names = append(names, value{s.name, s.about})
	}
	knobs := []Knob{choice("preset", "The policy that the document starts from; every other key overrides it.", sincePreset,
		func(p *Policy) string { return p.Preset },
		func(p *Policy, name string) { *p, _ = Preset(name) }, names...)}
	knobs = append(knobs, permissionKnobs()...)
	knobs = append(knobs, deleteKnobs()...)
	knobs = append(knobs, limitKnobs()...)
	knobs = append(knobs, retentionKnobs()...)
	knobs = append(knobs, restoreKnobs()...)
	return append(knobs,
		toggle("suppression.keep_unsubscribed", "Whether opt-outs survive a purge, so that a later import cannot mail who left (S4.1).", sincePurge,
			func(p *Policy) *bool { return &p.Suppression.KeepUnsubscribed },
			"a purge keeps the opt-outs of an address, under a keyed hash of it", "a purge keeps nothing of an address, opt-outs included"),
		ruleKnob("inbound_on_deleted", "What becomes of a message for a deleted contact; a late one starts no workflow.", sinceInbound,
			func(p *Policy) *InboundRule { return &p.Inbound },
			value{string(InboundDrop), "a message for a deleted contact is dropped"},
			value{string(InboundQueue), "a message for a deleted contact waits, and is delivered after a restore"},
			value{string(InboundNewContact), "a message for a deleted contact makes a new contact"}),
		keep("runs.keep_finished", "How long a finished run is kept with its journal, from its end; unfinished and suspended ones stay.", sinceFinished,
			func(p *Policy) *Nanos { return &p.Runs.KeepFinished },
			"a finished run is kept for %s", "finished runs are kept for ever"),
		keep("audit.keep", "How long an entry of the audit is kept, from when it was written, and at least as long as the recovery window; purges take none away.", sinceKept,
			func(p *Policy) *Nanos { return &p.Audit.Keep },
			"an entry of the audit is kept for %s", "the audit is kept for ever"))
}

// permissionKnobs are the verbs. A viewer may export at most: whatever else there is changes something.
func permissionKnobs() []Knob {
	return []Knob{
		may("permissions.delete", "delete contacts", "Who may delete contacts (S2.1, S2.7, S2.22, S4.9).", VerbDelete, Admin, Operator, Agent),
		may("permissions.restore", "restore contacts", "Who may restore contacts, also those that others deleted (S1.20, S3.1).", VerbRestore, Admin, Operator, Agent),
		may("permissions.purge", "purge and erase contacts", "Who may purge contacts, at any time as an erasure (S2.26, S4.5).", VerbPurge, Admin, Operator, Agent),
		may("permissions.hold", "put contacts under a legal hold and lift it", "Who may put contacts under a legal hold and lift it (S4.1).", VerbHold, Admin, Operator, Agent),
		may("permissions.export", "export contacts", "Who may export contacts (S2.5, S4.10).", VerbExport, Admin, Operator, Agent, Viewer),
		may("permissions.write", "create, change and import contacts", "Who may create, change and import contacts.", VerbWrite, Admin, Operator, Agent),
		may("permissions.apply", "make a workflow active", "Who may make a workflow active (S2.17).", VerbApply, Admin, Operator, Agent),
		may("permissions.resume", "resume what a restore left suspended", "Who may resume what a restore left suspended (S3.4).", VerbResume, Admin, Operator, Agent),
		may("permissions.audit", "read the audit", "Who may list and export the audit, without what is sealed in it (S4.7).", VerbAudit, Admin, Operator, Agent, Viewer, Auditor),
		may("permissions.audit_values", "see the values in the audit", "Who sees what is sealed in the audit as well: the values before and after; in a HIPAA account nobody does.", VerbValues, Admin, Operator, Agent, Viewer, Auditor),
	}
}

func deleteKnobs() []Knob {
	knobs := []Knob{ruleKnob("delete.when_enrolled", "What becomes of a contact in a workflow or campaign (S2.18, S2.23); the run that deletes does not count.", sinceDelete,
		func(p *Policy) *Rule { return &p.Delete.WhenEnrolled },
		value{string(Remove), "an enrolled contact can be deleted, and leaves its workflows and campaigns"},
		value{string(Block), "an enrolled contact is not deleted; it has to leave its workflows and campaigns first"})}
	for _, a := range associatedKinds {
		values := []value{
			{string(Cascade), "a contact's " + a.words + " go with it"},
			{string(Block), "a contact that has " + a.words + " is not deleted"}}
		help := fmt.Sprintf("What becomes of %s (S2.3, S2.24, S5.2).", a.words)
		switch a.kind {
		case Opportunity:
			values[0] = value{string(CascadeIfSole), "opportunities go with their last live contact; shared ones stay with the others"}
			help = "What becomes of opportunities, which contacts may share (S3.15, S3.16)."
		case Company, List, TagItem:
			values = []value{
				{string(Detach), "a deleted contact is cut off from its " + a.words + "; restore.associated." + a.name + " says whether they come back"},
				{string(Keep), "a contact keeps its " + a.words + " through delete and restore, whatever restore.associated." + a.name + " says"}}
			help = fmt.Sprintf("Whether a delete cuts the contact off from its %s (%s).", a.words, backStatements(a.kind))
		}
		knobs = append(knobs, choice("delete.associated."+a.name, help, sinceDelete,
			func(p *Policy) string { return string(p.Delete.Associated[a.kind]) },
			func(p *Policy, s string) {
				if p.Delete.Associated == nil {
					p.Delete.Associated = map[ItemKind]Rule{}
				}
				p.Delete.Associated[a.kind] = Rule(s)
			}, values...))
	}
	return append(knobs,
		ruleKnob("delete.confirm", "How a person confirms a delete (S2.11, S5.5).", sinceDelete,
			func(p *Policy) *Rule { return &p.Delete.Confirm },
			value{string(ConfirmNone), "a delete is not confirmed"},
			value{string(ConfirmDelete), "a person confirms a delete by typing DELETE"},
			value{string(ConfirmCount), "a person confirms a delete by typing the number of contacts"}),
		ruleKnob("delete.export_before", "Whether contacts are exported before they are deleted (S2.5).", sinceDelete,
			func(p *Policy) *Rule { return &p.Delete.ExportBefore },
			value{string(Off), "nothing is said about an export before a delete"},
			value{string(Warn), "whoever deletes is told to export first"},
			value{string(Required), "a contact that was not exported first is not deleted"}))
}

func limitKnobs() []Knob {
	limits := func(p *Policy) *Limits { return &p.Delete.Limits }
	return []Knob{
		number("delete.limits.per_operation", "How many contacts one bulk delete may take (S2.4).", sinceDelete, 0, highestNumber,
			func(p *Policy) *int { return &limits(p).PerOperation },
			"one bulk delete takes at most %d contacts", "no limit holds for one bulk delete"),
		number("delete.limits.workflow_per_hour", "How many contacts one workflow may delete in an hour of UTC (S2.14).", sinceDelete, 0, highestNumber,
			func(p *Policy) *int { return &limits(p).WorkflowPerHour },
			"one workflow deletes at most %d contacts in an hour", "no limit holds for what one workflow deletes in an hour"),
		number("delete.limits.workflow_percent_per_day", "How much of the account's live contacts, in percent, one workflow may delete in a day of UTC (S2.14).", sinceDelete, 0, 100,
			func(p *Policy) *int { return &limits(p).WorkflowPercentPerDay },
			"one workflow deletes at most %d percent of the live contacts in a day", "no percentage limits what one workflow deletes in a day"),
		number("delete.limits.percent_from", "How many contacts a workflow may delete in a day before the percentage counts.", sinceDelete, 0, highestNumber,
			func(p *Policy) *int { return &limits(p).PercentFrom },
			"the percentage counts once a workflow has deleted %d contacts in a day", ""),
		ruleKnob("delete.limits.on_exceed", "What becomes of a workflow that reaches a limit.", sinceDelete,
			func(p *Policy) *Rule { return &limits(p).OnExceed },
			value{string(Pause), "a run whose delete is over a limit waits at its step until there is room again"},
			value{string(Refuse), "a delete over a limit fails its step"}),
		number("delete.approval_above", "How many contacts a bulk delete may take before a second admin has to approve it (S4.9).", sinceDelete, 0, highestNumber,
			func(p *Policy) *int { return &p.Delete.ApprovalAbove },
			"a second admin approves a bulk delete of more than %d contacts", "no bulk delete needs a second admin"),
	}
}

func retentionKnobs() []Knob {
	return []Knob{
		window("retention.window", "How long a deletion can be undone, stamped at the delete (S1.9, S2.2, S3.2, S5.3).", sinceWindow),
		ruleKnob("retention.after_window", "Whether a contact past its deadline that no sweep has purged yet can be restored (S1.10, S5.4).", sinceRestore,
			func(p *Policy) *Rule { return &p.Retention.AfterWindow },
			value{string(Refuse), "a contact cannot be restored from its deadline on"},
			value{string(AllowUntilPurged), "a contact past its deadline can be restored until a sweep has purged it"}),
	}
}

func restoreKnobs() []Knob {
	knobs := []Knob{toggle("restore.enabled", "Whether anything can be restored; a HIPAA account restores nothing whatever this says (S1.8).", sinceRestore,
		func(p *Policy) *bool { return &p.Restore.Enabled },
		"deleted contacts can be restored", "no contact can be restored")}
	for _, a := range associatedKinds {
		knobs = append(knobs, choice("restore.associated."+a.name, fmt.Sprintf("Whether %s come back with their contact (%s).", a.words, backStatements(a.kind)), sinceRestore,
			func(p *Policy) string {
				if p.Restore.Associated[a.kind] {
					return All
				}
				return string(None)
			},
			func(p *Policy, s string) {
				if p.Restore.Associated == nil {
					p.Restore.Associated = map[ItemKind]bool{}
				}
				p.Restore.Associated[a.kind] = s == All
			},
			value{All, "a restore brings " + a.words + " back"},
			value{string(None), "a restore does not bring " + a.words + " back"}))
	}
	r := func(p *Policy) *RestoreRules { return &p.Restore }
	return append(knobs,
		ruleKnob("restore.opportunity_primary", "Whether a contact is again the primary of an opportunity that it shares (S3.16).", sinceAtDelete,
			func(p *Policy) *Rule { return &r(p).OpportunityPrimary },
			value{string(Keep), "a contact comes back as the primary of its shared opportunities, unless another was chosen meanwhile"},
			value{string(Secondary), "a contact comes back to its shared opportunities, but not as their primary"}),
		ruleKnob("restore.sole_contact_opportunities", "Whether an opportunity comes back that lost its last live contact (S1.11, S3.15).", sinceAtDelete,
			func(p *Policy) *Rule { return &r(p).SoleContactOpportunities },
			value{string(RestoreThem), "an opportunity whose last live contact is deleted comes back with a restore"},
			value{string(LoseThem), "an opportunity whose last live contact is deleted is lost for good"}),
		ruleKnob("restore.enrollments", "What becomes of a contact's runs and campaign enrollments of before (S1.13, S3.4, S3.5).", sinceRestore,
			func(p *Policy) *Rule { return &r(p).Enrollments },
			value{string(None), "a restore does not bring runs and campaign enrollments back"},
			value{string(HistoryOnly), "runs and campaign enrollments come back to be seen, as over"},
			value{string(SuspendThem), "runs and campaign enrollments come back suspended, and go on only when somebody resumes them"}),
		ruleKnob("restore.conflict", "What becomes of a contact of which a live one holds the e-mail, the phone or the external id by now.", sinceRestore,
			func(p *Policy) *Rule { return &r(p).Conflict },
			value{string(Block), "a contact is not restored while a live one holds an address of it; a selection with such a contact is refused whole, before anything is done"},
			value{string(Skip), "of a selection such a contact is left deleted and named, and the others come back"},
			value{string(DropIdentifier), "a contact comes back without what a live one holds"}),
		ruleKnob("restore.confirm", "How a person confirms a restore (S1.15, S3.10, S5.6).", sinceRestore,
			func(p *Policy) *Rule { return &r(p).Confirm },
			value{string(ConfirmNone), "a restore is not confirmed"},
			value{string(ConfirmYesNo), "a person confirms a restore with yes"}),
		number("restore.max_selected", "How many contacts may be named in one restore; one by filter has no cap (S3.8, S3.9).", sinceRestore, 0, highestNumber,
			func(p *Policy) *int { return &r(p).MaxSelected },
			"one restore names at most %d contacts; by filter there is no cap", "no cap holds for the contacts named in one restore"),
		number("restore.concurrent_operations", "How many bulk restores may run in the account at a time (S3.6).", sinceRestore, 1, 100,
			func(p *Policy) *int { return &r(p).ConcurrentOperations },
			"at most %d bulk restores run at a time", ""))
}

// backStatements are those that say whether a kind comes back.
func backStatements(k ItemKind) string {
	switch k {
	case Opportunity:
		return "S1.11, S3.15, S3.16, S5.7"
	case Company:
		return "S3.14"
	case List:
		return "S3.13"
	case TagItem:
		return "S3.17"
	case ManualAction:
		return "S2.8, S5.10"
	}
	return "S1.12, S2.8, S5.7"
}
