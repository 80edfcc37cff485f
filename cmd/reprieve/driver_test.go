package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/server"
)

// driver asks for changes of the contacts that are its own, one after the other, over the socket of
// whatever service is alive, and writes down how each call ended.
type driver struct {
	k     *killed
	id    uint64
	rnd   *rand.Rand
	mine  []crm.ContactID
	state map[crm.ContactID]crm.State // as last heard of
	tags  map[crm.ContactID][]string
	back  map[crm.ContactID]int // how often it was restored
	made  int
	calls []asked
	next  time.Time // of a sweep
}

func (k *killed) driver(id uint64, of int) *driver {
	d := &driver{k: k, id: id, rnd: rand.New(rand.NewPCG(k.seed, id+1)), state: map[crm.ContactID]crm.State{}, tags: map[crm.ContactID][]string{},
		back: map[crm.ContactID]int{}}
	for i, c := range k.contacts {
		if i%of == int(id) {
			d.mine = append(d.mine, c)
		}
	}
	return d
}

// drive works until stop is closed. A call that a service has begun is always waited for: it ends
// with the service.
func (d *driver) drive(ctx context.Context, stop <-chan struct{}) {
	for {
		client, err := server.Dial(filepath.Join(d.k.dir, socketFile))
		for err == nil {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(d.rnd.IntN(20)) * time.Millisecond):
			}
			err = d.act(ctx, client)
		}
		select {
		case <-stop:
			return
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// act does one thing. It fails when the service is gone.
func (d *driver) act(ctx context.Context, client server.Caller) error {
	if d.id == 0 && time.Now().After(d.next) {
		d.next = time.Now().Add(time.Second)
		var swept server.Swept
		if err := client.Call(ctx, "retention.sweep", server.RetentionSweep{Confirm: "PURGE"}, &swept, nil); gone(err) {
			return err
		}
	}
	i := d.rnd.IntN(len(d.mine))
	c := d.mine[i]
	dice := d.rnd.IntN(100)
	switch {
	case d.state[c] == crm.Purged, d.state[c] == crm.Deleted && i%5 == 0 && d.back[c] > 1:
		return nil // left to the sweep
	case d.state[c] == crm.Deleted && dice < 25:
		return d.restore(ctx, client, c)
	case d.state[c] == crm.Live && dice < 6:
		return d.delete(ctx, client, c)
	case d.state[c] == crm.Live && dice < 20 || len(d.tags[c]) > 30:
		return d.remove(ctx, client, c)
	}
	prefix := [...]string{"trip-", "trip-", "trip-", "doom-", "nightly-", "plain-"}[d.rnd.IntN(6)]
	return d.add(ctx, client, c, prefix)
}

func gone(err error) bool { return crm.CodeOf(err) == crm.CodeUnavailable }

// note writes down how a call ended; what it refused says what has become of the contact.
func (d *driver) note(a asked, err error) error {
	switch {
	case err == nil:
		a.outcome = acknowledged
	case gone(err):
		a.outcome = unanswered
	default:
		a.outcome, a.code = refused, crm.CodeOf(err)
		if state, told := map[string]crm.State{crm.CodeDeleted: crm.Deleted, crm.CodeWindowPassed: crm.Deleted,
			crm.CodeNotDeleted: crm.Live, crm.CodePurged: crm.Purged}[a.code]; told {
			d.state[a.contact] = state
		} else {
			d.k.t.Errorf("%s of %s was refused: %v", a.verb, a.contact, err)
		}
		err = nil
	}
	d.calls = append(d.calls, a)
	return err
}

func (d *driver) add(ctx context.Context, client server.Caller, c crm.ContactID, prefix string) error {
	d.made++
	tag := fmt.Sprintf("%s%d-%d", prefix, d.id, d.made)
	var v server.ContactView
	err := client.Call(ctx, "contact.tag", server.ContactTag{ID: c.String(), Add: []string{tag}}, &v, nil)
	if err == nil {
		d.state[c], d.tags[c] = crm.Live, v.Tags
	}
	return d.note(asked{verb: "add", contact: c, tags: []string{tag}, rev: v.Revision}, err)
}

// remove removes some tags, but not those by which a run's steps are told apart.
func (d *driver) remove(ctx context.Context, client server.Caller, c crm.ContactID) error {
	some := slices.DeleteFunc(slices.Clone(d.tags[c]), func(t string) bool { return strings.HasPrefix(t, "mark-") })
	d.tags[c] = nil
	if len(some) == 0 {
		return nil
	}
	d.rnd.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	some = some[:1+d.rnd.IntN(len(some))]
	var v server.ContactView
	err := client.Call(ctx, "contact.tag", server.ContactTag{ID: c.String(), Remove: some}, &v, nil)
	if err == nil {
		d.state[c], d.tags[c] = crm.Live, v.Tags
	}
	return d.note(asked{verb: "remove", contact: c, tags: some}, err)
}

func (d *driver) delete(ctx context.Context, client server.Caller, c crm.ContactID) error {
	var v server.Deletion
	err := client.Call(ctx, "contact.delete", server.ContactDelete{ID: c.String(), Confirm: "DELETE"}, &v, nil)
	a := asked{verb: "delete", contact: c}
	if err == nil {
		if v.Manifest == nil {
			err = errors.New("an answer without a manifest")
		} else {
			d.state[c], a.epoch = crm.Deleted, v.Manifest.Epoch
		}
	}
	return d.note(a, err)
}

func (d *driver) restore(ctx context.Context, client server.Caller, c crm.ContactID) error {
	var r crm.Receipt
	err := client.Call(ctx, "contact.restore", server.ContactRestore{ID: c.String(), Confirm: "yes"}, &r, nil)
	if err == nil {
		d.state[c] = crm.Live
		d.back[c]++
	}
	return d.note(asked{verb: "restore", contact: c, epoch: r.Epoch}, err)
}

// wantTags are the workflows of testdata/crash that a tag starts at once, with the tag's prefix.
var wantTags = map[string]string{"trip": "trip-", "doom": "doom-"}

// wantSteps are the steps of the workflows of testdata/crash, each with the effect that the log must
// show once; RUN stands for the run's id.
var wantSteps = map[string]map[string]string{
	"trip":    {"pause": "", "mark": "contact.tag_added mark-RUN", "unmark": "contact.tag_removed mark-RUN", "done": "contact.tag_added done-RUN"},
	"doom":    {"pause": "", "remove": "contact.deleted "},
	"nightly": {"pause": "", "remove": "contact.deleted "},
	"winback": {"bring_back": "contact.restored ", "mark": "contact.tag_added back-RUN"},
}
