package storetest

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
)

// delete hides the contact until a restore. What it takes along or cuts off is written down now.
func (m *model) delete(c *mContact, why crm.Cause) {
	now, p := m.now(), m.policy
	d := &mManifest{epoch: c.epoch + 1, at: now, until: now + p.Retention.Window, workflow: why.Workflow}
	for _, list := range c.on("list/") {
		if o := m.objectOf(mItem{kind: crm.List, id: list}); o != nil && !o.deleted {
			d.items = append(d.items, mItem{kind: crm.List, id: list, said: m.cutOff(crm.List)})
		}
	}
	for _, tag := range c.on("tag/") {
		if m.cutOff(crm.TagItem) == "detached" {
			d.items = append(d.items, mItem{kind: crm.TagItem, id: tag, said: "detached"})
		}
	}
	for _, l := range c.links {
		if it, ok := m.cutLink(c, l); ok {
			d.items = append(d.items, it)
		}
	}
	for _, r := range c.runs {
		if s := c.shows(r); r.id == why.Run || s != "under way" && s != "suspended" {
			continue // the run that deletes, or one that is over
		}
		d.items = append(d.items, mItem{kind: crm.WorkflowRun, id: crm.ItemID(r.id).String(), said: interrupted(c.underway(r)), run: r})
	}
	for _, r := range c.records {
		if !r.removed && !r.left && !c.gone(r) {
			d.items = append(d.items, mItem{kind: r.kind, id: r.id.String(), said: "taken", record: r})
		}
	}
	for _, it := range d.items {
		if it.kind == crm.Opportunity {
			m.settle(it)
		}
	}
	if why.Kind == "workflow" {
		w := m.workflows[why.Workflow]
		w.deletes = append(w.deletes, now)
	}
	c.manifests = append(c.manifests, d)
	c.state, c.until = "deleted", d.until
	m.moves(c, 1)
	m.tell(c, "contact.deleted", why)
}

// settle closes an opportunity that goes with its last live contact, or takes its primary from it.
func (m *model) settle(it mItem) {
	o := m.object(it.kind, it.link.id)
	o.lost = it.said == "lost"
	o.deleted = o.lost
	if it.secondary {
		o.primary = nil
	}
}

// optedOut gives what a contact wants no more of.
func (m *model) optedOut(c *mContact) mOptOut {
	out := mOptOut{lists: map[crm.ItemID]string{}, channels: c.on("dnd/")}
	for _, o := range m.objects {
		if s := c.has("list/" + o.id.String()); o.kind == crm.List && optedOutOf(s) {
			out.lists[o.id] = s
		}
	}
	return out
}

func optedOutOf(status string) bool { return status == "unsubscribed" || status == "bounced" }

// cutOff is what a delete does to lists, tags and companies.
func (m *model) cutOff(kind crm.ItemKind) string {
	if m.policy.Delete.Associated[kind] == "keep" {
		return "kept"
	}
	return "detached"
}

func interrupted(ran bool) string {
	if ran {
		return "interrupted"
	}
	return "suspended"
}

// cutLink is what a delete does to a link. An opportunity that others share goes on without the contact,
// which is not its primary again if the policy says so; one that nobody else shares goes along, or is
// closed for good.
func (m *model) cutLink(c *mContact, l *mLink) (mItem, bool) {
	it := mItem{kind: l.kind, id: l.id.String(), link: l}
	o := m.object(l.kind, l.id)
	switch {
	case l.left || l.over, o == nil || o.deleted:
		return it, false
	case l.kind == crm.Company:
		it.said = m.cutOff(l.kind)
	case l.kind == crm.Campaign:
		it.said = interrupted(c.runnable(&l.mStanding))
	case o.shared(c):
		it.said, it.secondary = "detached", o.primary == c && m.policy.Restore.OpportunityPrimary == "secondary"
	case m.policy.Restore.SoleContactOpportunities == "lost":
		it.said = "lost"
	default:
		it.said = "taken"
	}
	return it, true
}

// restore brings back what the last delete wrote down, as far as it is still there and the policy says
// so, and marks what stays behind. It starts nothing: whatever went on before is interrupted.
func (m *model) restore(c *mContact, why crm.Cause) {
	d := c.manifests[len(c.manifests)-1]
	r := &mReceipt{epoch: c.epoch + 1, at: m.now()}
	add := func(kind crm.ItemKind, id, said string, record *mRecord) {
		r.items = append(r.items, mItem{kind: kind, id: id, said: said, record: record})
	}
	drop := func(fact string) { c.facts[fact] = mFact{step: m.step} } // by the restore: nothing fresh
	for _, name := range []string{"email", "phone"} {
		if m.taken(name, c.has(name), c) { // else the policy had refused it
			drop(name)
			add(crm.IdentityItem, name, "skipped conflict", nil)
		}
	}
	kept := false
	for _, it := range d.items {
		if it.record == nil {
			said := m.back(c, d, it)
			if said == "skipped workflow_gone" {
				it.run.done = "cancelled" // for good
			}
			add(it.kind, it.id, said, nil)
			if skipped := said != "restored"; skipped && it.kind == crm.List {
				drop("list/" + it.id)
			} else if skipped && it.kind == crm.TagItem {
				drop("tag/" + it.id)
			}
		}
		kept = kept || it.kind == crm.Company && it.said == "kept"
	}
	for _, tag := range c.on("tag/") { // those that the delete did not cut off
		if m.tagGone(tag, d) {
			add(crm.TagItem, tag, "skipped tag_gone", nil)
			drop("tag/" + tag)
		}
	}
	for _, rec := range c.records {
		switch {
		case rec.removed || rec.left:
		case c.gone(rec):
			add(rec.kind, rec.id.String(), "skipped deleted_separately", rec)
		case !m.policy.Restore.Associated[ruled(rec.kind)]:
			add(rec.kind, rec.id.String(), "skipped policy", rec)
		default:
			add(rec.kind, rec.id.String(), "restored", rec)
		}
	}
	c.receipts = append(c.receipts, r)
	m.leaveBehind(c, kept)
	c.state, c.restored = "live", m.step
	m.moves(c, 1)
	m.tell(c, "contact.restored", why)
}

// tagGone says whether a tag was deleted since a delete, even if there is one of that name again.
func (m *model) tagGone(tag string, d *mManifest) bool {
	t := m.tag(tag)
	return t.leaving || t.gone != 0 && t.gone >= d.at
}

// back gives what becomes of an item of a manifest, and why.
func (m *model) back(c *mContact, d *mManifest, it mItem) string {
	rules := m.policy.Restore
	var gone string
	switch it.kind {
	case crm.TagItem:
		if m.tagGone(it.id, d) {
			gone = "tag_gone"
		}
	case crm.WorkflowRun:
		if m.workflows[it.run.workflow].gone {
			gone = "workflow_gone"
		}
	default:
		o := m.objectOf(it)
		switch {
		case o != nil && !o.deleted:
		case o != nil && o.lost:
			gone = "opportunity_lost"
		default:
			gone = map[crm.ItemKind]string{crm.List: "list_gone", crm.Company: "company_gone", crm.Campaign: "campaign_gone", crm.Opportunity: "deleted_separately"}[it.kind]
		}
	}
	switch {
	case gone != "":
		return "skipped " + gone
	case it.kind == crm.Campaign && rules.Enrollments != "none":
		return standing(rules.Enrollments, it.link.due != 0 && it.link.due <= m.now())
	case it.kind == crm.WorkflowRun && rules.Enrollments != "none":
		return standing(rules.Enrollments, it.run.waiting && it.run.due <= m.now())
	case it.kind == crm.List && optedOutOf(c.has("list/"+it.id)):
		return "restored" // whom a list must not mail is never forgotten
	case it.kind == crm.Campaign, it.kind == crm.WorkflowRun, it.said != "kept" && !rules.Associated[it.kind]:
		return "skipped policy"
	case it.secondary:
		return "restored restored_as_secondary"
	}
	return "restored"
}

func standing(rule crm.Rule, overdue bool) string {
	if overdue && rule == "suspended" {
		return "suspended past_due"
	}
	return string(rule)
}

func (m *model) objectOf(it mItem) *mObject {
	for _, o := range m.objects {
		if o.kind == it.kind && o.id.String() == it.id {
			return o
		}
	}
	return nil
}

// leaveBehind marks what the policy does not bring back, which may be discarded at the deadline of the
// deletion that took it, and what it brings back as history only. A company that the delete did not cut
// off stays the contact's.
func (m *model) leaveBehind(c *mContact, kept bool) {
	rules := m.policy.Restore
	left := false // a kind, whether or not there is anything of it
	leave := func(kind crm.ItemKind) bool { return !rules.Associated[kind] && (kind != crm.Company || !kept) }
	for _, kind := range []crm.ItemKind{crm.Conversation, crm.Note, crm.Task, crm.Appointment, crm.ManualAction, crm.Opportunity, crm.Company} {
		left = left || leave(kind)
	}
	for _, rec := range c.records {
		if !rec.left && leave(ruled(rec.kind)) {
			rec.left, rec.leftUntil = true, c.until
		}
	}
	enrollment := func(s *mStanding) {
		if s.left || s.over {
			return // what is history stays history
		}
		s.left, s.over, s.until = rules.Enrollments == "none", rules.Enrollments == "history", c.until
	}
	for _, l := range c.links {
		if l.kind == crm.Campaign {
			enrollment(&l.mStanding)
		} else {
			if !l.left && leave(l.kind) {
				l.left, l.until = true, c.until
			}
		}
	}
	for _, r := range c.runs {
		if r.done == "" && !c.underway(r) { // but the run that stands on this tombstone
			enrollment(&r.mStanding)
		}
	}
	if left || rules.Enrollments == "none" {
		c.losses = append(c.losses, c.until)
	}
}

// purge removes the contact for good, with all that was only its own. What it wanted no more of is kept
// under its addresses, in place of what an earlier owner wanted.
func (m *model) purge(c *mContact, why crm.Cause) {
	for _, name := range []string{"email", "phone"} {
		address := name + ":" + c.has(name)
		out := m.optedOut(c)
		out.at = m.now()
		if was, ok := m.optOuts[address]; ok && c.made < was.at { // it never took over what was kept
			for list, status := range was.lists {
				if out.lists[list] == "" {
					out.lists[list] = status
				}
			}
			for _, ch := range was.channels {
				if !slices.Contains(out.channels, ch) {
					out.channels = append(out.channels, ch)
				}
			}
		}
		delete(m.optOuts, address)
		if c.has(name) != "" && m.policy.Suppression.KeepUnsubscribed && len(out.lists)+len(out.channels) > 0 {
			m.optOuts[address] = out
		}
	}
	if c.state == "live" { // as a delete would
		for _, l := range c.links {
			if it, ok := m.cutLink(c, l); ok && it.kind == crm.Opportunity {
				m.settle(it)
			}
		}
	}
	for _, l := range c.links {
		if l.kind == crm.Opportunity {
			m.leave(m.object(l.kind, l.id), c)
		}
	}
	for _, r := range c.runs {
		r.removed = true
	}
	c.state, c.held, c.losses, c.queued = "purged", false, nil, nil
	m.moves(c, 1)
	m.tell(c, "contact.purged", why)
}

// discard removes what restores left behind. History stays.
func (m *model) discard(c *mContact, why crm.Cause) {
	if len(c.losses) == 0 {
		return
	}
	now := m.now()
	for _, r := range c.records {
		r.removed = r.removed || r.left && now >= r.leftUntil
	}
	for _, l := range slices.Clone(c.links) {
		if l.left && now >= l.until {
			c.unlink(l)
			if l.kind == crm.Opportunity {
				m.leave(m.object(l.kind, l.id), c)
			}
		}
	}
	for _, r := range c.runs {
		r.removed = r.removed || r.left && now >= r.until
	}
	c.losses = slices.DeleteFunc(c.losses, func(at crm.Nanos) bool { return now >= at })
	m.tell(c, "contact.discarded", why)
}
