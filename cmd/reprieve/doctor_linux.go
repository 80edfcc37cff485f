package main

import "golang.org/x/sys/unix"

// fileSystem names the file system of a directory, and says what is against it.
func fileSystem(dir string) (name, why string) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", ""
	}
	const network = "a network file system: its locks and flushes are not to be relied on"
	switch uint32(s.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", ""
	case unix.XFS_SUPER_MAGIC:
		return "xfs", ""
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", ""
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", "the layer of a container goes with the container"
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return "tmpfs", "what is in memory goes with the machine"
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.V9FS_MAGIC:
		return "network", network
	case unix.FUSE_SUPER_MAGIC:
		return "fuse", "what a flush means there is the driver's to know"
	}
	return "local", ""
}

func freeSpace(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(max(s.Bavail, 0)) * uint64(s.Bsize), nil
}

// clockTrouble says what the kernel knows against its clock.
func clockTrouble() string {
	if state, err := unix.Adjtimex(&unix.Timex{}); err == nil && state == unix.TIME_ERROR {
		return "no time service keeps it"
	}
	return ""
}
