package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
)

// A secret reaches the plugin and nothing else: not the journal, the log, the contact or a later step, even if the
// plugin repeats it everywhere. A step whose secret is not set waits for it.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const hush = `h"ush\häußlich`
	s := newScene(t, 120)
	got, set := []string{}, false
	say := func(_ context.Context, it plugins.Item) plugins.Outcome {
		got = append(got, string(it.Params))
		return plugins.Outcome{Status: plugins.Done, Message: "I know " + hush, Output: fmt.Appendf(nil, "{\"all\": %q, \"said\": %s}", hush, it.Params),
			Effects: []plugins.Effect{{Kind: plugins.EffectAddTag, Tag: "got " + hush}}}
	}
	s.acts.add(plugins.Spec{Action: "say", Effects: []plugins.EffectKind{plugins.EffectAddTag}}, say)
	s.acts.add(plugins.Spec{Action: "call", External: true, Idempotent: true, Effects: []plugins.EffectKind{plugins.EffectAddTag}}, say)
	s.secrets = func(account, name string) (string, error) {
		if account != "test" || name != "crm" || !set {
			return "", errors.New("not set")
		}
		return hush, nil
	}
	s.restart()
	s.workflow("w", `
triggers: [{id: tagged, event: contact.tag_added, if: event.tag == "go"}]
steps:
  - {id: one, action: say, with: {token: "${ secrets.crm }", in: [{deep: "${secrets.crm}"}, "${ contact.id }"]}}
  - {id: two, action: call, with: {token: "${ secrets.crm }", had: "${ steps.one.output.all }"}}
`)
	s.tag("go")
	s.settle()
	s.expect("it waits", s.runs(s.k), []string{"w active one waits for the secret crm, which cannot be read: not set"})
	s.expect("nobody was called", len(got), 0)
	set = true
	s.pass(day(1))
	s.expect("then", s.runs(s.k), []string{"w completed two"})
	if len(got) != 2 || strings.Count(got[0], `h\"ush`) != 2 || !strings.Contains(got[0], s.k.Contact.String()) || strings.Count(got[1], `h\"ush`) != 1 {
		t.Fatalf("the plugin got %q", got)
	}
	s.view(func(tx *store.Tx) error {
		steps, err := tx.Steps(s.only(tx).ID)
		if err != nil {
			return err
		}
		for _, st := range steps {
			if all := fmt.Sprintf("%+v %s %s", st, st.Input, st.Output); strings.Contains(all, "ush") {
				t.Errorf("the journal has it: %s", all)
			}
			if st.Path == "one" && !bytes.Contains(st.Input, []byte("${ secrets.crm }")) && !bytes.Contains(st.Input, []byte(Redacted)) {
				t.Errorf("the journal does not say where it was: %s", st.Input)
			}
		}
		c, _, err := tx.Peek(s.k)
		if err != nil {
			return err
		}
		s.expect("the contact", c.TagNames(), []string{"go", "got [redacted]"})
		events, _, err := tx.Events(nil, 500)
		for _, l := range events {
			if all := fmt.Sprintf("%+v", l.Event); strings.Contains(all, "ush") {
				t.Errorf("the log has it: %s", all)
			}
		}
		return err
	})
}
