//go:build unix && !linux

package main

import (
	"fmt"
	"syscall"
)

// forbidDumps makes sure that no core is dumped when the process dies: its memory knows today's visitors.
func forbidDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
