package workflow

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/triggers"
)

// Workflow is one revision of a workflow file, ready to run. It is immutable and may be shared.
type Workflow struct {
	ID       string
	Name     string // for people; the id if the file gives none
	File     string
	Revision string // the SHA-256 of Source in hex: a run stays on the revision it started with
	Source   []byte // the file as it was applied, byte for byte
	Triggers []Trigger
	Filter   *triggers.Expr // nil: every contact passes
	Key      *triggers.Expr // gives the text that at most one unfinished run may hold
	Mode     crm.RunMode    // what becomes of a start whose key has an unfinished run
	Max      int            // how many unfinished runs a key may have, queued ones too, if the mode lets it have several
	Reenter  Reenter
	CancelOn []Cancel
	Timeout  crm.Nanos // how long a run may take from its start; 0: as long as it likes
	Handler  int       // the index of the first step of on_error, which a failed run goes through before it ends; 0: there is none
	Nodes    []Node    // the steps in the order of the file; a run starts at index 0
	Tests    []Test    // the cases of its tests

	index map[string]int
	file  *file // for the positions of what Check finds

	unended *triggers.Diagnostic // how its file fails to say that it is whole
}

// Reenter says when a key that had a run may have another. The zero Reenter is always.
type Reenter struct {
	Never bool
	After crm.Nanos // from the start of the last run, over or not
}

// Cancel is an event that ends the unfinished runs of its contact, the suspended ones too.
type Cancel struct {
	Event        *triggers.Trigger
	EventKind    crm.EventKind
	Reason       string // "" is cancel_on
	Line, Column int
}

// Trigger is what starts runs: Event is set, with EventKind or Becomes, or Schedule, Spec, Over and Where.
type Trigger struct {
	ID           string
	Event        *triggers.Trigger // nil for a schedule
	EventKind    crm.EventKind
	Becomes      string             // the condition that an event has to make true, as it is written
	Schedule     *triggers.Schedule // nil for an event
	Spec         triggers.ScheduleSpec
	Over         crm.StateSet       // whom the schedule goes over: OnlyLive or OnlyDeleted
	Where        triggers.Selection // which of those
	Limits       Limits             // what one of its fires starts at most
	Hook         *Hook              // of a webhook: whom a request is about; Event is set too
	Line, Column int                // 1-based

	place cronPlace
}

// NodeKind is what a step does.
type NodeKind uint8

// The kinds of step.
const (
	Action NodeKind = iota + 1 // executes an action of a plugin
	Wait                       // sleeps until an instant, an event or a time of day
	Branch                     // goes on with the first arm whose condition holds
	Set                        // makes values for later steps
	Exit                       // ends the run
)

// String names the kind as the file's key does.
func (k NodeKind) String() string {
	return [...]string{"", "action", "wait", "branch", "set", "exit"}[k]
}

// Node is one step. Control flow is in Next and Arms alone; the order of nodes is for people.
type Node struct {
	ID           string
	Kind         NodeKind
	Action       string         // of an action: the name of it
	With         *Value         // of an action: its parameters, nil if there are none; of a set: its values
	Limit        crm.Nanos      // of an action: how long one attempt may take; 0: as long as the action may
	Wait         crm.Nanos      // of a wait: how long, at most if it is for an event; 0 then: for ever
	Until        *triggers.Expr // of a wait: gives the instant at which it ends
	Hears        *triggers.Trigger
	HearsKind    crm.EventKind    // with Hears, of a wait: what ends it
	Window       *triggers.Window // of a wait: it ends once clocks stand in it
	Arms         []Arm            // of a branch
	Next         int              // the index of the node after this one, for a branch that no arm takes too; -1: the run ends
	Retry        Retry            // of an action
	OnError      int              // of an action: see Caught
	ExitStatus   string           // of an exit: completed, skipped or failed
	ExitReason   *triggers.Template
	Line, Column int // 1-based

	at span // what Check points at: the action's name, else the step's first key
}

// Retry says how often a step is tried, and how long it rests in between. The zero Retry is the engine's own.
type Retry struct {
	Attempts    uint32    // in all; 0: as the engine has it
	First, Most crm.Nanos // the rest after the first attempt, which doubles up to Most; 0: as the engine has it
	On          []string  // codes of failures that are tried again too
}

// Caught says whether a step's failure does not fail the run, and the index of the node at which it goes on,
// -1 if it ends there.
func (n *Node) Caught() (next int, caught bool) {
	switch {
	case n.OnError == 0:
		return 0, false
	case n.OnError < 0:
		return -1, true
	}
	return n.OnError - 1, true
}

// Arm is one way out of a branch.
type Arm struct {
	If    *triggers.Expr // nil: else
	First int            // the index of the arm's first node, or the branch's own Next if the arm has none
}

// Node finds a step by its id; false if the workflow has none of that id.
func (w *Workflow) Node(id string) (int, bool) {
	i, ok := w.index[id]
	return i, ok
}

// Short is the beginning of the revision, for people.
func (w *Workflow) Short() string { return w.Revision[:12] }

// Listens says whether events have to be heard before a run of the workflow goes on: one may end it, or be
// what it waits for.
func (w *Workflow) Listens() bool {
	return len(w.CancelOn) > 0 || slices.ContainsFunc(w.Nodes, func(n Node) bool { return n.Hears != nil })
}
