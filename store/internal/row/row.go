// Package row is the small interface that a storage engine implements: tables of rows by ordered
// key, scans over contacts, and append-only logs, all inside transactions.
//
// It knows no rule of the lifecycle; those live above it, in package store, once for every engine.
// An engine must never let a reader see half a transaction, never acknowledge what a crash could
// lose, and never run a function's writes when the function failed.
package row

import (
	"context"
	"errors"

	"github.com/reprieve-run/reprieve/crm"
)

// Engine is one open store.
type Engine interface {
	// View runs fn on a consistent snapshot.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn and commits what it wrote, durably, before it returns nil. It may run fn more
	// than once; an fn that fails or panics has written nothing. Updates are serial.
	Update(ctx context.Context, fn func(Tx) error) error
	// Snapshot freezes the contacts that q and keep select as rows of Items under op, in one View and
	// many short Updates, and gives their number. Rows of an earlier try of the same op are replaced.
	Snapshot(ctx context.Context, op crm.OperationID, q crm.Query, keep func(*crm.Contact, *crm.Life) bool) (int, error)
	// Close waits for what was queued and releases the store.
	Close() error
}

// Tx is one transaction. Get, Range and ByIdentity see the transaction's own writes; Scan and Next
// after a write are errors (ErrScanAfterWrite). It is not for use by several goroutines.
type Tx interface {
	// Now is the engine's clock; it does not move while the transaction runs.
	Now() crm.Nanos

	Accounts() Table[crm.AccountID, crm.Account]
	Contacts() Table[crm.Key, crm.Contact]
	Lives() Table[crm.Key, crm.Life]
	Identities() Table[IdentityKey, Identity]
	Members() Table[MemberKey, Member]
	Deadlines() Table[crm.DeadlineKey, crm.Deadline]
	Manifests() Table[crm.EpochKey, crm.Manifest]
	Receipts() Table[crm.EpochKey, crm.Receipt]
	Suppressed() Table[crm.SuppressedKey, crm.Suppressed]
	Records() Table[crm.ItemKey, crm.Record]
	Links() Table[crm.ItemKey, crm.Link]
	Objects() Table[crm.ObjectKey, crm.Object]
	Workflows() Table[NameKey, Workflow]
	Revisions() Table[NameKey, Revision]
	Schedules() Table[NameKey, Schedule]
	Runs() Table[crm.RunID, crm.Run]
	RunKeys() Table[RunKeyKey, RunKey]
	Timers() Table[crm.TimerKey, crm.Timer]
	Listeners() Table[crm.ItemKey, Listener]
	Parked() Table[ParkedKey, Parked]
	Ended() Table[EndedKey, Ended]
	Steps() Table[crm.StepKey, crm.StepRecord]
	Items() Table[ItemKey, Item]
	Operations() Table[crm.OperationID, crm.Operation]
	OptOuts() Table[crm.OptOutKey, crm.OptOut]
	Erasures() Table[crm.EpochKey, crm.Erasure]
	Inbounds() Table[crm.ItemKey, crm.Inbound]
	Deliveries() Table[DeliveryKey, Delivery]
	Counters() Table[NameKey, Counter]
	Marks() Table[string, Mark]

	// ByIdentity gives the keys of the contacts in Identities under each hash, in any state. In an
	// Update it locks the hashes where the engine can, also those that nobody carries yet.
	ByIdentity(ctx context.Context, hashes [][32]byte) (map[[32]byte][]crm.Key, error)
	// Scan yields the contacts that q asks for, in id order, until yield says false or the budget is
	// spent; then next is the cursor to go on from, nil at the end. What it yields is the caller's.
	Scan(ctx context.Context, q crm.Query, yield func(*crm.Contact, *crm.Life) bool) (next []byte, err error)

	// Append adds rows at the end of a log.
	Append(ctx context.Context, log string, rows [][]byte) error
	// Next gives up to n rows after a cursor (nil: from the start) and the cursor behind the last.
	Next(ctx context.Context, log string, after []byte, n int) (rows [][]byte, cursor []byte, err error)
	// Nth gives the n-th row of a log, counted from 1; nil if there is none. After a write it is an error.
	Nth(ctx context.Context, log string, n uint64) ([]byte, error)
	// Trim removes the rows of a log up to the n-th. The others keep their numbers, and cursors go on.
	Trim(ctx context.Context, log string, n uint64) error
}

// Change is one write: nil Old inserts, nil New deletes. Both given, they have the same key. Old
// must be what the table holds, so that an engine can move its indexes without reading again.
type Change[R any] struct{ Old, New *R }

// Table is one table of a transaction.
type Table[K comparable, R any] interface {
	// Get reads many rows at once; a missing one is missing in the map. In an Update it locks them
	// where the engine can. Rows are the caller's to change.
	Get(ctx context.Context, keys []K) (map[K]*R, error)
	// Range gives up to n rows with from <= key < to in key order; n <= 0 means all.
	Range(ctx context.Context, from, to K, n int) ([]R, error)
	// Write carries out changes in the order given.
	Write(ctx context.Context, ch []Change[R]) error
}

// ErrScanAfterWrite is a mistake of the caller: a scan would not see the transaction's own writes.
var ErrScanAfterWrite = errors.New("row: scan or log read after a write in the same transaction")

// IdentityKey names one carrier of an identity hash.
type IdentityKey struct {
	Hash    [32]byte
	Contact crm.Key
}

// Identity is the index row from an identity to a contact; the hash is keyed, so that the index
// cannot be searched for an address without the store's key.
type Identity struct {
	Hash    [32]byte      `cbor:"1,keyasint"`
	Account crm.AccountID `cbor:"2,keyasint"`
	Contact crm.ContactID `cbor:"3,keyasint"`
}

// MemberKey names one member of a list.
type MemberKey struct {
	Account crm.AccountID
	List    crm.ItemID
	Contact crm.ContactID
}

// Member is the index row from a list to a contact that is on it, in any state of the contact.
type Member struct {
	Account crm.AccountID `cbor:"1,keyasint"`
	List    crm.ItemID    `cbor:"2,keyasint"`
	Contact crm.ContactID `cbor:"3,keyasint"`
}

// NameKey names a row by account and text.
type NameKey struct {
	Account crm.AccountID
	Name    string
}

// Workflow is the state of a workflow across its revisions.
type Workflow struct {
	Account   crm.AccountID `cbor:"1,keyasint"`
	ID        string        `cbor:"2,keyasint"`
	Active    string        `cbor:"3,keyasint"`           // the revision that new runs start on
	Grants    []string      `cbor:"4,keyasint,omitempty"` // verbs that an admin granted, to every revision
	AppliedAt crm.Nanos     `cbor:"5,keyasint"`
	AppliedBy crm.Actor     `cbor:"6,keyasint"`
	Deletes   Tally         `cbor:"7,keyasint,omitzero"`  // for the breaker
	Paused    bool          `cbor:"8,keyasint,omitempty"` // nothing starts, its runs stand still and its grants rest
}

// Tally counts what was done in the present hour and the present day of UTC.
type Tally struct {
	Hour   crm.Nanos `cbor:"1,keyasint,omitempty"` // its beginning
	InHour int       `cbor:"2,keyasint,omitempty"`
	Day    crm.Nanos `cbor:"3,keyasint,omitempty"`
	InDay  int       `cbor:"4,keyasint,omitempty"`
}

// Revision is one applied text of a workflow, under the name id@hash.
type Revision struct {
	Account crm.AccountID `cbor:"1,keyasint"`
	Name    string        `cbor:"2,keyasint"`
	Source  []byte        `cbor:"3,keyasint"`
	File    string        `cbor:"4,keyasint"`
}

// Schedule remembers a cron trigger, under the name workflow/trigger, or the sweep.
type Schedule struct {
	Account  crm.AccountID   `cbor:"1,keyasint"`
	Name     string          `cbor:"2,keyasint"`
	Spec     string          `cbor:"3,keyasint"`           // a changed spec starts anew at its apply
	LastFire crm.Nanos       `cbor:"4,keyasint"`           // nothing at or before this fires again
	Firing   crm.Nanos       `cbor:"5,keyasint,omitempty"` // the fire whose selection is being started
	Op       crm.OperationID `cbor:"6,keyasint,omitzero"`  // the frozen selection of Firing
	Frozen   bool            `cbor:"7,keyasint,omitempty"`
	Revision string          `cbor:"8,keyasint,omitempty"`  // the workflow revision of Firing
	Missed   uint32          `cbor:"9,keyasint,omitempty"`  // fires that misfire left out, in all
	Guarded  uint32          `cbor:"10,keyasint,omitempty"` // fires that guard kept from starting anything, in all
	Now      Fire            `cbor:"11,keyasint,omitzero"`  // Firing, as far as it has come
	Last     Fire            `cbor:"12,keyasint,omitzero"`  // the fire before it, and what it came to
	// After is whose turn it was last, where a fire is for a batch: the next one goes on behind it.
	After crm.ContactID `cbor:"13,keyasint,omitzero"`
	// Slice counts what rate let through of late.
	Slice Slice `cbor:"14,keyasint,omitzero"`
}

// Fire is what one fire of a schedule has come to. It names nobody.
type Fire struct {
	At       crm.Nanos `cbor:"1,keyasint"`           // the instant that it is for
	Ended    crm.Nanos `cbor:"2,keyasint,omitempty"` // when it was over
	Result   string    `cbor:"3,keyasint,omitempty"` // one of store.Fire…, once it is over
	Selected int       `cbor:"4,keyasint,omitempty"` // contacts
	Of       int       `cbor:"5,keyasint,omitempty"` // of so many that the schedule goes over, where a guard asked
	Seen     int       `cbor:"6,keyasint,omitempty"` // of the selected, so many had their turn
	Started  int       `cbor:"7,keyasint,omitempty"` // runs
}

// DeliveryKey names a request to a webhook, among those of its month.
type DeliveryKey struct {
	Account crm.AccountID
	Month   int64
	Hash    [32]byte
}

// Delivery remembers a request to a webhook, so that the same one again has no second effect. The hash is
// keyed: an id that somebody made of an address tells nothing.
type Delivery struct {
	Account crm.AccountID `cbor:"1,keyasint"`
	Month   int64         `cbor:"2,keyasint"` // in which it came: 31 days each, from 1970 on
	Hash    [32]byte      `cbor:"3,keyasint"` // of the webhook's name and the request's id
	Contact crm.ContactID `cbor:"4,keyasint"`
	At      crm.Nanos     `cbor:"5,keyasint"`
}

// Slice is a stretch of time with the runs that a schedule started in it.
type Slice struct {
	From crm.Nanos `cbor:"1,keyasint"`
	No   uint32    `cbor:"2,keyasint"` // its place in the time that the rate is about
	Runs int       `cbor:"3,keyasint,omitempty"`
}

// RunKeyKey names what holds a run key of a workflow.
type RunKeyKey struct {
	Account  crm.AccountID
	Hash     [32]byte
	Workflow string
}

// RunKey is the run that holds a key.
type RunKey struct {
	Account  crm.AccountID `cbor:"1,keyasint"`
	Workflow string        `cbor:"2,keyasint"`
	Hash     [32]byte      `cbor:"3,keyasint"`
	Run      crm.RunID     `cbor:"4,keyasint"`
	// Until keeps the key taken after the run is over: the workflow does not let it in again before.
	Until crm.Nanos `cbor:"5,keyasint,omitempty"`
	// Others hold the key too, or wait for it, in the order in which they started.
	Others []crm.RunID `cbor:"6,keyasint,omitempty"`
	Mode   crm.RunMode `cbor:"7,keyasint,omitempty"` // as the last start had it
	Max    uint32      `cbor:"8,keyasint,omitempty"`
}

// Runs gives all that hold the key or wait for it.
func (k *RunKey) Runs() []crm.RunID { return append([]crm.RunID{k.Run}, k.Others...) }

// Listener is the row by which an event of a contact finds a run that waits for one.
type Listener struct {
	Account crm.AccountID `cbor:"1,keyasint"`
	Contact crm.ContactID `cbor:"2,keyasint"`
	Run     crm.RunID     `cbor:"3,keyasint"`
	Since   uint64        `cbor:"4,keyasint,omitempty"` // the entry of the log after which it listens
}

// ParkedKey orders the timers of paused workflows by workflow and instant.
type ParkedKey struct {
	Account  crm.AccountID
	Workflow string
	Due      crm.Nanos
	Run      crm.RunID
}

// Parked is a timer that came due while its workflow was paused: it is out of the way of the others
// until the workflow goes on.
type Parked struct {
	Account  crm.AccountID `cbor:"1,keyasint"`
	Workflow string        `cbor:"2,keyasint"`
	Due      crm.Nanos     `cbor:"3,keyasint"`
	Run      crm.RunID     `cbor:"4,keyasint"`
	Contact  crm.ContactID `cbor:"5,keyasint,omitzero"`
}

// EndedKey orders the runs that are over by when they ended.
type EndedKey struct {
	Account crm.AccountID
	At      crm.Nanos
	Run     crm.RunID
}

// Ended is the index row of a run that is over, by which it is found when its time is up, or when
// somebody asks what failed.
type Ended struct {
	Account  crm.AccountID `cbor:"1,keyasint"`
	At       crm.Nanos     `cbor:"2,keyasint"` // when it ended; later for one that is kept for its key
	Run      crm.RunID     `cbor:"3,keyasint"`
	Workflow string        `cbor:"4,keyasint"`
	Status   crm.RunStatus `cbor:"5,keyasint"`
	Code     string        `cbor:"6,keyasint,omitempty"` // of a failure, or timeout
	Bare     bool          `cbor:"7,keyasint,omitempty"` // its journal is gone; its header stays for its key
}

// ItemKey names a row of a frozen selection.
type ItemKey struct {
	Op      crm.OperationID
	Contact crm.Key
}

// Item is a contact of a frozen selection, in the epoch in which it was selected.
type Item struct {
	Op      crm.OperationID `cbor:"1,keyasint"`
	Account crm.AccountID   `cbor:"2,keyasint"`
	Contact crm.ContactID   `cbor:"3,keyasint"`
	Epoch   uint64          `cbor:"4,keyasint,omitempty"`
	Code    string          `cbor:"5,keyasint,omitempty"` // of an operation that dealt with it: why it was refused
}

// Counter is a count that is kept rather than counted.
type Counter struct {
	Account crm.AccountID `cbor:"1,keyasint"`
	Name    string        `cbor:"2,keyasint"`
	N       int64         `cbor:"3,keyasint"`
}

// Mark is a small fact about the store itself: the dispatcher's cursor, the head of the log, the
// clock's high-water mark.
type Mark struct {
	Name  string    `cbor:"1,keyasint"`
	Bytes []byte    `cbor:"2,keyasint,omitempty"`
	At    crm.Nanos `cbor:"3,keyasint,omitempty"`
	N     uint64    `cbor:"4,keyasint,omitempty"`
}
