package bolt

import (
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// Options says how a store is opened.
type Options struct {
	// Now is the clock that transactions show. Required.
	Now func() crm.Nanos
	// MinFree is how many bytes must be free on the disk for an Update to be taken; 0 is 64 MiB.
	// Reads go on below it.
	MinFree uint64
	// FreeBytes says how many bytes are free where dir is; nil asks the file system.
	FreeBytes func(dir string) (uint64, error)
	// NoSync leaves out the fsync of each commit: for tests and demos on data that may be lost.
	NoSync bool
	// Timeout is how long Open waits for another process to let go of the file; 0 is one second.
	Timeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.MinFree == 0 {
		o.MinFree = 64 << 20
	}
	if o.FreeBytes == nil {
		o.FreeBytes = freeBytes
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	return o
}

// Stats is what there is to know of an open store, for metrics and reports.
type Stats struct {
	Commits      uint64 // groups committed
	Functions    uint64 // functions whose writes they held
	LargestGroup uint64 // functions in the largest group so far
	Reruns       uint64 // groups that were rolled back and run singly
	Refused      uint64 // functions refused for want of free space
	FileBytes    int64  // size of the file
	FreeBytes    int64  // of it in free pages; a compaction gives them back and removes their content
	OpenViews    int    // views running now
}
