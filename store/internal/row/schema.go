package row

import (
	"encoding/binary"

	"github.com/reprieve-run/reprieve/crm"
)

// Def describes a table: its name, the ordered encoding of its key, and the key of a row. Engines
// that keep bytes take the encoding as it is; others must sort in the same order.
type Def[K comparable, R any] struct {
	Name string
	Enc  func(dst []byte, k K) []byte
	Key  func(r *R) K
}

// The tables. The order of the fields in each encoding is the order of the rows, so that every list,
// timer and sweep is a range.
var (
	Accounts = Def[crm.AccountID, crm.Account]{"account", idKey[crm.AccountID], func(r *crm.Account) crm.AccountID { return r.ID }}
	Contacts = Def[crm.Key, crm.Contact]{"contact", contactKey, (*crm.Contact).Key}
	Lives    = Def[crm.Key, crm.Life]{"life", contactKey, (*crm.Life).Key}

	Identities = Def[IdentityKey, Identity]{"identity", func(b []byte, k IdentityKey) []byte {
		return contactKey(append(b, k.Hash[:]...), k.Contact)
	}, func(r *Identity) IdentityKey {
		return IdentityKey{r.Hash, crm.Key{Account: r.Account, Contact: r.Contact}}
	}}
	Members = Def[MemberKey, Member]{"member", func(b []byte, k MemberKey) []byte {
		return append(append(append(b, k.Account[:]...), k.List[:]...), k.Contact[:]...)
	}, func(r *Member) MemberKey { return MemberKey{r.Account, r.List, r.Contact} }}
	Deadlines = Def[crm.DeadlineKey, crm.Deadline]{"deadline", func(b []byte, k crm.DeadlineKey) []byte {
		return contactKey(nanos(b, k.Until), crm.Key{Account: k.Account, Contact: k.Contact})
	}, (*crm.Deadline).Key}
	Manifests  = Def[crm.EpochKey, crm.Manifest]{"manifest", epochKey, (*crm.Manifest).Key}
	Receipts   = Def[crm.EpochKey, crm.Receipt]{"receipt", epochKey, (*crm.Receipt).Key}
	Suppressed = Def[crm.SuppressedKey, crm.Suppressed]{"suppressed", func(b []byte, k crm.SuppressedKey) []byte {
		return append(epochKey(b, crm.EpochKey{Account: k.Account, Contact: k.Contact, Epoch: k.Epoch}), k.Trigger...)
	}, (*crm.Suppressed).Key}
	Records = Def[crm.ItemKey, crm.Record]{"record", itemKey, (*crm.Record).Key}
	Links   = Def[crm.ItemKey, crm.Link]{"link", itemKey, (*crm.Link).Key}
	Objects = Def[crm.ObjectKey, crm.Object]{"object", func(b []byte, k crm.ObjectKey) []byte {
		return append(append(append(b, k.Account[:]...), byte(k.Kind)), k.ID[:]...)
	}, (*crm.Object).Key}

	Workflows = Def[NameKey, Workflow]{"workflow", nameKey, func(r *Workflow) NameKey { return NameKey{r.Account, r.ID} }}
	Revisions = Def[NameKey, Revision]{"revision", nameKey, func(r *Revision) NameKey { return NameKey{r.Account, r.Name} }}
	Schedules = Def[NameKey, Schedule]{"schedule", nameKey, func(r *Schedule) NameKey { return NameKey{r.Account, r.Name} }}
	Runs      = Def[crm.RunID, crm.Run]{"run", idKey[crm.RunID], func(r *crm.Run) crm.RunID { return r.ID }}
	RunKeys   = Def[RunKeyKey, RunKey]{"runkey", func(b []byte, k RunKeyKey) []byte {
		return append(append(append(b, k.Account[:]...), k.Hash[:]...), k.Workflow...)
	}, func(r *RunKey) RunKeyKey { return RunKeyKey{r.Account, r.Hash, r.Workflow} }}
	Timers = Def[crm.TimerKey, crm.Timer]{"timer", func(b []byte, k crm.TimerKey) []byte {
		return append(nanos(b, k.Due), k.Run[:]...)
	}, (*crm.Timer).Key}
	Listeners = Def[crm.ItemKey, Listener]{"listener", itemKey, func(r *Listener) crm.ItemKey {
		return crm.ItemKey{Account: r.Account, Contact: r.Contact, ID: crm.ItemID(r.Run)}
	}}
	Parkeds = Def[ParkedKey, Parked]{"parked", func(b []byte, k ParkedKey) []byte {
		b = append(append(append(b, k.Account[:]...), k.Workflow...), 0)
		return append(nanos(b, k.Due), k.Run[:]...)
	}, func(r *Parked) ParkedKey { return ParkedKey{r.Account, r.Workflow, r.Due, r.Run} }}
	Endeds = Def[EndedKey, Ended]{"ended", func(b []byte, k EndedKey) []byte {
		return append(nanos(append(b, k.Account[:]...), k.At), k.Run[:]...)
	}, func(r *Ended) EndedKey { return EndedKey{r.Account, r.At, r.Run} }}
	Steps = Def[crm.StepKey, crm.StepRecord]{"step", func(b []byte, k crm.StepKey) []byte {
		return append(binary.BigEndian.AppendUint32(append(b, k.Run[:]...), k.Iteration), k.Path...)
	}, (*crm.StepRecord).Key}
	Items = Def[ItemKey, Item]{"item", func(b []byte, k ItemKey) []byte {
		return contactKey(append(b, k.Op[:]...), k.Contact)
	}, func(r *Item) ItemKey { return ItemKey{r.Op, crm.Key{Account: r.Account, Contact: r.Contact}} }}
	Operations = Def[crm.OperationID, crm.Operation]{"operation", idKey[crm.OperationID], func(r *crm.Operation) crm.OperationID { return r.ID }}
	OptOuts    = Def[crm.OptOutKey, crm.OptOut]{"optout", func(b []byte, k crm.OptOutKey) []byte {
		return append(append(b, k.Account[:]...), k.Hash[:]...)
	}, (*crm.OptOut).Key}
	Erasures   = Def[crm.EpochKey, crm.Erasure]{"erasure", epochKey, (*crm.Erasure).Key}
	Inbounds   = Def[crm.ItemKey, crm.Inbound]{"inbound", itemKey, (*crm.Inbound).Key}
	Deliveries = Def[DeliveryKey, Delivery]{"delivery", func(b []byte, k DeliveryKey) []byte {
		return append(nanos(append(b, k.Account[:]...), crm.Nanos(k.Month)), k.Hash[:]...)
	}, func(r *Delivery) DeliveryKey { return DeliveryKey{r.Account, r.Month, r.Hash} }}
	Counters = Def[NameKey, Counter]{"counter", nameKey, func(r *Counter) NameKey { return NameKey{r.Account, r.Name} }}
	Marks    = Def[string, Mark]{"mark", func(b []byte, k string) []byte { return append(b, k...) }, func(r *Mark) string { return r.Name }}
)

func idKey[I ~[16]byte](b []byte, id I) []byte {
	raw := [16]byte(id)
	return append(b, raw[:]...)
}

func contactKey(b []byte, k crm.Key) []byte {
	return append(append(b, k.Account[:]...), k.Contact[:]...)
}

func epochKey(b []byte, k crm.EpochKey) []byte {
	return binary.BigEndian.AppendUint64(contactKey(b, crm.Key{Account: k.Account, Contact: k.Contact}), k.Epoch)
}

func itemKey(b []byte, k crm.ItemKey) []byte {
	b = contactKey(b, crm.Key{Account: k.Account, Contact: k.Contact})
	return append(append(b, byte(k.Kind)), k.ID[:]...)
}

func nameKey(b []byte, k NameKey) []byte {
	return append(append(b, k.Account[:]...), k.Name...)
}

// nanos keeps the order of instants, those before 1970 included.
func nanos(b []byte, n crm.Nanos) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^(1<<63))
}
