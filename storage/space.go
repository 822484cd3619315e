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
	// their flushes, and a compaction between its lower levels. What the compaction of fresh tables takes is added.
	reserve = 128 << 20
	// spaceEvery is how often the file system is asked while it has much more room than that: no disk takes so much in
	// this time.
	spaceEvery = time.Second
	muchRoom   = 16 * reserve
)

// space watches how much room is left.
type space struct {
	dir  string
	free func(dir string) (uint64, error)
	now  func() time.Time
	// pending is how much a compaction may take that writing has made due; nil: nothing.
	pending func() uint64

	mu    sync.Mutex // guards the following
	asked time.Time
	left  uint64 // when the file system was asked last
	err   error
}

// check returns an error that wraps ErrUnavailable while too little room is left.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if age := now.Sub(s.asked); !s.asked.IsZero() && age >= 0 && age < spaceEvery && s.left > muchRoom {
		return s.err
	}
	s.asked, s.err = now, nil
	free, err := s.free(s.dir)
	if err != nil {
		return nil // writing will say what is wrong
	}
	if s.left = free; free > muchRoom {
		return nil
	}
	need := uint64(reserve)
	if s.pending != nil {
		need += s.pending()
	}
	if free < need {
		s.err = fmt.Errorf("%w: %d MiB are free on the disk of %s, at least %d are needed: free some space",
			ErrUnavailable, free>>20, s.dir, need>>20)
	}
	return s.err
}

// pendingCompaction is how much Badger may write before it deletes what that replaces: its fresh tables, however many wait,
// and those of the level that they go to.
func (db *DB) pendingCompaction() (bytes uint64) {
	for _, l := range db.badger.Levels() {
		if l.Level == 0 || l.IsBaseLevel {
			bytes += uint64(l.Size)
		}
	}
	return bytes
}
