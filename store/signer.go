package store

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// PublicKey is an ed25519 public key, as text in hex.
type PublicKey [ed25519.PublicKeySize]byte

// String gives the key in hex.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText shows the key in hex.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads hex, in small letters.
func (k *PublicKey) UnmarshalText(b []byte) error { return fixedHex(k[:], b) }

// Hash is a sha256 or an id, as text in hex.
type Hash [32]byte

// MarshalText shows the hash in hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads hex, in small letters.
func (h *Hash) UnmarshalText(b []byte) error { return fixedHex(h[:], b) }

// StoreID tells stores apart in what is signed.
type StoreID [16]byte

// MarshalText shows the id in hex.
func (s StoreID) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s[:])), nil }

// UnmarshalText reads hex, in small letters.
func (s *StoreID) UnmarshalText(b []byte) error { return fixedHex(s[:], b) }

func fixedHex(dst, b []byte) error {
	if len(b) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("it has %d digits, not %d", len(b), hex.EncodedLen(len(dst)))
	}
	if strings.ToLower(string(b)) != string(b) {
		return fmt.Errorf("it has capital letters")
	}
	_, err := hex.Decode(dst, b)
	return err
}

// Keys are the public keys by which what a store has signed is known: the present one, and those before it, each
// signed by the present one.
type Keys struct {
	Key   PublicKey `json:"key"`
	Since crm.Nanos `json:"since"`
	Old   []OldKey  `json:"old,omitempty"`
}

// OldKey is a key that another has taken the place of. What it signed later than Until is not believed.
type OldKey struct {
	Key       PublicKey `json:"key"`
	Since     crm.Nanos `json:"since"`
	Until     crm.Nanos `json:"until"`
	Signature []byte    `json:"signature"` // by the present key
}

// ParseKeys reads a key in hex, or the list that audit.pub holds, whose old keys the present one must have signed.
func ParseKeys(text []byte) (*Keys, error) {
	const op = "read the public key"
	text = []byte(strings.TrimSpace(string(text)))
	k := &Keys{}
	if len(text) > 0 && text[0] != '{' {
		if err := k.Key.UnmarshalText(text); err != nil {
			return nil, crm.Errorf(op, crm.CodeInvalid, "it is no key: %w", err).WithHint("give the 64 hexadecimal digits that reprieve audit key prints, or the file audit.pub")
		}
		return k, nil
	}
	if err := json.Unmarshal(text, k); err != nil {
		return nil, crm.Errorf(op, crm.CodeInvalid, "it is neither a key nor a list of keys").WithHint("give the 64 hexadecimal digits that reprieve audit key prints, or the file audit.pub")
	}
	for _, o := range k.Old {
		if !ed25519.Verify(k.Key[:], o.message(), o.Signature) {
			return nil, crm.Errorf(op, crm.CodeCorrupt, "the old key %s is not signed by the present one", o.Key).WithHint("take audit.pub from where the store is")
		}
	}
	return k, nil
}

// Signed says whether one of the keys has signed a message at an instant.
func (k *Keys) Signed(by PublicKey, at crm.Nanos, message, signature []byte) error {
	if by != k.Key {
		i := slices.IndexFunc(k.Old, func(o OldKey) bool { return o.Key == by })
		if i < 0 {
			return fmt.Errorf("the key %s is none of those that are trusted", by)
		}
		if at > k.Old[i].Until {
			return fmt.Errorf("the key %s was replaced at %s, before it signed this", by, k.Old[i].Until)
		}
	}
	if !ed25519.Verify(by[:], message, signature) {
		return fmt.Errorf("the signature is not that of the key %s", by)
	}
	return nil
}

func (o *OldKey) message() []byte {
	return message("reprieve audit key v1", o.Key[:], number(uint64(o.Since)), number(uint64(o.Until)))
}

// message joins parts of fixed lengths behind what they are signed for, so that no signature serves another purpose.
func message(purpose string, parts ...[]byte) []byte {
	return slices.Concat(append([][]byte{[]byte(purpose), {0}}, parts...)...)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Signer signs what is exported of the log. Its key is its own: neither the master key nor the store tells it.
type Signer struct {
	private ed25519.PrivateKey
	public  Keys
}

// NewSigner draws a key.
func NewSigner(rand io.Reader, at crm.Nanos) (*Signer, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, err
	}
	s := &Signer{private: ed25519.NewKeyFromSeed(seed)}
	s.public = Keys{Key: PublicKey(s.private.Public().(ed25519.PublicKey)), Since: at}
	return s, nil
}

// Rotate draws the next key, which signs all keys before it.
func (s *Signer) Rotate(rand io.Reader, at crm.Nanos) (*Signer, error) {
	next, err := NewSigner(rand, at)
	if err != nil {
		return nil, err
	}
	next.public.Old = append([]OldKey{{Key: s.public.Key, Since: s.public.Since, Until: at}}, s.public.Old...)
	for i := range next.public.Old {
		o := &next.public.Old[i]
		o.Signature = ed25519.Sign(next.private, o.message())
	}
	return next, nil
}

// Public gives the keys by which signatures are checked.
func (s *Signer) Public() *Keys { return &s.public }

func (s *Signer) sign(message []byte) []byte { return ed25519.Sign(s.private, message) }

// signerFile is a signer as its file holds it.
type signerFile struct {
	Seed string `json:"seed"`
	Keys
}

// MarshalJSON gives what audit.key holds. It is a secret.
func (s *Signer) MarshalJSON() ([]byte, error) {
	return json.Marshal(signerFile{hex.EncodeToString(s.private.Seed()), s.public})
}

// UnmarshalJSON reads what audit.key holds. No error repeats it.
func (s *Signer) UnmarshalJSON(b []byte) error {
	var f signerFile
	if json.Unmarshal(b, &f) != nil {
		return fmt.Errorf("it is not the file of a signing key")
	}
	seed, err := hex.DecodeString(f.Seed)
	if err != nil || len(seed) != ed25519.SeedSize {
		return fmt.Errorf("it holds no signing key")
	}
	s.private, s.public = ed25519.NewKeyFromSeed(seed), f.Keys
	if s.public.Key != PublicKey(s.private.Public().(ed25519.PublicKey)) {
		return fmt.Errorf("its public key is not that of its signing key")
	}
	return nil
}
