package store_test

import (
	"errors"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// plant makes a bug that changes rows of one type on their way in.
func plant[R any](change func(*R)) func() func(string, any) {
	return func() func(string, any) {
		return func(_ string, r any) {
			if r, ok := r.(*R); ok {
				change(r)
			}
		}
	}
}

func both(plants ...func() func(string, any)) func() func(string, any) {
	return func() func(string, any) {
		return func(table string, r any) {
			for _, p := range plants {
				p()(table, r)
			}
		}
	}
}

func whole(n *crm.Nanos) { *n -= *n % crm.Second }

// keepsEpoch is the bug of an archiving that leaves the epoch as it was: what ran goes on. It knows one by
// the jump of two.
func keepsEpoch() func(string, any) {
	last := map[crm.Key]uint64{}
	return func(_ string, r any) {
		l, ok := r.(*crm.Life)
		switch {
		case !ok:
		case l.State == crm.Live && l.Epoch == last[l.Key()]+2:
			l.Epoch -= 2
		default:
			last[l.Key()] = l.Epoch
		}
	}
}

// planted are bugs of which a model that lets them pass proves nothing about the store. Each breaks a
// promise that the model must name.
var planted = []struct {
	bug, breaks string
	plant       func() func(table string, row any)
}{
	{"a restore forgets the quiet revision", storetest.StartsNothing, plant(func(l *crm.Life) { l.QuietRev = 0 })},
	{"deadlines are kept in whole seconds", storetest.NeverEarly,
		both(plant(func(l *crm.Life) { whole(&l.RestorableUntil) }), plant(func(d *crm.Deadline) { whole(&d.Until) }))},
	{"a legal hold is forgotten", storetest.NeverEarly, plant(func(l *crm.Life) { l.Held = l.Held && l.State != crm.Deleted })},
	{"what a restore left behind is forgotten", storetest.StaysLost, plant(func(l *crm.Life) { l.Lost = nil })},
	{"what was left behind goes at a whole second", storetest.NeverEarly, plant(func(l *crm.Life) {
		for i := range l.Lost {
			whole(&l.Lost[i].Until)
		}
	})},
	{"sweeps do not wait for a bulk restore", storetest.NeverEarly, plant(func(a *crm.Account) { a.Restoring = nil })},
	{"an archiving leaves the epoch", storetest.Agrees, func() func(string, any) { return keepsEpoch() }},
	{"an archiving is forgotten", storetest.Agrees, plant(func(c *crm.Contact) { c.Archived = crm.Flag{} })},
	{"opt-outs lose their lists", storetest.Agrees, plant(func(o *crm.OptOut) { o.Lists = nil })},
	{"opt-outs lose their channels", storetest.Agrees, plant(func(o *crm.OptOut) { o.Channels = nil })},
	{"a manifest loses an item", storetest.Agrees, plant(func(m *crm.Manifest) { m.Items = m.Items[:max(0, len(m.Items)-1)] })},
	{"a primary that is to be none comes back as one", storetest.Agrees, plant(func(m *crm.Manifest) {
		for i := range m.Items {
			m.Items[i].Secondary = false
		}
	})},
	{"a message that waits is forgotten", storetest.Agrees, plant(func(in *crm.Inbound) { in.Title, in.Body = "", "" })},
	{"a receipt loses its reasons", storetest.Agrees, plant(func(r *crm.Receipt) {
		for i := range r.Items {
			r.Items[i].Reason = ""
		}
	})},
	{"a run does not know that it was resumed", storetest.StartsNothing, plant(func(r *crm.Run) { r.Resumed = 0 })},
	{"an enrollment does not know that it was resumed", storetest.StartsNothing, plant(func(l *crm.Link) { l.Resumed = 0 })},
	{"a record forgets that it was deleted on its own", storetest.Agrees, plant(func(r *crm.Record) { r.Deleted = crm.Mark{} })},
	{"a tag forgets when it went", storetest.Agrees, plant(func(o *crm.Object) { o.Gone = 0 })},
	{"an opportunity is not closed with its last contact", storetest.Agrees, plant(func(o *crm.Object) { o.Lost = false })},
	{"a bulk restore is judged by the present", storetest.Agrees, plant(func(o *crm.Operation) { o.Accepted += 20 * crm.Second })},
	{"a workflow's deletes are not counted", storetest.Agrees, plant(func(w *row.Workflow) { w.Deletes = row.Tally{} })},
	{"a history loses its thread", storetest.Agrees, plant(func(l *crm.Life) { l.Last = 0 })},
}

// TestModelFindsPlantedBugs plants one bug at a time.
func TestModelFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the model is the same in the long form, which CI runs")
	}
	for _, c := range planted {
		t.Run(c.bug, func(t *testing.T) {
			t.Parallel()
			found := map[string]int{}
			for seed := uint64(0); seed < 150; seed++ {
				var v *storetest.Violation
				switch err := storetest.RunModel(storetest.Seeded(seed), modelSteps, onMemory(t, seed, c.plant())); {
				case errors.As(err, &v):
					found[v.Promise]++
				case err != nil:
					found[err.Error()]++
				}
				if found[c.breaks] > 0 {
					t.Logf("found by seed %d", seed)
					return
				}
			}
			t.Errorf("the model did not find that %s; it found %v", c.bug, found)
		})
	}
}
