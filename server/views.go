package server

import (
	"encoding/json"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// The views are what verbs show: snake_case, names instead of row ids where there are any, never a
// salt.

// ContactView is a contact as people and programs see it.
type ContactView struct {
	ID              crm.ContactID     `json:"id"`
	State           crm.State         `json:"state"`
	Name            string            `json:"name,omitempty"`
	Email           string            `json:"email,omitempty"`
	Phone           string            `json:"phone,omitempty"`
	ExternalID      string            `json:"external_id,omitempty"`
	Tags            []string          `json:"tags"`
	Lists           map[string]string `json:"lists"` // name → status
	Fields          map[string]any    `json:"fields,omitempty"`
	Archived        bool              `json:"archived,omitempty"`
	Held            bool              `json:"legal_hold,omitempty"`
	Hold            *crm.HoldNote     `json:"hold,omitempty"`           // why, by whom and since when
	DND             []string          `json:"do_not_disturb,omitempty"` // the channels on which it is on
	CreatedAt       crm.Nanos         `json:"created_at"`
	Epoch           uint64            `json:"epoch"`
	Revision        uint64            `json:"revision"`
	DeletedAt       crm.Nanos         `json:"deleted_at,omitzero"`
	RestorableUntil crm.Nanos         `json:"restorable_until,omitzero"`
	Tombstone       *TombstoneView    `json:"tombstone,omitempty"` // of a deleted one that was asked for by name
}

// TombstoneView is what there is to know of a deletion.
type TombstoneView struct {
	DeletedAt       crm.Nanos       `json:"deleted_at"`
	RestorableUntil crm.Nanos       `json:"restorable_until"`
	By              string          `json:"by"`
	Workflow        string          `json:"workflow,omitempty"`
	Run             crm.RunID       `json:"run,omitzero"`
	Reason          string          `json:"reason,omitempty"`
	Operation       crm.OperationID `json:"operation,omitzero"`
}

func tombstoneView(m *crm.Manifest) *TombstoneView {
	return &TombstoneView{DeletedAt: m.At, RestorableUntil: m.RestorableUntil, By: m.By.ID, Workflow: m.Why.Workflow,
		Run: m.Why.Run, Reason: m.Reason, Operation: m.Why.Operation}
}

// contactView shows a contact; listName names lists.
func contactView(c *crm.Contact, l crm.Life, listName func(crm.ItemID) string) ContactView {
	v := ContactView{ID: c.ID, State: l.State, Name: fullName(c), Email: c.Email.Value, Phone: c.Phone.Value,
		ExternalID: c.External.Value, Tags: c.TagNames(), Lists: map[string]string{}, Archived: c.Archived.On,
		Held: l.Held, CreatedAt: c.CreatedAt, Epoch: l.Epoch, Revision: c.Rev}
	for _, m := range c.Lists {
		if name := listName(m.List); !m.Absent && name != "" {
			v.Lists[name] = string(m.Status)
		}
	}
	if l.Held {
		hold := c.Hold
		v.Hold = &hold
	}
	for _, d := range c.DND {
		if d.On {
			v.DND = append(v.DND, d.Name)
		}
	}
	for _, f := range c.Fields {
		if !f.Absent {
			if v.Fields == nil {
				v.Fields = map[string]any{}
			}
			v.Fields[f.Name] = f.Value.Any()
		}
	}
	if l.State == crm.Deleted {
		v.DeletedAt, v.RestorableUntil = l.Since, l.RestorableUntil
	}
	return v
}

func fullName(c *crm.Contact) string {
	first, last := c.Field("first_name").Text, c.Field("last_name").Text
	if first != "" && last != "" {
		return first + " " + last
	}
	return first + last
}

// RecordView is an associated record.
type RecordView struct {
	ID        crm.ItemID   `json:"id"`
	Kind      crm.ItemKind `json:"kind"`
	Title     string       `json:"title,omitempty"`
	Body      string       `json:"body,omitempty"`
	Status    string       `json:"status,omitempty"`
	CreatedAt crm.Nanos    `json:"created_at"`
	Due       crm.Nanos    `json:"due,omitzero"`
	DeletedAt crm.Nanos    `json:"deleted_at,omitzero"` // deleted on its own: no restore brings it back
}

// RunView is a run.
type RunView struct {
	ID        crm.RunID     `json:"id"`
	Workflow  string        `json:"workflow"`
	Revision  string        `json:"revision"`
	Applied   string        `json:"applied_revision,omitempty"` // of one that was retried: the one that is applied now, if the run is not there
	Trigger   string        `json:"trigger"`
	Contact   crm.ContactID `json:"contact,omitzero"`
	Status    crm.RunStatus `json:"status"`
	Step      string        `json:"step,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Code      string        `json:"code,omitempty"` // of the failure that ended it
	Due       crm.Nanos     `json:"due,omitzero"`
	StartedAt crm.Nanos     `json:"started_at"`
	EndedAt   crm.Nanos     `json:"ended_at,omitzero"`
	Depth     uint8         `json:"depth,omitempty"`   // how many runs lie between what a person did and this one, each set off by the one before; at most 7
	Retries   uint32        `json:"retries,omitempty"` // how often somebody let it go on after it had ended
	RetriedAt crm.Nanos     `json:"retried_at,omitzero"`
	Steps     []StepView    `json:"steps,omitempty"`
}

// StepView is a line of a run's journal.
type StepView struct {
	Step    string    `json:"step"`
	Action  string    `json:"action,omitempty"`
	Status  string    `json:"status"`
	Attempt uint32    `json:"attempt,omitempty"`
	At      crm.Nanos `json:"at"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	Plugin  string    `json:"plugin,omitempty"`
	// Iteration is how often the run had been retried by then: each time has lines of its own.
	Iteration uint32 `json:"iteration,omitempty"`
	// Unknown says that nobody knows whether the call was carried out.
	Unknown bool            `json:"outcome_unknown,omitempty"`
	Tries   []TryView       `json:"tries,omitempty"`     // the attempts before this one, the last nine
	Input   json.RawMessage `json:"input,omitempty"`     // the parameters as they were sent, without secrets
	Cut     bool            `json:"input_cut,omitempty"` // the input is a text that holds their beginning
	Output  json.RawMessage `json:"output,omitempty"`
}

// TryView is an attempt at a step that was followed by another.
type TryView struct {
	Attempt uint32    `json:"attempt"`
	At      crm.Nanos `json:"at"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	Plugin  string    `json:"plugin,omitempty"`
}

func runView(tx *store.Tx, r *crm.Run) (RunView, error) {
	life, err := tx.Life(crm.Key{Account: r.Account, Contact: r.Contact})
	v := RunView{ID: r.ID, Workflow: r.Workflow, Revision: short(r.Revision), Trigger: r.Trigger, Contact: r.Contact,
		Status: r.StatusFor(life), Step: r.Step, Reason: r.Reason, Due: r.Due, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
		Depth: r.Depth, Retries: r.Iteration, RetriedAt: r.Retried}
	if r.Status == crm.RunFailed {
		v.Code = r.Code
	}
	if v.Status != r.Status { // suspended, or over with its tombstone: no timer will wake it
		v.Due = 0
		if v.Status == crm.RunCancelled {
			v.Reason = r.WhyCancelled()
		}
	}
	if err != nil || v.Reason != "" || !v.Status.Finished() {
		return v, err
	}
	steps, err := tx.Steps(r.ID) // what an exit step gave as its reason is in the sealed journal
	for _, s := range steps {
		if s.Path == r.Step && s.Action == "" {
			v.Reason = s.Message
		}
	}
	return v, err
}

func short(revision string) string { return revision[:min(12, len(revision))] }
