// Command zoo is every plugin that misbehaves, and one that does not, for the host's tests:
//
//	zoo MARKER ANIMAL
//
// MARKER is in the command line of the process and of all its descendants, so that a test finds them
// wherever they went. It is written against the protocol alone, as a plugin in any language would be: what
// it does, no SDK allows.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

var (
	marker, animal string
	socketDir      = os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
)

func main() {
	marker, animal = os.Args[1], os.Args[2]
	if run := descendants[animal]; run != nil {
		run()
		return
	}
	if run := atStart[animal]; run != nil {
		run()
	}
	p := &plugin{die: make(chan struct{})}
	if err := p.serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// plugin answers the host.
type plugin struct {
	actionv1.UnimplementedActionPluginServer
	listener *cutter
	calls    int
	die      chan struct{}
}

// serve speaks go-plugin's protocol: a socket, a certificate, one line, and three services.
func (p *plugin) serve() error {
	l, err := net.Listen("unix", filepath.Join(socketDir, "s"))
	if err != nil {
		return err
	}
	p.listener = &cutter{Listener: l, left: -1}
	conf, cert, err := certificates()
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(16<<20), grpc.MaxSendMsgSize(64<<20), grpc.UnknownServiceHandler(p.other))
	h := health.NewServer()
	h.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s, h)
	actionv1.RegisterActionPluginServer(s, p)
	fmt.Printf("1|1|unix|%s|grpc|%s\n", l.Addr(), cert)
	go func() { _ = s.Serve(tls.NewListener(p.listener, conf)) }()
	<-p.die
	return nil
}

// other is go-plugin's own services, of which the plugin has the one that ends it.
func (p *plugin) other(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	if method != "/plugin.GRPCController/Shutdown" {
		return status.Error(codes.Unimplemented, method)
	}
	if run := atStop[animal]; run != nil {
		run()
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	time.AfterFunc(10*time.Millisecond, func() { close(p.die) })
	return nil
}

// certificates makes what go-plugin calls automatic mTLS: a certificate of this process, which the host
// learns by the handshake, and the host's, which comes in the environment.
func certificates() (*tls.Config, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	hosts := x509.NewCertPool()
	hosts.AppendCertsFromPEM([]byte(os.Getenv("PLUGIN_CLIENT_CERT")))
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: hosts, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
	}, base64.RawStdEncoding.EncodeToString(der), nil
}

// cutter lets only so many more bytes out, and then ends the process in the middle of a write.
type cutter struct {
	net.Listener
	left int // -1: no end
}

func (c *cutter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return &cut{conn, c}, err
}

type cut struct {
	net.Conn
	by *cutter
}

func (c *cut) Write(b []byte) (int, error) {
	if c.by.left < 0 || len(b) < 100 {
		return c.Conn.Write(b)
	}
	if c.by.left -= len(b); c.by.left < 0 {
		_, _ = c.Conn.Write(b[:len(b)+c.by.left])
		os.Exit(137)
	}
	return c.Conn.Write(b)
}

// name is what the plugin calls itself.
func name() string {
	if animal == "good" {
		return "good"
	}
	return "zoo"
}

func (p *plugin) Describe(ctx context.Context, _ *actionv1.DescribeRequest) (*actionv1.DescribeResponse, error) {
	a := &actionv1.ActionSpec{Action: name() + ".run", Reads: []string{"tags"}, Effects: []string{"tag.add"}, TimeoutNanos: int64(20 * time.Second)}
	out := &actionv1.DescribeResponse{Name: name(), Version: "1.0.0", Actions: []*actionv1.ActionSpec{a}}
	if run := atDescribe[animal]; run != nil {
		run(out)
	}
	return out, nil
}

func (p *plugin) Configure(context.Context, *actionv1.ConfigureRequest) (*actionv1.ConfigureResponse, error) {
	return &actionv1.ConfigureResponse{}, nil
}

func (p *plugin) Execute(_ context.Context, req *actionv1.ExecuteRequest) (*actionv1.ExecuteResponse, error) {
	p.calls++
	out := &actionv1.ExecuteResponse{}
	for _, it := range req.GetItems() {
		out.Outcomes = append(out.Outcomes, done(it.GetIdempotencyKey()))
	}
	if run := inCall[animal]; run != nil {
		run(p, out)
	}
	return out, nil
}

func done(key string) *actionv1.Outcome {
	return &actionv1.Outcome{IdempotencyKey: key, Result: &actionv1.Outcome_Done{Done: &actionv1.Done{}}}
}

func fill(n int) []byte { return append(append([]byte{'"'}, bytes.Repeat([]byte("x"), n)...), '"') }
