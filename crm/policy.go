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
	System   Role = "system"
)

// Actor is who did something: user:1000, workflow:unsubscribed-cleanup, system:sweep.
type Actor struct {
	ID   string `cbor:"1,keyasint" json:"id"`
	Role Role   `cbor:"2,keyasint" json:"role"`
}

// CauseKind says through what something happened.
type CauseKind string

// The causes. Event.Trigger refuses restore, purge, inbound (what arrived late for a deleted
// contact) and import.
const (
	ByPerson    CauseKind = "person"
	ByImport    CauseKind = "import"
	ByWorkflow  CauseKind = "workflow"
	ByRestore   CauseKind = "restore"
	ByInbound   CauseKind = "late_inbound"
	ByRetention CauseKind = "retention"
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

// The verbs that the policy speaks of. A workflow needs the verb as a grant.
const (
	VerbDelete  Verb = "contact.delete"
	VerbRestore Verb = "contact.restore"
	VerbPurge   Verb = "contact.purge"
	VerbErase   Verb = "contact.purge:erasure" // a purge at any time
	VerbHold    Verb = "contact.hold"
	VerbApply   Verb = "workflow.apply"
	VerbWrite   Verb = "contact.write" // create, tag, import, records
)

// Account is a tenant: it owns contacts, policy and workflows.
type Account struct {
	ID        AccountID `cbor:"1,keyasint"`
	Name      string    `cbor:"2,keyasint"`
	CreatedAt Nanos     `cbor:"3,keyasint"`
	HIPAA     bool      `cbor:"4,keyasint,omitempty"` // set once, never unset: no restore (S1.8)
	Policy    Policy    `cbor:"5,keyasint"`
}

// Policy is one document per account. Every key of it is honoured; more will come with their rules.
type Policy struct {
	// Window is how long a deletion can be undone, in nanoseconds; a day is 24 hours (S1.9: 60 days).
	Window Nanos `cbor:"1,keyasint"`
	// Permissions says which roles may use a verb; a verb that is not named is for admins.
	Permissions map[Verb][]Role `cbor:"2,keyasint"`
}

// DefaultPolicy is HighLevel's restore page made exact: 60 days of 24 hours, deletes and restores by
// admins (S1.9, S1.20, S2.1).
func DefaultPolicy() Policy {
	return Policy{
		Window: 60 * Day,
		Permissions: map[Verb][]Role{
			VerbDelete:  {Admin},
			VerbRestore: {Admin},
			VerbPurge:   {Admin},
			VerbErase:   {Admin},
			VerbHold:    {Admin},
			VerbApply:   {Admin},
			VerbWrite:   {Admin, Operator, Agent},
		},
	}
}

// Allows says whether a role may use a verb. Deny by default.
func (p Policy) Allows(r Role, v Verb) bool {
	roles, named := p.Permissions[v]
	if !named {
		roles = []Role{Admin}
	}
	return slices.Contains(roles, r)
}
