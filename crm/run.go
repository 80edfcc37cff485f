package crm

// RunStatus is where a run is. Suspended is not stored: an unfinished run is suspended while its
// epoch is not its contact's.
type RunStatus string

// The statuses of a run.
const (
	RunActive    RunStatus = "active" // between steps, or due
	RunWaiting   RunStatus = "waiting"
	RunQueued    RunStatus = "queued" // until the runs of its key before it are over
	RunCompleted RunStatus = "completed"
	RunExited    RunStatus = "skipped" // by an exit step that says so; the reason says why
	RunFailed    RunStatus = "failed"
	RunCancelled RunStatus = "cancelled"
	RunSuspended RunStatus = "suspended" // derived, never stored
)

// Finished says whether the run is over.
func (s RunStatus) Finished() bool {
	return s == RunCompleted || s == RunExited || s == RunFailed || s == RunCancelled
}

// RunMode says what becomes of a start whose key has an unfinished run already. The words are Home Assistant's.
type RunMode uint8

// The modes of a workflow's runs.
const (
	SingleMode   RunMode = iota // it does not start
	RestartMode                 // it starts, and ends the one before
	QueuedMode                  // it waits until those before it are over
	ParallelMode                // it starts beside them
)

// Run is the header of one execution of one workflow revision. It holds no personal data: State is the
// engine's own, at most 16 KiB, with only ids of other contacts, Reason is the engine's words; what
// steps returned, and what an exit step gave as its reason, are sealed journal rows.
type Run struct {
	ID       RunID     `cbor:"1,keyasint"`
	Account  AccountID `cbor:"2,keyasint"`
	Contact  ContactID `cbor:"3,keyasint,omitzero"`
	Workflow string    `cbor:"4,keyasint"`
	Revision string    `cbor:"5,keyasint"`
	Trigger  string    `cbor:"6,keyasint"`
	Epoch    uint64    `cbor:"7,keyasint,omitempty"` // runnable only while it is the contact's
	Entitled uint64    `cbor:"8,keyasint,omitempty"` // the revision of the fact that started it
	Status   RunStatus `cbor:"9,keyasint"`
	Reason   string    `cbor:"10,keyasint,omitempty"`
	Step     string    `cbor:"11,keyasint,omitempty"` // the id of the step it stands at
	Due      Nanos     `cbor:"12,keyasint,omitempty"` // when it goes on; its timer has the same instant
	// Token goes up at each commit of the run: a result that carries an older one is dropped.
	Token     uint64   `cbor:"13,keyasint"`
	Attempt   uint32   `cbor:"14,keyasint,omitempty"` // of the step it stands at, from 1
	Depth     uint8    `cbor:"15,keyasint,omitempty"`
	StartedAt Nanos    `cbor:"16,keyasint"`
	EndedAt   Nanos    `cbor:"17,keyasint,omitempty"`
	KeyHash   [32]byte `cbor:"18,keyasint"` // of run.key's value
	State     []byte   `cbor:"19,keyasint,omitempty"`
	// Began is the contact's epoch when the run was started; Epoch moves on with the effects of the
	// run itself, Began never.
	Began uint64 `cbor:"20,keyasint,omitempty"`
	// Resumed is when somebody last resumed the run after a restore had left it suspended.
	Resumed Nanos `cbor:"21,keyasint,omitempty"`
	// Listening says that it waits for an event of its contact, besides its timer, which there may not be.
	Listening bool `cbor:"22,keyasint,omitempty"`
	// Iteration counts how often it was retried: each time has lines of its own in the journal.
	Iteration uint32 `cbor:"23,keyasint,omitempty"`
	Retried   Nanos  `cbor:"24,keyasint,omitempty"` // when it last was
	// Code is that of the failure which a failed run ended by.
	Code string `cbor:"25,keyasint,omitempty"`
	// Mode and Max are those of its revision: how many may be under its key.
	Mode RunMode `cbor:"26,keyasint,omitempty"`
	Max  uint32  `cbor:"27,keyasint,omitempty"`
	// Since is the entry of the log behind which the next wait for an event listens: what stood last when the
	// first of the actions directly before it was begun, who may be answered before they are over; 0: from when
	// the wait begins.
	Since uint64 `cbor:"28,keyasint,omitempty"`
}

// OnTombstone says whether the run stands on a deleted contact: it deleted it itself, or was started
// over deleted contacts. Epochs alternate between live and deleted, so the odd ones are deletions.
func (r *Run) OnTombstone() bool { return r.Epoch%2 == 1 }

// Why a run ends that nobody can go on with.
const (
	ReasonRestored = "contact_restored" // it stood on a tombstone, and somebody else restored the contact
	ReasonLeft     = "not_restored"     // the policy does not bring enrollments back
	ReasonPastDue  = "past_due"         // it was resumed with what was overdue to be skipped
	ReasonGone     = "workflow_gone"    // its workflow was deleted
	ReasonRestart  = "restarted"        // a new run of its key took its place
	ReasonByHand   = "cancelled"        // somebody cancelled it
	ReasonTimeout  = "timeout"          // it took longer than its workflow lets it
	ReasonCancel   = "cancel_on"        // an event ended it, and the workflow gives no word of its own
)

// StatusFor gives the status as seen beside the contact's life. An unfinished run whose epoch is not
// the contact's any more is suspended, except one on a tombstone, which is over since what it stood on
// is no more, and one that a restore did not bring back.
func (r *Run) StatusFor(l Life) RunStatus {
	switch {
	case r.Status.Finished() || r.Contact.IsZero() || r.Epoch == l.Epoch:
		return r.Status
	case r.OnTombstone(), l.Hides(WorkflowRun, r.Epoch):
		return RunCancelled
	}
	return RunSuspended
}

// WhyCancelled gives the reason for which StatusFor calls an unfinished run cancelled.
func (r *Run) WhyCancelled() string {
	if r.OnTombstone() {
		return ReasonRestored
	}
	return ReasonLeft
}

// TimerKey orders runs by the instant at which they go on.
type TimerKey struct {
	Due Nanos
	Run RunID
}

// Timer is the row that wakes a run.
type Timer struct {
	Due     Nanos     `cbor:"1,keyasint"`
	Run     RunID     `cbor:"2,keyasint"`
	Account AccountID `cbor:"3,keyasint"`
	Contact ContactID `cbor:"4,keyasint,omitzero"`
}

// Key gives the timer's key.
func (t *Timer) Key() TimerKey { return TimerKey{t.Due, t.Run} }

// StepKey is the exactly-once key of a step: run, path of step ids, iteration.
type StepKey struct {
	Run       RunID
	Iteration uint32
	Path      string
}

// StepRecord is one line of a run's journal.
type StepRecord struct {
	Run       RunID     `cbor:"1,keyasint"`
	Path      string    `cbor:"2,keyasint"`
	Iteration uint32    `cbor:"3,keyasint,omitempty"`
	Action    string    `cbor:"4,keyasint,omitempty"`
	Status    string    `cbor:"5,keyasint"` // intent | retry | done | skipped | failed | superseded | unknown
	Attempt   uint32    `cbor:"6,keyasint,omitempty"`
	At        Nanos     `cbor:"7,keyasint"`
	Code      string    `cbor:"8,keyasint,omitempty"`
	Message   string    `cbor:"9,keyasint,omitempty"`  // sealed in the store: it may be a plugin's words
	Plugin    string    `cbor:"10,keyasint,omitempty"` // name@version
	Output    []byte    `cbor:"11,keyasint,omitempty"` // JSON, sealed in the store
	Contact   ContactID `cbor:"12,keyasint,omitzero"`
	Account   AccountID `cbor:"13,keyasint"`
	Seq       uint64    `cbor:"14,keyasint,omitempty"` // orders the journal: turn of the run, place in the turn
	// Keyed is the iteration whose idempotency key the call bore: an older one than Iteration if what
	// became of the call then is not known.
	Keyed uint32 `cbor:"15,keyasint,omitempty"`
	// Unsure says that nobody knows whether the call was carried out; Twice, that its action says it may
	// be called again under the same key.
	Unsure bool `cbor:"16,keyasint,omitempty"`
	Twice  bool `cbor:"17,keyasint,omitempty"`
	// Input and Tries lie sealed beside the output: the parameters as they were sent, JSON without
	// secrets, or with Cut a JSON text that holds their beginning; and the attempts before this one.
	Input []byte `cbor:"-"`
	Cut   bool   `cbor:"-"`
	Tries []Try  `cbor:"-"`
}

// Try is an attempt at a step that was followed by another.
type Try struct {
	Attempt uint32 `cbor:"1,keyasint"`
	At      Nanos  `cbor:"2,keyasint"`
	Code    string `cbor:"3,keyasint,omitempty"`
	Message string `cbor:"4,keyasint,omitempty"`
	Plugin  string `cbor:"5,keyasint,omitempty"`
}

// OpenCall says whether the line is of a call of which nobody knows whether it was carried out.
func (s *StepRecord) OpenCall() bool {
	return s.Action != "" && (s.Unsure || s.Status == "intent" || s.Status == "unknown")
}

// Key gives the record's key.
func (s *StepRecord) Key() StepKey { return StepKey{s.Run, s.Iteration, s.Path} }
