package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// lock maps memory that stays in place, in no dump and in no child.
func lock(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	if err := unix.Mlock(b); err != nil {
		unmap(b)
		return nil, fmt.Errorf("lock memory: %w", err)
	}
	for _, advice := range []int{unix.MADV_DONTDUMP, unix.MADV_DONTFORK} {
		if err := unix.Madvise(b, advice); err != nil {
			unmap(b)
			return nil, fmt.Errorf("protect memory: %w", err)
		}
	}
	return b, nil
}

func unmap(b []byte) { _ = unix.Munmap(b) } // it is mapped, and overwritten already
