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
type Secrets func(account, name string) (string, error)

// errNoSecrets is what an engine answers that was given none.
var errNoSecrets = errors.New("there are no secrets here")

// HasSecret says whether a step of the account would be sent the secret.
func (e *Engine) HasSecret(account, name string) bool {
	if e.secrets == nil {
		return false
	}
	_, err := e.secrets(account, name)
	return err == nil
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
			p.postpone(crm.Minute, "waits for a secret that is not set: "+missing(wants, p.secret))
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
		if in, err := json.Marshal(v); err == nil {
			o.Output = bytes.ReplaceAll(o.Output, in[1:len(in)-1], []byte(Redacted))
		}
		for i := range o.Effects {
			ef := &o.Effects[i]
			for _, text := range []*string{&ef.Tag, &ef.Reason, &ef.Title, &ef.Body, &ef.Value.Text} {
				*text = strings.ReplaceAll(*text, v, Redacted)
			}
		}
	}
	return o
}
