package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
)

// portrait is everything of a contact that a restore has to bring back, as text to be compared.
type portrait string

// paint reads a contact's portrait: tags but for the one that the win-back workflow adds, memberships
// with their statuses, fields, live records, opportunities, companies, campaigns.
func paint(tx *store.Tx, k crm.Key) (portrait, error) {
	c, _, err := tx.Contact(k, crm.OnlyLive)
	if err != nil {
		return "", err
	}
	c = c.Clone()
	c.Last = 0 // where its history ends: the delete and the restore are part of that
	c.Rev = 0
	c.Tags = slices.DeleteFunc(c.Tags, func(t crm.Tag) bool { return t.Absent || t.Name == "won back" })
	records, err := tx.Records(k)
	if err != nil {
		return "", err
	}
	links, err := tx.Links(k)
	if err != nil {
		return "", err
	}
	var shared []string
	for _, l := range links {
		switch l.Kind {
		case crm.Opportunity, crm.Company, crm.Campaign:
			shared = append(shared, fmt.Sprint(l.Kind, l.ID))
		}
	}
	raw, err := json.Marshal([]any{c, records, shared})
	return portrait(raw), err
}

// unsubscribe tags the chosen contacts, and lets 14 days pass.
func (d *demo) unsubscribe() error {
	gone, err := d.deleteOneNote()
	if err != nil {
		return err
	}
	d.fact(gone, "one note of %s was deleted on its own, before", d.chosen[0].Contact)
	for _, k := range d.chosen {
		if _, err := ask[server.ContactView](d, "contact.tag", server.ContactTag{ID: k.Contact.String(), Add: []string{"Unsubscribed"}}); err != nil {
			return err
		}
	}
	if err := d.settle(); err != nil {
		return err
	}
	started, right := 0, 0
	if _, err := d.countRuns(func(r *crm.Run, s crm.RunStatus) bool {
		if r.Workflow == "unsubscribed-cleanup" {
			started++
			if s == crm.RunWaiting && slices.Contains(d.chosen, crm.Key{Account: r.Account, Contact: r.Contact}) {
				right++
			}
		}
		return false
	}); err != nil {
		return err
	}
	d.fact(started == 200 && right == 200, "200 contacts tagged Unsubscribed: the trigger started %d runs, %d of them for these contacts; they wait 14 days", started, right)
	before, err := d.countsNow()
	if err != nil {
		return err
	}
	if err := d.o.app.Store.View(d.ctx, func(tx *store.Tx) error {
		for _, k := range d.chosen {
			p, err := paint(tx, k)
			if err != nil {
				return err
			}
			d.before[k] = p
		}
		return nil
	}); err != nil {
		return err
	}
	if err := d.goTo(demoStart.AddDate(0, 0, 14)); err != nil {
		return err
	}
	for _, p := range d.o.host.Processes() {
		if slices.Contains(p.Actions, "contact.delete") {
			d.fact(p.PID != os.Getpid() && p.PID > 0, "contact.delete ran in a process of its own: pid %d; the host is pid %d", p.PID, os.Getpid())
		}
	}
	return d.checkDeleted(before)
}

// deleteOneNote deletes a note of the first contact on its own.
func (d *demo) deleteOneNote() (bool, error) {
	page, err := ask[server.RecordPage](d, "record.list", server.ContactID{ID: d.chosen[0].Contact.String()})
	if err != nil {
		return false, err
	}
	for _, r := range page.Records {
		if r.Kind == crm.Note {
			_, err := ask[server.RecordView](d, "record.delete", server.RecordDelete{Contact: d.chosen[0].Contact.String(), Record: r.ID})
			return err == nil, err
		}
	}
	return false, nil
}

// counts are the numbers that a delete has to move, and no more.
type counts struct {
	live, deleted, lists, campaigns int64
}

func (d *demo) countsNow() (n counts, err error) {
	acc, err := ask[server.AccountView](d, "account.show", server.None{})
	if err != nil {
		return n, err
	}
	n.live, n.deleted = acc.Live, acc.Deleted
	for verb, sum := range map[string]*int64{"list.list": &n.lists, "campaign.list": &n.campaigns} {
		page, err := ask[server.ObjectPage](d, verb, server.None{})
		if err != nil {
			return n, err
		}
		for _, o := range page.Items {
			*sum += o.Members
		}
	}
	return n, nil
}

// checkDeleted reads back what the deletes did.
func (d *demo) checkDeleted(before counts) error {
	after, err := d.countsNow()
	if err != nil {
		return err
	}
	d.fact(after.deleted == 200 && after.live == before.live-200, "%d contacts are deleted, %d are live", after.deleted, after.live)
	var shown, lists, campaigns, suspended, shared, sole int
	var left bool
	err = d.o.app.Store.View(d.ctx, func(tx *store.Tx) error {
		shown, lists, campaigns, suspended, shared, sole, left = 0, 0, 0, 0, 0, 0, true
		if err := tx.ScanAll(crm.Query{Account: d.acc, State: crm.OnlyLive}, func(c *crm.Contact, _ *crm.Life) bool {
			if slices.Contains(d.chosen, c.Key()) {
				shown++
			}
			return true
		}); err != nil {
			return err
		}
		for _, k := range d.chosen {
			life, err := tx.Life(k)
			if err != nil {
				return err
			}
			m, err := tx.Manifest(k, life.Epoch)
			if err != nil || m == nil {
				return fmt.Errorf("a manifest is missing: %w", err)
			}
			for _, it := range m.Items {
				switch it.Kind {
				case crm.List:
					lists++
				case crm.Campaign:
					campaigns++
				case crm.WorkflowRun:
					suspended++
				case crm.Opportunity:
					others, live, err := d.opportunity(tx, it.ID)
					if err != nil {
						return err
					}
					left = left && live == others
					if others {
						shared++
					} else {
						sole++
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.fact(shown == 0, "a scan of all live contacts shows %d of them", shown)
	d.fact(before.lists-after.lists == int64(lists) && lists > 0, "they left %d lists; the lists' counts went down by %d", lists, before.lists-after.lists)
	d.fact(before.campaigns-after.campaigns == int64(campaigns) && campaigns > 0, "they left %d campaigns; the campaigns' counts went down by %d", campaigns, before.campaigns-after.campaigns)
	n, err := d.countRuns(func(r *crm.Run, s crm.RunStatus) bool { return r.Workflow == "nurture" && s == crm.RunSuspended })
	if err != nil {
		return err
	}
	d.fact(n == suspended && n > 0, "%d runs of the nurture workflow stand still with them", n)
	d.fact(left && shared > 0 && sole > 0, "%d opportunities shared with other people stay; %d that were theirs alone went along", shared, sole)
	d.note("deleted by the workflow", "%d, in a plugin process", after.deleted)
	return nil
}

// opportunity says whether an opportunity has contacts besides the chosen ones, and whether it is live.
func (d *demo) opportunity(tx *store.Tx, id crm.ItemID) (others, live bool, err error) {
	o, err := tx.Object(crm.ObjectKey{Account: d.acc, Kind: crm.Opportunity, ID: id})
	if err != nil || o == nil {
		return false, false, err
	}
	others = slices.ContainsFunc(o.Contacts, func(c crm.ContactID) bool {
		return !slices.Contains(d.chosen, crm.Key{Account: d.acc, Contact: c})
	})
	live, err = tx.OpportunityLive(o)
	return others, live, err
}

// restore brings them back: one by the verb, the others by the win-back workflow at six o'clock.
func (d *demo) restore() error {
	first := d.chosen[0]
	r, err := ask[crm.Receipt](d, "contact.restore", server.ContactRestore{ID: first.Contact.String(), Confirm: "yes", Reason: "deleted by mistake"})
	if err != nil {
		return err
	}
	var skipped []string
	for _, it := range r.Items {
		if it.Outcome == crm.Skipped {
			skipped = append(skipped, fmt.Sprintf("%s: %s", it.Kind, it.Reason))
		}
	}
	d.fact(len(skipped) == 1 && skipped[0] == "note: deleted_separately", "by hand: %d items of %s are back, one is not (%s)",
		len(r.Items)-len(skipped), first.Contact, strings.Join(skipped, ", "))
	if err := d.goTo(demoStart.AddDate(0, 0, 15).Add(-3 * time.Hour)); err != nil {
		return err
	}
	for _, p := range d.o.host.Processes() {
		if slices.Contains(p.Actions, "contact.restore") {
			d.fact(p.PID != os.Getpid() && p.PID > 0, "contact.restore ran in a process of its own: pid %d", p.PID)
		}
	}
	n, err := d.countRuns(func(r *crm.Run, s crm.RunStatus) bool { return r.Workflow == "winback" && s == crm.RunCompleted })
	if err != nil {
		return err
	}
	d.fact(n == 199, "the win-back schedule ran over the deleted contacts: %d runs, each restored one", n)
	if err := d.checkRestored(); err != nil {
		return err
	}
	return d.tenDays()
}

// checkRestored compares everything that came back with what was there before, and reads the receipts.
func (d *demo) checkRestored() error {
	var same, suspended, skipped int
	err := d.o.app.Store.View(d.ctx, func(tx *store.Tx) error {
		same, suspended, skipped = 0, 0, 0
		for _, k := range d.chosen {
			p, err := paint(tx, k)
			if err != nil {
				return err
			}
			if p == d.before[k] {
				same++
			}
			r, err := tx.LatestReceipt(k)
			if err != nil || r == nil {
				return fmt.Errorf("a receipt is missing: %w", err)
			}
			for _, it := range r.Items {
				switch it.Outcome {
				case crm.Suspended:
					suspended++
				case crm.Skipped:
					skipped++
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.fact(same == 200, "%d of 200 are exactly as they were: identity, tags, lists with status, fields, records, opportunities, companies, campaigns", same)
	d.fact(suspended > 0 && skipped == 1, "%d enrollments are suspended: back and visible, with no timer armed", suspended)
	d.note("restored exactly", "%d; skipped 1 note that was deleted separately", same)
	return nil
}

// tenDays lets ten more days pass, each with every schedule, and counts what a restore set off.
func (d *demo) tenDays() error {
	before, err := d.countRuns(nil)
	if err != nil {
		return err
	}
	for i := range 10 {
		if err := d.goTo(demoStart.AddDate(0, 0, 16+i)); err != nil {
			return err
		}
	}
	after, err := d.countRuns(nil)
	if err != nil {
		return err
	}
	var suppressed, started, timers, sends, live int
	err = d.o.app.Store.View(d.ctx, func(tx *store.Tx) error {
		suppressed, started, timers, sends, live = 0, 0, 0, 0, 0
		for _, k := range d.chosen {
			r, err := tx.LatestReceipt(k)
			if err != nil {
				return err
			}
			suppressed += len(r.Suppressed)
			started += r.RunsStarted
			timers += r.TimersArmed
			sends += r.Sends
			if _, _, err := tx.Contact(k, crm.OnlyLive); err == nil {
				live++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.fact(suppressed > 0 && started == 0 && timers == 0 && sends == 0,
		"the restore: triggers suppressed %d, runs started %d, timers armed %d, sends %d", suppressed, started, timers, sends)
	d.fact(after == before && live == 200, "ten more days of every trigger and schedule: %d new runs, %d of 200 still live", after-before, live)
	d.note("triggers suppressed, runs started, timers armed", "%d, %d, %d", suppressed, started, timers)
	return nil
}

// sweep deletes them again and moves the clock to the end of the recovery window.
func (d *demo) sweep() error {
	at := d.clock.Now()
	for _, k := range d.chosen {
		if _, err := ask[server.Deletion](d, "contact.delete", server.ContactDelete{ID: k.Contact.String(), Confirm: "DELETE", Reason: "erased after all"}); err != nil {
			return err
		}
	}
	deleted, err := d.countsNow()
	if err != nil {
		return err
	}
	d.fact(deleted.deleted == 200, "%d contacts are deleted, restorable until %s", deleted.deleted, at.Add(60*24*time.Hour).Format(time.RFC3339))
	for _, step := range []struct {
		after  time.Duration
		purged int
	}{{60*24*time.Hour - time.Second, 0}, {60 * 24 * time.Hour, 200}} {
		if err := d.goTo(at.Add(step.after)); err != nil {
			return err
		}
		purged, others, err := d.purged()
		if err != nil {
			return err
		}
		text := "59 days 23:59:59 later"
		if step.purged > 0 {
			text = "one second later"
		}
		d.fact(purged == step.purged && others == 0, "%s the sweep has purged %d of them, and %d others", text, purged, others)
	}
	after, err := d.countsNow()
	if err != nil {
		return err
	}
	d.fact(after.live == deleted.live && after.deleted == 0, "%d contacts live on, %d are deleted", after.live, after.deleted)
	_, err = ask[server.ContactView](d, "contact.get", server.ContactID{ID: d.chosen[0].Contact.String()})
	d.fact(crm.CodeOf(err) == crm.CodePurged, "asking for one of them: %v", err)
	v, err := ask[server.AuditView](d, "audit.verify", server.None{})
	d.fact(err == nil, "the chain over %d log entries verifies, the purged ones' included", v.Entries)
	d.note("purged by the sweep, not a second early", "%d", 200)
	d.note("log entries in the verified chain", "%d", v.Entries)
	return nil
}

// purged counts the purged among the chosen contacts and among all others.
func (d *demo) purged() (chosen, others int, err error) {
	err = d.o.app.Store.View(d.ctx, func(tx *store.Tx) error {
		chosen = 0
		for _, k := range d.chosen {
			life, err := tx.Life(k)
			if err != nil {
				return err
			}
			if life.State == crm.Purged {
				chosen++
			}
		}
		n, err := tx.Counter(d.acc, store.CountPurged)
		others = int(n) - chosen
		return err
	})
	return chosen, others, err
}
