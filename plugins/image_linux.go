package plugins

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// await waits for the process to end, kills the rest of its group and reaps it, in this order: until
// it is reaped its number, and so its group's, cannot be anybody else's.
func (c *child) await(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = unix.Kill(-pid, unix.SIGKILL)
	_ = c.cmd.Wait()
	c.reaped = true
}

// verified makes cmd execute exactly the bytes of file, after they were hashed: they are copied into
// sealed memory first, so nobody can swap them between the check and the start. The caller calls
// release once cmd has been started.
func verified(cmd *exec.Cmd, file io.Reader, _ string) (sum [32]byte, release func(), err error) {
	fd, err := unix.MemfdCreate("reprieve-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // a kernel before 6.3 knows no MFD_EXEC and needs none
		fd, err = unix.MemfdCreate("reprieve-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return sum, nil, fmt.Errorf("make memory for the plugin: %w", err)
	}
	mem := os.NewFile(uintptr(fd), "plugin")
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(mem, h), file); err != nil {
		mem.Close()
		return sum, nil, fmt.Errorf("read the plugin: %w", err)
	}
	seals := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(mem.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		mem.Close()
		return sum, nil, fmt.Errorf("seal the plugin: %w", err)
	}
	cmd.Path = "/proc/self/fd/3" // of the child: where ExtraFiles begin
	cmd.ExtraFiles = []*os.File{mem}
	return [32]byte(h.Sum(nil)), func() { mem.Close() }, nil
}
