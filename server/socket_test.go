package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// once counts how often it is closed.
type once struct {
	io.Reader
	closed int
}

func (o *once) Close() error { o.closed++; return nil }

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// A verb over the socket answers as one in process does, and leaves the stream to its owner.
func TestSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	path := socketPath(t)
	ln, err := Listen(path)
	r.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, r.app) }()
	client, err := Dial(path)
	r.must(err)
	in := &once{Reader: strings.NewReader("Email\nada@example.com\n")}
	var done Imported
	if err := client.Call(t.Context(), "contact.import", ImportOptions{}, &done, in); err != nil || done.Created != 1 || in.closed != 0 {
		t.Errorf("%+v, closed %d times, %v", done, in.closed, err)
	}
	err = client.Call(t.Context(), "contact.get", ContactID{ID: "nobody"}, nil, nil)
	var e *crm.Error
	if !errors.As(err, &e) || e.Code != crm.CodeNotFound || e.Hint == "" {
		t.Errorf("nobody: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A connection that breaks during an import says that a part may be in; another call, that it may be
// done.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 64))
			_ = c.Close()
		}
	}()
	client, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	for want, in := range map[string]io.Reader{"a part of the file may be in": strings.NewReader("Email\n"), "look whether it was done": nil} {
		err := client.Call(t.Context(), "contact.import", ImportOptions{}, nil, in)
		var e *crm.Error
		if !errors.As(err, &e) || e.Code != crm.CodeUnavailable || !strings.Contains(e.Hint, want) {
			t.Errorf("%v, wanted %s", err, want)
		}
	}
}

func TestSocketPath(t *testing.T) {
	t.Parallel()
	for n, good := range map[int]bool{10: true, maxSocketPath: true, maxSocketPath + 1: false, 4096: false} {
		err := CheckSocket(strings.Repeat("x", n))
		if (err == nil) != good || !good && crm.CodeOf(err) != crm.CodeInvalid {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	dir := filepath.Dir(socketPath(t))
	longest := filepath.Join(dir, strings.Repeat("x", maxSocketPath-len(dir)-1))
	ln, err := Listen(longest)
	if err != nil {
		t.Fatalf("the longest path that is allowed does not work: %v", err)
	}
	_ = ln.Close()
	if _, err := Listen(longest + "x"); crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("one more: %v", err)
	}
}
