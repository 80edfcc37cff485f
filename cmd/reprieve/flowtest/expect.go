package flowtest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// state is what there is of a contact.
type state struct {
	contact *crm.Contact
	life    crm.Life
	runs    []crm.Run // in the order in which they were started
}

func (b *bench) state(tx *store.Tx, k crm.Key) (s state, err error) {
	if s.contact, s.life, err = tx.Peek(k); err != nil {
		return s, err
	}
	if s.contact == nil {
		s.contact = &crm.Contact{}
	}
	if s.runs, err = tx.RunsOf(k); err == nil {
		slices.SortFunc(s.runs, func(a, b crm.Run) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	}
	return s, err
}

// told gives a run's status and reason as people are told them.
func told(tx *store.Tx, r *crm.Run, life crm.Life) (status crm.RunStatus, reason string, err error) {
	status, reason = r.StatusFor(life), r.Reason
	if status == crm.RunCancelled && status != r.Status {
		reason = r.WhyCancelled()
	}
	if reason != "" || !status.Finished() {
		return status, reason, nil
	}
	steps, err := tx.Steps(r.ID)
	for _, s := range steps {
		if s.Path == r.Step && s.Action == "" {
			reason = s.Message
		}
	}
	return status, reason, err
}

// expect compares, and notes all that does not hold.
func (b *bench) expect(it *workflow.TestItem) error {
	x := it.Expect
	differ := func(what, expected, got string) {
		b.failed = append(b.failed, Failure{Line: it.Line, What: what, Expected: expected, Got: got})
	}
	return b.store.View(b.ctx, func(tx *store.Tx) error {
		s, err := b.state(tx, b.people[it.Contact])
		if err != nil {
			return err
		}
		if x.Runs != nil && *x.Runs != len(s.runs) {
			differ("runs", fmt.Sprint(*x.Runs), fmt.Sprint(len(s.runs)))
		}
		if x.Run != nil {
			if err := b.expectRun(tx, x.Run, s, differ); err != nil {
				return err
			}
		}
		if got := b.acts.calls(); x.Actions != nil && !slices.Equal(*x.Actions, got) {
			differ("actions", "["+strings.Join(*x.Actions, ", ")+"]", "["+strings.Join(got, ", ")+"]")
		}
		for i := range x.Contacts {
			s, err := b.state(tx, b.people[x.Contacts[i].ID])
			if err != nil {
				return err
			}
			b.expectContact(&x.Contacts[i], s, differ)
		}
		return nil
	})
}

func (b *bench) expectRun(tx *store.Tx, x *workflow.ExpectRun, s state, differ func(what, expected, got string)) error {
	if len(s.runs) == 0 {
		differ("run", strings.TrimSpace(strings.Join([]string{x.Status, x.Step, x.Reason}, " ")), "no run was started")
		return nil
	}
	r := &s.runs[len(s.runs)-1]
	status, reason, err := told(tx, r, s.life)
	for _, c := range [][3]string{{"run.status", x.Status, string(status)}, {"run.step", x.Step, r.Step}, {"run.reason", x.Reason, reason}} {
		if c[1] != "" && c[1] != c[2] {
			differ(c[0], c[1], c[2])
		}
	}
	return err
}

func (b *bench) expectContact(x *workflow.ExpectContact, s state, differ func(what, expected, got string)) {
	name := func(what string) string {
		if len(b.test.Contacts) > 1 {
			return x.ID + "." + what
		}
		return "contact." + what
	}
	is := func(what string, want *bool, got bool) {
		if want != nil && *want != got {
			differ(name(what), fmt.Sprint(*want), fmt.Sprint(got))
		}
	}
	is("deleted", x.Deleted, s.life.State != crm.Live)
	is("purged", x.Purged, s.life.State == crm.Purged)
	is("archived", x.Archived, s.contact.Archived.On)
	tags := "[" + strings.Join(s.contact.TagNames(), ", ") + "]"
	for _, tag := range x.Tags {
		if !s.contact.HasTag(tag) {
			differ(name("tags"), "has "+tag, tags)
		}
	}
	for _, tag := range x.NotTags {
		if s.contact.HasTag(tag) {
			differ(name("not_tags"), "has no "+tag, tags)
		}
	}
	for field, want := range x.Fields {
		if got := s.contact.Field(field); !got.Equal(want) {
			differ(name("fields."+field), shown(want), shown(got))
		}
	}
	for list, want := range x.Lists {
		var got crm.Status
		if m := s.contact.Membership(b.objects[crm.List.String()+" "+crm.Fold(list)]); m != nil && !m.Absent {
			got = m.Status
		}
		if got != want {
			differ(name("lists."+list), orNone(string(want)), orNone(string(got)))
		}
	}
}

// shown gives a value with its kind, so that the text 3 and the number 3 do not look alike.
func shown(v crm.Value) string {
	if v.Kind == crm.NoValue {
		return "none"
	}
	return fmt.Sprintf("%s (%s)", v.String(), v.Kind)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// traced gives what happened in order: what the case did, what the steps of its runs came to, and what the
// engine had to say.
func (b *bench) traced() ([]string, error) {
	all := slices.Clone(b.trace)
	err := b.store.View(b.ctx, func(tx *store.Tx) error {
		all = slices.Clone(b.trace)
		for _, t := range b.test.Contacts {
			s, err := b.state(tx, b.people[t.ID])
			if err != nil {
				return err
			}
			for i := range s.runs {
				if err := b.traceRun(tx, t.ID, i, &s.runs[i], s.life, &all); err != nil {
					return err
				}
			}
		}
		return nil
	})
	slices.SortStableFunc(all, func(x, y line) int { return int(max(-1, min(1, x.at-y.at))) })
	out := make([]string, len(all))
	for i, l := range all {
		out[i] = "+" + (l.at - b.start).Days() + "  " + l.text
	}
	return append(out, b.said()...), err
}

func (b *bench) traceRun(tx *store.Tx, contact string, i int, r *crm.Run, life crm.Life, all *[]line) error {
	name := fmt.Sprintf("run %d of %s", i+1, contact)
	*all = append(*all, line{r.StartedAt, name + " starts by the trigger " + r.Trigger})
	steps, err := tx.Steps(r.ID)
	if err != nil {
		return err
	}
	for _, s := range steps {
		text := strings.Join(strings.Fields(fmt.Sprintf("%s: %s %s %s %s %s", name, s.Path, s.Action, s.Status, s.Code, s.Message)), " ")
		*all = append(*all, line{s.At, text})
	}
	status, reason, err := told(tx, r, life)
	text := fmt.Sprintf("%s is %s at %s", name, status, r.Step)
	if reason != "" {
		text += ": " + reason
	}
	if r.Due != 0 && !status.Finished() {
		text += ", due +" + (r.Due - b.start).Days()
	}
	*all = append(*all, line{b.now(), text})
	return err
}
