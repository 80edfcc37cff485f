package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// An export of the log is lines of JSON: a header, the entries, a footer. Each entry is there as the bytes that are
// stored, by which the chain is recomputed, and beside them what stands in the open, for people and programs; whoever
// verifies makes the line anew from the bytes, so that neither can be changed. The footer signs header and end. What
// is sealed stays sealed: a purge makes it unreadable here as well.

// exportFormat is the form of the lines. It never changes: another form gets another number.
const exportFormat = 1

// ExportHeader begins an export.
type ExportHeader struct {
	Format int       `json:"reprieve_audit"`
	Store  StoreID   `json:"store"`
	Key    PublicKey `json:"key"`    // that signs the footer
	First  uint64    `json:"first"`  // the first entry
	Last   uint64    `json:"last"`   // the last one
	Before Hash      `json:"before"` // the hash of the entry before the first; zeros if there never was one
}

// ExportLine is an entry in an export.
type ExportLine struct {
	Seq   uint64    `json:"n"`
	Open  OpenEntry `json:"open"`
	Entry []byte    `json:"entry"` // as stored
}

// OpenEntry is what of an entry stands in the open.
type OpenEntry struct {
	At        crm.Nanos       `json:"at"`
	Event     crm.EventKind   `json:"event"`
	Account   crm.AccountID   `json:"account"`
	Contact   crm.ContactID   `json:"contact,omitzero"`
	Epoch     uint64          `json:"epoch,omitempty"`
	Revision  uint64          `json:"revision,omitempty"`
	By        string          `json:"by"`
	Role      crm.Role        `json:"role"`
	Cause     crm.CauseKind   `json:"cause"`
	Workflow  string          `json:"workflow,omitempty"`
	Run       crm.RunID       `json:"run,omitzero"`
	Operation crm.OperationID `json:"operation,omitzero"`
	Depth     uint8           `json:"depth,omitempty"`
	Name      string          `json:"name,omitempty"`
	Value     string          `json:"value,omitempty"`
	Old       string          `json:"old,omitempty"`
	On        bool            `json:"on,omitempty"`
	Item      crm.ItemID      `json:"item,omitzero"`
	Kind      string          `json:"kind,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Until     crm.Nanos       `json:"until,omitzero"`
	Sealed    int             `json:"sealed_bytes,omitempty"` // how much of it is sealed
}

// ExportFooter ends an export.
type ExportFooter struct {
	Entries   uint64    `json:"entries"`
	Hash      Hash      `json:"hash"` // of the last entry
	At        crm.Nanos `json:"at"`
	Signature []byte    `json:"signature"` // over the header, the number, the hash and the instant
}

func openOf(e *entry) OpenEntry {
	o := OpenEntry{At: e.At, Event: e.Kind, Account: e.Account, Contact: e.Contact, Epoch: e.Epoch, Revision: e.Rev, By: e.By.ID, Role: e.By.Role,
		Cause: e.Why.Kind, Workflow: e.Why.Workflow, Run: e.Why.Run, Operation: e.Why.Operation, Depth: e.Why.Depth,
		Name: e.Open.Name, Value: e.Open.Value, Old: e.Open.Old, On: e.Open.On, Item: e.Open.Item, Reason: e.Open.Reason, Until: e.Open.Until, Sealed: len(e.Sealed)}
	if e.Open.Kind != 0 {
		o.Kind = e.Open.Kind.String()
	}
	return o
}

func lineOf(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

func (f *ExportFooter) message(header []byte) []byte {
	sum := sha256.Sum256(header)
	return message("reprieve audit export v1", sum[:], number(f.Entries), f.Hash[:], number(uint64(f.At)))
}

// ExportPart is a stretch of an export: whole lines, each with its end.
type ExportPart struct {
	Lines []byte
	Last  uint64 // the last entry of the whole export; it is to be named for the next part
	Next  uint64 // the entry that the next part begins with, 0 at the end
}

// exportSize is about how many bytes a part has.
const exportSize = 2 << 20

// Export gives the part of an export that begins with the entry at (0: the first that there is). The export goes
// from the entry first to last; both 0 are the whole log as it is at the first part.
func (s *Store) Export(ctx context.Context, by *Signer, first, last, at uint64) (p ExportPart, err error) {
	const op = "export the audit"
	err = s.eng.View(ctx, func(tx row.Tx) error {
		t := s.begin(ctx, tx)
		p = ExportPart{Last: last}
		start, err := t.LogStart()
		if err != nil {
			return err
		}
		head, err := one(ctx, tx.Marks(), markHead)
		if err != nil {
			return err
		}
		if first == 0 {
			first = start
		}
		if p.Last == 0 && head != nil {
			p.Last = head.N
		}
		switch {
		case head == nil || p.Last > head.N || first > p.Last:
			return crm.Errorf(op, crm.CodeNotFound, "there are no such entries").WithHint("reprieve audit list shows what there is")
		case first < start:
			return crm.Errorf(op, crm.CodeNotFound, "the log begins at entry %d", start).WithHint("what was before was removed at the end of audit.keep")
		case at != 0 && (at < first || at > p.Last):
			return crm.Errorf(op, crm.CodeInvalid, "entry %d is not in the export", at).WithHint("go on with the next of an earlier part")
		}
		return t.exportPart(&p, by, first, at)
	})
	return p, err
}

func (tx *Tx) exportPart(p *ExportPart, by *Signer, first, at uint64) error {
	raw, e, err := tx.rawEntry(first)
	if err == nil && e == nil {
		err = broken("entry %d is missing", first)
	}
	if err != nil {
		return err
	}
	header, err := lineOf(ExportHeader{Format: exportFormat, Store: tx.s.ID(), Key: by.public.Key, First: first, Last: p.Last, Before: e.Prev})
	if err != nil {
		return err
	}
	if at == 0 {
		p.Lines, at = header, first
	}
	for ; at <= p.Last; at++ {
		if len(p.Lines) > exportSize {
			p.Next = at
			return nil
		}
		if raw, e, err = tx.rawEntry(at); err == nil && e == nil {
			err = broken("entry %d is missing", at)
		}
		if err != nil {
			return err
		}
		line, err := lineOf(ExportLine{Seq: at, Open: openOf(e), Entry: raw})
		if err != nil {
			return err
		}
		p.Lines = append(p.Lines, line...)
	}
	f := ExportFooter{Entries: p.Last - first + 1, Hash: sha256.Sum256(raw), At: tx.now}
	f.Signature = by.sign(f.message(header))
	line, err := lineOf(f)
	p.Lines = append(p.Lines, line...)
	return err
}

// errForm is a line of an export that is not written as an export writes it.
var errForm = errors.New("it is not as an export writes it")

// maxLine bounds a line: an entry of the largest size, in base64, with as much in the open.
const maxLine = 32 << 20

// VerifyExport verifies an export without the store that it is of: the chain from its first entry to its last, each
// line's open part, and the signature. keys are those that the caller trusts; without any, the file's own key is
// taken, which proves only that whoever had it made the file. An error names the line and the entry.
func VerifyExport(r io.Reader, keys *Keys) (Verified, error) {
	var v Verified
	in := exportReader{r: bufio.NewReaderSize(r, 1<<16)}
	var h ExportHeader
	header, err := in.read(&h)
	if err != nil {
		return v, in.bad("the header: %w", err)
	}
	switch {
	case h.Format > exportFormat:
		return v, crm.Errorf("verify an export", crm.CodeNewer, "its form %d is newer than %d", h.Format, exportFormat).WithHint("use the version of Reprieve that wrote it, or a later one")
	case h.Format != exportFormat || h.First == 0 || h.Last < h.First || h.Last == 1<<64-1:
		return v, in.bad("the header: %w", errForm)
	}
	c := begin(h.First-1, [32]byte(h.Before))
	for n := h.First; n <= h.Last; n++ {
		if err := in.entry(c, n); err != nil {
			return v, err
		}
	}
	var f ExportFooter
	if _, err := in.read(&f); err != nil {
		return v, in.bad("the footer, behind entry %d: %w", h.Last, err)
	}
	if err := c.end(h.Last, [32]byte(f.Hash)); err != nil {
		return v, in.found(err)
	}
	if f.Entries != h.Last-h.First+1 {
		return v, in.bad("the footer: %w", errForm)
	}
	if _, err := in.r.ReadByte(); err != io.EOF {
		return v, in.bad("there is something behind the footer")
	}
	v = Verified{Store: h.Store, First: h.First, Last: h.Last, Entries: f.Entries, Hash: f.Hash, At: f.At, Key: h.Key, Trusted: keys != nil}
	if keys == nil {
		keys = &Keys{Key: h.Key}
	}
	if err := keys.Signed(h.Key, f.At, f.message(header), f.Signature); err != nil {
		return Verified{}, in.bad("the signature: %w", err)
	}
	return v, nil
}

// exportReader reads the lines of an export.
type exportReader struct {
	r    *bufio.Reader
	line int
}

// read reads a line, which must be, to the byte, what an export would write for it.
func (in *exportReader) read(v any) ([]byte, error) {
	line, err := in.parse(v)
	if err != nil {
		return nil, err
	}
	again, err := lineOf(v)
	if err == nil && !bytes.Equal(line, again) {
		err = errForm
	}
	return line, err
}

// parse reads a line into v.
func (in *exportReader) parse(v any) ([]byte, error) {
	in.line++
	var line []byte
	for whole := false; !whole; {
		part, err := in.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, errors.New("the line is too long")
		case errors.Is(err, io.EOF):
			return nil, errors.New("the file ends here")
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
		whole = err == nil
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil { // whose words would repeat what stands there
		return nil, errForm
	}
	return line, nil
}

// entry reads the line of the n-th entry.
func (in *exportReader) entry(c *chain, n uint64) error {
	var l ExportLine
	line, err := in.parse(&l)
	if err != nil {
		return in.bad("where entry %d should be: %w", n, err)
	}
	e, err := c.add(l.Entry)
	if err != nil {
		return in.found(err)
	}
	if c.fault == nil && l.Seq != e.Seq {
		return in.bad("entry %d: it has the number %d outside", e.Seq, l.Seq)
	}
	again, err := lineOf(ExportLine{Seq: l.Seq, Open: openOf(e), Entry: l.Entry})
	if err == nil && !bytes.Equal(line, again) {
		err = in.bad("entry %d: what stands in the open is not what the entry says", e.Seq)
	}
	return err
}

func (in *exportReader) bad(format string, args ...any) error {
	return crm.Errorf("verify an export", crm.CodeCorrupt, "line %d: %w", in.line, fmt.Errorf(format, args...)).
		WithHint("the file is not as it was written; fetch it again from where it is kept")
}

func (in *exportReader) found(err error) error {
	var e *crm.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return in.bad("%w", err)
}
