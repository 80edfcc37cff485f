// Package pluginlog brings what plugins write into the host's log.
//
// It must never believe a line: what a plugin writes is bounded in length and rate, cannot pose as
// a line of the host's own, and is never parsed by go-plugin, whose parser panics on
// {"@message": 5}.
package pluginlog

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// The bounds, in bytes.
const (
	MaxLine   = 16 << 10 // of one line; the rest of it is dropped and counted
	MaxMinute = 1 << 20  // of all streams of one sink in a minute; the rest is dropped and counted
)

// Sink takes all that one plugin process writes.
type Sink struct {
	log zerolog.Logger
	now func() time.Time

	mu      sync.Mutex
	since   time.Time // when the current minute began
	kept    int
	dropped int
}

// NewSink makes a sink. The logger should carry the plugin's name; now is the clock of the rate.
func NewSink(log zerolog.Logger, now func() time.Time) *Sink {
	return &Sink{log: log, now: now, since: now()}
}

// Stream gives a writer for one of the process's streams. It never fails and never blocks on
// anything but the log; Close writes the last line if it has no end.
func (s *Sink) Stream(name string) io.WriteCloser { return &stream{sink: s, name: name} }

// Close reports what was dropped and not reported yet.
func (s *Sink) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report()
}

// admit says whether n more bytes are within the rate.
func (s *Sink) admit(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.since) >= time.Minute {
		s.report()
		s.since, s.kept = now, 0
	}
	if s.kept+n > MaxMinute {
		s.dropped += n
		return false
	}
	s.kept += n
	return true
}

func (s *Sink) drop(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped += n
}

func (s *Sink) report() {
	if s.dropped > 0 {
		s.log.Warn().Int("bytes", s.dropped).Msg("the plugin wrote more than the log keeps: the rest was dropped")
		s.dropped = 0
	}
}

// stream cuts what it is given into lines.
type stream struct {
	sink *Sink
	name string

	mu   sync.Mutex
	line []byte
	full bool // the current line is over MaxLine
}

func (w *stream) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		if room := MaxLine - len(w.line); len(part) > room {
			w.sink.drop(len(part) - room)
			part, w.full = part[:room], true
		}
		w.line = append(w.line, part...)
		if ended {
			w.flush()
		}
		p = rest
	}
	return n, nil
}

func (w *stream) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return nil
}

func (w *stream) flush() {
	line := bytes.TrimSpace(w.line)
	cut := w.full
	w.line, w.full = w.line[:0], false
	if len(line) > 0 && w.sink.admit(len(line)) {
		w.emit(line, cut)
	}
}

// emit logs one line. The plugin's own keys go under "fields", so that none can pose as ours.
func (w *stream) emit(line []byte, cut bool) {
	level, msg, fields := parse(line)
	e := w.sink.log.WithLevel(level).Str("stream", w.name)
	if cut {
		e = e.Bool("cut", true)
	}
	if len(fields) > 0 {
		e = e.Interface("fields", fields)
	}
	e.Msg(msg)
}

// parse reads a line as slog, zerolog or hclog write JSON, and takes any other as it is.
func parse(line []byte) (zerolog.Level, string, map[string]json.RawMessage) {
	var m map[string]json.RawMessage
	if line[0] != '{' || json.Unmarshal(line, &m) != nil {
		return plainLevel(string(line)), string(bytes.ToValidUTF8(line, []byte("\uFFFD"))), nil
	}
	text := func(keys ...string) string {
		for _, k := range keys {
			var s string
			if raw, ok := m[k]; ok && json.Unmarshal(raw, &s) == nil {
				delete(m, k)
				return s
			}
		}
		return ""
	}
	level := levels[strings.ToLower(text("level", "@level"))]
	msg := text("msg", "message", "@message")
	text("time", "@timestamp")
	return level, msg, m
}

// levels maps words to levels; the zero value, an unknown word, is debug. A plugin cannot end the
// host: fatal and panic are errors here.
var levels = map[string]zerolog.Level{
	"trace": zerolog.TraceLevel, "debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel,
	"error": zerolog.ErrorLevel, "fatal": zerolog.ErrorLevel, "panic": zerolog.ErrorLevel,
}

func plainLevel(line string) zerolog.Level {
	if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		return zerolog.ErrorLevel
	}
	return zerolog.InfoLevel
}
