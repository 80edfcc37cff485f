package crm

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ValueKind says which member of a Value counts.
type ValueKind uint8

// The kinds of value.
const (
	NoValue ValueKind = iota
	TextValue
	NumberValue
	BoolValue
	InstantValue
	ListValue
)

var valueKinds = []string{"none", "text", "number", "bool", "instant", "list"}

// String names the kind as policy and schema do.
func (k ValueKind) String() string { return valueKinds[k] }

// Value is a custom field's value: a closed union, so that it decodes to what was encoded.
type Value struct {
	Kind   ValueKind `cbor:"1,keyasint"`
	Text   string    `cbor:"2,keyasint,omitempty"`
	Number float64   `cbor:"3,keyasint,omitempty"`
	Bool   bool      `cbor:"4,keyasint,omitempty"`
	At     Nanos     `cbor:"5,keyasint,omitempty"`
	List   []string  `cbor:"6,keyasint,omitempty"`
}

// Text makes a text value.
func Text(s string) Value { return Value{Kind: TextValue, Text: s} }

// Number makes a number value.
func Number(f float64) Value { return Value{Kind: NumberValue, Number: f} }

// Equal says whether two values are the same.
func (v Value) Equal(w Value) bool {
	return v.Kind == w.Kind && v.Text == w.Text && v.Number == w.Number && v.Bool == w.Bool &&
		v.At == w.At && slices.Equal(v.List, w.List)
}

// Any gives the value as a plain Go value, for JSON and for conditions: string, float64, bool,
// time.Time, []string, or nil.
func (v Value) Any() any {
	switch v.Kind {
	case TextValue:
		return v.Text
	case NumberValue:
		return v.Number
	case BoolValue:
		return v.Bool
	case InstantValue:
		return v.At.Time()
	case ListValue:
		return v.List
	}
	return nil
}

// String shows the value to people.
func (v Value) String() string {
	switch v.Kind {
	case TextValue:
		return v.Text
	case NumberValue:
		return strconv.FormatFloat(v.Number, 'g', -1, 64)
	case BoolValue:
		return strconv.FormatBool(v.Bool)
	case InstantValue:
		return v.At.String()
	case ListValue:
		return strings.Join(v.List, ", ")
	}
	return ""
}

// Fold gives the form in which tags, channels and names are compared: without surrounding space
// and without case, also beyond ASCII. Two strings that strings.EqualFold calls equal fold alike.
// HighLevel's import lower-cases tags; with folding a condition written "Unsubscribed" still
// matches them.
func Fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			if r != 'k' && r != 's' {
				return r
			}
		}
		// The smallest member of the orbit stands for all of it; for letters of ASCII we prefer the
		// lower-case one, so that the fold of plain text reads like plain text.
		low := r
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			low = min(low, o)
		}
		if 'A' <= low && low <= 'Z' {
			low += 'a' - 'A'
		}
		return low
	}, strings.TrimSpace(s))
}
