package plugins

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// Execute lets an action decide a batch and gives one outcome per item, in the items' order. It may
// be called from any number of goroutines; a plugin gets two batches at a time and the rest wait.
//
// A large batch becomes several calls of at most 1000 items and 1 MiB. Each call has the action's
// timeout; a plugin that exceeds it is killed. Give ctx at least as long, or the plugin that hangs
// is never found out.
//
// On an error from the batch itself (crm.CodeInvalid) or an unknown action (crm.CodeNotFound) there
// are no outcomes. On any other error there is one per item all the same: those that are known; a
// Retry with CodeNotSent for items that never reached the plugin; and NoOutcome for items that did
// and may have run. crm.CodeUnavailable means that trying again with the same keys may work.
func (h *Host) Execute(ctx context.Context, action string, b Batch) ([]Outcome, error) {
	if _, err := h.enter(action); err != nil {
		return nil, err
	}
	defer h.calls.Done()
	if err := b.check(action); err != nil {
		return nil, err
	}
	return h.executeAll(ctx, action, b)
}

// executeAll makes calls until each item has its outcome. What a plugin hands back unrun goes into
// another call, as long as each call gets something done.
func (h *Host) executeAll(ctx context.Context, action string, b Batch) ([]Outcome, error) {
	out := make([]Outcome, len(b.Items))
	for i := range out {
		out[i] = Outcome{Status: Retry, Code: CodeNotSent, Message: "the item was not sent to the plugin"}
	}
	for from := 0; from < len(b.Items); {
		n, err := h.executeSome(ctx, action, b, from, out)
		if err != nil {
			return out, err
		}
		from += n
	}
	var unrun []int
	rest := b
	rest.Items = nil
	for i, o := range out {
		if o.Status == Retry && o.Code == CodeNotSent {
			unrun, rest.Items = append(unrun, i), append(rest.Items, b.Items[i])
		}
	}
	var again []Outcome
	var err error
	switch len(unrun) {
	case 0:
		return out, nil
	case len(b.Items):
		for range unrun {
			again = append(again, failed(CodeProtocol, "the plugin began no item of the call"))
		}
	default:
		again, err = h.executeAll(ctx, action, rest)
	}
	for i, at := range unrun {
		out[at] = again[i]
	}
	return out, err
}

func (b Batch) check(action string) error {
	seen := make(map[string]bool, len(b.Items))
	for _, it := range b.Items {
		if it.Key == "" || seen[it.Key] || it.Key != text(it.Key) {
			return crm.Errorf("run "+action, crm.CodeInvalid, "an item's key is empty, not text or there twice")
		}
		seen[it.Key] = true
		for _, t := range it.Targets {
			if t.key().Contact.IsZero() {
				return crm.Errorf("run "+action, crm.CodeInvalid, "a target names no contact")
			}
			if t.Life.State > crm.Purged {
				return crm.Errorf("run "+action, crm.CodeInvalid, "a target is in no known state")
			}
		}
	}
	return nil
}

// executeSome makes one call for as many items from one on as fit, and says how many they were. A plugin
// that is replaced while the call waits has not seen it: it goes to the one that took its place.
func (h *Host) executeSome(ctx context.Context, action string, b Batch, from int, out []Outcome) (int, error) {
	for {
		h.mu.Lock()
		p := h.actions[action]
		h.mu.Unlock()
		if p == nil {
			return 0, noAction(action)
		}
		n, err := p.executeSome(ctx, action, b, from, out)
		if err != nil && !errors.Is(err, errRetired) {
			p.failed(err)
		}
		if !errors.Is(err, errRetired) || !h.replaced(action, p) {
			return n, err
		}
	}
}

func (p *plugin) executeSome(ctx context.Context, action string, b Batch, from int, out []Outcome) (int, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return 0, p.unavailable(ctx.Err())
	}
	proved, err := p.admit(ctx)
	if err != nil {
		return 0, err
	}
	alive := false
	defer func() { proved(alive) }()
	proc, err := p.fit(ctx)
	if err != nil {
		return 0, err
	}
	defer p.leave(proc)
	spec, ok := p.spec(action)
	if !ok {
		return 0, p.unavailable(errors.New("it no longer has the action"))
	}
	if b.As != nil && !b.As.same(spec) {
		return 0, p.unavailable(errors.New("another version, which declares other things, has taken its place"))
	}
	req, n := request(spec, b, from)
	items, res := b.Items[from:from+n], out[from:from+n]
	if len(req.Items) == 0 { // the one item is too large by itself
		res[0] = Outcome{Status: Fail, Code: CodeTooLarge, Message: "the item is over 1 MiB", Hint: "let the step read and pass on less"}
		return n, nil
	}
	clear(res) // from here on an item may have run
	reply, err := p.call(ctx, proc, spec, req)
	if err != nil {
		return n, err
	}
	alive = true
	got, err := settle(spec, items, reply.GetOutcomes())
	if err != nil {
		return n, err
	}
	copy(res, got)
	return n, nil
}

// request projects items from one on until the call is full, and says how many it took. An item
// that is too large alone is taken without being put in.
func request(spec Spec, b Batch, from int) (*actionv1.ExecuteRequest, int) {
	req := &actionv1.ExecuteRequest{Action: spec.Action, Now: int64(b.Now), DryRun: b.DryRun}
	shown := projectionOf(spec)
	size := proto.Size(req)
	for _, it := range b.Items[from:] {
		w := shown.item(it)
		size += proto.Size(w) + 8 // the item's tag and length
		if size > actionv1.MaxRequest {
			if len(req.Items) == 0 {
				return req, 1
			}
			break
		}
		req.Items = append(req.Items, w)
		if len(req.Items) == actionv1.MaxItems {
			break
		}
	}
	return req, len(req.Items)
}

// call makes one call and says what an error means. A process that has not answered in time or
// whose connection broke is buried before the call returns, so that the next one gets another.
func (p *plugin) call(ctx context.Context, proc *process, spec Spec, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	timed, cancel := context.WithTimeout(ctx, spec.Timeout)
	defer cancel()
	reply, err := proc.rpc.Execute(timed, req)
	if err == nil {
		return reply, nil
	}
	code := status.Code(err)
	end, _ := timed.Deadline()
	callers, ok := ctx.Deadline()
	switch {
	case ctx.Err() != nil || ok && callers.Equal(end) && code == codes.DeadlineExceeded:
		return nil, p.unavailable(errors.New("the caller gave up waiting"))
	case timed.Err() != nil || code == codes.DeadlineExceeded:
		p.bury(proc)
		return nil, p.unavailable(fmt.Errorf("%s has not answered within %s", spec.Action, spec.Timeout))
	case code == codes.ResourceExhausted:
		return nil, p.offence(spec, "its reply is over 4 MiB")
	case code == codes.Unavailable || code == codes.Canceled || p.dying(proc):
		p.bury(proc)
		return nil, p.unavailable(fmt.Errorf("it ended while it ran %s", spec.Action))
	}
	// The text is the plugin's and may hold anything.
	return nil, p.offence(spec, "it refuses the call with "+code.String())
}

// dying gives a process whose connection broke in an unusual way a moment to be seen to end.
func (p *plugin) dying(proc *process) bool {
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-proc.child.exited:
		return true
	case <-t.C:
		return false
	}
}

func (p *plugin) offence(spec Spec, what string) error {
	return crm.Errorf("run "+spec.Action, crm.CodeInvalid, "plugin %s breaks the protocol: %s", p.name, what).
		WithHint("report this to the plugin's author")
}

// spec gives an action as described last.
func (p *plugin) spec(action string) (Spec, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.specs[action]
	return s, ok
}
