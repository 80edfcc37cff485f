package plugins

import (
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// Spec is what one action is and what it may do. The host enforces each line of it.
type Spec struct {
	Action     string        `json:"action"`
	Summary    string        `json:"summary,omitempty"`
	Plugin     string        `json:"plugin,omitempty"`
	Version    string        `json:"version,omitempty"`
	Reads      []string      `json:"reads"`   // the facts that are sent, sorted
	Effects    []EffectKind  `json:"effects"` // the effects that are accepted, sorted
	External   bool          `json:"external"`
	Idempotent bool          `json:"idempotent"`
	Network    []string      `json:"network"`       // the hosts that it talks to; a plugin whose actions name none gets no network where it can be kept away
	Timeout    time.Duration `json:"timeout_nanos"` // of one call, which holds up to 1000 items
	Schema     []byte        `json:"-"`             // JSON Schema of the parameters
	Broken     error         `json:"-"`             // why the action cannot run now; nil if it can
}

// Allows says whether the action may ask for the effect.
func (s Spec) Allows(k EffectKind) bool { return slices.Contains(s.Effects, k) }

// Facts gives what the action reads as facts, for the revision that a commit compares. The words
// created_at and tombstone name no fact.
func (s Spec) Facts() []crm.Fact {
	var facts []crm.Fact
	for _, w := range s.Reads {
		switch name, field := strings.CutPrefix(w, "fields."); {
		case field:
			facts = append(facts, crm.Fact{Kind: crm.FactField, Name: name})
		case w == "fields":
			facts = append(facts, crm.Fact{Kind: crm.FactField})
		case w == "tags":
			facts = append(facts, crm.Fact{Kind: crm.FactTag})
		case w == "lists":
			facts = append(facts, crm.Fact{Kind: crm.FactList})
		case w == "dnd":
			facts = append(facts, crm.Fact{Kind: crm.FactDND})
		case w == "email", w == "phone", w == "external_id":
			facts = append(facts, crm.Fact{Kind: crm.FactIdentity, Name: w})
		}
	}
	return facts
}

// Batch is what one Execute decides.
type Batch struct {
	Now    crm.Nanos
	DryRun bool // nothing will be committed; an external action is told so
	Items  []Item
	// As is the action as the caller was given it, by which he has decided what to send and what to write
	// down before: nothing is sent to a version that declares other things. nil: whatever it declares.
	As *Spec
}

// Item is one step of one run.
type Item struct {
	Key     string // idempotency key: the same on every attempt at the step, unique in the batch
	Attempt uint32 // from 1
	Run     RunInfo
	Params  []byte // JSON object, or nothing
	Targets []Target
}

// RunInfo says on whose behalf an item is executed.
type RunInfo struct {
	ID, Workflow, Step string
	StartedAt          crm.Nanos
}

// Target is a contact that an item may have an effect on, as the caller read it.
type Target struct {
	Contact   *crm.Contact // nil once purged
	Life      crm.Life     // the zero Life is a live contact's in epoch 0
	Tombstone *crm.Manifest
	ReadsRev  uint64
}

// key names the contact; a life row names it too, for a contact that is gone.
func (t Target) key() crm.Key {
	if t.Contact != nil {
		return t.Contact.Key()
	}
	return t.Life.Key()
}

// Status says which members of an Outcome count.
type Status uint8

// The statuses. NoOutcome stands only beside an error: the item was sent and may have run.
const (
	NoOutcome Status = iota
	Done
	Skip
	Retry
	Fail
)

// String names the status as journals do.
func (s Status) String() string { return [...]string{"unknown", "done", "skip", "retry", "fail"}[s] }

// The codes of a Fail or Retry that the host itself decides.
const (
	CodeNotSent     = "not_sent"     // Retry: the item never reached the plugin
	CodeTooLarge    = "too_large"    // the item alone is over 1 MiB
	CodeProtocol    = "protocol"     // the plugin left the item out, or answered it twice
	CodeUndeclared  = "undeclared"   // an effect that the action did not declare
	CodeBadTarget   = "bad_target"   // an effect on a target that the item does not have
	CodeDeadTarget  = "target_state" // an effect that the target's state does not take
	CodeBadEffect   = "bad_effect"   // an effect that says nothing that can be done
	CodeBadOutput   = "bad_output"   // an output that is no JSON or over 64 KiB
	CodeManyEffects = "many_effects" // more than 100 effects for one item
	CodeNoResult    = "no_result"    // an answer without a result
	codeFailed      = "failed"       // the plugin failed the item without a code
)

// Outcome is what became of one item. Message and Hint are the plugin's words: cleaned of control
// characters and cut, but not of meaning.
type Outcome struct {
	Status  Status
	Effects []Effect  // Done: to be committed in order, all or none
	Output  []byte    // Done: JSON, or nothing
	After   crm.Nanos // Retry: how long to wait at least
	Code    string    // Fail
	Message string    // Skip, Retry, Fail: why
	Hint    string    // Fail
}
