package examples_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// diesAsAnOrphan: a plugin talks to its host alone, and ends by itself once its parent has, without help of the
// kernel's or the host's.
func diesAsAnOrphan(t *testing.T, folder, interpreter, script string) {
	t.Helper()
	host, dir := identity(t), hostDir(t)
	parent := exec.CommandContext(t.Context(), "/bin/sh", "-c", `"$@" & echo $!; wait`, "sh", interpreter, script)
	parent.Dir, parent.Stderr = folder, os.Stderr
	parent.Env = []string{actionv1.CookieKey + "=" + actionv1.CookieValue, "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + dir,
		"PLUGIN_CLIENT_CERT=" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: host.Certificate[0]}))}
	stdout, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	first, _ := lines.ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	handshake, _ := lines.ReadString('\n')
	if parts := strings.Split(handshake, "|"); len(parts) == 6 {
		for who, certs := range map[string][]tls.Certificate{"the host": {host}, "a stranger": {identity(t)}, "somebody without a certificate": nil} {
			if in := letIn(t, parts[3], certs); in != (who == "the host") {
				t.Errorf("%s is let in: %v", who, in)
			}
		}
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	if err != nil || !strings.HasPrefix(handshake, "1|1|unix|"+dir+"/") {
		t.Fatalf("the parent says %q and the plugin %q", first, handshake)
	}
	waitForEnd(t, pid)
}

// identity makes a key and a certificate as go-plugin does.
func identity(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// letIn says whether the server on a socket talks to whoever has these certificates: one that does begins with its
// settings.
func letIn(t *testing.T, socket string, certs []tls.Certificate) bool {
	t.Helper()
	raw, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: certs})
	_, err = c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the server says nothing")
	}
	return err == nil
}

func waitForEnd(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		if alive(pid) {
			time.Sleep(20 * time.Millisecond)
		}
	}
	if alive(pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Error("the plugin outlived its parent")
	}
}

// alive says whether a process runs; one that is dead and not reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}
