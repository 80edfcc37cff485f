package server

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peer gives the user id of the process at the other end of a unix socket, as the kernel knows it.
func peer(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if inner != nil {
		return 0, inner
	}
	if int(cred.Uid) == os.Getuid() && !sameUsers(int(cred.Pid)) {
		return 0, errors.New("the peer is shut in, as plugins are")
	}
	return cred.Uid, nil
}

// sameUsers says whether a process is in this one's user namespace. A plugin's process has the server's user
// id and can reach the socket, since no file's mode keeps it away; but it is in a namespace of its own, which
// it cannot leave.
func sameUsers(pid int) bool {
	is, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", pid))
	if err != nil {
		return false
	}
	own, err := os.Readlink("/proc/self/ns/user")
	return err == nil && is == own
}
