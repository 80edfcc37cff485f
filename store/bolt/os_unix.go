//go:build linux || darwin || freebsd

package bolt

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// freeBytes asks the file system how much an unprivileged process may still write.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(max(s.Bavail, 0)) * uint64(s.Bsize), nil
}

// lock takes the file's lock before anything of it is read. It is the lock that bbolt takes as
// well, on the same descriptor, where taking it twice is taking it once.
func lock(f *os.File, how int, timeout time.Duration) error {
	const pause = 20 * time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return err
		}
		if waited >= timeout {
			return errLocked
		}
		time.Sleep(pause)
	}
}

const (
	lockShared    = unix.LOCK_SH
	lockExclusive = unix.LOCK_EX
)
