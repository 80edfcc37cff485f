package storetest

import (
	"fmt"
	"maps"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// compareCounters compares the counts that are kept rather than counted.
func (p *program) compareCounters(tx *store.Tx) error {
	want := map[string]int64{"contacts/live": 0, "contacts/deleted": 0, "contacts/purged": 0}
	for _, o := range p.objects {
		want["members/"+o.id.String()] = 0
	}
	for _, c := range p.contacts {
		want["contacts/"+c.state]++
		if c.state != "live" || c.archived() {
			continue
		}
		for _, list := range c.on("list/") {
			want["members/"+list]++
		}
		for _, l := range c.links {
			if l.kind == crm.Campaign && c.runnable(&l.mStanding) {
				want["members/"+l.id.String()]++
			}
		}
	}
	for what, n := range p.messages {
		want["campaign/"+what] = n
	}
	for _, o := range p.objects {
		if o.deleted { // nobody asks how many were on what is gone
			delete(want, "members/"+o.id.String())
		}
	}
	for name, n := range want {
		if got, err := tx.Counter(tenant, name); err != nil || got != n {
			return p.violation(Agrees, "the counter %s is %d, not %d (%v)", name, got, n, err)
		}
	}
	return nil
}

// compareScans compares which contacts each kind of reader sees.
func (p *program) compareScans(tx *store.Tx) error {
	for state, set := range map[string]crm.StateSet{"live": crm.OnlyLive, "deleted": crm.OnlyDeleted} {
		in := func(c *mContact) bool { return c.state == state }
		if err := p.compareScan(tx, crm.Query{State: set}, in); err != nil {
			return err
		}
		if err := p.compareFound(tx, set, in); err != nil {
			return err
		}
	}
	for _, o := range p.objects {
		if o.kind == crm.List {
			fact := "list/" + o.id.String()
			if err := p.compareScan(tx, crm.Query{State: crm.OnlyLive, List: o.id}, func(c *mContact) bool {
				return c.state == "live" && !c.archived() && c.has(fact) != ""
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareFound compares whom each address leads to.
func (p *program) compareFound(tx *store.Tx, set crm.StateSet, in func(*mContact) bool) error {
	want := map[crm.NamedIdentity]map[crm.Key]bool{}
	for _, c := range p.contacts {
		for _, name := range []string{"email", "phone"} {
			address := crm.NamedIdentity{Name: name, Value: c.has(name)}
			if want[address] == nil {
				want[address] = map[crm.Key]bool{}
			}
			if in(c) && address.Value != "" {
				want[address][c.key] = true
			}
		}
	}
	for address, want := range want {
		keys, err := tx.Find(tenant, address.Name, address.Value, set)
		got := map[crm.Key]bool{}
		for _, k := range keys {
			got[k] = true
		}
		if err != nil || !maps.Equal(got, want) {
			return p.violation(Agrees, "the %s %q leads to %v, not %v (%v)", address.Name, address.Value, got, want, err)
		}
	}
	return nil
}

// compareDeleted compares searches of deleted contacts, by what is known of their deletion.
func (p *program) compareDeleted(tx *store.Tx) error {
	from, to := p.now()-30*crm.Second, p.now()
	for _, search := range []struct {
		asked store.Deleted
		in    func(c *mContact, d *mManifest) bool
	}{
		{store.Deleted{}, func(*mContact, *mManifest) bool { return true }},
		{store.Deleted{Workflow: "every"}, func(_ *mContact, d *mManifest) bool { return d.workflow == "every" }},
		{store.Deleted{By: boss.ID}, func(_ *mContact, d *mManifest) bool { return d.workflow == "" }},
		{store.Deleted{From: from, To: to}, func(_ *mContact, d *mManifest) bool { return from <= d.at && d.at < to }},
		{store.Deleted{Email: "P1@"}, func(c *mContact, _ *mManifest) bool { return c.has("email") == "p1@example.com" }},
	} {
		got, want := map[string]bool{}, map[string]bool{}
		for _, c := range p.contacts {
			if c.state == "deleted" && search.in(c, c.manifests[len(c.manifests)-1]) {
				want[c.key.Contact.String()] = true
			}
		}
		for after, more := []byte(nil), true; more; more = after != nil {
			var err error
			if after, err = tx.ScanDeleted(tenant, search.asked, after, func(c *crm.Contact, _ crm.Life, _ *crm.Manifest) bool {
				got[c.ID.String()] = true
				return true
			}); err != nil {
				return err
			}
		}
		if !maps.Equal(got, want) {
			return p.violation(Agrees, "a search for %+v gives %s", search.asked, difference(got, want))
		}
	}
	return nil
}

func (p *program) compareScan(tx *store.Tx, q crm.Query, in func(*mContact) bool) error {
	got, want := map[string]bool{}, map[string]bool{}
	for _, c := range p.contacts {
		if in(c) {
			want[c.key.Contact.String()] = true
		}
	}
	q.Account = tenant
	err := tx.ScanAll(q, func(c *crm.Contact, _ *crm.Life) bool {
		got[c.ID.String()] = true
		return true
	})
	if err != nil || !maps.Equal(got, want) {
		return p.violation(Agrees, "a scan %v of the list %s gives %s (%v)", q.State, q.List, difference(got, want), err)
	}
	return nil
}

// compareRuns compares which runs could be woken, ever, and how every run is shown.
func (p *program) compareRuns(tx *store.Tx) error {
	wakes := map[string]bool{}
	for _, c := range p.contacts {
		if c.state == "purged" {
			continue
		}
		life, err := tx.Life(c.key)
		if err != nil {
			return err
		}
		runs, err := tx.RunsOf(c.key)
		if err != nil {
			return err
		}
		shown := map[crm.RunID]string{}
		for _, r := range runs {
			shown[r.ID] = string(r.StatusFor(life))
		}
		for _, r := range c.runs {
			if c.underway(r) {
				wakes[fmt.Sprintf("%s at %s", r.id, r.due)] = true
			}
			is, want := shown[r.id], c.shows(r)
			if is == "" {
				is = "nowhere"
			}
			switch {
			case is == want, want == "under way" && (is == "active" || is == "waiting"):
			case want == "nowhere":
				return p.violation(StaysLost, "the run %s of %s is shown as %q", r.id, c.key.Contact, is)
			default:
				return p.violation(Agrees, "the run %s of %s is shown as %q, not %q", r.id, c.key.Contact, is, want)
			}
			delete(shown, r.id)
		}
		if len(shown) > 0 {
			return p.violation(Agrees, "%s has the runs %v besides", c.key.Contact, shown)
		}
	}
	due, _, _, err := tx.DueRuns(store.FirstTimer, 1<<62, 10_000)
	got := map[string]bool{}
	for _, r := range due {
		got[fmt.Sprintf("%s at %s", r.ID, r.Due)] = true
	}
	if err != nil || !maps.Equal(got, wakes) {
		return p.violation(Agrees, "of the runs that can be woken there are %s (%v)", difference(got, wakes), err)
	}
	return nil
}

// compareDeadlines compares what sweeps go by. A deadline before its time is an early purge to come.
func (p *program) compareDeadlines(tx *store.Tx) error {
	want := map[string]crm.Nanos{}
	for _, c := range p.contacts {
		if c.state == "deleted" {
			want[c.key.Contact.String()+" "+c.until.String()] = c.until
		}
		for _, at := range c.losses {
			want[c.key.Contact.String()+" "+at.String()] = at
		}
	}
	all, err := tx.Expired(1<<62, nil, 10_000)
	got := map[string]crm.Nanos{}
	for _, d := range all {
		name := d.Contact.String() + " " + d.Until.String()
		got[name] = d.Until
		if c := p.of(crm.Key{Account: d.Account, Contact: d.Contact}); want[name] == 0 && d.Until < max(c.until, c.leftUntil()) {
			return p.violation(NeverEarly, "%s has a deadline at %s", c.key.Contact, d.Until)
		}
	}
	if err != nil || !maps.Equal(got, want) {
		return p.violation(Agrees, "of the deadlines there are %s (%v)", difference(got, want), err)
	}
	for _, c := range p.contacts {
		life, err := tx.Life(c.key)
		until := c.until
		if c.state != "deleted" {
			until = 0
		}
		if err != nil || life.RestorableUntil != until || life.NextDiscard() != c.leftUntil() {
			promise := Agrees
			if life.RestorableUntil < until || life.NextDiscard() < c.leftUntil() {
				promise = NeverEarly
			}
			return p.violation(promise, "%s can be restored until %s and discarded from %s, not %s and %s", c.key.Contact, life.RestorableUntil, life.NextDiscard(), until, c.leftUntil())
		}
	}
	return nil
}

// compareObjects compares what the account owns: what is there, and of opportunities whose they are.
func (p *program) compareObjects(tx *store.Tx) error {
	got, want := map[string]bool{}, map[string]bool{}
	for _, kind := range []crm.ItemKind{crm.List, crm.Campaign, crm.Company, crm.Opportunity} {
		objects, err := tx.Objects(tenant, kind)
		if err != nil {
			return err
		}
		for _, o := range objects {
			live := !o.Deleted.IsSet()
			if kind == crm.Opportunity {
				if live, err = tx.OpportunityLive(&o); err != nil {
					return err
				}
			}
			got[fmt.Sprintf("%s %s of %v, first %s, live %v, deleted %v, lost %v", kind, o.ID, o.Contacts, o.Primary, live, o.Deleted.IsSet(), o.Lost)] = true
		}
	}
	for _, o := range p.objects {
		ids, primary := []crm.ContactID(nil), crm.ContactID{}
		for _, c := range o.contacts {
			ids = append(ids, c.key.Contact)
		}
		if o.primary != nil {
			primary = o.primary.key.Contact
		}
		live := !o.deleted && (o.kind != crm.Opportunity || o.shared(nil))
		want[fmt.Sprintf("%s %s of %v, first %s, live %v, deleted %v, lost %v", o.kind, o.id, ids, primary, live, o.deleted, o.lost)] = true
	}
	if !maps.Equal(got, want) {
		return p.violation(Agrees, "of the objects there are %s", difference(got, want))
	}
	return nil
}

// compareBulks compares how far each bulk restore has come, and whom it could not restore.
func (p *program) compareBulks(tx *store.Tx) error {
	for _, b := range p.bulks {
		o, err := tx.Operation(b.id)
		if err != nil || o == nil {
			return p.violation(Agrees, "the operation %s is missing (%v)", b.id, err)
		}
		state := "running"
		if b.ended && len(b.refused) > 0 {
			state = "complete_with_errors"
		} else if b.ended {
			state = "complete"
		}
		if o.Accepted != b.accepted || o.Done != b.next-len(b.refused) || o.Refused != len(b.refused) || string(o.State) != state {
			return p.violation(Agrees, "the bulk restore is %+v; it did %d, refused %v and is %s", o, b.next-len(b.refused), b.refused, state)
		}
		refused, err := tx.RefusedItems(o, crm.ContactID{}, 1000)
		got := map[crm.ContactID]string{}
		for _, r := range refused {
			got[r.Contact] = r.Code
		}
		if err != nil || !maps.Equal(got, b.refused) {
			return p.violation(Agrees, "the bulk restore refused %v, not %v (%v)", got, b.refused, err)
		}
	}
	return nil
}
