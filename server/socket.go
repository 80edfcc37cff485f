package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// maxRequest bounds a request's own JSON; streams are not bounded by it.
const maxRequest = 1 << 20

// Serve answers verbs on a listener, which it closes, until ctx ends. The peer's credentials are taken
// from the socket: only the user that runs the server, and root, are let in, as admins.
func Serve(ctx context.Context, ln net.Listener, app *App) error {
	srv := &http.Server{
		Handler:           app,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    maxRequest + 16<<10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			uid, err := peer(c)
			if err != nil {
				return ctx
			}
			return context.WithValue(ctx, peerKey{}, uid)
		},
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(grace)
		_ = srv.Close()
	}()
	err := srv.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// maxSocketPath is how long a socket's path may be, in bytes; the kernel keeps it in so much room and
// a zero behind it.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// CheckSocket refuses a path that is too long for a socket.
func CheckSocket(path string) error {
	if len(path) <= maxSocketPath {
		return nil
	}
	return crm.Errorf("open the socket", crm.CodeInvalid, "its path has %d bytes and the system allows %d: %s", len(path), maxSocketPath, path).
		WithHint("use a data directory with a shorter path")
}

// Listen opens the socket, and takes its path over from a server that died; the store's lock, which the
// caller holds, says that there is no other server alive.
func Listen(path string) (net.Listener, error) {
	const op = "open the socket"
	if err := CheckSocket(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, crm.Errorf(op, crm.CodeFailed, "%w", err).WithHint("check who owns the data directory")
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, crm.Errorf(op, crm.CodeFailed, "%w", err).WithHint("check that the data directory can be written")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

type peerKey struct{}

// ServeHTTP answers POST /v1/VERB with the request in the header Reprieve-Request, or as the body
// when there is no such header; with it, the body is the verb's stream.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	uid, ok := r.Context().Value(peerKey{}).(uint32)
	if !ok || uid != uint32(os.Getuid()) && uid != 0 {
		writeError(w, crm.Errorf("call the server", crm.CodeDenied, "only the user that runs the server may call it"))
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok || r.Method != http.MethodPost {
		writeError(w, crm.Errorf("call the server", crm.CodeNotFound, "verbs are called by POST /v1/VERB"))
		return
	}
	request, in := []byte(r.Header.Get("Reprieve-Request")), io.Reader(r.Body)
	if len(request) == 0 {
		var err error
		if request, err = io.ReadAll(io.LimitReader(r.Body, maxRequest+1)); err != nil || len(request) > maxRequest {
			writeError(w, crm.Errorf("read the request", crm.CodeInvalid, "it is over %d bytes or broken off", maxRequest))
			return
		}
		in = nil
	} else if text, err := url.QueryUnescape(string(request)); err == nil {
		request = []byte(text)
	}
	by := crm.Actor{ID: fmt.Sprintf("user:%d", uid), Role: crm.Admin}
	out, err := a.Answer(r.Context(), by, name, request, in)
	if err != nil {
		if crm.CodeOf(err) == "" {
			a.Log.Error().Str("verb", name).Err(err).Msg("a verb failed")
		}
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out)
}

// wireError is an error on its way through the socket.
type wireError struct {
	Op      string        `json:"op"`
	Code    string        `json:"code"`
	Contact crm.ContactID `json:"contact,omitzero"`
	Message string        `json:"message"`
	Hint    string        `json:"hint,omitempty"`
}

func writeError(w http.ResponseWriter, err error) {
	e := wireError{Op: "answer a verb", Code: crm.CodeFailed, Message: err.Error()}
	var known *crm.Error
	if errors.As(err, &known) {
		e = wireError{Op: known.Op, Code: known.Code, Contact: known.Contact, Hint: known.Hint}
		if known.Err != nil {
			e.Message = known.Err.Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(e)
}

// Client calls a server's verbs over its unix socket.
type Client struct{ http *http.Client }

// Dial makes a client for the server at a socket; it fails at once when nobody listens there.
func Dial(path string) (*Client, error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil, err
	}
	if err := conn.Close(); err != nil {
		return nil, err
	}
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// Call implements Caller.
func (c *Client) Call(ctx context.Context, verb string, request, answer any, in io.Reader) error {
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	body, retry := in, "look whether it was done before trying again"
	if in == nil {
		body = strings.NewReader(string(raw))
	} else {
		body = io.NopCloser(in) // the file is its caller's to close
		retry = "a part of the file may be in: import it again, rows that are in are rejected as conflicts"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://reprieve/v1/"+verb, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Reprieve-Request", url.QueryEscape(string(raw)))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return crm.Errorf("call the server", crm.CodeUnavailable, "%w", err).WithHint("is reprieve serve still running? %s", retry)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		return crm.Errorf("call the server", crm.CodeUnavailable, "the answer broke off: %w", err).
			WithHint("%s", retry)
	}
	if resp.StatusCode != http.StatusOK {
		var e wireError
		if err := json.Unmarshal(out, &e); err != nil {
			return crm.Errorf("call the server", crm.CodeUnavailable, "it answered %s", resp.Status).WithHint("%s", retry)
		}
		return &crm.Error{Op: e.Op, Code: e.Code, Contact: e.Contact, Err: errors.New(e.Message), Hint: e.Hint}
	}
	return decode(out, answer)
}
