package store

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"io"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/row"
)

// What a store is sealed with is its data key, which is drawn when the store is made and never changes. It lies
// in the store, wrapped by the master key, which lies elsewhere; so a rotation of the master key writes one row.
// Stores of old have no such row: their data key is the master key that they were begun with.

// wrapFor binds a wrapped key to what it is for.
const wrapFor = "reprieve data key v1"

func checkMaster(key []byte) error {
	if len(key) == 32 {
		return nil
	}
	return crm.Errorf("open the store", crm.CodeInvalid, "the master key has %d bytes, not 32", len(key)).
		WithHint("reprieve init makes one; keep master.key beside the store")
}

// unlock finds the data key by the master key, or by the one that a rotation was about to bring. A new store
// gets one. A store of another master key is refused: its log could not be opened and its identities not be found.
func (s *Store) unlock(ctx context.Context, o Options) error {
	var fresh bool
	err := s.eng.View(ctx, func(tx row.Tx) error {
		marks, err := tx.Marks().Get(ctx, []string{markKey, markData})
		if err != nil {
			return err
		}
		if fresh = len(marks) == 0; fresh {
			return nil
		}
		return s.unwrap(marks[markKey], marks[markData], o)
	})
	if err != nil || !fresh {
		return err
	}
	data := make([]byte, 32)
	if _, err := io.ReadFull(s.rand, data); err != nil {
		return err
	}
	if s.keys, err = newKeyring(data); err != nil {
		return err
	}
	s.own = true
	return s.eng.Update(ctx, func(tx row.Tx) error {
		return s.putKeys(ctx, tx, o.Key)
	})
}

// unwrap tries the master keys on what the store holds.
func (s *Store) unwrap(print, wrapped *row.Mark, o Options) error {
	for i, master := range [][]byte{o.Key, o.Next} {
		if len(master) != 32 {
			continue
		}
		data := master
		if wrapped != nil {
			if data = open(master, wrapped.Bytes); data == nil {
				continue
			}
		}
		keys, err := newKeyring(data)
		if err != nil {
			return err
		}
		if print != nil && bytes.Equal(print.Bytes, keys.fingerprint()) {
			// a store of old keeps the key that it was begun with, wrapped, at its first rotation
			s.keys, s.next, s.own = keys, i == 1, wrapped != nil && wrapped.N == ownKey
			return nil
		}
	}
	return crm.Errorf("open the store", crm.CodeInvalid, "the master key is not the one that this store was begun with, or was given last").
		WithHint("put the right master.key beside the store, or name it in REPRIEVE_MASTER_KEY")
}

// ownKey marks a data key that was drawn for its store.
const ownKey = 1

// putKeys writes the data key, wrapped by a master key, and its fingerprint.
func (s *Store) putKeys(ctx context.Context, tx row.Tx, master []byte) error {
	wrapped, err := s.wrap(master)
	if err != nil {
		return err
	}
	old, err := tx.Marks().Get(ctx, []string{markKey, markData})
	if err != nil {
		return err
	}
	data := &row.Mark{Name: markData, Bytes: wrapped}
	if s.own {
		data.N = ownKey
	}
	changes := []row.Change[row.Mark]{{Old: old[markData], New: data}}
	if old[markKey] == nil {
		changes = append(changes, row.Change[row.Mark]{New: &row.Mark{Name: markKey, Bytes: s.keys.fingerprint()}})
	}
	return tx.Marks().Write(ctx, changes)
}

// KeyRotation is what a rotation of the master key came to.
type KeyRotation struct {
	// Old says that the data key is the master key that the store was begun with, as in stores of old: whoever has
	// that key can open this store for ever.
	Old bool `json:"first_key_still_opens"`
}

// UsedNext says that it was Options.Next that opened the store: a rotation got as far as the store, and the
// key has to take the other's place.
func (s *Store) UsedNext() bool { return s.next }

// RotateKey wraps the data key by another master key and notes it in the log, in one transaction. From then on
// only that one opens the store. Only an admin may.
func (s *Store) RotateKey(ctx context.Context, by crm.Actor, acc crm.AccountID, master []byte) (KeyRotation, error) {
	const op = "rotate the master key"
	if by.Role != crm.Admin {
		return KeyRotation{}, crm.Errorf(op, crm.CodeDenied, "only an admin may").WithHint("ask an admin of the account")
	}
	if err := checkMaster(master); err != nil {
		return KeyRotation{}, err
	}
	err := s.Update(ctx, func(tx *Tx) error {
		if err := s.putKeys(tx.ctx, tx.row, master); err != nil {
			return err
		}
		return tx.note(crm.Event{Kind: crm.MasterKeyRotated, Account: acc, At: tx.now, By: by, Why: crm.Cause{Kind: crm.ByPerson}})
	})
	return KeyRotation{Old: !s.own}, err
}

func wrapper(master []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, master, nil, "reprieve wrap v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (s *Store) wrap(master []byte) ([]byte, error) {
	aead, err := wrapper(master)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, s.keys.data, []byte(wrapFor)), nil
}

// open gives the data key, nil if the master key does not fit.
func open(master, wrapped []byte) []byte {
	aead, err := wrapper(master)
	if err != nil || len(wrapped) < aead.NonceSize() {
		return nil
	}
	data, err := aead.Open(nil, wrapped[:aead.NonceSize()], wrapped[aead.NonceSize():], []byte(wrapFor))
	if err != nil || len(data) != 32 {
		return nil
	}
	return data
}
