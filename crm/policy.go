package crm

import "slices"

// Role is what an actor may be within an account.
type Role string

// The roles. System is the product's own: sweeps and workflows under their grants.
const (
	Admin    Role = "admin"
	Operator Role = "operator"
	Agent    Role = "agent"
	Viewer   Role = "viewer"
	// Auditor reads the audit, retention, holds, the policy and the shape of runs, and nothing that is personal.
	Auditor Role = "auditor"
	System  Role = "system"
)

// Actor is who did something: user:1000, workflow:unsubscribed-cleanup, system:sweep.
type Actor struct {
	ID   string `cbor:"1,keyasint" json:"id"`
	Role Role   `cbor:"2,keyasint" json:"role"`
}

// CauseKind says through what something happened.
type CauseKind string

// The causes. Event.Trigger takes only what persons and workflows do.
const (
	ByPerson    CauseKind = "person"
	ByImport    CauseKind = "import"
	ByWorkflow  CauseKind = "workflow"
	ByRestore   CauseKind = "restore"
	ByInbound   CauseKind = "late_inbound" // a message that came while the contact was deleted
	ByRetention CauseKind = "retention"
	ByLedger    CauseKind = "erasure_ledger" // done again in a store that came from a backup
	ByAccount   CauseKind = "account"        // something of the account went, and the contact loses it: a deleted tag
)

// MaxDepth caps how long a chain of workflows that set each other off can get, so that A → B → A ends.
const MaxDepth = 8

// Cause says through what a mutation happened, and how deep in a chain of workflows.
type Cause struct {
	Kind      CauseKind   `cbor:"1,keyasint" json:"kind"`
	Workflow  string      `cbor:"2,keyasint,omitempty" json:"workflow,omitempty"`
	Run       RunID       `cbor:"3,keyasint,omitzero" json:"run,omitzero"`
	Operation OperationID `cbor:"4,keyasint,omitzero" json:"operation,omitzero"`
	Depth     uint8       `cbor:"5,keyasint,omitempty" json:"depth,omitempty"`
}

// Verb is what a role may be allowed to do.
type Verb string

// The verbs that the policy speaks of. A workflow needs those of the lifecycle as grants.
const (
	VerbDelete  Verb = "contact.delete"
	VerbRestore Verb = "contact.restore"
	VerbPurge   Verb = "contact.purge"
	VerbErase   Verb = "contact.purge:erasure" // a purge at any time; who may purge may erase
	VerbHold    Verb = "contact.hold"
	VerbExport  Verb = "contact.export"
	VerbApply   Verb = "workflow.apply"
	VerbResume  Verb = "run.resume"
	VerbPolicy  Verb = "policy.set"
	VerbWrite   Verb = "contact.write" // create, tag, import, records
	VerbAudit   Verb = "audit.read"    // the log, without what is sealed in it
	VerbValues  Verb = "audit.values"  // what is sealed in it
)

// Account is a tenant: it owns contacts, policy and workflows.
type Account struct {
	ID        AccountID `cbor:"1,keyasint"`
	Name      string    `cbor:"2,keyasint"`
	CreatedAt Nanos     `cbor:"3,keyasint"`
	HIPAA     bool      `cbor:"4,keyasint,omitempty"` // set once, never unset: no restore (S1.8)
	Policy    Policy    `cbor:"5,keyasint"`
	// Restoring are the bulk restores that run: they are judged by the time at which they were accepted,
	// and no sweep purges in the account meanwhile.
	Restoring []OperationID `cbor:"6,keyasint,omitempty"`
	// Leaving are deleted tags that are still being taken off live contacts.
	Leaving []ItemID `cbor:"7,keyasint,omitempty"`
}

// Policy is one document per account: a preset with keys of its own. Knobs says of each key what it
// may be and what it does.
type Policy struct {
	Preset      string          `cbor:"1,keyasint"`
	Permissions map[Verb][]Role `cbor:"2,keyasint"` // a verb that is not named is for admins
	Delete      DeleteRules     `cbor:"3,keyasint"`
	Retention   RetentionRules  `cbor:"4,keyasint"`
	Restore     RestoreRules    `cbor:"5,keyasint"`
	Suppression Suppression     `cbor:"6,keyasint"`
	Inbound     InboundRule     `cbor:"7,keyasint"`
	Runs        RunRules        `cbor:"8,keyasint,omitzero"`
	Audit       AuditRules      `cbor:"9,keyasint,omitzero"`
}

// DeleteRules say when a contact may be deleted, and what becomes of what hangs on it.
type DeleteRules struct {
	WhenEnrolled  Rule              `cbor:"1,keyasint"` // Remove or Block
	Associated    map[ItemKind]Rule `cbor:"2,keyasint"` // records Cascade or Block, opportunities CascadeIfSole or Block, links Detach or Keep
	Confirm       Rule              `cbor:"3,keyasint"` // ConfirmNone, ConfirmDelete or ConfirmCount
	ExportBefore  Rule              `cbor:"4,keyasint"` // Off, Warn or Required
	Limits        Limits            `cbor:"5,keyasint"`
	ApprovalAbove int               `cbor:"6,keyasint"` // a second admin approves larger bulk deletes; 0: nobody
}

// Limits are the breaker on deletes. Each is off at 0.
type Limits struct {
	PerOperation          int  `cbor:"1,keyasint"` // contacts in one bulk delete
	WorkflowPerHour       int  `cbor:"2,keyasint"` // deletes by one workflow in an hour of UTC
	WorkflowPercentPerDay int  `cbor:"3,keyasint"` // of the account's live contacts, by one workflow in a day of UTC
	PercentFrom           int  `cbor:"4,keyasint"` // deletes in a day up to which percent does not count
	OnExceed              Rule `cbor:"5,keyasint"` // Pause or Refuse
}

// RetentionRules say how long a deletion can be undone.
type RetentionRules struct {
	Window      Nanos `cbor:"1,keyasint"` // stamped at the delete; a day is 24 hours (S1.9: 60 days)
	AfterWindow Rule  `cbor:"2,keyasint"` // Refuse or AllowUntilPurged
}

// RestoreRules say what comes back.
type RestoreRules struct {
	Enabled                  bool              `cbor:"1,keyasint"`
	Associated               map[ItemKind]bool `cbor:"2,keyasint"` // which kinds come back
	OpportunityPrimary       Rule              `cbor:"3,keyasint"` // Keep or Secondary; decided at the delete
	SoleContactOpportunities Rule              `cbor:"4,keyasint"` // RestoreThem or LoseThem; decided at the delete of the last live contact
	Enrollments              Rule              `cbor:"5,keyasint"` // None, HistoryOnly or SuspendThem
	Conflict                 Rule              `cbor:"6,keyasint"` // Block, Skip or DropIdentifier
	Confirm                  Rule              `cbor:"7,keyasint"` // ConfirmNone or ConfirmYesNo
	MaxSelected              int               `cbor:"8,keyasint"` // contacts named in one restore; 0: no cap; a filter has none
	ConcurrentOperations     int               `cbor:"9,keyasint"` // bulk restores at a time, at least 1
}

// Suppression says what survives a purge.
type Suppression struct {
	KeepUnsubscribed bool `cbor:"1,keyasint"` // opt-outs, under a keyed hash of the address
}

// RunRules say what becomes of runs.
type RunRules struct {
	KeepFinished Nanos `cbor:"1,keyasint,omitempty"` // from the end of a run; 0: for ever
}

// AuditRules say how long the log is kept.
type AuditRules struct {
	Keep Nanos `cbor:"1,keyasint,omitempty"` // from when an entry was written; 0: for ever
}

// Rule is a value of a knob.
type Rule string

// The values of knobs.
const (
	Remove           Rule = "remove"
	Block            Rule = "block"
	Cascade          Rule = "cascade"
	CascadeIfSole    Rule = "cascade_if_sole"
	Detach           Rule = "detach"
	Keep             Rule = "keep"
	ConfirmNone      Rule = "none"
	ConfirmDelete    Rule = "type_DELETE"
	ConfirmCount     Rule = "type_count"
	ConfirmYesNo     Rule = "yes_no"
	Off              Rule = "off"
	Warn             Rule = "warn"
	Required         Rule = "required"
	Pause            Rule = "pause"
	Refuse           Rule = "refuse"
	AllowUntilPurged Rule = "allow_until_purged"
	Secondary        Rule = "secondary"
	RestoreThem      Rule = "restore"
	LoseThem         Rule = "lost"
	None             Rule = "none"
	HistoryOnly      Rule = "history"
	SuspendThem      Rule = "suspended"
	Skip             Rule = "skip"
	DropIdentifier   Rule = "drop_identifier"
)

// InboundRule says what becomes of a message for a deleted contact.
type InboundRule string

// The ways to deal with inbound.
const (
	InboundDrop       InboundRule = "drop"
	InboundQueue      InboundRule = "queue"       // delivered late, after a restore; it starts nothing
	InboundNewContact InboundRule = "new_contact" // somebody new, who may have the deleted contact's address
)

// DefaultPolicy is HighLevel's restore page made exact: 60 days of 24 hours, deletes and restores by
// admins, everything comes back (S1.4, S1.9, S1.20, S2.1).
func DefaultPolicy() Policy {
	return Policy{
		Preset: "default",
		Permissions: map[Verb][]Role{
			VerbDelete:  {Admin},
			VerbRestore: {Admin},
			VerbPurge:   {Admin},
			VerbHold:    {Admin},
			VerbExport:  {Admin},
			VerbApply:   {Admin},
			VerbResume:  {Admin},
			VerbWrite:   {Admin, Operator, Agent},
			VerbAudit:   {Admin, Auditor},
			VerbValues:  {Admin},
		},
		Delete: DeleteRules{
			WhenEnrolled: Remove,
			Associated: map[ItemKind]Rule{
				Conversation: Cascade, Note: Cascade, Task: Cascade, Appointment: Cascade, ManualAction: Cascade,
				Opportunity: CascadeIfSole, Company: Detach, List: Detach, TagItem: Keep,
			},
			Confirm:      ConfirmDelete,
			ExportBefore: Warn,
			Limits:       Limits{WorkflowPerHour: 5000, WorkflowPercentPerDay: 10, PercentFrom: 100, OnExceed: Pause},
		},
		Retention: RetentionRules{Window: 60 * Day, AfterWindow: Refuse},
		Restore: RestoreRules{
			Enabled: true,
			Associated: map[ItemKind]bool{
				Conversation: true, Note: true, Task: true, Appointment: true, ManualAction: true,
				Opportunity: true, Company: true, List: true, TagItem: true,
			},
			OpportunityPrimary: Keep, SoleContactOpportunities: RestoreThem, Enrollments: SuspendThem,
			Conflict: Block, Confirm: ConfirmYesNo, ConcurrentOperations: 1,
		},
		Suppression: Suppression{KeepUnsubscribed: true},
		Inbound:     InboundQueue,
		Runs:        RunRules{KeepFinished: 90 * Day},
	}
}

// Allows says whether a role may use a verb. Deny by default. Who may purge may erase.
func (p Policy) Allows(r Role, v Verb) bool {
	if v == VerbErase {
		v = VerbPurge
	}
	roles, named := p.Permissions[v]
	switch {
	case named:
	case v == VerbAudit: // a policy from before there were auditors
		roles = []Role{Admin, Auditor}
	default:
		roles = []Role{Admin}
	}
	return slices.Contains(roles, r)
}
