package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// maxInput is how many bytes of the parameters of a call the journal keeps.
const maxInput = 4 << 10

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// secretWords are what a key's name holds, without case and joints, whose value looks like a secret.
var secretWords = []string{"token", "password", "passwd", "passphrase", "secret", "authorization", "apikey", "accesskey", "privatekey", "credential", "cookie"}

// secretQuery finds secrets that a text carries as a parameter of an address.
var secretQuery = regexp.MustCompile(`(?i)([?&][^=&\s]*(?:token|password|secret|api_?key|signature)[^=&\s]*=)[^&#\s]+`)

func looksSecret(key string) bool {
	key = strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(strings.ToLower(key))
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(key, w) })
}

// Redact gives JSON without what looks like a secret: the values of members that are called so, of pairs whose
// name is, of parameters of addresses, and the given texts wherever they stand. What is no JSON gives none.
func Redact(doc []byte, secrets ...string) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	out, err := json.Marshal(redact(v, secrets))
	if err != nil {
		return nil
	}
	return out
}

func redact(v any, secrets []string) any {
	switch v := v.(type) {
	case map[string]any:
		pair := false // {name: Authorization, value: …}
		for _, k := range []string{"name", "key", "header"} {
			name, ok := v[k].(string)
			pair = pair || ok && looksSecret(name)
		}
		for k, member := range v {
			if looksSecret(k) || pair && k == "value" {
				v[k] = Redacted
			} else {
				v[k] = redact(member, secrets)
			}
		}
	case []any:
		for i := range v {
			v[i] = redact(v[i], secrets)
		}
	case string:
		v = secretQuery.ReplaceAllString(v, "${1}"+Redacted)
		for _, s := range secrets {
			if s != "" {
				v = strings.ReplaceAll(v, s, Redacted)
			}
		}
		return v
	}
	return v
}

// traced gives the parameters of a call as the journal keeps them: without secrets, and not all of them if there
// are many.
func traced(params []byte, secrets ...string) (input []byte, cut bool) {
	if len(params) <= 2 { // {}: nothing was sent
		return nil, false
	}
	if input = Redact(params, secrets...); len(input) <= maxInput {
		return input, false
	}
	for n := maxInput / 2; ; n /= 2 { // as a text that holds the beginning; quoting makes it longer
		head := input[:n]
		for len(head) > 0 && !utf8.Valid(head) {
			head = head[:len(head)-1]
		}
		if text, err := json.Marshal(string(head)); err == nil && len(text) <= maxInput {
			return text, true
		}
	}
}

// trace completes the lines of the journal about the call that was made: what was sent, under which key, and
// whether anybody knows what became of it.
func (p *pending) trace(steps []crm.StepRecord) {
	for i := range steps {
		if s := &steps[i]; p.asked != nil && s.Action != "" && s.Path == p.asked.Step {
			s.Input, s.Cut = traced(p.asked.Params)
			s.Message = secretQuery.ReplaceAllString(s.Message, "${1}"+Redacted)
			s.Keyed, s.Unsure, s.Twice = p.keyed, p.unsure, p.spec.External && p.spec.Idempotent
		}
	}
}

// keys gives each call the iteration whose idempotency key it bears; only runs that were retried have several.
func (e *Engine) keys(ctx context.Context, batch []*pending) error {
	if !slices.ContainsFunc(batch, func(p *pending) bool { return p.was.Iteration > 0 }) {
		return nil
	}
	return e.store.View(ctx, func(tx *store.Tx) (err error) {
		for _, p := range batch {
			if p.keyed, err = tx.CallKey(p.was, p.call.Step); err != nil {
				return err
			}
		}
		return nil
	})
}
