package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// compare holds everything that the store shows against the model.
func (p *program) compare() error {
	return p.view(func(tx *store.Tx) error {
		if tx.Now() != p.now() {
			return p.violation(Agrees, "the store's clock shows %s, not %s", tx.Now(), p.now())
		}
		for _, c := range p.contacts {
			if err := p.compareContact(tx, c); err != nil {
				return err
			}
		}
		for _, see := range []func(*store.Tx) error{p.compareCounters, p.compareScans, p.compareRuns, p.compareDeadlines, p.compareObjects, p.compareBulks} {
			if err := see(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// verify holds at the end of a program what takes the whole log, or every row of a contact: all receipts
// and manifests, the proof that restores started nothing, histories and the chain.
func (p *program) verify() error {
	ctx := context.Background()
	var latest []crm.EpochKey
	err := p.view(func(tx *store.Tx) error {
		if err := p.compareDeleted(tx); err != nil {
			return err
		}
		for _, c := range p.contacts {
			if err := p.compareHistory(tx, c); err != nil || c.state == "purged" {
				if err != nil {
					return err
				}
				continue
			}
			for i := range c.manifests {
				if err := p.compareManifest(tx, c, c.manifests[i]); err != nil {
					return err
				}
			}
			for i, r := range c.receipts {
				if err := p.compareReceipt(tx, c, r); err != nil {
					return err
				}
				if i == len(c.receipts)-1 {
					if l, err := tx.LatestReceipt(c.key); err != nil || l.Epoch != r.epoch {
						return p.violation(Agrees, "the latest receipt of %s is not that of epoch %d (%v)", c.key.Contact, r.epoch, err)
					}
					latest = append(latest, crm.EpochKey{Account: tenant, Contact: c.key.Contact, Epoch: r.epoch})
				}
			}
		}
		return nil
	})
	for _, k := range latest {
		proof, perr := p.s.VerifyReceipt(ctx, crm.Key{Account: k.Account, Contact: k.Contact}, k.Epoch)
		if perr != nil || !proof.Holds() {
			err = cmp.Or(err, p.violation(StartsNothing, "the receipt of %s in epoch %d is not proved: %+v (%v)", k.Contact, k.Epoch, proof, perr))
		}
	}
	_, _, verr := p.s.VerifyLog(ctx)
	return cmp.Or(err, verr)
}

func (p *program) compareHistory(tx *store.Tx, c *mContact) error {
	got, err := tx.History(c.key, 0, 10_000)
	var kinds []crm.EventKind
	for _, l := range got {
		kinds = append(kinds, l.Event.Kind)
	}
	slices.Reverse(kinds)
	if err != nil || !slices.Equal(kinds, c.history) {
		return p.violation(Agrees, "%s has the history %v, not %v (%v)", c.key.Contact, kinds, c.history, err)
	}
	return nil
}

// compareContact compares what one contact is: its state and facts, and what hangs on it.
func (p *program) compareContact(tx *store.Tx, c *mContact) error {
	got, life, err := tx.Peek(c.key)
	if err != nil {
		return err
	}
	is, want := fmt.Sprintf("%s in epoch %d", life.State, life.Epoch), fmt.Sprintf("%s in epoch %d", c.state, c.epoch)
	if is != want || (got == nil) != (c.state == "purged") {
		return p.violation(Agrees, "%s is %s, not %s", c.key.Contact, is, want)
	}
	if life.Held != c.held {
		return p.violation(NeverEarly, "%s is under a hold: %v, not %v", c.key.Contact, life.Held, c.held)
	}
	if is, want := shownFacts(got), c.shownFacts(); is != want && got != nil {
		return p.violation(Agrees, "%s has the facts %s, not %s", c.key.Contact, is, want)
	}
	if err := p.compareThings(tx, c); err != nil || c.state == "purged" {
		return err
	}
	if c.seen == len(c.history) && p.contacts[p.at%len(p.contacts)] != c {
		return nil // nothing happened to it; what its last delete and restore did is read in turn
	}
	c.seen = len(c.history)
	if n := len(c.manifests); n > 0 {
		if err := p.compareManifest(tx, c, c.manifests[n-1]); err != nil {
			return err
		}
	}
	if n := len(c.receipts); n > 0 {
		return p.compareReceipt(tx, c, c.receipts[n-1])
	}
	return nil
}

func shownFacts(c *crm.Contact) string {
	if c == nil {
		return ""
	}
	facts := []string{"email=" + c.Email.Value, "phone=" + c.Phone.Value, "archived=" + onOff(c.Archived.On)}
	for _, t := range c.TagNames() {
		facts = append(facts, "tag/"+strings.ToLower(t)+"=on")
	}
	for _, f := range c.Fields {
		facts = append(facts, "field/"+f.Name+"="+f.Value.Text)
	}
	for _, l := range c.Lists {
		if !l.Absent {
			facts = append(facts, "list/"+l.List.String()+"="+string(l.Status))
		}
	}
	for _, d := range c.DND {
		facts = append(facts, "dnd/"+d.Name+"="+onOff(d.On))
	}
	return shown(facts)
}

func (c *mContact) shownFacts() string {
	var facts []string
	for name, f := range c.facts {
		facts = append(facts, name+"="+f.is)
	}
	return shown(facts)
}

// shown gives the facts that are not empty, in order.
func shown(facts []string) string {
	facts = slices.DeleteFunc(facts, func(f string) bool { return strings.HasSuffix(f, "=") })
	slices.Sort(facts)
	return strings.Join(facts, " ")
}

// compareThings compares records, links and what waits, with all that is in them. What comes back that
// was left behind is worse than a difference.
func (p *program) compareThings(tx *store.Tx, c *mContact) error {
	records, err := tx.Records(c.key)
	links, lerr := tx.Links(c.key)
	queued, qerr := tx.Queued(c.key)
	if err := errors.Join(err, lerr, qerr); err != nil {
		return err
	}
	got, want, left := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range records {
		got[fmt.Sprintf("%s %s of %s %q %q %s %s, deleted %v", r.Kind, r.ID, r.Parent, r.Title, r.Body, r.Status, r.Due, r.Deleted.IsSet())] = true
	}
	life, err := tx.Life(c.key)
	for _, l := range links {
		switch l.Kind {
		case crm.WorkflowRun, crm.FinishedRun: // compared with the runs
		case crm.Campaign:
			got[fmt.Sprintf("%s %s, message %d %s, runs %v", l.Kind, l.ID, l.Step, l.Due, l.Epoch == life.Epoch)] = true
		default:
			got[fmt.Sprintf("%s %s", l.Kind, l.ID)] = true
		}
	}
	for _, q := range queued {
		got[fmt.Sprintf("queued %s %s of %s %q %q %s", q.Kind, q.ID, q.Parent, q.Title, q.Body, q.At)] = true
	}
	if c.state != "purged" {
		for _, r := range c.records {
			text := fmt.Sprintf("%s %s of %s %q %q %s %s, deleted %v", r.kind, r.id, r.parent, r.title, r.body, r.status, r.due, r.deleted)
			if !r.removed {
				put(want, left, r.left, text)
			}
		}
		for _, l := range c.links {
			text := fmt.Sprintf("%s %s", l.kind, l.id)
			if l.kind == crm.Campaign {
				text += fmt.Sprintf(", message %d %s, runs %v", l.next, l.due, !l.over && l.life == c.moved)
			}
			put(want, left, l.left, text)
		}
		for _, q := range c.queued {
			want[fmt.Sprintf("queued %s %s of %s %q %q %s", q.Kind, q.ID, q.Parent, q.Title, q.Body, q.At)] = true
		}
	}
	for thing := range got {
		if left[thing] && !want[thing] {
			return p.violation(StaysLost, "%s has the %s again", c.key.Contact, thing)
		}
	}
	if !maps.Equal(got, want) {
		return p.violation(Agrees, "%s, %s, has %s", c.key.Contact, c.state, difference(got, want))
	}
	return err
}

func put(want, left map[string]bool, isLeft bool, text string) {
	if isLeft {
		left[text] = true
	} else {
		want[text] = true
	}
}

// difference names what is there and should not be, and the other way round.
func difference[M ~map[string]V, V any](got, want M) string {
	var diff []string
	for k := range got {
		if _, ok := want[k]; !ok {
			diff = append(diff, "too much: "+k)
		}
	}
	for k := range want {
		if _, ok := got[k]; !ok {
			diff = append(diff, "too little: "+k)
		}
	}
	slices.Sort(diff)
	return strings.Join(diff, "; ")
}

// compareManifest and compareReceipt compare item by item.
func (p *program) compareManifest(tx *store.Tx, c *mContact, want *mManifest) error {
	m, err := tx.Manifest(c.key, want.epoch)
	if err != nil || m == nil {
		return p.violation(Agrees, "the manifest of %s in epoch %d is missing (%v)", c.key.Contact, want.epoch, err)
	}
	if m.At != want.at || m.RestorableUntil != want.until {
		return p.violation(Agrees, "%s was deleted at %s until %s, not at %s until %s", c.key.Contact, m.At, m.RestorableUntil, want.at, want.until)
	}
	if got, want := p.manifestItems(m), itemsOf(want.items); !slices.Equal(got, want) {
		return p.violation(Agrees, "the delete of %s took %v, not %v", c.key.Contact, got, want)
	}
	return nil
}

func (p *program) compareReceipt(tx *store.Tx, c *mContact, want *mReceipt) error {
	r, err := tx.Receipt(c.key, want.epoch)
	if err != nil || r == nil {
		return p.violation(Agrees, "the receipt of %s in epoch %d is missing (%v)", c.key.Contact, want.epoch, err)
	}
	if r.RunsStarted+r.TimersArmed+r.Sends > 0 {
		return p.violation(StartsNothing, "the receipt of %s counts %d runs, %d timers, %d sends", c.key.Contact, r.RunsStarted, r.TimersArmed, r.Sends)
	}
	if got, items := p.receiptItems(r), itemsOf(want.items); !slices.Equal(got, items) || r.At != want.at {
		return p.violation(Agrees, "the restore of %s at %s did %v, not %v at %s", c.key.Contact, r.At, got, items, want.at)
	}
	return nil
}

// itemsOf shows the model's items, also of records that are removed for good by now.
func itemsOf(items []mItem) (shown []string) {
	for _, it := range items {
		said := it.said
		if it.secondary {
			said += " secondary"
		}
		shown = append(shown, fmt.Sprintf("%s %s %s", it.kind, it.id, said))
	}
	slices.Sort(shown)
	return shown
}

func (p *program) manifestItems(m *crm.Manifest) (shown []string) {
	for _, it := range m.Items {
		said := string(it.Fate)
		if it.Secondary {
			said += " secondary"
		}
		shown = append(shown, fmt.Sprintf("%s %s %s", it.Kind, itemID(it.Kind, it.ID, ""), said))
	}
	slices.Sort(shown)
	return shown
}

func (p *program) receiptItems(r *crm.Receipt) (shown []string) {
	for _, it := range r.Items {
		said := strings.TrimSpace(string(it.Outcome) + " " + string(it.Reason))
		shown = append(shown, fmt.Sprintf("%s %s %s", it.Kind, itemID(it.Kind, it.ID, it.Name), said))
	}
	slices.Sort(shown)
	return shown
}

// itemID names an item: a tag by its name, an address by what it is, all else by its id.
func itemID(kind crm.ItemKind, id crm.ItemID, name string) string {
	switch kind {
	case crm.IdentityItem:
		return name
	case crm.TagItem:
		for _, tag := range []string{"unsubscribed", "vip"} {
			if store.TagID(tenant, tag) == id {
				return tag
			}
		}
	}
	return id.String()
}
