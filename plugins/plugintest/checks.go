package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

func checks() []check {
	return []check{
		{"start", "it starts with no environment and offers its socket in the handshake",
			"print the handshake line, and nothing before it, on stdout: docs/plugin-protocol.md; its stderr may say more", (*kit).start},
		{"describe", "it says what it is, the same each time, in names that a host takes",
			"make Describe constant, and name, version and actions as plugin.yaml has them: docs/plugin-guide.md", (*kit).described},
		{"schema", "the schemas are valid JSON Schema 2020-12, and the parameters' is closed",
			"let the SDK derive it, or set type: object and additionalProperties: false", (*kit).schemas},
		{"works", "parameters that fit are answered", "run the action on one item in a test of your own; --params names better parameters", (*kit).works},
		{"bad-input", "parameters that do not fit fail before anything happens", "hold the parameters against the schema before all else, and answer fail invalid_params", (*kit).badInput},
		{"dry-run", "a dry run does nothing outside", "look at the call's dry run before touching anything outside", (*kit).dryRun},
		{"same-key", "the same item sent twice has the same answer", "decide from what is sent alone: no clock but the call's, no chance, nothing kept from before", (*kit).sameKey},
		{"batch", "1000 items of a call are answered, each once", "answer every item; what there is no time for is retry with unrun, but at least one item must be begun", (*kit).batch},
		{"payloads", "1 MiB of a call and any Unicode are taken", "raise the limit of what a message may hold to 16 MiB, and treat text as UTF-8", (*kit).payloads},
		{"concurrent", "two calls at a time do not disturb each other", "share nothing between calls that is not locked; run the tests with -race", (*kit).concurrent},
		{"hostile-items", "an item without a contact, or with one that is gone, costs no other item its answer", "catch what an item raises and fail that item alone", (*kit).hostile},
		{"cancel", "a call that the host has given up is let go within 2 s", "watch the call's context, and give up when it ends", (*kit).cancel},
		{"answers", "every item is answered once and legally", "answer each key that was sent, once, with at most 64 KiB of JSON that fits the output's schema", (*kit).lawful},
		{"effects", "no effect is asked for that was not declared", "declare the effect, or do not ask for it; name a target that the item has", (*kit).effectsLawful},
		{"secrets", "parameters that are writeOnly turn up in no log line and no message", "never log parameters, nor put them into an error", (*kit).secrets},
		{"personal-data", "what is known of a contact turns up in no log line and no message", "log ids, not values; give errors texts of your own instead of a value's", (*kit).personal},
		{"noise", "what it writes on stdout and stderr is bounded", "write less: the host cuts and drops what is too much", (*kit).noise},
		{"alive", "it has not died all the while", "its stderr has the reason; a panic in a goroutine of your own ends the process", (*kit).alive},
		{"stop", "asked to stop it ends within 2 s and leaves nothing behind", "serve plugin.GRPCController.Shutdown, and end children", (*kit).stopped},
		{"sigterm", "SIGTERM ends it within 2 s, with what it has started", "do not ignore SIGTERM; end children before yourself", (*kit).sigterm},
		{"orphan", "it ends by itself when its host was killed", "watch the parent's process id, and end when it changes", (*kit).orphan},
	}
}

// callTime is how long a call of a few items may take here.
const callTime = 10 * time.Second

func (k *kit) start(ctx context.Context) error { return k.begin(ctx) }

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	actionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})+$`)
)

func (k *kit) described(ctx context.Context) error {
	first, err := k.describe(ctx)
	if err != nil {
		return problem("it does not describe itself: %v", err)
	}
	for range 2 {
		again, err := k.describe(ctx)
		if err != nil || !proto.Equal(first, again) {
			return problem("it describes itself otherwise the second time (%v)", err)
		}
	}
	switch {
	case k.p.Name != "" && first.GetName() != k.p.Name || k.p.Version != "" && first.GetVersion() != k.p.Version:
		return problem("it calls itself %s %s and its plugin.yaml says %s %s", first.GetName(), first.GetVersion(), k.p.Name, k.p.Version)
	case !pluginName.MatchString(first.GetName()) || first.GetVersion() == "":
		return problem("its name %q is not lower-case letters, digits and _, or it has no version", first.GetName())
	case len(first.GetActions()) == 0:
		return problem("it has no actions")
	}
	seen := map[string]bool{}
	for _, a := range first.GetActions() {
		name := a.GetAction()
		switch {
		case !actionName.MatchString(name) || !strings.HasPrefix(name, first.GetName()+".") && len(k.p.Command) > 0 || seen[name]:
			return problem("the action %q does not begin with %s., is no name, or is there twice", name, first.GetName())
		case a.GetTimeoutNanos() < 0 || a.GetTimeoutNanos() > int64(5*time.Minute):
			return problem("%s: its timeout is not between 0 and 5 minutes", name)
		case a.GetSummary() == "":
			return problem("%s: it has no summary", name)
		}
		seen[name] = true
		for _, w := range a.GetReads() {
			if !actionv1.ValidRead(w) {
				return problem("%s: it reads %q, which is no fact", name, w)
			}
		}
		for _, w := range a.GetEffects() {
			if !actionv1.ValidEffect(w) {
				return problem("%s: %q is no effect", name, w)
			}
		}
	}
	k.desc = first
	return nil
}

func (k *kit) schemas(context.Context) error {
	for _, a := range k.desc.GetActions() {
		s, err := readSchema(a.GetParamsSchemaJson(), true)
		if err != nil {
			return problem("%s: %v", a.GetAction(), err)
		}
		k.shapes[a.GetAction()] = s
		if text := a.GetOutputSchemaJson(); len(text) > 0 {
			if _, err := readSchema(text, false); err != nil {
				return problem("%s: of the output: %v", a.GetAction(), err)
			}
		}
	}
	return nil
}

// each does something for each action whose schema can be read.
func (k *kit) each(do func(a *actionv1.ActionSpec, good []byte) error) error {
	done := false
	for _, a := range k.desc.GetActions() {
		if k.shapes[a.GetAction()].root == nil {
			continue
		}
		done = true
		if err := do(a, k.good(a, plainText)); err != nil {
			return err
		}
	}
	if !done {
		return skipped("no schema can be read")
	}
	return nil
}

func (k *kit) works(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		if !k.shapes[a.GetAction()].fits(good) {
			return skipped(a.GetAction() + ": parameters that fit cannot be guessed; name some")
		}
		out, err := k.send(ctx, a, k.request(a, 1, good), callTime)
		if err == nil && (out[0].GetFail().GetCode() == "panic" || out[0].GetFail().GetCode() == "invalid_params" && len(k.p.Params[a.GetAction()]) > 0) {
			return problem("%s: %s: %s", a.GetAction(), out[0].GetFail().GetCode(), out[0].GetFail().GetMessage())
		}
		return err
	})
}

func (k *kit) badInput(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		before := k.outside()
		for _, bad := range k.shapes[a.GetAction()].bad(good) {
			out, err := k.send(ctx, a, k.request(a, 1, bad), callTime)
			if err != nil {
				return err
			}
			if out[0].GetFail() == nil {
				return problem("%s took parameters that do not fit its schema: %s", a.GetAction(), strings.ReplaceAll(string(bad), secret, "…"))
			}
		}
		if k.outside() != before {
			return problem("%s did something outside before it refused its parameters", a.GetAction())
		}
		return nil
	})
}

func (k *kit) dryRun(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		before := k.outside()
		req := k.request(a, 3, good)
		req.DryRun = true
		if _, err := k.send(ctx, a, req, callTime); err != nil {
			return err
		}
		if k.outside() != before {
			return problem("%s did something outside in a dry run", a.GetAction())
		}
		return nil
	})
}

func (k *kit) sameKey(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		if a.GetExternal() && !a.GetIdempotent() && k.p.Live {
			return nil // it is never called twice
		}
		req := k.request(a, 1, good)
		first, err := k.send(ctx, a, req, callTime)
		if err != nil {
			return err
		}
		req.Items[0].Attempt = 2
		second, err := k.send(ctx, a, req, callTime)
		if err != nil {
			return err
		}
		if !alike(first[0], second[0]) && (!a.GetExternal() || second[0].GetSkip() == nil) {
			return problem("%s answers the same item otherwise the second time", a.GetAction())
		}
		return nil
	})
}

// alike compares what two outcomes say, but for the key.
func alike(a, b *actionv1.Outcome) bool {
	plain := func(o *actionv1.Outcome) (*actionv1.Outcome, any) {
		o = proto.CloneOf(o)
		o.IdempotencyKey = ""
		var out any
		if d := o.GetDone(); d != nil {
			_ = json.Unmarshal(d.GetOutputJson(), &out)
			d.OutputJson = nil
		}
		return o, out
	}
	x, xOut := plain(a)
	y, yOut := plain(b)
	return proto.Equal(x, y) && reflect.DeepEqual(xOut, yOut)
}

func (k *kit) batch(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		within := time.Duration(a.GetTimeoutNanos())
		if within == 0 {
			within = 30 * time.Second
		}
		req := k.request(a, actionv1.MaxItems, good)
		for len(req.GetItems()) > 0 {
			for proto.Size(req) > actionv1.MaxRequest { // as the host does
				req.Items = req.Items[:len(req.Items)/2]
			}
			out, err := k.send(ctx, a, req, within)
			if err != nil {
				return err
			}
			var rest []*actionv1.Item
			for i, o := range out {
				if o.GetRetry().GetUnrun() {
					rest = append(rest, req.Items[i])
				}
			}
			if len(rest) == len(req.Items) {
				return problem("%s began no item of a call", a.GetAction())
			}
			req.Items = rest
		}
		return nil
	})
}

func (k *kit) payloads(ctx context.Context) error {
	texts := []string{"Zoë 🦊 李小龙 \u202e \ufffd", "\x00\x01\x1b[31m\u2028", strings.Repeat("é", 1<<10), strings.Repeat("x", 900<<10)}
	return k.each(func(a *actionv1.ActionSpec, _ []byte) error {
		for _, text := range texts {
			req := k.request(a, 1, k.good(a, text))
			if c := req.Items[0].Targets[0].Contact; proto.Size(req) < len(text) && len(a.GetReads()) > 0 { // no parameter takes it: the contact does
				if len(c.Tags) > 0 {
					c.Tags = append(c.Tags, text)
				}
				for _, f := range c.Fields {
					f.Value = &actionv1.Value{Kind: &actionv1.Value_Text{Text: text}}
				}
			}
			if proto.Size(req) > actionv1.MaxRequest {
				continue
			}
			if _, err := k.send(ctx, a, req, callTime); err != nil {
				return problem("with a text of %d bytes: %v", len(text), err)
			}
		}
		return nil
	})
}

func (k *kit) concurrent(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		if a.GetExternal() && k.p.Live {
			return nil // what is outside may tell two calls apart
		}
		alone, err := k.send(ctx, a, k.request(a, 1, good), callTime)
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		errs := make([]error, 2)
		var reqs [2][]*actionv1.ExecuteRequest
		for i := range reqs {
			for range 5 {
				reqs[i] = append(reqs[i], k.request(a, 20, good))
			}
		}
		for i := range reqs {
			wg.Go(func() {
				for _, req := range reqs[i] {
					out, err := k.send(ctx, a, req, callTime)
					if err != nil {
						errs[i] = err
						return
					}
					for _, o := range out {
						if !o.GetRetry().GetUnrun() && !alike(o, alone[0]) {
							errs[i] = problem("%s answers otherwise while another call is under way", a.GetAction())
						}
					}
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *kit) hostile(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		req := k.request(a, 6, good)
		it := req.Items
		it[0].Targets = nil
		it[1].Targets = []*actionv1.Target{contact(a, actionv1.State_STATE_PURGED, 1)}
		it[2].Targets = []*actionv1.Target{contact(a, actionv1.State_STATE_DELETED, 2)}
		it[3].Run, it[3].Attempt = nil, 99
		it[4].Targets = []*actionv1.Target{{ContactId: "con_9", State: actionv1.State_STATE_LIVE}} // nothing is known of it
		died := k.died
		_, err := k.send(ctx, a, req, callTime)
		if err == nil {
			_, err = k.send(ctx, a, k.request(a, 1, good), callTime)
		}
		if err == nil && k.died > died {
			return problem("%s ended the process on an item without a contact", a.GetAction())
		}
		return err
	})
}

// cancel gives up calls. In this process it is seen whether they end; of another it is seen only whether what
// they held is free again.
func (k *kit) cancel(ctx context.Context) error {
	return k.each(func(a *actionv1.ActionSpec, good []byte) error {
		if err := k.begin(ctx); err != nil {
			return err
		}
		rounds, items := 3, 200
		if k.proc != nil { // of a process it takes some until what they held runs out
			rounds, items = 16, 50
		}
		for range rounds {
			var wg sync.WaitGroup
			errs := make([]error, 2)
			for i := range errs {
				req := k.request(a, items, good)
				wg.Go(func() { errs[i] = k.giveUp(ctx, a, req) })
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					return err
				}
			}
		}
		if _, err := k.send(ctx, a, k.request(a, 1, good), stopTime+slow); err != nil {
			return problem("after calls that the host gave up: %v", err)
		}
		return nil
	})
}

func (k *kit) giveUp(ctx context.Context, a *actionv1.ActionSpec, req *actionv1.ExecuteRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = k.execute(ctx, req)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-time.After(stopTime):
		return problem("%s goes on %s after the call was given up", a.GetAction(), stopTime)
	}
}

func (k *kit) lawful(context.Context) error { return k.found(k.answers) }

func (k *kit) effectsLawful(context.Context) error { return k.found(k.effects) }

func (k *kit) found(what []string) error {
	if len(what) > 0 {
		return problem("%s", strings.Join(what, "; "))
	}
	if k.calls == 0 {
		return skipped("no call was answered")
	}
	return nil
}

func (k *kit) secrets(context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(k.shapes)) {
		for _, p := range k.shapes[name].root.Properties {
			if p.WriteOnly {
				return k.leaks(secret, "a secret")
			}
		}
	}
	return skipped("no parameter is writeOnly")
}

func (k *kit) personal(context.Context) error {
	return k.leaks(person, "what is known of a contact, or a parameter's value,")
}

func (k *kit) leaks(canary, what string) error {
	if strings.Contains(k.written(), canary) {
		return problem("%s stands in its log", what)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.texts {
		if strings.Contains(t, canary) {
			return problem("%s stands in the text of a skip, a retry or a fail", what)
		}
	}
	return nil
}

func (k *kit) noise(context.Context) error {
	if n := len(k.written()); n > 4<<20 || k.proc != nil && k.proc.dropped() {
		return problem("it has written over %d MiB in this test", n>>20)
	}
	return nil
}

func (k *kit) alive(ctx context.Context) error {
	if len(k.p.Command) == 0 {
		return skipped(inProcess)
	}
	if err := k.begin(ctx); err != nil {
		return err
	}
	if k.died > 0 {
		return problem("it has ended %s by itself; on stderr at last: %q", fmt.Sprintf("%d times", k.died), tailOf(k.written()))
	}
	return nil
}

func tailOf(s string) string { return s[max(0, len(s)-200):] }
