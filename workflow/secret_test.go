package workflow

import "testing"

// A field, a text or a status that sounds like something else is what it is.
func TestNamesThatSoundLikeSecrets(t *testing.T) {
	t.Parallel()
	src := "version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nsteps: [{id: a, action: log.write, with: {text: \"${ contact.fields.secrets } and ${ \\\"trade secrets\\\" }\"}}]\nend: true\n"
	if _, err := Parse("w.yaml", []byte(src)); err != nil {
		t.Error(err)
	}
	src = "version: 1\nid: w\ntriggers: [{id: t, event: contact.created}]\nrun: {mode: queued}\nsteps: [{id: a, wait: 1d}]\ntests: [{name: q, send: {event: contact.created}, expect: {run: {status: queued}}}]\nend: true\n"
	if _, err := Parse("w.yaml", []byte(src)); err != nil {
		t.Error(err)
	}
}
