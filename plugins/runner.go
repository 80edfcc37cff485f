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

// child runs a plugin as a process group of its own. It is go-plugin's runner.Runner, because
// go-plugin's own one never returns from Kill while a grandchild holds a pipe or after a line of
// more than 64 KiB, inherits stdin and leaves grandchildren alive.
//
// Here is the seam for namespaces and the like: whatever is done to cmd before start.
type child struct {
	cmd  *exec.Cmd
	dir  string    // where its socket must be
	rest io.Writer // gets what comes on stdout after the handshake

	line           *io.PipeReader // stdout as go-plugin sees it: one line
	lineW          *io.PipeWriter
	stdout, stderr *os.File
	exited         chan struct{} // closed once the process is gone and its pipes are let go

	mu     sync.Mutex
	pid    int // 0 before the start
	reaped bool
}

var _ runner.Runner = (*child)(nil)

// newChild prepares cmd, which must not have been started; its stdio is replaced.
func newChild(cmd *exec.Cmd, dir string, rest io.Writer) *child {
	c := &child{cmd: cmd, dir: dir, rest: rest, exited: make(chan struct{})}
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
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		c.stdout.Close()
		c.stderr.Close()
		return err
	}
	c.mu.Lock()
	c.pid = c.cmd.Process.Pid
	c.mu.Unlock()
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		c.pump()
	}()
	go c.reap(pumped)
	return nil
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

// reap waits for the process, kills what is left of its group and lets its pipes go.
func (c *child) reap(pumped <-chan struct{}) {
	c.await()
	deadline := time.Now().Add(drainFor)
	_ = c.stdout.SetReadDeadline(deadline)
	_ = c.stderr.SetReadDeadline(deadline)
	<-pumped
	close(c.exited)
}

// Kill implements runner.Runner: the whole group, at once. It may be called at any time.
func (c *child) Kill(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 || c.reaped {
		return nil
	}
	err := syscall.Kill(-c.pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
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
