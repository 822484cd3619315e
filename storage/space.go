package storage

import (
	"fmt"
	"sync"
	"time"
)

const (
	// reserve is the space that must be free before anything is written. Badger writes through memory maps of sparse
	// files: where the disk is full, the kernel ends the process instead of returning an error. So writing stops
	// while there is room for what Badger may still write by itself: its memtables (three logs of twice their size),
	// their flushes, and a compaction.
	reserve = 128 << 20
	// spaceEvery is how often the file system is asked.
	spaceEvery = time.Second
)

// space watches how much room is left.
type space struct {
	dir  string
	free func(dir string) (uint64, error)
	now  func() time.Time

	mu    sync.Mutex // guards the following
	asked time.Time
	err   error
}

// check returns an error that wraps ErrUnavailable while too little room is left.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if age := now.Sub(s.asked); !s.asked.IsZero() && age >= 0 && age < spaceEvery {
		return s.err
	}
	s.asked, s.err = now, nil
	if free, err := s.free(s.dir); err == nil && free < reserve {
		s.err = fmt.Errorf("%w: %d MiB are free on the disk of %s, at least %d are needed: free some space",
			ErrUnavailable, free>>20, s.dir, reserve>>20)
	}
	return s.err
}
