package plugintest

import (
	"context"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const inProcess = "functions in this process have none of their own to look at"

// fresh starts a process beside the one that the other checks use, and makes a call with it.
func (k *kit) fresh(ctx context.Context, orphans bool) (*process, error) {
	if len(k.p.Command) == 0 {
		return nil, skipped(inProcess)
	}
	k.retire() // two of one plugin never run at a time
	s, err := start(ctx, k.p, orphans)
	if err == nil {
		k.proc = s
		err = k.configure(ctx)
		k.proc = nil
	}
	if err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

func (k *kit) stopped(ctx context.Context) error {
	s, err := k.fresh(ctx, false)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := s.stop(ctx); err != nil && status.Code(err) != codes.Unavailable { // which is an end faster than its answer
		return problem("it does not take the request to stop: %v", err)
	}
	return s.gone(stopTime)
}

func (k *kit) sigterm(ctx context.Context) error {
	s, err := k.fresh(ctx, false)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return problem("it was gone before SIGTERM")
	}
	return s.gone(stopTime)
}

// orphan kills the host, whose part a shell plays.
func (k *kit) orphan(ctx context.Context) error {
	s, err := k.fresh(ctx, true)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := s.cmd.Process.Kill(); err != nil {
		return problem("the host was gone before it was killed")
	}
	return s.gone(orphan)
}
