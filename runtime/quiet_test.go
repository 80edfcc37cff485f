package runtime

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// scene is a rig with one contact, a list and a campaign.
type scene struct {
	*rig
	k              crm.Key
	news, campaign crm.ItemID
}

func newScene(t *testing.T, seed uint64) *scene {
	t.Helper()
	s := &scene{rig: newRig(t, storetest.MemoryOptions{Seed: seed})}
	s.update(func(tx *store.Tx) (err error) {
		for kind, id := range map[crm.ItemKind]*crm.ItemID{crm.List: &s.news, crm.Campaign: &s.campaign} {
			if *id, err = tx.NewItemID(); err != nil {
				return err
			}
			if err := tx.PutObject(s.by, crm.Cause{Kind: crm.ByPerson}, crm.Object{Account: s.acc, Kind: kind, ID: *id, Name: "News"}); err != nil {
				return err
			}
		}
		return nil
	})
	s.k = s.person()
	s.apply(crm.SetIdentity{Contact: s.k, Name: "email", Value: "ada@example.com"})
	return s
}

func (s *scene) tag(name string)   { s.t.Helper(); s.apply(crm.AddTag{Contact: s.k, Tag: name}) }
func (s *scene) untag(name string) { s.t.Helper(); s.apply(crm.RemoveTag{Contact: s.k, Tag: name}) }
func (s *scene) set(name, v string) {
	s.t.Helper()
	s.apply(crm.SetField{Contact: s.k, Name: name, Value: crm.Text(v)})
}
func (s *scene) on(status crm.Status) {
	s.t.Helper()
	s.apply(crm.SetMembership{Contact: s.k, List: s.news, Status: status})
}
func (s *scene) dnd(on bool) {
	s.t.Helper()
	s.apply(crm.SetDND{Contact: s.k, Channel: "email", On: on})
}

// mail receives a message from the contact's address.
func (s *scene) mail(want store.Received) {
	s.t.Helper()
	var got store.Received
	s.update(func(tx *store.Tx) error {
		id, err := tx.NewItemID()
		if err != nil {
			return err
		}
		got, _, err = tx.Receive(s.by, s.acc, crm.NamedIdentity{Name: "email", Value: "ada@example.com"}, crm.Record{Kind: crm.Conversation, ID: id, Title: "hello"})
		return err
	})
	s.expect("the message is", got, want)
}

// proven recounts from the log that the last restore started nothing, and gives the triggers that it
// kept from starting, as "name refusal".
func (s *scene) proven() (suppressed []string) {
	s.t.Helper()
	var rec *crm.Receipt
	s.view(func(tx *store.Tx) (err error) {
		rec, err = tx.LatestReceipt(s.k)
		return err
	})
	s.expect("started, armed, sent", []int{rec.RunsStarted, rec.TimersArmed, rec.Sends}, []int{0, 0, 0})
	proof, err := s.store.VerifyReceipt(s.ctx, s.k, rec.Epoch)
	s.must(err)
	if !proof.Holds() {
		s.t.Fatalf("the log says %+v", proof)
	}
	for _, x := range rec.Suppressed {
		suppressed = append(suppressed, x.Trigger+" "+string(x.Refusal))
	}
	return suppressed
}

// quietCase is a trigger, how its facts came to be, and what a person does that it is meant for.
type quietCase struct {
	trigger   string // but for its id
	before    func(*scene)
	meanwhile func(*scene)
	unseen    bool         // a restore brings no such fact back, so no receipt names the trigger
	again     func(*scene) // nil: there is nothing that entitles a restored contact
}

var quietCases = map[string]quietCase{
	"a condition that becomes true": {
		trigger: `becomes: '"Lead" in contact.tags and contact.fields.plan == "pro"'`,
		before:  func(s *scene) { s.tag("Lead"); s.set("plan", "pro") },
		again:   func(s *scene) { s.set("plan", "free"); s.set("plan", "pro") },
	},
	"a condition that a field makes true": {
		trigger: `becomes: 'contact.fields.plan == "gold"'`,
		before:  func(s *scene) { s.set("plan", "gold") },
		again:   func(s *scene) { s.set("plan", "free"); s.set("plan", "gold") },
	},
	"a date that came while deleted": {
		trigger: `cron: "0 2 * * *", over: contacts, where: 'contact.fields.trial_ends != nil and date(contact.fields.trial_ends) < now'`,
		before:  func(s *scene) { s.set("trial_ends", "2026-03-03") },
		again:   func(s *scene) { s.set("trial_ends", "2026-03-04") },
	},
	"a birthday": { // in the night after the restore
		trigger: `cron: "0 2 * * *", over: contacts, where: 'contact.fields.birthday == format_date(now, "01-02")'`,
		before:  func(s *scene) { s.set("birthday", "03-05") },
		again:   func(s *scene) { s.set("birthday", s.clock.Now().AddDate(0, 0, 1).Format("01-02")) },
	},
	"a selection by time only": {trigger: `cron: "0 2 * * *", over: contacts, where: 'now > contact.created_at'`},
	"a selection of everybody": {trigger: `cron: "0 2 * * *", over: contacts`},
	"a list rejoined": {
		trigger: `event: contact.list_changed, if: event.list == "News"`,
		before:  func(s *scene) { s.on(crm.Subscribed) },
		again:   func(s *scene) { s.on(crm.Unsubscribed) },
	},
	"an opt-out that is back, every night": {
		trigger: `cron: "0 2 * * *", over: contacts, where: 'contact.lists.News == "unsubscribed"'`,
		before:  func(s *scene) { s.on(crm.Unsubscribed) },
		again:   func(s *scene) { s.on(crm.Subscribed); s.on(crm.Unsubscribed) },
	},
	"do-not-disturb that is back": {
		trigger: `cron: "0 2 * * *", over: contacts, where: contact.dnd.email`,
		before:  func(s *scene) { s.dnd(true) },
		again:   func(s *scene) { s.dnd(false); s.dnd(true) },
	},
	"do-not-disturb as an event": {
		trigger: `event: contact.dnd_changed, if: event.on`,
		before:  func(s *scene) { s.dnd(true) }, unseen: true,
		again: func(s *scene) { s.dnd(false); s.dnd(true) },
	},
	"a tag that is back": {
		trigger: `event: contact.tag_added, if: event.tag == "Unsubscribed"`,
		before:  func(s *scene) { s.tag("Unsubscribed") },
		again:   func(s *scene) { s.untag("Unsubscribed"); s.tag("unsubscribed") },
	},
	"the nightly Unsubscribed": {
		trigger: `cron: "0 2 * * *", over: contacts, where: '"Unsubscribed" in contact.tags'`,
		before:  func(s *scene) { s.tag("Unsubscribed") },
		again:   func(s *scene) { s.untag("unsubscribed"); s.tag("Unsubscribed") },
	},
	"a tag that is not there, every night": {
		trigger: `cron: "0 2 * * *", over: contacts, where: 'not ("VIP" in contact.tags)'`,
		again:   func(s *scene) { s.tag("VIP"); s.untag("VIP") },
	},
	"a new contact": {trigger: `event: contact.created`},
	"a field that is back": {
		trigger: `event: contact.field_changed, if: event.field == "plan"`,
		before:  func(s *scene) { s.set("plan", "gold") },
		again:   func(s *scene) { s.set("plan", "silver") },
	},
	"a field, every night": {
		trigger: `cron: "0 2 * * *", over: contacts, where: 'contact.fields.plan == "gold"'`,
		before:  func(s *scene) { s.set("plan", "gold") },
		again:   func(s *scene) { s.set("plan", "silver"); s.set("plan", "gold") },
	},
	"an address that is back": {
		trigger: `event: contact.identity_changed, if: event.field == "phone"`,
		before:  func(s *scene) { s.apply(crm.SetIdentity{Contact: s.k, Name: "phone", Value: "+12025550199"}) }, unseen: true,
		again: func(s *scene) { s.apply(crm.SetIdentity{Contact: s.k, Name: "phone", Value: "+12025550198"}) },
	},
	"late inbound": {
		trigger:   `event: record.created, if: event.kind == "conversation"`,
		before:    func(s *scene) { s.mail(store.ReceivedNow) },
		meanwhile: func(s *scene) { s.mail(store.ReceivedQueued); s.mail(store.ReceivedQueued) },
		again:     func(s *scene) { s.mail(store.ReceivedNow) },
	},
	"a place in a campaign": {
		trigger: `event: campaign.enrolled`, unseen: true,
		before: func(s *scene) { s.apply(crm.Connect{Contact: s.k, Kind: crm.Campaign, Object: s.campaign}) },
		again: func(s *scene) {
			s.apply(crm.Disconnect{Contact: s.k, Kind: crm.Campaign, Object: s.campaign})
			s.apply(crm.Connect{Contact: s.k, Kind: crm.Campaign, Object: s.campaign})
		},
	},
}

// A restore starts nothing: not at once, not in any night, not after an unrelated edit, whether the
// events of before were dispatched in time or only after the restore. What a person then does that the
// trigger is meant for starts one run.
func TestNothingStartsByARestore(t *testing.T) {
	t.Parallel()
	for name, c := range quietCases {
		for _, late := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", dispatched late"}[late], func(t *testing.T) {
				t.Parallel()
				c.play(newScene(t, 61), late)
			})
		}
	}
}

func (c quietCase) play(s *scene, late bool) {
	s.t.Helper()
	apply := func() {
		s.workflow("w", "triggers: [{id: t, "+c.trigger+"}]\nsteps: [{id: rest, wait: 1h}]\n")
	}
	settle := func() {
		if !late {
			s.settle()
		}
	}
	if late {
		s.settle()
		apply()
	}
	if c.before != nil {
		c.before(s)
	}
	settle()
	s.apply(crm.Delete{Contact: s.k})
	if !late {
		s.settle()
		apply()
	}
	settle()
	s.clock.Advance(day(1))
	settle()
	if c.meanwhile != nil {
		c.meanwhile(s)
	}
	s.clock.Advance(day(1))
	settle()
	s.apply(crm.Restore{Contact: s.k})
	s.settle()
	for range 3 {
		s.pass(day(1))
	}
	s.expect("runs after three nights", s.runs(s.k), []string{})
	s.set("colour", "green") // unrelated edits
	s.tag("unrelated")
	for range 2 {
		s.pass(day(1))
	}
	s.expect("runs after an unrelated edit", s.runs(s.k), []string{})
	want := map[bool]string{true: "w/t " + string(crm.RefusedQuiet), false: "w/t " + string(crm.RefusedCause)}[strings.HasPrefix(c.trigger, "cron")]
	switch suppressed := s.proven(); {
	case late: // an event of before the delete is refused first, for its epoch
		s.expect("triggers that the receipt names", len(suppressed), 1)
	case c.unseen:
		s.expect("what the receipt names", suppressed, []string{})
	default:
		s.expect("what the receipt names", suppressed, []string{want})
	}
	if c.again == nil {
		return
	}
	c.again(s)
	s.settle()
	s.pass(day(1))
	s.expect("what a person means starts one run", len(s.runs(s.k)), 1)
	s.proven()
}

// An archived contact starts nothing, whatever is done to it, and neither does a restore of one.
func TestArchivedStartsNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t, 62)
	s.workflow("w", `
triggers:
  - {id: tagged, event: contact.tag_added}
  - {id: archived, event: contact.archived_changed, if: event.on}
  - {id: nightly, cron: "0 2 * * *", over: contacts, where: '"go" in contact.tags'}
steps: [{id: rest, wait: 5d}]
`)
	s.settle()
	s.tag("first")
	s.settle()
	s.apply(crm.Archive{Contact: s.k, On: true})
	s.tag("go")
	s.pass(day(10))
	s.expect("archived", s.runs(s.k), []string{"w suspended rest"})
	s.apply(crm.Delete{Contact: s.k})
	s.pass(day(1))
	s.apply(crm.Restore{Contact: s.k})
	s.pass(day(10))
	s.expect("deleted and restored", s.runs(s.k), []string{"w suspended rest"})
	s.proven()
	s.apply(crm.Archive{Contact: s.k})
	s.tag("second")
	s.settle()
	s.expect("unarchived and tagged", s.runs(s.k), []string{"w suspended rest", "w waiting rest"})
}

// A campaign's message that came due while the contact was deleted is not sent until somebody resumes
// the enrollment, and then as that says.
func TestDueMessagesAreNotSent(t *testing.T) {
	t.Parallel()
	for overdue, sentAfter := range map[crm.Overdue]time.Duration{crm.OverdueSkip: -1, crm.OverdueShift: day(2), crm.OverdueFire: 0} {
		s := newScene(t, 63)
		at := func() crm.Nanos { return crm.At(s.clock.Now()) }
		sent := func() string {
			return crm.CodeOf(s.try(crm.Activity{Contact: s.k, Campaign: s.campaign, What: crm.MessageSent}))
		}
		s.apply(crm.Connect{Contact: s.k, Kind: crm.Campaign, Object: s.campaign, Due: at() + 5*crm.Day})
		s.pass(day(3))
		s.expect("not due", sent(), crm.CodeStale)
		s.apply(crm.Delete{Contact: s.k})
		s.pass(day(7))
		s.expect("while deleted", sent(), crm.CodeDeleted)
		s.apply(crm.Restore{Contact: s.k})
		s.pass(0)
		s.view(func(tx *store.Tx) error {
			rec, err := tx.LatestReceipt(s.k)
			i := slices.IndexFunc(rec.Items, func(it crm.ReceiptItem) bool { return it.Kind == crm.Campaign })
			s.expect("the receipt", []any{rec.Items[i].Outcome, rec.Items[i].Reason}, []any{crm.Suspended, crm.BackPastDue})
			return err
		})
		s.expect("restored", sent(), crm.CodeStale)
		s.proven()
		s.apply(crm.ResumeEnrollment{Contact: s.k, Campaign: s.campaign, Overdue: overdue})
		if sentAfter != 0 {
			s.expect("resumed", sent(), crm.CodeStale)
		}
		if sentAfter < 0 {
			s.pass(day(30))
			s.expect("left out", sent(), crm.CodeStale)
			continue
		}
		s.pass(sentAfter)
		s.expect("sent, "+string(overdue), sent(), "")
		s.expect("once", sent(), crm.CodeStale)
		s.proven() // by the resuming, not by the restore
	}
}

// What came for a deleted contact is delivered once it is live again, whatever is done to it before the
// engine comes by.
func TestLateInboundIsDelivered(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(*scene){
		"restored": func(*scene) {},
		"restored and archived": func(s *scene) {
			s.apply(crm.Archive{Contact: s.k, On: true})
			s.settle()
			s.apply(crm.Archive{Contact: s.k})
		},
		"restored, deleted, restored": func(s *scene) {
			s.apply(crm.Delete{Contact: s.k})
			s.settle()
			s.apply(crm.Restore{Contact: s.k})
		},
		"restored after a kill": func(s *scene) { s.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 74)
			s.workflow("w", "triggers: [{id: t, event: record.created}]\nsteps: [{id: rest, wait: 1h}]\n")
			s.settle()
			s.apply(crm.Delete{Contact: s.k})
			s.mail(store.ReceivedQueued)
			s.settle()
			s.apply(crm.Restore{Contact: s.k})
			then(s)
			s.settle()
			s.view(func(tx *store.Tx) error {
				queued, err := tx.Queued(s.k)
				if err != nil {
					return err
				}
				records, err := tx.Records(s.k)
				s.expect("waiting, delivered", []int{len(queued), len(records)}, []int{0, 1})
				return err
			})
			s.expect("runs", s.runs(s.k), []string{})
		})
	}
}
