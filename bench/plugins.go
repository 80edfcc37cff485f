package bench

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// pluginCalls measures a plugin's process behind the host: its calls, its start, and its return after a kill.
// The floors are the same executable: behind go-plugin alone, as a bare gRPC server that passes the same bytes
// on without looking at them, and as a process that prints a line.
type pluginCalls struct {
	r         *run
	dir       string // of what is installed
	host      *plugins.Host
	alone     *alone
	raw       *raw
	sizes     []callSize
	installed bool
}

// callSize is a call of one size, ready for each side.
type callSize struct {
	n       int
	batch   plugins.Batch
	request *actionv1.ExecuteRequest
	bytes   []byte // the request
	reply   []byte
}

func newPlugins(ctx context.Context, r *run) (_ scenario, err error) {
	if len(r.o.Plugin) == 0 {
		return nil, errors.New("bench: Options.Plugin is missing")
	}
	p := &pluginCalls{r: r, dir: filepath.Join(r.dir, "plugins")}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := p.install(); err != nil {
		return nil, err
	}
	if p.host, err = p.newHost(false); err != nil {
		return nil, err
	}
	if p.alone, err = startAlone(ctx, r.o.Plugin); err != nil {
		return nil, err
	}
	if p.raw, err = startRaw(ctx, r.o.Plugin); err != nil {
		return nil, err
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, actionv1.MaxItems} {
		s, err := p.size(ctx, rnd, n)
		if err != nil {
			return nil, err
		}
		p.sizes = append(p.sizes, s)
		r.report.note(fmt.Sprintf("plugin, a call with %d: bytes of the request", n), float64(len(s.bytes)))
		r.report.note(fmt.Sprintf("plugin, a call with %d: bytes of the reply", n), float64(len(s.reply)))
	}
	return p, nil
}

// install puts the executable into a catalogue as a third party's plugin: sealed and shut in as far as it goes.
func (p *pluginCalls) install() error {
	from := filepath.Join(p.r.dir, "plugin")
	if err := os.MkdirAll(from, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(from)
	var args strings.Builder
	for _, a := range append(slices.Clone(p.r.o.Plugin[1:]), tagAction) {
		fmt.Fprintf(&args, "  - %q\n", a)
	}
	manifest := "name: bench\nversion: 1.0.0\nprotocol: 1\ncommand: ./bench\nargs:\n" + args.String()
	if err := os.WriteFile(filepath.Join(from, "plugin.yaml"), []byte(manifest), 0o600); err != nil {
		return err
	}
	if err := duplicate(p.r.o.Plugin[0], filepath.Join(from, "bench")); err != nil {
		return err
	}
	h, err := p.newHost(true)
	if err != nil {
		return err
	}
	_, err = h.Install(from)
	return errors.Join(err, h.Close(context.Background()))
}

// newHost makes a host that has started nothing.
func (p *pluginCalls) newHost(installed bool) (*plugins.Host, error) {
	o := plugins.Options{Log: zerolog.Nop(), StartTimeout: time.Minute}
	if installed {
		o.Dir = p.dir
	} else {
		o.Builtin, o.BuiltinNames = p.r.o.Plugin, []string{tagAction}
	}
	return plugins.New(o)
}

// size makes a call of n contacts and has each side answer it, so that all are known to do the work.
func (p *pluginCalls) size(ctx context.Context, rnd *rand.Rand, n int) (callSize, error) {
	s := callSize{n: n, batch: someBatch(rnd, n)}
	s.request = onTheWire(s.batch)
	var err error
	if s.bytes, s.reply, err = p.alone.record(ctx, s.request); err != nil {
		return s, err
	}
	if err := s.execute(ctx, p.host); err != nil {
		return s, err
	}
	return s, p.raw.call(ctx, s.bytes, s.reply, true)
}

// execute has a host's plugin decide the batch and checks that it tagged everybody.
func (s callSize) execute(ctx context.Context, h *plugins.Host) error {
	out, err := h.Execute(ctx, tagAction, s.batch)
	if err != nil {
		return err
	}
	for _, o := range out {
		if o.Status != plugins.Done || len(o.Effects) != 1 || o.Effects[0].Tag != "Seen" {
			return fmt.Errorf("bench: the plugin answered %s %s", o.Status, o.Code)
		}
	}
	return nil
}

// someBatch is n steps on n contacts with ten tags and ten fields each.
func someBatch(rnd *rand.Rand, n int) plugins.Batch {
	b := plugins.Batch{Now: crm.Day}
	for i := range n {
		c := somebody(rnd)
		c.ID = crm.ContactID{2, byte(i >> 8), byte(i)}
		c.Tags = c.Tags[:10]
		c.Fields = slices.DeleteFunc(c.Fields, func(f crm.Field) bool { return f.Name == "score" })
		b.Items = append(b.Items, plugins.Item{
			Key: fmt.Sprintf("run_%026d/tag/%d", i, 1), Attempt: 1, Params: []byte(`{"tag":"Seen"}`),
			Run:     plugins.RunInfo{ID: fmt.Sprintf("run_%026d", i), Workflow: "welcome", Step: "tag", StartedAt: crm.Hour},
			Targets: []plugins.Target{{Contact: c, Life: crm.Life{Account: c.Account, Contact: c.ID}, ReadsRev: 1}},
		})
	}
	return b
}

// onTheWire is what the host makes of a batch; a test compares the bytes with those that it sends.
func onTheWire(b plugins.Batch) *actionv1.ExecuteRequest {
	req := &actionv1.ExecuteRequest{Action: tagAction, Now: int64(b.Now)}
	for _, it := range b.Items {
		t := it.Targets[0]
		seen := &actionv1.Contact{Tags: t.Contact.TagNames()}
		for _, f := range t.Contact.Fields {
			seen.Fields = append(seen.Fields, &actionv1.Field{Name: f.Name, Value: &actionv1.Value{Kind: &actionv1.Value_Text{Text: f.Value.Text}}})
		}
		req.Items = append(req.Items, &actionv1.Item{IdempotencyKey: it.Key, Attempt: it.Attempt, ParamsJson: it.Params,
			Run:     &actionv1.RunInfo{Id: it.Run.ID, Workflow: it.Run.Workflow, Step: it.Run.Step, StartedAt: int64(it.Run.StartedAt)},
			Targets: []*actionv1.Target{{ContactId: t.Contact.ID.String(), State: actionv1.State_STATE_LIVE, ReadsRev: t.ReadsRev, Contact: seen}}})
	}
	return req
}

func (p *pluginCalls) round(ctx context.Context, n int) error {
	for _, s := range p.sizes {
		if err := p.calls(ctx, s, n); err != nil {
			return fmt.Errorf("calls of a plugin with %d: %w", s.n, err)
		}
	}
	if err := p.beginnings(ctx); err != nil {
		return fmt.Errorf("starts of a plugin: %w", err)
	}
	return nil
}

// calls has each side call for a slice, another one first in each round.
func (p *pluginCalls) calls(ctx context.Context, s callSize, round int) error {
	sides := []struct {
		name, note string
		pid        int
		call       func() error
		took       spent
	}{
		{name: fmt.Sprintf("plugin call %d", s.n), note: "the plugin's process", pid: pidOf(p.host), call: func() error { return s.execute(ctx, p.host) }},
		{note: "the process behind go-plugin alone", pid: p.alone.pid(), call: func() error { return p.alone.call(ctx, s.request) }},
		{note: "the raw server's process", pid: p.raw.pid(), call: func() error { return p.raw.call(ctx, s.bytes, s.reply, false) }},
	}
	if err := p.raw.call(ctx, s.bytes, s.reply, true); err != nil {
		return err
	}
	for i := range sides {
		side, done := &sides[(i+round)%len(sides)], 0
		before := processorTimeOf(side.pid)
		took, err := p.r.contestant(side.name, func() error {
			for began := time.Now(); done == 0 || time.Since(began) < p.r.o.Slice; done++ {
				if err := side.call(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		side.took = took.each(done * s.n)
		used := processorTimeOf(side.pid) - before
		p.r.report.note(fmt.Sprintf("plugin, a call with %d: µs of processor time of %s, per contact", s.n, side.note), micros(used)/float64(done*s.n))
		p.r.report.note(fmt.Sprintf("plugin, a call with %d: µs of a call, %s", s.n, side.note), micros(took.each(done).wall))
	}
	what := fmt.Sprintf("plugin, calls with %d", s.n)
	p.r.report.add(Row{Contest: what, Floor: "raw grpc, the same bytes", Cost: true}, sides[0].took, sides[2].took)
	p.r.report.add(Row{Contest: what, Floor: "go-plugin alone, the same plugin", Cost: true}, sides[0].took, sides[1].took)
	return nil
}

// beginnings times starts and recoveries, turn by turn, and adds each side's median.
func (p *pluginCalls) beginnings(ctx context.Context) error {
	one, many := p.sizes[0], p.sizes[len(p.sizes)-1]
	took := map[string][]spent{}
	starts, recoveries := max(1, p.r.o.Starts), max(1, (p.r.o.Starts+1)/2)
	for i := range starts {
		for _, side := range []struct {
			name string
			f    func() (spent, error)
			n    int
		}{
			{"built in", func() (spent, error) { return p.start(ctx, one, false) }, starts},
			{"installed", func() (spent, error) { return p.start(ctx, one, true) }, starts},
			{"alone", func() (spent, error) { return p.startAlone(ctx, one) }, starts},
			{"bare", func() (spent, error) { return timed(func() error { return bareStart(ctx, p.r.o.Plugin) }) }, starts},
			{"start, 1000", func() (spent, error) { return p.start(ctx, many, false) }, recoveries},
			{"killed", func() (spent, error) { return p.recover(ctx, many) }, recoveries},
		} {
			if i >= side.n {
				continue
			}
			d, err := side.f()
			if err != nil {
				return fmt.Errorf("%s: %w", side.name, err)
			}
			took[side.name] = append(took[side.name], d)
		}
	}
	middle := func(name string) spent {
		all := slices.SortedFunc(slices.Values(took[name]), func(a, b spent) int { return int(a.wall - b.wall) })
		p.r.report.note("plugin, ms until the first answer: "+name, micros(all[len(all)/2].wall)/1000)
		return all[len(all)/2]
	}
	alone, bare := middle("alone"), middle("bare")
	hashed, err := timed(func() error { return errors.Join(hash(p.r.o.Plugin[0]), hash(p.r.o.Plugin[0])) })
	if err != nil {
		return err
	}
	p.r.report.note("plugin, installed: ms to read and hash the executable twice, as a start does", micros(hashed.wall)/1000)
	for _, name := range []string{"built in", "installed"} {
		ours := middle(name)
		p.r.report.add(Row{Contest: "plugin start, " + name, Floor: "the executable, until it prints a line", Cost: true}, ours, bare)
		p.r.report.add(Row{Contest: "plugin start, " + name, Floor: "go-plugin alone", Cost: true}, ours, alone)
	}
	p.r.report.add(Row{Contest: "plugin killed while it answers 1000", Floor: "a start until 1000 are answered", Cost: true}, middle("killed"), middle("start, 1000"))
	return nil
}

// start takes a new host to its first answer.
func (p *pluginCalls) start(ctx context.Context, s callSize, installed bool) (took spent, err error) {
	var h *plugins.Host
	took, err = timed(func() (err error) {
		if h, err = p.newHost(installed); err != nil {
			return err
		}
		return s.execute(ctx, h)
	})
	if h == nil {
		return took, err
	}
	if in := h.Processes(); installed && !p.installed && len(in) == 1 {
		p.installed = true
		p.r.report.note("plugin, installed: containments in force", float64(len(in[0].Contained.InForce)))
		for _, gap := range in[0].Contained.Missing {
			p.r.report.note("plugin, installed: not in force: "+gap.What, 1)
		}
	}
	return took, errors.Join(err, h.Close(ctx))
}

func (p *pluginCalls) startAlone(ctx context.Context, s callSize) (spent, error) {
	var a *alone
	took, err := timed(func() (err error) {
		if a, err = startAlone(ctx, p.r.o.Plugin); err != nil {
			return err
		}
		return a.call(ctx, s.request)
	})
	if a != nil {
		a.close()
	}
	return took, err
}

// recover kills a plugin in the middle of a call and gives the time until another process of it has answered.
// The caller tries again at once. It is the host's first death: from the second on the host waits.
func (p *pluginCalls) recover(ctx context.Context, s callSize) (took spent, err error) {
	h, err := p.newHost(false)
	if err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, h.Close(ctx)) }()
	usual := time.Hour
	for range 3 {
		d, err := timed(func() error { return s.execute(ctx, h) })
		if err != nil {
			return took, err
		}
		usual = min(usual, d.wall)
	}
	pid := pidOf(h)
	if pid == 0 {
		return took, errors.New("bench: the plugin does not run")
	}
	killed := make(chan func() spent, 1)
	time.AfterFunc(usual/2, func() {
		killed <- stopwatch()
		_ = syscall.Kill(pid, syscall.SIGKILL)
	})
	lost := 0
	for range 1000 {
		if err := s.execute(ctx, h); err != nil {
			if crm.CodeOf(err) != crm.CodeUnavailable {
				return took, err
			}
			lost++
			continue
		}
		if now := pidOf(h); now != 0 && now != pid {
			p.r.report.note("plugin, killed: calls lost", float64(lost))
			return (<-killed)(), nil
		}
	}
	return took, errors.New("bench: the plugin did not come back")
}

// pidOf gives the process of a host's only plugin; 0: it does not run.
func pidOf(h *plugins.Host) int {
	for _, p := range h.Processes() {
		return p.PID
	}
	return 0
}

func (p *pluginCalls) close() error {
	var errs []error
	if p.host != nil {
		errs = append(errs, p.host.Close(context.Background()))
	}
	if p.alone != nil {
		p.alone.close()
	}
	if p.raw != nil {
		errs = append(errs, p.raw.close())
	}
	return errors.Join(errs...)
}

// hash reads a file and hashes it.
func hash(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(sha256.New(), f)
	return err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
