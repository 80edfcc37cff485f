package store

import (
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// queuePoll is how long the first in a queue rests before it looks whether the run before it was suspended,
// which happens without a word to it: the contacts of one key may be different ones.
const queuePoll = crm.Minute

// holders are the runs of a key that are neither over nor suspended, in the order of the key.
type holders struct {
	key  *row.RunKey // nil: nobody
	runs []*crm.Run
}

// holders reads who holds a run key.
func (tx *Tx) holders(acc crm.AccountID, workflow string, hash [32]byte) (h holders, err error) {
	if h.key, err = one(tx.ctx, tx.row.RunKeys(), row.RunKeyKey{Account: acc, Hash: hash, Workflow: workflow}); err != nil || h.key == nil {
		return h, err
	}
	for _, id := range h.key.Runs() {
		r, err := tx.Run(id)
		if err != nil {
			return h, err
		}
		if r == nil {
			continue
		}
		life, err := tx.Life(crm.Key{Account: r.Account, Contact: r.Contact})
		if err != nil {
			return h, err
		}
		if status := r.StatusFor(life); !status.Finished() && status != crm.RunSuspended {
			h.runs = append(h.runs, r)
		}
	}
	return h, nil
}

// without leaves out a run.
func (h holders) without(id crm.RunID) holders {
	h.runs = slices.DeleteFunc(slices.Clone(h.runs), func(r *crm.Run) bool { return r.ID == id })
	return h
}

// working counts those that do not wait in the queue.
func (h holders) working() (n int) {
	for _, r := range h.runs {
		if r.Status != crm.RunQueued {
			n++
		}
	}
	return n
}

// keeps says whether the key is kept from everybody for a while, whoever held it.
func (h holders) keeps(now crm.Nanos) bool { return h.key != nil && h.key.Until > now }

// admits says whether one more run may start under the key, and whether it has to queue.
func (h holders) admits(mode crm.RunMode, most int, now crm.Nanos) (start, queue bool) {
	switch n := len(h.runs); {
	case h.keeps(now):
		return false, false
	case n == 0, mode == crm.RestartMode:
		return true, false
	case mode == crm.ParallelMode:
		return n < most, false
	case mode == crm.QueuedMode:
		return n < most, true
	}
	return false, false
}

// set writes who holds the key from now on; with nobody and nothing that keeps it, the row goes.
func (tx *Tx) setHolders(old *row.RunKey, next row.RunKey, ids []crm.RunID) error {
	ch := row.Change[row.RunKey]{Old: old}
	if len(ids) > 0 {
		next.Run, next.Others = ids[0], ids[1:]
		ch.New = &next
	}
	if ch.Old == nil && ch.New == nil {
		return nil
	}
	tx.wrote = true
	return tx.row.RunKeys().Write(tx.ctx, []row.Change[row.RunKey]{ch})
}

// leaveKey takes a run off its key and lets the next in its queue go on. A row that keeps others out after
// an instant stays, with the last run that held it.
func (tx *Tx) leaveKey(r *crm.Run, after crm.Nanos) error {
	key, err := one(tx.ctx, tx.row.RunKeys(), row.RunKeyKey{Account: r.Account, Hash: r.KeyHash, Workflow: r.Workflow})
	if err != nil || key == nil {
		return err
	}
	ids := key.Runs()
	at := slices.Index(ids, r.ID)
	if at < 0 || len(ids) == 1 && key.Until > after {
		return nil
	}
	ids = slices.Delete(slices.Clone(ids), at, at+1)
	if err := tx.setHolders(key, *key, ids); err != nil || len(ids) == 0 {
		return err
	}
	return tx.callNext(r)
}

// callNext has the first in the queue of a run's key go on, if nobody works under it; except is leaving.
func (tx *Tx) callNext(except *crm.Run) error {
	h, err := tx.holders(except.Account, except.Workflow, except.KeyHash)
	if err != nil {
		return err
	}
	if h = h.without(except.ID); len(h.runs) == 0 || h.working() > 0 {
		return nil
	}
	first := h.runs[0]
	next := *first
	next.Status, next.Due, next.Token = crm.RunActive, tx.now, first.Token+1
	return tx.saveRun(first, &next)
}

// takeKey gives a run that goes on after it stood still its place at its key: at the end of the queue if it
// waits in it, else before it. It is a conflict if others work under the key by now.
func (tx *Tx) takeKey(op string, r *crm.Run) error {
	h, err := tx.holders(r.Account, r.Workflow, r.KeyHash)
	if err != nil {
		return err
	}
	key := row.RunKey{Account: r.Account, Workflow: r.Workflow, Hash: r.KeyHash, Mode: r.Mode, Max: r.Max}
	if h.key != nil {
		key = *h.key
	}
	h = h.without(r.ID)
	free := h.working() == 0 || key.Mode == crm.ParallelMode && h.working() < int(key.Max)
	if !free && r.Status != crm.RunQueued {
		return crm.Errorf(op, crm.CodeConflict, "the run %s of the workflow holds the key by now", h.runs[0].ID).About(r.Contact).
			WithHint("let that one end first")
	}
	var ids []crm.RunID
	if r.Status != crm.RunQueued {
		ids = append(ids, r.ID)
	}
	for _, other := range h.runs {
		ids = append(ids, other.ID)
	}
	if r.Status == crm.RunQueued {
		ids = append(ids, r.ID)
	}
	return tx.setHolders(h.key, key, ids)
}

// AskQueue looks whether a queued run's turn has come; if not, it looks again later. A run that is not
// where the caller saw it is left alone.
func (tx *Tx) AskQueue(was crm.Run) error {
	r, err := tx.Run(was.ID)
	if err != nil || r == nil || r.Token != was.Token || r.Status != crm.RunQueued {
		return err
	}
	h, err := tx.holders(r.Account, r.Workflow, r.KeyHash)
	if err != nil {
		return err
	}
	next := *r
	next.Token++
	if next.Due = h.pollOf(r, tx.now); len(h.runs) > 0 && h.working() == 0 && h.runs[0].ID == r.ID {
		next.Status, next.Due = crm.RunActive, tx.now
	}
	return tx.saveRun(r, &next)
}

// pollOf says when a queued run has to look after its turn: only one whose turn somebody else's contact
// holds up; else whoever goes calls it.
func (h holders) pollOf(r *crm.Run, now crm.Nanos) crm.Nanos {
	for _, other := range h.runs {
		if other.ID == r.ID {
			break
		}
		if other.Contact != r.Contact {
			return now + queuePoll
		}
	}
	return 0
}

// Listener is a run that waits for an event of its contact.
type Listener struct {
	Run   crm.Run
	Since uint64 // the entry of the log after which it listens
}

// Listeners gives the runs of a contact that wait for an event and could go on.
func (tx *Tx) Listeners(k crm.Key) ([]Listener, error) {
	rows, err := tx.listeners(k)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	life, err := tx.Life(k)
	if err != nil {
		return nil, err
	}
	var all []Listener
	for _, l := range rows {
		r, err := tx.Run(l.Run)
		if err != nil {
			return nil, err
		}
		if r != nil && r.Listening && r.Epoch == life.Epoch {
			all = append(all, Listener{*r, l.Since})
		}
	}
	return all, nil
}

// CloseTombstones ends the runs of a restored contact that stood on its tombstone and waited for an event: they
// may have no timer by which DropTimers would find them.
func (tx *Tx) CloseTombstones(k crm.Key) error {
	rows, err := tx.listeners(k)
	if err != nil || len(rows) == 0 {
		return err
	}
	life, err := tx.Life(k)
	if err != nil || life.State != crm.Live {
		return err
	}
	for _, l := range rows {
		r, err := tx.Run(l.Run)
		if err != nil {
			return err
		}
		if r == nil || r.Status.Finished() || r.Due != 0 || !r.OnTombstone() || r.Epoch == life.Epoch || life.Hides(crm.WorkflowRun, r.Epoch) {
			continue
		}
		if err := tx.endRun(r, crm.ReasonRestored); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) listeners(k crm.Key) ([]row.Listener, error) {
	from := crm.ItemKey{Account: k.Account, Contact: k.Contact}
	to := from
	to.Kind = 1 // a listener has no kind
	return tx.row.Listeners().Range(tx.ctx, from, to, 0)
}

// listen keeps the row by which events find a run. One that goes on listening, after it was resumed say,
// hears only what happens from then on.
func (tx *Tx) listen(was, is *crm.Run) error {
	if was.Listening == is.Listening && was.Epoch == is.Epoch {
		return nil
	}
	key := crm.ItemKey{Account: is.Account, Contact: is.Contact, ID: crm.ItemID(is.ID)}
	ch := row.Change[row.Listener]{}
	if was.Listening {
		there, err := one(tx.ctx, tx.row.Listeners(), key)
		if err != nil {
			return err
		}
		ch.Old = there
	}
	if is.Listening {
		seq, err := tx.last()
		if err != nil {
			return err
		}
		ch.New = &row.Listener{Account: is.Account, Contact: is.Contact, Run: is.ID, Since: seq}
	}
	if ch.Old == nil && ch.New == nil {
		return nil
	}
	tx.wrote = true
	return tx.row.Listeners().Write(tx.ctx, []row.Change[row.Listener]{ch})
}

// LogEnd gives the number of the youngest entry of the log.
func (tx *Tx) LogEnd() (uint64, error) { return tx.last() }

// last gives the number of the youngest entry of the log, with those that this transaction has staged.
func (tx *Tx) last() (uint64, error) {
	if tx.head != nil {
		return tx.head.N + uint64(len(tx.entries)), nil
	}
	head, err := one(tx.ctx, tx.row.Marks(), markHead)
	if err != nil || head == nil {
		return 0, err
	}
	return head.N, nil
}
