package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
)

// auditFiles are the files beside the store by which its log is proved: the signing key, its public part, and the
// heads that were exported. Whoever has the store open may write them, and nobody else.
type auditFiles struct {
	dir   string
	heads string // a path
	mu    sync.Mutex
}

// newAuditFiles says where they are: in the data directory, but for the heads, which REPRIEVE_AUDIT_HEADS may name.
func newAuditFiles(dir string) *auditFiles {
	heads := os.Getenv("REPRIEVE_AUDIT_HEADS")
	if heads == "" {
		heads = filepath.Join(dir, headsFile)
	}
	return &auditFiles{dir: dir, heads: heads}
}

// Signer reads the signing key, and makes one at the first need.
func (a *auditFiles) Signer() (*store.Signer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := a.read()
	if err != nil || s != nil {
		return s, err
	}
	if _, err := os.Stat(filepath.Join(a.dir, auditPub)); err == nil {
		return nil, crm.Errorf("read the signing key", crm.CodeNotFound, "%s is there and %s is not", auditPub, auditKey).
			WithHint("put the key back; if it is lost, keep %s with the exports that it is for, remove it here, and another key is made", auditPub)
	}
	if s, err = store.NewSigner(rand.Reader, crm.At(clock.Wall{}.Now())); err != nil {
		return nil, err
	}
	return s, a.write(s)
}

// Rotate has another key sign from now on.
func (a *auditFiles) Rotate(at crm.Nanos) (*store.Signer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old, err := a.read()
	if err != nil || old == nil {
		return nil, errors.Join(err, crm.Errorf("rotate the signing key", crm.CodeNotFound, "there is no signing key").WithHint("reprieve audit key makes one"))
	}
	next, err := old.Rotate(rand.Reader, at)
	if err != nil {
		return nil, err
	}
	return next, a.write(next)
}

// read gives the signing key, nil if there is none. The public part is written again if it is not the key's: a
// crash may have come between the two.
func (a *auditFiles) read() (*store.Signer, error) {
	const op = "read the signing key"
	file := filepath.Join(a.dir, auditKey)
	raw, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, crm.Errorf(op, crm.CodeFailed, "%w", err).WithHint("only the user that made it may read it")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, crm.Errorf(op, crm.CodeDenied, "others than its owner may read or change %s", auditKey).WithHint("chmod 600; if somebody may have read it: reprieve audit key --rotate")
	}
	s := &store.Signer{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, crm.Errorf(op, crm.CodeInvalid, "%s: %w", auditKey, err).WithHint("put the file back as it was")
	}
	want, err := json.MarshalIndent(s.Public(), "", "  ")
	if err != nil {
		return nil, err
	}
	if have, err := os.ReadFile(filepath.Join(a.dir, auditPub)); err != nil || !bytes.Equal(bytes.TrimSpace(have), want) {
		return s, writeWhole(filepath.Join(a.dir, auditPub), append(want, '\n'), 0o644)
	}
	return s, nil
}

// write makes the key durable, then its public part.
func (a *auditFiles) write(s *store.Signer) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(a.dir, auditKey), append(raw, '\n'), 0o600); err != nil {
		return err
	}
	_, err = a.read()
	return err
}

// Heads reads the heads that were exported. A last line that broke off is none: its writer died.
func (a *auditFiles) Heads() ([]store.Head, error) {
	raw, err := os.ReadFile(a.heads)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, crm.Errorf("read the exported heads", crm.CodeFailed, "%w", err).WithHint("make %s readable", headsFile)
	}
	var heads []store.Head
	in := bufio.NewReader(bytes.NewReader(raw))
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) == 0 && err != nil {
			return heads, nil
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var h store.Head
		switch jerr := json.Unmarshal(line, &h); {
		case jerr != nil && err != nil:
			return heads, nil
		case jerr != nil:
			return nil, crm.Errorf("read the exported heads", crm.CodeCorrupt, "line %d of %s is no head", n, filepath.Base(a.heads)).
				WithHint("the file was changed; compare it with a copy from elsewhere")
		}
		heads = append(heads, h)
	}
}

// Last gives the head that was exported last, nil if none was.
func (a *auditFiles) Last() (*store.Head, error) {
	heads, err := a.Heads()
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	return &heads[len(heads)-1], nil
}

// Append exports a head, durably. After a line that broke off it begins a new one.
func (a *auditFiles) Append(h store.Head) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if have, err := os.ReadFile(a.heads); err == nil && len(have) > 0 && have[len(have)-1] != '\n' {
		// its writer died: what it wrote was never told of
		if err := os.Truncate(a.heads, int64(bytes.LastIndexByte(have, '\n')+1)); err != nil {
			return crm.Errorf("export the head of the log", crm.CodeFailed, "%w", err).WithHint("make the file writable")
		}
	}
	f, err := os.OpenFile(a.heads, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return crm.Errorf("export the head of the log", crm.CodeFailed, "%w", err).WithHint("make the file writable")
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Sync(), f.Close())
}

// runtime gives the engine what it exports heads with.
func (a *auditFiles) runtime(cron string) *runtime.Audit {
	return &runtime.Audit{Signer: a.Signer, Append: a.Append, Last: a.Last, Cron: cron}
}

// writeWhole puts a file in the place of another, whole and durably, or not at all.
func writeWhole(file string, raw []byte, mode os.FileMode) error {
	fail := func(err error) error {
		return crm.Errorf("write "+filepath.Base(file), crm.CodeFailed, "%w", err).WithHint("make the data directory writable")
	}
	f, err := os.OpenFile(file+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(file+".tmp", file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
