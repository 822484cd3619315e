//go:build !linux

package tracker

import "time"

// machineClock returns a clock that nobody can set. Whether it goes on while the machine sleeps depends on the system.
func machineClock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
