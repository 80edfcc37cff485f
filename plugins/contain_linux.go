package plugins

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// spawn starts the command, shut in as far as the kernel lets it, and says how far that is. The caller has
// locked itself to its thread and never unlocks it: the thread takes on what the process inherits, and the
// process is killed when the thread ends.
//
// There is no shim in between that would have to be found, started and trusted. What a process hands down
// when it forks is put on the thread; namespaces are Go's own Cloneflags, without a mapping of users, so
// that the plugin has the host's access to files and no capability; and limits are set while the process
// stands still at its first instruction, because it is traced until then.
func spawn(c *exec.Cmd, conf confine) (*exec.Cmd, Containment, error) {
	var held Containment
	held.has(ownGroup, emptyEnv, privateSocket, diesWithHost)
	if len(c.ExtraFiles) > 0 {
		held.has(sealedImage)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		held.lacks(noNewPrivs, err.Error())
	} else {
		held.has(noNewPrivs)
		restrict(conf, &held)
	}
	cmd, space, err := fork(c, conf, &held)
	if err != nil {
		return nil, Containment{}, err
	}
	limit(cmd.Process.Pid, conf, space, &held)
	if cmd.SysProcAttr.Ptrace {
		release(cmd.Process.Pid)
		held.has(limitsAtOnce)
	}
	return cmd, held, nil
}

// fork tries the namespaces from the most to none, each while the process is traced and then without.
func fork(c *exec.Cmd, conf confine, held *Containment) (*exec.Cmd, uintptr, error) {
	root := os.Geteuid() == 0
	var sets []uintptr
	for _, net := range []uintptr{unix.CLONE_NEWNET, 0} {
		if net != 0 && conf.network {
			continue
		}
		// Without root's capabilities a process of root's could no longer write into another user's folder.
		if !conf.trusted || !root {
			sets = append(sets, unix.CLONE_NEWUSER|unix.CLONE_NEWPID|net)
		}
		if root {
			sets = append(sets, unix.CLONE_NEWPID|net)
		}
	}
	sets = append(sets, 0)
	var first error
	for _, traced := range []bool{true, false} {
		for _, set := range sets {
			// A command is started once. It leads a session, not just a group: who leads a session cannot move to
			// another group, which would be out of reach, and as the first process of a pid namespace could never end.
			cmd := &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, Stdout: c.Stdout, Stderr: c.Stderr, ExtraFiles: c.ExtraFiles,
				SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: set, Ptrace: traced}}
			err := cmd.Start()
			if err == nil {
				conf.spaces(set, root, reason(first), held)
				if !traced {
					held.lacks(limitsAtOnce, reason(first))
				}
				return cmd, set, nil
			}
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOEXEC) {
				return nil, 0, err // it is the file
			}
			if slices.ContainsFunc([]error{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EINTR}, func(e error) bool { return errors.Is(err, e) }) {
				return nil, 0, err // a shortage, which a plugin can bring about, must not let one out
			}
			if first == nil {
				first = err
			}
		}
	}
	return nil, 0, first
}

// reason strips an error of the path in it.
func reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return "the system refuses it: " + errno.Error()
	}
	return fmt.Sprint(err)
}

// spaces notes which namespaces the process is in.
func (conf confine) spaces(set uintptr, root bool, why string, held *Containment) {
	for _, s := range []struct {
		flag uintptr
		name string
	}{{unix.CLONE_NEWUSER, userSpace}, {unix.CLONE_NEWPID, pidSpace}, {unix.CLONE_NEWNET, netSpace}} {
		switch {
		case set&s.flag != 0:
			held.has(s.name)
		case s.flag == unix.CLONE_NEWUSER && conf.trusted && root:
			held.lacks(s.name, "it is built in and the host runs as root, whose files it may have to write")
		case s.flag == unix.CLONE_NEWNET && conf.network:
			held.lacks(s.name, "it declares that it needs the network")
		default:
			held.lacks(s.name, why)
		}
	}
}

// limit sets what one process of the plugin's may use.
func limit(pid int, conf confine, space uintptr, held *Containment) {
	set := func(resource int, most uint64, name string) {
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			held.lacks(name, reason(err))
			return
		}
		held.has(name)
	}
	set(unix.RLIMIT_CORE, 0, limitCore)
	files := uint64(maxOpenFiles)
	var now unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now) == nil { // only root can raise a limit
		files = min(files, now.Max)
	}
	set(unix.RLIMIT_NOFILE, files, limitFiles)
	if conf.trusted {
		return
	}
	set(unix.RLIMIT_FSIZE, maxFileSize, limitSize)
	if conf.memory > 0 {
		// Not the address space, of which Go and V8 reserve far more than they use.
		set(unix.RLIMIT_DATA, conf.memory, limitMemory)
	}
	switch {
	case os.Getuid() == 0:
		held.lacks(limitProcs, "the host runs as root, for whom the kernel counts none")
	case space&unix.CLONE_NEWUSER == 0:
		held.lacks(limitProcs, "without a user namespace it would count all processes of the user")
	default:
		set(unix.RLIMIT_NPROC, maxProcesses, limitProcs)
	}
}

// release lets a traced process go on, which stands still at its first instruction. One that was killed
// meanwhile is left to be found so.
func release(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	_ = unix.PtraceDetach(pid)
}
