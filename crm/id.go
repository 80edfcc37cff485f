package crm

import (
	"encoding/base32"
	"fmt"
	"io"
	"strings"
)

// An ID is a UUIDv7: 16 bytes that sort by the time they were made. P gives it a kind, so that a
// record's id is never accepted where a contact's belongs, neither by the compiler nor at the door.
type ID[P prefixer] [16]byte

type prefixer interface{ prefix() string }

// The kinds that an id may be of, for ParseID and NewID.
type (
	AccountKind   struct{}
	ContactKind   struct{}
	RunKind       struct{}
	OperationKind struct{}
	ItemIDKind    struct{}
)

func (AccountKind) prefix() string   { return "acc" }
func (ContactKind) prefix() string   { return "con" }
func (RunKind) prefix() string       { return "run" }
func (OperationKind) prefix() string { return "blk" }
func (ItemIDKind) prefix() string    { return "itm" }

// The kinds of id.
type (
	AccountID   = ID[AccountKind]   // acc_…
	ContactID   = ID[ContactKind]   // con_…
	RunID       = ID[RunKind]       // run_…
	OperationID = ID[OperationKind] // blk_…
	// ItemID names a record, a list, a campaign, a company or an opportunity: itm_…
	ItemID = ID[ItemIDKind]
)

// idText is Crockford's alphabet in lower case: no i, l, o or u, so an id survives being read aloud.
var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID makes an id from an instant and ten bytes of rnd. The caller makes ids, so that trying a
// request again names the same thing again.
func NewID[P prefixer](now Nanos, rnd io.Reader) (ID[P], error) {
	var id ID[P]
	if _, err := io.ReadFull(rnd, id[6:]); err != nil {
		return id, fmt.Errorf("make an id: %w", err)
	}
	ms := uint64(now) / 1e6
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6] = id[6]&0x0f | 0x70 // version 7
	id[8] = id[8]&0x3f | 0x80 // the variant of RFC 9562
	return id, nil
}

// ParseID reads what String wrote, and only that, whatever the case of its letters: an id has one
// spelling. An id of another kind is an error that names the kind that was wanted.
func ParseID[P prefixer](s string) (ID[P], error) {
	var id ID[P]
	var p P
	kind, text, ok := strings.Cut(strings.TrimSpace(s), "_")
	if !ok || kind != p.prefix() {
		return id, &Error{Op: "read an id", Code: CodeInvalid,
			Err:  fmt.Errorf("it is not an id of the kind %s_…", p.prefix()),
			Hint: "ids look like " + ID[P]{}.String()}
	}
	text = strings.ToLower(text)
	raw, err := idText.DecodeString(text)
	// 26 letters hold two bits more than an id has, and the decoder passes over line ends.
	if err != nil || len(raw) != len(id) || idText.EncodeToString(raw) != text {
		return id, &Error{Op: "read an id", Code: CodeInvalid,
			Err:  fmt.Errorf("the %d characters after %s_ are not an id", len(text), kind),
			Hint: "copy the whole id: 26 characters after the underscore"}
	}
	copy(id[:], raw)
	return id, nil
}

// String shows the id with the prefix of its kind.
func (id ID[P]) String() string {
	var p P
	return p.prefix() + "_" + idText.EncodeToString(id[:])
}

// IsZero says whether the id was never set.
func (id ID[P]) IsZero() bool { return id == ID[P]{} }

// MarshalText is String, so that JSON shows ids as people do; a zero id is empty.
func (id ID[P]) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText is ParseID; empty text is the zero id.
func (id *ID[P]) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID[P]{}
		return nil
	}
	got, err := ParseID[P](string(b))
	*id = got
	return err
}

// AnyKind is the kind of an id that has not been given one yet.
type AnyKind struct{}

func (AnyKind) prefix() string { return "any" }
