package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/internal/fault"
	"github.com/reprieve-run/reprieve/server"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/bolt"
)

// nextKeyFile holds the key that a rotation brings, until the store has it.
const nextKeyFile = keyFile + ".new"

// masterKeys are the master key, and the one that a rotation was about to bring, nil if there is none: a rotation that
// was broken off leaves the store with either.
type masterKeys struct {
	key, next []byte
	file      bool // they are the data directory's files
}

// masterKeys reads the master key from the environment, or from its file: REPRIEVE_MASTER_KEY holds it,
// REPRIEVE_MASTER_KEY_FILE names a file with it (a credential of the service manager, say). The next one is in
// REPRIEVE_NEW_MASTER_KEY and REPRIEVE_NEW_MASTER_KEY_FILE, or in master.key.new.
func (c *cli) masterKeys() (k masterKeys, err error) {
	if k.key, err = keyFrom("REPRIEVE_MASTER_KEY"); err != nil {
		return k, err
	}
	if k.key != nil {
		k.next, err = keyFrom("REPRIEVE_NEW_MASTER_KEY")
		return k, err
	}
	k.file = true
	raw, err := os.ReadFile(c.path(keyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, crm.Errorf("read the master key", crm.CodeNotFound, "%w", err).
			WithHint("without it the store's log cannot be opened; put the file back, or set REPRIEVE_MASTER_KEY")
	case err != nil:
		return k, crm.Errorf("read the master key", crm.CodeFailed, "it is there and cannot be read: %w", err).
			WithHint("only the user that ran reprieve init may read it; run as that user, or set REPRIEVE_MASTER_KEY")
	}
	if k.key, err = parseKey(string(raw), c.path(keyFile)); err != nil {
		return k, err
	}
	if raw, err := os.ReadFile(c.path(nextKeyFile)); err == nil {
		k.next, _ = parseKey(string(raw), nextKeyFile) // one that broke off was never the store's
	}
	return k, nil
}

// keyFrom reads a key that the environment holds, or names a file of; nil if it does neither.
func keyFrom(name string) ([]byte, error) {
	if text := os.Getenv(name); text != "" {
		return parseKey(text, name)
	}
	file := os.Getenv(name + "_FILE")
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, crm.Errorf("read the master key", crm.CodeFailed, "the file that %s_FILE names cannot be read: %w", name, err).
			WithHint("make it readable for the user that runs reprieve")
	}
	return parseKey(string(raw), name+"_FILE")
}

func parseKey(text, from string) ([]byte, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != 32 {
		return nil, crm.Errorf("read the master key", crm.CodeInvalid, "%s does not hold 64 hexadecimal digits", from).
			WithHint("put the key back that reprieve init or store rotate-key made; a store opens with no other")
	}
	return key, nil
}

// newMasterKey draws a key.
func newMasterKey() ([]byte, error) {
	key := make([]byte, 32)
	_, err := rand.Read(key)
	return key, err
}

// finish puts the next key in the place of the one before it: the store has it.
func (c *cli) finish(k masterKeys) error {
	if !k.file {
		return nil
	}
	if err := errors.Join(os.Rename(c.path(nextKeyFile), c.path(keyFile)), syncDir(c.data)); err != nil {
		return crm.Errorf("rotate the master key", crm.CodeFailed, "%w", err).
			WithHint("the store has the key that is in %s; put it into %s", nextKeyFile, keyFile)
	}
	return nil
}

func (c *cli) rotateKey() *cobra.Command {
	return &cobra.Command{Use: "rotate-key", Short: "Have another master key open the store from now on; the service must be stopped", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := server.Dial(c.path(socketFile)); err == nil {
				return crm.Errorf("rotate the master key", crm.CodeLocked, "a server runs on this data directory").
					WithHint("stop reprieve serve, rotate the key, and start it again: it takes no longer than that")
			}
			done, err := c.rotate(cmd.Context())
			if err != nil {
				return err
			}
			if done.Old {
				fmt.Fprintln(c.err, "warning: this store was begun before keys could be rotated; whoever has the key that it was begun with can open it for ever")
			}
			fmt.Fprintln(c.err, "the old key still opens copies of the store from before, and what of them lies in free pages of the file until reprieve store compact; back up the new key")
			return c.print(done, nil, table{{"store", "master_key"}, {c.path(storeFile), "rotated"}})
		}}
}

// rotate rotates the master key. A crash at any point leaves a store that opens with one of the two keys that
// lie there: the new one is on the disk before the store knows it, and takes the old one's place after.
func (c *cli) rotate(ctx context.Context) (done store.KeyRotation, err error) {
	const op = "rotate the master key"
	k, err := c.masterKeys()
	if err != nil {
		return done, err
	}
	eng, err := bolt.Open(c.path(storeFile), bolt.Options{Now: func() crm.Nanos { return crm.At(clock.Wall{}.Now()) }})
	if err != nil {
		return done, storeError(c.path(storeFile), err)
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	st, err := store.New(ctx, eng, store.Options{Key: k.key, Next: k.next})
	if err != nil {
		return done, err
	}
	next := k.next
	switch {
	case k.file:
		if st.UsedNext() {
			if err := c.finish(k); err != nil {
				return done, err
			}
		}
		if next, err = newMasterKey(); err != nil {
			return done, err
		}
		fault.Point("rotate.begun")
		if err := writeWhole(c.path(nextKeyFile), []byte(hex.EncodeToString(next)+"\n"), 0o600); err != nil {
			return done, err
		}
	case st.UsedNext():
		return done, crm.Errorf(op, crm.CodeConflict, "the store has the new key already").WithHint("put it into REPRIEVE_MASTER_KEY")
	case next == nil:
		return done, crm.Errorf(op, crm.CodeInvalid, "the master key is in the environment, and there is no new one").
			WithHint("put 64 hexadecimal digits into REPRIEVE_NEW_MASTER_KEY, or name their file in REPRIEVE_NEW_MASTER_KEY_FILE")
	}
	fault.Point("rotate.written")
	var acc crm.AccountID
	if err := st.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Accounts()
		if len(all) > 0 {
			acc = all[0].ID
		}
		return err
	}); err != nil {
		return done, err
	}
	by := crm.Actor{ID: fmt.Sprintf("user:%d", os.Getuid()), Role: crm.Admin}
	if done, err = st.RotateKey(ctx, by, acc, next); err != nil {
		return done, err
	}
	fault.Point("rotate.committed")
	if err := c.finish(k); err != nil {
		return done, err
	}
	fault.Point("rotate.finished")
	return done, nil
}
