package triggers

import (
	"errors"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// Env is what an expression is evaluated on. It is read, never written, and not kept.
type Env struct {
	Event     *crm.Event
	Contact   *crm.Contact
	Life      crm.Life
	Tombstone *crm.Manifest // nil for a live contact
	Run       RunInfo
	Error     ErrorInfo           // of the step that failed last, for a handler
	Started   map[string]any      // what event.* is in steps, as Started gave it and JSON kept it
	Steps     map[string]StepInfo // by step id; a step that has not run is not there
	Now       crm.Nanos
	ListName  func(crm.ItemID) string // nil: a list is named by its id's text; "": the list is gone, and nobody is on it

	// Unknown is for simulations, else nil: what a path below run, steps or event, "steps.mail.output.id" say, depends on
	// that nobody knows yet; "" if it is known. What reads such a path gives an Unknown, and a template its name in ‹›.
	Unknown func(e *Env, path string) string
}

// RunInfo is what an expression sees of its run.
type RunInfo struct {
	ID, Workflow, Trigger string
	StartedAt             crm.Nanos
}

// ErrorInfo is what a handler sees of a failure. The message may be a plugin's words about the contact.
type ErrorInfo struct{ Step, Code, Message string }

// StepInfo is what an expression sees of a step that has run.
type StepInfo struct {
	Status string
	Output any // decoded JSON: nil, bool, float64, string, []any, map[string]any
}

// The bounds of one evaluation. What is over a bound is refused, never cut: a condition on half a
// list would silently answer a different question.
const (
	maxText = 64 << 10 // bytes of a text that an expression reads or makes
	maxList = 1000     // elements of a list or map that it reads as a whole
	maxWork = 1 << 20  // bytes that the functions of one evaluation look at, all together
)

// evalError is an error of our own in an evaluation; unlike expr's, its text repeats no value.
type evalError struct{ error }

func refuse(text string) error { return evalError{errors.New(text)} }

var (
	errText    = refuse("a text is longer than 64 KiB")
	errList    = refuse("a list has more than 1000 elements")
	errWork    = refuse("the expression would take too much work on these values")
	errNoEvent = refuse("there is no event to look at")
	errNobody  = refuse("there is no contact to look at")
)

// meter counts the work of one evaluation, since expr can neither be cancelled nor told a budget
// for what its functions do.
type meter struct{ left int }

func (m *meter) spend(n int) error {
	if m.left -= n + 16; m.left < 0 {
		return errWork
	}
	return nil
}

// checkSize refuses what is too large to be looked at.
func checkSize(v any) error {
	switch v := v.(type) {
	case string:
		if len(v) > maxText {
			return errText
		}
	case []string:
		return checkList(v)
	case []any:
		if len(v) > maxList {
			return errList
		}
	case map[string]any:
		return checkMap(v)
	}
	return nil
}

func checkList(v []string) error {
	if len(v) > maxList {
		return errList
	}
	total := 0
	for _, s := range v {
		total += len(s)
	}
	if total > maxText {
		return errText
	}
	return nil
}

func checkMap(v map[string]any) error {
	if len(v) > maxList {
		return errList
	}
	total := 0
	for k, v := range v {
		total += len(k)
		switch v := v.(type) {
		case string:
			total += len(v)
		case []string:
			if err := checkList(v); err != nil {
				return err
			}
			for _, s := range v {
				total += len(s)
			}
		}
	}
	if total > 4*maxText {
		return errText
	}
	return nil
}

func (e *Env) listKey(id crm.ItemID) string {
	if e.ListName != nil {
		return e.ListName(id)
	}
	return id.String()
}

// onList gives the status on the list of that folded name, nil if the contact is not on it.
func (e *Env) onList(folded string) any {
	for _, m := range e.Contact.Lists {
		if name := e.listKey(m.List); !m.Absent && name != "" && crm.Fold(name) == folded {
			return string(m.Status)
		}
	}
	return nil
}

func (e *Env) lists() any {
	all := make(map[string]any, len(e.Contact.Lists))
	for _, m := range e.Contact.Lists {
		if name := e.listKey(m.List); !m.Absent && name != "" {
			all[crm.Fold(name)] = string(m.Status)
		}
	}
	return all
}

func (e *Env) fields() any {
	all := make(map[string]any, len(e.Contact.Fields))
	for _, f := range e.Contact.Fields {
		if !f.Absent {
			all[f.Name] = f.Value.Any()
		}
	}
	return all
}

func (e *Env) dnd() any {
	all := make(map[string]any, len(e.Contact.DND))
	for _, d := range e.Contact.DND {
		all[crm.Fold(d.Name)] = d.On
	}
	return all
}

// textField gives a field as text, "" if it is missing or of another kind.
func (e *Env) textField(name string) string { return e.Contact.Field(name).Text }

func (e *Env) fullName() string {
	return strings.TrimSpace(e.textField("first_name") + " " + e.textField("last_name"))
}
