//go:build linux && (amd64 || arm64 || riscv64)

package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hide maps memory that the kernel takes out of its own map.
func hide(size int) ([]byte, error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_secret: %w", err)
	}
	defer unix.Close(fd) // the mapping keeps the memory
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("size secret memory: %w", err)
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map secret memory: %w", err)
	}
	// It is locked and never dumped by nature. A child has no use for it.
	if err := unix.Madvise(b, unix.MADV_DONTFORK); err != nil {
		unmap(b)
		return nil, fmt.Errorf("keep secret memory from children: %w", err)
	}
	return b, nil
}
