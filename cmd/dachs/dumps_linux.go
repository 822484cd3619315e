package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// forbidDumps makes sure that nobody gets a copy of this process's memory: no core is dumped when it dies, nor may other
// processes of the same user look into it. The memory knows today's visitors.
func forbidDumps() error {
	var errs []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("make memory private: %w", err))
	}
	// The kernel asks the limit first where cores go to a file, and a collector of cores asks it too.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("forbid core dumps: %w", err))
	}
	return errors.Join(errs...)
}
