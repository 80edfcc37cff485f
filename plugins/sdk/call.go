package sdk

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// Call is one item to decide, beside its parameters.
type Call struct {
	Targets []Target  // the contacts that effects can name, by index
	Key     string    // the idempotency key: the same on every attempt at the same step
	Attempt int       // from 1
	DryRun  bool      // nothing will be committed: do nothing to the outside world
	Now     time.Time // the only clock to use
	Run     RunInfo
	Log     *slog.Logger // reaches the host's log; put no personal data in it
}

// RunInfo says on whose behalf the item is executed.
type RunInfo struct {
	ID, Workflow, Step string
	StartedAt          time.Time
}

// State is where a contact is in its life.
type State string

// The states.
const (
	Live    State = "live"
	Deleted State = "deleted"
	Purged  State = "purged"
)

// Target is a contact that the item is about.
type Target struct {
	ID        string
	State     State
	Epoch     uint64 // goes up at each delete, restore and purge
	Contact   Contact
	Tombstone *Tombstone // of a deleted contact, if the action reads it
}

// Contact holds the facts that the action reads; all others are empty.
type Contact struct {
	CreatedAt   time.Time
	Email       string
	Phone       string
	ExternalID  string
	Tags        []string
	Memberships []Membership
	Fields      map[string]any  // string, float64, bool, time.Time or []string
	DND         map[string]bool // do-not-disturb by channel
}

// Membership is a place on a list.
type Membership struct {
	List   string
	Status string // subscribed, unsubscribed, unconfirmed or bounced
	Since  time.Time
}

// Tombstone says how a contact was deleted.
type Tombstone struct {
	DeletedAt, RestorableUntil time.Time
	By, Cause, Reason          string
}

// HasTag says whether the contact carries the tag; tags are compared without case.
func (c Contact) HasTag(tag string) bool {
	tag = strings.TrimSpace(tag)
	return slices.ContainsFunc(c.Tags, func(t string) bool { return strings.EqualFold(strings.TrimSpace(t), tag) })
}

// Target gives the first target, or one without an id if the item has none.
func (c Call) Target() Target {
	if len(c.Targets) == 0 {
		return Target{}
	}
	return c.Targets[0]
}

func (c Call) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// decoded reads parameters into a struct; a name that the struct does not have is an error.
func decoded[In any](params json.RawMessage) (in In, err error) {
	if len(params) == 0 {
		return in, nil
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		// The decoder's own words would repeat a value.
		return in, Fail("invalid_params", "the parameters do not fit the action's schema")
	}
	return in, nil
}

func callOf(req *actionv1.ExecuteRequest, it *actionv1.Item, log *slog.Logger) Call {
	r := it.GetRun()
	c := Call{
		Key: it.GetIdempotencyKey(), Attempt: int(it.GetAttempt()), DryRun: req.GetDryRun(), Now: instant(req.GetNow()),
		Run: RunInfo{ID: r.GetId(), Workflow: r.GetWorkflow(), Step: r.GetStep(), StartedAt: instant(r.GetStartedAt())},
		Log: log.With("action", req.GetAction(), "run", r.GetId(), "step", r.GetStep()),
	}
	for _, t := range it.GetTargets() {
		c.Targets = append(c.Targets, targetOf(t))
	}
	return c
}

var states = map[actionv1.State]State{
	actionv1.State_STATE_LIVE: Live, actionv1.State_STATE_DELETED: Deleted, actionv1.State_STATE_PURGED: Purged,
}

func targetOf(t *actionv1.Target) Target {
	c := t.GetContact()
	out := Target{ID: t.GetContactId(), State: states[t.GetState()], Epoch: t.GetEpoch(), Contact: Contact{
		CreatedAt: instant(c.GetCreatedAt()), Email: c.GetEmail(), Phone: c.GetPhone(),
		ExternalID: c.GetExternalId(), Tags: c.GetTags(), Fields: map[string]any{}, DND: map[string]bool{},
	}}
	for _, m := range c.GetLists() {
		out.Contact.Memberships = append(out.Contact.Memberships,
			Membership{List: m.GetListId(), Status: m.GetStatus(), Since: instant(m.GetSince())})
	}
	for _, f := range c.GetFields() {
		out.Contact.Fields[f.GetName()] = plain(f.GetValue())
	}
	for _, d := range c.GetDnd() {
		out.Contact.DND[d.GetName()] = d.GetOn()
	}
	if ts := t.GetTombstone(); ts != nil {
		out.Tombstone = &Tombstone{DeletedAt: instant(ts.GetDeletedAt()), RestorableUntil: instant(ts.GetRestorableUntil()),
			By: ts.GetBy(), Cause: ts.GetCause(), Reason: ts.GetReason()}
	}
	return out
}

func plain(v *actionv1.Value) any {
	switch k := v.GetKind().(type) {
	case *actionv1.Value_Text:
		return k.Text
	case *actionv1.Value_Number:
		return k.Number
	case *actionv1.Value_Bool:
		return k.Bool
	case *actionv1.Value_Instant:
		return instant(k.Instant)
	case *actionv1.Value_List:
		return k.List.GetItems()
	}
	return nil
}

// instant keeps 0 apart: it means that there is none.
func instant(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
