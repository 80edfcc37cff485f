package sdk

import (
	"encoding/json"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// Secret is a parameter that takes a secret of the operator, as in with: {token: "${ secrets.crm_token }"}. Its
// schema says writeOnly, and a workflow can put a secret nowhere else. It shows nothing when it is printed, logged
// or written as JSON.
type Secret struct{ text string }

// Reveal gives the secret, for the one place that needs it.
func (s Secret) Reveal() string { return s.text }

// UnmarshalJSON takes the secret from the parameters.
func (s *Secret) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &s.text) }

// MarshalJSON shows nothing.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// String shows nothing.
func (Secret) String() string { return "[redacted]" }

// GoString shows nothing.
func (Secret) GoString() string { return "[redacted]" }

// ownTypes are the schemas of types that encoding/json treats in a way of their own.
var ownTypes = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[Secret]():          {Type: "string", WriteOnly: true},
	reflect.TypeFor[json.RawMessage](): {},
	reflect.TypeFor[[]byte]():          {Type: "string", ContentEncoding: "base64"},
}
