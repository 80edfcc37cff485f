package crm

// OperationState is where an operation is.
type OperationState string

// The states of an operation. One that ended stays to be looked at.
const (
	OperationRunning  OperationState = "running"
	OperationComplete OperationState = "complete"
	OperationErrors   OperationState = "complete_with_errors" // some contacts were refused; each says why
	OperationFailed   OperationState = "failed"
)

// Operation is a deed over a selection of contacts, done in chunks with a status to be seen. Its
// contacts are frozen when it is accepted.
type Operation struct {
	ID       OperationID    `cbor:"1,keyasint" json:"id"`
	Account  AccountID      `cbor:"2,keyasint" json:"-"`
	Verb     Verb           `cbor:"3,keyasint" json:"verb"`
	State    OperationState `cbor:"4,keyasint" json:"state"`
	By       Actor          `cbor:"5,keyasint" json:"by"`
	Reason   string         `cbor:"6,keyasint,omitempty" json:"reason,omitempty"`
	Accepted Nanos          `cbor:"7,keyasint" json:"accepted_at"` // what a restore is judged by
	Ended    Nanos          `cbor:"8,keyasint,omitempty" json:"ended_at,omitzero"`
	Total    int            `cbor:"9,keyasint" json:"total"`
	Done     int            `cbor:"10,keyasint,omitempty" json:"done"`
	Refused  int            `cbor:"11,keyasint,omitempty" json:"refused"`
	After    ContactID      `cbor:"12,keyasint,omitzero" json:"-"` // the last contact that was dealt with
}

// OptOut is what survives a purge: that the owner of an address wanted no messages. The address itself
// is not in it, only its keyed hash.
type OptOut struct {
	Account  AccountID    `cbor:"1,keyasint"`
	Hash     [32]byte     `cbor:"2,keyasint"`
	At       Nanos        `cbor:"3,keyasint"`
	Lists    []Membership `cbor:"4,keyasint,omitempty"` // those left or bounced from
	Channels []string     `cbor:"5,keyasint,omitempty"` // those with do-not-disturb on
}

// OptOutKey names the opt-outs of an address.
type OptOutKey struct {
	Account AccountID
	Hash    [32]byte
}

// Key gives the row's key.
func (o *OptOut) Key() OptOutKey { return OptOutKey{o.Account, o.Hash} }

// Inbound is a message that came for a deleted contact. It lives outside the contact's records, which
// cannot change while it is deleted, until a restore delivers it or a purge removes it.
type Inbound struct {
	Account AccountID `cbor:"1,keyasint" json:"-"`
	Contact ContactID `cbor:"2,keyasint" json:"contact"`
	ID      ItemID    `cbor:"3,keyasint" json:"id"`
	At      Nanos     `cbor:"4,keyasint" json:"at"`
	Kind    ItemKind  `cbor:"5,keyasint" json:"kind"`
	Title   string    `cbor:"6,keyasint,omitempty" json:"title,omitempty"`
	Body    string    `cbor:"7,keyasint,omitempty" json:"body,omitempty"`
	Parent  ItemID    `cbor:"8,keyasint,omitzero" json:"parent,omitzero"`
}

// Erasure is a line of the erasure ledger: a contact that a store restored from a backup must not bring
// back. It holds no personal data.
type Erasure struct {
	Account AccountID `cbor:"1,keyasint" json:"account"`
	Contact ContactID `cbor:"2,keyasint" json:"contact"`
	Epoch   uint64    `cbor:"3,keyasint" json:"epoch"` // that the purge, or the delete, began
	At      Nanos     `cbor:"4,keyasint" json:"at"`
	// Deleted: the delete of a HIPAA account's contact, which is to be deleted again; else it was purged.
	Deleted bool `cbor:"5,keyasint,omitempty" json:"deleted,omitempty"`
	// HIPAA: the account became a HIPAA account; no contact is meant.
	HIPAA bool `cbor:"6,keyasint,omitempty" json:"hipaa,omitempty"`
}

// Key gives the row's key.
func (e *Erasure) Key() EpochKey { return EpochKey{e.Account, e.Contact, e.Epoch} }

// Key gives the row's key.
func (i *Inbound) Key() ItemKey { return ItemKey{i.Account, i.Contact, i.Kind, i.ID} }
