//go:build unix

package bolt

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/reprieve-run/reprieve/internal/fault"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// The child of the crash test is this test binary, run again with these variables set.
const (
	envPath  = "REPRIEVE_TEST_CRASH_PATH"
	envPoint = "REPRIEVE_TEST_CRASH_POINT" // name:pass, or empty: the parent kills
	envLazy  = "REPRIEVE_TEST_CRASH_LAZY"  // the planted bug: acknowledge before the commit
)

const crashWriters = 8

func TestMain(m *testing.M) {
	if path := os.Getenv(envPath); path != "" {
		crashChild(path)
		return
	}
	os.Exit(m.Run())
}

// crashChild commits numbered updates and acknowledges each on its standard output, until it is
// killed. Each update writes its number to a table and to a log.
func crashChild(path string) {
	if name, pass, ok := strings.Cut(os.Getenv(envPoint), ":"); ok {
		n, _ := strconv.Atoi(pass)
		fault.Activate(name, n, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} })
	}
	e, err := Open(path, Options{Now: fixed})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(3)
	}
	start := 0
	_ = e.View(ctx, func(tx row.Tx) error {
		rows, _, err := tx.Next(ctx, "crash", nil, 0)
		start = len(rows)
		return err
	})
	lazy := os.Getenv(envLazy) != ""
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for n := start; ; n++ {
				name := fmt.Sprintf("%d.%d.%d", start, w, n)
				err := e.Update(ctx, func(tx row.Tx) error {
					if lazy {
						fmt.Println("done", name)
					}
					return errors.Join(mark(tx, name), mark(tx, name+".twin"), tx.Append(ctx, "crash", [][]byte{[]byte(name)}))
				})
				if err != nil {
					os.Exit(4)
				}
				if !lazy {
					fmt.Println("done", name)
				}
			}
		})
	}
	wg.Wait()
}

// crash runs a child until it dies and gives what it acknowledged. The parent kills it after so many
// acknowledgements, unless the child has a point at which it kills itself.
func crash(t *testing.T, path string, after int, env ...string) (acknowledged []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), append(env, envPath+"="+path)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		name, ok := strings.CutPrefix(lines.Text(), "done ")
		if !ok {
			t.Errorf("the child says %q", lines.Text())
		}
		acknowledged = append(acknowledged, name)
		if len(acknowledged) == after {
			_ = cmd.Process.Kill() // what it still says before it dies counts as well
		}
	}
	_ = cmd.Wait()
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		t.Errorf("the child ended by itself: %v", cmd.ProcessState)
	}
	return acknowledged
}

// verify opens a crashed store: what was acknowledged is there, and every update is there as a whole
// or not at all.
func verify(t *testing.T, path string, acknowledged []string) (lost int) {
	t.Helper()
	e, err := Open(path, Options{Now: fixed, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	err = e.View(ctx, func(tx row.Tx) error {
		logged, _, err := tx.Next(ctx, "crash", nil, 0)
		marks, merr := tx.Marks().Range(ctx, "", "~", 0)
		there := map[string]int{}
		for _, l := range logged {
			there[string(l)] += 1
		}
		for _, m := range marks {
			name, twin := strings.CutSuffix(m.Name, ".twin")
			there[name] += map[bool]int{false: 10, true: 100}[twin]
		}
		for name, parts := range there {
			if parts != 111 {
				t.Errorf("update %s is there in part (%d)", name, parts)
			}
		}
		for _, name := range acknowledged {
			if there[name] == 0 {
				lost++
			}
		}
		return errors.Join(err, merr)
	})
	if err != nil {
		t.Error(err)
	}
	return lost
}

// TestKill kills a process that writes, at random moments and at each named point, 30 times on the
// same store.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	path := filepath.Join(t.TempDir(), "reprieve.db")
	var acknowledged []string
	for kill := range 30 {
		var env []string
		after := 1 + r.IntN(60)
		if points := []string{"", "bolt.before_flush", "bolt.before_commit", "bolt.after_commit"}; kill%4 > 0 {
			env = []string{fmt.Sprintf("%s=%s:%d", envPoint, points[kill%4], 1+r.IntN(20))}
			after = 0
		}
		acknowledged = append(acknowledged, crash(t, path, after, env...)...)
		if lost := verify(t, path, acknowledged); lost > 0 {
			t.Fatalf("seed %d, kill %d: %d of %d acknowledged updates are lost", seed, kill, lost, len(acknowledged))
		}
	}
	if err := Check(path); err != nil {
		t.Error(err)
	}
	if len(acknowledged) < 50 {
		t.Errorf("only %d updates were acknowledged: the test shows nothing", len(acknowledged))
	}
}

// TestKillFindsAPlantedBug proves that the test above can fail: a child that acknowledges before the
// commit loses something.
func TestKillFindsAPlantedBug(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "reprieve.db")
	acknowledged := crash(t, path, 0, envLazy+"=1", envPoint+"=bolt.before_commit:3")
	if lost := verify(t, path, acknowledged); lost == 0 {
		t.Errorf("nothing of %d updates was lost", len(acknowledged))
	}
}

// TestKillWhileCreating leaves the draft of a store behind; the next Open makes a whole one.
func TestKillWhileCreating(t *testing.T) {
	t.Parallel()
	for _, draft := range []string{"", "half a draft"} {
		path := filepath.Join(t.TempDir(), "reprieve.db")
		if err := os.WriteFile(path+".new", []byte(draft), 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := Open(path, Options{Now: fixed})
		if err != nil {
			t.Fatal(err)
		}
		_ = e.Close()
		if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Error("the draft is still there")
		}
	}
}
