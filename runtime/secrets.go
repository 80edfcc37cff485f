package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// Secrets gives an account's secret; an error if the operator has not set it. It must not keep what it read: a
// change counts from the next call.
//
// Its errors are shown: they must not repeat a secret.
type Secrets func(account, name string) (string, error)

// errNoSecrets is what an engine answers that was given none.
var errNoSecrets = errors.New("there are no secrets here")

// Secret says why a step of the account could not be sent the secret; nil if it could.
func (e *Engine) Secret(account, name string) error {
	if e.secrets == nil {
		return errNoSecrets
	}
	_, err := e.secrets(account, name)
	return err
}

// fill puts secrets into the parameters of calls on their way to the plugin. The parameters that the journal
// keeps, and all that decides, have their names only. Runs whose secret is not there wait for it at their step,
// without an attempt; they are given back beside those that can be called.
func (e *Engine) fill(ctx context.Context, batch []*pending) (ready, waiting []*pending, err error) {
	for _, p := range batch {
		wants := p.def.Nodes[p.call.Node].Secrets()
		if p.sent, p.secret = p.call.Params, nil; len(wants) == 0 {
			ready = append(ready, p)
			continue
		}
		if p.secret, err = e.read(ctx, p, wants); err != nil {
			e.complain(err, "a step waits for a secret that cannot be read")
			p.postpone(crm.Minute, "waits for the secret "+missing(wants, p.secret)+", which cannot be read: "+err.Error())
			waiting = append(waiting, p)
			continue
		}
		if p.sent, err = workflow.Fill(p.call.Params, wants, p.secret); err != nil {
			return nil, nil, err
		}
		ready = append(ready, p)
	}
	return ready, waiting, nil
}

// read reads the secrets of a call; those that it could read are given in any case.
func (e *Engine) read(ctx context.Context, p *pending, wants []workflow.Secret) (map[string]string, error) {
	name := ""
	if err := e.store.View(ctx, func(tx *store.Tx) error {
		acc, err := tx.Account(p.was.Account)
		if err == nil {
			name = acc.Name
		}
		return err
	}); err != nil {
		return nil, err
	}
	values := map[string]string{}
	var missing error
	for _, s := range wants {
		err := errNoSecrets
		var v string
		if e.secrets != nil {
			v, err = e.secrets(name, s.Name)
		}
		if err != nil {
			missing = err
			continue
		}
		values[s.Name] = v
	}
	return values, missing
}

func missing(wants []workflow.Secret, have map[string]string) string {
	for _, s := range wants {
		if _, ok := have[s.Name]; !ok {
			return s.Name
		}
	}
	return ""
}

// hush takes the secrets that a call was sent out of what came back, should a plugin repeat them.
func (p *pending) hush(o plugins.Outcome) plugins.Outcome {
	for _, v := range p.secret {
		if v == "" {
			continue
		}
		o.Message = strings.ReplaceAll(o.Message, v, Redacted)
		if strings.Contains(o.Code, v) { // it is kept and shown in the open
			o.Code = codeHushed
		}
		o.Output = hushJSON(o.Output, v)
		for i := range o.Effects {
			ef := &o.Effects[i]
			for _, text := range []*string{&ef.Tag, &ef.Field, &ef.Reason, &ef.Object, &ef.Title, &ef.Body, &ef.Channel, &ef.Value.Text} {
				*text = strings.ReplaceAll(*text, v, Redacted)
			}
			for j := range ef.Value.List {
				ef.Value.List[j] = strings.ReplaceAll(ef.Value.List[j], v, Redacted)
			}
		}
	}
	return o
}

// codeHushed stands for a code that had a secret in it.
const codeHushed = "redacted"

// hushJSON takes a secret out of JSON, however it is escaped there; what has none stays as it is, byte by byte.
func hushJSON(doc []byte, secret string) []byte {
	if len(doc) == 0 {
		return doc
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	found := false
	text := func(s string) string {
		found = found || strings.Contains(s, secret)
		return strings.ReplaceAll(s, secret, Redacted)
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return text(v)
		case json.Number:
			if s := text(v.String()); s != v.String() {
				return s
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			out := make(map[string]any, len(v))
			for k, member := range v {
				out[text(k)] = walk(member)
			}
			return out
		}
		return v
	}
	if v = walk(v); !found {
		return doc
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return out
}
