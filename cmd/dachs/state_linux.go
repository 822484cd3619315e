package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// checkInMemory returns an error if a file or directory is on anything but a file system that is memory.
func checkInMemory(f *os.File) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return fmt.Errorf("look at file system: %w", err)
	}
	switch int64(s.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return nil
	}
	return errors.New("it is on a disk, where keys of visitors must never be; name a directory on a tmpfs, such as one below /run or /dev/shm")
}

// fdStore is systemd's store of file descriptors: it holds a piece of memory while the service restarts.
type fdStore struct{}

// systemdStore returns the store if a service manager has started the process and takes notice of it, else nil.
func systemdStore() handover {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return fdStore{}
}

// firstFD is the first descriptor that a service manager hands over; those before are the standard ones.
const firstFD = 3

// take finds the descriptor by its name (sd_listen_fds_with_names(3)), and tells the manager to forget it.
func (fdStore) take() (*os.File, error) {
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return nil, nil
	}
	var found *os.File
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		if i >= n || name != stateName {
			continue
		}
		if found != nil {
			found.Close() // an older one
		}
		unix.CloseOnExec(firstFD + i)
		found = os.NewFile(uintptr(firstFD+i), stateName)
	}
	if found == nil {
		return nil, nil
	}
	if err := notify("FDSTOREREMOVE=1\nFDNAME=" + stateName); err != nil {
		found.Close()
		return nil, err
	}
	if _, err := found.Seek(0, 0); err != nil {
		found.Close()
		return nil, fmt.Errorf("read stored descriptor: %w", err)
	}
	return found, nil
}

// leave sends memory without a name in any file system (sd_notify(3)). A manager that has no room for it closes it.
func (fdStore) leave(save func(*os.File) error) error {
	fd, err := unix.MemfdCreate(stateName, unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), stateName)
	defer f.Close()
	if err := save(f); err != nil {
		return err
	}
	return notify("FDSTORE=1\nFDNAME="+stateName+"\nFDPOLL=0", fd)
}

// notify sends a message to the service manager, with descriptors. The net package cannot send these on a connected socket of
// datagrams.
func notify(text string, fds ...int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	defer unix.Close(fd)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	// A name that begins with @ is one without a file, for the kernel call too.
	if err := unix.Sendmsg(fd, []byte(text), rights, &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}, 0); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}
