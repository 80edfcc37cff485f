package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// handshakeMax bounds the first line of a plugin's stdout; with a certificate it is below 2 KiB.
const handshakeMax = 16 << 10

// drainFor is how long the pipes of a dead process are still read: what it wrote is there already,
// so only a descendant that kept a pipe open is waited for.
const drainFor = 250 * time.Millisecond

// unkillable is how long a process is waited for that was killed: it takes some milliseconds, or for ever.
const unkillable = 5 * time.Second

// child runs a plugin as a process group of its own. It is go-plugin's runner.Runner, because
// go-plugin's own one never returns from Kill while a grandchild holds a pipe or after a line of
// more than 64 KiB, inherits stdin and leaves grandchildren alive.
//
// How it is shut in is spawn's, which differs between systems.
type child struct {
	cmd  *exec.Cmd
	conf confine
	dir  string    // where its socket must be
	rest io.Writer // gets what comes on stdout after the handshake

	line           *io.PipeReader // stdout as go-plugin sees it: one line
	lineW          *io.PipeWriter
	stdout, stderr *os.File
	pumped         chan struct{} // closed once nothing more is read of stdout
	exited         chan struct{} // closed once the process is gone and its pipes are let go
	patience       time.Duration // how long a killed process is waited for

	mu     sync.Mutex
	doom   *time.Timer // runs from the first Kill on
	over   bool        // exited is closed
	pid    int         // 0 before the start
	held   Containment
	reaped bool
}

var _ runner.Runner = (*child)(nil)

// newChild prepares cmd, which must not have been started; its stdio is replaced.
func newChild(cmd *exec.Cmd, conf confine, rest io.Writer) *child {
	c := &child{cmd: cmd, conf: conf, dir: conf.private, rest: rest, pumped: make(chan struct{}), exited: make(chan struct{}), patience: unkillable}
	c.line, c.lineW = io.Pipe()
	return c
}

// Start implements runner.Runner.
func (c *child) Start(context.Context) error {
	var outW, errW *os.File
	var err error
	if c.stdout, outW, err = os.Pipe(); err != nil {
		return err
	}
	defer outW.Close()
	if c.stderr, errW, err = os.Pipe(); err != nil {
		c.stdout.Close()
		return err
	}
	defer errW.Close()
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = nil, outW, errW
	started := make(chan error)
	go c.live(started)
	err = <-started
	if err != nil {
		c.stdout.Close()
		c.stderr.Close()
	}
	return err
}

// live starts the process and stays with it until it is gone. It keeps its thread: whatever spawn does to
// that is nobody else's, and a process that is to die with its host dies with the thread that started it.
func (c *child) live(started chan<- error) {
	goruntime.LockOSThread() // for good: the thread ends with the goroutine
	cmd, held, err := spawn(c.cmd, c.conf)
	if err == nil {
		c.mu.Lock()
		c.cmd, c.pid, c.held = cmd, cmd.Process.Pid, held
		c.mu.Unlock()
	}
	started <- err
	if err != nil {
		return
	}
	go func() {
		defer close(c.pumped)
		c.pump()
	}()
	c.await(cmd.Process.Pid)
	c.letGo(drainFor)
}

// pump hands the first line of stdout to go-plugin and everything after it to the log, so that the
// plugin can never block on a full pipe.
func (c *child) pump() {
	defer c.lineW.Close()
	head := make([]byte, 0, handshakeMax)
	for len(head) < cap(head) {
		n, err := c.stdout.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if i := bytes.IndexByte(head, '\n'); i >= 0 {
			_, _ = c.lineW.Write(head[:i+1])
			_, _ = c.rest.Write(head[i+1:])
			break
		}
		if err != nil {
			return
		}
	}
	if bytes.IndexByte(head, '\n') < 0 {
		c.lineW.Close() // no handshake: go-plugin gives up and kills the group
		_, _ = c.rest.Write(head)
	}
	_, _ = io.Copy(c.rest, c.stdout)
}

// letGo lets the pipes go after a last look at what is in them.
func (c *child) letGo(drain time.Duration) {
	deadline := time.Now().Add(drain)
	_ = c.stdout.SetReadDeadline(deadline)
	_ = c.stderr.SetReadDeadline(deadline)
	<-c.pumped
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doom != nil {
		c.doom.Stop()
	}
	if !c.over {
		c.over = true
		close(c.exited)
	}
}

// Kill implements runner.Runner: the whole group, at once. It may be called at any time. A process that even
// then does not end hangs in the kernel. It is given up, and costs this process a thread, not its patience.
func (c *child) Kill(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 || c.reaped || c.over {
		return nil
	}
	if c.doom == nil {
		c.doom = time.AfterFunc(c.patience, func() { c.letGo(0) })
	}
	if err := syscall.Kill(-c.pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// Wait implements runner.Runner.
func (c *child) Wait(context.Context) error {
	<-c.exited
	c.stdout.Close()
	c.stderr.Close()
	return nil
}

// Stdout implements runner.Runner.
func (c *child) Stdout() io.ReadCloser { return c.line }

// Stderr implements runner.Runner.
func (c *child) Stderr() io.ReadCloser { return quietEOF{c.stderr} }

// quietEOF makes the end of draining look like the end of the stream.
type quietEOF struct{ *os.File }

func (q quietEOF) Read(p []byte) (int, error) {
	n, err := q.File.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// Name implements runner.Runner.
func (c *child) Name() string { return filepath.Base(c.cmd.Path) }

// ID implements runner.Runner.
func (c *child) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 {
		return ""
	}
	return strconv.Itoa(c.pid)
}

// contained says how the process is shut in.
func (c *child) contained() Containment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// Diagnose implements runner.Runner; go-plugin's own diagnosis names accounts and paths.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner: the address in the handshake is only what the plugin says,
// so it is taken only if it is a socket right in the directory that was made for this process.
func (c *child) PluginToHost(network, addr string) (string, string, error) {
	if network != "unix" {
		return "", "", fmt.Errorf("the plugin offers a %.10q address; only unix sockets are taken", network)
	}
	if filepath.Clean(addr) != addr || filepath.Dir(addr) != filepath.Clean(c.dir) {
		return "", "", errors.New("the plugin offers a socket outside the directory it was given")
	}
	if info, err := os.Lstat(addr); err != nil || info.Mode().Type() != os.ModeSocket {
		return "", "", errors.New("the plugin offers an address that is not a socket")
	}
	return network, addr, nil
}

// HostToPlugin implements runner.Runner; nothing of the host's is ever offered.
func (c *child) HostToPlugin(string, string) (string, string, error) {
	return "", "", errors.New("the host offers plugins no address")
}
