package server

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// A process that is shut in like a plugin has the server's user id and gets to the socket, and is no admin.
func TestPluginIsNoPeer(t *testing.T) {
	const variable = "REPRIEVE_TEST_PEER"
	if path := os.Getenv(variable); path != "" { // this is the process that is shut in
		client, err := Dial(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Call(t.Context(), "plugin.list", None{}, nil, nil); crm.CodeOf(err) != crm.CodeDenied {
			t.Fatalf("it was let in: %v", err)
		}
		return
	}
	t.Parallel()
	r := newRig(t)
	r.account()
	path := socketPath(t)
	ln, err := Listen(path)
	r.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, r.app) }()
	defer func() {
		cancel()
		r.must(<-ended)
	}()
	for _, flags := range []uintptr{syscall.CLONE_NEWUSER, syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestPluginIsNoPeer$")
		cmd.Env = append(os.Environ(), variable+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		out, err := cmd.CombinedOutput()
		if _, started := err.(*exec.ExitError); err != nil && !started {
			t.Skipf("this system has no user namespaces for us: %v", err)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	client, err := Dial(path)
	r.must(err)
	if err := client.Call(t.Context(), "plugin.list", None{}, nil, nil); err != nil {
		t.Errorf("this process is not: %v", err)
	}
}
