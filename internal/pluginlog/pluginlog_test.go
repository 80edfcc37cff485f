package pluginlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rs/zerolog"
)

func lines(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for l := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		all = append(all, m)
	}
	return all
}

func TestLines(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, level, message string }{
		{"slog", `{"time":"x","level":"WARN","msg":"m","a":1}`, "warn", "m"},
		{"zerolog", `{"level":"error","message":"m"}`, "error", "m"},
		{"hclog", `{"@level":"info","@message":"m"}`, "info", "m"},
		{"the line that panics go-plugin", `{"@message": 5}`, "debug", ""},
		{"level of no word", `{"level":{},"msg":"m"}`, "debug", "m"},
		{"fatal ends nothing", `{"level":"fatal","msg":"m"}`, "error", "m"},
		{"text", `plain`, "info", "plain"},
		{"cut JSON", `{"level":"error"`, "info", `{"level":"error"`},
		{"panic", `panic: oh`, "error", "panic: oh"},
		{"not UTF-8", "a\xffb", "info", "a\uFFFDb"},
		{"poses as the host", `{"plugin":"other","stream":"x","level":"info","msg":"m"}`, "info", "m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := NewSink(zerolog.New(&out).With().Str("plugin", "p").Logger(), time.Now)
			w := s.Stream("stderr")
			for i := range len(tt.in) { // in pieces
				if _, err := w.Write([]byte{tt.in[i]}); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			s.Close()
			got := lines(t, &out)
			if len(got) != 1 {
				t.Fatalf("logged %v", got)
			}
			l := got[0]
			if l["level"] != tt.level || l["message"] != tt.message && tt.message != "" || l["plugin"] != "p" || l["stream"] != "stderr" {
				t.Errorf("logged %v", l)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	s := NewSink(zerolog.New(&out), func() time.Time { return now })
	w := s.Stream("stderr")
	long := bytes.Repeat([]byte("x"), 3*MaxLine)
	_, _ = w.Write(append(long, '\n'))
	if got := lines(t, &out); len(got) != 1 || len(got[0]["message"].(string)) != MaxLine || got[0]["cut"] != true {
		t.Fatal("a long line was not cut")
	}
	out.Reset()
	line := append(bytes.Repeat([]byte("y"), 1023), '\n')
	for range 3 * MaxMinute / 1024 {
		_, _ = w.Write(line)
	}
	if out.Len() > 2*MaxMinute {
		t.Fatalf("%d bytes were kept in a minute", out.Len())
	}
	out.Reset()
	now = now.Add(time.Minute)
	_, _ = w.Write(line)
	got := lines(t, &out)
	if len(got) != 2 || got[0]["bytes"] == nil || got[1]["message"] == nil {
		t.Fatalf("the next minute logged %v", got)
	}
	out.Reset()
	if s.Close(); out.Len() > 0 {
		t.Errorf("what was dropped is reported twice: %s", out.String())
	}
}

func TestHCLogIsOff(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := HCLog(zerolog.New(&out))
	if l.Named("x").GetLevel() != hclog.Off {
		t.Error("go-plugin would parse the plugin's lines")
	}
	l.Named("x").Error("unseen")
	l.With("a", 1).Error("ended", "b", []int{2})
	got := lines(t, &out)
	if len(got) != 1 || got[0]["level"] != "debug" || fmt.Sprint(got[0]["fields"]) != "map[a:1 b:[2]]" {
		t.Errorf("logged %v", got)
	}
}

func FuzzStream(f *testing.F) {
	for _, s := range []string{`{"@message": 5}`, "{\n}\n", `{"level":[],"msg":{}}`, "\x00\xff\n", "panic: "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		s := NewSink(zerolog.New(&out).With().Str("plugin", "p").Logger(), time.Now)
		w := s.Stream("stdout")
		if n, err := w.Write(in); n != len(in) || err != nil {
			t.Fatal(n, err)
		}
		w.Close()
		s.Close()
		for _, l := range lines(t, &out) {
			if l["plugin"] != "p" || l["level"] == "fatal" || l["level"] == "panic" {
				t.Fatalf("logged %v", l)
			}
		}
	})
}
