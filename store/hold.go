package store

import "github.com/reprieve-run/reprieve/crm"

// hold puts a legal hold on a contact, live or deleted, or lifts it. Its reason is kept with the contact.
func (tx *Tx) hold(by crm.Actor, why crm.Cause, m crm.Hold) (*crm.Event, error) {
	was, life, err := tx.load("hold a contact", m.Contact, crm.LiveOrDead)
	if err != nil || life.Held == m.On {
		return nil, err
	}
	c, next, kind := was.Clone(), life, crm.ContactReleased
	next.Held, c.Hold = m.On, crm.HoldNote{}
	if m.On {
		kind, c.Hold = crm.ContactHeld, crm.HoldNote{Reason: m.Reason, By: by.ID, At: tx.now}
	}
	tx.lives.put(m.Contact, &next)
	tx.contacts.put(m.Contact, c)
	ev := tx.event(kind, by, why, next, c.Rev, crm.EventData{})
	return &ev, tx.noteSealed(ev, c, &next, crm.EventData{Reason: m.Reason})
}

// maxShelved is how many archivings of a contact are remembered.
const maxShelved = 16

// archive takes a live contact out of lists, campaigns and workflows, or lets it back on its lists, and
// changes nothing else (S4.11). The epoch moves by two, so that it stays even: what ran is suspended,
// as after a restore, until somebody resumes it.
func (tx *Tx) archive(by crm.Actor, why crm.Cause, m crm.Archive) (*crm.Event, error) {
	was, life, err := tx.load("archive a contact", m.Contact, crm.OnlyLive)
	if err != nil || was.Archived.On == m.On {
		return nil, err
	}
	c, rev := was.Clone(), revision(was, life, why)
	kind, data, _ := crm.ChangeFact(c, m, rev, tx.now, life.QuietRev > 0)
	c.Rev = max(was.Rev, rev)
	d := int64(1)
	next := life
	if m.On {
		d = -1
		next.Epoch = life.Epoch + 2
		next.Shelved = append(life.Shelved[max(0, len(life.Shelved)-maxShelved+1):len(life.Shelved):len(life.Shelved)], crm.Shelving{Epoch: life.Epoch, At: tx.now})
		tx.lives.put(m.Contact, &next)
		links, err := tx.Links(m.Contact)
		if err != nil {
			return nil, err
		}
		for _, l := range links {
			if l.Kind == crm.Campaign && l.Epoch == life.Epoch {
				tx.count(c.Account, CountOf(l.ID), -1)
			}
		}
	}
	for _, l := range c.Lists {
		if !l.Absent {
			tx.count(c.Account, CountOf(l.List), d)
		}
	}
	return tx.touch(c, next, tx.event(kind, by, why, next, rev, data))
}
