package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/reprieve-run/reprieve/cmd/reprieve/flowtest"
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/workflow"
)

// tested is a workflow with five cases, as people write them.
const tested = `version: 1
id: cleanup-%d
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "Unsubscribed"}
filter: not ("VIP" in contact.tags)
steps:
  - {id: ask, action: http.request, with: {url: "https://example.org/hooks", body: {contact: "${ contact.id }"}}}
  - {id: cool_off, wait: 14d}
  - id: recheck
    branch:
      - if: '"Unsubscribed" in contact.tags'
        steps:
          - {id: remove, action: contact.delete, with: {reason: unsubscribed}}
      - else: true
        steps: [{id: done, exit: {status: skipped, reason: no longer unsubscribed}}]
tests:
  - name: deletes after two weeks
    contact: {email: ada@example.org, tags: [Lead]}
    mocks: {http.request: {status: done}}
    send: {event: contact.tag_added, tag: Unsubscribed}
    advance: 14d
    expect: {run: {status: completed}, actions: [http.request, contact.delete], contact: {deleted: true}}
  - name: waits until then
    mocks: {http.request: {status: done}}
    send: {event: contact.tag_added, tag: Unsubscribed}
    advance: 13d
    expect: {run: {status: waiting, step: cool_off}, contact: {deleted: false}}
  - name: spares whom somebody values
    contact: {tags: [VIP]}
    send: {event: contact.tag_added, tag: Unsubscribed}
    expect: {runs: 0}
  - name: and who comes back
    mocks: {http.request: {status: done}}
    send: {event: contact.tag_added, tag: Unsubscribed}
    then: [{advance: 2d, send: {event: contact.tag_removed, tag: Unsubscribed}}, {advance: 20d}]
    expect: {run: {status: skipped}, contact: {deleted: false}}
  - name: a restore starts nothing
    mocks: {http.request: {status: done}}
    send: {event: contact.tag_added, tag: Unsubscribed}
    advance: 14d
    then: [{restore: true}, {advance: 30d}]
    expect: {runs: 1, contact: {deleted: false}}
end: true
`

// cases measures the tests of workflow files, from their text to their results, beside nothing but a new store
// for each, opened, given an account and removed, by as many workers.
type cases struct {
	r     *run
	files [][]byte
	n     int
}

func newCases(_ context.Context, r *run) (scenario, error) {
	c := &cases{r: r}
	for range max(1, r.o.Cases/strings.Count(tested, "- name:")) {
		c.files = append(c.files, fmt.Appendf(nil, tested, len(c.files)))
	}
	c.n = len(c.files) * strings.Count(tested, "- name:")
	return c, nil
}

func (c *cases) round(ctx context.Context, _ int) error {
	took, err := c.r.contestant("workflow test", func() error { return c.test(ctx) })
	if err != nil {
		return err
	}
	floor, err := timed(func() error { return c.stores(ctx) })
	if err != nil {
		return err
	}
	c.r.report.add(Row{Contest: fmt.Sprintf("workflow test, %d cases", c.n), Floor: "a new store for each, not synced", Cost: true}, took.each(c.n), floor.each(c.n))
	c.r.report.note("workflow test: seconds for all", took.wall.Seconds())
	return nil
}

func (c *cases) test(ctx context.Context) error {
	var defs []*workflow.Workflow
	for i, text := range c.files {
		def, err := workflow.Parse(fmt.Sprintf("cleanup-%d.yaml", i), text)
		if err != nil {
			return err
		}
		defs = append(defs, def)
	}
	results, err := flowtest.Run(ctx, defs)
	if err != nil || len(results) != c.n {
		return errors.Join(fmt.Errorf("bench: %d of %d cases were run", len(results), c.n), err)
	}
	for _, r := range results {
		if !r.Passed {
			return fmt.Errorf("bench: the case %q failed: %v", r.Name, r.Failures)
		}
	}
	return nil
}

// stores makes as many stores.
func (c *cases) stores(ctx context.Context) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, goruntime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(c.n) && errs[w] == nil; i = next.Add(1) {
				errs[w] = c.store(ctx, filepath.Join(c.r.dir, fmt.Sprintf("case-%d", i)))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *cases) store(ctx context.Context, path string) error {
	rnd := rand.NewChaCha8([32]byte{1})
	s, err := openStore(ctx, path, true, rnd)
	if err != nil {
		return err
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		id, err := crm.NewID[crm.AccountKind](tx.Now(), rnd)
		if err != nil {
			return err
		}
		return tx.PutAccount(crm.Account{ID: id, Name: "bench", CreatedAt: tx.Now(), Policy: crm.DefaultPolicy()})
	})
	return errors.Join(err, s.Close(), os.Remove(path))
}

func (c *cases) close() error { return nil }
