package main

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
)

// crashWindow is the recovery window of the crash test: short, so that sweeps have work.
const crashWindow = 12 * crm.Second

// TestKill kills the service at random moments in the middle of waits, deletes, restores, schedules
// and sweeps, starts it again, and holds what it was asked against what its store says at the end.
// REPRIEVE_KILLS says how often, REPRIEVE_SEED makes the same choices again (not the same moments:
// those are the machine's).
func TestKill(t *testing.T) {
	kills := envNumber(t, "REPRIEVE_KILLS", 50)
	if testing.Short() && os.Getenv("REPRIEVE_KILLS") == "" {
		kills = 8
	}
	seed := envNumber(t, "REPRIEVE_SEED", int(time.Now().UnixNano()&0xffffff))
	t.Parallel()
	t.Logf("%d kills, REPRIEVE_SEED=%d", kills, seed)
	k := newKilled(t, uint64(seed))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	drivers := make([]*driver, 4)
	for i := range drivers {
		drivers[i] = k.driver(uint64(i), len(drivers))
		wg.Go(func() { drivers[i].drive(t.Context(), stop) })
	}
	for n := range kills {
		if n%4 == 3 {
			k.sleepThroughAFire()
		}
		k.live(time.Duration(150+k.rnd.IntN(650)) * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	var h history
	for _, d := range drivers {
		h.calls = append(h.calls, d.calls...)
	}
	h.waiting = k.settle()
	k.read(&h)
	k.noOrphans()
	for _, found := range check(&h) {
		t.Error(found)
	}
	k.worthIt(&h, kills)
}

func envNumber(t *testing.T, name string, otherwise int) int {
	if s := os.Getenv(name); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	return otherwise
}

// killed is a data directory whose service keeps being killed.
type killed struct {
	t        *testing.T
	rnd      *rand.Rand
	seed     uint64
	tmp, dir string
	acc      crm.AccountID
	contacts []crm.ContactID
	orphans  []orphan // children that killed services left behind and that still lived when last looked at
	orphaned int      // how many there have been
}

func newKilled(t *testing.T, seed uint64) *killed {
	tmp := shortDir(t)
	k := &killed{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), tmp: tmp, dir: filepath.Join(tmp, "d")}
	if err := os.Mkdir(k.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeKey(t, k.dir)
	k.inside(func(st *store.Store) error {
		return st.Update(t.Context(), func(tx *store.Tx) error {
			id, err := crm.NewID[crm.AccountKind](tx.Now(), st.Rand())
			if err != nil {
				return err
			}
			k.acc, k.contacts = id, nil
			policy := crm.DefaultPolicy()
			policy.Retention.Window = crashWindow
			policy.Delete.Limits = crm.Limits{} // its workflows delete most of what there is
			if err := tx.PutAccount(crm.Account{ID: id, Name: "main", CreatedAt: tx.Now(), Policy: policy}); err != nil {
				return err
			}
			for i := range 60 {
				id, err := tx.NewContactID()
				if err != nil {
					return err
				}
				n := crm.Contact{Account: k.acc, ID: id, Tags: []crm.Tag{{Name: "from the start"}}}
				if i%4 == 0 {
					n.Tags = append(n.Tags, crm.Tag{Name: "nightly-" + strconv.Itoa(i)})
				}
				if _, err := tx.Apply(admin, crm.Cause{Kind: crm.ByImport}, crm.Create{Contact: n}); err != nil {
					return err
				}
				k.contacts = append(k.contacts, id)
			}
			return nil
		})
	})
	apply := reprieve(t, tmp, "workflow", "apply", filepath.Join("testdata", "crash"), "--data", k.dir, "--grant", "contact.delete,contact.restore")
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	return k
}

// inside opens the store in this process, while no service runs.
func (k *killed) inside(fn func(*store.Store) error) {
	k.t.Helper()
	eng, err := bolt.Open(filepath.Join(k.dir, storeFile), bolt.Options{Now: func() crm.Nanos { return crm.At(clock.Wall{}.Now()) }})
	if err != nil {
		k.t.Fatal(err)
	}
	st, err := store.New(k.t.Context(), eng, store.Options{Key: testKey})
	if err == nil {
		err = fn(st)
	}
	if err := errors.Join(err, eng.Close()); err != nil {
		k.t.Fatal(err)
	}
}

// sleepThroughAFire sets the schedules back by an hour, as if the machine had slept: the next start
// has a missed fire to make up for, and may be killed while it does.
func (k *killed) sleepThroughAFire() {
	k.inside(func(st *store.Store) error {
		return st.Update(k.t.Context(), func(tx *store.Tx) error {
			for _, name := range []string{"nightly/nightly", "winback/winback"} {
				was, err := tx.Schedule(k.acc, name)
				if err != nil || was == nil || was.Firing != 0 {
					continue
				}
				next := *was
				next.LastFire -= crm.Hour
				if err := tx.PutSchedule(was, &next); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// start starts the service and waits until it answers.
func (k *killed) start() (cmd *exec.Cmd, ended chan struct{}) {
	k.t.Helper()
	cmd = reprieve(k.t, k.tmp, "serve", "--data", k.dir)
	log, err := os.OpenFile(filepath.Join(k.tmp, "serve.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for {
		if _, err := server.Dial(filepath.Join(k.dir, socketFile)); err == nil {
			return cmd, ended
		}
		select {
		case <-ended:
			k.t.Fatalf("the service did not start again: %s\n%s", cmd.ProcessState, k.tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// live is one life of the service: started, left alone for a while, killed.
func (k *killed) live(d time.Duration) {
	cmd, ended := k.start()
	time.Sleep(d)
	left := children(cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		k.t.Errorf("the service had ended by itself: %v\n%s", err, k.tail())
	}
	<-ended
	k.orphaned += len(left)
	for _, p := range left {
		k.orphans = append(k.orphans, orphan{p, time.Now()})
	}
	k.watchOrphans()
}

// orphan is a process whose service was killed. It has to notice by itself, which takes it a second;
// the bound is far above that, for machines that have other things to do.
type orphan struct {
	processID
	since time.Time
}

const orphanBound = 15 * time.Second

// watchOrphans forgets the orphans that are gone, and does not suffer those that stay.
func (k *killed) watchOrphans() {
	k.orphans = slices.DeleteFunc(k.orphans, func(o orphan) bool {
		if o.alive() && time.Since(o.since) > orphanBound {
			k.t.Errorf("process %d has outlived the service that started it by %s", o.pid, orphanBound)
			_ = syscall.Kill(o.pid, syscall.SIGKILL)
			return true
		}
		return !o.alive()
	})
}

// settle lets the service do all that is due and stops it in peace. It gives the events that still
// wait for triggers.
func (k *killed) settle() (waiting int) {
	cmd, ended := k.start()
	client, err := server.Dial(filepath.Join(k.dir, socketFile))
	if err != nil {
		k.t.Fatal(err)
	}
	for quiet := 0; quiet < 3; {
		time.Sleep(250 * time.Millisecond)
		open := 0
		for _, s := range []crm.RunStatus{crm.RunActive, crm.RunWaiting} {
			open += must[server.RunPage](k.t, client, "run.list", server.RunList{Status: s, Limit: 1}).Total
		}
		waiting = must[server.EventStatus](k.t, client, "event.status", server.None{}).Waiting
		if quiet++; open+waiting > 0 {
			quiet = 0
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != exitOK {
		k.t.Errorf("the service was stopped in peace and exited with %d\n%s", code, k.tail())
	}
	return waiting
}

// read reads the history from the store and verifies the chain of its log.
func (k *killed) read(h *history) {
	k.inside(func(st *store.Store) error {
		if n, _, err := st.VerifyLog(k.t.Context()); err != nil {
			k.t.Errorf("the log of %d entries does not verify: %v", n, err)
		}
		return readHistory(k.t.Context(), st, k.acc, h)
	})
}

// noOrphans wants everything that a killed service had started to be gone.
func (k *killed) noOrphans() {
	for k.watchOrphans(); len(k.orphans) > 0; k.watchOrphans() {
		time.Sleep(50 * time.Millisecond)
	}
	left, err := filepath.Glob(filepath.Join(k.tmp, "reprieve-*"))
	if err != nil || len(left) > 0 {
		k.t.Errorf("temporary directories of dead services are left: %v %v", left, err)
	}
}

// worthIt says what the history was made of, and fails if it has nothing of what was to be tested.
func (k *killed) worthIt(h *history, kills int) {
	kinds, asked := map[string]int{}, map[outcome]int{}
	for _, l := range h.log {
		name := string(l.Event.Kind)
		if l.Event.Why.Workflow != "" {
			name += " by " + l.Event.Why.Workflow
		}
		kinds[name]++
	}
	for _, a := range h.calls {
		asked[a.outcome]++
	}
	k.t.Logf("%d calls answered, %d refused, %d unanswered; %d orphans; %v", asked[acknowledged], asked[refused], asked[unanswered], k.orphaned, kinds)
	for _, name := range []string{"contact.deleted", "contact.restored", "contact.deleted by doom", "contact.tag_added by trip", "contact.deleted by nightly"} {
		if kinds[name] == 0 && kills >= 8 {
			k.t.Errorf("there was no %s: the test tested little", name)
		}
	}
}

func (k *killed) tail() string {
	raw, err := os.ReadFile(filepath.Join(k.tmp, "serve.log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-4000):])
}

// processID names a process for good: its number may be given to another.
type processID struct {
	pid   int
	begun string
}

// alive says whether the process is there, other than as a zombie. Only where there is /proc.
func (p processID) alive() bool {
	stat := procStat(p.pid)
	return len(stat) > 19 && stat[19] == p.begun && stat[0] != "Z" && stat[0] != "X"
}

// procStat gives the fields of a process's stat from its state on.
func procStat(pid int) []string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, found := strings.Cut(string(raw), ") ")
	if err != nil || !found {
		return nil
	}
	return strings.Fields(rest)
}

// children gives the processes that a process has started.
func children(pid int) []processID {
	all, _ := filepath.Glob("/proc/[0-9]*")
	var out []processID
	for _, path := range all {
		n, err := strconv.Atoi(filepath.Base(path))
		if stat := procStat(n); err == nil && len(stat) > 19 && stat[1] == strconv.Itoa(pid) {
			out = append(out, processID{n, stat[19]})
		}
	}
	return out
}
