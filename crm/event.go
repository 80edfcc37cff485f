package crm

// EventKind names what happened, as triggers and logs spell it.
type EventKind string

// The kinds of event. Those of a life (deleted, restored, purged, held, released), of a run and of a
// workflow go to the log and to other systems; no workflow can be started by one.
const (
	ContactCreated      EventKind = "contact.created"
	ContactTagAdded     EventKind = "contact.tag_added"
	ContactTagRemoved   EventKind = "contact.tag_removed"
	ContactFieldChanged EventKind = "contact.field_changed"
	ContactIdentity     EventKind = "contact.identity_changed"
	ContactListChanged  EventKind = "contact.list_changed"
	ContactDNDChanged   EventKind = "contact.dnd_changed"
	ContactArchived     EventKind = "contact.archived_changed"
	RecordCreated       EventKind = "record.created"
	RecordChanged       EventKind = "record.changed"
	RecordDeleted       EventKind = "record.deleted"
	CampaignEnrolled    EventKind = "campaign.enrolled"
	CampaignLeft        EventKind = "campaign.left"
	ContactLinked       EventKind = "contact.linked"
	ContactUnlinked     EventKind = "contact.unlinked"
	CampaignActivity    EventKind = "campaign.activity" // a message was sent, opened or clicked
	// A request to a webhook about the contact. Only the webhook that it was for can be started by it.
	WebhookReceived EventKind = "webhook.received"

	ContactDeleted  EventKind = "contact.deleted"
	ContactRestored EventKind = "contact.restored"
	ContactPurged   EventKind = "contact.purged"
	ContactHeld     EventKind = "contact.held"
	ContactReleased EventKind = "contact.released"
	// What a restore left behind was removed at its deadline.
	ContactDiscarded EventKind = "contact.discarded"
	// A message for a deleted contact was kept until it is restored, or dropped.
	InboundQueued  EventKind = "inbound.queued"
	InboundDropped EventKind = "inbound.dropped"

	RunStarted        EventKind = "run.started"
	RunResumed        EventKind = "run.resumed"
	RunRetried        EventKind = "run.retried"
	EnrollmentResumed EventKind = "campaign.resumed"
	WorkflowApplied   EventKind = "workflow.applied"
	WorkflowDeleted   EventKind = "workflow.deleted"
	WorkflowPaused    EventKind = "workflow.paused"
	WorkflowResumed   EventKind = "workflow.resumed"
	PolicyChanged     EventKind = "policy.changed"
	PluginChanged     EventKind = "plugin.changed" // a version was installed, came into use or was removed
	AccountHIPAA      EventKind = "account.hipaa"
	OperationAccepted EventKind = "operation.accepted"
	OperationEnded    EventKind = "operation.ended"
	ObjectChanged     EventKind = "object.changed" // a list, campaign, company or opportunity
	ClockConfirmed    EventKind = "clock.confirmed"
	MasterKeyRotated  EventKind = "store.key_rotated" // the store's data key was wrapped anew
	AuditKeyRotated   EventKind = "audit.key_rotated" // Name is the new public key
	ContactsExported  EventKind = "contacts.exported" // Name says which, how many and with what sha256
)

// EventField says what a condition finds under event.NAME for one kind of event.
type EventField struct {
	Name string
	Kind ValueKind
}

// TriggerKinds lists the kinds of event that a trigger can name, with their fields. Anything that is
// not here cannot start a run, but for the two kinds that say themselves what they start: WorkflowEntered and
// WebhookReceived.
var TriggerKinds = map[EventKind][]EventField{
	ContactCreated:      {},
	ContactTagAdded:     {{"tag", TextValue}},
	ContactTagRemoved:   {{"tag", TextValue}},
	ContactFieldChanged: {{"field", TextValue}, {"value", TextValue}, {"old_value", TextValue}},
	ContactIdentity:     {{"field", TextValue}},
	ContactListChanged:  {{"list", TextValue}, {"status", TextValue}, {"old_status", TextValue}},
	ContactDNDChanged:   {{"channel", TextValue}, {"on", BoolValue}},
	ContactArchived:     {{"on", BoolValue}},
	RecordCreated:       {{"kind", TextValue}},
	RecordChanged:       {{"kind", TextValue}},
	RecordDeleted:       {{"kind", TextValue}},
	CampaignEnrolled:    {{"campaign", TextValue}},
	CampaignLeft:        {{"campaign", TextValue}},
}

// EventData is what happened, as text: which members count depends on the kind of event.
type EventData struct {
	Name      string   `cbor:"1,keyasint,omitempty"` // tag, field, channel, list or campaign, by name
	Value     string   `cbor:"2,keyasint,omitempty"` // new value or status
	Old       string   `cbor:"3,keyasint,omitempty"` // old value or status
	On        bool     `cbor:"4,keyasint,omitempty"`
	Item      ItemID   `cbor:"5,keyasint,omitzero"`
	Kind      ItemKind `cbor:"6,keyasint,omitempty"`
	Reason    string   `cbor:"7,keyasint,omitempty"`
	Until     Nanos    `cbor:"8,keyasint,omitempty"`
	OldExists bool     `cbor:"9,keyasint,omitempty"` // the fact was there before with the value Old
	// OldValue is Old as it was, of a field that was there before.
	OldValue *Value `cbor:"10,keyasint,omitempty"`
	Body     string `cbor:"11,keyasint,omitempty"` // of a request to a webhook, as ParseBody made it
}

// Field gives what a condition sees under event.NAME: a string, a bool or a decoded body; nil for an unknown name.
func (d EventData) Field(name string) any {
	switch name {
	case "tag", "field", "list", "channel", "campaign", "webhook":
		return d.Name
	case "body":
		return BodyValue(d.Body)
	case "value", "status":
		return d.Value
	case "old_value", "old_status":
		return d.Old
	case "on":
		return d.On
	case "kind":
		return d.Kind.String()
	}
	return nil
}

// Event is what one mutation did: the facts after it and the old value of the fact that changed. It
// is written to the log in the transaction of its mutation.
type Event struct {
	Kind    EventKind `cbor:"1,keyasint"`
	Account AccountID `cbor:"2,keyasint"`
	Contact ContactID `cbor:"3,keyasint"`
	Epoch   uint64    `cbor:"4,keyasint,omitempty"`
	Rev     uint64    `cbor:"5,keyasint,omitempty"`
	At      Nanos     `cbor:"6,keyasint"`
	By      Actor     `cbor:"7,keyasint"`
	Why     Cause     `cbor:"8,keyasint"`
	Data    EventData `cbor:"9,keyasint,omitzero"`
	// After is the contact after the mutation: conditions see this image, never what the contact has
	// become by the time they are evaluated. Nil for the events of a life.
	After *Contact `cbor:"10,keyasint,omitempty"`
}

// Before gives the contact as it was before the event, for conditions on what becomes true; nil if there was
// nobody, or what the event is about cannot be opened. The revisions in it mean nothing.
func (e *Event) Before() *Contact {
	if e.After == nil || e.Kind == ContactCreated {
		return nil
	}
	c, d := e.After.Clone(), e.Data
	var back Mutation
	switch e.Kind {
	case ContactTagAdded:
		back = RemoveTag{Tag: d.Name}
	case ContactTagRemoved:
		back = AddTag{Tag: d.Name}
	case ContactFieldChanged:
		old := Value{}
		if d.OldValue != nil {
			old = *d.OldValue
		}
		back = SetField{Name: d.Name, Value: old}
	case ContactIdentity:
		back = SetIdentity{Name: d.Name, Value: d.Old}
	case ContactListChanged:
		back = SetMembership{List: d.Item, Status: Status(d.Old)}
	case ContactDNDChanged:
		back = SetDND{Channel: d.Name, On: !d.On}
	case ContactArchived:
		back = Archive{On: !d.On}
	default:
		return c // it changed no fact
	}
	ChangeFact(c, back, 0, e.At, false)
	return c
}

// Refusal says why something that a trigger may have matched starts nothing.
type Refusal string

// The refusals, in the order in which they are looked for.
const (
	NotRefused     Refusal = ""
	RefusedKind    Refusal = "not_a_trigger_event" // the events of a life start nothing
	RefusedCause   Refusal = "cause"               // a restore, a purge, an import, late inbound or the loss of a tag did it
	RefusedState   Refusal = "not_live"            // the contact is deleted or purged by now
	RefusedArchive Refusal = "archived"            // an archived contact is out of every workflow
	RefusedEpoch   Refusal = "stale_epoch"         // it was deleted or restored since
	RefusedQuiet   Refusal = "before_restore"      // the fact was last changed before the restore
	RefusedDepth   Refusal = "too_deep"            // a chain of workflows that set each other off
	RefusedUnknown Refusal = "unreadable"          // purged: its payload cannot be opened any more
)

// TriggerEvent is an event that may start runs. Event.Trigger is its only maker; the zero value is
// not valid and matches nothing.
type TriggerEvent struct{ ev *Event }

// Valid says whether Event.Trigger made it.
func (t TriggerEvent) Valid() bool { return t.ev != nil }

// Event gives the event; it must not be changed.
func (t TriggerEvent) Event() *Event { return t.ev }

// Trigger is THE suppression rule for events: it says whether the event may start runs, given the
// contact's life now.
func (e Event) Trigger(l Life) (TriggerEvent, bool) {
	if e.Refusal(l) != NotRefused {
		return TriggerEvent{}, false
	}
	return TriggerEvent{&e}, true
}

// Refusal says why Trigger refuses the event, or NotRefused.
func (e Event) Refusal(l Life) Refusal {
	_, kind := TriggerKinds[e.Kind]
	switch {
	case !kind && e.Kind != WorkflowEntered && e.Kind != WebhookReceived: // these name what they start
		return RefusedKind
	case e.Why.Kind == ByRestore, e.Why.Kind == ByInbound, e.Why.Kind == ByRetention, e.Why.Kind == ByImport, e.Why.Kind == ByAccount, e.Why.Kind == ByLedger:
		return RefusedCause
	case e.Why.Depth >= MaxDepth:
		return RefusedDepth
	case e.After == nil:
		return RefusedUnknown
	case l.State != Live:
		return RefusedState
	case e.After.Archived.On:
		return RefusedArchive
	case e.Epoch != l.Epoch:
		return RefusedEpoch
	case l.QuietRev > 0 && e.Rev <= l.QuietRev:
		return RefusedQuiet
	}
	return NotRefused
}

// Selectable is a contact that a scheduled selection may start a run for. Contact.Selectable is its
// only maker.
type Selectable struct {
	key      Key
	epoch    uint64
	entitled uint64
	ok       bool
}

// Selectable is the same rule for scheduled selections: a restored contact is skipped until a fact
// that the selection's where reads has changed since. A where that reads nothing never selects a
// restored contact, and none selects an archived one. For a selection over deleted contacts there is no quiet revision: what is
// deleted has not been restored.
func (c Contact) Selectable(l Life, reads []Fact) (Selectable, bool) {
	rev := c.HighestRev(reads)
	switch {
	case l.State == Purged, l.State == Live && c.Archived.On:
		return Selectable{}, false
	case l.State == Live && l.QuietRev > 0 && rev <= l.QuietRev:
		return Selectable{}, false
	}
	return Selectable{c.Key(), l.Epoch, rev, true}, true
}

// Entitled is what a run for a contact must show to be started: a TriggerEvent or a Selectable, and
// nothing else can be one.
type Entitled interface {
	// Entitlement gives the contact, the epoch in which the run may start, and the revision of the
	// fact that entitles it.
	Entitlement() (k Key, epoch, rev uint64, ok bool)
	sealed()
}

// Entitlement implements Entitled.
func (t TriggerEvent) Entitlement() (Key, uint64, uint64, bool) {
	if t.ev == nil {
		return Key{}, 0, 0, false
	}
	return Key{t.ev.Account, t.ev.Contact}, t.ev.Epoch, t.ev.Rev, true
}

// Entitlement implements Entitled.
func (s Selectable) Entitlement() (Key, uint64, uint64, bool) {
	return s.key, s.epoch, s.entitled, s.ok
}

func (TriggerEvent) sealed() {}
func (Selectable) sealed()   {}
