package storetest

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// mRecord is a record of a contact.
type mRecord struct {
	kind        crm.ItemKind
	id, parent  crm.ItemID
	title, body string
	status      string
	due         crm.Nanos
	deleted     bool // on its own
	left        bool // by a restore,
	leftUntil   crm.Nanos
	removed     bool // for good, or another has taken its id
}

// mLink is a contact's place in an opportunity, a company or a campaign.
type mLink struct {
	kind crm.ItemKind
	id   crm.ItemID
	mStanding
	next uint32 // a campaign: the number of the next message
}

// mRun is a run.
type mRun struct {
	id       crm.RunID
	workflow string
	mStanding
	depth   uint8
	waiting bool
	done    string // completed or cancelled
	dead    bool   // its last turn left the contact deleted: it stands on the tombstone
	removed bool   // discarded
}

// mStanding is where a run or an enrollment stands in its contact's life.
type mStanding struct {
	life    int       // the step at which the life began that it goes on in
	due     crm.Nanos // when it goes on
	stopped crm.Nanos // when it was interrupted
	left    bool      // a restore did not bring it back: nobody sees it,
	until   crm.Nanos // and it may be discarded then
	over    bool      // a restore brought it back as history: seen, as over
}

// An mObject is a list, a campaign, a company or an opportunity.
type mObject struct {
	kind     crm.ItemKind
	id       crm.ItemID
	deleted  bool
	lost     bool // closed with its last live contact
	contacts []*mContact
	primary  *mContact
}

// mManifest is what one delete took along or cut off; mReceipt what one restore did.
type mManifest struct {
	epoch     uint64
	at, until crm.Nanos
	workflow  string // through which, if any
	items     []mItem
}

type mReceipt struct {
	epoch uint64
	at    crm.Nanos
	items []mItem
}

// mItem is a line of either.
type mItem struct {
	kind      crm.ItemKind
	id        string // an id's text, a tag's name in lower case, an address' name
	said      string // its fate, or what became of it and why
	secondary bool
	record    *mRecord // what is removed for good is not told of any more
	link      *mLink
	run       *mRun
}

// ruled gives the kind under which the policy speaks of one: messages go with their conversation.
func ruled(k crm.ItemKind) crm.ItemKind {
	if k == crm.Message {
		return crm.Conversation
	}
	return k
}

// leftUntil is when the first of what restores left behind may be discarded; 0: they left nothing.
func (c *mContact) leftUntil() crm.Nanos {
	if len(c.losses) == 0 {
		return 0
	}
	return slices.Min(c.losses)
}

// runnable says whether an enrollment goes on: in this life of its contact, which is not archived.
func (c *mContact) runnable(s *mStanding) bool {
	return !s.left && !s.over && s.life == c.moved && c.state != "purged" && !c.archived()
}

// underway says whether a run goes on. It may on a tombstone, if it stands there itself.
func (c *mContact) underway(r *mRun) bool {
	return r.done == "" && !r.removed && c.runnable(&r.mStanding)
}

// shows gives how a run is shown: what was interrupted waits for somebody to resume it, but what
// stood on a tombstone is over once that is gone, and so is what came back as history.
func (c *mContact) shows(r *mRun) string {
	switch {
	case r.done != "":
		return r.done
	case c.underway(r):
		return "under way"
	case r.left || r.removed:
		return "nowhere"
	case r.dead || r.over:
		return "cancelled"
	}
	return "suspended"
}

// busy says whether a run of the workflow is under way: the run key is the contact.
func (c *mContact) busy(workflow string) bool {
	return slices.ContainsFunc(c.runs, func(r *mRun) bool { return r.workflow == workflow && c.underway(r) })
}

// moves is a change of a contact's life: whatever went on in the last one is interrupted.
func (m *model) moves(c *mContact, by uint64) {
	stand := func(s *mStanding) {
		if s.life == c.moved {
			s.stopped = m.now()
		}
	}
	for _, l := range c.links {
		stand(&l.mStanding)
	}
	for _, r := range c.runs {
		stand(&r.mStanding)
	}
	c.epoch, c.moved = c.epoch+by, m.step
}

// record finds a record that is stored, whether it is to be seen or not.
func (c *mContact) record(kind crm.ItemKind, id crm.ItemID) *mRecord {
	for _, r := range c.records {
		if r.kind == kind && r.id == id && !r.removed {
			return r
		}
	}
	return nil
}

// gone says whether a record was deleted on its own, or is a message of a conversation that was.
func (c *mContact) gone(r *mRecord) bool {
	conv := c.record(crm.Conversation, r.parent)
	return r.deleted || r.kind == crm.Message && conv != nil && conv.deleted
}

// alive says whether a record of a live contact can be read and changed.
func (c *mContact) alive(r *mRecord) bool {
	if r == nil || r.left || r.deleted {
		return false
	}
	return r.kind != crm.Message || c.alive(c.record(crm.Conversation, r.parent))
}

func (c *mContact) link(kind crm.ItemKind, id crm.ItemID) *mLink {
	for _, l := range c.links {
		if l.kind == kind && l.id == id {
			return l
		}
	}
	return nil
}

// linked gives a link that is the contact's still, nil if there is none.
func (c *mContact) linked(kind crm.ItemKind, id crm.ItemID) *mLink {
	if l := c.link(kind, id); l != nil && !l.left && !l.over {
		return l
	}
	return nil
}

func (c *mContact) unlink(l *mLink) {
	c.links = slices.DeleteFunc(c.links, func(o *mLink) bool { return o == l })
}

func (m *model) object(kind crm.ItemKind, id crm.ItemID) *mObject {
	for _, o := range m.objects {
		if o.kind == kind && o.id == id {
			return o
		}
	}
	return nil
}

// lives says whether an object is there and nobody deleted it.
func (m *model) lives(kind crm.ItemKind, id crm.ItemID) bool {
	o := m.object(kind, id)
	return o != nil && !o.deleted
}

// shared says whether an opportunity has a live contact besides one.
func (o *mObject) shared(except *mContact) bool {
	return slices.ContainsFunc(o.contacts, func(c *mContact) bool {
		return c != except && c.state == "live" && c.linked(o.kind, o.id) != nil
	})
}

// leave takes a contact out of an opportunity, which goes with its last one.
func (m *model) leave(o *mObject, c *mContact) {
	if o == nil {
		return
	}
	o.contacts = slices.DeleteFunc(o.contacts, func(x *mContact) bool { return x == c })
	if o.primary == c {
		o.primary = nil
	}
	if len(o.contacts) == 0 {
		m.objects = slices.DeleteFunc(m.objects, func(x *mObject) bool { return x == o })
	}
}
