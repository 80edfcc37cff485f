package actions

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

const testSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

// toLoopback is the action with the one difference that it may connect to this machine; no configuration
// can say that.
func toLoopback(t *testing.T, config string) sdk.Action {
	t.Helper()
	x := newRequester(netip.Addr.IsLoopback)
	t.Cleanup(x.client.CloseIdleConnections)
	a := x.action()
	if err := a.Configure([]byte(config)); err != nil {
		t.Fatal(err)
	}
	return a
}

func allow(server *httptest.Server, more string) string {
	return fmt.Sprintf(`{"allow":{%q:{%s}}}`, server.URL, more)
}

func request(params string) step {
	return step{sdk.Call{Key: "run/step/0", Now: noon, Targets: []sdk.Target{{ID: "con_x", State: sdk.Live}}}, json.RawMessage(params)}
}

// A server that holds the action to Standard Webhooks gets the same id and a true signature at each attempt.
func TestRequest(t *testing.T) {
	t.Parallel()
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
		if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || r.Header.Get("webhook-timestamp") != fmt.Sprint(noon.Unix()) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		seen = append(seen, r.Header.Get("Idempotency-Key"))
		if len(seen) == 1 {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"method":%q,"path":%q,"type":%q,"auth":%q,"x":%q,"sent":%s}`, r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header.Get("X-A"), body)
	}))
	defer server.Close()
	a := toLoopback(t, allow(server, `"secret":"`+testSecret+`","headers":{"Authorization":"Bearer b"}`))
	in := request(`{"method":"POST","url":"` + server.URL + `/hook?a=b#c","headers":{"X-A":"1","authorization":"mine"},"body":{"id":9007199254740993,"t":"<é>"}}`)
	dry := in
	dry.DryRun = true
	if r, err := decide(a, dry); err != nil || r.Skipped == "" || len(seen) > 0 {
		t.Fatal("a dry run", r, err, seen)
	}
	var again *sdk.RetryError
	if _, err := decide(a, in); !errors.As(err, &again) || again.After != 7*time.Second {
		t.Fatal(err)
	}
	r, err := decide(a, in)
	if err != nil || len(seen) != 2 || seen[0] != seen[1] || seen[0] == "" || strings.Contains(seen[0], "run") {
		t.Fatal(r, err, seen)
	}
	got := r.Output
	want := `{"status":200,"body":{"auth":"Bearer b","method":"POST","path":"/hook?a=b","sent":{"id":9007199254740993,"t":"<é>"},"type":"application/json","x":"1"}}`
	if string(got) != strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(want) {
		t.Errorf("%s", got)
	}
	other := in
	other.Key = "run/step/1"
	if _, err := decide(a, other); err != nil || seen[2] == seen[1] {
		t.Error("two steps have one key", err)
	}
}

// A secret is sent as a bearer token, and never over the operator's own header.
func TestBearer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Header.Get("Authorization")) }))
	defer server.Close()
	in := request(`{"method":"GET","url":"` + server.URL + `","bearer":"hush"}`)
	for settings, want := range map[string]string{"": `"Bearer hush"`, `"headers":{"Authorization":"Basic b"}`: `"Basic b"`} {
		r, err := decide(toLoopback(t, allow(server, settings)), in)
		if got := r.Output; err != nil || !strings.Contains(string(got), want) {
			t.Error(string(got), err)
		}
	}
	in = request(`{"method":"GET","url":"` + server.URL + `","bearer":"a\r\nX-A: 1"}`)
	if _, err := decide(toLoopback(t, allow(server, "")), in); err == nil || strings.Contains(err.Error(), "X-A") {
		t.Error("a header was smuggled in:", err)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; path {
		case "/text":
			_, _ = io.WriteString(w, "fine")
		case "/large":
			_, _ = io.WriteString(w, `"`+strings.Repeat("x", maxBody)+`"`)
		case "/grows": // fits, and as JSON it does not
			_, _ = io.WriteString(w, strings.Repeat("\x01", maxBody/2))
		case "/bytes":
			_, _ = w.Write([]byte{0xff, 0xfe})
		case "/away":
			http.Redirect(w, r, other.URL+"/", http.StatusTemporaryRedirect)
		case "/own":
			http.Redirect(w, r, "/text", http.StatusFound)
		case "/dies":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		default:
			var status int
			_, _ = fmt.Sscanf(path, "/%d", &status)
			w.WriteHeader(status)
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer server.Close()
	a := toLoopback(t, allow(server, ""))
	for path, want := range map[string]string{
		"/text": `{"status":200,"body":"fine"}`, "/204": `{"status":204}`, "/large": `{"status":200,"omitted":true}`, "/grows": `{"status":200,"omitted":true}`,
		"/bytes": `{"status":200,"omitted":true}`, "/away": "http_307", "/own": "http_302", "/dies": "retry", "/half": "retry",
		"/400": "http_400", "/404": "http_404", "/410": "http_410", "/408": "retry", "/425": "retry", "/429": "retry", "/500": "retry", "/503": "retry",
	} {
		r, err := decide(a, request(`{"method":"GET","url":"`+server.URL+path+`"}`))
		got := code(err)
		if err == nil {
			got = string(r.Output)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		if err != nil && strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: the address is repeated: %v", path, err)
		}
	}
	if elsewhere.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

// What the operator has not allowed is not asked, however it is written.
func TestRequestIsRefused(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	a := toLoopback(t, `{"allow":{"https://example.com":{},"http://127.0.0.1:1":{}}}`)
	for url, want := range map[string]string{
		server.URL: "not_allowed", "http://localhost" + port: "not_allowed", "http://example.com": "not_allowed", "https://example.com:444": "not_allowed",
		"https://example.com.evil.test": "not_allowed", "https://evil.test/example.com": "not_allowed", "https://evil.test#@example.com": "not_allowed",
		"https://evil.test\\@example.com": "invalid_params", "https://example.com@127.0.0.1" + port: "invalid_params", "https://a:b@example.com": "invalid_params",
		"//example.com/": "invalid_params", "example.com": "invalid_params", "": "invalid_params", "file:///etc/passwd": "invalid_params", "gopher://example.com": "invalid_params",
	} {
		params, _ := json.Marshal(map[string]string{"method": "GET", "url": url})
		if _, err := decide(a, request(string(params))); code(err) != want {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
	a = toLoopback(t, allow(server, ""))
	for _, more := range []string{`"headers":{"Host":"x"}`, `"headers":{"idempotency-key":"x"}`, `"headers":{"webhook-signature":"x"}`, `"headers":{"a":"b\r\nc: d"}`,
		`"headers":{"a b":"c"}`, `"headers":{"":"c"}`, `"headers":{"Transfer-Encoding":"chunked"}`, `"body":"` + strings.Repeat("x", maxBody+1) + `"`} {
		if _, err := decide(a, request(`{"method":"POST","url":"`+server.URL+`",`+more+`}`)); code(err) != "invalid_params" {
			t.Errorf("%.60s: %v", more, err)
		}
	}
	for _, c := range []string{`{"allow":{"example.com":{}}}`, `{"allow":{"https://example.com/path":{}}}`, `{"allow":{"https://a@example.com":{}}}`, `{"allow":{"ftp://example.com":{}}}`,
		`{"allow":{"https://example.com":{"secret":"plain"}}}`, `{"allow":{"https://example.com":{"secret":"whsec_AAAA"}}}`, `{"allow":{"https://example.com":{"headers":{"Host":"x"}}}}`,
		`{"allow":{"https://example.com":{"private":true}}}`, `{"insecure":true}`, `[]`} {
		x := httpRequest()
		if err := x.Configure([]byte(c)); err == nil {
			t.Errorf("%s was taken", c)
		} else if strings.Contains(err.Error(), "plain") || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("the secret is repeated: %v", err)
		}
	}
	if hits.Load() > 0 {
		t.Errorf("the server was asked %d times", hits.Load())
	}
}

// The action as it is shipped connects to no address inside, even if the operator allowed the name: the
// address is looked at when it is connected to, so it does not matter what the name said before.
func TestRequestStaysOutside(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, at := range []string{server.URL, "http://localhost" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port} {
		a := httpRequest()
		if err := a.Configure([]byte(`{"allow":{"` + at + `":{}}}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := decide(a, request(`{"method":"GET","url":"`+at+`"}`)); code(err) != "not_public" {
			t.Errorf("%s: %v", at, err)
		}
	}
	if hits.Load() > 0 {
		t.Errorf("the server was asked %d times", hits.Load())
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "172.32.0.1": true, "100.63.255.255": true,
		"127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "100.100.100.200": false, "198.18.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "192.0.0.192": false,
		"::": false, "::1": false, "fe80::1": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "::7f00:1": false, "64:ff9b::a9fe:a9fe": false,
		"2002:7f00:1::": false, "2001:0:4136:e378::1": false, "2001:db8::1": false, "fec0::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:8.8.8.8": true,
	} {
		if got := public(netip.MustParseAddr(text).Unmap()); got != want {
			t.Errorf("%s is public: %t", text, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": 0, "5": 5 * time.Second, "-5": 0, "99999999": time.Hour, "soon": 0, "99999999999999999999": 0,
		noon.Add(time.Minute).Format(http.TimeFormat): time.Minute, noon.Add(-time.Minute).Format(http.TimeFormat): 0, noon.AddDate(9, 0, 0).Format(http.TimeFormat): time.Hour} {
		if got := retryAfter(text, noon); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
