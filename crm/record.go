package crm

// ItemKind is a kind of what hangs on a contact: an associated record, or a link to something shared.
type ItemKind uint8

// The kinds of item. The numbers are stored; they never change.
const (
	Conversation  ItemKind = 1
	Note          ItemKind = 2
	Task          ItemKind = 3
	Appointment   ItemKind = 4
	ManualAction  ItemKind = 5
	Message       ItemKind = 6  // of a conversation: it goes where that goes
	Opportunity   ItemKind = 16 // linked: several contacts may share one
	Company       ItemKind = 17 // linked: ActiveCampaign calls it an account
	Campaign      ItemKind = 18 // linked: an enrollment
	WorkflowRun   ItemKind = 19 // linked: an unfinished run
	List          ItemKind = 20 // a membership: a fact of the contact, an item in manifests only
	FinishedRun   ItemKind = 21 // linked: a run that is over, kept for the contact's history
	TagItem       ItemKind = 22 // a tag of the account: facts of contacts, an item in manifests and receipts
	IdentityItem  ItemKind = 23 // an address: a fact of the contact, an item in receipts only
	highestItem   ItemKind = 255
	firstLinkKind          = Opportunity
)

var itemKinds = map[ItemKind]string{
	Conversation: "conversation", Note: "note", Task: "task", Appointment: "appointment",
	ManualAction: "manual_action", Opportunity: "opportunity", Company: "company",
	Campaign: "campaign", WorkflowRun: "workflow_run", List: "list", FinishedRun: "finished_run",
	Message: "message", TagItem: "tag", IdentityItem: "identity",
}

// RecordKinds are the kinds of associated record, in the order in which they are shown.
var RecordKinds = []ItemKind{Conversation, Message, Note, Task, Appointment, ManualAction}

// ObjectKinds are the kinds of what an account owns besides contacts.
var ObjectKinds = []ItemKind{List, TagItem, Campaign, Company, Opportunity}

// Ruled gives the kind under which a policy speaks of this one: messages go with their conversation.
func (k ItemKind) Ruled() ItemKind {
	if k == Message {
		return Conversation
	}
	return k
}

// String names the kind as YAML, JSON and the command line do.
func (k ItemKind) String() string { return itemKinds[k] }

// MarshalText is String.
func (k ItemKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *ItemKind) UnmarshalText(b []byte) error {
	var ok bool
	if *k, ok = ParseItemKind(string(b)); !ok {
		return Errorf("read a kind of item", CodeInvalid, "there is no such kind")
	}
	return nil
}

// IsRecord says whether the kind is an associated record: it belongs to one contact and lives
// exactly while that contact does.
func (k ItemKind) IsRecord() bool { return k > 0 && k < firstLinkKind && itemKinds[k] != "" }

// ParseItemKind reads what String wrote; false if there is no such kind.
func ParseItemKind(s string) (ItemKind, bool) {
	for k, name := range itemKinds {
		if name == s {
			return k, true
		}
	}
	return 0, false
}

// ItemKey names a record or a link below its contact, so that all of a contact's are neighbours.
type ItemKey struct {
	Account AccountID
	Contact ContactID
	Kind    ItemKind
	ID      ItemID
}

// ItemsOf gives the bounds [from, to) of all items of a contact.
func ItemsOf(k Key) (from, to ItemKey) {
	return ItemKey{Account: k.Account, Contact: k.Contact}, ItemKey{Account: k.Account, Contact: k.Contact, Kind: highestItem}
}

// Record is an associated record: a conversation, note, task, appointment or manual action. It has
// no state of its own beyond the mark of a separate deletion: it is live exactly while its contact
// is live and the mark is not set.
type Record struct {
	Account   AccountID `cbor:"1,keyasint"`
	Contact   ContactID `cbor:"2,keyasint"`
	Kind      ItemKind  `cbor:"3,keyasint"`
	ID        ItemID    `cbor:"4,keyasint"`
	Epoch     uint64    `cbor:"5,keyasint,omitempty"` // the contact's when the record was made
	CreatedAt Nanos     `cbor:"6,keyasint"`
	Title     string    `cbor:"7,keyasint,omitempty"`
	Body      string    `cbor:"8,keyasint,omitempty"`
	Status    string    `cbor:"9,keyasint,omitempty"`
	Due       Nanos     `cbor:"10,keyasint,omitempty"`
	// Deleted marks a deletion of the record on its own: no restore of the contact brings it back
	// (S1.4, S1.21).
	Deleted Mark `cbor:"11,keyasint,omitzero"`
	// Parent is a message's conversation: a message whose conversation was deleted on its own is
	// deleted with it.
	Parent ItemID `cbor:"12,keyasint,omitzero"`
}

// Mark says when, in which epoch and by whom something was deleted on its own.
type Mark struct {
	At    Nanos  `cbor:"1,keyasint,omitempty"`
	Epoch uint64 `cbor:"2,keyasint,omitempty"`
	By    string `cbor:"3,keyasint,omitempty"`
}

// IsSet says whether there was such a deletion.
func (m Mark) IsSet() bool { return m.At != 0 }

// Key gives the record's key.
func (r *Record) Key() ItemKey { return ItemKey{r.Account, r.Contact, r.Kind, r.ID} }

// Gone says which records of one contact, given all of them, were deleted on their own before an epoch
// (0: ever): by their own mark, or as messages of a conversation that was.
func Gone(records []Record, before uint64) map[ItemKey]bool {
	gone := map[ItemKey]bool{}
	for i := range records {
		if r := &records[i]; r.Deleted.IsSet() && (before == 0 || r.Deleted.Epoch < before) {
			gone[r.Key()] = true
		}
	}
	for i := range records {
		if r := &records[i]; r.Kind == Message && gone[ItemKey{r.Account, r.Contact, Conversation, r.Parent}] {
			gone[r.Key()] = true
		}
	}
	return gone
}

// Link ties a contact to something shared: an opportunity, a company, a campaign, a workflow run.
// For a run, ID holds the run's id.
type Link struct {
	Account AccountID `cbor:"1,keyasint"`
	Contact ContactID `cbor:"2,keyasint"`
	Kind    ItemKind  `cbor:"3,keyasint"`
	ID      ItemID    `cbor:"4,keyasint"`
	Epoch   uint64    `cbor:"5,keyasint,omitempty"` // an enrollment is runnable only in this epoch
	Since   Nanos     `cbor:"6,keyasint"`
	Step    uint32    `cbor:"7,keyasint,omitempty"` // a campaign: the next message
	Due     Nanos     `cbor:"8,keyasint,omitempty"` // a campaign: when it is due
	Resumed Nanos     `cbor:"9,keyasint,omitempty"` // a campaign: when somebody last resumed it after a restore
}

// Key gives the link's key.
func (l *Link) Key() ItemKey { return ItemKey{l.Account, l.Contact, l.Kind, l.ID} }

// ObjectKey names what an account owns besides contacts: a list, a tag, a campaign, a company or an
// opportunity.
type ObjectKey struct {
	Account AccountID
	Kind    ItemKind
	ID      ItemID
}

// Object is a list, a tag, a campaign, a company or an opportunity. An opportunity is live while one of
// its contacts is live and its mark is not set; its primary stays on the row and is ignored while
// that contact is deleted.
type Object struct {
	Account  AccountID   `cbor:"1,keyasint"`
	Kind     ItemKind    `cbor:"2,keyasint"`
	ID       ItemID      `cbor:"3,keyasint"`
	Name     string      `cbor:"4,keyasint"`
	Deleted  Mark        `cbor:"5,keyasint,omitzero"`
	Contacts []ContactID `cbor:"6,keyasint,omitempty"` // an opportunity's, the purged ones left out
	Primary  ContactID   `cbor:"7,keyasint,omitzero"`
	Stage    string      `cbor:"8,keyasint,omitempty"`
	Status   string      `cbor:"9,keyasint,omitempty"`
	Cents    int64       `cbor:"10,keyasint,omitempty"` // an opportunity's value in hundredths
	// Lost says of a deleted opportunity that the policy closed it with its last live contact (S3.15).
	Lost bool `cbor:"11,keyasint,omitempty"`
	// Gone is when a tag was last deleted, whether or not there is one of that name again: what was
	// deleted before does not get it back (S3.17).
	Gone Nanos `cbor:"12,keyasint,omitempty"`
}

// Key gives the object's key.
func (o *Object) Key() ObjectKey { return ObjectKey{o.Account, o.Kind, o.ID} }
