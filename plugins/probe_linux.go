package plugins

import (
	"os"
	goruntime "runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// namespace names one that this process is in.
func namespace(kind string) string {
	name, _ := os.Readlink("/proc/self/ns/" + kind)
	return name
}

// try looks at what only Linux has.
func (ask probed) try(does map[string]bool) {
	for name, was := range map[string]string{userSpace: ask.User, netSpace: ask.Net} {
		kind := map[string]string{userSpace: "user", netSpace: "net"}[name]
		does[name] = namespace(kind) != was
	}
	does[pidSpace] = os.Getpid() == 1
	does[noSignals] = unix.Kill(ask.Host, 0) != nil
	does[ownGroup] = unix.Getpgrp() == os.Getpid()
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	does[noNewPrivs] = err == nil && nnp == 1
	goruntime.LockOSThread()
	if unix.Gettid() == os.Getpid() { // the signal is the first thread's alone
		var signal int32
		_, _, errno := unix.Syscall6(unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0, 0)
		does[diesWithHost] = errno == 0 && signal == int32(unix.SIGKILL)
	}
	goruntime.UnlockOSThread()
	exe, _ := os.Readlink("/proc/self/exe")
	does[sealedImage] = strings.HasPrefix(exe, "/memfd:")
	for name, l := range map[string]struct {
		resource int
		most     uint64
	}{
		limitCore: {unix.RLIMIT_CORE, 0}, limitFiles: {unix.RLIMIT_NOFILE, maxOpenFiles}, limitSize: {unix.RLIMIT_FSIZE, maxFileSize},
		limitMemory: {unix.RLIMIT_DATA, defaultMemory}, limitProcs: {unix.RLIMIT_NPROC, maxProcesses},
	} {
		var now unix.Rlimit
		does[name] = unix.Getrlimit(l.resource, &now) == nil && now.Max <= l.most
	}
}
