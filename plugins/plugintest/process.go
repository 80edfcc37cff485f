package plugintest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// How long a plugin may take.
const (
	startTime = 20 * time.Second // with an interpreter on a busy machine
	stopTime  = 2 * time.Second
	orphan    = 5 * time.Second // to see that its host is gone
	slow      = 3 * time.Second // what any machine adds
)

// process is a plugin that was started as a host starts it.
type process struct {
	actionv1.ActionPluginClient
	conn   *grpc.ClientConn
	cmd    *exec.Cmd
	dir    string
	closed chan struct{} // no process holds its stdout or stderr any more
	exited chan struct{} // the one that was started is gone

	mu     sync.Mutex
	stdout []byte // after the handshake
	stderr []byte
	lost   int // bytes that were not kept
}

// start starts a command and waits for its handshake. With orphans it is started by a shell that can be killed.
func start(ctx context.Context, p Plugin, orphans bool) (_ *process, err error) {
	pair, certificate, err := ownCertificate()
	if err != nil {
		return nil, err
	}
	s := &process{closed: make(chan struct{}), exited: make(chan struct{})}
	if s.dir, err = os.MkdirTemp(socketBase(), "rpt-"); err != nil {
		return nil, err
	}
	argv := p.Command
	if orphans {
		argv = append([]string{"/bin/sh", "-c", `"$@" & wait`, "sh"}, argv...)
	}
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Dir = p.Dir
	s.cmd.Env = []string{
		actionv1.CookieKey + "=" + actionv1.CookieValue, "PLUGIN_MIN_PORT=0", "PLUGIN_MAX_PORT=0",
		"PLUGIN_PROTOCOL_VERSIONS=" + strconv.Itoa(actionv1.ProtocolVersion), "PLUGIN_UNIX_SOCKET_DIR=" + s.dir, "PLUGIN_CLIENT_CERT=" + string(certificate),
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	defer func() {
		if err != nil {
			s.kill()
		}
	}()
	outR, outW, err := os.Pipe()
	if err != nil {
		return s, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_, _ = outR.Close(), outW.Close()
		return s, err
	}
	s.cmd.Stdout, s.cmd.Stderr = outW, errW
	err = s.cmd.Start()
	_, _ = outW.Close(), errW.Close()
	if err != nil {
		_, _ = outR.Close(), errR.Close()
		close(s.exited)
		close(s.closed)
		return s, err
	}
	line := s.read(outR, errR)
	t := time.NewTimer(startTime)
	defer t.Stop()
	select {
	case text, ok := <-line:
		if !ok {
			return s, fmt.Errorf("it ended, or closed stdout, before its handshake; on stderr: %q", s.tail())
		}
		return s, s.connect(text, pair)
	case <-t.C:
		return s, fmt.Errorf("there was no handshake line on stdout within %s", startTime)
	case <-ctx.Done():
		return s, ctx.Err()
	}
}

// socketBase is a directory whose path leaves room for a socket's name.
func socketBase() string {
	if base := os.TempDir(); len(base) <= 40 {
		return base
	}
	return "/tmp"
}

// read collects what the plugin writes; the handshake line is given back.
func (s *process) read(outR, errR *os.File) <-chan string {
	line := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		r := bufio.NewReaderSize(outR, 64<<10)
		text, err := r.ReadSlice('\n')
		if err == nil {
			line <- string(text)
		}
		close(line)
		_, _ = io.Copy(keeper{s, &s.stdout}, r)
	})
	wg.Go(func() { _, _ = io.Copy(keeper{s, &s.stderr}, errR) })
	go func() {
		wg.Wait()
		_, _ = outR.Close(), errR.Close()
		close(s.closed)
	}()
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	return line
}

// keeper keeps what is written, up to a bound.
type keeper struct {
	s    *process
	into *[]byte
}

func (k keeper) Write(b []byte) (int, error) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	n := min(len(b), 8<<20-len(*k.into))
	*k.into = append(*k.into, b[:n]...)
	k.s.lost += len(b) - n
	return len(b), nil
}

// dropped says whether more was written than is kept.
func (s *process) dropped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost > 0
}

// connect takes the address that the handshake names, if it is one that a host takes.
func (s *process) connect(line string, pair tls.Certificate) error {
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 6 {
		return fmt.Errorf("the first line on stdout is no handshake: %.100q", line)
	}
	switch addr := parts[3]; {
	case parts[0] != "1" || parts[1] != strconv.Itoa(actionv1.ProtocolVersion):
		return fmt.Errorf("the handshake speaks %s|%s and the host 1|%d", parts[0], parts[1], actionv1.ProtocolVersion)
	case parts[2] != "unix" || parts[4] != "grpc":
		return fmt.Errorf("the handshake offers %s over %s; only grpc over unix is taken", parts[4], parts[2])
	case filepath.Dir(filepath.Clean(addr)) != s.dir:
		return errors.New("the handshake offers a socket outside PLUGIN_UNIX_SOCKET_DIR")
	}
	der, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[5], "="))
	if err != nil {
		return errors.New("the certificate in the handshake is no base64")
	}
	theirs, err := x509.ParseCertificate(der)
	if err != nil {
		return errors.New("the certificate in the handshake cannot be read")
	}
	roots := x509.NewCertPool()
	roots.AddCert(theirs)
	s.conn, err = grpc.NewClient("unix:"+parts[3], grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12,
	})), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(actionv1.MaxReply)))
	if err != nil {
		return err
	}
	s.ActionPluginClient = actionv1.NewActionPluginClient(s.conn)
	return nil
}

// stop asks the plugin to end, as a host does.
func (s *process) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	return s.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
}

// gone says whether the process, and whoever holds its pipes, is gone within a time.
func (s *process) gone(within time.Duration) error {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-s.exited:
	case <-t.C:
		return fmt.Errorf("it was still there %s later", within)
	}
	select {
	case <-s.closed:
		return nil
	case <-t.C:
		return fmt.Errorf("it ended and left a process behind that held its stdout or stderr %s later", within)
	}
}

// kill ends the whole group, whatever state it is in, and clears up.
func (s *process) kill() {
	if s == nil {
		return
	}
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.cmd != nil && s.cmd.Process != nil {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		_ = s.gone(slow)
	}
	_ = os.RemoveAll(s.dir)
}

// said gives what was written since, on both streams.
func (s *process) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.stdout) + "\n" + string(s.stderr)
}

func (s *process) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.stderr[max(0, len(s.stderr)-300):])
}

// ownCertificate makes a pair for one process, of the kind that a host uses.
func ownCertificate() (pair tls.Certificate, certificate []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return pair, nil, err
	}
	of := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, SerialNumber: big.NewInt(time.Now().UnixNano()),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return pair, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
