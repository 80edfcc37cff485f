package crm

import "encoding/json"

// State is where a contact is in its life: live → deleted → live, deleted → purged, and, as an
// erasure, live → purged.
type State uint8

// The states. The zero value is live, since no life row at all means live in epoch 0.
const (
	Live State = iota
	Deleted
	Purged
)

// String names the state.
func (s State) String() string { return [...]string{"live", "deleted", "purged"}[s] }

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(b []byte) error {
	for _, st := range []State{Live, Deleted, Purged} {
		if st.String() == string(b) {
			*s = st
			return nil
		}
	}
	return Errorf("read a state", CodeInvalid, "it is live, deleted or purged")
}

// Life is the small row from which everything about a deletion is derived. A delete writes this row
// and touches neither the contact nor its records, runs or timers: they are live, or runnable, only
// as far as this row says so.
type Life struct {
	Account AccountID `cbor:"1,keyasint"`
	Contact ContactID `cbor:"2,keyasint"`
	State   State     `cbor:"3,keyasint,omitempty"`
	// Epoch goes up by one at each delete, restore and purge. A run, an enrollment, a claim or a
	// result that carries an older one is stale.
	Epoch uint64 `cbor:"4,keyasint,omitempty"`
	// QuietRev is the contact's revision at its last restore: facts not changed since start nothing.
	QuietRev        uint64      `cbor:"5,keyasint,omitempty"`
	Since           Nanos       `cbor:"6,keyasint,omitempty"` // of the state
	RestorableUntil Nanos       `cbor:"7,keyasint,omitempty"` // stamped at the delete, never shortened
	Operation       OperationID `cbor:"8,keyasint,omitzero"`  // the bulk operation that deleted it
	Held            bool        `cbor:"9,keyasint,omitempty"` // a legal hold: no delete, no purge
	// Lost is what restores did not bring back: hidden by epoch, without a write for each item, and
	// removed by the sweep at the deadline of the deletion that took it.
	Lost []Loss `cbor:"10,keyasint,omitempty"`
	// Last is the log's latest entry about the contact that did not write the contact's own row.
	Last uint64 `cbor:"12,keyasint,omitempty"`
	// Shelved are the epochs that an archiving ended, and when: what ran in them has stood still since.
	Shelved []Shelving `cbor:"13,keyasint,omitempty"`
}

// Shelving is an archiving.
type Shelving struct {
	Epoch uint64 `cbor:"1,keyasint,omitempty"` // that it ended
	At    Nanos  `cbor:"2,keyasint"`
}

// Loss hides the contact's items of a kind that were made, or began, in an epoch before Before.
type Loss struct {
	Kind   ItemKind `cbor:"1,keyasint" json:"kind"`
	Before uint64   `cbor:"2,keyasint" json:"before"`                    // the epoch of the deletion that took them
	From   uint64   `cbor:"4,keyasint,omitempty" json:"from,omitempty"`  // what began before it is another loss's, or history
	Until  Nanos    `cbor:"5,keyasint,omitempty" json:"until,omitempty"` // when a sweep removes them
	// History: they stay to be seen, as over, and no sweep removes them. Enrollments only.
	History bool `cbor:"3,keyasint,omitempty" json:"history,omitempty"`
}

// Hides says whether an item of a kind, of an epoch, is one that a restore did not bring back.
func (l *Life) Hides(kind ItemKind, epoch uint64) bool {
	for i := range l.Lost {
		if x := &l.Lost[i]; x.hides(kind, epoch) {
			return true
		}
	}
	return false
}

func (x *Loss) hides(kind ItemKind, epoch uint64) bool {
	return x.Kind == kind.Ruled() && x.From <= epoch && epoch < x.Before
}

// hidBefore is Hides by the losses of deletions before an epoch.
func (l *Life) hidBefore(kind ItemKind, epoch, before uint64) bool {
	for i := range l.Lost {
		if x := &l.Lost[i]; x.hides(kind, epoch) && x.Before < before {
			return true
		}
	}
	return false
}

// TookAlong says whether the deletion that began an epoch took a record along which was not deleted on
// its own before: it was there, and no earlier restore had left it behind.
func (l *Life) TookAlong(r *Record, deletion uint64) bool {
	return r.Epoch < deletion && !l.hidBefore(r.Kind, r.Epoch, deletion)
}

// Discardable gives the losses whose deadline has come, and the others: what a sweep at now may remove,
// and what it leaves.
func (l *Life) Discardable(now Nanos) (due, rest []Loss) {
	for _, x := range l.Lost {
		if !x.History && now >= x.Until {
			due = append(due, x)
		} else {
			rest = append(rest, x)
		}
	}
	return due, rest
}

// NextDiscard gives the earliest instant at which a sweep may remove something that a restore did not
// bring back, 0 if there is nothing.
func (l *Life) NextDiscard() (first Nanos) {
	for _, x := range l.Lost {
		if !x.History && (first == 0 || x.Until < first) {
			first = x.Until
		}
	}
	return first
}

// Key gives the life's key: the contact's.
func (l *Life) Key() Key { return Key{l.Account, l.Contact} }

// Restorable says whether a restore at now is inside the recovery window: half open, so at the
// deadline itself it is over (S1.9, S2.2).
func (l *Life) Restorable(now Nanos) bool { return l.State == Deleted && now < l.RestorableUntil }

// Purgeable says whether a sweep at now may purge: never a nanosecond before the stamped deadline,
// and never under a legal hold.
func (l *Life) Purgeable(now Nanos) bool {
	return l.State == Deleted && now >= l.RestorableUntil && !l.Held
}

// DeadlineKey orders deleted contacts by the instant at which a sweep may purge them.
type DeadlineKey struct {
	Until   Nanos
	Account AccountID
	Contact ContactID
}

// Deadline is the row that a sweep finds a deleted contact by.
type Deadline struct {
	Until   Nanos     `cbor:"1,keyasint"`
	Account AccountID `cbor:"2,keyasint"`
	Contact ContactID `cbor:"3,keyasint"`
}

// Key gives the deadline's key.
func (d *Deadline) Key() DeadlineKey { return DeadlineKey{d.Until, d.Account, d.Contact} }

// EpochKey names what belongs to one epoch of one contact: its manifest, its receipt.
type EpochKey struct {
	Account AccountID
	Contact ContactID
	Epoch   uint64
}

// Fate says what a delete did to an item.
type Fate string

// The fates of items in a manifest.
const (
	Taken       Fate = "taken"       // hidden with the contact: its records, its sole opportunities
	Detached    Fate = "detached"    // cut off: what it shared goes on without it
	Interrupted Fate = "interrupted" // a run or a campaign enrollment that is runnable no more
	Kept        Fate = "kept"        // stays the contact's whatever a restore brings back, as tags do by default
	Stood       Fate = "suspended"   // a run or an enrollment that stood still already
	Lost        Fate = "lost"        // a sole opportunity that the policy closes for good (S3.15)
)

// ManifestItem is one thing that a delete took along or cut off.
type ManifestItem struct {
	Kind ItemKind `cbor:"1,keyasint" json:"kind"`
	ID   ItemID   `cbor:"2,keyasint" json:"id,omitzero"`
	Fate Fate     `cbor:"3,keyasint" json:"fate"`
	// Secondary: the contact was a shared opportunity's primary and is so no more (S3.16).
	Secondary bool   `cbor:"4,keyasint,omitempty" json:"secondary,omitempty"`
	Name      string `cbor:"-" json:"name,omitempty"` // filled in when read
}

// Manifest is exactly what a delete took along or cut off. The row holds the links; the records,
// tags and memberships are computed when it is read, which is exact because they cannot change
// while the contact is deleted.
type Manifest struct {
	Account         AccountID      `cbor:"1,keyasint" json:"-"`
	Contact         ContactID      `cbor:"2,keyasint" json:"contact"`
	Epoch           uint64         `cbor:"3,keyasint" json:"epoch"` // the epoch that the delete began
	At              Nanos          `cbor:"4,keyasint" json:"deleted_at"`
	RestorableUntil Nanos          `cbor:"5,keyasint" json:"restorable_until"`
	By              Actor          `cbor:"6,keyasint" json:"by"`
	Why             Cause          `cbor:"7,keyasint" json:"why"`
	Reason          string         `cbor:"8,keyasint,omitempty" json:"reason,omitempty"`
	Items           []ManifestItem `cbor:"9,keyasint,omitempty" json:"items"`
	Exported        string         `cbor:"10,keyasint,omitempty" json:"exported_sha256,omitempty"` // of the export that the policy asked for
}

// Key gives the manifest's key.
func (m *Manifest) Key() EpochKey { return EpochKey{m.Account, m.Contact, m.Epoch} }

// SkipReason says why a restore did not bring something back.
type SkipReason string

// The reasons for which an item is skipped.
const (
	SkipDeletedSeparately SkipReason = "deleted_separately"
	SkipListGone          SkipReason = "list_gone"
	SkipCompanyGone       SkipReason = "company_gone"
	SkipCampaignGone      SkipReason = "campaign_gone"
	SkipWorkflowGone      SkipReason = "workflow_gone"
	SkipTagGone           SkipReason = "tag_gone"
	SkipOpportunityLost   SkipReason = "opportunity_lost" // closed by the policy with its last live contact
	SkipPolicy            SkipReason = "policy"           // the policy does not bring this kind back
	SkipConflict          SkipReason = "conflict"         // a live contact holds the address by now
	// Not reasons to skip: what is different about an item that came back.
	BackAsSecondary SkipReason = "restored_as_secondary" // it was the primary of a shared opportunity
	BackPastDue     SkipReason = "past_due"              // what it waited for came and went meanwhile; it is not sent
)

// Outcome says what a restore did with an item of the manifest.
type Outcome string

// The outcomes of a restore.
const (
	Restored  Outcome = "restored"
	Suspended Outcome = "suspended" // a run or an enrollment: back, visible, with no timer armed
	History   Outcome = "history"   // a run or an enrollment: to be seen as over, never to go on
	Skipped   Outcome = "skipped"
)

// ReceiptItem is what became of one item.
type ReceiptItem struct {
	Kind    ItemKind   `cbor:"1,keyasint" json:"kind"`
	ID      ItemID     `cbor:"2,keyasint" json:"id,omitzero"`
	Outcome Outcome    `cbor:"3,keyasint" json:"outcome"`
	Reason  SkipReason `cbor:"4,keyasint,omitempty" json:"reason,omitempty"`
	Fact    string     `cbor:"5,keyasint,omitempty" json:"-"` // of an identity: email, phone or external_id; of a tag: its name
	Name    string     `cbor:"-" json:"name,omitempty"`       // filled in when read
}

// Receipt is what a restore did, item by item, and the proof of what it did not do: the three
// counts are not stored but counted in the log, the runs and the timers whenever it is read.
type Receipt struct {
	Account  AccountID     `cbor:"1,keyasint" json:"-"`
	Contact  ContactID     `cbor:"2,keyasint" json:"contact"`
	Epoch    uint64        `cbor:"3,keyasint" json:"epoch"` // the epoch that the restore began
	Deletion uint64        `cbor:"4,keyasint" json:"deletion"`
	At       Nanos         `cbor:"5,keyasint" json:"restored_at"`
	QuietRev uint64        `cbor:"6,keyasint" json:"quiet_revision"`
	By       Actor         `cbor:"7,keyasint" json:"by"`
	Why      Cause         `cbor:"8,keyasint" json:"why"`
	Reason   string        `cbor:"9,keyasint,omitempty" json:"reason,omitempty"`
	Items    []ReceiptItem `cbor:"10,keyasint,omitempty" json:"items"`
	Lost     []Loss        `cbor:"11,keyasint,omitempty" json:"lost,omitempty"` // the kinds that the policy left behind

	Suppressed  []Suppressed `cbor:"-" json:"triggers_suppressed"` // first refusal of each trigger in this epoch
	RunsStarted int          `cbor:"-" json:"runs_started"`        // by facts not changed since the restore: 0
	TimersArmed int          `cbor:"-" json:"timers_armed"`        // for runs and enrollments of before: 0
	Sends       int          `cbor:"-" json:"sends"`               // campaign messages of before: 0
}

// Key gives the receipt's key.
func (r *Receipt) Key() EpochKey { return EpochKey{r.Account, r.Contact, r.Epoch} }

// ItemText shows the id of an item of a kind: a run's as run_…, others as itm_….
func ItemText(kind ItemKind, id ItemID) string {
	switch {
	case id.IsZero():
		return ""
	case kind == WorkflowRun || kind == FinishedRun:
		return RunID(id).String()
	}
	return id.String()
}

// parseItem reads what ItemText wrote.
func parseItem(kind ItemKind, text string) (ItemID, error) {
	if text == "" {
		return ItemID{}, nil
	}
	if kind == WorkflowRun || kind == FinishedRun {
		id, err := ParseID[RunKind](text)
		return ItemID(id), err
	}
	return ParseID[ItemIDKind](text)
}

// MarshalJSON shows the id as what it is of.
func (i ManifestItem) MarshalJSON() ([]byte, error) {
	type plain ManifestItem
	return json.Marshal(struct {
		plain
		ID string `json:"id,omitempty"`
	}{plain(i), ItemText(i.Kind, i.ID)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (i *ManifestItem) UnmarshalJSON(b []byte) (err error) {
	type plain ManifestItem
	v := struct {
		*plain
		ID string `json:"id"`
	}{plain: (*plain)(i)}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	i.ID, err = parseItem(i.Kind, v.ID)
	return err
}

// MarshalJSON shows the id as what it is of.
func (i ReceiptItem) MarshalJSON() ([]byte, error) {
	type plain ReceiptItem
	return json.Marshal(struct {
		plain
		ID string `json:"id,omitempty"`
	}{plain(i), ItemText(i.Kind, i.ID)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (i *ReceiptItem) UnmarshalJSON(b []byte) (err error) {
	type plain ReceiptItem
	v := struct {
		*plain
		ID string `json:"id"`
	}{plain: (*plain)(i)}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	i.ID, err = parseItem(i.Kind, v.ID)
	return err
}

// SuppressedKey names the first refusal of one trigger in one epoch of a contact.
type SuppressedKey struct {
	Account AccountID
	Contact ContactID
	Epoch   uint64
	Trigger string // workflow/trigger
}

// Suppressed says that a trigger would have matched and was refused.
type Suppressed struct {
	Account AccountID `cbor:"1,keyasint" json:"-"`
	Contact ContactID `cbor:"2,keyasint" json:"-"`
	Epoch   uint64    `cbor:"3,keyasint" json:"-"`
	Trigger string    `cbor:"4,keyasint" json:"trigger"`
	Refusal Refusal   `cbor:"5,keyasint" json:"refusal"`
	At      Nanos     `cbor:"6,keyasint" json:"at"`
	Event   EventKind `cbor:"7,keyasint,omitempty" json:"event,omitempty"` // empty: a scheduled selection
}

// Key gives the suppression row's key.
func (s *Suppressed) Key() SuppressedKey {
	return SuppressedKey{s.Account, s.Contact, s.Epoch, s.Trigger}
}
