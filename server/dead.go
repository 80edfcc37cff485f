package server

import (
	"bytes"
	"encoding/json"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

// eachEnded yields the runs that are over, or failed, in the order in which they ended. It goes through the
// index of what ended, from an instant on, a thousand to a View: what it costs is what ended since, not what
// there is. A run whose journal retention has removed is not among them.
func eachEnded(c *call, q RunList, yield func(*crm.Run, crm.RunStatus)) error {
	var acc crm.AccountID
	if err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		a, err := theAccount(tx)
		if err == nil {
			acc = a.ID
		}
		return err
	}); err != nil {
		return err
	}
	since := q.Since
	if since == 0 {
		since = -1 << 63
	}
	for after := (*store.Ended)(nil); ; {
		var page []store.Ended
		var runs []crm.Run
		if err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
			runs = runs[:0]
			if page, err = tx.EndedRuns(acc, since, after, 1<<63-1, 1000); err != nil {
				return err
			}
			for _, e := range page {
				if e.Bare || q.Status != "" && e.Status != q.Status || q.Workflow != "" && e.Workflow != q.Workflow || q.Code != "" && e.Code != q.Code {
					continue
				}
				r, err := tx.Run(e.Run)
				if err != nil {
					return err
				}
				if r != nil {
					runs = append(runs, *r)
				}
			}
			return nil
		}); err != nil || len(page) == 0 {
			return err
		}
		for i := range runs {
			yield(&runs[i], runs[i].Status)
		}
		after = &page[len(page)-1]
	}
}

// RunRetry lets a run go on that failed or was cancelled.
type RunRetry struct {
	Run     crm.RunID `json:"run"`
	From    string    `json:"from,omitempty"`    // a step that it has been at; "": the one that failed
	Current bool      `json:"current,omitempty"` // at the revision that is applied now, not at its own
	Force   bool      `json:"force,omitempty"`   // also if a call of which nobody knows whether it was made is made again
}

// applied gives the revision of a run's workflow that is applied now, "" if it is deleted.
func applied(tx *store.Tx, r *crm.Run) (string, error) {
	w, err := tx.Workflow(r.Account, r.Workflow)
	if err != nil {
		return "", err
	}
	return w.Active, nil
}

func runRetry(c *call, q RunRetry) (RunView, error) {
	const op = "retry a run"
	var v RunView
	if err := c.Store.View(c.ctx, func(tx *store.Tx) error { // also who names no run that there is
		acc, err := theAccount(tx)
		if err != nil {
			return err
		}
		return c.allow(acc, op, crm.VerbResume)
	}); err != nil {
		return v, err
	}
	how := store.Retry{Step: q.From, Force: q.Force}
	if q.Current {
		if err := c.Store.View(c.ctx, func(tx *store.Tx) error {
			r, err := tx.Run(q.Run)
			if err != nil || r == nil { // the engine says so
				return err
			}
			how.Revision, err = applied(tx, r)
			return err
		}); err != nil {
			return v, err
		}
	}
	r, err := c.Engine.Retry(c.ctx, c.by, q.Run, how)
	if err != nil {
		return v, err
	}
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		if v, err = runView(tx, r); err != nil {
			return err
		}
		now, err := applied(tx, r)
		if err == nil && now != r.Revision {
			v.Applied = short(now)
		}
		return err
	})
	return v, err
}

// stepViews shows a journal. What was sent and what came back is shown to whoever may write contacts; others
// see what shape it has. What looks like a secret nobody sees.
func (c *call) stepViews(tx *store.Tx, r *crm.Run) ([]StepView, error) {
	acc, err := tx.Account(r.Account)
	if err != nil {
		return nil, err
	}
	steps, err := tx.Steps(r.ID)
	if err != nil {
		return nil, err
	}
	show, words := runtime.Redact, func(_, s string) string { return s }
	if !acc.Policy.Allows(c.by.Role, crm.VerbWrite) {
		show = shape
		words = func(action, s string) string { // a plugin's words may name the contact
			if action == "" || s == "" {
				return s
			}
			return "[hidden]"
		}
	}
	var views []StepView
	for _, s := range steps {
		v := StepView{Step: s.Path, Iteration: s.Iteration, Action: s.Action, Status: s.Status, Attempt: s.Attempt, At: s.At,
			Code: s.Code, Message: words(s.Action, s.Message), Plugin: s.Plugin, Unknown: s.OpenCall(), Input: show(s.Input), Cut: s.Cut, Output: show(s.Output)}
		for _, t := range s.Tries {
			t.Message = words(s.Action, t.Message)
			v.Tries = append(v.Tries, TryView(t))
		}
		views = append(views, v)
	}
	return views, nil
}

// shape gives JSON with its values replaced by what they are.
func shape(doc []byte, _ ...string) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	out, err := json.Marshal(shapeOf(v))
	if err != nil {
		return nil
	}
	return out
}

func shapeOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = shapeOf(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = shapeOf(v[i])
		}
		return v
	case string:
		return "(text)"
	case json.Number:
		return "(number)"
	case bool:
		return "(true or false)"
	}
	return nil
}
