package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

// pending is a run on its way through one turn.
type pending struct {
	was  crm.Run
	def  *workflow.Workflow
	env  triggers.Env // the snapshot that the turn was decided on
	turn Turn
	base Turn // as it was before the outcome of its call
	seen store.Seen

	call    *Call             // the action that the turn has come to
	asked   *Call             // the action that was executed, if one was,
	spec    plugins.Spec      // what it may do,
	outcome *plugins.Outcome  // and its outcome: what a plugin has answered is never asked again
	gone    bool              // its workflow was deleted
	keyed   uint32            // the iteration whose idempotency key the call bears
	unsure  bool              // nobody knows whether the call was carried out
	sent    []byte            // the parameters with secrets in them
	secret  map[string]string // the secrets that they have
	since   uint64            // the end of the log at the snapshot
	deaf    bool              // something happened to its contact that it has to hear of first
}

// CodeTimeout is the code of an attempt that took longer than its step lets it.
const CodeTimeout = "timeout"

// maxClaim is how many timers a page looks at, and maxBatch how many go to a plugin at once.
const (
	maxClaim = 2000
	maxBatch = 1000
)

// advanceDue takes the runs that are due, decides what becomes of them, commits those that need no
// action and hands the others to their plugins in batches, without waiting for them: a plugin that
// hangs costs its own step only, and does not hide what is due behind its own runs.
func (e *Engine) advanceDue(ctx context.Context) (worked bool, err error) {
	full := map[position]bool{}
	for from := store.FirstTimer; ; {
		due, stale, next, err := e.claim(ctx, from, full)
		if err != nil {
			return worked, err
		}
		for some := range slices.Chunk(stale, 256) {
			if err := e.store.Update(ctx, func(tx *store.Tx) error { return tx.DropTimers(some) }); err != nil {
				return worked, err
			}
		}
		did, err := e.advanceRuns(ctx, due, full)
		worked = worked || did || len(stale) > 0
		if err != nil || worked || next == (crm.TimerKey{}) {
			return worked, err
		}
		from = next
	}
}

// position is where a run stands; runs at the same position come to the same action as a rule.
type position struct{ workflow, revision, step string }

func at(r crm.Run) position { return position{r.Workflow, r.Revision, r.Step} }

func queues(r crm.Run) bool { return r.Status == crm.RunQueued }

// advanceRuns carries the given runs on by a turn, and notes the positions whose action has enough
// batches inside its plugin already.
func (e *Engine) advanceRuns(ctx context.Context, due []crm.Run, full map[position]bool) (worked bool, err error) {
	turns, err := e.decide(ctx, slices.DeleteFunc(slices.Clone(due), queues))
	if err != nil {
		return false, err
	}
	if waiting := slices.DeleteFunc(due, func(r crm.Run) bool { return !queues(r) }); len(waiting) > 0 {
		worked = true
		if err := e.store.Update(ctx, func(tx *store.Tx) error {
			for _, r := range waiting {
				if err := tx.AskQueue(r); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return worked, err
		}
	}
	var quiet []*pending
	calls := map[string][]*pending{}
	var order []string
	for _, p := range turns {
		if p.turn.Call == nil {
			quiet = append(quiet, p)
			continue
		}
		g := p.turn.Call.Action + " " + p.def.ID + " " + p.def.Revision + " " + p.turn.Call.Step
		if calls[g] == nil {
			order = append(order, g)
		}
		calls[g] = append(calls[g], p)
	}
	if err := e.commit(ctx, quiet); err != nil {
		return false, err
	}
	worked = worked || len(quiet) > 0
	for _, g := range order {
		for batch := calls[g]; len(batch) > 0; {
			n := min(maxBatch, len(batch))
			if !e.launch(ctx, batch[:n]) {
				for _, p := range batch {
					full[at(p.was)] = true
				}
				break
			}
			worked = true
			batch = batch[n:]
		}
	}
	return worked, nil
}

// claim gives a page of due runs, without those that are inside a plugin already or stand where
// nothing more can be launched.
func (e *Engine) claim(ctx context.Context, from crm.TimerKey, full map[position]bool) (due []crm.Run, stale []crm.Timer, next crm.TimerKey, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) (err error) {
		var runs []crm.Run
		due = nil
		if runs, stale, next, err = tx.DueRuns(from, tx.Now(), maxClaim); err != nil {
			return err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, r := range runs {
			if paused, err := tx.WorkflowPaused(r.Account, r.Workflow); err != nil && crm.CodeOf(err) != crm.CodeCorrupt {
				return err
			} else if paused && !e.inflight[r.ID] { // put aside until its workflow goes on
				stale = append(stale, crm.Timer{Due: r.Due, Run: r.ID, Account: r.Account, Contact: r.Contact})
			} else if !e.inflight[r.ID] && !full[at(r)] {
				due = append(due, r)
			}
		}
		return nil
	})
	return due, stale, next, err
}

// decide takes a snapshot of each run and advances it.
func (e *Engine) decide(ctx context.Context, due []crm.Run) ([]*pending, error) {
	if len(due) == 0 {
		return nil, nil
	}
	var ps, readable []*pending
	for _, r := range due {
		def, err := e.definition(ctx, r.Account, r.Workflow, r.Revision)
		if err != nil {
			e.complain(err, "runs stand still: their revision cannot be loaded")
			continue
		}
		ps = append(ps, &pending{was: r, def: def})
	}
	err := e.store.View(ctx, func(tx *store.Tx) error {
		keys := make([]crm.Key, len(ps))
		for i, p := range ps {
			keys[i] = crm.Key{Account: p.was.Account, Contact: p.was.Contact}
		}
		if err := tx.Prefetch(keys); err != nil && crm.CodeOf(err) != crm.CodeCorrupt {
			return err
		}
		readable = nil
		lists := map[crm.AccountID]map[crm.ItemID]string{}
		for _, p := range ps {
			switch err := e.snapshot(tx, p, lists); {
			case crm.CodeOf(err) == crm.CodeCorrupt: // it must not keep the others
				e.complain(err, "a run stands still: a row of its contact is damaged; reprieve store check says more")
			case err != nil:
				return err
			case p.deaf: // the dispatcher comes first; it stays due
			default:
				readable = append(readable, p)
			}
		}
		return nil
	})
	for _, p := range readable {
		p.decide()
	}
	return readable, err
}

// snapshot reads what the run's decisions may read.
func (e *Engine) snapshot(tx *store.Tx, p *pending, lists map[crm.AccountID]map[crm.ItemID]string) error {
	k := crm.Key{Account: p.was.Account, Contact: p.was.Contact}
	c, life, err := tx.Peek(k)
	if err != nil {
		return err
	}
	if c == nil {
		c = &crm.Contact{Account: k.Account, ID: k.Contact}
	}
	tomb, err := tx.Tombstone(k, life)
	if err != nil {
		return err
	}
	names, err := names(tx, lists, k.Account)
	if err != nil {
		return err
	}
	if p.gone, err = tx.WorkflowGone(k.Account, p.was.Workflow); err != nil {
		return err
	}
	if p.deaf = false; p.def.Listens() {
		heard, err := tx.Heard(cursorDispatch, k)
		if err != nil {
			return err
		}
		p.deaf = !heard
		if p.since, err = tx.LogEnd(); err != nil {
			return err
		}
	}
	p.env = triggers.Env{Contact: c, Life: life, Tombstone: tomb, Now: tx.Now(), ListName: names,
		Run: triggers.RunInfo{ID: p.was.ID.String(), Workflow: p.was.Workflow, Trigger: p.was.Trigger, StartedAt: p.was.StartedAt}}
	if !p.def.Uses("steps") && !p.def.Uses("error") && !p.def.Uses("event") {
		return nil
	}
	steps, err := tx.Steps(p.was.ID)
	if err != nil {
		return err
	}
	p.env.Steps = map[string]triggers.StepInfo{}
	for _, s := range steps {
		if s.Path == store.StartPath(p.was.Trigger) {
			_ = json.Unmarshal(s.Output, &p.env.Started)
			continue
		}
		journaled(&p.env, &s)
	}
	return nil
}

// decide advances the run on its snapshot.
func (p *pending) decide() {
	if p.gone {
		r := p.was
		r.Status, r.Reason = crm.RunCancelled, crm.ReasonGone
		p.turn, p.call, p.seen = Turn{Run: r}, nil, store.Seen{}
		return
	}
	p.turn = Advance(p.def, p.was, Input{Env: p.env}, p.env.Now)
	p.call = p.turn.Call
	p.see(p.turn.Reads)
}

// see notes what the turn's decisions and its action read.
func (p *pending) see(reads []crm.Fact) {
	if p.call != nil {
		reads = append(slices.Clip(reads), p.spec.Facts()...)
	}
	p.turn.Reads = reads
	p.seen = store.See(p.env.Contact, reads)
}

// goOn takes the turn on with the outcome of its call.
func (p *pending) goOn(o plugins.Outcome) {
	before := p.turn
	p.base, p.asked, p.outcome = before, p.call, &o
	p.turn = Advance(p.def, before.Run, Input{Env: p.env, Outcome: &o, Plugin: p.spec.Plugin + "@" + p.spec.Version}, p.env.Now)
	if p.turn.Run.Since == 0 { // who is asked may answer before the step is over
		p.turn.Run.Since = p.since
	}
	p.trace(p.turn.Steps)
	p.turn.Steps = append(before.Steps, p.turn.Steps...)
	p.see(before.Reads)
}

// postpone has the run come back to where it stands, without an attempt at its step.
func (p *pending) postpone(d crm.Nanos, reason string) {
	r := p.was
	r.Due, r.Reason = p.env.Now+d, reason
	p.turn, p.seen = Turn{Run: r}, store.Seen{}
}

// launch has a batch executed and committed beside the pass; false when its action has enough
// batches inside its plugin already.
func (e *Engine) launch(ctx context.Context, batch []*pending) bool {
	action := batch[0].turn.Call.Action
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[action] >= maxBusy || ctx.Err() != nil || e.clock.Now().Before(e.resting[action].until) {
		return false
	}
	e.busy[action]++
	for _, p := range batch {
		e.inflight[p.was.ID] = true
	}
	e.batches.Add(1)
	go func() {
		defer e.batches.Done()
		err := e.work(ctx, batch)
		if err != nil {
			e.complain(err, "a batch could not be committed; it will be tried again")
		}
		e.mu.Lock()
		e.rest(action, err)
		e.busy[action]--
		for _, p := range batch {
			delete(e.inflight, p.was.ID)
		}
		e.mu.Unlock()
		select {
		case e.done <- struct{}{}:
		default:
		}
	}()
	return true
}

// rest keeps an action back for a while after its batch could not be committed (the disk is full, say),
// longer each time; the caller holds mu.
func (e *Engine) rest(action string, err error) {
	if err == nil {
		delete(e.resting, action)
		return
	}
	r := e.resting[action]
	r.pause = min(max(2*r.pause, 100*time.Millisecond), 10*time.Second)
	r.until = e.clock.Now().Add(r.pause)
	e.resting[action] = r
}

// work executes a batch and commits what came of it. It runs beside the passes, so that a plugin that
// is slow to start or to answer costs its own step only.
func (e *Engine) work(ctx context.Context, batch []*pending) error {
	action := batch[0].turn.Call.Action
	spec, err := e.actions.Spec(ctx, action)
	switch {
	case ctx.Err() != nil:
		return nil
	case crm.CodeOf(err) == crm.CodeNotFound: // not the step's fault, and no attempt at it: it waits
		for _, p := range batch {
			p.postpone(crm.Minute, "waits for a plugin that provides "+action)
		}
		return e.commit(ctx, batch)
	case err != nil:
		for _, p := range batch {
			p.goOn(plugins.Outcome{Status: plugins.Retry, Code: crm.CodeOf(err), Message: err.Error()})
		}
		return e.commit(ctx, batch)
	}
	for _, p := range batch {
		p.spec = spec
		p.see(p.turn.Reads)
	}
	var waiting []*pending
	if batch, waiting, err = e.fill(ctx, batch); err != nil {
		return err
	}
	if err := e.commit(ctx, waiting); err != nil || len(batch) == 0 {
		return err
	}
	if err := e.keys(ctx, batch); err != nil {
		return err
	}
	if spec.External {
		if batch, err = e.intend(ctx, batch); err != nil || len(batch) == 0 {
			return err
		}
	}
	// What was answered is committed, also when the engine is being stopped.
	return e.commit(context.WithoutCancel(ctx), e.execute(ctx, spec, batch))
}

// execute has the plugin decide the batch, takes each turn on with its outcome and gives those that
// have one. An item without an outcome may have been executed: it is tried again with the same key if
// that can do no harm. A call to the outside world whose intent is written is made, and waited for as
// long as its action may take, although the engine is being stopped: else nobody would know.
func (e *Engine) execute(ctx context.Context, spec plugins.Spec, batch []*pending) (answered []*pending) {
	b := plugins.Batch{Now: batch[0].env.Now, Items: make([]plugins.Item, len(batch)), As: &spec}
	for i, p := range batch {
		b.Items[i] = plugins.Item{
			Key: idempotencyKey(p.was.ID, p.call.Step, p.keyed), Attempt: p.turn.Run.Attempt, Params: p.sent,
			Run:     plugins.RunInfo{ID: p.was.ID.String(), Workflow: p.was.Workflow, Step: p.call.Step, StartedAt: p.was.StartedAt},
			Targets: []plugins.Target{{Contact: p.env.Contact, Life: p.env.Life, Tombstone: p.env.Tombstone, ReadsRev: p.seen.Rev}},
		}
	}
	call := ctx
	if spec.External {
		call = context.WithoutCancel(ctx)
	}
	limit := batch[0].def.Nodes[batch[0].call.Node].Limit
	if limit > 0 {
		var stop context.CancelFunc
		call, stop = context.WithTimeout(call, time.Duration(limit))
		defer stop()
	}
	outcomes, err := e.actions.Execute(call, spec.Action, b)
	late := limit > 0 && errors.Is(call.Err(), context.DeadlineExceeded)
	now := e.now(ctx)
	begun := slices.ContainsFunc(outcomes, func(o plugins.Outcome) bool { return o.Code != plugins.CodeNotSent })
	for i, p := range batch {
		o := plugins.Outcome{Status: plugins.Retry, Code: plugins.CodeNotSent} // no outcomes at all: nothing was sent
		if i < len(outcomes) {
			o = outcomes[i]
		}
		p.unsure = spec.External && o.Status == plugins.NoOutcome
		switch {
		case ctx.Err() != nil && (o.Status == plugins.NoOutcome || o.Code == plugins.CodeNotSent) && !spec.External:
			continue // stopping: the same key again after the start
		case late && begun && o.Code == plugins.CodeNotSent && (!spec.External || spec.Idempotent):
			continue // those before it took the time: it had no attempt, and stays due
		case late && (o.Status == plugins.NoOutcome && (!spec.External || spec.Idempotent) || o.Code == plugins.CodeNotSent):
			o = plugins.Outcome{Status: plugins.Retry, Code: CodeTimeout, Message: "the attempt took longer than the step's timeout"}
		case o.Status == plugins.NoOutcome && (!spec.External || spec.Idempotent):
			o = plugins.Outcome{Status: plugins.Retry, Code: crm.CodeUnavailable, Message: message(err)}
		case o.Code == plugins.CodeNotSent && err != nil: // the journal is to say why
			o.Code, o.Message = crm.CodeOf(err), message(err)
		}
		p.env.Now = max(p.env.Now, now) // another try is counted from the answer
		p.goOn(p.hush(o))
		answered = append(answered, p)
	}
	return answered
}

// now is the store's instant; 0 if it cannot be had.
func (e *Engine) now(ctx context.Context) (now crm.Nanos) {
	_ = e.store.View(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		now = tx.Now()
		return nil
	})
	return now
}

func message(err error) string {
	if err == nil {
		return "the plugin gave no outcome"
	}
	return err.Error()
}

// idempotencyKey is the same for every attempt at a step, and for no other. A step that is retried, once its
// run has failed, bears a key of its own, unless what became of it before is not known.
func idempotencyKey(run crm.RunID, step string, iteration uint32) string {
	of := run.String() + "/" + step
	if iteration > 0 {
		of += fmt.Sprintf("/%d", iteration)
	}
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:16])
}

// intend writes down that external calls are about to be made, and gives those that may be: not one
// whose contact was deleted since, and not one that stands there already and is not idempotent. That
// one was made before a stop, or not; its outcome is unknown and shown as such.
func (e *Engine) intend(ctx context.Context, batch []*pending) (fresh []*pending, err error) {
	var unknown []*pending
	err = e.store.Update(ctx, func(tx *store.Tx) error {
		fresh, unknown = nil, nil
		for _, p := range batch {
			input, cut := traced(p.call.Params)
			first, err := tx.Intend(p.was, crm.StepRecord{Run: p.was.ID, Account: p.was.Account, Contact: p.was.Contact, Path: p.call.Step,
				Action: p.call.Action, Attempt: p.turn.Run.Attempt, At: tx.Now(), Iteration: p.was.Iteration, Keyed: p.keyed, Twice: p.spec.Idempotent,
				Input: input, Cut: cut})
			switch {
			case errors.Is(err, store.ErrStale):
			case err != nil:
				return err
			case first || p.spec.Idempotent:
				fresh = append(fresh, p)
			default:
				unknown = append(unknown, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, p := range unknown {
		p.goOn(plugins.Outcome{Message: "the call was made before a stop and its outcome is not known"})
	}
	return fresh, e.commit(ctx, unknown)
}
