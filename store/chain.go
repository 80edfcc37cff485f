package store

import (
	"crypto/sha256"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
)

// chain follows the entries of the log one after the other and names the one at which something is wrong. It
// looks one entry ahead before it speaks: only the next entry says which of two that do not fit was changed.
type chain struct {
	next   uint64   // the number that the next entry has to have
	prev   [32]byte // the hash of the entry before it
	prevOK bool     // prev is known: it is not where the log begins somewhere unsigned
	fault  *misfit
	last   *entry
}

// misfit is an entry that does not follow the one before it.
type misfit struct {
	want, got uint64
	sum       [32]byte // of the entry that was found
	undecoded error
}

// begin makes a chain that goes on behind the n-th entry, which has the hash.
func begin(n uint64, hash [32]byte) *chain { return &chain{next: n + 1, prev: hash} }

// add takes the next entry as it is stored. An error names the entry at which the chain is broken, and ends it.
func (c *chain) add(raw []byte) (*entry, error) {
	var e entry
	err := codec.Unmarshal(raw, &e)
	if c.fault != nil {
		if err != nil {
			return nil, c.explain(nil)
		}
		return nil, c.explain(&e)
	}
	if err != nil {
		return nil, broken("entry %d cannot be read: %w", c.next, err)
	}
	sum := sha256.Sum256(raw)
	if e.Seq != c.next || e.Prev != c.prev {
		c.fault = &misfit{want: c.next, got: e.Seq, sum: sum}
		return &e, nil
	}
	c.next, c.prev, c.last = e.Seq+1, sum, &e
	return &e, nil
}

// end says what is wrong with the chain, if it ends where its head says.
func (c *chain) end(n uint64, hash [32]byte) error {
	switch last := c.next - 1; {
	case c.fault != nil && c.fault.got == c.fault.want && c.fault.got == n && c.fault.sum == hash:
		return c.changed(c.fault.want - 1)
	case c.fault != nil:
		return c.explain(nil)
	case last+1 == n:
		return broken("entry %d is missing: the log ends before it, and its recorded end is that entry", n)
	case last < n:
		return broken("the entries %d to %d are missing: the log ends before them, and its recorded end is entry %d", last+1, n, n)
	case last > n:
		return broken("the log goes on to entry %d, and its recorded end is entry %d", last, n)
	case c.prev != hash:
		return broken("entry %d is not the one that the recorded end is about: it was changed, or the end was", last)
	}
	return nil
}

// explain says what the misfit is, now that the entry behind it is known; nil if there is none, or none that
// can be read.
func (c *chain) explain(behind *entry) error {
	f := c.fault
	switch {
	case f.got == f.want && behind != nil && behind.Prev == f.sum:
		return c.changed(f.want - 1) // the entry is what the next one knows; so the one before it is not
	case f.got == f.want:
		return broken("entry %d was changed, or is not the one that followed entry %d", f.want, f.want-1)
	case behind != nil && behind.Seq == f.want:
		return broken("entry %d stands where entry %d should be: they were swapped", f.got, f.want)
	case f.got > f.want+1:
		return broken("the entries %d to %d are missing", f.want, f.got-1)
	case f.got > f.want:
		return broken("entry %d is missing", f.want)
	}
	return broken("where entry %d should be stands an entry with the number %d: it was put in", f.want, f.got)
}

func (c *chain) changed(n uint64) error {
	if c.last == nil {
		return broken("the log does not begin behind the entry %d that its checkpoint is about", n)
	}
	return broken("entry %d was changed", n)
}

func broken(format string, args ...any) error {
	return crm.Errorf("verify the log", crm.CodeCorrupt, format, args...).
		WithHint("keep the file as it is; compare it with an export or a backup from before")
}
