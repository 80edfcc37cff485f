package runtime

import (
	"context"
	"fmt"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/store"
)

// A workflow that does to its contact what starts it ends, however it is written, and each of its runs says how
// long the chain is that led to it.
func TestAWorkflowThatSetsItselfOffEnds(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]string{"each by itself": "", "in the middle of a run": "run: {mode: restart}\n", "in a queue": "run: {mode: queued}\n", "side by side": "run: {mode: parallel, max: 50}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 130)
			n := 0
			s.acts.add(plugins.Spec{Action: "count", Effects: []plugins.EffectKind{plugins.EffectSetField}}, func(_ context.Context, it plugins.Item) plugins.Outcome {
				n++
				return plugins.Outcome{Status: plugins.Done, Effects: []plugins.Effect{{Kind: plugins.EffectSetField, Field: "n", Value: crm.Number(float64(n))}}}
			})
			s.workflow("w", "triggers: [{id: t, event: contact.field_changed, if: event.field == \"n\"}]\n"+block+"steps: [{id: again, action: count}]\n")
			s.set("n", "start")
			s.settle()
			s.pass(day(1))
			if n != crm.MaxDepth {
				t.Errorf("it went on %d times", n)
			}
			s.view(func(tx *store.Tx) error {
				runs, err := tx.RunsOf(s.k)
				deep := map[uint8]int{}
				for _, r := range runs {
					deep[r.Depth]++
				}
				s.expect("runs by depth", fmt.Sprint(deep), "map[0:1 1:1 2:1 3:1 4:1 5:1 6:1 7:1]")
				return err
			})
		})
	}
}
