package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// probed is what the probe is told.
type probed struct {
	Private, Outside, Hidden string // it may write in the first, not in the second, and not read the third
	Addr                     string // it may not connect to
	Host                     int    // it may not signal
	User, PID, Net           string // the host's namespaces
}

// Probe shuts a process in like a third party's plugin that declared no network, lets it try what it must
// not be able to do, and says what held. The command runs ServeProbe with the arguments that are appended to
// it. Hidden is the data directory, which must be there; "" leaves it out.
func Probe(ctx context.Context, argv []string, hidden string) (Containment, error) {
	fail := func(err error) (Containment, error) {
		return Containment{}, crm.Errorf("try the containment of plugins", crm.CodeFailed, "%w", err).
			WithHint("plugins may not start either; the error says what the system refuses")
	}
	dir, err := privateDir("")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	ask := probed{Private: filepath.Join(dir, "private"), Outside: filepath.Join(dir, "outside"), Hidden: hidden, Host: os.Getpid()}
	for _, d := range []string{ask.Private, ask.Outside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fail(err)
		}
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		defer l.Close()
		ask.Addr = l.Addr().String()
	}
	ask.User, ask.PID, ask.Net = namespace("user"), namespace("pid"), namespace("net")
	words, err := json.Marshal(ask)
	if err != nil {
		return fail(err)
	}
	f, err := os.Open(argv[0])
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	cmd := exec.Command(argv[0], append(slices.Clone(argv[1:]), string(words))...)
	cmd.Env, cmd.Dir = []string{}, "/"
	_, release, err := verified(cmd, f, ask.Private)
	if err != nil {
		return fail(err)
	}
	defer release()
	held, out, err := probe(ctx, cmd, confine{memory: defaultMemory, private: ask.Private, folder: ask.Private, hidden: hidden})
	if err != nil {
		return fail(err)
	}
	var does map[string]bool
	if err := json.Unmarshal(out, &does); err != nil {
		return fail(fmt.Errorf("the process said %.100q", clean(string(out))))
	}
	return held.borneOut(does), nil
}

// borneOut moves what the trial did not bear out to what is missing.
func (c Containment) borneOut(does map[string]bool) Containment {
	var out Containment
	for _, what := range c.InForce {
		if holds, tried := does[what]; tried && !holds {
			out.lacks(what, "the system granted it, and a process that tried got through all the same")
			continue
		}
		out.has(what)
	}
	out.Missing = append(out.Missing, c.Missing...)
	return out
}

// probe runs the command as a plugin's process is run, and gives what it printed.
func probe(ctx context.Context, cmd *exec.Cmd, conf confine) (held Containment, out []byte, err error) {
	said, say, err := os.Pipe()
	if err != nil {
		return held, nil, err
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = say, nil
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	go func() {
		goruntime.LockOSThread() // for good, like a plugin's
		defer say.Close()
		var started *exec.Cmd
		if started, held, err = spawn(cmd, conf); err != nil {
			done <- err
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = started.Process.Kill() })
		defer stop()
		done <- started.Wait()
	}()
	if err := <-done; err != nil {
		return held, nil, err
	}
	out, err = io.ReadAll(io.LimitReader(said, 64<<10))
	return held, out, err
}

// ServeProbe is the other side of Probe: it tries, and prints what held.
func ServeProbe(words string, w io.Writer) error {
	var ask probed
	if err := json.Unmarshal([]byte(words), &ask); err != nil {
		return err
	}
	does := map[string]bool{emptyEnv: len(os.Environ()) == 0, noWrites: refused(ask.Outside) && !refused(ask.Private)}
	if ask.Hidden != "" {
		_, err := os.ReadDir(ask.Hidden)
		does[noStore] = err != nil
	}
	if ask.Addr != "" {
		c, err := net.DialTimeout("tcp", ask.Addr, time.Second)
		if does[noTCP] = err != nil; err == nil {
			c.Close()
		}
	}
	ask.try(does)
	return json.NewEncoder(w).Encode(does)
}

// refused says whether nothing can be written in a directory.
func refused(dir string) bool {
	return os.WriteFile(filepath.Join(dir, strconv.Itoa(os.Getpid())), nil, 0o600) != nil
}
