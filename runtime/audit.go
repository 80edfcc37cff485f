package runtime

import (
	"context"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
)

// Audit is where the log's signed heads go, and by which key they and its checkpoints are signed.
type Audit struct {
	Signer func() (*store.Signer, error)
	// Append makes a head durable outside of the store; Last gives the one appended last, nil if there is none.
	Append func(store.Head) error
	Last   func() (*store.Head, error)
	Cron   string // when heads are exported, in UTC; "" is every hour. The first pass exports one as well
}

// heading is how far the exporting of heads has come.
type heading struct {
	schedule *triggers.Schedule
	last     crm.Nanos // when one was exported, or found to be the same; 0: not since the start
}

func newHeading(o *Audit) (h heading, err error) {
	if o == nil {
		return h, nil
	}
	cron := o.Cron
	if cron == "" {
		cron = "0 * * * *"
	}
	h.schedule, err = triggers.ParseSchedule(triggers.ScheduleSpec{Cron: cron, Zone: "UTC", Misfire: "last", Within: 31 * crm.Day})
	return h, err
}

// headDue exports the head of the log when its schedule says so. A failure is complained of and tried again at the
// next fire: work goes on without a witness rather than not at all.
func (e *Engine) headDue(ctx context.Context) (bool, error) {
	if e.audit == nil {
		return false, nil
	}
	var now crm.Nanos
	if err := e.store.View(ctx, func(tx *store.Tx) error { now = tx.Now(); return nil }); err != nil {
		return false, err
	}
	if e.heads.last != 0 {
		if fires, missed := e.heads.schedule.Due(e.heads.last, now); len(fires)+missed == 0 {
			return false, nil
		}
	}
	e.heads.last = now
	if err := e.ExportHead(ctx); err != nil {
		e.complain(err, "the head of the log was not exported; it will be tried again")
	}
	return false, nil // nobody has to look again because of it
}

// ExportHead exports the head of the log, unless it is the one that was exported last. It says loudly when that one
// is not in the log any more: then the log is not the one that it was.
func (e *Engine) ExportHead(ctx context.Context) error {
	if e.audit == nil {
		return nil
	}
	last, err := e.audit.Last()
	if err != nil {
		return err
	}
	if last != nil {
		has, err := e.store.HasHead(ctx, last)
		if err != nil {
			return err
		}
		if !has {
			e.log.Error().Uint64("entry", last.Seq).Msg("the head of the log that was exported last is not in the log: entries were changed or are missing; reprieve audit verify says more")
		}
	}
	signer, err := e.audit.Signer()
	if err != nil {
		return err
	}
	head, err := e.store.SignHead(ctx, signer)
	if err != nil || head == nil || last != nil && last.Seq == head.Seq && last.Hash == head.Hash {
		return err
	}
	return e.audit.Append(*head)
}

// trimSome removes entries of the log whose time is up, in chunks that hold the writer briefly, up to so many (0: all).
func (e *Engine) trimSome(ctx context.Context, chunks int) (entries int, more bool, err error) {
	if e.audit == nil {
		return 0, false, nil
	}
	signer, err := e.audit.Signer()
	if err != nil {
		return 0, false, err
	}
	for n := 0; chunks == 0 || n < chunks; n++ {
		size := e.trims.size()
		began := e.clock.Now()
		done, more, err := e.store.TrimLog(ctx, cursorDispatch, size, signer)
		entries += done
		if err != nil || !more {
			return entries, false, err
		}
		e.trims.took(done, e.clock.Now().Sub(began))
	}
	return entries, true, nil
}
