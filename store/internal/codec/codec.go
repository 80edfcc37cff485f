// Package codec is the envelope of every stored row: a format number, a checksum, and a body of CBOR
// with integer keys.
//
// What comes out is exactly what went in, or an error: no instant loses its fraction, no unknown
// member is dropped, no damaged byte passes. It must never be given a time.Time, an any or an
// interface, which CBOR decodes to something else.
package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/reprieve-run/reprieve/crm"
)

// Format is the newest format of rows that this version reads, and the one that it writes. It goes
// up whenever a stored struct gains a member. A version that does not know the member would drop it
// when it rewrites the row, so it refuses the row by its number; that unknown members are errors as
// well is the second line of the same defence. Older formats are read: what they lack is zero.
const Format = 1

// MaxBody is the largest body in bytes. The decoder's limits on arrays and maps follow from it: an
// element takes at least a byte, so whatever may be written can be read again.
const MaxBody = 8 << 20

const header = 5 // format number, CRC-32C of the body

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	encMode    = must(encOptions.UserBufferEncMode())
	decMode    = must(decOptions.DecMode())
	buffers    = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// Maps are sorted so that equal rows have equal bytes. Nothing is converted: floats keep their
// width, and text keeps its bytes even if they are no UTF-8, because a row that can be written and
// not read is a lost row.
var encOptions = cbor.EncOptions{
	Sort:            cbor.SortBytewiseLexical,
	NaNConvert:      cbor.NaNConvertNone,
	InfConvert:      cbor.InfConvertNone,
	IndefLength:     cbor.IndefLengthForbidden,
	TagsMd:          cbor.TagsForbidden,
	BinaryMarshaler: cbor.BinaryMarshalerNone, // ids and instants are stored as bytes and integers,
	TextMarshaler:   cbor.TextMarshalerNone,   // not as the text that people see
}

var decOptions = cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	IndefLength:       cbor.IndefLengthForbidden,
	TagsMd:            cbor.TagsForbidden,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	UTF8:              cbor.UTF8DecodeInvalid,
	BinaryUnmarshaler: cbor.BinaryUnmarshalerNone,
	TextUnmarshaler:   cbor.TextUnmarshalerNone,
	MaxNestedLevels:   16,
	MaxArrayElements:  MaxBody,
	MaxMapPairs:       MaxBody,
}

// must stops the program when options contradict each other, which no input can cause.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Marshal encodes a row; it gives crm.CodeInvalid when the body would be larger than MaxBody.
func Marshal(v any) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer release(buf)
	buf.Write(make([]byte, header))
	if err := encMode.MarshalToBuffer(v, buf); err != nil {
		return nil, crm.Errorf("encode a row", crm.CodeInvalid, "%T: %w", v, err)
	}
	if err := checkSize(buf.Len() - header); err != nil {
		return nil, err
	}
	return seal(bytes.Clone(buf.Bytes())), nil
}

// Unmarshal decodes a row into v, a pointer to a zero value: members that the body omits stay as
// they are. It keeps no reference to b. A damaged row is crm.CodeCorrupt, a row of a newer version
// crm.CodeNewer.
func Unmarshal(b []byte, v any) error {
	body, err := Unwrap(b)
	if err != nil {
		return err
	}
	if err := decMode.Unmarshal(body, v); err != nil {
		// The library's text may quote what it read, so it is not passed on.
		return crm.Errorf("decode a row", crm.CodeCorrupt, "the body is not a %T", v).
			WithHint("run reprieve store check; restore from a backup if it confirms the damage")
	}
	return nil
}

// Wrap puts the envelope around a body that is not ours to encode, such as a line of a log.
func Wrap(body []byte) ([]byte, error) {
	if err := checkSize(len(body)); err != nil {
		return nil, err
	}
	return seal(append(make([]byte, header, header+len(body)), body...)), nil
}

// Unwrap checks the envelope and gives the body, which is part of b.
func Unwrap(b []byte) ([]byte, error) {
	switch {
	case len(b) < header || b[0] == 0:
		return nil, damaged("the envelope is cut short")
	case b[0] > Format:
		return nil, crm.Errorf("decode a row", crm.CodeNewer, "format %d is newer than %d", b[0], Format).
			WithHint("use the version of Reprieve that wrote it, or a later one")
	case len(b)-header > MaxBody:
		return nil, damaged("the body is too large")
	case binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[header:], castagnoli):
		return nil, damaged("the checksum is wrong")
	}
	return b[header:], nil
}

// seal fills in the header.
func seal(b []byte) []byte {
	b[0] = Format
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[header:], castagnoli))
	return b
}

func checkSize(n int) error {
	if n <= MaxBody {
		return nil
	}
	return crm.Errorf("encode a row", crm.CodeInvalid, "%d bytes are more than a row can hold (%d)", n, MaxBody).
		WithHint("store less in one row: shorten the text or remove items")
}

func damaged(what string) error {
	return &crm.Error{Op: "decode a row", Code: crm.CodeCorrupt, Err: fmt.Errorf("%s", what),
		Hint: "run reprieve store check; restore from a backup if it confirms the damage"}
}

// release returns a buffer to the pool, unless one large row has made it a large buffer.
func release(buf *bytes.Buffer) {
	if buf.Cap() <= 64<<10 {
		buf.Reset()
		buffers.Put(buf)
	}
}
