package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/examples"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
)

func (c *cli) demo() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "Play the whole story on a throw-away store and a virtual clock", Args: cobra.NoArgs,
		Long: "Imports contacts, lets a workflow delete some, restores them, and purges them at the end of the\n" +
			"recovery window. Every line is a fact read back from the store; one that does not hold makes it exit 1.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.format != "table" {
				return usage{errors.New("demo tells a story: it prints text only, without --output")}
			}
			return playDemo(cmd.Context(), c.out, c.logger(zerolog.ErrorLevel))
		}}
}

// The demo begins on a Monday morning of its virtual clock.
var demoStart = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// demo is one play: what it has open and what it has found.
type demo struct {
	ctx   context.Context
	out   io.Writer
	o     *opened
	call  server.Caller
	clock *clock.Virtual
	acc   crm.AccountID

	chosen  []crm.Key // the contacts that are tagged, deleted, restored, deleted again and purged
	before  map[crm.Key]portrait
	held    int      // facts that hold
	broken  []string // facts that do not
	summary [][2]string
}

// playDemo plays the story in a directory of its own and removes it.
func playDemo(ctx context.Context, out io.Writer, log zerolog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "reprieve-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	key, err := newMasterKey()
	if err != nil {
		return err
	}
	began := time.Now()
	d := &demo{ctx: ctx, out: out, clock: clock.NewVirtual(demoStart), before: map[crm.Key]portrait{}}
	d.o, err = open(ctx, place{dir: dir, key: key, clock: d.clock, log: log, noSync: true, rand: &fixedRand{r: rand.NewChaCha8([32]byte{60})}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.o.close()) }()
	d.call = d.o.app.As(crm.Actor{ID: "user:demo", Role: crm.Admin})
	for _, act := range []struct {
		title string
		play  func() error
	}{
		{"Import", d.importAll},
		{"Apply three workflows", d.applyWorkflows},
		{"Unsubscribe 200 contacts; a workflow deletes them 14 days later", d.unsubscribe},
		{"Restore one by hand, the others by a workflow", d.restore},
		{"Delete them again, and wait for the sweep", d.sweep},
	} {
		fmt.Fprintf(out, "\n%s\n", act.title)
		if err := act.play(); err != nil {
			return fmt.Errorf("%s: %w", act.title, err)
		}
	}
	return d.close(time.Since(began))
}

// fixedRand draws the same bytes in every play, so that every play is the same.
type fixedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

// Read implements io.Reader.
func (f *fixedRand) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.Read(p)
}

// close prints the summary, and fails when a fact did not hold.
func (d *demo) close(took time.Duration) error {
	fmt.Fprintln(d.out, "\nSummary")
	w := tabwriter.NewWriter(d.out, 0, 4, 2, ' ', 0)
	for _, row := range d.summary {
		fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
	}
	fmt.Fprintf(w, "  facts checked\t%d\n", d.held+len(d.broken))
	fmt.Fprintf(w, "  virtual time\t%s\n", crm.Nanos(d.clock.Now().Sub(demoStart)).Days())
	fmt.Fprintf(w, "  real time\t%.1f s\n", took.Seconds())
	if err := w.Flush(); err != nil {
		return err
	}
	if len(d.broken) > 0 {
		return fmt.Errorf("%d of %d facts do not hold: %s", len(d.broken), d.held+len(d.broken), strings.Join(d.broken, "; "))
	}
	fmt.Fprintln(d.out, "\nEvery fact holds.")
	return nil
}

// fact prints something that was read back from the store, and whether it is as it must be.
func (d *demo) fact(holds bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	mark := "✓"
	if holds {
		d.held++
	} else {
		mark = "✗"
		d.broken = append(d.broken, text)
	}
	fmt.Fprintf(d.out, "  %s %s\n", mark, text)
}

func (d *demo) note(name, format string, args ...any) {
	d.summary = append(d.summary, [2]string{name, fmt.Sprintf(format, args...)})
}

// ask calls a verb.
func ask[A any](d *demo, verb string, q any) (A, error) {
	var a A
	err := d.call.Call(d.ctx, verb, q, &a, nil)
	return a, err
}

func (d *demo) settle() error { return d.o.app.Engine.Settle(d.ctx) }

// goTo moves the clock and has everything done that is due.
func (d *demo) goTo(t time.Time) error {
	d.clock.Set(t)
	return d.settle()
}

// importAll takes in the example data.
func (d *demo) importAll() error {
	acc, err := ask[server.AccountView](d, "account.create", server.AccountCreate{Name: "demo"})
	if err != nil {
		return err
	}
	d.acc = acc.ID
	for _, f := range []struct{ verb, path, what string }{
		{"contact.import", "demo/contacts.csv", "contacts"},
		{"record.import", "demo/associated.jsonl", "associated records, opportunities and companies"},
	} {
		raw, err := examples.FS.ReadFile(f.path)
		if err != nil {
			return err
		}
		var done server.Imported
		if err := d.call.Call(d.ctx, f.verb, server.ImportOptions{}, &done, bytes.NewReader(raw)); err != nil {
			return err
		}
		d.fact(done.Created == done.Rows && len(done.Rejected) == 0, "%s: %d %s, %d rejected", f.path, done.Created, f.what, len(done.Rejected))
	}
	show, err := ask[server.AccountView](d, "account.show", server.None{})
	if err != nil {
		return err
	}
	d.fact(show.Live >= 5000 && show.Deleted == 0, "the store has %d live contacts and %d deleted ones", show.Live, show.Deleted)
	d.note("contacts imported", "%d", show.Live)
	if err := d.settle(); err != nil {
		return err
	}
	n, err := d.countRuns(nil)
	if err != nil {
		return err
	}
	d.fact(n == 0, "importing started %d runs", n)
	return d.inventory()
}

// inventory reads back what hangs on the contacts.
func (d *demo) inventory() error {
	kinds := map[string]int{}
	statuses := map[crm.Status]int{}
	var shared, opportunities int
	err := d.o.app.Store.View(d.ctx, func(tx *store.Tx) error {
		var keys []crm.Key
		if err := tx.ScanAll(crm.Query{Account: d.acc, State: crm.OnlyLive}, func(c *crm.Contact, _ *crm.Life) bool {
			keys = append(keys, c.Key())
			for _, l := range c.Lists {
				statuses[l.Status]++
			}
			return true
		}); err != nil {
			return err
		}
		for _, k := range keys {
			records, err := tx.Records(k)
			if err != nil {
				return err
			}
			for _, r := range records {
				kinds[r.Kind.String()]++
			}
		}
		opps, err := tx.Objects(d.acc, crm.Opportunity)
		for _, o := range opps {
			if opportunities++; len(o.Contacts) > 1 {
				shared++
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	all := true
	var parts []string
	for _, k := range crm.RecordKinds {
		if k == crm.Message { // the demo's conversations are one piece
			continue
		}
		all = all && kinds[k.String()] > 0
		parts = append(parts, fmt.Sprintf("%d %ss", kinds[k.String()], strings.ReplaceAll(k.String(), "_", " ")))
	}
	d.fact(all, "%s", strings.Join(parts, ", "))
	d.fact(shared > 0, "%d opportunities, %d of them shared by two contacts", opportunities, shared)
	d.fact(len(statuses) == 4, "list memberships: %d subscribed, %d unsubscribed, %d unconfirmed, %d bounced",
		statuses[crm.Subscribed], statuses[crm.Unsubscribed], statuses[crm.Unconfirmed], statuses[crm.Bounced])
	var names []string
	members := int64(0)
	for _, verb := range []string{"list.list", "campaign.list"} {
		page, err := ask[server.ObjectPage](d, verb, server.None{})
		if err != nil {
			return err
		}
		for _, o := range page.Items {
			names = append(names, o.Name)
			members += o.Members
		}
	}
	d.fact(len(names) == 5 && members > 0, "three lists and two campaigns: %s", strings.Join(names, ", "))
	return nil
}

// applyWorkflows applies the examples, and sets the nurture workflow going for some of the contacts.
func (d *demo) applyWorkflows() error {
	var q server.WorkflowFiles
	for _, name := range []string{"unsubscribed-cleanup", "nurture", "winback"} {
		file := "demo/workflows/" + name + ".yaml"
		raw, err := examples.FS.ReadFile(file)
		if err != nil {
			return err
		}
		q.Files = append(q.Files, server.File{Name: "examples/" + file, Content: raw})
	}
	_, err := ask[server.Checked](d, "workflow.apply", q)
	d.fact(crm.CodeOf(err) == crm.CodeNoGrant, "without a grant they are refused: %v", err)
	q.Grants = []string{"contact.delete", "contact.restore"}
	v, err := ask[server.Checked](d, "workflow.apply", q)
	if err != nil {
		return err
	}
	d.fact(v.Errors == 0 && len(v.Workflows) == 3, "with --grant contact.delete,contact.restore %d are active", len(v.Workflows))
	page, err := ask[server.ContactPage](d, "contact.list", server.ContactList{Tag: "cleanup candidate", Limit: 220})
	if err != nil {
		return err
	}
	nurtured := 0
	for i, con := range page.Contacts {
		if i < 200 {
			d.chosen = append(d.chosen, crm.Key{Account: d.acc, Contact: con.ID})
		}
		if con.Fields["segment"] == "nurture" {
			nurtured++
			if _, err := ask[server.ContactView](d, "contact.tag", server.ContactTag{ID: con.ID.String(), Add: []string{"Nurture"}}); err != nil {
				return err
			}
		}
	}
	if err := d.settle(); err != nil {
		return err
	}
	waiting, err := d.countRuns(func(r *crm.Run, s crm.RunStatus) bool { return r.Workflow == "nurture" && s == crm.RunWaiting })
	if err != nil {
		return err
	}
	d.fact(waiting == nurtured && waiting > 0, "%d contacts tagged Nurture, %d of them wait in the nurture workflow", nurtured, waiting)
	return nil
}

// countRuns counts the runs that yes says yes to; nil counts all.
func (d *demo) countRuns(yes func(*crm.Run, crm.RunStatus) bool) (n int, err error) {
	err = d.o.app.Store.View(d.ctx, func(tx *store.Tx) error {
		n = 0
		for after := (crm.RunID{}); ; {
			runs, err := tx.Runs(after, 1000)
			if err != nil || len(runs) == 0 {
				return err
			}
			for i := range runs {
				life, err := tx.Life(crm.Key{Account: runs[i].Account, Contact: runs[i].Contact})
				if err != nil {
					return err
				}
				if yes == nil || yes(&runs[i], runs[i].StatusFor(life)) {
					n++
				}
			}
			after = runs[len(runs)-1].ID
		}
	})
	return n, err
}
