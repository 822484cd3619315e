package tracker

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineClock returns a clock that nobody can set, and that goes on while the machine sleeps.
func machineClock() func() time.Duration {
	start := time.Now()
	return func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			return time.Since(start) // a kernel from before 2011
		}
		return time.Duration(t.Nano())
	}
}
