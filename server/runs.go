package server

import (
	"bytes"
	"slices"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// eachRun yields every run with its status, a thousand to a View: a View keeps what it has read, and
// there may be millions of runs. So the whole is of no single instant.
func eachRun(c *call, yield func(*crm.Run, crm.RunStatus)) error {
	for after := (crm.RunID{}); ; {
		var runs []crm.Run
		var statuses []crm.RunStatus
		err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
			if runs, err = tx.Runs(after, 1000); err != nil {
				return err
			}
			statuses, err = statusesOf(tx, runs)
			return err
		})
		if err != nil || len(runs) == 0 {
			return err
		}
		for i := range runs {
			yield(&runs[i], statuses[i])
		}
		after = runs[len(runs)-1].ID
	}
}

func statusesOf(tx *store.Tx, runs []crm.Run) ([]crm.RunStatus, error) {
	statuses := make([]crm.RunStatus, len(runs))
	for i := range runs {
		life, err := tx.Life(crm.Key{Account: runs[i].Account, Contact: runs[i].Contact})
		if err != nil {
			return nil, err
		}
		statuses[i] = runs[i].StatusFor(life)
	}
	return statuses, nil
}

// RunList asks for runs, the latest last.
type RunList struct {
	Contact  string        `json:"contact,omitempty"`
	Workflow string        `json:"workflow,omitempty"`
	Status   crm.RunStatus `json:"status,omitempty"`
	Code     string        `json:"code,omitempty"`  // by which it failed; only of runs that are over
	Since    crm.Nanos     `json:"since,omitempty"` // only those that ended then or later
	Limit    int           `json:"limit,omitempty"` // the latest so many; default 100, at most MaxPage
}

// ended says whether only runs are asked for that the index of what ended knows. (Some that are cancelled are so
// because of what became of their contact, and never ended.)
func (q RunList) ended() bool { return q.Status == crm.RunFailed || q.Code != "" || q.Since != 0 }

// RunPage is runs.
type RunPage struct {
	Runs  []RunView `json:"runs"`
	Total int       `json:"total"` // that match, shown or not
}

// RunStatuses are the statuses that runs can be asked for by.
var RunStatuses = []crm.RunStatus{crm.RunActive, crm.RunWaiting, crm.RunQueued, crm.RunSuspended, crm.RunCompleted, crm.RunExited, crm.RunFailed, crm.RunCancelled}

func runList(c *call, q RunList) (RunPage, error) {
	const op = "list runs"
	page := RunPage{Runs: []RunView{}}
	limit, err := pageLimit(op, q.Limit)
	if err != nil {
		return page, err
	}
	if q.Status != "" && !slices.Contains(RunStatuses, q.Status) {
		return page, crm.Errorf(op, crm.CodeInvalid, "no run has the status %q", q.Status).WithHint("the statuses are %v", RunStatuses)
	}
	var last []crm.RunID
	take := func(r *crm.Run, s crm.RunStatus) {
		if q.Workflow != "" && r.Workflow != q.Workflow || q.Status != "" && s != q.Status {
			return
		}
		if q.Code != "" && r.Code != q.Code && !(q.Code == crm.ReasonTimeout && r.Reason == q.Code) || q.Since != 0 && r.EndedAt < q.Since {
			return
		}
		page.Total++
		if last = append(last, r.ID); len(last) >= 2*limit {
			last = slices.Clone(last[len(last)-limit:])
		}
	}
	var of *crm.Key
	if err := c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
		of, err = q.of(c, tx)
		return err
	}); err != nil {
		return page, err
	}
	switch {
	case of == nil && q.ended():
		err = eachEnded(c, q, take)
	case of == nil:
		err = eachRun(c, take)
	default:
		var runs []crm.Run
		var statuses []crm.RunStatus
		err = c.Store.View(c.ctx, func(tx *store.Tx) (err error) {
			if runs, err = tx.RunsOf(*of); err == nil {
				slices.SortFunc(runs, func(a, b crm.Run) int { return bytes.Compare(a.ID[:], b.ID[:]) })
				statuses, err = statusesOf(tx, runs)
			}
			return err
		})
		for i := range statuses {
			take(&runs[i], statuses[i])
		}
	}
	if err != nil {
		return page, err
	}
	for ids := range slices.Chunk(last[max(0, len(last)-limit):], 1000) {
		views, err := showRuns(c, ids)
		if err != nil {
			return page, err
		}
		page.Runs = append(page.Runs, views...)
	}
	return page, nil
}

// of gives the contact that was asked for, nil for all, and refuses a workflow that is not there.
func (q RunList) of(c *call, tx *store.Tx) (*crm.Key, error) {
	acc, err := theAccount(tx)
	if err != nil {
		return nil, err
	}
	if q.Workflow != "" {
		if _, err := tx.Workflow(acc.ID, q.Workflow); err != nil {
			return nil, err
		}
	}
	if q.Contact == "" {
		return nil, nil
	}
	k, err := c.keyFor(tx, q.Contact)
	return &k, err
}

// showRuns gives the views of runs as they are now, without those that are gone by now.
func showRuns(c *call, ids []crm.RunID) (views []RunView, err error) {
	err = c.Store.View(c.ctx, func(tx *store.Tx) error {
		views = views[:0]
		for _, id := range ids {
			r, err := tx.Run(id)
			if err != nil {
				return err
			}
			if r == nil {
				continue
			}
			v, err := runView(tx, r)
			if err != nil {
				return err
			}
			if c.by.Role == crm.Auditor {
				runForAuditor(&v)
			}
			views = append(views, v)
		}
		return nil
	})
	return views, err
}

// RunID names a run.
type RunID struct {
	ID crm.RunID `json:"id"`
}

// runGet gives a run with its journal, in the order in which it was written.
func runGet(c *call, q RunID) (RunView, error) {
	var v RunView
	err := c.Store.View(c.ctx, func(tx *store.Tx) error {
		r, err := tx.Run(q.ID)
		if err != nil {
			return err
		}
		if r == nil {
			return crm.Errorf("read a run", crm.CodeNotFound, "there is no run %s", q.ID).WithHint("reprieve run list shows what there is")
		}
		if v, err = runView(tx, r); err != nil {
			return err
		}
		if v.Steps, err = c.stepViews(tx, r); c.by.Role == crm.Auditor {
			runForAuditor(&v)
		}
		return err
	})
	return v, err
}
