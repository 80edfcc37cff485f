//go:build unix && !linux

package plugins

import (
	"os/exec"
	"syscall"
)

// spawn starts the command as a process group of its own, which is all that there is here.
func spawn(cmd *exec.Cmd, conf confine) (*exec.Cmd, Containment, error) {
	var held Containment
	held.has(ownGroup, emptyEnv, privateSocket)
	missing := []string{diesWithHost, noNewPrivs, userSpace, pidSpace, netSpace, noTCP, noSignals, limitFiles, limitCore}
	if !conf.trusted {
		missing = append(missing, sealedImage, noWrites, noStore, limitSize, limitMemory, limitProcs)
	}
	for _, what := range missing {
		held.lacks(what, "this system is not Linux")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // who leads a session cannot leave its group
	return cmd, held, cmd.Start()
}
