package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What landlock governs: writing, and reading, which is governed only to hide one directory.
const (
	landlockWrites = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	landlockReads = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFile  = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE // what a file takes
)

// maxBeside is how many files and folders may lie beside the way to the hidden directory.
const maxBeside = 4096

// restrict puts landlock on the calling thread, which must have no_new_privs, and notes what holds.
func restrict(conf confine, held *Containment) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		abi = 0
	}
	var rules unix.LandlockRulesetAttr
	var names []string
	want := func(since uintptr, name string, use func()) {
		if abi < since {
			why := "this kernel has no landlock for it"
			if errno != 0 && !errors.Is(errno, unix.ENOSYS) {
				why = reason(errno)
			}
			held.lacks(name, why)
			return
		}
		use()
		names = append(names, name)
	}
	if !conf.trusted {
		want(1, noWrites, func() {
			rules.Handled_access_fs |= landlockWrites
			if abi >= 2 {
				rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
			}
			if abi >= 3 {
				rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
			}
		})
		if conf.hidden != "" {
			want(1, noStore, func() { rules.Handled_access_fs |= landlockReads })
		}
	}
	if !conf.network {
		want(4, noTCP, func() {
			rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		})
	}
	want(6, noSignals, func() { rules.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET })
	if len(names) == 0 {
		return
	}
	err := enforce(&rules, conf)
	if err != nil && rules.Handled_access_fs&landlockReads != 0 { // what cannot be hidden must not cost the rest
		held.lacks(noStore, reason(err))
		names = slices.DeleteFunc(names, func(n string) bool { return n == noStore })
		rules.Handled_access_fs &^= landlockReads
		err = enforce(&rules, conf)
	}
	if err != nil {
		for _, n := range names {
			held.lacks(n, reason(err))
		}
		return
	}
	held.has(names...)
}

func enforce(rules *unix.LandlockRulesetAttr, conf confine) error {
	// A kernel that does not know the last members takes them as long as they are zero.
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(rules)), unsafe.Sizeof(*rules), 0)
	if errno != 0 {
		return errno
	}
	ruleset := int(n)
	defer unix.Close(ruleset)
	if err := conf.allow(ruleset, rules.Handled_access_fs); err != nil {
		return err
	}
	if _, _, errno = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// allow makes the exceptions: its own directories, the null device, and for reading all that does not lie
// on the way to the hidden directory.
func (conf confine) allow(ruleset int, handled uint64) error {
	if handled == 0 {
		return nil
	}
	if err := beneath(ruleset, conf.private, handled); err != nil {
		return err
	}
	if err := beneath(ruleset, os.DevNull, handled&landlockFile); err != nil {
		return err
	}
	if handled&landlockReads == 0 {
		return nil
	}
	readable, err := beside(conf.hidden)
	if err != nil {
		return err
	}
	for _, path := range append(readable, conf.folder) {
		// What cannot even be opened cannot be read either.
		if err := beneath(ruleset, path, landlockReads); err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// beneath allows an access to a directory and all below it, or to a file.
func beneath(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
	case unix.S_IFLNK: // its end lies beside the way too, or is hidden
		return nil
	default:
		access &= landlockFile
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// beside lists what lies beside a directory and beside each one above it: everything there is but the
// directory itself. What is made beside it later is not in the list.
func beside(dir string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for ; dir != "/"; dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(filepath.Dir(dir))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Name() != filepath.Base(dir) {
				out = append(out, filepath.Join(filepath.Dir(dir), e.Name()))
			}
		}
		if len(out) > maxBeside {
			return nil, errors.New("too much lies beside the data directory")
		}
	}
	return out, nil
}
