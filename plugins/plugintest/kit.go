package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// What must turn up nowhere: a secret, and what is known of a person.
const (
	secret = "canary-of-a-secret-4711"
	person = "canary-of-a-person"
)

// kit is one run of the checks.
type kit struct {
	p      Plugin
	server actionv1.ActionPluginServer // in this process
	proc   *process
	died   int
	begun  sync.Mutex
	sink   net.Listener // the outside world
	hits   atomic.Int64
	desc   *actionv1.DescribeResponse
	shapes map[string]schema // of the parameters, by action
	keys   int

	mu      sync.Mutex
	log     bytes.Buffer // what was written while it ran
	texts   []string     // what outcomes say to people
	answers []string     // what was wrong with answers
	effects []string     // what was wrong with effects
	calls   int
}

func newKit(p Plugin) (*kit, error) {
	k := &kit{p: p, shapes: map[string]schema{}}
	var err error
	if k.sink, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := k.sink.Accept()
			if err != nil {
				return
			}
			k.hits.Add(1)
			go answer(c)
		}
	}()
	return k, nil
}

// answer says 204 to whatever is asked.
func answer(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Read(make([]byte, 4096))
	_, _ = c.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
}

func (k *kit) close() {
	_ = k.sink.Close()
	k.retire()
}

// retire ends the process and keeps what it has written.
func (k *kit) retire() {
	if k.proc != nil {
		k.proc.kill()
		k.mu.Lock()
		k.log.WriteString(k.proc.said())
		k.mu.Unlock()
		k.proc = nil
	}
}

// Write takes the log of what runs in this process.
func (k *kit) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.Write(b)
}

// written gives all log lines so far.
func (k *kit) written() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.log.String()
	if k.proc != nil {
		all += k.proc.said()
	}
	return all
}

// begin makes the plugin ready: it starts it, or starts it again if it has died.
func (k *kit) begin(ctx context.Context) error {
	k.begun.Lock()
	defer k.begun.Unlock()
	if len(k.p.Command) == 0 {
		if k.server != nil {
			return nil
		}
		if k.server = k.p.server; k.server != nil {
			return k.configure(ctx)
		}
		var err error
		k.server, err = sdk.Local(k.p.Name, k.p.Version, slog.New(slog.NewJSONHandler(k, &slog.HandlerOptions{Level: slog.LevelDebug})), k.p.Actions...)
		if err == nil {
			err = k.configure(ctx)
		}
		return err
	}
	if k.proc != nil {
		select {
		case <-k.proc.exited:
			k.died++
			k.retire()
		default:
			return nil
		}
	}
	proc, err := start(ctx, k.p, false)
	if k.proc = proc; err == nil {
		err = k.configure(ctx)
	}
	if err != nil {
		k.retire()
	}
	return err
}

func (k *kit) configure(ctx context.Context) error {
	config := k.p.Config
	if len(config) == 0 {
		config = []byte("{}")
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var err error
	if req := (&actionv1.ConfigureRequest{ConfigJson: config}); k.proc != nil {
		_, err = k.proc.Configure(ctx, req)
	} else {
		_, err = k.server.Configure(ctx, req)
	}
	if err != nil {
		return problem("it does not take its configuration: %v", err)
	}
	return nil
}

func (k *kit) describe(ctx context.Context) (*actionv1.DescribeResponse, error) {
	if err := k.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if k.proc != nil {
		return k.proc.Describe(ctx, &actionv1.DescribeRequest{})
	}
	return k.server.Describe(ctx, &actionv1.DescribeRequest{})
}

// send makes one call, notes what is wrong with the answer, and gives it if every item has one.
func (k *kit) send(ctx context.Context, a *actionv1.ActionSpec, req *actionv1.ExecuteRequest, within time.Duration) ([]*actionv1.Outcome, error) {
	if err := k.begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	type answer struct {
		reply *actionv1.ExecuteResponse
		err   error
	}
	got := make(chan answer, 1) // in this process a function may never come back
	go func() {
		var r answer
		r.reply, r.err = k.execute(ctx, req)
		got <- r
	}()
	var r answer
	select {
	case r = <-got:
	case <-ctx.Done():
		select {
		case r = <-got:
		case <-time.After(slow):
			r.err = ctx.Err()
		}
	}
	if ctx.Err() == context.DeadlineExceeded {
		return nil, problem("%s has not answered %d items within %s", a.GetAction(), len(req.GetItems()), within)
	}
	if r.err != nil {
		k.begun.Lock()
		proc := k.proc
		k.begun.Unlock()
		if proc != nil && status.Code(r.err) == codes.Unavailable { // a process that dies closes its socket before it is gone
			select {
			case <-proc.exited:
			case <-time.After(slow):
			}
		}
		return nil, problem("%s: the call of %d items ended with: %v", a.GetAction(), len(req.GetItems()), r.err)
	}
	return k.judge(a, req, r.reply)
}

func (k *kit) execute(ctx context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	k.begun.Lock()
	proc, server := k.proc, k.server
	k.begun.Unlock()
	if proc != nil {
		return proc.Execute(ctx, req)
	}
	return server.Execute(ctx, proto.CloneOf(req))
}

// judge looks at an answer as the host does.
func (k *kit) judge(a *actionv1.ActionSpec, req *actionv1.ExecuteRequest, reply *actionv1.ExecuteResponse) ([]*actionv1.Outcome, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	at := map[string]int{}
	for i, it := range req.GetItems() {
		at[it.GetIdempotencyKey()] = i
	}
	out := make([]*actionv1.Outcome, len(at))
	wrong := func(into *[]string, format string, args ...any) {
		if text := a.GetAction() + ": " + fmt.Sprintf(format, args...); len(*into) < 20 && !slices.Contains(*into, text) {
			*into = append(*into, text)
		}
	}
	for _, o := range reply.GetOutcomes() {
		i, ok := at[o.GetIdempotencyKey()]
		switch {
		case !ok:
			wrong(&k.answers, "an answer is for an item that was not sent")
			continue
		case out[i] != nil:
			wrong(&k.answers, "an item is answered twice")
		case o.GetResult() == nil:
			wrong(&k.answers, "an answer says nothing: neither done, skip, retry nor fail")
		}
		out[i] = o
		k.texts = append(k.texts, o.GetSkip().GetReason(), o.GetRetry().GetReason(), o.GetFail().GetCode(), o.GetFail().GetMessage(), o.GetFail().GetHint())
		if o.GetDone() != nil {
			k.judgeDone(a, req.GetItems()[i], o.GetDone(), wrong)
		}
	}
	if size := proto.Size(reply); size > actionv1.MaxReply {
		wrong(&k.answers, "a reply has %d bytes and 4 MiB are the most", size)
	}
	if i := slices.Index(out, nil); i >= 0 {
		wrong(&k.answers, "%d of %d items are not answered", len(out)-len(reply.GetOutcomes()), len(out))
		return nil, problem("%s: an item was not answered", a.GetAction())
	}
	return out, nil
}

func (k *kit) judgeDone(a *actionv1.ActionSpec, it *actionv1.Item, d *actionv1.Done, wrong func(*[]string, string, ...any)) {
	if out := d.GetOutputJson(); len(out) > actionv1.MaxOutput {
		wrong(&k.answers, "an output is over 64 KiB")
	} else if len(out) > 0 && !json.Valid(out) {
		wrong(&k.answers, "an output is no JSON")
	} else if text := a.GetOutputSchemaJson(); len(out) > 0 && len(text) > 0 {
		if s, err := readSchema(text, false); err == nil && !s.fits(out) {
			wrong(&k.answers, "an output does not fit the output's schema")
		}
	}
	if n := len(d.GetEffects()); n > actionv1.MaxEffects {
		wrong(&k.effects, "an item has %d effects and 100 are the most", n)
	}
	for _, e := range d.GetEffects() {
		kind, target := effectOf(e)
		switch {
		case kind == "":
			wrong(&k.effects, "an effect is of a kind that this protocol does not know")
		case !slices.Contains(a.GetEffects(), kind):
			wrong(&k.effects, "it asks for %s, which it did not declare", kind)
		case target >= len(it.GetTargets()):
			wrong(&k.effects, "it names the target %d of an item that has %d", target, len(it.GetTargets()))
		}
	}
}

// effectOf gives an effect's kind, as it is declared, and its target: add_to_list is list.add.
func effectOf(e *actionv1.Effect) (kind string, target int) {
	m := e.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if f == nil {
		return "", 0
	}
	words := strings.Split(string(f.Name()), "_")
	of := m.Get(f).Message()
	n := of.Get(of.Descriptor().Fields().ByName(protoreflect.Name("target"))).Uint()
	return words[len(words)-1] + "." + words[0], int(n)
}

// request makes a call of n items with the same parameters, on contacts that hold what the action reads.
func (k *kit) request(a *actionv1.ActionSpec, n int, params []byte) *actionv1.ExecuteRequest {
	req := &actionv1.ExecuteRequest{Action: a.GetAction(), Now: now.UnixNano(), DryRun: a.GetExternal() && !k.p.Live}
	for range n {
		k.keys++
		req.Items = append(req.Items, &actionv1.Item{
			IdempotencyKey: fmt.Sprintf("run-%d/step/0", k.keys), Attempt: 1, ParamsJson: params,
			Run:     &actionv1.RunInfo{Id: fmt.Sprintf("run_%d", k.keys), Workflow: "workflow", Step: "step", StartedAt: now.UnixNano()},
			Targets: []*actionv1.Target{contact(a, actionv1.State_STATE_LIVE, k.keys)},
		})
	}
	return req
}

// contact makes a target that holds what the action reads and nothing else.
func contact(a *actionv1.ActionSpec, state actionv1.State, n int) *actionv1.Target {
	t := &actionv1.Target{ContactId: fmt.Sprintf("con_%d", n), State: state, Epoch: 1}
	if state == actionv1.State_STATE_PURGED {
		return t
	}
	text := func(v string) *actionv1.Value { return &actionv1.Value{Kind: &actionv1.Value_Text{Text: v}} }
	c := &actionv1.Contact{}
	t.Contact = c
	for _, w := range a.GetReads() {
		switch name, field := strings.CutPrefix(w, "fields."); {
		case field:
			c.Fields = append(c.Fields, &actionv1.Field{Name: name, Value: text(person + " é")})
		case w == "fields":
			c.Fields = append(c.Fields, &actionv1.Field{Name: "first_name", Value: text(person + " é")},
				&actionv1.Field{Name: "n", Value: &actionv1.Value{Kind: &actionv1.Value_Number{Number: 1.5}}},
				&actionv1.Field{Name: "nothing", Value: &actionv1.Value{}})
		case w == "tags":
			c.Tags = []string{"VIP", person}
		case w == "lists":
			c.Lists = []*actionv1.Membership{{ListId: "lst_1", Status: "subscribed", Since: now.UnixNano()}}
		case w == "email":
			c.Email = person + "@example.com"
		case w == "phone":
			c.Phone = "+4915100000000"
		case w == "external_id":
			c.ExternalId = person
		case w == "dnd":
			c.Dnd = []*actionv1.Channel{{Name: "email", On: true}}
		case w == "created_at":
			c.CreatedAt = now.UnixNano()
		case w == "tombstone" && state == actionv1.State_STATE_DELETED:
			t.Tombstone = &actionv1.Tombstone{DeletedAt: now.UnixNano(), By: "user:1", Cause: "person", Reason: person}
		}
	}
	return t
}

// good gives parameters with which an action should have something to do.
func (k *kit) good(a *actionv1.ActionSpec, text string) []byte {
	return k.shapes[a.GetAction()].generate(k.p.Params[a.GetAction()], words{text: text, url: "http://" + k.sink.Addr().String() + "/", secret: secret})
}

// outside says what there is of the outside world, to be compared with later.
func (k *kit) outside() string {
	n := k.hits.Load()
	if k.p.Outside != nil {
		n += int64(k.p.Outside())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls", n)
	if k.p.Dir != "" {
		_ = filepath.WalkDir(k.p.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "__pycache__") {
				return fs.SkipDir
			}
			if info, err := d.Info(); err == nil && !d.IsDir() {
				fmt.Fprintf(&b, "\n%s %d %d", path, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return b.String()
}
