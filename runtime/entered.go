package runtime

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/workflow"
)

// byWorkflow stands for a trigger where another workflow put the contact in. No file can give a
// trigger this id.
const byWorkflow = "workflow.add"

// entered starts the workflow that an event names, as if one of its triggers had matched: what
// refuses any event refuses this one, and the workflow's filter, key and mode decide as ever.
func (o *offer) entered(ev *crm.Event) error {
	k := crm.Key{Account: ev.Account, Contact: ev.Contact}
	w, err := o.tx.Workflow(ev.Account, ev.Data.Name)
	if crm.CodeOf(err) == crm.CodeNotFound || err == nil && w.Active == "" {
		return nil // deleted since
	}
	if err != nil {
		return err
	}
	def, err := o.e.definitionIn(o.tx, ev.Account, w.ID, w.Active)
	if err != nil {
		o.e.complain(err, "a workflow cannot be loaded and starts nothing")
		return nil
	}
	life, err := o.tx.Life(k)
	if err != nil {
		return err
	}
	a := armed{ev.Account, def, &workflow.Trigger{ID: byWorkflow, Over: crm.OnlyLive}}
	te, ok := ev.Trigger(life)
	if !ok {
		if why := ev.Refusal(life); life.State == crm.Live && (why == crm.RefusedEpoch || why == crm.RefusedQuiet) {
			o.suppress(life, a, why, ev.Kind)
		}
		return nil
	}
	names, err := names(o.tx, o.lists, ev.Account)
	if err != nil {
		return err
	}
	return o.entitled(te, a, ev, names)
}
