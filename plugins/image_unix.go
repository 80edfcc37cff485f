//go:build unix && !linux

package plugins

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// await waits for the process to end and kills the rest of its group.
func (c *child) await(pid int) {
	_ = c.cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	c.reaped = true
}

// verified makes cmd execute exactly the bytes of file, after they were hashed: they are copied into
// the private directory first. The caller calls release once cmd has been started.
func verified(cmd *exec.Cmd, file io.Reader, private string) (sum [32]byte, release func(), err error) {
	path := filepath.Join(private, "image")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return sum, nil, fmt.Errorf("copy the plugin: %w", err)
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), file)
	if e := out.Close(); err == nil {
		err = e
	}
	if err != nil {
		return sum, nil, fmt.Errorf("copy the plugin: %w", err)
	}
	cmd.Path = path
	return [32]byte(h.Sum(nil)), func() {}, nil
}
