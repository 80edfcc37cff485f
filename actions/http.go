package actions

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type httpParams struct {
	Method  string            `json:"method" enum:"GET,POST,PUT,PATCH,DELETE" jsonschema:"the method"`
	URL     string            `json:"url" pattern:"^https?://[^/?#]" jsonschema:"where to, as in https://example.com/hook; its scheme, host and port must be among those that the operator has allowed"`
	Headers map[string]string `json:"headers,omitempty" jsonschema:"more headers; none that the action or the operator sets, and no secrets: a workflow's file is no place for them"`
	Bearer  sdk.Secret        `json:"bearer,omitzero" jsonschema:"a secret by reference, as in ${ secrets.crm_token }: it is sent as Authorization: Bearer, unless the operator has set that header"`
	Body    json.RawMessage   `json:"body,omitempty" jsonschema:"at most 64 KiB: text is sent as it is, anything else as JSON"`
}

// The bounds of a request.
const (
	maxBody    = 64 << 10
	httpTime   = 15 * time.Second
	maxBackoff = time.Hour
)

// httpRequest talks to what its configuration allows and to no address inside.
func httpRequest() sdk.Action { return newRequester(public).action() }

func (x *requester) action() sdk.Action {
	return sdk.Action{
		Name: "http.request",
		Summary: "Send a request to a server that the operator has allowed, and give its status and what it answers as output. Every attempt at the " +
			"step carries the same Idempotency-Key and webhook-id, by which the server can tell that it has seen it; where the operator has set a secret it is " +
			"signed by Standard Webhooks. Redirects are not followed. No answer, 408, 425, 429 and 5xx are tried again, after Retry-After if there is one; any " +
			"other status but 2xx fails the step under http_ and the number. An answer over 64 KiB is left out.",
		External: true, Idempotent: true, Timeout: 2 * time.Minute, Parallel: 8,
		Run: sdk.Func(x.run), Configure: x.configure,
	}
}

// site is what the operator has set for a server.
type site struct {
	Secret  string            `json:"secret"`  // whsec_ and base64, for Standard Webhooks
	Headers map[string]string `json:"headers"` // an Authorization, say
	key     []byte
}

type requester struct {
	mu     sync.Mutex
	sites  map[string]site // by origin, as https://example.com:8443
	client *http.Client
}

// newRequester makes a requester that connects to addresses that may says yes to. It is asked for the very
// address that is connected to, after the name was resolved, so that no second look at the name can differ.
func newRequester(may func(netip.Addr) bool) *requester {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(network, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !may(to.Addr().Unmap().WithZone("")) {
			return errInside
		}
		return nil
	}}
	return &requester{client: &http.Client{
		Timeout: httpTime,
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: httpTime,
			MaxResponseHeaderBytes: maxBody, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 8, ForceAttemptHTTP2: true, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

var errInside = errors.New("the address is not a public one")

// inside are the networks that are not the public Internet, or lead to where one cannot see.
var inside = func() (all []netip.Prefix) {
	for _, p := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fec0::/10"} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}()

// global6 is what of IPv6 is given out for use at all.
var global6 = netip.MustParsePrefix("2000::/3")

// public says whether an address belongs to the public Internet. Loopback, private and link-local
// addresses, where the metadata of clouds are, do not.
func public(a netip.Addr) bool {
	if a.Is6() && !global6.Contains(a) { // among the rest is ::ffff:0:0:0/96, which holds all of IPv4
		return false
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (x *requester) configure(raw json.RawMessage) error {
	var c struct {
		Allow map[string]site `json:"allow"`
	}
	if err := strictly(raw, &c); err != nil {
		return err
	}
	sites := map[string]site{}
	for _, at := range slices.Sorted(maps.Keys(c.Allow)) {
		u, err := url.Parse(at)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("allow: %q is not a scheme and a host as in https://example.com", at)
		}
		s := c.Allow[at]
		if s.Secret != "" {
			text, ok := strings.CutPrefix(s.Secret, "whsec_")
			if s.key, err = base64.StdEncoding.DecodeString(text); !ok || err != nil || len(s.key) < 16 {
				return fmt.Errorf("allow: the secret of %s is not whsec_ and at least 16 bytes in base64", at)
			}
		}
		for name, v := range s.Headers {
			if !headerFits(name, v) {
				return fmt.Errorf("allow: a header of %s cannot be sent", at)
			}
		}
		sites[origin(u)] = s
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sites = sites
	return nil
}

// origin names a server: the port that goes without saying is said.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")) + ":" + port
}

// own are the headers that no file may set.
var own = []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "Proxy-Authorization", "Proxy-Connection",
	"Idempotency-Key", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}

func headerFits(name, value string) bool {
	letter := func(r rune) bool { return r < '!' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }
	return name != "" && len(name) <= 256 && len(value) <= 8<<10 && !strings.ContainsFunc(name, letter) &&
		!strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) && !slices.Contains(own, http.CanonicalHeaderKey(name))
}

func (x *requester) run(ctx context.Context, call sdk.Call, p httpParams) (answered, error) {
	req, err := x.request(ctx, call, p)
	if err != nil {
		return answered{}, err
	}
	if call.DryRun {
		return answered{}, sdk.Skip("dry run")
	}
	resp, err := x.client.Do(req)
	switch {
	case errors.Is(err, errInside):
		return answered{}, sdk.Fail("not_public", "the server's name leads to an address that is not a public one")
	case err != nil: // its words would repeat the address, and with it what may be personal data
		return answered{}, sdk.Retry(0, errors.New("the server did not answer"))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return answered{}, sdk.Retry(0, errors.New("the server did not answer to the end"))
	}
	switch s := resp.StatusCode; {
	case s/100 == 2:
		return output(s, answer), nil
	case s == 408 || s == 425 || s == 429 || s >= 500:
		return answered{}, sdk.Retry(retryAfter(resp.Header.Get("Retry-After"), call.Now), fmt.Errorf("the server answered %d", s))
	default:
		return answered{}, sdk.Fail("http_"+strconv.Itoa(s), fmt.Sprintf("the server answered %d", s))
	}
}

// request makes the request, or says why it may not be.
func (x *requester) request(ctx context.Context, call sdk.Call, p httpParams) (*http.Request, error) {
	u, err := url.Parse(p.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || len(p.URL) > 8<<10 {
		return nil, invalid("url is not one, is over 8 KiB, or holds a name or a password")
	}
	x.mu.Lock()
	s, ok := x.sites[origin(u)]
	x.mu.Unlock()
	if !ok {
		return nil, sdk.Fail("not_allowed", "the operator has not allowed the server").WithHint("set allow for http.request in actions.yaml: docs/operations.md")
	}
	body, kind, err := encoded(p.Body)
	if err != nil {
		return nil, err
	}
	u.Fragment = ""
	req, err := http.NewRequestWithContext(ctx, p.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, invalid("the request cannot be made")
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("User-Agent", "Reprieve")
	for name, v := range p.Headers {
		if !headerFits(name, v) {
			return nil, invalid("a header is none, or one that the action sets")
		}
		req.Header.Set(name, v)
	}
	if token := p.Bearer.Reveal(); token != "" {
		if !headerFits("Authorization", token) {
			return nil, invalid("a secret is no header's value")
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, v := range s.Headers {
		req.Header.Set(name, v)
	}
	sum := sha256.Sum256([]byte(call.Key))
	id, at := "msg_"+hex.EncodeToString(sum[:16]), strconv.FormatInt(call.Now.Unix(), 10)
	req.Header.Set("Idempotency-Key", id)
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", at)
	if s.key != nil {
		mac := hmac.New(sha256.New, s.key)
		fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
		req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return req, nil
}

// encoded gives the bytes of a body and their type. JSON stays as the host wrote it: read and written anew,
// a large number would not be the same.
func encoded(sent json.RawMessage) (body []byte, kind string, err error) {
	var text string
	switch {
	case len(sent) == 0 || string(sent) == "null":
		return nil, "", nil
	case json.Unmarshal(sent, &text) == nil:
		body, kind = []byte(text), "text/plain; charset=utf-8"
	default:
		body, kind = sent, "application/json"
	}
	if len(body) > maxBody {
		return nil, "", invalid("the body is over 64 KiB")
	}
	return body, kind, nil
}

// answered is the output of a step.
type answered struct {
	Status  int  `json:"status" jsonschema:"the status, 200 to 299"`
	Body    any  `json:"body,omitempty" jsonschema:"of JSON its value, of other text the text"`
	Omitted bool `json:"omitted,omitempty" jsonschema:"there was a body that a step cannot keep"`
}

// output leaves a body out that a step cannot keep.
func output(status int, body []byte) answered {
	out := answered{Status: status}
	if len(body) == 0 {
		return out
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&out.Body); err != nil || d.More() {
		out.Body = string(body)
	}
	if b, err := json.Marshal(out); err != nil || len(b) > maxBody || len(body) > maxBody || !utf8.Valid(body) {
		return answered{Status: status, Omitted: true}
	}
	return out
}

// retryAfter reads the header, a number of seconds or an instant; more than an hour counts as an hour.
func retryAfter(text string, now time.Time) time.Duration {
	var after time.Duration
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31); err == nil {
		after = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		after = at.Sub(now)
	}
	return min(max(after, 0), maxBackoff)
}
