package storage

import (
	"math"
	"sync/atomic"
	"time"
)

// CommitBounds are the upper ends of the ranges in Stats.CommitTimes: a commit takes some milliseconds on a good disk, and one
// that takes seconds is what makes hits wait and be refused.
var CommitBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 10 * time.Second,
}

// Stats say how the store does, for an operator: nothing of what is in it.
type Stats struct {
	QueuedRows int // rows that wait for a commit
	MaxQueued  int // how many may
	FreshRows  int // tuples that commits have added and that lie in memory too, until they are worth a run
	MaxFresh   int // how many may
	Commits    uint64
	Rows       uint64 // stored by those commits, before equal ones were summed up
	Failures   uint64 // commits that failed
	// CommitTimes counts commits, also those that failed, by how long they took: CommitTimes[i] those of at most
	// CommitBounds[i] and more than the bound before, the last those that took longer than all.
	CommitTimes [len(CommitBounds) + 1]uint64
	CommitTime  time.Duration // of all commits together
	FreeBytes   uint64        // on the disk of the data; 0 if unknown
	NeededBytes uint64        // what has to be free, or hits are refused
	Failing     bool          // the last commit failed
	Damaged     bool          // a file was found not to be as it was written
}

// Stats returns the numbers since the store was opened. It asks the file system for its free space.
func (db *DB) Stats() Stats {
	s := Stats{MaxQueued: maxQueuedRows, FreshRows: int(db.fresh.rows.Load()), MaxFresh: maxFreshRows, NeededBytes: reserve, Failing: db.failed.Load(), Damaged: db.damaged.Load() != nil}
	db.queue.mu.Lock()
	s.QueuedRows = db.queue.rows
	db.queue.mu.Unlock()
	if free, err := db.space.free(db.space.dir); err == nil && free != math.MaxUint64 {
		s.FreeBytes = free
	}
	db.commits.read(&s)
	return s
}

// commitStats counts commits. The writer adds, anybody reads: the numbers need not be of the same moment.
type commitStats struct {
	commits, rows, failures atomic.Uint64
	times                   [len(CommitBounds) + 1]atomic.Uint64
	total                   atomic.Int64 // nanoseconds
}

// note adds a commit of batches, of which the first were stored. One without rows writes nothing and is none.
func (c *commitStats) note(took time.Duration, batches []*Batch, stored int) {
	rows, all := 0, 0
	for i, b := range batches {
		if all += len(b.Rows); i < stored {
			rows += len(b.Rows)
		}
	}
	if all == 0 {
		return
	}
	i := 0
	for i < len(CommitBounds) && took > CommitBounds[i] {
		i++
	}
	c.times[i].Add(1)
	c.total.Add(int64(took))
	c.rows.Add(uint64(rows))
	if stored < len(batches) {
		c.failures.Add(1)
	} else {
		c.commits.Add(1)
	}
}

func (c *commitStats) read(s *Stats) {
	s.Commits, s.Rows, s.Failures = c.commits.Load(), c.rows.Load(), c.failures.Load()
	s.CommitTime = time.Duration(c.total.Load())
	for i := range c.times {
		s.CommitTimes[i] = c.times[i].Load()
	}
}
