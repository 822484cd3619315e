package storage

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestStats(t *testing.T) {
	var left atomic.Uint64
	left.Store(1 << 40)
	db, err := Open(t.TempDir(), Options{free: func(string) (uint64, error) { return left.Load(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site, err := db.AddSite("example.com", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	row := Row{Site: site.ID, Table: Hits, Day: 20000}
	row.Dims[Kind], row.Dims[Name], row.Dims[Path] = KindPageView, PageViewName, "/"
	row.Sums[Count] = 1
	if err := db.Append(row, row, row); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(); err != nil { // stores nothing
		t.Fatal(err)
	}
	s := db.Stats()
	if s.Commits != 1 || s.Rows != 3 || s.Failures != 0 || s.QueuedRows != 0 || s.FreshRows != 1 || s.Failing || s.Damaged || s.FreeBytes != 1<<40 || s.CommitTime <= 0 {
		t.Errorf("after a commit: %+v", s)
	}
	left.Store(1 << 20)
	db.space.mu.Lock()
	db.space.asked = time.Time{} // as if a second had passed
	db.space.mu.Unlock()
	if err := db.Append(row); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("append without space: %v", err)
	}
	if s := db.Stats(); s.Commits != 1 || s.Rows != 3 || s.Failures != 1 || !s.Failing || s.FreeBytes != 1<<20 {
		t.Errorf("after a commit that failed: %+v", s)
	}
	found := errors.New("found")
	db.damaged.Store(&found)
	if !db.Stats().Damaged {
		t.Error("damage does not show")
	}
}

func TestCommitTimes(t *testing.T) {
	var c commitStats
	batches := []*Batch{{Rows: make([]Row, 2)}, {Rows: make([]Row, 3)}}
	for _, took := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, time.Second, 10 * time.Second, 11 * time.Second} {
		c.note(took, batches, 1)
	}
	c.note(time.Hour, []*Batch{{}}, 0)
	var s Stats
	c.read(&s)
	if !slices.IsSorted(CommitBounds[:]) {
		t.Errorf("bounds are not sorted: %v", CommitBounds)
	}
	want := [len(CommitBounds) + 1]uint64{0: 2, 1: 1, 9: 1, 11: 1, 12: 1}
	if s.CommitTimes != want || s.Failures != 6 || s.Commits != 0 || s.Rows != 12 || s.CommitTime != 22*time.Second+2*time.Millisecond+1 {
		t.Errorf("%+v", s)
	}
}
