package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFailedCommitRevertsInReverseOrder closes Badger under the store, which makes every commit fail.
func TestFailedCommitRevertsInReverseOrder(t *testing.T) {
	db, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	site := mustSite(t, db, "example.com")
	if err := db.badger.Close(); err != nil {
		t.Fatal(err)
	}
	var reverted []int
	batches := make([]*Batch, 3)
	db.queue.mu.Lock() // let them gather to one commit
	for i := range batches {
		batches[i] = &Batch{Rows: pageView(site.ID, 20000, "/", "DE"), Revert: func() { reverted = append(reverted, i) }, done: make(chan error, 1)}
		db.queue.batches = append(db.queue.batches, batches[i])
	}
	db.queue.signal()
	db.queue.mu.Unlock()
	for _, b := range batches {
		if err := b.Wait(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Wait = %v", err)
		}
	}
	if !slices.Equal(reverted, []int{2, 1, 0}) {
		t.Errorf("reverted %v", reverted)
	}
	db.Close()
}

func TestSubmitRefusesWhenTheQueueIsFull(t *testing.T) {
	var q queue
	q.wake = make(chan struct{}, 1)
	full := &Batch{Rows: make([]Row, maxQueuedRows)}
	if err := q.push(full); err != nil {
		t.Fatal(err)
	}
	if err := q.push(&Batch{Rows: make([]Row, 1)}); !errors.Is(err, ErrOverloaded) {
		t.Errorf("push = %v", err)
	}
	q.pop()
	if err := q.push(&Batch{Rows: make([]Row, 1)}); err != nil {
		t.Errorf("push after pop = %v", err)
	}
}

// openWithSpace opens a store on a disk whose free space the test sets, and with a clock that goes fast enough to notice.
func openWithSpace(t *testing.T) (*DB, *atomic.Uint64) {
	t.Helper()
	var left atomic.Uint64
	left.Store(1 << 40)
	now := testToday.Date()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); now = now.Add(2 * spaceEvery); return now }
	db, err := Open(t.TempDir(), Options{Now: clock, free: func(string) (uint64, error) { return left.Load(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, &left
}

// TestFullDisk lets the disk fill up and be cleared again.
func TestFullDisk(t *testing.T) {
	db, left := openWithSpace(t)
	site := mustSite(t, db, "example.com")
	if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	left.Store(reserve - 1)
	reverted := false
	full := &Batch{Rows: pageView(site.ID, 20000, "/lost", "DE"), Revert: func() { reverted = true }}
	if err := db.Submit(full); err != nil {
		t.Fatal(err)
	}
	if err := full.Wait(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "free some space") || !reverted {
		t.Errorf("Wait on a full disk = %v, reverted %v", err, reverted)
	}
	if err := db.Health(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Health on a full disk = %v", err)
	}
	im, err := db.BeginImport(site.ID)
	if err == nil {
		if err = im.Append(pageView(site.ID, 20000, "/lost", "DE")...); err == nil {
			err = im.Commit(Fingerprint{}, false)
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("import on a full disk = %v", err)
	}
	if err := im.Rollback(); err != nil {
		t.Errorf("Rollback on a full disk = %v", err)
	}
	if _, err := db.CreateLogin(time.Hour); err != nil {
		t.Errorf("login on a full disk = %v", err)
	}
	left.Store(reserve)
	if err := db.Health(); err != nil {
		t.Errorf("Health after clearing the disk = %v", err)
	}
	if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != nil {
		t.Errorf("Append after clearing the disk = %v", err)
	}
	res := mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}, GroupBy: []Column{Path}})
	if got := table(res); got != "2024-10-04/00 [\"/\"] 2\n" {
		t.Errorf("counted %s", got)
	}
}

// TestSubmitWhileReverting checks that nothing is taken in while older batches are taken back.
func TestSubmitWhileReverting(t *testing.T) {
	db, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	site := mustSite(t, db, "example.com")
	if err := db.badger.Close(); err != nil {
		t.Fatal(err)
	}
	var during error
	b := &Batch{Rows: pageView(site.ID, 20000, "/", "DE")}
	b.Revert = func() { during = db.queue.push(&Batch{}) }
	if err := db.Submit(b); err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Wait = %v", err)
	}
	if !errors.Is(during, ErrUnavailable) {
		t.Errorf("push while reverting = %v", during)
	}
	db.Close()
}

// TestUseDuringClose asks and counts from many goroutines while the store is closed under them.
func TestUseDuringClose(t *testing.T) {
	for range 10 {
		db := mustOpen(t, t.TempDir())
		site := mustSite(t, db, "example.com")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					err := db.Append(pageView(site.ID, 20000, "/", "DE")...)
					if err == nil {
						_, err = db.Query(context.Background(), Query{Site: site.ID, From: 20000, To: 20000, Metrics: testMetrics})
					}
					if err == nil {
						_, err = db.Tokens()
					}
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, dir string)
		want    error
		text    string
	}{
		"locked": {func(t *testing.T, dir string) { mustOpen(t, dir) }, ErrLocked, "stop it first"},
		"newer": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, formatFile), "dachs store, format 99\n")
		}, ErrVersion, "newer"},
		"foreign": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, formatFile), "something else")
		}, ErrVersion, "choose another directory"},
		"file missing": {func(t *testing.T, dir string) {
			mustOpen(t, dir).Close()
			if err := os.Remove(filepath.Join(dir, formatFile)); err != nil {
				t.Fatal(err)
			}
		}, ErrVersion, "restore it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			db, err := Open(dir, Options{})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Open = %v", err)
			}
			if err == nil {
				db.Close()
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestClosedStore(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(pageView(1, 20000, "/", "DE")...); !errors.Is(err, ErrClosed) {
		t.Errorf("Append = %v", err)
	}
	if err := db.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close = %v", err)
	}
}

func TestRowsThatDoNotFitAreRefused(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	if err := db.Append(Row{Site: site.ID, Table: 77}); !errors.Is(err, ErrBadRows) {
		t.Errorf("Append to an unknown table = %v", err)
	}
	if err := db.Append(make([]Row, maxCommitRows+1)...); !errors.Is(err, ErrBadRows) {
		t.Errorf("Append of too many rows = %v", err)
	}
	im, err := db.BeginImport(site.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Append(Row{Site: site.ID + 1, Table: Hits}); !errors.Is(err, ErrBadRows) {
		t.Errorf("import of another site's row = %v", err)
	}
	if err := im.Append(Row{Site: site.ID, Table: 77}); !errors.Is(err, ErrBadRows) {
		t.Errorf("import to an unknown table = %v", err)
	}
}
