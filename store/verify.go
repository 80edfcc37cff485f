package store

import (
	"context"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
)

// Proof is what the log says of one restore, recounted from its entries alone: neither the receipt's own
// counts nor the rows of runs and timers are believed.
type Proof struct {
	Epoch       uint64   `json:"epoch"`
	Entry       uint64   `json:"entry"`                // the log's entry of the restore
	From        uint64   `json:"from_entry,omitempty"` // where the log begins, if not at 1: runs begun before it are not among those that went on
	Entries     uint64   `json:"entries_read"`         // the chain was recomputed over all of them
	RunsStarted int      `json:"runs_started"`         // by facts not changed since the restore
	RunsWentOn  int      `json:"runs_went_on"`         // runs of before that did something although nobody resumed them
	Sends       int      `json:"sends"`                // campaign messages to an enrollment of before that nobody resumed
	Resumed     int      `json:"resumed"`              // runs and enrollments that somebody resumed: by that act, not by the restore
	Faults      []string `json:"faults"`               // what the receipt says and the log does not, or the other way round
}

// Holds says whether the restore started nothing and the receipt is true.
func (p *Proof) Holds() bool { return p.RunsStarted+p.RunsWentOn+p.Sends+len(p.Faults) == 0 }

// VerifyReceipt recomputes from the whole log that a restore started nothing, up to the contact's next
// deletion. It reads every entry.
func (s *Store) VerifyReceipt(ctx context.Context, k crm.Key, epoch uint64) (*Proof, error) {
	p := &Proof{Epoch: epoch, Faults: []string{}}
	n, _, err := s.VerifyLog(ctx)
	if err != nil {
		return nil, err
	}
	p.Entries = n
	err = s.View(ctx, func(tx *Tx) error {
		r, err := tx.Receipt(k, epoch)
		if err != nil {
			return err
		}
		if r == nil {
			return crm.Errorf("verify a receipt", crm.CodeNotFound, "no restore began its epoch %d", epoch).About(k.Contact)
		}
		start, err := tx.LogStart()
		if err != nil {
			return err
		}
		if p.From = 0; start > 1 {
			p.From = start
		}
		v := recount{p: p, r: r, before: map[crm.RunID]bool{}, resumed: map[crm.RunID]bool{}, enrolled: map[crm.ItemID]bool{}}
		for cursor := []byte(nil); ; {
			raw, next, err := tx.row.Next(tx.ctx, logName, cursor, 1000)
			if err != nil {
				return err
			}
			if len(raw) == 0 {
				break
			}
			for _, b := range raw {
				var e entry
				if err := codec.Unmarshal(b, &e); err != nil {
					return err
				}
				if e.Account != k.Account || e.Contact != k.Contact {
					continue // it stays sealed
				}
				l, err := tx.opened(&e)
				if err != nil {
					return err
				}
				v.see(&l)
			}
			cursor = next
		}
		if p.Entry == 0 && start > 1 {
			return crm.Errorf("verify a receipt", crm.CodeNotFound, "the log begins at entry %d: what was before was removed at the end of audit.keep", start).
				About(k.Contact).WithHint("an export of the audit from before has it")
		}
		v.end()
		return nil
	})
	return p, err
}

// recount goes through the log once.
type recount struct {
	p        *Proof
	r        *crm.Receipt
	over     bool
	before   map[crm.RunID]bool  // runs that were started before the restore
	resumed  map[crm.RunID]bool  // of them
	enrolled map[crm.ItemID]bool // campaigns entered or resumed since
}

func (v *recount) see(l *Logged) {
	ev := &l.Event
	if v.over {
		return
	}
	if v.p.Entry == 0 {
		switch {
		case ev.Kind == crm.ContactRestored && ev.Epoch == v.r.Epoch:
			v.p.Entry = l.Seq
			if ev.Rev != v.r.QuietRev {
				v.p.Faults = append(v.p.Faults, "the receipt's quiet revision is not the log's")
			}
			if ev.At != v.r.At || ev.By != v.r.By {
				v.p.Faults = append(v.p.Faults, "the receipt's instant or actor is not the log's")
			}
		case ev.Kind == crm.RunStarted:
			v.before[ev.Why.Run] = true
		}
		return
	}
	run := ev.Why.Run
	switch ev.Kind {
	case crm.ContactDeleted, crm.ContactPurged:
		v.over = true
		return
	case crm.RunStarted:
		if ev.Rev <= v.r.QuietRev {
			v.p.RunsStarted++
		}
		return
	case crm.RunResumed:
		v.p.Resumed++
		v.resumed[run] = true
		return
	case crm.EnrollmentResumed:
		v.p.Resumed++
		v.enrolled[ev.Data.Item] = true
	case crm.CampaignEnrolled:
		v.enrolled[ev.Data.Item] = true
	case crm.CampaignActivity:
		if ev.Data.Name == string(crm.MessageSent) && !v.enrolled[ev.Data.Item] {
			v.p.Sends++
		}
	}
	if v.before[run] && !v.resumed[run] && run != v.r.Why.Run {
		v.p.RunsWentOn++
	}
}

func (v *recount) end() {
	if v.p.Entry == 0 {
		v.p.Faults = append(v.p.Faults, "the log has no such restore")
	}
}
