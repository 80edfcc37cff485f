package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
)

// keyring derives every key of a store from its data key.
type keyring struct {
	data     []byte
	identity []byte
	seal     []byte // what the keys of contacts are expanded from
}

func newKeyring(data []byte) (keyring, error) {
	identity, err := hkdf.Key(sha256.New, data, nil, "reprieve identity v1", 32)
	if err != nil {
		return keyring{}, err
	}
	seal, err := hkdf.Key(sha256.New, data, nil, "reprieve seal v1", 32)
	return keyring{data, identity, seal}, err
}

func (k keyring) fingerprint() []byte {
	b, _ := hkdf.Key(sha256.New, k.data, nil, "reprieve fingerprint v1", 16)
	return b
}

// id tells stores apart, in what is signed about them. Nothing can be told from it.
func (k keyring) id() (id [16]byte) {
	b, _ := hkdf.Key(sha256.New, k.data, nil, "reprieve store v1", 16)
	return [16]byte(b)
}

// identityHash is how an address is looked up: keyed, and bound to the account.
func (k keyring) identityHash(mac hash.Hash, acc crm.AccountID, n crm.NamedIdentity) (h [32]byte) {
	mac.Reset()
	mac.Write(acc[:])
	mac.Write([]byte{byte(len(n.Name))})
	mac.Write([]byte(n.Name))
	mac.Write([]byte(n.Value))
	mac.Sum(h[:0])
	return h
}

func (k keyring) identityHashes(acc crm.AccountID, ids []crm.NamedIdentity) [][32]byte {
	mac := hmac.New(sha256.New, k.identity)
	out := make([][32]byte, len(ids))
	for i, n := range ids {
		out[i] = k.identityHash(mac, acc, n)
	}
	return out
}

// RunKey hashes the value of a workflow's run.key, which may be an address: keyed, like identities.
func (s *Store) RunKey(acc crm.AccountID, workflow, value string) (h [32]byte) {
	return s.keys.identityHash(hmac.New(sha256.New, s.keys.identity), acc, crm.NamedIdentity{Name: "run.key of " + workflow, Value: value})
}

// contactCipher is the cipher of one contact's payloads. Its key dies with the salt, which only the
// contact's own row holds; so a purge makes every sealed payload unreadable wherever it was copied.
func (k keyring) contactCipher(salt [16]byte) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, k.seal, string(salt[:]), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal encrypts v for a contact. The contact's id and what it is for are authenticated with it, so a
// payload cannot be moved to another row.
func (s *Store) seal(c *crm.Contact, purpose string, n uint64, v any) ([]byte, error) {
	plain, err := codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	aead, err := s.keys.contactCipher(c.Salt)
	if err != nil {
		return nil, err
	}
	out := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	if _, err := io.ReadFull(s.rand, out); err != nil {
		return nil, err
	}
	return aead.Seal(out, out, plain, sealedFor(c.ID, purpose, n)), nil
}

// open is the reverse of seal.
func (s *Store) open(c *crm.Contact, purpose string, n uint64, sealed []byte, v any) error {
	aead, err := s.keys.contactCipher(c.Salt)
	if err != nil {
		return err
	}
	if len(sealed) < aead.NonceSize() {
		return crm.Errorf("open a sealed payload", crm.CodeCorrupt, "it is too short").About(c.ID)
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], sealedFor(c.ID, purpose, n))
	if err != nil {
		return crm.Errorf("open a sealed payload", crm.CodeCorrupt, "it does not belong to this contact or was changed").About(c.ID)
	}
	return codec.Unmarshal(plain, v)
}

func sealedFor(id crm.ContactID, purpose string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(id[:], purpose...), n)
}
